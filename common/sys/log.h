/* Logs: one line of key=value pairs on stderr per event. Any thread. */
#ifndef SAGA_SYS_LOG_H
#define SAGA_SYS_LOG_H

enum saga_log_level { SAGA_LOG_DEBUG, SAGA_LOG_INFO, SAGA_LOG_WARN, SAGA_LOG_ERROR };

/* Sets the program's name and the lowest level that is written. Called once, before threads. */
void saga_log_init(const char *program, enum saga_log_level level);

/* Reads a level's name (debug, info, warn, error). Returns -1 when it is none. */
int saga_log_level_parse(const char *name);

/* Writes one line: time=… level=… program=… event=<event> <formatted key=value pairs>. Values with
 * spaces must be quoted by the format (msg=\"%s\"); control characters and quotes inside them are
 * escaped. At most 2 KiB, cut beyond. */
void saga_log(enum saga_log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
