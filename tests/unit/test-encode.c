/* SPDX-License-Identifier: MIT */
/* at/encode: what is encoded is what the chip's own rules decode, and never a second command. */
#include "test.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "at/encode.h"

/*
 * The chip's side of a string parameter, written from its documentation and capture 20, not from the
 * encoder: in quotes, a backslash takes the next byte as it is; an unescaped comma or quote ends it.
 * Returns how many bytes were taken, 0 if it is none.
 */
static size_t chip_string(const char *text, size_t len, char *out, size_t size)
{
	size_t pos = 0, n = 0;

	if (len == 0 || text[pos++] != '"')
		return 0;
	while (pos < len && text[pos] != '"') {
		if (text[pos] == ',')
			return 0;
		if (text[pos] == '\\' && ++pos == len)
			return 0;
		if (n + 1 >= size)
			return 0;
		out[n++] = text[pos++];
	}
	out[n] = '\0';
	return pos < len ? pos + 1 : 0;
}

static void assert_one_line(const struct at_line *line)
{
	assert_in_range(line->len, 2, AT_LINE_MAX);
	assert_memory_equal(line->text + line->len - 2, "\r\n", 2);
	assert_int_equal(strlen(line->text), line->len); /* no NUL in it */
	assert_int_equal(strcspn(line->text, "\r\n"), line->len - 2);
}

static void assert_wiped(const struct at_line *line)
{
	assert_int_equal(line->len, 0);
	for (size_t i = 0; i < sizeof(line->text); i++)
		assert_int_equal(line->text[i], 0);
}

static void test_forms(void **state)
{
	struct at_line line;

	at_line_plain(&line, "AT+CMD?");
	assert_string_equal(line.text, "AT+CMD?\r\n");
	at_line_begin(&line, "AT+CIPSTART");
	at_line_int(&line, 0);
	at_line_string(&line, "SSL");
	at_line_string(&line, "broker.example");
	at_line_int(&line, 8883);
	assert_int_equal(at_line_end(&line), 0);
	assert_string_equal(line.text, "AT+CIPSTART=0,\"SSL\",\"broker.example\",8883\r\n");
	assert_int_equal(line.len, strlen(line.text));
	at_line_begin(&line, "AT+X");
	at_line_int(&line, -5);
	at_line_string(&line, "");
	assert_int_equal(at_line_end(&line), 0);
	assert_string_equal(line.text, "AT+X=-5,\"\"\r\n");
	at_line_begin(&line, "AT+X");
	at_line_empty(&line);
	at_line_string(&line, "a");
	at_line_empty(&line);
	at_line_empty(&line);
	at_line_int(&line, 1);
	at_line_empty(&line);
	assert_int_equal(at_line_end(&line), 0);
	assert_string_equal(line.text, "AT+X=,\"a\",,,1,\r\n");
	/* capture 20: the same escapes, as the chip took them */
	at_line_begin(&line, "AT+CWJAP");
	at_line_string(&line, "a,b\"c\\d");
	assert_int_equal(at_line_end(&line), 0);
	assert_string_equal(line.text, "AT+CWJAP=\"a\\,b\\\"c\\\\d\"\r\n");
}

#define ARGS_MAX 6

enum arg_kind {
	ARG_INT,
	ARG_STRING,
	ARG_SECRET,
	ARG_WORD,
	ARG_EMPTY,
	ARG_KINDS,
};

struct arg {
	enum arg_kind kind;
	char text[AT_LINE_MAX + 32]; /* of a string; else as it stands in the line */
};

/* What is no string: up to the comma or the end. */
static size_t chip_word(const char *text, size_t len, char *out, size_t size)
{
	size_t n = 0;

	while (n < len && text[n] != ',' && text[n] != '"') {
		assert_true(n + 1 < size);
		out[n] = text[n];
		n++;
	}
	out[n] = '\0';
	return n;
}

/* The chip reads the arguments of @line, which are to be @args. */
static void assert_read(const struct at_line *line, const char *name, const struct arg *args,
			size_t n)
{
	size_t pos = strlen(name), end = line->len - 2;
	char out[AT_LINE_MAX + 1];

	assert_one_line(line);
	assert_memory_equal(line->text, name, pos);
	for (size_t i = 0; i < n; i++) {
		bool quoted = args[i].kind == ARG_STRING || args[i].kind == ARG_SECRET;
		size_t taken;

		assert_int_equal(line->text[pos++], i == 0 ? '=' : ',');
		taken = quoted ? chip_string(line->text + pos, end - pos, out, sizeof(out))
			       : chip_word(line->text + pos, end - pos, out, sizeof(out));
		assert_true(!quoted || taken >= 2);
		assert_string_equal(out, args[i].text);
		pos += taken;
	}
	assert_int_equal(pos, end);
}

