/* SPDX-License-Identifier: MIT */
/* A reader over one reply line. */
#include "at/scan.h"

#include <string.h>

#define NUMBER_MAX 4294967295L

bool at_scan_literal(struct at_scan *s, const char *literal)
{
	size_t n = strlen(literal);

	if (s->pos > s->len || s->len - s->pos < n || memcmp(s->text + s->pos, literal, n) != 0)
		return false;
	s->pos += n;
	return true;
}

bool at_scan_number(struct at_scan *s, long *ret)
{
	size_t pos = s->pos;
	long value = 0;

	while (pos < s->len && s->text[pos] >= '0' && s->text[pos] <= '9') {
		value = value * 10 + (s->text[pos] - '0');
		pos++;
		if (value > NUMBER_MAX || pos - s->pos > 10)
			return false;
	}
	if (pos == s->pos)
		return false;
	s->pos = pos;
	*ret = value;
	return true;
}

bool at_scan_signed(struct at_scan *s, long *ret)
{
	size_t pos = s->pos;
	bool negative = at_scan_char(s, '-');

	if (!at_scan_number(s, ret)) {
		s->pos = pos;
		return false;
	}
	if (negative)
		*ret = -*ret;
	return true;
}

bool at_scan_quoted(struct at_scan *s, size_t *len)
{
	const char *end;

	if (!at_scan_peek(s, '"'))
		return false;
	end = memchr(s->text + s->pos + 1, '"', s->len - s->pos - 1);
	if (!end)
		return false;
	*len = (size_t)(end - (s->text + s->pos + 1));
	s->pos += *len + 2;
	return true;
}

bool at_scan_string(struct at_scan *s, char *buf, size_t size)
{
	size_t pos = s->pos;
	size_t len;

	if (!at_scan_quoted(s, &len))
		return false;
	if (len >= size) {
		s->pos = pos;
		return false;
	}
	memcpy(buf, s->text + pos + 1, len);
	buf[len] = '\0';
	return true;
}
