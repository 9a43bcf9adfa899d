/* SPDX-License-Identifier: MIT */
/* device: whole bring-ups on a scripted chip and a virtual clock. */
#include "test.h"

#include <string.h>

#include "device/internal.h"
#include "fake-chip.h"

static int setup(void **state)
{
	static struct bench b;

	bench_init(&b);
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
		fail_msg("%s: %s; told: %s", device_state_name(b->dev->state), b->dev->error,
			 b->chip.told);
}

static void assert_failed(struct bench *b, const char *part)
{
	assert_int_equal(b->dev->state, DEVICE_FAILED);
	if (!strstr(b->dev->error, part))
		fail_msg("\"%s\" without \"%s\"", b->dev->error, part);
}

static void preload(struct bench *b, enum cert_kind kind, int slot, const struct cert_blob *blob,
		    int type)
{
	char name[AT_NVS_NAME_MAX + 1];
	struct chip_key *key;

	slots_key(kind, slot, name, sizeof(name));
	key = chip_nvs(b, name);

	key->type = type;
	key->len = blob->len;
	memcpy(key->data, blob->data, blob->len);
}

/* From the factory: every command, in order. */
static void test_factory_chip(void **state)
{
	struct bench *b = *state;

	bench_up(b);
	assert_ready(b);
	assert_string_equal(
		b->chip.told,
		"+++|ATE1|ATESPATD0123456789ABCDEF|ATE0|AT+GMR|AT+CMD?|AT+CIPSTAMAC?|AT+CIPSTAMAC?|"
		"AT+SYSSTORE=0|AT+CIPSERVER=0,1|AT+CIPMUX=1|AT+CIPCLOSE=5|AT+CIPDINFO=0|"
		"AT+CIPRECVTYPE=5,0|AT+CWMODE?|AT+CWMODE=1|AT+CIPSSLCPSK=5,\"\","
		"\"\"|"
		"AT+SYSMFG=1,\"espatd\",\"slots\"|AT+SYSMFG=1,\"espatd\",\"slots\"|"
		"AT+SYSMFG=1,\"espatd\",\"slots.copy\"|AT+SYSMFG=1,\"espatd\",\"slots.copy\"|"
		"AT+SYSMFG=1,\"client_ca\"|AT+SYSMFG=1,\"client_ca\"|"
		"AT+SYSMFG=1,\"client_ca\",\"client_ca.0\"|AT+SYSMFG=1,\"client_ca\",\"client_ca."
		"0\"|"
		"AT+SYSMFG=1,\"client_cert\"|AT+SYSMFG=1,\"client_cert\"|"
		"AT+SYSMFG=1,\"client_key\"|AT+SYSMFG=1,\"client_key\"|"
		"AT+SYSMFG=1,\"client_cert\",\"client_cert.0\"|AT+SYSMFG=1,\"client_cert\","
		"\"client_cert.0\"|"
		"AT+SYSMFG=1,\"client_key\",\"client_key.0\"|AT+SYSMFG=1,\"client_key\",\"client_"
		"key.0\"|"
		"AT+SYSMFG=2,\"espatd\",\"slots\",8,371|[371]|AT+SYSMFG=1,\"espatd\",\"slots\"|"
		"AT+SYSMFG=2,\"client_ca\",\"client_ca.0\",8,20|[20]|"
		"AT+SYSMFG=1,\"client_ca\",\"client_ca.0\"|"
		"AT+SYSMFG=2,\"client_cert\",\"client_cert.0\",8,16|[16]|"
		"AT+SYSMFG=1,\"client_cert\",\"client_cert.0\"|"
		"AT+SYSMFG=2,\"client_key\",\"client_key.0\",8,8|[8]|"
		"AT+SYSMFG=1,\"client_key\",\"client_key.0\"|"
		"AT+CWSTATE?|AT+CWDHCP?|AT+CWJAP=\"lab\",\"hunter2\"|AT+SYSTIMESTAMP=1790000000|AT+"
		"SYSTIMESTAMP?|");
	assert_string_equal(b->states, ">probing>identifying>configuring>provisioning>joining"
				       ">setting-clock>ready");
	assert_int_equal(device_authority_slot(b->dev, &b->authority), 0);
	assert_int_equal(device_identity_slot(b->dev, &b->identity), 0);
	assert_int_equal(b->dev->flash_writes, 4);
	assert_string_equal(b->dev->mac, "24:0a:c4:12:34:56");
}

