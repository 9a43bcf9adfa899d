/* SPDX-License-Identifier: MIT */
/*
 * What goes over the line, in pieces for who records it, without what nobody may see. What is known to
 * be a secret or a client's is left out where it is made; of what the chip says only that is shown which
 * cannot be one: messages of the firmware, and what comes while nothing of the kind is about.
 */
#include <string.h>

#include "at/report.h"
#include "chan/internal.h"

/* Of our own bytes that are no command the longest that are not just counted: `+++`, and no filling. */
#define TRACE_WRITTEN_MAX 64
/* So many empty lines in a row are shown, more are counted. */
#define TRACE_BLANKS_MAX 16

size_t chan_cmd_secret(const struct chan_cmd *cmd, size_t *at)
{
	size_t len = cmd->line.len - 2;

	if (cmd->line.secret_len > 0) {
		*at = cmd->line.secret_at;
		return cmd->line.secret_len;
	}
	*at = len;
	if (!cmd->secret)
		return 0;
	/* Which of the arguments it is nobody has said. */
	*at = strcspn(cmd->line.text, "=\r");
	*at += cmd->line.text[*at] == '=';
	return len - *at;
}

/* A block for or of the chip's NVS, or a client's; and an answer, or an echo, with a secret in it. */
bool chan_cmd_is_private(const struct chan_cmd *cmd)
{
	return cmd->secret || cmd->secret_reply || cmd->line.secret_len > 0 || cmd->on_data ||
	       cmd->kind != CHAN_PLAIN;
}

/* `+CIPSTATE:...` for AT+CIPSTATE?, and what else the firmware says to commands about links. */
bool chan_line_is_answer(const struct chan_cmd *cmd, const char *text)
{
	static const char *const begins[] = {
		"ALREADY CONNECTED", "DNS Fail",          "+ERRNO:", "NO CA FOUND",
		"NO CERT FOUND",     "NO PRVT_KEY FOUND", "STATUS:", "Have ",
	};
	const char *name;
	size_t n;

	/* The head of a block that has lost its colon is no answer to anything. */
	if (!cmd || strncmp(text, "+IPD", 4) == 0)
		return false;
	if (strncmp(cmd->line.text, "AT+CIP", 6) != 0)
		return true;
	if (cmd->on_data || cmd->kind == CHAN_SEND)
		return false; /* nothing but blocks and messages */
	name = cmd->line.text + strlen("AT");
	n = strcspn(name, "=?\r");
	if (strncmp(text, name, n) == 0 && text[n] == ':')
		return true;
	for (size_t i = 0; cmd->kind == CHAN_PLAIN && i < sizeof(begins) / sizeof(*begins); i++)
		if (strncmp(text, begins[i], strlen(begins[i])) == 0)
			return true;
	return false;
}

/* ---- pieces ---- */

static void trace_put(const struct chan *chan, struct chan_piece piece)
{
	if (chan->tracing && chan->ops->trace)
		chan->ops->trace(chan->userdata, &piece);
}

static void trace_show(const struct chan *chan, const void *data, size_t len, bool end)
{
	if (len > 0 || end)
		trace_put(chan, (struct chan_piece){ .data = data, .len = len, .end = end });
}

static void trace_hide(const struct chan *chan, size_t len, bool end)
{
	if (len > 0 || end)
		trace_put(chan, (struct chan_piece){ .len = len, .end = end });
}

/* ---- to the chip ---- */

void chan_trace_line(const struct chan *chan, const struct chan_cmd *cmd)
{
	const struct at_line *line = &cmd->line;
	struct chan_piece piece = { .sent = true, .data = line->text };
	size_t at, secret = chan_cmd_secret(cmd, &at);

	piece.len = at;
	trace_put(chan, piece);
	if (secret > 0)
		trace_put(chan, (struct chan_piece){ .sent = true, .secret = true });
	piece.data = line->text + at + secret;
	piece.len = line->len - at - secret;
	piece.end = true;
	trace_put(chan, piece);
}

void chan_trace_payload(const struct chan *chan, size_t len)
{
	trace_put(chan, (struct chan_piece){ .sent = true, .len = len, .end = true });
}

