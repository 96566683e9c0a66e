/* Enums and services of OLD and NEW. */
#include <stdio.h>
#include <string.h>

#include "verify/compat/internal.h"

/* ---- Enums ---- */

static bool has_value(const raw_enum *type, int32_t number, const char *name)
{
    for (size_t i = 0; i < type->n_value; i++) {
        if ((type->value[i]->number == number) &&
            (name == NULL || strcmp(compat_text(type->value[i]->name), name) == 0)) {
            return true;
        }
    }
    return false;
}

static const raw_value *value_named(const raw_enum *type, const char *name)
{
    for (size_t i = 0; i < type->n_value; i++) {
        if (strcmp(compat_text(type->value[i]->name), name) == 0) {
            return type->value[i];
        }
    }
    return NULL;
}

static const char *value_numbered(const raw_enum *type, int32_t number)
{
    for (size_t i = 0; i < type->n_value; i++) {
        if (type->value[i]->number == number) {
            return compat_text(type->value[i]->name);
        }
    }
    return NULL;
}

static bool value_number_reserved(const raw_enum *type, int32_t number)
{
    for (size_t i = 0; i < type->n_reserved_range; i++) {
        /* Of enums both ends count. */
        if (type->reserved_range[i]->start <= number && number <= type->reserved_range[i]->end) {
            return true;
        }
    }
    return false;
}

static bool value_name_reserved(const raw_enum *type, const char *name)
{
    for (size_t i = 0; i < type->n_reserved_name; i++) {
        if (strcmp(compat_text(type->reserved_name[i]), name) == 0) {
            return true;
        }
    }
    return false;
}

/* A value of OLD that NEW does not have under its name and number. */
static void tell_value(struct saga_compat *report, const struct compat_item *new_item,
                       const raw_value *value, struct compat_note note)
{
    const raw_enum *b = new_item->raw.enumeration;
    const char *name = compat_text(value->name);
    const char *renamed = value_numbered(b, value->number);
    if (renamed != NULL) {
        note.code = SAGA_COMPAT_ENUM_VALUE_RENAMED;
        compat_add(
            report, &note,
            "number %d was \"%s\" and is \"%s\": JSON and `when` conditions go by name; keep "
            "the old name beside the new one, with allow_alias",
            (int)value->number, name, renamed);
        return;
    }
    if (!value_number_reserved(b, value->number)) {
        note.code = SAGA_COMPAT_ENUM_VALUE_REMOVED;
        compat_add(report, &note,
                   "it is gone, and number %d is not reserved: old bytes still hold it; keep the "
                   "value, or write `reserved %d;` when nobody sends it any more",
                   (int)value->number, (int)value->number);
    }
    if (!value_name_reserved(b, name)) {
        note.code = SAGA_COMPAT_ENUM_VALUE_NAME_RELEASED;
        const raw_value *now = value_named(b, name);
        if (now != NULL) {
            compat_add(
                report, &note,
                "its number was %d and is %d: JSON written before is read as the new number; "
                "keep the number",
                (int)value->number, (int)now->number);
        } else {
            compat_add(report, &note,
                       "it is gone, and its name is not reserved: given to another value, it would "
                       "be read out of old JSON; write `reserved \"%s\";`",
                       name);
        }
    }
}

static void check_values_reused(struct saga_compat *report, const struct compat_item *old_item,
                                const struct compat_item *new_item)
{
    const raw_enum *a = old_item->raw.enumeration;
    const raw_enum *b = new_item->raw.enumeration;
    for (size_t i = 0; i < b->n_value; i++) {
        const char *name = compat_text(b->value[i]->name);
        bool number = value_number_reserved(a, b->value[i]->number);
        if (!number && !value_name_reserved(a, name)) {
            continue;
        }
        char where[WHERE_SIZE];
        (void)snprintf(where, sizeof where, "%s.%s", new_item->name, name);
        struct compat_tail tail = {{PATH_ENUM_VALUE, (int32_t)i}, 2};
        struct compat_note note = {
            .code = SAGA_COMPAT_RESERVED_REUSED,
            .spot = compat_spot_item(report, new_item, tail),
            .where = where,
        };
        compat_add(report, &note,
                   "its %s was reserved: an earlier value had it and may still be sent; take %s",
                   number ? "number" : "name", number ? "a new number" : "another name");
    }
}

