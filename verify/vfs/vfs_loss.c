/* What becomes durable: by a sync, by a failed one, by a crash. */
#include <string.h>

#include "common/base/assert.h"
#include "common/base/prng.h"
#include "verify/vfs/vfs_internal.h"

enum fate { KEPT, LOST, TORN };

static void put_pending(struct vfs_file *file, const struct vfs_pending *pending)
{
    if (pending->size == 0) {
        vfs_content_cut(&file->durable, (size_t)pending->offset);
    } else {
        vfs_content_put(&file->durable, (size_t)pending->offset,
                        file->pending_data.data + pending->data_from, pending->size);
    }
}

static void forget(struct vfs_file *file)
{
    file->pending_count = 0;
    file->pending_data.size = 0;
}

void vfs_file_sync(struct vfs_file *file)
{
    for (size_t i = 0; i < file->pending_count; i++) {
        put_pending(file, &file->pending[i]);
    }
    forget(file);
    SAGA_ASSERT(file->diverged || file->durable.size == file->cached.size);
}

static bool chance(const struct saga_vfs_loss *loss, unsigned percent)
{
    if (percent == 0 || percent >= 100) {
        return percent != 0;
    }
    SAGA_ASSERT(loss->prng != NULL);
    return saga_prng_below(loss->prng, 100) < percent;
}

static enum fate choose(const struct saga_vfs_loss *loss, const struct vfs_pending *pending)
{
    if (chance(loss, loss->lost_percent)) {
        return LOST;
    }
    if (pending->size == 0 || loss->lost_percent + loss->torn_percent == 0) {
        return KEPT;
    }
    /* Of those that are not lost, so many are torn that they are torn_percent of all. */
    unsigned rest = 100 - loss->lost_percent;
    unsigned torn = loss->torn_percent >= rest ? 100 : loss->torn_percent * 100 / rest;
    return chance(loss, torn) ? TORN : KEPT;
}

/* Keeps those sectors of a write that a coin chooses; never all of them, if there are two. */
static void tear(struct vfs_file *file, const struct vfs_pending *pending, uint64_t *prng)
{
    size_t from = (size_t)pending->offset;
    size_t end = from + pending->size;
    size_t first = from / SAGA_VFS_SECTOR_SIZE;
    size_t count = (end - 1) / SAGA_VFS_SECTOR_SIZE - first + 1;
    size_t missing = saga_prng_below(prng, count);
    for (size_t i = 0; i < count; i++) {
        if (i == missing || (saga_prng_next(prng) & 1) == 0) {
            continue;
        }
        size_t start = (first + i) * SAGA_VFS_SECTOR_SIZE;
        size_t stop = start + SAGA_VFS_SECTOR_SIZE;
        start = start < from ? from : start;
        stop = stop > end ? end : stop;
        vfs_content_put(&file->durable, start,
                        file->pending_data.data + pending->data_from + (start - from),
                        stop - start);
    }
}

void vfs_file_lose(struct vfs_file *file, const struct saga_vfs_loss *loss)
{
    struct saga_vfs_stats *stats = &file->vfs->stats;
    for (size_t i = 0; i < file->pending_count; i++) {
        const struct vfs_pending *pending = &file->pending[i];
        enum fate fate = choose(loss, pending);
        if (fate == KEPT) {
            put_pending(file, pending);
            stats->writes_kept++;
            continue;
        }
        file->diverged = true;
        if (fate == TORN) {
            SAGA_ASSERT(loss->prng != NULL);
            tear(file, pending, loss->prng);
            stats->writes_torn++;
        } else {
            stats->writes_lost++;
        }
    }
    forget(file);
}

/* ---- Names ---- */

/* Lets a name durably stand for what `state` says (a reference that the entry has) and drops the
 * other states. */
static void entry_settle(struct vfs_entry *entry, struct vfs_file *state)
{
    if (!entry->changed) {
        return;
    }
    if (state != NULL) {
        state->references++;
    }
    vfs_file_release(entry->durable);
    vfs_file_release(entry->cached);
    for (unsigned i = 0; i < entry->past_count; i++) {
        vfs_file_release(entry->past[i]);
    }
    entry->past_count = 0;
    entry->changed = false;
    entry->durable = state;
    entry->cached = state;
}

