/* SPDX-License-Identifier: MIT */
/* device/link: connects, sends, receives and ends, on a scripted chip and a virtual clock. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/internal.h"
#include "fake-chip.h"

struct user {
	struct link *link;
	int opened, ends, data_ends, sents, asked;
	enum link_probe probe;
	bool others; /* wait for a link */
	enum link_end end;
	char data[8192];
	size_t len;
};

static void on_opened(void *user)
{
	((struct user *)user)->opened++;
}

static void on_data(void *user, const uint8_t *data, size_t len)
{
	struct user *u = user;

	assert_true(u->len + len <= sizeof(u->data));
	memcpy(u->data + u->len, data, len);
	u->len += len;
}

static void on_data_end(void *user)
{
	((struct user *)user)->data_ends++;
}

static void on_sent(void *user)
{
	((struct user *)user)->sents++;
}

static enum link_probe on_may_probe(void *user, bool quiet)
{
	struct user *u = user;

	u->asked++;
	return u->probe == LINK_PROBE_YES && !quiet ? LINK_PROBE_LATER : u->probe;
}

static bool on_alone(void *user)
{
	return !((struct user *)user)->others;
}

static void on_closed(void *user, enum link_end end)
{
	struct user *u = user;

	u->ends++;
	u->end = end;
}

static const struct link_ops user_ops = {
	.opened = on_opened,
	.data = on_data,
	.data_end = on_data_end,
	.sent = on_sent,
	.may_probe = on_may_probe,
	.alone = on_alone,
	.closed = on_closed,
};

static const struct link_target mutual = {
	.host = "broker.example",
	.port = 8883,
	.server_name = "broker.example",
	.auth = LINK_AUTH_MUTUAL,
	.pki = 3,
	.ca = 5,
};

static struct user users[8];

static int setup(void **state)
{
	static struct bench b;

	memset(users, 0, sizeof(users));
	bench_init(&b);
	b.chip.joined = true;
	bench_up(&b);
	assert_int_equal(b.dev->state, DEVICE_READY);
	/* What a chip may have of another program is cleared with the first connection: no concern of most tests. */
	for (int i = 0; i < AT_LINKS; i++) {
		assert_int_equal(b.dev->links[i].left, LINK_LEFT_ALPN);
		b.dev->links[i].left = 0;
	}
	chip_forget(&b);
	*state = &b;
	return 0;
}

static int teardown(void **state)
{
	bench_free(*state);
	return 0;
}

/* Only the commands are submitted; bench_run() lets the chip answer. */
static struct user *start(struct bench *b, size_t i, const struct link_target *target)
{
	struct user *u = &users[i];

	memset(u, 0, sizeof(*u));
	u->link = device_free_link(b->dev);
	assert_non_null(u->link);
	assert_int_equal(link_open(u->link, target, &user_ops, u), 0);
	return u;
}

static struct user *open_link(struct bench *b, size_t i)
{
	struct user *u = start(b, i, &mutual);

	bench_run(b);
	assert_int_equal(u->opened, 1);
	assert_int_equal(u->link->state, LINK_OPEN);
	return u;
}

static void send_bytes(struct bench *b, struct user *u, const void *data, size_t len)
{
	size_t size = 0;
	uint8_t *tx = link_tx_buffer(u->link, &size);

	assert_non_null(tx);
	assert_in_range(len, 1, size);
	memcpy(tx, data, len);
	link_tx_submit(u->link, len);
}

static void assert_ended(const struct user *u, enum link_end end)
{
	assert_int_equal(u->ends, 1);
	assert_int_equal(u->end, end);
}

/* ---- connecting ---- */

#define NAMES "AT+CIPSSLCSNI=0,\"broker.example\"|AT+CIPSSLCCN=0,\"broker.example\"|"
#define START "AT+CIPSTART=0,\"SSL\",\"broker.example\",8883,0|"

static void test_commands_of_each_mode(void **state)
{
	static const struct {
		enum link_auth auth;
		const char *told;
	} rows[] = {
		{ LINK_AUTH_NONE, "AT+CIPSSLCCONF=0,0|AT+CIPSSLCCONF?|" NAMES START },
		{ LINK_AUTH_CLIENT, "AT+CIPSSLCCONF=0,1,3,0|AT+CIPSSLCCONF?|" NAMES START },
		{ LINK_AUTH_SERVER, "AT+CIPSSLCCONF=0,2,0,5|AT+CIPSSLCCONF?|" NAMES START },
		{ LINK_AUTH_MUTUAL, "AT+CIPSSLCCONF=0,3,3,5|AT+CIPSSLCCONF?|" NAMES START },
	};
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct link_target target = mutual;
		struct user *u;

		target.auth = rows[i].auth;
		u = start(b, 0, &target);
		bench_run(b);
		assert_int_equal(u->opened, 1);
		assert_string_equal(b->chip.told, rows[i].told);
		link_close(u->link);
		bench_run(b);
		assert_int_equal(u->link->state, LINK_FREE);
		chip_forget(b);
	}
}

/* The firmware forgets SNI and CN with each link that closes (capture 44), CIPSSLCCONF it keeps. */
static void test_names_are_fresh_each_time(void **state)
{
	struct bench *b = *state;
	struct link_target other = mutual;
	struct user *u = open_link(b, 0);

	link_close(u->link);
	bench_run(b);
	chip_forget(b);
	u = open_link(b, 0);
	assert_string_equal(b->chip.told, NAMES START);
	link_close(u->link);
	bench_run(b);
	chip_forget(b);
	other.ca = 6;
	other.server_name = "other.example";
	start(b, 0, &other);
	bench_run(b);
	assert_string_equal(
		b->chip.told,
		"AT+CIPSSLCCONF=0,3,3,6|AT+CIPSSLCCONF?|AT+CIPSSLCSNI=0,\"other.example\"|"
		"AT+CIPSSLCCN=0,\"other.example\"|" START);
	/* After a reset of the chip nothing is known any more. */
	chip_say(b, "\r\nready\r\n");
	bench_run(b);
	assert_int_equal(b->dev->state, DEVICE_READY);
	chip_forget(b);
	memset(b->chip.open, 0, sizeof(b->chip.open));
	start(b, 0, &other);
	bench_run(b);
	assert_int_equal(count_of(b->chip.told, "AT+CIPSSLCCONF=0,3,3,6|AT+CIPSSLCCONF?|"), 1);
}

/* Whoever leaves while it is set, or is turned away, has set it all the same: for nobody else. */
static void test_conf_of_one_who_left(void **state)
{
	static const char *const leave[] = { "", "0,CLOSED\r\n", "WIFI DISCONNECT\r\n" };
	struct link_target open = mutual;
	struct bench *b = *state;

	open.auth = LINK_AUTH_NONE;
	for (size_t i = 0; i < ARRAY_SIZE(leave); i++) {
		struct user *u;

		teardown(state);
		setup(state);
		u = open_link(b, 0);
		link_close(u->link);
		bench_run(b);
		chip_answer(b, "AT+CIPSSLCCONF=0,0", NULL, 1);
		u = start(b, 0, &open);
		bench_run(b);
		if (i == 0)
			link_close(u->link);
		chip_say(b, leave[i]);
		chip_say(b, "\r\nOK\r\n");
		if (i == 2)
			chip_say(b, "WIFI CONNECTED\r\nWIFI GOT IP\r\n");
		bench_pass(b, 20 * TIMERS_S);
		assert_int_equal(u->opened, 0);
		assert_int_equal(u->link->state, LINK_FREE);
		chip_forget(b);
		open_link(b, 0);
		assert_string_equal(b->chip.told,
				    "AT+CIPSSLCCONF=0,3,3,5|AT+CIPSSLCCONF?|" NAMES START);
	}
}

/* A digit has changed on its way, and the chip has set something else: OK is not believed. */
static void test_conf_is_not_as_set(void **state)
{
	static const char *const told[] = {
		NULL, /* what the command has done: nothing */
		"+CIPSSLCCONF:0,1,3,5\r\n\r\nOK\r\n",
		"+CIPSSLCCONF:0,3,3,4\r\n\r\nOK\r\n",
		"+CIPSSLCCONF:0,3,2,5\r\n\r\nOK\r\n",
		"+CIPSSLCCONF:0,3,3,5\r\n+CIPSSLCCONF:1,1,3,5\r\n\r\nOK\r\n",
		"+CIPSSLCCONF:0,3,3,5\r\n+CIPSSLCCONF:0,0,3,5\r\n\r\nOK\r\n",
		"+CIPSSLCCONF:0,3,3\r\n\r\nOK\r\n",
		"+CIPSSLCCONF:9,3,3,5\r\n\r\nOK\r\n",
		"\r\nOK\r\n",
	};
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(told); i++) {
		struct user *u, *other;

		teardown(state);
		setup(state);
		u = open_link(b, 0);
		other = open_link(b, 1);
		link_close(u->link);
		bench_run(b);
		u->link->conf_auth = -1;
		chip_forget(b);
		if (told[i]) {
			chip_answer(b, "AT+CIPSSLCCONF?", told[i], 1);
		} else {
			memset(b->chip.sslconf[0], 0, sizeof(b->chip.sslconf[0]));
			chip_answer(b, "AT+CIPSSLCCONF=", "\r\nOK\r\n", 1);
		}
		u = start(b, 0, &mutual);
		bench_run(b);
		assert_ended(u, LINK_END_RESET);
		assert_ended(other, LINK_END_RESET);
		assert_null(strstr(b->chip.told, "CIPSTART"));
		/* Of no link it is believed any more. */
		assert_int_equal(b->dev->state, DEVICE_READY);
		chip_forget(b);
		open_link(b, 0);
		open_link(b, 1);
		assert_int_equal(count_of(b->chip.told, "AT+CIPSSLCCONF=0,3,3,5|AT+CIPSSLCCONF?|"),
				 1);
		assert_int_equal(count_of(b->chip.told, "AT+CIPSSLCCONF=1,3,3,5|AT+CIPSSLCCONF?|"),
				 1);
	}
}

static void test_refused_setting_aborts(void **state)
{
	static const char *const settings[] = {
		"AT+CIPSSLCCONF=",
		"AT+CIPSSLCCONF?",
		"AT+CIPSSLCSNI",
		"AT+CIPSSLCCN",
	};
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		struct user *u;

		teardown(state);
		setup(state);
		chip_answer(b, settings[i], "\r\nERROR\r\n", 1);
		u = start(b, 0, &mutual);
		bench_run(b);
		assert_ended(u, LINK_END_SETTINGS);
		assert_int_equal(u->opened, 0);
		assert_null(strstr(b->chip.told, "CIPSTART"));
		assert_int_equal(u->link->state, LINK_FREE);
		/* The setting that failed is made again. */
		chip_forget(b);
		open_link(b, 0);
		assert_int_equal(count_of(b->chip.told, settings[i]), 1);
	}
}

