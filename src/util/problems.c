/* SPDX-License-Identifier: MIT */
/* A list of complaints about what a person gave us. */
#include "util/problems.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

__attribute__((format(printf, 3, 0))) static char *problem_text(const char *file, unsigned int line,
								const char *format, va_list ap)
{
	_cleanup_free_ char *body = NULL;
	char *text = NULL;
	int r;

	if (vasprintf(&body, format, ap) < 0) {
		body = NULL;
		return NULL;
	}
	if (!file)
		r = asprintf(&text, "%s", body);
	else if (line == 0)
		r = asprintf(&text, "%s: %s", file, body);
	else
		r = asprintf(&text, "%s:%u: %s", file, line, body);
	if (r < 0)
		return NULL;
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	return text;
}

int problems_vadd(struct problems *p, enum problem_severity severity, const char *file,
		  unsigned int line, const char *format, va_list ap)
{
	struct problem *items;
	char *text;

	if (severity == PROBLEM_ERROR)
		p->errors++;
	text = problem_text(file, line, format, ap);
	if (!text)
		return -ENOMEM;
	items = reallocarray(p->items, p->count + 1, sizeof(*items));
	if (!items) {
		free(text);
		return -ENOMEM;
	}
	p->items = items;
	p->items[p->count++] = (struct problem){ .severity = severity, .text = text };
	return 0;
}

int problems_add(struct problems *p, enum problem_severity severity, const char *file,
		 unsigned int line, const char *format, ...)
{
	va_list ap;
	int r;

	va_start(ap, format);
	r = problems_vadd(p, severity, file, line, format, ap);
	va_end(ap);
	return r;
}

void problems_harden(struct problems *p, const char *text)
{
	for (size_t i = 0; i < p->count; i++) {
		if (p->items[i].severity == PROBLEM_ERROR || strcmp(p->items[i].text, text) != 0)
			continue;
		p->items[i].severity = PROBLEM_ERROR;
		p->errors++;
	}
}

void problems_clear(struct problems *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->items[i].text);
	free(p->items);
	*p = (struct problems)PROBLEMS_NULL;
}
