/* The hash of a definition: SHA-256 over a canonical form of all that the run of a saga depends on.
 * Numbers are written as 64 bits, little end first; texts with their size before them; so that no
 * two definitions have the same form. */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/schema_internal.h"

struct hasher {
    EVP_MD_CTX *digest;
    bool failed;
    const struct saga_schema *schema;
    const struct saga_message_type **queue; /* types to write: first come, first written */
    size_t queue_count;
    bool *seen; /* by message */
};

static void put_raw(struct hasher *hasher, const void *data, size_t size)
{
    if (!hasher->failed && EVP_DigestUpdate(hasher->digest, data, size) != 1) {
        hasher->failed = true;
    }
}

static void put_number(struct hasher *hasher, uint64_t number)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(number >> (8 * i));
    }
    put_raw(hasher, bytes, sizeof bytes);
}

static void put_text(struct hasher *hasher, const char *text)
{
    size_t size = strlen(text);
    put_number(hasher, size);
    put_raw(hasher, text, size);
}

/* Writes a type's name and sees to it that its fields are written too, once. */
static void put_type(struct hasher *hasher, const struct saga_message_type *type)
{
    put_text(hasher, type->name);
    size_t index = (size_t)(type - hasher->schema->messages);
    if (!hasher->seen[index]) {
        hasher->seen[index] = true;
        hasher->queue[hasher->queue_count++] = type;
    }
}

static void put_method(struct hasher *hasher, const struct saga_method *method,
                       const struct saga_service *service)
{
    put_number(hasher, method != NULL);
    if (method == NULL) {
        return;
    }
    put_text(hasher, method->full_name);
    put_type(hasher, method->request);
    put_type(hasher, method->response);
    put_text(hasher, service->command_topic);
    put_text(hasher, service->reply_topic);
}

static void put_table(struct hasher *hasher, const struct saga_bind_table *table)
{
    put_number(hasher, table->count);
    for (size_t i = 0; i < table->count; i++) {
        put_number(hasher, table->fields[i].from);
        put_number(hasher, table->fields[i].to);
    }
}

static void put_when(struct hasher *hasher, const struct saga_when *when)
{
    put_number(hasher, when->there);
    put_number(hasher, when->field);
    put_number(hasher, when->must_be_set);
    put_number(hasher, when->number);
    put_number(hasher, when->bytes.size);
    put_raw(hasher, when->bytes.data, when->bytes.size);
}

static void put_step(struct hasher *hasher, const struct saga_step_decl *step)
{
    put_text(hasher, step->name);
    if (step->child != NULL) {
        /* Where a method says whether it is there: no call makes this form. */
        put_number(hasher, 2);
        put_text(hasher, step->child->name);
        put_raw(hasher, step->child->hash, SAGA_HASH_SIZE);
    } else {
        put_method(hasher, step->call, step->call_service);
    }
    put_method(hasher, step->undo, step->undo_service);
    put_number(hasher, step->after_mask);
    put_number(hasher, step->read_only);
    put_number(hasher, step->pivot);
    put_number(hasher, (uint64_t)step->call_via);
    put_number(hasher, (uint64_t)step->undo_via);
    put_number(hasher, step->call_attempts_max);
    put_number(hasher, step->undo_attempts_max);
    put_number(hasher, (uint64_t)step->call_delay_ms);
    put_number(hasher, (uint64_t)step->call_delay_ms_max);
    put_number(hasher, (uint64_t)step->undo_delay_ms);
    put_number(hasher, (uint64_t)step->undo_delay_ms_max);
    put_number(hasher, (uint64_t)step->call_deadline_ms);
    put_number(hasher, (uint64_t)step->undo_deadline_ms);
    put_table(hasher, &step->call_bind);
    put_table(hasher, &step->undo_bind);
    put_table(hasher, &step->result_bind);
    put_when(hasher, &step->when);
}

static void put_enum(struct hasher *hasher, const struct saga_enum_type *type)
{
    put_text(hasher, type->name);
    put_number(hasher, type->value_count);
    for (size_t i = 0; i < type->value_count; i++) {
        put_text(hasher, type->values[i].name);
        put_number(hasher, (uint64_t)(int64_t)type->values[i].number);
    }
}

static int compare_fields(const void *a, const void *b)
{
    uint32_t left = (*(const struct saga_field *const *)a)->number;
    uint32_t right = (*(const struct saga_field *const *)b)->number;
    return left < right ? -1 : left > right ? 1 : 0;
}

/* Writes the fields of a type by number: their order in the file does not count. */
static void put_fields(struct hasher *hasher, const struct saga_message_type *type,
                       struct saga_arena *scratch)
{
    const struct saga_field **fields =
        saga_arena_take_zero(scratch, type->field_count, sizeof(void *));
    if (fields == NULL) {
        hasher->failed = true;
        return;
    }
    for (size_t i = 0; i < type->field_count; i++) {
        fields[i] = &type->fields[i];
    }
    qsort(fields, type->field_count, sizeof(void *), compare_fields);
    put_text(hasher, type->name);
    put_number(hasher, type->field_count);
    for (size_t i = 0; i < type->field_count; i++) {
        const struct saga_field *field = fields[i];
        put_text(hasher, field->name);
        put_number(hasher, field->number);
        put_number(hasher, (uint64_t)field->type);
        put_number(hasher, field->repeated);
        put_number(hasher, field->map);
        put_number(hasher, field->oneof ? 1 + (uint64_t)field->oneof_index : 0);
        if (field->message != NULL) {
            put_type(hasher, field->message);
        } else if (field->enumeration != NULL) {
            put_enum(hasher, field->enumeration);
        }
    }
}

enum saga_err saga_decl_hash(const struct saga_schema *schema, struct saga_decl *decl)
{
    struct saga_arena scratch = {0};
    struct hasher hasher = {.schema = schema, .digest = EVP_MD_CTX_new()};
    hasher.queue = saga_arena_take_zero(&scratch, schema->message_count, sizeof(void *));
    hasher.seen = saga_arena_take_zero(&scratch, schema->message_count, sizeof(bool));
    hasher.failed = hasher.digest == NULL || hasher.queue == NULL || hasher.seen == NULL ||
                    EVP_DigestInit_ex(hasher.digest, EVP_sha256(), NULL) != 1;
    if (!hasher.failed) {
        put_text(&hasher, "saga.v1.Definition/1"); /* version of this form */
        put_text(&hasher, decl->name);
        put_number(&hasher, (uint64_t)decl->deadline_ms);
        put_type(&hasher, decl->context);
        put_number(&hasher, decl->step_count);
        for (size_t i = 0; i < decl->step_count; i++) {
            put_step(&hasher, &decl->steps[i]);
        }
        for (size_t i = 0; i < hasher.queue_count && !hasher.failed; i++) {
            put_fields(&hasher, hasher.queue[i], &scratch);
        }
        hasher.failed = hasher.failed || EVP_DigestFinal_ex(hasher.digest, decl->hash, NULL) != 1;
    }
    EVP_MD_CTX_free(hasher.digest);
    saga_arena_fini(&scratch);
    return hasher.failed ? SAGA_ERR_NO_MEMORY : SAGA_ERR_OK;
}