/* The second start: read and compared, never written. */
static void test_nothing_written_if_equal(void **state)
{
	struct bench *b = *state;

	preload(b, CERT_KIND_CA, 0, &b->key, 8); /* somebody else's */
	preload(b, CERT_KIND_CA, 5, &b->ca, 8);
	preload(b, CERT_KIND_CERT, 3, &b->cert, 8);
	preload(b, CERT_KIND_KEY, 3, &b->key, 8);
	bench_up(b);
	assert_ready(b);
	assert_null(strstr(b->chip.told, "SYSMFG=2"));
	assert_null(strstr(b->chip.told, "SYSMFG=0"));
	assert_int_equal(b->dev->flash_writes, 0);
	assert_int_equal(device_authority_slot(b->dev, &b->authority), 5);
	assert_int_equal(device_identity_slot(b->dev, &b->identity), 3);
}

static void test_other_content_is_left_alone(void **state)
{
	struct bench *b = *state;

	preload(b, CERT_KIND_CA, 0, &b->key, 8);
	preload(b, CERT_KIND_CERT, 0, &b->ca, 8);
	preload(b, CERT_KIND_KEY, 1, &b->ca, 8);
	bench_up(b);
	assert_ready(b);
	assert_int_equal(device_authority_slot(b->dev, &b->authority), 1);
	assert_int_equal(device_identity_slot(b->dev, &b->identity), 2);
	assert_true(chip_holds(b, "client_ca.0", &b->key));
	assert_true(chip_holds(b, "client_key.1", &b->ca));
}

static void test_key_of_wrong_type_is_erased_first(void **state)
{
	struct bench *b = *state;

	b->authority.slot = 4;
	preload(b, CERT_KIND_CA, 4, &b->ca, 7);
	bench_up(b);
	assert_ready(b);
	assert_non_null(strstr(b->chip.told, "AT+SYSMFG=0,\"client_ca\",\"client_ca.4\"|"
					     "AT+SYSMFG=2,\"client_ca\",\"client_ca.4\",8,20|[20]|"
					     "AT+SYSMFG=1,\"client_ca\",\"client_ca.4\"|"));
}

static void test_write_is_read_back(void **state)
{
	struct bench *b = *state;

	b->chip.corrupt = 1;
	b->chip.corrupted = "client_ca.0";
	bench_up(b);
	assert_ready(b);
	assert_int_equal(count_of(b->chip.told, "SYSMFG=2,\"client_ca\""), 2);
	/* Before it was known to be free, twice, and behind each write. */
	assert_int_equal(count_of(b->chip.told, "SYSMFG=1,\"client_ca\",\"client_ca.0\""), 4);
	assert_true(chip_holds(b, "client_ca.0", &b->ca));
}

/* A block that another espatd was killed in: `+++` in the middle of it would be data, and so would all that follows. */
static void test_nothing_is_written_into_a_block(void **state)
{
	static char port[] = "tcp:192.0.2.1:2000";
	struct bench *b = *state;

	b->settings.port = port;
	device_port_up(b->dev, 115200);
	bench_pass(b, 8192 * TIMERS_S / 11520);
	assert_string_equal(b->chip.told, "");
	bench_pass(b, 5 * TIMERS_S);
	assert_ready(b);
	/* What goes and comes back while it runs has nothing on its way. */
	device_port_down(b->dev, "gone");
	chip_forget(b);
	device_port_up(b->dev, 115200);
	bench_pass(b, 500 * TIMERS_MS);
	assert_string_not_equal(b->chip.told, "");
	/* A serial port never has. */
	bench_remake(b);
	port[0] = '/';
	chip_forget(b);
	device_port_up(b->dev, 115200);
	bench_pass(b, 500 * TIMERS_MS);
	assert_string_not_equal(b->chip.told, "");
}

static void test_write_that_never_holds(void **state)
{
	struct bench *b = *state;

	b->chip.corrupt = 1000;
	b->chip.corrupted = "client_ca.0";
	bench_up(b);
	/* The flash is not worn out by it, and what does not need it works. */
	assert_ready(b);
	assert_int_equal(device_authority_slot(b->dev, &b->authority), -1);
	assert_int_equal(device_identity_slot(b->dev, &b->identity), 0);
	assert_true(b->dev->incomplete);
	assert_int_equal(count_of(b->chip.told, "SYSMFG=2,\"client_ca\""), 3);
}

