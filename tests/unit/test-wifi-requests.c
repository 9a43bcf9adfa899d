/* SPDX-License-Identifier: MIT */
/* device: scan, join and leave as somebody asks for them, and what is sampled in idle time. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "device/internal.h"
#include "device/request.h"
#include "fake-chip.h"
#include "log-capture.h"
#include "util/log.h"

/* What became of a request. */
struct outcome {
	int done;
	enum device_result result;
	char text[256];
	struct device_ap aps[128];
	size_t n_aps;
};

static struct outcome outcomes[4];

static void on_done(void *userdata, enum device_result result, const struct device_answer *answer)
{
	struct outcome *o = userdata;

	o->done++;
	o->result = result;
	snprintf(o->text, sizeof(o->text), "%s", answer->text);
	assert_true(answer->n_aps <= ARRAY_SIZE(o->aps));
	o->n_aps = answer->n_aps;
	for (size_t i = 0; i < answer->n_aps; i++)
		o->aps[i] = answer->aps[i];
}

static void assert_ended(const struct outcome *o, enum device_result result, const char *text)
{
	assert_int_equal(o->done, 1);
	assert_int_equal(o->result, result);
	assert_string_equal(o->text, text);
}

static struct outcome *outcome(size_t i)
{
	memset(&outcomes[i], 0, sizeof(outcomes[i]));
	return &outcomes[i];
}

#define PASSWORD "xyzzy-secret"

static const struct device_join guest = { .ssid = "guest", .password = PASSWORD };
static const struct device_join configured = { .ssid = "", .password = "" };

static struct outcome *join(struct bench *b, size_t i, const struct device_join *what)
{
	struct outcome *o = outcome(i);

	assert_int_equal(device_join(b->dev, what, on_done, o, NULL), 0);
	return o;
}

static struct outcome *leave(struct bench *b, size_t i)
{
	struct outcome *o = outcome(i);

	assert_int_equal(device_leave(b->dev, on_done, o, NULL), 0);
	return o;
}

/* Without tunnels there is nothing to provision. */
static int setup(void **state)
{
	static struct bench b;

	log_set_level(LOG_LEVEL_DEBUG);
	bench_init(&b);
	b.config.n_tunnels = 0;
	b.tunnel.authority = NULL;
	b.tunnel.identity = NULL;
	log_capture_reset();
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
	log_set_level(LOG_LEVEL_INFO);
	/* In no test: neither the one that was asked for nor the configured one. */
	assert_null(strstr(logged, PASSWORD));
	assert_null(strstr(logged, "hunter2"));
	return 0;
}

/* ---- scan ---- */

static void test_scan(void **state)
{
	struct bench *b = *state;
	struct outcome *o = outcome(0);

	assert_int_equal(device_scan(b->dev, on_done, o, NULL), 0);
	bench_pass(b, 0);
	/* capture 20 */
	assert_ended(o, DEVICE_OK, "");
	assert_string_equal(b->chip.told, "AT+CWLAPOPT=1,2047|AT+CWLAP|");
	assert_int_equal(o->n_aps, 2);
	assert_string_equal(o->aps[0].ssid, "Espressif");
	assert_string_equal(o->aps[0].bssid, "10:01:00:c4:0a:51");
	assert_int_equal(o->aps[0].rssi, -27);
	assert_int_equal(o->aps[0].channel, 5);
	assert_string_equal(o->aps[0].security, "open");
	assert_string_equal(o->aps[1].ssid, "MasseyWifi");
	assert_int_equal(o->aps[1].channel, 10);
	assert_string_equal(b->states, "");
}

static void test_scan_answers(void **state)
{
	static const struct {
		const char *line; /* as far as the channel */
		const char *ssid, *security;
	} rows[] = {
		{ "+CWLAP:(1,\"a\",-1,\"10:01:00:c4:0a:51\",5", "a", "wep" },
		{ "+CWLAP:(2,\"a\",-1,\"10:01:00:c4:0a:51\",5", "a", "wpa" },
		{ "+CWLAP:(3,\"\",-1,\"10:01:00:c4:0a:51\",5", "", "wpa2" },
		{ "+CWLAP:(4,\"a\",-1,\"10:01:00:c4:0a:51\",5", "a", "wpa-wpa2" },
		{ "+CWLAP:(5,\"a\",-1,\"10:01:00:c4:0a:51\",5", "a", "wpa2-enterprise" },
		{ "+CWLAP:(6,\"a\",-1,\"10:01:00:c4:0a:51\",5", "a", "wpa3" },
		{ "+CWLAP:(7,\"a\",-1,\"10:01:00:c4:0a:51\",5", "a", "wpa2-wpa3" },
		{ "+CWLAP:(11,\"a\",-1,\"10:01:00:c4:0a:51\",5", "a", "unknown" },
		{ "+CWLAP:(99,\"a\",-1,\"10:01:00:c4:0a:51\",5", "a", "unknown" },
		/* what a neighbour may call his network */
		{ "+CWLAP:(3,\"a\",-1,\"99:99:99:99:99:99\",5)\",-9,\"10:01:00:c4:0a:51\",5",
		  "a\",-1,\"99:99:99:99:99:99\",5)", "wpa2" },
		{ "+CWLAP:(3,\"\",-1,\"\",-1,\"10:01:00:c4:0a:51\",5", "\",-1,\"", "wpa2" },
		{ "+CWLAP:(3,\"12345678901234567890123456789012\",-1,\"10:01:00:c4:0a:51\",5",
		  "12345678901234567890123456789012", "wpa2" },
	};
	struct bench *b = *state;
	char reply[256];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct outcome *o = outcome(0);

		snprintf(reply, sizeof(reply), "%s,-1,-1,4,4,7,0)\r\n\r\nOK\r\n", rows[i].line);
		chip_answer(b, "AT+CWLAP", "\r\nOK\r\n", 1); /* of AT+CWLAPOPT */
		chip_answer(b, "AT+CWLAP", reply, 1);
		assert_int_equal(device_scan(b->dev, on_done, o, NULL), 0);
		bench_pass(b, 0);
		assert_ended(o, DEVICE_OK, "");
		assert_int_equal(o->n_aps, 1);
		assert_string_equal(o->aps[0].ssid, rows[i].ssid);
		assert_string_equal(o->aps[0].security, rows[i].security);
	}
}

