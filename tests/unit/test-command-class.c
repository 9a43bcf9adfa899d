/* SPDX-License-Identifier: MIT */
/* device: which commands are harmless, which may do anything, which are never said; and saying one. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/internal.h"
#include "device/request.h"
#include "fake-chip.h"
#include "log-capture.h"
#include "util/log.h"

/* ---- classes ---- */

/* With AT+CWJAP= in front, 254 bytes: the longest line. */
#define LONG_ARG                                                                                   \
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567" \
	"8901234567890123456789012345678901234567890123456789012345678901234567890123456789012345" \
	"678901234567890123456789012345678901234567890123456789012345678901234"

static const struct {
	const char *line;
	enum device_command_class class;
} lines[] = {
	/* it asks, and no more */
	{ "AT", DEVICE_COMMAND_HARMLESS },
	{ "at", DEVICE_COMMAND_HARMLESS },
	{ "AT+GMR", DEVICE_COMMAND_HARMLESS },
	{ "At+gMr", DEVICE_COMMAND_HARMLESS },
	{ "AT+CMD?", DEVICE_COMMAND_HARMLESS },
	{ "AT+SYSRAM?", DEVICE_COMMAND_HARMLESS },
	{ "AT+CWJAP?", DEVICE_COMMAND_HARMLESS },
	{ "AT+CWSTATE?", DEVICE_COMMAND_HARMLESS },
	{ "AT+CIPSTA?", DEVICE_COMMAND_HARMLESS },
	{ "AT+CIPSTAMAC?", DEVICE_COMMAND_HARMLESS },
	{ "AT+CIPSTATUS", DEVICE_COMMAND_HARMLESS },
	{ "AT+CIPSTATE?", DEVICE_COMMAND_HARMLESS },
	{ "AT+SYSTIMESTAMP?", DEVICE_COMMAND_HARMLESS },
	{ "AT+CIPSNTPTIME?", DEVICE_COMMAND_HARMLESS },
	{ "AT+CIPSNTPCFG?", DEVICE_COMMAND_HARMLESS },
	{ "AT+UART_CUR?", DEVICE_COMMAND_HARMLESS },
	{ "AT+UART_DEF?", DEVICE_COMMAND_HARMLESS },
	{ "AT+SYSTEMP?", DEVICE_COMMAND_HARMLESS },
	{ "AT+SYSLOG?", DEVICE_COMMAND_HARMLESS },
	{ "AT+CIPSSLCCONF?", DEVICE_COMMAND_HARMLESS },
	/* the same names, said otherwise */
	{ "AT?", DEVICE_COMMAND_RAW },
	{ "AT+GMR?", DEVICE_COMMAND_RAW },
	{ "AT+GMR=1", DEVICE_COMMAND_RAW },
	{ "AT+CMD", DEVICE_COMMAND_RAW },
	{ "AT+CMD=?", DEVICE_COMMAND_RAW },
	{ "AT+SYSRAM", DEVICE_COMMAND_RAW },
	{ "AT+SYSRAM=0x1800", DEVICE_COMMAND_RAW },
	{ "AT+CWJAP", DEVICE_COMMAND_RAW },
	{ "AT+CWJAP=\"lab\",\"hunter2\"", DEVICE_COMMAND_RAW },
	{ "AT+SYSTIMESTAMP=1", DEVICE_COMMAND_RAW },
	{ "AT+CIPSTA=\"10.0.2.77\"", DEVICE_COMMAND_RAW },
	{ "AT+CIPSTATUS?", DEVICE_COMMAND_RAW },
	{ "AT+SYSLOG=1", DEVICE_COMMAND_RAW },
	/* others, known and not */
	{ "ATE0", DEVICE_COMMAND_RAW },
	{ "AT+CWQAP", DEVICE_COMMAND_RAW },
	{ "AT+CWMODE=1", DEVICE_COMMAND_RAW },
	{ "AT+CWLAP", DEVICE_COMMAND_NEVER }, /* a name may hold anything */
	{ "AT+CWJAP=\"l\xc3\xa4"
	  "b\"",
	  DEVICE_COMMAND_RAW },
	{ "AT+PING=\"10.0.2.2\"", DEVICE_COMMAND_RAW },
	{ "AT+CIPDOMAIN=\"broker.example\"", DEVICE_COMMAND_RAW },
	{ "AT+CIPCLOSE=0", DEVICE_COMMAND_RAW },
	{ "AT+CWSAP=\"ap\",\"password\",1,3", DEVICE_COMMAND_RAW },
	{ "AT+SLEEP=0", DEVICE_COMMAND_RAW },
	{ "AT+SLEEP=1", DEVICE_COMMAND_RAW },
	{ "AT+SYSMSGFILTER?", DEVICE_COMMAND_RAW },
	{ "AT+SYSROLLBACK?", DEVICE_COMMAND_RAW },
	{ "AT+CIUPDATE?", DEVICE_COMMAND_RAW },
	{ "AT+USERRAM?", DEVICE_COMMAND_RAW },
	{ "AT+NO_SUCH1", DEVICE_COMMAND_RAW },
	/* no command line, or more than one */
	{ "", DEVICE_COMMAND_NEVER },
	{ "XYZ", DEVICE_COMMAND_NEVER },
	{ "+++", DEVICE_COMMAND_NEVER },
	{ " AT", DEVICE_COMMAND_NEVER },
	{ "AT ", DEVICE_COMMAND_NEVER },
	{ "AT +SYSMFG?", DEVICE_COMMAND_NEVER },
	{ "AT+ SYSMFG?", DEVICE_COMMAND_NEVER },
	{ "AT+SYSMFG ?", DEVICE_COMMAND_NEVER },
	{ "AT+GMR ", DEVICE_COMMAND_NEVER },
	{ "AT+SYSRAM? ", DEVICE_COMMAND_NEVER },
	{ "AT+SYSRAM?\r\nAT+RST", DEVICE_COMMAND_NEVER },
	{ "AT+SYSRAM?\n", DEVICE_COMMAND_NEVER },
	{ "AT+CWJAP=\"a\r\",\"b\"", DEVICE_COMMAND_NEVER },
	{ "AT+CWJAP=\"a\t\",\"b\"", DEVICE_COMMAND_NEVER },
	{ "AT\x7f", DEVICE_COMMAND_NEVER },
	{ "\x1b[2JAT", DEVICE_COMMAND_NEVER },
	{ "AT+", DEVICE_COMMAND_NEVER },
	{ "AT+?", DEVICE_COMMAND_NEVER },
	{ "AT+A-B", DEVICE_COMMAND_NEVER },
	{ "AT+GMR;+RST", DEVICE_COMMAND_NEVER },
	{ "AT+SYS\xc3\xa4?", DEVICE_COMMAND_NEVER },
	{ "ATAT+SYSMFG?", DEVICE_COMMAND_NEVER },
	{ "ATX", DEVICE_COMMAND_NEVER },
	{ "AT+ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZ", DEVICE_COMMAND_NEVER },
	{ "AT+CWJAP=" LONG_ARG, DEVICE_COMMAND_RAW },
	{ "AT+CWJAP=" LONG_ARG "7", DEVICE_COMMAND_NEVER },
	/* secrets */
	{ "AT+SYSMFG?", DEVICE_COMMAND_NEVER },
	{ "AT+SYSMFG", DEVICE_COMMAND_NEVER },
	{ "at+sysmfg?", DEVICE_COMMAND_NEVER },
	{ "aT+SySmFg=1,\"client_key\",\"client_key.0\"", DEVICE_COMMAND_NEVER },
	{ "AT+SYSMFG=2,\"client_ca\",\"client_ca.0\",8,10", DEVICE_COMMAND_NEVER },
	{ "AT+SYSFLASH?", DEVICE_COMMAND_NEVER },
	{ "AT+SYSFLASH=2,\"mfg_nvs\",0,4096", DEVICE_COMMAND_NEVER },
	{ "AT+SYSREG=1,0x3ff00000", DEVICE_COMMAND_NEVER },
	{ "AT+USERRAM=1,0,10", DEVICE_COMMAND_NEVER },
	{ "AT+FS=0,2,\"f\",0,10", DEVICE_COMMAND_NEVER },
	{ "AT+CIPSSLCPSK?", DEVICE_COMMAND_NEVER },
	{ "AT+CIPSSLCPSKHEX?", DEVICE_COMMAND_NEVER },
	{ "AT+CIPSSLCPSK=0,\"key\",\"id\"", DEVICE_COMMAND_NEVER },
	{ "AT+CWSAP?", DEVICE_COMMAND_NEVER },
	{ "AT+CWSAP_CUR?", DEVICE_COMMAND_NEVER },
	{ "AT+CWJEAP?", DEVICE_COMMAND_NEVER },
	{ "AT+CWSTARTSMART", DEVICE_COMMAND_NEVER },
	{ "AT+CWSTARTSMART=1", DEVICE_COMMAND_NEVER },
	{ "AT+MQTTUSERCFG?", DEVICE_COMMAND_NEVER },
	{ "AT+MQTTCONN?", DEVICE_COMMAND_NEVER },
	/* prompts and data */
	{ "AT+MQTTPUBRAW=0,\"t\",5,0,0", DEVICE_COMMAND_NEVER },
	{ "AT+HTTPCPOST=\"http://h\",5", DEVICE_COMMAND_NEVER },
	{ "AT+HTTPCGET=\"http://h\"", DEVICE_COMMAND_NEVER },
	{ "AT+WSOPEN=0,\"wss://h\"", DEVICE_COMMAND_NEVER },
	{ "AT+BLEINIT=1", DEVICE_COMMAND_NEVER },
	{ "AT+DRVI2CRD=0,1,1", DEVICE_COMMAND_NEVER },
	{ "AT+DRVSPIWR=1", DEVICE_COMMAND_NEVER },
	{ "AT+SYSMSGFILTERCFG=1,8,0", DEVICE_COMMAND_NEVER },
	{ "AT+CIPSEND", DEVICE_COMMAND_NEVER },
	{ "AT+CIPSEND=0,1", DEVICE_COMMAND_NEVER },
	{ "AT+CIPSENDL=0,1", DEVICE_COMMAND_NEVER },
	{ "AT+CIPSENDEX=0,1", DEVICE_COMMAND_NEVER },
	{ "AT+CIPRECVDATA=0,1", DEVICE_COMMAND_NEVER },
	{ "AT+CIPMODE=1", DEVICE_COMMAND_NEVER },
	{ "AT+SAVETRANSLINK=1,\"h\",1", DEVICE_COMMAND_NEVER },
	/* what the daemon counts on */
	{ "AT+CIPSTART=0,\"TCP\",\"h\",1", DEVICE_COMMAND_NEVER },
	{ "AT+CIPSTARTEX=\"TCP\",\"h\",1", DEVICE_COMMAND_NEVER },
	{ "AT+CIPSERVER=1", DEVICE_COMMAND_NEVER },
	{ "AT+CIPSSLCCONF=0,0", DEVICE_COMMAND_NEVER },
	{ "AT+CIPSSLCSNI=0,\"h\"", DEVICE_COMMAND_NEVER },
	{ "AT+CIPSSLCALPN=0,0", DEVICE_COMMAND_NEVER },
	{ "ATE1", DEVICE_COMMAND_NEVER },
	{ "ate1", DEVICE_COMMAND_NEVER },
	{ "AT+CIPMUX=0", DEVICE_COMMAND_NEVER },
	{ "AT+CIPDINFO=1", DEVICE_COMMAND_NEVER },
	{ "AT+CIPRECVMODE=1", DEVICE_COMMAND_NEVER },
	{ "AT+CIPRECVTYPE=5,1", DEVICE_COMMAND_NEVER },
	{ "AT+SYSMSG=7", DEVICE_COMMAND_NEVER },
	{ "AT+UART=115200,8,1,0,0", DEVICE_COMMAND_NEVER },
	{ "AT+UART_CUR=115200,8,1,0,0", DEVICE_COMMAND_NEVER },
	{ "AT+UART_DEF=115200,8,1,0,0", DEVICE_COMMAND_NEVER },
	{ "AT+RST", DEVICE_COMMAND_NEVER },
	{ "AT+RST=1", DEVICE_COMMAND_NEVER },
	{ "AT+RESTORE", DEVICE_COMMAND_NEVER },
	{ "AT+CIUPDATE", DEVICE_COMMAND_NEVER },
	{ "AT+CIUPDATE=1", DEVICE_COMMAND_NEVER },
	{ "AT+USEROTA=10", DEVICE_COMMAND_NEVER },
	{ "AT+SYSROLLBACK", DEVICE_COMMAND_NEVER },
	{ "AT+GSLP=1000", DEVICE_COMMAND_NEVER },
	{ "AT+SLEEP=2", DEVICE_COMMAND_NEVER },
	{ "AT+SLEEP=3", DEVICE_COMMAND_NEVER },
	{ "AT+SLEEP=01", DEVICE_COMMAND_NEVER },
	{ "AT+SYSLSP", DEVICE_COMMAND_NEVER },
};

