/* SPDX-License-Identifier: MIT */
/* device/step-chip: the chip that belongs to a device gets its secrets, and no other one. */
#include "test.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "fake-chip.h"
#include "util/log.h"

void __wrap_log_msg(enum log_level level, const char *format, ...);

static unsigned int errors; /* that were told */

void __wrap_log_msg(enum log_level level, const char *format, ...)
{
	errors += level == LOG_LEVEL_ERROR;
}

#define OURS "24:0a:c4:12:34:56"
#define OTHER "24:0a:c4:12:34:57"

/* All that a chip is told before it is known. */
#define LOOK "ATE1|ATESPATD0123456789ABCDEF|ATE0|AT+GMR|AT+CMD?|AT+CIPSTAMAC?|AT+CIPSTAMAC?|"

static int setup(void **state)
{
	static char state_dir[] = "/state";
	static struct bench b;

	errors = 0;
	bench_init(&b);
	b.config.state_dir = state_dir;
	*state = &b;
	return 0;
}

static int teardown(void **state)
{
	bench_free(*state);
	return 0;
}

static void assert_ready(struct bench *b)
{
	if (b->dev->state != DEVICE_READY)
		fail_msg("%s: %s", device_state_name(b->dev->state), b->dev->error);
	assert_true(chip_holds(b, "client_key.0", &b->key));
	assert_non_null(strstr(b->chip.told, "AT+CWJAP="));
}

/* It has got nothing, and nobody can use it. */
static void assert_unknown(struct bench *b, const char *told)
{
	const char *after_plus = strstr(b->chip.told, "+++") == b->chip.told ? "+++|" : "";

	assert_string_equal(device_state_name(b->dev->state), "unknown-chip");
	assert_string_equal(b->chip.told + strlen(after_plus), told);
	assert_int_equal(b->chip.writes, 0);
	assert_false(b->chip.joined);
	assert_null(device_free_link(b->dev));
}

/* Again and again, and told once. */
static void assert_fails(struct bench *b, const char *why)
{
	unsigned int tries = 0;

	for (int i = 0; i < 60; i++) {
		assert_string_equal(b->dev->error, why);
		assert_null(strstr(b->chip.told, "AT+SYSSTORE"));
		assert_null(strstr(b->chip.told, "AT+SYSMFG"));
		assert_null(strstr(b->chip.told, "AT+CWJAP"));
		assert_null(device_free_link(b->dev));
		tries += strstr(b->chip.told, "AT+CIPSTAMAC?") != NULL;
		chip_forget(b);
		bench_pass(b, 5 * TIMERS_S);
	}
	assert_in_range(tries, 30, 45);
	assert_int_equal(errors, 1);
}

static void test_first_is_remembered(void **state)
{
	struct bench *b = *state;

	bench_up(b);
	assert_ready(b);
	assert_string_equal(b->known, OURS);
	assert_int_equal(b->remembers, 1);
	assert_string_equal(b->states, ">probing>identifying>configuring>provisioning>joining"
				       ">setting-clock>ready");
	/* And known from then on. */
	bench_remake(b);
	bench_up(b);
	assert_ready(b);
	assert_int_equal(b->remembers, 1);
	assert_int_equal(errors, 0);
}

/* Remembered before it has got anything. */
static void test_remembered_first(void **state)
{
	struct bench *b = *state;

	chip_answer(b, "AT+SYSSTORE=0", NULL, -1);
	device_port_up(b->dev, 115200);
	bench_pass(b, 3 * TIMERS_S);
	assert_non_null(strstr(b->chip.told, "AT+SYSSTORE=0|"));
	assert_string_equal(b->known, OURS);
	assert_int_equal(b->chip.writes, 0);
}

static void test_another_chip(void **state)
{
	struct bench *b = *state;

	strcpy(b->known, OTHER);
	bench_up(b);
	assert_unknown(b, LOOK);
	assert_string_equal(b->states, ">probing>identifying>unknown-chip");
	assert_string_equal(b->dev->error,
			    "the chip " OURS " is not the one of this device, " OTHER);
	/* However long. */
	bench_pass(b, 3600 * TIMERS_S);
	assert_unknown(b, LOOK);
	assert_string_equal(b->known, OTHER);
	assert_int_equal(b->remembers, 0);
	/* In service there is nothing to be written to it either. */
	device_provision(b->dev);
	device_sync_clock(b->dev);
	bench_pass(b, 60 * TIMERS_S);
	assert_unknown(b, LOOK);
	assert_int_equal(errors, 1);
}

