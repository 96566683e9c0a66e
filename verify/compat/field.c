/* One field of OLD and of NEW: name, type, cardinality, oneof, presence, default. */
#include <stdio.h>
#include <string.h>

#include "verify/compat/internal.h"

static void tell(struct saga_compat *report, const struct compat_pair *pair,
                 enum saga_compat_code code, const char *text)
{
    struct compat_note note = {.code = code, .spot = pair->spot, .where = pair->where};
    compat_add(report, &note, "%s", text);
}

static bool repeated(const raw_field *field)
{
    return field->has_label &&
           field->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED;
}

static bool required(const raw_field *field)
{
    return field->has_label &&
           field->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REQUIRED;
}

static bool is_map(const struct compat_set *set, const raw_field *field)
{
    if (!repeated(field) || (int)field->type != SAGA_FIELD_MESSAGE) {
        return false;
    }
    const struct compat_item *entry =
        compat_set_find(set, compat_bare(field->type_name), ITEM_MESSAGE);
    return entry != NULL && entry->map_entry;
}

/* ---- Names ---- */

static void compare_names(struct saga_compat *report, const struct compat_pair *pair)
{
    const raw_field *a = pair->old_field;
    const raw_field *b = pair->new_field;
    struct compat_note note = {.spot = pair->spot, .where = pair->where};
    if (strcmp(compat_text(a->name), compat_text(b->name)) != 0) {
        note.code = SAGA_COMPAT_FIELD_RENAMED;
        compat_add(report, &note,
                   "number %d was \"%s\" and is \"%s\": JSON goes by name, and so does the data "
                   "flow of sagas; keep the name, or add a field with a new number and reserve "
                   "this one",
                   (int)a->number, compat_text(a->name), compat_text(b->name));
    } else if (a->json_name != NULL && b->json_name != NULL &&
               strcmp(a->json_name, b->json_name) != 0) {
        note.code = SAGA_COMPAT_FIELD_JSON_NAME_CHANGED;
        compat_add(report, &note,
                   "its name in JSON was \"%s\" and is \"%s\": what was written with the old one "
                   "is not read; keep json_name",
                   a->json_name, b->json_name);
    }
}

/* ---- Types ---- */

static void compare_map(struct saga_compat *report, const struct compat_pair *pair)
{
    const struct compat_item *a =
        compat_set_find(&report->old_set, compat_bare(pair->old_field->type_name), ITEM_MESSAGE);
    const struct compat_item *b =
        compat_set_find(&report->new_set, compat_bare(pair->new_field->type_name), ITEM_MESSAGE);
    for (size_t i = 0; i < a->raw.message->n_field && i < b->raw.message->n_field; i++) {
        const raw_field *old_part = a->raw.message->field[i];
        const raw_field *new_part = b->raw.message->field[i];
        struct compat_pair part = *pair;
        part.old_field = old_part;
        part.new_field = new_part;
        size_t used = strlen(part.where);
        (void)snprintf(part.where + used, sizeof part.where - used, " (%s of the map)",
                       compat_text(old_part->name));
        compat_field(report, &part);
    }
}

static void compare_named(struct saga_compat *report, const struct compat_pair *pair)
{
    if (compat_same_type(report, pair->old_field->type_name, pair->new_field->type_name)) {
        return;
    }
    struct compat_note note = {
        .code = SAGA_COMPAT_FIELD_MESSAGE_TYPE_CHANGED,
        .spot = pair->spot,
        .where = pair->where,
    };
    compat_add(report, &note,
               "its type was %s and is %s: even where both have the same fields today, they "
               "change apart; keep the type, or add a field with a new number",
               compat_bare(pair->old_field->type_name), compat_bare(pair->new_field->type_name));
}

