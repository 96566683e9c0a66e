/* The two words of a command that every room knows: what it asks, and its road. */
#ifndef SAGA_BASE_OP_H
#define SAGA_BASE_OP_H

/* saga.v1.Op */
enum saga_op {
    SAGA_OP_NONE = 0, /* an ordinary request */
    SAGA_OP_CALL = 1, /* the forward command of a step */
    SAGA_OP_UNDO = 2, /* its compensation */
};

/* saga.v1.Via */
enum saga_via {
    SAGA_VIA_NNG = 1,
    SAGA_VIA_KAFKA = 2,
    SAGA_VIA_CHILD = 3, /* no message: the step is a saga of its own, in the same store */
};

#endif
