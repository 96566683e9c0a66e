/* Names: what form they have, and what form they should have. ASCII alone, whatever the locale. */
#include <string.h>

#include "verify/style/style_internal.h"

static bool lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

bool saga_style_is_pascal(const char *name)
{
    if (!upper(name[0])) {
        return false;
    }
    for (const char *c = name; *c != '\0'; c++) {
        if (!lower(*c) && !upper(*c) && !digit(*c)) {
            return false;
        }
    }
    return true;
}

/* A letter, then letters, digits and single underscores, none of them last. */
static bool is_snake(const char *name, size_t size, bool (*letter)(char))
{
    if (size == 0 || !letter(name[0]) || name[size - 1] == '_') {
        return false;
    }
    for (size_t i = 1; i < size; i++) {
        bool underscore = name[i] == '_' && name[i - 1] != '_';
        if (!letter(name[i]) && !digit(name[i]) && !underscore) {
            return false;
        }
    }
    return true;
}

bool saga_style_is_lower_snake(const char *name, size_t size)
{
    return is_snake(name, size, lower);
}

bool saga_style_is_upper_snake(const char *name)
{
    return is_snake(name, strlen(name), upper);
}

static size_t skip_digits(const char *name, size_t size, size_t at)
{
    while (at < size && digit(name[at])) {
        at++;
    }
    return at;
}

static bool skip_word(const char *name, size_t size, size_t *at, const char *word)
{
    size_t word_size = strlen(word);
    if (size - *at < word_size || memcmp(name + *at, word, word_size) != 0) {
        return false;
    }
    *at += word_size;
    return true;
}

/* v1, v1test, v1testsomething, v1alpha, v1beta2, v1p1alpha1. */
bool saga_style_is_version(const char *name, size_t size)
{
    if (size < 2 || name[0] != 'v' || name[1] == '0') {
        return false;
    }
    size_t at = skip_digits(name, size, 1);
    if (at == 1) {
        return false;
    }
    if (at == size || skip_word(name, size, &at, "test")) {
        return true;
    }
    if (skip_word(name, size, &at, "p")) {
        size_t point = at;
        at = skip_digits(name, size, at);
        if (at == point) {
            return false;
        }
    }
    if (!skip_word(name, size, &at, "alpha") && !skip_word(name, size, &at, "beta")) {
        return false;
    }
    return skip_digits(name, size, at) == size;
}

bool saga_style_ends_with(const char *text, const char *tail)
{
    size_t size = strlen(text);
    size_t tail_size = strlen(tail);
    return size >= tail_size && memcmp(text + size - tail_size, tail, tail_size) == 0;
}

/* Tells whether a word begins at name[i]: "orderItem", "HTTPStatus". */
static bool word_begins(const char *name, size_t i)
{
    if (i == 0 || !upper(name[i])) {
        return false;
    }
    return lower(name[i - 1]) || digit(name[i - 1]) || (upper(name[i - 1]) && lower(name[i + 1]));
}

static char to_case(char c, bool to_upper)
{
    if (to_upper) {
        return lower(c) ? (char)(c - 'a' + 'A') : c;
    }
    return upper(c) ? (char)(c - 'A' + 'a') : c;
}

void saga_style_snake(const char *name, bool to_upper, char *out, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; name[i] != '\0' && used + 2 < size; i++) {
        bool separator = name[i] == '_' || name[i] == '-' || name[i] == '.' || name[i] == ' ';
        if ((separator || word_begins(name, i)) && used > 0 && out[used - 1] != '_') {
            out[used++] = '_';
        }
        if (!separator) {
            out[used++] = to_case(name[i], to_upper);
        }
    }
    while (used > 0 && out[used - 1] == '_') {
        used--;
    }
    out[used] = '\0';
}

void saga_style_pascal(const char *name, char *out, size_t size)
{
    size_t used = 0;
    bool begins = true;
    for (size_t i = 0; name[i] != '\0' && used + 1 < size; i++) {
        if (name[i] == '_') {
            begins = true;
        } else {
            out[used++] = begins ? to_case(name[i], true) : name[i];
            begins = false;
        }
    }
    out[used] = '\0';
}
