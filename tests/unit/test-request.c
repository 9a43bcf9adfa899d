/* SPDX-License-Identifier: MIT */
/* device: the queue of requests, reset, reprobe, the clock, and what is told of the chip. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/internal.h"
#include "device/request-internal.h"
#include "device/request.h"
#include "fake-chip.h"

/* What became of a request. */
struct outcome {
	struct bench *b;
	struct device_request *req;
	int done;
	enum device_result result;
	char text[256];
	enum device_state state; /* of the device, at that moment */
};

static struct outcome outcomes[DEVICE_REQUESTS_MAX + 1];
static char order[256]; /* "start 0>reset 0>done 0>free 0>..." */

static void note(const char *what, int number)
{
	size_t len = strlen(order);

	snprintf(order + len, sizeof(order) - len, "%s %d>", what, number);
}

static int number_of(const struct outcome *o)
{
	return (int)(o - outcomes);
}

static void on_done(void *userdata, enum device_result result, const struct device_answer *answer)
{
	struct outcome *o = userdata;

	o->done++;
	o->result = result;
	o->state = o->b->dev->state;
	snprintf(o->text, sizeof(o->text), "%s", answer->text);
	note("done", number_of(o));
}

/* A request that says AT. */
struct plain {
	struct device_request req;
	struct chan_cmd cmd;
	int number;
};

static void plain_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct plain *p = container_of(cmd, struct plain, cmd);

	if (result == CHAN_E_RESET)
		note("reset", p->number);
	if (result == CHAN_OK)
		device_request_finish(&p->req, DEVICE_OK, NULL);
	else
		request_cmd_failed(&p->req, result, NULL);
}

static void plain_start(struct device_request *req)
{
	struct plain *p = (struct plain *)req;

	note("start", p->number);
	chan_cmd_begin(&p->cmd, "AT");
	at_line_end(&p->cmd.line);
	p->cmd.timeout = DEVICE_TIMEOUT;
	p->cmd.done = plain_done;
	chan_submit(&req->dev->chan, CHAN_CONTROL, &p->cmd);
}

static void plain_free(struct device_request *req)
{
	note("free", ((struct plain *)req)->number);
}

static int plain(struct bench *b, size_t i)
{
	struct outcome *o = &outcomes[i];
	struct plain *p = calloc(1, sizeof(*p));
	int r;

	assert_non_null(p);
	*o = (struct outcome){ .b = b };
	assert_int_equal(device_request_init(&p->req, b->dev, on_done, o), 0);
	p->req.start = plain_start;
	p->req.free_data = plain_free;
	p->number = (int)i;
	o->req = &p->req;
	r = device_request_submit(&p->req);
	if (r < 0)
		free(p);
	return r;
}

static struct outcome *outcome(struct bench *b, size_t i)
{
	outcomes[i] = (struct outcome){ .b = b };
	return &outcomes[i];
}

static void assert_ended(const struct outcome *o, enum device_result result, const char *text)
{
	assert_int_equal(o->done, 1);
	assert_int_equal(o->result, result);
	assert_string_equal(o->text, text);
}

