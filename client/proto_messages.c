/* protoc's messages: lines NAME:LINE:COLUMN: MESSAGE, NAME: MESSAGE, or a text alone. See
 * proto_messages.h. */
#include "client/proto_messages.h"

#include <stdio.h>
#include <string.h>

/* One line, without its end. */
struct message {
    struct saga_bytes name; /* empty: it names no file */
    struct saga_bytes rest; /* behind the name, from its ':' on; the whole line without name */
    struct saga_bytes text; /* what it says */
    int line, column;       /* 0: it does not tell */
};

static struct saga_bytes behind(struct saga_bytes text, size_t size)
{
    return (struct saga_bytes){text.data + size, text.size - size};
}

static bool begins(struct saga_bytes text, const char *with)
{
    size_t size = strlen(with);
    return text.size >= size && memcmp(text.data, with, size) == 0;
}

static bool ends(struct saga_bytes text, const char *with)
{
    size_t size = strlen(with);
    return text.size >= size && memcmp(text.data + text.size - size, with, size) == 0;
}

/* Takes ":NUMBER" from the text. Returns false, and takes nothing: it does not begin so. */
static bool take_number(struct saga_bytes *text, int *number)
{
    size_t size = 1;
    int value = 0;
    if (!begins(*text, ":")) {
        return false;
    }
    while (size < text->size && text->data[size] >= '0' && text->data[size] <= '9' && size < 9) {
        value = 10 * value + (text->data[size++] - '0');
    }
    if (size == 1 || size == text->size || text->data[size] != ':') {
        return false;
    }
    *number = value;
    *text = behind(*text, size);
    return true;
}

static struct message parse(struct saga_bytes line)
{
    static const char suffix[] = ".proto:";
    struct message message = {.rest = line, .text = line};
    for (size_t i = 0; i + sizeof suffix <= line.size; i++) {
        if (begins(behind(line, i), suffix)) {
            message.name = (struct saga_bytes){line.data, i + sizeof suffix - 2};
            message.rest = behind(line, message.name.size);
            break;
        }
    }
    if (message.name.size > 0) {
        message.text = message.rest;
        if (take_number(&message.text, &message.line)) {
            (void)take_number(&message.text, &message.column);
        }
        message.text = behind(message.text, 1); /* the ':' */
    }
    while (begins(message.text, " ")) {
        message.text = behind(message.text, 1);
    }
    return message;
}

static void note(json_t *errors, const struct message *message, const char *path)
{
    (void)json_array_append_new(
        errors,
        json_pack("{s:s,s:s,s:i,s:i,s:s,s:o}", "code", "PROTOC", "file", path, "line",
                  message->line, "column", message->column, "where", "", "message",
                  json_stringn_nocheck((const char *)message->text.data, message->text.size)));
}

static void tell(const struct saga_proto_given *given, struct saga_bytes line, json_t *errors)
{
    struct message message = parse(line);
    struct saga_buf path = {0};
    struct saga_buf name = {0};
    const char *file = given->paths[0];
    if (message.name.size > 0 && saga_buf_append(&name, message.name) == SAGA_ERR_OK &&
        saga_buf_append(&name, (struct saga_bytes){(const uint8_t *)"", 1}) == SAGA_ERR_OK) {
        file = (const char *)name.data;
        if (saga_proto_file_find(given, file, &path)) {
            file = (const char *)path.data;
        }
        fprintf(stderr, "%s%.*s\n", file, (int)message.rest.size, (const char *)message.rest.data);
    } else {
        fprintf(stderr, "%.*s\n", (int)line.size, (const char *)line.data);
    }
    if (errors != NULL && !begins(message.text, "warning:")) {
        note(errors, &message, file);
    }
    saga_buf_fini(&name);
    saga_buf_fini(&path);
}

void saga_proto_messages_tell(const struct saga_proto_given *given, struct saga_bytes output,
                              json_t *errors)
{
    while (output.size > 0) {
        const uint8_t *end = memchr(output.data, '\n', output.size);
        struct saga_bytes line = {output.data,
                                  end == NULL ? output.size : (size_t)(end - output.data)};
        output = behind(output, line.size + (end == NULL ? 0 : 1));
        if (line.size > 0 && !ends(line, " is unused.")) {
            tell(given, line, errors);
        }
    }
}
