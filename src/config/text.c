/* SPDX-License-Identifier: MIT */
/* Values written as a piece of configuration. */
#include "config/text.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/source.h"
#include "util/cleanup.h"

/* Groups within groups; the deepest of ours is enterprise in wifi in devices. */
#define DEPTH_MAX 8
/* In all groups; a tunnel has not thirty. */
#define KEYS_MAX 256

/* A key that was written, to find its second one. */
struct writer_key {
	char *name;
	unsigned int group; /* each begun group has a number of its own */
};

struct config_writer {
	FILE *f;
	char *text;
	size_t size;
	int error; /* the first one stays */
	struct writer_key keys[KEYS_MAX];
	size_t n_keys;
	unsigned int groups[DEPTH_MAX]; /* that are open, by their numbers */
	size_t depth;
	unsigned int last_group;
};

static void writer_fail(struct config_writer *w, int error)
{
	if (w->error == 0)
		w->error = error;
}

static bool is_key(const char *key)
{
	static const char first[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz*";

	/* libconfig takes these for values wherever they stand. */
	if (strcasecmp(key, "true") == 0 || strcasecmp(key, "false") == 0)
		return false;
	return key[0] && strchr(first, key[0]) &&
	       key[strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			       "0123456789_-*")] == '\0';
}

int config_writer_new(struct config_writer **ret, const char *list)
{
	struct config_writer *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->f = open_memstream(&w->text, &w->size);
	if (!w->f) {
		config_writer_free(w);
		return -ENOMEM;
	}
	if (!is_key(list))
		writer_fail(w, -EINVAL);
	w->depth = 1;
	fprintf(w->f, "%s = (\n\t{\n", list);
	*ret = w;
	return 0;
}

struct config_writer *config_writer_free(struct config_writer *w)
{
	if (!w)
		return NULL;
	if (w->f)
		fclose(w->f);
	for (size_t i = 0; i < w->n_keys; i++)
		free(w->keys[i].name);
	free(w->text);
	free(w);
	return NULL;
}

/* Remembers @key in the open group. */
static int writer_note(struct config_writer *w, const char *key)
{
	unsigned int group;

	if (w->depth == 0 || !key || !is_key(key) || w->n_keys == KEYS_MAX)
		return -EINVAL;
	group = w->groups[w->depth - 1];
	for (size_t i = 0; i < w->n_keys; i++)
		if (w->keys[i].group == group && strcmp(w->keys[i].name, key) == 0)
			return -EINVAL;
	w->keys[w->n_keys].name = strdup(key);
	if (!w->keys[w->n_keys].name)
		return -ENOMEM;
	w->keys[w->n_keys++].group = group;
	return 0;
}

static void writer_indent(struct config_writer *w)
{
	for (size_t i = 0; i <= w->depth; i++)
		fputc('\t', w->f);
}

/* `key = `; false: nothing more is written. */
static bool writer_key(struct config_writer *w, const char *key)
{
	if (w->error == 0)
		w->error = writer_note(w, key);
	if (w->error < 0)
		return false;
	writer_indent(w);
	fprintf(w->f, "%s = ", key);
	return true;
}

/* A byte of a string; what has no letter of its own stands as it is, or by its number. */
static void writer_byte(struct config_writer *w, unsigned char c)
{
	static const char special[] = "\"\\\n\r\t\f", letters[] = "\"\\nrtf";
	const char *found = strchr(special, c);

	if (found)
		fprintf(w->f, "\\%c", letters[found - special]);
	else if (c < 0x20 || c == 0x7f)
		fprintf(w->f, "\\x%02x", c);
	else
		fputc(c, w->f);
}

static void writer_string(struct config_writer *w, const char *value)
{
	if (!value)
		return writer_fail(w, -EINVAL);
	fputc('"', w->f);
	for (const char *c = value; *c; c++)
		writer_byte(w, (unsigned char)*c);
	fputc('"', w->f);
}

/* A plain number has 32 bits in libconfig, and ours may not look as if it had more. */
static bool is_long(long long value)
{
	return value > INT_MAX || value < -INT_MAX;
}

void config_write_string(struct config_writer *w, const char *key, const char *value)
{
	if (!writer_key(w, key))
		return;
	writer_string(w, value);
	fputs(";\n", w->f);
}

void config_write_int(struct config_writer *w, const char *key, long long value)
{
	if (writer_key(w, key))
		fprintf(w->f, "%lld%s;\n", value, is_long(value) ? "L" : "");
}

void config_write_bool(struct config_writer *w, const char *key, bool value)
{
	if (writer_key(w, key))
		fprintf(w->f, "%s;\n", value ? "true" : "false");
}

void config_write_strings(struct config_writer *w, const char *key, const char *const *values,
			  size_t n)
{
	if (!writer_key(w, key))
		return;
	fputs("[", w->f);
	for (size_t i = 0; i < n; i++) {
		fputs(i ? ", " : " ", w->f);
		writer_string(w, values[i]);
	}
	fputs(" ];\n", w->f);
}

void config_write_ints(struct config_writer *w, const char *key, const long long *values, size_t n)
{
	const char *end = "";

	if (!writer_key(w, key))
		return;
	/* All of an array have one type. */
	for (size_t i = 0; i < n; i++)
		if (is_long(values[i]))
			end = "L";
	fputs("[", w->f);
	for (size_t i = 0; i < n; i++)
		fprintf(w->f, "%s%lld%s", i ? ", " : " ", values[i], end);
	fputs(" ];\n", w->f);
}

void config_write_begin(struct config_writer *w, const char *key)
{
	if (w->depth == DEPTH_MAX)
		writer_fail(w, -EINVAL);
	if (!writer_key(w, key))
		return;
	fputs("{\n", w->f);
	w->groups[w->depth++] = ++w->last_group;
}

void config_write_end(struct config_writer *w)
{
	/* The first one is the list's, and ends with it. */
	if (w->depth <= 1)
		writer_fail(w, -EINVAL);
	if (w->error < 0)
		return;
	w->depth--;
	writer_indent(w);
	fputs("};\n", w->f);
}

int config_writer_finish(struct config_writer *w, char **ret)
{
	if (w->depth != 1)
		writer_fail(w, -EINVAL);
	if (w->error < 0)
		return w->error;
	w->depth = 0; /* it is no more to be written to */
	fputs("\t}\n);\n", w->f);
	if (ferror(w->f) || fflush(w->f) != 0)
		return -ENOMEM;
	/* What is too long would not be read. */
	if (w->size > SOURCE_MAX)
		return -EINVAL;
	*ret = strdup(w->text);
	return *ret ? 0 : -ENOMEM;
}
