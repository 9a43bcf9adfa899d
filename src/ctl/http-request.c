/* SPDX-License-Identifier: MIT */
/* The pure part of ctl/http. */
#include "ctl/http.h"

#include <string.h>

int http_status(const char *request, size_t len)
{
	const char *path, *end = memmem(request, len, "\r\n\r\n", 4);
	size_t n;

	if (!end)
		end = memmem(request, len, "\n\n", 2);
	if (!end)
		return len >= HTTP_REQUEST_MAX ? 431 : 0;
	if (len < 4 || memcmp(request, "GET ", 4) != 0)
		return memchr(request, ' ', (size_t)(end - request)) ? 405 : 400;
	path = request + 4;
	for (n = 0; path + n < end && !strchr(" \r\n?", path[n]); n++)
		;
	if ((n == 1 && path[0] == '/') || (n == 8 && memcmp(path, "/metrics", 8) == 0))
		return 200;
	return 404;
}