static int setup(void **state)
{
	static struct bench b;

	memset(outcomes, 0, sizeof(outcomes));
	bench_init(&b);
	b.chip.joined = true;
	order[0] = '\0';
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

/* ---- the queue ---- */

static void test_one_after_the_other(void **state)
{
	struct bench *b = *state;

	for (size_t i = 0; i < 3; i++)
		assert_int_equal(plain(b, i), 0);
	/* Not inside the calls. */
	bench_run(b);
	assert_string_equal(order, "");
	bench_pass(b, 0);
	bench_pass(b, 0);
	bench_pass(b, 0);
	assert_string_equal(order, "start 0>done 0>free 0>start 1>done 1>free 1>"
				   "start 2>done 2>free 2>");
	for (size_t i = 0; i < 3; i++)
		assert_ended(&outcomes[i], DEVICE_OK, "");
	assert_int_equal(count_of(b->chip.told, "AT|"), 3);
}

static void test_too_many(void **state)
{
	struct bench *b = *state;

	b->chip.mute = true;
	for (size_t i = 0; i < DEVICE_REQUESTS_MAX; i++)
		assert_int_equal(plain(b, i), 0);
	assert_int_equal(plain(b, DEVICE_REQUESTS_MAX), -EBUSY);
	bench_pass(b, 0);
	/* One that runs counts. */
	assert_int_equal(plain(b, DEVICE_REQUESTS_MAX), -EBUSY);
	device_request_cancel(outcomes[7].req);
	assert_int_equal(plain(b, DEVICE_REQUESTS_MAX), 0);
}

static void test_out_of_service(void **state)
{
	static const enum device_state states[] = {
		DEVICE_ABSENT,       DEVICE_PROBING,     DEVICE_IDENTIFYING,
		DEVICE_UNKNOWN_CHIP, DEVICE_CONFIGURING, DEVICE_TUNING,
		DEVICE_PROVISIONING, DEVICE_FAILED,      DEVICE_PROVISIONED,
	};
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		b->dev->state = states[i];
		assert_int_equal(plain(b, 0), -ENOTCONN);
		assert_int_equal(device_set_clock(b->dev, on_done, outcome(b, 1), NULL), -ENOTCONN);
		assert_int_equal(device_scan(b->dev, on_done, outcome(b, 1), NULL), -ENOTCONN);
		assert_int_equal(device_command(b->dev, "AT", on_done, outcome(b, 1), NULL),
				 -ENOTCONN);
	}
	b->dev->state = DEVICE_ABSENT;
	assert_int_equal(device_reset(b->dev, on_done, outcome(b, 1), NULL), -ENOTCONN);
	assert_int_equal(device_reprobe(b->dev, on_done, outcome(b, 1), NULL), -ENOTCONN);
	assert_int_equal(device_leave(b->dev, on_done, outcome(b, 1), NULL), -ENOTCONN);
	bench_pass(b, 1000 * TIMERS_S);
	assert_string_equal(order, "");
}

/* The chip is joining: it waits for that, and for no longer than it takes. */
static void test_waits_for_ready(void **state)
{
	struct bench *b = *state;

	b->chip.joined = false;
	chip_answer(b, "AT+CWJAP=", chip_works, 1);
	device_port_up(b->dev, 115200);
	bench_pass(b, 1 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_JOINING);
	assert_int_equal(plain(b, 0), 0);
	bench_pass(b, 20 * TIMERS_S);
	assert_string_equal(order, "");
	b->chip.joined = true;
	chip_say(b, "WIFI CONNECTED\r\nWIFI GOT IP\r\n\r\nOK\r\n");
	assert_int_equal(b->dev->state, DEVICE_READY);
	bench_pass(b, 0);
	assert_string_equal(order, "start 0>done 0>free 0>");
	assert_ended(&outcomes[0], DEVICE_OK, "");
}

static void test_bring_up_that_fails(void **state)
{
	struct bench *b = *state;

	b->chip.joined = false;
	chip_answer(b, "AT+CWJAP=", NULL, 1);
	device_port_up(b->dev, 115200);
	bench_pass(b, 1 * TIMERS_S);
	assert_int_equal(plain(b, 0), 0);
	bench_pass(b, 0);
	chip_say(b, "+CWJAP:2\r\n\r\nERROR\r\n");
	assert_int_equal(b->dev->state, DEVICE_FAILED);
	assert_ended(&outcomes[0], DEVICE_E_GONE, "cannot join Wi-Fi \"lab\": wrong password");
}

/* The host's clock is of no use: nobody waits for ever. */
static void test_patience(void **state)
{
	struct bench *b = *state;

	b->wallclock = 0;
	device_port_up(b->dev, 115200);
	bench_pass(b, 5 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_CLOCK);
	assert_int_equal(plain(b, 0), 0);
	bench_pass(b, 299 * TIMERS_S);
	assert_int_equal(outcomes[0].done, 0);
	assert_int_equal(plain(b, 1), 0);
	bench_pass(b, 2 * TIMERS_S);
	assert_ended(&outcomes[0], DEVICE_E_TIMEOUT,
		     "the host's own clock is not set, certificates cannot be judged");
	assert_int_equal(outcomes[1].done, 0);
	b->wallclock = 1790000000;
	bench_pass(b, 10 * TIMERS_S);
	assert_ended(&outcomes[1], DEVICE_OK, "");
}

