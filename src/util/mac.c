/* SPDX-License-Identifier: MIT */
#include "util/mac.h"

#include <ctype.h>
#include <stddef.h>

bool mac_is_valid(const char *s)
{
	static const char form[] = "xx:xx:xx:xx:xx:xx";
	size_t i;

	for (i = 0; form[i]; i++)
		if (form[i] == 'x' ? !isxdigit((unsigned char)s[i]) : s[i] != ':')
			return false;
	return s[i] == '\0';
}
