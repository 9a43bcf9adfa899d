/* SPDX-License-Identifier: MIT */
/* Reads groups and lists of a libconfig file by the tables of their keys. */
#include "config/keys.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

/* How much of a person's text a complaint repeats. */
#define SHOWN "%.80s"

#define FIELD(object, offset) ((void *)((char *)(object) + (offset)))

static void key_fail(struct key_reader *reader)
{
	if (reader->error == 0)
		reader->error = -ENOMEM;
}

static char *key_strdup(struct key_reader *reader, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		key_fail(reader);
	return copy;
}

char *key_absolute_path(const char *folder, const char *path)
{
	char *text = NULL;
	size_t len;
	int r;

	if (path[0] == '/')
		r = asprintf(&text, "%s", path);
	else
		r = asprintf(&text, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, path);
	if (r < 0)
		return NULL;
	len = strlen(text);
	while (len > 1 && text[len - 1] == '/')
		text[--len] = '\0';
	return text;
}

/* libconfig frees its file names with its tree, so the config keeps one copy of each. */
static const char *key_keep_file(struct key_reader *reader, const char *file)
{
	struct config *config = reader->config;
	_cleanup_free_ char *path = NULL;
	char **files;

	if (!file)
		return config->path;
	path = key_absolute_path(reader->folder, file);
	if (!path) {
		key_fail(reader);
		return config->path;
	}
	for (size_t i = 0; i < config->n_files; i++)
		if (strcmp(config->files[i], path) == 0)
			return config->files[i];
	files = reallocarray(config->files, config->n_files + 1, sizeof(*files));
	if (!files) {
		key_fail(reader);
		return config->path;
	}
	config->files = files;
	files[config->n_files] = path;
	path = NULL;
	return files[config->n_files++];
}

struct config_where key_where(struct key_reader *reader, const config_setting_t *setting)
{
	return (struct config_where){
		.file = key_keep_file(reader, config_setting_source_file(setting)),
		.line = config_setting_source_line(setting),
	};
}

void key_complain(struct key_reader *reader, const config_setting_t *setting, const char *format,
		  ...)
{
	struct config_where where = key_where(reader, setting);
	va_list ap;
	int r;

	va_start(ap, format);
	r = problems_vadd(reader->problems, PROBLEM_ERROR, where.file, where.line, format, ap);
	va_end(ap);
	if (r < 0)
		key_fail(reader);
}

const char *key_type_of(const config_setting_t *setting)
{
	switch (config_setting_type(setting)) {
	case CONFIG_TYPE_GROUP:
		return "a group { ... }";
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		return "an integer";
	case CONFIG_TYPE_FLOAT:
		return "a number with a fraction";
	case CONFIG_TYPE_STRING:
		return "a string";
	case CONFIG_TYPE_BOOL:
		return "true or false";
	case CONFIG_TYPE_ARRAY:
		return "an array [ ... ]";
	case CONFIG_TYPE_LIST:
		return "a list ( ... )";
	}
	return "nothing";
}

/* `"host" or "sntp"`, in memory of the caller; NULL: out of memory. */
static char *key_expected_choice(const struct key *key)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	for (size_t i = 0; key->choices[i]; i++)
		fprintf(f, "%s\"%s\"",
			i == 0                ? ""
			: key->choices[i + 1] ? ", "
					      : " or ",
			key->choices[i]);
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* What @key wants, in words, in memory of the caller; NULL: out of memory. */
static char *key_expected(const struct key *key)
{
	char *text = NULL;
	int r = -1;

	if (key->expected)
		return strdup(key->expected);
	switch (key->type) {
	case KEY_STRING:
	case KEY_OTHER:
		return strdup("a string");
	case KEY_PATH:
		return strdup("a path as a string");
	case KEY_UINT:
	case KEY_INT:
		r = asprintf(&text, "an integer from %ld to %ld", key->min, key->max);
		break;
	case KEY_BOOL:
		return strdup("true or false");
	case KEY_CHOICE:
		return key_expected_choice(key);
	case KEY_STRINGS:
		r = asprintf(&text, "an array of up to %ld strings: [ \"...\" ]", key->max);
		break;
	case KEY_GROUP:
		return strdup("a group: { ... }");
	case KEY_LIST:
		return strdup("a list of groups: ( { ... }, { ... } )");
	}
	return r < 0 ? NULL : text;
}

