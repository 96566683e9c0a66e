#include "common/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *saga_err_name(enum saga_err err)
{
    switch (err) {
#define X(name, text, class)                                                                       \
    case SAGA_ERR_##name:                                                                          \
        return #name;
        SAGA_ERR_LIST(X)
#undef X
    }
    return "UNLISTED";
}

const char *saga_err_text(enum saga_err err)
{
    switch (err) {
#define X(name, text, class)                                                                       \
    case SAGA_ERR_##name:                                                                          \
        return text;
        SAGA_ERR_LIST(X)
#undef X
    }
    return "unlisted error";
}

enum saga_err_class saga_err_class(enum saga_err err)
{
    switch (err) {
#define X(name, text, class)                                                                       \
    case SAGA_ERR_##name:                                                                          \
        return SAGA_ERR_CLASS_##class;
        SAGA_ERR_LIST(X)
#undef X
    }
    return SAGA_ERR_CLASS_FATAL;
}

/* In brackets: a macro of the same name may be there for the analyzer. */
enum saga_err(saga_err_set)(struct saga_err_detail *detail, enum saga_err err, const char *format,
                            ...)
{
    if (detail != NULL) {
        va_list args;
        va_start(args, format);
        (void)vsnprintf(detail->text, sizeof detail->text, format, args);
        va_end(args);
    }
    return err;
}

enum saga_err(saga_err_wrap)(struct saga_err_detail *detail, enum saga_err err, const char *prefix)
{
    if (detail != NULL) {
        char inner[SAGA_ERR_DETAIL_SIZE];
        memcpy(inner, detail->text, sizeof inner);
        inner[sizeof inner - 1] = '\0';
        size_t used = 0;
        for (const char *p = prefix; *p != '\0' && used + 3 < sizeof detail->text; p++) {
            detail->text[used++] = *p;
        }
        detail->text[used++] = ':';
        detail->text[used++] = ' ';
        size_t rest = strlen(inner);
        if (rest > sizeof detail->text - used - 1) {
            rest = sizeof detail->text - used - 1;
        }
        memcpy(detail->text + used, inner, rest);
        detail->text[used + rest] = '\0';
    }
    return err;
}
