#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

static struct saga_bytes read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        abort();
    }
    long size = ftell(file);
    uint8_t *data = size <= 0 ? NULL : malloc((size_t)size);
    if (data == NULL || fseek(file, 0, SEEK_SET) != 0 ||
        fread(data, 1, (size_t)size, file) != (size_t)size) {
        abort();
    }
    (void)fclose(file);
    return (struct saga_bytes){.data = data, .size = (size_t)size};
}

const struct saga_schema *fuzz_schema(void)
{
    static struct saga_schema *schema;
    if (schema == NULL) {
        struct saga_bytes set = read_file(SAGA_FUZZ_SET);
        if (saga_schema_load(set, &schema, NULL) != SAGA_ERR_OK) {
            abort();
        }
        free((void *)(uintptr_t)set.data);
    }
    return schema;
}

static uint32_t hash_of(const char *name)
{
    uint32_t hash = 2166136261U;
    for (; *name != '\0'; name++) {
        hash = (uint32_t)((hash ^ (uint8_t)*name) * UINT64_C(16777619));
    }
    return hash & 0xffff;
}

const struct saga_message_type *fuzz_type(struct saga_bytes *bytes)
{
    if (bytes->size < 2) {
        return NULL;
    }
    const struct saga_schema *schema = fuzz_schema();
    size_t count = saga_schema_message_count(schema);
    uint32_t number = (uint32_t)bytes->data[0] | (uint32_t)bytes->data[1] << 8;
    bytes->data += 2;
    bytes->size -= 2;
    for (size_t i = 0; i < count; i++) {
        const struct saga_message_type *type = saga_schema_message_at(schema, i);
        if (hash_of(type->name) == number) {
            return type;
        }
    }
    return saga_schema_message_at(schema, number % count);
}