/* One that runs, and one that waits; the command ends before its request does. */
static void test_reset_meanwhile(void **state)
{
	struct bench *b = *state;

	chip_answer(b, "AT", NULL, 1);
	assert_int_equal(plain(b, 0), 0);
	assert_int_equal(plain(b, 1), 0);
	bench_pass(b, 0);
	assert_string_equal(order, "start 0>");
	chip_say(b, "\r\nready\r\n");
	assert_string_equal(order, "start 0>reset 0>done 0>free 0>done 1>free 1>");
	assert_ended(&outcomes[0], DEVICE_E_GONE, "the chip was reset or lost meanwhile");
	assert_ended(&outcomes[1], DEVICE_E_GONE, "the chip was reset or lost meanwhile");
	bench_pass(b, 5 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_READY);
	assert_int_equal(plain(b, 2), 0);
	bench_pass(b, 0);
	assert_ended(&outcomes[2], DEVICE_OK, "");
}

static void test_unplugged_meanwhile(void **state)
{
	struct bench *b = *state;

	b->chip.mute = true;
	assert_int_equal(plain(b, 0), 0);
	assert_int_equal(plain(b, 1), 0);
	bench_pass(b, 0);
	device_port_down(b->dev, "unplugged");
	assert_string_equal(order, "start 0>reset 0>done 0>free 0>done 1>free 1>");
	assert_ended(&outcomes[0], DEVICE_E_GONE, "the chip is not there any more");
	assert_int_equal(b->dev->n_requests, 0);
}

static void test_silence(void **state)
{
	struct bench *b = *state;

	b->chip.mute = true;
	assert_int_equal(plain(b, 0), 0);
	bench_pass(b, 10 * TIMERS_S);
	assert_ended(&outcomes[0], DEVICE_E_TIMEOUT, "the chip does not answer");
	assert_string_equal(order, "start 0>done 0>free 0>");
}

static void test_device_is_freed(void **state)
{
	struct bench *b = *state;

	b->chip.mute = true;
	assert_int_equal(plain(b, 0), 0);
	bench_pass(b, 0);
	assert_int_equal(plain(b, 1), 0);
	assert_int_equal(device_reset(b->dev, on_done, outcome(b, 2), NULL), 0);
	/* Whoever is told looks at it. */
	device_free(b->dev);
	b->dev = NULL;
	assert_string_equal(order, "start 0>reset 0>done 0>free 0>done 1>free 1>done 2>");
	bench_remake(b);
}

static void test_cancelled(void **state)
{
	struct bench *b = *state;

	for (size_t i = 0; i < 3; i++)
		assert_int_equal(plain(b, i), 0);
	device_request_cancel(outcomes[1].req);
	assert_string_equal(order, "free 1>");
	order[0] = '\0';
	chip_answer(b, "AT", NULL, 1);
	bench_pass(b, 0);
	device_request_cancel(outcomes[0].req);
	assert_string_equal(order, "start 0>");
	/* It is run to its end. */
	chip_say(b, "\r\nOK\r\n");
	bench_pass(b, 0);
	assert_string_equal(order, "start 0>free 0>start 2>done 2>free 2>");
	assert_int_equal(outcomes[0].done + outcomes[1].done, 0);
	/* And where it is lost. */
	chip_answer(b, "AT", NULL, 1);
	assert_int_equal(plain(b, 3), 0);
	bench_pass(b, 0);
	device_request_cancel(outcomes[3].req);
	device_port_down(b->dev, "unplugged");
	assert_int_equal(outcomes[3].done, 0);
}

/* Whoever is told of one end asks for more, and takes back what he had asked for. */
static struct bench *again_bench;

