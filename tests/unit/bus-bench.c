/* SPDX-License-Identifier: MIT */
/* A private bus, and who is on it. */
#include "bus-bench.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/internal.h"
#include "util/clock.h"
#include "util/log.h"

#define ERROR_PREFIX "org.espat1.Error."
/* s; a test that waits for longer waits for ever */
#define DEADLINE 60

struct bench bench;

/* ---- the log ---- */

__attribute__((format(printf, 2, 3))) void __wrap_log_msg(enum log_level level, const char *format,
							  ...);

void __wrap_log_msg(enum log_level level, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(bench.log[bench.n_log++ % BENCH_LOG_MAX], sizeof(bench.log[0]), format, ap);
	va_end(ap);
}

bool bench_logged(const char *text)
{
	size_t n = bench.n_log < BENCH_LOG_MAX ? bench.n_log : BENCH_LOG_MAX;

	for (size_t i = 0; i < n; i++)
		if (strstr(bench.log[i], text))
			return true;
	return false;
}

/* ---- the daemon of the bus ---- */

static const char config[] =
	"<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\"\n"
	" \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n"
	"<busconfig><listen>unix:path=%s</listen><auth>EXTERNAL</auth>\n"
	"<policy context=\"default\"><allow send_destination=\"*\"/><allow eavesdrop=\"true\"/>\n"
	"<allow own=\"*\"/><allow user=\"*\"/></policy></busconfig>\n";

bool bench_possible(void)
{
	return system("dbus-daemon --version >/dev/null 2>&1") == 0;
}

void bench_start_daemon(void)
{
	char option[128], line[256];
	int ready[2];
	FILE *f;

	snprintf(option, sizeof(option), "--config-file=%s/bus.conf", bench.dir);
	assert_int_equal(pipe2(ready, 0), 0);
	bench.daemon = fork();
	assert_true(bench.daemon >= 0);
	if (bench.daemon == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(ready[1], 1);
		dup2(open("/dev/null", O_WRONLY), 2); /* that its limit of open files stays */
		close(ready[0]);
		close(ready[1]);
		execlp("dbus-daemon", "dbus-daemon", "--nofork", "--print-address=1", option,
		       (char *)NULL);
		_exit(127);
	}
	close(ready[1]);
	f = fdopen(ready[0], "r");
	assert_non_null(fgets(line, sizeof(line), f)); /* it listens */
	fclose(f);
}

void bench_stop_daemon(void)
{
	if (!bench.daemon)
		return;
	kill(bench.daemon, SIGKILL);
	waitpid(bench.daemon, NULL, 0);
	bench.daemon = 0;
	unlink(bench.path);
}

/* ---- what is asked of the daemon ---- */

static int op(const char *what, const char *name, struct bus_failure *failure)
{
	bench.n_ops++;
	memset(&bench.op, 0, sizeof(bench.op));
	bench.op.fd = -1;
	snprintf(bench.op.what, sizeof(bench.op.what), "%s", what);
	snprintf(bench.op.name, sizeof(bench.op.name), "%s", name);
	if (bench.fails == BUS_OK)
		return 0;
	return bus_fail(failure, bench.fails, "%s failed", what);
}

static int op_reload(void *userdata, bus_change_fn done, void *done_userdata,
		     struct bus_failure *failure)
{
	int r = op("reload", "", failure);

	if (r == 0)
		done(done_userdata, NULL, NULL, 0);
	return r;
}

static bool op_busy(void *userdata)
{
	return bench.busy;
}

static int op_create_tunnel(void *userdata, const char *name, const char *text, bool persist,
			    struct bus_failure *failure)
{
	int r = op("create", name, failure);

	snprintf(bench.op.text, sizeof(bench.op.text), "%s", text);
	bench.op.persist = persist;
	if (r < 0)
		return r;
	bench.made = fake_tunnel(name, bench.dev);
	assert_int_equal(bus_add_tunnel(bench.bus, bench.made), 0);
	return 0;
}

static int op_remove_tunnel(void *userdata, const char *name, struct bus_failure *failure)
{
	return op("remove", name, failure);
}

/* A change has begun; it has ended if it does so at once. */
static int change(int r, bus_change_fn done, void *done_userdata)
{
	static const struct bus_chip_result results[] = {
		{ "esp0", true, "written" },
		{ "esp1", false, "absent" },
	};

	if (r < 0)
		return r;
	if (bench.at_once) {
		done(done_userdata, NULL, results, 2);
		return 0;
	}
	assert_null(bench.done);
	bench.done = done;
	bench.done_userdata = done_userdata;
	return 0;
}

