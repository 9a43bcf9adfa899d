/* SPDX-License-Identifier: MIT */
/* device/step-line: a higher rate and RTS/CTS, proven, and given up where they do not work. */
#include "test.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "device/internal.h"
#include "fake-chip.h"

void __wrap_log_msg(enum log_level level, const char *format, ...);

static unsigned int warnings; /* that were told, or worse */

void __wrap_log_msg(enum log_level level, const char *format, ...)
{
	warnings += level <= LOG_LEVEL_WARNING;
}

#define RATE(rate) "AT+UART_CUR=" rate ",8,1,0,0|"
#define RTSCTS(rate) "AT+UART_CUR=" rate ",8,1,0,3|"
#define PROOFS "ATE1|(overlong)|(overlong)|(overlong)|(overlong)|"

static int setup(void **state)
{
	static struct bench b;

	warnings = 0;
	bench_init(&b);
	*state = &b;
	return 0;
}

static int teardown(void **state)
{
	bench_free(*state);
	return 0;
}

static void assert_line(struct bench *b, unsigned int baud, bool rtscts)
{
	if (b->dev->state != DEVICE_READY)
		fail_msg("%s: %s", device_state_name(b->dev->state), b->dev->error);
	assert_int_equal(device_baud(b->dev), baud);
	assert_int_equal(b->baud, baud);
	assert_int_equal(b->chip.baud, baud);
	assert_int_equal(b->dev->rtscts, rtscts);
	assert_int_equal(b->rtscts, rtscts);
	assert_false(b->held);
	assert_false(b->chip.echo);
}

/* It restarts by itself, and says so at the rate of its start. */
static void restart(struct bench *b)
{
	chip_forget(b);
	/* Both at the rate at which it can be heard. */
	b->chip.baud = b->baud = b->dev->baud = 115200;
	b->chip.flow = 1;
	b->chip.echo = true;
	chip_say(b, "\r\nready\r\n");
	for (int i = 0; i < 60 && b->dev->state != DEVICE_READY; i++)
		bench_pass(b, 1 * TIMERS_S);
}

static void test_nothing_to_do(void **state)
{
	struct bench *b = *state;

	bench_up(b);
	assert_line(b, 115200, false);
	assert_null(strstr(b->states, "tuning"));
	assert_null(strstr(b->chip.told, "UART"));
	assert_string_equal(device_flow_error(b->dev), "");
}

static void test_raised(void **state)
{
	struct bench *b = *state;

	b->settings.max_baud = 3000000;
	b->facts = 0;
	bench_up(b);
	assert_line(b, 3000000, true);
	assert_non_null(strstr(b->states, ">configuring>tuning>provisioning>"));
	assert_non_null(
		strstr(b->chip.told, RATE("3000000") PROOFS RTSCTS("3000000") "(overlong)|ATE0|"));
	assert_true(b->facts & DEVICE_FACT_LINE);
	assert_int_equal(warnings, 0);
	/* The stalled proof is not repeated where nothing has changed. */
	restart(b);
	assert_line(b, 3000000, true);
}

static void test_flow_control_is_not_wanted(void **state)
{
	struct bench *b = *state;

	b->settings.max_baud = 921600;
	b->settings.flow_control = CONFIG_FLOW_NONE;
	bench_up(b);
	assert_line(b, 921600, false);
	assert_null(strstr(b->chip.told, RTSCTS("921600")));
}

/* Alone it is done at any rate. */
static void test_flow_control_alone(void **state)
{
	struct bench *b = *state;

	b->settings.flow_control = CONFIG_FLOW_RTSCTS;
	bench_up(b);
	assert_line(b, 115200, true);
}