static bool range_kept(const raw_enum *b, int64_t start, int64_t end)
{
    /* Pieces of one range may lie in several; each step jumps behind the one that holds `at`. */
    int64_t at = start;
    bool moved = true;
    while (at <= end && moved) {
        moved = false;
        for (size_t i = 0; i < b->n_reserved_range; i++) {
            if (b->reserved_range[i]->start <= at && at <= b->reserved_range[i]->end) {
                at = (int64_t)b->reserved_range[i]->end + 1;
                moved = true;
            }
        }
    }
    return at > end || (at >= INT32_MIN && at <= INT32_MAX && has_value(b, (int32_t)at, NULL));
}

static void check_values_reserved(struct saga_compat *report, const struct compat_item *old_item,
                                  const struct compat_item *new_item)
{
    const raw_enum *a = old_item->raw.enumeration;
    const raw_enum *b = new_item->raw.enumeration;
    struct compat_note note = {
        .code = SAGA_COMPAT_RESERVED_REMOVED,
        .spot = compat_spot_item(report, new_item, (struct compat_tail){{0}, 0}),
        .where = old_item->name,
    };
    for (size_t i = 0; i < a->n_reserved_range; i++) {
        if (!range_kept(b, a->reserved_range[i]->start, a->reserved_range[i]->end)) {
            int start = (int)a->reserved_range[i]->start;
            int end = (int)a->reserved_range[i]->end;
            char range[64];
            if (start == end) {
                (void)snprintf(range, sizeof range, "number %d is", start);
            } else {
                (void)snprintf(range, sizeof range, "of the numbers %d to %d some are", start, end);
            }
            compat_add(report, &note,
                       "%s no longer reserved: nothing keeps it from being used again; keep "
                       "`reserved`",
                       range);
        }
    }
    for (size_t i = 0; i < a->n_reserved_name; i++) {
        const char *name = compat_text(a->reserved_name[i]);
        if (!value_name_reserved(b, name) && value_named(b, name) == NULL) {
            compat_add(report, &note,
                       "the name \"%s\" is no longer reserved: nothing keeps it from being used "
                       "again; keep `reserved`",
                       name);
        }
    }
}

void compat_enum(struct saga_compat *report, const struct compat_item *old_item,
                 const struct compat_item *new_item)
{
    const raw_enum *a = old_item->raw.enumeration;
    const raw_enum *b = new_item->raw.enumeration;
    for (size_t i = 0; i < a->n_value; i++) {
        const raw_value *value = a->value[i];
        if (has_value(b, value->number, compat_text(value->name))) {
            continue;
        }
        char where[WHERE_SIZE];
        (void)snprintf(where, sizeof where, "%s.%s", old_item->name, compat_text(value->name));
        size_t at = 0;
        while (at < b->n_value && b->value[at]->number != value->number) {
            at++;
        }
        bool there = at < b->n_value;
        struct compat_tail tail = {{PATH_ENUM_VALUE, (int32_t)(there ? at : i)}, 2};
        struct compat_note note = {.where = where};
        note.spot = compat_spot_item(report, there ? new_item : old_item, tail);
        tell_value(report, new_item, value, note);
    }
    if (a->n_value > 0 && b->n_value > 0 && a->value[0]->number != b->value[0]->number) {
        struct compat_note note = {
            .code = SAGA_COMPAT_ENUM_DEFAULT_CHANGED,
            .spot = compat_spot_item(report, new_item, (struct compat_tail){{0}, 0}),
            .where = old_item->name,
        };
        compat_add(report, &note,
                   "its first value was %s = %d and is %s = %d: that is what an absent field "
                   "means; keep the first value first",
                   compat_text(a->value[0]->name), (int)a->value[0]->number,
                   compat_text(b->value[0]->name), (int)b->value[0]->number);
    }
    check_values_reused(report, old_item, new_item);
    check_values_reserved(report, old_item, new_item);
}

/* ---- Services ---- */

static const raw_method *method_named(const raw_service *service, const char *name, size_t *index)
{
    for (size_t i = 0; i < service->n_method; i++) {
        if (strcmp(compat_text(service->method[i]->name), name) == 0) {
            *index = i;
            return service->method[i];
        }
    }
    return NULL;
}

static const char *streaming(const raw_method *method)
{
    bool client = method->has_client_streaming && method->client_streaming;
    bool server = method->has_server_streaming && method->server_streaming;
    return client ? (server ? "a stream both ways" : "a stream of requests")
                  : (server ? "a stream of responses" : "one request and one response");
}

