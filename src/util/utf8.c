/* SPDX-License-Identifier: MIT */
#include "util/utf8.h"

#include <string.h>

/* By the first byte alone. */
static size_t length_of(unsigned char c)
{
	if (c < 0x80)
		return 1;
	if (c < 0xc2 || c > 0xf4)
		return 0;
	return c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

size_t utf8_character(const char *text, size_t len, uint32_t *ret)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t n = len > 0 ? length_of(p[0]) : 0;
	uint32_t c;

	if (n == 0 || n > len)
		return 0;
	c = n == 1 ? p[0] : p[0] & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if ((n == 3 && c < 0x800) || (n == 4 && c < 0x10000) || c > 0x10ffff ||
	    (c >= 0xd800 && c <= 0xdfff))
		return 0;
	if (ret)
		*ret = c;
	return n;
}

bool utf8_is_valid(const char *text)
{
	while (*text) {
		size_t n = utf8_character(text, SIZE_MAX, NULL);

		if (n == 0)
			return false;
		text += n;
	}
	return true;
}

/*
 * U+0080 to U+009F are control characters, too: a terminal takes U+009B for ESC [. One that knows no UTF-8 does
 * that with the byte 9b, so what is no character goes as well.
 */
void utf8_clean(char *text)
{
	while (*text) {
		uint32_t c = 0;
		size_t n = utf8_character(text, SIZE_MAX, &c);

		if (n == 0 || c < 0x20 || (c >= 0x7f && c < 0xa0))
			memset(text, '?', n > 0 ? n : 1);
		text += n > 0 ? n : 1;
	}
}

void utf8_trim(char *text)
{
	size_t len = strlen(text), back = 0;

	while (back < len && back < 3 && (text[len - 1 - back] & 0xc0) == 0x80)
		back++;
	if (back < len && length_of((unsigned char)text[len - 1 - back]) > back + 1)
		text[len - 1 - back] = '\0';
}
