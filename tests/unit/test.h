/* SPDX-License-Identifier: MIT */
/* What every unit test includes first: cmocka with what it needs, and a seeded random source. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(*(a)))

/* xorshift64*: the same numbers in each run, so that a failure can be repeated. */
static inline uint64_t test_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 2685821657736338717ull;
}

/* 0..limit-1 */
static inline size_t test_random_below(uint64_t *state, size_t limit)
{
	return (size_t)((test_random(state) >> 16) % limit);
}
