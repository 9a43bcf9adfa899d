/* SPDX-License-Identifier: MIT */
/*
 * A service org.espat1 with canned values, for the tests of espatctl. What is called is told on standard
 * output, one line each; commands come on standard input:
 *
 *   set OBJECT.Interface.Property=VALUE   as the option, with a change signal
 *   failed TUNNEL REASON TEXT...          the signal ConnectionFailed
 *   gone OBJECT                           InterfacesRemoved
 *   wire                                  closes the descriptor of the trace
 *   wire WHY                              the same, with a last line that tells why
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <systemd/sd-bus.h>

#define CHECK(expr)                                                                                \
	do {                                                                                       \
		int r_ = (expr);                                                                   \
		if (r_ < 0) {                                                                      \
			fprintf(stderr, "fake-espatd: %s: %s\n", #expr, strerror(-r_));            \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

#define PROPS_MAX 32
#define OBJECTS_MAX 8
#define FAILS_MAX 16

struct prop {
	const char *name; /* "Device.State" */
	char *value;
};

struct fake;

struct object {
	struct fake *fake;
	const char *name;
	char *path;
	const char *kind; /* "device", "tunnel" or "manager" */
	struct prop props[PROPS_MAX];
	size_t n;
};

struct fake {
	sd_bus *bus;
	struct object objects[OBJECTS_MAX];
	size_t n;
	const char *fails[FAILS_MAX]; /* Member=error.name:text */
	size_t n_fails;
	int trace;
	bool odd; /* answers of wrong types */
	bool no_results;
};

/* ---- properties ---- */

static const char *get(struct object *o, const char *interface, const char *property)
{
	const char *last = strrchr(interface, '.') + 1;

	for (size_t i = 0; i < o->n; i++)
		if (strncmp(o->props[i].name, last, strlen(last)) == 0 &&
		    strcmp(o->props[i].name + strlen(last) + 1, property) == 0)
			return o->props[i].value;
	return "";
}

static int on_get(sd_bus *bus, const char *path, const char *interface, const char *property,
		  sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const char *value = get(userdata, interface, property);
	/* The type is that of the vtable, which the container that is open tells. */
	const char *type = sd_bus_message_get_signature(reply, false);

	switch (type[strlen(type) - 1]) {
	case 's':
		return sd_bus_message_append(reply, "s", value);
	case 'u':
		return sd_bus_message_append(reply, "u", (uint32_t)strtoul(value, NULL, 0));
	case 'i':
		return sd_bus_message_append(reply, "i", (int32_t)strtol(value, NULL, 0));
	case 'q':
		return sd_bus_message_append(reply, "q", (int)strtoul(value, NULL, 0));
	case 't':
		return sd_bus_message_append(reply, "t", (uint64_t)strtoull(value, NULL, 0));
	case 'b':
		return sd_bus_message_append(reply, "b", strcmp(value, "true") == 0);
	}
	return -EINVAL;
}

/* ---- methods ---- */

