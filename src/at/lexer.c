/* SPDX-License-Identifier: MIT */
/* Bytes from the chip -> tokens. */
#include "at/lexer.h"

#include <string.h>

#include "at/reply.h"
#include "at/scan.h"

#define CWLAP "+CWLAP:("

void at_lexer_reset(struct at_lexer *lexer)
{
	lexer->state = AT_LEXER_LINE;
	lexer->len = 0;
	lexer->left = 0;
	lexer->blanks = 0;
	lexer->names = false;
	lexer->strange = false;
}

void at_lexer_wipe(struct at_lexer *lexer)
{
	explicit_bzero(lexer->line + lexer->len, sizeof(lexer->line) - lexer->len);
}

bool at_lexer_idle(const struct at_lexer *lexer)
{
	return lexer->state == AT_LEXER_LINE && lexer->len == 0 && lexer->blanks == 0;
}

bool at_lexer_in_block(const struct at_lexer *lexer)
{
	return lexer->state >= AT_LEXER_DATA && lexer->state <= AT_LEXER_DATA_LF;
}

const char *at_bad_text(enum at_bad bad)
{
	switch (bad) {
	case AT_BAD_CONTROL:
		return "control character in a line";
	case AT_BAD_TOO_LONG:
		return "line without end";
	case AT_BAD_LENGTH:
		return "block length out of range";
	case AT_BAD_NO_CRLF:
		return "block without line end";
	}
	return "bad input";
}

/* What the line read so far is, after its last byte. */
enum head {
	HEAD_NONE,
	HEAD_BLOCK,
	HEAD_BAD,
};

static enum head head_finish(struct at_lexer *l, enum at_block_type type, int link, int kind,
			     long len)
{
	if (len < 1 || len > AT_LEXER_BLOCK_MAX)
		return HEAD_BAD;
	l->block = (struct at_block){
		.type = type,
		.link = link,
		.kind = kind,
		.len = (size_t)len,
	};
	return HEAD_BLOCK;
}

/*
 * "+IPD,<len>:" or "+IPD,<link>,<len>:", with CIPDINFO=1 also `,"<ip>",<port>` before the colon. The
 * colons of an IPv6 address stand in quotes, so a head that does not parse yet may still do later.
 */
static enum head head_ipd(struct at_lexer *l)
{
	struct at_scan s = at_scan_at(l->line, l->len, strlen("+IPD,"));
	long first, port, second = -1;
	size_t ip_len;

	if (!at_scan_number(&s, &first))
		return HEAD_BAD;
	if (at_scan_literal(&s, ",\"")) {
		s.pos -= 2;
	} else if (at_scan_char(&s, ',') && !at_scan_number(&s, &second)) {
		return HEAD_BAD;
	}
	if (at_scan_char(&s, ',')) {
		if (!at_scan_quoted(&s, &ip_len))
			return at_scan_peek(&s, '"') ? HEAD_NONE : HEAD_BAD;
		if (!at_scan_char(&s, ',') || !at_scan_number(&s, &port))
			return HEAD_BAD;
	}
	if (!at_scan_char(&s, ':') || !at_scan_end(&s))
		return HEAD_BAD;
	if (second < 0)
		return head_finish(l, AT_BLOCK_IPD, -1, 0, first);
	if (first > 4)
		return HEAD_BAD;
	return head_finish(l, AT_BLOCK_IPD, (int)first, 0, second);
}

static enum head head_recvdata(struct at_lexer *l)
{
	struct at_scan s = at_scan_at(l->line, l->len, strlen("+CIPRECVDATA:"));
	long len;

	if (!at_scan_number(&s, &len) || !at_scan_char(&s, ',') || !at_scan_end(&s))
		return HEAD_BAD;
	return head_finish(l, AT_BLOCK_RECVDATA, -1, 0, len);
}

/* `+SYSMFG:"<ns>","<key>",<type>,<len>,`; a listing has no length and stays a line (capture 10). */
static enum head head_sysmfg(struct at_lexer *l)
{
	struct at_scan s = at_scan_at(l->line, l->len, strlen("+SYSMFG:"));
	size_t ns_len, key_len;
	long kind, len;

	if (!at_scan_quoted(&s, &ns_len) || !at_scan_char(&s, ',') ||
	    !at_scan_quoted(&s, &key_len) || !at_scan_char(&s, ',') || !at_scan_number(&s, &kind) ||
	    !at_scan_char(&s, ',') || !at_scan_number(&s, &len) || !at_scan_char(&s, ','))
		return HEAD_NONE;
	if (!at_scan_end(&s) || kind < 1 || kind > 8)
		return HEAD_BAD;
	return head_finish(l, AT_BLOCK_SYSMFG, -1, (int)kind, len);
}

static bool starts(const struct at_lexer *l, const char *prefix)
{
	size_t n = strlen(prefix);

	return l->len > n && memcmp(l->line, prefix, n) == 0;
}

static enum head head_check(struct at_lexer *l, char c)
{
	if (l->line[0] != '+')
		return HEAD_NONE;
	if (c == ':' && starts(l, "+IPD,"))
		return head_ipd(l);
	if (c == ',' && starts(l, "+CIPRECVDATA:"))
		return head_recvdata(l);
	if (c == ',' && starts(l, "+SYSMFG:"))
		return head_sysmfg(l);
	return HEAD_NONE;
}

