/* The scripts that `sagactl completion` prints. Constant texts; any thread. */
#ifndef SAGA_CLIENT_COMPLETION_SCRIPTS_H
#define SAGA_CLIENT_COMPLETION_SCRIPTS_H

/* Their lines, NULL behind the last. */
extern const char *const saga_completion_bash[];
extern const char *const saga_completion_zsh[];
extern const char *const saga_completion_fish[];

#endif
