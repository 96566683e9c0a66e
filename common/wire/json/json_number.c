/* Numbers that jansson cannot hold: whole numbers beyond 64 bits signed (every uint64 above 2^63 is
 * one) and reals beyond a double. A text that has one is parsed again with each of its numbers
 * replaced by its own offset in the text; who reads a number then looks at what stands there. */
#include <stdio.h>

#include "common/wire/json/json_internal.h"

enum { OFFSET_SIZE = 24 };

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static size_t skip_digits(struct saga_bytes text, size_t at)
{
    while (at < text.size && is_digit(text.data[at])) {
        at++;
    }
    return at;
}

bool saga_json_is_number(struct saga_bytes text)
{
    size_t at = text.size > 0 && text.data[0] == '-' ? 1 : 0;
    size_t whole = skip_digits(text, at);
    if (whole == at || (text.data[at] == '0' && whole > at + 1)) { /* none, or a zero too many */
        return false;
    }
    at = whole;
    if (at < text.size && text.data[at] == '.') {
        size_t end = skip_digits(text, at + 1);
        if (end == at + 1) {
            return false;
        }
        at = end;
    }
    if (at < text.size && (text.data[at] == 'e' || text.data[at] == 'E')) {
        at++;
        if (at < text.size && (text.data[at] == '+' || text.data[at] == '-')) {
            at++;
        }
        size_t end = skip_digits(text, at);
        if (end == at) {
            return false;
        }
        at = end;
    }
    return at == text.size;
}

/* Gives the end of the run of characters that a number may have. */
static size_t token_end(struct saga_bytes text, size_t at)
{
    while (at < text.size &&
           (is_digit(text.data[at]) || text.data[at] == '+' || text.data[at] == '-' ||
            text.data[at] == '.' || text.data[at] == 'e' || text.data[at] == 'E')) {
        at++;
    }
    return at;
}

/* Gives the place behind a string, whose first quote stands at at. */
static size_t string_end(struct saga_bytes text, size_t at)
{
    at++;
    while (at < text.size && text.data[at] != '"') {
        at += text.data[at] == '\\' ? 2 : 1;
    }
    return at < text.size ? at + 1 : text.size;
}

static struct saga_bytes part_of(struct saga_bytes text, size_t start, size_t end)
{
    struct saga_bytes part = {.data = text.data + start, .size = end - start};
    return part;
}

enum saga_err saga_json_numbers_replace(struct saga_bytes json, struct saga_buf *out)
{
    enum saga_err err = SAGA_ERR_OK;
    size_t at = 0;
    while (at < json.size && err == SAGA_ERR_OK) {
        size_t start = at;
        uint8_t c = json.data[at];
        if (c == '"') {
            at = string_end(json, at);
        } else if (c == '-' || is_digit(c)) {
            at = token_end(json, at);
            if (saga_json_is_number(part_of(json, start, at))) {
                char offset[OFFSET_SIZE];
                (void)snprintf(offset, sizeof offset, "%zu", start);
                err = saga_buf_append(out, saga_bytes_text(offset));
                continue;
            }
        } else {
            at++;
        }
        err = saga_buf_append(out, part_of(json, start, at)); /* jansson judges what it is */
    }
    return err;
}

bool saga_json_number_text(struct saga_bytes source, const json_t *value, struct saga_bytes *text)
{
    if (source.data == NULL || !json_is_integer(value)) {
        return false;
    }
    size_t start = (size_t)json_integer_value(value);
    *text = part_of(source, start, token_end(source, start));
    return true;
}
