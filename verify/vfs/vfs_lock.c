/* Locks between connections and the shared memory of WAL mode, as on Linux, but in memory. */
#include <stdlib.h>

#include "common/base/assert.h"
#include "verify/vfs/vfs_internal.h"

static struct vfs_handle *handle_of(sqlite3_file *base)
{
    return (struct vfs_handle *)(void *)base;
}

static bool is_dead(const struct vfs_handle *handle)
{
    return handle->dead || handle->vfs->processes[handle->process].stopped;
}

/* ---- Locks of a file ---- */

static int lock_shared(struct vfs_handle *handle)
{
    struct vfs_file *file = handle->file;
    if (file->pending_lock != NULL || file->exclusive != NULL) {
        return SQLITE_BUSY;
    }
    file->shared++;
    handle->lock = SQLITE_LOCK_SHARED;
    return SQLITE_OK;
}

static int lock_reserved(struct vfs_handle *handle)
{
    struct vfs_file *file = handle->file;
    if (file->reserved != NULL && file->reserved != handle) {
        return SQLITE_BUSY;
    }
    file->reserved = handle;
    handle->lock = SQLITE_LOCK_RESERVED;
    return SQLITE_OK;
}

/* Readers leave one by one while the pending lock keeps new ones out. */
static int lock_exclusive(struct vfs_handle *handle)
{
    struct vfs_file *file = handle->file;
    if ((file->pending_lock != NULL && file->pending_lock != handle) ||
        (file->reserved != NULL && file->reserved != handle)) {
        return SQLITE_BUSY;
    }
    file->pending_lock = handle;
    if (handle->lock < SQLITE_LOCK_PENDING) {
        handle->lock = SQLITE_LOCK_PENDING;
    }
    if (file->shared > 1) {
        return SQLITE_BUSY;
    }
    file->exclusive = handle;
    handle->lock = SQLITE_LOCK_EXCLUSIVE;
    return SQLITE_OK;
}

int vfs_lock(sqlite3_file *base, int level)
{
    struct vfs_handle *handle = handle_of(base);
    if (is_dead(handle)) {
        return SQLITE_IOERR_LOCK;
    }
    if (handle->lock >= level) {
        return SQLITE_OK;
    }
    switch (level) {
    case SQLITE_LOCK_SHARED:
        return lock_shared(handle);
    case SQLITE_LOCK_RESERVED:
        SAGA_ASSERT(handle->lock == SQLITE_LOCK_SHARED);
        return lock_reserved(handle);
    default:
        SAGA_ASSERT(level == SQLITE_LOCK_EXCLUSIVE && handle->lock >= SQLITE_LOCK_SHARED);
        return lock_exclusive(handle);
    }
}

static void unlock(struct vfs_handle *handle, int level)
{
    struct vfs_file *file = handle->file;
    if (file->reserved == handle) {
        file->reserved = NULL;
    }
    if (file->pending_lock == handle) {
        file->pending_lock = NULL;
    }
    if (file->exclusive == handle) {
        file->exclusive = NULL;
    }
    if (level == SQLITE_LOCK_NONE && handle->lock >= SQLITE_LOCK_SHARED) {
        SAGA_ASSERT(file->shared > 0);
        file->shared--;
    }
    handle->lock = level;
}

int vfs_unlock(sqlite3_file *base, int level)
{
    struct vfs_handle *handle = handle_of(base);
    if (!handle->dead && handle->lock > level) {
        unlock(handle, level);
    }
    return SQLITE_OK;
}

int vfs_check_reserved(sqlite3_file *base, int *out)
{
    struct vfs_handle *handle = handle_of(base);
    *out = 0;
    if (is_dead(handle)) {
        return SQLITE_IOERR_CHECKRESERVEDLOCK;
    }
    *out = handle->file->reserved != NULL ? 1 : 0;
    return SQLITE_OK;
}

/* ---- Shared memory ---- */

void vfs_shm_release(struct vfs_shm *shm)
{
    if (shm == NULL) {
        return;
    }
    SAGA_ASSERT(shm->references > 0);
    if (--shm->references > 0) {
        return;
    }
    for (unsigned i = 0; i < shm->region_count; i++) {
        free(shm->regions[i]);
    }
    free(shm);
}

/* Gives the handle the file's shared memory, which begins with its first user. */
static bool shm_attach(struct vfs_handle *handle)
{
    struct vfs_file *file = handle->file;
    if (file->shm == NULL) {
        file->shm = calloc(1, sizeof *file->shm);
        if (file->shm == NULL) {
            return false;
        }
        file->shm->references = 1;
    }
    file->shm->references++;
    handle->shm = file->shm;
    return true;
}