/* Whose CLOSED it was cannot be told, and the settings may be gone with it. */
static void test_closed_voids_the_attempt(void **state)
{
	static const struct {
		const char *command, *reply;
		bool started;
	} rows[] = {
		{ "AT+CIPSSLCCONF", "0,CLOSED\r\n\r\nOK\r\n", false },
		{ "AT+CIPSSLCSNI", "0,CLOSED\r\n\r\nOK\r\n", false },
		{ "AT+CIPSSLCCN", "\r\nOK\r\n0,CLOSED\r\n", true },
		{ "AT+CIPSSLCCN", "0,CLOSED\r\n\r\nOK\r\n", false },
		{ "AT+CIPSTART", "0,CLOSED\r\n0,CONNECT\r\n\r\nOK\r\n", true },
		{ "AT+CIPSTART", "0,CONNECT\r\n0,CLOSED\r\n\r\nOK\r\n", true },
		{ "AT+CIPSTART", "\r\nOK\r\n", true }, /* no CONNECT at all */
	};
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct user *u;

		teardown(state);
		setup(state);
		chip_answer(b, rows[i].command, rows[i].reply, 1);
		u = start(b, 0, &mutual);
		bench_run(b);
		if (u->opened || u->ends != 1 || u->end != LINK_END_VOID)
			fail_msg("row %zu: opened %d, end %d", i, u->opened, u->end);
		assert_int_equal(count_of(b->chip.told, "CIPSTART"), rows[i].started);
		bench_pass(b, 5 * TIMERS_S);
		assert_int_equal(u->link->state, LINK_FREE);
		open_link(b, 0);
	}
}

static void test_refused_connection(void **state)
{
	struct bench *b = *state;
	struct user *u;

	chip_answer(b, "AT+CIPSTART", "\r\nERROR\r\n0,CLOSED\r\n", 1);
	u = start(b, 0, &mutual);
	bench_run(b);
	assert_ended(u, LINK_END_UNEXPLAINED);
	assert_int_equal(u->link->state, LINK_FREE);
	assert_int_equal(b->dev->state, DEVICE_READY);
	assert_null(strstr(b->chip.told, "CIPCLOSE"));
	open_link(b, 0);
}

/* ---- optional settings ---- */

static char *const protocols[] = { (char *)"mqtt", (char *)"a,\"b" };
static const struct config_strings alpn = { (char **)protocols, 2 };
static const struct config_psk psk = { .identity = (char *)"gw", .file = (char *)"psk" };
static const struct config_psk psk_hex = {
	.identity = (char *)"gw",
	.file = (char *)"psk",
	.hex = true,
};
static const unsigned int ciphers[] = { 0xc02b, 0x9e };

/* The commands of an open on link 0 with @target, before CIPSTART. */
static void expect_settings(struct bench *b, const struct link_target *target, const char *settings)
{
	char told[512];
	struct user *u;

	chip_forget(b);
	u = start(b, 0, target);
	bench_run(b);
	assert_int_equal(u->opened, 1);
	snprintf(told, sizeof(told), "%s" NAMES, settings);
	assert_memory_equal(b->chip.told, told, strlen(told));
	assert_memory_equal(b->chip.told + strlen(told), "AT+CIPSTART", 11);
	link_close(u->link);
	bench_run(b);
	assert_int_equal(u->link->state, LINK_FREE);
}

static void test_optional_settings(void **state)
{
	struct link_target none = mutual, some = mutual;
	struct bench *b = *state;

	none.auth = some.auth = LINK_AUTH_NONE;
	some.alpn = &alpn;
	some.psk = &psk;
	some.ciphers = ciphers;
	some.n_ciphers = 2;
	b->password = "s3cret";
	b->dev->features |= DEVICE_HAS_CIPSSLCCIPHER;
	expect_settings(
		b, &some,
		"AT+CIPSSLCCONF=0,0|AT+CIPSSLCCONF?|AT+CIPSSLCALPN=0,2,\"mqtt\",\"a\\,\\\"b\"|"
		"AT+CIPSSLCPSK=0,\"s3cret\",\"gw\"|AT+CIPSSLCCIPHER=0,2,0xC02B,0x009E|");
	some.psk = &psk_hex;
	expect_settings(b, &some,
			"AT+CIPSSLCALPN=0,2,\"mqtt\",\"a\\,\\\"b\"|"
			"AT+CIPSSLCPSKHEX=0,\"s3cret\",\"gw\"|AT+CIPSSLCCIPHER=0,2,0xC02B,0x009E|");
	/* A link that was open has forgotten ALPN and PSK; of the ciphers it is not known. */
	expect_settings(b, &none, "AT+CIPSSLCCIPHER=0,0|");
	expect_settings(b, &none, "");
}

/* What an attempt that failed has left must not be there for the next one (protocol fact 4). */
static void test_leftovers_are_cleared(void **state)
{
	struct link_target none = mutual, some = mutual;
	struct bench *b = *state;
	struct user *u;

	none.auth = some.auth = LINK_AUTH_NONE;
	some.alpn = &alpn;
	some.psk = &psk;
	b->password = "s3cret";
	chip_answer(b, "AT+CIPSTART", "\r\nERROR\r\n", 1);
	u = start(b, 0, &some);
	bench_run(b);
	assert_ended(u, LINK_END_UNEXPLAINED);
	expect_settings(b, &none, "AT+CIPCLOSE=0|AT+CIPSSLCALPN=0,0|AT+CIPSSLCPSK=0,\"\",\"\"|");
	expect_settings(b, &none, "");
	/* Also across a loss of step, when the chip was not reset: by the next bring-up, or later. */
	for (int fresh = 0; fresh < 2; fresh++) {
		b->dev->fresh = fresh;
		chip_answer(b, "AT+CIPSTART", "\r\nERROR\r\n", 1);
		start(b, 0, &some);
		bench_run(b);
		chip_say(b, "\r\nOK\r\n");
		bench_run(b);
		assert_int_equal(b->dev->state, DEVICE_READY);
		assert_int_equal(count_of(b->chip.told, "AT+CIPSSLCPSK=5,"), 1 - fresh);
		expect_settings(b, &none,
				fresh ? "AT+CIPSSLCCONF=0,0|AT+CIPSSLCCONF?|AT+CIPSSLCALPN=0,0|"
					"AT+CIPSSLCPSK=0,\"\",\"\"|"
				      : "AT+CIPSSLCCONF=0,0|AT+CIPSSLCCONF?|AT+CIPSSLCALPN=0,0|");
	}
}

/* What clears them may be refused, too, because the line has damaged it. */
static void test_leftovers_that_stay(void **state)
{
	struct link_target none = mutual, some = mutual;
	struct bench *b = *state;
	struct user *u;

	none.auth = some.auth = LINK_AUTH_NONE;
	some.alpn = &alpn;
	some.psk = &psk;
	b->password = "s3cret";
	chip_answer(b, "AT+CIPSTART", "\r\nERROR\r\n", 1);
	start(b, 0, &some);
	bench_run(b);
	for (int i = 0; i < 2; i++) {
		chip_answer(b, i == 0 ? "AT+CIPSSLCALPN=0,0" : "AT+CIPSSLCPSK=0,\"\"",
			    "\r\nERROR\r\n", 1);
		u = start(b, 0, &none);
		bench_run(b);
		assert_ended(u, LINK_END_SETTINGS);
	}
	/* ALPN was cleared the second time. */
	expect_settings(b, &none, "AT+CIPCLOSE=0|AT+CIPSSLCPSK=0,\"\",\"\"|");
	expect_settings(b, &none, "");
}

/* One espatd has set them, another one talks to the chip now, which was not reset. */
static void test_ciphers_of_another_one(void **state)
{
	struct link_target none = mutual;
	struct bench *b = *state;

	none.auth = LINK_AUTH_NONE;
	chip_answer(b, "AT+CMD?",
		    "+CMD:0,\"AT+SYSMFG\",0,1,1,0\r\n+CMD:1,\"AT+SYSTIMESTAMP\",0,1,1,0\r\n"
		    "+CMD:2,\"AT+CIPSSLCCONF\",0,1,1,0\r\n+CMD:3,\"AT+CIPSSLCSNI\",0,1,1,0\r\n"
		    "+CMD:4,\"AT+CIPSSLCCN\",0,1,1,0\r\n+CMD:5,\"AT+CIPRECVTYPE\",0,1,1,0\r\n"
		    "+CMD:6,\"AT+CIPSSLCCIPHER\",0,1,1,0\r\n\r\nOK\r\n",
		    1);
	chip_say(b, "\r\nOK\r\n"); /* of nobody's command */
	bench_run(b);
	assert_int_equal(b->dev->state, DEVICE_READY);
	assert_false(b->dev->fresh);
	expect_settings(
		b, &none,
		"AT+CIPSSLCCONF=0,0|AT+CIPSSLCCONF?|AT+CIPSSLCALPN=0,0|AT+CIPSSLCCIPHER=0,0|");
	expect_settings(b, &none, "");
}

static void test_psk_that_is_not_there(void **state)
{
	static const char *const bad[] = { NULL, "", "123456789012345678901234567890123" };
	struct link_target target = mutual;
	struct bench *b = *state;

	target.auth = LINK_AUTH_NONE;
	target.psk = &psk;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct user *u;

		b->password = bad[i];
		chip_forget(b);
		u = start(b, 0, &target);
		bench_run(b);
		assert_ended(u, LINK_END_NO_MATERIAL);
		assert_null(strstr(b->chip.told, "PSK"));
		assert_null(strstr(b->chip.told, "CIPSTART"));
		assert_int_equal(u->link->state, LINK_FREE);
	}
	b->password = "12345678901234567890123456789012";
	expect_settings(b, &target, "AT+CIPSSLCPSK=0,\"12345678901234567890123456789012\",\"gw\"|");
}

static void test_ciphers_need_the_firmware(void **state)
{
	struct link_target target = mutual;
	struct bench *b = *state;

	target.ciphers = ciphers;
	target.n_ciphers = 1;
	assert_int_equal(link_open(device_free_link(b->dev), &target, &user_ops, &users[0]),
			 -EOPNOTSUPP);
	assert_string_equal(b->chip.told, "");
}

static void test_start_arguments(void **state)
{
	static const struct {
		const char *host, *told;
		enum config_family family;
		unsigned int keep_alive;
		bool timeout;
	} rows[] = {
		{ "h", "AT+CIPSTART=0,\"SSL\",\"h\",8883,120|", CONFIG_FAMILY_AUTO, 120, false },
		{ "h", "AT+CIPSTART=0,\"SSL\",\"h\",8883,0,,20000|", CONFIG_FAMILY_IPV4, 0, true },
		{ "h", "AT+CIPSTART=0,\"SSLv6\",\"h\",8883,0|", CONFIG_FAMILY_IPV6, 0, false },
		{ "::1", "AT+CIPSTART=0,\"SSLv6\",\"::1\",8883,0|", CONFIG_FAMILY_AUTO, 0, false },
	};
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct link_target target = mutual;
		struct user *u;

		target.host = rows[i].host;
		target.family = rows[i].family;
		target.keep_alive = rows[i].keep_alive;
		target.timeout = 20;
		b->dev->features &= ~(unsigned int)DEVICE_HAS_CIPSTART_TIMEOUT;
		if (rows[i].timeout)
			b->dev->features |= DEVICE_HAS_CIPSTART_TIMEOUT;
		chip_forget(b);
		u = start(b, 0, &target);
		bench_run(b);
		assert_string_equal(strstr(b->chip.told, "AT+CIPSTART"), rows[i].told);
		link_close(u->link);
		bench_run(b);
	}
}

