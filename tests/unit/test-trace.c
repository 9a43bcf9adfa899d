/* SPDX-License-Identifier: MIT */
/*
 * The trace of a channel that talks to a scripted chip, on a virtual clock. What is written is read by
 * the rules of the recordings that it is to be like, not by the code that writes it.
 */
#include "pass-time.h"
#include "test.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/trace.h"
#include "temp-dir.h"

/* In every secret, and nowhere else. */
#define MARK "K3Y"

struct bytes {
	size_t len;
	uint8_t data[1 << 18];
};

struct fixture {
	struct timers timers;
	struct chan chan;
	struct chan_cmd cmd, next;
	struct trace *trace;
	int fd; /* of the file */
	char why[128];
	unsigned int ends;
	bool then_next; /* the end of one command submits another */
	unsigned int troubles;
	struct bytes to, from; /* the chip, as it was */
};

static void bytes_put(struct bytes *b, const void *data, size_t len)
{
	assert_true(b->len + len <= sizeof(b->data));
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

/* ---- the channel ---- */

static void on_write(void *userdata, const void *data, size_t len)
{
	struct fixture *f = userdata;

	bytes_put(&f->to, data, len);
}

static void on_report(void *userdata, const struct at_report *report)
{
}

static void on_ipd(void *userdata, int link, const uint8_t *data, size_t len)
{
}

/* As a device does. */
static void on_trouble(void *userdata, const char *what)
{
	struct fixture *f = userdata;

	f->troubles++;
	chan_set_syncing(&f->chan, true);
	chan_reset(&f->chan);
}

static void on_trace(void *userdata, const struct chan_piece *piece)
{
	struct fixture *f = userdata;

	if (f->trace)
		trace_piece(f->trace, "esp0", piece);
}

static const struct chan_ops ops = {
	.write = on_write,
	.report = on_report,
	.ipd = on_ipd,
	.trouble = on_trouble,
	.trace = on_trace,
};

static void on_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct fixture *f = container_of(cmd, struct fixture, cmd);

	if (!f->then_next)
		return;
	f->then_next = false;
	chan_submit(&f->chan, CHAN_CONTROL, &f->next);
}

static void on_next_done(struct chan_cmd *cmd, enum chan_result result)
{
}

static void on_data(struct chan_cmd *cmd, const struct at_block *block, const uint8_t *data,
		    size_t len)
{
}

static void on_ended(void *userdata, const char *why)
{
	struct fixture *f = userdata;

	f->ends++;
	snprintf(f->why, sizeof(f->why), "%s", why);
}

static void feed(struct fixture *f, const void *data, size_t len)
{
	bytes_put(&f->from, data, len);
	chan_feed(&f->chan, data, len);
}

static void say(struct fixture *f, const char *text)
{
	feed(f, text, strlen(text));
}

static void advance(struct fixture *f, uint64_t delay)
{
	pass_time(&f->timers, delay);
}

/* The line of the command was begun. */
static void run(struct fixture *f)
{
	assert_int_equal(at_line_end(&f->cmd.line), 0);
	f->cmd.timeout = 5 * TIMERS_S;
	f->cmd.done = on_done;
	chan_submit(&f->chan, CHAN_CONTROL, &f->cmd);
}

static void command(struct fixture *f, const char *line, const char *answer)
{
	chan_cmd_begin(&f->cmd, line);
	run(f);
	say(f, answer);
}

static void trace_into(struct fixture *f, int fd, uint64_t max_bytes, uint32_t max_seconds)
{
	assert_int_equal(
		trace_new(&f->trace, &f->timers, fd, "a test", max_bytes, max_seconds, on_ended, f),
		0);
}

static void begin(struct fixture *f)
{
	memset(f, 0, offsetof(struct fixture, to));
	f->to.len = 0;
	f->from.len = 0;
	timers_init(&f->timers);
	timers_set_now(&f->timers, 1000 * TIMERS_S);
	assert_int_equal(chan_init(&f->chan, "esp0", &f->timers, &ops, f), 0);
	chan_set_trace(&f->chan, true);
	chan_found(&f->chan);
	f->fd = memfd_create("trace", MFD_CLOEXEC);
	assert_true(f->fd >= 0);
}

static void end(struct fixture *f)
{
	f->then_next = false;
	chan_deinit(&f->chan);
	f->trace = trace_free(f->trace, "the test's end");
	timers_deinit(&f->timers);
	close(f->fd);
}

