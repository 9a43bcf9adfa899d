/* SPDX-License-Identifier: MIT */
/* tunnel/: real sockets, on a scripted chip and a clock that is moved by hand (it never goes back). */
#include "test.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "fake-chip.h"
#include "log-capture.h"
#include "temp-dir.h"
#include "tunnel/client.h"
#include "tunnel/pool.h"
#include "tunnel/tunnel.h"
#include "util/clock.h"

static struct rig {
	struct bench b;
	struct config_tunnel *config;
	struct event_base *base;
	struct pool pool;
	struct tunnel *tunnel;
	struct tunnel_watch watch;
	unsigned int changes, failures;
	struct shown {
		const struct config_tunnel *config;
		/* as wide as the others: compared byte by byte */
		uint64_t state, clients, waiting;
		uint64_t connects, failures, aborted;
		const char *reason;
		char error[TUNNEL_ERROR_MAX];
	} shown; /* as an observer has it */
	char reason[64], text[256];
	enum tunnel_state states[16]; /* as they were told */
	size_t n_states;
	int clients[16];
} rig;

static struct shown look_at(const struct tunnel *tunnel)
{
	struct shown shown = {
		.config = tunnel->config,
		.state = tunnel_state(tunnel),
		.clients = tunnel_clients(tunnel),
		.waiting = tunnel_waiting(tunnel),
		.connects = tunnel->connects,
		.failures = tunnel->failures,
		.aborted = tunnel->aborted,
		.reason = tunnel_error_reason(tunnel),
	};

	strcpy(shown.error, tunnel_error(tunnel));
	return shown;
}

static void on_changed(struct tunnel_watch *watch, struct tunnel *tunnel)
{
	enum tunnel_state state = tunnel_state(tunnel);

	assert_ptr_equal(watch, &rig.watch);
	rig.changes++;
	rig.shown = look_at(tunnel);
	if (rig.n_states > 0 && rig.states[rig.n_states - 1] == state)
		return;
	assert_true(rig.n_states < ARRAY_SIZE(rig.states));
	rig.states[rig.n_states++] = state;
}

static void on_failed(struct tunnel_watch *watch, struct tunnel *tunnel, const char *reason,
		      const char *text)
{
	assert_string_equal(reason, tunnel_error_reason(tunnel));
	assert_string_equal(text, tunnel_error(tunnel));
	rig.failures++;
	snprintf(rig.reason, sizeof(rig.reason), "%s", reason);
	snprintf(rig.text, sizeof(rig.text), "%s", text);
}

static char host[] = "broker.example";

static int setup(void **state)
{
	clean();
	memset(&rig, 0, sizeof(rig));
	for (size_t i = 0; i < ARRAY_SIZE(rig.clients); i++)
		rig.clients[i] = -1;
	bench_init(&rig.b);
	/* Before anything is armed: what comes is in the future. */
	timers_touch(&rig.b.timers);
	rig.b.chip.joined = true;
	rig.config = &rig.b.tunnel;
	rig.config->host = host;
	rig.config->server_name = host;
	rig.config->port = 8883;
	rig.config->connect_timeout = 10;
	rig.config->wait_timeout = 30;
	rig.config->half_close_timeout = 60;
	rig.config->max_waiting = 8;
	rig.config->mode = 0600;
	rig.config->where.file = "espatd.conf";
	rig.base = event_base_new();
	assert_non_null(rig.base);
	pool_init(&rig.pool, rig.base, &rig.b.timers);
	assert_int_equal(pool_add_device(&rig.pool, rig.b.dev), 0);
	rig.watch.changed = on_changed;
	rig.watch.failed = on_failed;
	log_capture_reset();
	return 0;
}

static int teardown(void **state)
{
	rig.tunnel = tunnel_free(rig.tunnel, "espatd stops");
	for (size_t i = 0; i < ARRAY_SIZE(rig.clients); i++)
		if (rig.clients[i] >= 0)
			close(rig.clients[i]);
	pool_deinit(&rig.pool);
	event_base_free(rig.base);
	bench_free(&rig.b);
	return 0;
}

/* Until neither sockets nor chip have anything to say. */
static void run(void)
{
	/* Each turn takes one client of each listener; the last of them find nothing to do. */
	for (int i = 0; i < 40; i++) {
		event_base_loop(rig.base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
		bench_run(&rig.b);
		pool_flush(&rig.pool);
		pool_reap(&rig.pool);
	}
	/* Whoever watches was told of all of it. */
	if (rig.tunnel && list_linked(&rig.watch.node)) {
		struct shown now = look_at(rig.tunnel);

		assert_memory_equal(&now, &rig.shown, sizeof(now));
	}
}

static void pass(uint64_t delay)
{
	run();
	bench_pass(&rig.b, delay);
	run();
}

static int make(const int *fds, size_t n)
{
	int r = tunnel_new(&rig.tunnel, rig.config, NULL, dir, fds, n, &rig.pool, rig.b.dev);

	if (r == 0) {
		tunnel_watch(rig.tunnel, &rig.watch);
		rig.shown = look_at(rig.tunnel);
	}
	return r;
}

static void start(void)
{
	assert_int_equal(make(NULL, 0), 0);
	bench_up(&rig.b);
	run();
	assert_int_equal(tunnel_state(rig.tunnel), TUNNEL_LISTENING);
}

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	strcpy(addr.sun_path, path);
	return addr;
}

/* Returns 0 or -errno. */
static int try_connect(size_t i, const char *path)
{
	struct sockaddr_un addr = address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	if (rig.clients[i] >= 0)
		close(rig.clients[i]);
	rig.clients[i] = fd;
	return connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
}

static void connect_to(size_t i, const char *path)
{
	assert_int_equal(try_connect(i, path), 0);
	run();
}

static void connect_client(size_t i)
{
	connect_to(i, path_of("broker.sock"));
}

static bool is_closed(size_t i)
{
	char c;

	return recv(rig.clients[i], &c, 1, MSG_DONTWAIT | MSG_PEEK) == 0 || errno == ECONNRESET;
}

/* Through the link in both directions. */
static void assert_works(size_t i, int link)
{
	char answer[64], got[16];
	size_t before = rig.b.chip.sent_len;

	assert_int_equal(send(rig.clients[i], "hello", 5, 0), 5);
	run();
	assert_int_equal(rig.b.chip.sent_len, before + 5);
	assert_memory_equal(rig.b.chip.sent + before, "hello", 5);
	snprintf(answer, sizeof(answer), "\r\n+IPD,%d,3:yes\r\n", link);
	chip_say(&rig.b, answer);
	run();
	assert_int_equal(recv(rig.clients[i], got, sizeof(got), MSG_DONTWAIT), 3);
	assert_memory_equal(got, "yes", 3);
}

