/* What the files of this room share. */
#ifndef SAGA_VFS_VFS_INTERNAL_H
#define SAGA_VFS_VFS_INTERNAL_H

#include <sqlite3.h>

#include "verify/vfs/vfs.h"

enum {
    VFS_PAST_MAX = 4,          /* states of a name between the durable and the present one */
    VFS_SHM_REGIONS_MAX = 512, /* of 32 KiB: logs up to two million frames */
    VFS_NAME_SIZE = 48,        /* of a VFS */
};

/* Bytes of a file in one of its images. Beyond size the memory is not cleared. */
struct vfs_content {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

/* A write or truncate since the last sync. */
struct vfs_pending {
    int64_t offset;   /* truncate: the new size */
    size_t size;      /* bytes; 0: truncate */
    size_t data_from; /* in the file's pending_data */
};

/* Shared memory of a file in WAL mode. It outlives a crash for the dead, who have pointers to it.
 */
struct vfs_shm {
    unsigned references; /* handles that have it mapped, and the file */
    void *regions[VFS_SHM_REGIONS_MAX];
    unsigned region_count;
    unsigned shared[SQLITE_SHM_NLOCK];                /* holders */
    const struct vfs_handle *owner[SQLITE_SHM_NLOCK]; /* exclusive */
};

/* A file, named or not. */
struct vfs_file {
    struct saga_vfs *vfs;
    unsigned references; /* states of names, and handles */
    enum saga_vfs_kind kind;
    struct vfs_content cached;
    struct vfs_content durable; /* its capacity is never below that of `cached` */
    bool diverged; /* the images differ in more than what is pending (a sync that lost something) */
    struct vfs_pending *pending;
    size_t pending_count;
    size_t pending_capacity;
    struct vfs_content pending_data;
    /* Locks as SQLite knows them. */
    unsigned shared;
    const struct vfs_handle *reserved; /* also by those that have more */
    const struct vfs_handle *pending_lock;
    const struct vfs_handle *exclusive;
    struct vfs_shm *shm; /* NULL: nobody has any */
};

/* A name. past: what it stood for since the directory was synced, oldest first; NULL: nothing. */
struct vfs_entry {
    char name[SAGA_VFS_PATH_MAX + 1];
    struct vfs_file *durable;
    struct vfs_file *past[VFS_PAST_MAX];
    unsigned past_count;
    struct vfs_file *cached;
    bool changed; /* since the directory was synced */
};

/* An open file: what SQLite calls a sqlite3_file. */
struct vfs_handle {
    sqlite3_file base;
    struct saga_vfs *vfs;
    struct vfs_file *file;
    const char *name; /* the entry's; "": temporary */
    unsigned process;
    bool dead;
    bool sync_directory; /* with the next sync */
    bool delete_on_close;
    int lock; /* SQLITE_LOCK_… */
    struct vfs_shm *shm;
    uint16_t shm_shared; /* masks of slots */
    uint16_t shm_exclusive;
    struct vfs_handle *next;
    struct vfs_handle *before;
};

/* A process's view of the disk. */
struct vfs_process {
    sqlite3_vfs base;
    char name[VFS_NAME_SIZE]; /* "": not registered */
    struct saga_vfs *vfs;
    unsigned index;
    bool stopped;
};

struct saga_vfs {
    struct saga_vfs_config config;
    uint64_t number; /* of this disk, over all of this program */
    uint64_t random; /* xRandomness */
    uint64_t chance; /* failed syncs */
    uint64_t ops;
    struct saga_vfs_stats stats;
    struct vfs_entry entries[SAGA_VFS_FILES_MAX];
    size_t entry_count;
    struct vfs_handle *handles;
    struct vfs_process processes[SAGA_VFS_PROCESSES_MAX];
};

struct saga_vfs_image {
    size_t count;
    struct {
        char name[SAGA_VFS_PATH_MAX + 1];
        enum saga_vfs_kind kind;
        uint8_t *data;
        size_t size;
    } files[SAGA_VFS_FILES_MAX];
};

/* vfs_file.c: contents, files and names. False: out of memory. */
struct vfs_file *vfs_file_new(struct saga_vfs *vfs, enum saga_vfs_kind kind);
void vfs_file_release(struct vfs_file *file); /* NULL is nothing */
bool vfs_content_reserve(struct vfs_content *content, size_t size) SAGA_WARN_UNUSED;
/* Puts bytes into reserved memory, with zeros before them where the file was shorter. */
void vfs_content_put(struct vfs_content *content, size_t offset, const void *data, size_t size);
void vfs_content_cut(struct vfs_content *content, size_t size);
/* Write and truncate in the page cache, remembered for a crash. */
bool vfs_file_write(struct vfs_file *file, size_t offset, const void *data,
                    size_t size) SAGA_WARN_UNUSED;
bool vfs_file_truncate(struct vfs_file *file, size_t size) SAGA_WARN_UNUSED;
struct vfs_entry *vfs_entry_find(struct saga_vfs *vfs, const char *name); /* NULL: no such name */
struct vfs_entry *vfs_entry_take(struct saga_vfs *vfs, const char *name); /* NULL: too many */
/* Lets a name stand for a file (takes a reference) or for nothing (NULL). */
void vfs_entry_set(struct vfs_entry *entry, struct vfs_file *file);

/* vfs_loss.c: what becomes durable. */
void vfs_file_sync(struct vfs_file *file);
/* What is pending is kept, lost or torn; nothing is pending then. */
void vfs_file_lose(struct vfs_file *file, const struct saga_vfs_loss *loss);
void vfs_directory_sync(struct saga_vfs *vfs);

/* vfs_lock.c */
int vfs_lock(sqlite3_file *base, int level);
int vfs_unlock(sqlite3_file *base, int level);
int vfs_check_reserved(sqlite3_file *base, int *out);
int vfs_shm_map(sqlite3_file *base, int region, int size, int extend, void volatile **out);
int vfs_shm_lock(sqlite3_file *base, int offset, int count, int flags);
void vfs_shm_barrier(sqlite3_file *base);
int vfs_shm_unmap(sqlite3_file *base, int delete_it);
/* Gives up the locks of a handle; of the dead too. */
void vfs_locks_drop(struct vfs_handle *handle);
/* One less has this memory. */
void vfs_shm_release(struct vfs_shm *shm);

/* vfs_io.c */
extern const sqlite3_io_methods vfs_methods;
/* Asks what becomes of an operation. Pre: the process is alive. */
enum saga_vfs_outcome vfs_decide(struct saga_vfs *vfs, struct saga_vfs_io *io);
/* Counts a handle in and out of its disk. */
void vfs_handle_join(struct vfs_handle *handle);
void vfs_handle_leave(struct vfs_handle *handle);

#endif
