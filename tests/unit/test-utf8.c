/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "util/utf8.h"

static const struct {
	const char *text;
	size_t n;
	uint32_t c;
} characters[] = {
	{ "A", 1, 'A' },
	{ "\x7f", 1, 0x7f },
	{ "\xc2\x80", 2, 0x80 },
	{ "\xdf\xbf", 2, 0x7ff },
	{ "\xe0\xa0\x80", 3, 0x800 },
	{ "\xed\x9f\xbf", 3, 0xd7ff },
	{ "\xee\x80\x80", 3, 0xe000 },
	{ "\xef\xbf\xbf", 3, 0xffff },
	{ "\xf0\x90\x80\x80", 4, 0x10000 },
	{ "\xf4\x8f\xbf\xbf", 4, 0x10ffff },
	/* a byte that none begins with */
	{ "\x80", 0, 0 },
	{ "\xbf", 0, 0 },
	{ "\xf5\x80\x80\x80", 0, 0 },
	{ "\xff", 0, 0 },
	/* overlong */
	{ "\xc0\x80", 0, 0 },
	{ "\xc1\xbf", 0, 0 },
	{ "\xe0\x9f\xbf", 0, 0 },
	{ "\xf0\x8f\xbf\xbf", 0, 0 },
	/* surrogates, and what is above */
	{ "\xed\xa0\x80", 0, 0 },
	{ "\xed\xbf\xbf", 0, 0 },
	{ "\xf4\x90\x80\x80", 0, 0 },
	/* cut off */
	{ "\xc3", 0, 0 },
	{ "\xe2\x82", 0, 0 },
	{ "\xf0\x9f\x98", 0, 0 },
	{ "\xe2\x82"
	  "A",
	  0, 0 },
};

static void test_character(void **state)
{
	for (size_t i = 0; i < sizeof(characters) / sizeof(*characters); i++) {
		uint32_t c = 0;

		assert_int_equal(utf8_character(characters[i].text, SIZE_MAX, &c), characters[i].n);
		assert_int_equal(c, characters[i].c);
		assert_int_equal(utf8_is_valid(characters[i].text), characters[i].n > 0);
	}
}

/* What is behind the end is not read: it stands there by chance. */
static void test_end(void **state)
{
	assert_int_equal(utf8_character("A", 0, NULL), 0);
	for (size_t len = 0; len < 4; len++)
		assert_int_equal(utf8_character("\xf0\x9f\x98\x80", len, NULL), 0);
	assert_int_equal(utf8_character("\xf0\x9f\x98\x80", 4, NULL), 4);
	assert_int_equal(utf8_character("", 1, NULL), 1);
}

static void test_strings(void **state)
{
	assert_true(utf8_is_valid(""));
	assert_true(utf8_is_valid("Caf\xc3\xa9 \xe2\x82\xac"));
	assert_false(utf8_is_valid("Caf\xe9"));
	assert_false(utf8_is_valid("Caf\xc3"));
}

static void test_clean(void **state)
{
	char text[] = "a\nb\tc\x1b[1m\x7f \xc2\x9b \xc2\xa0 \x9b \xc3\xa9 \xc3";

	utf8_clean(text);
	assert_string_equal(text, "a?b?c?[1m? ?? \xc2\xa0 ? \xc3\xa9 ?");
}

static void test_trim(void **state)
{
	static const struct {
		const char *text;
		size_t len;
	} rows[] = {
		{ "", 0 },
		{ "a", 1 },
		{ "a\xc3\xa9", 3 },
		{ "a\xc3", 1 },
		{ "\xe2\x82\xac", 3 },
		{ "\xe2\x82", 0 },
		{ "ab\xe2", 2 },
		{ "\xf0\x9f\x98\x80", 4 },
		{ "x\xf0\x9f\x98", 1 },
		{ "x\xf0\x9f", 1 },
		{ "x\xf0", 1 },
		/* never was one */
		{ "\x80\x80\x80\x80\x80", 5 },
		{ "a\xff", 2 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char text[16];

		strcpy(text, rows[i].text);
		utf8_trim(text);
		assert_int_equal(strlen(text), rows[i].len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_character), cmocka_unit_test(test_end),
		cmocka_unit_test(test_strings),   cmocka_unit_test(test_clean),
		cmocka_unit_test(test_trim),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