/* As long as what an encoder makes of it. */
static size_t length_of(const struct arg *arg)
{
	size_t n = strlen(arg->text);

	if (arg->kind != ARG_STRING && arg->kind != ARG_SECRET)
		return n;
	for (const char *c = arg->text; *c; c++)
		n += *c == ',' || *c == '"' || *c == '\\';
	return n + 2;
}

static void put(struct at_line *line, const struct arg *arg, long value)
{
	switch (arg->kind) {
	case ARG_INT:
		at_line_int(line, value);
		return;
	case ARG_STRING:
		at_line_string(line, arg->text);
		return;
	case ARG_SECRET:
		at_line_secret_string(line, arg->text);
		return;
	case ARG_WORD:
		at_line_word(line, arg->text);
		return;
	case ARG_EMPTY:
		at_line_empty(line);
		return;
	case ARG_KINDS:
		break;
	}
	fail();
}

/* Bytes that mean something to somebody, more often than others. */
static char random_byte(uint64_t *seed)
{
	static const char often[] = ",\"\\=?+ATat;<>\r\n\x01\x1b\x7f\xff";

	if (test_random_below(seed, 3) == 0)
		return often[test_random_below(seed, sizeof(often) - 1)];
	return (char)(test_random_below(seed, 255) + 1);
}

static void random_string(uint64_t *seed, struct arg *arg, size_t len)
{
	bool clean = test_random_below(seed, 4) != 0;

	for (size_t i = 0; i < len; i++) {
		char c = random_byte(seed);

		arg->text[i] = clean && (c == '\r' || c == '\n') ? ',' : c;
	}
	arg->text[len] = '\0';
}

static long random_value(uint64_t *seed)
{
	static const long limits[] = { 0, -1, 4294967295L, LONG_MAX, LONG_MIN };

	if (test_random_below(seed, 4) == 0)
		return limits[test_random_below(seed, ARRAY_SIZE(limits))];
	return (long)test_random_below(seed, 70000) - 1000;
}

static void random_arg(uint64_t *seed, struct arg *arg, long *value)
{
	static const char *const words[] = { "0xC02B", "x", "" };
	static const size_t lengths[] = { 1, 16, 70, AT_LINE_MAX + 20 };

	arg->kind = (enum arg_kind)test_random_below(seed, ARG_KINDS);
	arg->text[0] = '\0';
	*value = random_value(seed);
	switch (arg->kind) {
	case ARG_INT:
		snprintf(arg->text, sizeof(arg->text), "%ld", *value);
		return;
	case ARG_STRING:
	case ARG_SECRET:
		random_string(seed, arg,
			      test_random_below(seed, lengths[test_random_below(seed, 4)]));
		return;
	case ARG_WORD:
		strcpy(arg->text, words[test_random_below(seed, ARRAY_SIZE(words))]);
		return;
	case ARG_EMPTY:
	case ARG_KINDS:
		return;
	}
}

/* What goes in is what the chip reads, or nothing goes to it at all; and that only for these two reasons. */
static void test_round_trip(void **state)
{
	size_t fitted = 0, too_big = 0, refused = 0, exact = 0;
	uint64_t seed = 0x5eed0003;

	for (size_t round = 0; round < 100000; round++) {
		size_t n = test_random_below(&seed, ARGS_MAX + 1), len = strlen("AT+X\r\n");
		struct arg args[ARGS_MAX];
		struct at_line line;
		bool bad = false;
		int r;

		at_line_begin(&line, "AT+X");
		for (size_t i = 0; i < n; i++) {
			long value;

			random_arg(&seed, &args[i], &value);
			put(&line, &args[i], value);
			len += 1 + length_of(&args[i]);
			bad = bad || strpbrk(args[i].text, "\r\n");
		}
		r = at_line_end(&line);
		if (r == 0) {
			assert_false(bad);
			assert_int_equal(line.len, len);
			assert_read(&line, "AT+X", args, n);
			fitted++;
			exact += len > AT_LINE_MAX - 8;
			continue;
		}
		assert_wiped(&line);
		assert_true(r == -EINVAL ? bad : r == -E2BIG);
		assert_true(bad || len > AT_LINE_MAX);
		refused += r == -EINVAL;
		too_big += r == -E2BIG;
	}
	assert_true(fitted > 1000 && too_big > 1000 && refused > 1000 && exact > 100);
}

