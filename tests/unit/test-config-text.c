/* SPDX-License-Identifier: MIT */
/* config/text: what is written is read back as it was, or is refused. */
#include "test.h"

#include <errno.h>
#include <libconfig.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "config/text.h"
#include "temp-dir.h"

/* libconfig's own reading of @text, whose list is `x`; its first group. */
static config_setting_t *parse(config_t *tree, const char *text)
{
	config_setting_t *list;

	config_init(tree);
	if (!config_read_string(tree, text))
		fail_msg("line %d: %s: %.2000s", config_error_line(tree), config_error_text(tree),
			 text);
	list = config_lookup(tree, "x");
	assert_non_null(list);
	assert_int_equal(config_setting_type(list), CONFIG_TYPE_LIST);
	assert_int_equal(config_setting_length(list), 1);
	return config_setting_get_elem(list, 0);
}

/* That config_load_with() takes the text for whole; libconfig alone would let more pass. */
static void assert_taken(const char *text)
{
	const struct config_text texts[] = {
		{ "main", "devices = ( { name = \"a\"; port = \"/dev/a\"; } );" },
		{ "text", text },
	};
	struct problems problems = PROBLEMS_NULL;
	struct config *config = NULL;

	config_load_with(&config, path_of("empty"), texts, ARRAY_SIZE(texts), &problems);
	/* The list has no meaning, and nothing else may be wrong. */
	assert_int_equal(problems.count, 1);
	if (!strstr(problems.items[0].text, "text:1: unknown key `x` in the file"))
		fail_msg("%s: %.2000s", problems.items[0].text, text);
	assert_null(config);
	problems_clear(&problems);
}

static void test_all(void **state)
{
	static const long long numbers[] = { 1, -5, 2147483648LL }, small[] = { 0, -2147483647 };
	static const char *const strings[] = { "a\"b", "", "c" };
	struct config_writer *w;
	config_t tree;
	char *text;

	assert_int_equal(config_writer_new(&w, "x"), 0);
	config_write_string(w, "name", "a\tb");
	config_write_int(w, "port", 443);
	config_write_int(w, "big", LLONG_MIN);
	config_write_bool(w, "yes", true);
	config_write_begin(w, "psk");
	config_write_string(w, "name", "inner");
	config_write_begin(w, "deep");
	config_write_end(w);
	config_write_bool(w, "no", false);
	config_write_end(w);
	config_write_begin(w, "other");
	config_write_string(w, "name", "other's");
	config_write_end(w);
	config_write_strings(w, "alpn", strings, ARRAY_SIZE(strings));
	config_write_strings(w, "none", NULL, 0);
	config_write_ints(w, "ids", numbers, ARRAY_SIZE(numbers));
	config_write_ints(w, "small", small, ARRAY_SIZE(small));
	config_write_ints(w, "empty", NULL, 0);
	assert_int_equal(config_writer_finish(w, &text), 0);
	config_writer_free(w);
	assert_string_equal(text, "x = (\n"
				  "\t{\n"
				  "\t\tname = \"a\\tb\";\n"
				  "\t\tport = 443;\n"
				  "\t\tbig = -9223372036854775808L;\n"
				  "\t\tyes = true;\n"
				  "\t\tpsk = {\n"
				  "\t\t\tname = \"inner\";\n"
				  "\t\t\tdeep = {\n"
				  "\t\t\t};\n"
				  "\t\t\tno = false;\n"
				  "\t\t};\n"
				  "\t\tother = {\n"
				  "\t\t\tname = \"other's\";\n"
				  "\t\t};\n"
				  "\t\talpn = [ \"a\\\"b\", \"\", \"c\" ];\n"
				  "\t\tnone = [ ];\n"
				  "\t\tids = [ 1L, -5L, 2147483648L ];\n"
				  "\t\tsmall = [ 0, -2147483647 ];\n"
				  "\t\tempty = [ ];\n"
				  "\t}\n"
				  ");\n");
	parse(&tree, text);
	config_destroy(&tree);
	assert_taken(text);
	free(text);
}

