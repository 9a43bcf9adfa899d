/* SPDX-License-Identifier: MIT */
/* The D-Bus interface without a bus. */
#include "../unit/test.h"

#include "bus-rig.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <libconfig.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bus/bus-request.h"
#include "bus/bus-text.h"
#include "config/syntax.h"
#include "device/device.h"
#include "must.h"
#include "util/clock.h"

#define DRIVER "org.freedesktop.DBus"
#define POLKIT "org.freedesktop.PolicyKit1.Authority"
/* Turns of the loop without an end of them: a loop. */
#define TURNS_MAX 100000
#define STRANGER 4711u

struct bus_rig bus_rig;

__attribute__((format(printf, 2, 3))) void __wrap_log_msg(enum log_level level, const char *format,
							  ...);

void __wrap_log_msg(enum log_level level, const char *format, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	MUST(!strstr(text, BUS_RIG_SECRET));
}

/* ---- what is asked of the daemon ---- */

static int end_op(struct bus_failure *failure)
{
	return bus_rig.fails == BUS_OK ? 0 : bus_fail(failure, bus_rig.fails, "it failed");
}

static void must_be_name(const char *name)
{
	MUST(strlen(name) <= CONFIG_NAME_MAX && !syntax_name(name));
}

static int op_reload(void *userdata, bus_change_fn done, void *done_userdata,
		     struct bus_failure *failure)
{
	int r = end_op(failure);

	if (r == 0)
		done(done_userdata, NULL, NULL, 0);
	return r;
}

static bool op_busy(void *userdata)
{
	return false;
}

/* The text is one tunnel of this name, whatever was in the options. */
static void must_be_one_tunnel(const char *name, const char *text)
{
	const config_setting_t *tunnels, *tunnel;
	const char *is = NULL;
	config_t tree;

	config_init(&tree);
	MUST(config_read_string(&tree, text));
	MUST(config_setting_length(config_root_setting(&tree)) == 1);
	tunnels = config_lookup(&tree, "tunnels");
	MUST(tunnels && config_setting_length(tunnels) == 1);
	tunnel = config_setting_get_elem(tunnels, 0);
	MUST(config_setting_lookup_string(tunnel, "name", &is) && strcmp(is, name) == 0);
	MUST(!config_setting_get_member(tunnel, "psk"));
	config_destroy(&tree);
}

static int op_create_tunnel(void *userdata, const char *name, const char *text, bool persist,
			    struct bus_failure *failure)
{
	must_be_name(name);
	must_be_one_tunnel(name, text);
	if (end_op(failure) < 0)
		return -1;
	if (bus_rig.made)
		return bus_fail(failure, BUS_E_EXISTS, "there is one already");
	bus_rig.made = fake_tunnel(name, bus_rig.dev);
	MUST(bus_add_tunnel(bus_rig.bus, bus_rig.made) == 0);
	return 0;
}

static void remove_made(void)
{
	if (!bus_rig.made)
		return;
	bus_remove_tunnel(bus_rig.bus, bus_rig.made);
	bus_rig.made = fake_tunnel_free(bus_rig.made);
}

static int op_remove_tunnel(void *userdata, const char *name, struct bus_failure *failure)
{
	must_be_name(name);
	if (end_op(failure) < 0)
		return -1;
	remove_made();
	return 0;
}

static int begin_change(bus_change_fn done, void *done_userdata, struct bus_failure *failure)
{
	static const struct bus_chip_result results[] = { { "esp0", true, "written" },
							  { "esp1", false, "bad\xff" } };

	if (end_op(failure) < 0)
		return -1;
	if (!bus_rig.later) {
		done(done_userdata, NULL, results, 2);
		return 0;
	}
	if (bus_rig.done)
		return bus_fail(failure, BUS_E_BUSY, "one at a time");
	bus_rig.done = done;
	bus_rig.done_userdata = done_userdata;
	return 0;
}

static int op_set_material(void *userdata, enum store_kind kind, const char *name, const void *cert,
			   size_t cert_len, const void *key, size_t key_len, bus_change_fn done,
			   void *done_userdata, struct bus_failure *failure)
{
	must_be_name(name);
	MUST(cert_len <= BUS_PEM_MAX && strlen(cert) == cert_len);
	MUST(!strstr(cert, "PRIVATE KEY"));
	MUST((kind == STORE_IDENTITY) == (key != NULL) && key_len <= BUS_FD_MAX);
	return begin_change(done, done_userdata, failure);
}