#define LONG_HOST "a123456789.b123456789.c123456789.d123456789.e123456789.f123456789.example"

/* A host that CIPSTART does not take is looked up first; its server has a shorter name. */
static void test_long_host(void **state)
{
	struct link_target target = mutual;
	struct bench *b = *state;
	struct user *u;

	target.host = LONG_HOST;
	chip_answer(b, "AT+CIPDOMAIN", "+CIPDOMAIN:\"192.0.2.7\"\r\n\r\nOK\r\n", 1);
	u = start(b, 0, &target);
	bench_run(b);
	assert_int_equal(u->opened, 1);
	assert_string_equal(b->chip.told, "AT+CIPDOMAIN=\"" LONG_HOST
					  "\"|AT+CIPSSLCCONF=0,3,3,5|AT+CIPSSLCCONF?|" NAMES
					  "AT+CIPSTART=0,\"SSL\",\"192.0.2.7\",8883,0|");
	link_close(u->link);
	bench_run(b);
	/* Not found, and found without an address. */
	for (int i = 0; i < 2; i++) {
		chip_answer(b, "AT+CIPDOMAIN", i ? "\r\nOK\r\n" : "\r\nERROR\r\n", 1);
		u = start(b, 0, &target);
		bench_run(b);
		assert_ended(u, LINK_END_NO_HOST);
	}
}

/* ---- why a connect failed ---- */

#define FINE_RAM "+SYSRAM:186132,179252\r\nOK\r\n"
#define FINE_TIME "+SYSTIMESTAMP:1790000000\r\nOK\r\n"

static struct user *fail_connect(struct bench *b, enum link_probe probe)
{
	struct user *u;

	chip_answer(b, "AT+CIPSTART=0,\"SSL\"", "\r\nERROR\r\n", 1);
	u = start(b, 0, &mutual);
	u->probe = probe;
	bench_run(b);
	return u;
}

static void test_diagnosis(void **state)
{
	static const struct {
		const char *ram, *clock, *domain, *tcp;
		enum link_end end;
	} rows[] = {
		{ "+SYSRAM:39999,1\r\nOK\r\n", "", "", "", LINK_END_MEMORY },
		{ FINE_RAM, "+SYSTIMESTAMP:12\r\nOK\r\n", "", "", LINK_END_CLOCK },
		{ FINE_RAM, "+SYSTIMESTAMP:1790000301\r\nOK\r\n", "", "", LINK_END_CLOCK },
		{ FINE_RAM, FINE_TIME, "\r\nERROR\r\n", "", LINK_END_NO_HOST },
		{ FINE_RAM, FINE_TIME, "+CIPDOMAIN:\"192.0.2.7\"\r\n\r\nOK\r\n", "\r\nERROR\r\n",
		  LINK_END_REFUSED },
		{ FINE_RAM, FINE_TIME, "+CIPDOMAIN:\"192.0.2.7\"\r\n\r\nOK\r\n",
		  "0,CONNECT\r\n\r\nOK\r\n", LINK_END_TLS },
		/* Firmware that does not answer a question as expected explains nothing by it. */
		{ "\r\nERROR\r\n", "\r\nERROR\r\n", "+CIPDOMAIN:\"192.0.2.7\"\r\n\r\nOK\r\n",
		  "\r\nERROR\r\n", LINK_END_REFUSED },
	};
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct user *u;

		teardown(state);
		setup(state);
		chip_answer(b, "AT+SYSRAM?", rows[i].ram, 1);
		chip_answer(b, "AT+SYSTIMESTAMP?", rows[i].clock, 1);
		chip_answer(b, "AT+CIPDOMAIN", rows[i].domain, 1);
		chip_answer(b, "AT+CIPSTART=0,\"TCP\"", rows[i].tcp, 1);
		u = fail_connect(b, LINK_PROBE_YES);
		if (u->ends != 1 || u->end != rows[i].end)
			fail_msg("row %zu: %d ends, %s", i, u->ends, link_end_text(u->end));
		bench_pass(b, 5 * TIMERS_S);
		assert_int_equal(u->link->state, LINK_FREE);
		assert_int_equal(b->dev->state, DEVICE_READY);
		assert_int_equal(b->chip.sent_len, 0);
		/* What was open is closed, and a wrong clock is set. */
		assert_int_equal(count_of(b->chip.told, "AT+CIPCLOSE=0|"),
				 rows[i].end == LINK_END_TLS);
		assert_int_equal(
			count_of(b->chip.told, "AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|"),
			rows[i].end == LINK_END_CLOCK);
		open_link(b, 0);
	}
}

static void test_diagnosis_that_is_not_wanted(void **state)
{
	struct bench *b = *state;
	struct user *u = fail_connect(b, LINK_PROBE_NO);

	assert_ended(u, LINK_END_UNEXPLAINED);
	assert_null(strstr(b->chip.told, "SYSRAM"));
	assert_int_equal(count_of(b->chip.told, "CIPSTART"), 1);
}

/* Others come first, and a free link is theirs meanwhile; after a while the reason stays open. */
static void test_diagnosis_waits(void **state)
{
	struct bench *b = *state;
	struct user *u = fail_connect(b, LINK_PROBE_LATER), *other;

	bench_pass(b, 1 * TIMERS_S);
	assert_int_equal(u->ends, 0);
	assert_true(u->asked > 1);
	other = open_link(b, 1);
	assert_int_equal(other->link->id, 1);
	bench_pass(b, 1500 * TIMERS_MS);
	assert_ended(u, LINK_END_UNEXPLAINED);
	assert_int_equal(count_of(b->chip.told, "TCP"), 0);
	assert_int_equal(count_of(b->chip.told, "CIPDOMAIN"), 0);
	bench_run(b);
	chip_forget(b);
	/* A link that moves holds it off; one that rests does not. */
	send_bytes(b, other, "x", 1);
	u = fail_connect(b, LINK_PROBE_YES);
	bench_pass(b, 500 * TIMERS_MS);
	assert_int_equal(u->ends, 0);
	assert_null(strstr(b->chip.told, "SYSRAM"));
	bench_pass(b, 700 * TIMERS_MS);
	assert_non_null(strstr(b->chip.told, "AT+SYSRAM?|"));
	assert_int_equal(u->ends, 1);
}

/* A chip that lost its clock gets it back though there is no quiet moment to look into anything. */
static void test_clock_is_lost_among_others(void **state)
{
	struct bench *b = *state;
	struct user *u;

	chip_answer(b, "AT+SYSRAM?", FINE_RAM, 1);
	chip_answer(b, "AT+SYSTIMESTAMP?", "+SYSTIMESTAMP:12\r\nOK\r\n", 1);
	u = fail_connect(b, LINK_PROBE_LATER);
	bench_pass(b, 2500 * TIMERS_MS);
	assert_ended(u, LINK_END_CLOCK);
	bench_run(b);
	assert_int_equal(count_of(b->chip.told, "AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|"), 1);
	open_link(b, 0);
}

/* Who goes away while the reason is looked for is not told. */
static void test_closed_by_the_user_during_the_diagnosis(void **state)
{
	static const char *const mute[] = { "AT+SYSRAM?", "AT+CIPSTART=0,\"TCP\"" };
	struct bench *b = *state;
	struct user *u = fail_connect(b, LINK_PROBE_LATER);

	link_close(u->link);
	bench_run(b);
	assert_int_equal(u->link->state, LINK_FREE);
	assert_int_equal(u->ends, 0);
	for (size_t i = 0; i < ARRAY_SIZE(mute); i++) {
		chip_answer(b, "AT+CIPDOMAIN", "\r\nOK\r\n", 1);
		chip_answer(b, mute[i], NULL, 1);
		chip_answer(b, "AT+SYSTIMESTAMP?", FINE_TIME, 1);
		u = fail_connect(b, LINK_PROBE_YES);
		assert_int_equal(u->ends, 0);
		link_close(u->link);
		chip_say(b, i == 0 ? "\r\nERROR\r\n" : "0,CONNECT\r\n\r\nOK\r\n");
		bench_run(b);
		bench_pass(b, 5 * TIMERS_S);
		assert_int_equal(u->ends, 0);
		assert_int_equal(u->link->state, LINK_FREE);
		assert_int_equal(b->dev->state, DEVICE_READY);
		memset(b->chip.answers, 0, sizeof(b->chip.answers));
	}
}

/* Clients that come meanwhile are not kept waiting by questions that may take seconds. */
static void test_diagnosis_gives_way(void **state)
{
	static const struct {
		const char *mute, *answer, *next;
		enum link_end end;
	} rows[] = {
		{ "AT+SYSTIMESTAMP?", FINE_TIME, "AT+CIPDOMAIN", LINK_END_UNEXPLAINED },
		{ "AT+CIPDOMAIN", "+CIPDOMAIN:\"192.0.2.7\"\r\n\r\nOK\r\n", "AT+CIPSTART=0,\"TCP\"",
		  LINK_END_UNEXPLAINED },
		/* What was opened is closed all the same, and tells as much. */
		{ "AT+CIPSTART=0,\"TCP\"", "0,CONNECT\r\n\r\nOK\r\n", "AT+SYSMFG", LINK_END_TLS },
	};
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct user *u;

		teardown(state);
		setup(state);
		chip_answer(b, rows[i].mute, NULL, 1);
		chip_answer(b, "AT+SYSRAM?", FINE_RAM, 1);
		chip_answer(b, "AT+SYSTIMESTAMP?", FINE_TIME, 1);
		chip_answer(b, "AT+CIPDOMAIN", "+CIPDOMAIN:\"192.0.2.7\"\r\n\r\nOK\r\n", 1);
		u = fail_connect(b, LINK_PROBE_YES);
		assert_int_equal(u->ends, 0);
		assert_int_equal(count_of(b->chip.told, rows[i].mute), 1);
		u->others = true;
		chip_say(b, rows[i].answer);
		bench_run(b);
		assert_ended(u, rows[i].end);
		assert_int_equal(count_of(b->chip.told, rows[i].next), 0);
		assert_int_equal(count_of(b->chip.told, "AT+CIPCLOSE=0|"),
				 rows[i].end == LINK_END_TLS);
		assert_int_equal(u->link->state, LINK_FREE);
		open_link(b, 0);
	}
}

static void test_silence_is_a_timeout(void **state)
{
	struct bench *b = *state;
	struct link_target target = mutual;
	struct user *u;

	for (int known = 0; known < 2; known++) {
		if (known)
			b->dev->features |= DEVICE_HAS_CIPSTART_TIMEOUT;
		target.timeout = 5;
		chip_answer(b, "AT+CIPSTART", chip_works, 1);
		u = start(b, 0, &target);
		u->probe = LINK_PROBE_YES;
		bench_run(b);
		bench_pass(b, known ? 4900 * TIMERS_MS : 9900 * TIMERS_MS);
		chip_say(b, "\r\nERROR\r\n");
		bench_run(b);
		assert_ended(u, LINK_END_TIMEOUT);
		assert_null(strstr(b->chip.told, "SYSRAM"));
	}
}

