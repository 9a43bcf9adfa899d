/* SPDX-License-Identifier: MIT */
/*
 * Typed command -> the bytes of its line. Quoting and escaping live here only: in a string `,`, `"`
 * and `\` get a backslash (capture 20); CR, LF and NUL cannot be expressed and are refused, also in a name
 * and a word, so nothing from a person, a file, a chip or the bus can become a second command.
 */
#pragma once

#include <stddef.h>

/* Longest line that the firmware takes, with its CRLF (capture 01). */
#define AT_LINE_MAX 256

struct at_line {
	char text[AT_LINE_MAX + 1]; /* NUL-terminated */
	size_t len;
	int error; /* first error: -EINVAL (a byte that cannot be expressed) or -E2BIG */
	int args;
	/* All of it that nobody may see; the bytes between two secrets are counted among them. */
	size_t secret_at;
	size_t secret_len;
};

/* Starts a command: @name is "AT+CIPMUX" and the like. */
void at_line_begin(struct at_line *line, const char *name);
/* One more argument; the first one puts the '='. */
void at_line_int(struct at_line *line, long value);
void at_line_string(struct at_line *line, const char *value);
/* The same for a password or key: the line is shown without it, see chan_cmd. */
void at_line_secret_string(struct at_line *line, const char *value);
/* A word without quotes, as 0xC02B; @word is ours. */
void at_line_word(struct at_line *line, const char *word);
/* An argument that is left out, with others behind it. */
void at_line_empty(struct at_line *line);
/* Ends the line. Returns 0, or what was wrong; then the line is empty. */
int at_line_end(struct at_line *line);
/* A command without arguments, or with the query form's '?', in one step; @name is ours. */
void at_line_plain(struct at_line *line, const char *name);
/*
 * A whole command line that somebody has typed, to be ended by at_line_end(). What stands behind the
 * name of a command that takes or tells passwords and keys is secret.
 */
void at_line_raw(struct at_line *line, const char *text);
/* Overwrites what the line held. */
void at_line_wipe(struct at_line *line);
