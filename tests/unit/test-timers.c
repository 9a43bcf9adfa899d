/* SPDX-License-Identifier: MIT */
/* util/timers: order, re-arming, cancelling, and what callbacks may do. */
#include "test.h"

#include <string.h>

#include "util/list.h"
#include "util/timers.h"

#define N_TIMERS 40

struct fixture {
	struct timers timers;
	struct timer timer[N_TIMERS];
	size_t fired[1024];
	size_t n_fired;
	void (*hook)(struct fixture *f, size_t i);
};

static struct fixture *fix;

static void on_timer(struct timer *timer)
{
	size_t i = (size_t)(timer - fix->timer);

	assert_false(timer_armed(timer));
	assert_in_range(fix->n_fired, 0, ARRAY_SIZE(fix->fired) - 1);
	fix->fired[fix->n_fired++] = i;
	if (fix->hook)
		fix->hook(fix, i);
}

static int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	timers_init(&f.timers);
	for (size_t i = 0; i < N_TIMERS; i++)
		assert_int_equal(timer_init(&f.timer[i], &f.timers, on_timer), 0);
	fix = &f;
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < N_TIMERS; i++)
		timer_deinit(&f->timer[i]);
	assert_int_equal(f->timers.reserved, 0);
	timers_deinit(&f->timers);
	return 0;
}

static void run_at(struct fixture *f, uint64_t now)
{
	timers_set_now(&f->timers, now);
	timers_run(&f->timers);
}

static void test_order(void **state)
{
	struct fixture *f = *state;

	timer_arm(&f->timer[0], 30);
	timer_arm(&f->timer[1], 10);
	timer_arm(&f->timer[2], 20);
	timer_arm(&f->timer[3], 10); /* a tie: after the one that was armed before */
	assert_int_equal(timers_next(&f->timers), 10);
	run_at(f, 9);
	assert_int_equal(f->n_fired, 0);
	run_at(f, 10);
	assert_int_equal(f->n_fired, 2);
	assert_int_equal(f->fired[0], 1);
	assert_int_equal(f->fired[1], 3);
	assert_int_equal(timers_next(&f->timers), 20);
	run_at(f, 100);
	assert_int_equal(f->n_fired, 4);
	assert_int_equal(f->fired[2], 2);
	assert_int_equal(f->fired[3], 0);
	assert_true(timers_next(&f->timers) == TIMERS_NEVER);
}

static void test_rearm_moves(void **state)
{
	struct fixture *f = *state;

	timer_arm(&f->timer[0], 10);
	timer_arm(&f->timer[0], 50);
	run_at(f, 49);
	assert_int_equal(f->n_fired, 0);
	run_at(f, 50);
	assert_int_equal(f->n_fired, 1);
	run_at(f, 1000);
	assert_int_equal(f->n_fired, 1);
}

static void test_clock_never_goes_back(void **state)
{
	struct fixture *f = *state;

	timers_set_now(&f->timers, 100);
	timers_set_now(&f->timers, 50);
	timer_arm(&f->timer[0], 10);
	assert_int_equal(timers_next(&f->timers), 110);
}

static void hook_rearm(struct fixture *f, size_t i)
{
	timer_arm(&f->timer[i], 0);
	timer_arm(&f->timer[7], 0);
}

/* Or a timer that arms itself with no delay would hold the loop for ever. */
static void test_armed_meanwhile_waits(void **state)
{
	struct fixture *f = *state;

	f->hook = hook_rearm;
	timer_arm(&f->timer[0], 5);
	run_at(f, 5);
	assert_int_equal(f->n_fired, 1);
	assert_int_equal(timers_next(&f->timers), 5);
	f->hook = NULL;
	timers_run(&f->timers);
	assert_int_equal(f->n_fired, 3);
}

static void hook_cancel(struct fixture *f, size_t i)
{
	if (i == 1)
		timer_cancel(&f->timer[2]);
}

static void test_cancel_what_is_due(void **state)
{
	struct fixture *f = *state;

	f->hook = hook_cancel;
	timer_arm(&f->timer[1], 5);
	timer_arm(&f->timer[2], 5);
	timer_arm(&f->timer[3], 5);
	timer_cancel(&f->timer[9]); /* not armed: nothing */
	run_at(f, 5);
	assert_int_equal(f->n_fired, 2);
	assert_int_equal(f->fired[1], 3);
}

static void test_deinit_of_zeroed(void **state)
{
	struct timer timer;

	memset(&timer, 0, sizeof(timer));
	timer_deinit(&timer);
	assert_null(timer.timers);
}

