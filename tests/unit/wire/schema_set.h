/* The committed set, taken apart and put together again by tests. */
#ifndef SAGA_TESTS_UNIT_WIRE_SCHEMA_SET_H
#define SAGA_TESTS_UNIT_WIRE_SCHEMA_SET_H

#include "common/wire/schema.h"
#include "google/protobuf/descriptor.pb-c.h"

typedef Google__Protobuf__FileDescriptorSet file_set;
typedef Google__Protobuf__FileDescriptorProto file_proto;
typedef Google__Protobuf__DescriptorProto message_proto;
typedef Google__Protobuf__FieldDescriptorProto field_proto;

/* Unpacks it; close_set frees it. */
file_set *open_set(void);
void close_set(file_set *set);

/* Loads a set as it is now. */
enum saga_err load_set(const file_set *set, struct saga_schema **schema,
                       struct saga_err_detail *detail);

/* Asserts that loading it gives an error whose detail has a text in it. */
void expect_refused(const file_set *set, enum saga_err expected, const char *text);

/* Finds what must be there. */
file_proto *find_file(const file_set *set, const char *name);
message_proto *find_message(const file_set *set, const char *file_name, const char *name);

/* Replaces a text that protobuf-c allocated. */
void set_text(char **text, const char *value);

#endif
