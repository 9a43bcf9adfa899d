/* SPDX-License-Identifier: MIT */
/*
 * What callers on D-Bus may say: any method with any arguments of its types (or of others), descriptors of any kind,
 * and who they are; see bus-rig.h for what is checked. The input is a program of calls and of what else
 * happens; a byte says what, those behind it are arguments.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bus-rig.h"
#include "config/syntax.h"
#include "input.h"
#include "must.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_MAX 70000 /* one may have BUS_PEM_MAX */
#define DEPTH_MAX 3

#define DEVICE "/org/espat1/device/esp0"
#define TUNNEL "/org/espat1/tunnel/broker"
#define MANAGER "/org/espat1", "org.espat1.Manager"

static const struct {
	const char *path, *interface, *member, *types;
} methods[] = {
	{ MANAGER, "CreateTunnel", "sa{sv}" },
	{ MANAGER, "SetAuthority", "ss" },
	{ MANAGER, "SetIdentity", "ssh" },
	{ MANAGER, "GetDevice", "s" },
	{ MANAGER, "GetTunnel", "s" },
	{ MANAGER, "RemoveTunnel", "s" },
	{ MANAGER, "RemoveAuthority", "s" },
	{ MANAGER, "RemoveIdentity", "s" },
	{ MANAGER, "Rollback", "s" },
	{ MANAGER, "SetLogLevel", "s" },
	{ MANAGER, "ListDevices", "" },
	{ MANAGER, "ListTunnels", "" },
	{ MANAGER, "ListAuthorities", "" },
	{ MANAGER, "ListIdentities", "" },
	{ MANAGER, "Reload", "" },
	{ DEVICE, "org.espat1.Device", "Command", "s" },
	{ DEVICE, "org.espat1.Device", "StartTrace", "ha{sv}" },
	{ DEVICE, "org.espat1.Device", "StopTrace", "" },
	{ DEVICE, "org.espat1.Device", "Reset", "" },
	{ DEVICE, "org.espat1.Device", "Reprobe", "" },
	{ DEVICE, "org.espat1.Device", "SyncTime", "" },
	{ DEVICE, "org.espat1.Device", "Adopt", "" },
	{ DEVICE, "org.espat1.Wifi", "Join", "sha{sv}" },
	{ DEVICE, "org.espat1.Wifi", "Scan", "" },
	{ DEVICE, "org.espat1.Wifi", "Leave", "" },
	{ DEVICE, "org.espat1.Certificates", "Load", "suh" },
	{ DEVICE, "org.espat1.Certificates", "LoadPem", "sus" },
	{ DEVICE, "org.espat1.Certificates", "Erase", "su" },
	{ DEVICE, "org.espat1.Certificates", "List", "" },
	{ DEVICE, "org.espat1.Certificates", "ListOrphans", "" },
	{ DEVICE, "org.espat1.Certificates", "Verify", "" },
	{ TUNNEL, "org.espat1.Tunnel", "Disconnect", "" },
	{ "/org/espat1", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", "" },
	{ DEVICE, "org.freedesktop.DBus.Properties", "Get", "ss" },
	{ DEVICE, "org.freedesktop.DBus.Properties", "GetAll", "s" },
	{ TUNNEL, "org.freedesktop.DBus.Properties", "Set", "ssv" },
	{ TUNNEL, "org.freedesktop.DBus.Introspectable", "Introspect", "" },
};

#define N_METHODS (sizeof(methods) / sizeof(*methods))

/* ---- values ---- */

static const char *const words[] = {
	"",
	"broker",
	"esp0",
	"corp",
	"gateway",
	"authority:corp",
	"identity:gateway",
	"client_ca",
	"client_cert",
	"client_key",
	"mqtt_ca",
	"mine",
	"name",
	"host",
	"port",
	"persist",
	"psk",
	"alpn",
	"ciphers",
	"device",
	"authority",
	"insecure",
	"max_bytes",
	"max_seconds",
	"hidden",
	"bssid",
	"24:0a:c4:12:34:56",
	"debug",
	"AT+GMR",
	"AT+CWMODE=1",
	"AT+GMR\r\nAT+RST",
	"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
	"-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n",
	"\"; }, { name = \"x\"; host = \"y",
	"org.espat1.Device",
	"State",
};

#define N_WORDS (sizeof(words) / sizeof(*words))

/* The library and the bus let no string pass that is not UTF-8, or has a NUL. */
static size_t put_utf8(char *to, uint8_t c)
{
	if (c == 0 || c >= 0x80) {
		to[0] = (char)(0xc2 + (c >> 6 & 1));
		to[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	to[0] = (char)c;
	return 1;
}

/* A word, bytes as they are, or many of one; very many are for few, as they take as long as all else. */
static const char *text_of(struct input *in)
{
	static char text[TEXT_MAX + 3];
	uint8_t kind = next(in), n;
	size_t len = 0;

	if (kind < 128)
		return words[kind % N_WORDS];
	n = next(in);
	if (kind >= 240) {
		size_t many = kind == 255 ? 1024 + (size_t)n * n : (size_t)n * 8;

		memset(text, 'a' + kind % 16, many);
		len = many;
	} else {
		while (n-- > 0 && in->size > 0)
			len += put_utf8(text + len, next(in));
	}
	text[len] = '\0';
	return text;
}

static uint64_t number_of(struct input *in)
{
	uint8_t kind = next(in);
	uint64_t value = 0;

	if (kind < 128)
		return kind;
	for (int i = 0; i < 8; i++)
		value = value << 8 | next(in);
	return kind < 192 ? value : ~(uint64_t)0;
}

static void fill(int fd, const char *text)
{
	MUST(write(fd, BUS_RIG_SECRET, strlen(BUS_RIG_SECRET)) > 0);
	/* A pipe takes so much, and the rest is of no interest. */
	MUST(write(fd, text, strlen(text)) >= 0 || errno == EAGAIN);
}

static int memory_of(const char *text)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	MUST(fd >= 0);
	fill(fd, text);
	return fd;
}

/* The descriptor is the message's own then: it duplicates what it is given. */
static int descriptor_of(struct input *in)
{
	uint8_t kind = next(in);
	int fds[2];

	switch (kind % 8) {
	case 0:
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	case 1:
		return open("/", O_PATH | O_CLOEXEC);
	case 2:
		return open("/dev/null", O_WRONLY | O_CLOEXEC);
	case 3:
		/* One that nobody ever ends, but we do. */
		MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
		fill(fds[1], text_of(in));
		if (kind & 8)
			shutdown(fds[1], SHUT_WR);
		close(fds[1]);
		return fds[0];
	case 4:
	case 5:
		MUST(pipe2(fds, O_NONBLOCK | O_CLOEXEC) == 0);
		fill(fds[1], text_of(in));
		close(fds[1]);
		return fds[0];
	default:
		return memory_of(text_of(in));
	}
}

static void append_value(sd_bus_message *m, struct input *in, const char *type, int depth);

static void append_variant(sd_bus_message *m, struct input *in, int depth)
{
	static const char *const types[] = { "s",  "b",  "i",  "u",    "x",     "t",
					     "y",  "q",  "n",  "d",    "as",    "ai",
					     "au", "ab", "av", "(ss)", "a{sv}", "v" };
	const char *type = types[next(in) % (depth < DEPTH_MAX ? 18 : 14)];

	MUST(sd_bus_message_open_container(m, 'v', type) >= 0);
	append_value(m, in, type, depth + 1);
	MUST(sd_bus_message_close_container(m) >= 0);
}

static void append_array(sd_bus_message *m, struct input *in, const char *element, int depth)
{
	size_t n = next(in) % 80;

	MUST(sd_bus_message_open_container(m, 'a', element) >= 0);
	while (n-- > 0 && (in->size > 0 || depth == 1))
		append_value(m, in, element, depth + 1);
	MUST(sd_bus_message_close_container(m) >= 0);
}

static void append_struct(sd_bus_message *m, struct input *in, char kind, const char *contents,
			  int depth)
{
	MUST(sd_bus_message_open_container(m, kind, contents) >= 0);
	MUST(sd_bus_message_append_basic(m, 's', text_of(in)) >= 0);
	append_value(m, in, contents + 1, depth);
	MUST(sd_bus_message_close_container(m) >= 0);
}

/* By the kinds of types that there are here; one complete type. */
static void append_value(sd_bus_message *m, struct input *in, const char *type, int depth)
{
	uint64_t number;
	double real;
	int fd;

	switch (type[0]) {
	case 's':
		MUST(sd_bus_message_append_basic(m, 's', text_of(in)) >= 0);
		return;
	case 'h':
		fd = descriptor_of(in);
		MUST(fd >= 0 && sd_bus_message_append_basic(m, 'h', &fd) >= 0);
		close(fd);
		return;
	case 'b':
		MUST(sd_bus_message_append_basic(m, 'b', &(int){ next(in) & 1 }) >= 0);
		return;
	case 'd':
		real = (double)number_of(in);
		MUST(sd_bus_message_append_basic(m, 'd', &real) >= 0);
		return;
	case 'v':
		append_variant(m, in, depth);
		return;
	case 'a':
		if (strcmp(type, "a{sv}") == 0)
			append_array(m, in, "{sv}", depth);
		else
			append_array(m, in, type + 1, depth);
		return;
	case '{':
		append_struct(m, in, 'e', "sv", depth);
		return;
	case '(':
		append_struct(m, in, 'r', "ss", depth);
		return;
	default:
		number = number_of(in);
		MUST(sd_bus_message_append_basic(m, type[0], &number) >= 0);
	}
}

/* ---- deeds ---- */

/* The first complete type of @types. */
static size_t type_len(const char *types)
{
	return types[0] == 'a' ? strlen("a{sv}") : 1;
}

static void call(struct input *in)
{
	static const char *const others[] = { "", "s", "u", "ss", "sv", "a{sv}", "hs" };
	uint8_t which = next(in), flags = next(in);
	const char *types = methods[which % N_METHODS].types;
	sd_bus_message *m = bus_rig_call(methods[which % N_METHODS].path,
					 methods[which % N_METHODS].interface,
					 methods[which % N_METHODS].member);

	if (!m)
		return;
	if (flags >= 240)
		types = others[flags % 7];
	while (*types) {
		char type[8] = "";

		memcpy(type, types, type_len(types));
		append_value(m, in, type, 1);
		types += type_len(types);
	}
	bus_rig_send(m, flags & 3, flags & 4);
}

static void must_be_checked(const struct device_request *req)
{
	if (strcmp(req->what, "load") == 0 || strcmp(req->what, "erase") == 0) {
		MUST(!syntax_namespace(req->text));
		MUST(req->slot == DEVICE_SLOT_NONE ||
		     (req->slot >= 0 && req->slot <= CONFIG_SLOT_MAX));
		MUST(req->what[0] == 'e' || (req->len > 0 && req->len <= CERT_BLOB_MAX));
	} else if (strcmp(req->what, "join") == 0) {
		MUST(strlen(req->text) <= AT_SSID_MAX);
		MUST(strlen(req->password) <= AT_WIFI_PASSWORD_MAX);
		MUST(strcmp(req->bssid, "any") == 0 || !syntax_mac(req->bssid));
	} else if (strcmp(req->what, "command") == 0) {
		MUST(strlen(req->text) <= CONFIG_COMMAND_MAX);
		MUST(!device_command_refusal(req->text));
	}
}

static void finish(struct input *in)
{
	uint8_t result = next(in), which = next(in);
	struct device_answer answer = { .text = result & 64 ? "because\xff" : "" };
	struct device_ap ap = { .ssid = "a\xff\x01", .bssid = "", .security = "open" };
	char line[] = "+GMR:\xfe", *lines[] = { line };

	if (fake.n == 0 || !fake.requests[which % fake.n].pending)
		return;
	if (result & 32) {
		answer.aps = &ap;
		answer.n_aps = 1;
		answer.lines = lines;
		answer.n_lines = 1;
	}
	fake_finish(&fake.requests[which % fake.n],
		    (enum device_result)(result % (DEVICE_E_MEMORY + 1)), &answer);
}

static void set_mood(uint8_t arg, uint8_t how)
{
	static const int results[] = { 0, 0, 0, -ENOTCONN, -EBUSY, -EADDRINUSE, -EPERM, -EINVAL };

	bus_rig.caller = (enum bus_rig_caller)(arg % 3);
	bus_rig.polkit = (enum bus_rig_polkit)(arg / 4 % 5);
	bus_rig.raw = arg & 128;
	bus_rig.fails = how & 1 ? BUS_E_FAILED : BUS_OK;
	bus_rig.later = how & 2;
	fake.result = results[how / 4 % 8];
	bus_rig.dev->state = how & 64 ? DEVICE_JOINING : DEVICE_READY;
}

static void deed(struct input *in, uint8_t what)
{
	uint8_t arg;

	switch (what % 16) {
	case 9:
		arg = next(in);
		set_mood(arg, next(in));
		return;
	case 10:
		finish(in);
		return;
	case 11:
		bus_rig_finish_change(next(in) & 1);
		return;
	case 12:
		bus_rig_hang_up(next(in) & 3);
		return;
	case 13:
		bus_rig_pass((1 + next(in)) * 200 * TIMERS_MS);
		return;
	case 14:
		if (next(in) & 1)
			fake_device_changed(bus_rig.dev);
		else
			fake_tunnel_failed(bus_rig.tunnel, "refused", text_of(in));
		return;
	case 15:
		bus_rig_run();
		return;
	default:
		call(in);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	bus_rig_init();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	/* libFuzzer sees what is searched for. Who says it in the open, as a name, may read it again. */
	if (memmem(data, size, BUS_RIG_SECRET, strlen(BUS_RIG_SECRET)))
		return 0;
	bus_rig_begin();
	while (in.size > 0)
		deed(&in, next(&in));
	for (size_t i = 0; i < fake.n; i++)
		must_be_checked(&fake.requests[i]);
	bus_rig_end();
	return 0;
}
