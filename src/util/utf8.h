/* SPDX-License-Identifier: MIT */
/* UTF-8 as RFC 3629 has it: no overlong form, no surrogate, nothing above U+10FFFF. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The length of the character that @text begins with, at most @len; 0: there is none. A NUL is one, and
 * ends what is before it: SIZE_MAX goes with a string. *ret, unless @ret is NULL: its number.
 */
size_t utf8_character(const char *text, size_t len, uint32_t *ret);
bool utf8_is_valid(const char *text);
/* Makes one line of it that no terminal obeys: `?` for each byte of a control character, or of none. */
void utf8_clean(char *text);
/* Takes away what is left of a character that was cut off at the end. */
void utf8_trim(char *text);
