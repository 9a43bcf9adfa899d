/* SPDX-License-Identifier: MIT */
/* Searching the memory of this process for parts of a secret. */
#pragma once

#include "test.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#define WINDOW 8 /* bytes of a key that must not be found */

struct own_memory {
	const void *own; /* what is in the same mapping is not searched */
	uint8_t *chunk;  /* a buffer, in there */
	size_t size;
	/* How many parts of the secret are in these bytes, which overlap by WINDOW. */
	size_t (*count)(const void *secret, const uint8_t *data, size_t len);
};

static inline size_t own_memory_count_at(const struct own_memory *m, int mem, unsigned long at,
					 size_t len)
{
	ssize_t n = pread(mem, m->chunk, len < m->size ? len : m->size, (off_t)at);

	return n > 0 ? m->count(m->own, m->chunk, (size_t)n) : 0;
}

/* In all that is writable. */
static inline size_t own_memory_count(const struct own_memory *m)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	static char line[512];
	size_t found = 0;

	assert_non_null(maps);
	assert_true(mem >= 0);
	while (fgets(line, sizeof(line), maps)) {
		unsigned long from, to, own = (unsigned long)m->own;
		char mode[8];

		if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) != 3 || mode[1] != 'w' ||
		    (own >= from && own < to) || to - from > 64ul << 20)
			continue; /* the sanitizers' shadow is huge */
		for (unsigned long at = from; at < to; at += m->size - WINDOW)
			found += own_memory_count_at(m, mem, at, to - at);
	}
	close(mem);
	fclose(maps);
	return found;
}