static int op_set_material(void *userdata, enum store_kind kind, const char *name, const void *cert,
			   size_t cert_len, const void *key, size_t key_len, bus_change_fn done,
			   void *done_userdata, struct bus_failure *failure)
{
	int r = op("set", name, failure);

	bench.op.kind = kind;
	snprintf(bench.op.text, sizeof(bench.op.text), "%.*s", (int)cert_len, (const char *)cert);
	if (key)
		snprintf(bench.op.key, sizeof(bench.op.key), "%.*s", (int)key_len,
			 (const char *)key);
	return change(r, done, done_userdata);
}

static int op_remove_material(void *userdata, enum store_kind kind, const char *name,
			      bus_change_fn done, void *done_userdata, struct bus_failure *failure)
{
	int r = op("remove-material", name, failure);

	bench.op.kind = kind;
	return change(r, done, done_userdata);
}

static int op_rollback(void *userdata, const char *name, bus_change_fn done, void *done_userdata,
		       struct bus_failure *failure)
{
	return change(op("rollback", name, failure), done, done_userdata);
}

static void op_change_cancel(void *userdata, void *done_userdata)
{
	assert_ptr_equal(done_userdata, bench.done_userdata);
	bench.done = NULL;
	bench.changes_cancelled++;
}

static void op_each_material(void *userdata, enum store_kind kind,
			     void (*fn)(void *fn_userdata, const struct bus_material *m),
			     void *fn_userdata)
{
	static const char *const tunnels[] = { "broker", NULL }, *const none[] = { NULL };

	fn(fn_userdata,
	   &(struct bus_material){ .name = kind == STORE_AUTHORITY ? "corp" : "gateway",
				   .configured = true,
				   .generation = 3,
				   .source = STORE_ROLLED_BACK,
				   .sha256 = "aa",
				   .length = 1234,
				   .subject = "CN=\xff",
				   .issuer = "CN=b",
				   .not_before = 1,
				   .not_after = 1ll << 40,
				   .tunnels = tunnels,
				   .devices = none,
				   .previous = true });
	fn(fn_userdata, &(struct bus_material){ .name = "empty",
						.sha256 = "",
						.subject = "",
						.issuer = "",
						.tunnels = none,
						.devices = none });
}

static int op_adopt(void *userdata, struct device *dev, struct bus_failure *failure)
{
	return op("adopt", dev->settings->name, failure);
}

static int op_start_trace(void *userdata, struct device *dev, int fd, uint64_t max_bytes,
			  unsigned int max_seconds, struct bus_failure *failure)
{
	int r = op("trace", dev->settings->name, failure);

	bench.op.max_bytes = max_bytes;
	bench.op.max_seconds = max_seconds;
	if (r == 0)
		bench.op.fd = fd;
	return r;
}

static int op_stop_trace(void *userdata, struct device *dev, struct bus_failure *failure)
{
	return op("stop-trace", dev->settings->name, failure);
}

static const char *op_tunnel_origin(void *userdata, const struct tunnel *tunnel)
{
	if (tunnel == bench.made)
		return "runtime";
	return bench.origin ? bench.origin : "configuration";
}

static unsigned int op_device_baud(void *userdata, const struct device *dev)
{
	return dev->baud ? dev->baud : 115200;
}

