/* SPDX-License-Identifier: MIT */
#include "ctl/text.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

/* Marks and overrides of the writing direction: a name with one could look like another one. */
static int turns_text(wchar_t c)
{
	return c == 0x61c || c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) ||
	       (c >= 0x2066 && c <= 0x2069);
}

/* The length of the character at @text, and its width; -1: it is not to be shown. */
static size_t next_char(const char *text, int *width)
{
	mbstate_t state = { 0 };
	wchar_t c;
	size_t n = mbrtowc(&c, text, strlen(text), &state);

	if (n == 0 || n > MB_LEN_MAX) {
		*width = -1;
		return 1;
	}
	*width = turns_text(c) ? -1 : wcwidth(c);
	return n;
}

char *text_clean(const char *text)
{
	/* No character becomes longer. */
	char *copy = malloc(strlen(text) + 1), *to = copy;
	int width;

	if (!copy)
		return NULL;
	while (*text) {
		size_t n = next_char(text, &width);

		if (width < 0)
			*to++ = '?';
		else
			to = mempcpy(to, text, n);
		text += n;
	}
	*to = '\0';
	return copy;
}

size_t text_width(const char *text)
{
	size_t sum = 0;
	int width;

	while (*text) {
		text += next_char(text, &width);
		sum += width < 0 ? 1 : (size_t)width;
	}
	return sum;
}

void text_date(char *buf, size_t size, int64_t when)
{
	time_t t = (time_t)when;
	struct tm tm;

	if (when == 0 || !gmtime_r(&t, &tm) || strftime(buf, size, "%Y-%m-%d", &tm) == 0)
		buf[0] = '\0';
}

void text_bytes(char *buf, size_t size, uint64_t bytes)
{
	static const char units[] = "kMGTPE";
	double value = (double)bytes;
	int unit = -1;

	while (value >= 999.5 && unit < (int)sizeof(units) - 2) {
		value /= 1000;
		unit++;
	}
	if (unit < 0)
		snprintf(buf, size, "%" PRIu64 " B", bytes);
	else
		snprintf(buf, size, value < 9.95 ? "%.1f %cB" : "%.0f %cB", value, units[unit]);
}
