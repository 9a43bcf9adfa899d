/* SPDX-License-Identifier: MIT */
/* Log lines to stderr. */
#include "util/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG_LINE_MAX 1024

static enum log_level log_max_level = LOG_LEVEL_INFO;

/* sd-daemon(3): "<N>" in front of a line is its syslog priority. */
static const char *const log_prefix[] = {
	[LOG_LEVEL_ERROR] = "<3>", [LOG_LEVEL_WARNING] = "<4>", [LOG_LEVEL_NOTICE] = "<5>",
	[LOG_LEVEL_INFO] = "<6>",  [LOG_LEVEL_DEBUG] = "<7>",
};

void log_set_level(enum log_level level)
{
	log_max_level = level;
}

bool log_enabled(enum log_level level)
{
	return level <= log_max_level;
}

void log_msg(enum log_level level, const char *format, ...)
{
	char line[LOG_LINE_MAX];
	size_t head = 0;
	size_t len;
	va_list ap;
	int r;

	if (!log_enabled(level))
		return;
	if (getenv("JOURNAL_STREAM")) {
		head = strlen(log_prefix[level]);
		memcpy(line, log_prefix[level], head);
	}
	va_start(ap, format);
	r = vsnprintf(line + head, sizeof(line) - head - 1, format, ap);
	va_end(ap);
	if (r < 0)
		return;
	len = head + strlen(line + head);
	for (size_t i = head; i < len; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[len++] = '\n';
	/* One write: lines of several processes on one terminal stay whole. */
	if (write(STDERR_FILENO, line, len) < 0)
		return;
}
