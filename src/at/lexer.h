/* SPDX-License-Identifier: MIT */
/*
 * Bytes from the chip -> tokens. Holds one partial line and no more; allocates nothing, calls nobody.
 *
 * The chip speaks in lines that end in CRLF, in the prompt '>' at the start of a line, and in
 * counted blocks: `+IPD,<link>,<len>:`, `+CIPRECVDATA:<len>,` and `+SYSMFG:"ns","key",<type>,<len>,`
 * are followed by exactly <len> raw bytes and CRLF. What is inside a block is never looked at. A
 * block that does not end in CRLF, a control character in a line, a line without end and a length
 * out of range are AT_TOKEN_BAD: bytes were lost or changed on the way.
 *
 * The name of a network stands in a scan's lines as it is, and whoever is in range chooses it. While @names
 * is set, control characters (but NUL, which ends it in the firmware) among its up to 32 bytes belong to
 * it, line ends too, so that it can be no line or block of its own: with all that AT+CWLAPOPT=1,2047 puts
 * behind it, a line cannot end there. Where that was lost on the way, the next line is taken for a piece
 * of the name, until it is too long, or a line's head is found in it.
 *
 * Tokens do not depend on how the input was cut, but for the cuts of AT_TOKEN_DATA.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest line kept. The longest that the firmware prints (CWLAP, CIPSTATE with IPv6) is below 300. */
#define AT_LEXER_LINE_MAX 512
/* Longest counted block: a TLS record (capture 62); blobs and active +IPD are smaller. */
#define AT_LEXER_BLOCK_MAX 16384

enum at_token_type {
	AT_TOKEN_NONE,   /* all input consumed, nothing complete */
	AT_TOKEN_LINE,   /* text: a line without its CRLF, never empty */
	AT_TOKEN_PROMPT, /* '>' */
	AT_TOKEN_BLOCK,  /* a counted block begins: text is its head, block says which */
	AT_TOKEN_DATA,   /* data: some of its bytes */
	AT_TOKEN_END,    /* the block is complete, its CRLF was there */
	AT_TOKEN_BAD,    /* bad: what is wrong; reading goes on at the next line */
};

enum at_block_type {
	AT_BLOCK_IPD,
	AT_BLOCK_RECVDATA,
	AT_BLOCK_SYSMFG,
};

enum at_bad {
	AT_BAD_CONTROL,  /* a control character in a line */
	AT_BAD_TOO_LONG, /* no CRLF within AT_LEXER_LINE_MAX */
	AT_BAD_LENGTH,   /* a block's length or link is out of range */
	AT_BAD_NO_CRLF,  /* a block does not end in CRLF */
};

struct at_block {
	enum at_block_type type;
	int link; /* AT_BLOCK_IPD: -1 without a link number (CIPMUX=0) */
	int kind; /* AT_BLOCK_SYSMFG: the NVS type 1..8 */
	size_t len;
};

struct at_token {
	enum at_token_type type;
	/*
	 * LINE, BLOCK: NUL-terminated, valid until the next call (a NUL byte from the chip is BAD). BAD:
	 * what had come of the line.
	 */
	const char *text;
	size_t text_len;
	size_t blanks;         /* LINE, BLOCK, PROMPT, BAD: so many empty lines came right before */
	struct at_block block; /* BLOCK, DATA, END */
	const uint8_t *data;   /* DATA: points into the input */
	size_t len;
	enum at_bad bad;
	int tail; /* BAD: the byte that was taken behind text, -1: none */
};

enum at_lexer_state {
	AT_LEXER_LINE,
	AT_LEXER_CR, /* a CR was read, LF must follow */
	AT_LEXER_DATA,
	AT_LEXER_DATA_CR, /* the block's CR must follow */
	AT_LEXER_DATA_LF,
	AT_LEXER_SKIP, /* after BAD: to the next LF */
};

struct at_lexer {
	enum at_lexer_state state;
	char line[AT_LEXER_LINE_MAX + 1];
	size_t len;
	struct at_block block;
	size_t left;   /* of the block */
	size_t blanks; /* empty lines, the last thing read */
	bool names;    /* networks are listed, see above: for the owner to set */
	bool strange;  /* the line has a control character in its name */
};

/* Also unsets names. */
void at_lexer_reset(struct at_lexer *lexer);
/*
 * Consumes from @buf until one token is complete or all @n bytes are gone, fills *ret and returns
 * how many bytes it took. Call again with the rest until it says AT_TOKEN_NONE.
 */
size_t at_lexer_next(struct at_lexer *lexer, const uint8_t *buf, size_t n, struct at_token *ret);
/* Overwrites what is left of earlier lines. */
void at_lexer_wipe(struct at_lexer *lexer);
/* Between two lines, with nothing of the next one read. */
bool at_lexer_idle(const struct at_lexer *lexer);
/* Whether the rest of a block is to come. */
bool at_lexer_in_block(const struct at_lexer *lexer);
/* The words for @bad. */
const char *at_bad_text(enum at_bad bad);
