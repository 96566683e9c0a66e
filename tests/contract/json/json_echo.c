/* The C side of test_json: turns JSON into wire bytes and back with the product's own code. The
 * argument is a file with a descriptor set. A request on stdin is: what to do (one byte), size of
 * the type's name, name, size of the bytes, bytes; sizes are 4 bytes, little end first. The answer
 * is an enum saga_err (one byte), a size and bytes: the result, or the detail of the error.
 *
 * What to do: 'J' JSON to wire, 'I' the same and ignore what is unknown, 'W' wire to JSON, 'D' the
 * same with defaults, 'N' with the names of the .proto, 'P' on many lines, 'T' a template. 'F' has
 * no answer: the answers before it are sent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/json/json.h"

enum { NAME_MAX_SIZE = 256, DATA_MAX_SIZE = 64 * 1024 * 1024 };

static struct saga_bytes read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        exit(2);
    }
    long size = ftell(file);
    uint8_t *data = size < 0 ? NULL : malloc((size_t)size + 1);
    if (data == NULL || fseek(file, 0, SEEK_SET) != 0 ||
        fread(data, 1, (size_t)size, file) != (size_t)size) {
        exit(2);
    }
    (void)fclose(file);
    return (struct saga_bytes){.data = data, .size = (size_t)size};
}

/* Reads a size and as many bytes; false at the end. */
static bool read_part(struct saga_buf *buf, size_t size_max)
{
    unsigned char size[4];
    if (fread(size, 1, sizeof size, stdin) != sizeof size) {
        return false;
    }
    size_t count =
        (size_t)size[0] | (size_t)size[1] << 8 | (size_t)size[2] << 16 | (size_t)size[3] << 24;
    saga_buf_clear(buf);
    if (count > size_max || saga_buf_reserve(buf, count + 1) != SAGA_ERR_OK) {
        exit(2);
    }
    if (count > 0 && fread(buf->data, 1, count, stdin) != count) {
        exit(2);
    }
    buf->size = count;
    buf->data[count] = 0;
    return true;
}

static void write_answer(enum saga_err err, struct saga_bytes bytes)
{
    unsigned char head[5] = {(unsigned char)err, (unsigned char)(bytes.size & 255),
                             (unsigned char)(bytes.size >> 8 & 255),
                             (unsigned char)(bytes.size >> 16 & 255),
                             (unsigned char)(bytes.size >> 24 & 255)};
    if (fwrite(head, 1, sizeof head, stdout) != sizeof head ||
        (bytes.size > 0 && fwrite(bytes.data, 1, bytes.size, stdout) != bytes.size)) {
        exit(2);
    }
}

static void answer(const struct saga_schema *schema, int what, const char *name,
                   struct saga_bytes data, struct saga_buf *out)
{
    struct saga_json_options options = {
        .proto_names = what == 'N',
        .print_defaults = what == 'D',
        .ignore_unknown = what == 'I',
        .indent = what == 'P' ? 3 : 0,
    };
    struct saga_err_detail detail = {{0}};
    const struct saga_message_type *type = saga_schema_message(schema, name);
    enum saga_err err = SAGA_ERR_NOT_FOUND;
    /* What is there stays there, whatever happens. */
    saga_buf_clear(out);
    if (saga_buf_append(out, saga_bytes_text("kept")) != SAGA_ERR_OK) {
        exit(2);
    }
    if (type != NULL && what == 'T') {
        err = saga_json_template(schema, type, out);
    } else if (type != NULL && (what == 'J' || what == 'I')) {
        err = saga_json_to_wire(schema, type, data, &options, out, &detail);
    } else if (type != NULL) {
        err = saga_wire_to_json(schema, type, data, &options, out, &detail);
    }
    if (out->size < 4 || memcmp(out->data, "kept", 4) != 0 ||
        (err != SAGA_ERR_OK && out->size != 4)) {
        exit(3);
    }
    if (err == SAGA_ERR_OK) {
        write_answer(err, (struct saga_bytes){.data = out->data + 4, .size = out->size - 4});
    } else {
        write_answer(err, saga_bytes_text(detail.text));
    }
}

int main(int argc, char **argv)
{
    struct saga_schema *schema = NULL;
    struct saga_err_detail detail = {{0}};
    if (argc != 2) {
        return 2;
    }
    struct saga_bytes set = read_file(argv[1]);
    enum saga_err err = saga_schema_load(set, &schema, &detail);
    free((void *)(uintptr_t)set.data);
    if (err != SAGA_ERR_OK) {
        (void)fprintf(stderr, "json_echo: %s\n", detail.text);
        return 2;
    }
    struct saga_buf name = {0};
    struct saga_buf data = {0};
    struct saga_buf out = {0};
    int what = 0;
    while ((what = getchar()) != EOF && read_part(&name, NAME_MAX_SIZE) &&
           read_part(&data, DATA_MAX_SIZE)) {
        if (what != 'F') {
            answer(schema, what, (const char *)name.data, saga_buf_view(&data), &out);
        } else if (fflush(stdout) != 0) {
            return 2;
        }
    }
    saga_buf_fini(&name);
    saga_buf_fini(&data);
    saga_buf_fini(&out);
    saga_schema_free(schema);
    return 0;
}
