/* The methods of open files. */
#include <string.h>

#include "common/base/assert.h"
#include "verify/vfs/vfs_internal.h"

enum { DEVICE_SECTOR_SIZE = 4096 }; /* as SQLite takes it on Linux */

static struct vfs_handle *handle_of(sqlite3_file *base)
{
    return (struct vfs_handle *)(void *)base;
}

static bool is_dead(const struct vfs_handle *handle)
{
    return handle->dead || handle->vfs->processes[handle->process].stopped;
}

enum saga_vfs_outcome vfs_decide(struct saga_vfs *vfs, struct saga_vfs_io *io)
{
    io->number = ++vfs->ops;
    vfs->stats.ops[io->op]++;
    if (vfs->config.fault == NULL) {
        return SAGA_VFS_OK;
    }
    enum saga_vfs_outcome outcome = vfs->config.fault(vfs->config.user, io);
    SAGA_ASSERT((unsigned)outcome < SAGA_VFS_OUTCOMES);
    vfs->stats.outcomes[outcome]++;
    if (outcome == SAGA_VFS_STOP_BEFORE || outcome == SAGA_VFS_STOP_AFTER) {
        vfs->processes[io->process].stopped = true;
    }
    return outcome;
}

static enum saga_vfs_outcome decide(struct vfs_handle *handle, enum saga_vfs_op op, int64_t offset,
                                    size_t size)
{
    struct saga_vfs_io io = {.op = op,
                             .kind = handle->file->kind,
                             .process = handle->process,
                             .file = handle->name,
                             .offset = offset,
                             .size = size};
    return vfs_decide(handle->vfs, &io);
}

/* ---- Opening and closing ---- */

void vfs_handle_join(struct vfs_handle *handle)
{
    struct saga_vfs *vfs = handle->vfs;
    handle->file->references++;
    handle->before = NULL;
    handle->next = vfs->handles;
    if (vfs->handles != NULL) {
        vfs->handles->before = handle;
    }
    vfs->handles = handle;
}

void vfs_handle_leave(struct vfs_handle *handle)
{
    if (handle->before != NULL) {
        handle->before->next = handle->next;
    } else {
        handle->vfs->handles = handle->next;
    }
    if (handle->next != NULL) {
        handle->next->before = handle->before;
    }
    vfs_file_release(handle->file);
}

static int io_close(sqlite3_file *base)
{
    struct vfs_handle *handle = handle_of(base);
    (void)vfs_shm_unmap(base, 0);
    vfs_locks_drop(handle);
    if (handle->delete_on_close && !is_dead(handle)) {
        struct vfs_entry *entry = vfs_entry_find(handle->vfs, handle->name);
        if (entry != NULL && entry->cached == handle->file) {
            vfs_entry_set(entry, NULL);
        }
    }
    vfs_handle_leave(handle);
    return SQLITE_OK;
}

/* ---- Reading and writing ---- */

static int io_read(sqlite3_file *base, void *to, int amount, sqlite3_int64 offset)
{
    struct vfs_handle *handle = handle_of(base);
    const struct vfs_content *content = &handle->file->cached;
    if (is_dead(handle)) {
        return SQLITE_IOERR_READ;
    }
    SAGA_ASSERT(amount >= 0 && offset >= 0);
    size_t size = (size_t)amount;
    enum saga_vfs_outcome outcome = decide(handle, SAGA_VFS_READ, offset, size);
    size_t there = (size_t)offset >= content->size ? 0 : content->size - (size_t)offset;
    size_t got = there < size ? there : size;
    if (outcome == SAGA_VFS_SHORT || outcome == SAGA_VFS_CUT) {
        got /= 2;
    } else if (outcome != SAGA_VFS_OK) {
        return SQLITE_IOERR_READ;
    }
    if (got > 0) {
        memcpy(to, content->data + offset, got);
    }
    if (outcome == SAGA_VFS_SHORT) {
        return SQLITE_IOERR_READ;
    }
    if (got < size) {
        memset((uint8_t *)to + got, 0, size - got);
        return SQLITE_IOERR_SHORT_READ;
    }
    return SQLITE_OK;
}

/* Whether the disk has room for a file that grows to `end`. */
static bool has_room(const struct vfs_handle *handle, size_t end)
{
    const struct saga_vfs *vfs = handle->vfs;
    if (end > SAGA_VFS_FILE_MAX) {
        return false;
    }
    if (vfs->config.quota == 0 || end <= handle->file->cached.size) {
        return true;
    }
    size_t used = end - handle->file->cached.size;
    for (size_t i = 0; i < vfs->entry_count; i++) {
        used += vfs->entries[i].cached == NULL ? 0 : vfs->entries[i].cached->cached.size;
    }
    return used <= (size_t)vfs->config.quota;
}

