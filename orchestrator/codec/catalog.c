#include "orchestrator/codec/catalog.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/limits.h"
#include "orchestrator/codec/codec.h"

enum {
    SCHEMAS_MAX = SAGA_DEFINITIONS_MAX + 1, /* one a stored version, and the program's own */
};

/* A descriptor set that was loaded. Many definitions come from one set, so it is kept once. */
struct loaded {
    uint8_t digest[SAGA_DIGEST_SIZE];
    struct saga_schema *schema;
};

struct saga_catalog {
    struct loaded schemas[SCHEMAS_MAX];
    size_t schema_count;
    struct saga_version *versions[SAGA_DEFINITIONS_MAX];
    size_t version_count;
};

enum saga_err saga_catalog_new(struct saga_catalog **catalog)
{
    *catalog = calloc(1, sizeof **catalog);
    return *catalog == NULL ? SAGA_ERR_NO_MEMORY : SAGA_ERR_OK;
}

void saga_catalog_free(struct saga_catalog *catalog)
{
    if (catalog == NULL) {
        return;
    }
    for (size_t i = 0; i < catalog->version_count; i++) {
        free(catalog->versions[i]);
    }
    for (size_t i = 0; i < catalog->schema_count; i++) {
        saga_schema_free(catalog->schemas[i].schema);
    }
    free(catalog);
}

enum saga_err saga_catalog_load(struct saga_catalog *catalog, struct saga_bytes descriptor_set,
                                const struct saga_schema **schema, struct saga_err_detail *detail)
{
    uint8_t digest[SAGA_DIGEST_SIZE];
    saga_digest(descriptor_set, digest);
    for (size_t i = 0; i < catalog->schema_count; i++) {
        if (memcmp(catalog->schemas[i].digest, digest, SAGA_DIGEST_SIZE) == 0) {
            *schema = catalog->schemas[i].schema;
            return SAGA_ERR_OK;
        }
    }
    if (catalog->schema_count == SCHEMAS_MAX) {
        return saga_err_set(detail, SAGA_ERR_LIMIT, "more than %d schemas", SAGA_DEFINITIONS_MAX);
    }
    struct loaded *loaded = &catalog->schemas[catalog->schema_count];
    enum saga_err err = saga_schema_load(descriptor_set, &loaded->schema, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    memcpy(loaded->digest, digest, SAGA_DIGEST_SIZE);
    catalog->schema_count += 1;
    *schema = loaded->schema;
    return SAGA_ERR_OK;
}

static struct saga_version *find(const struct saga_catalog *catalog,
                                 const uint8_t hash[SAGA_DIGEST_SIZE])
{
    for (size_t i = 0; i < catalog->version_count; i++) {
        if (memcmp(catalog->versions[i]->hash, hash, SAGA_DIGEST_SIZE) == 0) {
            return catalog->versions[i];
        }
    }
    return NULL;
}

const struct saga_version *saga_catalog_find(const struct saga_catalog *catalog,
                                             const uint8_t hash[SAGA_DIGEST_SIZE])
{
    return find(catalog, hash);
}

enum saga_err saga_catalog_add(struct saga_catalog *catalog, const struct saga_decl *decl,
                               struct saga_version **version, struct saga_err_detail *detail)
{
    *version = find(catalog, decl->hash);
    if (*version != NULL) {
        return SAGA_ERR_OK;
    }
    if (catalog->version_count == SAGA_DEFINITIONS_MAX) {
        return saga_err_set(detail, SAGA_ERR_LIMIT, "more than %d definition versions",
                            SAGA_DEFINITIONS_MAX);
    }
    struct saga_version *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "a definition");
    }
    enum saga_err err = saga_version_compile(decl, made, detail);
    if (err != SAGA_ERR_OK) {
        free(made);
        return err;
    }
    catalog->versions[catalog->version_count++] = made;
    *version = made;
    return SAGA_ERR_OK;
}

enum saga_err saga_catalog_add_stored(struct saga_catalog *catalog,
                                      const struct saga_stored_definition *stored,
                                      struct saga_version **version, struct saga_err_detail *detail)
{
    const struct saga_schema *schema = NULL;
    enum saga_err err = saga_catalog_load(catalog, stored->descriptor_set, &schema, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    const struct saga_decl *decl = saga_schema_decl(schema, stored->name);
    if (decl == NULL) {
        const struct saga_finding *finding =
            saga_schema_finding_count(schema) == 0 ? NULL : saga_schema_finding_at(schema, 0);
        return saga_err_set(detail, SAGA_ERR_CONFLICT,
                            "\"%s\": its stored descriptor set declares no such saga, or one that "
                            "is refused%s%s%s%s",
                            stored->name, finding == NULL ? "" : ": ",
                            finding == NULL ? "" : finding->code, finding == NULL ? "" : " ",
                            finding == NULL ? "" : finding->message);
    }
    if (memcmp(decl->hash, stored->hash, SAGA_DIGEST_SIZE) != 0) {
        return saga_err_set(detail, SAGA_ERR_CONFLICT,
                            "\"%s\": this program makes hash %02x%02x%02x%02x… of it, stored is "
                            "%02x%02x%02x%02x…",
                            stored->name, decl->hash[0], decl->hash[1], decl->hash[2],
                            decl->hash[3], stored->hash[0], stored->hash[1], stored->hash[2],
                            stored->hash[3]);
    }
    return saga_catalog_add(catalog, decl, version, detail);
}

size_t saga_catalog_count(const struct saga_catalog *catalog)
{
    return catalog->version_count;
}

const struct saga_version *saga_catalog_at(const struct saga_catalog *catalog, size_t index)
{
    SAGA_ASSERT(index < catalog->version_count);
    return catalog->versions[index];
}
