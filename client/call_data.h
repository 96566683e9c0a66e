/* JSON values one after the other, from a text, a file or stdin, in bounded memory. One thread. */
#ifndef SAGA_CLIENT_CALL_DATA_H
#define SAGA_CLIENT_CALL_DATA_H

#include "client/client.h"

struct saga_call_data {
    const char *name; /* for errors: "the data", "stdin", the file's name */
    int fd;           /* -1: a text */
    int64_t end_us;   /* monotonic: do not wait for more after this; 0: for ever */
    struct saga_buf buf;
    size_t at;         /* in buf: what was not taken yet */
    bool ended;        /* nothing comes behind buf */
    size_t line;       /* of `at`, from 1 */
    size_t value_line; /* where the last value began */
};

/* Opens what was given: a JSON text, "@FILE", "@" or "@-" (stdin). Exit status; the message is
 * printed. The caller closes whatever is returned. */
int saga_call_data_open(const char *given, struct saga_call_data *data);
void saga_call_data_close(struct saga_call_data *data);

/* Takes the next value's text, valid until the next call; *there is false at the end. What it says
 * is not looked at, only where it ends. Waits for more when there is no whole value. Exit status,
 * the message is printed: USAGE for a value that never ends; FAILED for one that is longer than
 * SAGA_MESSAGE_SIZE_HARD, or what cannot be read; 64 + DEADLINE_EXCEEDED at end_us. */
int saga_call_data_next(struct saga_call_data *data, struct saga_bytes *value, bool *there);

/* Tells whether the next value, or the end, can be had without waiting for whoever writes. */
bool saga_call_data_ready(const struct saga_call_data *data);

#endif