/* Then a name could be anything that the chip says. */
static void test_scan_without_options(void **state)
{
	struct bench *b = *state;
	struct outcome *o = outcome(0);

	chip_answer(b, "AT+CWLAP", "\r\nERROR\r\n", 1); /* of AT+CWLAPOPT */
	assert_int_equal(device_scan(b->dev, on_done, o, NULL), 0);
	bench_pass(b, 0);
	assert_int_equal(o->done, 1);
	assert_int_equal(o->result, DEVICE_E_REFUSED);
	assert_non_null(strstr(o->text, "AT+CWLAPOPT"));
	assert_string_equal(b->chip.told, "AT+CWLAPOPT=1,2047|");
}

/* A name that a neighbour has chosen for what it would be as lines of the chip's own. */
static void test_scan_hostile_names(void **state)
{
	static const struct {
		const char *name, *told;
	} rows[] = {
		{ "\r\n\r\n+IPD,0,9:evilbytes\r\n", "????+IPD,0,9:evilbytes??" },
		{ "\r\n\r\nOK\r\n", "????OK??" },
		{ "\r\n\r\nERROR\r\n", "????ERROR??" },
		{ "\r\n0,CONNECT\r\n", "??0,CONNECT??" },
		{ "\r\nready\r\n", "??ready??" },
		{ "\r\n\r\n>a", "????"
				">a" },
		{ "\",-1,\"99:99:99:99:99:99\",5)\r\nOK\r", "\",-1,\"99:99:99:99:99:99\",5)??OK?" },
		{ "\x1b[2J\x7f\n\r", "?[2J???" },
		{ "1234567890123456789012345678901\r", "1234567890123456789012345678901?" },
	};
	struct bench *b = *state;
	char reply[256];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct outcome *o = outcome(0);

		snprintf(reply, sizeof(reply),
			 "+CWLAP:(3,\"%s\",-9,\"10:01:00:c4:0a:51\",5,-1,-1,4,4,7,0)\r\n"
			 "+CWLAP:(3,\"b\",-10,\"10:01:00:c4:0a:52\",6,-1,-1,4,4,7,0)\r\n\r\nOK\r\n",
			 rows[i].name);
		chip_answer(b, "AT+CWLAP", "\r\nOK\r\n", 1); /* of AT+CWLAPOPT */
		chip_answer(b, "AT+CWLAP", reply, 1);
		assert_int_equal(device_scan(b->dev, on_done, o, NULL), 0);
		bench_pass(b, 0);
		assert_ended(o, DEVICE_OK, "");
		assert_int_equal(o->n_aps, 2);
		assert_string_equal(o->aps[0].ssid, rows[i].told);
		assert_string_equal(o->aps[0].bssid, "10:01:00:c4:0a:51");
		assert_string_equal(o->aps[1].ssid, "b");
		assert_string_equal(b->states, "");
		assert_int_equal(b->dev->resets, 0);
	}
}

static void test_scan_failures(void **state)
{
	struct bench *b = *state;
	struct outcome *o = outcome(0);
	char reply[32768] = "";
	size_t len = 0;

	chip_answer(b, "AT+CWLAP", "\r\nOK\r\n", 1);
	chip_answer(b, "AT+CWLAP", "\r\nERROR\r\n", 1);
	assert_int_equal(device_scan(b->dev, on_done, o, NULL), 0);
	bench_pass(b, 0);
	assert_ended(o, DEVICE_E_REFUSED, "the chip refuses to scan");
	/* More than anybody has around. */
	for (int i = 0; i < 300; i++)
		len += (size_t)snprintf(
			reply + len, sizeof(reply) - len,
			"+CWLAP:(3,\"net%d\",-1,\"10:01:00:c4:0a:51\",5,-1,-1,4,4,7,0)\r\n", i);
	snprintf(reply + len, sizeof(reply) - len, "\r\nOK\r\n");
	chip_answer(b, "AT+CWLAP", "\r\nOK\r\n", 1);
	chip_answer(b, "AT+CWLAP", NULL, 1);
	o = outcome(0);
	assert_int_equal(device_scan(b->dev, on_done, o, NULL), 0);
	bench_pass(b, 0);
	device_feed(b->dev, (const uint8_t *)reply, strlen(reply));
	assert_ended(o, DEVICE_OK, "");
	assert_int_equal(o->n_aps, 128);
	assert_string_equal(o->aps[127].ssid, "net127");
}