int vfs_shm_map(sqlite3_file *base, int region, int size, int extend, void volatile **out)
{
    struct vfs_handle *handle = handle_of(base);
    *out = NULL;
    if (is_dead(handle)) {
        return SQLITE_IOERR_SHMMAP;
    }
    if (handle->shm == NULL && !shm_attach(handle)) {
        return SQLITE_NOMEM;
    }
    struct vfs_shm *shm = handle->shm;
    SAGA_ASSERT(region >= 0 && size > 0);
    if ((unsigned)region >= shm->region_count) {
        if (extend == 0) {
            return SQLITE_OK;
        }
        struct saga_vfs_io io = {.op = SAGA_VFS_MAP,
                                 .kind = handle->file->kind,
                                 .process = handle->process,
                                 .file = handle->name,
                                 .offset = (int64_t)region * size,
                                 .size = (size_t)size};
        enum saga_vfs_outcome outcome = vfs_decide(handle->vfs, &io);
        if (outcome == SAGA_VFS_FULL || outcome == SAGA_VFS_SHORT) {
            return SQLITE_IOERR_SHMSIZE;
        }
        if (outcome != SAGA_VFS_OK || region >= VFS_SHM_REGIONS_MAX) {
            return SQLITE_IOERR_SHMMAP;
        }
    }
    while (shm->region_count <= (unsigned)region) {
        void *memory = calloc(1, (size_t)size);
        if (memory == NULL) {
            return SQLITE_NOMEM;
        }
        shm->regions[shm->region_count++] = memory;
    }
    *out = shm->regions[region];
    return SQLITE_OK;
}

static void shm_unlock(struct vfs_handle *handle, uint16_t mask)
{
    struct vfs_shm *shm = handle->shm;
    for (int i = 0; i < SQLITE_SHM_NLOCK; i++) {
        uint16_t bit = (uint16_t)(1U << i);
        if ((mask & bit) == 0) {
            continue;
        }
        if ((handle->shm_shared & bit) != 0) {
            SAGA_ASSERT(shm->shared[i] > 0);
            shm->shared[i]--;
        }
        if ((handle->shm_exclusive & bit) != 0) {
            SAGA_ASSERT(shm->owner[i] == handle);
            shm->owner[i] = NULL;
        }
    }
    handle->shm_shared &= (uint16_t)~mask;
    handle->shm_exclusive &= (uint16_t)~mask;
}

/* Whether another has one of the slots, so that they cannot be had. */
static bool shm_is_taken(const struct vfs_handle *handle, uint16_t mask, bool exclusive)
{
    for (int i = 0; i < SQLITE_SHM_NLOCK; i++) {
        uint16_t bit = (uint16_t)(1U << i);
        if ((mask & bit) == 0) {
            continue;
        }
        unsigned own = (handle->shm_shared & bit) != 0 ? 1 : 0;
        if ((handle->shm->owner[i] != NULL && handle->shm->owner[i] != handle) ||
            (exclusive && handle->shm->shared[i] > own)) {
            return true;
        }
    }
    return false;
}

static void shm_take(struct vfs_handle *handle, uint16_t mask, bool exclusive)
{
    for (int i = 0; i < SQLITE_SHM_NLOCK; i++) {
        uint16_t bit = (uint16_t)(1U << i);
        if ((mask & bit) == 0) {
            continue;
        }
        if (exclusive) {
            handle->shm->owner[i] = handle;
            handle->shm_exclusive |= bit;
        } else if ((handle->shm_shared & bit) == 0) {
            handle->shm->shared[i]++;
            handle->shm_shared |= bit;
        }
    }
}

int vfs_shm_lock(sqlite3_file *base, int offset, int count, int flags)
{
    struct vfs_handle *handle = handle_of(base);
    if (handle->dead || handle->shm == NULL) {
        /* The locks of the dead are gone already. */
        return (flags & SQLITE_SHM_UNLOCK) != 0 ? SQLITE_OK : SQLITE_IOERR_SHMLOCK;
    }
    uint16_t mask = (uint16_t)(((1U << count) - 1U) << offset);
    if ((flags & SQLITE_SHM_UNLOCK) != 0) {
        shm_unlock(handle, mask);
        return SQLITE_OK;
    }
    if (is_dead(handle)) {
        return SQLITE_IOERR_SHMLOCK;
    }
    bool exclusive = (flags & SQLITE_SHM_EXCLUSIVE) != 0;
    if (shm_is_taken(handle, mask, exclusive)) {
        return SQLITE_BUSY;
    }
    shm_take(handle, mask, exclusive);
    return SQLITE_OK;
}

void vfs_shm_barrier(sqlite3_file *base)
{
    (void)base; /* one thread */
}

int vfs_shm_unmap(sqlite3_file *base, int delete_it)
{
    struct vfs_handle *handle = handle_of(base);
    struct vfs_shm *shm = handle->shm;
    (void)delete_it;
    if (shm == NULL) {
        return SQLITE_OK;
    }
    if (!handle->dead) {
        shm_unlock(handle, UINT16_MAX);
    }
    struct vfs_file *file = handle->file;
    bool last = file->shm == shm && shm->references == 2; /* this one and the file's own */
    handle->shm = NULL;
    vfs_shm_release(shm);
    if (last) {
        file->shm = NULL; /* who comes next begins with nothing, as on Linux */
        vfs_shm_release(shm);
    }
    return SQLITE_OK;
}

void vfs_locks_drop(struct vfs_handle *handle)
{
    if (handle->dead) {
        return;
    }
    if (handle->lock != SQLITE_LOCK_NONE) {
        unlock(handle, SQLITE_LOCK_NONE);
    }
    if (handle->shm != NULL) {
        shm_unlock(handle, UINT16_MAX);
    }
}
