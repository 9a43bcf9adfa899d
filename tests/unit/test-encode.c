/* SPDX-License-Identifier: MIT */
/* at/encode: what is encoded is what the chip's own rules decode, and never a second command. */
#include "test.h"

#include <errno.h>
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

static void test_round_trip(void **state)
{
	static const char often[] = ",\"\\=+ATat;<>\x01\x7f\xff";
	uint64_t seed = 0x5eed0003;
	size_t fitted = 0, too_big = 0, refused = 0;

	for (size_t round = 0; round < 50000; round++) {
		char in[2][160], out[160];
		bool bad = false;
		size_t pos = 0;
		struct at_line line;
		int r;

		for (size_t k = 0; k < 2; k++) {
			size_t len = test_random_below(&seed, round % 4 ? 40 : sizeof(in[k]) - 1);

			for (size_t i = 0; i < len; i++) {
				if (test_random_below(&seed, 2))
					in[k][i] =
						often[test_random_below(&seed, sizeof(often) - 1)];
				else
					in[k][i] = (char)(test_random_below(&seed, 255) + 1);
				if ((in[k][i] == '\r' || in[k][i] == '\n') && round % 3)
					in[k][i] = 'x';
				bad = bad || in[k][i] == '\r' || in[k][i] == '\n';
			}
			in[k][len] = '\0';
		}
		at_line_begin(&line, "AT+CWJAP");
		at_line_string(&line, in[0]);
		at_line_int(&line, (long)round);
		at_line_string(&line, in[1]);
		r = at_line_end(&line);
		if (r < 0) {
			assert_true(r == -EINVAL ? bad : r == -E2BIG);
			assert_wiped(&line);
			refused += r == -EINVAL;
			too_big += r == -E2BIG;
			continue;
		}
		assert_false(bad);
		fitted++;
		assert_one_line(&line);
		assert_memory_equal(line.text, "AT+CWJAP=", 9);
		pos = 9 + chip_string(line.text + 9, line.len - 9, out, sizeof(out));
		assert_string_equal(out, in[0]);
		pos += (size_t)snprintf(out, sizeof(out), ",%zu,", round);
		assert_memory_equal(line.text + pos - strlen(out), out, strlen(out));
		pos += chip_string(line.text + pos, line.len - pos, out, sizeof(out));
		assert_string_equal(out, in[1]);
		assert_int_equal(pos, line.len - 2);
	}
	assert_true(fitted > 1000 && too_big > 1000 && refused > 1000);
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
		cmocka_unit_test(test_second_command_is_refused),
		cmocka_unit_test(test_longest_line),
		cmocka_unit_test(test_first_error_stays),
		cmocka_unit_test(test_wipe),
		cmocka_unit_test(test_secret),
		cmocka_unit_test(test_raw),
	};

	return cmocka_run_group_tests_name("encode", tests, NULL, NULL);
}
