/* The groups of tests of the codec. Each returns the number of failed tests. */
#ifndef SAGA_TESTS_UNIT_CODEC_SUITES_H
#define SAGA_TESTS_UNIT_CODEC_SUITES_H

int record_tests(void);
int audit_tests(void);

#endif
