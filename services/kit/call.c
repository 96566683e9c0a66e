/* What handlers use: SQL, refusals, what is known of the call. Thread: the worker. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/assert.h"
#include "services/kit/room.h"

void saga_kit_call_begin(struct saga_kit *kit, const struct saga_command *command, bool read_only,
                         struct saga_call *call)
{
    call->kit = kit;
    call->command = command;
    call->via = SAGA_VIA_NNG;
    call->read_only = read_only;
    call->answered = false;
    call->refused = false;
    call->status = saga_status_ok();
    call->err = SAGA_ERR_OK;
    call->detail.text[0] = '\0';
    call->stmt_count = 0;
    call->after = NULL;
    call->after_tail = &call->after;
    saga_buf_clear(&kit->turn.scratch);
}

static void fail(struct saga_call *call, enum saga_err err)
{
    if (call->err == SAGA_ERR_OK) {
        call->err = err;
    }
}

void saga_kit_call_answer(const ProtobufCMessage *message, void *data)
{
    struct saga_call *call = data;
    if (message == NULL) {
        return; /* no answer: INTERNAL, see dispatch */
    }
    saga_buf_clear(&call->kit->turn.scratch);
    enum saga_err err = saga_message_encode(message, &call->kit->turn.scratch);
    if (err != SAGA_ERR_OK) {
        fail(call, saga_err_set(&call->detail, err, "response of %s", call->command->method));
        return;
    }
    call->answered = true;
}

/* Takes a UTF-8 character that was cut in two off the end of a text: it would make the whole reply
 * unreadable. */
static void trim(char *text, size_t size)
{
    size_t end = strlen(text);
    if (end + 1 < size) {
        return;
    }
    size_t start = end;
    while (start > 0 && end - start < 4 && ((unsigned char)text[start - 1] & 0xC0u) == 0x80u) {
        start--;
    }
    if (start > 0 && (unsigned char)text[start - 1] >= 0xC0u) {
        unsigned char lead = (unsigned char)text[start - 1];
        size_t need = lead >= 0xF0u ? 4 : lead >= 0xE0u ? 3 : 2;
        if (end - (start - 1) < need) {
            text[start - 1] = '\0';
        }
    }
}

void saga_call_refuse(struct saga_call *call, enum saga_code code, const char *reason,
                      const char *format, ...)
{
    if (call->refused) {
        return; /* the first reason is the reason */
    }
    call->refused = true;
    (void)snprintf(call->reason, sizeof call->reason, "%s", reason == NULL ? "" : reason);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(call->message, sizeof call->message, format, args);
    va_end(args);
    trim(call->message, sizeof call->message);
    bool known = code != SAGA_CODE_OK && code <= SAGA_CODE_UNAUTHENTICATED;
    call->status = saga_status_make(known ? code : SAGA_CODE_INTERNAL, call->reason, call->message);
}

/* Remembers a statement, to be reset when the call ends: an open one would keep the transaction
 * from ending. */
static void remember(struct saga_call *call, struct saga_sql_stmt *stmt)
{
    for (size_t i = 0; i < call->stmt_count; i++) {
        if (call->stmts[i] == stmt) {
            return;
        }
    }
    if (call->stmt_count == SAGA_KIT_STATEMENTS_MAX) {
        fail(call, saga_err_set(&call->detail, SAGA_ERR_LIMIT,
                                "more than %d statements in one call (SAGA_KIT_STATEMENTS_MAX)",
                                SAGA_KIT_STATEMENTS_MAX));
        return;
    }
    call->stmts[call->stmt_count++] = stmt;
}

static struct saga_sql_stmt *prepare(struct saga_call *call, const char *sql, const char *types,
                                     va_list args)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_sql_prepare(call->kit->sql, sql, &stmt,
                                         call->err == SAGA_ERR_OK ? &call->detail : NULL);
    if (err != SAGA_ERR_OK) {
        fail(call, err);
        /* A statement that gives nothing, so that authors need no check at each call. Prepared at
         * start: this cannot fail. */
        err = saga_sql_prepare(call->kit->sql, SAGA_KIT_SQL_NOTHING, &stmt, NULL);
        SAGA_ASSERT(err == SAGA_ERR_OK);
        return stmt;
    }
    remember(call, stmt);
    for (int at = 1; types[at - 1] != '\0'; at++) {
        switch (types[at - 1]) {
        case 'i':
            saga_sql_bind_int(stmt, at, va_arg(args, int64_t));
            break;
        case 's': {
            const char *text = va_arg(args, const char *);
            if (text == NULL) {
                saga_sql_bind_null(stmt, at);
            } else {
                saga_sql_bind_text(stmt, at, text);
            }
            break;
        }
        case 'b': {
            const struct saga_bytes *bytes = va_arg(args, struct saga_bytes *);
            if (bytes == NULL) {
                saga_sql_bind_null(stmt, at);
            } else {
                saga_sql_bind_bytes(stmt, at, *bytes);
            }
            break;
        }
        default:
            SAGA_ASSERT(!"a letter of types is not i, s or b");
        }
    }
    return stmt;
}