static void on_done_again(void *userdata, enum device_result result,
			  const struct device_answer *answer)
{
	on_done(userdata, result, answer);
	if (outcomes[1].req)
		device_request_cancel(outcomes[1].req);
	assert_int_equal(plain(again_bench, 2),
			 again_bench->dev->state == DEVICE_READY ? 0 : -ENOTCONN);
}

static void test_done_asks_again(void **state)
{
	struct bench *b = *state;

	again_bench = b;
	for (int lost = 0; lost < 2; lost++) {
		outcome(b, 2);
		assert_int_equal(device_command(b->dev, "AT", on_done_again, outcome(b, 0), NULL),
				 0);
		assert_int_equal(plain(b, 1), 0);
		b->chip.mute = lost;
		bench_pass(b, 0);
		if (lost)
			device_port_down(b->dev, "unplugged");
		bench_pass(b, 0);
		assert_int_equal(outcomes[0].done, 1);
		assert_int_equal(outcomes[1].done, 0);
		assert_int_equal(outcomes[2].done, !lost);
	}
	assert_int_equal(b->dev->n_requests, 0);
}

/* ---- reset and reprobe ---- */

static void test_reset(void **state)
{
	struct bench *b = *state;

	assert_int_equal(device_reset(b->dev, on_done, outcome(b, 0), NULL), 0);
	assert_int_equal(b->dev->state, DEVICE_READY);
	bench_pass(b, 0);
	/* The chip has obeyed at once, and joins by itself. */
	assert_int_equal(b->dev->state, DEVICE_READY);
	assert_ended(&outcomes[0], DEVICE_OK, "");
	assert_int_equal(outcomes[0].state, DEVICE_READY);
	assert_int_equal(count_of(b->chip.told, "AT+RST|"), 1);
	assert_int_equal(device_resets(b->dev), 1);
	/* Another one is none of a chip that does not get into service. */
	assert_int_equal(device_reset(b->dev, on_done, outcome(b, 1), NULL), 0);
	bench_pass(b, 0);
	assert_ended(&outcomes[1], DEVICE_OK, "");
	assert_int_equal(device_resets(b->dev), 2);
}

static void test_reset_without_ready(void **state)
{
	struct bench *b = *state;

	chip_answer(b, "AT+RST", "\r\nOK\r\n", 1);
	assert_int_equal(device_reset(b->dev, on_done, outcome(b, 0), NULL), 0);
	bench_pass(b, 20 * TIMERS_S);
	assert_ended(&outcomes[0], DEVICE_E_TIMEOUT, "the chip did not say `ready` after a reset");
	assert_int_equal(outcomes[0].state, DEVICE_FAILED);
	/* It was not commanded again. */
	bench_pass(b, 60 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_READY);
	assert_int_equal(count_of(b->chip.told, "AT+RST|"), 1);
}

static void test_reset_of_a_failed_chip(void **state)
{
	struct bench *b = *state;

	b->chip.joined = false;
	chip_answer(b, "AT+CWJAP=", "+CWJAP:3\r\n\r\nERROR\r\n", 1);
	bench_up(b);
	assert_int_equal(b->dev->state, DEVICE_FAILED);
	assert_int_equal(device_reset(b->dev, on_done, outcome(b, 0), NULL), 0);
	bench_pass(b, 0);
	assert_ended(&outcomes[0], DEVICE_OK, "");
	assert_int_equal(b->dev->state, DEVICE_READY);
	/* And one that stays silent. */
	b->chip.mute = true;
	chip_forget(b);
	assert_int_equal(device_reset(b->dev, on_done, outcome(b, 1), NULL), 0);
	bench_pass(b, 30 * TIMERS_S);
	assert_int_equal(outcomes[1].done, 1);
	assert_int_equal(outcomes[1].result, DEVICE_E_TIMEOUT);
	assert_non_null(strstr(outcomes[1].text, "no answer from a chip at 115200 baud"));
	/* When it answers again nobody wants it reset any more. */
	b->chip.mute = false;
	bench_pass(b, 60 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_READY);
	assert_int_equal(count_of(b->chip.told, "AT+RST|"), 0);
}