/* Nor is anything written that would not be known to be ours. */
static void test_record_that_never_holds(void **state)
{
	struct bench *b = *state;

	b->chip.corrupt = 1000;
	b->chip.corrupted = "slots";
	bench_up(b);
	assert_ready(b);
	assert_int_equal(device_authority_slot(b->dev, &b->authority), -1);
	assert_int_equal(device_identity_slot(b->dev, &b->identity), -1);
	assert_int_equal(count_of(b->chip.told, "SYSMFG=2,\"espatd\""), 3);
	assert_int_equal(count_of(b->chip.told, "SYSMFG=2,\"client"), 0);
}

static void test_writes_that_are_refused(void **state)
{
	struct bench *b = *state;

	chip_answer(b, "AT+SYSMFG=2,\"client_ca\"", "\r\nERROR\r\n", -1);
	bench_up(b);
	assert_ready(b);
	assert_int_equal(device_authority_slot(b->dev, &b->authority), -1);
	assert_int_equal(device_identity_slot(b->dev, &b->identity), 0);
	/* Asked twice: the first time a byte may have been lost. */
	assert_int_equal(count_of(b->chip.told, "SYSMFG=2,\"client_ca\""), 2);
	chip_answer(b, "AT+SYSMFG=2,\"espatd\"", "\r\nERROR\r\n", -1);
	chip_nvs(b, "slots")->type = chip_nvs(b, "slots.copy")->type = 0;
	chip_forget(b);
	bench_up(b);
	assert_ready(b);
	assert_int_equal(count_of(b->chip.told, "SYSMFG=2,"), 2);
}

static void test_no_slot_is_free(void **state)
{
	struct bench *b = *state;

	for (int slot = 0; slot < SLOTS_COUNT; slot++)
		preload(b, CERT_KIND_CA, slot, &b->key, 8);
	bench_up(b);
	/* What does not need it works. */
	assert_ready(b);
	assert_int_equal(device_authority_slot(b->dev, &b->authority), -1);
	assert_true(device_identity_slot(b->dev, &b->identity) >= 0);
	assert_null(strstr(b->chip.told, "SYSMFG=2,\"client_ca\""));
	assert_null(strstr(b->chip.told, "SYSMFG=0"));
	assert_true(b->dev->incomplete);
}

/* What may be anywhere must not take the slot that another one is pinned to, whatever their order. */
static void test_pinned_slot_is_kept_free(void **state)
{
	struct bench *b = *state;
	char anywhere[] = "anywhere", pinned[] = "pinned";
	struct config_authority authorities[2] = {
		{ .name = anywhere, .slot = CONFIG_SLOT_AUTO },
		{ .name = pinned, .slot = 0 },
	};
	struct cert_blob other = b->cert;
	struct config_tunnel tunnels[2] = { b->tunnel, b->tunnel };

	other.kind = CERT_KIND_CA;
	tunnels[0].authority = &authorities[0];
	tunnels[1].authority = &authorities[1];
	b->config.authorities = authorities;
	b->config.tunnels = tunnels;
	b->config.n_authorities = b->config.n_tunnels = 2;
	b->items[2] = b->items[1];
	b->items[1] = b->items[0];
	b->items[0].config = &authorities[0];
	b->items[1].config = &authorities[1];
	b->items[1].name = pinned;
	b->items[1].blobs[0] = &other;
	b->material.n_items = 3;
	bench_remake(b);
	bench_up(b);
	assert_ready(b);
	assert_int_equal(device_authority_slot(b->dev, &authorities[0]), 1);
	assert_int_equal(device_authority_slot(b->dev, &authorities[1]), 0);
	assert_true(chip_holds(b, "client_ca.0", &other));
	assert_true(chip_holds(b, "client_ca.1", &b->ca));
}

/* A chip that is lost again and again is given time, not told the same things at line speed. */
static void test_lost_step_again_and_again(void **state)
{
	struct bench *b = *state;
	uint64_t before;

	chip_answer(b, "AT+GMR", "AT version:\t\r\n", -1);
	bench_up(b);
	before = b->dev->chan.commands;
	bench_run(b);
	assert_int_equal(b->dev->chan.commands, before);
	assert_true(before < 30);
	bench_pass(b, 60 * TIMERS_S);
	assert_true(b->dev->chan.commands - before < 200);
}