static int listening(const char *path)
{
	struct sockaddr_un addr = address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

static bool exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* ---- its own socket ---- */

static void test_socket_comes_with_the_chip(void **state)
{
	assert_int_equal(make(NULL, 0), 0);
	assert_int_equal(tunnel_state(rig.tunnel), TUNNEL_WAITING);
	assert_string_equal(tunnel_path(rig.tunnel), path_of("broker.sock"));
	run();
	assert_false(exists(path_of("broker.sock")));
	bench_up(&rig.b);
	assert_int_equal(tunnel_state(rig.tunnel), TUNNEL_LISTENING);
	assert_int_equal(rig.n_states, 1);
	connect_client(0);
	assert_works(0, 0);
	/* It stays when the chip goes. */
	device_port_down(rig.b.dev, "unplugged");
	run();
	assert_true(is_closed(0));
	assert_true(exists(path_of("broker.sock")));
	rig.tunnel = tunnel_free(rig.tunnel, "espatd stops");
	assert_false(exists(path_of("broker.sock")));
}

static void test_socket_at_once_if_the_chip_is_ready(void **state)
{
	bench_up(&rig.b);
	assert_int_equal(make(NULL, 0), 0);
	assert_int_equal(tunnel_state(rig.tunnel), TUNNEL_LISTENING);
	connect_client(0);
	assert_works(0, 0);
}

static void test_socket_that_cannot_be_made(void **state)
{
	int fd;

	make_file(path_of("broker.sock"));
	assert_int_equal(make(NULL, 0), 0);
	bench_up(&rig.b);
	assert_int_equal(tunnel_state(rig.tunnel), TUNNEL_FAILED);
	assert_string_equal(tunnel_state_name(tunnel_state(rig.tunnel)), "failed");
	assert_string_equal(tunnel_error_reason(rig.tunnel), "no-socket");
	assert_non_null(strstr(tunnel_error(rig.tunnel), "broker.sock: there is something"));
	assert_int_equal(rig.failures, 0); /* it is no connection */
	assert_true(rig.changes > 0);
	/* Told once, tried again. */
	pass(100 * TIMERS_S);
	assert_int_equal(count_of(logged, "broker: cannot listen on "), 1);
	/* For another reason: that is told, too. */
	assert_int_equal(unlink(path_of("broker.sock")), 0);
	fd = listening(path_of("broker.sock"));
	pass(31 * TIMERS_S);
	assert_int_equal(count_of(logged, "broker: cannot listen on "), 2);
	close(fd);
	pass(31 * TIMERS_S);
	assert_int_equal(tunnel_state(rig.tunnel), TUNNEL_LISTENING);
	assert_string_equal(tunnel_error(rig.tunnel), "");
	assert_string_equal(tunnel_error_reason(rig.tunnel), "");
	connect_client(0);
	assert_works(0, 0);
}

/* Somebody has cleaned up the folder, or has removed all of it: who is connected stays so, others can again. */
static void test_socket_that_goes_away(void **state)
{
	char moved[256];
	int fd;

	bench_up(&rig.b);
	assert_int_equal(make(NULL, 0), 0);
	connect_client(0);
	assert_works(0, 0);
	assert_int_equal(unlink(path_of("broker.sock")), 0);
	pass(31 * TIMERS_S);
	assert_int_equal(count_of(logged, "broker.sock is gone, making it anew"), 1);
	assert_int_equal(tunnel_state(rig.tunnel), TUNNEL_LISTENING);
	assert_works(0, 0);
	connect_client(1);
	assert_works(1, 1);
	snprintf(moved, sizeof(moved), "%s.moved", dir);
	assert_int_equal(rename(dir, moved), 0);
	tunnel_reconfigure(rig.tunnel, rig.config, NULL);
	assert_int_equal(tunnel_state(rig.tunnel), TUNNEL_FAILED);
	assert_non_null(strstr(tunnel_error(rig.tunnel), path_of("broker.sock")));
	assert_non_null(strstr(tunnel_error(rig.tunnel), "No such file or directory"));
	assert_works(0, 0);
	assert_int_equal(rename(moved, dir), 0);
	pass(31 * TIMERS_S);
	assert_int_equal(tunnel_state(rig.tunnel), TUNNEL_LISTENING);
	assert_works(1, 1);
	connect_client(2);
	assert_works(2, 2);
	/* What somebody else has put there is his. */
	assert_int_equal(unlink(path_of("broker.sock")), 0);
	fd = listening(path_of("broker.sock"));
	pass(31 * TIMERS_S);
	assert_int_equal(tunnel_state(rig.tunnel), TUNNEL_FAILED);
	assert_non_null(strstr(tunnel_error(rig.tunnel), "another program serves it"));
	close(fd);
	/* One that stands where it should is not touched. */
	pass(31 * TIMERS_S);
	assert_int_equal(tunnel_state(rig.tunnel), TUNNEL_LISTENING);
	pass(100 * TIMERS_S);
	assert_int_equal(count_of(logged, "broker.sock is gone"), 3);
}

static void test_reload_tries_again(void **state)
{
	make_file(path_of("broker.sock"));
	assert_int_equal(make(NULL, 0), 0);
	bench_up(&rig.b);
	assert_int_equal(unlink(path_of("broker.sock")), 0);
	tunnel_reconfigure(rig.tunnel, rig.config, NULL);
	assert_int_equal(tunnel_state(rig.tunnel), TUNNEL_LISTENING);
}

/* ---- what is told of it ---- */

static void test_counts(void **state)
{
	start();
	rig.changes = 0;
	for (size_t i = 0; i < 7; i++) {
		unsigned int before = rig.changes;

		connect_client(i);
		assert_true(rig.changes > before);
	}
	/* The chip has five links. */
	assert_int_equal(tunnel_clients(rig.tunnel), 7);
	assert_int_equal(tunnel_waiting(rig.tunnel), 2);
	assert_int_equal(rig.tunnel->connects, 5);
	rig.changes = 0;
	close(rig.clients[6]);
	rig.clients[6] = -1;
	pass(1 * TIMERS_S);
	assert_int_equal(tunnel_clients(rig.tunnel), 6);
	assert_int_equal(tunnel_waiting(rig.tunnel), 1);
	assert_true(rig.changes > 0);
	rig.changes = 0;
	close(rig.clients[0]);
	rig.clients[0] = -1;
	pass(2 * TIMERS_S);
	assert_int_equal(tunnel_clients(rig.tunnel), 5);
	assert_int_equal(tunnel_waiting(rig.tunnel), 0);
	assert_int_equal(rig.tunnel->connects, 6);
	assert_true(rig.changes > 0);
	tunnel_unwatch(&rig.watch);
	rig.changes = 0;
	connect_client(0);
	assert_int_equal(rig.changes, 0);
}

static void test_last_error(void **state)
{
	start();
	assert_string_equal(tunnel_error(rig.tunnel), "");
	assert_string_equal(tunnel_error_reason(rig.tunnel), "");
	chip_answer(&rig.b, "AT+CIPSTART", "\r\nERROR\r\n", 1);
	connect_client(0);
	assert_true(is_closed(0));
	assert_int_equal(rig.failures, 1);
	assert_string_equal(rig.reason, "unexplained");
	assert_string_equal(tunnel_error_reason(rig.tunnel), "unexplained");
	assert_string_equal(tunnel_error(rig.tunnel), "the chip could not connect");
	assert_int_equal(rig.tunnel->failures, 1);
	connect_client(0);
	assert_works(0, 0);
	assert_string_equal(tunnel_error(rig.tunnel), "");
	assert_string_equal(tunnel_error_reason(rig.tunnel), "");
	assert_int_equal(rig.failures, 1);
}

/* Links are free, and nobody else is held up. */
static void test_waits_for_material(void **state)
{
	struct device *dev = rig.b.dev;
	struct holding *h;

	start();
	h = &dev->holdings[material_of_authority(dev->material, &rig.b.authority)];
	h->slot = -1;
	dev->provision_later = true; /* while somebody's value is written */
	connect_client(0);
	pass(29 * TIMERS_S);
	assert_int_equal(tunnel_waiting(rig.tunnel), 1);
	assert_int_equal(device_links_in_use(dev), 0);
	pass(2 * TIMERS_S);
	assert_true(is_closed(0));
	assert_string_equal(rig.reason, "no-material");
	assert_string_equal(rig.text, "its certificates were not written to the chip in time");
	/* Written in time. */
	connect_client(1);
	assert_int_equal(tunnel_waiting(rig.tunnel), 1);
	dev->provision_later = false;
	device_provision(dev);
	run();
	assert_int_equal(tunnel_waiting(rig.tunnel), 0);
	assert_works(1, 0);
}

static void test_waits_for_too_long(void **state)
{
	start();
	for (size_t i = 0; i < 6; i++)
		connect_client(i);
	rig.changes = 0;
	pass(31 * TIMERS_S);
	assert_true(is_closed(5));
	assert_false(is_closed(0));
	assert_string_equal(rig.reason, "timeout");
	assert_string_equal(rig.text, "no link of the chip became free in time");
	assert_int_equal(tunnel_waiting(rig.tunnel), 0);
	assert_true(rig.changes > 0);
}

static void test_too_many_wait(void **state)
{
	rig.config->max_waiting = 2;
	start();
	for (size_t i = 0; i < 8; i++)
		connect_client(i);
	assert_true(is_closed(7));
	assert_string_equal(rig.text, "too many clients wait already");
	assert_false(is_closed(6));
	assert_int_equal(tunnel_waiting(rig.tunnel), 2);
}

/* ---- the end ---- */

static void test_disconnect(void **state)
{
	start();
	assert_int_equal(tunnel_disconnect(rig.tunnel, "by request"), 0);
	for (size_t i = 0; i < 7; i++)
		connect_client(i);
	assert_int_equal(tunnel_disconnect(rig.tunnel, "by request"), 7);
	assert_int_equal(tunnel_clients(rig.tunnel), 0);
	assert_int_equal(rig.tunnel->aborted, 5);
	assert_int_equal(rig.tunnel->failures, 0);
	assert_int_equal(count_of(logged, "aborted: by request"), 5);
	assert_int_equal(count_of(logged, "2 clients that waited were ended: by request"), 1);
	for (size_t i = 0; i < 7; i++)
		assert_true(is_closed(i));
	pass(5 * TIMERS_S);
	/* No link was opened for those that waited. */
	assert_int_equal(rig.tunnel->connects, 5);
	assert_int_equal(tunnel_state(rig.tunnel), TUNNEL_LISTENING);
	connect_client(0);
	assert_works(0, 0);
}

static void test_disconnect_while_connecting(void **state)
{
	start();
	chip_answer(&rig.b, "AT+CIPSTART", NULL, 1);
	connect_client(0);
	assert_int_equal(rig.shown.clients, 1);
	assert_int_equal(rig.shown.waiting, 0);
	connect_client(1);
	assert_int_equal(tunnel_waiting(rig.tunnel), 1);
	assert_int_equal(tunnel_disconnect(rig.tunnel, "by request"), 2);
	assert_int_equal(count_of(logged, "connection 1 given up before it was open: by request"),
			 1);
	assert_true(is_closed(0) && is_closed(1));
	assert_int_equal(rig.tunnel->aborted, 0);
}

static void test_drain(void **state)
{
	start();
	for (size_t i = 0; i < 6; i++)
		connect_client(i);
	tunnel_drain(rig.tunnel);
	assert_int_equal(tunnel_state(rig.tunnel), TUNNEL_DRAINING);
	assert_string_equal(tunnel_state_name(tunnel_state(rig.tunnel)), "draining");
	assert_int_equal(rig.states[rig.n_states - 1], TUNNEL_DRAINING);
	assert_false(exists(path_of("broker.sock")));
	assert_int_equal(try_connect(6, path_of("broker.sock")), -ENOENT);
	run();
	assert_true(is_closed(5));
	assert_int_equal(rig.tunnel->failures, 0);
	/* What is open goes on. */
	assert_int_equal(tunnel_clients(rig.tunnel), 5);
	assert_works(0, 0);
	close(rig.clients[0]);
	rig.clients[0] = -1;
	pass(2 * TIMERS_S);
	assert_int_equal(tunnel_clients(rig.tunnel), 4);
	assert_false(is_closed(1));
	/* The chip comes and goes: no socket any more. */
	device_port_down(rig.b.dev, "unplugged");
	bench_up(&rig.b);
	run();
	assert_false(exists(path_of("broker.sock")));
	assert_int_equal(tunnel_state(rig.tunnel), TUNNEL_DRAINING);
}

#define BLOCKS 300
#define BLOCK 2000

/* More than its socket takes; bytes that differ from place to place. */
static void receive_much(void)
{
	static char text[BLOCK + 32];
	size_t at = 0;

	for (int i = 0; i < BLOCKS; i++) {
		size_t n = (size_t)sprintf(text, "\r\n+IPD,0,%d:", BLOCK);

		for (size_t k = 0; k < BLOCK; k++, at++)
			text[n + k] = (char)('a' + at % 23);
		strcpy(text + n + BLOCK, "\r\n");
		chip_say(&rig.b, text);
		if (i % 50 == 0)
			run();
	}
	run();
}

/* How the last one of these ended: 0 or errno. */
static int end_error;

/* Up to the end of what it still gets: a beginning of all that was received. */
static size_t read_to_the_end(size_t i)
{
	char got[4096];
	size_t at = 0;
	ssize_t n;

	for (;;) {
		n = recv(rig.clients[i], got, sizeof(got), MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN) {
			run();
			n = recv(rig.clients[i], got, sizeof(got), MSG_DONTWAIT);
		}
		if (n <= 0)
			break;
		for (ssize_t k = 0; k < n; k++, at++)
			assert_int_equal(got[k], 'a' + at % 23);
	}
	end_error = n == 0 ? 0 : errno;
	assert_true(n == 0 || errno == ECONNRESET);
	return at;
}

static void end_by_server(void)
{
	rig.b.chip.open[0] = false;
	chip_say(&rig.b, "0,CLOSED\r\n");
}

static void end_by_reset(void)
{
	memset(rig.b.chip.open, 0, sizeof(rig.b.chip.open));
	chip_say(&rig.b, "\r\nready\r\n");
}

static void end_by_frame(void)
{
	chip_say(&rig.b, "\r\n+IPD,0,3:abcd\r\n");
}

static void end_by_lost_bytes(void)
{
	device_bytes_lost(rig.b.dev, "overruns 1");
}

static void end_by_port(void)
{
	device_port_down(rig.b.dev, "unplugged");
}

static void end_by_send(void)
{
	chip_answer(&rig.b, "AT+CIPSEND=0,5", "\r\nOK\r\n\r\n>\r\nSEND FAIL\r\n", 1);
	assert_int_equal(send(rig.clients[0], "hello", 5, 0), 5);
	run();
	rig.b.chip.in_len = 0;
}

static void end_by_wifi(void)
{
	rig.b.chip.open[0] = false;
	chip_say(&rig.b, "WIFI DISCONNECT\r\n0,CLOSED\r\n");
}

/* All that was received is delivered when the server has closed, and is not when it ends in any other way. */
static void test_aborted_or_closed(void **state)
{
	static const struct {
		void (*end)(void);
		const char *why; /* NULL: it was closed */
	} rows[] = {
		{ end_by_server, NULL },
		{ end_by_reset, "the chip was reset or lost" },
		{ end_by_frame, "the chip was reset or lost" },
		{ end_by_lost_bytes, "bytes were lost on the serial line" },
		{ end_by_port, "the chip was reset or lost" },
		{ end_by_send, "a send failed or is in doubt" },
		{ end_by_wifi, "the chip has lost its Wi-Fi network" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char line[128];
		size_t got;

		if (i > 0) {
			teardown(state);
			setup(state);
		}
		start();
		connect_client(0);
		receive_much();
		rows[i].end();
		run();
		got = read_to_the_end(0);
		if ((got == (size_t)BLOCKS * BLOCK) != !rows[i].why)
			fail_msg("row %zu: %zu bytes", i, got);
		assert_int_equal(rig.tunnel->aborted, rows[i].why ? 1 : 0);
		run();
		assert_int_equal(tunnel_clients(rig.tunnel), 0);
		snprintf(line, sizeof(line), "connection 1 aborted: %s", rows[i].why);
		assert_int_equal(count_of(logged, line), rows[i].why ? 1 : 0);
		assert_int_equal(rig.tunnel->received, (size_t)BLOCKS * BLOCK);
	}
}

/* What a client still sends when the server has closed does not make a reset of the end of what it gets. */
static void test_end_with_something_unread(void **state)
{
	start();
	connect_client(0);
	receive_much();
	end_by_server();
	run();
	assert_int_equal(send(rig.clients[0], "late", 4, 0), 4);
	assert_int_equal(read_to_the_end(0), BLOCKS * BLOCK);
	run();
	assert_int_equal(tunnel_clients(rig.tunnel), 0);
	assert_int_equal(end_error, 0);
}

static void test_why_it_ends(void **state)
{
	start();
	connect_client(0);
	rig.tunnel = tunnel_free(rig.tunnel, "removed by a new configuration");
	assert_int_equal(count_of(logged, "connection 1 aborted: removed by a new configuration"),
			 1);
	assert_true(is_closed(0));
}

/* ---- what a client gets ---- */

static void test_half_a_block_is_nobodys(void **state)
{
	char got[16];

	start();
	connect_client(0);
	/* Behind one that is whole, too. */
	chip_say(&rig.b, "\r\n+IPD,0,3:yes\r\n\r\n+IPD,0,6:abc");
	run();
	assert_int_equal(recv(rig.clients[0], got, sizeof(got), MSG_DONTWAIT), 3);
	assert_memory_equal(got, "yes", 3);
	chip_say(&rig.b, "def");
	run();
	assert_int_equal(recv(rig.clients[0], got, sizeof(got), MSG_DONTWAIT), -1);
	chip_say(&rig.b, "\r\n");
	run();
	assert_int_equal(recv(rig.clients[0], got, sizeof(got), MSG_DONTWAIT), 6);
	assert_memory_equal(got, "abcdef", 6);
}

/* The server answers when it has got all, and learns of the end only when it has closed itself. */
static void test_half_close(void **state)
{
	char got[16];

	start();
	connect_client(0);
	assert_int_equal(send(rig.clients[0], "hello", 5, 0), 5);
	assert_int_equal(shutdown(rig.clients[0], SHUT_WR), 0);
	pass(1 * TIMERS_S);
	assert_memory_equal(rig.b.chip.sent, "hello", 5);
	assert_int_equal(count_of(rig.b.chip.told, "AT+CIPCLOSE=0"), 0);
	chip_say(&rig.b, "\r\n+IPD,0,3:yes\r\n");
	run();
	assert_int_equal(recv(rig.clients[0], got, sizeof(got), MSG_DONTWAIT), 3);
	chip_say(&rig.b, "0,CLOSED\r\n");
	run();
	assert_true(is_closed(0));
	assert_int_equal(rig.tunnel->aborted, 0);
}

static void test_half_closed_for_too_long(void **state)
{
	start();
	connect_client(0);
	assert_int_equal(shutdown(rig.clients[0], SHUT_WR), 0);
	pass(59 * TIMERS_S);
	assert_false(is_closed(0));
	pass(2 * TIMERS_S);
	assert_true(is_closed(0));
	assert_int_equal(count_of(rig.b.chip.told, "AT+CIPCLOSE=0"), 1);
}

/* ---- reload ---- */

static struct config *owned_config(void)
{
	struct config *config = calloc(1, sizeof(*config));

	assert_non_null(config);
	config->refs = 1;
	config->tunnels = calloc(1, sizeof(*config->tunnels));
	assert_non_null(config->tunnels);
	config->n_tunnels = 1;
	config->tunnels[0] = *rig.config;
	config->tunnels[0].where.file = NULL;
	config->tunnels[0].name = strdup(rig.config->name);
	config->tunnels[0].host = strdup(host);
	config->tunnels[0].server_name = strdup(host);
	return config;
}

/* The old one goes while a connection is being made from it, and others wait. */
static void test_reconfigure(void **state)
{
	struct config *old = owned_config(), *fresh;

	assert_int_equal(
		tunnel_new(&rig.tunnel, &old->tunnels[0], old, dir, NULL, 0, &rig.pool, rig.b.dev),
		0);
	tunnel_watch(rig.tunnel, &rig.watch);
	bench_up(&rig.b);
	connect_client(0);
	chip_answer(&rig.b, "AT+CIPSSLCSNI=1", NULL, 1);
	connect_client(1);
	connect_client(2);
	assert_int_equal(old->refs, 2);
	fresh = owned_config();
	tunnel_reconfigure(rig.tunnel, &fresh->tunnels[0], fresh);
	assert_ptr_equal(rig.shown.config, &fresh->tunnels[0]);
	config_free(old);
	chip_say(&rig.b, "\r\nOK\r\n");
	run();
	assert_int_equal(tunnel_state(rig.tunnel), TUNNEL_LISTENING);
	assert_int_equal(rig.tunnel->connects, 3);
	assert_int_equal(fresh->refs, 1);
	for (size_t i = 0; i < 3; i++)
		assert_works(i, (int)i);
	connect_client(3);
	assert_works(3, 3);
	rig.tunnel = tunnel_free(rig.tunnel, "espatd stops");
	config_free(fresh);
}

static void test_device_is_removed(void **state)
{
	start();
	for (size_t i = 0; i < 6; i++)
		connect_client(i);
	pool_remove_device(&rig.pool, rig.b.dev);
	assert_true(is_closed(5));
	assert_string_equal(rig.reason, "chip-reset");
	assert_string_equal(rig.text, "its device was removed");
	/* So have those that had a link of it. */
	assert_true(is_closed(0));
	assert_int_equal(rig.tunnel->aborted, 5);
	/* And whoever comes too late. */
	connect_client(6);
	assert_true(is_closed(6));
	pool_remove_device(&rig.pool, rig.b.dev);
	/* It may come back. */
	assert_int_equal(pool_add_device(&rig.pool, rig.b.dev), 0);
	pass(2 * TIMERS_S);
	connect_client(7);
	assert_int_equal(tunnel_waiting(rig.tunnel), 0);
	assert_works(7, 0);
}

/* ---- limits ---- */

static void test_max_links(void **state)
{
	rig.b.settings.max_links = 2;
	start();
	for (size_t i = 0; i < 3; i++)
		connect_client(i);
	assert_int_equal(tunnel_waiting(rig.tunnel), 1);
	assert_int_equal(device_links_in_use(rig.b.dev), 2);
	close(rig.clients[0]);
	rig.clients[0] = -1;
	pass(2 * TIMERS_S);
	assert_int_equal(tunnel_waiting(rig.tunnel), 0);
	assert_works(2, 0);
}

static void test_max_clients(void **state)
{
	rig.config->max_clients = 3;
	rig.config->max_waiting = 2;
	start();
	for (size_t i = 0; i < 5; i++)
		connect_client(i);
	assert_int_equal(tunnel_waiting(rig.tunnel), 2);
	assert_int_equal(device_links_in_use(rig.b.dev), 3);
	connect_client(5);
	assert_true(is_closed(5));
	assert_string_equal(rig.text, "too many clients wait already");
	assert_int_equal(rig.tunnel->failures, 1);
	/* More of them are counted, and told of once a minute. */
	connect_client(6);
	connect_client(7);
	assert_true(is_closed(7));
	assert_int_equal(rig.tunnel->failures, 3);
	assert_int_equal(rig.failures, 1);
	close(rig.clients[1]);
	rig.clients[1] = -1;
	run();
	assert_int_equal(tunnel_waiting(rig.tunnel), 1);
	assert_works(3, 1);
	pass(31 * TIMERS_S);
	assert_true(is_closed(4));
	assert_string_equal(rig.text, "`max_clients` of the tunnel had a link all the time");
	pass(30 * TIMERS_S);
	assert_non_null(strstr(logged, "2 more clients were refused, as too many waited already"));
}

/* What one tunnel reserves others leave free, and what it has already is not reserved twice. */
static void test_reserve(void **state)
{
	static char name[] = "spare";
	struct config_tunnel config;
	struct tunnel *other;
	char path[108];

	start();
	config = *rig.config;
	config.name = name;
	config.reserve = 2;
	assert_int_equal(tunnel_new(&other, &config, NULL, dir, NULL, 0, &rig.pool, rig.b.dev), 0);
	snprintf(path, sizeof(path), "%s", path_of("spare.sock"));
	for (size_t i = 0; i < 4; i++)
		connect_client(i);
	assert_int_equal(tunnel_waiting(rig.tunnel), 1);
	assert_int_equal(device_links_in_use(rig.b.dev), 3);
	connect_to(4, path);
	connect_to(5, path);
	connect_to(6, path);
	/* Both of its own at once, and the third one waits behind the one that waits already. */
	assert_int_equal(tunnel_waiting(other), 1);
	assert_int_equal(tunnel_waiting(rig.tunnel), 1);
	assert_int_equal(device_links_in_use(rig.b.dev), 5);
	close(rig.clients[0]);
	rig.clients[0] = -1;
	pass(2 * TIMERS_S);
	assert_int_equal(tunnel_waiting(other), 1);
	assert_int_equal(tunnel_waiting(rig.tunnel), 0);
	/* One of its own ends: the link is its own again. */
	connect_client(7);
	close(rig.clients[4]);
	rig.clients[4] = -1;
	pass(2 * TIMERS_S);
	assert_int_equal(tunnel_waiting(other), 0);
	assert_int_equal(tunnel_waiting(rig.tunnel), 1);
	tunnel_free(other, "espatd stops");
	/* Nobody reserves anything any more. */
	pass(2 * TIMERS_S);
	pool_look(&rig.pool);
	run();
	assert_int_equal(tunnel_waiting(rig.tunnel), 0);
}

/* Who may not have a link of the chip, whoever else has one, waits for none of them. */
static void test_who_waits_for_a_link(void **state)
{
	static char name[] = "other";
	struct config_tunnel config;
	struct tunnel *other;
	struct client *of_other;

	rig.config->max_clients = 2;
	start();
	config = *rig.config;
	config.name = name;
	config.max_clients = 0;
	assert_int_equal(tunnel_new(&other, &config, NULL, dir, NULL, 0, &rig.pool, rig.b.dev), 0);
	connect_client(0);
	connect_client(1);
	connect_to(2, path_of("other.sock"));
	connect_client(3);
	assert_int_equal(tunnel_waiting(rig.tunnel), 1);
	of_other = client_of_link(&rig.b.dev->links[2]);
	assert_ptr_equal(of_other->tunnel, other);
	assert_true(pool_is_waiting_for(&rig.pool, client_of_link(&rig.b.dev->links[0])));
	assert_false(pool_is_waiting_for(&rig.pool, of_other));
	/* Nor where all are in use, but what it would get is reserved. */
	rig.config->max_clients = 0;
	config.reserve = 3;
	rig.b.settings.max_links = 3;
	assert_false(pool_is_waiting_for(&rig.pool, of_other));
	config.reserve = 0;
	assert_true(pool_is_waiting_for(&rig.pool, of_other));
	tunnel_free(other, "espatd stops");
}

static void test_idle(void **state)
{
	rig.config->idle_timeout = 10;
	start();
	connect_client(0);
	connect_client(1);
	pass(7 * TIMERS_S);
	assert_works(1, 1);
	pass(4 * TIMERS_S);
	assert_true(is_closed(0));
	assert_false(is_closed(1));
	assert_int_equal(rig.tunnel->aborted, 0);
	chip_say(&rig.b, "\r\n+IPD,1,3:yes\r\n");
	run();
	pass(9 * TIMERS_S);
	assert_int_equal(tunnel_clients(rig.tunnel), 1);
	pass(2 * TIMERS_S);
	assert_int_equal(tunnel_clients(rig.tunnel), 0);
	assert_int_equal(rig.tunnel->aborted, 0);
	assert_non_null(strstr(logged, "nothing has moved for 10 s"));
}

/* Without a device of its own it takes what the pool has. */
static void test_any_device(void **state)
{
	assert_int_equal(tunnel_new(&rig.tunnel, rig.config, NULL, dir, NULL, 0, &rig.pool, NULL),
			 0);
	tunnel_watch(rig.tunnel, &rig.watch);
	rig.shown = look_at(rig.tunnel);
	assert_int_equal(tunnel_state(rig.tunnel), TUNNEL_WAITING);
	bench_up(&rig.b);
	run();
	assert_int_equal(tunnel_state(rig.tunnel), TUNNEL_LISTENING);
	connect_client(0);
	assert_works(0, 0);
	pool_remove_device(&rig.pool, rig.b.dev);
	assert_true(is_closed(0));
	connect_client(1);
	assert_true(is_closed(1));
	assert_string_equal(rig.text, "there is no device any more");
	assert_int_equal(pool_add_device(&rig.pool, rig.b.dev), 0);
	pass(2 * TIMERS_S);
	connect_client(2);
	assert_works(2, 0);
}

static void any_of(struct device *other)
{
	/* The other one comes first. */
	pool_remove_device(&rig.pool, rig.b.dev);
	assert_int_equal(pool_add_device(&rig.pool, other), 0);
	assert_int_equal(pool_add_device(&rig.pool, rig.b.dev), 0);
	assert_int_equal(tunnel_new(&rig.tunnel, rig.config, NULL, dir, NULL, 0, &rig.pool, NULL),
			 0);
	tunnel_watch(rig.tunnel, &rig.watch);
	rig.shown = look_at(rig.tunnel);
}

/* Of several devices the nearest one is the reason, wherever it stands. */
static void test_any_device_waits_for_too_long(void **state)
{
	struct device *other;

	assert_int_equal(device_new(&other, &rig.b.config, &rig.b.settings, &rig.b.material,
				    &rig.b.timers, rig.b.dev->ops, &rig.b),
			 0);
	any_of(other);
	bench_up(&rig.b);
	run();
	for (size_t i = 0; i < 6; i++)
		connect_client(i);
	pass(31 * TIMERS_S);
	assert_true(is_closed(5));
	assert_string_equal(rig.reason, "timeout");
	assert_string_equal(rig.text, "no link of any chip became free in time");
	/* Neither is ready. */
	device_port_down(rig.b.dev, "unplugged");
	rig.b.wallclock = 0; /* what certificates cannot be judged by */
	device_port_up(rig.b.dev, 115200);
	run();
	connect_client(0);
	pass(31 * TIMERS_S);
	assert_int_equal(rig.b.dev->state, DEVICE_CLOCK);
	assert_true(is_closed(0));
	assert_string_equal(rig.reason, "clock-not-set");
	assert_string_equal(rig.text, "no chip became ready in time");
	pool_remove_device(&rig.pool, other);
	device_free(other);
}

/* The same name again, as after a change of its settings. */
static void test_tunnel_is_made_anew(void **state)
{
	start();
	connect_client(0);
	rig.tunnel = tunnel_free(rig.tunnel, "changed by a new configuration");
	rig.config->mode = 0640;
	assert_int_equal(make(NULL, 0), 0);
	assert_int_equal(tunnel_state(rig.tunnel), TUNNEL_LISTENING);
	pass(2 * TIMERS_S);
	connect_client(0);
	assert_works(0, 0);
}

/* ---- sockets that it was given ---- */

static void test_given_before_the_chip(void **state)
{
	int fds[] = { listening(path_of("one")), listening(path_of("two")) };

	assert_int_equal(make(fds, 2), 0);
	assert_int_equal(tunnel_state(rig.tunnel), TUNNEL_LISTENING);
	assert_string_equal(tunnel_path(rig.tunnel), path_of("one"));
	connect_to(0, path_of("one"));
	connect_to(1, path_of("two"));
	assert_int_equal(tunnel_clients(rig.tunnel), 2);
	assert_int_equal(tunnel_waiting(rig.tunnel), 2);
	bench_up(&rig.b);
	run();
	assert_int_equal(tunnel_waiting(rig.tunnel), 0);
	assert_works(0, 0);
	assert_works(1, 1);
	/* None of its own. */
	assert_false(exists(path_of("broker.sock")));
	/* Not for longer than others. */
	device_port_down(rig.b.dev, "unplugged");
	run();
	connect_to(2, path_of("one"));
	assert_false(is_closed(2));
	pass(31 * TIMERS_S);
	assert_true(is_closed(2));
	assert_string_equal(rig.text, "the chip did not become ready in time");
	close(fds[0]);
	close(fds[1]);
}

/* Whoever comes while it stops is served by the next one. */
static void test_given_to_the_next_one(void **state)
{
	int fd = listening(path_of("given"));

	bench_up(&rig.b);
	assert_int_equal(make(&fd, 1), 0);
	connect_to(0, path_of("given"));
	assert_works(0, 0);
	tunnel_drain(rig.tunnel);
	connect_to(1, path_of("given"));
	connect_to(2, path_of("given"));
	assert_int_equal(tunnel_clients(rig.tunnel), 1);
	assert_works(0, 0);
	rig.tunnel = tunnel_free(rig.tunnel, "espatd stops");
	assert_true(is_closed(0));
	assert_true(exists(path_of("given")));
	connect_to(3, path_of("given"));
	assert_false(is_closed(1) || is_closed(2) || is_closed(3));
	pass(2 * TIMERS_S);
	assert_int_equal(make(&fd, 1), 0);
	run();
	assert_int_equal(tunnel_clients(rig.tunnel), 3);
	for (size_t i = 1; i < 4; i++)
		assert_works(i, (int)i - 1);
	close(fd);
}

static void test_given_path_is_told_before_an_address(void **state)
{
	int fds[] = { socket(AF_INET, SOCK_STREAM, 0), listening(path_of("given")) };
	struct sockaddr_in in = { .sin_family = AF_INET };

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fds[0], (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fds[0], 1), 0);
	assert_int_equal(make(fds, 2), 0);
	assert_string_equal(tunnel_path(rig.tunnel), path_of("given"));
	assert_int_equal(count_of(logged, "broker: listening on 127.0.0.1:"), 1);
	rig.tunnel = tunnel_free(rig.tunnel, "espatd stops");
	assert_int_equal(make(fds, 1), 0);
	assert_memory_equal(tunnel_path(rig.tunnel), "127.0.0.1:", 10);
	bench_up(&rig.b);
	rig.clients[0] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(getsockname(fds[0], (struct sockaddr *)&in, &(socklen_t){ sizeof(in) }),
			 0);
	connect(rig.clients[0], (struct sockaddr *)&in, sizeof(in));
	run();
	assert_works(0, 0);
	close(fds[0]);
	close(fds[1]);
}

/* A tunnel on @fd, which is given to it, and a client that takes little at a time. */
static void connect_over_tcp(int fd)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	int little = 4096;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &(socklen_t){ sizeof(in) }), 0);
	assert_int_equal(make(&fd, 1), 0);
	rig.clients[0] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	setsockopt(rig.clients[0], SOL_SOCKET, SO_RCVBUF, &little, sizeof(little));
	connect(rig.clients[0], (struct sockaddr *)&in, sizeof(in));
	run();
}

