/* SPDX-License-Identifier: MIT */
/* device: Wi-Fi and the clock, each setting and each failure, on a scripted chip. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "device/internal.h"
#include "fake-chip.h"
#include "log-capture.h"
#include "util/log.h"

#define ADDRESS_LINES                                                                              \
	"+CIPSTA:ip:\"10.0.2.77\"\r\n+CIPSTA:gateway:\"10.0.2.2\"\r\n"                             \
	"+CIPSTA:netmask:\"255.255.255.0\"\r\n\r\nOK\r\n"

static char espat[] = "espat", de[] = "DE", bssid[] = "10:01:00:C4:0A:51",
	    other_bssid[] = "10:01:00:c4:0a:52", address[] = "10.0.2.77", gateway[] = "10.0.2.2",
	    netmask[] = "255.255.255.0", server_a[] = "ntp.a", server_b[] = "10.0.2.2",
	    anonymous[] = "anonymous@lab", v6[] = "2001:db8::7", name[] = "broker.example";
static char *dns[] = { gateway, address }, *servers[] = { server_a, server_b };

/* Without tunnels there is nothing to provision. */
static int setup(void **state)
{
	static struct bench b;

	bench_init(&b);
	b.config.n_tunnels = 0;
	b.tunnel.authority = NULL;
	b.tunnel.identity = NULL;
	log_capture_reset();
	*state = &b;
	return 0;
}

static int teardown(void **state)
{
	bench_free(*state);
	return 0;
}

/* What the chip was told since provisioning. */
static const char *told(struct bench *b)
{
	static const char before[] = "AT+CIPSSLCPSK=5,\"\",\"\"|";
	const char *text = strstr(b->chip.told, before);

	if (!text)
		return b->chip.told;
	text += strlen(before);
	while (strncmp(text, "AT+SYSMFG", 9) == 0 || *text == '[')
		text = strchr(text, '|') + 1;
	return text;
}

static void assert_ready(struct bench *b)
{
	if (b->dev->state != DEVICE_READY)
		fail_msg("%s: %s; told: %s", device_state_name(b->dev->state), b->dev->error,
			 told(b));
}

static void assert_failed(struct bench *b, const char *text)
{
	assert_int_equal(b->dev->state, DEVICE_FAILED);
	assert_string_equal(b->dev->error, text);
}

/* Another bring-up of the same chip, with what a test has configured meanwhile. */
static void up(struct bench *b)
{
	chip_forget(b);
	bench_up(b);
}

/* ---- joining ---- */

/* A plain configuration costs no more commands than it must. */
static void test_plain(void **state)
{
	struct bench *b = *state;

	log_set_level(LOG_LEVEL_DEBUG);
	bench_up(b);
	log_set_level(LOG_LEVEL_INFO);
	assert_ready(b);
	assert_string_equal(told(b), "AT+CWSTATE?|AT+CWDHCP?|AT+CWJAP=\"lab\",\"hunter2\"|"
				     "AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|");
	assert_non_null(strstr(logged, "esp0: > AT+CWSTATE?\n"));
	assert_null(strstr(logged, "hunter2"));
	assert_int_equal(b->dev->cwstate, 2);
	assert_string_equal(b->dev->ssid, "lab");
	assert_non_null(strstr(logged, "esp0: joined \"lab\"\n"));
	/* The next start of the daemon */
	up(b);
	assert_ready(b);
	assert_string_equal(
		told(b),
		"AT+CWSTATE?|AT+CWDHCP?|AT+CIPDNS?|AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|");
}

static void test_forms_of_the_command(void **state)
{
	static char odd[] = "a,b\"c\\d";
	static const char long_password[] =
		",,,,,,,,,,,,,,,,\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\"
		"0123456789abcdef";
	struct bench *b = *state;
	struct config_wifi *wifi = &b->settings.wifi;

	wifi->bssid = bssid;
	bench_up(b);
	assert_ready(b);
	assert_non_null(strstr(told(b), "|AT+CWJAP=\"lab\",\"hunter2\",\"10:01:00:C4:0A:51\"|"));
	wifi->hidden = true;
	b->chip.joined = false;
	up(b);
	assert_non_null(
		strstr(told(b), "|AT+CWJAP=\"lab\",\"hunter2\",\"10:01:00:C4:0A:51\",,,,1|"));
	wifi->bssid = NULL;
	b->chip.joined = false;
	up(b);
	assert_non_null(strstr(told(b), "|AT+CWJAP=\"lab\",\"hunter2\",,,,,1|"));
	wifi->hidden = false;
	wifi->password_file = NULL;
	b->chip.joined = false;
	up(b);
	assert_non_null(strstr(told(b), "|AT+CWJAP=\"lab\",\"\"|"));
	/* 64 bytes, of which most need a backslash */
	wifi->password_file = odd;
	wifi->ssid = odd;
	b->password = long_password;
	b->chip.joined = false;
	assert_int_equal(strlen(long_password), 64);
	up(b);
	assert_ready(b);
	assert_non_null(
		strstr(told(b),
		       "|AT+CWJAP=\"a\\,b\\\"c\\\\d\",\"\\,\\,\\,\\,\\,\\,\\,\\,\\,\\,\\,\\,\\,\\,"
		       "\\,\\,\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\""
		       "\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\"
		       "0123456789abcdef\"|"));
}

static void test_joined_already(void **state)
{
	struct bench *b = *state;

	b->chip.joined = true;
	b->settings.wifi.bssid = bssid;
	bench_up(b);
	assert_ready(b);
	assert_string_equal(told(b), "AT+CWSTATE?|AT+CWJAP?|AT+CWDHCP?|AT+CIPDNS?|"
				     "AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|");
	/* the same network, another access point */
	b->settings.wifi.bssid = other_bssid;
	up(b);
	assert_ready(b);
	assert_string_equal(told(b),
			    "AT+CWSTATE?|AT+CWJAP?|AT+CWDHCP?|AT+CWJAP=\"lab\",\"hunter2\","
			    "\"10:01:00:c4:0a:52\"|AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|");
	/* another network */
	b->settings.wifi.bssid = NULL;
	chip_answer(b, "AT+CWSTATE?", "+CWSTATE:2,\"home\"\r\n\r\nOK\r\n", 1);
	up(b);
	assert_ready(b);
	assert_string_equal(told(b), "AT+CWSTATE?|AT+CWDHCP?|AT+CWJAP=\"lab\",\"hunter2\"|"
				     "AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|");
}

