/* SPDX-License-Identifier: MIT */
/* Lines about an object, as text, for tests that catch log_msg(). */
#include <stdarg.h>
#include <stdio.h>

#include "util/log.h"

__attribute__((format(printf, 2, 3))) void __wrap_log_msg(enum log_level level, const char *format,
							  ...);
__attribute__((format(printf, 3, 4))) void
__wrap_log_object(enum log_level level, const struct log_object *object, const char *format, ...);

void __wrap_log_object(enum log_level level, const struct log_object *object, const char *format,
		       ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	__wrap_log_msg(level, "%s: %s", object->tunnel ? object->tunnel : object->device, text);
}