static void compare_scalars(struct saga_compat *report, const struct compat_pair *pair)
{
    enum saga_field_type from = (enum saga_field_type)pair->old_field->type;
    enum saga_field_type to = (enum saga_field_type)pair->new_field->type;
    const char *old_name = compat_type_name(pair->old_field);
    const char *new_name = compat_type_name(pair->new_field);
    struct compat_note note = {.spot = pair->spot, .where = pair->where};
    switch (saga_compat_types_fit(from, to)) {
    case SAGA_COMPAT_FIT_SAME:
        break;
    case SAGA_COMPAT_FIT_WIDENED:
        note.code = SAGA_COMPAT_FIELD_TYPE_WIDENED;
        compat_add(report, &note,
                   "%s became %s: every old value is read, but readers of the old schema cannot "
                   "hold every new one; write the wider values only when all readers are new",
                   old_name, new_name);
        break;
    case SAGA_COMPAT_FIT_NARROWED:
        note.code = SAGA_COMPAT_FIELD_TYPE_NARROWED;
        compat_add(report, &note,
                   "%s became %s: some of the old values are cut, change their sign, or are "
                   "refused; add a field with a new number instead",
                   old_name, new_name);
        break;
    case SAGA_COMPAT_FIT_BROKEN:
        note.code = SAGA_COMPAT_FIELD_TYPE_CHANGED;
        compat_add(report, &note,
                   "%s became %s: old values are lost or read wrongly; add a field with a new "
                   "number and reserve this one",
                   old_name, new_name);
        return;
    }
    if (!saga_compat_types_fit_json(from, to)) {
        note.code = SAGA_COMPAT_FIELD_TYPE_JSON_CHANGED;
        compat_add(report, &note,
                   "%s became %s: the bytes may agree, their JSON is another and is not read; add "
                   "a field with a new number instead",
                   old_name, new_name);
    }
}

static void compare_type(struct saga_compat *report, const struct compat_pair *pair)
{
    const raw_field *a = pair->old_field;
    const raw_field *b = pair->new_field;
    bool map_a = is_map(&report->old_set, a);
    bool map_b = is_map(&report->new_set, b);
    bool named = (int)a->type == SAGA_FIELD_MESSAGE || (int)a->type == SAGA_FIELD_ENUM ||
                 (int)a->type == SAGA_FIELD_GROUP;
    if (map_a && map_b) {
        compare_map(report, pair);
    } else if (map_a != map_b && (int)a->type == (int)b->type && repeated(a) && repeated(b)) {
        tell(report, pair, SAGA_COMPAT_FIELD_MAP_CHANGED,
             map_a ? "a map became a repeated message: its JSON was an object and is an array, and "
                     "keys may now come twice; add a field with a new number"
                   : "a repeated message became a map: its JSON was an array and is an object, and "
                     "of entries with one key one is left; add a field with a new number");
    } else if (a->type != b->type) {
        compare_scalars(report, pair);
    } else if (named) {
        compare_named(report, pair);
    }
}

/* ---- Cardinality, oneofs, presence ---- */

static void compare_label(struct saga_compat *report, const struct compat_pair *pair)
{
    const raw_field *a = pair->old_field;
    const raw_field *b = pair->new_field;
    if (repeated(a) != repeated(b)) {
        tell(report, pair, SAGA_COMPAT_FIELD_CARDINALITY_CHANGED,
             repeated(a) ? "repeated became singular: all elements but one are lost, of packed "
                           "numbers all; add a field with a new number"
                         : "singular became repeated: old readers keep one element at most, and "
                           "JSON is an array; add a field with a new number");
    }
    if (required(a) != required(b)) {
        tell(report, pair, SAGA_COMPAT_FIELD_REQUIRED_CHANGED,
             required(a) ? "it is no longer required: old readers refuse messages without it; make "
                           "all readers new before it is left out"
                         : "it is now required: messages that were written without it are refused; "
                           "keep it optional");
    }
}

/* Names the oneof of a field; NULL: none. That of a proto3 `optional` is protoc's own. */
static const char *oneof_of(const struct compat_item *item, const raw_field *field)
{
    bool synthetic = field->has_proto3_optional && field->proto3_optional;
    if (!field->has_oneof_index || synthetic || item->kind != ITEM_MESSAGE ||
        field->oneof_index < 0 || (size_t)field->oneof_index >= item->raw.message->n_oneof_decl) {
        return NULL;
    }
    return compat_text(item->raw.message->oneof_decl[field->oneof_index]->name);
}

static const raw_field *by_number(const raw_message *message, int32_t number)
{
    for (size_t i = 0; i < message->n_field; i++) {
        if (message->field[i]->number == number) {
            return message->field[i];
        }
    }
    return NULL;
}

