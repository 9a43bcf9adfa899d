/* SPDX-License-Identifier: MIT */
/* Calls to the service, and what their errors mean. The service is never started by one. */
#pragma once

#include <stdbool.h>

#include "ctl/ctl.h"
#include "util/cleanup.h"

#define ESPAT_NAME "org.espat1"
#define ESPAT_ROOT "/org/espat1"
#define ESPAT_MANAGER "org.espat1.Manager"
#define ESPAT_DEVICE "org.espat1.Device"
#define ESPAT_WIFI "org.espat1.Wifi"
#define ESPAT_CERTIFICATES "org.espat1.Certificates"
#define ESPAT_TUNNEL "org.espat1.Tunnel"

#define _cleanup_message_ _cleanup_(sd_bus_message_unrefp)
#define _cleanup_bus_error_ _cleanup_(sd_bus_error_free)

/* Where a call goes: one of ours. */
struct ctl_method {
	const char *path;
	const char *interface;
	const char *member;
	bool change; /* it may ask for a password by polkit, and takes as long as a chip does */
};

enum ctl_exit ctl_connect(struct ctl *ctl);
void ctl_disconnect(struct ctl *ctl);
/* The same without a word: 0 or -errno. */
int ctl_try_connect(struct ctl *ctl);

/* An empty message of the call, to be filled in and given to ctl_send(); NULL: told. */
sd_bus_message *ctl_message(struct ctl *ctl, const struct ctl_method *method);
/* Sends @m (not unref'd) and waits. @reply, if not NULL, is to be unref'd. */
enum ctl_exit ctl_send(struct ctl *ctl, sd_bus_message *m, sd_bus_message **reply);
/* All in one, and connects before; @types as of sd_bus_message_append(). */
enum ctl_exit ctl_call(struct ctl *ctl, const struct ctl_method *method, sd_bus_message **reply,
		       const char *types, ...);
/* Likewise, and the answer is of the type @signature. */
enum ctl_exit ctl_ask(struct ctl *ctl, const struct ctl_method *method, const char *signature,
		      sd_bus_message **reply, const char *types, ...);
/* ctl_call(), but connected before and silent: 0, or -errno and @error. */
int ctl_try(struct ctl *ctl, const struct ctl_method *method, sd_bus_error *error,
	    sd_bus_message **reply, const char *types, ...);
/* Tells an error of a call; what it means. */
enum ctl_exit ctl_call_failed(const struct ctl *ctl, const sd_bus_error *error, int r);
/* Whether -errno means that the bus has closed the connection. */
bool ctl_is_closed(int r);
/* That is told, CTL_UNREACHABLE. */
enum ctl_exit ctl_closed(const struct ctl *ctl);
/* Pure: what the error @name means. */
enum ctl_exit ctl_exit_of(const char *name);
/* If the answer is not of this signature, that is told. */
enum ctl_exit ctl_expect(sd_bus_message *reply, const char *signature, const char *what);
/* The answer could not be read: told, CTL_FAILED. */
enum ctl_exit ctl_bad_answer(const char *what, int r);

/* The path of a device, or of the only one if @name is NULL; *ret is to be freed. */
enum ctl_exit ctl_device(struct ctl *ctl, const char *name, char **ret);
enum ctl_exit ctl_tunnel(struct ctl *ctl, const char *name, char **ret);
/*
 * The device of a command that takes @others more arguments: the first one, if there are that many,
 * else the only device. What is left over stands in ctl->argv.
 */
enum ctl_exit ctl_device_argument(struct ctl *ctl, int others, char **ret);
/* A whole command: a method without arguments and answer of the device that may be named. */
enum ctl_exit ctl_device_call(struct ctl *ctl, const char *interface, const char *member);
