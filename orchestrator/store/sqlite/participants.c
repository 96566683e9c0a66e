/* Where services are, as it was applied. */
#include "orchestrator/store/sqlite/store_internal.h"

static enum saga_err insert_address(struct saga_store *store, const char *service, size_t ordinal,
                                    const char *address, struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_sql_prepare(
        store->sql, "INSERT INTO participant(service, ordinal, address) VALUES(?1, ?2, ?3)", &stmt,
        detail);
    if (err == SAGA_ERR_OK) {
        saga_sql_bind_text(stmt, 1, service);
        saga_sql_bind_int(stmt, 2, (int64_t)ordinal);
        saga_sql_bind_text(stmt, 3, address);
        err = saga_sql_run(stmt, NULL, detail);
    }
    return err;
}

enum saga_err store_put_participant(struct saga_store *store, const char *service,
                                    const char *const *addresses, size_t count,
                                    struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = store_check_write(store, detail);
    if (err == SAGA_ERR_OK) {
        err = saga_sql_prepare(store->sql, "DELETE FROM participant WHERE service = ?1", &stmt,
                               detail);
    }
    if (err == SAGA_ERR_OK) {
        saga_sql_bind_text(stmt, 1, service);
        err = saga_sql_run(stmt, NULL, detail);
    }
    for (size_t i = 0; i < count && err == SAGA_ERR_OK; i++) {
        err = insert_address(store, service, i, addresses[i], detail);
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "store: put participant");
}

enum saga_err store_list_participants(struct saga_store *store, saga_participant_visit *visit,
                                      void *user, struct saga_err_detail *detail)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_sql_prepare(
        store->sql, "SELECT service, address FROM participant ORDER BY service, ordinal", &stmt,
        detail);
    while (err == SAGA_ERR_OK) {
        bool there = false;
        err = saga_sql_step(stmt, &there, detail);
        if (err != SAGA_ERR_OK || !there) {
            break;
        }
        struct saga_participant_row row = {
            .service = saga_sql_text(stmt, 0),
            .address = saga_sql_text(stmt, 1),
        };
        if (!visit(user, &row)) {
            saga_sql_reset(stmt);
            break;
        }
    }
    return err == SAGA_ERR_OK ? err : saga_err_wrap(detail, err, "store: list participants");
}
