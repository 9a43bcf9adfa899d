/* SPDX-License-Identifier: MIT */
/*
 * The lexer: any cut of the input gives the same tokens. The first byte seeds the cuts; an odd one makes the
 * input the answer to a scan.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/render-tokens.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct render whole, bytes, cut;
	unsigned int seed;
	size_t off;

	if (size == 0)
		return 0;
	seed = *data++;
	size--;
	render_init(&whole);
	render_init(&bytes);
	render_init(&cut);
	whole.lexer.names = bytes.lexer.names = cut.lexer.names = seed & 1;
	render_feed(&whole, data, size);
	for (off = 0; off < size; off++)
		render_feed(&bytes, data + off, 1);
	for (off = 0; off < size;) {
		size_t piece = (seed = seed * 1103515245u + 12345u) >> 16 & 31;

		if (piece > size - off)
			piece = size - off;
		render_feed(&cut, data + off, piece);
		off += piece;
	}
	if (strcmp(whole.text, bytes.text) != 0 || strcmp(whole.text, cut.text) != 0) {
		fprintf(stderr, "whole: %s\nbytes: %s\ncut:   %s\n", whole.text, bytes.text,
			cut.text);
		abort();
	}
	render_free(&whole);
	render_free(&bytes);
	render_free(&cut);
	return 0;
}
