/* SPDX-License-Identifier: MIT */
/* port/port: its queue, on a socket whose other end is this test. */
#include "test.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "port/port.h"
#include "temp-dir.h"
#include "util/ring.h"

static struct rig {
	struct event_base *base;
	struct timers timers;
	struct port *port;
	int listener, other;
	bool up;
	const struct ring *ring; /* of what is queued */
} rig;

int __real_ring_put(struct ring *ring, const void *data, size_t len);
int __wrap_ring_put(struct ring *ring, const void *data, size_t len);

int __wrap_ring_put(struct ring *ring, const void *data, size_t len)
{
	rig.ring = ring;
	return __real_ring_put(ring, data, len);
}

static void on_up(void *userdata)
{
	rig.up = true;
}

static void on_data(void *userdata, const uint8_t *data, size_t len)
{
}

static void on_end(void *userdata, const char *why)
{
	fail_msg("%s", why);
}

static const struct port_ops ops = {
	.up = on_up,
	.data = on_data,
	.down = on_end,
	.waiting = on_end,
};

static void turn(void)
{
	event_base_loop(rig.base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
	timers_run(&rig.timers);
}

static int setup(void **state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char spec[128];

	clean();
	rig = (struct rig){ .base = event_base_new() };
	assert_non_null(rig.base);
	timers_init(&rig.timers);
	strcpy(addr.sun_path, path_of("line"));
	rig.listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(rig.listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(rig.listener, 1), 0);
	snprintf(spec, sizeof(spec), "unix:%s", addr.sun_path);
	assert_int_equal(port_new(&rig.port, rig.base, &rig.timers, spec, 115200, 0, &ops, NULL),
			 0);
	turn();
	assert_true(rig.up);
	rig.other = accept(rig.listener, NULL, NULL);
	assert_true(rig.other >= 0);
	return 0;
}

static int teardown(void **state)
{
	port_free(rig.port);
	close(rig.other);
	close(rig.listener);
	timers_deinit(&rig.timers);
	event_base_free(rig.base);
	return 0;
}

static uint8_t letter(size_t at)
{
	return (uint8_t)(at * 7 + at / 251);
}

/* From @from on, until the line takes no more and so much is queued; returns where that ends. */
static size_t write_until(size_t from, size_t queued)
{
	uint8_t piece[1024];

	while (!rig.ring || rig.ring->len < queued) {
		for (size_t i = 0; i < sizeof(piece); i++)
			piece[i] = letter(from + i);
		port_write(rig.port, piece, sizeof(piece));
		from += sizeof(piece);
	}
	return from;
}

/* What was written from @from to @to comes, in its order. */
static void read_to(size_t from, size_t to)
{
	uint8_t buf[8192];

	while (from < to) {
		ssize_t n = recv(rig.other, buf, sizeof(buf), MSG_DONTWAIT);

		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++, from++)
			assert_int_equal(buf[i], letter(from));
		turn();
	}
	assert_int_equal(from, to);
}

/* What one block needs is kept for the next one; what a burst needed goes back when it has gone. */
static void test_queue_goes_back(void **state)
{
	size_t block = write_until(0, 8000), burst;

	read_to(0, block);
	assert_int_equal(rig.ring->len, 0);
	assert_in_range(rig.ring->size, 8000, 16384);
	burst = write_until(block, 100000);
	assert_true(rig.ring->size >= 100000);
	read_to(block, burst);
	assert_int_equal(rig.ring->size, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_queue_goes_back),
	};

	return cmocka_run_group_tests_name("port-queue", tests, make_temp_dir, remove_temp_dir);
}