static void tell_fd(int fd)
{
	char buf[65536];
	int seals = fcntl(fd, F_GET_SEALS);
	ssize_t n;

	if ((fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY) {
		printf(" fd");
		return;
	}
	n = pread(fd, buf, sizeof(buf), 0);
	printf(" %s:%.*s", seals > 0 ? "sealed" : "fd", n > 0 ? (int)n : 0, buf);
}

static void tell_one(sd_bus_message *m, char type)
{
	union {
		const char *s;
		uint32_t u;
		uint64_t t;
		int64_t x;
		int i;
	} v;

	CHECK(sd_bus_message_read_basic(m, type, &v));
	switch (type) {
	case 's':
		printf(" %s", v.s);
		break;
	case 'u':
		printf(" %u", v.u);
		break;
	case 't':
		printf(" %llu", (unsigned long long)v.t);
		break;
	case 'x':
		printf(" %lld", (long long)v.x);
		break;
	case 'b':
		printf(v.i ? " true" : " false");
		break;
	case 'h':
		tell_fd(v.i);
		break;
	default:
		printf(" ?");
	}
}

/* All arguments, flat. */
static void tell_all(sd_bus_message *m)
{
	const char *contents;
	char type;

	while (sd_bus_message_peek_type(m, &type, &contents) > 0) {
		if (strchr("aver", type)) {
			char copy[64];

			snprintf(copy, sizeof(copy), "%s", contents);
			if (type == 'v')
				printf(" <%s>", copy);
			CHECK(sd_bus_message_enter_container(m, type, copy));
			tell_all(m);
			CHECK(sd_bus_message_exit_container(m));
		} else {
			tell_one(m, type);
		}
	}
}

static int reply_paths(struct fake *fake, sd_bus_message *m, const char *kind)
{
	sd_bus_message *reply;

	CHECK(sd_bus_message_new_method_return(m, &reply));
	CHECK(sd_bus_message_open_container(reply, 'a', "(so)"));
	for (size_t i = 0; i < fake->n; i++)
		if (strcmp(fake->objects[i].kind, kind) == 0)
			CHECK(sd_bus_message_append(reply, "(so)", fake->objects[i].name,
						    fake->objects[i].path));
	CHECK(sd_bus_message_close_container(reply));
	CHECK(sd_bus_send(fake->bus, reply, NULL));
	sd_bus_message_unref(reply);
	return 1;
}

static int reply_path(struct fake *fake, sd_bus_message *m, const char *kind, const char *error)
{
	const char *name;

	CHECK(sd_bus_message_rewind(m, true));
	CHECK(sd_bus_message_read(m, "s", &name));
	for (size_t i = 0; i < fake->n; i++)
		if (strcmp(fake->objects[i].kind, kind) == 0 &&
		    strcmp(fake->objects[i].name, name) == 0)
			return sd_bus_reply_method_return(m, "o", fake->objects[i].path);
	return sd_bus_reply_method_errorf(m, error, "no %s has the name %s", kind, name);
}

static int reply_material(sd_bus_message *m, bool authority)
{
	sd_bus_message *reply;

	CHECK(sd_bus_message_new_method_return(m, &reply));
	CHECK(sd_bus_message_append(
		reply, "aa{sv}", 1, 13, "name", "s", authority ? "corp" : "gateway", "configured",
		"b", 1, "generation", "u", 3, "previous", "b", 1, "source", "s", "files", "sha256",
		"s", "0011223344556677889900112233445566778899001122334455667788990011", "length",
		"t", (uint64_t)1234, "subject", "s", "CN=corp,O=\xc3\x9c\x62\x65r", "issuer", "s",
		"CN=corp", "not_before", "x", (int64_t)1700000000, "not_after", "x",
		(int64_t)4000000000, "tunnels", "as", 1, "broker", "devices", "as", 1, "esp0"));
	CHECK(sd_bus_send(NULL, reply, NULL));
	sd_bus_message_unref(reply);
	return 1;
}

static int reply_values(sd_bus_message *m)
{
	return sd_bus_reply_method_return(
		m, "a(sususssxxas)", 2, "client_ca", 3, "ca", 1188, "aabbccdd", "CN=root \x1b[31m",
		"CN=root", (int64_t)1700000000, (int64_t)4000000000, 1, "authority:corp", "mqtt_ca",
		UINT32_MAX, "raw", 0, "", "", "", (int64_t)0, (int64_t)0, 0);
}

static int reply_results(struct fake *fake, sd_bus_message *m)
{
	if (fake->no_results)
		return sd_bus_reply_method_return(m, "a{s(bs)}", 1, "esp0", 1, "written");
	return sd_bus_reply_method_return(m, "a{s(bs)}", 2, "esp0", 1, "written", "esp1", 0,
					  "the chip is not ready");
}

static int start_trace(struct fake *fake, sd_bus_message *m)
{
	static const char text[] = "    0.001 H>D \"AT\\r\\n\"\n\x1b[31m    0.002 D>H \"OK\"\n";
	int fd;

	CHECK(sd_bus_message_rewind(m, true));
	CHECK(sd_bus_message_read(m, "h", &fd));
	fake->trace = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (write(fake->trace, text, sizeof(text) - 1) < 0)
		return -errno;
	return sd_bus_reply_method_return(m, NULL);
}

static int stop_trace(struct fake *fake, sd_bus_message *m)
{
	if (fake->trace < 0)
		return sd_bus_reply_method_errorf(m, "org.espat1.Error.NoTrace", "none is running");
	close(fake->trace);
	fake->trace = -1;
	return sd_bus_reply_method_return(m, NULL);
}

/* Returns 1 if it was refused as --fail wants. */
static int fail(struct fake *fake, sd_bus_message *m, const char *member)
{
	size_t len = strlen(member);

	for (size_t i = 0; i < fake->n_fails; i++) {
		char name[128];
		const char *text;

		if (strncmp(fake->fails[i], member, len) != 0 || fake->fails[i][len] != '=')
			continue;
		text = strchr(fake->fails[i] + len, ':');
		snprintf(name, sizeof(name), "%.*s", (int)(text - fake->fails[i] - (int)len - 1),
			 fake->fails[i] + len + 1);
		CHECK(sd_bus_reply_method_errorf(m, name, "%s", text + 1));
		return 1;
	}
	return 0;
}

static int answer(struct fake *fake, sd_bus_message *m, const char *member)
{
	static const char *const changes[] = { "SetAuthority", "SetIdentity", "RemoveAuthority",
					       "RemoveIdentity", "Rollback" };

	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++)
		if (strcmp(member, changes[i]) == 0)
			return reply_results(fake, m);
	if (strcmp(member, "ListDevices") == 0)
		return reply_paths(fake, m, "device");
	if (strcmp(member, "ListTunnels") == 0)
		return reply_paths(fake, m, "tunnel");
	if (strcmp(member, "GetDevice") == 0)
		return reply_path(fake, m, "device", "org.espat1.Error.NoSuchDevice");
	if (strcmp(member, "GetTunnel") == 0)
		return reply_path(fake, m, "tunnel", "org.espat1.Error.NoSuchTunnel");
	if (strcmp(member, "ListAuthorities") == 0 || strcmp(member, "ListIdentities") == 0)
		return reply_material(m, member[4] == 'A');
	if (strcmp(member, "CreateTunnel") == 0)
		return sd_bus_reply_method_return(m, "o", "/org/espat1/tunnel/new");
	if (strcmp(member, "Disconnect") == 0)
		return sd_bus_reply_method_return(m, "u", 2);
	if (strcmp(member, "Command") == 0)
		return sd_bus_reply_method_return(m, "as", 2, "AT version:3.5.0\x1b]0;x\a", "OK");
	if (strcmp(member, "Verify") == 0)
		return sd_bus_reply_method_return(m, "as", fake->no_results ? 0 : 1,
						  "client_ca.3 is not there");
	if (strcmp(member, "List") == 0)
		return reply_values(m);
	if (strcmp(member, "ListOrphans") == 0)
		return sd_bus_reply_method_return(m, "a(suus)", 1, "client_ca", 5, 2, "ffee");
	if (strcmp(member, "Scan") == 0)
		return sd_bus_reply_method_return(
			m, "aa{sv}", 2, 5, "ssid", "s", "caf\xc3\xa9", "bssid", "s",
			"aa:bb:cc:dd:ee:ff", "rssi", "i", -40, "channel", "u", 6, "security", "s",
			"wpa2", 2, "ssid", "s", "\xe7\xbd\x91\x0a\x1b[2J", "rssi", "i", -90);
	if (strcmp(member, "StartTrace") == 0)
		return start_trace(fake, m);
	if (strcmp(member, "StopTrace") == 0)
		return stop_trace(fake, m);
	return sd_bus_reply_method_return(m, NULL);
}

