/* SPDX-License-Identifier: MIT */
/* MAC addresses, as 24:0a:c4:12:34:56. */
#pragma once

#include <stdbool.h>

/* Of six bytes, in either case, and nothing else. */
bool mac_is_valid(const char *s);