/* A digit that the line has changed neither turns our chip away nor makes it another one for good. */
static void test_damaged_address(void **state)
{
	static const char *const damaged[] = {
		"+CIPSTAMAC:\"24:0a:c4:12:34:57\"\r\n\r\nOK\r\n",
		"+CIPSTAMAC:\"24:0a:c4:12:34:5x\"\r\n\r\nOK\r\n",
	};
	struct bench *b = *state;

	/* Known; then at the first contact. */
	for (int first = 0; first < 2; first++) {
		strcpy(b->known, first ? "" : OURS);
		b->chip.joined = false;
		bench_remake(b);
		chip_answer(b, "AT+CIPSTAMAC?", damaged[0], 1);
		bench_up(b);
		assert_ready(b);
		assert_string_equal(b->known, OURS);
		assert_int_equal(count_of(b->chip.told, "AT+CIPSTAMAC?|"), first ? 3 : 2);
		assert_string_equal(b->dev->mac, OURS);
		chip_forget(b);
	}
	assert_int_equal(errors, 0);
	/* What is no address is none. */
	b->chip.joined = false;
	bench_remake(b);
	chip_answer(b, "AT+CIPSTAMAC?", damaged[1], 1);
	bench_up(b);
	assert_string_equal(b->dev->error, "the chip does not tell its MAC address");
	bench_pass(b, 30 * TIMERS_S);
	assert_ready(b);
}

/* Never the same twice: of no use, and not asked for ever. */
static void test_address_that_changes(void **state)
{
	struct bench *b = *state;
	char reply[4][48];

	for (int i = 0; i < 4; i++) {
		snprintf(reply[i], sizeof(reply[i]),
			 "+CIPSTAMAC:\"24:0a:c4:12:34:6%d\"\r\n\r\nOK\r\n", i);
		chip_answer(b, "AT+CIPSTAMAC?", reply[i], 1);
	}
	chip_answer(b, "AT+CIPSTAMAC?", "+CIPSTAMAC:\"24:0a:c4:12:34:70\"\r\n\r\nOK\r\n", 1);
	bench_up(b);
	assert_int_equal(b->dev->state, DEVICE_FAILED);
	assert_string_equal(b->dev->error, "the chip tells another MAC address each time");
	assert_string_equal(b->known, "");
	bench_pass(b, 30 * TIMERS_S);
	assert_ready(b);
	assert_string_equal(b->known, OURS);
}

static void test_accepted_later(void **state)
{
	struct bench *b = *state;
	unsigned int recalls;

	strcpy(b->known, OTHER);
	bench_up(b);
	/* It is looked every 2 s. */
	recalls = b->recalls;
	bench_pass(b, 20 * TIMERS_S);
	assert_unknown(b, LOOK);
	assert_int_equal(b->recalls - recalls, 10);
	strcpy(b->known, OURS);
	bench_pass(b, 2 * TIMERS_S);
	assert_int_not_equal(b->dev->state, DEVICE_UNKNOWN_CHIP);
	bench_pass(b, 20 * TIMERS_S);
	assert_ready(b);
	assert_int_equal(b->remembers, 0);
	assert_string_equal(b->dev->error, "");
	assert_int_equal(errors, 1);
}

/* What was remembered is forgotten: the one that is there becomes the first. */
static void test_forgotten(void **state)
{
	struct bench *b = *state;

	strcpy(b->known, OTHER);
	bench_up(b);
	strcpy(b->known, "");
	bench_pass(b, 30 * TIMERS_S);
	assert_ready(b);
	assert_string_equal(b->known, OURS);
	assert_int_equal(b->remembers, 1);
}

/* A restart of it, or another start of ours, is no news. */
static void test_told_once(void **state)
{
	struct bench *b = *state;

	strcpy(b->known, OTHER);
	bench_up(b);
	assert_int_equal(errors, 1);
	for (int i = 0; i < 3; i++) {
		chip_forget(b);
		b->chip.echo = true;
		chip_say(b, "\r\nready\r\n");
		bench_pass(b, 5 * TIMERS_S);
		assert_unknown(b, LOOK);
	}
	assert_int_equal(errors, 1);
	/* Another one is. */
	b->chip.mac = "24:0a:c4:00:00:00";
	chip_say(b, "\r\nready\r\n");
	bench_pass(b, 5 * TIMERS_S);
	assert_int_equal(errors, 2);
	assert_int_equal(b->dev->state, DEVICE_UNKNOWN_CHIP);
	/* And goes on by itself when the right one is there. */
	b->chip.mac = OTHER;
	chip_say(b, "\r\nready\r\n");
	bench_pass(b, 20 * TIMERS_S);
	assert_ready(b);
}

static void on_closed(void *user, enum link_end end)
{
	*(enum link_end *)user = end;
}

static void on_opened(void *user)
{
}