/* A whole tunnel, as it comes in service. */
static void test_tunnel(void **state)
{
	static const long long uids[] = { 4294967294LL, 7 };
	static const char *const groups[] = { "root", "12" };
	struct config_text text = { .name = "tunnel t" };
	struct problems problems = PROBLEMS_NULL;
	struct config *config = NULL;
	struct config_writer *w;
	FILE *f = fopen(path_of("a.conf"), "w");
	char *made;

	assert_non_null(f);
	fprintf(f, "devices = ( { name = \"a\"; port = \"/dev/a\"; } );");
	assert_int_equal(fclose(f), 0);
	assert_int_equal(config_writer_new(&w, "tunnels"), 0);
	config_write_string(w, "name", "t");
	config_write_string(w, "host", "h.example");
	config_write_int(w, "port", 8883);
	config_write_bool(w, "insecure", true);
	config_write_string(w, "mode", "0600");
	config_write_ints(w, "allow_uids", uids, ARRAY_SIZE(uids));
	config_write_strings(w, "acl_groups", groups, ARRAY_SIZE(groups));
	assert_int_equal(config_writer_finish(w, &made), 0);
	config_writer_free(w);
	text.text = made;
	assert_int_equal(config_load_with(&config, path_of("a.conf"), &text, 1, &problems), 0);
	assert_int_equal(config->n_tunnels, 1);
	assert_string_equal(config->tunnels[0].host, "h.example");
	assert_int_equal(config->tunnels[0].port, 8883);
	assert_int_equal(config->tunnels[0].mode, 0600);
	assert_int_equal(config->tunnels[0].allow_uids.n, 2);
	assert_int_equal(config->tunnels[0].allow_uids.items[1], 4294967294u);
	assert_int_equal(config->tunnels[0].acl_groups.items[1], 12);
	config_free(config);
	free(made);
}

/* ---- strings ---- */

static void check_string(const char *value)
{
	const char *const values[] = { value, "", value };
	struct config_writer *w;
	config_setting_t *group, *array;
	config_t tree;
	char *text;

	assert_int_equal(config_writer_new(&w, "x"), 0);
	config_write_string(w, "s", value);
	config_write_strings(w, "a", values, ARRAY_SIZE(values));
	config_write_int(w, "end", 7);
	assert_int_equal(config_writer_finish(w, &text), 0);
	config_writer_free(w);
	/* One line each: nothing in a string is where an @include would be looked for. */
	for (const char *c = text; *c; c++)
		assert_true(((unsigned char)*c >= 0x20 && *c != 0x7f) || *c == '\n' || *c == '\t');
	group = parse(&tree, text);
	assert_int_equal(config_setting_length(group), 3);
	assert_string_equal(config_setting_get_string(config_setting_get_member(group, "s")),
			    value);
	array = config_setting_get_member(group, "a");
	assert_int_equal(config_setting_length(array), 3);
	for (unsigned int i = 0; i < ARRAY_SIZE(values); i++)
		assert_string_equal(config_setting_get_string(config_setting_get_elem(array, i)),
				    values[i]);
	assert_int_equal(config_setting_get_int(config_setting_get_member(group, "end")), 7);
	config_destroy(&tree);
	assert_taken(text);
	free(text);
}

