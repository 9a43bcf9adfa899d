/* SPDX-License-Identifier: MIT */
/*
 * daemon/clockwatch: what the kernel says when the clock jumps, said by the test: its timer is an
 * eventfd, and what read() returns for it is scripted. No test sets the clock of its machine.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "daemon/clockwatch.h"

/* errno of the next calls; 0: they succeed */
static int create_error, settime_error, read_error;
static bool real; /* the kernel's own timer */
static int fd, clock_id, create_flags, settime_flags, settimes, changes;
static struct itimerspec settime_value;

int __wrap_timerfd_create(int id, int flags);
int __real_timerfd_create(int id, int flags);
int __wrap_timerfd_settime(int timer, int flags, const struct itimerspec *value,
			   struct itimerspec *old);
int __real_timerfd_settime(int timer, int flags, const struct itimerspec *value,
			   struct itimerspec *old);
ssize_t __wrap_read(int from, void *buf, size_t size);
ssize_t __real_read(int from, void *buf, size_t size);

int __wrap_timerfd_create(int id, int flags)
{
	clock_id = id;
	create_flags = flags;
	if (create_error) {
		errno = create_error;
		return -1;
	}
	fd = real ? __real_timerfd_create(id, flags) : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return fd;
}

int __wrap_timerfd_settime(int timer, int flags, const struct itimerspec *value,
			   struct itimerspec *old)
{
	assert_int_equal(timer, fd);
	settimes++;
	settime_flags = flags;
	settime_value = *value;
	if (real)
		return __real_timerfd_settime(timer, flags, value, old);
	errno = settime_error;
	return settime_error ? -1 : 0;
}

ssize_t __wrap_read(int from, void *buf, size_t size)
{
	ssize_t n = __real_read(from, buf, size);

	if (from != fd || !read_error)
		return n;
	errno = read_error;
	return -1;
}

static void on_changed(void *userdata)
{
	assert_ptr_equal(userdata, &changes);
	changes++;
}

static struct event_base *base;

static int setup(void **state)
{
	create_error = settime_error = read_error = 0;
	real = false;
	fd = -1;
	settimes = changes = 0;
	base = event_base_new();
	return base ? 0 : -1;
}

static int teardown(void **state)
{
	event_base_free(base);
	return 0;
}

/* What the timer says once, with read() failing so. */
static void say(int error)
{
	uint64_t one = 1;

	read_error = error;
	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
	assert_int_equal(event_base_loop(base, EVLOOP_NONBLOCK), 0);
}

static void test_jumps(void **state)
{
	struct clockwatch *watch = NULL;

	assert_int_equal(clockwatch_new(&watch, base, on_changed, &changes), 0);
	assert_int_equal(clock_id, CLOCK_REALTIME);
	assert_int_equal(create_flags, TFD_NONBLOCK | TFD_CLOEXEC);
	assert_int_equal(settimes, 1);
	assert_int_equal(settime_flags, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET);
	assert_true(settime_value.it_value.tv_sec > time(NULL));
	assert_int_equal(settime_value.it_interval.tv_sec, 0);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(changes, 0);
	for (int i = 1; i <= 3; i++) {
		say(ECANCELED);
		assert_int_equal(changes, i);
		assert_int_equal(settimes, 1 + i);
		assert_int_equal(settime_flags, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET);
		assert_true(settime_value.it_value.tv_sec > time(NULL));
	}
	/* The far future has come: a jump as well. */
	say(0);
	assert_int_equal(changes, 4);
	/* Nothing was to be read. */
	say(EAGAIN);
	assert_int_equal(changes, 4);
	assert_int_equal(settimes, 5);
	/* It jumps again between the two calls, which arms all the same (timerfd_settime(2)). */
	settime_error = ECANCELED;
	say(ECANCELED);
	assert_int_equal(changes, 5);
	say(ECANCELED);
	assert_int_equal(changes, 6);
	assert_null(clockwatch_free(watch));
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void test_failures(void **state)
{
	struct clockwatch *watch = NULL;

	create_error = EMFILE;
	assert_int_equal(clockwatch_new(&watch, base, on_changed, &changes), -EMFILE);
	create_error = 0;
	settime_error = ECANCELED; /* armed all the same */
	assert_int_equal(clockwatch_new(&watch, base, on_changed, &changes), 0);
	watch = clockwatch_free(watch);
	settime_error = EINVAL;
	assert_int_equal(clockwatch_new(&watch, base, on_changed, &changes), -EINVAL);
	assert_null(watch);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_null(clockwatch_free(NULL));
}

/* This kernel takes what it is asked for. */
static void test_kernel(void **state)
{
	struct clockwatch *watch = NULL;
	char path[64], info[512] = "";
	FILE *f;

	real = true;
	assert_int_equal(clockwatch_new(&watch, base, on_changed, &changes), 0);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	if (f) {
		assert_true(fread(info, 1, sizeof(info) - 1, f) > 0);
		fclose(f);
		assert_non_null(strstr(info, "clockid: 0"));
		assert_non_null(strstr(info, "settime flags: 03"));
		assert_null(strstr(info, "it_value: (0, 0)"));
	}
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(changes, 0);
	clockwatch_free(watch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_jumps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failures, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kernel, setup, teardown),
	};

	return cmocka_run_group_tests_name("clockwatch", tests, NULL, NULL);
}