/* Every byte, alone and between others, in each kind of string. */
static void test_each_byte(void **state)
{
	for (int c = 1; c < 256; c++)
		for (size_t form = 0; form < 8; form++) {
			struct arg arg = { .kind = form & 1 ? ARG_SECRET : ARG_STRING };
			struct at_line line;
			int r;

			snprintf(arg.text, sizeof(arg.text), "%s%c%s", form & 2 ? "a" : "", c,
				 form & 4 ? "b" : "");
			at_line_begin(&line, "AT+X");
			put(&line, &arg, 0);
			r = at_line_end(&line);
			assert_int_equal(r, c == '\r' || c == '\n' ? -EINVAL : 0);
			if (r == 0)
				assert_read(&line, "AT+X", &arg, 1);
			else
				assert_wiped(&line);
		}
}

/* A line as somebody has typed it goes as it is, or not at all; also where it stands for a name. */
static void test_typed_lines(void **state)
{
	size_t fitted = 0, refused = 0, too_big = 0;
	uint64_t seed = 0x5eed0004;

	for (size_t round = 0; round < 20000; round++) {
		struct arg arg = { .text = "AT+" };
		struct at_line line;
		int r;

		random_string(&seed, &arg, test_random_below(&seed, AT_LINE_MAX + 10));
		if (round % 2) {
			at_line_begin(&line, arg.text);
			if (round % 4 == 1)
				at_line_word(&line, arg.text);
		} else {
			at_line_raw(&line, arg.text);
		}
		r = at_line_end(&line);
		if (r < 0) {
			assert_wiped(&line);
			assert_true(r == -E2BIG || strpbrk(arg.text, "\r\n"));
			refused += r == -EINVAL;
			too_big += r == -E2BIG;
			continue;
		}
		assert_null(strpbrk(arg.text, "\r\n"));
		assert_one_line(&line);
		assert_memory_equal(line.text, arg.text, strlen(arg.text));
		fitted++;
	}
	assert_true(fitted > 1000 && refused > 1000 && too_big > 100);
}

static void test_second_command_is_refused(void **state)
{
	static const char *const bad[] = {
		"x\r\nAT+RST\r\n", "x\rAT+RST", "x\nAT+RST", "\r", "\n", "\"\r\nAT+RESTORE",
	};
	struct at_line line;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		at_line_begin(&line, "AT+CIPSSLCSNI");
		at_line_int(&line, 0);
		at_line_string(&line, bad[i]);
		at_line_string(&line, "a good one behind it");
		assert_int_equal(at_line_end(&line), -EINVAL);
		assert_wiped(&line);
	}
}

/* AT+X="<n times c>" and CRLF */
static int line_of(struct at_line *line, size_t n, char c)
{
	char value[AT_LINE_MAX + 8];

	memset(value, c, n);
	value[n] = '\0';
	at_line_begin(line, "AT+X");
	at_line_string(line, value);
	return at_line_end(line);
}

static void test_longest_line(void **state)
{
	size_t fits = AT_LINE_MAX - strlen("AT+X=\"\"\r\n");
	struct at_line line;

	assert_int_equal(AT_LINE_MAX, 256); /* capture 01 */
	assert_int_equal(line_of(&line, fits, 'x'), 0);
	assert_int_equal(line.len, AT_LINE_MAX);
	assert_one_line(&line);
	/* From here on each thing that can be the first one too much: LF, CR, the quote, the text. */
	for (size_t n = fits + 1; n < fits + 8; n++) {
		assert_int_equal(line_of(&line, n, 'x'), -E2BIG);
		assert_wiped(&line);
	}
	/* An escape counts. */
	assert_int_equal(line_of(&line, fits / 2, ','), 0);
	assert_one_line(&line);
	assert_int_equal(line_of(&line, fits / 2 + 1, ','), -E2BIG);
}

static void test_first_error_stays(void **state)
{
	char value[AT_LINE_MAX + 8];
	struct at_line line;

	memset(value, 'x', sizeof(value));
	value[sizeof(value) - 2] = '\n';
	value[sizeof(value) - 1] = '\0';
	at_line_begin(&line, "AT+X");
	at_line_string(&line, value);
	assert_int_equal(at_line_end(&line), -E2BIG);
	at_line_begin(&line, "AT+X");
	at_line_string(&line, "\n");
	memset(value, 'x', sizeof(value) - 1);
	at_line_string(&line, value);
	assert_int_equal(at_line_end(&line), -EINVAL);
	/* And is gone with the next line. */
	at_line_plain(&line, "AT");
	assert_string_equal(line.text, "AT\r\n");
}

static void test_wipe(void **state)
{
	struct at_line line;

	at_line_begin(&line, "AT+CWJAP");
	at_line_string(&line, "secret");
	assert_int_equal(at_line_end(&line), 0);
	at_line_wipe(&line);
	assert_wiped(&line);
}

