/* The hash of a definition: SHA-256 over a canonical form of all that the run of a saga depends on.
 * Numbers are written as 64 bits, little end first; texts with their size before them; so that no
 * two definitions have the same form. The form of a type is the same in each definition that uses
 * it: it is made once in a schema, and an enum's once for all the fields that have it. */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/limits.h"
#include "common/wire/schema_internal.h"

/* Bytes of a form, made by someone else. */
struct piece {
    const uint8_t *data;
    size_t size;
};

/* What is written of a type: its pieces one after another. */
struct type_form {
    bool made;
    struct piece *pieces;
    size_t piece_count;
    size_t size;  /* of all pieces */
    size_t *uses; /* messages that it names, in the order of the form */
    size_t use_count;
};

struct saga_forms {
    const struct saga_schema *schema;
    struct saga_arena *arena;
    struct type_form *types; /* by message */
    struct piece *enums;     /* by enum; without data until it is made */
    size_t *queue;           /* types of the definition at hand: first come, first written */
    size_t queue_count;
    bool *seen;   /* by message: it is in the queue */
    size_t total; /* bytes hashed so far */
};

/* A form on its way. */
struct writer {
    const struct saga_schema *schema;
    struct saga_buf out;
    bool failed;
    size_t *uses; /* room for all that can be named */
    size_t use_count;
};

static void put_raw(struct writer *writer, const void *data, size_t size)
{
    struct saga_bytes bytes = {.data = data, .size = size};
    if (!writer->failed && saga_buf_append(&writer->out, bytes) != SAGA_ERR_OK) {
        writer->failed = true;
    }
}

static void put_number(struct writer *writer, uint64_t number)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(number >> (8 * i));
    }
    put_raw(writer, bytes, sizeof bytes);
}

static void put_text(struct writer *writer, const char *text)
{
    size_t size = strlen(text);
    put_number(writer, size);
    put_raw(writer, text, size);
}

/* Writes a type's name and notes that its fields are to be written too. */
static void put_type(struct writer *writer, const struct saga_message_type *type)
{
    put_text(writer, type->name);
    writer->uses[writer->use_count++] = (size_t)(type - writer->schema->messages);
}

static void put_method(struct writer *writer, const struct saga_method *method,
                       const struct saga_service *service)
{
    put_number(writer, method != NULL);
    if (method == NULL) {
        return;
    }
    put_text(writer, method->full_name);
    put_type(writer, method->request);
    put_type(writer, method->response);
    put_text(writer, service->command_topic);
    put_text(writer, service->reply_topic);
}

static void put_table(struct writer *writer, const struct saga_bind_table *table)
{
    put_number(writer, table->count);
    for (size_t i = 0; i < table->count; i++) {
        put_number(writer, table->fields[i].from);
        put_number(writer, table->fields[i].to);
    }
}

static void put_when(struct writer *writer, const struct saga_when *when)
{
    put_number(writer, when->there);
    put_number(writer, when->field);
    put_number(writer, when->must_be_set);
    put_number(writer, when->number);
    put_number(writer, when->bytes.size);
    put_raw(writer, when->bytes.data, when->bytes.size);
}

static void put_step(struct writer *writer, const struct saga_step_decl *step)
{
    put_text(writer, step->name);
    if (step->child != NULL) {
        /* Where a method says whether it is there: no call makes this form. */
        put_number(writer, 2);
        put_text(writer, step->child->name);
        put_raw(writer, step->child->hash, SAGA_HASH_SIZE);
    } else {
        put_method(writer, step->call, step->call_service);
    }
    put_method(writer, step->undo, step->undo_service);
    put_number(writer, step->after_mask);
    put_number(writer, step->read_only);
    put_number(writer, step->pivot);
    put_number(writer, (uint64_t)step->call_via);
    put_number(writer, (uint64_t)step->undo_via);
    put_number(writer, step->call_attempts_max);
    put_number(writer, step->undo_attempts_max);
    put_number(writer, (uint64_t)step->call_delay_ms);
    put_number(writer, (uint64_t)step->call_delay_ms_max);
    put_number(writer, (uint64_t)step->undo_delay_ms);
    put_number(writer, (uint64_t)step->undo_delay_ms_max);
    put_number(writer, (uint64_t)step->call_deadline_ms);
    put_number(writer, (uint64_t)step->undo_deadline_ms);
    put_table(writer, &step->call_bind);
    put_table(writer, &step->undo_bind);
    put_table(writer, &step->result_bind);
    put_when(writer, &step->when);
}