/* A certificate that is expired for the chip, and a CA that is not the one that was written. */
static void test_errno_is_looked_into(struct bench *b)
{
	static const struct {
		const char *answer, *clock, *told;
		enum link_end end;
	} rows[] = {
		{ "+ERRNO:0x1\r\n\r\nERROR\r\n", FINE_TIME, "AT+SYSTIMESTAMP?|", LINK_END_TLS },
		{ "+ERRNO:0x200\r\n\r\nERROR\r\n", "+SYSTIMESTAMP:12\r\nOK\r\n",
		  "AT+SYSTIMESTAMP?|AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|", LINK_END_CLOCK },
		{ "+ERRNO:0x8\r\n\r\nERROR\r\n", "", "", LINK_END_TLS },
		{ "+ERRNO:0x4\r\n\r\nERROR\r\n", "", "", LINK_END_TLS },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct user *u;

		chip_answer(b, "AT+SYSTIMESTAMP?", rows[i].clock, rows[i].clock[0] ? 1 : 0);
		chip_answer(b, "AT+CIPSTART", rows[i].answer, 1);
		u = start(b, 0, &mutual);
		u->probe = LINK_PROBE_YES;
		chip_forget(b);
		bench_run(b);
		assert_ended(u, rows[i].end);
		assert_string_equal(strchr(strstr(b->chip.told, "AT+CIPSTART"), '|') + 1,
				    rows[i].told);
	}
}

/* Firmware that tells the reason is asked to after the first failure, and believed from then on. */
static void test_errno(void **state)
{
	static const struct {
		const char *answer;
		enum link_end end;
	} rows[] = {
		{ "ERR CODE:0x010a0000\r\n+ERRNO:0x7f00\r\n\r\nERROR\r\n", LINK_END_MEMORY },
		{ "+ERRNO:0x1\r\n\r\nERROR\r\n", LINK_END_TLS },
		{ "+ERRNO:0x8001\r\n\r\nERROR\r\n", LINK_END_NO_HOST },
		{ "+ERRNO:0x8004\r\n\r\nERROR\r\n", LINK_END_REFUSED },
		{ "+ERRNO:0x1234\r\n\r\nERROR\r\n", LINK_END_UNEXPLAINED },
	};
	struct bench *b = *state;
	struct user *u;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		chip_answer(b, "AT+CIPSTART", rows[i].answer, 1);
		u = start(b, 0, &mutual);
		bench_run(b);
		assert_ended(u, rows[i].end);
	}
	assert_null(strstr(b->chip.told, "SYSLOG"));
	assert_null(strstr(b->chip.told, "SYSTIMESTAMP"));
	test_errno_is_looked_into(b);
	b->dev->features |= DEVICE_HAS_CIPCONNPERSIST;
	for (int i = 0; i < 2; i++) {
		chip_answer(b, "AT+SYSRAM?", "+SYSRAM:1,1\r\nOK\r\n", 1);
		u = fail_connect(b, LINK_PROBE_YES);
		assert_ended(u, LINK_END_MEMORY);
	}
	assert_int_equal(count_of(b->chip.told, "AT+SYSLOG=1|"), 1);
	/* A reset makes it forget. */
	chip_say(b, "\r\nready\r\n");
	assert_int_equal(b->dev->state, DEVICE_READY);
	assert_false(b->dev->tells_errno);
}

static void test_wifi_explains_it(void **state)
{
	struct bench *b = *state;
	struct user *u;

	chip_answer(b, "AT+CIPSTART", "WIFI DISCONNECT\r\n\r\nERROR\r\n", 1);
	u = start(b, 0, &mutual);
	u->probe = LINK_PROBE_YES;
	bench_run(b);
	assert_ended(u, LINK_END_WIFI);
	assert_null(strstr(b->chip.told, "SYSRAM"));
}

static void test_name_that_no_command_carries(void **state)
{
	struct bench *b = *state;
	struct link_target target = mutual;
	char name[300];
	struct link *link = device_free_link(b->dev);

	target.server_name = "x\r\nAT+RST";
	assert_int_equal(link_open(link, &target, &user_ops, &users[0]), -EINVAL);
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	target.server_name = name;
	assert_int_equal(link_open(link, &target, &user_ops, &users[0]), -E2BIG);
	target.server_name = "x";
	target.host = name;
	assert_int_equal(link_open(link, &target, &user_ops, &users[0]), -E2BIG);
	bench_run(b);
	assert_string_equal(b->chip.told, "");
	assert_int_equal(users[0].ends, 0);
	open_link(b, 0);
}

static void test_five_links_and_no_sixth(void **state)
{
	struct bench *b = *state;
	struct user *u;

	start(b, 0, &mutual);
	assert_null(device_free_link(b->dev)); /* a handshake is under way */
	bench_run(b);
	for (size_t i = 1; i < AT_LINKS; i++)
		assert_int_equal(open_link(b, i)->link->id, (int)i);
	assert_null(device_free_link(b->dev));
	b->rooms = 0;
	u = &users[2];
	link_close(u->link);
	bench_run(b);
	assert_true(b->rooms > 0);
	assert_ptr_equal(device_free_link(b->dev), u->link);
	assert_int_equal(u->ends, 0); /* who closes is not told */
}

/* ---- ends ---- */

static void test_closed_by_the_server(void **state)
{
	struct bench *b = *state;
	struct user *u = open_link(b, 0), *other = open_link(b, 1);

	b->chip.open[0] = false;
	chip_forget(b);
	chip_say(b, "\r\n+IPD,0,5:bye\r\n\r\n0,CLOSED\r\n");
	assert_ended(u, LINK_END_PEER);
	assert_memory_equal(u->data, "bye\r\n", 5);
	assert_int_equal(u->data_ends, 1);
	assert_int_equal(u->link->state, LINK_FREE);
	assert_string_equal(b->chip.told, ""); /* nothing is left to close */
	assert_int_equal(other->ends, 0);
	chip_say(b, "0,CLOSED\r\n"); /* once more, on a free link */
	assert_int_equal(b->dev->state, DEVICE_READY);
}

static void test_closed_by_the_user_while_connecting(void **state)
{
	struct bench *b = *state;
	struct user *u = start(b, 0, &mutual);

	link_close(u->link);
	bench_run(b);
	assert_int_equal(u->link->state, LINK_FREE);
	assert_null(strstr(b->chip.told, "CIPSTART"));
	chip_answer(b, "AT+CIPSTART", NULL, 1);
	u = start(b, 0, &mutual);
	bench_run(b);
	assert_int_equal(u->link->state, LINK_CONNECTING);
	link_close(u->link);
	b->chip.open[0] = true;
	chip_say(b, "0,CONNECT\r\n\r\nOK\r\n");
	assert_non_null(strstr(b->chip.told, "AT+CIPCLOSE=0|"));
	assert_int_equal(u->link->state, LINK_FREE);
	assert_int_equal(u->ends, 0);
	assert_int_equal(u->opened, 0);
}

/* CLOSED after the OK of CIPCLOSE: the next user's link must not end by it. */
static void test_late_closed(void **state)
{
	struct bench *b = *state;
	struct user *u = open_link(b, 0);

	chip_answer(b, "AT+CIPCLOSE=0", "\r\nOK\r\n", 1);
	link_close(u->link);
	bench_run(b);
	b->chip.open[0] = false;
	assert_int_equal(u->link->state, LINK_CLOSING);
	assert_int_equal(device_free_link(b->dev)->id, 1);
	chip_say(b, "0,CLOSED\r\n");
	assert_int_equal(u->link->state, LINK_FREE);
	/* It never comes: the wait is bounded. */
	u = open_link(b, 0);
	chip_answer(b, "AT+CIPCLOSE=0", "\r\nOK\r\n", 1);
	link_close(u->link);
	bench_pass(b, 2 * TIMERS_S);
	assert_int_equal(u->link->state, LINK_FREE);
}

/* The chip has link 0, and refuses it; for the next attempt it is closed first. Returns who has it then. */
static struct user *open_what_is_open(struct bench *b)
{
	struct user *u;

	chip_answer(b, "AT+CIPSTART", "\r\nERROR\r\n", 1);
	u = start(b, 0, &mutual);
	u->probe = LINK_PROBE_NO;
	bench_run(b);
	assert_int_equal(u->ends, 1);
	chip_forget(b);
	u = open_link(b, 0);
	assert_int_equal(strncmp(b->chip.told, "AT+CIPCLOSE=0|AT+CIPSSLC", 24), 0);
	assert_int_equal(u->opened, 1);
	return u;
}

/* The line has damaged the command, and the chip still has the link: the next user gets it all the same. */
static void test_close_that_was_not_understood(void **state)
{
	struct bench *b = *state;
	struct user *u = open_link(b, 0);

	chip_answer(b, "AT+CIPCLOSE=0", "\r\nERROR\r\n", 2);
	link_close(u->link);
	bench_run(b);
	assert_int_equal(u->link->state, LINK_FREE);
	assert_true(b->chip.open[0]);
	/* It is not understood again, and the chip refuses a link that it has. */
	u = open_what_is_open(b);
	/* Now it is known to be closed. */
	link_close(u->link);
	bench_run(b);
	chip_forget(b);
	open_link(b, 0);
	assert_null(strstr(b->chip.told, "CIPCLOSE"));
}

/* A CLOSED of the connection before ends the next one, which the chip still has: one attempt fails, not all. */
static void test_closed_of_the_one_before(void **state)
{
	struct bench *b = *state;
	struct user *u = open_link(b, 0);

	chip_say(b, "0,CLOSED\r\n");
	assert_ended(u, LINK_END_PEER);
	assert_true(b->chip.open[0]);
	open_what_is_open(b);
}

static void test_ready_ends_all_links(void **state)
{
	struct bench *b = *state;
	struct user *one = open_link(b, 0), *two = open_link(b, 1), *three;

	send_bytes(b, two, "abc", 3);
	three = start(b, 2, &mutual);
	memset(b->chip.open, 0, sizeof(b->chip.open));
	b->chip.in_len = 0;
	b->chip.echo = true;
	chip_say(b, "\r\nready\r\n");
	assert_ended(one, LINK_END_RESET);
	assert_ended(two, LINK_END_RESET);
	assert_ended(three, LINK_END_RESET);
	/* The send is cancelled first: the chip may not have said that. */
	bench_pass(b, 1 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_READY);
	assert_non_null(strstr(b->chip.told, "AT+CIPMUX=1|"));
	assert_null(strstr(b->chip.told, "SYSMFG=2"));
	open_link(b, 0);
}

/*
 * The head of a block was lost, or damaged, while a prompt was awaited, and its server has said `ready`: the prompt
 * comes all the same. What the device says next is nobody's data, and what links have kept is still there.
 */
