/* SPDX-License-Identifier: MIT */
/* Writes JSON (RFC 8259), one document a line; commas come by themselves. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Deeper than anything of ours, and than what D-Bus allows in a value that is shown. */
#define JSON_DEPTH_MAX 64

struct json {
	FILE *f;
	unsigned int depth;
	bool more[JSON_DEPTH_MAX + 1]; /* something stands in it already */
	bool is_array[JSON_DEPTH_MAX + 1];
};

#define JSON_TO(file)                                                                              \
	{                                                                                          \
		.f = (file)                                                                        \
	}

/* @key: NULL in an array, and for the document itself. What is begun is ended. */
void json_object(struct json *j, const char *key);
void json_array(struct json *j, const char *key);
/* Ends the innermost of both; the line, if it was the document. */
void json_end(struct json *j);
/* Bytes that are no UTF-8 are shown as if they were Latin-1. NULL: null. */
void json_string(struct json *j, const char *key, const char *value);
void json_int(struct json *j, const char *key, int64_t value);
void json_uint(struct json *j, const char *key, uint64_t value);
void json_double(struct json *j, const char *key, double value);
void json_bool(struct json *j, const char *key, bool value);
void json_null(struct json *j, const char *key);
