/* What the fuzz targets share. A target is given bytes by libFuzzer and judges by SAGA_ASSERT and
 * the sanitizers. */
#ifndef SAGA_TESTS_FUZZ_H
#define SAGA_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/wire/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Gives the schema of tests/contract/json's protos, loaded on the first call, kept for ever. */
const struct saga_schema *fuzz_schema(void);

/* Takes a type's number off the front of the bytes: two of them, little end first. A number is the
 * low half of the name's FNV-1a hash, so that seeds can be made outside; any other is taken modulo
 * the count of types. */
const struct saga_message_type *fuzz_type(struct saga_bytes *bytes);

#endif
