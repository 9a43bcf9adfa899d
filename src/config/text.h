/* SPDX-License-Identifier: MIT */
/*
 * Builds a piece of configuration in the file's own language from values: every string is quoted so that
 * it is read back as it is, whatever is in it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct config_writer;

/* A group of one list: `tunnels = ( { ... } );`. Returns 0 or -ENOMEM. */
int config_writer_new(struct config_writer **ret, const char *list);
struct config_writer *config_writer_free(struct config_writer *w);
/*
 * All: a @key that is no key ([A-Za-z*][A-Za-z0-9_-]*) or a second one of the same name, and a string with
 * NUL (impossible here) or bytes that libconfig cannot carry, make config_writer_finish() return -EINVAL.
 */
void config_write_string(struct config_writer *w, const char *key, const char *value);
void config_write_int(struct config_writer *w, const char *key, long long value);
void config_write_bool(struct config_writer *w, const char *key, bool value);
void config_write_strings(struct config_writer *w, const char *key, const char *const *values,
			  size_t n);
void config_write_ints(struct config_writer *w, const char *key, const long long *values, size_t n);
/* A group in it, until config_write_end(). */
void config_write_begin(struct config_writer *w, const char *key);
void config_write_end(struct config_writer *w);
/* Returns 0 and the text, for free(), or -EINVAL, -ENOMEM. */
int config_writer_finish(struct config_writer *w, char **ret);
