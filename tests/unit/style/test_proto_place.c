/* Where in a .proto a finding about a saga is: by step and field, in whatever form it is written.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "client/proto_place.h"
#include "common/base/prng.h"

enum { MUTATIONS = 20000 };

static const char proto[] = "message Buy {\n"
                            "  option (saga.v1.definition) = {\n"
                            "    name: \"step { }\" // step { name: \"x\" }\n"
                            "    step { name: \"one\" after: \"a\" /* } */ after: \"b\" }\n"
                            "\tstep <name: 'two' retry { undo: 1 }\n"
                            "    undo: \"S/U\">\n"
                            "    deadline_ms: 5 step: [ { name: \"three\" },\n"
                            "      { name: \"four\" via: 7 } ]\n"
                            "  };\n"
                            "}\n"
                            "// step { undo: \"outside\" }\n";

static struct saga_proto_place find(int step, const char *code, const char *message)
{
    struct saga_finding finding = {
        .code = code, .line = 2, .column = 3, .step = step, .message = message};
    return saga_proto_place(saga_bytes_text(proto), &finding);
}

static void assert_place(struct saga_proto_place place, int line, int column)
{
    assert_int_equal(place.line, line);
    assert_int_equal(place.column, column);
}

static void test_proto_place_of_a_step_is_its_word(void **state)
{
    (void)state;
    assert_place(find(0, "SAGA010", "no undo"), 4, 5);
    assert_place(find(1, "SAGA010", "no undo"), 5, 9); /* a tab, as protoc counts it */
    assert_place(find(2, "SAGA010", "no undo"), 7, 20);
    assert_place(find(3, "SAGA010", "no undo"), 8, 7);
}

static void test_proto_place_of_a_field_is_its_word_in_the_step(void **state)
{
    (void)state;
    assert_place(find(0, "SAGA006", "after: \"a\" is not a step"), 4, 24);
    assert_place(find(0, "SAGA006", "after: \"b\" is not a step"), 4, 43);
    assert_place(find(1, "SAGA013", "the pivot is never undone"), 6, 5); /* not that of retry */
    assert_place(find(3, "SAGA036", "via: 7 is no road"), 8, 22);
    assert_place(find(3, "SAGA013", "it has no undo: the step is meant"), 8, 7);
}

static void test_proto_place_of_a_definitions_field_is_not_a_steps(void **state)
{
    (void)state;
    assert_place(find(-1, "SAGA001", "the name is not good"), 3, 5);
    assert_place(find(-1, "SAGA029", "too short"), 7, 5);
    assert_place(find(-1, "SAGA007", "a circle"), 2, 3);
}

static void test_proto_place_when_the_text_does_not_fit_is_the_findings(void **state)
{
    (void)state;
    struct saga_finding finding = {
        .code = "SAGA010", .line = 2, .column = 3, .step = 0, .message = "no undo"};
    static const char *const texts[] = {"",
                                        "\n",
                                        "message A {}\n  message B {}\n",
                                        "\n  option (saga.v1.definition).step = { name: 1 };",
                                        "\n  option (saga.v1.definition) = {",
                                        "\n  option (a) = { name: \"x",
                                        "\n  option",
                                        "\n  option (a) = { other { step { } } }"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_place(saga_proto_place(saga_bytes_text(texts[i]), &finding), 2, 3);
    }
    assert_place(find(4, "SAGA010", "there is no fifth step"), 2, 3);
    finding.line = 0;
    finding.column = 0;
    assert_place(saga_proto_place(saga_bytes_text(proto), &finding), 0, 0);
    finding.line = 1000;
    assert_place(saga_proto_place(saga_bytes_text(proto), &finding), 1000, 0);
}

static void test_proto_place_of_changed_text_does_no_harm(void **state)
{
    (void)state;
    static const char signs[] = "{}<>[]()\"'/*\\\n\t,: step";
    uint64_t random = 5;
    for (int i = 0; i < MUTATIONS; i++) {
        size_t size = (size_t)saga_prng_below(&random, sizeof proto);
        uint8_t *text =
            malloc(size == 0 ? 1 : size); /* its own, so that a read behind it is seen */
        assert_non_null(text);
        memcpy(text, proto, size);
        for (int k = 0; k < 3 && size > 0; k++) {
            text[saga_prng_below(&random, size)] =
                (uint8_t)signs[saga_prng_below(&random, sizeof signs - 1)];
        }
        struct saga_finding finding = {.code = "SAGA006",
                                       .line = 2,
                                       .column = 3,
                                       .step = (int)saga_prng_below(&random, 5) - 1,
                                       .message = "after: \"b\" is not a step"};
        struct saga_proto_place place = saga_proto_place((struct saga_bytes){text, size}, &finding);
        assert_true(place.line >= 2 && place.line < 20 && place.column >= 1);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proto_place_of_a_step_is_its_word),
        cmocka_unit_test(test_proto_place_of_a_field_is_its_word_in_the_step),
        cmocka_unit_test(test_proto_place_of_a_definitions_field_is_not_a_steps),
        cmocka_unit_test(test_proto_place_when_the_text_does_not_fit_is_the_findings),
        cmocka_unit_test(test_proto_place_of_changed_text_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
