/* SPDX-License-Identifier: MIT */
/* port: what the kernel says was lost, and who says too much; a socket stands for the line. */
#include "test.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "pass-time.h"
#include "port/internal.h"
#include "port/port.h"

static struct {
	struct timers timers;
	struct event_base *base;
	struct port *port;
	int chip;           /* the other end */
	int counts_error;   /* the kernel does not count */
	unsigned int looks; /* times that it was asked */
	struct port_lost counts;
	struct port_lost lost; /* what was told last */
	unsigned int ups, downs, losses, waits;
	bool dials; /* the other end has to answer first */
	int answer;
	size_t got;
} f;

int __wrap_port_line_open(struct port_line *line, const char *spec, unsigned int baud,
			  unsigned int max_baud, char *why, size_t why_size);
int __wrap_port_line_dialled(struct port_line *line, const char *spec, char *why, size_t why_size);
int __wrap_port_line_set(struct port_line *line, unsigned int baud, bool rtscts);
int __wrap_port_line_counts(const struct port_line *line, struct port_lost *counts);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);

/* Time stands still but for pass(). */
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
	ts->tv_sec = (time_t)(f.timers.now / TIMERS_S);
	ts->tv_nsec = (long)(f.timers.now % TIMERS_S) * 1000;
	return 0;
}

int __wrap_port_line_open(struct port_line *line, const char *spec, unsigned int baud,
			  unsigned int max_baud, char *why, size_t why_size)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	*line = (struct port_line){ .fd = fds[0], .dialing = f.dials };
	/* A socket of this pair can be written to at once: not, while the answer is out. */
	while (f.dials && write(fds[0], fds, 1) == 1)
		;
	if (f.dials && f.chip > 0)
		close(f.chip);
	f.chip = fds[1];
	return 0;
}

int __wrap_port_line_dialled(struct port_line *line, const char *spec, char *why, size_t why_size)
{
	if (f.answer < 0)
		snprintf(why, why_size, "refused");
	else
		line->dialing = false;
	return f.answer;
}

int __wrap_port_line_set(struct port_line *line, unsigned int baud, bool rtscts)
{
	return 0;
}

int __wrap_port_line_counts(const struct port_line *line, struct port_lost *counts)
{
	f.looks++;
	*counts = f.counts;
	return f.counts_error;
}

static void on_up(void *userdata)
{
	f.ups++;
}

static void on_data(void *userdata, const uint8_t *data, size_t len)
{
	f.got += len;
}

static void on_lost(void *userdata, const struct port_lost *lost)
{
	f.losses++;
	f.lost = *lost;
}

static void on_down(void *userdata, const char *why)
{
	f.downs++;
}

static void on_waiting(void *userdata, const char *why)
{
	assert_true(f.dials);
	assert_string_equal(why, f.answer < 0 ? "refused" : "cannot connect to any: no answer");
	f.waits++;
}

static const struct port_ops ops = {
	.up = on_up,
	.data = on_data,
	.lost = on_lost,
	.down = on_down,
	.waiting = on_waiting,
};

static void turn(void)
{
	assert_true(event_base_loop(f.base, EVLOOP_NONBLOCK) >= 0);
}

static void pass(uint64_t delay)
{
	pass_time(&f.timers, delay);
	turn();
}

static void say(const char *data)
{
	assert_int_equal(write(f.chip, data, strlen(data)), strlen(data));
	turn();
}

static int setup(void **state)
{
	memset(&f, 0, sizeof(f));
	timers_init(&f.timers);
	f.base = event_base_new();
	assert_non_null(f.base);
	assert_int_equal(port_new(&f.port, f.base, &f.timers, "any", 115200, 0, &ops, NULL), 0);
	return 0;
}

static int up(void **state)
{
	setup(state);
	pass(0);
	assert_int_equal(f.ups, 1);
	f.looks = 0;
	return 0;
}

static int teardown(void **state)
{
	port_free(f.port);
	close(f.chip);
	event_base_free(f.base);
	timers_deinit(&f.timers);
	return 0;
}

/* Each counter by itself, seen within 100 ms of bytes, and told once. */
static void test_lost(void **state)
{
	unsigned int *const counters[] = {
		&f.counts.frame, &f.counts.overrun,     &f.counts.parity,
		&f.counts.brk,   &f.counts.buf_overrun,
	};

	for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
		unsigned int before = f.losses;

		*counters[i] += 3;
		say("abc");
		say("def");
		pass(99 * TIMERS_MS);
		assert_int_equal(f.losses, before);
		pass(1 * TIMERS_MS);
		assert_int_equal(f.losses, before + 1);
		assert_int_equal(f.lost.frame, i == 0 ? 3 : 0);
		assert_int_equal(f.lost.overrun, i == 1 ? 3 : 0);
		assert_int_equal(f.lost.parity, i == 2 ? 3 : 0);
		assert_int_equal(f.lost.brk, i == 3 ? 3 : 0);
		assert_int_equal(f.lost.buf_overrun, i == 4 ? 3 : 0);
		say("abc");
		pass(1 * TIMERS_S);
		assert_int_equal(f.losses, before + 1);
	}
	/* One look for all that comes within that time, and none while nothing comes. */
	assert_int_equal(f.looks, 2 * ARRAY_SIZE(counters));
	pass(60 * TIMERS_S);
	assert_int_equal(f.looks, 2 * ARRAY_SIZE(counters));
}