static void test_reprobe_of_an_unknown_chip(void **state)
{
	static char mac[] = "24:0a:c4:99:99:99";
	struct bench *b = *state;

	b->settings.mac = mac;
	bench_up(b);
	assert_int_equal(b->dev->state, DEVICE_UNKNOWN_CHIP);
	assert_int_equal(plain(b, 1), -ENOTCONN);
	assert_int_equal(device_reprobe(b->dev, on_done, outcome(b, 0), NULL), 0);
	bench_pass(b, 0);
	assert_ended(&outcomes[0], DEVICE_E_GONE, b->dev->error);
	assert_non_null(strstr(outcomes[0].text, "is not the one of this device"));
	b->chip.mac = mac;
	assert_int_equal(device_reprobe(b->dev, on_done, outcome(b, 0), NULL), 0);
	bench_pass(b, 0);
	assert_ended(&outcomes[0], DEVICE_OK, "");
	assert_int_equal(b->dev->state, DEVICE_READY);
}

/* In the middle of a bring-up; what waits for its end is lost, what is to bring it about is not. */
static void test_reprobe_meanwhile(void **state)
{
	struct bench *b = *state;

	b->chip.joined = false;
	chip_answer(b, "AT+CWJAP=", NULL, 1);
	device_port_up(b->dev, 115200);
	bench_pass(b, 1 * TIMERS_S);
	assert_int_equal(plain(b, 0), 0);
	assert_int_equal(device_reprobe(b->dev, on_done, outcome(b, 1), NULL), 0);
	assert_int_equal(device_reset(b->dev, on_done, outcome(b, 2), NULL), 0);
	bench_pass(b, 0);
	assert_ended(&outcomes[0], DEVICE_E_GONE, "the chip was reset or lost meanwhile");
	assert_ended(&outcomes[1], DEVICE_OK, "");
	assert_ended(&outcomes[2], DEVICE_OK, "");
	assert_string_equal(order, "done 0>free 0>done 1>done 2>");
	assert_int_equal(count_of(b->chip.told, "AT+RST|"), 1);
}

/* ---- links ---- */

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

static void test_links(void **state)
{
	static const struct link_target target = { .host = "h", .port = 1, .server_name = "h" };
	static const struct link_ops ops = { .opened = on_link, .closed = on_link_closed };
	struct bench *b = *state;

	ends = 0;
	assert_int_equal(device_links_in_use(b->dev), 0);
	b->facts = 0;
	assert_int_equal(link_open(device_free_link(b->dev), &target, &ops, NULL), 0);
	assert_int_equal(b->facts, DEVICE_FACT_LINKS);
	assert_int_equal(device_links_in_use(b->dev), 1);
	bench_pass(b, 0);
	assert_int_equal(b->dev->links[0].state, LINK_OPEN);
	b->facts = 0;
	assert_int_equal(device_reset(b->dev, on_done, outcome(b, 0), NULL), 0);
	bench_pass(b, 0);
	assert_ended(&outcomes[0], DEVICE_OK, "");
	assert_int_equal(ends, 1);
	assert_int_equal(last_end, LINK_END_RESET);
	assert_int_equal(device_links_in_use(b->dev), 0);
	assert_true(b->facts & DEVICE_FACT_LINKS);
}

/* ---- the clock ---- */

