/* The verbs of sagactl, one variable each; main.c lists them. */
#ifndef SAGA_CLIENT_VERBS_H
#define SAGA_CLIENT_VERBS_H

#include "client/client.h"

extern const struct saga_verb saga_verb_dev;
extern const struct saga_verb saga_verb_start;
extern const struct saga_verb saga_verb_get;
extern const struct saga_verb saga_verb_list;
extern const struct saga_verb saga_verb_watch;
extern const struct saga_verb saga_verb_why;
extern const struct saga_verb saga_verb_cancel;
extern const struct saga_verb saga_verb_retry;
extern const struct saga_verb saga_verb_skip;
extern const struct saga_verb saga_verb_resolve;
extern const struct saga_verb saga_verb_compensate;
extern const struct saga_verb saga_verb_definitions;
extern const struct saga_verb saga_verb_apply;
extern const struct saga_verb saga_verb_remove;
extern const struct saga_verb saga_verb_lint;
extern const struct saga_verb saga_verb_breaking;
extern const struct saga_verb saga_verb_graph;
extern const struct saga_verb saga_verb_certify;
extern const struct saga_verb saga_verb_pause;
extern const struct saga_verb saga_verb_resume;
extern const struct saga_verb saga_verb_call;
extern const struct saga_verb saga_verb_describe;
extern const struct saga_verb saga_verb_list_services;
extern const struct saga_verb saga_verb_health;
extern const struct saga_verb saga_verb_seed;
extern const struct saga_verb saga_verb_topics;
extern const struct saga_verb saga_verb_audit;
extern const struct saga_verb saga_verb_bench;
extern const struct saga_verb saga_verb_replay;
extern const struct saga_verb saga_verb_check;
extern const struct saga_verb saga_verb_sim;
extern const struct saga_verb saga_verb_completion;

#endif
