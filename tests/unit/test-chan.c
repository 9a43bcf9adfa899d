/* SPDX-License-Identifier: MIT */
/*
 * chan on a virtual clock and no fd. All that the channel does is written down as text and compared:
 * "> AT+X|" a line written, "> [payload]|" other bytes written, "a=0|" done of command a and its
 * result, "a:text|" a reply line, "a+bytes|" and "a.|" a blob, "R<type>,<link>,<value>|" a report,
 * "I<link>+bytes|" and "I<link>.|" received bytes, "T:words|" trouble.
 */
#include "pass-time.h"
#include "test.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "chan/chan.h"
#include "util/log.h"

/* Too short to be asked about in the meantime. */
#define TIMEOUT (4 * TIMERS_S)
/* What so many bytes take on the line, of 10 bits each, at 115200 baud. */
#define BYTES(n) ((n)*10 * TIMERS_S / 115200)

struct fixture;

struct probe {
	struct chan_cmd cmd;
	struct fixture *f;
	char name;
	unsigned int dones;
	enum chan_result result;
	void (*hook)(struct probe *p);
};

struct fixture {
	struct timers timers;
	struct chan chan;
	char log[16384];
	size_t len;
	bool submitting;
	size_t written; /* see on_count() */
	struct probe probes[8];
	void (*on_report)(struct fixture *f, const struct at_report *report);
	void (*on_trouble)(struct fixture *f);
};

static void note(struct fixture *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(struct fixture *f, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(f->log + f->len, sizeof(f->log) - f->len, format, ap);
	va_end(ap);
	assert_true(n >= 0 && f->len + (size_t)n < sizeof(f->log));
	f->len += (size_t)n;
}

static void note_bytes(struct fixture *f, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (isprint(data[i]))
			note(f, "%c", data[i]);
		else
			note(f, "\\x%02x", data[i]);
	}
}

static void on_write(void *userdata, const void *data, size_t len)
{
	struct fixture *f = userdata;
	const uint8_t *bytes = data;

	if (len > 2 && memcmp(bytes + len - 2, "\r\n", 2) == 0 && memcmp(bytes, "AT", 2) == 0) {
		note(f, "> %.*s|", (int)len - 2, (const char *)data);
		return;
	}
	note(f, "> [");
	note_bytes(f, bytes, len);
	note(f, "]|");
}

static void on_report(void *userdata, const struct at_report *report)
{
	struct fixture *f = userdata;

	note(f, "R%d,%d,%ld|", report->type, report->link, report->value);
	if (f->on_report)
		f->on_report(f, report);
}

static void on_ipd(void *userdata, int link, const uint8_t *data, size_t len)
{
	struct fixture *f = userdata;

	note(f, data ? "I%d+" : "I%d.", link);
	if (data)
		note_bytes(f, data, len);
	note(f, "|");
}

static void on_trouble(void *userdata, const char *what)
{
	struct fixture *f = userdata;

	assert_non_null(what);
	note(f, "T:%s|", what);
	if (f->on_trouble)
		f->on_trouble(f);
}

static const struct chan_ops ops = {
	.write = on_write,
	.report = on_report,
	.ipd = on_ipd,
	.trouble = on_trouble,
};

static void probe_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	struct probe *p = container_of(cmd, struct probe, cmd);

	assert_int_equal(strlen(text), len);
	note(p->f, "%c:%s|", p->name, text);
}

static void probe_data(struct chan_cmd *cmd, const struct at_block *block, const uint8_t *data,
		       size_t len)
{
	struct probe *p = container_of(cmd, struct probe, cmd);

	note(p->f, data ? "%c+" : "%c.", p->name);
	if (data)
		note_bytes(p->f, data, len);
	note(p->f, "|");
}

static void probe_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct probe *p = container_of(cmd, struct probe, cmd);

	assert_false(p->f->submitting);
	p->dones++;
	p->result = result;
	note(p->f, "%c=%d|", p->name, result);
	if (p->hook)
		p->hook(p);
}

/* Command @i is called 'a' + i. */
static struct probe *prepare(struct fixture *f, size_t i, const char *line, enum chan_kind kind,
			     const char *payload)
{
	struct probe *p = &f->probes[i];

	p->f = f;
	p->name = (char)('a' + i);
	p->dones = 0;
	at_line_plain(&p->cmd.line, line);
	p->cmd.kind = kind;
	p->cmd.payload = payload;
	p->cmd.payload_len = payload ? strlen(payload) : 0;
	p->cmd.timeout = TIMEOUT;
	p->cmd.on_line = probe_line;
	p->cmd.on_data = NULL;
	p->cmd.done = probe_done;
	return p;
}

static void submit(struct probe *p, enum chan_lane lane)
{
	bool nested = p->f->submitting;

	p->f->submitting = true;
	chan_submit(&p->f->chan, lane, &p->cmd);
	p->f->submitting = nested;
}

static struct probe *plain(struct fixture *f, size_t i, enum chan_lane lane)
{
	char line[8] = "AT+A";
	struct probe *p;

	line[3] = (char)('A' + i);
	p = prepare(f, i, line, CHAN_PLAIN, NULL);
	submit(p, lane);
	return p;
}

static struct probe *send(struct fixture *f, size_t i, const char *payload)
{
	struct probe *p = prepare(f, i, "AT+CIPSEND=0,5", CHAN_SEND, payload);

	submit(p, CHAN_DATA);
	return p;
}

static void feed_n(struct fixture *f, const char *data, size_t n)
{
	chan_feed(&f->chan, (const uint8_t *)data, n);
}

static void feed(struct fixture *f, const char *data)
{
	feed_n(f, data, strlen(data));
}

static void advance(struct fixture *f, uint64_t delay)
{
	pass_time(&f->timers, delay);
}

static void clear(struct fixture *f)
{
	f->len = 0;
	f->log[0] = '\0';
}

#define expect(f, text)                                                                            \
	do {                                                                                       \
		assert_string_equal((f)->log, text);                                               \
		(f)->len = 0;                                                                      \
		(f)->log[0] = '\0';                                                                \
	} while (0)

static int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	timers_init(&f.timers);
	assert_int_equal(chan_init(&f.chan, "esp0", &f.timers, &ops, &f), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	f->on_report = NULL;
	f->on_trouble = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(f->probes); i++)
		f->probes[i].hook = NULL;
	chan_deinit(&f->chan);
	chan_deinit(&f->chan); /* twice is once */
	timers_deinit(&f->timers);
	return 0;
}

/* ---- order ---- */

/* Who has used the line least goes first, whatever he has asked for before. */
static void test_shares(void **state)
{
	struct fixture *f = *state;
	struct chan_share heavy = { 0 }, light = { 0 };
	static const char ok[] = "\r\nOK\r\n";

	for (size_t i = 0; i < 6; i++)
		prepare(f, i, (const char *[]){ "AT+A", "AT+B", "AT+C", "AT+D", "AT+E", "AT+F" }[i],
			CHAN_PLAIN, NULL)
			->cmd.share = i < 3 ? &heavy : &light;
	submit(&f->probes[0], CHAN_DATA);
	submit(&f->probes[1], CHAN_DATA);
	submit(&f->probes[2], CHAN_DATA);
	expect(f, "> AT+A|");
	advance(f, 100 * TIMERS_MS);
	submit(&f->probes[3], CHAN_DATA);
	feed(f, ok);
	expect(f, "a=0|> AT+D|");
	submit(&f->probes[4], CHAN_DATA);
	advance(f, 60 * TIMERS_MS);
	feed(f, ok);
	expect(f, "d=0|> AT+E|");
	submit(&f->probes[5], CHAN_DATA);
	advance(f, 60 * TIMERS_MS);
	feed(f, ok); /* it has used 120 ms by now, the other one 100 */
	expect(f, "e=0|> AT+B|");
	advance(f, 200 * TIMERS_MS);
	feed(f, ok);
	expect(f, "b=0|> AT+F|");
	advance(f, 60 * TIMERS_MS);
	feed(f, ok);
	expect(f, "f=0|> AT+C|");
	feed(f, ok);
	expect(f, "c=0|");
}

static void submit_again(struct probe *p)
{
	submit(p, CHAN_DATA);
}

/* Half a minute of one command puts nobody back for so long; and who was away has saved nothing. */
static void test_share_bounds(void **state)
{
	struct fixture *f = *state;
	struct chan_share heavy = { 0 }, light = { 0 };
	static const char ok[] = "\r\nOK\r\n";
	unsigned int rounds = 0;

	prepare(f, 0, "AT+A", CHAN_PLAIN, NULL)->cmd.share = &heavy;
	f->probes[0].cmd.timeout = 60 * TIMERS_S;
	submit(&f->probes[0], CHAN_DATA);
	for (int i = 0; i < 15; i++) {
		advance(f, 2 * TIMERS_S);
		feed(f, "\r\nbusy p...\r\n");
	}
	feed(f, ok);
	f->len = 0;
	prepare(f, 1, "AT+B", CHAN_PLAIN, NULL)->cmd.share = &light;
	f->probes[1].hook = submit_again;
	submit(&f->probes[1], CHAN_DATA);
	submit(&f->probes[0], CHAN_DATA);
	while (f->chan.current == &f->probes[1].cmd) {
		assert_in_range(++rounds, 1, 7);
		advance(f, 100 * TIMERS_MS);
		feed(f, ok);
	}
	assert_in_range(rounds, 4, 7);
	f->probes[1].hook = NULL;
	feed(f, ok);
	assert_int_equal(f->probes[0].dones, 2);
}

