#include "common/base/id.h"

#include <string.h>

struct saga_id saga_id_make(int64_t now_unix_ms, uint16_t counter, uint64_t random)
{
    struct saga_id id;
    uint64_t ms = (uint64_t)now_unix_ms;
    for (int i = 0; i < 6; i++) {
        id.b[i] = (uint8_t)(ms >> (40 - 8 * i));
    }
    id.b[6] = (uint8_t)(0x70U | ((counter >> 8) & 0x0fU));
    id.b[7] = (uint8_t)(counter & 0xffU);
    for (int i = 0; i < 8; i++) {
        id.b[8 + i] = (uint8_t)(random >> (56 - 8 * i));
    }
    id.b[8] = (uint8_t)(0x80U | (id.b[8] & 0x3fU));
    return id;
}

struct saga_id saga_id_of_digest(const uint8_t digest[SAGA_ID_SIZE])
{
    struct saga_id id;
    memcpy(id.b, digest, SAGA_ID_SIZE);
    id.b[6] = (uint8_t)(0x80U | (id.b[6] & 0x0fU));
    id.b[8] = (uint8_t)(0x80U | (id.b[8] & 0x3fU));
    return id;
}

void saga_id_format(struct saga_id id, char text[SAGA_ID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    int at = 0;
    for (int i = 0; i < SAGA_ID_SIZE; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            text[at++] = '-';
        }
        text[at++] = digits[id.b[i] >> 4];
        text[at++] = digits[id.b[i] & 15];
    }
    text[at] = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

enum saga_err saga_id_parse(const char *text, struct saga_id *id)
{
    struct saga_id read;
    const char *p = text;
    for (int i = 0; i < SAGA_ID_SIZE; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            if (*p++ != '-') {
                return SAGA_ERR_INVALID;
            }
        }
        int high = hex_value(p[0]);
        if (high < 0) {
            return SAGA_ERR_INVALID;
        }
        int low = hex_value(p[1]);
        if (low < 0) {
            return SAGA_ERR_INVALID;
        }
        read.b[i] = (uint8_t)(high * 16 + low);
        p += 2;
    }
    if (*p != '\0') {
        return SAGA_ERR_INVALID;
    }
    *id = read;
    return SAGA_ERR_OK;
}

bool saga_id_equal(struct saga_id a, struct saga_id b)
{
    return memcmp(a.b, b.b, SAGA_ID_SIZE) == 0;
}
