/* SPDX-License-Identifier: MIT */
/* Log lines, to the journal or to stderr. */
#include "util/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Where in our code a line is written is of no use to who reads it. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "util/utf8.h"

#define LOG_LINE_MAX 1024
/* Longer than any name of the configuration, with the field's own. */
#define LOG_FIELD_MAX 128

#define LOG_JOURNAL_SOCKET "/run/systemd/journal/socket"

static enum log_level log_max_level = LOG_LEVEL_INFO;

static const struct {
	const char *name;
	int priority; /* syslog(3) */
} log_levels[] = {
	[LOG_LEVEL_ERROR] = { "error", 3 },   [LOG_LEVEL_WARNING] = { "warning", 4 },
	[LOG_LEVEL_NOTICE] = { "notice", 5 }, [LOG_LEVEL_INFO] = { "info", 6 },
	[LOG_LEVEL_DEBUG] = { "debug", 7 },
};

void log_set_level(enum log_level level)
{
	log_max_level = level;
}

enum log_level log_get_level(void)
{
	return log_max_level;
}

bool log_enabled(enum log_level level)
{
	return level <= log_max_level;
}

const char *log_level_name(enum log_level level)
{
	return log_levels[level].name;
}

int log_level_parse(const char *name, enum log_level *ret)
{
	for (size_t i = 0; i < sizeof(log_levels) / sizeof(*log_levels); i++)
		if (strcmp(name, log_levels[i].name) == 0) {
			*ret = (enum log_level)i;
			return 0;
		}
	return -EINVAL;
}

/* The variable is inherited also by those whose stderr was redirected since (systemd.exec(5)). */
static bool log_to_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uintmax_t device, inode;
	struct stat st;
	int end = 0;

	if (!stream || sscanf(stream, "%ju:%ju%n", &device, &inode, &end) < 2 || stream[end])
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

static struct iovec log_field(char buf[LOG_FIELD_MAX], const char *name, const char *value)
{
	snprintf(buf, LOG_FIELD_MAX, "%s=%s", name, value);
	utf8_clean(buf);
	return (struct iovec){ buf, strlen(buf) };
}

/* Returns false if the journal cannot be reached. @message: "MESSAGE=..." */
static bool log_send(enum log_level level, const struct log_object *object, char *message)
{
	char fields[5][LOG_FIELD_MAX], priority[2] = { 0 };
	struct iovec iov[6];
	int n = 0;

	/* The library takes a journal that is not there, in a chroot, for a success. */
	if (access(LOG_JOURNAL_SOCKET, W_OK) < 0)
		return false;
	priority[0] = (char)('0' + log_levels[level].priority);
	iov[n++] = log_field(fields[0], "PRIORITY", priority);
	iov[n++] = log_field(fields[1], "SYSLOG_IDENTIFIER", program_invocation_short_name);
	if (object && object->device)
		iov[n++] = log_field(fields[2], "ESPAT_DEVICE", object->device);
	if (object && object->tunnel)
		iov[n++] = log_field(fields[3], "ESPAT_TUNNEL", object->tunnel);
	if (object && object->reason)
		iov[n++] = log_field(fields[4], "ESPAT_REASON", object->reason);
	iov[n++] = (struct iovec){ message, strlen(message) };
	return sd_journal_sendv(iov, n) >= 0;
}

static void log_write(enum log_level level, const struct log_object *object, const char *format,
		      va_list ap) __attribute__((format(printf, 3, 0)));
static void log_write(enum log_level level, const struct log_object *object, const char *format,
		      va_list ap)
{
	static const char field[] = "MESSAGE=";
	bool journal = log_to_journal();
	char line[LOG_LINE_MAX + sizeof(field)] = "MESSAGE=";
	char *text = line + strlen(field);
	const char *name = !object ? NULL : object->tunnel ? object->tunnel : object->device;
	size_t len = 0;

	if (name)
		snprintf(text, LOG_LINE_MAX - 1, "%s: ", name);
	len = strlen(text);
	if (vsnprintf(text + len, LOG_LINE_MAX - 1 - len, format, ap) < 0)
		return;
	utf8_clean(text);
	if (journal && log_send(level, object, line))
		return;
	if (journal) {
		/* sd-daemon(3): "<N>" in front of a line is its priority. */
		text -= 3;
		text[0] = '<';
		text[1] = (char)('0' + log_levels[level].priority);
		text[2] = '>';
	}
	len = strlen(text);
	text[len++] = '\n';
	/* One write: lines of several processes on one terminal stay whole. */
	if (write(STDERR_FILENO, text, len) < 0)
		return;
}

void log_msg(enum log_level level, const char *format, ...)
{
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, format);
	log_write(level, NULL, format, ap);
	va_end(ap);
}

void log_object(enum log_level level, const struct log_object *object, const char *format, ...)
{
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, format);
	log_write(level, object, format, ap);
	va_end(ap);
}