static void test_clock(void **state)
{
	struct bench *b = *state;

	b->wallclock += 1000;
	assert_int_equal(device_set_clock(b->dev, on_done, outcome(b, 0), NULL), 0);
	bench_pass(b, 0);
	assert_ended(&outcomes[0], DEVICE_OK, "");
	assert_string_equal(b->states, ">setting-clock>ready");
	assert_string_equal(b->chip.told, "AT+SYSTIMESTAMP=1790001000|AT+SYSTIMESTAMP?|");
	assert_string_equal(device_clock_source(b->dev), "host");
	/* A host without the time. */
	b->unsynchronized = b->settings.require_synchronized = true;
	assert_int_equal(device_set_clock(b->dev, on_done, outcome(b, 1), NULL), 0);
	bench_pass(b, 0);
	assert_ended(
		&outcomes[1], DEVICE_E_REFUSED,
		"the host's own clock is not synchronized, as `require_synchronized` wants it");
	assert_int_equal(b->dev->state, DEVICE_READY);
	assert_int_equal(count_of(b->chip.told, "AT+SYSTIMESTAMP="), 1);
	b->unsynchronized = false;
	chip_answer(b, "AT+SYSTIMESTAMP=", "\r\nERROR\r\n", 1);
	assert_int_equal(device_set_clock(b->dev, on_done, outcome(b, 2), NULL), 0);
	bench_pass(b, 0);
	assert_ended(&outcomes[2], DEVICE_E_GONE, "the chip refuses to set its clock");
}

/* Nobody waits who could be told. */
static void test_clock_that_waits(void **state)
{
	struct bench *b = *state;

	b->wallclock = 0;
	device_port_up(b->dev, 115200);
	bench_pass(b, 1 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_CLOCK);
	assert_string_equal(device_clock_source(b->dev), "unset");
	assert_int_equal(device_set_clock(b->dev, on_done, outcome(b, 0), NULL), 0);
	bench_pass(b, 6 * TIMERS_S);
	assert_ended(&outcomes[0], DEVICE_E_REFUSED,
		     "the host's own clock is not set, certificates cannot be judged");
	assert_int_equal(device_set_clock(b->dev, on_done, outcome(b, 1), NULL), 0);
	b->wallclock = 1790000000;
	b->facts = 0;
	bench_pass(b, 6 * TIMERS_S);
	assert_ended(&outcomes[1], DEVICE_OK, "");
	assert_true(b->facts & DEVICE_FACT_CLOCK);
	assert_string_equal(device_clock_source(b->dev), "host");
}

static void test_clock_of_time_servers(void **state)
{
	static char server[] = "ntp.a";
	static char *servers[] = { server };
	struct bench *b = *state;

	b->settings.time = CONFIG_TIME_SNTP;
	b->settings.ntp_servers.items = servers;
	b->settings.ntp_servers.n = 1;
	device_port_up(b->dev, 115200);
	bench_pass(b, 2 * TIMERS_S);
	b->chip.clock = 1790000000;
	assert_string_equal(device_clock_source(b->dev), "unset");
	chip_say(b, "+TIME_UPDATED\r\n");
	assert_int_equal(b->dev->state, DEVICE_READY);
	assert_string_equal(device_clock_source(b->dev), "sntp");
	chip_forget(b);
	/* They are asked at once, as for the first time. */
	assert_int_equal(device_set_clock(b->dev, on_done, outcome(b, 0), NULL), 0);
	bench_pass(b, 2 * TIMERS_S);
	assert_string_equal(b->chip.told, "AT+CIPSNTPCFG=1,0,\"ntp.a\"|");
	assert_int_equal(outcomes[0].done, 0);
	chip_say(b, "+TIME_UPDATED\r\n");
	assert_ended(&outcomes[0], DEVICE_OK, "");
	assert_int_equal(b->dev->state, DEVICE_READY);
	/* They are gone: the chip has the time all the same, and goes on. */
	assert_int_equal(device_set_clock(b->dev, on_done, outcome(b, 1), NULL), 0);
	chip_forget(b);
	bench_pass(b, 31 * TIMERS_S);
	assert_ended(&outcomes[1], DEVICE_E_TIMEOUT,
		     "no answer from the time servers (`ntp_servers`)");
	assert_string_equal(b->states, ">setting-clock>ready");
	chip_answer(b, "AT+CIPSNTPCFG=", "\r\nERROR\r\n", 1);
	assert_int_equal(device_set_clock(b->dev, on_done, outcome(b, 2), NULL), 0);
	bench_pass(b, 0);
	assert_ended(&outcomes[2], DEVICE_E_REFUSED,
		     "the chip refuses the time servers (AT+CIPSNTPCFG)");
	assert_int_equal(b->dev->state, DEVICE_READY);
}