static void test_ready_that_a_server_has_said(void **state)
{
	static const char *const heads[] = { "", "\x01IPD,0,9:\r\n" };
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		struct user *u = open_link(b, 0);

		chip_answer(b, "AT+CIPSEND", NULL, 1);
		send_bytes(b, u, "abc", 3);
		bench_run(b);
		b->dev->fresh = false;
		b->chip.wanted = 3;
		strcpy(b->chip.wanted_for, "AT+CIPSEND=0,3");
		chip_say(b, heads[i]);
		chip_say(b, "ready\r\n\r\n\r\nOK\r\n\r\n>");
		assert_ended(u, LINK_END_RESET);
		bench_pass(b, 2 * TIMERS_S);
		assert_int_equal(b->dev->state, DEVICE_READY);
		assert_int_equal(b->chip.sent_len, 0);
		assert_false(b->dev->fresh);
	}
}

static void test_unanswered_command_ends_all(void **state)
{
	struct bench *b = *state;
	struct user *u = open_link(b, 0);

	chip_answer(b, "AT+CIPSEND", NULL, 1);
	send_bytes(b, u, "abc", 3);
	bench_pass(b, 60 * TIMERS_S);
	assert_ended(u, LINK_END_RESET);
	assert_int_equal(b->dev->state, DEVICE_READY);
}

/* Bytes were lost of whichever link has moved; the others end because the chip is looked for again. */
static void test_lost_bytes_end_all(void **state)
{
	struct bench *b = *state;
	struct user *idle = open_link(b, 0), *a, *c;

	bench_pass(b, 5 * TIMERS_S);
	a = open_link(b, 1);
	c = open_link(b, 2);
	device_bytes_lost(b->dev, "overruns 1");
	assert_ended(a, LINK_END_LOST);
	assert_ended(c, LINK_END_LOST);
	assert_ended(idle, LINK_END_RESET);
	bench_pass(b, 20 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_READY);
}

/* WIFI DISCONNECT is followed by CLOSED of each link (protocol fact 23). */
static void test_wifi_loss_ends_links(void **state)
{
	struct bench *b = *state;
	struct user *u = open_link(b, 0);

	memset(b->chip.open, 0, sizeof(b->chip.open));
	chip_say(b, "WIFI DISCONNECT\r\n0,CLOSED\r\n");
	bench_pass(b, 20 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_READY);
	assert_int_equal(u->ends, 1);
	assert_int_equal(u->link->state, LINK_FREE);
}

/* Its CLOSED was lost: who only receives would hold the link for ever. */
static void test_closed_that_was_lost(void **state)
{
	struct bench *b = *state;
	struct user *u[AT_LINKS];

	for (size_t i = 0; i < AT_LINKS; i++)
		u[i] = open_link(b, i);
	b->chip.open[1] = b->chip.open[3] = false;
	bench_pass(b, 5 * TIMERS_S);
	assert_int_equal(u[1]->link->missing, 1);
	assert_int_equal(u[1]->ends, 0);
	bench_pass(b, 10 * TIMERS_S);
	for (size_t i = 0; i < AT_LINKS; i++) {
		if (i % 2)
			assert_ended(u[i], LINK_END_LOST);
		else
			assert_int_equal(u[i]->link->state, LINK_OPEN);
	}
	assert_ptr_equal(device_free_link(b->dev), u[1]->link);
	/* One that is closed in time, or whose answer was damaged once, is not missing. */
	u[1] = open_link(b, 1);
	chip_answer(b, "AT+CIPSTATE?",
		    "+CIPSTATE:0,\"SSL\",\"10.0.2.2\",8883,53550,0\r\n\r\nOK\r\n", 1);
	bench_pass(b, 60 * TIMERS_S);
	chip_answer(b, "AT+CIPSTATE?", "\r\nERROR\r\n", 1);
	bench_pass(b, 600 * TIMERS_S);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(u[i]->link->state, LINK_OPEN);
	b->chip.open[2] = false;
	for (int i = 0; i < 61 && u[2]->link->missing == 0; i++)
		bench_pass(b, 1 * TIMERS_S);
	assert_int_equal(u[2]->link->missing, 1);
	chip_say(b, "2,CLOSED\r\n");
	assert_ended(u[2], LINK_END_PEER);
}

/* Without a network CIPSTART would only hold the chip up (capture 02). */
static void test_wifi_loss_before_the_connect(void **state)
{
	struct bench *b = *state;
	struct user *u;

	chip_answer(b, "AT+CIPSSLCCN", chip_works, 1);
	u = start(b, 0, &mutual);
	bench_run(b);
	b->chip.joined = false;
	chip_say(b, "WIFI DISCONNECT\r\n");
	assert_int_equal(u->ends, 0);
	chip_forget(b);
	chip_say(b, "\r\nOK\r\n");
	assert_ended(u, LINK_END_WIFI);
	assert_null(strstr(b->chip.told, "AT+CIPSTART"));
	assert_int_equal(u->link->state, LINK_FREE);
	bench_pass(b, 20 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_READY);
}

/* Once a day the clock is set: links stay open, and what comes meanwhile counts. */
static void test_clock_refresh_loses_nothing(void **state)
{
	struct bench *b = *state;
	struct user *u = open_link(b, 0), *two = open_link(b, 1);

	chip_forget(b);
	chip_answer(b, "AT+SYSTIMESTAMP", "\r\n+IPD,0,3:abc\r\n1,CLOSED\r\n\r\nOK\r\n", 1);
	bench_pass(b, 24 * 3600 * TIMERS_S + TIMERS_S);
	assert_non_null(strstr(b->chip.told, "SYSTIMESTAMP"));
	assert_int_equal(b->dev->state, DEVICE_READY);
	assert_int_equal(u->ends, 0);
	assert_int_equal(u->len, 3);
	assert_ended(two, LINK_END_PEER);
}

/* ---- data ---- */

static void test_data_of_nobody_is_trouble(void **state)
{
	struct bench *b = *state;
	struct user *u = open_link(b, 0);

	chip_say(b, "\r\n+IPD,3,3:abc\r\n");
	bench_pass(b, 20 * TIMERS_S);
	assert_ended(u, LINK_END_RESET);
	assert_string_equal(b->states, ">probing>identifying>configuring>provisioning>joining"
				       ">setting-clock>ready");
}

static void test_connection_of_nobody_is_trouble(void **state)
{
	struct bench *b = *state;
	struct user *u = open_link(b, 0);

	chip_say(b, "4,CONNECT\r\n");
	bench_pass(b, 20 * TIMERS_S);
	assert_ended(u, LINK_END_RESET);
	assert_int_equal(b->dev->state, DEVICE_READY);
}

/*
 * The kernel tells of lost bytes up to 100 ms late: links that have moved since are told why they end, and no
 * other one is believed either.
 */
static void test_bytes_are_lost(void **state)
{
	struct bench *b = *state;
	struct user *idle = open_link(b, 0), *received = open_link(b, 1), *sent = open_link(b, 2);
	struct user *half = open_link(b, 3), *connecting;

	bench_pass(b, 2 * TIMERS_S);
	chip_answer(b, "AT+CIPSTART=4", NULL, 1);
	connecting = start(b, 4, &mutual);
	bench_run(b);
	chip_say(b, "\r\n+IPD,1,3:abc\r\n");
	send_bytes(b, sent, "abc", 3);
	chip_say(b, "\r\n+IPD,3,4:ab");
	device_bytes_lost(b->dev, "overruns 1");
	assert_ended(received, LINK_END_LOST);
	assert_ended(sent, LINK_END_LOST);
	assert_ended(half, LINK_END_LOST);
	assert_ended(idle, LINK_END_RESET);
	assert_ended(connecting, LINK_END_RESET);
	/* Of the block that was not whole nothing is said to be right. */
	assert_int_equal(half->data_ends, 0);
	assert_int_equal(received->data_ends, 1);
	/* And the rest of it is nobody's. */
	memset(b->chip.open, 0, sizeof(b->chip.open));
	chip_say(b, "cd\r\n\r\n+IPD,1,3:abc\r\n");
	bench_pass(b, 20 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_READY);
	assert_int_equal(received->data_ends, 1);
	open_link(b, 5);
}

/* Whatever is found to be wrong on the line ends all links, and the chip is looked for anew. */
static void test_mismatch_condemns_all(void **state)
{
	static const char *const wrong[] = {
		"\r\n+IPD,0,3:abcd\r\n", /* a block does not end where it should */
		"\r\n+IPD,0,3:ab\r\n\r\nx",
		"\r\n+IPD,0,3:abc\r\n+IPD,1,3:abc\r\n", /* a report without its line end */
		"\r\n+IPD,1,3\x01",                     /* a control character */
		"\r\nIPD,0,3:abc\r\n",                  /* a line that nobody says */
		"\r\n+IPD,0,99999999999:",
		"\r\n+IPD,0,-5:abc\r\n",
		"\r\n+IPD,0,16385:",
		"\r\n+IPD,0,0:\r\n",
		"\r\n+IPD,9,3:abc\r\n",
		"\r\n+IPD,3:abc\r\n",
		"\r\n+IPD,4,3:abc\r\n", /* a link that is not open */
		"4,CONNECT\r\n",
		"0,CONNECT\r\n", /* nor one that is so already */
		"\r\nOK\r\n",
		"\r\nSEND OK\r\n",
		"\r\n>",
		"\r\nbusy p...\r\n",
		"+CIPRECVDATA:3,abc\r\n",
	};
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct user *one, *two;

		teardown(state);
		setup(state);
		b = *state;
		one = open_link(b, 0);
		two = open_link(b, 1);
		chip_say(b, wrong[i]);
		if (one->ends != 1 || two->ends != 1)
			fail_msg("%s: %d and %d ends", wrong[i], one->ends, two->ends);
		assert_ended(one, LINK_END_RESET);
		assert_ended(two, LINK_END_RESET);
		assert_int_equal(two->data_ends, 0);
		memset(b->chip.open, 0, sizeof(b->chip.open));
		bench_pass(b, 40 * TIMERS_S);
		assert_int_equal(b->dev->state, DEVICE_READY);
		assert_int_equal(one->ends + two->ends, 2);
	}
}

static void test_send(void **state)
{
	static uint8_t data[LINK_BLOCK_MAX];
	struct bench *b = *state;
	struct user *u = open_link(b, 0);
	size_t size;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 31 + i / 256);
	chip_forget(b);
	send_bytes(b, u, data, sizeof(data));
	assert_null(link_tx_buffer(u->link, &size)); /* one at a time */
	bench_run(b);
	assert_string_equal(b->chip.told, "AT+CIPSEND=0,8192|[8192]|");
	assert_int_equal(u->sents, 1);
	assert_memory_equal(b->chip.sent, data, sizeof(data));
	assert_non_null(link_tx_buffer(u->link, &size));
}

