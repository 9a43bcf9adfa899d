/* SPDX-License-Identifier: MIT */
/* A text of the source tree, whole. */
#pragma once

#include "test.h"

#include <stdio.h>

/* The caller frees it. */
static inline char *read_file(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = NULL;
	size_t size = 0;

	assert_non_null(f);
	assert_true(getdelim(&text, &size, '\0', f) > 0);
	fclose(f);
	return text;
}
