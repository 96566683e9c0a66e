/* Wire bytes from anybody, printed as JSON. What is printed can be read, and says the same once
 * more. The first two bytes say which type. */
#include <string.h>

#include "common/base/assert.h"
#include "common/wire/json/json.h"
#include "tests/fuzz/fuzz.h"

static bool has_null(struct saga_bytes text)
{
    for (size_t i = 0; i + 4 <= text.size; i++) {
        if (memcmp(text.data + i, "null", 4) == 0) {
            return true;
        }
    }
    return false;
}

/* What we print and cannot read: a key with a zero character (json.h). */
static void read_back(const struct saga_message_type *type, const struct saga_buf *text)
{
    struct saga_err_detail detail = {{0}};
    struct saga_buf wire = {0};
    struct saga_buf again = {0};
    enum saga_err err =
        saga_json_to_wire(fuzz_schema(), type, saga_buf_view(text), NULL, &wire, &detail);
    SAGA_ASSERT(err == SAGA_ERR_OK || strstr(detail.text, "NUL byte") != NULL);
    if (err == SAGA_ERR_OK) {
        err = saga_wire_to_json(fuzz_schema(), type, saga_buf_view(&wire), NULL, &again, &detail);
        SAGA_ASSERT(err == SAGA_ERR_OK);
        /* Whatever number a NullValue has, it is null, and null is number 0. */
        SAGA_ASSERT(has_null(saga_buf_view(text)) ||
                    saga_bytes_equal(saga_buf_view(text), saga_buf_view(&again)));
    }
    saga_buf_fini(&wire);
    saga_buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct saga_bytes wire = {data, size};
    const struct saga_message_type *type = fuzz_type(&wire);
    struct saga_err_detail detail = {{0}};
    struct saga_buf text = {0};
    const struct saga_json_options wide = {
        .print_defaults = true, .proto_names = true, .indent = 1};
    if (type == NULL) {
        return 0;
    }
    enum saga_err err = saga_wire_to_json(fuzz_schema(), type, wire, NULL, &text, &detail);
    if (err == SAGA_ERR_OK) {
        read_back(type, &text);
        saga_buf_clear(&text);
        err = saga_wire_to_json(fuzz_schema(), type, wire, &wide, &text, &detail);
        SAGA_ASSERT(err == SAGA_ERR_OK);
    } else {
        SAGA_ASSERT(text.size == 0 && detail.text[0] != '\0');
    }
    saga_buf_fini(&text);
    return 0;
}
