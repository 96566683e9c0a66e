/* Names of a schema as people write them, and what they may have meant. Any thread. */
#ifndef SAGA_CLIENT_SYMBOLS_H
#define SAGA_CLIENT_SYMBOLS_H

#include "common/wire/schema.h"

/* The sorts of names; a set of them is their sum. */
enum saga_symbol_kind {
    SAGA_SYMBOL_SERVICE = 1,
    SAGA_SYMBOL_METHOD = 2,
    SAGA_SYMBOL_MESSAGE = 4,
    SAGA_SYMBOL_ENUM = 8,
    SAGA_SYMBOL_DEFINITION = 16, /* of a saga */
    SAGA_SYMBOL_ALL = 31,
};

/* Finds a method: "pkg.Service/Method" or "pkg.Service.Method", with or without a leading '.' or
 * '/'. NULL: there is none. */
const struct saga_method *saga_symbol_method(const struct saga_schema *schema, const char *name);

/* Tells whether a schema has a service, method, message, enum or saga of this name. */
bool saga_symbol_known(const struct saga_schema *schema, const char *name);

/* Calls each(name, comment, context) for every name of the kinds, methods as "pkg.Service/Method";
 * the entry types of maps are left out. */
void saga_symbols_each(const struct saga_schema *schema, unsigned kinds,
                       void (*each)(const char *name, const char *comment, void *context),
                       void *context);

enum { SAGA_SYMBOL_HINT_SIZE = 1200 };

/* Writes "; did you mean a.b.C/D or a.b.C/E?" when names of the kinds are near: the same last word
 * or words, or a few letters apart; else "". */
void saga_symbol_hint(const struct saga_schema *schema, unsigned kinds, const char *name,
                      char hint[SAGA_SYMBOL_HINT_SIZE]);

/* Gives how many letters are to be changed, added or taken away to make a name of another; case
 * counts nothing, and '.' is '/'. A b of more than
 * SAGA_TYPE_NAME_MAX letters is far from everything. */
size_t saga_symbol_edits(const char *a, const char *b);

#endif
