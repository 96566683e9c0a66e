/* Byte strings: a borrowed view, and a growing buffer. */
#ifndef SAGA_BASE_BYTES_H
#define SAGA_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

/* Borrowed bytes; data may be NULL when size is 0. */
struct saga_bytes {
    const uint8_t *data;
    size_t size;
};

/* A growing buffer; all zero is an empty one. */
struct saga_buf {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

/* Views a zero-terminated text (without its zero). text may be NULL: empty. */
struct saga_bytes saga_bytes_text(const char *text);

/* Tells whether two byte strings are the same. */
bool saga_bytes_equal(struct saga_bytes a, struct saga_bytes b);

/* Views what a buffer holds, until the buffer changes. */
struct saga_bytes saga_buf_view(const struct saga_buf *buf);

/* Makes room for `more` bytes behind the content. Errors: NO_MEMORY; the buffer is as it was. */
enum saga_err saga_buf_reserve(struct saga_buf *buf, size_t more) SAGA_WARN_UNUSED;

/* Appends bytes. Errors: NO_MEMORY; the buffer is as it was. */
enum saga_err saga_buf_append(struct saga_buf *buf, struct saga_bytes bytes) SAGA_WARN_UNUSED;

/* Empties a buffer and keeps its memory. */
void saga_buf_clear(struct saga_buf *buf);

/* Frees a buffer's memory; it is then empty. */
void saga_buf_fini(struct saga_buf *buf);

#endif