/* ---- join ---- */

static void test_join(void **state)
{
	struct bench *b = *state;
	struct outcome *o = join(b, 0, &guest);

	assert_int_equal(b->dev->state, DEVICE_READY);
	bench_pass(b, 0);
	assert_ended(o, DEVICE_OK, "");
	assert_string_equal(b->states, ">joining>setting-clock>ready");
	/* Addresses and name servers are asked for, and stand; the time is set again, as ever. */
	assert_string_equal(b->chip.told,
			    "AT+CWSTATE?|AT+CWDHCP?|AT+CIPDNS?|AT+CWJAP=\"guest\",\"" PASSWORD
			    "\"|AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|");
	assert_string_equal(device_wifi(b->dev)->ssid, "guest");
	assert_true(device_wifi(b->dev)->connected);
	/* The same again, perhaps with another password: it is joined, not just found there. */
	chip_forget(b);
	o = join(b, 0, &guest);
	bench_pass(b, 0);
	assert_ended(o, DEVICE_OK, "");
	assert_int_equal(count_of(b->chip.told, "AT+CWJAP="), 1);
	/* Over a reset, too. */
	chip_forget(b);
	b->chip.joined = false;
	chip_say(b, "\r\nready\r\n");
	bench_pass(b, 5 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_READY);
	assert_non_null(strstr(b->chip.told, "|AT+CWJAP=\"guest\",\"" PASSWORD "\"|"));
	/* And back. */
	chip_forget(b);
	o = join(b, 0, &configured);
	bench_pass(b, 0);
	assert_ended(o, DEVICE_OK, "");
	assert_non_null(strstr(b->chip.told, "|AT+CWJAP=\"lab\",\"hunter2\"|"));
	assert_null(b->dev->network);
}

static void test_join_forms(void **state)
{
	static const struct {
		struct device_join join;
		const char *command;
	} rows[] = {
		{ { "guest", "", NULL, false }, "|AT+CWJAP=\"guest\",\"\"|" },
		{ { "g,\"\\", "p,w", NULL, false }, "|AT+CWJAP=\"g\\,\\\"\\\\\",\"p\\,w\"|" },
		{ { "guest", "", "10:01:00:c4:0a:52", false },
		  "|AT+CWJAP=\"guest\",\"\",\"10:01:00:c4:0a:52\"|" },
		{ { "guest", "", NULL, true }, "|AT+CWJAP=\"guest\",\"\",,,,,1|" },
		{ { "guest", "", "10:01:00:c4:0a:52", true },
		  "|AT+CWJAP=\"guest\",\"\",\"10:01:00:c4:0a:52\",,,,1|" },
		{ { "12345678901234567890123456789012",
		    "1234567890123456789012345678901234567890123456789012345678901234", NULL,
		    false },
		  "|AT+CWJAP=\"12345678901234567890123456789012\",\"12345678901234567890123456789"
		  "01234567890123456789012345678901234\"|" },
	};
	static const struct device_join wrong[] = {
		{ "123456789012345678901234567890123", "", NULL, false },
		{ "a\r\nAT+RST", "", NULL, false },
		{ "a\x1b[2J", "", NULL, false },
		{ "a\x7f", "", NULL, false },
		{ "a", "b\nc", NULL, false },
		{ "a", "12345678901234567890123456789012345678901234567890123456789012345", NULL,
		  false },
		{ "a", "", "", false },
		{ "a", "", "10:01:00:c4:0a:5", false },
		{ "a", "", "10:01:00:c4:0a:5g", false },
		{ "a", "", "10:01:00:c4:0a-52", false },
	};
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct outcome *o = join(b, 0, &rows[i].join);

		chip_forget(b);
		bench_pass(b, 0);
		assert_ended(o, DEVICE_OK, "");
		assert_non_null(strstr(b->chip.told, rows[i].command));
	}
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(device_join(b->dev, &wrong[i], on_done, outcome(0), NULL),
				 -EINVAL);
	bench_pass(b, 10 * TIMERS_S);
	assert_int_equal(outcomes[0].done, 0);
}

