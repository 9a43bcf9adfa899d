/* SPDX-License-Identifier: MIT */
/*
 * device: how long it takes until a chip is in service again, on a virtual clock. The chip answers at once, so
 * this is what the device itself waits for, at 115200 baud.
 */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "device/request.h"
#include "fake-chip.h"

static int setup(void **state)
{
	static struct bench b;

	bench_init(&b);
	*state = &b;
	return 0;
}

static int setup_ready(void **state)
{
	setup(state);
	bench_up_idle(*state);
	return 0;
}

static int teardown(void **state)
{
	bench_free(*state);
	return 0;
}

/* Until it has entered that state, behind those that were awaited before, in ms; no more than @most. */
static unsigned int await_state(struct bench *b, enum device_state state, unsigned int most)
{
	char name[32];
	const char *found;
	unsigned int ms = 0;

	snprintf(name, sizeof(name), ">%s", device_state_name(state));
	bench_run(b);
	while (!(found = strstr(b->states, name)) && ms++ < most)
		bench_pass(b, TIMERS_MS);
	if (!found)
		fail_msg("%s not within %u ms, but %s: %s", name, most, b->states, b->dev->error);
	found += strlen(name);
	memmove(b->states, found, strlen(found) + 1);
	return ms;
}

static void start(struct bench *b)
{
	b->baud = 115200;
	device_port_up(b->dev, 115200);
}

/* What a program before us has left, at one rate or with others that are possible. */
static void test_block_of_somebody_else(void **state)
{
	struct bench *b = *state;

	for (int raised = 0; raised < 2; raised++) {
		teardown(state);
		setup(state);
		b->settings.max_baud = raised ? 921600 : 0;
		b->chip.wanted = 8191;
		strcpy(b->chip.wanted_for, "AT+SYSMFG=2,\"client_ca\",\"client_ca.7\",8,8191");
		start(b);
		/* Filled up at three other rates before. */
		await_state(b, DEVICE_IDENTIFYING, raised ? 4000 : 2300);
	}
}

static void test_block_at_a_raised_rate(void **state)
{
	struct bench *b = *state;

	b->settings.max_baud = 921600;
	b->chip.baud = 921600;
	b->chip.wanted = 8191;
	strcpy(b->chip.wanted_for, "AT+SYSMFG=2,\"client_ca\",\"client_ca.7\",8,8191");
	start(b);
	await_state(b, DEVICE_IDENTIFYING, 2000);
}

/* A byte of our own is lost: 2.4 s of silence, and then what is missing is known. */
static void test_our_own_block(void **state)
{
	struct bench *b = *state;

	start(b);
	b->chip.drop = true;
	await_state(b, DEVICE_PROVISIONING, 1000);
	await_state(b, DEVICE_PROBING, 2700);
	await_state(b, DEVICE_IDENTIFYING, 200);
	await_state(b, DEVICE_READY, 100);
	assert_true(chip_holds(b, "client_ca.0", &b->ca));
	assert_true(chip_holds(b, "client_key.0", &b->key));
}

/*
 * It is cancelled, and not filled up: not a byte of ours goes to the server. Also if that one says `ready`, which we hear
 * without the head of the block that it is in.
 */
static void test_send_of_somebody_else(void **state)
{
	struct bench *b = *state;

	for (int ready = 0; ready < 2; ready++) {
		teardown(state);
		setup(state);
		b->chip.wanted = ready ? 3 : 8192;
		b->chip.open[0] = true;
		strcpy(b->chip.wanted_for, ready ? "AT+CIPSEND=0,3" : "AT+CIPSEND=0,8192");
		start(b);
		if (ready)
			chip_say(b, "ready\r\n");
		await_state(b, DEVICE_READY, ready ? 700 : 500);
		assert_int_equal(b->chip.sent_len, 0);
	}
}

/*
 * Its prompt comes when we are there already: `+++` that came before was lost, and answered by "busy p..." (capture 62),
 * which may have been damaged.
 */
static void test_prompt_that_is_late(void **state)
{
	static const char *const busy[] = { "\r\nbusy p...\r\n", "\r\nbus\x01 p...\r\n" };
	struct bench *b = *state;

	for (int damaged = 0; damaged < 2; damaged++) {
		teardown(state);
		setup(state);
		b->chip.mute = true;
		start(b);
		bench_pass(b, 160 * TIMERS_MS);
		if (!damaged) {
			chip_say(b, busy[damaged]);
			bench_pass(b, 150 * TIMERS_MS);
		}
		chip_say(b, busy[damaged]);
		chip_say(b, "\r\nOK\r\n\r\n>");
		b->chip.mute = false;
		b->chip.in_len = 0;
		b->chip.wanted = 3;
		b->chip.open[0] = true;
		strcpy(b->chip.wanted_for, "AT+CIPSEND=0,3");
		await_state(b, DEVICE_READY, 700);
		assert_int_equal(b->chip.sent_len, 0);
	}
}