/* "device `esp0`", "device" or "the file", in memory of the caller. */
static char *key_describe(const struct key_table *table, const config_setting_t *group)
{
	const config_setting_t *name = NULL;
	const char *value = NULL;
	char *text = NULL;
	int r;

	if (!table->kind)
		return strdup("the file");
	if (table->named)
		name = config_setting_get_member((config_setting_t *)group, "name");
	if (name && config_setting_type(name) == CONFIG_TYPE_STRING)
		value = config_setting_get_string(name);
	if (value)
		r = asprintf(&text, "%s `" SHOWN "`", table->kind, value);
	else
		r = asprintf(&text, "%s", table->kind);
	return r < 0 ? NULL : text;
}

static void key_complain_type(struct key_reader *reader, const struct key *key,
			      const config_setting_t *setting)
{
	_cleanup_free_ char *expected = key_expected(key);

	if (!expected)
		return key_fail(reader);
	key_complain(reader, setting, "`%s` is %s, expected %s", key->name, key_type_of(setting),
		     expected);
}

static bool key_has_type(const struct key *key, const config_setting_t *setting)
{
	int type = config_setting_type(setting);

	switch (key->type) {
	case KEY_STRING:
	case KEY_PATH:
		return type == CONFIG_TYPE_STRING;
	case KEY_UINT:
	case KEY_INT:
		return type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
	case KEY_BOOL:
		return type == CONFIG_TYPE_BOOL;
	case KEY_CHOICE:
		return type == CONFIG_TYPE_STRING;
	case KEY_STRINGS:
		return type == CONFIG_TYPE_ARRAY || type == CONFIG_TYPE_LIST;
	case KEY_GROUP:
		return type == CONFIG_TYPE_GROUP;
	case KEY_LIST:
		return type == CONFIG_TYPE_LIST;
	case KEY_OTHER:
		return true; /* its parse function looks */
	}
	return false;
}

static void key_read_string(struct key_reader *reader, const struct key *key,
			    const config_setting_t *setting, char **field)
{
	const char *value = config_setting_get_string(setting);
	const char *expected = NULL;

	if (!value)
		value = "";
	if (key->check)
		expected = key->check(value);
	else if (value[0] == '\0')
		expected = "a string that is not empty";
	if (expected)
		key_complain(reader, setting, "`%s` is \"" SHOWN "\", expected %s", key->name,
			     value, expected);
	/* A bad value is kept all the same: references to it need no second complaint. */
	if (key->type == KEY_PATH && !expected)
		*field = key_absolute_path(reader->folder, value);
	else
		*field = strdup(value);
	if (!*field)
		key_fail(reader);
}

static void key_read_choice(struct key_reader *reader, const struct key *key,
			    const config_setting_t *setting, unsigned int *field)
{
	const char *value = config_setting_get_string(setting);
	_cleanup_free_ char *expected = NULL;

	for (unsigned int i = 0; key->choices[i]; i++)
		if (strcmp(key->choices[i], value) == 0) {
			*field = i;
			return;
		}
	expected = key_expected(key);
	if (!expected)
		return key_fail(reader);
	key_complain(reader, setting, "`%s` is \"" SHOWN "\", expected %s", key->name, value,
		     expected);
}

static void key_read_strings(struct key_reader *reader, const struct key *key,
			     const config_setting_t *setting, struct config_strings *field)
{
	int n = config_setting_length(setting);

	if (n > key->max) {
		key_complain(reader, setting, "`%s` has %d entries, expected at most %ld",
			     key->name, n, key->max);
		return;
	}
	field->items = calloc((size_t)n + 1, sizeof(*field->items));
	if (!field->items)
		return key_fail(reader);
	for (int i = 0; i < n; i++) {
		const config_setting_t *item = config_setting_get_elem(setting, (unsigned int)i);
		const char *value = config_setting_get_string(item);
		const char *expected = value ? key->check(value) : "a string";

		if (!value)
			key_complain(reader, item, "entry %d of `%s` is %s, expected a string",
				     i + 1, key->name, key_type_of(item));
		else if (expected)
			key_complain(reader, item, "entry %d of `%s` is \"" SHOWN "\", expected %s",
				     i + 1, key->name, value, expected);
		else if ((field->items[field->n] = key_strdup(reader, value)))
			field->n++;
	}
}

