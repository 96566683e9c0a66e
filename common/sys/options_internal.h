/* What the two files of the options share; not for others. */
#ifndef SAGA_SYS_OPTIONS_INTERNAL_H
#define SAGA_SYS_OPTIONS_INTERNAL_H

#include "common/sys/options.h"

/* Prints the help of a program on stdout. */
void saga_options_help(const struct saga_program *program);

#endif