static int setup(void **state)
{
	static struct fixture f;

	begin(&f);
	trace_into(&f, dup(f.fd), 0, 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	end(*state);
	return 0;
}

/* ---- what was written ---- */

static const char *written(struct fixture *f)
{
	static char text[1 << 20];
	struct stat st;

	assert_int_equal(fstat(f->fd, &st), 0);
	assert_true((size_t)st.st_size < sizeof(text));
	assert_int_equal(pread(f->fd, text, (size_t)st.st_size, 0), st.st_size);
	text[st.st_size] = '\0';
	assert_int_equal(strlen(text), st.st_size);
	return text;
}

/* Ends the trace and returns it without its first line, which has the date. */
static const char *finish(struct fixture *f)
{
	static const char first[] = "    0.000 # a test, begun at 20";
	const char *text;

	f->trace = trace_free(f->trace, "the test's end");
	text = written(f);
	assert_memory_equal(text, first, strlen(first));
	return strchr(text, '\n') + 1;
}

/* What stands between quotes, as bytes; what is masked is left out and counted. */
static void unescape(const char *text, size_t len, struct bytes *ret, size_t *masks)
{
	static const char simple[] = "r\rn\nt\t\"\"\\\\";
	const char *stop = text + len;

	while (text < stop) {
		uint8_t c = (uint8_t)*text++;

		assert_in_range(c, 0x20, 0x7e);
		assert_int_not_equal(c, '"');
		assert_false(c == '@' && text < stop && *text == '{'); /* a placeholder */
		if (c == '<') {
			text = memchr(text, '>', (size_t)(stop - text));
			assert_non_null(text++);
			++*masks;
			continue;
		}
		if (c == '\\' && *text == 'x') {
			char hex[3] = { text[1], text[2], '\0' };

			assert_true(isxdigit(hex[0]) && isxdigit(hex[1]));
			c = (uint8_t)strtoul(hex, NULL, 16);
			text += 3;
		} else if (c == '\\') {
			const char *known = strchr(simple, *text);

			assert_non_null(known);
			c = (uint8_t)known[1];
			text++;
		}
		bytes_put(ret, &c, 1);
	}
	assert_ptr_equal(text, stop);
}

struct recording {
	struct bytes to, from;
	size_t masks, comments;
};

static void parse(const char *text, struct recording *ret)
{
	double last = 0;

	ret->to.len = 0;
	ret->from.len = 0;
	ret->masks = 0;
	ret->comments = 0;
	while (*text) {
		const char *eol = strchr(text, '\n');
		double time;
		int n = 0;

		assert_non_null(eol);
		assert_int_equal(sscanf(text, " %lf %n", &time, &n), 1);
		assert_true(time >= last);
		last = time;
		text += n;
		if (*text == '#') {
			assert_int_equal(text[1], ' ');
			ret->comments++;
		} else {
			bool to = strncmp(text, "H>D \"", 5) == 0;

			assert_true(to || strncmp(text, "D>H \"", 5) == 0);
			assert_int_equal(eol[-1], '"');
			unescape(text + 5, (size_t)(eol - 1 - (text + 5)),
				 to ? &ret->to : &ret->from, &ret->masks);
		}
		text = eol + 1;
	}
}

static struct recording recording; /* too large for a stack */

static void assert_same(const struct bytes *a, const struct bytes *b)
{
	assert_int_equal(a->len, b->len);
	assert_memory_equal(a->data, b->data, a->len);
}

/* ---- what is shown ---- */

static void test_lines(void **state)
{
	struct fixture *f = *state;

	say(f, "\r\nready\r\n");
	advance(f, 1500 * TIMERS_MS);
	command(f, "AT+GMR", "AT version:3.5\r\nSDK \"v5\"\r\n\r\nOK\r\n");
	advance(f, 2 * TIMERS_MS);
	chan_write(&f->chan, "+++", 3);
	assert_string_equal(finish(f), "    0.000 # device esp0\n"
				       "    0.000 D>H \"\\r\\nready\\r\\n\"\n"
				       "    1.500 H>D \"AT+GMR\\r\\n\"\n"
				       "    1.500 D>H \"AT version:3.5\\r\\n\"\n"
				       "    1.500 D>H \"SDK \\\"v5\\\"\\r\\n\"\n"
				       "    1.500 D>H \"\\r\\nOK\\r\\n\"\n"
				       "    1.502 H>D \"+++\"\n"
				       "    1.502 # end: the test's end\n");
}

/* The same without what is no line, which is trouble. */
static void test_odd_lines(void **state)
{
	struct fixture *f = *state;

	say(f, "ets Jul 29 2019 <x> @{FILE:x}\r\n");
	chan_set_syncing(&f->chan, true);
	say(f, "\x80\n\r\n\r\nhalf a line");
	chan_reset(&f->chan);
	assert_string_equal(finish(f),
			    "    0.000 # device esp0\n"
			    "    0.000 D>H \"ets Jul 29 2019 \\x3cx> @\\x7bFILE:x}\\r\\n\"\n"
			    "    0.000 D>H \"\\x80\\n\"\n"
			    "    0.000 D>H \"\\r\\n\\r\\nhalf a line\"\n"
			    "    0.000 # end: the test's end\n");
}

/* What goes over the line is there, byte for byte, however it is cut and whatever it is. */
static void test_replays(void **state)
{
	static const char *const answers[] = {
		"\r\nOK\r\n",
		"AT+X\r\n\r\nERROR\r\n",
		"+X:\"a,b\"\r\n\r\n\r\nunexpected\r\n+Y:\\\r\nOK\r\n",
		"\r\nbusy p...\r\n\r\nOK\r\n",
		"WIFI CONNECTED\r\n=> \r\n\r\nOK\r\n",
	};
	uint64_t seed = 0x5eed0017;
	struct fixture *f = *state;

	for (int round = 0; round < 500; round++) {
		const char *answer =
			answers[test_random_below(&seed, sizeof(answers) / sizeof(*answers))];
		uint8_t noise[2000];
		size_t len = test_random_below(&seed, round % 20 ? 30 : sizeof(noise)), n;

		for (size_t i = 0; i < len; i++)
			noise[i] = (uint8_t)(test_random_below(&seed, 2)
						     ? test_random(&seed) >> 8
						     : (uint8_t) "\r\n<>{@\"\\"[test_random_below(
							       &seed, 8)]);
		/* Not the head of a block. */
		for (size_t i = 0; i < len; i++)
			noise[i] = noise[i] == '+' ? '-' : noise[i];
		chan_set_syncing(&f->chan, true);
		chan_found(&f->chan);
		for (size_t i = 0; i < len; i += n) {
			n = test_random_below(&seed, 20) + 1;
			n = n < len - i ? n : len - i;
			feed(f, noise + i, n);
			advance(f, test_random_below(&seed, 3) * 40 * TIMERS_MS);
		}
		chan_reset(&f->chan);
		chan_set_syncing(&f->chan, false);
		chan_cmd_begin(&f->cmd, "AT+X");
		run(f);
		for (size_t i = 0; i < strlen(answer); i += n) {
			n = test_random_below(&seed, 6) + 1;
			n = n < strlen(answer) - i ? n : strlen(answer) - i;
			feed(f, answer + i, n);
		}
		assert_int_equal(f->troubles, 0);
	}
	parse(finish(f), &recording);
	assert_int_equal(recording.masks, 0);
	assert_int_equal(recording.comments, 2); /* the device, the end */
	assert_same(&recording.to, &f->to);
	assert_same(&recording.from, &f->from);
}

/* ---- what is not ---- */

/* Also in no other form: what chip and recording escape is cut between the marks. */
static const char secret[] = MARK ",a\"" MARK "\\r<{" MARK "x" MARK;
static const char secret_escaped[] = MARK "\\,a\\\"" MARK "\\\\r<{" MARK "x" MARK;

static void test_secrets(void **state)
{
	static const char blob[] = "-----BEGIN\n" MARK "\n" MARK "\r\n";
	struct fixture *f = *state;
	char text[512];

	chan_cmd_begin(&f->cmd, "AT+CWJAP");
	at_line_string(&f->cmd.line, "lab");
	at_line_secret_string(&f->cmd.line, secret);
	at_line_string(&f->cmd.line, "10:01:00:c4:0a:51");
	run(f);
	snprintf(text, sizeof(text),
		 "AT+CWJAP=\"lab\",\"%s\",\"10:01:00:c4:0a:51\"\r\n+CWJAP:4\r\n\r\nERROR\r\n",
		 secret_escaped);
	say(f, text);

	/* Nobody has said which argument it is. */
	chan_cmd_begin(&f->cmd, "AT+CIPSSLCPSK");
	at_line_int(&f->cmd.line, 1);
	at_line_string(&f->cmd.line, secret);
	f->cmd.secret = true;
	run(f);
	say(f, "\r\nOK\r\n");

	/* A key is written. */
	chan_cmd_begin(&f->cmd, "AT+SYSMFG=2,\"client_key\",\"client_key.0\",8,22");
	f->cmd.kind = CHAN_BLOCK;
	f->cmd.payload = blob;
	f->cmd.payload_len = strlen(blob);
	run(f);
	say(f, "\r\nOK\r\n\r\n>\r\nOK\r\n");

	/* And read. */
	chan_cmd_begin(&f->cmd, "AT+SYSMFG=1,\"client_key\",\"client_key.0\"");
	f->cmd.on_data = on_data;
	f->cmd.secret_reply = true;
	run(f);
	snprintf(text, sizeof(text), "+SYSMFG:\"client_key\",\"client_key.0\",8,%zu,%s\r\n",
		 strlen(blob), blob);
	say(f, text);
	say(f, "\r\nOK\r\n");

	/* Somebody has typed it. */
	chan_cmd_begin(&f->cmd, "");
	at_line_raw(&f->cmd.line, "at+cwsap=\"x\",\"" MARK "\",1,3");
	run(f);
	say(f, "\r\nOK\r\n");

	/* Clients' */
	say(f, "3,CONNECT\r\n");
	chan_cmd_begin(&f->cmd, "AT+CIPSEND=3,6");
	f->cmd.kind = CHAN_SEND;
	f->cmd.payload = MARK MARK;
	f->cmd.payload_len = 6;
	run(f);
	say(f, "\r\nOK\r\n\r\n>\r\nRecv 6 bytes\r\n\r\nSEND OK\r\n");
	say(f, "\r\n+IPD,3,7:" MARK MARK "\n\r\n3,CLOSED\r\n");
	assert_int_equal(f->troubles, 0);

	assert_string_equal(
		finish(f),
		"    0.000 # device esp0\n"
		"    0.000 H>D \"AT+CWJAP=\\\"lab\\\",<secret>,\\\"10:01:00:c4:0a:51\\\"\\r\\n\"\n"
		"    0.000 D>H \"<60 bytes>\\r\\n\"\n"
		"    0.000 D>H \"<8 bytes>\\r\\n\"\n"
		"    0.000 D>H \"\\r\\nERROR\\r\\n\"\n"
		"    0.000 H>D \"AT+CIPSSLCPSK=<secret>\\r\\n\"\n"
		"    0.000 D>H \"\\r\\nOK\\r\\n\"\n"
		"    0.000 H>D \"AT+SYSMFG=2,\\\"client_key\\\",\\\"client_key.0\\\",8,22\\r\\n\"\n"
		"    0.000 D>H \"\\r\\nOK\\r\\n\"\n"
		"    0.000 D>H \"\\r\\n>\"\n"
		"    0.000 H>D \"<20 bytes>\"\n"
		"    0.000 D>H \"\\r\\nOK\\r\\n\"\n"
		"    0.000 H>D \"AT+SYSMFG=1,\\\"client_key\\\",\\\"client_key.0\\\"\\r\\n\"\n"
		"    0.000 D>H \"+SYSMFG:\\\"client_key\\\",\\\"client_key.0\\\",8,20,<20 "
		"bytes>\\r\\n\"\n"
		"    0.000 D>H \"\\r\\nOK\\r\\n\"\n"
		"    0.000 H>D \"at+cwsap=<secret>\\r\\n\"\n"
		"    0.000 D>H \"\\r\\nOK\\r\\n\"\n"
		"    0.000 D>H \"3,CONNECT\\r\\n\"\n"
		"    0.000 H>D \"AT+CIPSEND=3,6\\r\\n\"\n"
		"    0.000 D>H \"\\r\\nOK\\r\\n\"\n"
		"    0.000 D>H \"\\r\\n>\"\n"
		"    0.000 H>D \"<6 bytes>\"\n"
		"    0.000 D>H \"\\r\\nRecv 6 bytes\\r\\n\"\n"
		"    0.000 D>H \"\\r\\nSEND OK\\r\\n\"\n"
		"    0.000 D>H \"\\r\\n+IPD,3,7:<7 bytes>\\r\\n\"\n"
		"    0.000 D>H \"3,CLOSED\\r\\n\"\n"
		"    0.000 # end: the test's end\n");
}

/* No piece of it, whichever bytes are next to each other. */
static void assert_unmarked(struct fixture *f, const char *what, size_t at)
{
	const char *text = finish(f);

	parse(text, &recording);
	if (memmem(recording.from.data, recording.from.len, MARK, 3) ||
	    memmem(recording.to.data, recording.to.len, MARK, 3) || strstr(text, MARK))
		fail_msg("%s, byte %zu:\n%s", what, at, text);
}

/* What a line does to one byte, or two. */
static size_t damage(char *buf, size_t len, size_t at, int kind)
{
	static const char instead[] = "\r\nx,:\x01";

	switch (kind) {
	case 0:
	case 1:
		if (at + (size_t)kind + 1 > len)
			return len;
		memmove(buf + at, buf + at + kind + 1, len - at - (size_t)kind - 1);
		return len - (size_t)kind - 1;
	case 2:
		buf[at] ^= 1;
		return len;
	case 3:
		memmove(buf + at + 1, buf + at, len - at);
		return len + 1;
	default:
		buf[at] = instead[(size_t)(kind - 4) % (sizeof(instead) - 1)];
		return len;
	}
}

#define DAMAGES 10

/*
 * @stream is said with each damage in each place: at once, byte by byte, or with a pause in which the
 * command is given up; then the chip is looked for.
 */
static void say_damaged(const char *what, const char *stream, void (*prepare)(struct fixture *f))
{
	static struct fixture f;
	size_t total = strlen(stream);

	for (size_t at = 0; at < total; at++)
		for (int kind = 0; kind < DAMAGES; kind++)
			for (size_t cut = 0; cut < 3; cut++) {
				char buf[1024];
				size_t len = total, n;

				memcpy(buf, stream, total);
				len = damage(buf, len, at, kind);
				begin(&f);
				trace_into(&f, dup(f.fd), 0, 0);
				prepare(&f);
				for (size_t i = 0; i < len; i += n) {
					n = cut == 0 ? len : cut == 1 ? 1 : at + 3;
					n = n < len - i ? n : len - i;
					feed(&f, buf + i, n);
					if (cut == 2)
						advance(&f, 20 * TIMERS_S);
				}
				advance(&f, 20 * TIMERS_S);
				if (f.troubles == 0)
					on_trouble(&f, "the end");
				command(&f, "ATE1", "ATE1\r\n\r\nOK\r\n");
				assert_unmarked(&f, what, at);
				end(&f);
			}
}

static void prepare_next(struct fixture *f)
{
	chan_cmd_begin(&f->next, "AT+CWJAP?");
	assert_int_equal(at_line_end(&f->next.line), 0);
	f->next.timeout = 5 * TIMERS_S;
	f->next.done = on_next_done;
	f->then_next = true;
}

static void prepare_read(struct fixture *f)
{
	prepare_next(f);
	chan_cmd_begin(&f->cmd, "AT+SYSMFG=1,\"client_key\",\"client_key.0\"");
	f->cmd.on_data = on_data;
	f->cmd.secret_reply = true;
	run(f);
}

static void test_damaged_key(void **state)
{
	say_damaged("with LF",
		    "+SYSMFG:\"client_key\",\"client_key.0\",8,24," MARK "\n" MARK "\n" MARK
		    "\n" MARK "\n" MARK "\n" MARK "\n\r\n\r\nOK\r\n",
		    prepare_read);
	say_damaged("with CRLF",
		    "+SYSMFG:\"client_key\",\"client_key.0\",8,25," MARK "\r\n" MARK "\r\n" MARK
		    "\r\n" MARK "\r\n" MARK "\r\n\r\n\r\nOK\r\n",
		    prepare_read);
	say_damaged("with an OK in it",
		    "+SYSMFG:\"client_key\",\"client_key.0\",8,36," MARK "\r\n" MARK "\r\n\r\nOK"
		    "\r\n\r\n>\r\n" MARK "\r\n" MARK "\r\n+X\r\n\r\n\r\nOK\r\n",
		    prepare_read);
}

static void prepare_join(struct fixture *f)
{
	prepare_next(f);
	chan_cmd_begin(&f->cmd, "AT+CWJAP");
	at_line_string(&f->cmd.line, "lab");
	at_line_secret_string(&f->cmd.line, secret);
	run(f);
}

/* With echo on, as after a reset that nobody has noticed. */
static void test_damaged_echo(void **state)
{
	char stream[256];

	snprintf(stream, sizeof(stream), "AT+CWJAP=\"lab\",\"%s\"\r\n\r\nOK\r\n", secret_escaped);
	say_damaged("echo", stream, prepare_join);
}

static const char received[] = "\r\n+IPD,0,20:" MARK "\r\n" MARK "\r\n" MARK "\r\n" MARK
			       "\r\n\r\n\r\n+IPD,0,6:" MARK MARK "\r\n0,CLOSED\r\n";

static void prepare_open(struct fixture *f)
{
	say(f, "0,CONNECT\r\n");
}

static void prepare_connect(struct fixture *f)
{
	prepare_open(f);
	chan_cmd_begin(&f->cmd, "AT+CIPSTART=1,\"SSL\",\"x\",1");
	run(f);
}

static void prepare_send(struct fixture *f)
{
	prepare_open(f);
	chan_cmd_begin(&f->cmd, "AT+CIPSEND=0,6");
	f->cmd.kind = CHAN_SEND;
	f->cmd.payload = MARK MARK;
	f->cmd.payload_len = 6;
	run(f);
	say(f, "\r\nOK\r\n\r\n>");
}

/* A chip that was already there, in the middle of it. */
static void prepare_unknown(struct fixture *f)
{
	chan_deinit(&f->chan);
	assert_int_equal(chan_init(&f->chan, "esp0", &f->timers, &ops, f), 0);
	chan_set_trace(&f->chan, true);
	chan_set_syncing(&f->chan, true);
}

static void test_damaged_data(void **state)
{
	say_damaged("idle", received, prepare_open);
	say_damaged("while connecting", received, prepare_connect);
	say_damaged("while sending", received, prepare_send);
	say_damaged("from before", received, prepare_unknown);
}

/* A restarted chip has its echo on, and takes the rest of a block for a command. */
static void test_echoed_payload(void **state)
{
	struct fixture *f = *state;

	prepare_send(f);
	say(f, "\r\nready\r\n" MARK MARK "\r\n\r\nERROR\r\n");
	assert_unmarked(f, "echoed payload", 0);
}

/* A command that is given up still gets an answer. */
static void test_late_answer(void **state)
{
	struct fixture *f = *state;

	prepare_read(f);
	f->then_next = false;
	advance(f, 100 * TIMERS_S);
	assert_int_equal(f->troubles, 1);
	command(f, "ATE1", "\r\n+SYSMFG:\"client" MARK "\r\n" MARK "\r\n\r\nOK\r\n");
	say(f, MARK "\r\n");
	assert_unmarked(f, "late answer", 0);
}

/* It was asked for by somebody before us, and its length is damaged. */
static void test_block_of_nobody(void **state)
{
	struct fixture *f = *state;

	chan_set_syncing(&f->chan, true);
	say(f, "+SYSMFG:\"a\",\"b\",8,5," MARK "\r\n\r\n" MARK "\r\n" MARK "\r\n");
	assert_unmarked(f, "block of nobody", 0);
}

/* Nobody knows of an open link, and yet it is there. */
static void test_rest_of_a_block(void **state)
{
	static const char *const rests[] = {
		"\r\n+IPD,7,20:" MARK "\r\n" MARK "\r\n" MARK "\r\n",
		"\r\n+IPD,0,3:" MARK "x" MARK "\r\n" MARK "\r\n" MARK "\r\n",
		"\r\n+IPD,0,18:" MARK "|\r\n" MARK "\r\n" MARK "\r\n",
		"0,CONNECT\r\n" MARK "\r\n0,CLOSED\r\n" MARK "\r\n" MARK "\r\n",
	};
	static struct fixture f;

	for (size_t i = 0; i < ARRAY_SIZE(rests); i++) {
		begin(&f);
		trace_into(&f, dup(f.fd), 0, 0);
		for (const char *c = rests[i]; *c; c++) {
			if (*c == '|')
				on_trouble(&f, "a command without an answer");
			else
				feed(&f, c, 1);
		}
		assert_unmarked(&f, "rest of a block", i);
		end(&f);
	}
}

/* When all is over, other answers are shown again. */
static void test_shown_again(void **state)
{
	struct fixture *f = *state;

	prepare_read(f);
	f->then_next = false;
	say(f, "+SYSMFG:\"client_key\",\"client_key.0\",8,3," MARK "\r\n\r\nOK\r\n");
	command(f, "AT+GMR", "AT version:1\r\n\r\nOK\r\n");
	say(f, "Guru Meditation\r\n");
	say(f, "0,CONNECT\r\n");
	command(f, "AT+CIPSTATE?", "+CIPSTATE:0,\"x\"\r\n\r\nOK\r\n");
	say(f, "who said that\r\n");
	say(f, "0,CLOSED\r\n");
	on_trouble(f, "a test");
	chan_set_syncing(&f->chan, false);
	chan_found(&f->chan);
	say(f, "anything\r\n");
	parse(finish(f), &recording);
	assert_non_null(memmem(recording.from.data, recording.from.len, "AT version:1", 12));
	assert_non_null(memmem(recording.from.data, recording.from.len, "Guru", 4));
	assert_non_null(memmem(recording.from.data, recording.from.len, "+CIPSTATE:0,\"x\"", 15));
	assert_null(memmem(recording.from.data, recording.from.len, "who", 3));
	assert_non_null(memmem(recording.from.data, recording.from.len, "anything", 8));
}

/* ---- blocks in parts ---- */

static void test_block_in_parts(void **state)
{
	struct fixture *f = *state;

	say(f, "0,CONNECT\r\n\r\n+IPD,0,10:ab");
	advance(f, 10 * TIMERS_MS);
	say(f, "cd");
	/* Something goes the other way meanwhile. */
	chan_cmd_begin(&f->cmd, "AT+CIPSTATE?");
	run(f);
	say(f, "efg");
	/* It does not go on. */
	advance(f, 1500 * TIMERS_MS);
	say(f, "hij\r\n\r\nOK\r\n");
	assert_string_equal(finish(f), "    0.000 # device esp0\n"
				       "    0.000 D>H \"0,CONNECT\\r\\n\"\n"
				       "    0.000 D>H \"\\r\\n+IPD,0,10:<4 bytes>\"\n"
				       "    0.010 H>D \"AT+CIPSTATE?\\r\\n\"\n"
				       "    0.010 D>H \"<3 bytes>\"\n"
				       "    1.510 D>H \"<3 bytes>\\r\\n\"\n"
				       "    1.510 D>H \"\\r\\nOK\\r\\n\"\n"
				       "    1.510 # end: the test's end\n");
}

/* ---- several chips ---- */

static void test_several_devices(void **state)
{
	struct chan_piece line = { .data = "AT\r\n", .len = 4, .end = true, .sent = true };
	struct chan_piece part = { .data = "+X", .len = 2 };
	struct fixture *f = *state;

	trace_note(f->trace, "esp0", "the port is open\n");
	trace_piece(f->trace, "esp0", &line);
	trace_piece(f->trace, "esp0", &part);
	trace_piece(f->trace, "esp1", &part);
	trace_piece(f->trace, "esp1", &line);
	trace_piece(f->trace, "esp0", &line);
	assert_string_equal(finish(f), "    0.000 # device esp0\n"
				       "    0.000 # the port is open?\n"
				       "    0.000 H>D \"AT\\r\\n\"\n"
				       "    0.000 D>H \"+X\"\n"
				       "    0.000 # device esp1\n"
				       "    0.000 D>H \"+X\"\n"
				       "    0.000 H>D \"AT\\r\\n\"\n"
				       "    0.000 # device esp0\n"
				       "    0.000 H>D \"AT\\r\\n\"\n"
				       "    0.000 # end: the test's end\n");
}

/* ---- limits ---- */

static const char *last_line(const char *text)
{
	const char *last = text + strlen(text) - 1;

	assert_int_equal(*last, '\n');
	while (last > text && last[-1] != '\n')
		last--;
	return last;
}

static void test_seconds(void **state)
{
	struct fixture *f = *state;

	advance(f, 599 * TIMERS_S);
	say(f, "\r\nready\r\n+X");
	assert_int_equal(f->ends, 0);
	advance(f, 1 * TIMERS_S);
	assert_int_equal(f->ends, 1);
	assert_string_equal(f->why, "the limit of 600 s");
	say(f, ":1\r\n");
	advance(f, 10 * TIMERS_S);
	assert_int_equal(f->ends, 1);
	assert_string_equal(finish(f), "  599.000 # device esp0\n"
				       "  599.000 D>H \"\\r\\nready\\r\\n\"\n"
				       "  600.000 # end: the limit of 600 s\n");
}

static void test_endless(void **state)
{
	struct fixture *f = *state;

	trace_free(f->trace, "");
	trace_into(f, dup(f->fd), 0, TRACE_SECONDS_ENDLESS);
	advance(f, 10 * TRACE_SECONDS_MAX * TIMERS_S);
	assert_int_equal(f->ends, 0);
}

static void test_max_bytes(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	f->trace = trace_free(f->trace, "");
	for (uint64_t max = TRACE_BYTES_MIN; max < TRACE_BYTES_MIN + 300; max += 7) {
		assert_int_equal(ftruncate(f->fd, 0), 0);
		lseek(f->fd, 0, SEEK_SET);
		f->ends = 0;
		trace_into(f, dup(f->fd), max, 0);
		for (int i = 0; i < 1000; i++)
			say(f, "a line of some length\r\n");
		f->from.len = 0;
		assert_int_equal(f->ends, 0); /* never within a call */
		advance(f, 1 * TIMERS_S);
		assert_int_equal(f->ends, 1);
		f->trace = trace_free(f->trace, "not this");
		assert_int_equal(fstat(f->fd, &st), 0);
		assert_in_range(st.st_size, max - 1024, max);
		assert_non_null(strstr(last_line(written(f)), "# end: the limit of 4"));
		parse(written(f), &recording);
	}
}

/* ---- readers ---- */

static size_t count_dropped(const char *text)
{
	size_t n = 0, sum = 0;

	for (const char *p = text; (p = strstr(p, " lines dropped\n")); p++) {
		const char *number = p;

		while (number[-1] != ' ')
			number--;
		assert_int_equal(sscanf(number, "%zu", &n), 1);
		sum += n;
	}
	return sum;
}

/* All that can be read now. */
static void drain(int fd, char *buf, size_t size)
{
	size_t len = strlen(buf);
	ssize_t n;

	while ((n = recv(fd, buf + len, size - len - 1, MSG_DONTWAIT)) > 0 ||
	       (n < 0 && errno == ENOTSOCK && (n = read(fd, buf + len, size - len - 1)) > 0))
		len += (size_t)n;
	buf[len] = '\0';
}

static void say_more(struct fixture *f)
{
	for (int i = 0; i < 5000; i++)
		say(f, "a line\r\n");
	f->from.len = 0;
}

static void slow_reader(struct fixture *f, int fds[2])
{
	static char out[4 << 20];
	size_t told = 0;

	f->trace = trace_free(f->trace, "");
	trace_into(f, fds[1], 0, 0);
	out[0] = '\0';
	for (int round = 0; round < 3; round++) {
		say_more(f);
		told += 5000;
		for (int i = 0; i < 20; i++) {
			drain(fds[0], out, sizeof(out));
			advance(f, 200 * TIMERS_MS);
		}
	}
	assert_int_equal(f->ends, 0);
	trace_free(f->trace, "read");
	f->trace = NULL;
	drain(fds[0], out, sizeof(out));
	parse(out, &recording);
	assert_true(count_dropped(out) > 0);
	assert_int_equal(recording.from.len / strlen("a line\r\n") + count_dropped(out), told);
	assert_non_null(strstr(last_line(out), "# end: read\n"));
	close(fds[0]);
}

static void test_slow_pipe(void **state)
{
	struct fixture *f = *state;
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	slow_reader(f, fds);
}

static void test_slow_socket(void **state)
{
	int fds[2], size = 4096;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	slow_reader(*state, fds);
}

/* One that reads nothing at all is not waited for. */
static void test_reader_sleeps(void **state)
{
	struct fixture *f = *state;
	int fds[2];

	f->trace = trace_free(f->trace, "");
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	trace_into(f, fds[1], TRACE_BYTES_MIN * 100, 5);
	for (int i = 0; i < 10; i++)
		say_more(f);
	advance(f, 10 * TIMERS_S);
	assert_int_equal(f->ends, 1);
	close(fds[0]);
}

static void test_reader_goes_away(void **state)
{
	struct fixture *f = *state;
	int fds[2];

	for (int socket = 0; socket < 2; socket++) {
		f->trace = trace_free(f->trace, "");
		f->ends = 0;
		if (socket)
			assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		else
			assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
		trace_into(f, fds[1], 0, 0);
		close(fds[0]);
		say(f, "a line\r\n");
		advance(f, 1 * TIMERS_S);
		assert_int_equal(f->ends, 1);
		assert_string_equal(f->why, "nobody reads it any more");
		say_more(f);
		advance(f, 1000 * TIMERS_S);
		assert_int_equal(f->ends, 1);
	}
}

/* Others have the same end of the pipe, and expect of it what they did. */
static void test_blocking_again(void **state)
{
	struct fixture *f = *state;
	int fds[2];

	f->trace = trace_free(f->trace, "");
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	trace_into(f, dup(fds[1]), 0, 0);
	assert_true(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
	f->trace = trace_free(f->trace, "");
	assert_false(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
	close(fds[0]);
	close(fds[1]);
}

/* Two traces share a pipe that nobody reads: when the first one ends, the second one still does not wait. */
static void test_pipe_of_two(void **state)
{
	struct fixture *f = *state;
	struct trace *first = NULL;
	int fds[2];

	f->trace = trace_free(f->trace, "");
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(trace_new(&first, &f->timers, dup(fds[1]), "the first", 0, 0, on_ended, f),
			 0);
	trace_into(f, fds[1], TRACE_BYTES_MIN * 100, 5);
	trace_free(first, "");
	alarm(20);
	for (int i = 0; i < 10; i++)
		say_more(f);
	advance(f, 10 * TIMERS_S);
	alarm(0);
	assert_int_equal(f->ends, 1);
	close(fds[0]);
}

static void test_refused(void **state)
{
	struct fixture *f = *state;
	struct trace *trace = NULL;
	const struct {
		int fd;
		uint64_t max_bytes;
		uint32_t max_seconds;
		int result;
	} rows[] = {
		{ open("/dev/null", O_RDONLY | O_CLOEXEC), 0, 0, -EINVAL },
		{ open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0, 0, -EINVAL },
		{ open("/dev/null", O_PATH | O_CLOEXEC), 0, 0, -EINVAL },
		{ socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), 0, 0, -EINVAL },
		{ dup(f->fd), TRACE_BYTES_MIN - 1, 0, -EINVAL },
		{ dup(f->fd), TRACE_BYTES_MAX + 1, 0, -EINVAL },
		{ dup(f->fd), 0, TRACE_SECONDS_MAX + 1, -EINVAL },
		{ 1000000, 0, 0, -EBADF },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(trace_new(&trace, &f->timers, rows[i].fd, "x", rows[i].max_bytes,
					   rows[i].max_seconds, NULL, NULL),
				 rows[i].result);
		assert_null(trace);
		assert_int_equal(fcntl(rows[i].fd, F_GETFD), -1); /* closed */
	}
}

static void test_file(void **state)
{
	const char *path = path_of("trace"), *link = path_of("link");
	struct stat st;
	int fd;

	fd = trace_open_file(path);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	close(fd);
	assert_int_equal(trace_open_file(path), -EEXIST);
	unlink(path);
	assert_int_equal(symlink(path, link), 0);
	assert_int_equal(trace_open_file(link), -EEXIST);
	assert_int_equal(access(path, F_OK), -1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_lines),
		T(test_odd_lines),
		T(test_replays),
		T(test_secrets),
		cmocka_unit_test(test_damaged_key),
		cmocka_unit_test(test_damaged_echo),
		cmocka_unit_test(test_damaged_data),
		T(test_echoed_payload),
		T(test_late_answer),
		cmocka_unit_test(test_rest_of_a_block),
		T(test_block_of_nobody),
		T(test_shown_again),
		T(test_block_in_parts),
		T(test_several_devices),
		T(test_seconds),
		T(test_endless),
		T(test_max_bytes),
		T(test_slow_pipe),
		T(test_pipe_of_two),
		T(test_slow_socket),
		T(test_reader_sleeps),
		T(test_reader_goes_away),
		T(test_blocking_again),
		T(test_refused),
		cmocka_unit_test(test_file),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("trace", tests, make_temp_dir, remove_temp_dir);
}