static int on_call(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct object *o = userdata;
	const char *member = sd_bus_message_get_member(m);
	const char *interface = sd_bus_message_get_interface(m);

	if (!interface || strncmp(interface, "org.espat1.", 11) != 0)
		return 0;
	printf("%s %s", o->name, member);
	tell_all(m);
	if (sd_bus_message_get_allow_interactive_authorization(m) > 0)
		printf(" interactive");
	putchar('\n');
	fflush(stdout);
	if (fail(o->fake, m, member))
		return 1;
	if (o->fake->odd && strcmp(member, "GetDevice") != 0)
		return sd_bus_reply_method_return(m, "d", 1.5);
	return answer(o->fake, m, member);
}

/* ---- properties of the interfaces; methods are taken by hand, so that answers may be odd ---- */

#define PROP(name, type) SD_BUS_PROPERTY(name, type, on_get, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE)

static const sd_bus_vtable manager_vtable[] = {
	SD_BUS_VTABLE_START(0),
	PROP("Version", "s"),
	PROP("LogLevel", "s"),
	SD_BUS_VTABLE_END,
};

#define DEVICE_PROPS(type_of_state)                                                                \
	PROP("Name", "s"), PROP("Port", "s"), PROP("State", type_of_state), PROP("Model", "s"),    \
		PROP("Firmware", "s"), PROP("Core", "s"), PROP("Mac", "s"), PROP("Baud", "u"),     \
		PROP("FlowControl", "s"), PROP("FlowControlError", "s"), PROP("Links", "u"),       \
		PROP("LinksInUse", "u"), PROP("FreeHeap", "u"), PROP("Clock", "s"),                \
		PROP("Resets", "t"), PROP("FlashWrites", "t"), PROP("LastError", "s")

