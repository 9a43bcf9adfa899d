/* SPDX-License-Identifier: MIT */
/*
 * What comes from a port on which no chip has answered so far: it tells another UART of a chip, where the
 * boot loader and the log speak, from a rate that is wrong and from a line that is dead. Nothing of it is
 * told to anybody but by words of ours.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longer than the longest sign; a log line's comes at its beginning. */
#define HEARSAY_LINE 48

struct hearsay {
	bool came;          /* anything, at whatever rate */
	bool boot;          /* the text of a boot loader or of a log */
	size_t text, noise; /* bytes at the rate of the start that are text, and are none */
	char line[HEARSAY_LINE + 1];
	size_t len;
};

/* @right: the host's end has the rate of the start. */
void hearsay_take(struct hearsay *hearsay, const uint8_t *data, size_t len, bool right);
/* In a few words, for an error; literal. */
const char *hearsay_describe(const struct hearsay *hearsay);
