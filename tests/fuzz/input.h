/* SPDX-License-Identifier: MIT */
/* What a fuzz target reads byte by byte, as a program. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct input {
	const uint8_t *data;
	size_t size;
};

/* 0 behind its end. */
static inline uint8_t next(struct input *in)
{
	if (in->size == 0)
		return 0;
	in->size--;
	return *in->data++;
}