/* Data of a link that is not open: each time as soon as it is ready. Returns how often. */
static unsigned int lie_until_it_fails(struct bench *b)
{
	unsigned int n = 0;

	while (b->dev->state == DEVICE_READY && n < 100) {
		chip_say(b, "\r\n+IPD,3,3:abc\r\n");
		n++;
		bench_pass(b, 1 * TIMERS_S);
	}
	return n;
}

/*
 * One that is brought up, and is wrong again at once, is left alone at last, and what it says meanwhile is not
 * even looked at. It is in service again when it behaves, and has as many tries as before when a minute has gone.
 */
static void test_set_aside(void **state)
{
	struct bench *b = *state;
	uint64_t before;

	bench_up(b);
	assert_int_equal(lie_until_it_fails(b), DEVICE_TROUBLES_MAX + 1);
	assert_failed(b,
		      "lost step with the chip more than 15 times within a minute (data for a link "
		      "that is not open)");
	before = b->dev->chan.commands;
	for (int i = 0; i < 1000; i++)
		chip_say(b, "\r\nready\r\n\r\nOK\r\n\xff\r\n+IPD,0,9:x");
	bench_pass(b, 13 * TIMERS_S);
	assert_int_equal(b->dev->chan.commands, before);
	assert_int_equal(b->dev->state, DEVICE_FAILED);
	bench_pass(b, 5 * TIMERS_S);
	assert_ready(b);
	/* Still the same minute. */
	assert_int_equal(lie_until_it_fails(b), 1);
	bench_pass(b, 20 * TIMERS_S);
	assert_ready(b);
	bench_pass(b, 60 * TIMERS_S);
	assert_int_equal(lie_until_it_fails(b), DEVICE_TROUBLES_MAX + 1);
	/* Whoever plugs another one in does not wait for the time of the one before. */
	device_port_down(b->dev, "unplugged");
	bench_up(b);
	assert_ready(b);
}

/* With so many bytes in the place of $; returns its length. */
static size_t line_of(char *to, const char *text, int fill)
{
	size_t n = 0;

	for (; *text; text++) {
		if (*text != '$') {
			to[n++] = *text;
			continue;
		}
		memset(to + n, '0', (size_t)fill);
		n += (size_t)fill;
	}
	to[n] = '\0';
	return n;
}

#define LIST "AT+SYSMFG=1,\"client_ca\""
#define READ LIST ","
#define HEAD "+SYSMFG:\"client_ca\",\"client_ca."

/* Lists and values that are larger than any: nothing is kept of them, and it goes on. */
static void test_absurd_values(void **state)
{
	static const struct {
		const char *command, *line;
		int lines, fill; /* as many, and bytes in the place of $ */
	} rows[] = {
		{ LIST, HEAD "0\",8\r\n", 1500, 0 },
		{ LIST, HEAD "9999999\",8\r\n", 1, 0 },
		{ LIST, HEAD "0\",99\r\n", 1, 0 },
		{ READ, HEAD "0\",8,99999999999,\r\n", 1, 0 },
		{ READ, HEAD "0\",8,16385,\r\n", 1, 0 },
		{ READ, HEAD "0\",8,-1,\r\n", 1, 0 },
		{ READ, HEAD "0\",8,0,\r\n", 1, 0 },
		{ READ, HEAD "0\",8,16384,$\r\n", 1, 16384 },
		{ READ, HEAD "0\",8,3,abc\r\n", 1000, 0 },
		{ "AT+CMD?", "+CMD:1,\"AT\",1,1,1,1\r\n", 2000, 0 },
		{ "AT+CIPSTAMAC?", "+CIPSTAMAC:\"$\"\r\n", 1, 100 },
		{ "AT+CWSTATE?", "+CWSTATE:2,\"$\"\r\n", 1, 100 },
	};
	static char reply[131072];
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		size_t len = 0;

		teardown(state);
		setup(state);
		preload(b, CERT_KIND_CA, 0, &b->ca, 8);
		for (int k = 0; k < rows[i].lines; k++) {
			len += line_of(reply + len, rows[i].line, rows[i].fill);
			assert_true(len < sizeof(reply) - 20000);
		}
		strcpy(reply + len, "\r\nOK\r\n");
		chip_answer(b, rows[i].command, reply, 1);
		bench_up(b);
		bench_pass(b, 60 * TIMERS_S);
		assert_int_equal(b->chip.answers[0].times, 0);
		assert_ready(b);
		assert_true(chip_holds(b, "client_ca.0", &b->ca));
	}
}

