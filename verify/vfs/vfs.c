/* Disks: their names in SQLite, opening and deleting files, images. */
#include "verify/vfs/vfs.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/prng.h"
#include "verify/vfs/vfs_internal.h"

/* SQLite counts days from 4714 BC; this is 1970 in its milliseconds. */
#define EPOCH_MS INT64_C(210866760000000)
#define YEAR_2000_MS INT64_C(946684800000)

static struct vfs_process *process_of(sqlite3_vfs *base)
{
    return base->pAppData;
}

/* ---- What SQLite calls ---- */

static enum saga_vfs_kind kind_of(const char *name, int flags)
{
    if (name == NULL) {
        return SAGA_VFS_TEMP;
    }
    if ((flags & SQLITE_OPEN_MAIN_DB) != 0) {
        return SAGA_VFS_DATABASE;
    }
    if ((flags & SQLITE_OPEN_WAL) != 0) {
        return SAGA_VFS_LOG;
    }
    return SAGA_VFS_JOURNAL;
}

/* Finds or makes what is to be opened. A new file has no reference yet, except its name's. */
static int open_named(struct saga_vfs *vfs, const char *name, int flags, struct vfs_handle *handle)
{
    struct vfs_entry *entry = vfs_entry_find(vfs, name);
    if (entry != NULL && entry->cached != NULL) {
        if ((flags & SQLITE_OPEN_EXCLUSIVE) != 0 && (flags & SQLITE_OPEN_CREATE) != 0) {
            return SQLITE_CANTOPEN;
        }
    } else {
        if ((flags & SQLITE_OPEN_CREATE) == 0) {
            return SQLITE_CANTOPEN;
        }
        entry = vfs_entry_take(vfs, name);
        struct vfs_file *file = entry == NULL ? NULL : vfs_file_new(vfs, kind_of(name, flags));
        if (file == NULL) {
            return SQLITE_CANTOPEN;
        }
        vfs_entry_set(entry, file);
        handle->sync_directory = file->kind == SAGA_VFS_JOURNAL || file->kind == SAGA_VFS_LOG;
    }
    handle->file = entry->cached;
    handle->name = entry->name;
    return SQLITE_OK;
}

static int on_open(sqlite3_vfs *base, sqlite3_filename name, sqlite3_file *out, int flags,
                   int *flags_out)
{
    struct vfs_process *process = process_of(base);
    struct saga_vfs *vfs = process->vfs;
    struct vfs_handle *handle = (struct vfs_handle *)(void *)out;
    memset(handle, 0, sizeof *handle);
    if (process->stopped) {
        return SQLITE_IOERR;
    }
    struct saga_vfs_io io = {.op = SAGA_VFS_OPEN,
                             .kind = kind_of(name, flags),
                             .process = process->index,
                             .file = name == NULL ? "" : name};
    enum saga_vfs_outcome outcome = vfs_decide(vfs, &io);
    if (outcome != SAGA_VFS_OK) {
        return process->stopped ? SQLITE_IOERR : SQLITE_CANTOPEN;
    }
    handle->vfs = vfs;
    handle->process = process->index;
    handle->name = "";
    if (name == NULL) {
        handle->file = vfs_file_new(vfs, SAGA_VFS_TEMP);
        if (handle->file == NULL) {
            return SQLITE_NOMEM;
        }
    } else {
        int code = open_named(vfs, name, flags, handle);
        if (code != SQLITE_OK) {
            return code;
        }
        handle->delete_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
    }
    vfs_handle_join(handle);
    handle->base.pMethods = &vfs_methods;
    if (flags_out != NULL) {
        *flags_out = flags;
    }
    return SQLITE_OK;
}

static int on_delete(sqlite3_vfs *base, const char *name, int sync_directory)
{
    struct vfs_process *process = process_of(base);
    struct saga_vfs *vfs = process->vfs;
    struct vfs_entry *entry = vfs_entry_find(vfs, name);
    if (process->stopped) {
        return SQLITE_IOERR_DELETE;
    }
    if (entry == NULL || entry->cached == NULL) {
        return SQLITE_IOERR_DELETE_NOENT;
    }
    struct saga_vfs_io io = {.op = SAGA_VFS_DELETE,
                             .kind = entry->cached->kind,
                             .process = process->index,
                             .file = entry->name};
    enum saga_vfs_outcome outcome = vfs_decide(vfs, &io);
    if (outcome != SAGA_VFS_OK && outcome != SAGA_VFS_STOP_AFTER) {
        return SQLITE_IOERR_DELETE;
    }
    vfs_entry_set(entry, NULL);
    if (sync_directory != 0) {
        vfs_directory_sync(vfs);
    }
    return outcome == SAGA_VFS_OK ? SQLITE_OK : SQLITE_IOERR_DELETE;
}

