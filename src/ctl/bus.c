/* SPDX-License-Identifier: MIT */
#include "ctl/bus.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/sdbus.h"

/* More devices than any configuration has: an answer with more is not one of espatd. */
#define DEVICES_MAX 256

static const struct {
	const char *name;
	enum ctl_exit status;
} errors[] = {
	{ "org.espat1.Error.NotAuthorized", CTL_DENIED },
	{ "org.espat1.Error.NoSuchDevice", CTL_NO_OBJECT },
	{ "org.espat1.Error.NoSuchTunnel", CTL_NO_OBJECT },
	{ "org.espat1.Error.NoSuchAuthority", CTL_NO_OBJECT },
	{ "org.espat1.Error.NoSuchIdentity", CTL_NO_OBJECT },
	{ "org.espat1.Error.NoSuchValue", CTL_NO_OBJECT },
	{ "org.espat1.Error.NothingKept", CTL_NO_OBJECT },
	{ "org.espat1.Error.NotReady", CTL_NOT_READY },
	{ "org.espat1.Error.ChipGone", CTL_NOT_READY },
	{ "org.espat1.Error.Timeout", CTL_NOT_READY },
	{ "org.espat1.Error.Stopping", CTL_UNREACHABLE },
	{ SD_BUS_ERROR_ACCESS_DENIED, CTL_DENIED },
	{ SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED, CTL_DENIED },
	{ SD_BUS_ERROR_AUTH_FAILED, CTL_DENIED },
	{ SD_BUS_ERROR_UNKNOWN_OBJECT, CTL_NO_OBJECT },
	{ SD_BUS_ERROR_SERVICE_UNKNOWN, CTL_UNREACHABLE },
	{ SD_BUS_ERROR_NAME_HAS_NO_OWNER, CTL_UNREACHABLE },
	{ SD_BUS_ERROR_NO_REPLY, CTL_UNREACHABLE },
	{ SD_BUS_ERROR_TIMEOUT, CTL_UNREACHABLE },
	{ SD_BUS_ERROR_DISCONNECTED, CTL_UNREACHABLE },
	{ SD_BUS_ERROR_NO_SERVER, CTL_UNREACHABLE },
	{ "System.Error.ETIMEDOUT", CTL_UNREACHABLE },
};

enum ctl_exit ctl_exit_of(const char *name)
{
	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
		if (strcmp(errors[i].name, name) == 0)
			return errors[i].status;
	return CTL_FAILED;
}

bool ctl_is_closed(int r)
{
	return r == -ECONNRESET || r == -ENOTCONN || r == -EPIPE;
}

enum ctl_exit ctl_closed(const struct ctl *ctl)
{
	ctl_error("the bus \"%s\" has closed the connection", ctl->address);
	return CTL_UNREACHABLE;
}

static enum ctl_exit ctl_not_utf8(void)
{
	ctl_error("an argument cannot be sent: it must be UTF-8");
	return CTL_USAGE;
}

enum ctl_exit ctl_call_failed(const struct ctl *ctl, const sd_bus_error *error, int r)
{
	if (ctl_is_closed(r))
		return ctl_closed(ctl);
	/* A string that no message can carry, as one that is no UTF-8. */
	if (r == -EINVAL && !sd_bus_error_is_set(error))
		return ctl_not_utf8();
	if (!sd_bus_error_is_set(error)) {
		ctl_error("cannot ask the service: %s", strerror(-r));
		return r == -ETIMEDOUT ? CTL_UNREACHABLE : CTL_FAILED;
	}
	if (sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
	    sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
		ctl_error("espatd does not run, or has no bus (systemctl status espatd)");
	else if (sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY) ||
		 sd_bus_error_has_name(error, SD_BUS_ERROR_TIMEOUT))
		ctl_error("espatd did not answer: %s", error->message ? error->message : "");
	else
		ctl_error("%s", error->message && *error->message ? error->message : error->name);
	return ctl_exit_of(error->name);
}

enum ctl_exit ctl_bad_answer(const char *what, int r)
{
	if (r == -ENOMEM)
		return ctl_oom();
	ctl_error("the answer of the service to %s is not understood: %s", what, strerror(-r));
	return CTL_FAILED;
}