static void key_read_number(struct key_reader *reader, const struct key *key,
			    const config_setting_t *setting, void *field)
{
	long long value = config_setting_type(setting) == CONFIG_TYPE_INT64
				  ? config_setting_get_int64(setting)
				  : config_setting_get_int(setting);

	if (value < key->min || value > key->max) {
		_cleanup_free_ char *expected = key_expected(key);

		if (!expected)
			return key_fail(reader);
		key_complain(reader, setting, "`%s` is %lld, expected %s", key->name, value,
			     expected);
		return;
	}
	if (key->type == KEY_UINT)
		*(unsigned int *)field = value;
	else
		*(int *)field = value;
}

/* The first entry with the same name is the right one, all later ones are refused. */
static void key_check_name(struct key_reader *reader, const struct key_table *table,
			   const char *array, size_t i, const config_setting_t *group)
{
	const char *object = array + i * table->size;
	const char *name = *(char *const *)(object + table->name);
	const struct config_where *here = (const void *)(object + table->where);

	if (!name)
		return;
	for (size_t k = 0; k < i; k++) {
		const char *other = array + k * table->size;
		const char *other_name = *(char *const *)(other + table->name);
		const struct config_where *there = (const void *)(other + table->where);

		if (!other_name || strcmp(other_name, name) != 0)
			continue;
		if (here->file == there->file)
			key_complain(reader, group,
				     "second %s with the name `" SHOWN
				     "`, the first is in line %u, "
				     "expected a name of its own",
				     table->kind, name, there->line);
		else
			key_complain(reader, group,
				     "second %s with the name `" SHOWN "`, the first is in %s:%u, "
				     "expected a name of its own",
				     table->kind, name, there->file, there->line);
		return;
	}
}

static void key_read_list(struct key_reader *reader, const struct key *key,
			  const config_setting_t *setting, void **field, size_t *count)
{
	const struct key_table *table = key->table;
	int n = config_setting_length(setting);
	char *array;

	if (n > key->max) {
		key_complain(reader, setting, "`%s` has %d entries, expected at most %ld",
			     key->name, n, key->max);
		return;
	}
	if (key->required && n == 0) {
		key_complain(reader, setting, "`%s` is empty, expected at least one %s", key->name,
			     table->kind);
		return;
	}
	if (n == 0)
		return;
	array = calloc(n, table->size);
	if (!array)
		return key_fail(reader);
	*field = array;
	*count = n;
	for (int i = 0; i < n; i++) {
		config_setting_t *group = config_setting_get_elem(setting, i);

		if (config_setting_type(group) != CONFIG_TYPE_GROUP) {
			key_complain(reader, group,
				     "entry %d of `%s` is %s, expected a group: "
				     "{ ... }",
				     i + 1, key->name, key_type_of(group));
			continue;
		}
		key_read_group(reader, table, group, array + i * table->size);
		if (table->named)
			key_check_name(reader, table, array, i, group);
	}
}

static void key_read(struct key_reader *reader, const struct key *key, config_setting_t *setting,
		     void *object)
{
	void *field = FIELD(object, key->offset);

	if (!key_has_type(key, setting))
		return key_complain_type(reader, key, setting);
	switch (key->type) {
	case KEY_STRING:
	case KEY_PATH:
		return key_read_string(reader, key, setting, field);
	case KEY_UINT:
	case KEY_INT:
		return key_read_number(reader, key, setting, field);
	case KEY_BOOL:
		*(bool *)field = config_setting_get_bool(setting);
		return;
	case KEY_CHOICE:
		return key_read_choice(reader, key, setting, field);
	case KEY_STRINGS:
		return key_read_strings(reader, key, setting, field);
	case KEY_GROUP:
		*(bool *)FIELD(object, key->extra) = true;
		return key_read_group(reader, key->table, setting, field);
	case KEY_LIST:
		return key_read_list(reader, key, setting, field, FIELD(object, key->extra));
	case KEY_OTHER:
		return key->parse(reader, key, setting, field);
	}
}

