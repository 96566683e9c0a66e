/* The store port's suite on the simulated disk: once with death by kill, once by power failure that
 * loses all that was not synced, once by one that tears. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "orchestrator/store/sqlite/store_sqlite.h"
#include "tests/unit/store/port_suite.h"
#include "verify/vfs/vfs.h"

#define PATH "/disk/store.db"

static enum saga_err disk_open(struct saga_vfs *vfs, unsigned process, struct saga_store_port *port,
                               struct saga_err_detail *detail)
{
    return saga_store_sqlite_open_on(saga_vfs_name(vfs, process), PATH, port, detail);
}

static void *world_new(void)
{
    const struct saga_vfs_config config = {.seed = 1};
    struct saga_vfs *vfs = NULL;
    assert_int_equal(saga_vfs_new(&config, &vfs), SAGA_ERR_OK);
    return vfs;
}

static void world_free(void *world)
{
    saga_vfs_free(world);
}

static enum saga_err world_open(void *world, struct saga_store_port *port,
                                struct saga_err_detail *detail)
{
    return disk_open(world, 0, port, detail);
}

static void work_in(void *world, struct saga_store_port *port,
                    void (*work)(const struct saga_store_port *port))
{
    struct saga_err_detail detail = {.text = ""};
    assert_int_equal(disk_open(world, 1, port, &detail), SAGA_ERR_OK);
    work(port);
}

static void die_by_kill(void *world, void (*work)(const struct saga_store_port *port))
{
    struct saga_store_port port;
    work_in(world, &port, work);
    saga_vfs_kill(world, 1);
    port.ops->close(port.store);
}

static void die_by_power(void *world, void (*work)(const struct saga_store_port *port))
{
    struct saga_store_port port;
    work_in(world, &port, work);
    saga_vfs_crash(world, &(struct saga_vfs_loss){.lost_percent = 100});
    port.ops->close(port.store);
}

static void die_by_torn_power(void *world, void (*work)(const struct saga_store_port *port))
{
    uint64_t prng = 7;
    struct saga_store_port port;
    work_in(world, &port, work);
    saga_vfs_crash(world,
                   &(struct saga_vfs_loss){.prng = &prng, .lost_percent = 30, .torn_percent = 40});
    port.ops->close(port.store);
}

int main(void)
{
    struct port_suite_factory factory = {
        .world_new = world_new,
        .world_free = world_free,
        .open = world_open,
        .one_thread = true,
    };
    factory.run_and_die = die_by_kill;
    int failed = port_suite_run("simulated disk, kill", &factory);
    factory.run_and_die = die_by_power;
    failed += port_suite_run("simulated disk, power", &factory);
    factory.run_and_die = die_by_torn_power;
    failed += port_suite_run("simulated disk, torn", &factory);
    return failed == 0 ? 0 : 1;
}
