/* The C side of test_round_trip: reads records from stdin, decodes each with protobuf-c as the
 * daemons do, and writes what it encodes. A record is: size of the name, name, size of the bytes,
 * bytes; sizes are 4 bytes, little end first. The answer is a size and the bytes; the size is
 * 0xffffffff when the message was refused. The names "envelope:…" stand for our own envelope code.
 */
#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/wire/envelope.h"
#include "common/wire/schema.h"
#include "customer/v1/customer.pb-c.h"
#include "descriptor_set.h"
#include "kitchen/v1/kitchen.pb-c.h"
#include "order/v1/create_order.pb-c.h"
#include "order/v1/order.pb-c.h"
#include "payment/v1/payment.pb-c.h"
#include "product/v1/product.pb-c.h"
#include "saga/v1/audit.pb-c.h"
#include "saga/v1/command.pb-c.h"
#include "saga/v1/health.pb-c.h"
#include "saga/v1/options.pb-c.h"
#include "saga/v1/orchestrator.pb-c.h"
#include "saga/v1/reflection.pb-c.h"

static const ProtobufCMessageDescriptor *const types[] = {
    &customer__v1__validate_customer_request__descriptor,
    &customer__v1__validate_customer_response__descriptor,
    &kitchen__v1__create_ticket_request__descriptor,
    &kitchen__v1__create_ticket_response__descriptor,
    &kitchen__v1__cancel_ticket_request__descriptor,
    &kitchen__v1__cancel_ticket_response__descriptor,
    &kitchen__v1__approve_ticket_request__descriptor,
    &kitchen__v1__approve_ticket_response__descriptor,
    &order__v1__create_order__descriptor,
    &order__v1__create_order_async__descriptor,
    &order__v1__order_item__descriptor,
    &order__v1__order__descriptor,
    &order__v1__place_order_request__descriptor,
    &order__v1__place_order_response__descriptor,
    &order__v1__get_order_request__descriptor,
    &order__v1__get_order_response__descriptor,
    &order__v1__list_orders_request__descriptor,
    &order__v1__list_orders_response__descriptor,
    &order__v1__approve_order_request__descriptor,
    &order__v1__approve_order_response__descriptor,
    &order__v1__reject_order_request__descriptor,
    &order__v1__reject_order_response__descriptor,
    &payment__v1__authorize_payment_request__descriptor,
    &payment__v1__authorize_payment_response__descriptor,
    &payment__v1__refund_payment_request__descriptor,
    &payment__v1__refund_payment_response__descriptor,
    &product__v1__reserve_stock_request__descriptor,
    &product__v1__reserve_stock_response__descriptor,
    &product__v1__release_stock_request__descriptor,
    &product__v1__release_stock_response__descriptor,
    &saga__v1__transition__descriptor,
    &saga__v1__decision__descriptor,
    &saga__v1__operator__descriptor,
    &saga__v1__audit_event__descriptor,
    &saga__v1__effect_event__descriptor,
    &saga__v1__status__descriptor,
    &saga__v1__failure__descriptor,
    &saga__v1__metadata__descriptor,
    &saga__v1__command__descriptor,
    &saga__v1__reply__descriptor,
    &saga__v1__command_batch__descriptor,
    &saga__v1__reply_batch__descriptor,
    &saga__v1__check_request__descriptor,
    &saga__v1__health_part__descriptor,
    &saga__v1__check_response__descriptor,
    &saga__v1__retry_policy__descriptor,
    &saga__v1__bind__descriptor,
    &saga__v1__when__descriptor,
    &saga__v1__step__descriptor,
    &saga__v1__definition__descriptor,
    &saga__v1__topics__descriptor,
    &saga__v1__start_saga_request__descriptor,
    &saga__v1__start_saga_response__descriptor,
    &saga__v1__step_view__descriptor,
    &saga__v1__saga_view__descriptor,
    &saga__v1__get_saga_request__descriptor,
    &saga__v1__get_saga_response__descriptor,
    &saga__v1__list_sagas_request__descriptor,
    &saga__v1__list_sagas_response__descriptor,
    &saga__v1__watch_saga_request__descriptor,
    &saga__v1__watch_saga_response__descriptor,
    &saga__v1__pause__descriptor,
    &saga__v1__pause_definition_request__descriptor,
    &saga__v1__pause_definition_response__descriptor,
    &saga__v1__resume_definition_request__descriptor,
    &saga__v1__resume_definition_response__descriptor,
    &saga__v1__participant_address__descriptor,
    &saga__v1__apply_definitions_request__descriptor,
    &saga__v1__applied_definition__descriptor,
    &saga__v1__address_change__descriptor,
    &saga__v1__apply_definitions_response__descriptor,
    &saga__v1__remove_definition_request__descriptor,
    &saga__v1__remove_definition_response__descriptor,
    &saga__v1__operate_saga_request__descriptor,
    &saga__v1__operate_saga_response__descriptor,
    &saga__v1__list_definitions_request__descriptor,
    &saga__v1__definition_view__descriptor,
    &saga__v1__list_definitions_response__descriptor,
    &saga__v1__get_descriptor_set_request__descriptor,
    &saga__v1__get_descriptor_set_response__descriptor,
};

enum { NAME_SIZE = 256, RECORD_SIZE_MAX = 4 * 1024 * 1024 };