/* Step by step; and what has failed is remembered for this chip, not for another. */
static void test_steps(void **state)
{
	struct bench *b = *state;

	b->settings.max_baud = 3000000;
	b->chip.silent_above = 1000000;
	bench_up(b);
	assert_line(b, 1000000, true);
	assert_non_null(strstr(b->chip.told, RATE("3000000")));
	assert_non_null(strstr(b->chip.told, RATE("2000000")));
	assert_non_null(strstr(b->chip.told, RATE("1500000")));
	assert_int_equal(warnings, 3);
	restart(b);
	assert_line(b, 1000000, true);
	assert_null(strstr(b->chip.told, "AT+UART_CUR=1500000"));
	assert_int_equal(warnings, 3);
	b->settings.adopt = CONFIG_ADOPT_ANY;
	b->chip.mac = "24:0a:c4:12:34:57";
	restart(b);
	assert_non_null(strstr(b->chip.told, RATE("3000000")));
	assert_line(b, 1000000, true);
}

static void test_nothing_works(void **state)
{
	struct bench *b = *state;

	b->settings.max_baud = 921600;
	b->chip.silent_above = 115200;
	bench_up(b);
	assert_line(b, 115200, false);
}

/* A byte that is lost while it cannot be held up. */
static void test_rts_is_not_wired(void **state)
{
	struct bench *b = *state;

	b->settings.max_baud = 921600;
	b->settings.flow_control = CONFIG_FLOW_RTSCTS;
	b->chip.no_rts = true;
	bench_up(b);
	assert_line(b, 921600, false);
	assert_int_equal(warnings, 1);
	restart(b);
	assert_line(b, 921600, false);
	assert_null(strstr(b->chip.told, RTSCTS("921600")));
	assert_int_equal(warnings, 1);
	assert_string_equal(device_flow_error(b->dev), "nothing came back");
	/* Who does not want it any more misses nothing. */
	b->settings.flow_control = CONFIG_FLOW_NONE;
	assert_string_equal(device_flow_error(b->dev), "");
}

/* It goes back, although it says nothing. */
static void test_cts_is_not_wired(void **state)
{
	struct bench *b = *state;

	b->settings.max_baud = 921600;
	b->chip.no_cts = true;
	bench_up(b);
	assert_line(b, 921600, false);
	assert_int_equal(b->chip.flow, 0);
}

static void test_rts_cannot_be_seen(void **state)
{
	struct bench *b = *state;

	b->settings.max_baud = 921600;
	b->unseen = true;
	bench_up(b);
	assert_line(b, 921600, false);
	assert_null(strstr(b->chip.told, RTSCTS("921600")));
	assert_string_equal(device_flow_error(b->dev), "the chip's RTS cannot be seen");
	/* It is wired meanwhile, and the adapter plugged in again. */
	device_port_down(b->dev, "gone");
	b->unseen = false;
	b->chip.baud = b->baud = 115200;
	b->chip.flow = 1;
	bench_up(b);
	assert_line(b, 921600, true);
	assert_string_equal(device_flow_error(b->dev), "");
}

/* "auto" wants none at the rate of the start: what has failed above it is not missed there. */
static void test_flow_control_is_not_missed(void **state)
{
	struct bench *b = *state;

	b->settings.max_baud = 921600;
	b->unseen = true;
	bench_up_idle(b);
	assert_string_not_equal(device_flow_error(b->dev), "");
	device_start_over(b->dev, true);
	while (b->dev->state != DEVICE_TUNING)
		bench_pass(b, 10 * TIMERS_MS);
	assert_string_equal(device_flow_error(b->dev), "");
}

/* What stood in the way was of the chip that was there before. */
static void test_rts_of_another_chip(void **state)
{
	struct bench *b = *state;

	b->settings.flow_control = CONFIG_FLOW_RTSCTS;
	b->settings.adopt = CONFIG_ADOPT_ANY;
	b->unseen = true;
	bench_up_idle(b);
	assert_string_equal(device_flow_error(b->dev), "the chip's RTS cannot be seen");
	b->unseen = false;
	b->chip.mac = "24:0a:c4:12:34:57";
	chip_answer(b, "AT+UART_CUR", NULL, 1);
	b->chip.echo = true;
	chip_say(b, "\r\nready\r\n");
	while (b->dev->state != DEVICE_TUNING)
		bench_pass(b, 10 * TIMERS_MS);
	/* Also while nothing is proven yet. */
	assert_string_equal(device_flow_error(b->dev), "");
}