/* Returns the listening socket. */
static int start_on_tcp(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	connect_over_tcp(fd);
	bench_up(&rig.b);
	run();
	assert_works(0, 0);
	return fd;
}

/* What comes next, @at bytes having come; -1: nothing within 5 s. Returns 0 at the end. */
static ssize_t receive_over_tcp(size_t at)
{
	struct pollfd p = { .fd = rig.clients[0], .events = POLLIN };
	char got[4096];
	ssize_t n;

	for (int i = 0; i < 500 && poll(&p, 1, 10) == 0; i++)
		run();
	n = recv(rig.clients[0], got, sizeof(got), 0);
	for (ssize_t k = 0; k < n; k++)
		assert_int_equal(got[k], 'a' + (at + (size_t)k) % 23);
	run();
	return n;
}

/* TCP would answer what a client still sends by a reset, and drop what has not got there yet. */
static void test_end_over_tcp_with_more_to_come(void **state)
{
	int fd = start_on_tcp();
	size_t at = 0;
	ssize_t n;

	receive_much();
	end_by_server();
	run();
	while (tunnel_clients(rig.tunnel) > 0) {
		n = receive_over_tcp(at);
		assert_true(n > 0);
		at += (size_t)n;
	}
	assert_true(at < BLOCKS * BLOCK);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(send(rig.clients[0], "late", 4, MSG_NOSIGNAL), 4);
		run();
	}
	while ((n = receive_over_tcp(at)) > 0)
		at += (size_t)n;
	assert_int_equal(n, 0);
	assert_int_equal(at, BLOCKS * BLOCK);
	assert_int_equal(rig.pool.lingers.n, 1);
	/* It is over when the client's side is, too. */
	shutdown(rig.clients[0], SHUT_WR);
	for (int i = 0; i < 1000 && rig.pool.lingers.n > 0; i++)
		run();
	assert_int_equal(rig.pool.lingers.n, 0);
	close(fd);
}

