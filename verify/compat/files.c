/* Files of OLD and NEW, and what stands in them. */
#include <string.h>

#include "verify/compat/internal.h"

static struct compat_tail no_tail(void)
{
    return (struct compat_tail){{0}, 0};
}

/* ---- Options of files ---- */

struct text_option {
    const char *name;
    const char *was, *is;
};

static void compare_options(struct saga_compat *report, const struct compat_file *old_file,
                            const struct compat_file *new_file)
{
    static const Google__Protobuf__FileOptions none = GOOGLE__PROTOBUF__FILE_OPTIONS__INIT;
    const Google__Protobuf__FileOptions *a =
        old_file->raw->options == NULL ? &none : old_file->raw->options;
    const Google__Protobuf__FileOptions *b =
        new_file->raw->options == NULL ? &none : new_file->raw->options;
    const struct text_option texts[] = {
        {"java_package", a->java_package, b->java_package},
        {"java_outer_classname", a->java_outer_classname, b->java_outer_classname},
        {"java_multiple_files", a->java_multiple_files ? "true" : "",
         b->java_multiple_files ? "true" : ""},
        {"go_package", a->go_package, b->go_package},
        {"objc_class_prefix", a->objc_class_prefix, b->objc_class_prefix},
        {"csharp_namespace", a->csharp_namespace, b->csharp_namespace},
        {"swift_prefix", a->swift_prefix, b->swift_prefix},
        {"php_class_prefix", a->php_class_prefix, b->php_class_prefix},
        {"php_namespace", a->php_namespace, b->php_namespace},
        {"php_metadata_namespace", a->php_metadata_namespace, b->php_metadata_namespace},
        {"ruby_package", a->ruby_package, b->ruby_package},
    };
    struct compat_note note = {
        .code = SAGA_COMPAT_FILE_OPTION_CHANGED,
        .spot = compat_spot_file(report, new_file, (struct compat_tail){{PATH_FILE_OPTIONS}, 1}),
        .where = new_file->name,
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (strcmp(compat_text(texts[i].was), compat_text(texts[i].is)) != 0) {
            compat_add(report, &note,
                       "%s was %s and is %s: generated code has other names in that "
                       "language; the wire does not know it",
                       texts[i].name, compat_quote(report, compat_text(texts[i].was)),
                       compat_quote(report, compat_text(texts[i].is)));
        }
    }
}

static void compare_file(struct saga_compat *report, const struct compat_file *old_file,
                         const struct compat_file *new_file)
{
    struct compat_note note = {.where = old_file->name};
    if (strcmp(old_file->package, new_file->package) != 0) {
        note.code = SAGA_COMPAT_PACKAGE_CHANGED;
        note.spot =
            compat_spot_file(report, new_file, (struct compat_tail){{PATH_FILE_PACKAGE}, 1});
        compat_add(report, &note,
                   "its package was %s and is %s: every name in it is another, of methods too, and "
                   "commands go by method name; make a new file for the new package and serve both",
                   old_file->package[0] == '\0' ? "none" : old_file->package,
                   new_file->package[0] == '\0' ? "none" : new_file->package);
    }
    if (old_file->proto3 != new_file->proto3) {
        note.code = SAGA_COMPAT_SYNTAX_CHANGED;
        note.spot = compat_spot_file(report, new_file, (struct compat_tail){{PATH_FILE_SYNTAX}, 1});
        compat_add(report, &note,
                   "its syntax was %s and is %s: presence, unknown enum values and packing are "
                   "others; keep it",
                   old_file->proto3 ? "proto3" : "proto2", new_file->proto3 ? "proto3" : "proto2");
    }
    compare_options(report, old_file, new_file);
}

/* ---- Files that are gone ---- */

/* Finds the file of NEW that has all of an old file's things that are still there; NULL: none, or
 * several. */
static const struct compat_file *new_home(const struct saga_compat *report,
                                          const struct compat_file *old_file)
{
    const struct compat_file *home = NULL;
    for (size_t i = 0; i < report->old_set.item_count; i++) {
        const struct compat_item *item = &report->old_set.items[i];
        const struct compat_item *now = item->file == old_file ? compat_map(report, item) : NULL;
        if (now != NULL) {
            if (home != NULL && home != now->file) {
                return NULL;
            }
            home = now->file;
        }
    }
    return home;
}