static void test_restarts_again_and_again(void **state)
{
	struct bench *b = *state;
	uint64_t before;

	bench_up(b);
	before = b->dev->chan.commands;
	for (int i = 0; i < 1000; i++)
		chip_say(b, "\r\nready\r\n");
	assert_failed(b, "is its power supply good?");
	assert_true(b->dev->chan.commands - before < 30u * (DEVICE_TROUBLES_MAX + 1));
	assert_in_range(device_resets(b->dev), DEVICE_TROUBLES_MAX, DEVICE_TROUBLES_MAX + 2);
	b->chip.in_len = 0;
	bench_pass(b, 20 * TIMERS_S);
	assert_ready(b);
	/* Those that were asked for are no trouble. */
	bench_pass(b, 60 * TIMERS_S);
	for (int i = 0; i < 30; i++) {
		device_start_over(b->dev, true);
		bench_pass(b, 1500 * TIMERS_MS);
		assert_ready(b);
	}
}

/* ---- what it is ---- */

static void test_old_version_is_refused(void **state)
{
	static const char *const old[] = {
		"AT version:2.4.0.0(x - ESP32 - y)",
		"AT version:3.1.9.0(x - ESP32 - y)",
		"AT version:1.7.5.0(x - ESP8266 - y)",
	};
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(old); i++) {
		b->chip.gmr = old[i];
		chip_forget(b);
		bench_up(b);
		assert_failed(b, "too old, espatd needs 3.2.0");
		assert_null(strstr(b->chip.told, "AT+SYSSTORE")); /* nothing was touched */
	}
	b->chip.gmr = "AT version:3.2.0.0(x - ESP32 - y)";
	bench_up(b);
	assert_ready(b);
}

static void test_missing_command_is_refused(void **state)
{
	static const char *const needed[] = {
		"AT+SYSMFG", "AT+SYSTIMESTAMP", "AT+CIPSSLCCONF", "AT+CIPSSLCSNI", "AT+CIPSSLCCN",
	};
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		b->chip.without = needed[i];
		bench_up(b);
		assert_failed(b, needed[i]);
	}
	b->chip.without = "AT+CIPRECVTYPE";
	chip_forget(b);
	bench_up(b);
	assert_ready(b);
	assert_non_null(strstr(b->chip.told, "AT+CIPRECVMODE=0|"));
	assert_null(strstr(b->chip.told, "CIPRECVTYPE"));
}

/* ---- probing ---- */

static void test_silent_chip(void **state)
{
	struct bench *b = *state;

	b->chip.mute = true;
	bench_up(b);
	assert_failed(b, "no answer from a chip at 115200 baud");
	b->chip.mute = false;
	b->chip.in_len = 0;
	bench_pass(b, 60 * TIMERS_S);
	assert_ready(b); /* without being asked again */
}

static void bench_pass_until_failed(struct bench *b)
{
	for (int i = 0; i < 600 && b->dev->state != DEVICE_FAILED; i++)
		bench_pass(b, 100 * TIMERS_MS);
}

