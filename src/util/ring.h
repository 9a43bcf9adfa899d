/* SPDX-License-Identifier: MIT */
/* A byte ring that grows by doubling up to a hard bound, and keeps its memory until its owner gives it back. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct ring {
	uint8_t *data;
	size_t size; /* 0 or a power of two */
	size_t head; /* of the oldest byte */
	size_t len;
	size_t max; /* hard bound of size, a power of two */
	bool wipe;  /* what was in it is overwritten when it is dropped */
};

/* @max: a power of two. Allocates nothing. */
void ring_init(struct ring *ring, size_t max);
void ring_deinit(struct ring *ring);
/* Appends all or nothing. Returns 0, -ENOBUFS (over the bound) or -ENOMEM. */
int ring_put(struct ring *ring, const void *data, size_t len);
/* The stored bytes, oldest first, as at most two pieces; returns how many pieces. */
int ring_peek(const struct ring *ring, struct iovec iov[2]);
/* Drops the oldest @len bytes (at most what is there). */
void ring_drop(struct ring *ring, size_t len);
/* Gives the memory of an empty one back. */
void ring_trim(struct ring *ring);