static void test_failures_have_words(void **state)
{
	static const struct {
		const char *reply;
		const char *text;
	} rows[] = {
		{ "+CWJAP:1\r\n\r\nERROR\r\n", "cannot join Wi-Fi \"lab\": timed out" },
		{ "+CWJAP:2\r\n\r\nERROR\r\n", "cannot join Wi-Fi \"lab\": wrong password" },
		{ "+CWJAP:3\r\n\r\nERROR\r\n",
		  "cannot join Wi-Fi \"lab\": no such access point in range" },
		{ "+CWJAP:4\r\n\r\nERROR\r\n",
		  "cannot join Wi-Fi \"lab\": the access point refused (wrong password, or none "
		  "where one is needed?)" },
		{ "+CWJAP:5\r\n\r\nERROR\r\n",
		  "cannot join Wi-Fi \"lab\": the chip gave no reason" },
		{ "\r\nERROR\r\n", "cannot join Wi-Fi \"lab\": the chip gave no reason" },
	};
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		chip_answer(b, "AT+CWJAP=", rows[i].reply, 1);
		up(b);
		assert_failed(b, rows[i].text);
	}
	b->password = NULL;
	up(b);
	assert_failed(b, "cannot read the Wi-Fi password from wifi.secret: "
			 "No such file or directory");
	b->password = "hunter2";
	bench_pass(b, 60 * TIMERS_S);
	assert_ready(b); /* without being asked again */
}

/* OK alone is no address: that of AT+CWJEAP is documented without one. */
static void test_address_after_ok(void **state)
{
	struct bench *b = *state;

	chip_answer(b, "AT+CWJAP=", "WIFI CONNECTED\r\n\r\nOK\r\n", 1);
	device_port_up(b->dev, 115200);
	bench_pass(b, 6 * TIMERS_S);
	chip_say(b, "WIFI GOT IPv6 GL\r\n"); /* the other one is needed, too */
	assert_int_equal(b->dev->state, DEVICE_JOINING);
	b->chip.joined = true;
	chip_say(b, "WIFI GOT IP\r\n");
	assert_ready(b);
	assert_int_equal(count_of(told(b), "AT+CWJAP="), 1);
	/* It never comes: told again, with a pause. */
	b->chip.joined = false;
	chip_answer(b, "AT+CWJAP=", "\r\nOK\r\n", -1);
	chip_forget(b);
	device_port_up(b->dev, 115200);
	bench_pass(b, 60 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_JOINING);
	assert_in_range(count_of(told(b), "AT+CWJAP="), 2, 8);
}

/* ---- what comes before the join ---- */

static enum link_probe may_probe(void *user, bool quiet)
{
	return *(const enum link_probe *)user;
}

static bool alone(void *user)
{
	return true;
}

static void nothing(void *user, enum link_end end)
{
}

/* What it has said of that was lost. It is noticed when it is looked at, or when a connection fails. */
static void test_wifi_that_has_gone_unheard(void **state)
{
	static const struct link_target target = { .host = name, .server_name = name, .port = 1 };
	static const struct link_ops ops = {
		.may_probe = may_probe,
		.alone = alone,
		.closed = nothing,
	};
	struct bench *b = *state;

	enum link_probe probes[] = { LINK_PROBE_NO, LINK_PROBE_NO, LINK_PROBE_YES,
				     LINK_PROBE_LATER };

	/* The last three by a connection, also while it is still looked into why it has failed. */
	for (int fails = 0; fails < 4; fails++) {
		bench_up(b);
		assert_ready(b);
		bench_pass(b, 10 * TIMERS_S);
		chip_forget(b);
		b->chip.joined = false;
		if (fails) {
			chip_answer(b, "AT+CIPSTART", "\r\nERROR\r\n", 1);
			assert_int_equal(
				link_open(&b->dev->links[0], &target, &ops, &probes[fails]), 0);
		}
		bench_pass(b, fails ? 4 * TIMERS_S : 65 * TIMERS_S);
		assert_ready(b);
		assert_int_equal(count_of(b->chip.told, "AT+CWJAP=\"lab\""), 1);
		device_port_down(b->dev, "gone");
	}
}

static void test_settings_in_order(void **state)
{
	struct bench *b = *state;
	struct config_wifi *wifi = &b->settings.wifi;

	wifi->country = de;
	wifi->hostname = espat;
	wifi->address = address;
	wifi->gateway = gateway;
	wifi->netmask = netmask;
	wifi->dns = (struct config_strings){ .items = dns, .n = 2 };
	b->config.n_tunnels = 1;
	b->tunnel.host = name;
	b->tunnel.family = CONFIG_FAMILY_IPV6;
	chip_answer(b, "AT+CWJAP=",
		    "WIFI CONNECTED\r\nWIFI GOT IP\r\n\r\nOK\r\nWIFI GOT IPv6 LL\r\n"
		    "WIFI GOT IPv6 GL\r\n",
		    -1);
	bench_up(b);
	assert_ready(b);
	assert_string_equal(told(b),
			    "AT+CWSTATE?|AT+CWCOUNTRY=1,\"DE\",1,13|"
			    "AT+CIPSTA=\"10.0.2.77\",\"10.0.2.2\",\"255.255.255.0\"|"
			    "AT+CIPDNS=1,\"10.0.2.2\",\"10.0.2.77\"|AT+CWHOSTNAME=\"espat\"|"
			    "AT+CIPV6=1|AT+CWJAP=\"lab\",\"hunter2\"|"
			    "AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|");
	/* After a reset all of them are made again. */
	b->chip.joined = false;
	chip_forget(b);
	chip_say(b, "\r\nready\r\n");
	bench_pass(b, 900 * TIMERS_MS);
	assert_ready(b);
	assert_int_equal(count_of(b->chip.told, "AT+CWCOUNTRY=1,\"DE\",1,13|"), 1);
	assert_int_equal(count_of(b->chip.told, "AT+CIPSTA="), 1);
	assert_int_equal(count_of(b->chip.told, "AT+CIPDNS=1"), 1);
	assert_int_equal(count_of(b->chip.told, "AT+CWHOSTNAME="), 1);
	assert_int_equal(count_of(b->chip.told, "AT+CIPV6=1|"), 1);
	/* When Wi-Fi comes back, none of them is. */
	b->chip.joined = false;
	chip_forget(b);
	chip_say(b, "WIFI DISCONNECT\r\n");
	b->chip.joined = true;
	chip_say(b, "WIFI CONNECTED\r\nWIFI GOT IP\r\nWIFI GOT IPv6 GL\r\n");
	bench_run(b);
	assert_ready(b);
	assert_string_equal(b->chip.told,
			    "AT+CWSTATE?|AT+CWSTATE?|AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|");
}