static void test_strings(void **state)
{
	static const char *const values[] = {
		"",
		"a",
		"\"",
		"\\",
		"\\\"",
		"\\\\\"; } ); tunnels = ( {",
		"\\x00",
		"\\X00",
		"\\\\x00",
		"\\x41",
		"\\n",
		"\n",
		"\r\n",
		"\n@include \"/etc/passwd\"\n",
		"@include \"a.conf\"",
		"\n  @include \"a.conf\"",
		"/* no end",
		"*/",
		"// no comment",
		"# no comment",
		"\a\b\t\v\f\x1b\x7f",
		"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80",
		"\xff\xfe\x80",
		"a\" \"b",
		"4294967296",
		"$(x) %s %n ${y}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		check_string(values[i]);
	/* Each byte, alone and before what could belong to it. */
	for (int c = 1; c < 256; c++) {
		char text[] = { (char)c, '0', '0', (char)c, 'x', '0', '0', (char)c, '\0' };

		check_string(text);
	}
}

static void test_random_strings(void **state)
{
	static const char alphabet[] = "\"\\\n\r\tx0a@#/* \x01\x7f\x80\xff;{}()=";
	uint64_t seed = 20261127;

	for (int round = 0; round < 3000; round++) {
		size_t len = test_random_below(&seed, round % 100 == 0 ? 3000 : 40);
		bool any = test_random_below(&seed, 2);
		char value[3001];

		for (size_t i = 0; i < len; i++)
			value[i] = any ? (char)(1 + test_random_below(&seed, 255))
				       : alphabet[test_random_below(&seed, sizeof(alphabet) - 1)];
		value[len] = '\0';
		check_string(value);
	}
}

/* As long as a text can be, and longer. */
static void test_long(void **state)
{
	const size_t room = 1024 * 1024 - strlen("x = (\n\t{\n\t\ts = \"\";\n\t}\n);\n");

	for (int more = 0; more <= 1; more++) {
		char *value = malloc(room + 2), *text = NULL;
		struct config_writer *w;
		config_t tree;

		memset(value, 'y', room + 1);
		value[room + (size_t)more] = '\0';
		assert_int_equal(config_writer_new(&w, "x"), 0);
		config_write_string(w, "s", value);
		assert_int_equal(config_writer_finish(w, &text), more ? -EINVAL : 0);
		config_writer_free(w);
		if (!more) {
			config_setting_t *s = config_setting_get_member(parse(&tree, text), "s");

			assert_string_equal(config_setting_get_string(s), value);
			config_destroy(&tree);
			assert_taken(text);
		}
		free(text);
		free(value);
	}
}

static void test_numbers(void **state)
{
	static const long long values[] = {
		0,
		1,
		-1,
		INT_MAX,
		INT_MIN,
		INT_MAX + 1LL,
		INT_MIN + 1LL,
		INT_MIN - 1LL,
		UINT_MAX,
		UINT_MAX + 1LL,
		LLONG_MAX,
		LLONG_MIN,
	};

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		const long long pair[] = { values[i], 3 };
		struct config_writer *w;
		config_setting_t *group, *array;
		config_t tree;
		char *text;

		assert_int_equal(config_writer_new(&w, "x"), 0);
		config_write_int(w, "n", values[i]);
		config_write_ints(w, "a", pair, 2);
		assert_int_equal(config_writer_finish(w, &text), 0);
		config_writer_free(w);
		group = parse(&tree, text);
		assert_true(config_setting_get_int64(config_setting_get_member(group, "n")) ==
			    values[i]);
		array = config_setting_get_member(group, "a");
		assert_true(config_setting_get_int64(config_setting_get_elem(array, 0)) ==
			    values[i]);
		assert_true(config_setting_get_int64(config_setting_get_elem(array, 1)) == 3);
		config_destroy(&tree);
		assert_taken(text);
		free(text);
	}
}

/* ---- what is refused ---- */