static void on_count(void *userdata, const void *data, size_t len)
{
	struct fixture *f = userdata;

	f->written += len;
}

/* Of a long block no more is on its way than would be lost on a chip that is reset. */
static void test_stream_window(void **state)
{
	static const struct chan_ops counting = {
		.write = on_count,
		.report = on_report,
		.ipd = on_ipd,
		.trouble = on_trouble,
	};
	static char many[60001];
	struct fixture *f = *state;
	struct probe *p;

	memset(many, 'x', sizeof(many) - 1);
	p = prepare(f, 0, "AT+CIPSENDL=0,60000", CHAN_STREAM, many);
	chan_set_baud(&f->chan, 3000000);
	f->chan.ops = &counting;
	submit(p, CHAN_DATA);
	f->written = 0;
	feed(f, "\r\nOK\r\n\r\n>");
	assert_int_equal(f->written, 32768);
	feed(f, "+CIPSENDL:4096,10000\r\n");
	assert_int_equal(f->written, 42768);
	feed(f, "+CIPSENDL:8192,9000\r\n+CIPSENDL:x\r\n"); /* not back */
	assert_int_equal(f->written, 42768);
	feed(f, "+CIPSENDL:12288,27232\r\n");
	assert_int_equal(f->written, 60000);
	feed(f, "+CIPSENDL:16384,50000\r\n");
	assert_int_equal(f->written, 60000);
	feed(f, "+CIPSENDL:60000,60000\r\n\r\nSEND OK\r\n");
	assert_int_equal(p->result, CHAN_OK);
	/* A slow line has less of it. */
	chan_set_baud(&f->chan, 460800);
	submit(p, CHAN_DATA);
	f->written = 0;
	feed(f, "\r\nOK\r\n\r\n>");
	assert_in_range(f->written, 16560, 16600); /* 360 ms */
	f->chan.ops = &ops;
	feed(f, "\r\nSEND FAIL\r\n");
	assert_int_equal(p->result, CHAN_E_DOUBT);
}

/* Lines of progress and one verdict (capture 62). */
static void test_stream(void **state)
{
	static const char *const absurd[] = {
		"0,6",
		"0,-1",
		"0,4294967296",
		"0,99999999999999999999999",
		"-1,18446744073709551615",
	};
	struct fixture *f = *state;
	struct probe *p = prepare(f, 0, "AT+CIPSENDL=0,5", CHAN_STREAM, "hello");

	submit(p, CHAN_DATA);
	feed(f, "\r\nOK\r\n\r\n>");
	expect(f, "> AT+CIPSENDL=0,5|> [hello]|");
	feed(f, "+CIPSENDL:3,5\r\n\r\n+IPD,1,2:ab\r\n+CIPSENDL:5,5\r\n\r\nSEND OK\r\n");
	expect(f, "a:+CIPSENDL:3,5|I1+ab|I1.|a:+CIPSENDL:5,5|a=0|");
	p = prepare(f, 0, "AT+CIPSENDL=0,5", CHAN_STREAM, "hello");
	submit(p, CHAN_DATA);
	/* More than it was given: a byte came twice. */
	feed(f, "\r\nOK\r\n\r\n>+CIPSENDL:3,6\r\n\r\nSEND OK\r\n");
	assert_int_equal(p->result, CHAN_E_DOUBT);
	for (size_t i = 0; i < ARRAY_SIZE(absurd); i++) {
		p = prepare(f, 0, "AT+CIPSENDL=0,5", CHAN_STREAM, "hello");
		submit(p, CHAN_DATA);
		feed(f, "\r\nOK\r\n\r\n>+CIPSENDL:");
		feed(f, absurd[i]);
		feed(f, "\r\n\r\nSEND OK\r\n");
		assert_int_equal(p->result, CHAN_E_DOUBT);
	}
	f->len = 0;
	p = prepare(f, 0, "AT+CIPSENDL=0,5", CHAN_STREAM, "hello");
	submit(p, CHAN_DATA);
	feed(f, "\r\nOK\r\n\r\n>\r\nSEND CANCELLED\r\n");
	assert_int_equal(p->result, CHAN_E_DOUBT);
	f->len = 0;
	p = prepare(f, 0, "AT+CIPSENDL=0,5", CHAN_STREAM, "hello");
	submit(p, CHAN_DATA);
	feed(f, "\r\nOK\r\n\r\n>\r\nRecv 5 bytes\r\n");
	expect(f, "> AT+CIPSENDL=0,5|> [hello]|T:a receipt that was not asked for|");
}

static void test_one_in_flight(void **state)
{
	struct fixture *f = *state;

	plain(f, 0, CHAN_DATA);
	plain(f, 1, CHAN_DATA);
	plain(f, 2, CHAN_DATA);
	expect(f, "> AT+A|");
	feed(f, "+X:1\r\n\r\nOK\r\n");
	expect(f, "a:+X:1|a=0|> AT+B|");
	feed(f, "\r\nERROR\r\n");
	expect(f, "b=1|> AT+C|");
	feed(f, "\r\nFAIL\r\n");
	expect(f, "c=1|");
	assert_int_equal(f->chan.commands, 3);
}

static void test_control_lane_first(void **state)
{
	struct fixture *f = *state;

	plain(f, 0, CHAN_DATA);
	plain(f, 1, CHAN_DATA);
	plain(f, 2, CHAN_CONTROL);
	plain(f, 3, CHAN_CONTROL);
	feed(f, "\r\nOK\r\n");
	expect(f, "> AT+A|a=0|> AT+C|");
	feed(f, "\r\nOK\r\n");
	feed(f, "\r\nOK\r\n");
	feed(f, "\r\nOK\r\n");
	expect(f, "c=0|> AT+D|d=0|> AT+B|b=0|");
}

/* ---- payload ---- */

static void test_payload_after_prompt(void **state)
{
	struct fixture *f = *state;

	send(f, 0, "hello");
	expect(f, "> AT+CIPSEND=0,5|");
	feed(f, "AT+CIPSEND=0,5\r\n\r\nOK\r\n");
	expect(f, "a:AT+CIPSEND=0,5|");
	advance(f, 1900 * TIMERS_MS);
	expect(f, "");
	feed(f, "\r\n>");
	expect(f, "> [hello]|");
	feed(f, "\r\nRecv 5 bytes\r\n");
	expect(f, "");
	feed(f, "\r\nSEND OK\r\n");
	expect(f, "a=0|");
}

static void test_payload_is_one_write(void **state)
{
	static char payload[8193], line[9000];
	struct fixture *f = *state;

	memset(payload, 'x', 8192);
	prepare(f, 0, "AT+SYSMFG=2,\"client_ca\",\"client_ca.0\",8,8192", CHAN_BLOCK, payload);
	submit(&f->probes[0], CHAN_CONTROL);
	f->len = 0;
	feed(f, "\r\nOK\r\n\r\n>");
	snprintf(line, sizeof(line), "> [%s]|", payload);
	expect(f, line);
	feed(f, "\r\nOK\r\n");
	expect(f, "a=0|");
}

static void test_prompt_without_ok(void **state)
{
	struct fixture *f = *state;

	send(f, 0, "hello");
	feed(f, "\r\n>");
	expect(f, "> AT+CIPSEND=0,5|T:a prompt that was not asked for|");
}

static void test_refused_before_payload(void **state)
{
	struct fixture *f = *state;

	send(f, 0, "hello");
	plain(f, 1, CHAN_DATA);
	feed(f, "\r\nERROR\r\n");
	expect(f, "> AT+CIPSEND=0,5|a=1|> AT+B|");
}

/* Where each of these comes, @answer has followed a payload and leaves it in doubt. */
static void assert_doubt(struct fixture *f, const char *answer)
{
	setup((void **)&f);
	send(f, 0, "hello");
	plain(f, 1, CHAN_DATA);
	feed(f, "\r\nOK\r\n\r\n>");
	f->len = 0;
	feed(f, answer);
	if (strcmp(f->log, "a=2|> AT+B|") != 0)
		fail_msg("after %s: %s", answer, f->log);
	assert_int_equal(f->probes[0].result, CHAN_E_DOUBT);
	teardown((void **)&f);
}

