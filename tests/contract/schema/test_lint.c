/* The static checks against lint/SAGAxxx-{bad,good}*.proto: a bad file has findings of its code and
 * of no other, its saga is refused; a good one, which differs from it by as little as possible, has
 * none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/schema.h"
#include "tests/support/support.h"

enum { FILES_MAX = 512, CODES_MAX = 45, NAME_SIZE = 64, PROTOC_DEADLINE_MS = 30000 };

static const char lint_dir[] = SAGA_SOURCE_DIR "/tests/contract/schema/lint";

static char names[FILES_MAX][NAME_SIZE];
static size_t name_count;

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void list_files(void)
{
    DIR *dir = opendir(lint_dir);
    assert_non_null(dir);
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (strncmp(entry->d_name, "SAGA", 4) == 0) {
            assert_true(name_count < FILES_MAX);
            assert_true(strlen(entry->d_name) < NAME_SIZE);
            (void)snprintf(names[name_count++], NAME_SIZE, "%s", entry->d_name);
        }
    }
    (void)closedir(dir);
    qsort(names, name_count, NAME_SIZE, compare_names);
}

static struct saga_bytes read_whole(const char *path)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint8_t *data = malloc(SAGA_DESCRIPTOR_SET_SIZE_MAX);
    assert_non_null(data);
    size_t size = fread(data, 1, SAGA_DESCRIPTOR_SET_SIZE_MAX, file);
    assert_true(size > 0 && size < SAGA_DESCRIPTOR_SET_SIZE_MAX);
    assert_int_equal(fclose(file), 0);
    return (struct saga_bytes){data, size};
}

typedef enum saga_err load_set(struct saga_bytes, struct saga_schema **, struct saga_err_detail *);

/* Compiles a file with protoc and loads what comes of it. */
static struct saga_schema *load_by(load_set *loads, const char *name)
{
    struct saga_test_dir dir;
    char out[SAGA_TEST_PATH_MAX];
    char option[SAGA_TEST_PATH_MAX + 32];
    saga_test_dir_open(&dir);
    (void)snprintf(option, sizeof option, "--descriptor_set_out=%s",
                   saga_test_path(&dir, "set.binpb", out));
    const char *const argv[] = {"protoc",
                                "-I",
                                SAGA_SOURCE_DIR "/proto",
                                "-I",
                                lint_dir,
                                "--include_imports",
                                "--include_source_info",
                                option,
                                name,
                                NULL};
    struct saga_test_child child;
    saga_test_spawn(&child, argv, NULL);
    assert_true(saga_test_wait(&child, PROTOC_DEADLINE_MS));
    assert_int_equal(child.status, 0);
    struct saga_bytes set = read_whole(out);
    saga_test_dir_close(&dir);

    struct saga_schema *schema = NULL;
    struct saga_err_detail detail = {""};
    enum saga_err err = loads(set, &schema, &detail);
    free((void *)(uintptr_t)set.data);
    if (err != SAGA_ERR_OK) {
        fail_msg("%s: %s", name, detail.text);
    }
    return schema;
}

static struct saga_schema *load(const char *name)
{
    return load_by(saga_schema_load, name);
}

static void check_finding(const struct saga_finding *finding, const char *name)
{
    if (strncmp(finding->code, name, 7) != 0) {
        fail_msg("%s: found %s (%s: %s)", name, finding->code, finding->where, finding->message);
    }
    assert_string_equal(finding->file, name);
    assert_true(finding->line > 0);
    assert_true(finding->column > 0);
    assert_true(strlen(finding->where) > 0);
    assert_true(strlen(finding->message) > 0);
}

/* The files with a saga that runs others: it is named "lint". */
static bool has_children(const char *name)
{
    return strstr(name, "-child") != NULL || strncmp(name, "SAGA038", 7) >= 0;
}