static const sd_bus_vtable device_vtable[] = {
	SD_BUS_VTABLE_START(0),
	DEVICE_PROPS("s"),
	SD_BUS_VTABLE_END,
};

/* Its state is a number. */
static const sd_bus_vtable odd_device_vtable[] = {
	SD_BUS_VTABLE_START(0),
	DEVICE_PROPS("u"),
	SD_BUS_VTABLE_END,
};

static const sd_bus_vtable wifi_vtable[] = {
	SD_BUS_VTABLE_START(0), PROP("Ssid", "s"),    PROP("Bssid", "s"),     PROP("Channel", "u"),
	PROP("Rssi", "i"),      PROP("Address", "s"), PROP("Connected", "b"), SD_BUS_VTABLE_END,
};

static const sd_bus_vtable tunnel_vtable[] = {
	SD_BUS_VTABLE_START(0),
	PROP("Name", "s"),
	PROP("Device", "s"),
	PROP("Host", "s"),
	PROP("Port", "q"),
	PROP("SocketPath", "s"),
	PROP("Verified", "b"),
	PROP("Origin", "s"),
	PROP("State", "s"),
	PROP("Clients", "u"),
	PROP("Waiting", "u"),
	PROP("BytesSent", "t"),
	PROP("BytesReceived", "t"),
	PROP("Connects", "t"),
	PROP("Failures", "t"),
	PROP("Aborted", "t"),
	PROP("LastError", "s"),
	PROP("LastErrorReason", "s"),
	SD_BUS_SIGNAL("ConnectionFailed", "ss", 0),
	SD_BUS_VTABLE_END,
};

/* ---- systemd, of which only the unit's state is asked ---- */

static int on_load_unit(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	return sd_bus_reply_method_return(m, "o",
					  "/org/freedesktop/systemd1/unit/espatd_2eservice");
}

static int on_unit(sd_bus *bus, const char *path, const char *interface, const char *property,
		   sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const char *state = userdata;
	bool missing = strcmp(state, "not-found") == 0;

	if (strcmp(property, "LoadState") == 0)
		return sd_bus_message_append(reply, "s", missing ? "not-found" : "loaded");
	return sd_bus_message_append(reply, "s", missing ? "inactive" : state);
}

static const sd_bus_vtable systemd_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("LoadUnit", "s", "o", on_load_unit, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

static const sd_bus_vtable unit_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("ActiveState", "s", on_unit, 0, 0),
	SD_BUS_PROPERTY("LoadState", "s", on_unit, 0, 0),
	SD_BUS_VTABLE_END,
};

static void add_systemd(sd_bus *bus, char *state)
{
	CHECK(sd_bus_add_object_vtable(bus, NULL, "/org/freedesktop/systemd1",
				       "org.freedesktop.systemd1.Manager", systemd_vtable, NULL));
	CHECK(sd_bus_add_object_vtable(bus, NULL, "/org/freedesktop/systemd1/unit/espatd_2eservice",
				       "org.freedesktop.systemd1.Unit", unit_vtable, state));
	CHECK(sd_bus_request_name(bus, "org.freedesktop.systemd1", 0));
}

/* ---- objects ---- */

static void set(struct object *o, const char *name, const char *value)
{
	for (size_t i = 0; i < o->n; i++)
		if (strcmp(o->props[i].name, name) == 0) {
			free(o->props[i].value);
			o->props[i].value = strdup(value);
			return;
		}
	if (o->n == PROPS_MAX)
		abort();
	o->props[o->n++] = (struct prop){ strdup(name), strdup(value) };
}

static struct object *make(struct fake *fake, const char *kind, const char *name)
{
	struct object *o = &fake->objects[fake->n++];