/* Whoever asks may sit at the other end of the network: it comes back by itself. */
static void test_join_that_fails(void **state)
{
	struct bench *b = *state;
	struct outcome *o = join(b, 0, &guest);

	chip_answer(b, "AT+CWJAP=\"guest\"", "WIFI DISCONNECT\r\n+CWJAP:2\r\n\r\nERROR\r\n", -1);
	bench_pass(b, 0);
	assert_ended(o, DEVICE_E_REFUSED, "cannot join Wi-Fi \"guest\": wrong password");
	assert_int_equal(b->dev->state, DEVICE_READY);
	assert_string_equal(b->states, ">joining>setting-clock>ready");
	assert_non_null(strstr(b->chip.told, "|AT+CWJAP=\"lab\",\"hunter2\"|"));
	assert_string_equal(device_wifi(b->dev)->ssid, "lab");
	assert_null(b->dev->network);
	assert_string_equal(b->dev->error, "");
	/* To the one that was asked for before, too. */
	o = join(b, 0, &(struct device_join){ .ssid = "other", .password = PASSWORD "2" });
	bench_pass(b, 0);
	assert_ended(o, DEVICE_OK, "");
	chip_forget(b);
	o = join(b, 0, &guest);
	bench_pass(b, 0);
	assert_ended(o, DEVICE_E_REFUSED, "cannot join Wi-Fi \"guest\": wrong password");
	assert_non_null(strstr(b->chip.told, "|AT+CWJAP=\"other\",\"" PASSWORD "2\"|"));
	assert_string_equal(device_wifi(b->dev)->ssid, "other");
	/* And to none. */
	leave(b, 1);
	bench_pass(b, 0);
	chip_forget(b);
	o = join(b, 0, &guest);
	bench_pass(b, 0);
	assert_ended(o, DEVICE_E_REFUSED, "cannot join Wi-Fi \"guest\": wrong password");
	assert_int_equal(b->dev->state, DEVICE_OFFLINE);
	assert_string_equal(b->states, ">joining>offline");
	assert_false(device_wifi(b->dev)->connected);
}

/* A chip without a network in the configuration has it in its flash: it is reset. */
static void test_join_that_fails_without_wifi(void **state)
{
	struct bench *b = *state;
	struct outcome *o;

	b->settings.has_wifi = false;
	b->chip.joined = true;
	bench_up(b);
	assert_int_equal(b->dev->state, DEVICE_READY);
	chip_forget(b);
	o = join(b, 0, &guest);
	chip_answer(b, "AT+CWJAP=", "WIFI DISCONNECT\r\n+CWJAP:3\r\n\r\nERROR\r\n", 1);
	bench_pass(b, 5 * TIMERS_S);
	assert_ended(o, DEVICE_E_REFUSED,
		     "cannot join Wi-Fi \"guest\": no such access point in range");
	assert_int_equal(count_of(b->chip.told, "AT+RST|"), 1);
	assert_int_equal(b->dev->state, DEVICE_READY);
	/* And so it is on the way back. */
	o = join(b, 0, &guest);
	bench_pass(b, 1 * TIMERS_S);
	assert_ended(o, DEVICE_OK, "");
	chip_forget(b);
	o = join(b, 0, &configured);
	bench_pass(b, 5 * TIMERS_S);
	assert_ended(o, DEVICE_OK, "");
	assert_int_equal(count_of(b->chip.told, "AT+RST|"), 1);
	assert_int_equal(count_of(b->chip.told, "AT+CWJAP"), 0);
}

/* A chip that is busy with the wrong network: what it is told then does not count any more. */
static void test_join_while_joining(void **state)
{
	struct bench *b = *state;
	struct outcome *o;

	for (int ok = 0; ok < 2; ok++) {
		b->chip.joined = false;
		chip_answer(b, "AT+CWJAP=\"lab\"", chip_works, 1);
		device_port_up(b->dev, 115200);
		bench_pass(b, 2 * TIMERS_S);
		assert_int_equal(b->dev->state, DEVICE_JOINING);
		chip_forget(b);
		o = join(b, 0, &guest);
		bench_pass(b, 2 * TIMERS_S);
		assert_string_equal(b->chip.told, "");
		if (ok)
			chip_say(b, "WIFI CONNECTED\r\nWIFI GOT IP\r\n\r\nOK\r\n");
		else
			chip_say(b, "+CWJAP:3\r\n\r\nERROR\r\n");
		bench_pass(b, 0);
		assert_ended(o, DEVICE_OK, "");
		assert_string_equal(b->states, ">setting-clock>ready");
		assert_int_equal(count_of(b->chip.told, "AT+CWJAP="), 1);
		assert_string_equal(device_wifi(b->dev)->ssid, "guest");
		assert_string_equal(b->dev->error, "");
		join(b, 0, &configured);
		bench_pass(b, 0);
	}
}