static void test_classes(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		const char *why = device_command_refusal(lines[i].line);

		if (device_command_class(lines[i].line) != lines[i].class)
			fail_msg("%s: %d", lines[i].line, device_command_class(lines[i].line));
		/* Who is refused is told why. */
		assert_int_equal(why != NULL, lines[i].class == DEVICE_COMMAND_NEVER);
	}
}

/* What is on the list of harmless ones sets nothing and has no argument, whatever else is changed. */
static void test_harmless_is_a_question(void **state)
{
	static const char *const ends[] = { "=",  "=1", "=?",   "=\"\"", " ", "?x",
					    "?=", "\t", "\r\n", "?\r\n", ",1" };
	char line[300];

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		if (lines[i].class != DEVICE_COMMAND_HARMLESS)
			continue;
		for (size_t k = 0; k < ARRAY_SIZE(ends); k++) {
			snprintf(line, sizeof(line), "%.*s%s", (int)strcspn(lines[i].line, "?"),
				 lines[i].line, ends[k]);
			assert_int_not_equal(device_command_class(line), DEVICE_COMMAND_HARMLESS);
		}
	}
}

/* Any line at all has a class, and none but single lines of the firmware's length is ever said. */
static void test_random_lines(void **state)
{
	static const char letters[] = "AT+SYMFGRE?=,\"\\0 \r\n\x7f\xc3";
	uint64_t seed = 42;
	char line[300];

	for (int i = 0; i < 100000; i++) {
		size_t n = test_random_below(&seed, i % 2 ? 16 : sizeof(line) - 1);
		size_t start = test_random_below(&seed, 2) && n >= 3 ? 3 : 0;

		memcpy(line, "AT+", 3);
		for (size_t k = start; k < n; k++)
			line[k] = letters[test_random_below(&seed, sizeof(letters) - 1)];
		line[n] = '\0';
		if (device_command_class(line) == DEVICE_COMMAND_NEVER)
			continue;
		assert_true(n <= 254 && !strpbrk(line, "\r\n\x7f"));
		assert_true(strncasecmp(line, "AT", 2) == 0);
		assert_null(strcasestr(line, "AT+SYSMFG"));
	}
}

