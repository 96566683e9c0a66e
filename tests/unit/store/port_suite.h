/* The suite of the store port: the same tests for every implementation. */
#ifndef SAGA_TESTS_UNIT_STORE_PORT_SUITE_H
#define SAGA_TESTS_UNIT_STORE_PORT_SUITE_H

#include "common/base/err.h"
#include "orchestrator/runtime/port_store.h"

/* How an implementation is had. */
struct port_suite_factory {
    /* Makes an empty world (a file, a database) and keeps it in *world; removes it. */
    void *(*world_new)(void);
    void (*world_free)(void *world);
    /* Opens a store on a world; also a second one, and again after a close or a death. Also called
     * in forked children. */
    enum saga_err (*open)(void *world, struct saga_store_port *port,
                          struct saga_err_detail *detail);
    /* Opens a store in a process of its own, does the work, and lets the process die with its store
     * open. NULL: a forked child, killed. */
    void (*run_and_die)(void *world, void (*work)(const struct saga_store_port *port));
    bool one_thread; /* the world is a simulated one: what needs threads is left out */
};

/* Runs the suite; returns the number of failed tests. */
int port_suite_run(const char *name, const struct port_suite_factory *factory);

#endif