/* A client's bytes can never cancel a send (protocol fact 20). */
static void test_plus(void **state)
{
	static const char *const texts[] = {
		"+++",           "abc+++", "+++abc", "++++++++++",
		"a++b+++c++++d", "++",     "+",      "+++\r\nAT+RST\r\n",
	};
	struct bench *b = *state;
	struct user *u = open_link(b, 0);
	static char many[8192];

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		b->chip.sent_len = 0;
		send_bytes(b, u, texts[i], strlen(texts[i]));
		bench_run(b);
		assert_int_equal(b->chip.sent_len, strlen(texts[i]));
		assert_memory_equal(b->chip.sent, texts[i], strlen(texts[i]));
		assert_int_equal(u->sents, (int)i + 1);
	}
	b->chip.sent_len = 0;
	chip_forget(b);
	memset(many, '+', 1000);
	send_bytes(b, u, many, 1000);
	bench_run(b);
	assert_int_equal(b->chip.sent_len, 1000);
	assert_memory_equal(b->chip.sent, many, 1000);
	assert_int_equal(b->chip.blocks_with_plus, 0);
}

/* What is added before its turn goes along. */
static void test_send_waits_and_grows(void **state)
{
	static char many[LINK_BLOCK_MAX];
	struct bench *b = *state;
	struct user *a = open_link(b, 0), *c = open_link(b, 1);
	size_t size;

	chip_forget(b);
	send_bytes(b, a, "one", 3);
	send_bytes(b, c, "two", 3);
	assert_true(link_tx_pending(c->link));
	assert_null(link_tx_buffer(a->link, &size)); /* it is in flight */
	send_bytes(b, c, " three++", 8);
	send_bytes(b, c, "+", 1);
	bench_run(b);
	assert_string_equal(b->chip.told,
			    "AT+CIPSEND=0,3|[3]|AT+CIPSEND=1,11|[11]|AT+CIPSEND=1,1|[1]|");
	assert_memory_equal(b->chip.sent, "onetwo three+++", 15);
	assert_int_equal(c->sents, 1);
	assert_false(link_tx_pending(c->link));
	/* It has sent little of late, so the others' blocks are short. */
	memset(many, 'x', sizeof(many));
	assert_non_null(link_tx_buffer(a->link, &size));
	assert_int_equal(size, LINK_BLOCK_SHORT);
	bench_pass(b, 3 * TIMERS_S);
	assert_non_null(link_tx_buffer(a->link, &size));
	assert_int_equal(size, LINK_BLOCK_MAX);
	chip_forget(b);
	send_bytes(b, a, many, 5000);
	send_bytes(b, c, many, 5000);
	send_bytes(b, c, many, LINK_BLOCK_MAX - 5000);
	assert_null(link_tx_buffer(c->link, &size)); /* full */
	bench_run(b);
	assert_string_equal(b->chip.told, "AT+CIPSEND=0,5000|[5000]|AT+CIPSEND=1,8192|[8192]|");
}

/* Of a block that the chip did not take whole before it was reset nothing more may go out. */
static void test_reset_discards(void **state)
{
	struct bench *b = *state;
	struct user *u = open_link(b, 0);
	unsigned int before = b->discards;

	send_bytes(b, u, "AT+RST\r\n", 8);
	assert_int_equal(b->discards, before);
	chip_say(b, "\r\nready\r\n");
	assert_int_equal(b->discards, before + 1);
	assert_ended(u, LINK_END_RESET);
}

/* Long blocks, where the line has flow control and nobody else wants it. */
static void test_stream(void **state)
{
	static char many[LINK_STREAM_MAX];
	struct bench *b = *state;
	struct user *a, *c;
	size_t size;

	b->dev->rtscts = true;
	device_note(b->dev, DEVICE_FACT_LINE);
	chan_set_baud(&b->dev->chan, 921600);
	a = open_link(b, 0);
	assert_non_null(strstr(b->chip.told, "AT+CIPSENDLCFG=4096,2920|"));
	c = open_link(b, 1);
	bench_pass(b, 3 * TIMERS_S);
	for (size_t i = 0; i < sizeof(many); i++)
		many[i] = (char)(i * 31 + i / 251);
	chip_forget(b);
	b->chip.sent_len = 0;
	assert_non_null(link_tx_buffer(a->link, &size));
	assert_int_equal(size, 110599); /* 1.2 s of the line */
	/* It waits for more, but not for long. */
	send_bytes(b, a, many, 60000);
	bench_run(b);
	assert_string_equal(b->chip.told, "");
	send_bytes(b, a, many + 60000, 30000);
	bench_pass(b, TIMERS_MS);
	assert_string_equal(b->chip.told, "AT+CIPSENDL=0,90000|[90000]|");
	assert_memory_equal(b->chip.sent, many, 90000);
	assert_int_equal(a->sents, 1);
	/* What is not long goes as ever, and so does what may have three `+` in a row. */
	chip_forget(b);
	send_bytes(b, a, many, 8192);
	bench_run(b);
	memset(many + 20000, '+', 4);
	send_bytes(b, a, many, 30000);
	bench_pass(b, TIMERS_MS);
	assert_string_equal(b->chip.told, "AT+CIPSEND=0,8192|[8192]|AT+CIPSENDL=0,20002|[20002]|"
					  "AT+CIPSEND=0,8192|[8192]|AT+CIPSEND=0,1806|[1806]|");
	assert_int_equal(b->chip.blocks_with_plus, 0);
	/* Another one sends much, too: they take turns, longer ones where each has to wait for its prompt. */
	chip_forget(b);
	b->dev->chan.prompt_took = 1 * TIMERS_MS;
	send_bytes(b, c, many, 20000);
	assert_non_null(link_tx_buffer(a->link, &size));
	assert_int_equal(size, LINK_BLOCK_MAX);
	b->dev->chan.prompt_took = 30 * TIMERS_MS;
	assert_non_null(link_tx_buffer(a->link, &size));
	assert_int_equal(size, 38709);
	send_bytes(b, a, many, 20000);
	bench_pass(b, TIMERS_MS);
	assert_string_equal(b->chip.told,
			    "AT+CIPSENDL=1,20000|[20000]|AT+CIPSENDL=0,20000|[20000]|");
	/* What it has gathered is dropped with it. */
	chip_forget(b);
	send_bytes(b, a, many, 20000);
	link_close(a->link);
	bench_pass(b, TIMERS_S);
	assert_string_equal(b->chip.told, "AT+CIPCLOSE=0|");
	a = open_link(b, 0);
	bench_pass(b, 3 * TIMERS_S);
	/* One is being connected. */
	start(b, 2, &mutual);
	assert_non_null(link_tx_buffer(a->link, &size));
	assert_int_equal(size, LINK_BLOCK_MAX);
	bench_run(b);
	bench_pass(b, 3 * TIMERS_S);
	/* Another one has just sent little. */
	send_bytes(b, c, "x", 1);
	bench_run(b);
	assert_non_null(link_tx_buffer(a->link, &size));
	assert_int_equal(size, LINK_BLOCK_SHORT);
	/* The verdict is the same as of a short block. */
	bench_pass(b, 3 * TIMERS_S);
	chip_answer(b, "[payload]", "\r\nSEND FAIL\r\n", 1);
	send_bytes(b, a, many, 19000);
	bench_pass(b, TIMERS_MS);
	assert_ended(a, LINK_END_SEND);
	assert_int_equal(c->ends, 0);
}

static void test_block_len(void **state)
{
	static uint8_t data[LINK_BLOCK_MAX + 10];
	uint64_t seed = 0x5eed0006;

	memset(data, 'x', sizeof(data));
	assert_int_equal(link_block_len(data, sizeof(data)), sizeof(data));
	assert_int_equal(link_block_len(data, 1), 1);
	assert_int_equal(link_block_len((const uint8_t *)"+++", 3), 2);
	assert_int_equal(link_block_len((const uint8_t *)"++", 2), 2);
	/* A run over the end stays in bounds, too. */
	memset(data + sizeof(data) - 4, '+', 4);
	assert_int_equal(link_block_len(data, sizeof(data) - 2), sizeof(data) - 2);
	assert_int_equal(link_block_len(data, sizeof(data) - 1), sizeof(data) - 2);
	for (size_t round = 0; round < 2000; round++) {
		size_t len = test_random_below(&seed, 200) + 1, off = 0;

		for (size_t i = 0; i < len; i++)
			data[i] = test_random_below(&seed, 3) ? '+' : 'a';
		while (off < len) {
			size_t n = link_block_len(data + off, len - off);

			assert_in_range(n, 1, len - off);
			assert_null(memmem(data + off, n, "+++", 3));
			off += n;
		}
		assert_int_equal(off, len);
	}
}

static void test_doubtful_send_closes(void **state)
{
	static const char *const verdicts[] = {
		"\r\nRecv 3 bytes\r\n\r\nSEND FAIL\r\n",
		"\r\nRecv 4 bytes\r\n\r\nSEND OK\r\n",
		"\r\nSEND Canceled\r\n",
		"\r\nERROR\r\n",
		"\r\nbusy p...\r\n\r\nRecv 3 bytes\r\n\r\nSEND OK\r\n",
	};
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++) {
		struct user *u = open_link(b, 0);

		chip_answer(b, "[payload]", verdicts[i], 1);
		chip_forget(b);
		send_bytes(b, u, "abc", 3);
		bench_run(b);
		assert_ended(u, LINK_END_SEND);
		assert_int_equal(u->sents, 0);
		/* Not sent again, closed, and usable again. */
		assert_string_equal(b->chip.told, "AT+CIPSEND=0,3|[3]|AT+CIPCLOSE=0|");
		assert_int_equal(u->link->state, LINK_FREE);
		assert_int_equal(b->dev->state, DEVICE_READY);
	}
}

/* The server closes while the chip waits for the payload (capture 30). */
static void test_closed_during_a_send(void **state)
{
	struct bench *b = *state;
	struct user *u = open_link(b, 0);

	chip_answer(b, "[payload]", "0,CLOSED\r\n\r\nRecv 3 bytes\r\n\r\nSEND FAIL\r\n", 1);
	chip_forget(b);
	send_bytes(b, u, "abc", 3);
	bench_run(b);
	b->chip.open[0] = false;
	assert_ended(u, LINK_END_PEER);
	assert_string_equal(b->chip.told, "AT+CIPSEND=0,3|[3]|");
	assert_int_equal(u->link->state, LINK_FREE);
	open_link(b, 0);
}

static void test_hold(void **state)
{
	struct bench *b = *state;
	struct user *u = open_link(b, 0);

	chip_forget(b);
	link_hold(u->link, true);
	link_hold(u->link, true);
	bench_run(b);
	assert_string_equal(b->chip.told, "AT+CIPRECVTYPE=0,1|");
	chip_say(b, "\r\n+IPD,0,1440\r\n"); /* a notice is no data */
	assert_int_equal(u->len, 0);
	link_hold(u->link, false);
	link_hold(u->link, true);
	link_hold(u->link, false);
	bench_run(b);
	assert_string_equal(b->chip.told, "AT+CIPRECVTYPE=0,1|AT+CIPRECVTYPE=0,0|");
	/* A link that ends while held does not leave the next one so. */
	link_hold(u->link, true);
	bench_run(b);
	link_close(u->link);
	bench_run(b);
	assert_false(u->link->passive);
	/* Refused: what a stalled client gets can not be bounded any more. */
	u = open_link(b, 0);
	chip_answer(b, "AT+CIPRECVTYPE", "\r\nERROR\r\n", 1);
	link_hold(u->link, true);
	bench_run(b);
	assert_ended(u, LINK_END_FLOW);
}