void chan_trace_written(const struct chan *chan, const void *data, size_t len)
{
	if (len > TRACE_WRITTEN_MAX)
		data = NULL;
	trace_put(chan, (struct chan_piece){ .sent = true, .data = data, .len = len, .end = true });
}

/* ---- from the chip ---- */

/* Bytes that are no line. */
static void trace_noise(const struct chan *chan, const void *data, size_t len, bool end)
{
	if (chan->hush || chan->links)
		trace_hide(chan, len, end);
	else
		trace_show(chan, data, len, end);
}

static void trace_blanks(const struct chan *chan, size_t n)
{
	if (n > TRACE_BLANKS_MAX) {
		trace_hide(chan, 2 * n, false);
		return;
	}
	while (n-- > 0)
		trace_show(chan, "\r\n", 2, false);
}

static bool trace_line_is_harmless(const struct chan *chan, const char *text, size_t len)
{
	if (at_report_parse(text, len).type != AT_REPORT_NONE)
		return true;
	if (chan->hush)
		return false;
	return !chan->links || chan_line_is_answer(chan->current, text);
}

/* How many bytes at the end of @text are the echo of what was sent last. */
static size_t trace_echo(const struct chan *chan, const char *text, size_t len)
{
	const struct chan_cmd *cmd = chan->current;
	size_t at, n;

	if (!cmd || chan_cmd_secret(cmd, &at) > 0)
		return 0;
	n = cmd->line.len - 2;
	return n <= len && memcmp(text + len - n, cmd->line.text, n) == 0 ? n : 0;
}

static void trace_text(const struct chan *chan, const char *text, size_t len)
{
	size_t echo = trace_echo(chan, text, len);

	if (trace_line_is_harmless(chan, text, len)) {
		trace_show(chan, text, len, false);
		return;
	}
	trace_hide(chan, len - echo, false);
	trace_show(chan, text + len - echo, echo, false);
}

void chan_trace_skipped(const struct chan *chan, const uint8_t *data, size_t len)
{
	const uint8_t *end;

	if (!chan->tracing || chan->lexer.state != AT_LEXER_SKIP)
		return;
	end = memchr(data, '\n', len);
	trace_noise(chan, data, end ? (size_t)(end - data) + 1 : len, end != NULL);
}

void chan_trace_token(const struct chan *chan, const struct at_token *token)
{
	char tail = (char)token->tail;

	if (!chan->tracing)
		return;
	switch (token->type) {
	case AT_TOKEN_NONE:
		return;
	case AT_TOKEN_LINE:
		trace_blanks(chan, token->blanks);
		trace_text(chan, token->text, token->text_len);
		trace_show(chan, "\r\n", 2, true);
		return;
	case AT_TOKEN_PROMPT:
		trace_blanks(chan, token->blanks);
		trace_show(chan, ">", 1, true);
		return;
	case AT_TOKEN_BLOCK:
		trace_blanks(chan, token->blanks);
		trace_show(chan, token->text, token->text_len, false);
		return;
	case AT_TOKEN_DATA:
		trace_hide(chan, token->len, false);
		return;
	case AT_TOKEN_END:
		trace_show(chan, "\r\n", 2, true);
		return;
	case AT_TOKEN_BAD:
		trace_blanks(chan, token->blanks);
		trace_noise(chan, token->text, token->text_len, false);
		trace_noise(chan, &tail, token->tail >= 0, true);
		return;
	}
}

void chan_trace_ignored(const struct chan *chan, size_t len)
{
	if (len > 0)
		trace_hide(chan, len, true);
}

void chan_trace_rest(const struct chan *chan)
{
	const struct at_lexer *l = &chan->lexer;
	bool cr = l->state == AT_LEXER_CR || l->state == AT_LEXER_DATA_LF;

	if (!chan->tracing)
		return;
	trace_blanks(chan, l->blanks);
	trace_noise(chan, l->line, l->len, false);
	trace_show(chan, "\r", cr, false);
	if (!at_lexer_idle(l))
		trace_show(chan, "", 0, true);
}