static void tell_file_gone(struct saga_compat *report, const struct compat_file *file)
{
    const struct compat_file *home = new_home(report, file);
    struct compat_note note = {
        .code = SAGA_COMPAT_FILE_REMOVED,
        .spot = compat_spot_file(report, file, no_tail()),
        .where = file->name,
    };
    if (home != NULL) {
        compat_add(report, &note,
                   "it is gone; what it declared is in %s: imports and includes by path break, the "
                   "wire does not know it",
                   home->name);
    } else {
        compat_add(report, &note, "it is gone: imports and includes by path break");
    }
}

/* ---- What stands in them ---- */

static void tell_gone(struct saga_compat *report, const struct compat_item *item)
{
    struct compat_note note = {
        .spot = compat_spot_item(report, item, no_tail()),
        .where = item->name,
    };
    switch (item->kind) {
    case ITEM_MESSAGE:
        note.code = SAGA_COMPAT_MESSAGE_REMOVED;
        compat_add(report, &note,
                   "the message is gone: what others still send or have kept of it cannot be read; "
                   "keep it, "
                   "deprecated, until nobody has one");
        break;
    case ITEM_ENUM:
        note.code = SAGA_COMPAT_ENUM_REMOVED;
        compat_add(report, &note,
                   "the enum is gone: code generated from it is gone too; keep it, deprecated, "
                   "until nobody uses it");
        break;
    case ITEM_SERVICE:
        note.code = SAGA_COMPAT_SERVICE_REMOVED;
        compat_add(report, &note,
                   "the service is gone: who calls it finds nobody; keep it, deprecated, until "
                   "nobody does");
        break;
    case ITEM_EXTENSION:
        note.code = SAGA_COMPAT_EXTENSION_REMOVED;
        compat_add(report, &note,
                   "the extension is gone: where it is set it is no longer read; keep it");
        break;
    }
}

static void compare_item(struct saga_compat *report, const struct compat_item *old_item,
                         const struct compat_item *new_item)
{
    if (old_item->parent == NULL && strcmp(old_item->file->name, new_item->file->name) != 0 &&
        compat_set_file(&report->new_set, old_item->file->name) != NULL) {
        struct compat_note note = {
            .code = SAGA_COMPAT_TYPE_MOVED,
            .spot = compat_spot_item(report, new_item, no_tail()),
            .where = old_item->name,
        };
        compat_add(report, &note,
                   "it stood in %s and stands in %s: includes by path break, the wire does not "
                   "know it; let the old file import the new one publicly",
                   old_item->file->name, new_item->file->name);
    }
    switch (old_item->kind) {
    case ITEM_MESSAGE:
        compat_message(report, old_item, new_item);
        break;
    case ITEM_ENUM:
        compat_enum(report, old_item, new_item);
        break;
    case ITEM_SERVICE:
        compat_service(report, old_item, new_item);
        break;
    case ITEM_EXTENSION:
        compat_extension(report, old_item, new_item);
        break;
    }
}

static void look_at_item(struct saga_compat *report, const struct compat_item *item)
{
    if (item->file->foreign || item->map_entry) {
        return;
    }
    const struct compat_item *now = compat_map(report, item);
    if (now != NULL) {
        compare_item(report, item, now);
    } else if (item->file->elsewhere) {
        return;
    } else if (item->parent == NULL || compat_map(report, item->parent) != NULL) {
        tell_gone(report, item);
    }
}

void compat_files(struct saga_compat *report)
{
    for (size_t i = 0; i < report->old_set.file_count; i++) {
        const struct compat_file *file = &report->old_set.files[i];
        const struct compat_file *now = compat_set_file(&report->new_set, file->name);
        if (file->foreign) {
            continue;
        }
        if (now != NULL) {
            compare_file(report, file, now);
        } else if (!report->config.partial) {
            tell_file_gone(report, file);
        }
    }
    for (size_t i = 0; i < report->old_set.item_count; i++) {
        look_at_item(report, &report->old_set.items[i]);
    }
}
