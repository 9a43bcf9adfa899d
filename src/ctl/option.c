/* SPDX-License-Identifier: MIT */
#include "ctl/option.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_one_of(const char *key, const char *const *keys)
{
	for (; *keys; keys++)
		if (strcmp(key, *keys) == 0)
			return true;
	return false;
}

/* A name may look like a number, and 0660 is a mode, not six hundred and sixty. */
static bool is_text_key(const char *key)
{
	static const char *const keys[] = { "device",    "host",     "server_name",
					    "authority", "identity", "address_family",
					    "mode",      NULL };

	return is_one_of(key, keys);
}

static bool is_list_key(const char *key)
{
	static const char *const keys[] = { "alpn",       "ciphers",    "acl_users", "acl_groups",
					    "allow_uids", "allow_gids", NULL };

	return is_one_of(key, keys);
}

__attribute__((format(printf, 3, 4))) static int complain(char *why, size_t size,
							  const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(why, size, format, ap);
	va_end(ap);
	return -EINVAL;
}

static int push(struct ctl_option_value *o, const char *text, size_t len)
{
	char **more;

	if (o->n == OPTION_ITEMS_MAX)
		return -E2BIG;
	more = reallocarray(o->strings, o->n + 2, sizeof(*more));
	if (!more)
		return -ENOMEM;
	o->strings = more;
	o->strings[o->n] = strndup(text, len);
	if (!o->strings[o->n])
		return -ENOMEM;
	o->strings[++o->n] = NULL;
	return 0;
}

/* "a,b"; an empty text is an empty list. */
static int split(struct ctl_option_value *o, const char *text)
{
	int r = 0;

	if (!*text && !o->strings) {
		o->strings = calloc(1, sizeof(*o->strings));
		return o->strings ? 0 : -ENOMEM;
	}
	while (r == 0) {
		size_t len = strcspn(text, ",");

		r = push(o, text, len);
		if (!text[len])
			break;
		text += len + 1;
	}
	return r;
}

static bool parse_int(const char *text, int64_t *ret)
{
	long long value;
	char *end;

	if (text[0] != '-' && (text[0] < '0' || text[0] > '9'))
		return false;
	/* A leading zero would be octal here, and decimal elsewhere: it is for nobody to guess. */
	if (text[0] == '0' && text[1] >= '0' && text[1] <= '9')
		return false;
	errno = 0;
	value = strtoll(text, &end, 0);
	if (errno || end == text || *end)
		return false;
	*ret = value;
	return true;
}

static int set_value(struct ctl_option_value *o, const char *value)
{
	o->type = OPTION_STRING;
	if (is_list_key(o->key)) {
		o->type = OPTION_STRINGS;
		return split(o, value);
	}
	if (is_text_key(o->key))
		return push(o, value, strlen(value));
	if (parse_int(value, &o->number)) {
		o->type = OPTION_INT;
		return 0;
	}
	if (strcmp(value, "true") == 0 || strcmp(value, "false") == 0) {
		o->type = OPTION_BOOL;
		o->number = value[0] == 't';
		return 0;
	}
	if (strchr(value, ',')) {
		o->type = OPTION_STRINGS;
		return split(o, value);
	}
	return push(o, value, strlen(value));
}

static struct ctl_option_value *find(struct ctl_option_list *list, const char *key, size_t len)
{
	for (size_t i = 0; i < list->n; i++)
		if (strncmp(list->items[i].key, key, len) == 0 && !list->items[i].key[len])
			return &list->items[i];
	return NULL;
}

/* The key once more: only a list has several values. */
static int add_again(struct ctl_option_value *o, const char *value, char *why, size_t size)
{
	if (o->type != OPTION_STRINGS)
		return complain(why, size, "%s stands there twice", o->key);
	return split(o, value);
}

int option_add(struct ctl_option_list *list, const char *text, char *why, size_t size)
{
	const char *equals = strchr(text, '=');
	struct ctl_option_value *o;
	size_t len;
	int r;

	if (!equals || equals == text)
		return complain(why, size, "expected KEY=VALUE, not %s", text);
	len = (size_t)(equals - text);
	if (len == 4 && strncmp(text, "name", 4) == 0)
		return complain(why, size, "the name stands before the keys, without name=");
	if (len == 7 && strncmp(text, "persist", 7) == 0)
		return complain(why, size, "persist= is the option --persist");
	if (strncmp(text, "psk", 3) == 0 && (len == 3 || text[3] == '.' || text[3] == '_'))
		return complain(why, size, "a pre-shared key can be set in the configuration only");
	o = find(list, text, len);
	if (o) {
		r = add_again(o, equals + 1, why, size);
	} else {
		if (list->n == OPTIONS_MAX)
			return complain(why, size, "there are more than %d keys", OPTIONS_MAX);
		o = &list->items[list->n++];
		o->key = strndup(text, len);
		r = o->key ? set_value(o, equals + 1) : -ENOMEM;
	}
	if (r == -E2BIG)
		return complain(why, size, "%s has more than %d items", o->key, OPTION_ITEMS_MAX);
	return r;
}

bool option_is_numbers(const struct ctl_option_value *o, uint32_t numbers[OPTION_ITEMS_MAX])
{
	int64_t number;

	/* A protocol's name is a text, whatever it looks like. */
	if (o->type != OPTION_STRINGS || o->n == 0 || strcmp(o->key, "alpn") == 0)
		return false;
	for (size_t i = 0; i < o->n; i++) {
		if (!parse_int(o->strings[i], &number) || number < 0 || number > UINT32_MAX)
			return false;
		numbers[i] = (uint32_t)number;
	}
	return true;
}

void option_list_clear(struct ctl_option_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		for (size_t k = 0; k < list->items[i].n; k++)
			free(list->items[i].strings[k]);
		free(list->items[i].strings);
		free(list->items[i].key);
	}
	list->n = 0;
}
