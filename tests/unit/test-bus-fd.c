/* SPDX-License-Identifier: MIT */
/* bus-fd: what may be read, how much, how long, and what is left of it. */
#include "test.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "bus/bus-fd.h"
#include "own-memory.h"
#include "util/clock.h"

static struct event_base *base;
static struct timers timers;
static struct bus_fd reader;
static int done; /* how often */
static enum bus_error error;

static int setup(void **state)
{
	alarm(30);
	signal(SIGPIPE, SIG_IGN);
	base = event_base_new();
	timers_init(&timers);
	timers_touch(&timers);
	memset(&reader, 0, sizeof(reader));
	done = 0;
	return 0;
}

static int teardown(void **state)
{
	bus_fd_clear(&reader);
	assert_int_equal(timers.count + timers.reserved, 0);
	timers_deinit(&timers);
	event_base_free(base);
	return 0;
}

static void on_done(struct bus_fd *r, const struct bus_failure *failure)
{
	assert_ptr_equal(r, &reader);
	done++;
	error = failure ? failure->error : BUS_OK;
	if (failure)
		assert_true(failure->text[0]);
}

static void start(int fd, enum bus_fd_end end)
{
	done = 0;
	bus_fd_read(&reader, base, &timers, fd, end, on_done);
}

static void await(void)
{
	while (!done)
		event_base_loop(base, EVLOOP_ONCE);
}

/* It was read: this, and the descriptor is closed. */
static void assert_read(int fd, const char *want, size_t len)
{
	assert_int_equal(done, 1);
	assert_int_equal(error, BUS_OK);
	assert_int_equal(reader.len, len);
	assert_memory_equal(reader.data, want, len);
	assert_int_equal(reader.data[len], '\0');
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	bus_fd_clear(&reader);
}

static void assert_refused(int fd, enum bus_error want)
{
	assert_true(fd >= 0);
	start(fd, BUS_FD_ALL);
	await();
	assert_int_equal(error, want);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_null(reader.data);
	bus_fd_clear(&reader);
	assert_int_equal(done, 1);
}

static int memfd(const void *data, size_t len, unsigned int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_int_equal(write(fd, data, len), len);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void test_files(void **state)
{
	static char data[BUS_FD_MAX + 1];
	char path[] = "/tmp/espatd-fd.XXXXXX";
	int fd;

	memset(data, 'x', sizeof(data));
	fd = memfd("key", 3, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
	start(fd, BUS_FD_ALL); /* its offset is at the end */
	assert_read(fd, "key", 3);
	fd = memfd("", 0, 0);
	start(fd, BUS_FD_ALL);
	assert_read(fd, "", 0);
	fd = memfd(data, BUS_FD_MAX, 0);
	start(fd, BUS_FD_ALL);
	assert_read(fd, data, BUS_FD_MAX);
	assert_refused(memfd(data, BUS_FD_MAX + 1, 0), BUS_E_TOO_LARGE);
	fd = mkstemp(path);
	assert_int_equal(write(fd, "a\0b", 3), 3);
	close(fd);
	fd = open(path, O_RDONLY);
	start(fd, BUS_FD_ALL);
	assert_read(fd, "a\0b", 3);
	assert_refused(open(path, O_WRONLY), BUS_E_BAD_DESCRIPTOR);
	assert_refused(open(path, O_PATH), BUS_E_BAD_DESCRIPTOR);
	unlink(path);
}

static void test_other_types(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int pipes[2], fd;

	assert_refused(open("/dev/null", O_RDONLY), BUS_E_BAD_DESCRIPTOR);
	assert_refused(open("/dev/zero", O_RDONLY), BUS_E_BAD_DESCRIPTOR);
	assert_refused(open("/tmp", O_RDONLY), BUS_E_BAD_DESCRIPTOR);
	assert_refused(eventfd(0, 0), BUS_E_BAD_DESCRIPTOR);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pipes), 0);
	assert_refused(pipes[0], BUS_E_BAD_DESCRIPTOR);
	close(pipes[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pipes), 0);
	assert_refused(pipes[0], BUS_E_BAD_DESCRIPTOR);
	close(pipes[1]);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_refused(fd, BUS_E_BAD_DESCRIPTOR);
	assert_refused(socket(AF_INET, SOCK_STREAM, 0), BUS_E_BAD_DESCRIPTOR); /* not connected */
	assert_int_equal(pipe(pipes), 0);
	assert_refused(pipes[1], BUS_E_BAD_DESCRIPTOR);
	close(pipes[0]);
}

/* Byte by byte, as they come. */
static void read_in_pieces(int from, int to)
{
	start(from, BUS_FD_ALL);
	for (const char *c = "secret"; *c; c++) {
		assert_int_equal(done, 0);
		assert_int_equal(write(to, c, 1), 1);
		event_base_loop(base, EVLOOP_ONCE);
	}
	assert_int_equal(done, 0);
	close(to);
	await();
	assert_read(from, "secret", 6);
}