void vfs_directory_sync(struct saga_vfs *vfs)
{
    for (size_t i = 0; i < vfs->entry_count; i++) {
        entry_settle(&vfs->entries[i], vfs->entries[i].cached);
    }
}

/* A name is as it was at some moment since the last sync of the directory. */
static void entry_lose(struct saga_vfs *vfs, struct vfs_entry *entry,
                       const struct saga_vfs_loss *loss)
{
    if (!entry->changed) {
        return;
    }
    struct vfs_file *state = entry->cached;
    if (chance(loss, loss->lost_percent)) {
        /* Mostly the durable state; with luck one in between. */
        size_t steps = entry->past_count + 1;
        size_t step = loss->lost_percent >= 100 ? 0 : saga_prng_below(loss->prng, steps);
        state = step == 0 ? entry->durable : entry->past[step - 1];
        vfs->stats.names_lost++;
    }
    entry_settle(entry, state);
}

/* The page cache is filled from the disk again. */
static void file_restart(struct vfs_file *file)
{
    if (file->diverged) {
        SAGA_ASSERT(file->cached.capacity >= file->durable.size);
        if (file->durable.size > 0) {
            memcpy(file->cached.data, file->durable.data, file->durable.size);
        }
        file->cached.size = file->durable.size;
        file->diverged = false;
    }
    SAGA_ASSERT(file->cached.size == file->durable.size);
    file->shared = 0;
    file->reserved = NULL;
    file->pending_lock = NULL;
    file->exclusive = NULL;
    vfs_shm_release(file->shm);
    file->shm = NULL;
}

void saga_vfs_crash(struct saga_vfs *vfs, const struct saga_vfs_loss *loss)
{
    SAGA_ASSERT(loss->lost_percent <= 100 && loss->torn_percent <= 100);
    SAGA_ASSERT(loss->prng != NULL || (loss->torn_percent == 0 && loss->lost_percent % 100 == 0));
    vfs->stats.crashes++;
    for (struct vfs_handle *handle = vfs->handles; handle != NULL; handle = handle->next) {
        handle->dead = true;
        handle->lock = SQLITE_LOCK_NONE;
        handle->shm_shared = 0;
        handle->shm_exclusive = 0;
    }
    for (size_t i = 0; i < vfs->entry_count; i++) {
        entry_lose(vfs, &vfs->entries[i], loss);
    }
    for (size_t i = 0; i < vfs->entry_count; i++) {
        struct vfs_file *file = vfs->entries[i].cached;
        if (file != NULL) {
            vfs_file_lose(file, loss);
            file_restart(file);
        }
    }
    for (unsigned i = 0; i < SAGA_VFS_PROCESSES_MAX; i++) {
        vfs->processes[i].stopped = false;
    }
}

/* Nobody alive has the file open: its shared memory is gone with the last process. */
static void shm_detach(struct vfs_file *file)
{
    for (const struct vfs_handle *handle = file->vfs->handles; handle != NULL;
         handle = handle->next) {
        if (handle->file == file && !handle->dead) {
            return;
        }
    }
    vfs_shm_release(file->shm);
    file->shm = NULL;
}

void saga_vfs_kill(struct saga_vfs *vfs, unsigned process)
{
    SAGA_ASSERT(process < SAGA_VFS_PROCESSES_MAX);
    vfs->stats.kills++;
    for (struct vfs_handle *handle = vfs->handles; handle != NULL; handle = handle->next) {
        if (handle->process == process && !handle->dead) {
            vfs_locks_drop(handle);
            handle->dead = true;
        }
    }
    for (size_t i = 0; i < vfs->entry_count; i++) {
        if (vfs->entries[i].cached != NULL) {
            shm_detach(vfs->entries[i].cached);
        }
    }
    vfs->processes[process].stopped = false;
}
