/* Messages of OLD and NEW: fields by number, and what is reserved. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verify/compat/internal.h"

/* A message on both sides. */
struct both {
    struct saga_compat *report;
    const struct compat_item *old_item, *new_item;
    const raw_message *a, *b;
    const raw_field **by_number;   /* NEW's fields */
    struct compat_range *reserved; /* NEW's */
};

static int compare_numbers(const void *a, const void *b)
{
    int32_t left = (*(const raw_field *const *)a)->number;
    int32_t right = (*(const raw_field *const *)b)->number;
    return left < right ? -1 : left > right ? 1 : 0;
}

static const raw_field *find_number(const struct both *both, int32_t number)
{
    size_t low = 0;
    size_t high = both->b->n_field;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int32_t at = both->by_number[middle]->number;
        if (at == number) {
            return both->by_number[middle];
        }
        if (at < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

static const raw_field *find_name(const raw_message *message, const char *name)
{
    for (size_t i = 0; i < message->n_field; i++) {
        if (strcmp(compat_text(message->field[i]->name), name) == 0) {
            return message->field[i];
        }
    }
    return NULL;
}

static bool name_reserved(char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(compat_text(names[i]), name) == 0) {
            return true;
        }
    }
    return false;
}

bool compat_range_gap(struct compat_range range, const struct compat_range *others, size_t count,
                      int64_t *number)
{
    int64_t at = range.begin;
    bool moved = true;
    while (at < range.end && moved) {
        moved = false;
        for (size_t i = 0; i < count; i++) {
            if (others[i].begin <= at && at < others[i].end) {
                at = others[i].end;
                moved = true;
            }
        }
    }
    *number = at;
    return at < range.end;
}

static bool number_reserved(const struct both *both, int64_t number)
{
    int64_t gap = 0;
    struct compat_range one = {number, number + 1};
    return !compat_range_gap(one, both->reserved, both->b->n_reserved_range, &gap);
}

static struct compat_spot field_spot(const struct saga_compat *report,
                                     const struct compat_item *item, const raw_field *field)
{
    size_t index = 0;
    while (index < item->raw.message->n_field && item->raw.message->field[index] != field) {
        index++;
    }
    struct compat_tail tail = {{PATH_MESSAGE_FIELD, (int32_t)index}, 2};
    return compat_spot_item(report, item, tail);
}

/* ---- Fields ---- */

static void tell_gone(const struct both *both, const raw_field *field, const char *where)
{
    const char *name = compat_text(field->name);
    const raw_field *renumbered = find_name(both->b, name);
    struct compat_note note = {.where = where};
    if (renumbered != NULL) {
        note.code = SAGA_COMPAT_FIELD_RENUMBERED;
        note.spot = field_spot(both->report, both->new_item, renumbered);
        compat_add(both->report, &note,
                   "its number was %d and is %d: old bytes are not found under the new number; "
                   "keep the number",
                   (int)field->number, (int)renumbered->number);
        return;
    }
    note.spot = field_spot(both->report, both->old_item, field);
    if (!number_reserved(both, field->number)) {
        note.code = SAGA_COMPAT_FIELD_REMOVED;
        compat_add(both->report, &note,
                   "it is gone, and number %d is not reserved: given to another field, it would "
                   "be read out of old bytes; write `reserved %d;`",
                   (int)field->number, (int)field->number);
    }
    if (!name_reserved(both->b->reserved_name, both->b->n_reserved_name, name)) {
        note.code = SAGA_COMPAT_FIELD_NAME_RELEASED;
        compat_add(both->report, &note,
                   "it is gone, and its name is not reserved: JSON and data flow go by name; write "
                   "`reserved \"%s\";`",
                   name);
    }
}

static void compare_fields(const struct both *both)
{
    for (size_t i = 0; i < both->a->n_field; i++) {
        const raw_field *field = both->a->field[i];
        const raw_field *now = find_number(both, field->number);
        struct compat_pair pair = {
            .old_item = both->old_item,
            .new_item = both->new_item,
            .old_field = field,
            .new_field = now,
        };
        (void)snprintf(pair.where, sizeof pair.where, "%s.%s", both->old_item->name,
                       compat_text(field->name));
        if (now == NULL) {
            tell_gone(both, field, pair.where);
        } else {
            pair.spot = field_spot(both->report, both->new_item, now);
            compat_field(both->report, &pair);
        }
    }
}

/* Fields that OLD does not have: they must not be required, nor take what was reserved. */
static void check_new_fields(const struct both *both)
{
    for (size_t i = 0; i < both->b->n_field; i++) {
        const raw_field *field = both->b->field[i];
        const char *name = compat_text(field->name);
        struct compat_note note = {.code = SAGA_COMPAT_RESERVED_REUSED};
        char where[WHERE_SIZE];
        (void)snprintf(where, sizeof where, "%s.%s", both->new_item->name, name);
        note.where = where;
        note.spot = field_spot(both->report, both->new_item, field);
        for (size_t k = 0; k < both->a->n_reserved_range; k++) {
            if (both->a->reserved_range[k]->start <= field->number &&
                field->number < both->a->reserved_range[k]->end) {
                compat_add(both->report, &note,
                           "number %d was reserved: an earlier field had it, whose values would be "
                           "read as this one's; take a new number",
                           (int)field->number);
            }
        }
        if (name_reserved(both->a->reserved_name, both->a->n_reserved_name, name)) {
            compat_add(both->report, &note,
                       "the name was reserved: an earlier field had it, whose JSON would be read "
                       "as this one's; take another name");
        }
        bool is_new =
            field->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REQUIRED;
        for (size_t k = 0; k < both->a->n_field && is_new; k++) {
            is_new = both->a->field[k]->number != field->number;
        }
        if (is_new) {
            note.code = SAGA_COMPAT_FIELD_REQUIRED_CHANGED;
            compat_add(both->report, &note,
                       "it is new and required: what old writers send is refused; make it "
                       "optional");
        }
    }
}

