/* SPDX-License-Identifier: MIT */
/* All that is logged, as text. */
#include "log-capture.h"

#include "test.h"

#include <stdio.h>

#include "util/log.h"

char logged[65536];
static size_t logged_len;

__attribute__((format(printf, 2, 3))) void __wrap_log_msg(enum log_level level, const char *format,
							  ...);

void __wrap_log_msg(enum log_level level, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(logged + logged_len, sizeof(logged) - logged_len, format, ap);
	va_end(ap);
	assert_true(n >= 0 && logged_len + (size_t)n + 2 < sizeof(logged));
	logged_len += (size_t)n;
	logged[logged_len++] = '\n';
	logged[logged_len] = '\0';
}

void log_capture_reset(void)
{
	logged_len = 0;
	logged[0] = '\0';
}
