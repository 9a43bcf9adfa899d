/* SPDX-License-Identifier: MIT */
/* Who may call what. */
#include "bus/bus-auth.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bus/internal.h"
#include "util/clock.h"

#define DRIVER "org.freedesktop.DBus"
#define DRIVER_PATH "/org/freedesktop/DBus"
#define POLKIT "org.freedesktop.PolicyKit1"
#define POLKIT_PATH "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_INTERFACE "org.freedesktop.PolicyKit1.Authority"
#define POLKIT_ALLOW_USER_INTERACTION 1u

const char *bus_action_name(enum bus_action action)
{
	switch (action) {
	case BUS_ACTION_MANAGE:
		return "org.espat1.manage";
	case BUS_ACTION_TRUST:
		return "org.espat1.trust";
	case BUS_ACTION_RAW:
		return "org.espat1.raw";
	}
	return "?";
}

static void auth_forget(struct bus_auth *auth)
{
	auth->slot = sd_bus_slot_unref(auth->slot);
	auth->cancellation[0] = '\0';
	list_remove(&auth->node);
	timer_deinit(&auth->timer);
	auth->bus = NULL;
}

/* A dialog that nobody needs any more goes away. */
static void auth_tell_polkit(struct bus_auth *auth)
{
	sd_bus_message *m = NULL;
	int r;

	if (!auth->cancellation[0])
		return;
	r = sd_bus_message_new_method_call(auth->bus->sd, &m, POLKIT, POLKIT_PATH, POLKIT_INTERFACE,
					   "CancelCheckAuthorization");
	if (r >= 0)
		r = sd_bus_message_append_basic(m, 's', auth->cancellation);
	if (r >= 0)
		r = sd_bus_message_set_expect_reply(m, 0);
	if (r >= 0)
		sd_bus_send(auth->bus->sd, m, NULL);
	sd_bus_message_unref(m);
}

void bus_auth_cancel(struct bus_auth *auth)
{
	if (!auth->bus)
		return;
	auth_tell_polkit(auth);
	auth_forget(auth);
}

/* The last word. */
static void auth_end(struct bus_auth *auth, enum bus_error verdict, const char *why)
{
	auth_forget(auth);
	auth->done(auth, verdict, why);
}

static void auth_on_timeout(struct timer *timer)
{
	struct bus_auth *auth = container_of(timer, struct bus_auth, timer);

	auth_tell_polkit(auth);
	auth_end(auth, BUS_E_NOT_AUTHORIZED, "nobody has answered in time whether you may");
}

/* ---- polkit ---- */

/* Whether the call allows that a person is asked. */
static bool may_be_asked(const struct bus_auth *auth)
{
	return sd_bus_message_get_allow_interactive_authorization(auth->message) > 0;
}

static int auth_on_polkit(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct bus_auth *auth = userdata;
	int allowed = 0, challenge = 0, r = 0;

	bus_reading_ends(auth->bus);
	if (!sd_bus_message_is_method_error(m, NULL)) {
		r = sd_bus_message_enter_container(m, 'r', "bba{ss}");
		if (r > 0)
			r = sd_bus_message_read(m, "bb", &allowed, &challenge);
	}
	if (r > 0 && allowed)
		auth_end(auth, BUS_OK, "polkit allows it");
	else if (r > 0 && challenge)
		auth_end(auth, BUS_E_NOT_AUTHORIZED,
			 may_be_asked(auth)
				 ? "polkit wants a password, which it could not ask you for (with "
				   "sudo?)"
				 : "polkit asks for a password, and the call forbids to ask");
	else if (r > 0)
		auth_end(auth, BUS_E_NOT_AUTHORIZED, "polkit denies it");
	else
		auth_end(auth, BUS_E_NOT_AUTHORIZED, "and there is no polkit that would allow it");
	return 0;
}

/* Whether there is room for one more question. */
static bool auth_has_room(const struct bus_auth *auth)
{
	unsigned int all = 0, own = 0;

	list_for_each(it, &auth->bus->questions) {
		all++;
		own += container_of(it, struct bus_auth, node)->uid == auth->uid;
	}
	return all < BUS_AUTH_MAX && own < BUS_AUTH_USER_MAX;
}

