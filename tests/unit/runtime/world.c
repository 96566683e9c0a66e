#include "tests/unit/runtime/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "descriptor_set.h"
#include "orchestrator/codec/codec.h"
#include "orchestrator/store/sqlite/store_sqlite.h"

/* The store under test is found by the runtime's handle: there is one world at a time. */
static struct world *the;

static bool fails(struct saga_err_detail *detail)
{
    the->calls += 1;
    if (the->fail_at != 0 && the->calls == the->fail_at) {
        (void)saga_err_set(detail, SAGA_ERR_IO, "made to fail at call %u", the->calls);
        return true;
    }
    return false;
}

#define INNER the->inner.ops
#define STORE the->inner.store

static enum saga_err begin(struct saga_store *store, struct saga_err_detail *detail)
{
    (void)store;
    return fails(detail) ? SAGA_ERR_IO : INNER->begin(STORE, detail);
}

static enum saga_err commit(struct saga_store *store, struct saga_err_detail *detail)
{
    (void)store;
    if (fails(detail)) {
        return SAGA_ERR_IO;
    }
    the->commits += 1;
    the->dirty = false;
    return INNER->commit(STORE, detail);
}

static void rollback(struct saga_store *store)
{
    (void)store;
    INNER->rollback(STORE);
}

static enum saga_err insert_saga(struct saga_store *store, const struct saga_row *row,
                                 struct saga_err_detail *detail)
{
    (void)store;
    the->dirty = true;
    return fails(detail) ? SAGA_ERR_DISK_FULL : INNER->insert_saga(STORE, row, detail);
}

static enum saga_err update_saga(struct saga_store *store, const struct saga_row *row,
                                 struct saga_err_detail *detail)
{
    (void)store;
    the->dirty = true;
    return fails(detail) ? SAGA_ERR_IO : INNER->update_saga(STORE, row, detail);
}

static enum saga_err append_audit(struct saga_store *store, const struct saga_audit_row *row,
                                  struct saga_err_detail *detail)
{
    (void)store;
    the->dirty = true;
    return fails(detail) ? SAGA_ERR_IO : INNER->append_audit(STORE, row, detail);
}

static enum saga_err put_pause(struct saga_store *store, const struct saga_pause_row *row,
                               struct saga_err_detail *detail)
{
    (void)store;
    the->dirty = true;
    return fails(detail) ? SAGA_ERR_IO : INNER->put_pause(STORE, row, detail);
}

static enum saga_err put_definition(struct saga_store *store, const uint8_t hash[SAGA_DIGEST_SIZE],
                                    const char *name, struct saga_bytes set, int64_t now_unix_ms,
                                    struct saga_err_detail *detail)
{
    (void)store;
    the->dirty = true;
    return fails(detail) ? SAGA_ERR_IO
                         : INNER->put_definition(STORE, hash, name, set, now_unix_ms, detail);
}

static enum saga_err remove_definition(struct saga_store *store, const char *name,
                                       struct saga_err_detail *detail)
{
    (void)store;
    the->dirty = true;
    return fails(detail) ? SAGA_ERR_IO : INNER->remove_definition(STORE, name, detail);
}

static enum saga_err drop_definition(struct saga_store *store, const uint8_t hash[SAGA_DIGEST_SIZE],
                                     struct saga_err_detail *detail)
{
    (void)store;
    the->dirty = true;
    return fails(detail) ? SAGA_ERR_IO : INNER->drop_definition(STORE, hash, detail);
}

static enum saga_err put_participant(struct saga_store *store, const char *service,
                                     const char *const *addresses, size_t count,
                                     struct saga_err_detail *detail)
{
    (void)store;
    the->dirty = true;
    return fails(detail) ? SAGA_ERR_IO
                         : INNER->put_participant(STORE, service, addresses, count, detail);
}

static enum saga_err append_outbox(struct saga_store *store, const struct saga_outbox_row *row,
                                   int64_t *position, struct saga_err_detail *detail)
{
    (void)store;
    the->dirty = true;
    return fails(detail) ? SAGA_ERR_IO : INNER->append_outbox(STORE, row, position, detail);
}

static enum saga_err find_key(struct saga_store *store, const char *definition, const char *key,
                              struct saga_row *row, struct saga_err_detail *detail)
{
    (void)store;
    return the->reads_fail && fails(detail) ? SAGA_ERR_IO
                                            : INNER->find_key(STORE, definition, key, row, detail);
}