enum ctl_exit ctl_expect(sd_bus_message *reply, const char *signature, const char *what)
{
	const char *is = sd_bus_message_get_signature(reply, true);

	if (is && strcmp(is, signature) == 0)
		return CTL_OK;
	ctl_error("the answer of the service to %s is not understood: its type is \"%s\" instead "
		  "of \"%s\"",
		  what, is ? is : "?", signature);
	return CTL_FAILED;
}

/* ---- the connection ---- */

int ctl_try_connect(struct ctl *ctl)
{
	ctl_disconnect(ctl);
	return sdbus_open(ctl->address, "espatctl", &ctl->bus);
}

enum ctl_exit ctl_connect(struct ctl *ctl)
{
	int r;

	if (ctl->bus)
		return CTL_OK;
	r = ctl_try_connect(ctl);
	if (r >= 0)
		return CTL_OK;
	if (r == -ENOMEM)
		return ctl_oom();
	if (ctl_is_closed(r))
		return ctl_closed(ctl);
	ctl_error("cannot connect to the bus \"%s\": %s", ctl->address, strerror(-r));
	return CTL_UNREACHABLE;
}

void ctl_disconnect(struct ctl *ctl)
{
	ctl->bus = sd_bus_flush_close_unref(ctl->bus);
}

/* ---- calls ---- */

static int new_message(struct ctl *ctl, const struct ctl_method *method, sd_bus_message **ret)
{
	_cleanup_message_ sd_bus_message *m = NULL;
	int r;

	r = sd_bus_message_new_method_call(ctl->bus, &m, ESPAT_NAME, method->path,
					   method->interface, method->member);
	/* Who asks how the service is does not want to start it. */
	if (r >= 0)
		r = sd_bus_message_set_auto_start(m, false);
	if (r >= 0 && method->change)
		r = sd_bus_message_set_allow_interactive_authorization(m, true);
	if (r < 0)
		return r;
	*ret = m;
	m = NULL;
	return 0;
}

static bool is_change(sd_bus_message *m)
{
	return sd_bus_message_get_allow_interactive_authorization(m) > 0;
}

static uint64_t timeout_of(const struct ctl *ctl, sd_bus_message *m)
{
	return (is_change(m) ? ctl->timeout : ctl->read_timeout) * 1000000ull;
}

sd_bus_message *ctl_message(struct ctl *ctl, const struct ctl_method *method)
{
	sd_bus_message *m = NULL;
	int r = new_message(ctl, method, &m);

	if (r < 0)
		ctl_error("cannot ask the service for %s: %s", method->member, strerror(-r));
	return m;
}

enum ctl_exit ctl_send(struct ctl *ctl, sd_bus_message *m, sd_bus_message **reply)
{
	_cleanup_bus_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
	int r = sd_bus_call(ctl->bus, m, timeout_of(ctl, m), &error, reply);

	return r < 0 ? ctl_call_failed(ctl, &error, r) : CTL_OK;
}

static int try_list(struct ctl *ctl, const struct ctl_method *method, sd_bus_error *error,
		    sd_bus_message **reply, const char *types, va_list ap)
{
	_cleanup_message_ sd_bus_message *m = NULL;
	int r = new_message(ctl, method, &m);

	if (r >= 0 && types)
		r = sd_bus_message_appendv(m, types, ap);
	if (r >= 0)
		r = sd_bus_call(ctl->bus, m, timeout_of(ctl, m), error, reply);
	return r;
}

int ctl_try(struct ctl *ctl, const struct ctl_method *method, sd_bus_error *error,
	    sd_bus_message **reply, const char *types, ...)
{
	va_list ap;
	int r;

	va_start(ap, types);
	r = try_list(ctl, method, error, reply, types, ap);
	va_end(ap);
	return r;
}

static enum ctl_exit call_list(struct ctl *ctl, const struct ctl_method *method,
			       sd_bus_message **reply, const char *types, va_list ap)
{
	_cleanup_bus_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
	enum ctl_exit status = ctl_connect(ctl);
	int r;

	if (status != CTL_OK)
		return status;
	r = try_list(ctl, method, &error, reply, types, ap);
	return r < 0 ? ctl_call_failed(ctl, &error, r) : CTL_OK;
}

