/* The comment `sagactl:lint-ignore RULE…` on an element. Names end at the first word that is not
 * written like one, so that a reason may follow. */
#include <string.h>

#include "verify/style/style_internal.h"

static const char marker[] = "sagactl:lint-ignore";

/* Takes the next name behind a marker, on its line. Returns false when there is none. */
static bool next_name(const char **at, const char **name, size_t *size)
{
    const char *c = *at;
    while (*c == ' ' || *c == ',' || *c == '\t') {
        c++;
    }
    const char *begin = c;
    while ((*c >= 'A' && *c <= 'Z') || *c == '_' || (c > begin && *c >= '0' && *c <= '9')) {
        c++;
    }
    *at = c;
    *name = begin;
    *size = (size_t)(c - begin);
    bool ends = *c == '\0' || *c == ' ' || *c == ',' || *c == '\t' || *c == '\n' || *c == '\r' ||
                *c == ':' || *c == ';' || *c == '.';
    return *size > 1 && ends;
}

bool saga_style_ignored(const struct saga_source *source, const struct saga_path *path, size_t rule)
{
    const saga_location *location = saga_source_find(source, path);
    if (location == NULL || location->leading_comments == NULL) {
        return false;
    }
    const char *wanted = saga_style_rule(rule)->name;
    const char *at = location->leading_comments;
    while ((at = strstr(at, marker)) != NULL) {
        const char *name = NULL;
        size_t size = 0;
        at += sizeof marker - 1;
        while (next_name(&at, &name, &size)) {
            if (size == strlen(wanted) && memcmp(name, wanted, size) == 0) {
                return true;
            }
        }
    }
    return false;
}

static void judge_names(const struct saga_style_at *at, const char *comment)
{
    while ((comment = strstr(comment, marker)) != NULL) {
        const char *given = NULL;
        size_t size = 0;
        size_t count = 0;
        comment += sizeof marker - 1;
        for (; next_name(&comment, &given, &size); count++) {
            char name[64];
            size_t id = 0;
            size_t cut = size < sizeof name ? size : sizeof name - 1;
            memcpy(name, given, cut);
            name[cut] = '\0';
            if (strncmp(name, "SAGA0", 5) == 0) {
                saga_style_add(at, SAGA_STYLE_IGNORE_VALID, 0,
                               "%s cannot be switched off: a saga that fails it is refused by the "
                               "daemon too; mend what it says, and take the comment out",
                               name);
            } else if (!saga_style_rule_find(name, &id)) {
                saga_style_add(at, SAGA_STYLE_IGNORE_VALID, 0,
                               "there is no rule %s; mend the name (sagactl lint --list-rules) or "
                               "take the comment out",
                               name);
            }
        }
        if (count == 0) {
            saga_style_add(at, SAGA_STYLE_IGNORE_VALID, 0,
                           "%s names no rule; write the rule's name behind it", marker);
        }
    }
}

/* Tells whether a comment there is looked at: above an element of the file, its package or syntax.
 */
static bool is_element(const saga_location *location)
{
    if (location->n_path == 1) {
        return location->path[0] == SAGA_STYLE_FILE_PACKAGE ||
               location->path[0] == SAGA_STYLE_FILE_SYNTAX;
    }
    return location->n_path % 2 == 0 && location->n_path > 0;
}

void saga_style_ignores(struct saga_style_run *run, size_t file)
{
    const struct saga_source *source = &run->sources[file];
    for (size_t i = 0; i < source->count; i++) {
        const saga_location *location = source->locations[i];
        struct saga_style_at at = saga_style_at_file(run, file);
        bool lost = location->trailing_comments != NULL &&
                    strstr(location->trailing_comments, marker) != NULL;
        for (size_t k = 0; k < location->n_leading_detached_comments; k++) {
            lost = lost || strstr(location->leading_detached_comments[k], marker) != NULL;
        }
        bool fits = location->n_path <= SAGA_PATH_SIZE_MAX - 2;
        if (fits && location->n_path > 0) {
            memcpy(at.path.at, location->path, location->n_path * sizeof at.path.at[0]);
            at.path.size = location->n_path;
        }
        if (location->leading_comments != NULL) {
            lost = lost ||
                   (!is_element(location) && strstr(location->leading_comments, marker) != NULL);
            judge_names(&at, location->leading_comments);
        }
        if (lost) {
            saga_style_add(&at, SAGA_STYLE_IGNORE_VALID, 0,
                           "%s stands where it switches nothing off; put it into the comment right "
                           "above the element (or the package, for the whole file)",
                           marker);
        }
    }
}