/* A head that has lost its colon, and the block with it, looks like the announcement of a passive link. */
static void test_announced_by_an_active_link(void **state)
{
	struct bench *b = *state;
	struct user *u = open_link(b, 0);

	chip_say(b, "\r\n+IPD,0,29204\r\n");
	assert_ended(u, LINK_END_RESET);
	bench_run(b);
	assert_int_equal(b->dev->state, DEVICE_READY);
}

/* ---- receive = "active" and "passive" ---- */

static struct bench *setup_receive(void **state, enum config_receive receive, const char *without)
{
	static struct bench b;

	memset(users, 0, sizeof(users));
	bench_init(&b);
	b.settings.receive = receive;
	b.chip.without = without;
	b.chip.joined = true;
	bench_up(&b);
	assert_int_equal(b.dev->state, DEVICE_READY);
	*state = &b;
	return &b;
}

static int setup_active(void **state)
{
	chip_forget(setup_receive(state, CONFIG_RECEIVE_ACTIVE, NULL));
	return 0;
}

static int setup_passive(void **state)
{
	struct bench *b = setup_receive(state, CONFIG_RECEIVE_PASSIVE, NULL);

	assert_non_null(strstr(b->chip.told, "AT+CIPRECVTYPE=5,1|"));
	chip_forget(b);
	return 0;
}

static int setup_passive_for_all(void **state)
{
	struct bench *b = setup_receive(state, CONFIG_RECEIVE_PASSIVE, "AT+CIPRECVTYPE");

	assert_non_null(strstr(b->chip.told, "AT+CIPRECVMODE=1|"));
	chip_forget(b);
	return 0;
}

static int setup_auto_for_all(void **state)
{
	chip_forget(setup_receive(state, CONFIG_RECEIVE_AUTO, "AT+CIPRECVTYPE"));
	return 0;
}

#define READ "AT+CIPRECVDATA=0,8192|"
#define LOOK "AT+CIPRECVDATA=0,2048|"
#define NOTHING "\r\nERROR\r\n"
#define HELLO "+CIPRECVDATA:5,hello\r\nOK\r\n"

static void assert_got(const struct user *u, const char *data)
{
	assert_int_equal(u->len, strlen(data));
	assert_memory_equal(u->data, data, u->len);
}

static void test_active_stays_so(void **state)
{
	struct bench *b = *state;
	struct user *u = open_link(b, 0);

	chip_forget(b);
	link_hold(u->link, true);
	bench_run(b);
	assert_string_equal(b->chip.told, "");
	chip_say(b, "\r\n+IPD,0,5:hello\r\n");
	assert_got(u, "hello");
	link_hold(u->link, false);
	bench_pass(b, 5 * TIMERS_S);
	assert_null(strstr(b->chip.told, "AT+CIPRECV"));
}

static void test_passive(void **state)
{
	struct bench *b = *state;
	struct user *u = open_link(b, 0);

	chip_forget(b);
	/* The lengths do not fit, and need not: the block's own number counts. */
	chip_answer(b, "AT+CIPRECVDATA=0", HELLO, 1);
	chip_say(b, "\r\n+IPD,0,3\r\n");
	assert_string_equal(b->chip.told, READ);
	assert_got(u, "hello");
	assert_int_equal(u->data_ends, 1);
	/* More was announced than is there: that is no error. */
	chip_forget(b);
	chip_answer(b, "AT+CIPRECVDATA=0", HELLO, 1);
	chip_answer(b, "AT+CIPRECVDATA=0", NOTHING, 1);
	chip_say(b, "\r\n+IPD,0,34\r\n");
	assert_string_equal(b->chip.told, READ READ);
	assert_got(u, "hellohello");
	assert_int_equal(u->data_ends, 2);
	assert_int_equal(u->link->state, LINK_OPEN);
	/* Where nothing comes of an announcement it may be the chip's memory that has not sufficed. */
	chip_forget(b);
	chip_answer(b, "AT+CIPRECVDATA=0,8192", NOTHING, 1);
	chip_answer(b, "AT+CIPRECVDATA=0,2048", HELLO, 1);
	chip_answer(b, "AT+CIPRECVDATA=0,2048", NOTHING, -1);
	chip_say(b, "\r\n+IPD,0,5\r\n");
	assert_string_equal(b->chip.told, READ LOOK);
	assert_got(u, "hellohellohello");
	link_close(u->link);
	bench_run(b);
	assert_int_equal(u->link->state, LINK_FREE);
	assert_null(strstr(b->chip.told, "AT+CIPRECVTYPE"));
}

/* Without any announcement it is found, and soon where something was expected. */
static void test_looks(void **state)
{
	struct bench *b = *state;
	struct user *u = open_link(b, 0);

	chip_answer(b, "AT+CIPRECVDATA=0", NOTHING, 1000);
	chip_forget(b);
	bench_pass(b, 10 * TIMERS_S);
	assert_in_range(count_of(b->chip.told, LOOK), 12, 20);
	assert_int_equal(count_of(b->chip.told, "|"), count_of(b->chip.told, LOOK));
	chip_forget(b);
	memset(b->chip.answers, 0, sizeof(b->chip.answers));
	chip_answer(b, "AT+CIPRECVDATA=0", HELLO, 1);
	chip_answer(b, "AT+CIPRECVDATA=0", NOTHING, -1);
	bench_pass(b, 1 * TIMERS_S);
	assert_got(u, "hello");
	bench_pass(b, 5 * TIMERS_S);
	/* After what was sent an answer is due. */
	send_bytes(b, u, "hi?", 3);
	bench_run(b);
	chip_forget(b);
	bench_pass(b, 5 * TIMERS_MS);
	assert_string_equal(b->chip.told, LOOK);
	/* And nobody looks any more when it is closed. */
	link_close(u->link);
	bench_run(b);
	chip_forget(b);
	bench_pass(b, 20 * TIMERS_S);
	assert_null(strstr(b->chip.told, "AT+CIPRECV"));
}

static void test_passive_waits_for_room(void **state)
{
	struct bench *b = *state;
	struct user *u = open_link(b, 0);

	chip_forget(b);
	link_hold(u->link, true);
	chip_say(b, "\r\n+IPD,0,5\r\n");
	bench_pass(b, 20 * TIMERS_S);
	assert_string_equal(b->chip.told, "");
	chip_answer(b, "AT+CIPRECVDATA=0", HELLO, 1);
	link_hold(u->link, false);
	bench_run(b);
	assert_string_equal(b->chip.told, READ);
	assert_got(u, "hello");
}

/* CLOSED comes behind the last block; what is there all the same is read, and then it is the end. */
static void test_passive_is_drained(void **state)
{
	struct bench *b = *state;
	struct user *u = open_link(b, 0);

	chip_forget(b);
	chip_answer(b, "AT+CIPRECVDATA=0", "+CIPRECVDATA:5,hello\r\nOK\r\n0,CLOSED\r\n", 1);
	chip_answer(b, "AT+CIPRECVDATA=0", "+CIPRECVDATA:2,ho\r\nOK\r\n", 1);
	chip_answer(b, "AT+CIPRECVDATA=0", NOTHING, 1);
	b->chip.open[0] = false;
	chip_say(b, "\r\n+IPD,0,5\r\n");
	bench_run(b);
	assert_string_equal(b->chip.told, READ LOOK LOOK);
	assert_got(u, "helloho");
	assert_ended(u, LINK_END_PEER);
	assert_int_equal(u->link->state, LINK_FREE);
}

/* The answer to a read of before is nothing for the link's next user. */
static void test_closed_while_it_is_read(void **state)
{
	struct bench *b = *state;
	struct user *u = open_link(b, 0);

	chip_answer(b, "AT+CIPRECVDATA=0", NULL, 1);
	chip_say(b, "\r\n+IPD,0,5\r\n");
	chip_forget(b);
	link_close(u->link);
	bench_run(b);
	assert_string_equal(b->chip.told, "");
	assert_int_equal(u->link->state, LINK_CLOSING);
	assert_ptr_not_equal(device_free_link(b->dev), u->link);
	chip_say(b, "+CIPRECVDATA:5,hello\r\nOK\r\n");
	assert_string_equal(b->chip.told, "AT+CIPCLOSE=0|");
	assert_int_equal(u->link->state, LINK_FREE);
	assert_int_equal(u->len, 0);
	assert_int_equal(u->data_ends, 0);
}

/* Data of a passive link comes when it is asked for, and no more than that. */
static void test_passive_is_asked_for(void **state)
{
	static char much[3000];
	struct bench *b = *state;
	struct user *u = open_link(b, 0), *other = open_link(b, 1);

	/* But perhaps it has forgotten the link's type when the last connection ended. */
	chip_say(b, "\r\n+IPD,0,2:ho\r\n");
	assert_got(u, "ho");
	chip_answer(b, "AT+CIPRECVDATA=0", HELLO, 1);
	chip_say(b, "\r\n+IPD,0,5\r\n");
	assert_got(u, "hohello");
	chip_say(b, "\r\n+IPD,0,5:hello\r\n");
	assert_ended(u, LINK_END_RESET);
	assert_ended(other, LINK_END_RESET);
	assert_got(u, "hohello");
	memset(b->chip.open, 0, sizeof(b->chip.open));
	bench_pass(b, 40 * TIMERS_S);
	u = open_link(b, 0);
	snprintf(much, sizeof(much), "+CIPRECVDATA:2049,%02049d\r\nOK\r\n", 0);
	chip_answer(b, "AT+CIPRECVDATA=0,2048", much, 1);
	bench_pass(b, 100 * TIMERS_MS);
	assert_int_equal(u->data_ends, 0);
	assert_ended(u, LINK_END_RESET);
}

/* What has no other end in an active block has one here: of lost bytes nothing goes unseen. */
static void test_passive_loses_nothing_unseen(void **state)
{
	static const char *const answers[] = {
		"\r\nOK\r\n",                   /* without its block */
		"+CIPRECVDATA:5,hello\r\n",     /* without its end */
		"+CIPRECVDATA:5,hel\r\nOK\r\n", /* two bytes, which is as long as the line end */
		"+CIPRECVDATA:5,hell\r\nOK\r\n",
		"CIPRECVDATA:5,hello\r\nOK\r\n",
		"+CIPRECVDATA5,hello\r\nOK\r\n",
		"",
	};

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct bench *b;
		struct user *u, *other;

		if (i > 0) {
			teardown(state);
			setup_passive(state);
		}
		b = *state;
		u = open_link(b, 0);
		other = open_link(b, 1);
		chip_answer(b, "AT+CIPRECVDATA=0", answers[i], 1);
		chip_say(b, "\r\n+IPD,0,5\r\n");
		bench_pass(b, 15 * TIMERS_S);
		if (u->ends != 1 || u->end != LINK_END_RESET || u->data_ends > 0)
			fail_msg("row %zu: %d ends", i, u->ends);
		assert_ended(other, LINK_END_RESET);
	}
}

