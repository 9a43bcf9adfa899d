/* SPDX-License-Identifier: MIT */
/* Looks through a configuration file before libconfig does. */
#include "config/source.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/keys.h"
#include "util/cleanup.h"

/* libconfig's own limit of files within files. */
#define SOURCE_DEPTH_MAX 10
/* Files that include each other twice at each level would take for ever to look through. */
#define SOURCE_INCLUDES_MAX 100

struct source {
	const char *path;
	const struct source_about *about;
	struct problems *problems;
	const char *text;
	size_t len;
	size_t pos;
	unsigned int line;
	unsigned int depth;
	unsigned int *includes; /* how many so far, in all files */
};

int source_open(FILE **ret, const char *path, struct problems *problems)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	/* O_NONBLOCK: a FIFO must not hold us up before it is refused. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return problems_add(problems, PROBLEM_ERROR, path, 0,
				    "no such file, expected a configuration file");
	if (fd < 0 || fstat(fd, &st) < 0)
		return problems_add(problems, PROBLEM_ERROR, path, 0,
				    "cannot be read: %s, expected a configuration file",
				    strerror(errno));
	if (!S_ISREG(st.st_mode))
		return problems_add(problems, PROBLEM_ERROR, path, 0,
				    "is %s, expected a configuration file",
				    S_ISDIR(st.st_mode) ? "a folder" : "not a regular file");
	if (st.st_size > SOURCE_MAX)
		return problems_add(problems, PROBLEM_ERROR, path, 0,
				    "has %lld bytes, expected at most %d", (long long)st.st_size,
				    SOURCE_MAX);
	*ret = fdopen(fd, "r");
	if (!*ret)
		return -ENOMEM;
	fd = -1;
	return 0;
}

static int source_read(struct source *source, FILE *f);

static char source_peek(const struct source *source, size_t ahead)
{
	return source->pos + ahead < source->len ? source->text[source->pos + ahead] : '\0';
}

static void source_skip(struct source *source, size_t n)
{
	for (; n > 0 && source->pos < source->len; n--)
		source->line += source->text[source->pos++] == '\n';
}

static int source_comment(struct source *source)
{
	const char *end = memmem(source->text + source->pos + 2, source->len - source->pos - 2,
				 "*/", 2);
	unsigned int line = source->line;

	if (end) {
		source_skip(source, end + 2 - (source->text + source->pos));
		return 0;
	}
	source_skip(source, source->len);
	return problems_add(source->problems, PROBLEM_ERROR, source->path, line,
			    "the comment that begins here has no end, expected */");
}

static int source_string(struct source *source)
{
	int r = 0;

	source_skip(source, 1);
	while (source->pos < source->len && source_peek(source, 0) != '"') {
		if (source_peek(source, 0) == '\\') {
			if ((source_peek(source, 1) | 0x20) == 'x' &&
			    source_peek(source, 2) == '0' && source_peek(source, 3) == '0' &&
			    r == 0)
				r = problems_add(
					source->problems, PROBLEM_ERROR, source->path, source->line,
					"\\x00 in a string, expected a string without NUL");
			source_skip(source, 1);
		}
		source_skip(source, 1);
	}
	source_skip(source, 1);
	return r;
}

/* libconfig cuts an integer off at 32 bits unless an L follows. */
static int source_number(struct source *source)
{
	const char *start = source->text + source->pos;
	bool hex = start[0] == '0' && (source_peek(source, 1) | 0x20) == 'x';
	char digits[24] = "";
	size_t n = hex ? 2 : 0;
	char *end;
	unsigned long long value;

	while (hex ? isxdigit((unsigned char)source_peek(source, n))
		   : isdigit((unsigned char)source_peek(source, n)))
		n++;
	if (!hex && (source_peek(source, n) == '.' || (source_peek(source, n) | 0x20) == 'e')) {
		while (isalnum((unsigned char)source_peek(source, n)) ||
		       source_peek(source, n) == '.')
			n++;
		source_skip(source, n);
		return 0;
	}
	snprintf(digits, sizeof(digits), "%.*s", n > 22 ? 22 : (int)n, start);
	source_skip(source, n);
	if (source_peek(source, 0) == 'L') {
		while (source_peek(source, 0) == 'L')
			source_skip(source, 1);
		return 0;
	}
	value = strtoull(digits, &end, hex ? 16 : 10);
	if (value <= INT_MAX || (hex && value <= UINT_MAX))
		return 0;
	return problems_add(source->problems, PROBLEM_ERROR, source->path, source->line,
			    "the number %s is too large, expected at most %d", digits, INT_MAX);
}