static void test_firmware_refuses(void **state)
{
	struct bench *b = *state;

	b->settings.max_baud = 3000000;
	chip_answer(b, "AT+UART_CUR=3000000", "\r\nERROR\r\n", -1);
	chip_answer(b, "AT+UART_CUR=2000000,8,1,0,3", "\r\nERROR\r\n", -1);
	bench_up(b);
	assert_line(b, 2000000, false);
}

/* The chip is not sent where nobody can follow. */
static void test_port_has_not_the_rate(void **state)
{
	struct bench *b = *state;

	b->settings.max_baud = 3000000;
	b->port_max = 921600;
	bench_up(b);
	assert_line(b, 921600, true);
	assert_null(strstr(b->chip.told, "AT+UART_CUR=1"));
	assert_null(strstr(b->chip.told, "AT+UART_CUR=3"));
}

static void test_port_has_no_rate(void **state)
{
	struct bench *b = *state;

	b->settings.max_baud = 3000000;
	b->settings.flow_control = CONFIG_FLOW_RTSCTS;
	b->line_error = -ENOTSUP;
	bench_up(b);
	assert_line(b, 115200, false);
	assert_null(strstr(b->chip.told, "UART"));
	assert_string_equal(device_flow_error(b->dev), "this port has none");
}

/* A report in the middle of what comes back is none of it, and is not lost. */
static void test_report_in_a_proof(void **state)
{
	struct bench *b = *state;

	b->settings.max_baud = 921600;
	b->settings.flow_control = CONFIG_FLOW_NONE;
	device_port_up(b->dev, 115200);
	while (!b->dev->proof.active) {
		if (bench_step(b))
			continue;
		assert_true(timers_next(&b->timers) < 60 * TIMERS_S);
		timers_set_now(&b->timers, timers_next(&b->timers));
		timers_run(&b->timers);
	}
	device_feed(b->dev, (const uint8_t *)"WIFI CONN", 9);
	device_feed(b->dev, (const uint8_t *)"ECTED\r\n", 7);
	for (int i = 0; i < 20; i++)
		bench_pass(b, 1 * TIMERS_S);
	assert_line(b, 921600, false);
	assert_int_equal(warnings, 0);
}

/* Another espatd was killed: the chip is found at each rate that it may have, in time. */
static void test_found_at_a_raised_rate(void **state)
{
	static const unsigned int rates[] = { 3000000, 1000000, 230400, 115200 };
	struct bench *b = *state;

	b->settings.max_baud = 3000000;
	for (size_t i = 0; i < sizeof(rates) / sizeof(*rates); i++) {
		uint64_t began;

		bench_remake(b);
		chip_forget(b);
		b->baud = 115200;
		b->chip.baud = rates[i];
		b->chip.echo = false;
		began = b->timers.now;
		device_port_up(b->dev, 115200);
		while (b->dev->state == DEVICE_PROBING)
			bench_pass(b, 10 * TIMERS_MS);
		assert_true(b->dev->state > DEVICE_PROBING && b->dev->state != DEVICE_FAILED);
		assert_true(b->timers.now - began < 3 * TIMERS_S);
		for (int k = 0; k < 20; k++)
			bench_pass(b, 1 * TIMERS_S);
		assert_line(b, 3000000, true);
	}
}

