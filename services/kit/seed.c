/* --seed: rows from a JSON file. Seeding twice is the same as once: the statements say ON CONFLICT.
 * Thread: main. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#include "services/kit/room.h"

/* Binds one value; false: its kind has no place in a seed. */
static bool bind(struct saga_sql_stmt *stmt, int at, const json_t *value)
{
    if (json_is_integer(value)) {
        saga_sql_bind_int(stmt, at, json_integer_value(value));
    } else if (json_is_boolean(value)) {
        saga_sql_bind_int(stmt, at, json_is_true(value) ? 1 : 0);
    } else if (json_is_string(value)) {
        saga_sql_bind_text(stmt, at, json_string_value(value));
    } else {
        return false;
    }
    return true;
}

static enum saga_err seed_row(struct saga_sql *sql, const struct saga_kit_seed *seed, size_t index,
                              const json_t *object, struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_sql_prepare(sql, seed->sql, &stmt, detail);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    if (!json_is_object(object)) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "%s[%zu] is not an object", seed->array,
                            index);
    }
    size_t known = 0;
    for (int i = 0; seed->keys[i] != NULL; i++) {
        const json_t *value = json_object_get(object, seed->keys[i]);
        if (value == NULL) {
            return saga_err_set(detail, SAGA_ERR_INVALID, "%s[%zu].%s is missing", seed->array,
                                index, seed->keys[i]);
        }
        if (!bind(stmt, i + 1, value)) {
            return saga_err_set(detail, SAGA_ERR_INVALID,
                                "%s[%zu].%s is not a whole number, a string or a boolean",
                                seed->array, index, seed->keys[i]);
        }
        known++;
    }
    if (json_object_size(object) != known) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "%s[%zu] has a key that is not known",
                            seed->array, index);
    }
    err = saga_sql_run(stmt, NULL, detail);
    if (err != SAGA_ERR_OK) {
        char where[128];
        (void)snprintf(where, sizeof where, "%s[%zu]", seed->array, index);
        return saga_err_wrap(detail, err, where);
    }
    return SAGA_ERR_OK;
}

static enum saga_err seed_array(struct saga_sql *sql, const struct saga_kit_seed *seed,
                                const json_t *root, int64_t *rows, struct saga_err_detail *detail)
{
    const json_t *array = json_object_get(root, seed->array);
    if (array == NULL) {
        return SAGA_ERR_OK;
    }
    if (!json_is_array(array)) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "%s is not an array", seed->array);
    }
    enum saga_err err = SAGA_ERR_OK;
    for (size_t i = 0; i < json_array_size(array) && err == SAGA_ERR_OK; i++) {
        err = seed_row(sql, seed, i, json_array_get(array, i), detail);
        *rows += err == SAGA_ERR_OK ? 1 : 0;
    }
    return err;
}

enum saga_err saga_kit_seed_load(struct saga_sql *sql, const struct saga_kit_seed *seeds,
                                 size_t seed_count, const char *path, int64_t *rows,
                                 struct saga_err_detail *detail)
{
    *rows = 0;
    struct stat file;
    if (stat(path, &file) == 0 && file.st_size > SAGA_KIT_SEED_SIZE_MAX) {
        return saga_err_set(detail, SAGA_ERR_LIMIT,
                            "%s: %lld bytes, limit %d (SAGA_KIT_SEED_SIZE_MAX)", path,
                            (long long)file.st_size, SAGA_KIT_SEED_SIZE_MAX);
    }
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        return saga_err_set(detail, SAGA_ERR_INVALID, "%s:%d:%d: %s", path, error.line,
                            error.column, error.text);
    }
    enum saga_err err = SAGA_ERR_OK;
    if (!json_is_object(root)) {
        err = saga_err_set(detail, SAGA_ERR_INVALID, "not an object of arrays");
    }
    if (err == SAGA_ERR_OK) {
        err = saga_sql_begin(sql, detail);
    }
    if (err == SAGA_ERR_OK) {
        for (size_t i = 0; i < seed_count && err == SAGA_ERR_OK; i++) {
            err = seed_array(sql, &seeds[i], root, rows, detail);
        }
        if (err == SAGA_ERR_OK) {
            err = saga_sql_commit(sql, detail);
        } else {
            saga_sql_rollback(sql);
        }
    }
    json_decref(root);
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, path);
}