/* A client that neither reads nor ends has a minute; one that has got all, a moment. */
static void test_end_over_tcp_without_the_clients(void **state)
{
	int fd = start_on_tcp(), passes = 0;
	size_t at = 0;

	rig.b.chip.open[0] = false;
	chip_say(&rig.b, "0,CLOSED\r\n");
	run();
	assert_int_equal(tunnel_clients(rig.tunnel), 0);
	assert_int_equal(rig.pool.lingers.n, 1);
	/* The client's host acknowledges in its own time, 40 ms at most. */
	while (rig.pool.lingers.n > 0) {
		pass(2 * TIMERS_S);
		poll(NULL, 0, 5);
		passes++;
	}
	assert_in_range(passes, 2, 29);
	assert_int_equal(receive_over_tcp(0), 0);
	teardown(state);
	close(fd);
	setup(state);
	fd = start_on_tcp();
	receive_much();
	end_by_server();
	run();
	while (tunnel_clients(rig.tunnel) > 0)
		at += (size_t)receive_over_tcp(at);
	pass(59 * TIMERS_S);
	assert_int_equal(rig.pool.lingers.n, 1);
	pass(2 * TIMERS_S);
	assert_int_equal(rig.pool.lingers.n, 0);
	close(fd);
}

/* Who has got nothing has nothing to lose, and is told at once that nobody listens. */
static void test_refusal_over_tcp(void **state)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	connect_over_tcp(fd);
	pass(31 * TIMERS_S);
	assert_int_equal(tunnel_clients(rig.tunnel), 0);
	assert_int_equal(rig.pool.lingers.n, 0);
	assert_int_equal(receive_over_tcp(0), 0);
	assert_int_equal(send(rig.clients[0], "x", 1, MSG_NOSIGNAL), 1);
	assert_int_equal(send(rig.clients[0], "x", 1, MSG_NOSIGNAL), -1);
	close(fd);
}

