/* SPDX-License-Identifier: MIT */
#include "ctl/json.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>

#include "util/utf8.h"

static void put_string(FILE *f, const char *text)
{
	const unsigned char *c = (const unsigned char *)text;

	putc('"', f);
	while (*c) {
		size_t n = utf8_character((const char *)c, SIZE_MAX, NULL);

		if (*c == '"' || *c == '\\')
			fprintf(f, "\\%c", *c);
		else if (*c == '\n')
			fputs("\\n", f);
		else if (n == 0 || *c < 0x20 || *c == 0x7f)
			fprintf(f, "\\u%04x", *c);
		else
			fwrite(c, 1, n, f);
		c += n ? n : 1;
	}
	putc('"', f);
}

static void begin_value(struct json *j, const char *key)
{
	if (j->more[j->depth])
		putc(',', j->f);
	j->more[j->depth] = true;
	if (key) {
		put_string(j->f, key);
		putc(':', j->f);
	}
}

static void begin(struct json *j, const char *key, bool array)
{
	begin_value(j, key);
	putc(array ? '[' : '{', j->f);
	/* What is too deep is not begun by callers; here it only must not do harm. */
	if (j->depth < JSON_DEPTH_MAX)
		j->depth++;
	j->more[j->depth] = false;
	j->is_array[j->depth] = array;
}

void json_object(struct json *j, const char *key)
{
	begin(j, key, false);
}

void json_array(struct json *j, const char *key)
{
	begin(j, key, true);
}

void json_end(struct json *j)
{
	putc(j->is_array[j->depth] ? ']' : '}', j->f);
	if (j->depth > 0)
		j->depth--;
	if (j->depth == 0) {
		j->more[0] = false;
		putc('\n', j->f);
	}
}

void json_string(struct json *j, const char *key, const char *value)
{
	if (!value) {
		json_null(j, key);
		return;
	}
	begin_value(j, key);
	put_string(j->f, value);
}

void json_int(struct json *j, const char *key, int64_t value)
{
	begin_value(j, key);
	fprintf(j->f, "%" PRId64, value);
}

void json_uint(struct json *j, const char *key, uint64_t value)
{
	begin_value(j, key);
	fprintf(j->f, "%" PRIu64, value);
}

void json_double(struct json *j, const char *key, double value)
{
	if (!isfinite(value)) {
		json_null(j, key);
		return;
	}
	begin_value(j, key);
	fprintf(j->f, "%.17g", value);
}

void json_bool(struct json *j, const char *key, bool value)
{
	begin_value(j, key);
	fputs(value ? "true" : "false", j->f);
}

void json_null(struct json *j, const char *key)
{
	begin_value(j, key);
	fputs("null", j->f);
}
