/* SPDX-License-Identifier: MIT */
/* ctl/text, ctl/table, ctl/json, ctl/option: what people and programs get to read, and what they type. */
#include "test.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/json.h"
#include "ctl/option.h"
#include "ctl/table.h"
#include "ctl/text.h"

/* ---- text ---- */

static void test_clean(void **state)
{
	static const struct {
		const char *in, *out;
		size_t width;
	} table[] = {
		{ "", "", 0 },
		{ "plain", "plain", 5 },
		{ "a\tb\nc\r", "a?b?c?", 6 },
		{ "\x1b[31mred\x1b]0;title\a", "?[31mred?]0;title?", 18 },
		{ "caf\xc3\xa9", "caf\xc3\xa9", 4 },
		/* two wide characters */
		{ "\xe7\xbd\x91\xe7\xbb\x9c", "\xe7\xbd\x91\xe7\xbb\x9c", 4 },
		/* one that combines */
		{ "e\xcc\x81", "e\xcc\x81", 1 },
		/* C1: CSI in one character; DEL */
		{ "\xc2\x9b"
		  "31m\x7f",
		  "?31m?", 5 },
		/* no UTF-8: a lone byte, a cut character, an overlong slash, a surrogate */
		{ "\xff\xc3", "??", 2 },
		{ "\xc0\xaf", "??", 2 },
		{ "\xed\xa0\x80", "???", 3 },
		/* right to left from here on */
		{ "a\xe2\x80\xae"
		  "b",
		  "a?b", 3 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		char *clean = text_clean(table[i].in);

		assert_string_equal(clean, table[i].out);
		assert_int_equal(text_width(clean), table[i].width);
		free(clean);
	}
}

static void test_numbers(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} table[] = { { 0, "0 B" },           { 999, "999 B" },     { 1000, "1.0 kB" },
		      { 112000, "112 kB" },   { 9949, "9.9 kB" },   { 9950, "10 kB" },
		      { 999499, "999 kB" },   { 999500, "1.0 MB" }, { 1234567, "1.2 MB" },
		      { UINT64_MAX, "18 EB" } };
	char buf[32];

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		text_bytes(buf, sizeof(buf), table[i].bytes);
		assert_string_equal(buf, table[i].text);
	}
	text_date(buf, sizeof(buf), 0);
	assert_string_equal(buf, "");
	text_date(buf, sizeof(buf), 1700000000);
	assert_string_equal(buf, "2023-11-14");
	text_date(buf, sizeof(buf), INT64_MAX);
	assert_string_equal(buf, "");
}

/* ---- table ---- */

static char *print(const struct table *table, bool color)
{
	char *text;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	assert_int_equal(table_print(table, f, color), 0);
	fclose(f);
	return text;
}

static void test_table(void **state)
{
	static const char *const titles[] = { "NAME", ">N", "END" };
	struct table *table;
	char *text;

	assert_int_equal(table_new(&table, titles, ARRAY_SIZE(titles)), 0);
	assert_true(table_empty(table));
	table_cell(table, TABLE_PLAIN, "caf\xc3\xa9");
	table_cell(table, TABLE_PLAIN, "%d", 7);
	table_cell(table, TABLE_GOOD, "x\x1b");
	table_note(table, TABLE_DIM, "what is very long does not widen\na column");
	table_cell(table, TABLE_PLAIN, "\xe7\xbd\x91\xe7\xbb\x9c");
	table_cell(table, TABLE_PLAIN, "%d", 1234);
	table_cell(table, TABLE_PLAIN, "%s", "");
	assert_false(table_empty(table));
	text = print(table, false);
	assert_string_equal(text, "NAME     N  END\n"
				  "caf\xc3\xa9     7  x?\n"
				  "  what is very long does not widen?a column\n"
				  "\xe7\xbd\x91\xe7\xbb\x9c  1234  -\n");
	free(text);
	text = print(table, true);
	assert_non_null(strstr(text, "  \x1b[32mx?\x1b[0m\n"));
	assert_non_null(strstr(text, "\x1b[1mNAME\x1b[0m  "));
	free(text);
	table_free(table);
}

/* ---- JSON ---- */

static void test_json(void **state)
{
	char *text;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	struct json j = JSON_TO(f);

	json_object(&j, NULL);
	json_string(&j, "s", "a\"b\\c\n\t\x1b\x7f/");
	json_string(&j, "utf8", "caf\xc3\xa9 \xf0\x9f\x98\x80");
	/* a lone byte, an overlong form, a surrogate, above the last one, one that is cut off */
	json_string(&j, "bad", "\xff \xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82");
	json_string(&j, "none", NULL);
	json_array(&j, "list");
	json_int(&j, NULL, INT64_MIN);
	json_uint(&j, NULL, UINT64_MAX);
	json_object(&j, NULL);
	json_end(&j);
	json_array(&j, NULL);
	json_end(&j);
	json_end(&j);
	json_bool(&j, "yes", true);
	json_double(&j, "half", 0.5);
	json_double(&j, "nan", __builtin_nan(""));
	json_end(&j);
	json_array(&j, NULL);
	json_end(&j);
	fclose(f);
	assert_string_equal(
		text, "{\"s\":\"a\\\"b\\\\c\\n\\u0009\\u001b\\u007f/\","
		      "\"utf8\":\"caf\xc3\xa9 \xf0\x9f\x98\x80\","
		      "\"bad\":\"\\u00ff \\u00c0\\u00af \\u00ed\\u00a0\\u0080 "
		      "\\u00f4\\u0090\\u0080\\u0080 \\u00e2\\u0082\","
		      "\"none\":null,\"list\":[-9223372036854775808,18446744073709551615,{},[]],"
		      "\"yes\":true,\"half\":0.5,\"nan\":null}\n"
		      "[]\n");
	free(text);
}

