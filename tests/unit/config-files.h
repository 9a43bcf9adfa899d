/* SPDX-License-Identifier: MIT */
/* Files of a test's own folder, most of them configuration, and what is said of them. */
#pragma once

#include "temp-dir.h"

#include "util/problems.h"

/* libconfig 1.5 forgets the string that it was reading when a syntax error comes. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig";
}

static inline void put_bytes(const char *name, const void *data, size_t len)
{
	FILE *f = fopen(path_of(name), "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static inline void put(const char *name, const char *text)
{
	put_bytes(name, text, strlen(text));
}

/* All complaints, a line each, without the folder. */
static inline char *joined(const struct problems *problems)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	assert_non_null(f);
	for (size_t i = 0; i < problems->count; i++) {
		const char *p = problems->items[i].text, *hit;

		while ((hit = strstr(p, dir))) {
			fwrite(p, 1, (size_t)(hit - p), f);
			p = hit + strlen(dir) + 1;
		}
		fprintf(f, "%s\n", p);
	}
	fclose(f);
	return text;
}