/* They end with the pool, and there are never too many of them. */
static void test_many_ends_over_tcp(void **state)
{
	int fd = start_on_tcp(), accepted, to[100];
	struct sockaddr_in in;

	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &(socklen_t){ sizeof(in) }), 0);
	rig.tunnel = tunnel_free(rig.tunnel, "espatd stops");
	for (size_t i = 0; i < ARRAY_SIZE(to); i++) {
		to[i] = socket(AF_INET, SOCK_STREAM, 0);
		assert_int_equal(connect(to[i], (struct sockaddr *)&in, sizeof(in)), 0);
		accepted = accept(fd, NULL, NULL);
		assert_true(accepted >= 0);
		lingers_close(&rig.pool.lingers, accepted);
	}
	assert_int_equal(rig.pool.lingers.n, 64);
	/* The oldest ones are closed, which is told to what comes from there; the youngest are not. */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(send(to[99], "x", 1, MSG_NOSIGNAL), 1);
		assert_int_equal(send(to[0], "x", 1, MSG_NOSIGNAL), i == 0 ? 1 : -1);
	}
	for (size_t i = 0; i < ARRAY_SIZE(to); i++)
		close(to[i]);
	close(fd);
}

static void test_given_what_is_wrong(void **state)
{
	static unsigned int ids[] = { 0 };
	struct problems problems = PROBLEMS_NULL;
	int fds[TUNNEL_SOCKETS_MAX + 1], pair[2];

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		char name[8] = { (char)('a' + i) };

		fds[i] = listening(path_of(name));
	}
	assert_int_equal(tunnel_check_sockets(rig.config, NULL, 0, &problems), 0);
	assert_int_equal(tunnel_check_sockets(rig.config, fds, TUNNEL_SOCKETS_MAX, &problems), 0);
	assert_int_equal(problems.count, 0);
	assert_int_equal(tunnel_check_sockets(rig.config, fds, ARRAY_SIZE(fds), &problems),
			 -EINVAL);
	assert_int_equal(problems.errors, 1);
	problems_clear(&problems);
	/* Each of them is told of. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(tunnel_check_sockets(rig.config, pair, 2, &problems), -EINVAL);
	assert_int_equal(problems.errors, 2);
	problems_clear(&problems);
	/* And refused without being asked. */
	assert_int_equal(make(pair, 2), -EINVAL);
	assert_int_equal(count_of(logged, "is a connection, not listening"), 2);
	assert_null(rig.tunnel);
	rig.config->allow_uids = (struct config_ids){ ids, 1 };
	assert_int_equal(tunnel_check_sockets(rig.config, fds, 1, &problems), 0);
	close(pair[0]);
	close(pair[1]);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