static void test_country(void **state)
{
	static char code[3];
	static const struct {
		const char *code;
		const char *command;
	} rows[] = {
		{ "DE", "AT+CWCOUNTRY=1,\"DE\",1,13|" }, { "US", "AT+CWCOUNTRY=1,\"US\",1,11|" },
		{ "CA", "AT+CWCOUNTRY=1,\"CA\",1,11|" }, { "JP", "AT+CWCOUNTRY=1,\"JP\",1,14|" },
		{ "CN", "AT+CWCOUNTRY=1,\"CN\",1,13|" }, { "VI", "AT+CWCOUNTRY=1,\"VI\",1,11|" },
	};
	struct bench *b = *state;

	b->settings.wifi.country = code;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		strcpy(code, rows[i].code);
		up(b);
		assert_ready(b);
		assert_non_null(strstr(told(b), rows[i].command));
		/* It counts at once: what is joined stays so. */
		assert_int_equal(count_of(told(b), "AT+CWJAP="), i == 0 ? 1 : 0);
	}
}

enum which {
	HOSTNAME,
	ADDRESS,
	DHCP,
	DNS,
	DNS_BY_DHCP,
	IPV6
};

static void configure(struct bench *b, enum which which)
{
	struct config_wifi *wifi = &b->settings.wifi;

	switch (which) {
	case HOSTNAME:
		wifi->hostname = espat;
		return;
	case ADDRESS:
		wifi->address = address;
		wifi->gateway = gateway;
		wifi->netmask = netmask;
		return;
	case DNS:
		wifi->dns = (struct config_strings){ .items = dns, .n = 1 };
		return;
	case IPV6:
		b->config.n_tunnels = 1;
		b->tunnel.host = v6;
		return;
	case DHCP:
	case DNS_BY_DHCP:
		return;
	}
}

