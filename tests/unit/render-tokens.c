/* SPDX-License-Identifier: MIT */
/* Input -> its tokens as text. */
#include "render-tokens.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Not assert(): these hold in every build. */
#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static void put(struct render *r, const void *data, size_t n)
{
	if (r->len + n + 1 > r->size) {
		r->size = (r->len + n + 1) * 2;
		r->text = realloc(r->text, r->size);
		MUST(r->text);
	}
	memcpy(r->text + r->len, data, n);
	r->len += n;
	r->text[r->len] = '\0';
}

static void put_escaped(struct render *r, const uint8_t *data, size_t n)
{
	char hex[8];

	for (size_t i = 0; i < n; i++) {
		if (data[i] == '\r')
			put(r, "\\r", 2);
		else if (data[i] == '\n')
			put(r, "\\n", 2);
		else if (isprint(data[i]))
			put(r, &data[i], 1);
		else
			put(r, hex, (size_t)snprintf(hex, sizeof(hex), "\\x%02x", data[i]));
	}
}

static void put_head(struct render *r, const struct at_token *token, const char *letter)
{
	if (token->blanks > 0)
		put(r, "~", 1);
	put(r, letter, 1);
}

static void put_token(struct render *r, const struct at_token *token)
{
	static const char *const block_names[] = { "ipd", "recvdata", "sysmfg" };
	static const char *const bad_names[] = { "control", "too-long", "length", "no-crlf" };
	char text[80];
	int n;

	switch (token->type) {
	case AT_TOKEN_NONE:
		return;
	case AT_TOKEN_LINE:
		MUST(token->text_len > 0 && token->text_len <= AT_LEXER_LINE_MAX);
		MUST(strlen(token->text) == token->text_len);
		MUST(!r->in_block);
		put_head(r, token, "L");
		put_escaped(r, (const uint8_t *)token->text, token->text_len);
		break;
	case AT_TOKEN_PROMPT:
		MUST(!r->in_block);
		put_head(r, token, "P");
		break;
	case AT_TOKEN_BLOCK:
		MUST(!r->in_block);
		MUST(strlen(token->text) == token->text_len);
		MUST(token->block.len >= 1 && token->block.len <= AT_LEXER_BLOCK_MAX);
		MUST(token->block.link >= -1 && token->block.link <= 4);
		r->in_block = 1;
		r->left = token->block.len;
		put_head(r, token, "B");
		put_escaped(r, (const uint8_t *)token->text, token->text_len);
		n = snprintf(text, sizeof(text), "(%s %d %d %zu)", block_names[token->block.type],
			     token->block.link, token->block.kind, token->block.len);
		put(r, text, (size_t)n);
		break;
	case AT_TOKEN_DATA:
		MUST(r->in_block && token->len > 0 && token->len <= r->left);
		if (r->len > 1 && r->in_block == 2)
			r->len--; /* goes on where the last piece ended */
		else
			put(r, "D", 1);
		r->in_block = 2;
		r->left -= token->len;
		put_escaped(r, token->data, token->len);
		break;
	case AT_TOKEN_END:
		MUST(r->in_block && r->left == 0);
		r->in_block = 0;
		put(r, "E", 1);
		break;
	case AT_TOKEN_BAD:
		MUST(r->left == 0);
		MUST(strlen(token->text) == token->text_len);
		r->in_block = 0;
		put(r, "X", 1);
		put(r, bad_names[token->bad], strlen(bad_names[token->bad]));
		break;
	}
	put(r, "|", 1);
}

void render_init(struct render *r)
{
	*r = (struct render){ 0 };
	at_lexer_reset(&r->lexer);
	put(r, "", 0);
}

void render_free(struct render *r)
{
	free(r->text);
	*r = (struct render){ 0 };
}

void render_feed(struct render *r, const uint8_t *data, size_t n)
{
	struct at_token token;

	for (;;) {
		/* A token may cost no byte (BAD looks at its last one again), but only one in a row. */
		size_t took = at_lexer_next(&r->lexer, data, n, &token);

		MUST(took <= n);
		MUST(token.type != AT_TOKEN_NONE || took == n);
		if (token.type == AT_TOKEN_DATA)
			MUST(token.data >= data && token.data + token.len == data + took);
		put_token(r, &token);
		data += took;
		n -= took;
		if (token.type == AT_TOKEN_NONE)
			return;
	}
}