/* One that has failed for the wrong network, and waits. */
static void test_join_of_a_failed_chip(void **state)
{
	struct bench *b = *state;
	struct outcome *o;

	chip_answer(b, "AT+CWJAP=\"lab\"", "+CWJAP:3\r\n\r\nERROR\r\n", -1);
	bench_up(b);
	assert_int_equal(b->dev->state, DEVICE_FAILED);
	o = join(b, 0, &guest);
	bench_pass(b, 0);
	assert_ended(o, DEVICE_OK, "");
	assert_int_equal(b->dev->state, DEVICE_READY);
	/* With the wrong one it is as it was. */
	chip_answer(b, "AT+CWJAP=\"other\"", "+CWJAP:1\r\n\r\nERROR\r\n", 1);
	chip_answer(b, "AT+CWJAP=\"guest\"", "+CWJAP:3\r\n\r\nERROR\r\n", 1);
	o = join(b, 0, &(struct device_join){ .ssid = "other", .password = "" });
	bench_pass(b, 0);
	assert_ended(o, DEVICE_E_REFUSED, "cannot join Wi-Fi \"other\": timed out");
	assert_int_equal(b->dev->state, DEVICE_FAILED);
	assert_string_equal(b->dev->error,
			    "cannot join Wi-Fi \"guest\": no such access point in range");
	bench_pass(b, 5 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_READY);
	assert_string_equal(device_wifi(b->dev)->ssid, "guest");
}

/* Lost on the way: the wish goes on while there is a chip, and no further. */
static void test_join_that_is_cut_off(void **state)
{
	struct bench *b = *state;
	struct outcome *o = join(b, 0, &guest);

	chip_answer(b, "AT+CWJAP=\"guest\"", NULL, 1);
	bench_pass(b, 0);
	b->chip.joined = false;
	b->chip.echo = true;
	chip_say(b, "\r\nready\r\n");
	bench_pass(b, 2 * TIMERS_S);
	assert_ended(o, DEVICE_OK, "");
	assert_string_equal(device_wifi(b->dev)->ssid, "guest");
	chip_answer(b, "AT+CWJAP=\"other\"", NULL, 1);
	o = join(b, 0, &(struct device_join){ .ssid = "other", .password = "" });
	bench_pass(b, 0);
	device_port_down(b->dev, "unplugged");
	assert_ended(o, DEVICE_E_GONE, "the chip is not there any more");
	assert_string_equal(b->dev->network->ssid, "guest");
	/* No answer at all. */
	b->chip.echo = true;
	bench_up(b);
	assert_int_equal(b->dev->state, DEVICE_READY);
	chip_answer(b, "AT+CWJAP=\"other\"", NULL, -1);
	o = join(b, 0, &(struct device_join){ .ssid = "other", .password = "" });
	bench_pass(b, 300 * TIMERS_S);
	assert_int_equal(o->done, 1);
	assert_int_not_equal(o->result, DEVICE_OK);
	assert_string_equal(b->dev->network->ssid, "guest");
	bench_pass(b, 60 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_READY);
	assert_string_equal(device_wifi(b->dev)->ssid, "guest");
}

/* It says OK, and gets no address. */
static void test_join_without_address(void **state)
{
	struct bench *b = *state;
	struct outcome *o = join(b, 0, &guest);

	chip_answer(b, "AT+CWJAP=\"guest\"", "WIFI DISCONNECT\r\nWIFI CONNECTED\r\n\r\nOK\r\n", 1);
	bench_pass(b, 7 * TIMERS_S);
	assert_int_equal(o->done, 0);
	bench_pass(b, 2 * TIMERS_S);
	assert_ended(o, DEVICE_E_REFUSED, "cannot join Wi-Fi \"guest\": it gives no address");
	assert_int_equal(b->dev->state, DEVICE_READY);
	assert_string_equal(device_wifi(b->dev)->ssid, "lab");
}

static void test_join_that_is_not_waited_for(void **state)
{
	struct bench *b = *state;
	struct device_request *req;

	chip_answer(b, "AT+CWJAP=\"guest\"", NULL, 1);
	assert_int_equal(device_join(b->dev, &guest, on_done, outcome(0), &req), 0);
	bench_pass(b, 0);
	device_request_cancel(req);
	b->chip.joined = true;
	strcpy(b->chip.ssid, "guest");
	chip_say(b, "WIFI CONNECTED\r\nWIFI GOT IP\r\n\r\nOK\r\n");
	assert_int_equal(b->dev->state, DEVICE_READY);
	assert_string_equal(device_wifi(b->dev)->ssid, "guest");
	assert_int_equal(outcomes[0].done, 0);
	/* One that has not begun leaves nothing behind. */
	assert_int_equal(device_join(b->dev, &configured, on_done, outcome(0), &req), 0);
	device_request_cancel(req);
	bench_pass(b, 5 * TIMERS_S);
	assert_string_equal(b->dev->network->ssid, "guest");
}

/* The password is needed for a join after a reset, and no longer than that. */
static void test_password_is_wiped(void **state)
{
	struct bench *b = *state;
	struct device_network *network;

	join(b, 0, &guest);
	bench_pass(b, 0);
	network = b->dev->network;
	assert_string_equal(network->password, PASSWORD);
	assert_null(memmem(b->dev->cmd.line.text, sizeof(b->dev->cmd.line.text), PASSWORD,
			   strlen(PASSWORD)));
	leave(b, 0);
	bench_pass(b, 0);
	assert_null(b->dev->network);
}

