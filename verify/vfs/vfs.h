/* A disk for SQLite that lives in memory, fails on demand and can lose power: one saga_vfs is one
 * disk of one simulated machine.
 *
 * Each file has two images: what processes see (the page cache) and what would be there after a
 * power failure (durable: what was synced). Writes since the last sync are remembered one by one,
 * so that a power failure can keep, lose or tear each of them; names that came or went since the
 * last sync of the directory may be as before. WAL mode works with any number of connections, of
 * several simulated processes (locks and shared memory are kept here).
 *
 * It behaves as SQLite's own VFS on Linux: sectors of 4096 bytes, power-safe overwrite; creating a
 * journal or log syncs the directory with the file's first sync. Nothing sleeps, no real clock is
 * read, nothing touches the real file system.
 *
 * Thread: one at a time per disk and everything opened on it; several disks may be used by several
 * threads. What is not deterministic: the salts of SQLite's log, which it draws from a generator
 * of its own; no operation, size or order depends on them. */
#ifndef SAGA_VFS_VFS_H
#define SAGA_VFS_VFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

enum {
    SAGA_VFS_FILES_MAX = 32,     /* names of one disk */
    SAGA_VFS_PROCESSES_MAX = 8,  /* processes that share one disk */
    SAGA_VFS_PATH_MAX = 127,     /* bytes of a file's name */
    SAGA_VFS_SECTOR_SIZE = 512,  /* a write is torn at multiples of this */
    SAGA_VFS_FILE_MAX = 1 << 30, /* bytes of a file; beyond: the disk is full */
    /* Bytes of one file that wait for a sync; beyond, the machine writes them back by itself. */
    SAGA_VFS_PENDING_MAX = 64 << 20,
};

/* One disk. */
struct saga_vfs;

/* What is on a disk, to begin others with. */
struct saga_vfs_image;

enum saga_vfs_op {
    SAGA_VFS_OPEN,
    SAGA_VFS_READ,
    SAGA_VFS_WRITE,
    SAGA_VFS_TRUNCATE,
    SAGA_VFS_SYNC,
    SAGA_VFS_DELETE,
    SAGA_VFS_MAP, /* of shared memory */
};
enum { SAGA_VFS_OPS = SAGA_VFS_MAP + 1 };

enum saga_vfs_kind {
    SAGA_VFS_DATABASE,
    SAGA_VFS_JOURNAL,
    SAGA_VFS_LOG,  /* -wal */
    SAGA_VFS_TEMP, /* without a name, never durable */
};

/* What becomes of an operation. One that makes no sense for it counts as EIO. */
enum saga_vfs_outcome {
    SAGA_VFS_OK,
    /* Any operation: it fails, nothing is done. A failed sync leaves the fate of what was written
     * open: it stays in the page cache and may or may not survive a power failure until a later
     * sync succeeds. */
    SAGA_VFS_EIO,
    SAGA_VFS_FULL, /* write, truncate, open: no space left */
    /* Read: some bytes, then EIO. Write: the first bytes only, then the disk is full. */
    SAGA_VFS_SHORT,
    /* Read: the file seems to end here; the rest reads as zeros, and SQLite is told so. SQLite
     * takes a table's page of zeros for corruption, but an overflow page of zeros (of a value that
     * is larger than a page) for zeros: as bad as a lying disk for those. */
    SAGA_VFS_CUT,
    /* Sync: it fails, some of what was written is lost, none of it is tried again, and the next
     * sync succeeds all the same, while the page cache still shows what was lost (as Linux does
     * since 4.13 and did before without a word). */
    SAGA_VFS_GATE,
    /* Sync: says OK and does nothing. No database survives it together with a power failure; for
     * tests that must find that loss. */
    SAGA_VFS_LIE,
    /* The process gets no further: this and all that it does from now on fails, until crash or
     * kill. BEFORE: the operation is not done. AFTER: it is done, but nobody hears of it. */
    SAGA_VFS_STOP_BEFORE,
    SAGA_VFS_STOP_AFTER,
};
enum { SAGA_VFS_OUTCOMES = SAGA_VFS_STOP_AFTER + 1 };

/* One operation that is about to be done. */
struct saga_vfs_io {
    enum saga_vfs_op op;
    enum saga_vfs_kind kind;
    unsigned process;
    const char *file; /* "": temporary */
    int64_t offset;   /* truncate: the new size */
    size_t size;      /* read, write: bytes */
    uint64_t number;  /* of the operation on this disk, from 1; the same in every run */
};

