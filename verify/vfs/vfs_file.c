/* Contents, files and names. Memory grows by doubling and is kept, so that writes do not allocate.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "verify/vfs/vfs_internal.h"

enum { CAPACITY_MIN = 16 * 1024, PENDING_MIN = 64 };

/* ---- Contents ---- */

bool vfs_content_reserve(struct vfs_content *content, size_t size)
{
    if (size <= content->capacity) {
        return true;
    }
    size_t capacity = content->capacity == 0 ? CAPACITY_MIN : content->capacity;
    while (capacity < size) {
        capacity *= 2;
    }
    uint8_t *data = realloc(content->data, capacity);
    if (data == NULL) {
        return false;
    }
    content->data = data;
    content->capacity = capacity;
    return true;
}

void vfs_content_put(struct vfs_content *content, size_t offset, const void *data, size_t size)
{
    SAGA_ASSERT(size > 0 && offset + size <= content->capacity);
    if (offset > content->size) {
        memset(content->data + content->size, 0, offset - content->size);
    }
    memcpy(content->data + offset, data, size);
    if (offset + size > content->size) {
        content->size = offset + size;
    }
}

void vfs_content_cut(struct vfs_content *content, size_t size)
{
    if (size > content->size) {
        SAGA_ASSERT(size <= content->capacity);
        memset(content->data + content->size, 0, size - content->size);
    }
    content->size = size;
}

/* ---- Files ---- */

struct vfs_file *vfs_file_new(struct saga_vfs *vfs, enum saga_vfs_kind kind)
{
    struct vfs_file *file = calloc(1, sizeof *file);
    if (file != NULL) {
        file->vfs = vfs;
        file->kind = kind;
    }
    return file;
}

void vfs_file_release(struct vfs_file *file)
{
    if (file == NULL) {
        return;
    }
    SAGA_ASSERT(file->references > 0);
    if (--file->references > 0) {
        return;
    }
    vfs_shm_release(file->shm);
    free(file->cached.data);
    free(file->durable.data);
    free(file->pending_data.data);
    free(file->pending);
    free(file);
}

/* Remembers a write (data) or truncate (NULL); false: out of memory. */
static bool remember(struct vfs_file *file, size_t offset, const void *data, size_t size)
{
    if (file->kind == SAGA_VFS_TEMP) {
        return true; /* gone after a crash whatever was synced */
    }
    if (file->pending_data.size + size > SAGA_VFS_PENDING_MAX) {
        vfs_file_sync(file);
    }
    if (file->pending_count == file->pending_capacity) {
        size_t capacity = file->pending_capacity == 0 ? PENDING_MIN : file->pending_capacity * 2;
        struct vfs_pending *pending = realloc(file->pending, capacity * sizeof *pending);
        if (pending == NULL) {
            return false;
        }
        file->pending = pending;
        file->pending_capacity = capacity;
    }
    size_t from = file->pending_data.size;
    if (!vfs_content_reserve(&file->pending_data, from + size)) {
        return false;
    }
    if (size > 0) {
        vfs_content_put(&file->pending_data, from, data, size);
    }
    file->pending[file->pending_count++] =
        (struct vfs_pending){.offset = (int64_t)offset, .size = size, .data_from = from};
    return true;
}

bool vfs_file_write(struct vfs_file *file, size_t offset, const void *data, size_t size)
{
    SAGA_ASSERT(size > 0);
    /* The durable image gets its room here, so that a sync and a crash cannot run out of memory. */
    if (!vfs_content_reserve(&file->cached, offset + size) ||
        !vfs_content_reserve(&file->durable, file->cached.capacity) ||
        !remember(file, offset, data, size)) {
        return false;
    }
    vfs_content_put(&file->cached, offset, data, size);
    return true;
}

bool vfs_file_truncate(struct vfs_file *file, size_t size)
{
    if (!vfs_content_reserve(&file->cached, size) ||
        !vfs_content_reserve(&file->durable, file->cached.capacity) ||
        !remember(file, size, NULL, 0)) {
        return false;
    }
    vfs_content_cut(&file->cached, size);
    return true;
}

/* ---- Names ---- */

struct vfs_entry *vfs_entry_find(struct saga_vfs *vfs, const char *name)
{
    for (size_t i = 0; i < vfs->entry_count; i++) {
        if (strcmp(vfs->entries[i].name, name) == 0) {
            return &vfs->entries[i];
        }
    }
    return NULL;
}

struct vfs_entry *vfs_entry_take(struct saga_vfs *vfs, const char *name)
{
    struct vfs_entry *entry = vfs_entry_find(vfs, name);
    size_t size = strlen(name);
    if (entry != NULL || vfs->entry_count == SAGA_VFS_FILES_MAX || size > SAGA_VFS_PATH_MAX) {
        return entry;
    }
    entry = &vfs->entries[vfs->entry_count++];
    memcpy(entry->name, name, size + 1);
    return entry;
}

void vfs_entry_set(struct vfs_entry *entry, struct vfs_file *file)
{
    if (file != NULL) {
        file->references++;
    }
    if (!entry->changed) {
        entry->changed = true; /* the one reference of before is `durable`'s */
    } else if (entry->past_count < VFS_PAST_MAX) {
        entry->past[entry->past_count++] = entry->cached;
    } else {
        vfs_file_release(entry->past[0]);
        memmove(&entry->past[0], &entry->past[1], (VFS_PAST_MAX - 1) * sizeof entry->past[0]);
        entry->past[VFS_PAST_MAX - 1] = entry->cached;
    }
    entry->cached = file;
}