/* ---- who may connect ---- */

static void test_allowed_user(void **state)
{
	unsigned int ids[] = { 12345, geteuid() };

	rig.config->allow_uids = (struct config_ids){ ids, 2 };
	start();
	connect_client(0);
	assert_works(0, 0);
	assert_int_equal(count_of(logged, "refused-user"), 0);
}

static void test_allowed_group(void **state)
{
	unsigned int uids[] = { geteuid() + 1 }, gids[] = { getegid() };

	rig.config->allow_uids = (struct config_ids){ uids, 1 };
	rig.config->allow_gids = (struct config_ids){ gids, 1 };
	start();
	connect_client(0);
	assert_works(0, 0);
}

/* Also root, who is not asked for here. The log does not grow with those who try. */
static void test_refused_user(void **state)
{
	unsigned int ids[] = { geteuid() + 1 };

	rig.config->allow_uids = (struct config_ids){ ids, 1 };
	start();
	rig.changes = 0;
	for (size_t i = 0; i < 5; i++) {
		connect_client(i);
		assert_true(is_closed(i));
	}
	assert_int_equal(rig.changes, 0);
	assert_int_equal(rig.tunnel->accepted, 0);
	assert_int_equal(rig.tunnel->failures, 0);
	assert_int_equal(count_of(logged, "[refused-user]"), 1);
	pass(61 * TIMERS_S);
	assert_int_equal(count_of(logged, "[refused-user]"), 2);
	assert_int_equal(count_of(logged, "4 more clients were refused within a minute"), 1);
	/* Still in that minute. */
	connect_client(0);
	assert_int_equal(count_of(logged, "[refused-user]"), 2);
	pass(61 * TIMERS_S);
	assert_int_equal(count_of(logged, "1 more clients were refused"), 1);
	/* A quiet minute, and it is told at once again. */
	pass(61 * TIMERS_S);
	assert_int_equal(count_of(logged, "[refused-user]"), 3);
	connect_client(0);
	assert_int_equal(count_of(logged, "[refused-user]"), 4);
	/* What was counted is not lost. */
	connect_client(0);
	rig.tunnel = tunnel_free(rig.tunnel, "espatd stops");
	assert_int_equal(count_of(logged, "[refused-user]"), 5);
}