/* ---- saying one ---- */

struct outcome {
	int done;
	enum device_result result;
	char text[64];
	char lines[65536]; /* "line|" */
	size_t n_lines;
};

static struct outcome outcomes[2];

static void on_done(void *userdata, enum device_result result, const struct device_answer *answer)
{
	struct outcome *o = userdata;

	o->done++;
	o->result = result;
	o->n_lines = answer->n_lines;
	snprintf(o->text, sizeof(o->text), "%s", answer->text);
	for (size_t i = 0; i < answer->n_lines; i++) {
		size_t len = strlen(o->lines);

		snprintf(o->lines + len, sizeof(o->lines) - len, "%s|", answer->lines[i]);
	}
}

static struct outcome *command(struct bench *b, const char *line)
{
	memset(&outcomes[0], 0, sizeof(outcomes[0]));
	chip_forget(b);
	assert_int_equal(device_command(b->dev, line, on_done, &outcomes[0], NULL), 0);
	bench_pass(b, 0);
	return &outcomes[0];
}

static int setup(void **state)
{
	static struct bench b;

	log_set_level(LOG_LEVEL_DEBUG);
	bench_init(&b);
	b.chip.joined = true;
	bench_up(&b);
	assert_int_equal(b.dev->state, DEVICE_READY);
	bench_pass(&b, 5 * TIMERS_S);
	log_capture_reset();
	*state = &b;
	return 0;
}

