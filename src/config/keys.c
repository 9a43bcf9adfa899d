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

#include "config/ids.h"
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

const char *key_keep_name(struct config *config, const char *name)
{
	char **files, *copy;

	for (size_t i = 0; i < config->n_files; i++)
		if (strcmp(config->files[i], name) == 0)
			return config->files[i];
	files = reallocarray(config->files, config->n_files + 1, sizeof(*files));
	if (!files)
		return NULL;
	config->files = files;
	copy = strdup(name);
	if (copy)
		files[config->n_files++] = copy;
	return copy;
}

/* libconfig frees its file names with its tree, so the config keeps one copy of each. */
static const char *key_keep_file(struct key_reader *reader, const char *file)
{
	_cleanup_free_ char *path = NULL;
	const char *kept = NULL;

	if (!file)
		return reader->file;
	path = key_absolute_path(reader->folder, file);
	if (path)
		kept = key_keep_name(reader->config, path);
	if (kept)
		return kept;
	key_fail(reader);
	return reader->file;
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
	case KEY_NAMED:
	case KEY_OTHER:
		return strdup("a string");
	case KEY_PATH:
	case KEY_FILE:
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
	case KEY_USERS:
	case KEY_GROUPS:
		r = asprintf(&text, "an array of up to %ld %s, by name or number: [ \"...\" ]",
			     key->max, key->type == KEY_USERS ? "users" : "groups");
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
	case KEY_FILE:
		return type == CONFIG_TYPE_STRING;
	case KEY_UINT:
	case KEY_INT:
		return type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
	case KEY_BOOL:
		return type == CONFIG_TYPE_BOOL;
	case KEY_CHOICE:
		return type == CONFIG_TYPE_STRING;
	case KEY_STRINGS:
	case KEY_USERS:
	case KEY_GROUPS:
		return type == CONFIG_TYPE_ARRAY || type == CONFIG_TYPE_LIST;
	case KEY_GROUP:
		return type == CONFIG_TYPE_GROUP;
	case KEY_LIST:
		return type == CONFIG_TYPE_LIST;
	case KEY_NAMED:
	case KEY_OTHER:
		return true; /* its parse function looks */
	}
	return false;
}

/* ---- credentials ---- */

/* NULL, or what is expected of @value's name, which may be anything. */
static const char *key_check_credential(const char *value)
{
	const char *name = config_credential_name(value);
	size_t len = strlen(name);

	if (len == 0 || len > NAME_MAX || strchr(name, '/') || strcmp(name, ".") == 0 ||
	    strcmp(name, "..") == 0)
		return CONFIG_CREDENTIAL "NAME, with a file name and no path as NAME";
	return NULL;
}

/*
 * The file of a credential whose name is good, see systemd.exec(5). Nobody has it but the service: what
 * needs no bytes of it must work in a shell, too, so there it stays as it is, for whoever opens it to
 * complain.
 */
static char *key_credential_path(struct key_reader *reader, const char *value)
{
	const char *folder = getenv("CREDENTIALS_DIRECTORY");
	char *path;

	/* systemd sets an absolute one. */
	if (!folder || folder[0] != '/')
		return key_strdup(reader, value);
	path = key_absolute_path(folder, config_credential_name(value));
	if (!path)
		key_fail(reader);
	return path;
}

static bool key_is_credential(const struct key *key, const char *value)
{
	return key->type == KEY_FILE && config_credential_name(value);
}

/* ---- the types ---- */