static int source_include(struct source *source)
{
	unsigned int line = source->line;
	const char *start = memchr(source->text + source->pos, '"', source->len - source->pos),
		   *end;
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_free_ char *name = NULL, *path = NULL;
	struct source inner = *source;
	size_t errors;
	int r;

	end = start ? memchr(start + 1, '"', source->text + source->len - start - 1) : NULL;
	if (!end) {
		source_skip(source, source->len); /* a syntax error for libconfig */
		return 0;
	}
	name = strndup(start + 1, end - start - 1);
	if (!name)
		return -ENOMEM;
	source_skip(source, end + 1 - (source->text + source->pos));
	if (source->about->no_includes)
		return problems_add(source->problems, PROBLEM_ERROR, source->path, line,
				    "includes \"%.200s\", expected no @include in here", name);
	path = key_absolute_path(source->about->folder, name);
	if (!path)
		return -ENOMEM;
	if (source->depth + 1 > SOURCE_DEPTH_MAX || ++*source->includes > SOURCE_INCLUDES_MAX)
		return *source->includes > SOURCE_INCLUDES_MAX + 1
			       ? 0
			       : problems_add(source->problems, PROBLEM_ERROR, source->path,
					      source->line,
					      "too many files are included (does one include "
					      "itself?), expected at most %d, %d deep",
					      SOURCE_INCLUDES_MAX, SOURCE_DEPTH_MAX);
	errors = source->problems->errors;
	r = source_open(&f, path, source->problems);
	if (r < 0)
		return r;
	if (source->problems->errors > errors)
		return problems_add(source->problems, PROBLEM_ERROR, source->path, source->line,
				    "includes \"%.200s\", expected a file that can be read", name);
	inner.path = path;
	inner.depth++;
	return source_read(&inner, f);
}

/* At the start of a line: `@include "file"`. */
static bool source_at_include(const struct source *source)
{
	static const char word[] = "@include";
	size_t n = 0;

	while (source_peek(source, n) == ' ' || source_peek(source, n) == '\t')
		n++;
	for (size_t i = 0; word[i]; i++, n++)
		if (source_peek(source, n) != word[i])
			return false;
	if (source_peek(source, n) != ' ' && source_peek(source, n) != '\t')
		return false;
	while (source_peek(source, n) == ' ' || source_peek(source, n) == '\t')
		n++;
	return source_peek(source, n) == '"';
}

static int source_scan(struct source *source)
{
	bool line_start = true;
	int r = 0;

	while (r == 0 && source->pos < source->len) {
		char c = source_peek(source, 0), next = source_peek(source, 1);

		if (line_start && source_at_include(source)) {
			r = source_include(source);
			line_start = false;
			continue;
		}
		line_start = c == '\n';
		if (c == '#' || (c == '/' && next == '/')) {
			while (source->pos < source->len && source_peek(source, 0) != '\n')
				source_skip(source, 1);
		} else if (c == '/' && next == '*') {
			r = source_comment(source);
		} else if (c == '"') {
			r = source_string(source);
		} else if (isdigit((unsigned char)c)) {
			r = source_number(source);
		} else if (isalpha((unsigned char)c) || c == '*') {
			while (isalnum((unsigned char)source_peek(source, 0)) ||
			       (source_peek(source, 0) && strchr("-_*", source_peek(source, 0))))
				source_skip(source, 1);
		} else {
			source_skip(source, 1);
		}
	}
	return r;
}

/* The whole of @f, or more than SOURCE_MAX of it; most are small. Returns 0 or -ENOMEM. */
static int source_slurp(FILE *f, char **ret, size_t *ret_len)
{
	size_t size = 16 * 1024, len = 0;

	for (;; size *= 2) {
		char *text = realloc(*ret, size);

		if (!text)
			return -ENOMEM;
		*ret = text;
		len += fread(text + len, 1, size - len, f);
		if (len < size || len > SOURCE_MAX) {
			*ret_len = len;
			return 0;
		}
	}
}

static int source_read(struct source *source, FILE *f)
{
	_cleanup_free_ char *text = NULL;
	const char *nul;
	int r;

	r = source_slurp(f, &text, &source->len);
	if (r < 0)
		return r;
	source->text = text;
	source->pos = 0;
	source->line = 1;
	if (*source->about->total > SOURCE_TOTAL_MAX)
		return 0; /* it was said before */
	*source->about->total += source->len;
	if (*source->about->total > SOURCE_TOTAL_MAX)
		return problems_add(source->problems, PROBLEM_ERROR, source->path, 0,
				    "makes the whole configuration larger than %d bytes, expected "
				    "less",
				    SOURCE_TOTAL_MAX);
	if (ferror(f) || source->len > SOURCE_MAX)
		return problems_add(
			source->problems, PROBLEM_ERROR, source->path, 0,
			"cannot be read to its end, expected a file of at most %d bytes",
			SOURCE_MAX);
	nul = memchr(text, '\0', source->len);
	if (nul) {
		source_skip(source, nul - text);
		return problems_add(source->problems, PROBLEM_ERROR, source->path, source->line,
				    "has a NUL byte, expected text");
	}
	return source_scan(source);
}

int source_check(FILE *f, const struct source_about *about, struct problems *problems)
{
	unsigned int includes = 0;
	struct source source = {
		.path = about->path,
		.about = about,
		.problems = problems,
		.includes = &includes,
	};
	int r = source_read(&source, f);

	rewind(f);
	return r;
}
