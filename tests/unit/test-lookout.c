/* SPDX-License-Identifier: MIT */
/* port/lookout: whatever may have made a port usable is seen, wherever its folder is. */
#include "test.h"

#include <event2/event.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "port/lookout.h"
#include "temp-dir.h"

struct watcher {
	struct event_base *base;
	struct lookout lookout;
	enum lookout_sight seen;
};

static void on_seen(int fd, short what, void *userdata)
{
	struct watcher *watcher = userdata;

	watcher->seen = lookout_read(&watcher->lookout);
}

static void look_out(struct watcher *watcher, const char *spec)
{
	lookout_start(&watcher->lookout, watcher->base, spec, on_seen, watcher);
}

static enum lookout_sight sight(struct watcher *watcher)
{
	watcher->seen = LOOKOUT_NOTHING;
	event_base_loop(watcher->base, EVLOOP_NONBLOCK);
	return watcher->seen;
}

static int set_up(void **state)
{
	static struct watcher watcher;

	clean();
	watcher = (struct watcher){ .base = event_base_new(), .lookout = LOOKOUT_NONE };
	*state = &watcher;
	return watcher.base ? 0 : -1;
}

static int tear_down(void **state)
{
	struct watcher *watcher = *state;

	lookout_stop(&watcher->lookout);
	event_base_free(watcher->base);
	return 0;
}

static void test_a_node(void **state)
{
	struct watcher *watcher = *state;

	look_out(watcher, path_of("ttyUSB0"));
	assert_int_equal(sight(watcher), LOOKOUT_NOTHING);
	make_file(path_of("ttyUSB1"));
	assert_int_equal(sight(watcher), LOOKOUT_NEW);
	assert_int_equal(sight(watcher), LOOKOUT_NOTHING);
	assert_int_equal(chmod(path_of("ttyUSB1"), 0600), 0);
	assert_int_equal(sight(watcher), LOOKOUT_READY);
	assert_int_equal(rename(path_of("ttyUSB1"), path_of("ttyUSB0")), 0);
	assert_int_equal(sight(watcher), LOOKOUT_READY);
	/* All of it at once, and something new behind it. */
	make_file(path_of("ttyUSB2"));
	assert_int_equal(chmod(path_of("ttyUSB2"), 0600), 0);
	make_file(path_of("ttyUSB3"));
	assert_int_equal(sight(watcher), LOOKOUT_READY);
	/* What goes is nothing to look for. */
	assert_int_equal(unlink(path_of("ttyUSB0")), 0);
	assert_int_equal(sight(watcher), LOOKOUT_NOTHING);
}

static void test_a_link_in_a_folder_to_come(void **state)
{
	struct watcher *watcher = *state;

	look_out(watcher, path_of("serial/by-id/adapter"));
	assert_int_equal(mkdir(path_of("serial"), 0755), 0);
	assert_int_equal(sight(watcher), LOOKOUT_NEW);
	look_out(watcher, path_of("serial/by-id/adapter"));
	assert_int_equal(mkdir(path_of("serial/by-id"), 0755), 0);
	assert_int_equal(sight(watcher), LOOKOUT_NEW);
	look_out(watcher, path_of("serial/by-id/adapter"));
	assert_int_equal(symlink("/dev/null", path_of("serial/by-id/adapter")), 0);
	assert_int_equal(sight(watcher), LOOKOUT_NEW);
}

static void test_a_socket(void **state)
{
	struct watcher *watcher = *state;
	char spec[600];

	snprintf(spec, sizeof(spec), "unix:%s", path_of("uart"));
	look_out(watcher, spec);
	make_file(path_of("uart"));
	assert_int_equal(sight(watcher), LOOKOUT_NEW);
}

static void test_where_nothing_can_be_seen(void **state)
{
	struct watcher *watcher = *state;

	look_out(watcher, "tcp:192.0.2.1:3333");
	assert_int_equal(watcher->lookout.fd, -1);
	make_file(path_of("file"));
	look_out(watcher, path_of("file/tty"));
	look_out(watcher, "no-path");
	assert_int_equal(sight(watcher), LOOKOUT_NOTHING);
}

static void test_an_adapter_is_looked_for_among_the_devices(void **state)
{
	struct watcher *watcher = *state;

	look_out(watcher, "usb:0403:6001");
	assert_true(watcher->lookout.fd >= 0);
}

static void test_stopped(void **state)
{
	struct watcher *watcher = *state;

	look_out(watcher, path_of("tty"));
	lookout_stop(&watcher->lookout);
	make_file(path_of("tty"));
	assert_int_equal(sight(watcher), LOOKOUT_NOTHING);
	lookout_stop(&watcher->lookout);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		TEST(test_a_node),
		TEST(test_a_link_in_a_folder_to_come),
		TEST(test_a_socket),
		TEST(test_where_nothing_can_be_seen),
		TEST(test_an_adapter_is_looked_for_among_the_devices),
		TEST(test_stopped),
	};

	return cmocka_run_group_tests(tests, make_temp_dir, remove_temp_dir);
}