static int op_remove_material(void *userdata, enum store_kind kind, const char *name,
			      bus_change_fn done, void *done_userdata, struct bus_failure *failure)
{
	must_be_name(name);
	return begin_change(done, done_userdata, failure);
}

static int op_rollback(void *userdata, const char *name, bus_change_fn done, void *done_userdata,
		       struct bus_failure *failure)
{
	const char *colon = strchr(name, ':');

	must_be_name(colon ? colon + 1 : name);
	return begin_change(done, done_userdata, failure);
}

static void op_change_cancel(void *userdata, void *done_userdata)
{
	MUST(bus_rig.done && done_userdata == bus_rig.done_userdata);
	bus_rig.done = NULL;
}

static void op_each_material(void *userdata, enum store_kind kind,
			     void (*fn)(void *fn_userdata, const struct bus_material *m),
			     void *fn_userdata)
{
	static const char *const none[] = { NULL };

	fn(fn_userdata, &(struct bus_material){ .name = "corp",
						.generation = 3,
						.sha256 = "aa",
						.subject = "CN=\xff\xfe",
						.issuer = "",
						.tunnels = none,
						.devices = none });
}

static int op_adopt(void *userdata, struct device *dev, struct bus_failure *failure)
{
	return end_op(failure);
}

static int op_start_trace(void *userdata, struct device *dev, int fd, uint64_t max_bytes,
			  unsigned int max_seconds, struct bus_failure *failure)
{
	MUST(fcntl(fd, F_GETFL) >= 0 && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY);
	MUST(max_bytes == 0 || (max_bytes >= 4096 && max_bytes <= 1u << 30));
	MUST(max_seconds <= 86400);
	if (end_op(failure) < 0)
		return -1;
	close(fd);
	return 0;
}

static int op_stop_trace(void *userdata, struct device *dev, struct bus_failure *failure)
{
	return end_op(failure);
}

static const char *op_tunnel_origin(void *userdata, const struct tunnel *tunnel)
{
	return "runtime";
}

static unsigned int op_device_baud(void *userdata, const struct device *dev)
{
	return 115200;
}

static bool op_raw_commands(void *userdata)
{
	return bus_rig.raw;
}

static const struct bus_ops ops = {
	.reload = op_reload,
	.busy = op_busy,
	.create_tunnel = op_create_tunnel,
	.remove_tunnel = op_remove_tunnel,
	.set_material = op_set_material,
	.remove_material = op_remove_material,
	.rollback = op_rollback,
	.change_cancel = op_change_cancel,
	.each_material = op_each_material,
	.adopt = op_adopt,
	.start_trace = op_start_trace,
	.stop_trace = op_stop_trace,
	.tunnel_origin = op_tunnel_origin,
	.device_baud = op_device_baud,
	.raw_commands = op_raw_commands,
};

/* ---- the bus's daemon, and polkit ---- */

static int on_hello(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	return sd_bus_reply_method_return(m, "s", ":1.1");
}

static int on_request_name(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	return sd_bus_reply_method_return(m, "u", 1);
}

static int on_add_match(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	return sd_bus_reply_method_return(m, "");
}

static int on_get_credentials(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	switch (bus_rig.caller) {
	case BUS_RIG_ADMIN:
		return sd_bus_reply_method_return(m, "a{sv}", 2, "ProcessID", "u", 1, "UnixUserID",
						  "u", getuid());
	case BUS_RIG_STRANGER:
		return sd_bus_reply_method_return(m, "a{sv}", 2, "UnixUserID", "u", STRANGER,
						  "UnixGroupIDs", "au", 2, 5, 6);
	case BUS_RIG_UNKNOWN:
		break;
	}
	return sd_bus_reply_method_return(m, "a{sv}", 1, "UnixUserID", "s", "root");
}

static int on_check_authorization(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	bool yes = bus_rig.polkit == BUS_RIG_YES, challenge = bus_rig.polkit == BUS_RIG_CHALLENGE;

	switch (bus_rig.polkit) {
	case BUS_RIG_YES:
	case BUS_RIG_NO:
	case BUS_RIG_CHALLENGE:
		return sd_bus_reply_method_return(m, "(bba{ss})", yes, challenge, 0);
	case BUS_RIG_BROKEN:
		return sd_bus_reply_method_return(m, "s", "yes");
	case BUS_RIG_SILENT:
		break;
	}
	return 1;
}

static int on_cancel(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	return sd_bus_reply_method_return(m, "");
}