/* The port is gone and back, the first `+++` has been written at the rate that the chip was told, and it is silent. */
static void return_at_a_raised_rate(struct bench *b)
{
	b->settings.max_baud = 921600;
	start(b);
	await_state(b, DEVICE_READY, 2500);
	assert_int_equal(b->chip.baud, 921600);
	b->chip.mute = true;
	device_port_down(b->dev, "the port is gone");
	device_port_up(b->dev, 115200);
	bench_pass(b, 151 * TIMERS_MS);
	assert_int_equal(b->baud, 921600);
}

/*
 * The same where more rates are possible: at another one than that at which it was busy, `+++` would be data. A line that
 * doubles each byte makes no "busy p..." of it.
 */
static void test_prompt_that_is_late_at_a_raised_rate(void **state)
{
	static const char *const busy[] = { "\r\nbusy p...\r\n",
					    "\r\r\n\nbbuussyy  pp......\r\r\n\n" };
	struct bench *b = *state;

	for (int damaged = 0; damaged < 2; damaged++) {
		teardown(state);
		setup(state);
		return_at_a_raised_rate(b);
		for (int i = 0; i < 3; i++) {
			chip_say(b, busy[damaged]);
			bench_pass(b, 150 * TIMERS_MS);
			assert_int_equal(b->baud, 921600);
		}
		chip_say(b, busy[damaged]);
		b->chip.mute = false;
		await_state(b, DEVICE_READY, 2500);
	}
}

/* One is enough where it has cancelled something, however much others have to say. */
static void test_send_is_cancelled_while_others_talk(void **state)
{
	struct bench *b = *state;

	return_at_a_raised_rate(b);
	assert_int_equal(b->chip.in_len, 3);
	assert_memory_equal(b->chip.in, "+++", 3);
	chip_say(b, "\r\nSEND Canceled\r\n\r\n+IPD,0,11:from others\r\n");
	bench_pass(b, 150 * TIMERS_MS);
	/* Its line has been ended: not a second one. */
	assert_int_equal(b->chip.in_len, 0);
	b->chip.mute = false;
	b->chip.in_len = 0;
	await_state(b, DEVICE_READY, 1500);
}

/* What others say is no noise, nor is an echo in front of it. */
static void test_others_talk_behind_an_echo(void **state)
{
	struct bench *b = *state;

	return_at_a_raised_rate(b);
	chip_say(b, "+++\r\n+IPD,0,11:from others\r\n");
	bench_pass(b, 150 * TIMERS_MS);
	assert_int_not_equal(b->baud, 921600);
	b->chip.mute = false;
	b->chip.in_len = 0;
	await_state(b, DEVICE_READY, 2500);
}

/* It works on something else. */
static void test_busy_for_long(void **state)
{
	struct bench *b = *state;

	b->chip.mute = true;
	start(b);
	for (int i = 0; i < 40; i++) {
		bench_pass(b, 50 * TIMERS_MS);
		chip_say(b, "\r\nbusy p...\r\n");
	}
	b->chip.mute = false;
	b->chip.in_len = 0;
	await_state(b, DEVICE_READY, 1000);
}

/* Whatever it was silent for, and however long: at most the longest pause and one attempt. */
static void test_silent_chip(void **state)
{
	struct bench *b = *state;
	unsigned int worst = 0, took;

	for (unsigned int silent = 500; silent < 60000; silent += 1700) {
		teardown(state);
		setup_ready(state);
		b->chip.mute = true;
		assert_int_equal(device_reprobe(b->dev, NULL, NULL, NULL), 0);
		bench_pass(b, silent * TIMERS_MS);
		b->chip.mute = false;
		b->chip.in_len = 0;
		took = await_state(b, DEVICE_READY, 9000);
		worst = took > worst ? took : worst;
	}
	/* It does come to that. */
	assert_in_range(worst, 4000, 9000);
}

