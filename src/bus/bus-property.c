/* SPDX-License-Identifier: MIT */
/*
 * Properties: read by one getter from tables, and told when their value is another one. Observers say
 * only that something has changed, so what was told is kept, as a hash of each value.
 */
#include "bus/internal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "bus/bus-text.h"

void bus_value_string(struct bus_value *ret, const char *s)
{
	ret->type = 's';
	bus_utf8(ret->s, sizeof(ret->s), s);
}

void bus_value_u32(struct bus_value *ret, uint32_t value)
{
	ret->type = 'u';
	ret->u = value;
}

void bus_value_i32(struct bus_value *ret, int32_t value)
{
	ret->type = 'i';
	ret->i = value;
}

void bus_value_u64(struct bus_value *ret, uint64_t value)
{
	ret->type = 't';
	ret->t = value;
}

void bus_value_u16(struct bus_value *ret, uint16_t value)
{
	ret->type = 'q';
	ret->q = value;
}

void bus_value_bool(struct bus_value *ret, bool value)
{
	ret->type = 'b';
	ret->b = value;
}

const struct bus_interface *bus_interfaces(const struct bus_object *object)
{
	static const struct bus_interface none[] = { { 0 } };

	switch (object->kind) {
	case BUS_MANAGER:
		return bus_manager_interfaces;
	case BUS_DEVICE:
		return bus_device_interfaces;
	case BUS_TUNNEL:
		return bus_tunnel_interfaces;
	}
	return none;
}

static const struct bus_property *find_property(const struct bus_object *object,
						const char *interface, const char *name)
{
	for (const struct bus_interface *i = bus_interfaces(object); i->name; i++) {
		if (strcmp(i->name, interface) != 0)
			continue;
		for (const struct bus_property *p = i->properties; p->name; p++)
			if (strcmp(p->name, name) == 0)
				return p;
	}
	return NULL;
}

int bus_get_property(sd_bus *sd, const char *path, const char *interface, const char *property,
		     sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	struct bus_object *object = userdata;
	const struct bus_property *p = find_property(object, interface, property);
	struct bus_value value;

	if (!p)
		return sd_bus_error_setf(error, SD_BUS_ERROR_UNKNOWN_PROPERTY,
					 "there is no property %s", property);
	p->get(object, &value);
	return sd_bus_message_append_basic(reply, value.type,
					   value.type == 's' ? (const void *)value.s : &value.t);
}

static size_t value_size(char type)
{
	switch (type) {
	case 't':
		return sizeof(uint64_t);
	case 'q':
		return sizeof(uint16_t);
	}
	return sizeof(uint32_t);
}

/* FNV-1a */
static uint64_t value_hash(const struct bus_value *value)
{
	bool is_string = value->type == 's';
	const unsigned char *p = is_string ? (const void *)value->s : (const void *)&value->t;
	size_t len = is_string ? strlen(value->s) : value_size(value->type);
	uint64_t hash = 14695981039346656037ull;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ p[i]) * 1099511628211ull;
	return hash;
}

/* Compares one interface with what was told, and remembers; @names gets what differs. */
static size_t compare(struct bus_object *object, const struct bus_interface *interface,
		      uint64_t *told, char **names)
{
	struct bus_value value;
	size_t n = 0;

	for (const struct bus_property *p = interface->properties; p->name; p++, told++) {
		uint64_t hash;

		if (!p->watched)
			continue;
		p->get(object, &value);
		hash = value_hash(&value);
		if (hash != *told)
			names[n++] = (char *)p->name;
		*told = hash;
	}
	names[n] = NULL;
	return n;
}

static size_t count_properties(const struct bus_interface *interface)
{
	size_t n = 0;

	while (interface->properties[n].name)
		n++;
	return n;
}

void bus_remember(struct bus_object *object)
{
	char *names[BUS_PROPERTIES_MAX + 1];
	uint64_t *told = object->values;

	for (const struct bus_interface *i = bus_interfaces(object); i->name; i++) {
		assert(told + count_properties(i) <= object->values + BUS_PROPERTIES_MAX);
		compare(object, i, told, names);
		told += count_properties(i);
	}
}

void bus_tell_changes(struct bus_object *object)
{
	char *names[BUS_PROPERTIES_MAX + 1];
	uint64_t *told = object->values;

	for (const struct bus_interface *i = bus_interfaces(object); i->name; i++) {
		if (compare(object, i, told, names) > 0)
			sd_bus_emit_properties_changed_strv(object->bus->sd, object->path, i->name,
							    names);
		told += count_properties(i);
	}
}
