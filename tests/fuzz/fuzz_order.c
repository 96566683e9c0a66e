/* The body of POST /orders from anybody. What is taken is in bounds; what is refused names a field
 * and says why, in UTF-8; what is stored of it is read again as the same. */
#include <string.h>

#include "common/base/assert.h"
#include "common/wire/wire.h"
#include "services/order/order_json.h"
#include "tests/fuzz/fuzz.h"

static void stored(const struct saga_order_request *request)
{
    static char text[SAGA_ORDER_ITEMS_TEXT_SIZE];
    struct saga_order_line lines[SAGA_ORDER_LINES_MAX];
    size_t count = 0;
    saga_order_items_write(request->lines, request->line_count, text);
    bool good = saga_order_items_read(text, lines, &count);
    SAGA_ASSERT(good && count == request->line_count);
    for (size_t i = 0; i < count; i++) {
        SAGA_ASSERT(lines[i].product_id == request->lines[i].product_id);
        SAGA_ASSERT(lines[i].quantity == request->lines[i].quantity);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct saga_order_request request = {0};
    struct saga_order_fault fault = {{0}, {0}};
    if (saga_order_request_read((struct saga_bytes){data, size}, &request, &fault)) {
        SAGA_ASSERT(request.line_count >= 1 && request.line_count <= SAGA_ORDER_LINES_MAX);
        stored(&request);
    } else {
        SAGA_ASSERT(fault.message[0] != '\0'); /* the field may be one that has no letters */
        SAGA_ASSERT(saga_wire_utf8(saga_bytes_text(fault.field)));
        SAGA_ASSERT(saga_wire_utf8(saga_bytes_text(fault.message)));
    }
    return 0;
}
