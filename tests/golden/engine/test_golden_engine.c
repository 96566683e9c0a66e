/* Golden transcripts of the engine: every *.txt here is run and compared with itself.
 * test_golden_engine --rewrite makes them anew; the diff is to be reviewed. --canary checks that a
 * changed answer is noticed. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/golden/engine/transcript.h"

#define FOLDER SAGA_SOURCE_DIR "/tests/golden/engine"

enum { FILES_MAX = 128, FILES_MIN = 10 };

static bool rewrite;
static bool canary;

static void read_all(const char *path, struct saga_buf *out)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint8_t chunk[4096];
    size_t got = 0;
    while ((got = fread(chunk, 1, sizeof chunk, file)) > 0) {
        assert_int_equal(saga_buf_append(out, (struct saga_bytes){chunk, got}), SAGA_ERR_OK);
    }
    (void)fclose(file);
}

/* Runs one file; gives whether it is as it was. */
static bool run_file(const char *path, const char *name)
{
    struct saga_buf text = {0};
    struct saga_buf out = {0};
    read_all(path, &text);
    if (canary) {
        assert_int_equal(saga_buf_append(&text, (struct saga_bytes){(const uint8_t *)"", 1}),
                         SAGA_ERR_OK);
        text.size--;
        char *found = strstr((char *)text.data, "\n  seq ");
        assert_non_null(found);
        found[3] = 'S';
    }
    const char *wrong = transcript_run(saga_buf_view(&text), &out, NULL);
    if (wrong != NULL) {
        print_error("%s: %s\n", name, wrong);
        fail();
    }
    bool same = saga_bytes_equal(saga_buf_view(&text), saga_buf_view(&out));
    if (!same && rewrite) {
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(out.data, 1, out.size, file), out.size);
        assert_int_equal(fclose(file), 0);
    } else if (!same && !canary) {
        print_error("%s differs; the engine now says:\n%.*s\n", name, (int)out.size,
                    (const char *)out.data);
    }
    saga_buf_fini(&text);
    saga_buf_fini(&out);
    return same || rewrite;
}

static void test_engine_transcripts_when_run_then_are_as_recorded(void **state)
{
    (void)state;
    DIR *folder = opendir(FOLDER);
    assert_non_null(folder);
    size_t count = 0;
    size_t same = 0;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        size_t size = strlen(entry->d_name);
        if (size > 4 && strcmp(entry->d_name + size - 4, ".txt") == 0 &&
            strcmp(entry->d_name, "CMakeLists.txt") != 0 &&
            strcmp(entry->d_name, "rows.txt") != 0) {
            char path[4096];
            (void)snprintf(path, sizeof path, "%s/%s", FOLDER, entry->d_name);
            same += run_file(path, entry->d_name) ? 1 : 0;
            count += 1;
        }
    }
    (void)closedir(folder);
    assert_true(count >= FILES_MIN);
    assert_int_equal(same, canary ? 0 : count);
}

int main(int argc, char **argv)
{
    rewrite = argc > 1 && strcmp(argv[1], "--rewrite") == 0;
    canary = argc > 1 && strcmp(argv[1], "--canary") == 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engine_transcripts_when_run_then_are_as_recorded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