/* Fixed addresses are those of the configured network. */
static void test_fixed_address(void **state)
{
	static char address[] = "10.0.2.77", gateway[] = "10.0.2.2", netmask[] = "255.255.255.0";
	static char *dns[] = { gateway };
	struct bench *b = *state;

	b->settings.wifi.address = address;
	b->settings.wifi.gateway = gateway;
	b->settings.wifi.netmask = netmask;
	b->settings.wifi.dns.items = dns;
	b->settings.wifi.dns.n = 1;
	bench_up(b);
	assert_non_null(strstr(b->chip.told, "AT+CIPSTA=\"10.0.2.77\""));
	chip_forget(b);
	chip_answer(b, "AT+CWDHCP?", "+CWDHCP:2\r\nOK\r\n", 1);
	chip_answer(b, "AT+CIPDNS?", "+CIPDNS:1,\"10.0.2.2\"\r\n\r\nOK\r\n", 1);
	join(b, 0, &guest);
	bench_pass(b, 0);
	assert_ended(&outcomes[0], DEVICE_OK, "");
	assert_string_equal(b->chip.told,
			    "AT+CWSTATE?|AT+CWDHCP?|AT+CWDHCP=1,1|AT+CIPDNS?|AT+CIPDNS=0|"
			    "AT+CWJAP=\"guest\",\"" PASSWORD
			    "\"|AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|");
	chip_forget(b);
	join(b, 0, &configured);
	bench_pass(b, 0);
	assert_ended(&outcomes[0], DEVICE_OK, "");
	assert_non_null(strstr(b->chip.told, "|AT+CIPSTA=\"10.0.2.77\""));
	assert_non_null(strstr(b->chip.told, "|AT+CIPDNS=1,\"10.0.2.2\"|"));
}

/* ---- leave ---- */

static int ends;
static enum link_end last_end;

static void on_link(void *user)
{
}

static void on_link_closed(void *user, enum link_end end)
{
	ends++;
	last_end = end;
}

static void open_link(struct bench *b)
{
	static const struct link_target target = { .host = "h", .port = 1, .server_name = "h" };
	static const struct link_ops ops = { .opened = on_link, .closed = on_link_closed };

	ends = 0;
	assert_int_equal(link_open(device_free_link(b->dev), &target, &ops, NULL), 0);
	bench_run(b);
	assert_int_equal(b->dev->links[0].state, LINK_OPEN);
}

static void test_leave(void **state)
{
	struct bench *b = *state;
	struct outcome *o;

	open_link(b);
	chip_forget(b);
	o = leave(b, 0);
	bench_pass(b, 0);
	assert_ended(o, DEVICE_OK, "");
	assert_int_equal(b->dev->state, DEVICE_OFFLINE);
	assert_string_equal(b->chip.told, "AT+CWQAP|");
	assert_int_equal(ends, 1);
	assert_int_equal(last_end, LINK_END_WIFI);
	assert_null(device_free_link(b->dev));
	assert_false(device_wifi(b->dev)->connected);
	assert_string_equal(device_wifi(b->dev)->ssid, "");
	/* It stays so: by itself, when the clock jumps, after a reset, and with another port. */
	chip_forget(b);
	bench_pass(b, 200000 * TIMERS_S);
	device_sync_clock(b->dev);
	bench_pass(b, 10 * TIMERS_S);
	assert_string_equal(b->chip.told, "");
	b->chip.joined = true; /* out of its flash */
	b->chip.echo = true;
	chip_say(b, "\r\nready\r\n");
	bench_pass(b, 10 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_OFFLINE);
	assert_false(b->chip.joined);
	assert_int_equal(count_of(b->chip.told, "AT+CWJAP"), 0);
	assert_int_equal(device_reset(b->dev, on_done, outcome(0), NULL), 0);
	bench_pass(b, 10 * TIMERS_S);
	assert_ended(&outcomes[0], DEVICE_OK, "");
	assert_int_equal(b->dev->state, DEVICE_OFFLINE);
	/* What needs no network goes on. */
	o = outcome(0);
	assert_int_equal(device_scan(b->dev, on_done, o, NULL), 0);
	bench_pass(b, 0);
	assert_ended(o, DEVICE_OK, "");
	o = outcome(0);
	assert_int_equal(device_set_clock(b->dev, on_done, o, NULL), 0);
	bench_pass(b, 0);
	assert_ended(o, DEVICE_OK, "");
	assert_int_equal(b->dev->state, DEVICE_OFFLINE);
	b->settings.require_synchronized = b->unsynchronized = true;
	o = outcome(0);
	assert_int_equal(device_set_clock(b->dev, on_done, o, NULL), 0);
	bench_pass(b, 0);
	assert_int_equal(o->result, DEVICE_E_REFUSED);
	assert_int_equal(b->dev->state, DEVICE_OFFLINE);
	b->unsynchronized = false;
	b->settings.time = CONFIG_TIME_SNTP;
	o = outcome(0);
	assert_int_equal(device_set_clock(b->dev, on_done, o, NULL), 0);
	bench_pass(b, 0);
	assert_ended(o, DEVICE_E_REFUSED,
		     "the time comes from time servers, and the chip has left its network");
	b->settings.time = CONFIG_TIME_HOST;
	/* Until it is to join. */
	o = join(b, 0, &configured);
	bench_pass(b, 0);
	assert_ended(o, DEVICE_OK, "");
	assert_int_equal(b->dev->state, DEVICE_READY);
	open_link(b);
}

