/* SPDX-License-Identifier: MIT */
#include "ctl/value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/text.h"
#include "util/cleanup.h"
#include "util/sdbus.h"

/* No property of ours has more than two. */
#define DEPTH_MAX 8

static int read_value(struct json *j, const char *key, sd_bus_message *m, unsigned int depth);

static int read_integer(struct json *j, const char *key, sd_bus_message *m, char type)
{
	struct sdbus_integer x;
	int r = sdbus_read_integer(m, type, &x);

	if (r < 0)
		return r;
	if (x.is_signed)
		json_int(j, key, x.i);
	else
		json_uint(j, key, x.u);
	return 0;
}

static int read_basic(struct json *j, const char *key, sd_bus_message *m, char type)
{
	union {
		double d;
		int b;
		const char *s;
	} v;
	int r;

	if (strchr(SDBUS_INTEGERS, type))
		return read_integer(j, key, m, type);
	r = sd_bus_message_read_basic(m, type, &v);
	if (r < 0)
		return r;
	switch (type) {
	case 'd':
		json_double(j, key, v.d);
		break;
	case 'b':
		json_bool(j, key, v.b);
		break;
	case 's':
	case 'o':
	case 'g':
		json_string(j, key, v.s);
		break;
	default: /* a descriptor, closed with the message */
		json_null(j, key);
		break;
	}
	return 0;
}

/* The members of an array or a structure. */
static int read_members(struct json *j, const char *key, sd_bus_message *m, unsigned int depth)
{
	int r;

	json_array(j, key);
	while ((r = sd_bus_message_at_end(m, false)) == 0)
		if ((r = read_value(j, NULL, m, depth)) < 0)
			break;
	json_end(j);
	return r < 0 ? r : 0;
}

static int read_dict(struct json *j, const char *key, sd_bus_message *m, const char *entry,
		     unsigned int depth)
{
	const char *name;
	int r;

	json_object(j, key);
	while ((r = sd_bus_message_enter_container(m, 'e', entry)) > 0) {
		r = sd_bus_message_read_basic(m, entry[0], &name);
		if (r >= 0)
			r = read_value(j, name, m, depth);
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
		if (r < 0)
			break;
	}
	json_end(j);
	return r < 0 ? r : 0;
}

static int read_container(struct json *j, const char *key, sd_bus_message *m, char type,
			  const char *contents, unsigned int depth)
{
	_cleanup_free_ char *types = strdup(contents), *entry = NULL;
	size_t n;
	int r;

	if (!types)
		return -ENOMEM;
	r = sd_bus_message_enter_container(m, type, types);
	if (r < 0)
		return r;
	n = strlen(types);
	if (type == 'v') {
		r = read_value(j, key, m, depth + 1);
	} else if (types[0] == '{' && n > 2) {
		entry = strndup(types + 1, n - 2);
		r = entry ? read_dict(j, key, m, entry, depth + 1) : -ENOMEM;
	} else {
		r = read_members(j, key, m, depth + 1);
	}
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int skip(struct json *j, const char *key, sd_bus_message *m, char type, const char *contents)
{
	_cleanup_free_ char *types = NULL;
	int r;

	if (type == 'v')
		r = asprintf(&types, "v");
	else if (type == 'r')
		r = asprintf(&types, "(%s)", contents);
	else
		r = asprintf(&types, "a%s", contents);
	if (r < 0) {
		types = NULL;
		return -ENOMEM;
	}
	json_null(j, key);
	return sd_bus_message_skip(m, types);
}

static int read_value(struct json *j, const char *key, sd_bus_message *m, unsigned int depth)
{
	const char *contents;
	char type;
	int r = sd_bus_message_peek_type(m, &type, &contents);

	if (r <= 0)
		return r < 0 ? r : -ENXIO;
	if (!strchr("avr", type))
		return read_basic(j, key, m, type);
	if (depth >= DEPTH_MAX ||
	    (type == 'a' && contents[0] == '{' && !strchr("sog", contents[1])))
		return skip(j, key, m, type, contents);
	return read_container(j, key, m, type, contents, depth);
}

int value_json(struct json *j, const char *key, sd_bus_message *m)
{
	int r = read_value(j, key, m, 0);

	return r < 0 ? r : 0;
}

/* A string by itself, also in a variant. Returns 1, 0 if it is none, or -errno. */
static int read_string(sd_bus_message *m, const char **ret)
{
	const char *contents;
	char type;
	int r = sd_bus_message_peek_type(m, &type, &contents);

	if (r <= 0)
		return r < 0 ? r : -ENXIO;
	if (type == 'v' && strcmp(contents, "s") == 0)
		r = sd_bus_message_read(m, "v", "s", ret);
	else if (type == 's')
		r = sd_bus_message_read(m, "s", ret);
	else
		return 0;
	return r < 0 ? r : 1;
}

int value_text(FILE *f, sd_bus_message *m)
{
	_cleanup_free_ char *buf = NULL, *clean = NULL;
	struct json j = { 0 };
	const char *text;
	size_t size;
	int r = read_string(m, &text);

	if (r < 0)
		return r;
	if (r == 0) {
		j.f = open_memstream(&buf, &size);
		if (!j.f)
			return -ENOMEM;
		/* Within something, so that no line ends. */
		j.depth = 1;
		r = value_json(&j, NULL, m);
		if (fclose(j.f) != 0)
			return -ENOMEM;
		if (r < 0)
			return r;
		text = buf;
	}
	clean = text_clean(*text ? text : "\"\"");
	if (!clean)
		return -ENOMEM;
	fputs(clean, f);
	return 0;
}
