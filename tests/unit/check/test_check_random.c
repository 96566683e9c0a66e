/* Random small definitions, each proved; what the reduction by like steps takes away must not be
 * missed. SAGA_CHECK_FIRST and SAGA_CHECK_COUNT choose others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/prng.h"
#include "tests/unit/check/defs.h"

enum { RANDOM_STEPS_MAX = 4 };

static bool chance(uint64_t *prng, unsigned percent)
{
    return saga_prng_below(prng, 100) < percent;
}

static unsigned random_traits(uint64_t *prng, bool first, bool before, bool pivot)
{
    unsigned traits = 0;
    if (pivot) {
        traits = PIVOT;
    } else if (before && !first && chance(prng, 20)) {
        traits = READ_ONLY;
    } else if (before) {
        traits = chance(prng, 70) ? UNDO : UNDO_NNG;
        traits |= first && chance(prng, 50) ? STARTER : 0;
    }
    if ((traits & STARTER) == 0) {
        traits |= chance(prng, 25) ? KAFKA : 0;
        traits |= !pivot && chance(prng, 20) ? WHEN : 0;
        traits |= (traits & (READ_ONLY | KAFKA)) == 0 && chance(prng, 15) ? CHILD : 0;
    }
    return traits;
}

/* As long as the engine takes it for a definition. */
static void make(struct defs *defs, uint64_t *prng)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    bool good = false;
    while (!good) {
        defs_init(defs);
        uint32_t count = 1 + (uint32_t)saga_prng_below(prng, RANDOM_STEPS_MAX);
        uint32_t pivot = (uint32_t)saga_prng_below(prng, count + 1);
        unsigned before = 0;
        for (uint32_t i = 0; i < count; i++) {
            uint64_t after = 0;
            for (uint32_t j = 0; j < i; j++) {
                bool must = i == pivot || j == pivot;
                after |= must || chance(prng, 40) ? UINT64_C(1) << j : 0;
            }
            unsigned traits = random_traits(prng, i == 0, i < pivot, i == pivot);
            bool like = i > 0 && i != pivot && i - 1 != pivot && chance(prng, 40);
            after = like ? defs->def.steps[i - 1].after_mask : after;
            traits = like ? before : traits;
            before = traits;
            (void)defs_add(defs, names[i], traits, after);
        }
        if (pivot == count) { /* none: then it may be a step itself */
            defs->config.child = chance(prng, 50);
        }
        struct saga_definition copy = defs->def;
        good = saga_definition_finish(&copy);
    }
    defs->config.attempts = 1 + (uint32_t)saga_prng_below(prng, 2);
}

/* Sanitizers are slow, and what they look for is in the first of them. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { COUNT = 8 };
#else
enum { COUNT = 24 };
#endif

static unsigned long number_of(const char *variable, unsigned long fallback)
{
    const char *text = getenv(variable);
    return text == NULL ? fallback : strtoul(text, NULL, 10);
}

static void compare(const struct saga_check_result *a, const struct saga_check_result *b)
{
    assert_int_equal(a->verdict, b->verdict);
    assert_int_equal(a->outcome_count, b->outcome_count);
    for (size_t i = 0; i < a->outcome_count; i++) {
        assert_int_equal(a->outcomes[i].state, b->outcomes[i].state);
        assert_int_equal(a->outcomes[i].effects, b->outcomes[i].effects);
    }
}

static void test_check_random_definitions_when_explored_then_they_are_proved(void **state)
{
    (void)state;
    unsigned long first = number_of("SAGA_CHECK_FIRST", 1);
    unsigned long count = number_of("SAGA_CHECK_COUNT", COUNT);
    unsigned reduced = 0;
    for (unsigned long i = first; i < first + count; i++) {
        uint64_t prng = i;
        struct defs defs;
        struct saga_check_result result;
        make(&defs, &prng);
        defs_run(&defs, &result);
        if (result.verdict != SAGA_CHECK_PROVED) {
            print_error("definition %lu: verdict %d, %s\n%.*s\n", i, (int)result.verdict,
                        result.wrong, (int)result.transcript.size,
                        result.transcript.size > 0 ? (const char *)result.transcript.data : "");
            fail();
        }
        if (result.alike > 0) {
            struct saga_check_result whole;
            defs.config.no_symmetry = true;
            defs_run(&defs, &whole);
            compare(&result, &whole);
            assert_true(result.states < whole.states);
            reduced++;
            saga_check_result_fini(&whole);
        }
        saga_check_result_fini(&result);
    }
    if (count >= 24) {
        assert_true(reduced > 0); /* or nothing was compared */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_random_definitions_when_explored_then_they_are_proved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