static int on_access(sqlite3_vfs *base, const char *name, int flags, int *out)
{
    struct vfs_process *process = process_of(base);
    *out = 0;
    if (process->stopped) {
        return SQLITE_IOERR_ACCESS;
    }
    const struct vfs_entry *entry = vfs_entry_find(process->vfs, name);
    if (entry != NULL && entry->cached != NULL) {
        /* An empty file counts as none, as on Linux. */
        *out = flags != SQLITE_ACCESS_EXISTS || entry->cached->cached.size > 0 ? 1 : 0;
    }
    return SQLITE_OK;
}

static int on_full_pathname(sqlite3_vfs *base, const char *name, int size, char *out)
{
    (void)base;
    int used = snprintf(out, (size_t)size, "%s", name);
    return used < 0 || used >= size ? SQLITE_CANTOPEN : SQLITE_OK;
}

static int on_randomness(sqlite3_vfs *base, int size, char *out)
{
    struct saga_vfs *vfs = process_of(base)->vfs;
    for (int i = 0; i < size; i++) {
        out[i] = (char)(saga_prng_next(&vfs->random) & 0x7f);
    }
    return size;
}

static int on_sleep(sqlite3_vfs *base, int us)
{
    process_of(base)->vfs->stats.slept_us += (uint64_t)us;
    return us;
}

static int on_current_time_int64(sqlite3_vfs *base, sqlite3_int64 *out)
{
    const struct saga_vfs_config *config = &process_of(base)->vfs->config;
    *out =
        EPOCH_MS + (config->now_unix_ms == NULL ? YEAR_2000_MS : config->now_unix_ms(config->user));
    return SQLITE_OK;
}

static int on_current_time(sqlite3_vfs *base, double *out)
{
    sqlite3_int64 now = 0;
    int code = on_current_time_int64(base, &now);
    *out = (double)now / 86400000.0;
    return code;
}

static int on_last_error(sqlite3_vfs *base, int size, char *out)
{
    (void)base;
    if (size > 0) {
        out[0] = '\0';
    }
    return 0;
}

/* ---- Disks ---- */

static atomic_uint_fast64_t disks; /* names differ over all of the program */

enum saga_err saga_vfs_new(const struct saga_vfs_config *config, struct saga_vfs **out)
{
    SAGA_ASSERT(config->quota >= 0);
    struct saga_vfs *vfs = calloc(1, sizeof *vfs);
    if (vfs == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    vfs->config = *config;
    vfs->number = atomic_fetch_add(&disks, 1) + 1;
    vfs->random = config->seed;
    vfs->chance = config->seed ^ UINT64_C(0x66737963);
    for (unsigned i = 0; i < SAGA_VFS_PROCESSES_MAX; i++) {
        vfs->processes[i].vfs = vfs;
        vfs->processes[i].index = i;
    }
    *out = vfs;
    return SAGA_ERR_OK;
}

void saga_vfs_free(struct saga_vfs *vfs)
{
    if (vfs == NULL) {
        return;
    }
    SAGA_ASSERT(vfs->handles == NULL);
    for (unsigned i = 0; i < SAGA_VFS_PROCESSES_MAX; i++) {
        if (vfs->processes[i].name[0] != '\0') {
            (void)sqlite3_vfs_unregister(&vfs->processes[i].base);
        }
    }
    vfs_directory_sync(vfs);
    for (size_t i = 0; i < vfs->entry_count; i++) {
        vfs_file_release(vfs->entries[i].cached);
    }
    free(vfs);
}

const char *saga_vfs_name(struct saga_vfs *vfs, unsigned index)
{
    SAGA_ASSERT(index < SAGA_VFS_PROCESSES_MAX);
    struct vfs_process *process = &vfs->processes[index];
    if (process->name[0] != '\0') {
        return process->name;
    }
    (void)snprintf(process->name, sizeof process->name, "saga-%llu-%u",
                   (unsigned long long)vfs->number, index);
    process->base = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = (int)sizeof(struct vfs_handle),
        .mxPathname = SAGA_VFS_PATH_MAX,
        .zName = process->name,
        .pAppData = process,
        .xOpen = on_open,
        .xDelete = on_delete,
        .xAccess = on_access,
        .xFullPathname = on_full_pathname,
        .xRandomness = on_randomness,
        .xSleep = on_sleep,
        .xCurrentTime = on_current_time,
        .xGetLastError = on_last_error,
        .xCurrentTimeInt64 = on_current_time_int64,
    };
    /* It fails only when SQLite itself cannot begin, for want of memory. */
    SAGA_ASSERT(sqlite3_vfs_register(&process->base, 0) == SQLITE_OK);
    return process->name;
}

void saga_vfs_set_fault(struct saga_vfs *vfs, saga_vfs_fault *fault, void *user)
{
    vfs->config.fault = fault;
    vfs->config.user = user;
}

