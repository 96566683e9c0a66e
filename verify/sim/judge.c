/* What the judge keeps, and how it tells. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "verify/sim/judge_internal.h"

enum { TABLE_START = 256, KEYS_START = 256 };

static const char *const rule_names[] = {
#define X(name, text) #name,
    SAGA_RULE_LIST(X)
#undef X
};

const char *saga_rule_name(enum saga_rule rule)
{
    return rule < SAGA_RULE_COUNT ? rule_names[rule] : "";
}

enum saga_err saga_judge_new(const struct saga_judge_config *config, struct saga_judge **judge)
{
    SAGA_ASSERT(config->version != NULL);
    struct saga_judge *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    made->config = *config;
    made->table_size = TABLE_START;
    made->key_size = KEYS_START;
    made->table = calloc(made->table_size, sizeof *made->table);
    made->keys = calloc(made->key_size, sizeof *made->keys);
    if (made->table == NULL || made->keys == NULL) {
        saga_judge_free(made);
        return SAGA_ERR_NO_MEMORY;
    }
    *judge = made;
    return SAGA_ERR_OK;
}

static void free_trail(struct trail *trail)
{
    free(trail->hashes);
    free(trail->sides);
    free(trail->acts);
    free(trail->epochs);
    free(trail);
}

void saga_judge_free(struct saga_judge *judge)
{
    if (judge == NULL) {
        return;
    }
    for (size_t i = 0; i < judge->trail_count; i++) {
        free_trail(judge->trails[i]);
    }
    for (size_t i = 0; i < SAGA_JUDGE_PARTICIPANTS_MAX; i++) {
        free(judge->journals[i].places);
    }
    free(judge->trails);
    free(judge->table);
    free(judge->keys);
    free(judge->wide);
    free(judge->published);
    saga_buf_fini(&judge->commit);
    saga_buf_fini(&judge->encoded);
    saga_arena_fini(&judge->arena);
    free(judge);
}

void judge_tell(struct saga_judge *judge, enum saga_rule rule, const struct trail *trail,
                const char *step, const char *format, ...)
{
    judge->counts.violations[rule]++;
    judge->counts.violation_count++;
    if (judge->config.told == NULL || judge->counts.violation_count > JUDGE_TOLD_MAX) {
        return;
    }
    char text[SAGA_JUDGE_TEXT_SIZE];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct saga_violation_fact violation = {
        .rule = rule,
        .step = step == NULL ? "" : step,
        .text = text,
    };
    if (trail != NULL) {
        violation.saga_id = trail->id;
    }
    judge->config.told(judge->config.user, &violation);
}

bool judge_grow(struct saga_judge *judge, void **array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) {
        return true;
    }
    size_t more = *capacity == 0 ? 8 : *capacity * 2;
    void *grown = realloc(*array, more * size);
    if (grown == NULL) {
        judge->err = SAGA_ERR_NO_MEMORY;
        return false;
    }
    *array = grown;
    *capacity = more;
    return true;
}

uint64_t judge_hash(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * UINT64_C(1099511628211); /* FNV-1a */
    }
    return hash ^ hash >> 32;
}

uint64_t judge_hash_text(uint64_t hash, const char *text)
{
    return judge_hash(hash, text, strlen(text) + 1);
}

/* ---- Sagas ---- */

static size_t find_slot(const struct saga_judge *judge, struct saga_id id)
{
    size_t at = (size_t)judge_hash(JUDGE_HASH_START, id.b, sizeof id.b) & (judge->table_size - 1);
    while (judge->table[at] != 0 && !saga_id_equal(judge->trails[judge->table[at] - 1]->id, id)) {
        at = (at + 1) & (judge->table_size - 1);
    }
    return at;
}

struct trail *judge_find(const struct saga_judge *judge, struct saga_id id)
{
    uint32_t found = judge->table[find_slot(judge, id)];
    return found == 0 ? NULL : judge->trails[found - 1];
}

static bool grow_table(struct saga_judge *judge)
{
    if ((judge->trail_count + 1) * 2 <= judge->table_size) {
        return true;
    }
    uint32_t *table = calloc(judge->table_size * 2, sizeof *table);
    if (table == NULL) {
        judge->err = SAGA_ERR_NO_MEMORY;
        return false;
    }
    free(judge->table);
    judge->table = table;
    judge->table_size *= 2;
    for (uint32_t i = 0; i < judge->trail_count; i++) {
        judge->table[find_slot(judge, judge->trails[i]->id)] = i + 1;
    }
    return true;
}

