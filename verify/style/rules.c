/* The table of rules. docs/lint.md and `sagactl lint --list-rules` tell the same. */
#include <string.h>

#include "common/base/assert.h"
#include "verify/style/style.h"

#define RULE(name, on, summary) [SAGA_STYLE_##name] = {#name, on, summary}

static const struct saga_style_rule rules[SAGA_STYLE_RULE_COUNT] = {
    RULE(PACKAGE_DEFINED, true, "a file names its package"),
    RULE(PACKAGE_LOWER_SNAKE_CASE, true, "the parts of a package's name are lower_snake_case"),
    RULE(PACKAGE_VERSION_SUFFIX, true, "a package's name ends in a version: v1, v2beta1"),
    RULE(PACKAGE_DIRECTORY_MATCH, true, "a file lies in the folder that its package names"),
    RULE(PACKAGE_SAME_DIRECTORY, true, "the files of a package lie in one folder"),
    RULE(DIRECTORY_SAME_PACKAGE, true, "the files of a folder are of one package"),
    RULE(PACKAGE_SAME_CSHARP_NAMESPACE, true, "the files of a package agree on csharp_namespace"),
    RULE(PACKAGE_SAME_GO_PACKAGE, true, "the files of a package agree on go_package"),
    RULE(PACKAGE_SAME_JAVA_MULTIPLE_FILES, true,
         "the files of a package agree on java_multiple_files"),
    RULE(PACKAGE_SAME_JAVA_PACKAGE, true, "the files of a package agree on java_package"),
    RULE(PACKAGE_SAME_PHP_NAMESPACE, true, "the files of a package agree on php_namespace"),
    RULE(PACKAGE_SAME_RUBY_PACKAGE, true, "the files of a package agree on ruby_package"),
    RULE(PACKAGE_SAME_SWIFT_PREFIX, true, "the files of a package agree on swift_prefix"),
    RULE(FILE_LOWER_SNAKE_CASE, true, "a file's name is lower_snake_case.proto"),
    RULE(SYNTAX_SPECIFIED, true, "a file says which syntax it is in"),
    RULE(IMPORT_NO_PUBLIC, true, "nothing is imported publicly"),
    RULE(IMPORT_NO_WEAK, true, "nothing is imported weakly"),
    RULE(IMPORT_USED, true, "what is imported is used"),
    RULE(ENUM_PASCAL_CASE, true, "an enum's name is PascalCase"),
    RULE(ENUM_VALUE_UPPER_SNAKE_CASE, true, "an enum value's name is UPPER_SNAKE_CASE"),
    RULE(ENUM_VALUE_PREFIX, true, "an enum value's name begins with that of its enum"),
    RULE(ENUM_FIRST_VALUE_ZERO, true, "the first value of an enum is 0"),
    RULE(ENUM_ZERO_VALUE_SUFFIX, true, "the name of an enum's value 0 ends in _UNSPECIFIED"),
    RULE(ENUM_NO_ALLOW_ALIAS, true, "no enum has two names for one number"),
    RULE(MESSAGE_PASCAL_CASE, true, "a message's name is PascalCase"),
    RULE(FIELD_LOWER_SNAKE_CASE, true, "a field's name is lower_snake_case"),
    RULE(FIELD_NOT_REQUIRED, true, "no field is required (proto2)"),
    RULE(ONEOF_LOWER_SNAKE_CASE, true, "a oneof's name is lower_snake_case"),
    RULE(SERVICE_PASCAL_CASE, true, "a service's name is PascalCase"),
    RULE(SERVICE_SUFFIX, true, "a service's name ends in Service"),
    RULE(RPC_PASCAL_CASE, true, "a method's name is PascalCase"),
    RULE(RPC_REQUEST_STANDARD_NAME, true, "the request of a method M is called MRequest"),
    RULE(RPC_RESPONSE_STANDARD_NAME, true, "the response of a method M is called MResponse"),
    RULE(RPC_REQUEST_RESPONSE_UNIQUE, true, "a request or response is that of one method alone"),
    RULE(IGNORE_VALID, true, "a comment sagactl:lint-ignore names rules, and stands on an element"),
    RULE(COMMENT_MESSAGE, false, "a message has a comment above it"),
    RULE(COMMENT_FIELD, false, "a field has a comment above it"),
    RULE(COMMENT_ONEOF, false, "a oneof has a comment above it"),
    RULE(COMMENT_ENUM, false, "an enum has a comment above it"),
    RULE(COMMENT_ENUM_VALUE, false, "an enum value has a comment above it"),
    RULE(COMMENT_SERVICE, false, "a service has a comment above it"),
    RULE(COMMENT_RPC, false, "a method has a comment above it"),
};

const struct saga_style_rule *saga_style_rule(size_t id)
{
    SAGA_ASSERT(id < SAGA_STYLE_RULE_COUNT);
    return &rules[id];
}

bool saga_style_rule_find(const char *name, size_t *id)
{
    for (size_t i = 0; i < SAGA_STYLE_RULE_COUNT; i++) {
        if (strcmp(rules[i].name, name) == 0) {
            *id = i;
            return true;
        }
    }
    return false;
}