struct saga_sql_stmt *saga_call_sql(struct saga_call *call, const char *sql, const char *types, ...)
{
    va_list args;
    va_start(args, types);
    struct saga_sql_stmt *stmt = prepare(call, sql, types, args);
    va_end(args);
    return stmt;
}

bool saga_call_row(struct saga_call *call, struct saga_sql_stmt *stmt)
{
    if (call->err != SAGA_ERR_OK) {
        return false;
    }
    bool row = false;
    call->err = saga_sql_step(stmt, &row, &call->detail);
    return call->err == SAGA_ERR_OK && row;
}

int64_t saga_call_run(struct saga_call *call, const char *sql, const char *types, ...)
{
    va_list args;
    va_start(args, types);
    struct saga_sql_stmt *stmt = prepare(call, sql, types, args);
    va_end(args);
    int64_t changes = 0;
    if (call->err == SAGA_ERR_OK && call->read_only) {
        fail(call,
             saga_err_set(&call->detail, SAGA_ERR_INVALID,
                          "%s is declared NO_SIDE_EFFECTS and writes", call->command->method));
    }
    if (call->err == SAGA_ERR_OK) {
        call->err = saga_sql_run(stmt, &changes, &call->detail);
    }
    return call->err == SAGA_ERR_OK ? changes : 0;
}

struct saga_id saga_call_saga_id(const struct saga_call *call)
{
    return call->command->saga_id;
}

enum saga_op saga_call_op(const struct saga_call *call)
{
    return call->command->op;
}

const struct saga_command *saga_call_command(const struct saga_call *call)
{
    return call->command;
}

int64_t saga_call_now_unix_ms(const struct saga_call *call)
{
    return call->kit->turn.now_unix_ms;
}

struct saga_sql *saga_call_database(struct saga_call *call)
{
    return call->kit->sql;
}

void *saga_call_user(const struct saga_call *call)
{
    return call->kit->app->user;
}

void saga_call_after_commit(struct saga_call *call, void (*done)(void *user, int64_t value),
                            void *user, int64_t value)
{
    struct saga_kit_after *after = saga_arena_take(&call->kit->turn.arena, sizeof *after);
    if (after == NULL) {
        fail(call, saga_err_set(&call->detail, SAGA_ERR_NO_MEMORY, "after commit"));
        return;
    }
    *after = (struct saga_kit_after){.done = done, .user = user, .value = value};
    *call->after_tail = after;
    call->after_tail = &after->next;
}

void saga_kit_call_keep(struct saga_call *call)
{
    if (call->after != NULL) {
        *call->kit->turn.after_tail = call->after;
        call->kit->turn.after_tail = call->after_tail;
    }
}

enum saga_err saga_kit_call_end(struct saga_call *call, struct saga_err_detail *detail)
{
    for (size_t i = 0; i < call->stmt_count; i++) {
        saga_sql_reset(call->stmts[i]);
    }
    switch (call->err) {
    case SAGA_ERR_OK:
        return SAGA_ERR_OK;
    case SAGA_ERR_IO: /* durability may be lost; or the transaction may be gone: give the turn up */
    case SAGA_ERR_DISK_FULL:
    case SAGA_ERR_CORRUPT:
    case SAGA_ERR_FENCED:
    case SAGA_ERR_NO_MEMORY:
    case SAGA_ERR_BUSY:
        return saga_err_set(detail, call->err, "%s: %s", call->command->method, call->detail.text);
    case SAGA_ERR_INVALID:
    case SAGA_ERR_MALFORMED:
    case SAGA_ERR_LIMIT:
    case SAGA_ERR_NOT_FOUND:
    case SAGA_ERR_EXISTS:
    case SAGA_ERR_CONFLICT:
    case SAGA_ERR_FULL:
    case SAGA_ERR_UNAVAILABLE:
    case SAGA_ERR_TIMEOUT:
    case SAGA_ERR_CLOSED:
    case SAGA_ERR_INTERNAL:
        break;
    }
    call->refused = false; /* what the handler thought after the error is void */
    saga_call_refuse(call, SAGA_CODE_INTERNAL, "DATABASE", "%s: %s", call->command->method,
                     call->detail.text);
    return SAGA_ERR_OK;
}