static void test_streams(void **state)
{
	int pipes[2];

	assert_int_equal(pipe(pipes), 0);
	read_in_pieces(pipes[0], pipes[1]);
	assert_int_equal(pipe2(pipes, O_NONBLOCK), 0);
	read_in_pieces(pipes[0], pipes[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pipes), 0);
	read_in_pieces(pipes[0], pipes[1]);
	/* Its end is there already. */
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(write(pipes[1], "x", 1), 1);
	close(pipes[1]);
	start(pipes[0], BUS_FD_ALL);
	await();
	assert_read(pipes[0], "x", 1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pipes), 0);
	assert_int_equal(shutdown(pipes[1], SHUT_WR), 0);
	start(pipes[0], BUS_FD_ALL);
	await();
	assert_read(pipes[0], "", 0);
	close(pipes[1]);
}

/* poll(2) never tells of the end of one that is opened anew when nobody writes any more. */
static void test_named_pipe(void **state)
{
	char path[64];
	int from, to;

	snprintf(path, sizeof(path), "/tmp/espatd-fifo.%d", getpid());
	assert_int_equal(mkfifo(path, 0600), 0);
	from = open(path, O_RDONLY | O_NONBLOCK);
	to = open(path, O_WRONLY);
	assert_int_equal(fcntl(from, F_SETFL, 0), 0);
	assert_int_equal(write(to, "secret", 6), 6);
	close(to);
	start(from, BUS_FD_ALL);
	await();
	assert_read(from, "secret", 6);
	unlink(path);
}

static void test_too_much(void **state)
{
	static char data[4096];
	int pipes[2], sent = 0;

	memset(data, 'x', sizeof(data));
	assert_int_equal(pipe(pipes), 0);
	start(pipes[0], BUS_FD_ALL);
	while (!done) {
		if (sent <= BUS_FD_MAX)
			assert_int_equal(write(pipes[1], data, sizeof(data)), sizeof(data));
		sent += (int)sizeof(data);
		event_base_loop(base, EVLOOP_ONCE);
	}
	assert_int_equal(error, BUS_E_TOO_LARGE);
	assert_int_equal(sent, BUS_FD_MAX + 4096);
	assert_int_equal(fcntl(pipes[0], F_GETFD), -1);
	close(pipes[1]);
}

static void pass(uint64_t time)
{
	timers_touch(&timers);
	timers_set_now(&timers, timers.now + time);
	timers_run(&timers);
}

/* All of it has so long, not each piece. */
static void test_time(void **state)
{
	int pipes[2];

	assert_int_equal(pipe(pipes), 0);
	start(pipes[0], BUS_FD_ALL);
	pass(BUS_FD_TIMEOUT - 1 * TIMERS_S);
	assert_int_equal(write(pipes[1], "x", 1), 1);
	event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(done, 0);
	pass(1 * TIMERS_S);
	assert_int_equal(done, 1);
	assert_int_equal(error, BUS_E_TIMEOUT);
	assert_int_equal(write(pipes[1], "x", 1), -1);
	assert_int_equal(errno, EPIPE);
	close(pipes[1]);
}

static void test_given_up(void **state)
{
	int pipes[2];

	assert_int_equal(pipe(pipes), 0);
	start(pipes[0], BUS_FD_ALL);
	assert_int_equal(write(pipes[1], "x", 1), 1);
	bus_fd_clear(&reader);
	bus_fd_clear(&reader);
	assert_int_equal(fcntl(pipes[0], F_GETFD), -1);
	pass(2 * BUS_FD_TIMEOUT);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(done, 0);
	close(pipes[1]);
}

/* Whoever shares the pipe with us, his flags are what they were. */
static void test_flags(void **state)
{
	int pipes[2], copy;

	for (int nonblock = 0; nonblock < 2; nonblock++) {
		assert_int_equal(pipe2(pipes, nonblock ? O_NONBLOCK : 0), 0);
		copy = dup(pipes[0]);
		start(pipes[0], BUS_FD_ALL);
		close(pipes[1]);
		await();
		bus_fd_clear(&reader);
		assert_int_equal(!!(fcntl(copy, F_GETFL) & O_NONBLOCK), nonblock);
		close(copy);
	}
}

/* Of somebody else's pipe, which we may not open anew: they are put back. */
static void test_flags_of_others(void **state)
{
	int pipes[2], copy;

	if (getuid() != 0)
		skip();
	assert_int_equal(pipe(pipes), 0);
	copy = dup(pipes[0]);
	setfsuid(65534);
	start(pipes[0], BUS_FD_ALL);
	setfsuid(0);
	assert_true(fcntl(copy, F_GETFL) & O_NONBLOCK); /* else there is nothing to be seen here */
	assert_int_equal(write(pipes[1], "x", 1), 1);
	event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(done, 0);
	close(pipes[1]);
	await();
	assert_int_equal(error, BUS_OK);
	assert_int_equal(reader.len, 1);
	assert_false(fcntl(copy, F_GETFL) & O_NONBLOCK);
	close(copy);
}