/* Against a list that is searched from end to end. */
static void test_against_model(void **state)
{
	struct fixture *f = *state;
	uint64_t deadline[N_TIMERS], armed_as[N_TIMERS] = { 0 }, n_armed = 0;
	uint64_t seed = 0x5eed0001, now = 0;

	for (size_t round = 0; round < 20000; round++) {
		size_t i = test_random_below(&seed, N_TIMERS);

		switch (test_random_below(&seed, 4)) {
		case 0:
		case 1: {
			uint64_t delay = test_random_below(&seed, 60);

			timer_arm(&f->timer[i], delay);
			deadline[i] = now + delay;
			armed_as[i] = ++n_armed;
			break;
		}
		case 2:
			timer_cancel(&f->timer[i]);
			armed_as[i] = 0;
			break;
		case 3:
			now += test_random_below(&seed, 20);
			f->n_fired = 0;
			run_at(f, now);
			for (size_t k = 0; k < f->n_fired; k++) {
				size_t best = N_TIMERS;

				for (size_t t = 0; t < N_TIMERS; t++)
					if (armed_as[t] && deadline[t] <= now &&
					    (best == N_TIMERS || deadline[t] < deadline[best] ||
					     (deadline[t] == deadline[best] &&
					      armed_as[t] < armed_as[best])))
						best = t;
				assert_int_equal(f->fired[k], best);
				armed_as[best] = 0;
			}
			for (size_t t = 0; t < N_TIMERS; t++)
				assert_true(!armed_as[t] || deadline[t] > now);
			break;
		}
		for (size_t t = 0; t < N_TIMERS; t++)
			assert_int_equal(timer_armed(&f->timer[t]), armed_as[t] != 0);
	}
}

/* As the daemon's loop does it. */
static void turn_at(struct fixture *f, uint64_t now)
{
	timers_set_now(&f->timers, now);
	if (timers_may_fire(&f->timers))
		timers_run(&f->timers);
}

/* A loop that was held up looks first, for as long as it was late: what was waited for may be there. */
static void test_late(void **state)
{
	uint64_t due = 10 * TIMERS_S, late = due + 300 * TIMERS_MS;
	struct fixture *f = *state;

	timer_arm(&f->timer[0], due);
	turn_at(f, due - 1);
	turn_at(f, late);
	assert_int_equal(f->n_fired, 0);
	/* It waits for no longer than that, and other timers wait with it. */
	assert_int_equal(timers_next(&f->timers), late + 300 * TIMERS_MS);
	timer_arm(&f->timer[1], 100 * TIMERS_MS);
	turn_at(f, late + 299 * TIMERS_MS);
	assert_int_equal(f->n_fired, 0);
	/* However late that is: a host that is always late has its time-outs all the same. */
	turn_at(f, late + 2 * TIMERS_S);
	assert_int_equal(f->n_fired, 2);
	assert_true(timers_next(&f->timers) == TIMERS_NEVER);
}

static void test_late_by_little(void **state)
{
	struct fixture *f = *state;

	timer_arm(&f->timer[0], 1 * TIMERS_S);
	turn_at(f, 1 * TIMERS_S + TIMERS_LATE);
	assert_int_equal(f->n_fired, 1);
}

static void test_late_by_much(void **state)
{
	uint64_t late = 3600 * TIMERS_S;
	struct fixture *f = *state;

	timer_arm(&f->timer[0], 1 * TIMERS_S);
	turn_at(f, late);
	assert_int_equal(timers_next(&f->timers), late + TIMERS_CATCH_UP);
	/* What was waited for has come; the next time that it is late is as the first one. */
	timer_cancel(&f->timer[0]);
	timer_arm(&f->timer[1], 1 * TIMERS_S);
	turn_at(f, late + TIMERS_CATCH_UP);
	assert_int_equal(f->n_fired, 1);
	timer_arm(&f->timer[0], 1 * TIMERS_S);
	turn_at(f, 2 * late);
	assert_int_equal(f->n_fired, 1);
	turn_at(f, 2 * late + TIMERS_CATCH_UP);
	assert_int_equal(f->n_fired, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rearm_moves, setup, teardown),
		cmocka_unit_test_setup_teardown(test_clock_never_goes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_armed_meanwhile_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel_what_is_due, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deinit_of_zeroed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_against_model, setup, teardown),
		cmocka_unit_test_setup_teardown(test_late, setup, teardown),
		cmocka_unit_test_setup_teardown(test_late_by_little, setup, teardown),
		cmocka_unit_test_setup_teardown(test_late_by_much, setup, teardown),
	};

	return cmocka_run_group_tests_name("timers", tests, NULL, NULL);
}