/* A block is believed only with the OK that belongs to it. */
static void test_passive_block_in_doubt(void **state)
{
	struct bench *b = *state;
	struct user *u = open_link(b, 0);

	chip_answer(b, "AT+CIPRECVDATA=0", "+CIPRECVDATA:5,hello\r\n\r\nERROR\r\n", 1);
	chip_say(b, "\r\n+IPD,0,5\r\n");
	assert_int_equal(u->data_ends, 0);
	assert_ended(u, LINK_END_RESET);
}

static void test_passive_for_all(void **state)
{
	struct bench *b = *state;
	struct user *u = open_link(b, 0);

	chip_forget(b);
	chip_answer(b, "AT+CIPRECVDATA=0", HELLO, 1);
	chip_say(b, "\r\n+IPD,0,5\r\n");
	assert_string_equal(b->chip.told, READ);
	assert_got(u, "hello");
}

/* While one is held, the others are read. */
static void test_held_for_all(void **state)
{
	struct bench *b = *state;
	struct user *u = open_link(b, 0), *other = open_link(b, 1);

	chip_forget(b);
	chip_answer(b, "AT+CIPRECVDATA=1", "+CIPRECVDATA:3,abc\r\nOK\r\n", 1);
	chip_answer(b, "AT+CIPRECVDATA=1", NOTHING, -1);
	link_hold(u->link, true);
	bench_run(b);
	chip_say(b, "\r\n+IPD,0,1440\r\n\r\n+IPD,1,3\r\n");
	bench_pass(b, 2 * TIMERS_S);
	assert_got(other, "abc");
	assert_int_equal(u->len, 0);
	assert_null(strstr(b->chip.told, "AT+CIPRECVDATA=0"));
	link_hold(u->link, false);
	bench_run(b);
	assert_non_null(strstr(b->chip.told, "AT+CIPRECVMODE=0|"));
	chip_forget(b);
	bench_pass(b, 5 * TIMERS_S);
	assert_null(strstr(b->chip.told, "AT+CIPRECV"));
}

/* ---- what the target points into ---- */

/* A configuration whose last owner takes the target's strings away with it. */
static struct config *owned_target(struct link_target *target)
{
	struct config *config = calloc(1, sizeof(*config));

	assert_non_null(config);
	config->refs = 1;
	config->runtime_dir = strdup("broker.example");
	assert_non_null(config->runtime_dir);
	*target = mutual;
	target->owner = config;
	target->host = config->runtime_dir;
	target->server_name = config->runtime_dir;
	return config;
}

static void test_target_is_kept_until_it_is_open(void **state)
{
	struct bench *b = *state;
	struct link_target target;
	struct config *config = owned_target(&target);
	struct user *u = start(b, 0, &target);

	assert_int_equal(config->refs, 2);
	bench_run(b);
	assert_int_equal(u->opened, 1);
	assert_int_equal(config->refs, 1);
	/* The link is used again, by somebody who has the old configuration and no other owner. */
	link_close(u->link);
	bench_run(b);
	assert_int_equal(config->refs, 1);
	u = start(b, 0, &target);
	assert_int_equal(u->link->id, 0);
	assert_int_equal(config->refs, 2);
	config_free(config);
	bench_run(b);
	assert_int_equal(u->opened, 1);
	assert_int_equal(count_of(b->chip.told, "\"SSL\",\"broker.example\""), 2);
	assert_null(u->link->target.owner);
	/* Without an owner nothing is kept. */
	u = start(b, 1, &mutual);
	assert_null(u->link->target.owner);
}

static void test_target_that_cannot_be_opened_is_not_kept(void **state)
{
	struct bench *b = *state;
	struct link_target target;
	struct config *config = owned_target(&target);
	struct link *link = device_free_link(b->dev);
	static const unsigned int cipher = 0xc02b;

	target.server_name = "x\r\nAT+RST";
	assert_int_equal(link_open(link, &target, &user_ops, &users[0]), -EINVAL);
	assert_int_equal(config->refs, 1);
	target.server_name = target.host;
	target.ciphers = &cipher;
	target.n_ciphers = 1;
	assert_int_equal(link_open(link, &target, &user_ops, &users[0]), -EOPNOTSUPP);
	assert_int_equal(config->refs, 1);
	config_free(config);
}

/* Whenever it ends, and whoever ends it, the link lets go of it once. */
static void test_target_is_let_go_of(void **state)
{
	static const struct {
		const char *mute; /* it stops at this command */
		enum {
			USER,
			CHIP,
			RESET,
			END
		} who;
		const char *answer; /* of the chip, if it is asked still */
	} rows[] = {
		{ "AT+CIPSSLCSNI", USER, "\r\nOK\r\n" },
		{ "AT+CIPSSLCSNI", CHIP, "\r\nERROR\r\n" },
		{ "AT+CIPSSLCSNI", RESET, NULL },
		{ "AT+CIPSSLCSNI", END, NULL },
		{ "AT+CIPSTART=0,\"SSL\"", USER, "\r\nERROR\r\n" },
		{ "AT+CIPSTART=0,\"SSL\"", USER, "0,CONNECT\r\n\r\nOK\r\n" },
		{ "AT+CIPSTART=0,\"SSL\"", CHIP, "0,CLOSED\r\n\r\nOK\r\n" },
		{ "AT+CIPSTART=0,\"SSL\"", RESET, NULL },
		{ "AT+CIPSTART=0,\"SSL\"", END, NULL },
		/* the diagnosis */
		{ "AT+SYSRAM?", USER, "\r\nERROR\r\n" },
		{ "AT+SYSRAM?", CHIP, "+SYSRAM:39999,1\r\nOK\r\n" },
		{ "AT+SYSRAM?", RESET, NULL },
		{ "AT+CIPSTART=0,\"TCP\"", USER, "0,CONNECT\r\n\r\nOK\r\n" },
		{ "AT+CIPSTART=0,\"TCP\"", CHIP, "\r\nERROR\r\n" },
		{ "AT+CIPSTART=0,\"TCP\"", END, NULL },
	};
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct link_target target;
		struct config *config = owned_target(&target);
		struct user *u;

		teardown(state);
		setup(state);
		chip_answer(b, "AT+CIPDOMAIN", "+CIPDOMAIN:\"192.0.2.7\"\r\n\r\nOK\r\n", 1);
		chip_answer(b, rows[i].mute, NULL, 1);
		if (!strstr(rows[i].mute, "SSL"))
			chip_answer(b, "AT+CIPSTART=0,\"SSL\"", "\r\nERROR\r\n", 1);
		u = start(b, 0, &target);
		u->probe = LINK_PROBE_YES;
		bench_run(b);
		assert_int_equal(count_of(b->chip.told, rows[i].mute), 1);
		assert_int_equal(config->refs, 2);
		if (rows[i].who == USER)
			link_close(u->link);
		else if (rows[i].who == RESET)
			chip_say(b, "\r\nready\r\n");
		else if (rows[i].who == END)
			b->dev = device_free(b->dev);
		if (rows[i].answer)
			chip_say(b, rows[i].answer);
		if (config->refs != 1)
			fail_msg("row %zu: %u references", i, config->refs);
		if (b->dev)
			bench_pass(b, 20 * TIMERS_S);
		assert_int_equal(config->refs, 1);
		config_free(config);
	}
}

static void test_words(void **state)
{
	for (int i = LINK_END_PEER; i <= LINK_END_FLOW; i++)
		for (int k = LINK_END_PEER; k < i; k++)
			assert_string_not_equal(link_end_text((enum link_end)i),
						link_end_text((enum link_end)k));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_commands_of_each_mode),
		T(test_names_are_fresh_each_time),
		T(test_conf_of_one_who_left),
		T(test_conf_is_not_as_set),
		T(test_refused_setting_aborts),
		T(test_closed_voids_the_attempt),
		T(test_refused_connection),
		T(test_name_that_no_command_carries),
		T(test_optional_settings),
		T(test_leftovers_are_cleared),
		T(test_leftovers_that_stay),
		T(test_ciphers_of_another_one),
		T(test_psk_that_is_not_there),
		T(test_ciphers_need_the_firmware),
		T(test_start_arguments),
		T(test_long_host),
		T(test_diagnosis),
		T(test_diagnosis_that_is_not_wanted),
		T(test_diagnosis_waits),
		T(test_clock_is_lost_among_others),
		T(test_closed_by_the_user_during_the_diagnosis),
		T(test_diagnosis_gives_way),
		T(test_silence_is_a_timeout),
		T(test_errno),
		T(test_wifi_explains_it),
		T(test_five_links_and_no_sixth),
		T(test_closed_by_the_server),
		T(test_closed_by_the_user_while_connecting),
		T(test_late_closed),
		T(test_close_that_was_not_understood),
		T(test_closed_of_the_one_before),
		T(test_ready_ends_all_links),
		T(test_ready_that_a_server_has_said),
		T(test_unanswered_command_ends_all),
		T(test_lost_bytes_end_all),
		T(test_wifi_loss_ends_links),
		T(test_wifi_loss_before_the_connect),
		T(test_closed_that_was_lost),
		T(test_clock_refresh_loses_nothing),
		T(test_data_of_nobody_is_trouble),
		T(test_connection_of_nobody_is_trouble),
		T(test_bytes_are_lost),
		T(test_mismatch_condemns_all),
		T(test_send),
		T(test_send_waits_and_grows),
		T(test_reset_discards),
		T(test_stream),
		T(test_plus),
		T(test_block_len),
		T(test_doubtful_send_closes),
		T(test_closed_during_a_send),
		T(test_hold),
		cmocka_unit_test_setup_teardown(test_active_stays_so, setup_active, teardown),
		T(test_announced_by_an_active_link),
		cmocka_unit_test_setup_teardown(test_passive, setup_passive, teardown),
		cmocka_unit_test_setup_teardown(test_looks, setup_passive, teardown),
		cmocka_unit_test_setup_teardown(test_passive_waits_for_room, setup_passive,
						teardown),
		cmocka_unit_test_setup_teardown(test_passive_is_drained, setup_passive, teardown),
		cmocka_unit_test_setup_teardown(test_closed_while_it_is_read, setup_passive,
						teardown),
		cmocka_unit_test_setup_teardown(test_passive_is_asked_for, setup_passive, teardown),
		cmocka_unit_test_setup_teardown(test_passive_loses_nothing_unseen, setup_passive,
						teardown),
		cmocka_unit_test_setup_teardown(test_passive_block_in_doubt, setup_passive,
						teardown),
		cmocka_unit_test_setup_teardown(test_passive_for_all, setup_passive_for_all,
						teardown),
		cmocka_unit_test_setup_teardown(test_held_for_all, setup_auto_for_all, teardown),
		T(test_target_is_kept_until_it_is_open),
		T(test_target_that_cannot_be_opened_is_not_kept),
		T(test_target_is_let_go_of),
		T(test_words),
	};

	return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
