/* See schema_set.h. */
#include "tests/unit/wire/schema_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/envelope.h"
#include "descriptor_set.h"

file_set *open_set(void)
{
    file_set *set = google__protobuf__file_descriptor_set__unpack(NULL, saga_descriptor_set_size,
                                                                  saga_descriptor_set);
    assert_non_null(set);
    return set;
}

void close_set(file_set *set)
{
    google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
}

enum saga_err load_set(const file_set *set, struct saga_schema **schema,
                       struct saga_err_detail *detail)
{
    struct saga_buf buf = {0};
    assert_int_equal(saga_message_encode(&set->base, &buf), SAGA_ERR_OK);
    enum saga_err err = saga_schema_load(saga_buf_view(&buf), schema, detail);
    saga_buf_fini(&buf);
    return err;
}

void expect_refused(const file_set *set, enum saga_err expected, const char *text)
{
    struct saga_schema *schema = NULL;
    struct saga_err_detail detail = {""};
    assert_int_equal(load_set(set, &schema, &detail), expected);
    assert_null(schema);
    if (strstr(detail.text, text) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", detail.text, text);
    }
}

file_proto *find_file(const file_set *set, const char *name)
{
    for (size_t i = 0; i < set->n_file; i++) {
        if (strcmp(set->file[i]->name, name) == 0) {
            return set->file[i];
        }
    }
    fail_msg("no file %s", name);
    return NULL;
}

message_proto *find_message(const file_set *set, const char *file_name, const char *name)
{
    file_proto *file = find_file(set, file_name);
    for (size_t i = 0; i < file->n_message_type; i++) {
        if (strcmp(file->message_type[i]->name, name) == 0) {
            return file->message_type[i];
        }
    }
    fail_msg("no message %s", name);
    return NULL;
}

/* Replaces a text that protobuf-c allocated. */
void set_text(char **text, const char *value)
{
    free(*text);
    *text = malloc(strlen(value) + 1);
    assert_non_null(*text);
    memcpy(*text, value, strlen(value) + 1);
}
