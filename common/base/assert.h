/* SAGA_ASSERT: on in every build, for bugs of ours; input from outside never reaches one. */
#ifndef SAGA_BASE_ASSERT_H
#define SAGA_BASE_ASSERT_H

/* Prints the place and the condition on stderr and aborts. */
_Noreturn void saga_assert_fail(const char *condition, const char *file, int line);

#define SAGA_ASSERT(condition)                                                                     \
    ((condition) ? (void)0 : saga_assert_fail(#condition, __FILE__, __LINE__))

#endif