static void test_doubt(void **state)
{
	static const char *const answers[] = {
		"\r\nRecv 5 bytes\r\n\r\nSEND FAIL\r\n", /* 30 */
		"\r\nSEND FAIL\r\n",
		"\r\nSEND Canceled\r\n", /* 54 */
		"\r\nSEND CANCELLED\r\n",
		"\r\nRecv 6 bytes\r\n\r\nSEND OK\r\n", /* one came twice */
		"\r\nSEND OK\r\n",                     /* without its receipt */
		"\r\nERROR\r\n",
		"\r\nRecv 5 bytes\r\n\r\nERROR\r\n",
		/* more arrived than it asked for (30, 62) */
		"\r\nbusy p...\r\n\r\nRecv 5 bytes\r\n\r\nSEND OK\r\n",
		"\r\nRecv 5 bytes\r\n\r\nbusy p...\r\n\r\nSEND OK\r\n",
	};
	struct fixture *f = *state;

	teardown(state);
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
		assert_doubt(f, answers[i]);
	setup(state);
}

static void test_doubt_of_a_block(void **state)
{
	struct fixture *f = *state;

	prepare(f, 0, "AT+SYSMFG=2", CHAN_BLOCK, "blob");
	submit(&f->probes[0], CHAN_CONTROL);
	feed(f, "\r\nOK\r\n\r\n>\r\nbusy p...\r\n\r\nOK\r\n"); /* 11 */
	expect(f, "> AT+SYSMFG=2|> [blob]|a=2|");
	submit(&f->probes[0], CHAN_CONTROL);
	feed(f, "\r\nOK\r\n\r\n>\r\nOK\r\n"); /* the doubt is gone with its command */
	expect(f, "> AT+SYSMFG=2|> [blob]|a=0|");
}

/* A digit of the length was lost: what the chip does not take for data are commands to it. */
static void test_shorter_for_the_chip(void **state)
{
	static const struct {
		enum chan_kind kind;
		const char *answer;
	} rows[] = {
		{ CHAN_SEND, "\r\nRecv 4 bytes\r\n" },
		{ CHAN_SEND, "\r\nRecv 0 bytes\r\n" },
		{ CHAN_STREAM, "+CIPSENDL:4,4\r\n\r\nSEND OK\r\n" },
		{ CHAN_STREAM, "\r\nSEND OK\r\n" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		prepare(f, 0, "AT+X", rows[i].kind, "hello");
		submit(&f->probes[0], CHAN_DATA);
		feed(f, "\r\nOK\r\n\r\n>");
		clear(f);
		feed(f, rows[i].answer);
		if (!strstr(f->log, "T:a block that was shorter for the chip|"))
			fail_msg("after %s: %s", rows[i].answer, f->log);
		clear(f);
		/* Nothing behind it is believed. */
		feed(f, "\r\nSEND OK\r\n");
		chan_reset(&f->chan);
		expect(f, "a=4|");
	}
}

/* Between the OK and the prompt the payload is not written, and the verdict is not believed. */
static void test_verdict_before_prompt(void **state)
{
	struct fixture *f = *state;

	send(f, 0, "hello");
	feed(f, "\r\nOK\r\n\r\nSEND OK\r\n");
	expect(f, "> AT+CIPSEND=0,5|a=2|");
	send(f, 0, "hello");
	feed(f, "\r\nOK\r\n\r\nERROR\r\n");
	expect(f, "> AT+CIPSEND=0,5|a=2|");
}

/* ---- time ---- */

static void test_timeout(void **state)
{
	struct fixture *f = *state;

	plain(f, 0, CHAN_CONTROL);
	plain(f, 1, CHAN_CONTROL);
	advance(f, TIMEOUT + BYTES(6) - TIMERS_MS);
	expect(f, "> AT+A|");
	advance(f, 2 * TIMERS_MS);
	expect(f, "a=3|T:no answer to a command|");
	/* Deaf: nothing is believed, nothing is sent. */
	feed(f, "\r\nOK\r\n0,CLOSED\r\n\r\n+IPD,0,2:ab\r\n");
	plain(f, 2, CHAN_CONTROL);
	advance(f, 100 * TIMERS_S);
	expect(f, "");
	chan_reset(&f->chan);
	expect(f, "b=4|c=4|");
	plain(f, 3, CHAN_CONTROL);
	feed(f, "\r\nOK\r\n");
	expect(f, "> AT+D|d=0|");
}

/* Prompt and receipt need neither flash nor network: 2 s; the final answer has the command's time. */
static void test_timeout_of_each_phase(void **state)
{
	static const struct {
		enum chan_kind kind;
		const char *parts[5];
		uint64_t limits[4]; /* after each part; it starts anew with each */
	} rows[] = {
		{ CHAN_SEND,
		  { "", "\r\nOK\r\n", "\r\n>", "\r\nRecv 5 bytes\r\n" },
		  { 2 * TIMERS_S, 2 * TIMERS_S, 2 * TIMERS_S, TIMEOUT } },
		{ CHAN_BLOCK,
		  { "", "\r\nOK\r\n", "\r\n>" },
		  { 2 * TIMERS_S, 2 * TIMERS_S, TIMEOUT } },
		{ CHAN_PLAIN, { "" }, { TIMEOUT } },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (size_t until = 0; rows[i].parts[until]; until++) {
			bool plain_kind = rows[i].kind == CHAN_PLAIN;

			submit(prepare(f, 0, "AT+X", rows[i].kind, plain_kind ? NULL : "hello"),
			       CHAN_DATA);
			for (size_t k = 0; k <= until; k++) {
				feed(f, rows[i].parts[k]);
				advance(f,
					rows[i].limits[k] + BYTES(plain_kind ? 6 : 11) - TIMERS_MS);
				assert_int_equal(f->probes[0].dones, 0);
			}
			advance(f, 2 * TIMERS_MS);
			assert_int_equal(f->probes[0].dones, 1);
			assert_int_equal(f->probes[0].result, CHAN_E_TIMEOUT);
			assert_non_null(strstr(f->log, "a=3|T:no answer to a command|"));
			chan_reset(&f->chan);
			f->len = 0;
		}
}

static void test_slow_line_takes_longer(void **state)
{
	struct fixture *f = *state;

	chan_set_baud(&f->chan, 9600);
	plain(f, 0, CHAN_CONTROL);
	advance(f, TIMEOUT + 12 * BYTES(6) - TIMERS_MS);
	assert_int_equal(f->probes[0].dones, 0);
	advance(f, 2 * TIMERS_MS);
	assert_int_equal(f->probes[0].dones, 1);
}

/*
 * An answer may stand behind what the chip says before it: as long as that comes it is waited for, until
 * two FIFOs must be empty, for as long as no pause is, and as the line has not been silent for the time-out.
 */
static void test_what_comes_first_takes_its_time(void **state)
{
	static const char ipd[] = "\r\n+IPD,0,2:ab\r\n";
	struct fixture *f = *state;
	uint64_t most = TIMEOUT + BYTES(6) + BYTES(16384);
	char much[1200] = "\r\n+IPD,0,1024:";

	/* A full line: 90 ms of data each. */
	memset(much + strlen(much), 'x', 1024);
	strcat(much, "\r\n");
	plain(f, 0, CHAN_CONTROL);
	for (uint64_t at = 0; at < most; at += BYTES(strlen(much))) {
		assert_int_equal(f->probes[0].dones, 0);
		feed(f, much);
		clear(f);
		advance(f, BYTES(strlen(much)));
	}
	advance(f, 110 * TIMERS_MS);
	assert_int_equal(f->probes[0].result, CHAN_E_TIMEOUT);
	/* One that rests for most of the time: what comes counts as what it takes. */
	chan_reset(&f->chan);
	plain(f, 0, CHAN_CONTROL);
	for (uint64_t at = 0; at < TIMEOUT; at += 250 * TIMERS_MS) {
		assert_int_equal(f->probes[0].dones, 0);
		feed(f, ipd);
		advance(f, 250 * TIMERS_MS);
	}
	feed(f, ipd);
	advance(f, 95 * TIMERS_MS);
	assert_int_equal(f->probes[0].dones, 0);
	advance(f, 30 * TIMERS_MS);
	assert_int_equal(f->probes[0].result, CHAN_E_TIMEOUT);
	/* A pause is its end. */
	chan_reset(&f->chan);
	plain(f, 0, CHAN_CONTROL);
	for (int i = 0; i < 3; i++) {
		feed(f, much);
		clear(f);
	}
	advance(f, TIMEOUT - 50 * TIMERS_MS);
	feed(f, ipd);
	advance(f, 299 * TIMERS_MS);
	assert_int_equal(f->probes[0].dones, 0);
	advance(f, 2 * TIMERS_MS);
	assert_int_equal(f->probes[0].dones, 1);
	/* And so are the bytes of the answer's line none. */
	chan_reset(&f->chan);
	plain(f, 0, CHAN_CONTROL);
	feed(f, ipd);
	advance(f, TIMEOUT);
	feed(f, "\r\nO");
	advance(f, 90 * TIMERS_MS);
	f->len = 0;
	feed(f, "K\r\n");
	expect(f, "a=0|");
}

/* A chip that is reset in a block says `ready` in it, and would be believed to serve as long as nobody asks it. */
static void test_block_that_does_not_go_on(void **state)
{
	static const char *const heads[] = { "\r\n+IPD,0,20:", "\r\n+IPD,0,20:ab\r\nready\r\n",
					     "\r\n+IPD,0,2:ab", "\r\n+IPD,0,2:ab\r" };
	struct fixture *f = *state;
	struct probe *p;

	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		feed(f, heads[i]);
		advance(f, 449 * TIMERS_MS);
		assert_null(strstr(f->log, "T:"));
		advance(f, 2 * TIMERS_MS);
		assert_non_null(strstr(f->log, "T:a block that does not go on|"));
		chan_reset(&f->chan);
		clear(f);
	}
	/* While a value is written to flash, chips pause. */
	p = prepare(f, 0, "AT+SYSMFG=2", CHAN_BLOCK, "hello");
	p->cmd.timeout = TIMEOUT;
	submit(p, CHAN_CONTROL);
	feed(f, "\r\nOK\r\n\r\n>");
	clear(f);
	feed(f, "\r\n+IPD,0,20:ab");
	advance(f, 1499 * TIMERS_MS);
	assert_null(strstr(f->log, "T:"));
	advance(f, 2 * TIMERS_MS);
	assert_non_null(strstr(f->log, "T:a block that does not go on|"));
	chan_reset(&f->chan);
	clear(f);
	/* Slowly, but it does; and then nothing else has to come. */
	feed(f, "\r\n+IPD,0,4:");
	for (size_t i = 0; i < 6; i++) {
		advance(f, 440 * TIMERS_MS);
		feed_n(f, &"abcd\r\n"[i], 1);
	}
	advance(f, 100 * TIMERS_S);
	assert_null(strstr(f->log, "T:"));
}

/* ---- whether it still runs ---- */

#define LONG (30 * TIMERS_S)
#define ASK "> AT+CIPMUX?|"
#define BUSY "\r\nbusy p...\r\n"
#define MUX "+CIPMUX:1\r\n"

static struct probe *lengthy(struct fixture *f, const char *line)
{
	struct probe *p = prepare(f, 0, line, CHAN_PLAIN, NULL);

	p->cmd.timeout = LONG;
	submit(p, CHAN_CONTROL);
	return p;
}

static void test_asked_and_busy(void **state)
{
	struct fixture *f = *state;

	lengthy(f, "AT+CIPSTART=0");
	plain(f, 1, CHAN_CONTROL);
	for (int i = 0; i < 3; i++) {
		advance(f, 1999 * TIMERS_MS);
		expect(f, i == 0 ? "> AT+CIPSTART=0|" : "");
		advance(f, 2 * TIMERS_MS);
		expect(f, "> AT+CIPMUX?|");
		/* Not the line's answer: it is not written again. */
		feed(f, "\r\nbusy p...\r\n");
		expect(f, "");
	}
	feed(f, "0,CONNECT\r\n");
	clear(f);
	/* With a number in front, where errors have one: no line of this command's. */
	advance(f, 2001 * TIMERS_MS);
	feed(f, "ERR CODE:0x010b0000\r\n\r\nbusy p...\r\n");
	expect(f, "> AT+CIPMUX?|");
	feed(f, "\r\nOK\r\n");
	expect(f, "a=0|> AT+B|");
}

/* The chip has nothing to do: so it had answered, and that was lost. */
static void test_asked_and_idle(void **state)
{
	struct fixture *f = *state;

	lengthy(f, "AT+CIPSTART=0");
	plain(f, 1, CHAN_CONTROL);
	advance(f, 2001 * TIMERS_MS);
	feed(f, "+CIPMUX:1\r\n\r\nOK\r\n");
	expect(f, "> AT+CIPSTART=0|> AT+CIPMUX?|a=3|T:no answer to a command|");
	chan_reset(&f->chan);
	expect(f, "b=4|");
}

/* Both at once, in either order: that which has the line is the question's, and the next command waits for it. */
static void test_asked_at_the_end(void **state)
{
	static const struct {
		const char *own, *others;
		enum chan_result result;
	} rows[] = {
		{ "\r\nOK\r\n", "+CIPMUX:1\r\n\r\nOK\r\n", CHAN_OK },
		{ "\r\nERROR\r\n", "+CIPMUX:1\r\n\r\nOK\r\n", CHAN_E_ERROR },
		{ "\r\nOK\r\n", "\r\nbusy p...\r\n", CHAN_OK },
		{ "\r\nERROR\r\n", "\r\nbusy p...\r\n", CHAN_E_ERROR },
	};
	struct fixture *f = *state;
	char want[32];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		lengthy(f, "AT+CIPSTART=0");
		plain(f, 1, CHAN_CONTROL);
		advance(f, 2001 * TIMERS_MS);
		clear(f);
		feed(f, rows[i].own);
		expect(f, "");
		feed(f, rows[i].others);
		snprintf(want, sizeof(want), "a=%d|> AT+B|", rows[i].result);
		expect(f, want);
		feed(f, "\r\nOK\r\n");
		expect(f, "b=0|");
	}
}