void saga_vfs_set_quota(struct saga_vfs *vfs, int64_t quota)
{
    SAGA_ASSERT(quota >= 0);
    vfs->config.quota = quota;
}

bool saga_vfs_stopped(const struct saga_vfs *vfs, unsigned process)
{
    SAGA_ASSERT(process < SAGA_VFS_PROCESSES_MAX);
    return vfs->processes[process].stopped;
}

const struct saga_vfs_stats *saga_vfs_stats(const struct saga_vfs *vfs)
{
    return &vfs->stats;
}

static const struct vfs_entry *look(const struct saga_vfs *vfs, const char *name)
{
    for (size_t i = 0; i < vfs->entry_count; i++) {
        if (strcmp(vfs->entries[i].name, name) == 0) {
            return &vfs->entries[i];
        }
    }
    return NULL;
}

int64_t saga_vfs_file_size(const struct saga_vfs *vfs, const char *name, bool durable)
{
    const struct vfs_entry *entry = look(vfs, name);
    if (entry == NULL) {
        return -1;
    }
    if (durable) {
        const struct vfs_file *file = entry->changed ? entry->durable : entry->cached;
        return file == NULL ? -1 : (int64_t)file->durable.size;
    }
    return entry->cached == NULL ? -1 : (int64_t)entry->cached->cached.size;
}

size_t saga_vfs_pending(const struct saga_vfs *vfs, const char *name)
{
    const struct vfs_entry *entry = look(vfs, name);
    return entry == NULL || entry->cached == NULL ? 0 : entry->cached->pending_count;
}

/* ---- Images ---- */

enum saga_err saga_vfs_image_take(const struct saga_vfs *vfs, struct saga_vfs_image **out)
{
    SAGA_ASSERT(vfs->handles == NULL);
    struct saga_vfs_image *image = calloc(1, sizeof *image);
    if (image == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < vfs->entry_count; i++) {
        const struct vfs_entry *entry = &vfs->entries[i];
        if (entry->cached == NULL || entry->cached->cached.size == 0) {
            continue;
        }
        const struct vfs_content *content = &entry->cached->cached;
        image->files[image->count].data = malloc(content->size);
        if (image->files[image->count].data == NULL) {
            saga_vfs_image_free(image);
            return SAGA_ERR_NO_MEMORY;
        }
        memcpy(image->files[image->count].data, content->data, content->size);
        memcpy(image->files[image->count].name, entry->name, sizeof entry->name);
        image->files[image->count].kind = entry->cached->kind;
        image->files[image->count++].size = content->size;
    }
    *out = image;
    return SAGA_ERR_OK;
}

void saga_vfs_image_free(struct saga_vfs_image *image)
{
    if (image == NULL) {
        return;
    }
    for (size_t i = 0; i < image->count; i++) {
        free(image->files[i].data);
    }
    free(image);
}

enum saga_err saga_vfs_image_put(struct saga_vfs *vfs, const struct saga_vfs_image *image)
{
    SAGA_ASSERT(vfs->entry_count == 0);
    for (size_t i = 0; i < image->count; i++) {
        struct vfs_entry *entry = vfs_entry_take(vfs, image->files[i].name);
        struct vfs_file *file = vfs_file_new(vfs, image->files[i].kind);
        SAGA_ASSERT(entry != NULL);
        if (file == NULL) {
            return SAGA_ERR_NO_MEMORY;
        }
        size_t size = image->files[i].size;
        vfs_entry_set(entry, file);
        if (!vfs_content_reserve(&file->cached, size) ||
            !vfs_content_reserve(&file->durable, file->cached.capacity)) {
            return SAGA_ERR_NO_MEMORY;
        }
        vfs_content_put(&file->cached, 0, image->files[i].data, size);
        vfs_content_put(&file->durable, 0, image->files[i].data, size);
    }
    vfs_directory_sync(vfs);
    return SAGA_ERR_OK;
}

/* ---- Names for traces ---- */

const char *saga_vfs_op_name(enum saga_vfs_op op)
{
    static const char *const names[SAGA_VFS_OPS] = {"OPEN", "READ",   "WRITE", "TRUNCATE",
                                                    "SYNC", "DELETE", "MAP"};
    return (unsigned)op < SAGA_VFS_OPS ? names[op] : "?";
}

const char *saga_vfs_outcome_name(enum saga_vfs_outcome outcome)
{
    static const char *const names[SAGA_VFS_OUTCOMES] = {
        "OK", "EIO", "FULL", "SHORT", "CUT", "GATE", "LIE", "STOP_BEFORE", "STOP_AFTER"};
    return (unsigned)outcome < SAGA_VFS_OUTCOMES ? names[outcome] : "?";
}