static void test_keys(void **state)
{
	static const struct {
		const char *key;
		bool good;
	} keys[] = {
		{ "a", true },     { "A_b-9", true },  { "*", true },
		{ "a*", true },    { "truex", true },  { "include", true },
		{ "", false },     { "9a", false },    { "_a", false },
		{ "-a", false },   { "a b", false },   { "a=1; b", false },
		{ "a\n", false },  { "a.b", false },   { "\xc3\xa4", false },
		{ "true", false }, { "False", false }, { "@include", false },
		{ NULL, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		struct config_writer *w;
		char *text = NULL;

		assert_int_equal(config_writer_new(&w, "x"), 0);
		config_write_int(w, keys[i].key, 1);
		if (config_writer_finish(w, &text) != (keys[i].good ? 0 : -EINVAL))
			fail_msg("\"%s\"", keys[i].key ? keys[i].key : "(null)");
		assert_int_equal(text != NULL, keys[i].good);
		if (text)
			assert_taken(text);
		free(text);
		config_writer_free(w);
	}
}

enum deed {
	END = 0,
	KEY,
	BEGIN,
	CLOSE,
	NO_STRING,
	NO_ITEM,
};

/* What makes no text, however good the rest is. */
static void test_refused(void **state)
{
	static const struct {
		enum deed deeds[12];
		int r;
	} rows[] = {
		{ { KEY }, 0 },
		{ { KEY, KEY }, -EINVAL },
		{ { KEY, BEGIN, KEY, CLOSE }, 0 },
		{ { KEY, BEGIN, KEY, KEY, CLOSE }, -EINVAL },
		{ { BEGIN, CLOSE, BEGIN, CLOSE }, -EINVAL },
		{ { BEGIN, CLOSE, KEY, KEY }, -EINVAL },
		{ { BEGIN }, -EINVAL },
		{ { CLOSE }, -EINVAL },
		{ { CLOSE, BEGIN }, -EINVAL },
		{ { BEGIN, CLOSE, CLOSE }, -EINVAL },
		{ { NO_STRING, KEY }, -EINVAL },
		{ { NO_ITEM, KEY }, -EINVAL },
		{ { BEGIN, BEGIN, BEGIN, BEGIN, BEGIN, BEGIN, BEGIN, BEGIN }, -EINVAL },
	};
	static const char *const items[] = { "a", NULL };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct config_writer *w;
		char *text = NULL;

		assert_int_equal(config_writer_new(&w, "x"), 0);
		for (size_t k = 0; rows[i].deeds[k] != END; k++)
			switch (rows[i].deeds[k]) {
			case KEY:
				config_write_int(w, "k", 1);
				break;
			case BEGIN:
				config_write_begin(w, "g");
				break;
			case CLOSE:
				config_write_end(w);
				break;
			case NO_STRING:
				config_write_string(w, "s", NULL);
				break;
			case NO_ITEM:
				config_write_strings(w, "s", items, 2);
				break;
			case END:
				break;
			}
		if (config_writer_finish(w, &text) != rows[i].r)
			fail_msg("row %zu", i);
		assert_int_equal(text != NULL, rows[i].r == 0);
		if (text)
			assert_taken(text);
		free(text);
		config_writer_free(w);
	}
	assert_null(config_writer_free(NULL));
}

/* Groups within groups and keys are bounded. */
static void test_limits(void **state)
{
	for (int depth = 7; depth <= 8; depth++)
		for (int keys = 256; keys <= 257; keys++) {
			struct config_writer *w;
			char *text = NULL;

			assert_int_equal(config_writer_new(&w, "x"), 0);
			for (int i = 0; i < depth; i++)
				config_write_begin(w, "g");
			for (int i = 0; i < keys - depth; i++) {
				char key[16];

				snprintf(key, sizeof(key), "k%d", i);
				config_write_bool(w, key, true);
			}
			for (int i = 0; i < depth; i++)
				config_write_end(w);
			assert_int_equal(config_writer_finish(w, &text),
					 depth == 7 && keys == 256 ? 0 : -EINVAL);
			if (text)
				assert_taken(text);
			free(text);
			config_writer_free(w);
		}
}

static void test_list_name(void **state)
{
	static const char *const names[] = { "a b", "", "true", "x = 1; y" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct config_writer *w;
		char *text = NULL;

		assert_int_equal(config_writer_new(&w, names[i]), 0);
		config_write_int(w, "a", 1);
		assert_int_equal(config_writer_finish(w, &text), -EINVAL);
		assert_null(text);
		config_writer_free(w);
	}
}

static int setup(void **state)
{
	FILE *f;

	if (make_temp_dir(state) < 0)
		return -1;
	f = fopen(path_of("empty"), "w");
	return f && fclose(f) == 0 ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all),     cmocka_unit_test(test_tunnel),
		cmocka_unit_test(test_strings), cmocka_unit_test(test_random_strings),
		cmocka_unit_test(test_long),    cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_keys),    cmocka_unit_test(test_refused),
		cmocka_unit_test(test_limits),  cmocka_unit_test(test_list_name),
	};

	return cmocka_run_group_tests_name("config-text", tests, setup, remove_temp_dir);
}