#define METHOD(member, in, out, handler)                                                           \
	SD_BUS_METHOD(member, in, out, handler, SD_BUS_VTABLE_UNPRIVILEGED)

static const sd_bus_vtable driver_vtable[] = {
	SD_BUS_VTABLE_START(0),
	METHOD("Hello", "", "s", on_hello),
	METHOD("RequestName", "su", "u", on_request_name),
	METHOD("AddMatch", "s", "", on_add_match),
	METHOD("GetConnectionCredentials", "s", "a{sv}", on_get_credentials),
	SD_BUS_VTABLE_END,
};

static const sd_bus_vtable polkit_vtable[] = {
	SD_BUS_VTABLE_START(0),
	METHOD("CheckAuthorization", "(sa{sv})sa{ss}us", "(bba{ss})", on_check_authorization),
	METHOD("CancelCheckAuthorization", "s", "", on_cancel),
	SD_BUS_VTABLE_END,
};

static void connect_peer(int fd)
{
	MUST(sd_bus_new(&bus_rig.peer) >= 0);
	MUST(sd_bus_set_fd(bus_rig.peer, fd, fd) >= 0);
	MUST(sd_bus_set_server(bus_rig.peer, 1, (sd_id128_t){ .bytes = { 1 } }) >= 0);
	MUST(sd_bus_negotiate_fds(bus_rig.peer, 1) >= 0);
	MUST(sd_bus_add_object_vtable(bus_rig.peer, NULL, "/org/freedesktop/DBus", DRIVER,
				      driver_vtable, NULL) >= 0);
	MUST(sd_bus_add_object_vtable(bus_rig.peer, NULL, "/org/freedesktop/PolicyKit1/Authority",
				      POLKIT, polkit_vtable, NULL) >= 0);
	MUST(sd_bus_start(bus_rig.peer) >= 0);
}

/* ---- the loop ---- */

/* Also what it need not answer keeps the daemon busy, some of it each turn. */
static int on_heard(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	*(bool *)userdata = true;
	return 0;
}

static bool turn(void)
{
	bool busy = bus_rig.heard;
	int r;

	bus_rig.heard = false;
	while ((r = sd_bus_process(bus_rig.peer, NULL)) > 0)
		busy = true;
	MUST(r == 0);
	timers_run(&bus_rig.timers);
	bus_prepare(bus_rig.bus);
	event_base_loop(bus_rig.base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
	return busy;
}

void bus_rig_run(void)
{
	unsigned int turns = 0;

	/* Who has had nothing to say may have been told something in that turn. */
	for (int idle = 0; idle < 2; idle++) {
		if (turn())
			idle = -1;
		MUST(++turns < TURNS_MAX);
	}
}

void bus_rig_pass(uint64_t time)
{
	timers_touch(&bus_rig.timers);
	timers_set_now(&bus_rig.timers, bus_rig.timers.now + time);
	bus_rig_run();
}

static int lowest_free(void)
{
	int fd = dup(0);

	MUST(fd >= 0);
	close(fd);
	return fd;
}

void bus_rig_init(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char address[64];
	int listener, fd;

	signal(SIGPIPE, SIG_IGN);
	/* In the abstract name space: nothing is left behind. */
	snprintf(addr.sun_path + 1, sizeof(addr.sun_path) - 1, "espatd-fuzz-%d", getpid());
	snprintf(address, sizeof(address), "unix:abstract=%s", addr.sun_path + 1);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	MUST(listener >= 0);
	MUST(bind(listener, (struct sockaddr *)&addr,
		  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			      strlen(addr.sun_path + 1))) == 0);
	MUST(listen(listener, 1) == 0);
	fake_reset();
	bus_rig.base = event_base_new();
	timers_init(&bus_rig.timers);
	timers_touch(&bus_rig.timers);
	bus_rig.dev = fake_device("esp0");
	bus_rig.tunnel = fake_tunnel("broker", bus_rig.dev);
	MUST(bus_new(&bus_rig.bus, bus_rig.base, &bus_rig.timers, address, &ops, NULL) == 0);
	MUST(bus_add_device(bus_rig.bus, bus_rig.dev) == 0);
	MUST(bus_add_tunnel(bus_rig.bus, bus_rig.tunnel) == 0);
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	MUST(fd >= 0);
	close(listener);
	connect_peer(fd);
	while (!bus_rig.bus->named)
		turn();
	MUST(sd_bus_add_filter(bus_rig.bus->sd, NULL, on_heard, &bus_rig.heard) >= 0);
	bus_rig_run();
}