static bool op_raw_commands(void *userdata)
{
	return bench.raw;
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

/* ---- the loop ---- */

static void on_client_event(evutil_socket_t fd, short what, void *userdata)
{
}

static void client_forget(struct bench_client *client)
{
	if (client->event)
		event_free(client->event);
	client->event = NULL;
	client->sd = sd_bus_close_unref(client->sd);
}

/* Whether there was something to do. */
static bool client_turn(struct bench_client *client)
{
	uint64_t timeout;
	bool busy = false;
	int r;

	while ((r = sd_bus_process(client->sd, NULL)) > 0)
		busy = true;
	if (r < 0) {
		client_forget(client);
		return true;
	}
	if (client->event)
		event_free(client->event);
	client->event = event_new(
		bench.base, sd_bus_get_fd(client->sd),
		(short)(EV_READ | (sd_bus_get_events(client->sd) & POLLOUT ? EV_WRITE : 0)),
		on_client_event, NULL);
	event_add(client->event, NULL);
	return busy || (sd_bus_get_timeout(client->sd, &timeout) >= 0 && timeout == 0);
}

void bench_turn(void)
{
	bool busy = false;

	for (size_t i = 0; i < bench.n_clients; i++)
		if (bench.clients[i].sd)
			busy = client_turn(&bench.clients[i]) || busy;
	timers_run(&bench.timers);
	if (bench.bus)
		bus_prepare(bench.bus);
	if (timers_next(&bench.timers) <= bench.timers.now)
		busy = true;
	/* Once in any case: by itself EVLOOP_NONBLOCK goes on while a socket can be written to. */
	event_base_loop(bench.base, EVLOOP_ONCE | (busy ? EVLOOP_NONBLOCK : 0));
}

void bench_pass(uint64_t time)
{
	timers_touch(&bench.timers);
	timers_set_now(&bench.timers, bench.timers.now + time);
	timers_run(&bench.timers);
}

void bench_settle(void)
{
	for (int i = 0; i < 2; i++) {
		struct bench_reply reply = { 0 };

		bench_ask(&reply, "/org/espat1", "org.freedesktop.DBus.Peer", "Ping", "");
		bench_reply_clear(&reply);
	}
}

/* ---- construction ---- */

struct bench_client *bench_connect(void)
{
	struct bench_client *client = &bench.clients[bench.n_clients++];

	assert_true(bench.n_clients <= BENCH_CLIENTS_MAX);
	assert_true(sd_bus_new(&client->sd) >= 0);
	assert_true(sd_bus_set_address(client->sd, bench.address) >= 0);
	assert_true(sd_bus_set_bus_client(client->sd, 1) >= 0);
	assert_true(sd_bus_start(client->sd) >= 0);
	return client;
}

void bench_disconnect(struct bench_client *client)
{
	client_forget(client);
}

void bench_start_bus(const char *address)
{
	assert_int_equal(bus_new(&bench.bus, bench.base, &bench.timers, address, &ops, &bench), 0);
	assert_int_equal(bus_add_device(bench.bus, bench.dev), 0);
	assert_int_equal(bus_add_tunnel(bench.bus, bench.tunnel), 0);
}

void bench_await_name(void)
{
	bench_await(bench.bus->named);
}

static unsigned int open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

int bench_setup(void **state)
{
	char path[96];
	FILE *f;

	memset(&bench, 0, sizeof(bench));
	bench.open_files = open_files();
	fake_reset();
	alarm(DEADLINE);
	signal(SIGPIPE, SIG_IGN);
	strcpy(bench.dir, "/tmp/espatd-bus.XXXXXX");
	assert_non_null(mkdtemp(bench.dir));
	snprintf(bench.path, sizeof(bench.path), "%s/bus", bench.dir);
	snprintf(bench.address, sizeof(bench.address), "unix:path=%s", bench.path);
	snprintf(path, sizeof(path), "%s/bus.conf", bench.dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, config, bench.path);
	fclose(f);
	bench.base = event_base_new();
	timers_init(&bench.timers);
	timers_touch(&bench.timers);
	bench.dev = fake_device("esp0");
	bench.tunnel = fake_tunnel("broker", bench.dev);
	bench_start_daemon();
	bench_start_bus(bench.address);
	bench.me = bench_connect();
	bench_await_name();
	return 0;
}

int bench_teardown(void **state)
{
	char command[128];

	bench.bus = bus_free(bench.bus);
	if (bench.op.fd > 0)
		close(bench.op.fd);
	sd_bus_message_unref(bench.question);
	for (size_t i = 0; i < bench.n_clients; i++)
		client_forget(&bench.clients[i]);
	bench_stop_daemon();
	if (bench.made)
		fake_tunnel_free(bench.made);
	fake_tunnel_free(bench.tunnel);
	fake_device_free(bench.dev);
	timers_deinit(&bench.timers);
	event_base_free(bench.base);
	snprintf(command, sizeof(command), "rm -rf %s", bench.dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(open_files(), bench.open_files); /* none was forgotten */
	alarm(0);
	return 0;
}

/* ---- calls ---- */

static int on_reply(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct bench_reply *reply = userdata;
	const sd_bus_error *error = sd_bus_message_get_error(m);

	if (reply->count++ > 0)
		return 0;
	reply->m = sd_bus_message_ref(m);
	if (error) {
		bool ours = strncmp(error->name, ERROR_PREFIX, strlen(ERROR_PREFIX)) == 0;

		snprintf(reply->error, sizeof(reply->error), "%s",
			 error->name + (ours ? strlen(ERROR_PREFIX) : 0));
		snprintf(reply->text, sizeof(reply->text), "%s", error->message);
	}
	return 0;
}

void bench_send(struct bench_client *client, struct bench_reply *reply, sd_bus_message *m)
{
	assert_true(sd_bus_call_async(client->sd, NULL, m, on_reply, reply, UINT64_MAX) >= 0);
}

static void call(struct bench_client *client, struct bench_reply *reply, const char *path,
		 const char *interface, const char *member, const char *types, va_list ap)
{
	sd_bus_message *m = NULL;

	memset(reply, 0, sizeof(*reply));
	assert_true(sd_bus_message_new_method_call(client->sd, &m, "org.espat1", path, interface,
						   member) >= 0);
	if (types[0])
		assert_true(sd_bus_message_appendv(m, types, ap) >= 0);
	bench_send(client, reply, m);
	sd_bus_message_unref(m);
}

void bench_call(struct bench_client *client, struct bench_reply *reply, const char *path,
		const char *interface, const char *member, const char *types, ...)
{
	va_list ap;

	va_start(ap, types);
	call(client, reply, path, interface, member, types, ap);
	va_end(ap);
}

void bench_await_reply(struct bench_reply *reply)
{
	bench_await(reply->count > 0);
}

void bench_read_value(sd_bus_message *m, char type[2], char *text, size_t size)
{
	const char *contents;
	union {
		const char *s;
		uint32_t u;
		int32_t i;
		uint64_t t;
		uint16_t q;
		int b;
	} value;

	assert_true(sd_bus_message_peek_type(m, NULL, &contents) > 0);
	assert_int_equal(strlen(contents), 1);
	strcpy(type, contents);
	assert_true(sd_bus_message_enter_container(m, 'v', type) > 0);
	assert_true(sd_bus_message_read_basic(m, type[0], &value) > 0);
	if (type[0] == 's')
		snprintf(text, size, "%s", value.s);
	else if (type[0] == 'u')
		snprintf(text, size, "%u", value.u);
	else if (type[0] == 'i')
		snprintf(text, size, "%d", value.i);
	else if (type[0] == 't')
		snprintf(text, size, "%llu", (unsigned long long)value.t);
	else if (type[0] == 'q')
		snprintf(text, size, "%u", value.q);
	else
		snprintf(text, size, "%d", value.b);
	assert_true(sd_bus_message_exit_container(m) > 0);
}

void bench_reply_clear(struct bench_reply *reply)
{
	assert_true(reply->count <= 1);
	reply->m = sd_bus_message_unref(reply->m);
}

const char *bench_ask(struct bench_reply *reply, const char *path, const char *interface,
		      const char *member, const char *types, ...)
{
	va_list ap;

	va_start(ap, types);
	call(bench.me, reply, path, interface, member, types, ap);
	va_end(ap);
	bench_await_reply(reply);
	return reply->error;
}

int bench_memfd(const void *data, size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	assert_int_equal(
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL),
		0);
	return fd;
}

/* ---- polkit ---- */

void bench_be_stranger(void)
{
	bench.bus->root = (uid_t)-1;
	bench.bus->own = (uid_t)-1;
	bench.bus->admin_group = (gid_t)-1;
}

static int answer(sd_bus_message *m, const char *verdict)
{
	if (strcmp(verdict, "error") == 0)
		return sd_bus_reply_method_errorf(m, SD_BUS_ERROR_FAILED, "out of order");
	return sd_bus_reply_method_return(m, "(bba{ss})", strcmp(verdict, "yes") == 0,
					  strcmp(verdict, "challenge") == 0, 0);
}

static int on_check(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *kind, *key, *name, *action, *id;

	assert_true(sd_bus_message_read(m, "(sa{sv})s", &kind, 1, &key, "s", &name, &action) > 0);
	assert_string_equal(kind, "system-bus-name");
	assert_string_equal(key, "name");
	assert_true(sd_bus_message_skip(m, "a{ss}") >= 0);
	assert_true(sd_bus_message_read(m, "us", &bench.polkit_flags, &id) > 0);
	assert_string_not_equal(id, "");
	snprintf(bench.action, sizeof(bench.action), "%s", action);
	snprintf(bench.subject, sizeof(bench.subject), "%s", name);
	bench.asked++;
	if (bench.verdict)
		return answer(m, bench.verdict);
	sd_bus_message_unref(bench.question);
	bench.question = sd_bus_message_ref(m);
	return 1;
}

void bench_polkit_answers(const char *verdict)
{
	assert_true(answer(bench.question, verdict) >= 0);
	bench.question = sd_bus_message_unref(bench.question);
}

static int on_cancel(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	bench.cancelled++;
	return sd_bus_reply_method_return(m, "");
}

static const sd_bus_vtable polkit_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("CheckAuthorization", "(sa{sv})sa{ss}us", "(bba{ss})", on_check,
		      SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("CancelCheckAuthorization", "s", "", on_cancel, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

static int on_polkit_named(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	bool *named = userdata;

	*named = true;
	return 0;
}

void bench_start_polkit(const char *verdict)
{
	bool named = false;

	bench.verdict = verdict;
	bench.polkit = bench_connect();
	assert_true(sd_bus_add_object_vtable(
			    bench.polkit->sd, NULL, "/org/freedesktop/PolicyKit1/Authority",
			    "org.freedesktop.PolicyKit1.Authority", polkit_vtable, NULL) >= 0);
	assert_true(sd_bus_request_name_async(bench.polkit->sd, NULL, "org.freedesktop.PolicyKit1",
					      0, on_polkit_named, &named) >= 0);
	bench_await(named);
}