/* ---- Reserved ---- */

static bool used_now(const struct both *both, const char *name)
{
    return find_name(both->b, name) != NULL;
}

static void check_reserved(const struct both *both)
{
    const raw_message *a = both->a;
    struct compat_note note = {
        .code = SAGA_COMPAT_RESERVED_REMOVED,
        .spot = compat_spot_item(both->report, both->new_item, (struct compat_tail){{0}, 0}),
        .where = both->old_item->name,
    };
    for (size_t i = 0; i < a->n_reserved_range; i++) {
        struct compat_range range = {a->reserved_range[i]->start, a->reserved_range[i]->end};
        int64_t number = 0;
        if (compat_range_gap(range, both->reserved, both->b->n_reserved_range, &number) &&
            find_number(both, (int32_t)number) == NULL) {
            compat_add(both->report, &note,
                       "number %lld is no longer reserved: nothing keeps it from being used "
                       "again; keep `reserved`",
                       (long long)number);
        }
    }
    for (size_t i = 0; i < a->n_reserved_name; i++) {
        const char *name = compat_text(a->reserved_name[i]);
        if (!name_reserved(both->b->reserved_name, both->b->n_reserved_name, name) &&
            !used_now(both, name)) {
            compat_add(both->report, &note,
                       "the name \"%s\" is no longer reserved: nothing keeps it from being used "
                       "again; keep `reserved`",
                       name);
        }
    }
}

static void check_extension_ranges(const struct both *both)
{
    size_t count = both->b->n_extension_range;
    struct compat_range *ranges = compat_take(both->report, count, sizeof *ranges);
    if (ranges == NULL) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        ranges[i].begin = both->b->extension_range[i]->start;
        ranges[i].end = both->b->extension_range[i]->end;
    }
    for (size_t i = 0; i < both->a->n_extension_range; i++) {
        struct compat_range range = {both->a->extension_range[i]->start,
                                     both->a->extension_range[i]->end};
        int64_t number = 0;
        if (compat_range_gap(range, ranges, count, &number)) {
            struct compat_note note = {
                .code = SAGA_COMPAT_EXTENSION_RANGE_REMOVED,
                .spot =
                    compat_spot_item(both->report, both->new_item, (struct compat_tail){{0}, 0}),
                .where = both->old_item->name,
            };
            compat_add(both->report, &note,
                       "number %lld is no longer for extensions: those that are there are no "
                       "longer read; keep the range",
                       (long long)number);
        }
    }
}

void compat_message(struct saga_compat *report, const struct compat_item *old_item,
                    const struct compat_item *new_item)
{
    struct both both = {
        .report = report,
        .old_item = old_item,
        .new_item = new_item,
        .a = old_item->raw.message,
        .b = new_item->raw.message,
    };
    both.by_number = compat_take(report, both.b->n_field, sizeof(raw_field *));
    both.reserved = compat_take(report, both.b->n_reserved_range, sizeof *both.reserved);
    if (both.by_number == NULL || both.reserved == NULL) {
        return;
    }
    for (size_t i = 0; i < both.b->n_field; i++) {
        both.by_number[i] = both.b->field[i];
    }
    qsort(both.by_number, both.b->n_field, sizeof(raw_field *), compare_numbers);
    for (size_t i = 0; i < both.b->n_reserved_range; i++) {
        both.reserved[i].begin = both.b->reserved_range[i]->start;
        both.reserved[i].end = both.b->reserved_range[i]->end;
    }
    compare_fields(&both);
    check_new_fields(&both);
    check_reserved(&both);
    check_extension_ranges(&both);
}

void compat_extension(struct saga_compat *report, const struct compat_item *old_item,
                      const struct compat_item *new_item)
{
    const raw_field *a = old_item->raw.extension;
    const raw_field *b = new_item->raw.extension;
    struct compat_pair pair = {
        .old_item = old_item,
        .new_item = new_item,
        .old_field = a,
        .new_field = b,
        .spot = compat_spot_item(report, new_item, (struct compat_tail){{0}, 0}),
    };
    (void)snprintf(pair.where, sizeof pair.where, "extension %s of %s", old_item->name,
                   compat_bare(a->extendee));
    if (a->number != b->number || !compat_same_type(report, a->extendee, b->extendee)) {
        struct compat_note note = {
            .code = SAGA_COMPAT_FIELD_RENUMBERED, .spot = pair.spot, .where = pair.where};
        compat_add(report, &note,
                   "it was number %d of %s and is number %d of %s: old bytes are not found there; "
                   "keep both",
                   (int)a->number, compat_bare(a->extendee), (int)b->number,
                   compat_bare(b->extendee));
        return;
    }
    compat_field(report, &pair);
}
