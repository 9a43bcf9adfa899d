/* SPDX-License-Identifier: MIT */
/* Typed command -> the bytes of its line. */
#include "at/encode.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
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
	line->secret_at = 0;
	line->secret_len = 0;
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

/* From @start to what the line's end is now. */
static void line_mark(struct at_line *line, size_t start)
{
	if (line->error)
		return;
	if (line->secret_len == 0)
		line->secret_at = start;
	line->secret_len = line->len - line->secret_at;
}

static void line_quoted(struct at_line *line, const char *value)
{
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

void at_line_string(struct at_line *line, const char *value)
{
	line_separator(line);
	line_quoted(line, value);
}

void at_line_secret_string(struct at_line *line, const char *value)
{
	size_t start;

	line_separator(line);
	start = line->len;
	line_quoted(line, value);
	line_mark(line, start);
}

void at_line_empty(struct at_line *line)
{
	line_separator(line);
}

int at_line_end(struct at_line *line)
{
	/* Whatever it came from, a line is one. */
	if (!line->error && strpbrk(line->text, "\r\n"))
		line->error = -EINVAL;
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

/* Commands that take passwords and keys, and if their other forms may tell some, too. */
static const struct {
	const char *name;
	bool tells;
} line_secrets[] = {
	{ "AT+CWJAP", false },           { "AT+CWJEAP", false },    { "AT+CWSAP", true },
	{ "AT+CIPSSLCPSKHEX", true },    { "AT+CIPSSLCPSK", true }, /* capture 40 */
	{ "AT+SYSMFG", true },           { "AT+SYSFLASH", true },   { "AT+MQTTUSERCFG", true },
	{ "AT+MQTTLONGPASSWORD", true }, { "AT+HTTPCHEAD", true },
};

void at_line_raw(struct at_line *line, const char *text)
{
	at_line_begin(line, "");
	line_put(line, text, strlen(text));
	for (size_t i = 0; i < sizeof(line_secrets) / sizeof(*line_secrets); i++) {
		/* Anywhere: what is mistyped in front changes nothing about a password. */
		const char *rest = strcasestr(text, line_secrets[i].name);

		if (!rest)
			continue;
		rest += strlen(line_secrets[i].name);
		if (!line_secrets[i].tells && (strcmp(rest, "?") == 0 || strcmp(rest, "=?") == 0))
			continue;
		line_mark(line, (size_t)(rest - text) + (*rest == '='));
	}
}

void at_line_wipe(struct at_line *line)
{
	explicit_bzero(line->text, sizeof(line->text));
	line->len = 0;
	line->secret_len = 0;
}
