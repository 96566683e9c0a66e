/* SAGA_ASSERT: on in every build, for bugs of ours; input from outside never reaches one. */
#ifndef SAGA_BASE_ASSERT_H
#define SAGA_BASE_ASSERT_H

/* Prints the place and the condition on stderr and aborts. */
_Noreturn void saga_assert_fail(const char *condition, const char *file, int line);

/* Hears of an assertion that fails, in the place of the print; ends by longjmp. When it returns,
 * the process aborts as ever. */
typedef void saga_assert_told(void *user, const char *condition, const char *file, int line);

/* Sets who hears of those that fail on this thread; NULL: nobody. For tools alone, and only around
 * functions without memory, locks or files of their own (the engine): what is left half-way is
 * lost.
 */
void saga_assert_catch(saga_assert_told *told, void *user);

#define SAGA_ASSERT(condition)                                                                     \
    ((condition) ? (void)0 : saga_assert_fail(#condition, __FILE__, __LINE__))

#endif