static int auth_ask_polkit(struct bus_auth *auth)
{
	struct bus *bus = auth->bus;
	bool interactive = may_be_asked(auth);
	sd_bus_message *m = NULL;
	char id[sizeof(auth->cancellation)];
	int r;

	snprintf(id, sizeof(id), "%" PRIu64, ++bus->serial);
	auth->slot = sd_bus_slot_unref(auth->slot);
	r = sd_bus_message_new_method_call(bus->sd, &m, POLKIT, POLKIT_PATH, POLKIT_INTERFACE,
					   "CheckAuthorization");
	if (r >= 0)
		r = sd_bus_message_append(m, "(sa{sv})sa{ss}us", "system-bus-name", 1, "name", "s",
					  sd_bus_message_get_sender(auth->message),
					  bus_action_name(auth->action), 0,
					  interactive ? POLKIT_ALLOW_USER_INTERACTION : 0, id);
	if (r >= 0)
		r = sd_bus_call_async(bus->sd, &auth->slot, m, auth_on_polkit, auth, UINT64_MAX);
	sd_bus_message_unref(m);
	if (r < 0)
		return r;
	strcpy(auth->cancellation, id);
	list_append(&bus->questions, &auth->node);
	return 0;
}

/* ---- the caller's credentials ---- */

struct credentials {
	int64_t uid; /* -1: not told */
	bool is_admin;
};

static int read_groups(sd_bus_message *m, struct credentials *creds, gid_t admin)
{
	const void *groups = NULL;
	size_t size = 0;
	int r;

	r = sd_bus_message_enter_container(m, 'v', "au");
	if (r > 0)
		r = sd_bus_message_read_array(m, 'u', &groups, &size);
	if (r < 0)
		return r;
	for (size_t i = 0; i < size / sizeof(uint32_t); i++)
		if (admin != (gid_t)-1 && ((const uint32_t *)groups)[i] == admin)
			creds->is_admin = true;
	return sd_bus_message_exit_container(m);
}

/* An answer of GetConnectionCredentials. */
static int read_credentials(sd_bus_message *m, struct credentials *creds, gid_t admin)
{
	const char *key;
	uint32_t uid;
	int r;

	r = sd_bus_message_enter_container(m, 'a', "{sv}");
	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		r = sd_bus_message_read_basic(m, 's', &key);
		if (r < 0)
			return r;
		if (strcmp(key, "UnixUserID") == 0) {
			r = sd_bus_message_read(m, "v", "u", &uid);
			creds->uid = r < 0 || uid == UINT32_MAX ? -1 : (int64_t)uid;
		} else if (strcmp(key, "UnixGroupIDs") == 0) {
			r = read_groups(m, creds, admin);
		} else {
			r = sd_bus_message_skip(m, "v");
		}
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	return r;
}

static int auth_on_credentials(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct bus_auth *auth = userdata;
	struct bus *bus = auth->bus;
	struct credentials creds = { .uid = -1 };

	bus_reading_ends(bus);
	if (sd_bus_message_is_method_error(m, NULL) ||
	    read_credentials(m, &creds, bus->admin_group) < 0) {
		auth_end(auth, BUS_E_NOT_AUTHORIZED, "the bus does not tell who you are");
		return 0;
	}
	auth->uid = creds.uid;
	if (creds.is_admin ||
	    (creds.uid >= 0 && ((uid_t)creds.uid == bus->root || (uid_t)creds.uid == bus->own)))
		auth_end(auth, BUS_OK, "root, or a member of " BUS_ADMIN_GROUP);
	else if (!auth_has_room(auth))
		auth_end(auth, BUS_E_BUSY, "too many calls wait for polkit");
	else if (auth_ask_polkit(auth) < 0)
		auth_end(auth, BUS_E_NOT_AUTHORIZED, "and polkit cannot be asked");
	return 0;
}

int bus_auth_ask(struct bus_auth *auth, struct bus *bus, sd_bus_message *message,
		 enum bus_action action,
		 void (*done)(struct bus_auth *auth, enum bus_error verdict, const char *why))
{
	int r;

	*auth = (struct bus_auth){
		.bus = bus, .message = message, .action = action, .uid = -1, .done = done
	};
	r = timer_init(&auth->timer, bus->timers, auth_on_timeout);
	if (r == 0)
		r = sd_bus_call_method_async(bus->sd, &auth->slot, DRIVER, DRIVER_PATH, DRIVER,
					     "GetConnectionCredentials", auth_on_credentials, auth,
					     "s", sd_bus_message_get_sender(message));
	if (r < 0) {
		auth_forget(auth);
		return r;
	}
	timers_touch(bus->timers);
	timer_arm(&auth->timer,
		  may_be_asked(auth) ? BUS_AUTH_TIMEOUT_INTERACTIVE : BUS_AUTH_TIMEOUT);
	return 0;
}