static bool read_size(uint32_t *size)
{
    unsigned char bytes[4];
    if (fread(bytes, 1, sizeof bytes, stdin) != sizeof bytes) {
        return false;
    }
    *size = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
            (uint32_t)bytes[3] << 24;
    return true;
}

static void write_size(uint32_t size)
{
    unsigned char bytes[4] = {(unsigned char)size, (unsigned char)(size >> 8),
                              (unsigned char)(size >> 16), (unsigned char)(size >> 24)};
    if (fwrite(bytes, 1, sizeof bytes, stdout) != sizeof bytes) {
        exit(3);
    }
}

static bool echo_commands(struct saga_bytes bytes, struct saga_arena *arena, struct saga_buf *out)
{
    struct saga_command *commands = NULL;
    size_t count = 0;
    struct saga_status status;
    if (saga_command_batch_decode(bytes, arena, &commands, &count, &status) != SAGA_ERR_OK) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        size_t before = out->size;
        if (saga_command_batch_add(&commands[i], out) != SAGA_ERR_OK ||
            out->size - before > saga_command_size_bound(&commands[i])) {
            return false;
        }
    }
    return true;
}

static bool echo_replies(struct saga_bytes bytes, struct saga_arena *arena, struct saga_buf *out)
{
    struct saga_reply *replies = NULL;
    size_t count = 0;
    struct saga_status status;
    if (saga_reply_batch_decode(bytes, arena, &replies, &count, &status) != SAGA_ERR_OK) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        size_t before = out->size;
        if (saga_reply_batch_add(&replies[i], out) != SAGA_ERR_OK ||
            out->size - before > saga_reply_size_bound(&replies[i])) {
            return false;
        }
    }
    return true;
}

static bool echo_one(const char *name, struct saga_bytes bytes, struct saga_arena *arena,
                     struct saga_buf *out)
{
    struct saga_status status;
    if (strcmp(name, "envelope:Command") == 0) {
        struct saga_command command;
        return saga_command_decode(bytes, arena, &command, &status) == SAGA_ERR_OK &&
               saga_command_encode(&command, out) == SAGA_ERR_OK;
    }
    struct saga_reply reply;
    return saga_reply_decode(bytes, arena, &reply, &status) == SAGA_ERR_OK &&
           saga_reply_encode(&reply, out) == SAGA_ERR_OK;
}

/* Decodes and encodes with protobuf-c, and has the schema's own check look at the same bytes. */
static bool echo_generated(const struct saga_schema *schema, const char *name,
                           struct saga_bytes bytes, struct saga_arena *arena, struct saga_buf *out)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(types[i]->name, name) != 0) {
            continue;
        }
        const ProtobufCMessage *message = saga_message_decode(types[i], bytes, arena);
        if (message == NULL) {
            return false;
        }
        const struct saga_message_type *type = saga_schema_message(schema, name);
        return type != NULL && saga_message_check(type, bytes, NULL) == SAGA_ERR_OK &&
               saga_message_encode(message, out) == SAGA_ERR_OK;
    }
    (void)fprintf(stderr, "no type %s\n", name);
    exit(4);
}

static bool echo(const struct saga_schema *schema, const char *name, struct saga_bytes bytes,
                 struct saga_arena *arena, struct saga_buf *out)
{
    if (strcmp(name, "envelope:CommandBatch") == 0) {
        return echo_commands(bytes, arena, out);
    }
    if (strcmp(name, "envelope:ReplyBatch") == 0) {
        return echo_replies(bytes, arena, out);
    }
    return strncmp(name, "envelope:", 9) == 0 ? echo_one(name, bytes, arena, out)
                                              : echo_generated(schema, name, bytes, arena, out);
}

static void serve(const struct saga_schema *schema, uint8_t *data)
{
    struct saga_arena arena = {0};
    struct saga_buf out = {0};
    uint32_t name_size = 0;
    while (read_size(&name_size)) {
        char name[NAME_SIZE] = "";
        uint32_t size = 0;
        if (name_size >= NAME_SIZE || fread(name, 1, name_size, stdin) != name_size ||
            !read_size(&size) || size > RECORD_SIZE_MAX || fread(data, 1, size, stdin) != size) {
            exit(5);
        }
        saga_buf_clear(&out);
        bool good = echo(schema, name, (struct saga_bytes){data, size}, &arena, &out);
        write_size(good ? (uint32_t)out.size : UINT32_MAX);
        if (good && out.size > 0 && fwrite(out.data, 1, out.size, stdout) != out.size) {
            exit(6);
        }
        (void)fflush(stdout);
        saga_arena_clear(&arena);
    }
    saga_arena_fini(&arena);
    saga_buf_fini(&out);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--types") == 0) {
        for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
            (void)printf("%s\n", types[i]->name);
        }
        return 0;
    }
    struct saga_schema *schema = NULL;
    struct saga_bytes set = {saga_descriptor_set, saga_descriptor_set_size};
    uint8_t *data = malloc(RECORD_SIZE_MAX);
    if (data == NULL || saga_schema_load(set, &schema, NULL) != SAGA_ERR_OK) {
        return 7;
    }
    serve(schema, data);
    saga_schema_free(schema);
    free(data);
    return 0;
}
