#include "orchestrator/codec/catalog.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/limits.h"
#include "orchestrator/codec/codec.h"

/* A descriptor set that was loaded. Many definitions come from one set, so it is kept once. */
struct loaded {
    uint8_t digest[SAGA_DIGEST_SIZE];
    struct saga_schema *schema;
};

/* A version, and the schema that it borrows from; NULL: one of somebody else. */
struct entry {
    struct saga_version *version;
    const struct saga_schema *schema;
};

struct saga_catalog {
    struct loaded *schemas;
    size_t schema_count;
    struct entry *entries;
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
        free(catalog->entries[i].version);
    }
    for (size_t i = 0; i < catalog->schema_count; i++) {
        saga_schema_free(catalog->schemas[i].schema);
    }
    free(catalog->entries);
    free(catalog->schemas);
    free(catalog);
}

static enum saga_err load(struct saga_catalog *catalog, struct saga_bytes descriptor_set,
                          bool stored, const struct saga_schema **schema,
                          struct saga_err_detail *detail)
{
    uint8_t digest[SAGA_DIGEST_SIZE];
    saga_digest(descriptor_set, digest);
    for (size_t i = 0; i < catalog->schema_count; i++) {
        if (memcmp(catalog->schemas[i].digest, digest, SAGA_DIGEST_SIZE) == 0) {
            *schema = catalog->schemas[i].schema;
            return SAGA_ERR_OK;
        }
    }
    struct loaded *grown =
        realloc(catalog->schemas, (catalog->schema_count + 1) * sizeof *catalog->schemas);
    if (grown == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "a schema");
    }
    catalog->schemas = grown;
    struct loaded *loaded = &catalog->schemas[catalog->schema_count];
    enum saga_err err = stored ? saga_schema_load_stored(descriptor_set, &loaded->schema, detail)
                               : saga_schema_load(descriptor_set, &loaded->schema, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    memcpy(loaded->digest, digest, SAGA_DIGEST_SIZE);
    catalog->schema_count += 1;
    *schema = loaded->schema;
    return SAGA_ERR_OK;
}

enum saga_err saga_catalog_load(struct saga_catalog *catalog, struct saga_bytes descriptor_set,
                                const struct saga_schema **schema, struct saga_err_detail *detail)
{
    return load(catalog, descriptor_set, false, schema, detail);
}

static struct saga_version *find(const struct saga_catalog *catalog,
                                 const uint8_t hash[SAGA_DIGEST_SIZE])
{
    for (size_t i = 0; i < catalog->version_count; i++) {
        if (memcmp(catalog->entries[i].version->hash, hash, SAGA_DIGEST_SIZE) == 0) {
            return catalog->entries[i].version;
        }
    }
    return NULL;
}

const struct saga_version *saga_catalog_find(const struct saga_catalog *catalog,
                                             const uint8_t hash[SAGA_DIGEST_SIZE])
{
    return find(catalog, hash);
}

static const struct saga_schema *schema_of(const struct saga_catalog *catalog,
                                           const struct saga_decl *decl)
{
    for (size_t i = 0; i < catalog->schema_count; i++) {
        if (saga_schema_decl(catalog->schemas[i].schema, decl->name) == decl) {
            return catalog->schemas[i].schema;
        }
    }
    return NULL;
}

enum saga_err saga_catalog_add(struct saga_catalog *catalog, const struct saga_decl *decl,
                               struct saga_version **version, struct saga_err_detail *detail)
{
    *version = find(catalog, decl->hash);
    if (*version != NULL) {
        return SAGA_ERR_OK;
    }
    struct entry *grown =
        realloc(catalog->entries, (catalog->version_count + 1) * sizeof *catalog->entries);
    if (grown == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "a definition");
    }
    catalog->entries = grown;
    struct saga_version *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "a definition");
    }
    enum saga_err err = saga_version_compile(decl, made, detail);
    if (err != SAGA_ERR_OK) {
        free(made);
        return err;
    }
    catalog->entries[catalog->version_count++] = (struct entry){made, schema_of(catalog, decl)};
    *version = made;
    return SAGA_ERR_OK;
}

enum saga_err saga_catalog_add_stored(struct saga_catalog *catalog,
                                      const struct saga_stored_definition *stored,
                                      struct saga_version **version, struct saga_err_detail *detail)
{
    const struct saga_schema *schema = NULL;
    enum saga_err err = load(catalog, stored->descriptor_set, true, &schema, detail);
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

static bool is_borrowed(const struct saga_catalog *catalog, const struct saga_schema *schema)
{
    size_t i = 0;
    while (i < catalog->version_count && catalog->entries[i].schema != schema) {
        i++;
    }
    return i < catalog->version_count;
}

void saga_catalog_sweep(struct saga_catalog *catalog, saga_catalog_keep *keep, void *user)
{
    size_t versions = 0;
    for (size_t i = 0; i < catalog->version_count; i++) {
        if (keep(user, catalog->entries[i].version)) {
            catalog->entries[versions++] = catalog->entries[i];
        } else {
            free(catalog->entries[i].version);
        }
    }
    catalog->version_count = versions;
    size_t schemas = 0;
    for (size_t i = 0; i < catalog->schema_count; i++) {
        if (is_borrowed(catalog, catalog->schemas[i].schema)) {
            catalog->schemas[schemas++] = catalog->schemas[i];
        } else {
            saga_schema_free(catalog->schemas[i].schema);
        }
    }
    catalog->schema_count = schemas;
}

size_t saga_catalog_count(const struct saga_catalog *catalog)
{
    return catalog->version_count;
}

const struct saga_version *saga_catalog_at(const struct saga_catalog *catalog, size_t index)
{
    SAGA_ASSERT(index < catalog->version_count);
    return catalog->entries[index].version;
}