/* ---- what is told ---- */

static void test_resets(void **state)
{
	struct bench *b = *state;

	/* The one that follows the power. */
	device_port_up(b->dev, 115200);
	chip_say(b, "\r\nready\r\n");
	bench_pass(b, 5 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_READY);
	assert_int_equal(device_resets(b->dev), 0);
	b->facts = 0;
	b->chip.echo = true;
	chip_say(b, "\r\nready\r\n");
	assert_int_equal(device_resets(b->dev), 1);
	assert_true(b->facts & DEVICE_FACT_RESETS);
	bench_pass(b, 5 * TIMERS_S);
	device_port_down(b->dev, "unplugged");
	b->chip.echo = true;
	device_port_up(b->dev, 115200);
	chip_say(b, "\r\nready\r\n");
	bench_pass(b, 5 * TIMERS_S);
	assert_int_equal(device_resets(b->dev), 1);
	/* A chip that was there when the port came up says no `ready`: the first one is a reset. */
	device_port_up(b->dev, 115200);
	bench_pass(b, 5 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_READY);
	chip_say(b, "\r\nready\r\n");
	assert_int_equal(device_resets(b->dev), 2);
}

static void test_facts_of_a_bring_up(void **state)
{
	struct bench *b = *state;

	bench_up(b);
	assert_int_equal(b->facts, DEVICE_FACT_STATE | DEVICE_FACT_CHIP | DEVICE_FACT_CLOCK |
					   DEVICE_FACT_WIFI | DEVICE_FACT_FLASH |
					   DEVICE_FACT_VALUES | DEVICE_FACT_LINE);
	assert_int_equal(device_flash_writes(b->dev), b->chip.writes);
	/* Nothing changes, nothing is told. */
	bench_pass(b, 5 * TIMERS_S);
	b->facts = 0;
	bench_pass(b, 200 * TIMERS_S);
	assert_int_equal(b->facts, 0);
	/* The last error is part of the state. */
	b->chip.mute = true;
	device_port_down(b->dev, "unplugged");
	device_port_up(b->dev, 115200);
	while (b->dev->error[0] == '\0') {
		b->facts = 0;
		bench_pass(b, 1 * TIMERS_S);
	}
	assert_true(b->facts & DEVICE_FACT_STATE);
}

/* It falls silent in the middle of it: until that is noticed, what it is said to be is what is told. */
static void test_facts_of_half_a_chip(void **state)
{
	struct bench *b = *state;

	chip_answer(b, "AT+GMR", NULL, 1);
	chip_say(b, "\r\nready\r\n");
	bench_pass(b, 1 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_IDENTIFYING);
	assert_string_equal(b->dev->version.core, "");
	chip_answer(b, "AT+CIPSTAMAC?", NULL, 1);
	chip_say(b, "\r\nready\r\n");
	bench_pass(b, 1 * TIMERS_S);
	assert_int_equal(b->dev->state, DEVICE_IDENTIFYING);
	assert_string_not_equal(b->dev->version.core, "");
	assert_string_equal(b->dev->mac, "");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define T_READY(name) cmocka_unit_test_setup_teardown(name, setup_ready, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T_READY(test_one_after_the_other),
		T_READY(test_too_many),
		T(test_out_of_service),
		T(test_waits_for_ready),
		T(test_bring_up_that_fails),
		T(test_patience),
		T_READY(test_reset_meanwhile),
		T_READY(test_unplugged_meanwhile),
		T_READY(test_silence),
		T_READY(test_device_is_freed),
		T_READY(test_cancelled),
		T_READY(test_done_asks_again),
		T_READY(test_reset),
		T_READY(test_reset_without_ready),
		T(test_reset_of_a_failed_chip),
		T(test_reprobe_of_an_unknown_chip),
		T(test_reprobe_meanwhile),
		T_READY(test_links),
		T_READY(test_clock),
		T(test_clock_that_waits),
		T(test_clock_of_time_servers),
		T(test_resets),
		T(test_facts_of_a_bring_up),
		T_READY(test_facts_of_half_a_chip),
	};

	return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