/* ---- what is kept for clients that do not read ---- */

/* As the link does; @len more bytes for who has it. */
static void receive(int link, size_t len)
{
	struct link *l = &rig.b.dev->links[link];
	uint8_t *data = calloc(1, len);

	assert_non_null(data);
	l->ops->data(l->user, data, len);
	l->ops->data_end(l->user);
	free(data);
	run();
}

/* By their servers. */
static void close_links(void)
{
	for (int i = 0; i < AT_LINKS; i++) {
		char text[16];

		rig.b.chip.open[i] = false;
		snprintf(text, sizeof(text), "%d,CLOSED\r\n", i);
		chip_say(&rig.b, text);
	}
	run();
}

static void read_all(size_t i)
{
	static uint8_t buf[65536];
	ssize_t n;

	do {
		n = recv(rig.clients[i], buf, sizeof(buf), MSG_DONTWAIT);
		run();
	} while (n > 0);
}

static void test_memory_goes_back(void **state)
{
	size_t used;

	start();
	connect_client(0);
	assert_int_equal(rig.pool.buffered, 0);
	receive(0, 1000);
	read_all(0);
	used = rig.pool.buffered;
	assert_true(used > 0);
	/* It stays while it is used, now and then. */
	for (int i = 0; i < 5; i++) {
		pass(4 * TIMERS_S);
		receive(0, 1000);
		read_all(0);
		assert_int_equal(rig.pool.buffered, used);
	}
	pass(11 * TIMERS_S);
	assert_int_equal(rig.pool.buffered, 0);
	assert_true(list_empty(&rig.pool.rings));
	/* Much goes as soon as it is empty. */
	receive(0, 1000000);
	assert_true(rig.pool.buffered > CLIENT_KEEP);
	read_all(0);
	assert_int_equal(rig.pool.buffered, 0);
	assert_works(0, 0);
}