enum ctl_exit ctl_call(struct ctl *ctl, const struct ctl_method *method, sd_bus_message **reply,
		       const char *types, ...)
{
	enum ctl_exit status;
	va_list ap;

	va_start(ap, types);
	status = call_list(ctl, method, reply, types, ap);
	va_end(ap);
	return status;
}

enum ctl_exit ctl_ask(struct ctl *ctl, const struct ctl_method *method, const char *signature,
		      sd_bus_message **reply, const char *types, ...)
{
	enum ctl_exit status;
	va_list ap;

	va_start(ap, types);
	status = call_list(ctl, method, reply, types, ap);
	va_end(ap);
	return status == CTL_OK ? ctl_expect(*reply, signature, method->member) : status;
}

/* ---- objects by their names ---- */

static enum ctl_exit get_object(struct ctl *ctl, const char *member, const char *name, char **ret)
{
	const struct ctl_method method = { ESPAT_ROOT, ESPAT_MANAGER, member, false };
	_cleanup_message_ sd_bus_message *reply = NULL;
	const char *path;
	enum ctl_exit status = ctl_ask(ctl, &method, "o", &reply, "s", name);
	int r;

	if (status != CTL_OK)
		return status;
	r = sd_bus_message_read(reply, "o", &path);
	if (r < 0)
		return ctl_bad_answer(member, r);
	*ret = strdup(path);
	return *ret ? CTL_OK : ctl_oom();
}

/* Which one is meant if none is named. */
static enum ctl_exit only_device(struct ctl *ctl, char **ret)
{
	const struct ctl_method method = { ESPAT_ROOT, ESPAT_MANAGER, "ListDevices", false };
	_cleanup_message_ sd_bus_message *reply = NULL;
	char names[512] = "";
	const char *name, *path, *found = NULL;
	size_t n = 0, used = 0;
	enum ctl_exit status = ctl_ask(ctl, &method, "a(so)", &reply, NULL);
	int r;

	if (status != CTL_OK)
		return status;
	r = sd_bus_message_enter_container(reply, 'a', "(so)");
	while (r >= 0 && n < DEVICES_MAX &&
	       (r = sd_bus_message_read(reply, "(so)", &name, &path)) > 0) {
		found = path;
		if (used < sizeof(names))
			used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s",
						 n ? ", " : "", name);
		n++;
	}
	if (r < 0)
		return ctl_bad_answer("ListDevices", r);
	if (n == 0) {
		ctl_error("the service has no device");
		return CTL_NO_OBJECT;
	}
	if (n > 1)
		return ctl_usage("there are %zu devices, and one must be named: %s", n, names);
	*ret = strdup(found);
	return *ret ? CTL_OK : ctl_oom();
}

enum ctl_exit ctl_device(struct ctl *ctl, const char *name, char **ret)
{
	return name ? get_object(ctl, "GetDevice", name, ret) : only_device(ctl, ret);
}

enum ctl_exit ctl_tunnel(struct ctl *ctl, const char *name, char **ret)
{
	return get_object(ctl, "GetTunnel", name, ret);
}

enum ctl_exit ctl_device_argument(struct ctl *ctl, int others, char **ret)
{
	const char *name = NULL;

	if (ctl->argc < others)
		return ctl_usage("too few arguments");
	if (ctl->argc > others + 1)
		return ctl_usage("too many arguments");
	if (ctl->argc == others + 1) {
		name = *ctl->argv++;
		ctl->argc--;
	}
	return ctl_device(ctl, name, ret);
}

enum ctl_exit ctl_device_call(struct ctl *ctl, const char *interface, const char *member)
{
	_cleanup_free_ char *path = NULL;
	enum ctl_exit status = ctl_device_argument(ctl, 0, &path);
	const struct ctl_method method = { path, interface, member, true };

	return status == CTL_OK ? ctl_call(ctl, &method, NULL, NULL) : status;
}