/* The other operations go straight through. */
static struct saga_store_ops faulty_ops(void)
{
    struct saga_store_ops ops = *the->inner.ops;
    ops.begin = begin;
    ops.commit = commit;
    ops.rollback = rollback;
    ops.insert_saga = insert_saga;
    ops.update_saga = update_saga;
    ops.append_audit = append_audit;
    ops.append_outbox = append_outbox;
    ops.find_key = find_key;
    ops.put_pause = put_pause;
    ops.put_definition = put_definition;
    ops.remove_definition = remove_definition;
    ops.drop_definition = drop_definition;
    ops.put_participant = put_participant;
    return ops;
}

static void note_send(void *user, const struct saga_outgoing *outgoing, struct saga_bytes element)
{
    struct world *world = user;
    assert_true(element.size > 0);
    assert_true(world->sent_count < WORLD_SENT_MAX);
    world->sends_before_commit += world->dirty ? 1 : 0;
    world->sent[world->sent_count++] = *outgoing;
}

static void note_flush(void *user)
{
    (void)user;
}

static void note_committed(void *user, bool outbox, bool audit)
{
    struct world *world = user;
    (void)audit;
    world->outbox_woken = world->outbox_woken || outbox;
}

static void note_answer(void *user, void *ticket, const struct saga_answer *answer)
{
    struct world *world = user;
    (void)ticket;
    assert_true(world->answer_count < WORLD_ANSWERS_MAX);
    world->answers_before_commit += world->dirty && answer->code == SAGA_CODE_OK ? 1 : 0;
    (void)snprintf(world->reasons[world->answer_count], sizeof world->reasons[0], "%s",
                   answer->reason);
    world->answers[world->answer_count++] = *answer;
}

static void note_changed(void *user, struct saga_id id, enum saga_state state, uint64_t seq,
                         bool ended)
{
    struct world *world = user;
    (void)id;
    (void)state;
    (void)seq;
    world->changed_count += 1;
    world->ended_count += ended ? 1 : 0;
}

static void compile_version(const struct saga_decl *decl, struct saga_version *version)
{
    struct saga_err_detail detail = {{0}};
    assert_non_null(decl);
    assert_int_equal(saga_version_compile(decl, version, &detail), SAGA_ERR_OK);
    for (size_t i = 0; i < SAGA_STEPS_MAX; i++) {
        version->call_participants[i] = 0;
        version->undo_participants[i] = 0;
    }
}

static void load_version(struct world *world, const char *name, struct saga_version *version)
{
    compile_version(saga_schema_decl(world->schema, name), version);
}

static void load_schema(struct world *world)
{
    struct saga_err_detail detail = {{0}};
    struct saga_bytes set = {saga_descriptor_set, saga_descriptor_set_size};
    assert_int_equal(saga_schema_load(set, &world->schema, &detail), SAGA_ERR_OK);
    load_version(world, "create-order", &world->version);
    load_version(world, "create-order-async", &world->async);
}

static enum saga_err put_definitions(struct world *world, struct saga_err_detail *detail)
{
    struct saga_bytes set = {saga_descriptor_set, saga_descriptor_set_size};
    const struct saga_version *versions[] = {&world->version, &world->async};
    enum saga_err err = INNER->begin(STORE, detail);
    for (size_t i = 0; i < 2 && err == SAGA_ERR_OK; i++) {
        err = INNER->put_definition(STORE, versions[i]->hash, versions[i]->name, set, world->now,
                                    detail);
    }
    for (size_t i = 0; i < world->extra_count && err == SAGA_ERR_OK; i++) {
        err = INNER->put_definition(STORE, world->extras[i].hash, world->extras[i].name,
                                    saga_buf_view(&world->extra_set), world->now, detail);
    }
    return err == SAGA_ERR_OK ? INNER->commit(STORE, detail) : err;
}

enum saga_err world_open_runtime(struct world *world)
{
    static struct saga_store_ops ops;
    static const struct saga_transport_ops transport = {note_send, note_flush, note_committed};
    static const struct saga_client_ops client = {note_answer, note_changed};
    struct saga_err_detail detail = {{0}};
    the = world;
    assert_int_equal(saga_store_sqlite_open(world->path, &world->inner, &detail), SAGA_ERR_OK);
    ops = faulty_ops();
    world->store = (struct saga_store_port){.ops = &ops, .store = world->inner.store};
    struct saga_runtime_config config = {
        .store = world->store,
        .transport = {&transport, world},
        .client = {&client, world},
        .codec = saga_codec_port(),
        .owner = "test",
        .seed = 1,
        .live_count_max = world->live_max == 0 ? 8 : world->live_max,
        .running_count_max = world->live_max == 0 ? 5 : 0,
        .recover_page_max = world->page_max,
        .cursor_delay_ms = 100,
    };
    assert_int_equal(saga_runtime_new(&config, &world->runtime, &detail), SAGA_ERR_OK);
    assert_int_equal(put_definitions(world, &detail), SAGA_ERR_OK);
    assert_int_equal(saga_runtime_add_version(world->runtime, &world->version, true), SAGA_ERR_OK);
    assert_int_equal(saga_runtime_add_version(world->runtime, &world->async, true), SAGA_ERR_OK);
    for (size_t i = 0; i < world->extra_count; i++) {
        assert_int_equal(saga_runtime_add_version(world->runtime, &world->extras[i], true),
                         SAGA_ERR_OK);
    }
    bool more = true;
    enum saga_err err = SAGA_ERR_OK;
    while (more && err == SAGA_ERR_OK) {
        err = saga_runtime_recover(world->runtime, world->now, &more, &detail);
    }
    return err;
}