static void token_line(struct at_lexer *l, struct at_token *ret, enum at_token_type type)
{
	l->line[l->len] = '\0';
	ret->type = type;
	ret->text = l->line;
	ret->text_len = l->len;
	ret->block = l->block;
	ret->blanks = l->blanks;
	l->blanks = 0;
	l->len = 0;
	l->strange = false;
}

static void token_bad(struct at_lexer *l, struct at_token *ret, enum at_bad bad, int tail,
		      enum at_lexer_state next)
{
	token_line(l, ret, AT_TOKEN_BAD);
	ret->bad = bad;
	ret->tail = tail;
	l->state = next;
}

/* Whether the line is one of a scan, and where its network's name begins. */
static bool name_begins(const struct at_lexer *l, size_t *at)
{
	struct at_scan s = at_scan_at(l->line, l->len, 0);
	long security;

	if (!l->names || !at_scan_literal(&s, CWLAP) || !at_scan_number(&s, &security) ||
	    !at_scan_literal(&s, ",\""))
		return false;
	*at = s.pos;
	return true;
}

/* The next byte, a control character, belongs to a network's name: what stands behind one is longer. */
static bool name_takes(const struct at_lexer *l, uint8_t c)
{
	size_t at;

	return c != '\0' && name_begins(l, &at) && l->len - at < AT_SSID_MAX;
}

/* The line ends, and has a control character: whether it can be nothing but a name. */
static bool name_is_right(struct at_lexer *l)
{
	struct at_ap ap;

	l->line[l->len] = '\0';
	return at_reply_cwlap(l->line, l->len, &ap) && !strstr(ap.ssid, CWLAP);
}

/* One byte of a line; true if *ret is a token. */
static bool line_byte(struct at_lexer *l, uint8_t c, struct at_token *ret)
{
	if (c == '>' && l->len == 0) {
		ret->type = AT_TOKEN_PROMPT;
		ret->blanks = l->blanks;
		l->blanks = 0;
		return true;
	}
	if ((c < 0x20 || c == 0x7f) && name_takes(l, c)) {
		l->strange = true;
		l->line[l->len++] = (char)c;
		return false;
	}
	if (c == '\r' && l->strange && !name_is_right(l)) {
		token_bad(l, ret, AT_BAD_CONTROL, c, AT_LEXER_SKIP);
		return true;
	}
	if (c == '\r') {
		l->state = AT_LEXER_CR;
		return false;
	}
	if (c < 0x20 || c == 0x7f) {
		token_bad(l, ret, AT_BAD_CONTROL, c, c == '\n' ? AT_LEXER_LINE : AT_LEXER_SKIP);
		return true;
	}
	if (l->len == AT_LEXER_LINE_MAX) {
		token_bad(l, ret, AT_BAD_TOO_LONG, c, AT_LEXER_SKIP);
		return true;
	}
	l->line[l->len++] = (char)c;
	if (c != ':' && c != ',')
		return false;
	switch (head_check(l, (char)c)) {
	case HEAD_NONE:
		return false;
	case HEAD_BAD:
		token_bad(l, ret, AT_BAD_LENGTH, -1, AT_LEXER_SKIP);
		return true;
	case HEAD_BLOCK:
		l->left = l->block.len;
		l->state = AT_LEXER_DATA;
		token_line(l, ret, AT_TOKEN_BLOCK);
		return true;
	}
	return false;
}

size_t at_lexer_next(struct at_lexer *l, const uint8_t *buf, size_t n, struct at_token *ret)
{
	size_t i = 0;

	*ret = (struct at_token){ .type = AT_TOKEN_NONE };
	while (i < n) {
		switch (l->state) {
		case AT_LEXER_LINE:
			if (line_byte(l, buf[i++], ret))
				return i;
			break;
		case AT_LEXER_CR:
			if (buf[i] != '\n') {
				/* The byte is looked at again: it may end the bad line itself. */
				token_bad(l, ret, AT_BAD_CONTROL, '\r',
					  buf[i] == '\r' ? AT_LEXER_LINE : AT_LEXER_SKIP);
				return i;
			}
			i++;
			l->state = AT_LEXER_LINE;
			if (l->len > 0) {
				token_line(l, ret, AT_TOKEN_LINE);
				return i;
			}
			l->blanks++;
			break;
		case AT_LEXER_DATA:
			ret->type = AT_TOKEN_DATA;
			ret->block = l->block;
			ret->data = buf + i;
			ret->len = n - i < l->left ? n - i : l->left;
			l->left -= ret->len;
			if (l->left == 0)
				l->state = AT_LEXER_DATA_CR;
			return i + ret->len;
		case AT_LEXER_DATA_CR:
		case AT_LEXER_DATA_LF:
			if (buf[i] != (l->state == AT_LEXER_DATA_CR ? '\r' : '\n')) {
				token_bad(l, ret, AT_BAD_NO_CRLF,
					  l->state == AT_LEXER_DATA_CR ? -1 : '\r', AT_LEXER_SKIP);
				return i;
			}
			i++;
			if (l->state == AT_LEXER_DATA_CR) {
				l->state = AT_LEXER_DATA_LF;
				break;
			}
			l->state = AT_LEXER_LINE;
			ret->type = AT_TOKEN_END;
			ret->block = l->block;
			return i;
		case AT_LEXER_SKIP: {
			const uint8_t *lf = memchr(buf + i, '\n', n - i);

			if (!lf)
				return n;
			i = (size_t)(lf - buf) + 1;
			l->state = AT_LEXER_LINE;
			break;
		}
		}
	}
	return i;
}