/* Tells whether NEW has the members of an old oneof all in one other oneof, and no more of OLD's:
 * then only its name is another. */
static bool only_renamed(const struct compat_pair *pair, const char *old_oneof,
                         const char *new_oneof)
{
    const raw_message *message = pair->old_item->raw.message;
    for (size_t i = 0; i < message->n_field; i++) {
        const char *was = oneof_of(pair->old_item, message->field[i]);
        const raw_field *now = by_number(pair->new_item->raw.message, message->field[i]->number);
        const char *is = now == NULL ? NULL : oneof_of(pair->new_item, now);
        bool in_old = was != NULL && strcmp(was, old_oneof) == 0;
        bool in_new = is != NULL && strcmp(is, new_oneof) == 0;
        if (now != NULL && in_old != in_new) {
            return false;
        }
    }
    return true;
}

static void compare_oneof(struct saga_compat *report, const struct compat_pair *pair)
{
    const char *was = oneof_of(pair->old_item, pair->old_field);
    const char *is = oneof_of(pair->new_item, pair->new_field);
    struct compat_note note = {.spot = pair->spot, .where = pair->where};
    if (was == NULL && is == NULL) {
        return;
    }
    if (was != NULL && is != NULL) {
        if (strcmp(was, is) == 0) {
            return;
        }
        if (only_renamed(pair, was, is)) {
            note.code = SAGA_COMPAT_ONEOF_RENAMED;
            compat_add(report, &note,
                       "its oneof was \"%s\" and is \"%s\": the wire and JSON do not know that "
                       "name, generated code does",
                       was, is);
            return;
        }
    }
    note.code = SAGA_COMPAT_FIELD_ONEOF_CHANGED;
    compat_add(report, &note,
               "it was in %s%s and is in %s%s: one side sets members together of which the other "
               "keeps one; leave the field where it is and add a new one",
               was == NULL ? "no oneof" : "oneof ", compat_text(was),
               is == NULL ? "no oneof" : "oneof ", compat_text(is));
}

static bool explicit_presence(const struct compat_item *item, const raw_field *field)
{
    return !item->file->proto3 || (field->has_proto3_optional && field->proto3_optional);
}

static void compare_presence(struct saga_compat *report, const struct compat_pair *pair)
{
    const raw_field *a = pair->old_field;
    const raw_field *b = pair->new_field;
    bool message = (int)a->type == SAGA_FIELD_MESSAGE || (int)b->type == SAGA_FIELD_MESSAGE;
    bool oneof = oneof_of(pair->old_item, a) != NULL || oneof_of(pair->new_item, b) != NULL;
    if (message || oneof || repeated(a) || repeated(b) ||
        pair->old_item->file->proto3 != pair->new_item->file->proto3) {
        return;
    }
    bool was = explicit_presence(pair->old_item, a);
    bool is = explicit_presence(pair->new_item, b);
    if (was != is) {
        tell(report, pair, SAGA_COMPAT_FIELD_PRESENCE_CHANGED,
             was ? "absent and default are now one: a default that was set is no longer written, "
                   "and who tells the two apart takes it for absent"
                 : "absent and default are now two: what old writers have set to the default is "
                   "read as absent");
    }
}

static void compare_default(struct saga_compat *report, const struct compat_pair *pair)
{
    const char *was = compat_text(pair->old_field->default_value);
    const char *is = compat_text(pair->new_field->default_value);
    if (strcmp(was, is) != 0) {
        struct compat_note note = {
            .code = SAGA_COMPAT_FIELD_DEFAULT_CHANGED,
            .spot = pair->spot,
            .where = pair->where,
        };
        compat_add(report, &note,
                   "its default was %s and is %s: the two sides read another value out of "
                   "the same message; keep the default",
                   compat_quote(report, was), compat_quote(report, is));
    }
}

void compat_field(struct saga_compat *report, const struct compat_pair *pair)
{
    compare_names(report, pair);
    compare_label(report, pair);
    compare_type(report, pair);
    compare_oneof(report, pair);
    compare_presence(report, pair);
    compare_default(report, pair);
}
