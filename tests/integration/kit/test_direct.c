/* Commands that belong to no saga pass no barrier: the services' own rules must still not let an
 * effect happen twice (S3). */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/integration/kit/daemon.h"

#define SEED                                                                                       \
    "{\"products\":[{\"product_id\":1,\"name\":\"soup\",\"price_cents\":250,\"stock\":10}]}"
#define STOCK "SELECT stock FROM product WHERE product_id = 1"

static struct daemon productd;

/* The same command, as a person calls it by hand. */
static struct saga_command by_hand(struct saga_command command)
{
    command.op = SAGA_OP_NONE;
    command.saga_id = (struct saga_id){{0}};
    command.step = "";
    return command;
}

static void test_product_when_released_again_by_hand_then_stock_comes_back_once(void **state)
{
    (void)state;
    daemon_prepare(&productd, "productd", SEED);
    daemon_start(&productd, NULL);
    struct saga_command reserve = reserve_of(1, 1, 1, 4);
    struct saga_command release = by_hand(release_of(1, 1));
    assert_int_equal(daemon_call(&productd, &reserve).status.code, SAGA_CODE_OK);
    assert_int_equal(daemon_number(&productd, STOCK), 6);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(daemon_call(&productd, &release).status.code, SAGA_CODE_OK);
        assert_int_equal(daemon_number(&productd, STOCK), 10);
    }
    /* Nor does the saga's own undo, when it comes. */
    struct saga_command undo = release_of(1, 1);
    assert_int_equal(daemon_call(&productd, &undo).status.code, SAGA_CODE_OK);
    assert_int_equal(daemon_number(&productd, STOCK), 10);
    assert_int_equal(daemon_end(&productd, SIGTERM), 0);
    daemon_remove(&productd);
    pool_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_product_when_released_again_by_hand_then_stock_comes_back_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