/* ---- KEY=VALUE ---- */

static void test_options(void **state)
{
	static const struct {
		const char *text;
		enum option_type type;
		int64_t number;
		const char *first;
		size_t n;
	} table[] = {
		{ "host=broker.example", OPTION_STRING, 0, "broker.example", 1 },
		{ "port=8883", OPTION_INT, 8883, NULL, 0 },
		{ "keep_alive=-1", OPTION_INT, -1, NULL, 0 },
		{ "x=0xC02B", OPTION_INT, 0xc02b, NULL, 0 },
		{ "insecure=true", OPTION_BOOL, 1, NULL, 0 },
		{ "diagnose=false", OPTION_BOOL, 0, NULL, 0 },
		{ "alpn=h2", OPTION_STRINGS, 0, "h2", 1 },
		{ "alpn=h2,http/1.1", OPTION_STRINGS, 0, "h2", 2 },
		{ "alpn=", OPTION_STRINGS, 0, NULL, 0 },
		{ "x=a,b,c", OPTION_STRINGS, 0, "a", 3 },
		/* names that look like something else */
		{ "authority=2026", OPTION_STRING, 0, "2026", 1 },
		{ "identity=true", OPTION_STRING, 0, "true", 1 },
		{ "mode=0660", OPTION_STRING, 0, "0660", 1 },
		{ "host=10", OPTION_STRING, 0, "10", 1 },
		{ "x=0660", OPTION_STRING, 0, "0660", 1 },
		{ "x=12a", OPTION_STRING, 0, "12a", 1 },
		{ "x=", OPTION_STRING, 0, "", 1 },
		{ "x=a=b", OPTION_STRING, 0, "a=b", 1 },
		{ "x=99999999999999999999", OPTION_STRING, 0, "99999999999999999999", 1 },
	};
	char why[128];

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct ctl_option_list list = { 0 };
		const struct ctl_option_value *o = &list.items[0];

		assert_int_equal(option_add(&list, table[i].text, why, sizeof(why)), 0);
		assert_int_equal(list.n, 1);
		assert_int_equal(strncmp(table[i].text, o->key, strlen(o->key)), 0);
		assert_int_equal(o->type, table[i].type);
		assert_int_equal(o->number, table[i].number);
		assert_int_equal(o->n, table[i].n);
		if (table[i].first)
			assert_string_equal(o->strings[0], table[i].first);
		option_list_clear(&list);
	}
}

static void test_option_lists(void **state)
{
	struct ctl_option_list list = { 0 };
	uint32_t numbers[OPTION_ITEMS_MAX];
	char why[128];

	assert_int_equal(option_add(&list, "alpn=1", why, sizeof(why)), 0);
	assert_int_equal(option_add(&list, "allow_uids=1000,0x10", why, sizeof(why)), 0);
	assert_int_equal(option_add(&list, "alpn=2", why, sizeof(why)), 0);
	assert_int_equal(option_add(&list, "acl_users=1000,web", why, sizeof(why)), 0);
	assert_int_equal(option_add(&list, "allow_gids=4294967296", why, sizeof(why)), 0);
	assert_int_equal(list.n, 4);
	assert_int_equal(list.items[0].n, 2);
	assert_string_equal(list.items[0].strings[1], "2");
	assert_false(option_is_numbers(&list.items[0], numbers));
	assert_true(option_is_numbers(&list.items[1], numbers));
	assert_int_equal(numbers[0], 1000);
	assert_int_equal(numbers[1], 16);
	assert_false(option_is_numbers(&list.items[2], numbers));
	assert_false(option_is_numbers(&list.items[3], numbers));
	option_list_clear(&list);
}

static void test_bad_options(void **state)
{
	static const struct {
		const char *text, *why;
	} table[] = {
		{ "port", "KEY=VALUE" },
		{ "=x", "KEY=VALUE" },
		{ "name=x", "before the keys" },
		{ "persist=true", "--persist" },
		{ "psk=x", "pre-shared" },
		{ "psk.file=x", "pre-shared" },
		{ "host=twice", "host stands there twice" },
	};
	struct ctl_option_list list = { 0 };
	char why[128], key[32];

	assert_int_equal(option_add(&list, "host=once", why, sizeof(why)), 0);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		assert_int_equal(option_add(&list, table[i].text, why, sizeof(why)), -EINVAL);
		assert_non_null(strstr(why, table[i].why));
	}
	for (int i = 1; i < OPTIONS_MAX; i++) {
		snprintf(key, sizeof(key), "k%d=1", i);
		assert_int_equal(option_add(&list, key, why, sizeof(why)), 0);
	}
	assert_int_equal(option_add(&list, "one=more", why, sizeof(why)), -EINVAL);
	option_list_clear(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clean),       cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_table),       cmocka_unit_test(test_json),
		cmocka_unit_test(test_options),     cmocka_unit_test(test_option_lists),
		cmocka_unit_test(test_bad_options),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
