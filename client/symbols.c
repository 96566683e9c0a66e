/* Names of a schema. See symbols.h. */
#include "client/symbols.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum {
    NAME_SIZE = SAGA_TYPE_NAME_MAX + 1,
    HINTS_MAX = 3,
};

const struct saga_method *saga_symbol_method(const struct saga_schema *schema, const char *name)
{
    char text[NAME_SIZE];
    name += *name == '.' || *name == '/';
    if (snprintf(text, sizeof text, "%s", name) >= (int)sizeof text) {
        return NULL;
    }
    char *dot = strrchr(text, '.');
    if (strchr(text, '/') == NULL && dot != NULL) {
        *dot = '/';
    }
    return saga_schema_method(schema, text);
}

/* ---- Walking ---- */

static bool is_map_entry(const struct saga_schema *schema, const struct saga_message_type *entry)
{
    for (size_t i = 0; i < saga_schema_message_count(schema); i++) {
        const struct saga_message_type *message = saga_schema_message_at(schema, i);
        size_t size = strlen(message->name);
        if (strncmp(entry->name, message->name, size) != 0 || entry->name[size] != '.') {
            continue;
        }
        for (size_t k = 0; k < message->field_count; k++) {
            if (message->fields[k].map && message->fields[k].message == entry) {
                return true;
            }
        }
    }
    return false;
}

/* Enums are reached by the fields that have them; the first field of all tells of each. */
static bool is_first_use(const struct saga_schema *schema, size_t message_index, size_t field_index)
{
    const struct saga_enum_type *type =
        saga_schema_message_at(schema, message_index)->fields[field_index].enumeration;
    for (size_t i = 0; i <= message_index; i++) {
        const struct saga_message_type *message = saga_schema_message_at(schema, i);
        size_t end = i == message_index ? field_index : message->field_count;
        for (size_t k = 0; k < end; k++) {
            if (message->fields[k].enumeration == type) {
                return false;
            }
        }
    }
    return type != NULL;
}

bool saga_symbol_known(const struct saga_schema *schema, const char *name)
{
    return saga_symbol_method(schema, name) != NULL || saga_schema_message(schema, name) != NULL ||
           saga_schema_service(schema, name) != NULL || saga_schema_decl(schema, name) != NULL ||
           saga_schema_enum(schema, name) != NULL;
}

void saga_symbols_each(const struct saga_schema *schema, unsigned kinds,
                       void (*each)(const char *name, const char *comment, void *context),
                       void *context)
{
    for (size_t i = 0; i < saga_schema_service_count(schema); i++) {
        const struct saga_service *service = saga_schema_service_at(schema, i);
        if ((kinds & SAGA_SYMBOL_SERVICE) != 0) {
            each(service->name, service->comment, context);
        }
        for (size_t k = 0; (kinds & SAGA_SYMBOL_METHOD) != 0 && k < service->method_count; k++) {
            each(service->methods[k].full_name, service->methods[k].comment, context);
        }
    }
    for (size_t i = 0; i < saga_schema_message_count(schema); i++) {
        const struct saga_message_type *message = saga_schema_message_at(schema, i);
        if ((kinds & SAGA_SYMBOL_MESSAGE) != 0 && !is_map_entry(schema, message)) {
            each(message->name, message->comment, context);
        }
        for (size_t k = 0; (kinds & SAGA_SYMBOL_ENUM) != 0 && k < message->field_count; k++) {
            if (is_first_use(schema, i, k)) {
                each(message->fields[k].enumeration->name, "", context);
            }
        }
    }
    for (size_t i = 0; (kinds & SAGA_SYMBOL_DEFINITION) != 0 && i < saga_schema_decl_count(schema);
         i++) {
        const struct saga_decl *decl = saga_schema_decl_at(schema, i);
        each(decl->name, decl->context->comment, context);
    }
}

/* ---- What may have been meant ---- */

struct near {
    const char *name; /* that was asked for */
    const char *names[HINTS_MAX];
    size_t distances[HINTS_MAX];
    size_t count;
};

/* Letters that differ; case counts nothing, and '.' is '/'. */
static char plain(char letter)
{
    return letter == '/' ? '.' : (char)tolower((unsigned char)letter);
}

size_t saga_symbol_edits(const char *a, const char *b)
{
    size_t row[NAME_SIZE];
    size_t size = strlen(b);
    if (size >= NAME_SIZE) {
        return NAME_SIZE;
    }
    for (size_t k = 0; k <= size; k++) {
        row[k] = k;
    }
    for (size_t i = 0; a[i] != 0; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t k = 0; k < size; k++) {
            size_t best = diagonal + (plain(a[i]) == plain(b[k]) ? 0 : 1);
            diagonal = row[k + 1];
            best = best < row[k] + 1 ? best : row[k] + 1;
            row[k + 1] = best < diagonal + 1 ? best : diagonal + 1;
        }
    }
    return row[size];
}

/* Tells whether a name ends in what was asked for, at the beginning of a word: "ReserveStock",
 * "ProductService.ReserveStock". */
static bool ends_in(const char *name, const char *asked)
{
    size_t name_size = strlen(name);
    size_t size = strlen(asked);
    if (size == 0 || size > name_size) {
        return false;
    }
    const char *tail = name + (name_size - size);
    if (tail != name && tail[-1] != '.' && tail[-1] != '/') {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (plain(tail[i]) != plain(asked[i])) {
            return false;
        }
    }
    return true;
}

static void consider(const char *name, const char *comment, void *context)
{
    struct near *near = context;
    (void)comment;
    const char *last = strrchr(name, '/');
    last = last == NULL ? strrchr(name, '.') : last;
    bool short_one = strpbrk(near->name, "./") == NULL;
    size_t distance =
        ends_in(name, near->name)
            ? 0
            : saga_symbol_edits(near->name, short_one && last != NULL ? last + 1 : name);
    size_t size = strlen(near->name);
    if (distance > (size < 6 ? 1U : size < 12 ? 2U : 3U)) {
        return;
    }
    size_t at = near->count < HINTS_MAX ? near->count++ : HINTS_MAX;
    if (at == HINTS_MAX) {
        at--;
        if (near->distances[at] <= distance) {
            return;
        }
    }
    for (; at > 0 && near->distances[at - 1] > distance; at--) {
        near->names[at] = near->names[at - 1];
        near->distances[at] = near->distances[at - 1];
    }
    near->names[at] = name;
    near->distances[at] = distance;
}

void saga_symbol_hint(const struct saga_schema *schema, unsigned kinds, const char *name,
                      char hint[SAGA_SYMBOL_HINT_SIZE])
{
    name += *name == '.' || *name == '/';
    struct near near = {.name = name};
    size_t used = 0;
    hint[0] = 0;
    if (strlen(name) >= NAME_SIZE) {
        return;
    }
    saga_symbols_each(schema, kinds, consider, &near);
    for (size_t i = 0; i < near.count && used < SAGA_SYMBOL_HINT_SIZE; i++) {
        used += (size_t)snprintf(hint + used, SAGA_SYMBOL_HINT_SIZE - used, "%s%s%s",
                                 i == 0                ? "; did you mean "
                                 : i + 1 == near.count ? " or "
                                                       : ", ",
                                 near.names[i], i + 1 == near.count ? "?" : "");
    }
}