static int teardown(void **state)
{
	bench_free(*state);
	log_set_level(LOG_LEVEL_INFO);
	return 0;
}

static void test_command(void **state)
{
	struct bench *b = *state;
	struct outcome *o = command(b, "at+cipsta?");

	assert_string_equal(b->chip.told,
			    "at+cipsta?|"); /* as it stands; the fake one knows it not */
	assert_int_equal(o->result, DEVICE_E_REFUSED);
	o = command(b, "AT+CIPSTA?");
	assert_int_equal(o->done, 1);
	assert_int_equal(o->result, DEVICE_OK);
	assert_string_equal(o->text, "");
	assert_string_equal(o->lines, "+CIPSTA:ip:\"10.0.2.15\"|+CIPSTA:gateway:\"10.0.2.2\"|"
				      "+CIPSTA:netmask:\"255.255.255.0\"|");
	o = command(b, "AT");
	assert_int_equal(o->result, DEVICE_OK);
	assert_int_equal(o->n_lines, 0);
	/* What the chip says besides its ERROR. */
	chip_answer(b, "AT+PING=", "+PING:TIMEOUT\r\n\r\nERROR\r\n", 1);
	o = command(b, "AT+PING=\"10.0.2.2\"");
	assert_int_equal(o->result, DEVICE_E_REFUSED);
	assert_string_equal(o->text, "the chip says ERROR");
	assert_string_equal(o->lines, "+PING:TIMEOUT|");
	/* Reports in the middle are none of its answer. */
	chip_answer(b, "AT+GMR", "AT version:1\r\n+TIME_UPDATED\r\nSDK version:2\r\n\r\nOK\r\n", 1);
	o = command(b, "AT+GMR");
	assert_string_equal(o->lines, "AT version:1|SDK version:2|");
	assert_int_equal(b->dev->state, DEVICE_READY);
}