	*o = (struct object){ .fake = fake, .name = strdup(name), .kind = kind };
	if (strcmp(kind, "manager") == 0)
		o->path = strdup("/org/espat1");
	else
		CHECK(sd_bus_path_encode(strcmp(kind, "device") == 0 ? "/org/espat1/device"
								     : "/org/espat1/tunnel",
					 name, &o->path));
	return o;
}

static void add_device(struct fake *fake, const char *name)
{
	static const char *const values[][2] = {
		{ "Device.State", "ready" },       { "Device.Port", "/dev/ttyUSB0" },
		{ "Device.Model", "ESP32" },       { "Device.Firmware", "v4.1.0.0-dev(WROOM-32)" },
		{ "Device.Core", "3.5.0.0-dev" },  { "Device.Mac", "24:0a:c4:12:34:56" },
		{ "Device.Baud", "115200" },       { "Device.FlowControl", "none" },
		{ "Device.Links", "5" },           { "Device.LinksInUse", "2" },
		{ "Device.FreeHeap", "112000" },   { "Device.Clock", "host" },
		{ "Device.Resets", "1" },          { "Device.FlashWrites", "18446744073709551615" },
		{ "Wifi.Ssid", "caf\xc3\xa9" },    { "Wifi.Bssid", "aa:bb:cc:dd:ee:ff" },
		{ "Wifi.Channel", "6" },           { "Wifi.Rssi", "-52" },
		{ "Wifi.Address", "192.168.4.2" }, { "Wifi.Connected", "true" },
	};
	struct object *o = make(fake, "device", name);

	set(o, "Device.Name", name);
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++)
		set(o, values[i][0], values[i][1]);
}

static void add_tunnel(struct fake *fake, const char *name)
{
	static const char *const values[][2] = {
		{ "Tunnel.Device", "esp0" },
		{ "Tunnel.Host", "broker.example" },
		{ "Tunnel.Port", "8883" },
		{ "Tunnel.SocketPath", "/run/espat/broker.sock" },
		{ "Tunnel.Verified", "true" },
		{ "Tunnel.Origin", "configuration" },
		{ "Tunnel.State", "listening" },
		{ "Tunnel.Clients", "2" },
		{ "Tunnel.BytesSent", "1234567" },
		{ "Tunnel.BytesReceived", "42" },
		{ "Tunnel.Connects", "7" },
	};
	struct object *o = make(fake, "tunnel", name);

	set(o, "Tunnel.Name", name);
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++)
		set(o, values[i][0], values[i][1]);
}

static struct object *find(struct fake *fake, const char *name)
{
	for (size_t i = 0; i < fake->n; i++)
		if (strcmp(fake->objects[i].name, name) == 0)
			return &fake->objects[i];
	fprintf(stderr, "fake-espatd: no object %s\n", name);
	exit(1);
}

/* "esp0:Device.State=ready"; with @signal it is told. */
static void set_text(struct fake *fake, char *text, bool signal)
{
	char interface[64], *property, *value;
	struct object *o;

	property = strchr(text, ':');
	*property++ = '\0';
	value = strchr(property, '=');
	*value++ = '\0';
	o = find(fake, text);
	set(o, property, value);
	if (!signal)
		return;
	snprintf(interface, sizeof(interface), "org.espat1.%.*s", (int)strcspn(property, "."),
		 property);
	CHECK(sd_bus_emit_properties_changed(fake->bus, o->path, interface,
					     strchr(property, '.') + 1, NULL));
}

static void publish(struct fake *fake)
{
	CHECK(sd_bus_add_object_manager(fake->bus, NULL, "/org/espat1"));
	for (size_t i = 0; i < fake->n; i++) {
		struct object *o = &fake->objects[i];

		CHECK(sd_bus_add_object(fake->bus, NULL, o->path, on_call, o));
		if (strcmp(o->kind, "manager") == 0) {
			CHECK(sd_bus_add_object_vtable(fake->bus, NULL, o->path,
						       "org.espat1.Manager", manager_vtable, o));
		} else if (strcmp(o->kind, "tunnel") == 0) {
			CHECK(sd_bus_add_object_vtable(fake->bus, NULL, o->path,
						       "org.espat1.Tunnel", tunnel_vtable, o));
		} else {
			CHECK(sd_bus_add_object_vtable(
				fake->bus, NULL, o->path, "org.espat1.Device",
				fake->odd ? odd_device_vtable : device_vtable, o));
			CHECK(sd_bus_add_object_vtable(fake->bus, NULL, o->path, "org.espat1.Wifi",
						       wifi_vtable, o));
		}
	}
}