/* Decides what becomes of an operation. It must not use the disk. */
typedef enum saga_vfs_outcome saga_vfs_fault(void *user, const struct saga_vfs_io *io);

struct saga_vfs_config {
    uint64_t seed; /* of SQLite's randomness, and of what a failed sync loses */
    /* The simulated clock; NULL: it stands at 2000-01-01. */
    int64_t (*now_unix_ms)(void *user);
    saga_vfs_fault *fault; /* NULL: all goes well */
    void *user;            /* of both */
    int64_t quota;         /* bytes of all files together; beyond: full. 0: none */
};

/* What a power failure does to what was not synced. */
struct saga_vfs_loss {
    uint64_t *prng;        /* the caller's; NULL: only with percents of 0 or 100 */
    unsigned lost_percent; /* of the writes and names: lost */
    unsigned torn_percent; /* of the writes: each of its sectors is kept or not by a coin */
};                         /* the rest is kept */

struct saga_vfs_stats {
    uint64_t ops[SAGA_VFS_OPS];
    uint64_t outcomes[SAGA_VFS_OUTCOMES]; /* as the fault function decided */
    uint64_t full;                        /* writes refused by the quota */
    uint64_t bytes_written;
    uint64_t writes_kept; /* by crashes and failed syncs */
    uint64_t writes_lost;
    uint64_t writes_torn;
    uint64_t names_lost; /* creations and deletions that a crash took back */
    uint64_t crashes;
    uint64_t kills;
    uint64_t slept_us; /* that SQLite wanted to sleep */
};

/* Makes an empty disk. Owns: the caller, until free. Errors: NO_MEMORY. Thread: any. */
enum saga_err saga_vfs_new(const struct saga_vfs_config *config,
                           struct saga_vfs **vfs) SAGA_WARN_UNUSED;

/* Throws the disk away. Pre: every connection on it is closed, those of the dead too. NULL is
 * nothing. */
void saga_vfs_free(struct saga_vfs *vfs);

/* Gives the name by which a process (from 0) opens files of this disk (the VFS's name in SQLite);
 * valid until free. Pre: process < SAGA_VFS_PROCESSES_MAX. */
const char *saga_vfs_name(struct saga_vfs *vfs, unsigned process);

/* Changes what the config has given. */
void saga_vfs_set_fault(struct saga_vfs *vfs, saga_vfs_fault *fault, void *user);
void saga_vfs_set_quota(struct saga_vfs *vfs, int64_t quota);

/* Power fails and comes back: every connection on the disk is dead (all that it does fails, closing
 * it is harmless at any time until free), locks and shared memory are gone, and the files are what
 * was durable and what the loss leaves of the rest, in the order of writing. */
void saga_vfs_crash(struct saga_vfs *vfs, const struct saga_vfs_loss *loss);

/* A process dies (kill -9): its connections are dead and its locks are gone; the page cache stays,
 * so nothing is lost. When other processes have the same files open, its connections must be closed
 * before any of them goes on (SQLite puts shared memory in order while it closes). */
void saga_vfs_kill(struct saga_vfs *vfs, unsigned process);

/* Tells whether a process was stopped by STOP_BEFORE or STOP_AFTER and neither crash nor kill has
 * come yet. */
bool saga_vfs_stopped(const struct saga_vfs *vfs, unsigned process);

/* Gives the size of a file as processes see it, or as durable; -1: there is none. */
int64_t saga_vfs_file_size(const struct saga_vfs *vfs, const char *file, bool durable);

/* Gives the writes of a file that wait for a sync; 0 when there is none such. */
size_t saga_vfs_pending(const struct saga_vfs *vfs, const char *file);

const struct saga_vfs_stats *saga_vfs_stats(const struct saga_vfs *vfs);

/* Copies the files as processes see them. Pre: no connection is open. Owns: the caller. Errors:
 * NO_MEMORY. An image may be put on disks by several threads at once. */
enum saga_err saga_vfs_image_take(const struct saga_vfs *vfs,
                                  struct saga_vfs_image **image) SAGA_WARN_UNUSED;
void saga_vfs_image_free(struct saga_vfs_image *image);

/* Puts the files of an image on an empty disk, durable. Errors: NO_MEMORY. */
enum saga_err saga_vfs_image_put(struct saga_vfs *vfs,
                                 const struct saga_vfs_image *image) SAGA_WARN_UNUSED;

/* Give names for traces, for example "READ". Never NULL. */
const char *saga_vfs_op_name(enum saga_vfs_op op);
const char *saga_vfs_outcome_name(enum saga_vfs_outcome outcome);

#endif
