/* SPDX-License-Identifier: MIT */
/* A reader over one reply line: numbers, quoted strings, separators; nothing is skipped silently. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct at_scan {
	const char *text;
	size_t len;
	size_t pos;
};

static inline struct at_scan at_scan_at(const char *text, size_t len, size_t pos)
{
	return (struct at_scan){ .text = text, .len = len, .pos = pos };
}

static inline bool at_scan_end(const struct at_scan *s)
{
	return s->pos >= s->len;
}

static inline bool at_scan_peek(const struct at_scan *s, char c)
{
	return s->pos < s->len && s->text[s->pos] == c;
}

static inline bool at_scan_char(struct at_scan *s, char c)
{
	if (!at_scan_peek(s, c))
		return false;
	s->pos++;
	return true;
}

/* If the text goes on with @literal. */
bool at_scan_literal(struct at_scan *s, const char *literal);
/* A decimal number of 1 to 10 digits without sign, at most 4294967295. */
bool at_scan_number(struct at_scan *s, long *ret);
/* As above, or with a minus sign. */
bool at_scan_signed(struct at_scan *s, long *ret);
/* A string in double quotes; *len is that of what is between them, which ends at pos - 1. */
bool at_scan_quoted(struct at_scan *s, size_t *len);
/* As above, copied with NUL into @buf; false if it does not fit. */
bool at_scan_string(struct at_scan *s, char *buf, size_t size);