/* The line with <> around what is secret. */
static const char *marked(const struct at_line *line)
{
	static char text[AT_LINE_MAX + 8];
	size_t end = line->secret_at + line->secret_len;

	assert_true(end + 2 <= line->len);
	if (line->secret_len == 0)
		snprintf(text, sizeof(text), "%.*s", (int)line->len - 2, line->text);
	else
		snprintf(text, sizeof(text), "%.*s<%.*s>%.*s", (int)line->secret_at, line->text,
			 (int)line->secret_len, line->text + line->secret_at,
			 (int)(line->len - 2 - end), line->text + end);
	return text;
}

static void test_secret(void **state)
{
	struct at_line line;

	at_line_begin(&line, "AT+CWJAP");
	at_line_string(&line, "lab");
	at_line_secret_string(&line, "a,b\"c\\d");
	at_line_string(&line, "10:01:00:c4:0a:51");
	assert_int_equal(at_line_end(&line), 0);
	assert_string_equal(marked(&line),
			    "AT+CWJAP=\"lab\",<\"a\\,b\\\"c\\\\d\">,\"10:01:00:c4:0a:51\"");
	at_line_begin(&line, "AT+X");
	at_line_secret_string(&line, "");
	at_line_int(&line, 1);
	at_line_secret_string(&line, "b");
	assert_int_equal(at_line_end(&line), 0);
	assert_string_equal(marked(&line), "AT+X=<\"\",1,\"b\">");
	/* Nothing of it stays for the next line. */
	at_line_begin(&line, "AT+X");
	at_line_string(&line, "b");
	assert_int_equal(at_line_end(&line), 0);
	assert_string_equal(marked(&line), "AT+X=\"b\"");
	at_line_begin(&line, "AT+X");
	at_line_secret_string(&line, "a\nb");
	assert_int_equal(at_line_end(&line), -EINVAL);
	assert_wiped(&line);
	assert_int_equal(line.secret_len, 0);
}

static void test_raw(void **state)
{
	static const char *const rows[][2] = {
		{ "AT", "AT" },
		{ "AT+CIPSTATE?", "AT+CIPSTATE?" },
		{ "AT+CWJAP=\"lab\",\"x\"", "AT+CWJAP=<\"lab\",\"x\">" },
		{ "at+cwjap=\"lab\"", "at+cwjap=<\"lab\">" },
		{ " AT+CWJAP =\"x", " AT+CWJAP< =\"x>" },
		{ "AT+CWJAP?", "AT+CWJAP?" },
		{ "AT+CWJAP=?", "AT+CWJAP=?" },
		{ "AT+CWJAP", "AT+CWJAP" },
		{ "AT+CWJEAP=\"x\",1,\"a\",\"b\",\"c\",0",
		  "AT+CWJEAP=<\"x\",1,\"a\",\"b\",\"c\",0>" },
		{ "AT+CWSAP?", "AT+CWSAP<?>" },
		{ "AT+CIPSSLCPSK?", "AT+CIPSSLCPSK<?>" },
		{ "AT+CIPSSLCPSKHEX=0,\"00\"", "AT+CIPSSLCPSKHEX=<0,\"00\">" },
		{ "AT+SYSMFG=1,\"client_key\",\"client_key.0\"",
		  "AT+SYSMFG=<1,\"client_key\",\"client_key.0\">" },
	};
	char longest[AT_LINE_MAX];
	struct at_line line;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		at_line_raw(&line, rows[i][0]);
		assert_int_equal(at_line_end(&line), 0);
		assert_one_line(&line);
		assert_string_equal(marked(&line), rows[i][1]);
	}
	at_line_raw(&line, "AT+CWJAP=\"x\"\r\nAT+RST");
	assert_int_equal(at_line_end(&line), -EINVAL);
	assert_wiped(&line);
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 2] = '\0';
	at_line_raw(&line, longest);
	assert_int_equal(at_line_end(&line), 0);
	memcpy(longest, "AT+CWJAP=", 9);
	longest[sizeof(longest) - 2] = 'x';
	longest[sizeof(longest) - 1] = '\0';
	at_line_raw(&line, longest);
	assert_int_equal(at_line_end(&line), -E2BIG);
	assert_wiped(&line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_each_byte),
		cmocka_unit_test(test_typed_lines),
		cmocka_unit_test(test_second_command_is_refused),
		cmocka_unit_test(test_longest_line),
		cmocka_unit_test(test_first_error_stays),
		cmocka_unit_test(test_wipe),
		cmocka_unit_test(test_secret),
		cmocka_unit_test(test_raw),
	};

	return cmocka_run_group_tests_name("encode", tests, NULL, NULL);
}
