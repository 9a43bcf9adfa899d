/* SPDX-License-Identifier: MIT */
/*
 * Input -> its tokens as text, for tables and for comparing: each token ends in '|'; in front of it
 * '~' if an empty line came before. L line, P prompt, B block head(type link kind len), D data (the
 * pieces of one block in one), E end of the block, X bad.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "at/lexer.h"

struct render {
	struct at_lexer lexer;
	char *text; /* NUL-terminated; grows */
	size_t len;
	size_t size;
	size_t left; /* of the block that is being read; checked */
	int in_block;
};

void render_init(struct render *r);
void render_free(struct render *r);
/* Feeds one piece; aborts where the lexer breaks its word (bytes taken, data outside the input...). */
void render_feed(struct render *r, const uint8_t *data, size_t n);