/* Whoever shares the description takes its O_NONBLOCK off while it is read: that makes nobody wait. */
static void test_flags_taken_off(void **state)
{
	const char *names[] = { NULL, "/tmp/espatd-fd.fifo" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		int pipes[2], shared;

		if (names[i]) {
			unlink(names[i]);
			assert_int_equal(mkfifo(names[i], 0600), 0);
			pipes[0] = open(names[i], O_RDONLY | O_NONBLOCK);
			pipes[1] = open(names[i], O_WRONLY);
			unlink(names[i]);
		} else {
			assert_int_equal(pipe2(pipes, O_NONBLOCK), 0);
		}
		shared = dup(pipes[0]);
		start(pipes[0], BUS_FD_ALL);
		assert_int_equal(fcntl(shared, F_SETFL, 0), 0);
		assert_int_equal(write(pipes[1], "k", 1), 1);
		event_base_loop(base, EVLOOP_ONCE);
		assert_int_equal(done, 0);
		close(pipes[1]);
		await();
		assert_read(pipes[0], "k", 1);
		close(shared);
	}
}

static void test_lines(void **state)
{
	static const struct {
		const char *text, *line;
	} cases[] = {
		{ "secret", "secret" },
		{ "secret\n", "secret" },
		{ "secret\r\n", "secret" },
		{ "secret\nrest", "secret" },
		{ "\nx", "" },
		{ "\r\n", "" },
		{ "", "" },
		{ "a\rb\n", "a\rb" },
	};
	int pipes[2], fd;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t len = strlen(cases[i].text);

		fd = memfd(cases[i].text, len, 0);
		start(fd, BUS_FD_LINE);
		/* What is behind it is gone, too. */
		for (size_t k = reader.len + 2; k < len; k++)
			assert_int_equal(reader.data[k], 0);
		assert_read(fd, cases[i].line, strlen(cases[i].line));
	}
	/* A pipe need not end behind its line. */
	assert_int_equal(pipe(pipes), 0);
	start(pipes[0], BUS_FD_LINE);
	assert_int_equal(write(pipes[1], "sec", 3), 3);
	event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(done, 0);
	assert_int_equal(write(pipes[1], "ret\nmore", 8), 8);
	await();
	assert_read(pipes[0], "secret", 6);
	close(pipes[1]);
}

/* ---- what is left ---- */

#define SECRET_LEN 4096
#define SEARCH_SIZE (1 << 16)

/* Never whole in memory, but for the moment in which it is written. */
static uint8_t secret_byte(size_t i)
{
	return (uint8_t)((i * 2654435761u) >> 13 ^ (i * 40503u) >> 7);
}

static size_t count_in(const void *secret, const uint8_t *data, size_t len)
{
	size_t found = 0;

	for (size_t at = 64; at < SECRET_LEN - WINDOW; at += 512)
		for (size_t k = 0; k + WINDOW <= len; k++) {
			size_t i = 0;

			while (i < WINDOW && data[k + i] == secret_byte(at + i))
				i++;
			found += i == WINDOW;
		}
	return found;
}

static void test_wiped(void **state)
{
	/* The buffer of the search itself is in a mapping of its own. */
	uint8_t *own = mmap(NULL, SEARCH_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
	const struct own_memory memory = {
		.own = own, .chunk = own, .size = SEARCH_SIZE, .count = count_in
	};
	int pipes[2];

	assert_int_equal(pipe(pipes), 0);
	start(pipes[0], BUS_FD_ALL);
	for (size_t i = 0; i < SECRET_LEN; i++) {
		uint8_t byte = secret_byte(i);

		assert_int_equal(write(pipes[1], &byte, 1), 1);
	}
	close(pipes[1]);
	await();
	assert_int_equal(reader.len, SECRET_LEN);
	assert_true(own_memory_count(&memory) > 0); /* it does find it */
	bus_fd_clear(&reader);
	assert_int_equal(own_memory_count(&memory), 0);
	munmap(own, SEARCH_SIZE);
}

#define FD_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FD_TEST(test_files),           FD_TEST(test_other_types),
		FD_TEST(test_streams),         FD_TEST(test_named_pipe),
		FD_TEST(test_too_much),        FD_TEST(test_time),
		FD_TEST(test_given_up),        FD_TEST(test_flags),
		FD_TEST(test_flags_of_others), FD_TEST(test_flags_taken_off),
		FD_TEST(test_lines),           FD_TEST(test_wiped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