static void put_enum(struct writer *writer, const struct saga_enum_type *type)
{
    put_text(writer, type->name);
    put_number(writer, type->value_count);
    for (size_t i = 0; i < type->value_count; i++) {
        put_text(writer, type->values[i].name);
        put_number(writer, (uint64_t)(int64_t)type->values[i].number);
    }
}

static int compare_fields(const void *a, const void *b)
{
    uint32_t left = (*(const struct saga_field *const *)a)->number;
    uint32_t right = (*(const struct saga_field *const *)b)->number;
    return left < right ? -1 : left > right ? 1 : 0;
}

/* Copies what was written to the arena and empties the writer. */
static struct piece take_piece(struct writer *writer, struct saga_arena *arena)
{
    struct saga_bytes bytes = saga_buf_view(&writer->out);
    uint8_t *copy = saga_arena_take(arena, bytes.size + 1);
    if (copy == NULL || writer->failed) {
        writer->failed = true;
        return (struct piece){0};
    }
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    saga_buf_clear(&writer->out);
    return (struct piece){copy, bytes.size};
}

static struct piece enum_form(struct saga_forms *forms, const struct saga_enum_type *type,
                              struct writer *writer)
{
    struct piece *form = &forms->enums[type - forms->schema->enums];
    if (form->data == NULL) {
        put_enum(writer, type);
        *form = take_piece(writer, forms->arena);
    }
    return *form;
}

static void add_piece(struct type_form *form, struct piece piece)
{
    form->pieces[form->piece_count++] = piece;
    form->size += piece.size;
}

static void put_field(struct writer *writer, const struct saga_field *field)
{
    put_text(writer, field->name);
    put_number(writer, field->number);
    put_number(writer, (uint64_t)field->type);
    put_number(writer, field->repeated);
    put_number(writer, field->map);
    put_number(writer, field->oneof ? 1 + (uint64_t)field->oneof_index : 0);
    if (field->message != NULL) {
        put_type(writer, field->message);
    }
}

/* Makes the form of a type: its fields by number, since their order in the file does not count.
 * Returns false when there is no memory. */
static bool make_type_form(struct saga_forms *forms, const struct saga_message_type *type,
                           struct type_form *form)
{
    size_t count = type->field_count;
    struct writer writer = {.schema = forms->schema};
    const struct saga_field **fields = saga_arena_take_zero(forms->arena, count, sizeof(void *));
    writer.uses = saga_arena_take_zero(forms->arena, count, sizeof(size_t));
    form->pieces = saga_arena_take_zero(forms->arena, 2 * count + 1, sizeof(struct piece));
    if (fields == NULL || writer.uses == NULL || form->pieces == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        fields[i] = &type->fields[i];
    }
    qsort(fields, count, sizeof(void *), compare_fields);
    put_text(&writer, type->name);
    put_number(&writer, count);
    for (size_t i = 0; i < count; i++) {
        put_field(&writer, fields[i]);
        if (fields[i]->message == NULL && fields[i]->enumeration != NULL) {
            add_piece(form, take_piece(&writer, forms->arena));
            add_piece(form, enum_form(forms, fields[i]->enumeration, &writer));
        }
    }
    add_piece(form, take_piece(&writer, forms->arena));
    form->uses = writer.uses;
    form->use_count = writer.use_count;
    form->made = !writer.failed;
    saga_buf_fini(&writer.out);
    return form->made;
}