static void test_lint_of_a_file_finds_its_code_alone(void **state)
{
    const char *name = *state;
    bool bad = strstr(name, "-bad") != NULL;
    struct saga_schema *schema = load(name);
    size_t count = saga_schema_finding_count(schema);
    for (size_t i = 0; i < count; i++) {
        check_finding(saga_schema_finding_at(schema, i), name);
    }
    if (bad) {
        assert_true(count > 0);
        if (has_children(name)) {
            assert_null(saga_schema_decl(schema, "lint")); /* those in it may be good */
        } else {
            /* Of two sagas with one name the first one stands. */
            size_t left = strncmp(name, "SAGA002", 7) == 0 ? 1 : 0;
            assert_int_equal(saga_schema_decl_count(schema), left);
        }
    } else {
        assert_int_equal(count, 0);
        assert_true(saga_schema_decl_count(schema) > 0);
    }
    saga_schema_free(schema);
}

static void test_lint_of_a_stored_set_leaves_out_what_is_checked_since(void **state)
{
    (void)state;
    struct saga_schema *later = load_by(saga_schema_load_stored, "SAGA045-bad.proto");
    assert_int_equal(saga_schema_finding_count(later), 0);
    assert_non_null(saga_schema_decl(later, "lint"));
    saga_schema_free(later);
    struct saga_schema *always = load_by(saga_schema_load_stored, "SAGA044-bad.proto");
    assert_true(saga_schema_finding_count(always) > 0);
    assert_null(saga_schema_decl(always, "lint"));
    saga_schema_free(always);
}

static bool file_of(const char *code, const char *kind)
{
    for (size_t i = 0; i < name_count; i++) {
        if (strncmp(names[i], code, 7) == 0 && strncmp(names[i] + 8, kind, strlen(kind)) == 0) {
            return true;
        }
    }
    return false;
}

static void test_lint_every_code_has_a_bad_and_a_good_file(void **state)
{
    (void)state;
    for (int i = 1; i <= CODES_MAX; i++) {
        char code[16];
        (void)snprintf(code, sizeof code, "SAGA%03d", i);
        if (!file_of(code, "bad") || !file_of(code, "good")) {
            fail_msg("%s has not both a bad and a good file", code);
        }
    }
}

/* Notes every SAGAxxx that a text file speaks of. */
static void note_codes(const char *path, bool *seen, size_t seen_count)
{
    FILE *file = fopen(path, "r");
    char line[1024];
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        for (const char *at = strstr(line, "SAGA0"); at != NULL; at = strstr(at + 1, "SAGA0")) {
            size_t code = strtoul(at + 4, NULL, 10);
            if (code > 0 && code < seen_count) {
                seen[code] = true;
            }
        }
    }
    assert_int_equal(fclose(file), 0);
}

static void test_lint_codes_in_source_and_docs_are_those_tested(void **state)
{
    (void)state;
    static const char *const sources[] = {"lint_bind.c",  "lint_child.c",  "lint_flow.c",
                                          "lint_graph.c", "lint_method.c", "lint_policy.c"};
    bool in_source[100] = {false};
    bool in_docs[100] = {false};
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        char path[SAGA_TEST_PATH_MAX];
        (void)snprintf(path, sizeof path, "%s/common/wire/%s", SAGA_SOURCE_DIR, sources[i]);
        note_codes(path, in_source, 100);
    }
    note_codes(SAGA_SOURCE_DIR "/docs/lint.md", in_docs, 100);
    for (size_t i = 1; i < 100; i++) {
        assert_int_equal(in_source[i], i <= CODES_MAX);
        assert_int_equal(in_docs[i], i <= CODES_MAX);
    }
}

int main(void)
{
    static struct CMUnitTest tests[FILES_MAX + 3] = {
        cmocka_unit_test(test_lint_every_code_has_a_bad_and_a_good_file),
        cmocka_unit_test(test_lint_of_a_stored_set_leaves_out_what_is_checked_since),
        cmocka_unit_test(test_lint_codes_in_source_and_docs_are_those_tested),
    };
    list_files();
    if (name_count == 0) {
        (void)fprintf(stderr, "no files in %s\n", lint_dir);
        return 1;
    }
    for (size_t i = 0; i < name_count; i++) {
        tests[i + 3].name = names[i];
        tests[i + 3].test_func = test_lint_of_a_file_finds_its_code_alone;
        tests[i + 3].initial_state = names[i];
    }
    /* cmocka's macro counts the array; only as many as there are files are wanted. */
    return _cmocka_run_group_tests("lint", tests, name_count + 3, NULL, NULL);
}
