/* The masks of a definition: who comes before whom. */
#include "orchestrator/engine/engine.h"

static uint64_t bit(uint32_t step)
{
    return UINT64_C(1) << step;
}

/* Closes before_masks over predecessors of predecessors. Each round makes paths one longer, so
 * step_count rounds are enough. */
static void close_before(struct saga_definition *def)
{
    for (uint32_t round = 0; round < def->step_count; round++) {
        for (uint32_t i = 0; i < def->step_count; i++) {
            for (uint32_t j = 0; j < def->step_count; j++) {
                if ((def->before_masks[i] & bit(j)) != 0) {
                    def->before_masks[i] |= def->before_masks[j];
                }
            }
        }
    }
}

bool saga_definition_finish(struct saga_definition *def)
{
    if (def->step_count == 0 || def->step_count > SAGA_STEPS_MAX) {
        return false;
    }
    uint64_t all = def->step_count == 64 ? UINT64_MAX : bit(def->step_count) - 1;
    uint64_t pivots = 0;
    for (uint32_t i = 0; i < def->step_count; i++) {
        if ((def->steps[i].after_mask & ~all) != 0) {
            return false;
        }
        def->before_masks[i] = def->steps[i].after_mask;
        if (def->steps[i].pivot) {
            pivots |= bit(i);
        }
    }
    if ((pivots & (pivots - 1)) != 0) {
        return false;
    }
    close_before(def);
    def->retriable_mask = 0;
    uint64_t before_pivot = 0;
    for (uint32_t i = 0; i < def->step_count; i++) {
        if ((def->before_masks[i] & bit(i)) != 0) {
            return false; /* a cycle */
        }
        if ((def->before_masks[i] & pivots) != 0) {
            def->retriable_mask |= bit(i);
        }
        if ((pivots & bit(i)) != 0) {
            before_pivot = def->before_masks[i];
        }
        def->behind_masks[i] = 0;
    }
    if (pivots != 0 && (before_pivot | pivots | def->retriable_mask) != all) {
        return false; /* a step neither before nor behind the pivot could fail after the point of no
                         return */
    }
    for (uint32_t i = 0; i < def->step_count; i++) {
        for (uint32_t j = 0; j < def->step_count; j++) {
            if ((def->before_masks[j] & bit(i)) != 0) {
                def->behind_masks[i] |= bit(j);
            }
        }
    }
    return true;
}
