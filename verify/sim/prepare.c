/* What many worlds share: the schema, its sagas, a database with the definitions in it. */
#include <stdlib.h>
#include <string.h>

#include "generated/descriptor_set.h"
#include "orchestrator/codec/codec.h"
#include "orchestrator/store/sqlite/store_sqlite.h"
#include "verify/sim/world.h"

static enum saga_err number_service(struct saga_sim *sim, const struct saga_service *service,
                                    uint16_t *number, struct saga_err_detail *detail)
{
    if (service == NULL) {
        return SAGA_ERR_OK; /* of the starter, or of a child saga */
    }
    size_t i = 0;
    while (i < sim->service_count && sim->services[i] != service) {
        i++;
    }
    if (i == SIM_PARTICIPANTS_MAX) {
        return saga_err_set(detail, SAGA_ERR_LIMIT, "more than %d services (SAGA_PARTICIPANTS_MAX)",
                            SIM_PARTICIPANTS_MAX);
    }
    sim->services[i] = service;
    sim->service_count = i == sim->service_count ? i + 1 : sim->service_count;
    *number = (uint16_t)i;
    return SAGA_ERR_OK;
}

static enum saga_err compile(struct saga_sim *sim, const struct saga_decl *decl,
                             struct saga_err_detail *detail)
{
    struct saga_version *version = &sim->versions[sim->version_count++];
    enum saga_err err = saga_version_compile(decl, version, detail);
    for (size_t i = 0; i < decl->step_count && err == SAGA_ERR_OK; i++) {
        const struct saga_step_decl *step = &decl->steps[i];
        err = number_service(sim, step->call_service, &version->call_participants[i], detail);
        if (err == SAGA_ERR_OK) {
            err = number_service(sim, step->undo_service, &version->undo_participants[i], detail);
        }
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, decl->name);
}

/* Compiles a saga and its children's, and theirs: a list that is walked while it grows. */
static enum saga_err compile_all(struct saga_sim *sim, const struct saga_decl *first,
                                 struct saga_err_detail *detail)
{
    size_t count = saga_schema_decl_count(sim->schema);
    const struct saga_decl **list = calloc(count + 1, sizeof(const struct saga_decl *));
    sim->versions = calloc(count + 1, sizeof *sim->versions);
    enum saga_err err = SAGA_ERR_OK;
    if (list == NULL || sim->versions == NULL) {
        err = saga_err_set(detail, SAGA_ERR_NO_MEMORY, "definitions");
    }
    size_t known = 0;
    if (err == SAGA_ERR_OK) {
        list[known++] = first;
    }
    for (size_t i = 0; i < known && err == SAGA_ERR_OK; i++) {
        err = compile(sim, list[i], detail);
        for (size_t j = 0; j < list[i]->step_count; j++) {
            const struct saga_decl *child = list[i]->steps[j].child;
            bool there = child == NULL;
            for (size_t k = 0; k < known && !there; k++) {
                there = list[k] == child;
            }
            if (!there && known < count) {
                list[known++] = child;
            }
        }
    }
    free(list);
    sim->version = sim->versions;
    return err;
}

static enum saga_err put_definitions(const struct saga_sim *sim, const struct saga_store_port *port,
                                     struct saga_err_detail *detail)
{
    uint64_t epoch = 0;
    enum saga_err err = port->ops->begin(port->store, detail);
    if (err == SAGA_ERR_OK) {
        err = port->ops->take_lease(port->store, "template", &epoch, detail);
    }
    for (size_t i = 0; i < sim->version_count && err == SAGA_ERR_OK; i++) {
        const struct saga_version *version = &sim->versions[i];
        err = port->ops->put_definition(port->store, version->hash, version->name,
                                        sim->descriptor_set, SIM_EPOCH_MS, detail);
    }
    return err == SAGA_ERR_OK ? port->ops->commit(port->store, detail) : err;
}

static enum saga_err make_image(const struct saga_sim *sim, struct saga_vfs_image **image,
                                struct saga_err_detail *detail)
{
    struct saga_vfs_config config = {.seed = 1};
    struct saga_vfs *disk = NULL;
    struct saga_store_port port = {0};
    enum saga_err err = saga_vfs_new(&config, &disk);
    if (err != SAGA_ERR_OK) {
        return saga_err_set(detail, err, "a disk");
    }
    err = saga_store_sqlite_open_on(saga_vfs_name(disk, 0), "sagad.db", &port, detail);
    if (err == SAGA_ERR_OK) {
        err = put_definitions(sim, &port, detail);
    }
    if (port.ops != NULL) {
        port.ops->close(port.store);
    }
    if (err == SAGA_ERR_OK) {
        err = saga_vfs_image_take(disk, image);
    }
    saga_vfs_free(disk);
    return err;
}

static enum saga_err prepare(struct saga_sim *sim, struct saga_bytes set, const char *definition,
                             struct saga_err_detail *detail)
{
    uint8_t *copy = malloc(set.size + 1);
    if (copy == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "a descriptor set");
    }
    memcpy(copy, set.data, set.size);
    sim->descriptor_set = (struct saga_bytes){.data = copy, .size = set.size};
    enum saga_err err = saga_schema_load(sim->descriptor_set, &sim->schema, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    sim->decl = saga_schema_decl(sim->schema, definition);
    if (sim->decl == NULL && saga_schema_finding_count(sim->schema) > 0) {
        const struct saga_finding *finding = saga_schema_finding_at(sim->schema, 0);
        return saga_err_set(detail, SAGA_ERR_INVALID, "%s:%d: %s %s: %.120s", finding->file,
                            finding->line, finding->code, finding->where, finding->message);
    }
    if (sim->decl == NULL) {
        return saga_err_set(detail, SAGA_ERR_NOT_FOUND, "no saga is named \"%.64s\"", definition);
    }
    err = compile_all(sim, sim->decl, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    return make_image(sim, &sim->store, detail);
}

enum saga_err saga_sim_new(struct saga_bytes descriptor_set, const char *definition,
                           struct saga_sim **sim, struct saga_err_detail *detail)
{
    struct saga_sim *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return saga_err_set(detail, SAGA_ERR_NO_MEMORY, "simulator");
    }
    if (descriptor_set.size == 0) {
        descriptor_set =
            (struct saga_bytes){.data = saga_descriptor_set, .size = saga_descriptor_set_size};
    }
    bool named = definition != NULL && definition[0] != '\0';
    enum saga_err err = prepare(made, descriptor_set, named ? definition : "create-order", detail);
    if (err != SAGA_ERR_OK) {
        saga_sim_free(made);
        return saga_err_wrap(detail, err, "simulator");
    }
    *sim = made;
    return SAGA_ERR_OK;
}

void saga_sim_free(struct saga_sim *sim)
{
    if (sim == NULL) {
        return;
    }
    saga_vfs_image_free(sim->store);
    free(sim->versions);
    saga_schema_free(sim->schema);
    free((void *)(uintptr_t)sim->descriptor_set.data);
    free(sim);
}