/* A join that exists is kept if the chip has what is configured, else it is made anew. */
static void test_settings_of_a_join_that_exists(void **state)
{
	static const struct {
		enum which which;
		const char *query;
		const char *stands; /* answer that lets the join be */
		const char *other;  /* answer that does not */
		const char *command;
	} rows[] = {
		{ HOSTNAME, "AT+CWHOSTNAME?", "+CWHOSTNAME:espat\r\n\r\nOK\r\n",
		  "+CWHOSTNAME:espat2\r\n\r\nOK\r\n", "AT+CWHOSTNAME=\"espat\"|" },
		{ HOSTNAME, "AT+CWHOSTNAME?", NULL, "\r\nERROR\r\n", "AT+CWHOSTNAME=\"espat\"|" },
		{ ADDRESS, "AT+CIPSTA?", ADDRESS_LINES,
		  "+CIPSTA:ip:\"10.0.2.77\"\r\n+CIPSTA:gateway:\"10.0.2.2\"\r\n"
		  "+CIPSTA:netmask:\"255.255.0.0\"\r\n\r\nOK\r\n",
		  "AT+CIPSTA=\"10.0.2.77\",\"10.0.2.2\",\"255.255.255.0\"|" },
		{ ADDRESS, "AT+CIPSTA?", "+CIPSTA:ip6ll:\"fe80::1\"\r\n" ADDRESS_LINES,
		  "+CIPSTA:ip:\"10.0.2.7\"\r\n+CIPSTA:gateway:\"10.0.2.2\"\r\n"
		  "+CIPSTA:netmask:\"255.255.255.0\"\r\n\r\nOK\r\n",
		  "AT+CIPSTA=\"10.0.2.77\",\"10.0.2.2\",\"255.255.255.0\"|" },
		{ DHCP, "AT+CWDHCP?", "+CWDHCP:1\r\nOK\r\n", "+CWDHCP:2\r\nOK\r\n",
		  "AT+CWDHCP=1,1|" },
		{ DHCP, "AT+CWDHCP?", "\r\nERROR\r\n", "+CWDHCP:0\r\nOK\r\n", "AT+CWDHCP=1,1|" },
		{ DNS_BY_DHCP, "AT+CIPDNS?", "+CIPDNS:0,\"10.0.2.3\"\r\n\r\nOK\r\n",
		  "+CIPDNS:1,\"10.0.2.3\"\r\n\r\nOK\r\n", "AT+CIPDNS=0|" },
		{ IPV6, "AT+CIPV6?", "+CIPV6:1\r\n\r\nOK\r\n", "+CIPV6:0\r\n\r\nOK\r\n",
		  "AT+CIPV6=1|" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench *b = *state;

		teardown(state);
		setup(state);
		configure(b, rows[i].which);
		b->chip.joined = true;
		if (rows[i].stands) {
			chip_answer(b, rows[i].query, rows[i].stands, 1);
			up(b);
			assert_ready(b);
			assert_int_equal(count_of(told(b), rows[i].query), 1);
			assert_null(strstr(told(b), rows[i].command));
			assert_null(strstr(told(b), "AT+CWJAP="));
		}
		chip_answer(b, rows[i].query, rows[i].other, 1);
		up(b);
		assert_ready(b);
		assert_int_equal(count_of(told(b), rows[i].command), 1);
		assert_int_equal(count_of(told(b), "AT+CWJAP="), 1);
		assert_true(strstr(told(b), "AT+CWJAP=") > strstr(told(b), rows[i].command));
	}
}

/* DHCP that somebody has switched off goes on, and with it his name servers go. */
static void test_foreign_address_is_given_up(void **state)
{
	struct bench *b = *state;

	chip_answer(b, "AT+CWDHCP?", "+CWDHCP:2\r\nOK\r\n", 1);
	chip_answer(b, "AT+CIPDNS?", "+CIPDNS:1,\"192.0.2.1\"\r\n\r\nOK\r\n", 1);
	bench_up(b);
	assert_ready(b);
	assert_string_equal(
		told(b),
		"AT+CWSTATE?|AT+CWDHCP?|AT+CWDHCP=1,1|AT+CIPDNS?|AT+CIPDNS=0|"
		"AT+CWJAP=\"lab\",\"hunter2\"|AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|");
	/* Name servers that are configured count at once. */
	configure(b, DNS);
	up(b);
	assert_ready(b);
	assert_string_equal(told(b), "AT+CWSTATE?|AT+CWDHCP?|AT+CIPDNS=1,\"10.0.2.2\"|"
				     "AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|");
}

static void test_refused_settings_have_words(void **state)
{
	static const struct {
		enum which which;
		const char *command;
		const char *text;
	} rows[] = {
		{ HOSTNAME, "AT+CWHOSTNAME=", "the chip refuses the host name (AT+CWHOSTNAME)" },
		{ ADDRESS, "AT+CIPSTA=", "the chip refuses the fixed address (AT+CIPSTA)" },
		{ DNS, "AT+CIPDNS=", "the chip refuses the name servers (AT+CIPDNS)" },
		{ IPV6, "AT+CIPV6=", "the chip refuses the use of IPv6 (AT+CIPV6)" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench *b = *state;

		teardown(state);
		setup(state);
		configure(b, rows[i].which);
		chip_answer(b, rows[i].command, "\r\nERROR\r\n", 1);
		bench_up(b);
		assert_failed(b, rows[i].text);
		assert_null(strstr(told(b), "AT+CWJAP="));
		bench_pass(b, 20 * TIMERS_S);
		assert_ready(b);
	}
}

/* What was changed before another setting was refused still needs the new join. */
static void test_refused_after_a_change(void **state)
{
	struct bench *b = *state;

	configure(b, HOSTNAME);
	configure(b, IPV6);
	b->chip.joined = true;
	chip_answer(b, "AT+CIPV6=1", "\r\nERROR\r\n", 1);
	bench_up(b);
	assert_int_equal(b->dev->state, DEVICE_FAILED);
	chip_answer(b, "AT+CWHOSTNAME?", "+CWHOSTNAME:espat\r\n\r\nOK\r\n", 1);
	chip_answer(b, "AT+CIPV6?", "+CIPV6:1\r\n\r\nOK\r\n", 1);
	up(b);
	assert_ready(b);
	assert_int_equal(count_of(told(b), "AT+CWJAP="), 1);
}

/* Without `wifi` all of this is the chip's own. */
static void test_chip_that_joins_by_itself(void **state)
{
	struct bench *b = *state;

	b->settings.has_wifi = false;
	b->settings.wifi = (struct config_wifi){ 0 };
	b->chip.joined = true;
	bench_up(b);
	assert_ready(b);
	assert_string_equal(told(b), "AT+CWSTATE?|AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|");
	/* Not joined: it is given time, then told to; the name is asked for. */
	b->chip.joined = false;
	chip_forget(b);
	bench_up(b);
	assert_ready(b);
	assert_string_equal(told(b), "AT+CWSTATE?|AT+CWSTATE?|AT+CWJAP|AT+CWSTATE?|AT+SYSTIMESTAMP="
				     "1790000000|AT+SYSTIMESTAMP?|");
	assert_string_equal(b->dev->ssid, "lab");
	chip_answer(b, "AT+CWJAP", "\r\nERROR\r\n", 1);
	b->chip.joined = false;
	up(b);
	assert_failed(b, "the chip does not join a Wi-Fi network by itself: the chip gave no "
			 "reason; name one with `wifi`");
	/* IPv6 has to be on before it joins. */
	configure(b, IPV6);
	b->chip.joined = true;
	b->dev->ip6_due = false;
	chip_answer(b, "AT+CWJAP",
		    "WIFI DISCONNECT\r\nWIFI CONNECTED\r\nWIFI GOT IP\r\n\r\nOK\r\n"
		    "WIFI GOT IPv6 GL\r\n",
		    1);
	up(b);
	assert_ready(b);
	assert_string_equal(told(b), "AT+CWSTATE?|AT+CIPV6?|AT+CIPV6=1|AT+CWJAP|AT+CWSTATE?|"
				     "AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|");
	chip_answer(b, "AT+CIPV6?", "+CIPV6:1\r\n\r\nOK\r\n", 1);
	up(b);
	assert_ready(b);
	assert_string_equal(told(b),
			    "AT+CWSTATE?|AT+CIPV6?|AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|");
	/* What is on already does not disturb a chip that is about to join. */
	b->chip.joined = false;
	chip_answer(b, "AT+CIPV6?", "+CIPV6:1\r\n\r\nOK\r\n", 1);
	chip_forget(b);
	device_port_up(b->dev, 115200);
	bench_pass(b, 6 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_JOINING);
	b->chip.joined = true;
	chip_say(b, "WIFI CONNECTED\r\nWIFI GOT IP\r\nWIFI GOT IPv6 GL\r\n");
	assert_ready(b);
	assert_string_equal(
		told(b),
		"AT+CWSTATE?|AT+CIPV6?|AT+CWSTATE?|AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|");
}

/* ---- IPv6 ---- */

static void test_who_wants_ipv6(void **state)
{
	struct bench *b = *state;
	struct config_device elsewhere = b->settings;

	b->tunnel.host = name;
	b->tunnel.family = CONFIG_FAMILY_IPV6;
	assert_false(device_wants_ipv6(b->dev)); /* n_tunnels is 0 */
	b->config.n_tunnels = 1;
	assert_true(device_wants_ipv6(b->dev));
	b->tunnel.device = &elsewhere;
	assert_false(device_wants_ipv6(b->dev));
	b->tunnel.device = &b->settings;
	b->tunnel.family = CONFIG_FAMILY_AUTO;
	assert_false(device_wants_ipv6(b->dev));
	b->tunnel.host = v6;
	assert_true(device_wants_ipv6(b->dev));
	b->tunnel.family = CONFIG_FAMILY_IPV4;
	assert_false(device_wants_ipv6(b->dev));
}

/* The global address comes after the join, or never. */
static void test_ipv6_address_is_awaited(void **state)
{
	struct bench *b = *state;

	configure(b, IPV6);
	device_port_up(b->dev, 115200);
	bench_pass(b, 3 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_JOINING);
	chip_say(b, "WIFI GOT IPv6 LL\r\n");
	assert_int_equal(b->dev->state, DEVICE_JOINING);
	chip_say(b, "WIFI GOT IPv6 GL\r\n");
	assert_ready(b);
	assert_int_equal(count_of(logged, "joined \"lab\""), 1);
	/* again after Wi-Fi was gone */
	chip_say(b, "WIFI DISCONNECT\r\nWIFI CONNECTED\r\nWIFI GOT IP\r\n");
	assert_int_equal(b->dev->state, DEVICE_JOINING);
	bench_pass(b, 4 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_JOINING);
	bench_pass(b, 2 * TIMERS_S);
	assert_ready(b);
	/* Who needs none does not wait for one. */
	b->config.n_tunnels = 0;
	chip_say(b, "WIFI DISCONNECT\r\nWIFI CONNECTED\r\nWIFI GOT IP\r\n");
	assert_ready(b);
}

/* ---- enterprise ---- */

static void enterprise(struct bench *b)
{
	b->settings.wifi.password_file = NULL;
	b->settings.wifi.has_enterprise = true;
	b->settings.wifi.enterprise = (struct config_eap){
		.identity = anonymous,
		.credential = &b->identity,
		.authority = &b->authority,
	};
}

static void test_enterprise(void **state)
{
	struct bench *b = *state;

	enterprise(b);
	bench_up(b);
	assert_ready(b);
	assert_true(chip_holds(b, "wpa2_ca", &b->ca));
	assert_true(chip_holds(b, "wpa2_cert", &b->cert));
	assert_true(chip_holds(b, "wpa2_key", &b->key));
	/* The clock first, and only once. */
	assert_string_equal(told(b),
			    "AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|AT+CWSTATE?|AT+CWDHCP?|"
			    "AT+CWJEAP=\"lab\",0,\"anonymous@lab\",,,3|");
	assert_string_equal(b->states, ">probing>identifying>configuring>provisioning>joining"
				       ">setting-clock>joining>setting-clock>ready");
	/* Wi-Fi comes back: the clock is right, but may be for weeks; it is set again. */
	chip_forget(b);
	chip_say(b, "WIFI DISCONNECT\r\nWIFI CONNECTED\r\nWIFI GOT IP\r\n");
	assert_ready(b);
	assert_string_equal(b->chip.told,
			    "AT+CWSTATE?|AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|");
	/* Not every chip keeps its clock over a reset. */
	b->chip.joined = false;
	chip_forget(b);
	chip_say(b, "\r\nready\r\n");
	bench_pass(b, 10 * TIMERS_S);
	assert_ready(b);
	assert_non_null(strstr(
		b->chip.told, "|AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|AT+CWSTATE?|AT+CWDHCP?|"
			      "AT+CWJEAP="));
	/* Somebody's time servers answer as soon as there is a network. */
	b->chip.joined = false;
	chip_answer(b, "AT+CWJEAP=", "WIFI GOT IP\r\n+TIME_UPDATED\r\n\r\nOK\r\n", 1);
	up(b);
	assert_ready(b);
	assert_non_null(strstr(told(b),
			       "|AT+CWJEAP=\"lab\",0,\"anonymous@lab\",,,3|"
			       "AT+CIPSNTPCFG=0|AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|"));
	b->settings.wifi.enterprise.authority = NULL;
	b->settings.wifi.bssid = other_bssid;
	up(b);
	assert_ready(b);
	assert_non_null(strstr(told(b), "|AT+CWJEAP=\"lab\",0,\"anonymous@lab\",,,1,,,"
					"\"10:01:00:c4:0a:52\"|"));
	b->settings.wifi.hidden = true;
	up(b);
	assert_non_null(strstr(told(b), "|AT+CWJEAP=\"lab\",0,\"anonymous@lab\",,,1,,,"
					"\"10:01:00:c4:0a:52\",,1|"));
	b->settings.wifi.bssid = NULL;
	b->chip.joined = false;
	up(b);
	assert_non_null(strstr(told(b), "|AT+CWJEAP=\"lab\",0,\"anonymous@lab\",,,1,,,,,1|"));
}

static void test_enterprise_failures(void **state)
{
	struct bench *b = *state;

	enterprise(b);
	chip_answer(b, "AT+CWJEAP=", "+CWJEAP:Timeout\r\n\r\nERROR\r\n", 1);
	bench_up(b);
	assert_failed(b, "cannot join Wi-Fi \"lab\": timed out (no such network in range, or a "
			 "certificate or the identity was not accepted?)");
	chip_answer(b, "AT+CWJEAP=", "\r\nERROR\r\n", 2);
	up(b);
	assert_failed(b, "cannot join Wi-Fi \"lab\": the chip gave no reason");
	b->settings.wifi.hidden = true;
	up(b);
	assert_failed(b, "cannot join Wi-Fi \"lab\": the chip gave no reason (its firmware may not "
			 "know `bssid` and `hidden` in an enterprise network)");
	/* A firmware without it: nothing is touched. */
	b->chip.without = "AT+CWJEAP";
	up(b);
	assert_failed(b, "this firmware has no AT+CWJEAP: enterprise Wi-Fi needs a build with it");
	assert_null(strstr(b->chip.told, "AT+SYSSTORE"));
	/* which only who wants it needs */
	b->settings.wifi.has_enterprise = false;
	up(b);
	assert_ready(b);
}

/* No clock, no join: the network's server could not be judged. */
static void test_enterprise_waits_for_the_clock(void **state)
{
	struct bench *b = *state;

	enterprise(b);
	b->settings.require_synchronized = true;
	b->unsynchronized = true;
	bench_up(b);
	assert_int_equal(b->dev->state, DEVICE_CLOCK);
	assert_string_equal(told(b), "");
	b->unsynchronized = false;
	bench_pass(b, 6 * TIMERS_S);
	assert_ready(b);
	assert_string_equal(told(b),
			    "AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|AT+CWSTATE?|AT+CWDHCP?|"
			    "AT+CWJEAP=\"lab\",0,\"anonymous@lab\",,,3|");
}

/* Time servers cannot be asked before the join: the host's clock does for that, if it is set. */
static void test_enterprise_with_time_servers(void **state)
{
	struct bench *b = *state;

	enterprise(b);
	b->settings.time = CONFIG_TIME_SNTP;
	b->settings.ntp_servers = (struct config_strings){ .items = servers, .n = 1 };
	b->chip.clock = 1790000007;
	chip_answer(b, "AT+CIPSNTPCFG=", "\r\nOK\r\n+TIME_UPDATED\r\n", -1);
	bench_up(b);
	assert_ready(b);
	assert_string_equal(told(b),
			    "AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|AT+CWSTATE?|AT+CWDHCP?|"
			    "AT+CWJEAP=\"lab\",0,\"anonymous@lab\",,,3|"
			    "AT+CIPSNTPCFG=1,0,\"ntp.a\"|AT+SYSTIMESTAMP?|");
	b->wallclock = 1000;
	b->chip.joined = false;
	up(b);
	assert_ready(b);
	assert_string_equal(told(b), "AT+CWSTATE?|AT+CWDHCP?|"
				     "AT+CWJEAP=\"lab\",0,\"anonymous@lab\",,,3|"
				     "AT+CIPSNTPCFG=1,0,\"ntp.a\"|AT+SYSTIMESTAMP?|");
}

/* ---- the host's clock ---- */

static void test_unsynchronized_host(void **state)
{
	static const char why[] =
		"the host's own clock is not synchronized, as `require_synchronized` wants it";
	struct bench *b = *state;

	/* only if it is wanted */
	b->unsynchronized = true;
	bench_up(b);
	assert_ready(b);
	b->settings.require_synchronized = true;
	up(b);
	assert_int_equal(b->dev->state, DEVICE_CLOCK);
	assert_string_equal(b->dev->error, why);
	assert_null(strstr(told(b), "SYSTIMESTAMP"));
	assert_null(device_free_link(b->dev));
	bench_pass(b, 600 * TIMERS_S);
	assert_int_equal(count_of(logged, why), 1);
	/* before the release it is no clock, synchronized or not */
	b->unsynchronized = false;
	b->wallclock = 1767225599;
	bench_pass(b, 6 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_CLOCK);
	assert_string_equal(b->dev->error,
			    "the host's own clock is not set, certificates cannot be judged");
	b->wallclock = 1767225600;
	bench_pass(b, 6 * TIMERS_S);
	assert_ready(b);
	assert_string_equal(b->dev->error, "");
	assert_non_null(strstr(told(b), "AT+SYSTIMESTAMP=1767225600|AT+SYSTIMESTAMP?|"));
}

/* What is on its way to the chip when the host's clock is set is not what the chip is left with. */
static void test_host_clock_is_set_meanwhile(void **state)
{
	struct bench *b = *state;

	bench_up(b);
	assert_ready(b);
	chip_answer(b, "AT+SYSTIMESTAMP=1790000000", NULL, 1);
	device_sync_clock(b->dev);
	bench_run(b);
	assert_int_equal(b->dev->state, DEVICE_CLOCK);
	chip_forget(b);
	b->wallclock = 1800000000;
	device_sync_clock(b->dev);
	bench_run(b);
	chip_say(b, "\r\nOK\r\n");
	assert_ready(b);
	assert_int_equal(b->chip.clock, 1800000000);
	assert_int_equal(count_of(told(b), "AT+SYSTIMESTAMP="), 1);
	/* Once. */
	chip_forget(b);
	bench_pass(b, 60 * TIMERS_S);
	assert_null(strstr(told(b), "SYSTIMESTAMP"));
}

/* What runs goes on with the time that the chip has. */
static void test_refresh_without_a_clock(void **state)
{
	struct bench *b = *state;

	b->settings.require_synchronized = true;
	bench_up(b);
	assert_ready(b);
	chip_forget(b);
	b->unsynchronized = true;
	bench_pass(b, 3 * 24 * 3600 * TIMERS_S);
	assert_ready(b);
	assert_string_equal(b->chip.told, "");
	assert_int_equal(count_of(logged, "the chip's clock is left as it is"), 1);
	b->unsynchronized = false;
	device_sync_clock(b->dev);
	bench_run(b);
	assert_ready(b);
	assert_string_equal(b->chip.told, "AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|");
	/* and said once more when it is gone once more; also where Wi-Fi has come back */
	b->unsynchronized = true;
	chip_say(b, "WIFI DISCONNECT\r\nWIFI CONNECTED\r\nWIFI GOT IP\r\n");
	assert_ready(b);
	assert_int_equal(count_of(logged, "the chip's clock is left as it is"), 2);
}

/* OK is not believed: a digit of the time that the line has lost would make expired certificates good. */
static void test_clock_is_not_as_set(void **state)
{
	struct bench *b = *state;

	chip_answer(b, "AT+SYSTIMESTAMP=", "\r\nOK\r\n", 2);
	b->chip.clock = 179000000;
	bench_up(b);
	assert_ready(b);
	assert_int_equal(b->chip.clock, 1790000000);
	assert_int_equal(count_of(told(b), "AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|"), 3);
	/* Answers that are damaged. */
	chip_forget(b);
	chip_answer(b, "AT+SYSTIMESTAMP?", "+SYSTIMESTAMP:1790000007\r\nOK\r\n", 1);
	device_sync_clock(b->dev);
	bench_run(b);
	assert_ready(b);
	assert_int_equal(count_of(told(b), "AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|"), 2);
	/* The host's own is lost before the second time: that of the chip is not known then. */
	chip_answer(b, "AT+SYSTIMESTAMP?", NULL, 1);
	device_sync_clock(b->dev);
	bench_run(b);
	b->wallclock = 1000;
	chip_say(b, "+SYSTIMESTAMP:1790000007\r\n\r\nOK\r\n");
	assert_int_equal(b->dev->state, DEVICE_CLOCK);
	assert_int_equal(b->chip.clock, 1790000000);
	b->wallclock = 1790000000;
	bench_pass(b, 10 * TIMERS_S);
	assert_ready(b);
	/* One that never holds it is an error, and tried again. */
	chip_answer(b, "AT+SYSTIMESTAMP=", "\r\nOK\r\n", 3);
	b->chip.clock = 179000000;
	device_sync_clock(b->dev);
	bench_run(b);
	assert_int_equal(b->dev->state, DEVICE_FAILED);
	assert_string_equal(b->dev->error, "the chip's clock is not what it was set to");
	bench_pass(b, 60 * TIMERS_S);
	assert_ready(b);
	assert_int_equal(b->chip.clock, 1790000000);
}

/* Wi-Fi goes while the clock is set: it is told when the chip is ready again. */
static void test_wifi_lost_during_a_refresh(void **state)
{
	struct bench *b = *state;

	bench_up(b);
	assert_ready(b);
	chip_answer(b, "AT+SYSTIMESTAMP=", "WIFI DISCONNECT\r\n\r\nOK\r\n", 1);
	b->chip.joined = false;
	device_sync_clock(b->dev);
	bench_run(b);
	assert_int_equal(b->dev->state, DEVICE_JOINING);
	b->chip.joined = true;
	chip_say(b, "WIFI CONNECTED\r\nWIFI GOT IP\r\n");
	assert_ready(b);
	assert_int_equal(count_of(logged, "esp0: ready\n"), 2);
}

/* Time servers of somebody else would set the clock behind our back. */
static void test_foreign_time_servers_are_given_up(void **state)
{
	struct bench *b = *state;

	bench_up(b);
	assert_ready(b);
	chip_forget(b);
	chip_say(b, "+TIME_UPDATED\r\n");
	assert_ready(b);
	assert_string_equal(b->chip.told,
			    "AT+CIPSNTPCFG=0|AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|");
	chip_forget(b);
	device_sync_clock(b->dev);
	bench_run(b);
	assert_string_equal(b->chip.told, "AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|");
	/* reported before the clock is set */
	chip_answer(b, "AT+CWSTATE?", "+TIME_UPDATED\r\n+CWSTATE:2,\"lab\"\r\n\r\nOK\r\n", 1);
	up(b);
	assert_ready(b);
	assert_non_null(
		strstr(told(b), "|AT+CIPSNTPCFG=0|AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|"));
	/* while it is set */
	chip_answer(b, "AT+SYSTIMESTAMP=", "+TIME_UPDATED\r\n\r\nOK\r\n", 1);
	up(b);
	assert_ready(b);
	assert_non_null(strstr(told(b),
			       "|AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|AT+CIPSNTPCFG=0|"
			       "AT+SYSTIMESTAMP=1790000000|AT+SYSTIMESTAMP?|"));
}

/* ---- time servers ---- */

static void sntp(struct bench *b)
{
	b->settings.time = CONFIG_TIME_SNTP;
	b->settings.ntp_servers = (struct config_strings){ .items = servers, .n = 2 };
	b->chip.clock = 1790000000;
	b->wallclock = 1000; /* of no interest */
}

static void test_sntp(void **state)
{
	struct bench *b = *state;

	sntp(b);
	device_port_up(b->dev, 115200);
	bench_pass(b, 20 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_CLOCK);
	assert_null(device_free_link(b->dev));
	chip_say(b, "+TIME_UPDATED\r\n");
	assert_ready(b);
	assert_string_equal(told(b), "AT+CWSTATE?|AT+CWDHCP?|AT+CWJAP=\"lab\",\"hunter2\"|"
				     "AT+CIPSNTPCFG=1,0,\"ntp.a\",\"10.0.2.2\"|AT+SYSTIMESTAMP?|");
	/* From here on it keeps its clock by itself, and what it makes of it is looked at, */
	chip_forget(b);
	chip_say(b, "+TIME_UPDATED\r\n");
	assert_ready(b);
	assert_string_equal(b->chip.told, "AT+SYSTIMESTAMP?|");
	chip_forget(b);
	bench_pass(b, 3 * 24 * 3600 * TIMERS_S);
	device_sync_clock(b->dev);
	bench_run(b);
	assert_ready(b);
	assert_string_equal(b->chip.told, "AT+SYSTIMESTAMP?|AT+SYSTIMESTAMP?|AT+SYSTIMESTAMP?|"
					  "AT+SYSTIMESTAMP?|");
	/* also over a loss of Wi-Fi, */
	chip_forget(b);
	chip_say(b, "WIFI DISCONNECT\r\nWIFI CONNECTED\r\nWIFI GOT IP\r\n");
	assert_ready(b);
	assert_string_equal(b->chip.told, "AT+CWSTATE?|");
	/* where it may ask for it early, */
	chip_forget(b);
	chip_say(b, "WIFI DISCONNECT\r\n+TIME_UPDATED\r\nWIFI CONNECTED\r\nWIFI GOT IP\r\n");
	assert_ready(b);
	assert_string_equal(b->chip.told, "AT+CWSTATE?|AT+SYSTIMESTAMP?|");
	/* but a reset ends the trust, though the clock survives it. */
	chip_forget(b);
	chip_say(b, "\r\nready\r\n");
	bench_pass(b, 20 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_CLOCK);
	chip_say(b, "+TIME_UPDATED\r\n");
	assert_ready(b);
	assert_int_equal(count_of(b->chip.told, "AT+CIPSNTPCFG=1,0"), 1);
}

static void test_sntp_without_answer(void **state)
{
	struct bench *b = *state;

	sntp(b);
	device_port_up(b->dev, 115200);
	bench_pass(b, 29 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_CLOCK);
	bench_pass(b, 2 * TIMERS_S);
	assert_failed(b, "no answer from the time servers (`ntp_servers`)");
	/* too late: it is asked again all the same */
	chip_say(b, "+TIME_UPDATED\r\n");
	bench_pass(b, 10 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_CLOCK);
	assert_int_equal(count_of(b->chip.told, "AT+CIPSNTPCFG=1,0"), 2);
	chip_say(b, "+TIME_UPDATED\r\n");
	assert_ready(b);
}

static void test_sntp_clock_that_is_lost(void **state)
{
	struct bench *b = *state;

	sntp(b);
	chip_answer(b, "AT+CIPSNTPCFG=", "\r\nOK\r\n+TIME_UPDATED\r\n", 1);
	bench_up(b);
	assert_ready(b);
	chip_forget(b);
	b->chip.clock = 5;
	device_sync_clock(b->dev);
	bench_run(b);
	assert_int_equal(b->dev->state, DEVICE_CLOCK);
	b->chip.clock = 1790000000;
	chip_say(b, "+TIME_UPDATED\r\n");
	assert_ready(b);
	assert_string_equal(b->chip.told,
			    "AT+SYSTIMESTAMP?|AT+CIPSNTPCFG=1,0,\"ntp.a\",\"10.0.2.2\"|"
			    "AT+SYSTIMESTAMP?|");
	/* A server that has lost its own is asked by the chip itself. */
	b->chip.clock = 5;
	chip_say(b, "+TIME_UPDATED\r\n");
	assert_int_equal(b->dev->state, DEVICE_CLOCK);
	assert_null(device_free_link(b->dev));
	b->chip.clock = 1790000000;
	chip_say(b, "+TIME_UPDATED\r\n");
	assert_ready(b);
	/* The servers cannot help. */
	b->chip.clock = 5;
	device_sync_clock(b->dev);
	bench_run(b);
	chip_say(b, "+TIME_UPDATED\r\n");
	assert_failed(b, "the time servers say a time that is long past");
}

/* Within the time, though only just; and twice, as over a bad network. */
static void test_sntp_in_the_last_moment(void **state)
{
	struct bench *b = *state;

	sntp(b);
	chip_answer(b, "AT+SYSTIMESTAMP?", NULL, 1);
	device_port_up(b->dev, 115200);
	bench_pass(b, 29 * TIMERS_S);
	chip_say(b, "+TIME_UPDATED\r\n+TIME_UPDATED\r\n");
	assert_int_equal(count_of(told(b), "AT+SYSTIMESTAMP?"), 1);
	bench_pass(b, 2 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_CLOCK);
	chip_say(b, "+SYSTIMESTAMP:1790000000\r\nOK\r\n");
	assert_ready(b);
}

/* A report from before the servers were named is of others. */
static void test_sntp_of_somebody_else(void **state)
{
	struct bench *b = *state;

	sntp(b);
	chip_answer(b, "AT+CWSTATE?", "+TIME_UPDATED\r\n+CWSTATE:2,\"lab\"\r\n\r\nOK\r\n", 1);
	chip_answer(b, "AT+CIPSNTPCFG=", "+TIME_UPDATED\r\n\r\nOK\r\n", 1);
	device_port_up(b->dev, 115200);
	bench_pass(b, 20 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_CLOCK);
	assert_null(strstr(told(b), "SYSTIMESTAMP?"));
	chip_say(b, "+TIME_UPDATED\r\n");
	assert_ready(b);
	assert_null(strstr(told(b), "CIPSNTPCFG=0"));
	/* the same after a join that took its time */
	b->settings.has_wifi = false;
	b->chip.joined = false;
	chip_answer(b, "AT+CIPSNTPCFG=", "+TIME_UPDATED\r\n\r\nOK\r\n", 1);
	chip_forget(b);
	device_port_up(b->dev, 115200);
	bench_pass(b, 3 * TIMERS_S);
	b->chip.joined = true;
	bench_pass(b, 10 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_CLOCK);
	chip_say(b, "+TIME_UPDATED\r\n");
	assert_ready(b);
}

static void test_sntp_failures(void **state)
{
	static char long_name[254], *long_names[] = { long_name, server_a };
	struct bench *b = *state;

	sntp(b);
	chip_answer(b, "AT+CIPSNTPCFG=", "\r\nERROR\r\n", 1);
	bench_up(b);
	assert_failed(b, "the chip refuses the time servers (AT+CIPSNTPCFG)");
	chip_answer(b, "AT+CIPSNTPCFG=", "\r\nOK\r\n+TIME_UPDATED\r\n", -1);
	b->chip.clock = 1767225599;
	up(b);
	assert_failed(b, "the time servers say a time that is long past");
	b->chip.clock = 1767225600;
	up(b);
	assert_ready(b);
	chip_answer(b, "AT+SYSTIMESTAMP?", "\r\nERROR\r\n", 1);
	up(b);
	assert_failed(b, "the time servers say a time that is long past");
	memset(long_name, 'n', sizeof(long_name) - 1);
	b->settings.ntp_servers.items = long_names;
	up(b);
	assert_failed(b, "the names in `ntp_servers` are too long for one AT command");
	b->settings.ntp_servers.items = servers;
	up(b);
	assert_ready(b);
}

/* Wi-Fi goes while the time is awaited: joined first, then asked again. */
static void test_wifi_lost_before_the_time(void **state)
{
	struct bench *b = *state;

	sntp(b);
	device_port_up(b->dev, 115200);
	bench_pass(b, 5 * TIMERS_S);
	chip_say(b, "WIFI DISCONNECT\r\n");
	b->chip.joined = false;
	assert_int_equal(b->dev->state, DEVICE_CLOCK);
	chip_say(b, "+TIME_UPDATED\r\n");
	assert_int_equal(b->dev->state, DEVICE_JOINING);
	b->chip.joined = true;
	chip_say(b, "WIFI CONNECTED\r\nWIFI GOT IP\r\n");
	assert_ready(b);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_plain),
		T(test_forms_of_the_command),
		T(test_joined_already),
		T(test_failures_have_words),
		T(test_address_after_ok),
		T(test_wifi_that_has_gone_unheard),
		T(test_settings_in_order),
		T(test_country),
		T(test_settings_of_a_join_that_exists),
		T(test_foreign_address_is_given_up),
		T(test_refused_settings_have_words),
		T(test_refused_after_a_change),
		T(test_chip_that_joins_by_itself),
		T(test_who_wants_ipv6),
		T(test_ipv6_address_is_awaited),
		T(test_enterprise),
		T(test_enterprise_failures),
		T(test_enterprise_waits_for_the_clock),
		T(test_enterprise_with_time_servers),
		T(test_unsynchronized_host),
		T(test_host_clock_is_set_meanwhile),
		T(test_refresh_without_a_clock),
		T(test_clock_is_not_as_set),
		T(test_wifi_lost_during_a_refresh),
		T(test_foreign_time_servers_are_given_up),
		T(test_sntp),
		T(test_sntp_without_answer),
		T(test_sntp_clock_that_is_lost),
		T(test_sntp_in_the_last_moment),
		T(test_sntp_of_somebody_else),
		T(test_sntp_failures),
		T(test_wifi_lost_before_the_time),
	};

	return cmocka_run_group_tests_name("join", tests, NULL, NULL);
}
