/* SPDX-License-Identifier: MIT */
/* Log lines: to the journal with fields where stderr is the journal, else to stderr as text. */
#pragma once

#include <stdbool.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_NOTICE,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

void log_set_level(enum log_level level);
enum log_level log_get_level(void);
bool log_enabled(enum log_level level);
/* "error", "warning", "notice", "info", "debug"; parsing one of these returns 0, else -EINVAL. */
const char *log_level_name(enum log_level level);
int log_level_parse(const char *name, enum log_level *ret);

/* What a line is about; each of them may be NULL. */
struct log_object {
	const char *device; /* ESPAT_DEVICE= */
	const char
		*tunnel; /* ESPAT_TUNNEL=; the line begins with its name then, not the device's */
	const char *reason; /* ESPAT_REASON=: one word of a fixed set, see link_end_reason() */
};

/*
 * Writes one line, cut at 1 KiB; control characters in it become '?', so that nothing that a chip or
 * a client sends can forge a line. A line about an object starts with its name ("esp0: ..."), in the
 * journal too.
 */
__attribute__((format(printf, 2, 3))) void log_msg(enum log_level level, const char *format, ...);
/* The same, with the object's name and fields; @format is what comes behind "NAME: ". */
__attribute__((format(printf, 3, 4))) void
log_object(enum log_level level, const struct log_object *object, const char *format, ...);

#define log_error(...) log_msg(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_msg(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...) log_msg(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...) log_msg(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                                                             \
	do {                                                                                       \
		if (log_enabled(LOG_LEVEL_DEBUG))                                                  \
			log_msg(LOG_LEVEL_DEBUG, __VA_ARGS__);                                     \
	} while (0)
