/* SPDX-License-Identifier: MIT */
#include "ctl/probe.h"

#include <string.h>

#include "ctl/bus.h"

#define SYSTEMD "org.freedesktop.systemd1"

bool probe_name(struct ctl *ctl, const char *name)
{
	return sd_bus_get_name_creds(ctl->bus, name, 0, NULL) >= 0;
}

char *probe_unit(struct ctl *ctl, const char *property)
{
	_cleanup_bus_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
	_cleanup_message_ sd_bus_message *reply = NULL;
	_cleanup_free_ char *path = NULL;
	char *value = NULL;
	const char *unit;

	/* LoadUnit also knows one that does not run; its path tells nothing about being there. */
	if (sd_bus_call_method(ctl->bus, SYSTEMD, "/org/freedesktop/systemd1", SYSTEMD ".Manager",
			       "LoadUnit", &error, &reply, "s", "espatd.service") < 0 ||
	    sd_bus_message_read(reply, "o", &unit) < 0)
		return NULL;
	path = strdup(unit);
	sd_bus_error_free(&error);
	if (!path || sd_bus_get_property_string(ctl->bus, SYSTEMD, path, SYSTEMD ".Unit", property,
						&error, &value) < 0)
		return NULL;
	return value;
}