/* A link that the firmware keeps for when the network is back; and one that is being opened. */
static void test_leave_with_links(void **state)
{
	static const struct link_target target = { .host = "h", .port = 1, .server_name = "h" };
	static const struct link_ops ops = { .opened = on_link, .closed = on_link_closed };
	struct bench *b = *state;

	open_link(b);
	chip_answer(b, "AT+CWQAP", "WIFI DISCONNECT\r\n\r\nOK\r\n", -1);
	leave(b, 0);
	bench_pass(b, 2 * TIMERS_S);
	assert_int_equal(ends, 1);
	assert_int_equal(last_end, LINK_END_WIFI);
	assert_int_equal(device_links_in_use(b->dev), 0);
	assert_int_equal(count_of(b->chip.told, "AT+CIPCLOSE=0|"), 1);
	join(b, 0, &configured);
	bench_pass(b, 0);
	ends = 0;
	assert_int_equal(link_open(device_free_link(b->dev), &target, &ops, NULL), 0);
	chip_answer(b, "AT+CIPSTART=", "\r\nERROR\r\n", 1);
	leave(b, 1);
	timers_run(&b->timers);
	bench_pass(b, 10 * TIMERS_S);
	assert_int_equal(outcomes[1].done, 1);
	assert_int_equal(ends, 1);
	assert_int_equal(b->dev->state, DEVICE_OFFLINE);
	assert_int_equal(device_links_in_use(b->dev), 0);
}

static void test_leave_while_joining(void **state)
{
	struct bench *b = *state;
	struct outcome *o;

	chip_answer(b, "AT+CWJAP=", chip_works, 1);
	device_port_up(b->dev, 115200);
	bench_pass(b, 2 * TIMERS_S);
	o = leave(b, 0);
	bench_pass(b, 2 * TIMERS_S);
	assert_int_equal(o->done, 0);
	chip_say(b, "+CWJAP:3\r\n\r\nERROR\r\n");
	bench_pass(b, 0);
	assert_ended(o, DEVICE_OK, "");
	assert_int_equal(b->dev->state, DEVICE_OFFLINE);
	/* And of a chip that has failed; a scan tells where it could go. */
	join(b, 0, &configured);
	chip_answer(b, "AT+CWJAP=", "+CWJAP:3\r\n\r\nERROR\r\n", 2);
	bench_pass(b, 0);
	assert_int_equal(b->dev->state, DEVICE_OFFLINE); /* as it was before */
	b->dev->offline = false;
	bench_up(b);
	assert_int_equal(b->dev->state, DEVICE_FAILED);
	o = leave(b, 0);
	bench_pass(b, 0);
	assert_ended(o, DEVICE_OK, "");
	assert_int_equal(b->dev->state, DEVICE_OFFLINE);
}

/* By a raw command, say. */
static void test_somebody_else_joins(void **state)
{
	struct bench *b = *state;

	leave(b, 0);
	bench_pass(b, 0);
	b->chip.joined = true;
	chip_say(b, "WIFI CONNECTED\r\n");
	assert_int_equal(b->dev->state, DEVICE_OFFLINE);
	chip_say(b, "WIFI GOT IP\r\n");
	assert_int_equal(b->dev->state, DEVICE_READY);
	assert_true(device_wifi(b->dev)->connected);
}

/* ---- what is sampled ---- */