static void test_never(void **state)
{
	struct bench *b = *state;

	chip_forget(b);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		if (lines[i].class == DEVICE_COMMAND_NEVER)
			assert_int_equal(
				device_command(b->dev, lines[i].line, on_done, &outcomes[0], NULL),
				-EINVAL);
	bench_pass(b, 10 * TIMERS_S);
	assert_string_equal(b->chip.told, "");
}

/* Nobody makes the daemon keep more than it wants to. */
static void test_answer_is_bounded(void **state)
{
	struct bench *b = *state;
	struct outcome *o;
	char line[64];

	chip_answer(b, "AT+CMD?", NULL, 1);
	o = command(b, "AT+CMD?");
	for (int i = 0; i < 1000; i++) {
		int n = snprintf(line, sizeof(line), "+CMD:%d,\"AT+X\",0,0,0,0\r\n", i);

		device_feed(b->dev, (uint8_t *)line, (size_t)n);
	}
	chip_say(b, "\r\nOK\r\n");
	assert_int_equal(o->result, DEVICE_OK);
	assert_int_equal(o->n_lines, DEVICE_ANSWER_LINES_MAX);
	assert_non_null(strstr(o->lines, "|+CMD:255,"));
	assert_null(strstr(o->lines, "|+CMD:256,"));
}

/* A raw command may hold a password, and so may its answer; its name may be known. */
static void test_raw_is_not_logged(void **state)
{
	struct bench *b = *state;
	struct outcome *o;

	chip_answer(b, "AT+CWSAP=", "+NOTE:xyzzy\r\n\r\nOK\r\n", 1);
	o = command(b, "AT+CWSAP=\"ap\",\"xyzzy\",1,3");
	assert_string_equal(o->lines, "+NOTE:xyzzy|");
	assert_null(strstr(logged, "xyzzy"));
	assert_non_null(strstr(logged, "esp0: a raw command is said: AT+CWSAP\n"));
	log_capture_reset();
	command(b, "AT+CIPSTA?");
	assert_null(strstr(logged, "raw"));
	assert_non_null(strstr(logged, "10.0.2.15"));
}

static void test_slow_answers(void **state)
{
	struct bench *b = *state;
	struct outcome *o;

	/* It may take its time ... */
	chip_answer(b, "AT+PING=", chip_works, 1);
	o = command(b, "AT+PING=\"10.0.2.2\"");
	bench_pass(b, 70 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_READY);
	chip_say(b, "+PING:12\r\n\r\nOK\r\n");
	assert_int_equal(o->result, DEVICE_OK);
	/* ... but where the answer was lost chip and host do not agree any more. */
	chip_answer(b, "AT+PING=", NULL, 1);
	o = command(b, "AT+PING=\"10.0.2.2\"");
	bench_pass(b, 10 * TIMERS_S);
	assert_int_equal(o->done, 1);
	assert_int_equal(o->result, DEVICE_E_TIMEOUT);
	assert_non_null(strstr(logged, "lost step with the chip (no answer to a command)"));
	assert_int_equal(b->dev->state, DEVICE_READY);
}

/* Somebody makes the chip leave its network: it comes back, and the answer is told all the same. */
static void test_raw_leaves_the_network(void **state)
{
	struct bench *b = *state;
	struct outcome *o = command(b, "AT+CWQAP");

	assert_int_equal(o->result, DEVICE_OK);
	assert_int_equal(b->dev->state, DEVICE_JOINING);
	bench_pass(b, 10 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_READY);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_harmless_is_a_question),
		cmocka_unit_test(test_random_lines),
		T(test_command),
		T(test_never),
		T(test_answer_is_bounded),
		T(test_raw_is_not_logged),
		T(test_slow_answers),
		T(test_raw_leaves_the_network),
	};

	return cmocka_run_group_tests_name("command-class", tests, NULL, NULL);
}
