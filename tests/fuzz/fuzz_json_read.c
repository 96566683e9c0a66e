/* JSON from anybody. What is taken is a message of its type, is printed, and comes back the same.
 * The first two bytes say which type. */
#include <string.h>

#include "common/base/assert.h"
#include "common/wire/json/json.h"
#include "tests/fuzz/fuzz.h"

/* Prints wire bytes; false: they have no JSON form (too deep once it is printed). */
static bool print(const struct saga_message_type *type, const struct saga_buf *wire,
                  struct saga_buf *text)
{
    struct saga_err_detail detail = {{0}};
    enum saga_err err =
        saga_wire_to_json(fuzz_schema(), type, saga_buf_view(wire), NULL, text, &detail);
    SAGA_ASSERT(err == SAGA_ERR_OK || err == SAGA_ERR_LIMIT || err == SAGA_ERR_INVALID);
    return err == SAGA_ERR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct saga_bytes json = {data, size};
    const struct saga_message_type *type = fuzz_type(&json);
    struct saga_err_detail detail = {{0}};
    struct saga_buf wire = {0};
    struct saga_buf text = {0};
    struct saga_buf again = {0};
    struct saga_buf other = {0};
    const struct saga_json_options lenient = {.ignore_unknown = true};
    if (type != NULL &&
        saga_json_to_wire(fuzz_schema(), type, json, NULL, &wire, &detail) == SAGA_ERR_OK) {
        enum saga_err err = saga_message_check(type, saga_buf_view(&wire), &detail);
        SAGA_ASSERT(err == SAGA_ERR_OK);
        if (print(type, &wire, &text)) {
            err =
                saga_json_to_wire(fuzz_schema(), type, saga_buf_view(&text), NULL, &again, &detail);
            SAGA_ASSERT(err == SAGA_ERR_OK);
            bool good = print(type, &again, &other);
            SAGA_ASSERT(good);
            SAGA_ASSERT(saga_bytes_equal(saga_buf_view(&text), saga_buf_view(&other)));
        }
        saga_buf_clear(&again);
        err = saga_json_to_wire(fuzz_schema(), type, json, &lenient, &again, &detail);
        SAGA_ASSERT(err == SAGA_ERR_OK);
        SAGA_ASSERT(saga_bytes_equal(saga_buf_view(&wire), saga_buf_view(&again)));
    } else if (type != NULL) {
        SAGA_ASSERT(wire.size == 0 && detail.text[0] != '\0');
        enum saga_err err = saga_json_to_wire(fuzz_schema(), type, json, &lenient, &again, NULL);
        SAGA_ASSERT(err == SAGA_ERR_OK || again.size == 0);
    }
    saga_buf_fini(&wire);
    saga_buf_fini(&text);
    saga_buf_fini(&again);
    saga_buf_fini(&other);
    return 0;
}
