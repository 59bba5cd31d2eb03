/*
 * fixture.h - reads the records of test/fixture/unit_*.bin: u32 name length, name, u64 count,
 * float32 data
 */
#ifndef TEST_FIXTURE_H
#define TEST_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

typedef struct fixture fixture;

/* Reads a whole file from the folder $GANN_FIXTURES (default test/fixture); null if it isn't there
 * or is cut short. */
fixture *fixture_open(const char *name);

/* Finds a record; fails the test if it is missing or has another count (0: any). */
const float *fixture_get(const fixture *f, const char *name, size_t count);

/* Puts four 16-bit words together. */
uint64_t fixture_word64(const float *words);

void fixture_close(fixture *f);

#endif
