/* The embedded store: orchestrator/runtime/port_store.h on one SQLite file. The port's header is
 * the contract.
 *
 * Three connections to the file: the loop's (read and write), and one read-only for each of the two
 * relays. */
#ifndef SAGA_STORE_SQLITE_STORE_SQLITE_H
#define SAGA_STORE_SQLITE_STORE_SQLITE_H

#include "common/base/err.h"
#include "orchestrator/runtime/port_store.h"

/* Opens (creates, brings up to date) a store file. Owns: on success the caller, until
 * port->ops->close. Errors: IO, CORRUPT, DISK_FULL, NO_MEMORY, BUSY; CONFLICT when a newer program
 * wrote the file. Thread: the loop's.
 *
 * What this store adds to the port's contract: every write but take_lease needs the lease (FENCED
 * without it, S8). What a visitor is given lives until it returns; it must not call the operation
 * that called it. */
enum saga_err saga_store_sqlite_open(const char *path, struct saga_store_port *port,
                                     struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* As saga_store_sqlite_open, on a VFS that SQLite knows by this name (a simulated disk); NULL: the
 * system's. */
enum saga_err saga_store_sqlite_open_on(const char *vfs, const char *path,
                                        struct saga_store_port *port,
                                        struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Sets after how many pages of its log the store checkpoints (10,000 at open); for simulated disks,
 * whose worlds are too short for the usual number. Pre: pages > 0. Errors: as a statement's. */
enum saga_err saga_store_sqlite_checkpoint_at(const struct saga_store_port *port, unsigned pages,
                                              struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Opens a store file to look into it, also while a daemon uses it: it must be there and is never
 * written; one of an older program is read as it is. Of the port's operations only find_*,
 * load_live, list_* and close may be used; a listing's visitor may call the other ones. *saga_count
 * (may be NULL): how many sagas it holds. Errors: as of open; NOT_FOUND: there is no such file;
 * INVALID: it is no store of sagad. */
enum saga_err saga_store_sqlite_inspect(const char *path, struct saga_store_port *port,
                                        uint64_t *saga_count,
                                        struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* To be asked at the end of looking into a file: whether it stood still if it had to (a closed
 * store is read as one that nobody changes, so that nothing is made beside it). Errors: BUSY: a
 * program has opened it meanwhile, and what was read may be wrong: look again. */
enum saga_err saga_store_sqlite_inspected(const struct saga_store_port *port,
                                          struct saga_err_detail *detail) SAGA_WARN_UNUSED;

#endif
