/* SPDX-License-Identifier: MIT */
/* Text for people: what comes over the bus is shown, but never obeyed, by a terminal. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * A copy in which each control character, each byte that is no UTF-8, and each character that would turn
 * the direction of the text around, is a '?'. NULL: no memory. As wide as wcwidth() says: the caller has
 * set a locale of UTF-8.
 */
char *text_clean(const char *text);
/* How many columns a text of text_clean() takes. */
size_t text_width(const char *text);
/* "2026-11-25", in UTC; "" for 0. */
void text_date(char *buf, size_t size, int64_t when);
/* "3.4 MB", in powers of 1000. */
void text_bytes(char *buf, size_t size, uint64_t bytes);