static void key_set_preset(struct key_reader *reader, const struct key *key, void *object)
{
	void *field = FIELD(object, key->offset);

	switch (key->type) {
	case KEY_STRING:
	case KEY_PATH:
		if (key->preset_text)
			*(char **)field = key_strdup(reader, key->preset_text);
		break;
	case KEY_UINT:
		*(unsigned int *)field = key->preset;
		break;
	case KEY_INT:
		*(int *)field = key->preset;
		break;
	case KEY_BOOL:
		*(bool *)field = key->preset;
		break;
	case KEY_OTHER:
		if (key->set_preset)
			key->set_preset(field);
		break;
	case KEY_CHOICE: /* the first one, which is 0 */
	case KEY_STRINGS:
	case KEY_GROUP:
	case KEY_LIST:
		break;
	}
}

static void key_complain_unknown(struct key_reader *reader, const struct key_table *table,
				 const config_setting_t *group, const config_setting_t *setting)
{
	_cleanup_free_ char *in = key_describe(table, group);
	_cleanup_free_ char *names = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&names, &size);

	if (!f)
		return key_fail(reader);
	for (size_t i = 0; i < table->n_keys; i++)
		fprintf(f, "%s%s", i ? ", " : "", table->keys[i].name);
	if (fclose(f) != 0 || !in)
		return key_fail(reader);
	key_complain(reader, setting, "unknown key `" SHOWN "` in %s, expected one of: %s",
		     config_setting_name(setting), in, names);
}

static void key_complain_missing(struct key_reader *reader, const struct key_table *table,
				 const config_setting_t *group, const struct key *key)
{
	_cleanup_free_ char *in = key_describe(table, group);
	_cleanup_free_ char *expected = key_expected(key);

	if (!in || !expected)
		return key_fail(reader);
	key_complain(reader, group, "no `%s` in %s, expected %s", key->name, in, expected);
}

void key_read_group(struct key_reader *reader, const struct key_table *table,
		    config_setting_t *group, void *object)
{
	int n = config_setting_length(group);

	if (table->kind)
		*(struct config_where *)FIELD(object, table->where) = key_where(reader, group);
	for (int i = 0; i < n; i++) {
		const config_setting_t *setting = config_setting_get_elem(group, i);
		bool known = false;

		for (size_t k = 0; k < table->n_keys && !known; k++)
			known = strcmp(config_setting_name(setting), table->keys[k].name) == 0;
		if (!known)
			key_complain_unknown(reader, table, group, setting);
	}
	/* In the table's order, not the file's: a tunnel refers to what stands before it there. */
	for (size_t k = 0; k < table->n_keys; k++) {
		const struct key *key = &table->keys[k];
		config_setting_t *setting = config_setting_get_member(group, key->name);

		key_set_preset(reader, key, object);
		if (!setting) {
			if (key->required)
				key_complain_missing(reader, table, group, key);
			continue;
		}
		if (key->type == KEY_STRING || key->type == KEY_PATH) {
			char **field = FIELD(object, key->offset);

			if (key_has_type(key, setting)) {
				free(*field);
				*field = NULL;
			}
		}
		key_read(reader, key, setting, object);
	}
	if (table->finish)
		table->finish(reader, group, object);
}

static void key_free_strings(struct config_strings *strings)
{
	for (size_t i = 0; i < strings->n; i++)
		free(strings->items[i]);
	free(strings->items);
}

static void key_free_list(const struct key *key, char *array, size_t n)
{
	for (size_t i = 0; i < n; i++)
		key_free_group(key->table, array + i * key->table->size);
	free(array);
}

void key_free_group(const struct key_table *table, void *object)
{
	for (size_t k = 0; k < table->n_keys; k++) {
		const struct key *key = &table->keys[k];
		void *field = FIELD(object, key->offset);

		switch (key->type) {
		case KEY_STRING:
		case KEY_PATH:
			free(*(char **)field);
			break;
		case KEY_STRINGS:
			key_free_strings(field);
			break;
		case KEY_GROUP:
			key_free_group(key->table, field);
			break;
		case KEY_LIST:
			key_free_list(key, *(char **)field, *(size_t *)FIELD(object, key->extra));
			break;
		case KEY_UINT:
		case KEY_INT:
		case KEY_BOOL:
		case KEY_CHOICE:
		case KEY_OTHER:
			break;
		}
	}
}
