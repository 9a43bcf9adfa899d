/* SPDX-License-Identifier: MIT */
#include "util/sdbus.h"

#include <string.h>

int sdbus_open(const char *address, const char *description, sd_bus **ret)
{
	sd_bus *bus = NULL;
	int r;

	if (strcmp(address, "system") == 0)
		return sd_bus_open_system_with_description(ret, description);
	if (strcmp(address, "session") == 0)
		return sd_bus_open_user_with_description(ret, description);
	r = sd_bus_new(&bus);
	if (r >= 0)
		r = sd_bus_set_description(bus, description);
	if (r >= 0)
		r = sd_bus_set_address(bus, address);
	if (r >= 0)
		r = sd_bus_set_bus_client(bus, 1);
	if (r >= 0)
		r = sd_bus_start(bus);
	if (r < 0)
		sd_bus_unref(bus);
	else
		*ret = bus;
	return r;
}

int sdbus_read_integer(sd_bus_message *m, char type, struct sdbus_integer *ret)
{
	union {
		uint8_t y;
		int16_t n;
		uint16_t q;
		int32_t i;
		uint32_t u;
		int64_t x;
		uint64_t t;
	} value = { 0 };
	int r = sd_bus_message_read_basic(m, type, &value);

	*ret = (struct sdbus_integer){ .is_signed = strchr("nix", type) != NULL };
	switch (type) {
	case 'y':
		ret->u = value.y;
		break;
	case 'n':
		ret->i = value.n;
		break;
	case 'q':
		ret->u = value.q;
		break;
	case 'i':
		ret->i = value.i;
		break;
	case 'u':
		ret->u = value.u;
		break;
	case 'x':
		ret->i = value.x;
		break;
	case 't':
		ret->u = value.t;
		break;
	}
	return r;
}