static void enqueue(struct saga_forms *forms, const size_t *uses, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!forms->seen[uses[i]]) {
            forms->seen[uses[i]] = true;
            forms->queue[forms->queue_count++] = uses[i];
        }
    }
}

static enum saga_err update(struct saga_forms *forms, EVP_MD_CTX *digest, struct piece piece)
{
    forms->total += piece.size;
    return EVP_DigestUpdate(digest, piece.data, piece.size) == 1 ? SAGA_ERR_OK : SAGA_ERR_NO_MEMORY;
}

/* Hashes the types in the queue, and those that they name. */
static enum saga_err hash_types(struct saga_forms *forms, EVP_MD_CTX *digest)
{
    enum saga_err err = SAGA_ERR_OK;
    for (size_t i = 0; i < forms->queue_count && err == SAGA_ERR_OK; i++) {
        struct type_form *form = &forms->types[forms->queue[i]];
        if (!form->made &&
            !make_type_form(forms, &forms->schema->messages[forms->queue[i]], form)) {
            return SAGA_ERR_NO_MEMORY;
        }
        if (form->size > SAGA_FORMS_SIZE_MAX - forms->total) {
            return SAGA_ERR_LIMIT;
        }
        enqueue(forms, form->uses, form->use_count);
        for (size_t k = 0; k < form->piece_count && err == SAGA_ERR_OK; k++) {
            err = update(forms, digest, form->pieces[k]);
        }
    }
    return err;
}

/* Writes what comes before the types. */
static void put_decl(struct writer *writer, const struct saga_decl *decl)
{
    put_text(writer, "saga.v1.Definition/1"); /* version of this form */
    put_text(writer, decl->name);
    put_number(writer, (uint64_t)decl->deadline_ms);
    put_type(writer, decl->context);
    put_number(writer, decl->step_count);
    for (size_t i = 0; i < decl->step_count; i++) {
        put_step(writer, &decl->steps[i]);
    }
}

struct saga_forms *saga_forms_open(const struct saga_schema *schema, struct saga_arena *arena)
{
    struct saga_forms *forms = saga_arena_take_zero(arena, 1, sizeof *forms);
    if (forms == NULL) {
        return NULL;
    }
    forms->schema = schema;
    forms->arena = arena;
    forms->types = saga_arena_take_zero(arena, schema->message_count, sizeof *forms->types);
    forms->enums = saga_arena_take_zero(arena, schema->enum_count, sizeof *forms->enums);
    forms->queue = saga_arena_take_zero(arena, schema->message_count, sizeof *forms->queue);
    forms->seen = saga_arena_take_zero(arena, schema->message_count, sizeof *forms->seen);
    bool good =
        forms->types != NULL && forms->enums != NULL && forms->queue != NULL && forms->seen != NULL;
    return good ? forms : NULL;
}

enum saga_err saga_decl_hash(struct saga_forms *forms, struct saga_decl *decl)
{
    size_t uses[1 + 4 * SAGA_STEPS_MAX]; /* the context, and two types of each call and undo */
    struct writer writer = {.schema = forms->schema, .uses = uses};
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    bool good = digest != NULL && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1;
    enum saga_err err = good ? SAGA_ERR_OK : SAGA_ERR_NO_MEMORY;
    put_decl(&writer, decl);
    if (err == SAGA_ERR_OK && !writer.failed) {
        struct saga_bytes head = saga_buf_view(&writer.out);
        err = update(forms, digest, (struct piece){head.data, head.size});
    }
    enqueue(forms, uses, writer.use_count);
    if (err == SAGA_ERR_OK) {
        err = writer.failed ? SAGA_ERR_NO_MEMORY : hash_types(forms, digest);
    }
    if (err == SAGA_ERR_OK && EVP_DigestFinal_ex(digest, decl->hash, NULL) != 1) {
        err = SAGA_ERR_NO_MEMORY;
    }
    while (forms->queue_count > 0) {
        forms->seen[forms->queue[--forms->queue_count]] = false;
    }
    EVP_MD_CTX_free(digest);
    saga_buf_fini(&writer.out);
    return err;
}