/* What has come meanwhile says what is wrong, in words of ours, and whatever came later or at another rate. */
static void test_what_is_no_answer(void **state)
{
#define BOOT "what came is the text of a boot loader or a log, so this is not the AT port"
#define TEXT "what came is text, but not that of ESP-AT"
#define NOISE "what came is no text, is this the right rate?"
	static const struct {
		const char *said, *error;
	} rows[] = {
		{ "", "the line is silent" },
		{ "ets Jun  8 2016 00:22:57\r\n\r\n", BOOT },
		{ "\xff\x80rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n", BOOT },
		{ "ESP-ROM:esp32c3-api1-20210207\r\n", BOOT },
		{ "\r\n ets Jan  8 2013,rst cause:1, boot mode:(3,6)\r\n", BOOT },
		{ "I (27) boot: ESP-IDF v4.3.1 2nd stage bootloader\r\n", BOOT },
		{ "\x1b[0;33mW (4294967) wifi: timeout\x1b[0m\r\n", BOOT },
		{ "something that is long, before the line's end: rst:0x10 (RTCWDT_RTC_RESET)\n",
		  BOOT },
		{ "tttttttttttttttttttttttttttttttttttttttttttttrst:0x10\n", BOOT },
		{ "login: ", TEXT },
		{ "assets Jun 8, I (am) here, and V (1 too\r\nrst:\r\n", TEXT },
		{ "\x01\x02\x03\x80\xff\xfe", NOISE },
		{ "mostly text, \xff\xff and some noise: of a glitch\r\n", TEXT },
		{ "more\xff\xff\r\n", NOISE },
	};
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		teardown(state);
		setup(state);
		b->chip.mute = true;
		device_port_up(b->dev, 115200);
		for (const char *p = rows[i].said; *p; p++)
			device_feed(b->dev, (const uint8_t *)p, 1);
		bench_pass_until_failed(b);
		assert_failed(b, rows[i].error);
		assert_true(strlen(b->dev->error) + 1 < sizeof(b->dev->error));
		assert_null(strstr(b->dev->error, "rst:"));
		/* The next one says the same. */
		bench_pass(b, 2 * TIMERS_S);
		assert_int_equal(b->dev->state, DEVICE_PROBING);
		bench_pass_until_failed(b);
		assert_failed(b, rows[i].error);
	}
}

/* What has answered, and another port, are judged by that. */
static void test_what_came_before_is_forgotten(void **state)
{
	struct bench *b = *state;

	b->chip.mute = true;
	device_port_up(b->dev, 115200);
	device_feed(b->dev, (const uint8_t *)"rst:0x1\r\n", 9);
	bench_pass_until_failed(b);
	assert_failed(b, BOOT);
	device_port_down(b->dev, "gone");
	device_port_up(b->dev, 115200);
	bench_pass_until_failed(b);
	assert_failed(b, "the line is silent");
	b->chip.mute = false;
	b->chip.in_len = 0;
	bench_pass(b, 60 * TIMERS_S);
	assert_ready(b);
	b->chip.mute = true;
	device_start_over(b->dev, false);
	device_feed(b->dev, (const uint8_t *)"rst:0x1\r\n", 9);
	bench_pass_until_failed(b);
	assert_failed(b, "it has answered before");
}

/* What is text at the rate of the start is noise at others. */
static void test_noise_at_another_rate(void **state)
{
	struct bench *b = *state;

	b->settings.max_baud = 921600;
	b->chip.mute = true;
	device_port_up(b->dev, 115200);
	device_feed(b->dev, (const uint8_t *)"login: ", 7);
	while (b->dev->baud == 115200)
		bench_pass(b, 10 * TIMERS_MS);
	device_feed(b->dev, (const uint8_t *)"\x80\xf8\x80\xf8\x80\xf8", 6);
	bench_pass_until_failed(b);
	assert_failed(b, TEXT);
	/* And what came at those alone is none. */
	device_port_down(b->dev, "gone");
	device_port_up(b->dev, 115200);
	while (b->dev->baud == 115200)
		bench_pass(b, 10 * TIMERS_MS);
	device_feed(b->dev, (const uint8_t *)"x", 1);
	bench_pass_until_failed(b);
	assert_failed(b, NOISE);
}

/* OK and ERROR alone may be answers to anything: without the echo of the word there is no proof. */
static void test_no_echo_is_no_proof(void **state)
{
	struct bench *b = *state;

	b->chip.echo = false;
	chip_answer(b, "ATE1", "\r\nOK\r\n", -1);
	bench_up(b);
	assert_failed(b, "no answer from a chip");
	assert_null(strstr(b->chip.told, "AT+GMR"));
}

/* What came before the echoed word is history: old results, prompts and blocks count for nothing. */
static void test_noise_before(void **state)
{
	struct bench *b = *state;

	device_port_up(b->dev, 115200);
	chip_say(b, "\r\nOK\r\n>\x01\xff\xfe\r\n\r\n+IPD,0,3:abc\r\n\r\nERROR\r\nready?\r\n");
	bench_pass(b, 20 * TIMERS_S);
	assert_ready(b);
}

