/* What the tests of the store port share: a world with an open store, rows, and what visitors saw.
 */
#ifndef SAGA_TESTS_UNIT_STORE_PORT_FIXTURE_H
#define SAGA_TESTS_UNIT_STORE_PORT_FIXTURE_H

#include "tests/unit/store/port_suite.h"

/* A world with one open store that holds the lease. */
struct fixture {
    void *world;
    struct saga_store_port port;
    uint64_t epoch;
};

/* The implementation under test. */
extern const struct port_suite_factory *factory;

/* Calls an operation of the fixture's store that must go well. */
#define OK(port_, op_, ...)                                                                        \
    do {                                                                                           \
        struct saga_err_detail detail_ = {.text = ""};                                             \
        ok((port_)->ops->op_((port_)->store, __VA_ARGS__, &detail_), &detail_);                    \
    } while (0)

/* Calls one that must fail so. */
#define FAILS(expected_, port_, op_, ...)                                                          \
    do {                                                                                           \
        struct saga_err_detail detail_ = {.text = ""};                                             \
        enum saga_err err_ = (port_)->ops->op_((port_)->store, __VA_ARGS__, &detail_);             \
        assert_string_equal(saga_err_name(err_), saga_err_name(expected_));                        \
        assert_true(detail_.text[0] != '\0');                                                      \
    } while (0)

/* enum saga_state */
enum { RUNNING = 1, COMPENSATING = 2, COMPLETED = 3, COMPENSATED = 4, PARKED = 5 };

/* A row whose texts live in `space`. */
struct row_space {
    char key[32];
    char record[32];
    char context[32];
};

/* What visitors saw. */
enum { SEEN_MAX = 512 };

struct seen {
    size_t count;
    size_t stop_at; /* 0: never */
    struct saga_id ids[SEEN_MAX];
    int64_t positions[SEEN_MAX];
    uint64_t seqs[SEEN_MAX];
    char texts[SEEN_MAX][32];
    int flags[SEEN_MAX];
};

/* Fails the test with the detail. */
void ok(enum saga_err err, const struct saga_err_detail *detail);
/* Begins and commits; must go well. */
void begin(const struct saga_store_port *port);
void commit(const struct saga_store_port *port);
/* Takes the lease in a transaction of its own. */
uint64_t take_lease(const struct saga_store_port *port);
/* Opens, and opens again after a close. */
void open_store(struct fixture *fx);
void reopen(struct fixture *fx);
/* Of every test. */
int setup(void **state);
int teardown(void **state);
/* Rows: the n-th of each. Ids ascend with n, as those of the product ascend with time. */
struct saga_id id_of(unsigned n);
struct saga_bytes text(const char *bytes);
struct saga_row row_of(unsigned n, struct row_space *space);
void assert_same_row(const struct saga_row *a, const struct saga_row *b);
/* Writes that must go well. insert_row stores the version that the saga begins with too. */
void insert_row(const struct saga_store_port *port, const struct saga_row *row);
void insert(const struct saga_store_port *port, unsigned n);
void end_saga(const struct saga_store_port *port, unsigned n, uint8_t state);
void append_audit(const struct saga_store_port *port, unsigned n, uint64_t seq);
int64_t append_outbox(const struct saga_store_port *port, unsigned n);
/* Visitors; user is a struct seen. */
bool see_row(void *user, const struct saga_row *row);
bool see_audit(void *user, const struct saga_audit_row *row);
bool see_outbox(void *user, const struct saga_outbox_row *row);
bool see_definition(void *user, const uint8_t hash[SAGA_DIGEST_SIZE], const char *name,
                    struct saga_bytes descriptor_set, bool current);

/* The groups of the suite; each returns the number of failed tests. */
int port_saga_tests(void);
int port_commit_tests(void);
int port_journal_tests(void);

#define PORT_CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

#endif