/* One that hangs for good, on a board that can reset it. */
static void test_reset_by_line(void **state)
{
	struct bench *b = *state;

	b->chip.mute = true;
	assert_int_equal(device_reprobe(b->dev, NULL, NULL, NULL), 0);
	await_state(b, DEVICE_FAILED, 9000);
	assert_int_equal(b->resets, 0);
	b->settings.reset = CONFIG_RESET_DTR_RTS;
	await_state(b, DEVICE_READY, 15000);
	assert_int_equal(b->resets, 1);
	assert_false(b->in_reset);
	/* One that does not start: once in each attempt. */
	chip_die_at(b, 1);
	assert_int_equal(device_reprobe(b->dev, NULL, NULL, NULL), 0);
	await_state(b, DEVICE_FAILED, 25000);
	assert_int_equal(b->resets, 2);
	await_state(b, DEVICE_FAILED, 25000);
	assert_int_equal(b->resets, 3);
	/* It is let go whatever comes between. */
	await_state(b, DEVICE_PROBING, 25000);
	for (int ms = 0; ms < 25000 && !b->in_reset; ms++)
		bench_pass(b, TIMERS_MS);
	assert_true(b->in_reset);
	device_port_closing(b->dev);
	assert_false(b->in_reset);
	device_port_down(b->dev, "gone");
	assert_int_equal(b->resets, 4);
	/* A port that has no such lines. */
	b->no_dtr = true;
	start(b);
	await_state(b, DEVICE_FAILED, 25000);
	assert_int_equal(b->resets, 4);
}

/* A command that may take 15 s, and its answer is lost; one that is asked of a chip that hangs. */
static void test_lost_answer(void **state)
{
	struct bench *b = *state;

	for (int hangs = 0; hangs < 2; hangs++) {
		teardown(state);
		setup(state);
		chip_answer(b, "AT+SYSMFG=1", NULL, 1);
		start(b);
		await_state(b, DEVICE_PROVISIONING, 1000);
		b->chip.mute = hangs;
		await_state(b, DEVICE_PROBING, hangs ? 7100 : 2100);
		b->chip.mute = false;
		/* It may have to be tried once more, or filled up in vain. */
		await_state(b, DEVICE_READY, hangs ? 2500 : 100);
	}
}

/* One that works on it for as long as it likes is left alone. */
static void test_long_command(void **state)
{
	struct bench *b = *state;

	chip_answer(b, "AT+CWJAP=", chip_works, 1);
	start(b);
	await_state(b, DEVICE_JOINING, 1000);
	bench_pass(b, 16 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_JOINING);
	b->chip.joined = true;
	chip_say(b, "WIFI CONNECTED\r\nWIFI GOT IP\r\n\r\nOK\r\n");
	assert_int_equal(b->dev->state, DEVICE_READY);
}

static void test_wifi_that_does_not_come_back(void **state)
{
	struct bench *b = *state;

	b->chip.joined = false;
	chip_say(b, "WIFI DISCONNECT\r\n");
	assert_int_equal(await_state(b, DEVICE_READY, 2600) >= 2500, 1);
	assert_int_equal(count_of(b->chip.told, "AT+CWJAP="), 1);
}

/* It is about to: it gets the time for it. */
static void test_wifi_that_is_on_its_way(void **state)
{
	struct bench *b = *state;

	b->chip.joined = false;
	chip_answer(b, "AT+CWSTATE?", "+CWSTATE:4,\"lab\"\r\n\r\nOK\r\n", 1);
	chip_answer(b, "AT+CWSTATE?", "+CWSTATE:3,\"lab\"\r\n\r\nOK\r\n", -1);
	chip_say(b, "WIFI DISCONNECT\r\n");
	bench_pass(b, 7900 * TIMERS_MS);
	assert_int_equal(b->dev->state, DEVICE_JOINING);
	assert_null(strstr(b->chip.told, "AT+CWJAP="));
	await_state(b, DEVICE_READY, 200);
	assert_non_null(strstr(b->chip.told, "AT+CWJAP="));
}

/* However often it has failed. */
static void test_network_that_is_away(void **state)
{
	struct bench *b = *state;

	chip_answer(b, "AT+CWJAP=", "+CWJAP:3\r\n\r\nERROR\r\n", 20);
	start(b);
	await_state(b, DEVICE_FAILED, 1000);
	for (int i = 0; i < 18; i++) {
		await_state(b, DEVICE_JOINING, 1200);
		await_state(b, DEVICE_FAILED, 100);
	}
	b->chip.answers[0].times = 0;
	await_state(b, DEVICE_READY, 1200);
}

#define T(name, setup) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_block_of_somebody_else, setup),
		T(test_block_at_a_raised_rate, setup),
		T(test_our_own_block, setup),
		T(test_send_of_somebody_else, setup),
		T(test_prompt_that_is_late, setup),
		T(test_prompt_that_is_late_at_a_raised_rate, setup),
		T(test_send_is_cancelled_while_others_talk, setup),
		T(test_others_talk_behind_an_echo, setup),
		T(test_busy_for_long, setup),
		T(test_silent_chip, setup_ready),
		T(test_reset_by_line, setup_ready),
		T(test_lost_answer, setup),
		T(test_long_command, setup),
		T(test_wifi_that_does_not_come_back, setup_ready),
		T(test_wifi_that_is_on_its_way, setup_ready),
		T(test_network_that_is_away, setup),
	};

	return cmocka_run_group_tests_name("recovery", tests, NULL, NULL);
}