/* An unfinished SYSMFG block, which nothing cancels: it is filled up. */
static void test_unfinished_block(void **state)
{
	struct bench *b = *state;

	b->chip.wanted = 40;
	strcpy(b->chip.wanted_for, "AT+SYSMFG=2,\"client_ca\",\"client_ca.7\",8,40");
	bench_up(b);
	assert_ready(b);
}

/* ---- restarts ---- */

static void test_refusal_ends_in_one_reset(void **state)
{
	struct bench *b = *state;

	chip_answer(b, "AT+CIPMUX=1", "\r\nERROR\r\n", 2);
	bench_up(b);
	assert_ready(b);
	assert_int_equal(count_of(b->chip.told, "AT+RST|"), 1);
	/* For ever: once reset, then said and tried again later. */
	chip_answer(b, "AT+CIPMUX=1", "\r\nERROR\r\n", -1);
	chip_forget(b);
	bench_up(b);
	assert_failed(b, "refuses AT+CIPMUX=1, even after a reset");
	assert_int_equal(count_of(b->chip.told, "AT+RST|"), 1);
}

/* Where another program had a connection without a number, or passthrough, that is ended. */
static void test_single_connection_is_ended(void **state)
{
	struct bench *b = *state;

	chip_answer(b, "AT+CIPMUX=1", "\r\nERROR\r\n", 1);
	bench_up(b);
	assert_ready(b);
	assert_non_null(strstr(b->chip.told, "AT+CIPMUX=1|AT+CIPCLOSE|AT+CIPMODE=0|AT+CIPMUX=1|"));
	assert_null(strstr(b->chip.told, "AT+RST|"));
}

/* The PSK of another program: forgotten by command, else by a reset. */
static void test_settings_of_others_are_cleared(void **state)
{
	static const char *const commands[] = { "AT+CIPSSLCPSK=5," };
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		teardown(state);
		setup(state);
		chip_answer(b, commands[i], "\r\nERROR\r\n", 1);
		bench_up(b);
		assert_ready(b);
		assert_int_equal(count_of(b->chip.told, "AT+RST|"), 1);
		/* After `ready` there is nothing to clear. */
		assert_int_equal(count_of(b->chip.told, commands[i]), 1);
	}
}

/* `ready` after each command of a bring-up, in its answer's place: always ready in the end. */
static void test_reset_at_any_command(void **state)
{
	static const char *const commands[] = {
		"ATE1",
		"ATESPATD",
		"ATE0",
		"AT+GMR",
		"AT+CMD?",
		"AT+CIPSTAMAC?",
		"AT+SYSSTORE=0",
		"AT+CIPMUX=1",
		"AT+CWMODE?",
		"AT+CWMODE=1",
		"AT+SYSMFG=1,\"client_ca\"",
		"AT+SYSMFG=2,\"client_ca\"",
		"AT+SYSMFG=2,\"client_key\"",
		"AT+SYSMFG=1,\"client_key\",\"client_key.0\"",
		"AT+CWSTATE?",
		"AT+CWJAP",
		"AT+SYSTIMESTAMP=",
	};
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		teardown(state);
		setup(state);
		chip_answer(b, commands[i], "\r\nready\r\n", 1);
		bench_up(b);
		assert_ready(b);
		assert_int_equal(count_of(b->chip.told, "AT+RST|"), 0);
		assert_true(chip_holds(b, "client_key.0", &b->key));
	}
}

/* No answer to each of them, once. */
static void test_silence_at_any_command(void **state)
{
	static const char *const commands[] = {
		"ATE1",
		"ATESPATD",
		"ATE0",
		"AT+GMR",
		"AT+CMD?",
		"AT+CIPSTAMAC?",
		"AT+SYSSTORE=0",
		"AT+CWMODE?",
		"AT+CIPSSLCPSK=5,",
		"AT+SYSMFG=1,\"client_ca\"",
		"AT+SYSMFG=1,\"client_key\",\"client_key.0\"",
		"AT+SYSMFG=2,\"client_ca\"",
		"AT+CWSTATE?",
		"AT+CWJAP",
		"AT+SYSTIMESTAMP=",
	};
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		teardown(state);
		setup(state);
		chip_answer(b, commands[i], NULL, 1);
		device_port_up(b->dev, 115200);
		bench_pass(b, 120 * TIMERS_S);
		if (b->dev->state != DEVICE_READY)
			fail_msg("%s: %s", commands[i], device_state_name(b->dev->state));
	}
}

