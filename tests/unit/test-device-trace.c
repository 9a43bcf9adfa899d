/* SPDX-License-Identifier: MIT */
/* What a device lets a trace see, from the first byte to a client's: all but what it must not. */
#include "test.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "device/internal.h"
#include "fake-chip.h"

static struct {
	char text[65536]; /* what was shown; "<n>" and "<secret>" for what was not */
	size_t len;
	struct device_ops ops;
	struct bench b;
} f;

static void put(const void *data, size_t len)
{
	assert_true(f.len + len < sizeof(f.text));
	memcpy(f.text + f.len, data, len);
	f.len += len;
	f.text[f.len] = '\0';
}

static void on_trace(void *userdata, const struct chan_piece *piece)
{
	char hidden[32];

	if (piece->data)
		put(piece->data, piece->len);
	else if (piece->secret)
		put("<secret>", 8);
	else
		put(hidden, (size_t)snprintf(hidden, sizeof(hidden), "<%zu>", piece->len));
	if (piece->end)
		put("|", 1);
}

static int setup(void **state)
{
	f.len = 0;
	f.text[0] = '\0';
	bench_init(&f.b);
	f.ops = *f.b.dev->ops;
	f.ops.trace = on_trace;
	f.b.dev->ops = &f.ops;
	*state = &f.b;
	return 0;
}

static int teardown(void **state)
{
	bench_free(*state);
	return 0;
}

static void assert_shown(const char *text)
{
	if (!strstr(f.text, text))
		fail_msg("no %s in:\n%s", text, f.text);
}

static void assert_hidden(const char *text)
{
	if (strstr(f.text, text))
		fail_msg("%s in:\n%s", text, f.text);
}

static void test_bring_up(void **state)
{
	struct bench *b = *state;

	device_set_trace(b->dev, true);
	bench_up(b);
	assert_int_equal(b->dev->state, DEVICE_READY);
	assert_shown("ATE1\r\n|ATE1\r\n|\r\nOK\r\n|"); /* the echo, too */
	assert_shown("AT+GMR\r\n|AT version:3.5.0.0-dev(");
	assert_shown("AT+CWJAP=\"lab\",<secret>\r\n|WIFI CONNECTED\r\n|");
	assert_shown("AT+SYSMFG=2,\"client_key\",\"client_key.0\",8,8\r\n|\r\nOK\r\n|\r\n>|<8>|");
	assert_shown("+SYSMFG:\"client_key\",\"client_key.0\",8,8,<8>\r\n|");
	assert_hidden("hunter2");
	assert_hidden("the key");
	assert_hidden("the certificate");
	assert_hidden("the authority");
	device_set_trace(b->dev, false);
	f.len = 0;
	device_port_down(b->dev, "unplugged");
	bench_up(b);
	assert_int_equal(f.len, 0);
}

static void test_without_trace(void **state)
{
	struct bench *b = *state;

	f.ops.trace = NULL;
	device_set_trace(b->dev, true);
	bench_up(b);
	assert_int_equal(b->dev->state, DEVICE_READY);
}

/* What a probe has to write goes through the channel, too. */
static void test_mute_chip(void **state)
{
	struct bench *b = *state;

	b->chip.mute = true;
	device_set_trace(b->dev, true);
	bench_up(b);
	assert_int_equal(b->dev->state, DEVICE_FAILED);
	assert_shown("|+++|");
	assert_shown("|<8194>|"); /* the rest of a block */
}

static void on_opened(void *user)
{
	*(bool *)user = true;
}

static void on_data(void *user, const uint8_t *data, size_t len)
{
}

static void on_nothing(void *user)
{
}

static void on_closed(void *user, enum link_end end)
{
}

static const struct link_ops link_ops = {
	.opened = on_opened,
	.data = on_data,
	.data_end = on_nothing,
	.sent = on_nothing,
	.closed = on_closed,
};

static void test_connection(void **state)
{
	static char file[] = "file", identity[] = "meter";
	static const struct config_psk psk = { .file = file, .identity = identity };
	struct bench *b = *state;
	struct link_target target = {
		.host = "broker.example",
		.port = 8883,
		.server_name = "broker.example",
		.psk = &psk,
	};
	struct link *link;
	bool open = false;
	size_t size;

	bench_up(b);
	device_set_trace(b->dev, true);
	link = device_free_link(b->dev);
	assert_non_null(link);
	assert_int_equal(link_open(link, &target, &link_ops, &open), 0);
	bench_run(b);
	assert_true(open);
	memcpy(link_tx_buffer(link, &size), "a client's", 10);
	link_tx_submit(link, 10);
	bench_run(b);
	device_feed(b->dev, (const uint8_t *)"\r\n+IPD,0,10:a server's\r\n", 24);
	assert_shown("AT+CIPSSLCPSK=0,<secret>,\"meter\"\r\n|\r\nOK\r\n|");
	assert_shown("AT+CIPSTART=0,\"SSL\",\"broker.example\",8883,0\r\n|0,CONNECT\r\n|");
	assert_shown("AT+CIPSEND=0,10\r\n|\r\nOK\r\n|\r\n>|<10>|\r\nRecv 10 bytes\r\n|");
	assert_shown("\r\n+IPD,0,10:<10>\r\n|");
	assert_hidden("hunter2");
	assert_hidden("a client's");
	assert_hidden("a server's");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_bring_up),
		T(test_without_trace),
		T(test_mute_chip),
		T(test_connection),
	};

	return cmocka_run_group_tests_name("device-trace", tests, NULL, NULL);
}
