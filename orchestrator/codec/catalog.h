/* A catalog: versions of saga definitions, found by hash, with the schemas that they borrow from.
 *
 * Whoever runs sagas keeps one (the daemon), and so does whoever runs them again from their log. It
 * grows; what is dropped goes with the schemas that nothing borrows from any more. Thread: one at a
 * time. */
#ifndef SAGA_CODEC_CATALOG_H
#define SAGA_CODEC_CATALOG_H

#include "common/wire/schema.h"
#include "orchestrator/runtime/port_codec.h"

struct saga_catalog;

/* A definition as a store keeps it; borrowed. */
struct saga_stored_definition {
    const uint8_t *hash; /* SAGA_DIGEST_SIZE bytes */
    const char *name;
    struct saga_bytes descriptor_set; /* that declares it */
};

/* Makes an empty catalog. Owns: the caller. Errors: NO_MEMORY. */
enum saga_err saga_catalog_new(struct saga_catalog **catalog) SAGA_WARN_UNUSED;

/* Frees it with all its versions and schemas. NULL is nothing. */
void saga_catalog_free(struct saga_catalog *catalog);

/* Loads a descriptor set; one that is there already is given again. The schema is the catalog's.
 * Errors: of saga_schema_load; NO_MEMORY. */
enum saga_err saga_catalog_load(struct saga_catalog *catalog, struct saga_bytes descriptor_set,
                                const struct saga_schema **schema,
                                struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Adds the version that a declaration makes; one with its hash that is there already is given
 * again. The version is the catalog's; participants are the caller's to fill in. Pre: decl is of a
 * schema that the catalog has loaded, or lives as long as the catalog. Errors: of
 * saga_version_compile; NO_MEMORY. How many there may be is the caller's to bound. */
enum saga_err saga_catalog_add(struct saga_catalog *catalog, const struct saga_decl *decl,
                               struct saga_version **version,
                               struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Adds a stored version. Errors: of load and add; CONFLICT: what this program makes of the stored
 * descriptor set is another definition, or none, since its checks refuse it; detail says which. */
enum saga_err saga_catalog_add_stored(struct saga_catalog *catalog,
                                      const struct saga_stored_definition *stored,
                                      struct saga_version **version,
                                      struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Drops versions for which `keep` says no, and then the schemas that no version is left of. */
typedef bool saga_catalog_keep(void *user, const struct saga_version *version);
void saga_catalog_sweep(struct saga_catalog *catalog, saga_catalog_keep *keep, void *user);

/* Finds a version by its hash; NULL when there is none. */
const struct saga_version *saga_catalog_find(const struct saga_catalog *catalog,
                                             const uint8_t hash[SAGA_DIGEST_SIZE]);

/* Walks the versions, in the order in which they were added. */
size_t saga_catalog_count(const struct saga_catalog *catalog);
const struct saga_version *saga_catalog_at(const struct saga_catalog *catalog, size_t index);

#endif