/* ---- Wi-Fi and clock ---- */

static void test_join_failure_has_words(void **state)
{
	struct bench *b = *state;

	chip_answer(b, "AT+CWJAP", "+CWJAP:3\r\n\r\nERROR\r\n", 1);
	bench_up(b);
	assert_failed(b, "cannot join Wi-Fi \"lab\": no such access point in range");
	bench_pass(b, 60 * TIMERS_S);
	assert_ready(b);
}

static void test_joined_already(void **state)
{
	struct bench *b = *state;

	b->chip.joined = true;
	bench_up(b);
	assert_ready(b);
	assert_null(strstr(b->chip.told, "CWJAP"));
}

static void test_wifi_lost_and_back(void **state)
{
	struct bench *b = *state;

	bench_up(b);
	chip_forget(b);
	b->chip.joined = false;
	chip_say(b, "WIFI DISCONNECT\r\n");
	assert_int_equal(b->dev->state, DEVICE_JOINING);
	b->chip.joined = true;
	chip_say(b, "WIFI CONNECTED\r\nWIFI GOT IP\r\n");
	assert_ready(b);
	assert_null(strstr(b->chip.told, "CWJAP=")); /* the chip came back by itself */
}

static void test_host_clock_not_set(void **state)
{
	struct bench *b = *state;

	b->wallclock = 1000;
	bench_up(b);
	assert_int_equal(b->dev->state, DEVICE_CLOCK);
	assert_string_equal(b->dev->error,
			    "the host's own clock is not set, certificates cannot be judged");
	assert_null(strstr(b->chip.told, "SYSTIMESTAMP"));
}

static void test_port_down(void **state)
{
	struct bench *b = *state;

	bench_up(b);
	device_port_down(b->dev, "unplugged");
	assert_int_equal(b->dev->state, DEVICE_ABSENT);
	assert_null(device_free_link(b->dev));
	chip_forget(b);
	chip_say(b, "\r\nready\r\n");
	bench_pass(b, 100 * TIMERS_S);
	assert_string_equal(b->chip.told, "");
	bench_up(b);
	assert_ready(b);
}

/* Nobody has heard its `ready`, and no link was open that would be missed. */
static void test_unheard_restart(void **state)
{
	struct bench *b = *state;

	bench_up(b);
	assert_ready(b);
	chip_forget(b);
	b->chip.echo = true;
	b->chip.joined = false;
	/* It shows in what is asked now and then. */
	bench_pass(b, 2 * 60 * TIMERS_S);
	assert_ready(b);
	assert_int_equal(count_of(b->chip.told, "|ATE0|"), 1);
	assert_int_equal(count_of(b->chip.told, "|AT+CWJAP=\"lab\""), 1);
	assert_false(b->chip.echo);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_factory_chip),
		T(test_nothing_written_if_equal),
		T(test_other_content_is_left_alone),
		T(test_key_of_wrong_type_is_erased_first),
		T(test_write_is_read_back),
		T(test_nothing_is_written_into_a_block),
		T(test_write_that_never_holds),
		T(test_record_that_never_holds),
		T(test_writes_that_are_refused),
		T(test_no_slot_is_free),
		T(test_pinned_slot_is_kept_free),
		T(test_lost_step_again_and_again),
		T(test_set_aside),
		T(test_absurd_values),
		T(test_restarts_again_and_again),
		T(test_unheard_restart),
		T(test_old_version_is_refused),
		T(test_missing_command_is_refused),
		T(test_silent_chip),
		T(test_what_is_no_answer),
		T(test_what_came_before_is_forgotten),
		T(test_noise_at_another_rate),
		T(test_no_echo_is_no_proof),
		T(test_noise_before),
		T(test_unfinished_block),
		T(test_refusal_ends_in_one_reset),
		T(test_single_connection_is_ended),
		T(test_settings_of_others_are_cleared),
		T(test_reset_at_any_command),
		T(test_silence_at_any_command),
		T(test_join_failure_has_words),
		T(test_joined_already),
		T(test_wifi_lost_and_back),
		T(test_host_clock_not_set),
		T(test_port_down),
	};

	return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
