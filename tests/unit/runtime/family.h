/* An order as sagas in sagas (tests/support/nested/v1/nested.proto), driven through its steps. */
#ifndef SAGA_TESTS_RUNTIME_FAMILY_H
#define SAGA_TESTS_RUNTIME_FAMILY_H

#include "tests/unit/runtime/world.h"

/* Replies. */
extern const struct saga_bytes family_nothing, family_total, family_ticket, family_payment;

/* Steps by index. */
enum { PARENT_ORDER, PARENT_PREPARE, PARENT_SETTLE, PARENT_CONFIRM };
enum { PREPARE_CUSTOMER, PREPARE_GOODS };
enum { GOODS_STOCK, GOODS_TICKET };
enum { SETTLE_PAYMENT, SETTLE_ACCEPT };

/* The sagas of one order. */
struct family {
    struct saga_id order, prepare, goods, settle;
};

/* For cmocka: a world with the nested sagas. */
int family_setup(void **state);
int family_teardown(void **state);

/* Starts a saga with order 5 of customer 7; family_start: an order. */
struct saga_id family_start_named(struct world *world, const char *definition, const char *key);
struct saga_id family_start(struct world *world);

/* Finds the child of a saga's step in the store; family_child: it must be there. */
bool family_find_child(struct world *world, const char *definition, struct saga_id parent,
                       const char *step, struct saga_id *id);
struct saga_id family_child(struct world *world, const char *definition, struct saga_id parent,
                            const char *step);

/* Looks at a saga, which must be there. */
struct saga_look family_look(struct world *world, struct saga_id id);
void family_assert_state(struct world *world, struct saga_id id, enum saga_state state);
void family_assert_step(struct world *world, struct saga_id id, uint8_t step,
                        enum saga_step_state state);

/* Begins a turn with a reply. */
void family_give_reply(struct world *world, const struct saga_runtime_reply *reply);

/* Answers a step's call, or its undo, in a turn of its own. */
void family_answer_call(struct world *world, struct saga_id id, uint8_t step, enum saga_code code,
                        struct saga_bytes payload);
void family_answer_undo(struct world *world, struct saga_id id, uint8_t step);

/* Does an operator's act. */
void family_operate(struct world *world, struct saga_id id, enum saga_act act);

/* Brings an order to where its goods are being held; family_prepare: to where it is being settled.
 */
struct family family_begin(struct world *world);
struct family family_prepare(struct world *world);

/* Undoes what was prepared, to the end. */
void family_undo_prepared(struct world *world, const struct family *family);

#endif