void bus_rig_begin(void)
{
	fake_reset();
	bus_rig.caller = BUS_RIG_ADMIN;
	bus_rig.polkit = BUS_RIG_YES;
	bus_rig.fails = BUS_OK;
	bus_rig.later = bus_rig.raw = false;
	bus_rig.lowest = lowest_free();
	bus_rig.dev->state = DEVICE_READY;
	bus_rig.n_calls = 0;
	memset(bus_rig.calls, 0, sizeof(bus_rig.calls));
}

void bus_rig_end(void)
{
	/* Polkit, pipes and the caller's patience. */
	bus_rig_run();
	bus_rig_pass(BUS_AUTH_TIMEOUT_INTERACTIVE);
	bus_rig_pass(BUS_FD_TIMEOUT);
	bus_rig_finish_change(true);
	for (size_t i = 0; i < fake.n; i++)
		if (fake.requests[i].pending)
			fake_finish(&fake.requests[i], DEVICE_OK, NULL);
	bus_rig_run();
	for (size_t i = 0; i < bus_rig.n_calls; i++)
		MUST(bus_rig.calls[i].answers == 1 ||
		     (bus_rig.calls[i].gone && bus_rig.calls[i].answers == 0));
	MUST(bus_rig.bus->n_requests == 0 && list_empty(&bus_rig.bus->requests));
	MUST(list_empty(&bus_rig.bus->questions) && !bus_rig.done);
	remove_made();
	bus_rig_run();
	MUST(lowest_free() == bus_rig.lowest);
	log_set_level(LOG_LEVEL_INFO);
}

/* ---- calls ---- */

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	const sd_bus_error *error = sd_bus_message_get_error(m);
	struct bus_rig_call *call = userdata;

	call->answers++;
	if (!error)
		return 0;
	MUST(strncmp(error->name, "org.espat1.Error.", 17) == 0 ||
	     strncmp(error->name, "org.freedesktop.DBus.Error.", 27) == 0);
	MUST(!error->message || !strstr(error->message, BUS_RIG_SECRET));
	return 0;
}

sd_bus_message *bus_rig_call(const char *path, const char *interface, const char *member)
{
	sd_bus_message *m = NULL;

	if (bus_rig.n_calls == BUS_RIG_CALLS)
		return NULL;
	MUST(sd_bus_message_new_method_call(bus_rig.peer, &m, BUS_NAME, path, interface, member) >=
	     0);
	return m;
}

static void set_sender(sd_bus_message *m, unsigned int caller)
{
	char sender[16];

	snprintf(sender, sizeof(sender), ":1.%u", 7 + caller);
	MUST(sd_bus_message_set_sender(m, sender) >= 0);
}

void bus_rig_send(sd_bus_message *m, unsigned int caller, bool interactive)
{
	struct bus_rig_call *call = &bus_rig.calls[bus_rig.n_calls++];

	call->caller = caller;
	set_sender(m, caller);
	MUST(sd_bus_message_set_allow_interactive_authorization(m, interactive) >= 0);
	MUST(sd_bus_call_async(bus_rig.peer, NULL, m, on_answer, call, UINT64_MAX) >= 0);
	sd_bus_message_unref(m);
}

void bus_rig_hang_up(unsigned int caller)
{
	sd_bus_message *m = NULL;
	char name[16];

	snprintf(name, sizeof(name), ":1.%u", 7 + caller);
	MUST(sd_bus_message_new_signal(bus_rig.peer, &m, "/org/freedesktop/DBus", DRIVER,
				       "NameOwnerChanged") >= 0);
	MUST(sd_bus_message_set_sender(m, DRIVER) >= 0);
	MUST(sd_bus_message_append(m, "sss", name, name, "") >= 0);
	MUST(sd_bus_send(bus_rig.peer, m, NULL) >= 0);
	sd_bus_message_unref(m);
	for (size_t i = 0; i < bus_rig.n_calls; i++)
		if (bus_rig.calls[i].caller == caller)
			bus_rig.calls[i].gone = true;
}

void bus_rig_finish_change(bool good)
{
	static const struct bus_failure failure = { .error = BUS_E_FAILED,
						    .text = "it failed \xff" };
	bus_change_fn done = bus_rig.done;

	bus_rig.done = NULL;
	if (done)
		done(bus_rig.done_userdata, good ? NULL : &failure, NULL, 0);
}
