/* Saga ids: UUID version 7 (RFC 9562), 16 bytes, ordered by time; and their text form. */
#ifndef SAGA_BASE_ID_H
#define SAGA_BASE_ID_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

enum { SAGA_ID_SIZE = 16, SAGA_ID_TEXT_SIZE = 37 };

struct saga_id {
    uint8_t b[SAGA_ID_SIZE];
};

/* Makes a UUIDv7 from a time (milliseconds since 1970), a counter (its low 12 bits keep ids of one
 * millisecond in order) and 64 random bits. */
struct saga_id saga_id_make(int64_t now_unix_ms, uint16_t counter, uint64_t random);

/* Makes a UUIDv8 of the first 16 bytes of a digest: the id of what is known by its name. */
struct saga_id saga_id_of_digest(const uint8_t digest[SAGA_ID_SIZE]);

/* Writes the text form, 36 characters and a zero. */
void saga_id_format(struct saga_id id, char text[SAGA_ID_TEXT_SIZE]);

/* Reads the text form, upper or lower case. Errors: INVALID when it is not one; *id is unchanged.
 */
enum saga_err saga_id_parse(const char *text, struct saga_id *id) SAGA_WARN_UNUSED;

/* Tells whether two ids are the same. */
bool saga_id_equal(struct saga_id a, struct saga_id b);

#endif
