#include "common/base/bytes.h"

#include <stdlib.h>
#include <string.h>

struct saga_bytes saga_bytes_text(const char *text)
{
    struct saga_bytes bytes = {.data = (const uint8_t *)text,
                               .size = text == NULL ? 0 : strlen(text)};
    return bytes;
}

bool saga_bytes_equal(struct saga_bytes a, struct saga_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

struct saga_bytes saga_buf_view(const struct saga_buf *buf)
{
    struct saga_bytes bytes = {.data = buf->data, .size = buf->size};
    return bytes;
}

enum saga_err saga_buf_reserve(struct saga_buf *buf, size_t more)
{
    if (more > SIZE_MAX / 2 - buf->size) {
        return SAGA_ERR_NO_MEMORY;
    }
    size_t need = buf->size + more;
    if (need <= buf->capacity) {
        return SAGA_ERR_OK;
    }
    size_t capacity = buf->capacity < 64 ? 64 : buf->capacity;
    while (capacity < need) {
        capacity *= 2;
    }
    uint8_t *data = realloc(buf->data, capacity);
    if (data == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    buf->data = data;
    buf->capacity = capacity;
    return SAGA_ERR_OK;
}

enum saga_err saga_buf_append(struct saga_buf *buf, struct saga_bytes bytes)
{
    enum saga_err err = saga_buf_reserve(buf, bytes.size);
    if (err == SAGA_ERR_OK && bytes.size > 0) {
        memcpy(buf->data + buf->size, bytes.data, bytes.size);
        buf->size += bytes.size;
    }
    return err;
}

void saga_buf_clear(struct saga_buf *buf)
{
    buf->size = 0;
}

void saga_buf_fini(struct saga_buf *buf)
{
    free(buf->data);
    *buf = (struct saga_buf){0};
}