/* Fills the extra versions from a file. */
static void load_extras(struct world *world, const char *set_path)
{
    struct saga_err_detail detail = {{0}};
    uint8_t piece[4096];
    FILE *file = fopen(set_path, "rb");
    assert_non_null(file);
    for (size_t size = 1; size > 0;) {
        size = fread(piece, 1, sizeof piece, file);
        assert_int_equal(saga_buf_append(&world->extra_set, (struct saga_bytes){piece, size}),
                         SAGA_ERR_OK);
    }
    assert_int_equal(fclose(file), 0);
    assert_int_equal(
        saga_schema_load(saga_buf_view(&world->extra_set), &world->extra_schema, &detail),
        SAGA_ERR_OK);
    assert_int_equal(saga_schema_finding_count(world->extra_schema), 0);
    world->extra_count = saga_schema_decl_count(world->extra_schema);
    assert_true(world->extra_count <= WORLD_EXTRA_MAX);
    for (size_t i = 0; i < world->extra_count; i++) {
        compile_version(saga_schema_decl_at(world->extra_schema, i), &world->extras[i]);
    }
}

void world_open(struct world *world)
{
    world_open_with(world, NULL);
}

void world_open_with(struct world *world, const char *set_path)
{
    *world = (struct world){.now = 1000000};
    const char *root = getenv("TMPDIR");
    (void)snprintf(world->path, sizeof world->path, "%s/saga-test-XXXXXX",
                   root == NULL ? "/tmp" : root);
    int file = mkstemp(world->path);
    assert_true(file >= 0);
    (void)close(file);
    the = world;
    load_schema(world);
    if (set_path != NULL) {
        load_extras(world, set_path);
    }
    assert_int_equal(world_open_runtime(world), SAGA_ERR_OK);
}

void world_close_runtime(struct world *world)
{
    saga_runtime_free(world->runtime);
    world->runtime = NULL;
    INNER->close(STORE);
}

void world_crash(struct world *world)
{
    world_close_runtime(world);
    world->fail_at = 0;
    world->sent_count = 0;
    world->answer_count = 0;
    world->dirty = false;
    assert_int_equal(world_open_runtime(world), SAGA_ERR_OK);
}

void world_fini(struct world *world)
{
    char name[160];
    if (world->runtime != NULL) {
        world_close_runtime(world);
    }
    saga_schema_free(world->schema);
    saga_schema_free(world->extra_schema);
    saga_buf_fini(&world->extra_set);
    (void)unlink(world->path);
    (void)snprintf(name, sizeof name, "%s-wal", world->path);
    (void)unlink(name);
    (void)snprintf(name, sizeof name, "%s-shm", world->path);
    (void)unlink(name);
}

void world_start(struct world *world, const char *key, int64_t order_id)
{
    uint8_t input[] = {0x08, (uint8_t)order_id, 0x10, 0x07}; /* order_id, customer_id: 7 */
    struct saga_start start = {.definition = "create-order",
                               .key = key,
                               .input = {input, sizeof input},
                               .traceparent = "",
                               .ticket = world};
    saga_runtime_start(world->runtime, &start);
}

void world_reply(struct world *world, size_t sent, enum saga_code code, struct saga_bytes payload)
{
    assert_true(sent < world->sent_count);
    const struct saga_outgoing *outgoing = &world->sent[sent];
    struct saga_runtime_reply reply = {
        .saga_id = outgoing->saga_id,
        .step = outgoing->step,
        .op = outgoing->op,
        .attempt = outgoing->attempt,
        .code = code,
        .reason = code == SAGA_CODE_OK ? "" : "SOME_REASON",
        .message = "",
        .payload = payload,
    };
    saga_runtime_reply(world->runtime, &reply);
}

void world_pause(struct world *world, const char *definition, enum saga_act act)
{
    struct saga_pause_act pause = {
        .definition = definition, .act = act, .who = "ann", .why = "because", .ticket = world};
    saga_runtime_pause(world->runtime, &pause);
}

enum saga_err world_turn(struct world *world)
{
    saga_runtime_turn_begin(world->runtime, world->now);
    return saga_runtime_turn_end(world->runtime, false, NULL);
}
