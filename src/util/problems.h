/* SPDX-License-Identifier: MIT */
/* A list of complaints about what a person gave us: one line each, errors and warnings. */
#pragma once

#include <stdarg.h>
#include <stddef.h>

enum problem_severity {
	PROBLEM_WARNING,
	PROBLEM_ERROR,
};

struct problem {
	enum problem_severity severity;
	char *text; /* one line without line end, "file:line: what, expected what" */
};

struct problems {
	struct problem *items;
	size_t count;
	size_t errors; /* how many of them are PROBLEM_ERROR */
};

#define PROBLEMS_NULL                                                                              \
	{                                                                                          \
		0                                                                                  \
	}

/*
 * Adds a complaint; "file:line: " goes in front if @file is not NULL (without the line if it is 0).
 * Control characters in the text are replaced by '?'. Returns 0 or -ENOMEM (then @errors is
 * counted all the same, so that a failure is never taken for success).
 */
__attribute__((format(printf, 5, 6))) int problems_add(struct problems *p,
						       enum problem_severity severity,
						       const char *file, unsigned int line,
						       const char *format, ...);
/* The same with the arguments in a list. */
__attribute__((format(printf, 5, 0))) int problems_vadd(struct problems *p,
							enum problem_severity severity,
							const char *file, unsigned int line,
							const char *format, va_list ap);
/* The warning with this text is an error from now on. */
void problems_harden(struct problems *p, const char *text);
/* Frees the contents; @p may be used again. */
void problems_clear(struct problems *p);