static void key_read_string(struct key_reader *reader, const struct key *key,
			    const config_setting_t *setting, char **field)
{
	const char *value = config_setting_get_string(setting);
	const char *expected = NULL;

	if (!value)
		value = "";
	if (key_is_credential(key, value))
		expected = key_check_credential(value);
	else if (key->check)
		expected = key->check(value);
	else if (value[0] == '\0')
		expected = "a string that is not empty";
	if (expected)
		key_complain(reader, setting, "`%s` is \"" SHOWN "\", expected %s", key->name,
			     value, expected);
	/* A bad value is kept all the same: references to it need no second complaint. */
	if (expected || key->type == KEY_STRING)
		*field = key_strdup(reader, value);
	else if (key_is_credential(key, value))
		*field = key_credential_path(reader, value);
	else if (!(*field = key_absolute_path(reader->folder, value)))
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

/* Whether @more of them still fit, behind @count of the parts before. */
static bool key_has_room(struct key_reader *reader, const struct key *key,
			 const config_setting_t *setting, size_t count, size_t more)
{
	if (count + more <= (size_t)key->max)
		return true;
	key_complain(reader, setting, "`%s` has %zu entries%s, expected at most %ld", key->name,
		     count + more, count > 0 ? " with the ones of the files before" : "", key->max);
	return false;
}

static void key_read_strings(struct key_reader *reader, const struct key *key,
			     const config_setting_t *setting, struct config_strings *field)
{
	size_t n = (size_t)config_setting_length(setting);
	char **items;

	if (!key_has_room(reader, key, setting, field->n, n))
		return;
	items = reallocarray(field->items, field->n + n + 1, sizeof(*items));
	if (!items)
		return key_fail(reader);
	field->items = items;
	for (size_t i = 0; i < n; i++) {
		const config_setting_t *item = config_setting_get_elem(setting, (unsigned int)i);
		const char *value = config_setting_get_string(item);
		const char *expected = value ? key->check(value) : "a string";

		if (!value)
			key_complain(reader, item, "entry %zu of `%s` is %s, expected a string",
				     i + 1, key->name, key_type_of(item));
		else if (expected)
			key_complain(reader, item,
				     "entry %zu of `%s` is \"" SHOWN "\", expected %s", i + 1,
				     key->name, value, expected);
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

/* ---- users and groups ---- */

/* Returns true and the number, also if it is written as a string; @name stays NULL then. */
static bool id_is_number(const config_setting_t *item, long long *ret, const char **name)
{
	const char *text = config_setting_get_string(item);

	if (!text) {
		*ret = config_setting_get_int64(item);
		return config_setting_type(item) == CONFIG_TYPE_INT ||
		       config_setting_type(item) == CONFIG_TYPE_INT64;
	}
	/* No user's name has digits only, and no number has so many. */
	if (text[0] && strlen(text) <= 18 && strspn(text, "0123456789") == strlen(text)) {
		*ret = strtoll(text, NULL, 10);
		return true;
	}
	*name = text;
	return false;
}

/* Returns false after a complaint. */
static bool key_read_id(struct key_reader *reader, const struct key *key,
			const config_setting_t *item, size_t i, unsigned int *ret)
{
	const char *what = key->type == KEY_USERS ? "user" : "group", *name = NULL;
	long long number = 0;
	int r;

	if (id_is_number(item, &number, &name)) {
		if (number >= 0 && number <= IDS_NUMBER_MAX) {
			*ret = (unsigned int)number;
			return true;
		}
		key_complain(reader, item, "entry %zu of `%s` is %lld, expected a %s from 0 to %u",
			     i + 1, key->name, number, what, IDS_NUMBER_MAX);
		return false;
	}
	if (!name) {
		key_complain(reader, item,
			     "entry %zu of `%s` is %s, expected a %s, by name or number", i + 1,
			     key->name, key_type_of(item), what);
		return false;
	}
	r = ids_find(key->type == KEY_USERS, name, ret);
	if (r == -ENOMEM)
		key_fail(reader);
	else if (r < 0)
		key_complain(reader, item,
			     "entry %zu of `%s` is \"" SHOWN "\"%s%s, expected a %s that this host "
			     "knows, or a number",
			     i + 1, key->name, name,
			     r == -ENOENT ? "" : ", which cannot be looked up: ",
			     r == -ENOENT ? "" : strerror(-r), what);
	return r == 0;
}

static void key_read_ids(struct key_reader *reader, const struct key *key,
			 const config_setting_t *setting, struct config_ids *field)
{
	size_t n = (size_t)config_setting_length(setting);
	unsigned int *items, id;

	if (!key_has_room(reader, key, setting, field->n, n))
		return;
	if (n < (size_t)key->min)
		return key_complain(reader, setting,
				    "`%s` is empty, expected at least one %s, or no `%s` at all",
				    key->name, key->type == KEY_USERS ? "user" : "group",
				    key->name);
	items = reallocarray(field->items, field->n + n + 1, sizeof(*items));
	if (!items)
		return key_fail(reader);
	field->items = items;
	for (size_t i = 0; i < n; i++)
		if (key_read_id(reader, key, config_setting_get_elem(setting, (unsigned int)i), i,
				&id))
			ids_add(field, id);
}

/* ---- lists and groups ---- */

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
			  const config_setting_t *setting, char **field, size_t *count)
{
	const struct key_table *table = key->table;
	size_t n = (size_t)config_setting_length(setting), start = *count;
	char *array;

	if (n == 0 || !key_has_room(reader, key, setting, start, n))
		return;
	/* They may move: what refers to them is read later. */
	array = reallocarray(*field, start + n, table->size);
	if (!array)
		return key_fail(reader);
	memset(array + start * table->size, 0, n * table->size);
	*field = array;
	*count = start + n;
	for (size_t i = 0; i < n; i++) {
		config_setting_t *group = config_setting_get_elem(setting, (unsigned int)i);

		if (config_setting_type(group) != CONFIG_TYPE_GROUP) {
			key_complain(reader, group,
				     "entry %zu of `%s` is %s, expected a group: "
				     "{ ... }",
				     i + 1, key->name, key_type_of(group));
			continue;
		}
		key_read_group(reader, table, group, array + (start + i) * table->size);
		if (table->named)
			key_check_name(reader, table, array, start + i, group);
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
	case KEY_FILE:
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
	case KEY_USERS:
	case KEY_GROUPS:
		return key_read_ids(reader, key, setting, field);
	case KEY_GROUP:
		*(bool *)FIELD(object, key->extra) = true;
		return key_read_group(reader, key->table, setting, field);
	case KEY_LIST:
		return key_read_list(reader, key, setting, field, FIELD(object, key->extra));
	case KEY_NAMED:
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
	case KEY_FILE:
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
	case KEY_USERS:
	case KEY_GROUPS:
	case KEY_NAMED:
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

static void key_complain_unknowns(struct key_reader *reader, const struct key_table *table,
				  config_setting_t *group)
{
	int n = config_setting_length(group);

	for (int i = 0; i < n; i++) {
		const config_setting_t *setting = config_setting_get_elem(group, i);
		bool known = false;

		for (size_t k = 0; k < table->n_keys && !known; k++)
			known = strcmp(config_setting_name(setting), table->keys[k].name) == 0;
		if (!known && !(table->refuse && table->refuse(reader, group, setting)))
			key_complain_unknown(reader, table, group, setting);
	}
}

static bool key_is_joined(const struct key *key)
{
	return key->type == KEY_LIST || key->type == KEY_STRINGS;
}

/* The preset of a string gives way to what stands there. */
static void key_drop_preset(const struct key *key, const config_setting_t *setting, void *object)
{
	char **field = FIELD(object, key->offset);

	if ((key->type != KEY_STRING && key->type != KEY_PATH && key->type != KEY_FILE) ||
	    !key_has_type(key, setting))
		return;
	free(*field);
	*field = NULL;
}

static void key_enter(struct key_reader *reader, const struct key_part *part)
{
	reader->file = part->file;
	reader->folder = part->folder;
}

static void key_read_in_parts(struct key_reader *reader, const struct key_table *table,
			      const struct key *key, const struct key_part *parts, size_t n_parts,
			      void *object)
{
	size_t errors = reader->problems->errors;
	const struct key_part *first_part = parts;
	const config_setting_t *first = NULL;
	struct config_where where = { 0 };

	for (size_t i = 0; i < n_parts; i++) {
		config_setting_t *setting = config_setting_get_member(parts[i].group, key->name);

		if (!setting)
			continue;
		key_enter(reader, &parts[i]);
		if (first && !key_is_joined(key)) {
			key_complain(reader, setting,
				     "second `%s`, the first is in %s:%u, expected it once in all "
				     "files",
				     key->name, where.file, where.line);
			continue;
		}
		if (!first) {
			first = setting;
			first_part = &parts[i];
			where = key_where(reader, setting);
		}
		key_drop_preset(key, setting, object);
		key_read(reader, key, setting, object);
	}
	key_enter(reader, first_part);
	if (!key->required || reader->problems->errors > errors)
		return;
	if (!first)
		key_complain_missing(reader, table, parts[0].group, key);
	else if (key->type == KEY_LIST && *(size_t *)FIELD(object, key->extra) == 0)
		key_complain(reader, first, "`%s` is empty, expected at least one %s", key->name,
			     key->table->kind);
}

void key_read_parts(struct key_reader *reader, const struct key_table *table,
		    const struct key_part *parts, size_t n_parts, void *object)
{
	for (size_t i = 0; i < n_parts; i++) {
		key_enter(reader, &parts[i]);
		key_complain_unknowns(reader, table, parts[i].group);
	}
	/* In the table's order, not the file's: a tunnel refers to what stands before it there. */
	for (size_t k = 0; k < table->n_keys; k++) {
		key_set_preset(reader, &table->keys[k], object);
		key_read_in_parts(reader, table, &table->keys[k], parts, n_parts, object);
	}
	key_enter(reader, &parts[0]);
	if (table->finish)
		table->finish(reader, parts[0].group, object);
}

void key_read_group(struct key_reader *reader, const struct key_table *table,
		    config_setting_t *group, void *object)
{
	const struct key_part part = {
		.group = group,
		.file = reader->file,
		.folder = reader->folder,
	};

	if (table->kind)
		*(struct config_where *)FIELD(object, table->where) = key_where(reader, group);
	key_read_parts(reader, table, &part, 1, object);
}

/* ---- comparing ---- */

static bool key_equal_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool key_equal_strings(const struct config_strings *a, const struct config_strings *b)
{
	for (size_t i = 0; i < a->n && i < b->n; i++)
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	return a->n == b->n;
}

static bool key_equal_ids(const struct config_ids *a, const struct config_ids *b)
{
	return a->n == b->n &&
	       (a->n == 0 || memcmp(a->items, b->items, a->n * sizeof(*a->items)) == 0);
}

static bool key_equal_named(const struct key_table *table, const char *a, const char *b)
{
	if (!a || !b)
		return a == b;
	return key_equal_text(*(char *const *)(a + table->name), *(char *const *)(b + table->name));
}

static bool key_equal_list(const struct key *key, const void *a, const void *b)
{
	const char *x = *(char *const *)FIELD(a, key->offset);
	const char *y = *(char *const *)FIELD(b, key->offset);
	size_t n = *(size_t *)FIELD(a, key->extra), size = key->table->size;

	if (n != *(size_t *)FIELD(b, key->extra))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!key_equal_group(key->table, x + i * size, y + i * size))
			return false;
	return true;
}

static bool key_equal(const struct key *key, const void *a, const void *b)
{
	const void *x = FIELD(a, key->offset), *y = FIELD(b, key->offset);
	bool there;

	switch (key->type) {
	case KEY_STRING:
	case KEY_PATH:
	case KEY_FILE:
		return key_equal_text(*(char *const *)x, *(char *const *)y);
	case KEY_UINT:
	case KEY_CHOICE:
		return *(const unsigned int *)x == *(const unsigned int *)y;
	case KEY_INT:
		return *(const int *)x == *(const int *)y;
	case KEY_BOOL:
		return *(const bool *)x == *(const bool *)y;
	case KEY_STRINGS:
		return key_equal_strings(x, y);
	case KEY_USERS:
	case KEY_GROUPS:
		return key_equal_ids(x, y);
	case KEY_NAMED:
		return key_equal_named(key->table, *(const char *const *)x,
				       *(const char *const *)y);
	case KEY_GROUP:
		there = *(bool *)FIELD(a, key->extra);
		return there == *(bool *)FIELD(b, key->extra) &&
		       (!there || key_equal_group(key->table, x, y));
	case KEY_LIST:
		return key_equal_list(key, a, b);
	case KEY_OTHER:
		return key->equal && key->equal(x, y);
	}
	return false;
}

bool key_equal_group(const struct key_table *table, const void *a, const void *b)
{
	for (size_t k = 0; k < table->n_keys; k++)
		if (!key_equal(&table->keys[k], a, b))
			return false;
	return true;
}

/* ---- freeing ---- */

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
		case KEY_FILE:
			free(*(char **)field);
			break;
		case KEY_STRINGS:
			key_free_strings(field);
			break;
		case KEY_USERS:
		case KEY_GROUPS:
			free(((struct config_ids *)field)->items);
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
		case KEY_NAMED:
		case KEY_OTHER:
			break;
		}
	}
}