/* Its `ready` was noise: half a line, and then nothing. */
static void test_restart_that_is_noise(void **state)
{
	struct bench *b = *state;

	b->settings.max_baud = 921600;
	bench_up_idle(b);
	device_feed(b->dev, (const uint8_t *)"\x81\xfe\x03", 3);
	b->chip.baud = 115200;
	b->chip.flow = 1;
	b->chip.echo = true;
	for (int i = 0; i < 20; i++)
		bench_pass(b, 1 * TIMERS_S);
	assert_line(b, 921600, true);
	assert_non_null(strstr(b->states, ">probing>identifying>"));
	assert_int_equal(device_resets(b->dev), 1);
}

/* The rest of a line is only late: it is asked for once, and nothing is given up. */
static void test_half_a_line(void **state)
{
	struct bench *b = *state;

	b->settings.max_baud = 921600;
	bench_up_idle(b);
	b->chip.mute = true;
	for (int i = 0; i < 5; i++) {
		device_feed(b->dev, (const uint8_t *)(i ? "OT" : "WIFI G"), i ? 2 : 6);
		bench_pass(b, 100 * TIMERS_MS);
	}
	assert_string_equal(b->chip.told, "");
	bench_pass(b, 100 * TIMERS_MS);
	assert_string_equal(b->chip.told, "AT|");
	device_feed(b->dev, (const uint8_t *)"\r\n\r\nOK\r\n", 8);
	b->chip.mute = false;
	bench_pass(b, 5 * TIMERS_S);
	assert_line(b, 921600, true);
	assert_null(strstr(b->states, "probing"));
}

static void test_bytes_are_lost(void **state)
{
	struct bench *b = *state;

	bench_up_idle(b);
	device_bytes_lost(b->dev, "overruns 1");
	assert_int_equal(b->dev->state, DEVICE_PROBING);
	bench_pass(b, 5 * TIMERS_S);
	assert_line(b, 115200, false);
	/* While it is looked for, nobody minds. */
	device_port_down(b->dev, "gone");
	device_bytes_lost(b->dev, "overruns 1");
	assert_int_equal(b->dev->state, DEVICE_ABSENT);
}

static void test_port_is_closed(void **state)
{
	struct bench *b = *state;

	b->settings.max_baud = 921600;
	bench_up_idle(b);
	device_port_closing(b->dev);
	assert_true(bench_step(b));
	assert_string_equal(b->chip.told, RATE("115200"));
}

/* What is written then might become a part of a block. */
static void test_port_is_closed_in_a_command(void **state)
{
	struct bench *b = *state;

	b->settings.max_baud = 921600;
	bench_up_idle(b);
	chip_answer(b, "AT+SYSTIMESTAMP=", NULL, 1);
	device_sync_clock(b->dev);
	bench_run(b);
	assert_int_equal(count_of(b->chip.told, "AT+SYSTIMESTAMP="), 1);
	chip_forget(b);
	device_port_closing(b->dev);
	bench_run(b);
	assert_string_equal(b->chip.told, "");
}

static void test_port_is_closed_at_the_first_rate(void **state)
{
	struct bench *b = *state;

	bench_up_idle(b);
	device_port_closing(b->dev);
	bench_run(b);
	assert_string_equal(b->chip.told, "");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_nothing_to_do),
		T(test_raised),
		T(test_flow_control_is_not_wanted),
		T(test_flow_control_alone),
		T(test_steps),
		T(test_nothing_works),
		T(test_rts_is_not_wired),
		T(test_cts_is_not_wired),
		T(test_rts_cannot_be_seen),
		T(test_flow_control_is_not_missed),
		T(test_rts_of_another_chip),
		T(test_firmware_refuses),
		T(test_port_has_not_the_rate),
		T(test_port_has_no_rate),
		T(test_report_in_a_proof),
		T(test_found_at_a_raised_rate),
		T(test_restart_that_is_noise),
		T(test_half_a_line),
		T(test_bytes_are_lost),
		T(test_port_is_closed),
		T(test_port_is_closed_in_a_command),
		T(test_port_is_closed_at_the_first_rate),
	};

	return cmocka_run_group_tests_name("tuning", tests, NULL, NULL);
}
