/* Style rules of .proto files, judged on a FileDescriptorSet: names, packages, imports, comments.
 *
 * What makes a saga wrong is not here (common/wire, SAGA001 and on): a style rule is about what
 * people and generated code get along with, and can be switched off by its name, for a run or, by
 * the comment `sagactl:lint-ignore NAME`, for an element and what is in it. docs/lint.md has each
 * rule with examples. Any thread; nothing is kept between calls. */
#ifndef SAGA_STYLE_STYLE_H
#define SAGA_STYLE_STYLE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/bytes.h"
#include "common/base/err.h"

/* The rules; the order is that of the listing. */
enum saga_style_rule_id {
    SAGA_STYLE_PACKAGE_DEFINED,
    SAGA_STYLE_PACKAGE_LOWER_SNAKE_CASE,
    SAGA_STYLE_PACKAGE_VERSION_SUFFIX,
    SAGA_STYLE_PACKAGE_DIRECTORY_MATCH,
    SAGA_STYLE_PACKAGE_SAME_DIRECTORY,
    SAGA_STYLE_DIRECTORY_SAME_PACKAGE,
    SAGA_STYLE_PACKAGE_SAME_CSHARP_NAMESPACE,
    SAGA_STYLE_PACKAGE_SAME_GO_PACKAGE,
    SAGA_STYLE_PACKAGE_SAME_JAVA_MULTIPLE_FILES,
    SAGA_STYLE_PACKAGE_SAME_JAVA_PACKAGE,
    SAGA_STYLE_PACKAGE_SAME_PHP_NAMESPACE,
    SAGA_STYLE_PACKAGE_SAME_RUBY_PACKAGE,
    SAGA_STYLE_PACKAGE_SAME_SWIFT_PREFIX,
    SAGA_STYLE_FILE_LOWER_SNAKE_CASE,
    SAGA_STYLE_SYNTAX_SPECIFIED,
    SAGA_STYLE_IMPORT_NO_PUBLIC,
    SAGA_STYLE_IMPORT_NO_WEAK,
    SAGA_STYLE_IMPORT_USED,
    SAGA_STYLE_ENUM_PASCAL_CASE,
    SAGA_STYLE_ENUM_VALUE_UPPER_SNAKE_CASE,
    SAGA_STYLE_ENUM_VALUE_PREFIX,
    SAGA_STYLE_ENUM_FIRST_VALUE_ZERO,
    SAGA_STYLE_ENUM_ZERO_VALUE_SUFFIX,
    SAGA_STYLE_ENUM_NO_ALLOW_ALIAS,
    SAGA_STYLE_MESSAGE_PASCAL_CASE,
    SAGA_STYLE_FIELD_LOWER_SNAKE_CASE,
    SAGA_STYLE_FIELD_NOT_REQUIRED,
    SAGA_STYLE_ONEOF_LOWER_SNAKE_CASE,
    SAGA_STYLE_SERVICE_PASCAL_CASE,
    SAGA_STYLE_SERVICE_SUFFIX,
    SAGA_STYLE_RPC_PASCAL_CASE,
    SAGA_STYLE_RPC_REQUEST_STANDARD_NAME,
    SAGA_STYLE_RPC_RESPONSE_STANDARD_NAME,
    SAGA_STYLE_RPC_REQUEST_RESPONSE_UNIQUE,
    SAGA_STYLE_IGNORE_VALID,
    SAGA_STYLE_COMMENT_MESSAGE,
    SAGA_STYLE_COMMENT_FIELD,
    SAGA_STYLE_COMMENT_ONEOF,
    SAGA_STYLE_COMMENT_ENUM,
    SAGA_STYLE_COMMENT_ENUM_VALUE,
    SAGA_STYLE_COMMENT_SERVICE,
    SAGA_STYLE_COMMENT_RPC,
    SAGA_STYLE_RULE_COUNT,
};

struct saga_style_rule {
    const char *name;    /* "PACKAGE_DEFINED" */
    bool on;             /* judged unless it is switched off */
    const char *summary; /* one line: what it wants */
};

/* Gives a rule. Pre: id < SAGA_STYLE_RULE_COUNT. */
const struct saga_style_rule *saga_style_rule(size_t id);

/* Finds a rule by name. Returns false when there is none. */
bool saga_style_rule_find(const char *name, size_t *id);

struct saga_style_finding {
    size_t rule; /* its id */
    const char *file;
    int line, column;    /* from 1; 0 without source info */
    const char *where;   /* "order.v1.OrderItem.productId" */
    const char *message; /* what is wrong and how to mend it */
};

/* What is judged. */
struct saga_style_config {
    bool rules[SAGA_STYLE_RULE_COUNT]; /* by id */
    /* Tells whether a file of the set is judged; others are only read. */
    bool (*judged)(void *user, const char *file);
    void *user;
};

struct saga_style_result;

/* Judges a FileDescriptorSet. Errors: LIMIT (SAGA_DESCRIPTOR_SET_SIZE_MAX), MALFORMED, NO_MEMORY;
 * detail says. Owns: *result is the caller's, until free. */
enum saga_err saga_style_check(struct saga_bytes descriptor_set,
                               const struct saga_style_config *config,
                               struct saga_style_result **result,
                               struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Frees it. NULL is nothing. */
void saga_style_free(struct saga_style_result *result);

/* Walks the findings: by file (in bytes' order), line, column, rule. */
size_t saga_style_finding_count(const struct saga_style_result *result);
const struct saga_style_finding *saga_style_finding_at(const struct saga_style_result *result,
                                                       size_t index);

/* Gives how many findings were left out beyond SAGA_STYLE_FINDINGS_MAX. */
size_t saga_style_left_out(const struct saga_style_result *result);

/* Gives how many files were judged. */
size_t saga_style_file_count(const struct saga_style_result *result);

#endif