static void test_sample(void **state)
{
	struct bench *b = *state;
	const struct device_wifi *wifi;

	b->chip.tells_samples = true;
	bench_up(b);
	assert_int_equal(b->dev->state, DEVICE_READY);
	/* The bring-up has asked nothing of it. */
	assert_null(strstr(b->chip.told, "AT+SYSRAM?"));
	assert_null(strstr(b->chip.told, "AT+CIPSTA?"));
	assert_int_equal(device_free_heap(b->dev), 0);
	wifi = device_wifi(b->dev);
	assert_true(wifi->connected);
	assert_string_equal(wifi->ssid, "lab");
	assert_string_equal(wifi->bssid, "");
	chip_forget(b);
	b->facts = 0;
	bench_pass(b, 1 * TIMERS_S);
	assert_string_equal(b->chip.told, "AT+CWJAP?|AT+CIPSTA?|AT+SYSRAM?|");
	assert_int_equal(b->facts, DEVICE_FACT_WIFI | DEVICE_FACT_HEAP);
	assert_string_equal(wifi->bssid, "10:01:00:c4:0a:51");
	assert_int_equal(wifi->channel, 5);
	assert_int_equal(wifi->rssi, -24);
	assert_string_equal(wifi->address, "10.0.2.15");
	assert_int_equal(device_free_heap(b->dev), 186132);
	/* About once a minute; what is the same is no news. */
	chip_forget(b);
	b->facts = 0;
	bench_pass(b, 59 * TIMERS_S);
	assert_string_equal(b->chip.told, "");
	bench_pass(b, 1 * TIMERS_S);
	assert_string_equal(b->chip.told, "AT+CWJAP?|AT+CIPSTA?|AT+SYSRAM?|");
	assert_int_equal(b->facts, 0);
	chip_answer(b, "AT+CWJAP?",
		    "+CWJAP:\"lab\",\"10:01:00:c4:0a:51\",5,-60,0,1,3,0,1\r\n\r\nOK\r\n", 1);
	/* What the firmware cannot tell is not known, and the rest is. */
	chip_answer(b, "AT+CIPSTA?", "\r\nERROR\r\n", 1);
	chip_answer(b, "AT+SYSRAM?", "+SYSRAM:90000,80000\r\nOK\r\n", 1);
	bench_pass(b, 60 * TIMERS_S);
	assert_int_equal(wifi->rssi, -60);
	assert_string_equal(wifi->address, "10.0.2.15");
	assert_int_equal(device_free_heap(b->dev), 90000);
	assert_int_equal(b->facts, DEVICE_FACT_WIFI | DEVICE_FACT_HEAP);
	/* Another lease. */
	chip_forget(b);
	chip_say(b, "WIFI GOT IP\r\n");
	bench_pass(b, 1 * TIMERS_S);
	assert_string_equal(b->chip.told, "AT+CWJAP?|AT+CIPSTA?|AT+SYSRAM?|");
	/* Wi-Fi is gone: nothing is known of it. */
	b->facts = 0;
	b->chip.joined = false;
	chip_say(b, "WIFI DISCONNECT\r\n");
	assert_true(b->facts & DEVICE_FACT_WIFI);
	assert_false(wifi->connected);
	assert_string_equal(wifi->address, "");
	chip_forget(b);
	bench_pass(b, 2 * TIMERS_S);
	assert_null(strstr(b->chip.told, "AT+SYSRAM?"));
}

/* Nobody who has something to say waits for more than one answer. */
static void test_sample_in_idle_time(void **state)
{
	static const struct link_target target = { .host = "h", .port = 1, .server_name = "h" };
	static const struct link_ops ops = { .opened = on_link, .closed = on_link_closed };
	struct bench *b = *state;
	struct link *link;

	b->chip.tells_samples = true;
	/* A handshake takes its time. */
	link = device_free_link(b->dev);
	assert_int_equal(link_open(link, &target, &ops, NULL), 0);
	chip_answer(b, "AT+CIPSTART=", chip_works, 1);
	bench_run(b);
	chip_forget(b);
	bench_pass(b, 70 * TIMERS_S);
	assert_string_equal(b->chip.told, "");
	b->chip.open[0] = true;
	chip_say(b, "0,CONNECT\r\n\r\nOK\r\n");
	assert_int_equal(link->state, LINK_OPEN);
	/* The first question is on its way when something is to be sent. */
	chip_answer(b, "AT+CWJAP?", NULL, 1);
	bench_pass(b, 1 * TIMERS_S);
	assert_string_equal(b->chip.told, "AT+CWJAP?|");
	link_tx_buffer(link, &(size_t){ 0 })[0] = 'x';
	link_tx_submit(link, 1);
	chip_answer(b, "AT+CIPSEND=", NULL, 1);
	chip_say(b, "\r\nOK\r\n");
	bench_pass(b, 0);
	assert_string_equal(b->chip.told, "AT+CWJAP?|AT+CIPSEND=0,1|");
}

/* What a chip that answers no more was asked says so. */
static void test_sample_without_answer(void **state)
{
	struct bench *b = *state;

	b->chip.mute = true;
	bench_pass(b, 80 * TIMERS_S);
	assert_int_not_equal(b->dev->state, DEVICE_READY);
	b->chip.mute = false;
	bench_pass(b, 60 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_READY);
	assert_int_equal(device_free_heap(b->dev), 186132);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define T_READY(name) cmocka_unit_test_setup_teardown(name, setup_ready, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T_READY(test_scan),
		T_READY(test_scan_answers),
		T_READY(test_scan_without_options),
		T_READY(test_scan_hostile_names),
		T_READY(test_scan_failures),
		T_READY(test_join),
		T_READY(test_join_forms),
		T_READY(test_join_that_fails),
		T(test_join_that_fails_without_wifi),
		T(test_join_while_joining),
		T(test_join_of_a_failed_chip),
		T_READY(test_join_that_is_cut_off),
		T_READY(test_join_without_address),
		T_READY(test_join_that_is_not_waited_for),
		T_READY(test_password_is_wiped),
		T(test_fixed_address),
		T_READY(test_leave),
		T_READY(test_leave_with_links),
		T(test_leave_while_joining),
		T_READY(test_somebody_else_joins),
		T(test_sample),
		T_READY(test_sample_in_idle_time),
		T_READY(test_sample_without_answer),
	};

	return cmocka_run_group_tests_name("wifi-requests", tests, NULL, NULL);
}