static int io_write(sqlite3_file *base, const void *from, int amount, sqlite3_int64 offset)
{
    struct vfs_handle *handle = handle_of(base);
    struct saga_vfs *vfs = handle->vfs;
    if (is_dead(handle)) {
        return SQLITE_IOERR_WRITE;
    }
    SAGA_ASSERT(amount > 0 && offset >= 0);
    size_t size = (size_t)amount;
    enum saga_vfs_outcome outcome = decide(handle, SAGA_VFS_WRITE, offset, size);
    if (outcome == SAGA_VFS_FULL) {
        return SQLITE_FULL;
    }
    if (outcome == SAGA_VFS_SHORT) {
        size /= 2;
    } else if (outcome != SAGA_VFS_OK && outcome != SAGA_VFS_STOP_AFTER) {
        return SQLITE_IOERR_WRITE;
    }
    if (!has_room(handle, (size_t)offset + size)) {
        vfs->stats.full++;
        return SQLITE_FULL;
    }
    if (size > 0 && !vfs_file_write(handle->file, (size_t)offset, from, size)) {
        return SQLITE_IOERR_NOMEM;
    }
    vfs->stats.bytes_written += size;
    if (outcome == SAGA_VFS_OK) {
        return SQLITE_OK;
    }
    return outcome == SAGA_VFS_SHORT ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

static int io_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    struct vfs_handle *handle = handle_of(base);
    if (is_dead(handle)) {
        return SQLITE_IOERR_TRUNCATE;
    }
    SAGA_ASSERT(size >= 0);
    enum saga_vfs_outcome outcome = decide(handle, SAGA_VFS_TRUNCATE, size, 0);
    if (outcome == SAGA_VFS_FULL) {
        return SQLITE_FULL;
    }
    if (outcome != SAGA_VFS_OK && outcome != SAGA_VFS_STOP_AFTER) {
        return SQLITE_IOERR_TRUNCATE;
    }
    if (!has_room(handle, (size_t)size)) {
        handle->vfs->stats.full++;
        return SQLITE_FULL;
    }
    if (!vfs_file_truncate(handle->file, (size_t)size)) {
        return SQLITE_IOERR_NOMEM;
    }
    return outcome == SAGA_VFS_OK ? SQLITE_OK : SQLITE_IOERR_TRUNCATE;
}

static void sync_all(struct vfs_handle *handle)
{
    vfs_file_sync(handle->file);
    if (handle->sync_directory) {
        vfs_directory_sync(handle->vfs);
        handle->sync_directory = false;
    }
}

static int io_sync(sqlite3_file *base, int flags)
{
    struct vfs_handle *handle = handle_of(base);
    (void)flags;
    if (is_dead(handle)) {
        return SQLITE_IOERR_FSYNC;
    }
    const struct saga_vfs_loss loss = {
        .prng = &handle->vfs->chance, .lost_percent = 40, .torn_percent = 20};
    switch (decide(handle, SAGA_VFS_SYNC, 0, 0)) {
    case SAGA_VFS_OK:
        sync_all(handle);
        return SQLITE_OK;
    case SAGA_VFS_LIE:
        return SQLITE_OK;
    case SAGA_VFS_GATE:
        vfs_file_lose(handle->file, &loss);
        return SQLITE_IOERR_FSYNC;
    case SAGA_VFS_STOP_AFTER:
        sync_all(handle);
        return SQLITE_IOERR_FSYNC;
    case SAGA_VFS_EIO:
    case SAGA_VFS_FULL:
    case SAGA_VFS_SHORT:
    case SAGA_VFS_CUT:
    case SAGA_VFS_STOP_BEFORE:
        break;
    }
    return SQLITE_IOERR_FSYNC;
}

static int io_file_size(sqlite3_file *base, sqlite3_int64 *size)
{
    struct vfs_handle *handle = handle_of(base);
    if (is_dead(handle)) {
        return SQLITE_IOERR_FSTAT;
    }
    *size = (sqlite3_int64)handle->file->cached.size;
    return SQLITE_OK;
}

static int io_file_control(sqlite3_file *base, int op, void *argument)
{
    (void)base;
    (void)op;
    (void)argument;
    return SQLITE_NOTFOUND;
}

static int io_sector_size(sqlite3_file *base)
{
    (void)base;
    return DEVICE_SECTOR_SIZE;
}

static int io_device_characteristics(sqlite3_file *base)
{
    (void)base;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

const sqlite3_io_methods vfs_methods = {
    .iVersion = 2,
    .xClose = io_close,
    .xRead = io_read,
    .xWrite = io_write,
    .xTruncate = io_truncate,
    .xSync = io_sync,
    .xFileSize = io_file_size,
    .xLock = vfs_lock,
    .xUnlock = vfs_unlock,
    .xCheckReservedLock = vfs_check_reserved,
    .xFileControl = io_file_control,
    .xSectorSize = io_sector_size,
    .xDeviceCharacteristics = io_device_characteristics,
    .xShmMap = vfs_shm_map,
    .xShmLock = vfs_shm_lock,
    .xShmBarrier = vfs_shm_barrier,
    .xShmUnmap = vfs_shm_unmap,
};
