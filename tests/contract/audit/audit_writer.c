/* Writes the audit events of some random walks to stdout, each with its size before it (4 bytes,
 * big endian). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/codec/walk.h"

enum { WALKS = 200 };

struct chain {
    const struct saga_version *version;
    uint8_t last_hash[SAGA_DIGEST_SIZE];
};

static void write_event(void *user, const struct saga_event *ev, const struct saga *saga,
                        const struct saga_update *up)
{
    struct chain *chain = user;
    struct saga_buf buf = {0};
    struct saga_audit_input in = {
        .version = chain->version,
        .saga = saga,
        .ev = ev,
        .up = up,
        .reason = ev->code != 0 ? "A_REASON" : "",
        .message = ev->code != 0 ? "gr\xc3\xbc\xc3\x9f"
                                   "e"
                                 : "",
        .payload = saga_bytes_text(ev->seed % 2 == 0 ? "payload" : ""),
        .replayed = ev->attempt > 1,
        .who = "ann",
        .why = "because",
        .start_key = "key-1",
        .prev_hash = chain->last_hash,
    };
    if (saga_audit_encode(&in, &buf, chain->last_hash) != SAGA_ERR_OK) {
        abort();
    }
    const uint8_t size[4] = {(uint8_t)(buf.size >> 24), (uint8_t)(buf.size >> 16),
                             (uint8_t)(buf.size >> 8), (uint8_t)buf.size};
    if (fwrite(size, sizeof size, 1, stdout) != 1 || fwrite(buf.data, buf.size, 1, stdout) != 1) {
        abort();
    }
    saga_buf_fini(&buf);
}

int main(void)
{
    struct saga_schema *schema = walk_schema();
    struct saga_version version = walk_version(schema, "create-order");
    for (uint64_t seed = 1; seed <= WALKS; seed++) {
        struct chain chain = {.version = &version};
        walk_saga(&version, seed, write_event, &chain);
    }
    saga_schema_free(schema);
    return fflush(stdout) == 0 ? 0 : 1;
}