/* In service: chips are changed under power, and the new one says `ready`. */
static void test_changed_in_service(void **state)
{
	static const struct link_ops ops = { .opened = on_opened, .closed = on_closed };
	static const struct link_target target = {
		.host = "a",
		.port = 1,
		.server_name = "a",
		.auth = LINK_AUTH_MUTUAL,
	};
	struct bench *b = *state;
	enum link_end end = LINK_END_PEER;

	bench_up(b);
	assert_ready(b);
	assert_int_equal(link_open(device_free_link(b->dev), &target, &ops, &end), 0);
	bench_run(b);
	chip_forget(b);
	memset(b->chip.nvs, 0, sizeof(b->chip.nvs));
	b->chip.n_nvs = b->chip.writes = 0;
	b->chip.joined = false;
	b->chip.echo = true;
	b->chip.mac = OTHER;
	chip_say(b, "\r\nready\r\n");
	bench_pass(b, 60 * TIMERS_S);
	assert_unknown(b, LOOK);
	assert_int_equal(end, LINK_END_RESET);
	assert_int_equal(b->dev->links[0].state, LINK_FREE);
	/* A port that goes and comes back shows the right one again. */
	device_port_down(b->dev, "unplugged");
	b->chip.mac = OURS;
	bench_up(b);
	assert_ready(b);
}

static void test_pinned(void **state)
{
	static char lower[] = "24:0a:c4:ab:cd:ef", wrong[] = "24:0a:c4:ab:cd:e0";
	struct bench *b = *state;

	/* What is remembered does not count. */
	strcpy(b->known, OTHER);
	b->settings.mac = lower;
	b->chip.mac = "24:0A:C4:AB:CD:EF";
	bench_up(b);
	assert_ready(b);
	b->chip.mac = lower;
	bench_remake(b);
	bench_up(b);
	assert_ready(b);
	b->settings.mac = wrong;
	b->chip.joined = false;
	b->chip.writes = 0;
	b->chip.echo = true;
	bench_remake(b);
	chip_forget(b);
	bench_up(b);
	assert_unknown(b, LOOK);
	assert_string_equal(b->dev->error,
			    "the chip 24:0a:c4:ab:cd:ef is not the one of this device, "
			    "24:0a:c4:ab:cd:e0");
	bench_pass(b, 60 * TIMERS_S);
	assert_unknown(b, LOOK);
	assert_int_equal(b->recalls, 0);
	assert_int_equal(b->remembers, 0);
	assert_string_equal(b->known, OTHER);
}

static void test_any(void **state)
{
	struct bench *b = *state;

	strcpy(b->known, OTHER);
	b->settings.adopt = CONFIG_ADOPT_ANY;
	bench_up(b);
	assert_ready(b);
	assert_string_equal(b->known, OTHER);
	assert_int_equal(b->recalls, 0);
	assert_int_equal(b->remembers, 0);
}

/* What cannot be read is no permission. */
static void test_recall_fails(void **state)
{
	struct bench *b = *state;

	strcpy(b->known, OURS);
	b->recall_error = -EACCES;
	bench_up(b);
	assert_fails(b, "cannot read which chip belongs to this device in /state: "
			"Permission denied");
	b->recall_error = 0;
	bench_pass(b, 60 * TIMERS_S);
	assert_ready(b);
	assert_int_equal(b->remembers, 0);
}

static void test_recall_fails_later(void **state)
{
	struct bench *b = *state;

	strcpy(b->known, OTHER);
	bench_up(b);
	/* The content counts for nothing then. */
	strcpy(b->known, "");
	b->recall_error = -EBADMSG;
	bench_pass(b, 60 * TIMERS_S);
	assert_unknown(b, LOOK);
	strcpy(b->known, OTHER);
	b->recall_error = 0;
	bench_pass(b, 60 * TIMERS_S);
	assert_unknown(b, LOOK);
}

/* A chip that would be forgotten again gets nothing. */
static void test_remember_fails(void **state)
{
	struct bench *b = *state;

	b->remember_error = -EROFS;
	bench_up(b);
	assert_fails(b, "cannot remember the chip of this device in /state: "
			"Read-only file system");
	b->remember_error = 0;
	bench_pass(b, 60 * TIMERS_S);
	assert_ready(b);
	assert_string_equal(b->known, OURS);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_first_is_remembered),
		T(test_remembered_first),
		T(test_another_chip),
		T(test_damaged_address),
		T(test_address_that_changes),
		T(test_accepted_later),
		T(test_forgotten),
		T(test_told_once),
		T(test_changed_in_service),
		T(test_pinned),
		T(test_any),
		T(test_recall_fails),
		T(test_recall_fails_later),
		T(test_remember_fails),
	};

	return cmocka_run_group_tests_name("chip", tests, NULL, NULL);
}