/* What does not fit: then bytes were lost, and nothing is believed. */
static void test_asked_and_damaged(void **state)
{
	static const struct {
		const char *said;
		uint64_t after;
		const char *trouble;
	} rows[] = {
		/* nothing at all; it is asked once more */
		{ "", 5001 * TIMERS_MS, "a=3|T:no answer to a command|" },
		/* one of two answers */
		{ "\r\nOK\r\n", 1001 * TIMERS_MS, "a=3|T:no answer to a command|" },
		{ "+CIPMUX:1\r\n", 5001 * TIMERS_MS, "a=3|T:no answer to a command|" },
		/* two, but the question's line is not there, or the question was damaged */
		{ "\r\nOK\r\n\r\nOK\r\n", 0, "T:two answers to one command|" },
		{ "\r\nERROR\r\n\r\nOK\r\n", 0, "T:two answers to one command|" },
		/* "busy p..." was for the line, which was thrown away: what comes then is not its answer */
		{ "\r\nbusy p...\r\n+CIPMUX:1\r\n\r\nOK\r\n", 0,
		  "T:an answer to what was not asked|" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		lengthy(f, "AT+CIPSTART=0");
		advance(f, 2001 * TIMERS_MS);
		clear(f);
		feed(f, rows[i].said);
		if (rows[i].after > 0) {
			advance(f, rows[i].after - 3 * TIMERS_MS);
			expect(f, rows[i].said[0] ? "" : ASK);
			advance(f, 3 * TIMERS_MS);
		}
		expect(f, rows[i].trouble);
		chan_reset(&f->chan);
		clear(f);
	}
}

/*
 * The question was lost, or what was said to it. @said comes 2.6 s after it, and so after the second one. What is to come
 * to both comes at once: the next command is not written before, and none of it is taken for its answer.
 */
static void test_asked_again(void **state)
{
	static const struct {
		const char *said, *told, *more;
		uint64_t after;
		const char *end;
	} rows[] = {
		/* to one: it is busy, and so it stays for another 2 s; the other one may be late by as much */
		{ BUSY, "", "", 3999 * TIMERS_MS, "" },
		{ BUSY, "", "", 4002 * TIMERS_MS, ASK },
		/* to both */
		{ BUSY BUSY, "", "", 1999 * TIMERS_MS, "" },
		{ BUSY BUSY, "", "", 2001 * TIMERS_MS, ASK },
		{ BUSY, "", BUSY, 2001 * TIMERS_MS, ASK },
		/* then it has done it: its own answer and that of the second question */
		{ BUSY "\r\nOK\r\n", "", MUX "\r\nOK\r\n", 0, "a=0|> AT+B|" },
		{ BUSY "\r\nERROR\r\n", "", MUX "\r\nOK\r\n", 0, "a=1|> AT+B|" },
		{ "\r\nOK\r\n" MUX "\r\nOK\r\n", "", MUX "\r\nOK\r\n", 0, "a=0|> AT+B|" },
		{ "\r\nOK\r\n" MUX "\r\nOK\r\n", "", BUSY, 0, "a=0|> AT+B|" },
		/* its own answer, and one of them was lost */
		{ BUSY "\r\nOK\r\n", "", "", 2001 * TIMERS_MS, "a=0|> AT+B|" },
		{ "\r\nOK\r\n" MUX "\r\nOK\r\n", "", "", 2001 * TIMERS_MS, "a=0|> AT+B|" },
		/* what is said to the other one in the middle of what is said to this one */
		{ MUX BUSY "\r\nOK\r\n", "a=3|T:no answer to a command|", "", 0, "" },
		{ "\r\nOK\r\n" MUX BUSY "\r\nOK\r\n", "a=0|> AT+B|", "", 0, "" },
		/* it had done it, and that was lost */
		{ MUX "\r\nOK\r\n", "a=3|T:no answer to a command|", "", 0, "" },
		{ BUSY MUX "\r\nOK\r\n", "a=3|T:no answer to a command|", "", 0, "" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		lengthy(f, "AT+CIPSTART=0");
		plain(f, 1, CHAN_CONTROL);
		advance(f, 4600 * TIMERS_MS);
		expect(f, "> AT+CIPSTART=0|" ASK ASK);
		feed(f, rows[i].said);
		expect(f, rows[i].told);
		feed(f, rows[i].more);
		advance(f, rows[i].after);
		expect(f, rows[i].end);
		chan_reset(&f->chan);
		clear(f);
	}
}

/* One that joins has no ears: its own answer alone is as good, and so is none for long. */
static void test_asked_and_deaf(void **state)
{
	struct fixture *f = *state;

	lengthy(f, "AT+CWJAP=\"x\"");
	advance(f, 2001 * TIMERS_MS);
	expect(f, "> AT+CWJAP=\"x\"|> AT+CIPMUX?|");
	advance(f, 20 * TIMERS_S);
	expect(f, ASK ASK ASK ASK ASK ASK ASK);
	feed(f, "\r\nOK\r\n");
	expect(f, "");
	advance(f, 1001 * TIMERS_MS);
	expect(f, "a=0|");
}

/* Where bytes are awaited, or may be, nothing is asked: it would be data. */
static void test_not_asked_in_a_block(void **state)
{
	static const enum chan_kind kinds[] = { CHAN_SEND, CHAN_STREAM, CHAN_BLOCK };
	static const char *const parts[] = { "", "\r\nOK\r\n", "\r\n>" };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		for (size_t until = 0; until < ARRAY_SIZE(parts); until++) {
			struct probe *p = prepare(f, 0, "AT+X", kinds[i], "hello");

			p->cmd.timeout = LONG;
			submit(p, CHAN_DATA);
			for (size_t k = 0; k <= until; k++)
				feed(f, parts[k]);
			advance(f, 100 * TIMERS_S);
			assert_int_equal(p->result, CHAN_E_TIMEOUT);
			assert_null(strstr(f->log, "CIPMUX"));
			chan_reset(&f->chan);
			clear(f);
		}
}

/* When all of it has come, but not if that is in doubt. */
static void test_asked_for_a_verdict(void **state)
{
	struct fixture *f = *state;
	struct probe *p;

	for (int right = 0; right < 2; right++) {
		p = prepare(f, 0, "AT+X", CHAN_SEND, "hello");
		p->cmd.timeout = LONG;
		submit(p, CHAN_DATA);
		feed(f, "\r\nOK\r\n\r\n>");
		feed(f, right ? "\r\nRecv 5 bytes\r\n" : "\r\nRecv 6 bytes\r\n");
		clear(f);
		advance(f, 2001 * TIMERS_MS);
		expect(f, right ? "> AT+CIPMUX?|" : "");
		if (right)
			feed(f, "\r\nbusy p...\r\n");
		feed(f, "\r\nSEND OK\r\n");
		expect(f, right ? "a=0|" : "a=2|");
	}
}

static void test_not_asked_while_it_is_looked_for(void **state)
{
	struct fixture *f = *state;

	chan_set_syncing(&f->chan, true);
	lengthy(f, "ATE1");
	advance(f, 100 * TIMERS_S);
	expect(f, "> ATE1|a=3|");
}

/* What may be missing of a block that was given up, and what may still be on the line. */
static void test_what_is_left_open(void **state)
{
	struct fixture *f = *state;

	submit(prepare(f, 0, "AT+X", CHAN_SEND, "hello"), CHAN_DATA);
	chan_reset(&f->chan);
	assert_true(f->chan.send_open);
	assert_int_equal(chan_on_its_way(&f->chan), BYTES(6));
	advance(f, BYTES(3));
	assert_int_equal(chan_on_its_way(&f->chan), BYTES(3));
	submit(prepare(f, 0, "AT+X", CHAN_SEND, "hello"), CHAN_DATA);
	feed(f, "\r\nOK\r\n\r\n>");
	assert_int_equal(chan_on_its_way(&f->chan) / 10, BYTES(14) / 10);
	advance(f, BYTES(20));
	assert_int_equal(chan_on_its_way(&f->chan), 0);
	f->chan.send_open = false;
	chan_reset(&f->chan);
	assert_true(f->chan.send_open);
	f->chan.send_open = false;
	submit(prepare(f, 0, "AT+X", CHAN_BLOCK, "hello"), CHAN_DATA);
	feed(f, "\r\nOK\r\n\r\n>");
	assert_int_equal(f->chan.block_open, 0);
	advance(f, 100 * TIMERS_S);
	assert_int_equal(f->chan.block_open, 5);
	assert_false(f->chan.send_open);
}

/* ---- busy ---- */

static void test_busy_is_written_again(void **state)
{
	struct fixture *f = *state;

	plain(f, 0, CHAN_CONTROL);
	feed(f, "\r\nbusy p...\r\n");
	expect(f, "> AT+A|");
	advance(f, 99 * TIMERS_MS);
	expect(f, "");
	advance(f, 2 * TIMERS_MS);
	expect(f, "> AT+A|");
	feed(f, "\r\nbusy p...\r\n");
	advance(f, 190 * TIMERS_MS); /* longer each time */
	expect(f, "");
	advance(f, 20 * TIMERS_MS);
	expect(f, "> AT+A|");
	feed(f, "\r\nOK\r\n");
	expect(f, "a=0|");
	advance(f, 100 * TIMERS_S);
	expect(f, "");
}

/* One line may be answered with several of them (a block's rest read as commands, capture 63). */
static void test_busy_storm_is_one(void **state)
{
	struct fixture *f = *state;

	plain(f, 0, CHAN_CONTROL);
	for (int i = 0; i < 200; i++)
		feed(f, "\r\nbusy p...\r\n");
	expect(f, "> AT+A|");
	advance(f, 110 * TIMERS_MS);
	expect(f, "> AT+A|");
}

/* The chip was busy with this very command: the answer comes without a second try. */
static void test_busy_then_answer(void **state)
{
	struct fixture *f = *state;

	plain(f, 0, CHAN_CONTROL);
	feed(f, "\r\nbusy p...\r\n");
	advance(f, 50 * TIMERS_MS);
	feed(f, "\r\nOK\r\n");
	expect(f, "> AT+A|a=0|");
	advance(f, 10 * TIMERS_S);
	expect(f, "");
	/* With a payload to come, too (capture 62). */
	send(f, 1, "hello");
	feed(f, "\r\nbusy p...\r\n\r\nOK\r\n\r\n>");
	expect(f, "> AT+CIPSEND=0,5|> [hello]|");
	feed(f, "\r\nRecv 5 bytes\r\n\r\nSEND OK\r\n");
	expect(f, "b=0|");
	advance(f, 10 * TIMERS_S);
	expect(f, "");
}

static void test_busy_for_too_long(void **state)
{
	struct fixture *f = *state;
	int writes = 0;

	plain(f, 0, CHAN_CONTROL);
	while (!strstr(f->log, "T:")) {
		assert_in_range(writes, 0, 1000);
		writes++;
		expect(f, "> AT+A|");
		feed(f, "\r\nbusy p...\r\n");
		if (!strstr(f->log, "T:"))
			advance(f, 1001 * TIMERS_MS);
	}
	expect(f, "T:busy for too long|");
	/* As long as the longest thing that the chip may be doing: a CIPSTART, 60 s. */
	assert_true(f->timers.now > 60 * TIMERS_S && f->timers.now < 120 * TIMERS_S);
	advance(f, 100 * TIMERS_S);
	expect(f, "");
	chan_reset(&f->chan);
	expect(f, "a=4|");
}

/* ---- reports ---- */

static void test_reports_within_a_reply(void **state)
{
	struct fixture *f = *state;
	char want[256];

	send(f, 0, "hello");
	feed(f, "0,CLOSED\r\n\r\nOK\r\nWIFI DISCONNECT\r\n\r\n>1,CLOSED\r\n\r\n+IPD,2,4:\r\nOK\r\n"
		"\r\nRecv 5 bytes\r\n\r\n+IPD,3,7\r\n\r\n+IPD,4,1:>\r\n\r\nSEND OK\r\n");
	snprintf(want, sizeof(want),
		 "> AT+CIPSEND=0,5|R%d,0,0|R%d,-1,0|> [hello]|R%d,1,0|I2+\\x0d\\x0aOK|I2.|R%d,3,7|"
		 "I4+>|I4.|a=0|",
		 AT_REPORT_CLOSED, AT_REPORT_WIFI_DISCONNECT, AT_REPORT_CLOSED, AT_REPORT_IPD);
	expect(f, want);
}

static void test_reports_between_commands(void **state)
{
	struct fixture *f = *state;
	char want[64];

	feed(f, "some unknown line\r\n3,CLOSED\r\n\r\n+IPD,1,3:abc\r\n+TIME_UPDATED\r\n");
	snprintf(want, sizeof(want), "R%d,3,0|I1+abc|I1.|R%d,-1,0|", AT_REPORT_CLOSED,
		 AT_REPORT_TIME_UPDATED);
	expect(f, want);
}

/* A block whose frame was wrong is never said to be complete. */
static void test_damaged_block(void **state)
{
	struct fixture *f = *state;

	feed(f, "\r\n+IPD,1,4:abc\r\n\r\nOK\r\n");
	expect(f, "I1+abc\\x0d|T:block without line end|");
	feed(f, "\r\n+IPD,1,3:abc\r\n");
	expect(f, "");
}

static void test_blob(void **state)
{
	struct fixture *f = *state;

	prepare(f, 0, "AT+SYSMFG=1,\"n\",\"k\"", CHAN_PLAIN, NULL);
	f->probes[0].cmd.on_data = probe_data;
	submit(&f->probes[0], CHAN_CONTROL);
	feed(f, "+SYSMFG:\"n\",\"k\",8,6,\r\nOK\r");
	feed(f, "\n\r\n0,CLOSED\r\nOK\r\n");
	expect(f, "> AT+SYSMFG=1,\"n\",\"k\"|a+\\x0d\\x0aOK\\x0d|a+\\x0a|a.|R11,0,0|a=0|");
}

/* ---- what nobody asked for ---- */

static void test_stray(void **state)
{
	static const char *const strays[] = {
		"\r\nOK\r\n",
		"\r\nERROR\r\n",
		"\r\nSEND OK\r\n",
		"\r\nSEND FAIL\r\n",
		"SEND Canceled\r\n",
		"Recv 5 bytes\r\n",
		"\r\nbusy p...\r\n",
		">",
		"+CIPRECVDATA:3,abc\r\n",
		"+SYSMFG:\"a\",\"b\",8,3,abc\r\n",
		"\r\n+IPD,3:abc\r\n",
		"a\x01\r\n",
		"\r\n+IPD,9,1:a\r\n",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(strays); i++) {
		feed(f, strays[i]);
		if (strncmp(f->log, "T:", 2) != 0)
			fail_msg("stray %s: %s", strays[i], f->log);
		f->len = 0;
		f->log[0] = '\0';
		/* Once, then deaf. */
		feed(f, strays[i]);
		feed(f, "\r\nOK\r\n0,CLOSED\r\n\r\n+IPD,0,2:ab\r\n");
		plain(f, 0, CHAN_CONTROL);
		advance(f, 60 * TIMERS_S);
		expect(f, "");
		chan_reset(&f->chan);
		expect(f, "a=4|");
	}
}

/* The same while a command waits for something else. */
static void test_stray_within_a_command(void **state)
{
	static const struct {
		enum chan_kind kind;
		const char *input;
	} rows[] = {
		{ CHAN_PLAIN, "\r\nSEND OK\r\n" },
		{ CHAN_PLAIN, "\r\nSEND FAIL\r\n" },
		{ CHAN_PLAIN, "Recv 5 bytes\r\n" },
		{ CHAN_PLAIN, "\r\n>" },
		{ CHAN_PLAIN, "+CIPRECVDATA:3,abc\r\n" },
		{ CHAN_SEND, "\r\nSEND OK\r\n" },
		{ CHAN_SEND, "\r\nRecv 5 bytes\r\n" },
		{ CHAN_SEND, "\r\nOK\r\n\r\nOK\r\n" },
		{ CHAN_SEND, "\r\nOK\r\n\r\nRecv 5 bytes\r\n" },
		{ CHAN_SEND, "\r\nOK\r\n\r\n>\r\nOK\r\n" },
		{ CHAN_SEND, "\r\nOK\r\n\r\n>\r\n>" },
		{ CHAN_SEND, "\r\nOK\r\n\r\n>\r\nRecv 5 bytes\r\nRecv 5 bytes\r\n" },
		{ CHAN_BLOCK, "\r\nOK\r\n\r\n>\r\nSEND OK\r\n" },
		{ CHAN_BLOCK, "\r\nOK\r\n\r\n>\r\nRecv 5 bytes\r\n" },
		{ CHAN_BLOCK, "\r\nOK\r\n\r\nOK\r\n" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct probe *p = prepare(f, 0, "AT+X", rows[i].kind,
					  rows[i].kind == CHAN_PLAIN ? NULL : "hello");

		submit(p, CHAN_CONTROL);
		feed(f, rows[i].input);
		if (!strstr(f->log, "|T:") || p->dones)
			fail_msg("row %zu: %s", i, f->log);
		f->len = 0;
		f->log[0] = '\0';
		feed(f, "\r\nOK\r\n\r\nSEND OK\r\n");
		advance(f, 60 * TIMERS_S);
		expect(f, "");
		chan_reset(&f->chan);
		expect(f, "a=4|");
	}
}

/* A block in front that had lost two bytes of its own has swallowed these lines' first CRLF. */
static void test_missing_empty_line(void **state)
{
	static const char *const lines[] = {
		"OK\r\n",
		"busy p...\r\n",
		"+IPD,1,5\r\n",
		"+IPD,1,2:ab\r\n",
		"\r\nOK\r\n\r\n>SEND OK\r\n",
		"\r\nOK\r\n\r\n>\r\nRecv 5 bytes\r\nSEND OK\r\n",
		"\r\nOK\r\n\r\n>\r\nRecv 5 bytes\r\nSEND FAIL\r\n",
		"\r\n+IPD,1,5:abc\r\n\r\n+IPD,1,2:ab\r\n",
		"\r\n+IPD,1,2:ab\r\nOK\r\n",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		send(f, 0, "hello");
		feed(f, lines[i]);
		if (!strstr(f->log, "|T:") || f->probes[0].dones)
			fail_msg("%s: %s", lines[i], f->log);
		chan_reset(&f->chan);
		f->len = 0;
		f->log[0] = '\0';
	}
	/* Replies that end so by themselves (protocol fact 24). */
	plain(f, 1, CHAN_CONTROL);
	feed(f, "+SYSTIMESTAMP:1700000000\r\nOK\r\n");
	expect(f, "> AT+B|b:+SYSTIMESTAMP:1700000000|b=0|");
}

/*
 * A block whose head has lost a byte, or whose head and more were lost, comes as lines. While links are open none
 * of them is believed, nor what it pretends behind them: another link's data, a verdict, a restart.
 */
static void test_damaged_head(void **state)
{
	static const char *const heads[] = {
		"IPD,0,60:", "+PD,0,60:", "+IP,0,60:", "+IPD0,60:", "+IPD,0,", "0:", "", "x",
	};
	static const char *const pretended[] = {
		"x\r\n\r\n+IPD,1,9:forged\r\n!\r\n",
		"x\r\n\r\nOK\r\n",
		"x\r\n\r\nSEND OK\r\n",
		"x\r\n\r\nready\r\n",
		"DNS Fail\r\n1,CLOSED\r\n",
		"x\r\n\r\n>",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
		for (size_t k = 0; k < ARRAY_SIZE(pretended); k++)
			for (int running = 0; running < 3; running++) {
				chan_reset(&f->chan);
				feed(f, "\r\nready\r\n0,CONNECT\r\n1,CONNECT\r\n");
				if (running)
					send(f, 0, "hello");
				if (running == 2)
					feed(f, "\r\nOK\r\n\r\n>");
				f->len = 0;
				f->log[0] = '\0';
				feed(f, "\r\n");
				feed(f, heads[i]);
				feed(f, pretended[k]);
				if (strncmp(f->log, "T:", 2) != 0 || strstr(f->log, "|T") ||
				    strpbrk(f->log, "RI>="))
					fail_msg("%s%s: %s", heads[i], pretended[k], f->log);
				chan_reset(&f->chan);
				f->len = 0;
			}
	f->len = 0;
	f->log[0] = '\0';
}

static void start_over(struct fixture *f)
{
	chan_reset(&f->chan);
	chan_set_syncing(&f->chan, true);
	plain(f, 0, CHAN_CONTROL);
}

/* What the firmware may say to a command about links, and what it may not. */
static void test_answers_while_links_are_open(void **state)
{
	static const struct {
		const char *command, *line;
		bool good;
	} rows[] = {
		{ "AT+CIPSTATE?", "+CIPSTATE:0,\"SSL\",\"10.0.2.2\",8443,54,0", true },
		{ "AT+CIPSTATUS", "STATUS:3", true },
		{ "AT+CIPSTATUS", "+CIPSTATUS:0,\"SSL\"", true },
		{ "AT+CIPSSLCCONF=1,2,0,0", "NO CA FOUND", true },
		{ "AT+CIPSSLCCONF=1,3,0,0", "NO CERT FOUND", true },
		{ "AT+CIPSSLCCONF=1,3,0,0", "NO PRVT_KEY FOUND", true },
		{ "AT+CIPSTART=1,\"SSL\"", "DNS Fail", true },
		{ "AT+CIPSTART=1,\"SSL\"", "ALREADY CONNECTED", true },
		{ "AT+CIPSTART=1,\"SSL\"", "+ERRNO:0x4e", true },
		{ "AT+CIPDOMAIN=\"a\"", "+CIPDOMAIN:\"10.0.2.2\"", true },
		{ "AT+CIPMUX=1", "Have 1 Connections", true },
		{ "AT+CWJAP?", "+CWJAP:\"lab\"", true },
		{ "AT+GMR", "Bin version:v4.1.0.0-dev(ESP32)", true },
		{ "AT+CIPSTART=1,\"SSL\"", "+CIPSTATE:0", false },
		{ "AT+CIPSTART=1,\"SSL\"", "0,60:abc", false },
		{ "AT+CIPCLOSE=1", "CIPCLOSE:1", false },
		{ "AT+CIPSTATE?", "+CIPSTATEX", false },
		{ "AT+CWJAP?", "+IPD,1,29204", false },
		{ "AT+CWJAP?", "+IPD,1", false }, /* an announcement, but of no link */
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		bool good;

		feed(f, "0,CONNECT\r\n");
		submit(prepare(f, 0, rows[i].command, CHAN_PLAIN, NULL), CHAN_CONTROL);
		feed(f, rows[i].line);
		feed(f, "\r\n\r\nOK\r\n");
		good = !strstr(f->log, "T:") && strstr(f->log, "|a:") && strstr(f->log, "|a=0|");
		if (good != rows[i].good || f->probes[0].dones != rows[i].good)
			fail_msg("%s, %s: %s", rows[i].command, rows[i].line, f->log);
		chan_reset(&f->chan);
		f->len = 0;
		f->log[0] = '\0';
	}
	/* Nor is it the first line of what is said next: by who starts over, and looks for the chip, at once. */
	feed(f, "0,CONNECT\r\n");
	f->len = 0;
	f->on_trouble = start_over;
	feed(f, "0,60:abc\r\n");
	expect(f, "T:a line that is no message and no answer|> AT+A|");
	f->on_trouble = NULL;
	chan_set_syncing(&f->chan, false);
	chan_reset(&f->chan);
	/* Where no link is open nobody minds: there is no server that could have said it. */
	feed(f, "0,CLOSED\r\n");
	f->len = 0;
	f->log[0] = '\0';
	feed(f, "whatever\r\n+CWJAP:1\r\n");
	expect(f, "");
}

/* Whose `ready` was lost has its echo on again, unlike one that was found. */
static void test_echo(void **state)
{
	struct fixture *f = *state;

	plain(f, 0, CHAN_CONTROL);
	feed(f, "AT+A\r\n\r\nOK\r\n");
	expect(f, "> AT+A|a:AT+A|a=0|");
	lengthy(f, "ATE0");
	feed(f, "ATE0\r\n\r\nOK\r\n");
	expect(f, "> ATE0|a:ATE0|a=0|");
	plain(f, 0, CHAN_CONTROL);
	feed(f, "AT+AB\r\n");
	expect(f, "> AT+A|a:AT+AB|");
	feed(f, "AT+A\r\n\r\nOK\r\n");
	expect(f, "T:an echo: the chip has restarted|");
	/* Who looks for it again switches it on himself. */
	chan_set_syncing(&f->chan, true);
	chan_reset(&f->chan);
	plain(f, 0, CHAN_CONTROL);
	feed(f, "AT+A\r\n\r\nOK\r\n");
	expect(f, "a=4|> AT+A|a:AT+A|a=0|");
}

/* A long command is asked about; the echo of that tells as much. */
static void test_echo_of_question(void **state)
{
	struct fixture *f = *state;

	lengthy(f, "ATE0");
	feed(f, "\r\nOK\r\n");
	lengthy(f, "AT+CIPSTART=0,\"TCP\"");
	advance(f, 3 * TIMERS_S);
	expect(f, "> ATE0|a=0|> AT+CIPSTART=0,\"TCP\"|> AT+CIPMUX?|");
	feed(f, "AT+CIPMUX?\r\n");
	expect(f, "T:an echo: the chip has restarted|");
}

/* ---- looking for a chip ---- */

static void test_syncing(void **state)
{
	struct fixture *f = *state;

	chan_set_syncing(&f->chan, true);
	feed(f, "\r\nOK\r\n>SEND OK\r\n\x01\x02garbage\xff\r\nRecv 5 bytes\r\nbusy p...\r\n"
		"+CIPRECVDATA:3,abcd\r\n");
	expect(f, "");
	plain(f, 0, CHAN_CONTROL);
	plain(f, 1, CHAN_CONTROL);
	feed(f, "\r\nSEND OK\r\n>\x01\r\n\r\nRecv 5 bytes\r\n");
	expect(f, "> AT+A|");
	advance(f, TIMEOUT + BYTES(6) + TIMERS_MS);
	expect(f, "a=3|> AT+B|"); /* silence is no trouble */
	feed(f, "\r\nOK\r\n");
	expect(f, "b=0|");
	/* Busy for ever ends with the time-out, too. */
	plain(f, 2, CHAN_CONTROL);
	for (int i = 0; i < 90; i++) {
		feed(f, "\r\nbusy p...\r\n");
		advance(f, 1001 * TIMERS_MS);
	}
	advance(f, TIMEOUT + 400 * TIMERS_MS);
	assert_int_equal(f->probes[2].dones, 1);
	assert_int_equal(f->probes[2].result, CHAN_E_TIMEOUT);
	assert_null(strstr(f->log, "T:"));
	/* And from then on everything counts again. */
	f->len = 0;
	chan_set_syncing(&f->chan, false);
	feed(f, "\r\nOK\r\n");
	expect(f, "T:a result without a command|");
}

/* Received bytes always have a link that exists. */
static void test_syncing_block_without_link(void **state)
{
	struct fixture *f = *state;

	chan_set_syncing(&f->chan, true);
	feed(f, "\r\n+IPD,3:abc\r\n\r\nfoo\r\n\r\n+IPD,2,3:def\r\n");
	assert_null(strstr(f->log, "I-1"));
	assert_null(strstr(f->log, "abc"));
}

/* ---- reset ---- */

static void reset_on_ready(struct fixture *f, const struct at_report *report)
{
	if (report->type == AT_REPORT_READY)
		chan_reset(&f->chan);
}

/* What the chip said before is history, and what comes in the same read belongs to it. */
static void test_ready_in_mid_command(void **state)
{
	struct fixture *f = *state;
	char want[64];

	f->on_report = reset_on_ready;
	send(f, 0, "hello");
	plain(f, 1, CHAN_DATA);
	plain(f, 2, CHAN_CONTROL);
	feed(f, "\r\nOK\r\n");
	f->len = 0;
	feed(f, "\r\nready\r\n\r\nOK\r\n\r\n>");
	snprintf(want, sizeof(want), "R%d,-1,0|a=4|c=4|b=4|", AT_REPORT_READY);
	expect(f, want);
	plain(f, 3, CHAN_CONTROL);
	feed(f, "\r\nOK\r\n");
	expect(f, "> AT+D|d=0|");
	advance(f, 100 * TIMERS_S);
	expect(f, "");
}

static void reset_from_done(struct probe *p)
{
	chan_reset(&p->f->chan);
}

static void test_reset_from_done(void **state)
{
	struct fixture *f = *state;

	plain(f, 0, CHAN_CONTROL)->hook = reset_from_done;
	plain(f, 1, CHAN_CONTROL)->hook = reset_from_done;
	plain(f, 2, CHAN_DATA);
	feed(f, "\r\nOK\r\n\r\nOK\r\n");
	expect(f, "> AT+A|a=0|b=4|c=4|");
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(f->probes[i].dones, 1);
}

/* From a time-out's done(): the trouble is settled already. */
static void test_reset_from_timeout(void **state)
{
	struct fixture *f = *state;

	plain(f, 0, CHAN_CONTROL)->hook = reset_from_done;
	plain(f, 1, CHAN_CONTROL);
	advance(f, 60 * TIMERS_S);
	expect(f, "> AT+A|a=3|b=4|");
	plain(f, 2, CHAN_CONTROL);
	expect(f, "> AT+C|");
}

static void reset_on_trouble(struct fixture *f)
{
	chan_reset(&f->chan);
}

static void test_reset_from_trouble(void **state)
{
	struct fixture *f = *state;

	f->on_trouble = reset_on_trouble;
	plain(f, 0, CHAN_CONTROL);
	feed(f, "\r\n>\r\nOK\r\n\r\n>");
	expect(f, "> AT+A|T:a prompt that was not asked for|a=4|");
	plain(f, 1, CHAN_CONTROL);
	feed(f, "\r\nOK\r\n");
	expect(f, "> AT+B|b=0|");
}

static void submit_next(struct probe *p)
{
	if (p[1].name)
		submit(&p[1], CHAN_DATA);
}

static void test_submit_from_done(void **state)
{
	struct fixture *f = *state;

	prepare(f, 1, "AT+B", CHAN_PLAIN, NULL);
	plain(f, 0, CHAN_DATA)->hook = submit_next;
	plain(f, 2, CHAN_CONTROL);
	feed(f, "\r\nOK\r\n");
	/* One in flight: what done() submitted was the first to be free to go. */
	assert_int_equal(f->probes[0].dones, 1);
	feed(f, "\r\nOK\r\n");
	feed(f, "\r\nOK\r\n");
	assert_int_equal(f->probes[1].dones, 1);
	assert_int_equal(f->probes[2].dones, 1);
	assert_null(strstr(f->log, "T:"));
}

static void resubmit_once(struct probe *p)
{
	if (p->dones == 1)
		submit(p, CHAN_CONTROL);
}

/* What done() submits during a reset belongs to the time after it. */
static void test_submit_during_reset(void **state)
{
	struct fixture *f = *state;

	plain(f, 0, CHAN_CONTROL)->hook = resubmit_once;
	plain(f, 1, CHAN_CONTROL)->hook = resubmit_once;
	f->len = 0;
	chan_reset(&f->chan);
	expect(f, "a=4|b=4|> AT+A|");
	feed(f, "\r\nOK\r\n\r\nOK\r\n");
	expect(f, "a=0|> AT+B|b=0|");
}

static void test_half_read_is_forgotten(void **state)
{
	struct fixture *f = *state;

	feed(f, "\r\n+IPD,1,500:abc");
	f->len = 0;
	chan_reset(&f->chan);
	plain(f, 0, CHAN_CONTROL);
	feed(f, "\r\nOK\r\n");
	expect(f, "> AT+A|a=0|");
}

static void test_deinit_ends_all(void **state)
{
	struct fixture *f = *state;

	plain(f, 0, CHAN_CONTROL);
	plain(f, 1, CHAN_DATA);
	plain(f, 2, CHAN_CONTROL);
	f->len = 0;
	chan_deinit(&f->chan);
	expect(f, "a=4|c=4|b=4|");
}

/* ---- secrets ---- */

static void assert_secrets(struct fixture *f, bool marked, const char *shown)
{
	struct probe *p = &f->probes[0];
	char out[4096] = "";
	int fd = memfd_create("stderr", 0), saved = dup(STDERR_FILENO);

	assert_true(fd >= 0 && saved >= 0);
	prepare(f, 0, "AT+X", CHAN_BLOCK, "the payload of a key");
	at_line_begin(&p->cmd.line, "AT+CWJAP");
	at_line_string(&p->cmd.line, "lab");
	if (marked)
		at_line_secret_string(&p->cmd.line, "hunter2hunter2");
	else
		at_line_string(&p->cmd.line, "hunter2hunter2");
	assert_int_equal(at_line_end(&p->cmd.line), 0);
	p->cmd.secret = !marked;
	dup2(fd, STDERR_FILENO);
	log_set_level(LOG_LEVEL_DEBUG);
	submit(p, CHAN_CONTROL);
	feed(f, "AT+CWJAP=\"lab\",\"hunter2hunter2\"\r\n\r\nOK\r\n\r\n>\r\nOK\r\n");

	log_set_level(LOG_LEVEL_INFO);
	dup2(saved, STDERR_FILENO);
	close(saved);
	assert_true(pread(fd, out, sizeof(out) - 1, 0) > 0);
	close(fd);
	assert_non_null(strstr(out, shown));
	assert_null(strstr(out, "hunter2"));
	assert_null(strstr(out, "payload"));
	assert_int_equal(p->result, CHAN_OK);
	assert_int_equal(p->cmd.line.len, 0);
	for (size_t i = 0; i < sizeof(p->cmd.line.text); i++)
		assert_int_equal(p->cmd.line.text[i], 0);
	p->cmd.secret = false;
}

static void test_secrets(void **state)
{
	assert_secrets(*state, false, "> AT+CWJAP=<secret>");
	/* The encoder knows which argument it is, and that is enough. */
	assert_secrets(*state, true, "> AT+CWJAP=\"lab\",<secret>");
}

static void test_results_have_words(void **state)
{
	for (int i = CHAN_OK; i <= CHAN_E_RESET; i++)
		for (int k = CHAN_OK; k < i; k++)
			assert_string_not_equal(chan_result_text((enum chan_result)i),
						chan_result_text((enum chan_result)k));
}

/*
 * Two bytes of a block were lost: it takes its own line end as data, and the next message's as its
 * end. That message then stands without its empty line, and the block must not be believed.
 */
static void test_swallowed_line_end(void **state)
{
	static const char *const next[] = {
		"SEND OK\r\n", "Recv 5 bytes\r\n", "OK\r\n", "ERROR\r\n", "+IPD,1,3:xyz\r\n", ">",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(next) / sizeof(*next); i++) {
		feed(f, "\r\n+IPD,0,5:abc\r\n\r\n");
		/* Nothing came behind it: it is believed, there is no more to go by. */
		expect(f, "I0+abc\\x0d\\x0a|I0.|");
		chan_reset(&f->chan);
		for (size_t cut = 1; cut <= strlen(next[i]); cut++) {
			char text[64];

			snprintf(text, sizeof(text), "\r\n+IPD,0,5:abc\r\n\r\n%.*s", (int)cut,
				 next[i]);
			feed(f, text);
			feed(f, next[i] + cut);
			expect(f, "I0+abc\\x0d\\x0a|T:a line without its line end in front|");
			chan_reset(&f->chan);
		}
	}
}

/* What may stand right behind a block confirms it, before it is acted upon itself. */
static void test_block_confirmed(void **state)
{
	struct fixture *f = *state;
	char want[64];

	feed(f, "\r\n+IPD,0,3:abc\r\n0,CLOSED\r\n");
	snprintf(want, sizeof(want), "I0+abc|I0.|R%d,0,0|", AT_REPORT_CLOSED);
	expect(f, want);
	feed(f, "\r\n+IPD,0,3:abc\r\n\r\n+IPD,1,3:xyz\r\n\r");
	expect(f, "I0+abc|I0.|I1+xyz|");
	feed(f, "\n+IPD,2,7\r\n");
	snprintf(want, sizeof(want), "I1.|R%d,2,7|", AT_REPORT_IPD);
	expect(f, want);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_one_in_flight),
		T(test_shares),
		T(test_share_bounds),
		T(test_stream),
		T(test_stream_window),
		T(test_control_lane_first),
		T(test_payload_after_prompt),
		T(test_payload_is_one_write),
		T(test_prompt_without_ok),
		T(test_refused_before_payload),
		T(test_doubt),
		T(test_doubt_of_a_block),
		T(test_shorter_for_the_chip),
		T(test_verdict_before_prompt),
		T(test_timeout),
		T(test_timeout_of_each_phase),
		T(test_slow_line_takes_longer),
		T(test_what_comes_first_takes_its_time),
		T(test_block_that_does_not_go_on),
		T(test_asked_and_busy),
		T(test_asked_and_idle),
		T(test_asked_at_the_end),
		T(test_asked_and_damaged),
		T(test_asked_again),
		T(test_asked_and_deaf),
		T(test_not_asked_in_a_block),
		T(test_asked_for_a_verdict),
		T(test_not_asked_while_it_is_looked_for),
		T(test_what_is_left_open),
		T(test_busy_is_written_again),
		T(test_busy_storm_is_one),
		T(test_busy_then_answer),
		T(test_busy_for_too_long),
		T(test_reports_within_a_reply),
		T(test_reports_between_commands),
		T(test_damaged_block),
		T(test_blob),
		T(test_stray),
		T(test_stray_within_a_command),
		T(test_missing_empty_line),
		T(test_damaged_head),
		T(test_answers_while_links_are_open),
		T(test_echo),
		T(test_echo_of_question),
		T(test_syncing),
		T(test_syncing_block_without_link),
		T(test_ready_in_mid_command),
		T(test_reset_from_done),
		T(test_reset_from_timeout),
		T(test_reset_from_trouble),
		T(test_submit_from_done),
		T(test_submit_during_reset),
		T(test_half_read_is_forgotten),
		T(test_deinit_ends_all),
		T(test_secrets),
		T(test_results_have_words),
		T(test_swallowed_line_end),
		T(test_block_confirmed),
	};

	return cmocka_run_group_tests_name("chan", tests, NULL, NULL);
}
