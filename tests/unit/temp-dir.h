/* SPDX-License-Identifier: MIT */
/* A folder of the test's own, in memory if possible: some tests sync thousands of times. */
#pragma once

#include "test.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64];

/* A name in it; four at a time. */
static inline char *path_of(const char *name)
{
	static char paths[4][512];
	static int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

/* Nothing is in it any more. */
static inline void clean(void)
{
	char command[200];

	snprintf(command, sizeof(command), "rm -rf %s && mkdir -m 0755 %s", dir, dir);
	assert_int_equal(system(command), 0);
}

static inline void make_file(const char *path)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fclose(f);
}

/* How many entries it has. */
static inline size_t count_files(void)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static inline int make_temp_dir(void **state)
{
	strcpy(dir, "/dev/shm/espatd-test.XXXXXX");
	if (mkdtemp(dir))
		return 0;
	strcpy(dir, "/tmp/espatd-test.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static inline int remove_temp_dir(void **state)
{
	clean();
	return rmdir(dir);
}