static void test_counters_wrap_around(void **state)
{
	f.counts.overrun = 0xffffffff;
	say("abc");
	pass(1 * TIMERS_S);
	assert_int_equal(f.losses, 1); /* since it was opened */
	f.counts.overrun += 2;
	say("abc");
	pass(1 * TIMERS_S);
	assert_int_equal(f.losses, 2);
	assert_int_equal(f.lost.overrun, 2);
}

/* What was counted before it was opened, or while the rate changed, is nobody's loss. */
static void test_losses_of_before(void **state)
{
	f.counts.frame = 7;
	pass(0);
	say("abc");
	pass(1 * TIMERS_S);
	assert_int_equal(f.losses, 0);
	f.counts.frame = 9;
	assert_int_equal(port_set_line(f.port, 921600, false), 0);
	say("abc");
	pass(1 * TIMERS_S);
	assert_int_equal(f.losses, 0);
	close(f.chip);
	turn();
	assert_int_equal(f.downs, 1);
	f.counts.frame = 11;
	pass(1 * TIMERS_S);
	assert_int_equal(f.ups, 2);
	say("abc");
	pass(1 * TIMERS_S);
	assert_int_equal(f.losses, 0);
}

static void test_kernel_does_not_count(void **state)
{
	f.counts_error = -EINVAL;
	pass(0);
	f.counts.overrun = 3;
	f.looks = 0;
	say("abc");
	pass(1 * TIMERS_S);
	assert_int_equal(f.looks, 0);
	assert_int_equal(f.losses, 0);
	assert_int_equal(f.got, 3);
}

/* As much as there is room for; false: for nothing. */
static bool fill(void)
{
	static const char noise[65536];
	bool any = false;

	while (write(f.chip, noise, sizeof(noise)) > 0)
		any = true;
	return any;
}

/* A line that is faster than any is read for a part of the time only, and for all of it when it is not. */
static void test_too_much(void **state)
{
	size_t before;

	for (size_t i = 0; i < 10; i++) {
		for (int n = 0; n < 1000; n++) {
			fill();
			turn();
		}
		assert_in_range(f.got, (i + 1) * 524288, (i + 1) * (524288 + 16384));
		assert_false(fill());
		pass(100 * TIMERS_MS);
	}
	/* Whoever holds it is not overruled. */
	while (fill())
		turn();
	port_hold(f.port, true);
	pass(100 * TIMERS_MS);
	before = f.got;
	pass(1 * TIMERS_S);
	assert_int_equal(f.got, before);
	port_hold(f.port, false);
	pass(100 * TIMERS_MS);
	assert_true(f.got > before);
	/* The end is seen behind all that was said. */
	close(f.chip);
	for (int i = 0; i < 100 && f.downs == 0; i++)
		pass(10 * TIMERS_MS);
	assert_int_equal(f.downs, 1);
	pass(1 * TIMERS_S);
	before = f.got;
	say("abc");
	assert_int_equal(f.got, before + 3);
}

/* The other end's answer: what was written before it is read, which makes room. */
static void answer(int r)
{
	char buf[4096];

	f.answer = r;
	while (recv(f.chip, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
	turn();
}

/* A line whose other end has to answer is up when it has; each reason why not is told once. */
static void test_dialing(void **state)
{
	f.dials = true;
	pass(0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(f.ups, 0);
		answer(-ECONNREFUSED);
		assert_int_equal(f.waits, 1);
		pass(1 * TIMERS_S);
	}
	f.answer = 0;
	pass(10 * TIMERS_S - 1);
	assert_int_equal(f.waits, 1);
	pass(1);
	assert_int_equal(f.waits, 2);
	pass(1 * TIMERS_S);
	answer(0);
	assert_int_equal(f.ups, 1);
	say("abc");
	assert_int_equal(f.got, 3);
	pass(10 * TIMERS_S);
	assert_int_equal(f.ups, 1);
	assert_int_equal(f.downs, 0);
	assert_int_equal(f.waits, 2);
}

/* Freed while it dials. */
static void test_end_while_dialing(void **state)
{
	f.dials = true;
	pass(0);
	assert_int_equal(f.ups, 0);
}

#define T(name, start) cmocka_unit_test_setup_teardown(name, start, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_lost, up),
		T(test_counters_wrap_around, up),
		T(test_losses_of_before, setup),
		T(test_kernel_does_not_count, setup),
		T(test_too_much, up),
		T(test_dialing, setup),
		T(test_end_while_dialing, setup),
	};

	return cmocka_run_group_tests_name("port", tests, NULL, NULL);
}
