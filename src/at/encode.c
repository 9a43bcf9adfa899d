/* SPDX-License-Identifier: MIT */
/* Typed command -> the bytes of its line. */
#include "at/encode.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static void line_put(struct at_line *line, const char *data, size_t n)
{
	if (line->error)
		return;
	if (n > AT_LINE_MAX - line->len) {
		line->error = -E2BIG;
		return;
	}
	memcpy(line->text + line->len, data, n);
	line->len += n;
	line->text[line->len] = '\0';
}

static void line_separator(struct at_line *line)
{
	line_put(line, line->args++ ? "," : "=", 1);
}

void at_line_begin(struct at_line *line, const char *name)
{
	line->len = 0;
	line->error = 0;
	line->args = 0;
	line_put(line, name, strlen(name));
}

void at_line_int(struct at_line *line, long value)
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%ld", value);

	line_separator(line);
	line_put(line, digits, (size_t)n);
}

void at_line_word(struct at_line *line, const char *word)
{
	line_separator(line);
	line_put(line, word, strlen(word));
}

void at_line_string(struct at_line *line, const char *value)
{
	line_separator(line);
	line_put(line, "\"", 1);
	for (const char *c = value; *c; c++) {
		if (*c == '\r' || *c == '\n') {
			if (!line->error)
				line->error = -EINVAL;
			return;
		}
		if (*c == ',' || *c == '"' || *c == '\\')
			line_put(line, "\\", 1);
		line_put(line, c, 1);
	}
	line_put(line, "\"", 1);
}

void at_line_empty(struct at_line *line)
{
	line_separator(line);
}

int at_line_end(struct at_line *line)
{
	line_put(line, "\r\n", 2);
	if (line->error)
		at_line_wipe(line);
	return line->error;
}

void at_line_plain(struct at_line *line, const char *name)
{
	int r;

	at_line_begin(line, name);
	r = at_line_end(line);
	assert(r == 0);
	(void)r;
}

void at_line_wipe(struct at_line *line)
{
	explicit_bzero(line->text, sizeof(line->text));
	line->len = 0;
}