/* Clients whose links have gone count, too: each of them is below its own bound. */
static void test_too_much_is_kept(void **state)
{
	const size_t much = CLIENT_MAX * 5 / 8;
	const char *why = "the client reads too slowly, and too much is kept for all clients";

	start();
	for (size_t i = 0; i < 9; i++) {
		if (i == 5)
			close_links();
		connect_client(i);
		assert_int_equal(count_of(logged, why), 0);
		/* One of them has more, beyond what its socket takes. */
		receive((int)i % 5, i == 3 ? much + 1000000 : much);
	}
	assert_int_equal(count_of(logged, why), 1);
	assert_int_equal(count_of(logged, "connection 4 aborted: "), 1);
	assert_int_equal(tunnel_clients(rig.tunnel), 8);
	assert_true(rig.pool.buffered <= POOL_BUFFER_MAX);
	assert_true(rig.pool.buffered > POOL_BUFFER_MAX / 2);
	tunnel_disconnect(rig.tunnel, "by request");
	assert_int_equal(rig.pool.buffered, 0);
}

/* ---- no descriptors left ---- */

static void set_descriptors(rlim_t most)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = most;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* Whoever has it as well has shut it down: accept(2) fails at once, each time that it is asked. */
static void test_socket_that_was_shut_down(void **state)
{
	int fds[] = { listening(path_of("one")) };

	bench_up(&rig.b);
	assert_int_equal(make(fds, 1), 0);
	assert_int_equal(shutdown(rig.tunnel->listeners[0].fd, SHUT_RDWR), 0);
	run();
	assert_int_equal(count_of(logged, "broker: cannot accept clients: "), 1);
	assert_false(event_pending(rig.tunnel->listeners[0].event, EV_READ, NULL));
}

static void test_no_descriptors(void **state)
{
	struct rlimit limit;
	int fds[] = { listening(path_of("one")), listening(path_of("two")) };
	int next;

	bench_up(&rig.b);
	assert_int_equal(make(fds, 2), 0);
	assert_int_equal(try_connect(0, path_of("one")), 0);
	assert_int_equal(try_connect(1, path_of("two")), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	next = dup(0);
	assert_true(next >= 0);
	close(next);
	set_descriptors((rlim_t)next);
	run();
	assert_int_equal(count_of(logged, "broker: cannot accept clients: "), 1);
	/* It is tried each second, and told each minute. */
	for (int i = 0; i < 59; i++)
		pass(1 * TIMERS_S);
	assert_int_equal(count_of(logged, "accept"), 1);
	pass(1 * TIMERS_S);
	assert_int_equal(count_of(logged, "broker: clients could not be accepted 59 more times"),
			 1);
	set_descriptors(limit.rlim_cur);
	run();
	assert_int_equal(tunnel_clients(rig.tunnel), 0);
	pass(1 * TIMERS_S);
	assert_int_equal(tunnel_clients(rig.tunnel), 2);
	assert_int_equal(count_of(logged, "broker: accepts clients again"), 1);
	assert_works(0, 0);
	assert_works(1, 1);
	/* The same again within a minute is only counted, and so is its end. */
	assert_int_equal(try_connect(2, path_of("one")), 0);
	set_descriptors((rlim_t)next);
	run();
	set_descriptors(limit.rlim_cur);
	pass(1 * TIMERS_S);
	assert_int_equal(tunnel_clients(rig.tunnel), 3);
	assert_int_equal(count_of(logged, "accept"), 3);
	close(fds[0]);
	close(fds[1]);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_socket_comes_with_the_chip),
		T(test_socket_at_once_if_the_chip_is_ready),
		T(test_socket_that_cannot_be_made),
		T(test_socket_that_goes_away),
		T(test_reload_tries_again),
		T(test_counts),
		T(test_last_error),
		T(test_waits_for_material),
		T(test_waits_for_too_long),
		T(test_too_many_wait),
		T(test_disconnect),
		T(test_disconnect_while_connecting),
		T(test_drain),
		T(test_aborted_or_closed),
		T(test_end_with_something_unread),
		T(test_why_it_ends),
		T(test_half_a_block_is_nobodys),
		T(test_half_close),
		T(test_half_closed_for_too_long),
		T(test_reconfigure),
		T(test_device_is_removed),
		T(test_max_links),
		T(test_max_clients),
		T(test_who_waits_for_a_link),
		T(test_reserve),
		T(test_idle),
		T(test_any_device),
		T(test_any_device_waits_for_too_long),
		T(test_tunnel_is_made_anew),
		T(test_given_before_the_chip),
		T(test_given_to_the_next_one),
		T(test_given_path_is_told_before_an_address),
		T(test_end_over_tcp_with_more_to_come),
		T(test_end_over_tcp_without_the_clients),
		T(test_refusal_over_tcp),
		T(test_many_ends_over_tcp),
		T(test_given_what_is_wrong),
		T(test_allowed_user),
		T(test_allowed_group),
		T(test_refused_user),
		T(test_memory_goes_back),
		T(test_too_much_is_kept),
		T(test_no_descriptors),
		T(test_socket_that_was_shut_down),
	};

	return cmocka_run_group_tests_name("tunnel", tests, make_temp_dir, remove_temp_dir);
}