/* ---- commands of the test ---- */

static void obey(struct fake *fake, char *line)
{
	char *tunnel, *reason;

	if (strncmp(line, "set ", 4) == 0) {
		set_text(fake, line + 4, true);
	} else if (strncmp(line, "failed ", 7) == 0) {
		tunnel = line + 7;
		reason = strchr(tunnel, ' ');
		*reason++ = '\0';
		line = strchr(reason, ' ');
		*line++ = '\0';
		CHECK(sd_bus_emit_signal(fake->bus, find(fake, tunnel)->path, "org.espat1.Tunnel",
					 "ConnectionFailed", "ss", reason, line));
	} else if (strncmp(line, "gone ", 5) == 0) {
		CHECK(sd_bus_emit_interfaces_removed(fake->bus, find(fake, line + 5)->path,
						     "org.espat1.Tunnel", NULL));
	} else if (strncmp(line, "wire", 4) == 0 && fake->trace >= 0) {
		if (line[4] == ' ')
			dprintf(fake->trace, "    1.000 # end: %s\n", line + 5);
		close(fake->trace);
		fake->trace = -1;
	}
}

static int run(struct fake *fake)
{
	struct pollfd fds[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
				 { .fd = sd_bus_get_fd(fake->bus) } };
	char line[1024];

	setvbuf(stdin, NULL, _IONBF, 0);
	for (;;) {
		int r = sd_bus_process(fake->bus, NULL);

		if (r < 0)
			return 1;
		if (r > 0)
			continue;
		fds[1].events = (short)sd_bus_get_events(fake->bus);
		if (poll(fds, 2, -1) < 0)
			return 1;
		if (!fds[0].revents)
			continue;
		if (!fgets(line, sizeof(line), stdin))
			return 0;
		line[strcspn(line, "\n")] = '\0';
		obey(fake, line);
	}
}

/* ADDRESS [--devices N] [--odd] [--one] [--set O:I.P=V]... [--fail Member=error:text]... [--own NAME]
 * [--unit STATE] [--no-service] */
int main(int argc, char **argv)
{
	static struct fake fake = { .trace = -1 };
	bool service = true;
	int devices = 2;

	if (argc < 2)
		return 2;
	CHECK(sd_bus_new(&fake.bus));
	CHECK(sd_bus_set_address(fake.bus, argv[1]));
	CHECK(sd_bus_set_bus_client(fake.bus, true));
	CHECK(sd_bus_negotiate_fds(fake.bus, true));
	CHECK(sd_bus_start(fake.bus));
	for (int i = 2; i < argc; i++)
		if (strcmp(argv[i], "--devices") == 0)
			devices = atoi(argv[i + 1]);
	set(make(&fake, "manager", "manager"), "Manager.Version", "0.1.0");
	set(&fake.objects[0], "Manager.LogLevel", "info");
	for (int i = 0; i < devices; i++)
		add_device(&fake, i ? "esp1" : "esp0");
	add_tunnel(&fake, "broker");
	add_tunnel(&fake, "a.b-c");
	for (int i = 2; i < argc; i++) {
		if (strcmp(argv[i], "--odd") == 0)
			fake.odd = true;
		else if (strcmp(argv[i], "--one") == 0)
			fake.no_results = true;
		else if (strcmp(argv[i], "--no-service") == 0)
			service = false;
		else if (strcmp(argv[i], "--set") == 0)
			set_text(&fake, argv[++i], false);
		else if (strcmp(argv[i], "--fail") == 0)
			fake.fails[fake.n_fails++] = argv[++i];
		else if (strcmp(argv[i], "--own") == 0)
			CHECK(sd_bus_request_name(fake.bus, argv[++i], 0));
		else if (strcmp(argv[i], "--unit") == 0)
			add_systemd(fake.bus, argv[++i]);
	}
	publish(&fake);
	if (service)
		CHECK(sd_bus_request_name(fake.bus, "org.espat1", 0));
	puts("fake: ready");
	fflush(stdout);
	return run(&fake);
}
