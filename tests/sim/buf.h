/* SPDX-License-Identifier: MIT */
/* A growing byte queue: appended at its end, consumed at its head. */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct buf {
	uint8_t *mem;
	size_t head, tail, cap;
};

static inline size_t buf_len(const struct buf *b)
{
	return b->tail - b->head;
}

static inline const uint8_t *buf_data(const struct buf *b)
{
	return b->mem ? b->mem + b->head : (const uint8_t *)"";
}

static inline void buf_clear(struct buf *b)
{
	b->head = b->tail = 0;
}

static inline void buf_free(struct buf *b)
{
	free(b->mem);
	*b = (struct buf){ 0 };
}

/* Room for len more bytes; the simulator has no use for life without memory. */
static inline uint8_t *buf_room(struct buf *b, size_t len)
{
	if (b->cap - b->tail < len) {
		size_t used = buf_len(b), cap = b->cap ? b->cap : 256;

		if (b->head)
			memmove(b->mem, b->mem + b->head, used);
		b->head = 0;
		b->tail = used;
		while (cap - used < len)
			cap *= 2;
		if (cap != b->cap) {
			b->mem = realloc(b->mem, cap);
			if (!b->mem)
				abort();
			b->cap = cap;
		}
	}
	return b->mem + b->tail;
}

static inline void buf_add(struct buf *b, const void *data, size_t len)
{
	if (!len)
		return;
	memcpy(buf_room(b, len), data, len);
	b->tail += len;
}

static inline void buf_eat(struct buf *b, size_t len)
{
	b->head += len;
	if (b->head == b->tail)
		buf_clear(b);
}