static const char *idempotency(const raw_method *method)
{
    if (method->options == NULL || !method->options->has_idempotency_level) {
        return "IDEMPOTENCY_UNKNOWN";
    }
    switch ((int)method->options->idempotency_level) {
    case 1:
        return "NO_SIDE_EFFECTS";
    case 2:
        return "IDEMPOTENT";
    default:
        return "IDEMPOTENCY_UNKNOWN";
    }
}

static void compare_method(struct saga_compat *report, const raw_method *a, const raw_method *b,
                           struct compat_note note)
{
    if (!compat_same_type(report, a->input_type, b->input_type)) {
        note.code = SAGA_COMPAT_METHOD_REQUEST_CHANGED;
        compat_add(report, &note,
                   "its request was %s and is %s: callers send the old one; keep the type, or add "
                   "a method",
                   compat_bare(a->input_type), compat_bare(b->input_type));
    }
    if (!compat_same_type(report, a->output_type, b->output_type)) {
        note.code = SAGA_COMPAT_METHOD_RESPONSE_CHANGED;
        compat_add(report, &note,
                   "its response was %s and is %s: callers read the old one; keep the type, or add "
                   "a method",
                   compat_bare(a->output_type), compat_bare(b->output_type));
    }
    if (strcmp(streaming(a), streaming(b)) != 0) {
        note.code = SAGA_COMPAT_METHOD_STREAMING_CHANGED;
        compat_add(report, &note, "it was %s and is %s: add a method instead", streaming(a),
                   streaming(b));
    }
    if (strcmp(idempotency(a), idempotency(b)) != 0) {
        note.code = SAGA_COMPAT_METHOD_IDEMPOTENCY_CHANGED;
        compat_add(report, &note,
                   "its idempotency_level was %s and is %s: only a method without side effects has "
                   "no row at the barrier, none in the effects' book, and needs no undo; add a "
                   "method instead",
                   idempotency(a), idempotency(b));
    }
}

static void compare_topics(struct saga_compat *report, const struct compat_item *old_item,
                           const struct compat_item *new_item)
{
    const struct saga_service *a = saga_schema_service(report->old_schema, old_item->name);
    const struct saga_service *b = saga_schema_service(report->new_schema, new_item->name);
    if (a == NULL || b == NULL || a->command_topic[0] == '\0') {
        return;
    }
    struct compat_note note = {
        .code = SAGA_COMPAT_SERVICE_TOPICS_CHANGED,
        .spot = compat_spot_item(report, new_item, (struct compat_tail){{0}, 0}),
        .where = old_item->name,
    };
    if (strcmp(a->command_topic, b->command_topic) != 0) {
        compat_add(report, &note,
                   "its command topic was %s and is %s: what is on its way is read by "
                   "nobody; let the service take both until the old one is empty",
                   compat_quote(report, a->command_topic), compat_quote(report, b->command_topic));
    }
    if (strcmp(a->reply_topic, b->reply_topic) != 0) {
        compat_add(report, &note,
                   "its reply topic was %s and is %s: a reply counts only from the topic that the "
                   "saga's version names; answer on the old one too until those in flight have "
                   "drained",
                   compat_quote(report, a->reply_topic), compat_quote(report, b->reply_topic));
    }
}

void compat_service(struct saga_compat *report, const struct compat_item *old_item,
                    const struct compat_item *new_item)
{
    const raw_service *a = old_item->raw.service;
    const raw_service *b = new_item->raw.service;
    for (size_t i = 0; i < a->n_method; i++) {
        char where[WHERE_SIZE];
        size_t index = 0;
        const raw_method *now = method_named(b, compat_text(a->method[i]->name), &index);
        (void)snprintf(where, sizeof where, "%s/%s", old_item->name,
                       compat_text(a->method[i]->name));
        struct compat_tail tail = {{PATH_SERVICE_METHOD, (int32_t)(now == NULL ? i : index)}, 2};
        struct compat_note note = {
            .code = SAGA_COMPAT_METHOD_REMOVED,
            .spot = compat_spot_item(report, now == NULL ? old_item : new_item, tail),
            .where = where,
        };
        if (now == NULL) {
            compat_add(report, &note,
                       "it is gone: who calls it is answered UNIMPLEMENTED; keep it, deprecated, "
                       "until nobody calls it");
        } else {
            compare_method(report, a->method[i], now, note);
        }
    }
    compare_topics(report, old_item, new_item);
}
