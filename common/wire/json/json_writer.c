/* JSON text. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/json/json_internal.h"

static void put(struct saga_json_writer *writer, const char *text, size_t size)
{
    if (writer->err == SAGA_ERR_OK) {
        struct saga_bytes bytes = {.data = (const uint8_t *)text, .size = size};
        writer->err = saga_buf_append(writer->out, bytes);
    }
}

static void new_line(struct saga_json_writer *writer)
{
    static const char spaces[] = "                ";
    if (writer->indent <= 0) {
        return;
    }
    put(writer, "\n", 1);
    size_t size = writer->level * (size_t)writer->indent;
    while (size > 0) {
        size_t part = size < sizeof spaces - 1 ? size : sizeof spaces - 1;
        put(writer, spaces, part);
        size -= part;
    }
}

/* What stands before an element or a key. */
static void begin(struct saga_json_writer *writer)
{
    if (writer->after_key) {
        writer->after_key = false;
        return;
    }
    if (writer->behind) {
        put(writer, ",", 1);
    }
    if (writer->level > 0) {
        new_line(writer);
    }
    writer->behind = true;
}

void saga_json_open(struct saga_json_writer *writer, char bracket)
{
    begin(writer);
    put(writer, &bracket, 1);
    writer->level++;
    writer->behind = false;
}

void saga_json_close(struct saga_json_writer *writer, char bracket)
{
    writer->level--;
    if (writer->behind) {
        new_line(writer);
    }
    put(writer, &bracket, 1);
    writer->behind = true;
}

/* Writes the text with its quotes; runs without a character to escape go out as one. */
static void put_string(struct saga_json_writer *writer, struct saga_bytes text)
{
    const char *data = (const char *)text.data;
    size_t start = 0;
    put(writer, "\"", 1);
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) {
            continue;
        }
        static const char shorts[] = "\"\"\\\\\nn\tt\rr\bb\ff"; /* pairs: character, letter */
        char escape[8];
        int size = 0;
        for (size_t j = 0; j + 1 < sizeof shorts && size == 0; j += 2) {
            if ((uint8_t)shorts[j] == c) {
                size = snprintf(escape, sizeof escape, "\\%c", shorts[j + 1]);
            }
        }
        if (size == 0) {
            size = snprintf(escape, sizeof escape, "\\u%04x", (unsigned)c);
        }
        put(writer, data + start, i - start);
        put(writer, escape, (size_t)size);
        start = i + 1;
    }
    if (text.size > start) {
        put(writer, data + start, text.size - start);
    }
    put(writer, "\"", 1);
}

void saga_json_string(struct saga_json_writer *writer, struct saga_bytes text)
{
    begin(writer);
    put_string(writer, text);
}

void saga_json_key(struct saga_json_writer *writer, struct saga_bytes key)
{
    begin(writer);
    put_string(writer, key);
    if (writer->indent > 0) {
        put(writer, ": ", 2);
    } else {
        put(writer, ":", 1);
    }
    writer->after_key = true;
}

void saga_json_literal(struct saga_json_writer *writer, const char *text)
{
    begin(writer);
    put(writer, text, strlen(text));
}

void saga_json_quoted(struct saga_json_writer *writer, const char *text)
{
    begin(writer);
    put(writer, "\"", 1);
    put(writer, text, strlen(text));
    put(writer, "\"", 1);
}

void saga_json_base64(struct saga_json_writer *writer, struct saga_bytes bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    begin(writer);
    put(writer, "\"", 1);
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t count = bytes.size - i < 3 ? bytes.size - i : 3;
        uint32_t bits = (uint32_t)bytes.data[i] << 16;
        bits |= count > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        bits |= count > 2 ? (uint32_t)bytes.data[i + 2] : 0;
        const char text[4] = {digits[bits >> 18], digits[(bits >> 12) & 63],
                              count > 1 ? digits[(bits >> 6) & 63] : '=',
                              count > 2 ? digits[bits & 63] : '='};
        put(writer, text, sizeof text);
    }
    put(writer, "\"", 1);
}

/* ---- Numbers ---- */

enum { NUMBER_SIZE = 64 };

/* The locale of a program may write another point; and "-0" is read as the whole number 0 by many,
 * jansson among them. */
static void put_real(struct saga_json_writer *writer, char *text)
{
    for (char *p = text; *p != '\0'; p++) {
        if (strchr("0123456789+-eE", *p) == NULL) {
            *p = '.';
        }
    }
    saga_json_literal(writer, strcmp(text, "-0") == 0 ? "-0.0" : text);
}

static bool put_special(struct saga_json_writer *writer, double number)
{
    if (isnan(number)) {
        saga_json_quoted(writer, "NaN");
    } else if (isinf(number)) {
        saga_json_quoted(writer, number > 0 ? "Infinity" : "-Infinity");
    } else {
        return false;
    }
    return true;
}

/* By their bits: -0 is not 0. */
static bool same_number(double a, double b)
{
    uint64_t left = 0;
    uint64_t right = 0;
    memcpy(&left, &a, sizeof left);
    memcpy(&right, &b, sizeof right);
    return left == right;
}

void saga_json_double(struct saga_json_writer *writer, double number)
{
    if (put_special(writer, number)) {
        return;
    }
    char text[NUMBER_SIZE];
    /* Every number of 15 digits has a double of its own; smaller than DBL_MIN, fewer do. */
    for (int digits = fabs(number) < DBL_MIN ? 1 : 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, number);
        double back = strtod(text, NULL);
        if (same_number(back, number)) {
            break;
        }
    }
    put_real(writer, text);
}

void saga_json_float(struct saga_json_writer *writer, float number)
{
    if (put_special(writer, (double)number)) {
        return;
    }
    char text[NUMBER_SIZE];
    for (int digits = fabsf(number) < FLT_MIN ? 1 : 6; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, (double)number);
        double back = strtod(text, NULL);
        float narrow = (float)back;
        /* Rounded up, the largest float is refused by readers that look at it as a double. */
        if (fabs(back) <= (double)FLT_MAX && same_number((double)narrow, (double)number)) {
            break;
        }
    }
    put_real(writer, text);
}
