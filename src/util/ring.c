/* SPDX-License-Identifier: MIT */
/* A byte ring with a hard bound. */
#include "util/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RING_MIN 4096

void ring_init(struct ring *ring, size_t max)
{
	*ring = (struct ring){ .max = max };
}

static void ring_free_data(struct ring *ring)
{
	if (ring->wipe && ring->data)
		explicit_bzero(ring->data, ring->size);
	free(ring->data);
}

void ring_deinit(struct ring *ring)
{
	ring_free_data(ring);
	*ring = (struct ring){ .max = ring->max, .wipe = ring->wipe };
}

int ring_peek(const struct ring *ring, struct iovec iov[2])
{
	size_t first;

	if (ring->len == 0)
		return 0;
	first = ring->size - ring->head;
	if (first > ring->len)
		first = ring->len;
	iov[0] = (struct iovec){ ring->data + ring->head, first };
	if (first == ring->len)
		return 1;
	iov[1] = (struct iovec){ ring->data, ring->len - first };
	return 2;
}

static int ring_grow(struct ring *ring, size_t need)
{
	size_t size = ring->size ? ring->size : RING_MIN;
	struct iovec iov[2];
	uint8_t *data;
	size_t off = 0;
	int n;

	while (size < need)
		size *= 2;
	data = malloc(size);
	if (!data)
		return -ENOMEM;
	n = ring_peek(ring, iov);
	for (int i = 0; i < n; i++) {
		memcpy(data + off, iov[i].iov_base, iov[i].iov_len);
		off += iov[i].iov_len;
	}
	ring_free_data(ring);
	ring->data = data;
	ring->size = size;
	ring->head = 0;
	return 0;
}

int ring_put(struct ring *ring, const void *data, size_t len)
{
	size_t tail, first;
	int r;

	if (len > ring->max - ring->len)
		return -ENOBUFS;
	if (ring->len + len > ring->size) {
		r = ring_grow(ring, ring->len + len);
		if (r < 0)
			return r;
	}
	if (len == 0)
		return 0;
	tail = (ring->head + ring->len) & (ring->size - 1);
	first = ring->size - tail;
	if (first > len)
		first = len;
	memcpy(ring->data + tail, data, first);
	memcpy(ring->data, (const uint8_t *)data + first, len - first);
	ring->len += len;
	return 0;
}

static void ring_wipe(struct ring *ring, size_t len)
{
	struct iovec iov[2];
	int n = ring_peek(ring, iov);

	for (int i = 0; i < n; i++) {
		size_t piece = len < iov[i].iov_len ? len : iov[i].iov_len;

		explicit_bzero(iov[i].iov_base, piece);
		len -= piece;
	}
}

void ring_drop(struct ring *ring, size_t len)
{
	if (ring->wipe)
		ring_wipe(ring, len);
	if (len < ring->len) {
		ring->head = (ring->head + len) & (ring->size - 1);
		ring->len -= len;
		return;
	}
	/* From its beginning again: it wraps less often, and touches less memory. */
	ring->head = 0;
	ring->len = 0;
}

void ring_trim(struct ring *ring)
{
	if (ring->len == 0)
		ring_deinit(ring);
}