struct trail *judge_make(struct saga_judge *judge, struct saga_id id)
{
    struct trail *trail = judge_find(judge, id);
    void *trails = judge->trails;
    if (trail != NULL) {
        return trail;
    }
    if (!grow_table(judge) || !judge_grow(judge, &trails, judge->trail_count,
                                          &judge->trail_capacity, sizeof(struct trail *))) {
        return NULL;
    }
    judge->trails = trails;
    trail = calloc(1, sizeof *trail);
    if (trail == NULL) {
        judge->err = SAGA_ERR_NO_MEMORY;
        return NULL;
    }
    trail->id = id;
    trail->topic_next = 1;
    trail->topic_partition = -1;
    size_t slot = find_slot(judge, id);
    judge->trails[judge->trail_count++] = trail;
    judge->table[slot] = (uint32_t)judge->trail_count;
    return trail;
}

uint8_t judge_step(const struct trail *trail, const char *name)
{
    for (uint32_t i = 0; trail->version != NULL && i < trail->version->def.step_count; i++) {
        if (strcmp(trail->version->step_names[i], name) == 0) {
            return (uint8_t)i;
        }
    }
    return SAGA_STEP_ALL;
}

struct side *judge_side(const struct trail *trail, uint8_t step, enum saga_op op)
{
    SAGA_ASSERT(trail->version != NULL && step < trail->version->def.step_count);
    return &trail->sides[2U * step + (op == SAGA_OP_UNDO ? 1U : 0U)];
}

const char *judge_step_name(const struct trail *trail, uint8_t step)
{
    return trail->version == NULL || step >= trail->version->def.step_count
               ? ""
               : trail->version->step_names[step];
}

uint8_t judge_pivot(const struct trail *trail)
{
    for (uint32_t i = 0; trail->version != NULL && i < trail->version->def.step_count; i++) {
        if (trail->version->def.steps[i].pivot) {
            return (uint8_t)i;
        }
    }
    return SAGA_STEP_ALL;
}

const struct saga_step_decl *judge_decl(const struct trail *trail, uint8_t step)
{
    const struct saga_decl *decl = trail->version == NULL ? NULL : trail->version->decl;
    return decl == NULL || step >= decl->step_count ? NULL : &decl->steps[step];
}

/* ---- Keys ---- */

static struct keyed *key_slot(struct keyed *keys, size_t size, uint64_t hash)
{
    size_t at = (size_t)hash & (size - 1);
    while (keys[at].hash != 0 && keys[at].hash != hash) {
        at = (at + 1) & (size - 1);
    }
    return &keys[at];
}

struct keyed *judge_key(struct saga_judge *judge, const char *definition, const char *key)
{
    uint64_t hash = judge_hash_text(judge_hash_text(JUDGE_HASH_START, definition), key) | 1;
    if ((judge->key_count + 1) * 2 > judge->key_size) {
        struct keyed *keys = calloc(judge->key_size * 2, sizeof *keys);
        if (keys == NULL) {
            judge->err = SAGA_ERR_NO_MEMORY;
            return NULL;
        }
        for (size_t i = 0; i < judge->key_size; i++) {
            if (judge->keys[i].hash != 0) {
                *key_slot(keys, judge->key_size * 2, judge->keys[i].hash) = judge->keys[i];
            }
        }
        free(judge->keys);
        judge->keys = keys;
        judge->key_size *= 2;
    }
    struct keyed *keyed = key_slot(judge->keys, judge->key_size, hash);
    judge->key_count += keyed->hash == 0 ? 1 : 0;
    keyed->hash = hash;
    return keyed;
}

/* ---- Looking ---- */

bool saga_judge_effect_done(const struct saga_judge *judge, struct saga_id id, const char *step,
                            enum saga_op op)
{
    const struct trail *trail = judge_find(judge, id);
    uint8_t index = trail == NULL ? SAGA_STEP_ALL : judge_step(trail, step);
    return index != SAGA_STEP_ALL && judge_side(trail, index, op)->effect;
}

bool saga_judge_pivot_done(const struct saga_judge *judge, struct saga_id id)
{
    const struct trail *trail = judge_find(judge, id);
    uint8_t pivot = trail == NULL ? SAGA_STEP_ALL : judge_pivot(trail);
    return pivot != SAGA_STEP_ALL && judge_side(trail, pivot, SAGA_OP_CALL)->effect;
}

size_t saga_judge_open_count(const struct saga_judge *judge)
{
    return judge->open;
}

size_t saga_judge_parked_count(const struct saga_judge *judge)
{
    return judge->parked;
}

bool saga_judge_open_next(const struct saga_judge *judge, size_t *at, struct saga_id *id,
                          enum saga_state *state)
{
    while (*at < judge->trail_count) {
        const struct trail *trail = judge->trails[(*at)++];
        if (trail->version != NULL && !saga_ended(&trail->saga)) {
            *id = trail->id;
            *state = (enum saga_state)trail->saga.state;
            return true;
        }
    }
    return false;
}
