/* SPDX-License-Identifier: MIT */
/* The simulated chip's most important rules, on a virtual clock and without any fd. Numbers are those of the recordings. */
#include "core.h"
#include "fault.h"
#include "uart.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>

/* A network in which everything succeeds at once: what is sent is kept, what is to be received is put there by the test. */
struct world {
	struct sim_core *core;
	struct sim_config cfg;
	uint64_t now;
	struct buf sent[SIM_LINKS], recv[SIM_LINKS];
	bool open[SIM_LINKS], eof[SIM_LINKS], want[SIM_LINKS], stuck;
	char name[SIM_LINKS][80], ip[SIM_LINKS][80];
	bool verify[SIM_LINKS];
	char eap[8]; /* what came with a join */
	int eap_refuse;
	bool names; /* look-ups are taken: which, is kept */
	char asked[80];
	enum sim_family family;
	char sntp[80];
	int refuse, flashes;
	struct buf flash;
};

static int op_open(void *ud, int link, const struct sim_open *o)
{
	struct world *w = ud;

	w->open[link] = true;
	w->eof[link] = false;
	buf_clear(&w->sent[link]);
	buf_clear(&w->recv[link]);
	snprintf(w->name[link], sizeof(w->name[link]), "%s",
		 o->tls && o->tls->name ? o->tls->name : "");
	snprintf(w->ip[link], sizeof(w->ip[link]), "%s", o->ip);
	w->verify[link] = o->tls && o->tls->verify;
	return 0;
}

static int op_resolve(void *ud, int token, const char *name, enum sim_family family,
		      const char *server)
{
	struct world *w = ud;

	if (!w->names)
		return -ENOENT;
	snprintf(w->asked, sizeof(w->asked), "%s", name);
	w->family = family;
	return 0;
}

static ssize_t op_send(void *ud, int link, const void *data, size_t len)
{
	struct world *w = ud;

	if (w->eof[link])
		return -EPIPE;
	if (w->stuck)
		return 0;
	buf_add(&w->sent[link], data, len);
	return len;
}

static ssize_t op_recv(void *ud, int link, void *data, size_t len)
{
	struct world *w = ud;
	size_t n = buf_len(&w->recv[link]);

	if (!n)
		return w->eof[link] ? -EPIPE : 0;
	n = n < len ? n : len;
	memcpy(data, buf_data(&w->recv[link]), n);
	buf_eat(&w->recv[link], n);
	return n;
}

static void op_close(void *ud, int link)
{
	struct world *w = ud;

	w->open[link] = false;
}

static void op_flash(void *ud)
{
	struct world *w = ud;
	size_t len;
	const uint8_t *p;

	w->flashes++;
	if (!w->core)
		return;
	p = sim_core_flash(w->core, &len);
	buf_clear(&w->flash);
	buf_add(&w->flash, p, len);
}

static int op_sntp(void *ud, const char *ip)
{
	struct world *w = ud;

	snprintf(w->sntp, sizeof(w->sntp), "%s", ip);
	return 0;
}

static int op_eap(void *ud, int ap, const struct sim_eap *e)
{
	struct world *w = ud;

	snprintf(w->eap, sizeof(w->eap), "%d%.*s%.*s%.*s", ap, (int)e->ca.len,
		 e->ca.len ? (char *)e->ca.data : "", (int)e->cert.len,
		 e->cert.len ? (char *)e->cert.data : "", (int)e->key.len,
		 e->key.len ? (char *)e->key.data : "");
	return w->eap_refuse;
}

static void op_want_read(void *ud, int link, bool want)
{
	struct world *w = ud;

	w->want[link] = want;
}

static const struct sim_core_ops ops = {
	.eap = op_eap,
	.sntp = op_sntp,
	.open = op_open,
	.send = op_send,
	.recv = op_recv,
	.close = op_close,
	.resolve = op_resolve,
	.flash = op_flash,
	.want_read = op_want_read,
};

static const struct sim_factory_item factory[] = {
	{ "client_ca", "client_ca.0", 8, (const uint8_t *)"CA0", 3 },
	{ "client_ca", "client_ca.1", 8, (const uint8_t *)"CA1", 3 },
	{ "cert", NULL, 8, (const uint8_t *)"T", 1 },
	{ "key", NULL, 8, (const uint8_t *)"K", 1 },
	{ "ca", NULL, 8, (const uint8_t *)"A", 1 },
	{ "factory_param", "uart_port", 2, (const uint8_t[]){ 1, 0, 0, 0 }, 4 },
};

/* Lets time pass, event by event. */
static void pass(struct world *w, unsigned ms)
{
	uint64_t end = w->now + ms * 1000ull;

	while (sim_core_next(w->core) <= end) {
		if (sim_core_next(w->core) > w->now)
			w->now = sim_core_next(w->core);
		sim_core_tick(w->core, w->now);
	}
	w->now = end;
}

static char said[70000];

static const char *drain(struct world *w)
{
	size_t len, at = 0;

	for (;;) {
		const uint8_t *p = sim_core_output(w->core, &len);

		if (!len)
			break;
		assert_true(at + len < sizeof(said));
		memcpy(said + at, p, len);
		at += len;
		sim_core_output_taken(w->core, w->now, len);
	}
	said[at] = 0;
	return said;
}

static const char *chunk(struct world *w, const char *text)
{
	sim_core_input(w->core, w->now, (const uint8_t *)text, strlen(text));
	return drain(w);
}

#define EXPECT(in, out) assert_string_equal(chunk(w, in), out)

static void connect_link(struct world *w, int link)
{
	sim_core_on_open(w->core, w->now, link, 0, 50000);
}

static void arrive(struct world *w, int link, const char *data, size_t len)
{
	buf_add(&w->recv[link], data, len);
	sim_core_on_readable(w->core, w->now, link);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	sim_config_init(&w->cfg);
	w->cfg.factory = factory;
	w->cfg.n_factory = sizeof(factory) / sizeof(factory[0]);
	strcpy(w->cfg.ap[0].ssid, "lab");
	strcpy(w->cfg.ap[0].psk, "secret88");
	w->cfg.ap[0].channel = 6;
	w->cfg.n_ap = 1;
	w->now = 5000000;
	if (sim_core_new(&w->core, &w->cfg, &ops, w, NULL, 0, w->now))
		return -1;
	pass(w, 200);
	drain(w);
	*state = w;
	return 0;
}

static int joined(void **state)
{
	struct world *w;

	setup(state);
	w = *state;
	chunk(w, "ATE0\r\n");
	chunk(w, "AT+CWMODE=1\r\n");
	chunk(w, "AT+CWJAP=\"lab\",\"secret88\"\r\n");
	pass(w, 200);
	drain(w);
	return 0;
}

/* Another chip, of w->cfg as it is now. */
static void new_chip(struct world *w)
{
	sim_core_free(w->core);
	w->core = NULL;
	assert_int_equal(sim_core_new(&w->core, &w->cfg, &ops, w, NULL, 0, w->now), 0);
	pass(w, 200);
	drain(w);
	chunk(w, "ATE0\r\n");
}

static int teardown(void **state)
{
	struct world *w = *state;

	sim_core_free(w->core);
	for (int i = 0; i < SIM_LINKS; i++) {
		buf_free(&w->sent[i]);
		buf_free(&w->recv[i]);
	}
	buf_free(&w->flash);
	free(w);
	return 0;
}

static void test_lines(void **state)
{
	struct world *w = *state;

	EXPECT("AT\r\n", "AT\r\n\r\nOK\r\n");
	EXPECT("at+cwmode?\r\n", "at+cwmode?\r\n+CWMODE:2\r\n\r\nOK\r\n");
	EXPECT("AT \r\n", "AT \r\n\r\nERROR\r\n");
	EXPECT("\r\n", "\r\n\r\nERROR\r\n");
	EXPECT("AT\n", "AT\n");
	EXPECT("\r\n", "\r\n\r\nERROR\r\n");
	EXPECT("AT\r", "AT\r");
	EXPECT("\n", "\n\r\nOK\r\n");
	/* 01: the second command of a chunk is not run */
	EXPECT("AT\r\nAT+GMR\r\n", "AT\r\n\r\nbusy p...\r\n\r\nOK\r\n");
	EXPECT("AT+CIPMUX=\"1\"\r\n", "AT+CIPMUX=\"1\"\r\n\r\nERROR\r\n");
	EXPECT("AT+SYSLOG=1\r\n", "AT+SYSLOG=1\r\n\r\nOK\r\n");
	EXPECT("XYZ\r\n", "XYZ\r\nERR CODE:0x01030000\r\n\r\nERROR\r\n");
	EXPECT("AT+NOSUCH\r\n", "AT+NOSUCH\r\nERR CODE:0x01090000\r\n\r\nERROR\r\n");
	EXPECT("ATE0\r\n", "ATE0\r\n\r\nOK\r\n");
	EXPECT("AT\r\n", "\r\nOK\r\n");
}

static void test_long_line(void **state)
{
	struct world *w = *state;
	char line[300];

	chunk(w, "ATE0\r\n");
	/* 256 bytes are a line, and one more is none. */
	for (int n = 256; n <= 257; n++) {
		snprintf(line, sizeof(line), "AT+CIPMUX=%0*d\r\n", n - 10, 1);
		assert_int_equal(strlen(line) - 2, n);
		EXPECT(line, n == 256 ? "\r\nOK\r\n" : "\r\nERROR\r\n");
	}
	EXPECT("AT\r\n", "\r\nOK\r\n");
}

static void test_mfg(void **state)
{
	struct world *w = *state;

	chunk(w, "ATE0\r\n");
	EXPECT("AT+SYSMFG=1,\"factory_param\",\"uart_port\"\r\n",
	       "+SYSMFG:\"factory_param\",\"uart_port\",2,1,1\r\n\r\nOK\r\n");
	EXPECT("AT+SYSMFG=2,\"client_ca\",\"x\",8,8191\r\n", "\r\nOK\r\n\r\n>");
	chunk(w, "+++"); /* 54: data here */
	for (int i = 0; i < 8188; i++)
		sim_core_input(w->core, w->now, (const uint8_t *)"y", 1);
	assert_string_equal(drain(w), "\r\nOK\r\n");
	EXPECT("AT+SYSMFG=1,\"client_ca\",\"x\",0,5\r\n",
	       "+SYSMFG:\"client_ca\",\"x\",8,5,+++yy\r\n\r\nOK\r\n");
	EXPECT("AT+SYSMFG=1,\"client_ca\",\"x\",8190,2\r\n", "\r\nERROR\r\n");
	EXPECT("AT+SYSMFG=2,\"client_ca\",\"x\",8,8192\r\n", "\r\nERROR\r\n");
	EXPECT("AT+SYSMFG=2,\"client_ca\",\"k234567890123456\",8,3\r\n", "\r\nERROR\r\n");
	/* 11: too much data */
	EXPECT("AT+SYSMFG=2,\"client_ca\",\"t\",7,2\r\n", "\r\nOK\r\n\r\n>");
	EXPECT("JPxx", "\r\nbusy p...\r\n\r\nOK\r\n");
	/* 12: another type does not replace it */
	EXPECT("AT+SYSMFG=2,\"client_ca\",\"t\",8,1\r\n", "\r\nOK\r\n\r\n>");
	EXPECT("Z", "\r\nOK\r\n");
	EXPECT("AT+SYSMFG=1,\"client_ca\",\"t\"\r\n",
	       "+SYSMFG:\"client_ca\",\"t\",7,2,JP\r\n\r\nOK\r\n");
	EXPECT("AT+SYSMFG=0,\"client_ca\",\"nokey\"\r\n", "\r\nERROR\r\n");
	EXPECT("AT+SYSMFG=0,\"nospace\"\r\n", "\r\nOK\r\n");
	EXPECT("AT+SYSMFG=0,\"client_ca\"\r\n", "\r\nOK\r\n");
	EXPECT("AT+SYSMFG=1,\"client_ca\"\r\n", "\r\nERROR\r\n");
}

/* What was written survives the power, and a new chip with the same flash has it. */
static void test_flash(void **state)
{
	struct world *w = *state;
	struct sim_core *old = w->core;

	chunk(w, "AT+SYSMFG=2,\"client_ca\",\"client_ca.0\",8,4\r\n");
	chunk(w, "new!");
	chunk(w, "AT+CWMODE=3\r\n");
	w->core = NULL;
	assert_int_equal(sim_core_new(&w->core, &w->cfg, &ops, w, buf_data(&w->flash),
				      buf_len(&w->flash), w->now),
			 0);
	sim_core_free(old);
	pass(w, 200);
	drain(w);
	chunk(w, "ATE0\r\n");
	EXPECT("AT+SYSMFG=1,\"client_ca\",\"client_ca.0\"\r\n",
	       "+SYSMFG:\"client_ca\",\"client_ca.0\",8,4,new!\r\n\r\nOK\r\n");
	EXPECT("AT+CWMODE?\r\n", "+CWMODE:3\r\n\r\nOK\r\n");
	/* A damaged one is refused. */
	w->flash.mem[w->flash.head + 30] ^= 1;
	assert_int_equal(sim_core_new(&old, &w->cfg, &ops, w, buf_data(&w->flash),
				      buf_len(&w->flash), w->now),
			 -EBADMSG);
}

/* Another program's work: the key is gone, in the flash as well, and what needs it finds out. */
static void test_mfg_erase_fault(void **state)
{
	struct world *w = *state;
	struct fault_ops none = { 0 };
	struct faults *f = faults_new(&w->core, &none, NULL, w->now);
	const char *why;

	chunk(w, "AT+CIPSSLCCONF=2,0,0\r\n");
	/* Of whatever type: both are gone. */
	chunk(w, "AT+SYSMFG=2,\"client_ca\",\"client_ca.0\",7,2\r\n");
	chunk(w, "JP");
	/* It is no write of the chip's own. */
	sim_core_fault(w->core, w->now, SIM_FAULT_BROWNOUT_OLD, 1);
	assert_int_equal(
		faults_line(f, w->now, "cmd AT+CIPSTART mfg-erase client_ca client_ca.0", &why), 0);
	faults_command(f, w->now, "AT+CIPSTART=", 12);
	assert_null(memmem(buf_data(&w->flash), buf_len(&w->flash), "CA0", 3));
	assert_non_null(memmem(buf_data(&w->flash), buf_len(&w->flash), "CA1", 3));
	EXPECT("AT+CIPSTART=\"SSL\",\"10.0.2.2\",8443\r\n", "\r\nERROR\r\n");
	EXPECT("AT+SYSMFG=1,\"client_ca\",\"client_ca.0\"\r\n", "\r\nERROR\r\n");
	EXPECT("AT+SYSMFG=1,\"client_ca\",\"client_ca.1\"\r\n",
	       "+SYSMFG:\"client_ca\",\"client_ca.1\",8,3,CA1\r\n\r\nOK\r\n");
	assert_int_equal(faults_line(f, w->now, "mfg-erase client_ca client_ca.0", &why), -ENOENT);
	assert_string_equal(why, "no such key");
	faults_free(f);
}

/* An erase is a write, too; one that finds nothing to erase is none. */
static void test_brownout_erase(void **state)
{
	static const char *const erase[] = { "AT+SYSMFG=0,\"client_ca\",\"client_ca.0\"\r\n",
					     "AT+SYSMFG=0,\"client_ca\"\r\n" };
	struct world *w = *state;

	for (int i = 0; i < 4; i++) {
		chunk(w, "ATE0\r\n");
		chunk(w, "AT+SYSMFG=2,\"client_ca\",\"client_ca.0\",8,3\r\n");
		chunk(w, "abc");
		sim_core_fault(w->core, w->now,
			       i & 1 ? SIM_FAULT_BROWNOUT_NEW : SIM_FAULT_BROWNOUT_OLD, 1);
		EXPECT("AT+SYSMFG=0,\"nospace\"\r\n", "\r\nOK\r\n");
		assert_non_null(strstr(chunk(w, erase[i / 2]), "rst:0x"));
		pass(w, 200);
		assert_non_null(strstr(drain(w), "\r\nready\r\n"));
		assert_int_equal(!memmem(buf_data(&w->flash), buf_len(&w->flash), "abc", 3), i & 1);
		chunk(w, "ATE0\r\n");
		EXPECT("AT+SYSMFG=1,\"client_ca\",\"client_ca.0\"\r\n",
		       i & 1 ? "\r\nERROR\r\n"
			     : "+SYSMFG:\"client_ca\",\"client_ca.0\",8,3,abc\r\n\r\nOK\r\n");
	}
}

static void test_brownout(void **state)
{
	struct world *w = *state;

	for (int new = 0; new < 2; new ++) {
		sim_core_fault(w->core, w->now,
			       new ? SIM_FAULT_BROWNOUT_NEW : SIM_FAULT_BROWNOUT_OLD, 1);
		chunk(w, "AT+SYSMFG=2,\"client_ca\",\"client_ca.0\",8,4\r\n");
		chunk(w, "new!");
		pass(w, 200);
		assert_non_null(strstr(drain(w), "\r\nready\r\n"));
		chunk(w, "ATE0\r\n");
		EXPECT("AT+SYSMFG=1,\"client_ca\",\"client_ca.0\"\r\n",
		       new ? "+SYSMFG:\"client_ca\",\"client_ca.0\",8,4,new!\r\n\r\nOK\r\n"
			   : "+SYSMFG:\"client_ca\",\"client_ca.0\",8,3,CA0\r\n\r\nOK\r\n");
	}
}

static void test_send(void **state)
{
	struct world *w = *state;

	EXPECT("AT+CIPSTART=\"TCP\",\"10.0.2.2\",7000\r\n", "");
	EXPECT("AT\r\n", "\r\nbusy p...\r\n");
	connect_link(w, 0);
	assert_string_equal(drain(w), "CONNECT\r\n\r\nOK\r\n");
	EXPECT("AT+CIPSEND=4\r\n", "\r\nOK\r\n\r\n>");
	/* 30: too much */
	EXPECT("12345678", "\r\nbusy p...\r\n\r\nRecv 4 bytes\r\n\r\nSEND OK\r\n");
	assert_memory_equal(buf_data(&w->sent[0]), "1234", 4);
	EXPECT("AT+CIPSEND=8193\r\n", "\r\nERROR\r\n");
	EXPECT("AT+CIPSENDEX=20\r\n", "\r\nOK\r\n\r\n>");
	EXPECT("short\\0", "\r\nRecv 5 bytes\r\n\r\nSEND OK\r\n");
	/* 62: data without waiting for the prompt is lost */
	EXPECT("AT+CIPSEND=5\r\nhello", "\r\nbusy p...\r\n\r\nOK\r\n\r\n>");
	EXPECT("AT\r\nA", "\r\nRecv 5 bytes\r\n\r\nSEND OK\r\n");
	/* a peer that does not take it keeps the chip busy */
	w->stuck = true;
	EXPECT("AT+CIPSEND=2\r\n", "\r\nOK\r\n\r\n>");
	EXPECT("xy", "\r\nRecv 2 bytes\r\n");
	EXPECT("AT\r\n", "\r\nbusy p...\r\n");
	w->stuck = false;
	sim_core_on_writable(w->core, w->now, 0);
	assert_string_equal(drain(w), "\r\nSEND OK\r\n");
	/* 30: the peer closes at the prompt */
	EXPECT("AT+CIPSEND=3\r\n", "\r\nOK\r\n\r\n>");
	w->eof[0] = true;
	sim_core_on_readable(w->core, w->now, 0);
	assert_string_equal(drain(w), "CLOSED\r\n");
	EXPECT("abc", "\r\nRecv 3 bytes\r\n\r\nSEND FAIL\r\n");
}

static void test_plus(void **state)
{
	static const struct {
		const char *cmd, *end;
	} kinds[] = {
		{ "AT+CIPSEND=9\r\n", "\r\nSEND Canceled\r\n" },
		{ "AT+CIPSENDEX=9\r\n", "\r\nSEND Canceled\r\n" },
		{ "AT+CIPSENDL=9\r\n", "\r\nSEND CANCELLED\r\n" },
	};
	struct world *w = *state;

	chunk(w, "AT+CIPSTART=\"TCP\",\"10.0.2.2\",7000\r\n");
	connect_link(w, 0);
	drain(w);
	for (size_t i = 0; i < 3; i++) {
		EXPECT(kinds[i].cmd, "\r\nOK\r\n\r\n>");
		EXPECT("abc", "");
		EXPECT("+++", kinds[i].end);
		EXPECT("def\r\n", "\r\nERROR\r\n");
	}
	/* 63: in one chunk with other bytes, or in two, it is data */
	EXPECT("AT+CIPSEND=6\r\n", "\r\nOK\r\n\r\n>");
	EXPECT("abc+++", "\r\nRecv 6 bytes\r\n\r\nSEND OK\r\n");
	EXPECT("AT+CIPSEND=3\r\n", "\r\nOK\r\n\r\n>");
	EXPECT("++", "");
	EXPECT("+", "\r\nRecv 3 bytes\r\n\r\nSEND OK\r\n");
}

static void test_sendl(void **state)
{
	struct world *w = *state;

	chunk(w, "AT+CIPSTART=\"TCP\",\"10.0.2.2\",7000\r\n");
	connect_link(w, 0);
	drain(w);
	EXPECT("AT+CIPSENDLCFG=100,512\r\n", "\r\nOK\r\n");
	EXPECT("AT+CIPSENDL=250\r\n", "\r\nOK\r\n\r\n>");
	for (int i = 0; i < 249; i++)
		sim_core_input(w->core, w->now, (const uint8_t *)"q", 1);
	assert_string_equal(drain(w), "");
	EXPECT("q",
	       "+CIPSENDL:100,250\r\n+CIPSENDL:200,250\r\n+CIPSENDL:250,250\r\n\r\nSEND OK\r\n");
	assert_int_equal(buf_len(&w->sent[0]), 250);
}

static void test_passive(void **state)
{
	struct world *w = *state;

	EXPECT("AT+CIPMUX=1\r\n", "\r\nOK\r\n");
	EXPECT("AT+CIPRECVTYPE=3,1\r\n", "\r\nOK\r\n");
	chunk(w, "AT+CIPSTART=3,\"TCP\",\"10.0.2.2\",7000\r\n");
	connect_link(w, 3);
	assert_string_equal(drain(w), "3,CONNECT\r\n\r\nOK\r\n");
	arrive(w, 3, "hello", 5);
	assert_string_equal(drain(w), "\r\n+IPD,3,5\r\n");
	/* 32: announced again only after a read; CLOSED waits for the data */
	arrive(w, 3, "more", 4);
	w->eof[3] = true;
	sim_core_on_readable(w->core, w->now, 3);
	assert_string_equal(drain(w), "");
	EXPECT("AT+CIPRECVLEN?\r\n", "+CIPRECVLEN:0,0,0,9,0\r\n\r\nOK\r\n");
	EXPECT("AT+CIPRECVDATA=3,7\r\n", "+CIPRECVDATA:7,hellomo\r\nOK\r\n\r\n+IPD,3,2\r\n");
	EXPECT("AT+CIPRECVDATA=3,7\r\n", "+CIPRECVDATA:2,re\r\nOK\r\n3,CLOSED\r\n");
	EXPECT("AT+CIPRECVDATA=3,7\r\n", "\r\nERROR\r\n");
}

/* Nothing overtakes, and with a full FIFO the network is not read. */
static void test_back_pressure(void **state)
{
	struct world *w = *state;
	static char data[100000];
	size_t len, left, total = 0;

	chunk(w, "AT+CIPSTART=\"TCP\",\"10.0.2.2\",7000\r\n");
	connect_link(w, 0);
	drain(w);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = i % 251;
	arrive(w, 0, data, sizeof(data));
	sim_core_output(w->core, &len);
	left = buf_len(&w->recv[0]);
	assert_in_range(len, 1, 8192);
	assert_in_range(left, sizeof(data) - 8192, sizeof(data));
	pass(w, 60000);
	sim_core_output(w->core, &len);
	assert_int_equal(buf_len(&w->recv[0]), left);
	while (total < sizeof(data)) {
		const char *p = (const char *)sim_core_output(w->core, &len);
		int n, head;

		assert_int_equal(sscanf(p, "\r\n+IPD,%d:%n", &n, &head), 1);
		assert_in_range(n, 1, 2920);
		/* the first ":" ends the head; %n may have skipped white space of the data */
		head = (const char *)memchr(p, ':', len) + 1 - p;
		assert_memory_equal(p + head, data + total, n);
		total += n;
		sim_core_output_taken(w->core, w->now, head + n + 2);
	}
	sim_core_output(w->core, &len);
	assert_int_equal(len, 0);
}

/* More data on all links than the line carries: each has its turn, also one that was silent before. */
static void test_turns(void **state)
{
	struct world *w = *state;
	static char data[60000];
	char line[80];
	int seen[SIM_LINKS] = { 0 }, link, n, head;
	size_t len;

	chunk(w, "AT+CIPMUX=1\r\n");
	for (int i = 0; i < SIM_LINKS; i++) {
		snprintf(line, sizeof(line), "AT+CIPSTART=%d,\"TCP\",\"10.0.2.2\",7000\r\n", i);
		chunk(w, line);
		connect_link(w, i);
	}
	drain(w);
	memset(data, 'x', sizeof(data));
	for (int i = 0; i < SIM_LINKS - 1; i++)
		arrive(w, i, data, sizeof(data));
	buf_add(&w->recv[SIM_LINKS - 1], data, sizeof(data));
	for (int i = 0; i < 4 * SIM_LINKS; i++) {
		const char *p = (const char *)sim_core_output(w->core, &len);

		assert_int_equal(sscanf(p, "\r\n+IPD,%d,%d:%n", &link, &n, &head), 2);
		seen[link]++;
		sim_core_output_taken(w->core, w->now, head + n + 2);
		/* The network tells only who is waited for that there is something. */
		for (int k = 0; k < SIM_LINKS; k++)
			if (w->want[k])
				sim_core_on_readable(w->core, w->now, k);
	}
	for (int i = 0; i < SIM_LINKS; i++)
		assert_in_range(seen[i], 3, 5);
}

static void test_names(void **state)
{
	struct world *w = *state;

	chunk(w, "AT+CIPSSLCCONF=2,0,0\r\n");
	chunk(w, "AT+CIPSSLCCN=\"a.test\"\r\n");
	chunk(w, "AT+CIPSSLCSNI=\"b.test\"\r\n");
	chunk(w, "AT+CIPSTART=\"SSL\",\"10.0.2.2\",8443\r\n");
	assert_true(w->verify[0]);
	assert_string_equal(w->name[0], "b.test"); /* 60: SNI before CN */
	/* 44: a failure keeps them, a close does not */
	sim_core_on_open(w->core, w->now, 0, -EPROTO, 0);
	assert_string_equal(drain(w), "\r\nERROR\r\n");
	EXPECT("AT+CIPSSLCSNI?\r\n", "+CIPSSLCSNI:0,b.test\r\n\r\nOK\r\n");
	chunk(w, "AT+CIPSTART=\"SSL\",\"10.0.2.2\",8443\r\n");
	connect_link(w, 0);
	drain(w);
	EXPECT("AT+CIPCLOSE\r\n", "CLOSED\r\n\r\nOK\r\n");
	EXPECT("AT+CIPSSLCSNI?\r\n", "\r\nOK\r\n");
	EXPECT("AT+CIPSSLCCN?\r\n", "\r\nOK\r\n");
	chunk(w, "AT+CIPSTART=\"SSL\",\"broker.test\",8443\r\n");
	drain(w);
	EXPECT("AT+CIPSSLCCONF=2,0,9\r\n", "NO CA FOUND\r\n\r\nOK\r\n");
	EXPECT("AT+CIPSSLCCONF=2,0\r\n", "\r\nERROR\r\n");
	EXPECT("AT+CIPSTART=\"SSL\",\"10.0.2.2\",8443\r\n", "\r\nERROR\r\n");
}

/* Fact 22: what a reset forgets. */
static void test_reset(void **state)
{
	struct world *w = *state;
	const char *out;

	chunk(w, "AT+SYSTIMESTAMP=1700000000\r\n");
	chunk(w, "AT+SYSSTORE=0\r\n");
	chunk(w, "AT+CIPMUX=1\r\n");
	chunk(w, "AT+CIPSSLCCONF=5,2,0,0\r\n");
	chunk(w, "AT+CIPSSLCSNI=2,\"x\"\r\n");
	chunk(w, "AT+CIPSTART=2,\"TCP\",\"10.0.2.2\",7000\r\n");
	connect_link(w, 2);
	drain(w);
	EXPECT("AT+RST\r\n", "\r\nOK\r\n");
	pass(w, 1000);
	out = drain(w);
	assert_non_null(strstr(out, "WIFI DISCONNECT\r\n"));
	assert_non_null(strstr(out, "\r\nready\r\n"));
	assert_non_null(strstr(out, "WIFI GOT IP\r\n"));
	assert_null(strstr(out, "CLOSED"));
	assert_false(w->open[2]);
	EXPECT("AT\r\n", "AT\r\n\r\nOK\r\n");
	chunk(w, "ATE0\r\n");
	EXPECT("AT+CIPMUX?\r\n", "+CIPMUX:0\r\n\r\nOK\r\n");
	EXPECT("AT+SYSSTORE?\r\n", "+SYSSTORE:1\r\n\r\nOK\r\n");
	EXPECT("AT+CIPSSLCCONF?\r\n", "+CIPSSLCCONF:0,0,0,0\r\n\r\nOK\r\n");
	EXPECT("AT+SYSTIMESTAMP?\r\n", "+SYSTIMESTAMP:1700000001\r\nOK\r\n");
}

static void test_wifi(void **state)
{
	struct world *w = *state;

	chunk(w, "ATE0\r\n");
	chunk(w, "AT+CWMODE=1\r\n");
	chunk(w, "AT+CWJAP=\"lab\",\"wrong-pass\"\r\n");
	EXPECT("AT\r\n", "\r\nbusy p...\r\n");
	pass(w, 500);
	assert_string_equal(drain(w), "+CWJAP:2\r\n\r\nERROR\r\n");
	chunk(w, "AT+CWJAP=\"other\",\"\"\r\n");
	pass(w, 500);
	assert_string_equal(drain(w), "+CWJAP:3\r\n\r\nERROR\r\n");
	chunk(w, "AT+CWJAP=\"lab\",\"secret88\"\r\n");
	pass(w, 500);
	assert_string_equal(drain(w), "WIFI CONNECTED\r\nWIFI GOT IP\r\n\r\nOK\r\n");
	chunk(w, "AT+CIPMUX=1\r\n");
	chunk(w, "AT+CIPSTART=1,\"TCP\",\"10.0.2.2\",7000\r\n");
	connect_link(w, 1);
	drain(w);
	sim_core_wifi_drop(w->core, w->now, true);
	assert_string_equal(drain(w), "WIFI DISCONNECT\r\n1,CLOSED\r\n");
	pass(w, 2000);
	assert_string_equal(drain(w), "WIFI CONNECTED\r\nWIFI GOT IP\r\n");
	/* While there is none it cannot be told to, either. */
	sim_core_wifi_away(w->core, w->now, 5000);
	pass(w, 4900);
	assert_string_equal(drain(w), "WIFI DISCONNECT\r\n");
	pass(w, 1300);
	assert_string_equal(drain(w), "WIFI CONNECTED\r\nWIFI GOT IP\r\n");
	sim_core_wifi_away(w->core, w->now, 1000);
	assert_string_equal(drain(w), "WIFI DISCONNECT\r\n");
	chunk(w, "AT+CWJAP=\"lab\",\"secret88\"\r\n");
	pass(w, 500);
	assert_string_equal(drain(w), "+CWJAP:3\r\n\r\nERROR\r\n");
	pass(w, 600);
	chunk(w, "AT+CWJAP=\"lab\",\"secret88\"\r\n");
	pass(w, 500);
	assert_string_equal(drain(w), "WIFI CONNECTED\r\nWIFI GOT IP\r\n\r\nOK\r\n");
	/* 02: without a network a connect fails after ten seconds */
	chunk(w, "AT+CWQAP\r\n");
	EXPECT("AT+CIPSTART=1,\"TCP\",\"10.0.2.2\",7000\r\n", "");
	pass(w, 9900);
	assert_string_equal(drain(w), "");
	EXPECT("AT+RS", "\r\nbusy p...\r\n");
	pass(w, 200);
	assert_string_equal(drain(w), "\r\nERROR\r\n");
}

/* Joins, and tells how it went. */
static const char *join(struct world *w, const char *args, unsigned ms)
{
	char line[200];

	snprintf(line, sizeof(line), "AT+CWJAP=%s\r\n", args);
	assert_null(strstr(chunk(w, line), "ERROR"));
	pass(w, ms);
	return drain(w);
}

static void test_access_points(void **state)
{
	static const char ok[] = "WIFI CONNECTED\r\nWIFI GOT IP\r\n\r\nOK\r\n";
	static const char *const wrong[] = { "\"lab\",\"secret88\",\"2:0:0:0:0:1\"",
					     "\"lab\",\"secret88\",5",
					     "\"lab\",\"secret88\",\"02:00:00:00:00:01:02\"",
					     "\"lab\",\"secret88\",,2",
					     "\"lab\",\"secret88\",,,7201",
					     "\"lab\",\"secret88\",,,,0",
					     "\"lab\",\"secret88\",,,,,2",
					     "\"lab\",\"secret88\",,,,,,2",
					     "\"lab\",\"secret88\",,,,,,,4",
					     "\"lab\",\"secret88\",,,,,,,1,1" };
	struct world *w = *state;
	char line[200];

	w->cfg.n_ap = 4;
	w->cfg.ap[1] = (struct sim_ap){
		.ssid = "lab", .psk = "other-88", .channel = 11, .bssid = { 2, 0, 0, 0, 0, 0xab }
	};
	w->cfg.ap[2] = (struct sim_ap){ .ssid = "secret",
					.psk = "secret88",
					.channel = 1,
					.bssid = { 2, 0, 0, 0, 0, 3 },
					.hidden = true };
	w->cfg.ap[3] = (struct sim_ap){ .ssid = "open", .channel = 1 };
	new_chip(w);
	chunk(w, "AT+CWMODE=1\r\n");
	chunk(w, "AT+CWLAPOPT=,26\r\n");
	chunk(w, "AT+CWLAP\r\n");
	pass(w, 100);
	assert_string_equal(drain(w), "+CWLAP:(\"lab\",\"10:01:00:c4:0a:51\",6)\r\n+CWLAP:(\"lab\","
				      "\"02:00:00:00:00:ab\",11)\r\n"
				      "+CWLAP:(\"open\",\"10:01:00:c4:0a:54\",1)\r\n\r\nOK\r\n");
	chunk(w, "AT+CWLAP=\"lab\",\"02:00:00:00:00:AB\",11\r\n");
	pass(w, 100);
	assert_string_equal(drain(w), "+CWLAP:(\"lab\",\"02:00:00:00:00:ab\",11)\r\n\r\nOK\r\n");
	chunk(w, "AT+CWLAP=\"secret\"\r\n");
	pass(w, 100);
	assert_string_equal(drain(w), "\r\nOK\r\n");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(line, sizeof(line), "AT+CWJAP=%s\r\n", wrong[i]);
		EXPECT(line, "\r\nERROR\r\n");
	}
	/* Of two with that name the first, unless it is said which. */
	assert_string_equal(join(w, "\"lab\",\"other-88\"", 500), "+CWJAP:2\r\n\r\nERROR\r\n");
	assert_string_equal(join(w, "\"lab\",\"other-88\",\"02:00:00:00:00:ac\"", 500),
			    "+CWJAP:3\r\n\r\nERROR\r\n");
	assert_string_equal(join(w, "\"lab\",\"other-88\",\"02:00:00:00:00:AB\",1,5,7,1,20,3", 500),
			    ok);
	EXPECT("AT+CWJAP?\r\n",
	       "+CWJAP:\"lab\",\"02:00:00:00:00:ab\",11,-24,1,5,7,1,3\r\n\r\nOK\r\n");
	/* It looks again as often as it was told, at the one it was told. */
	sim_core_wifi_drop(w->core, w->now, true);
	pass(w, 4900);
	assert_string_equal(drain(w), "WIFI DISCONNECT\r\n");
	pass(w, 400);
	assert_string_equal(drain(w), "WIFI CONNECTED\r\nWIFI GOT IP\r\n");
	sim_core_reset(w->core, w->now, false);
	pass(w, 1000);
	assert_non_null(strstr(drain(w), "WIFI GOT IP\r\n"));
	chunk(w, "ATE0\r\n");
	EXPECT("AT+CWJAP?\r\n",
	       "+CWJAP:\"lab\",\"02:00:00:00:00:ab\",11,-24,1,5,7,1,3\r\n\r\nOK\r\n");
	assert_string_equal(join(w, "\"secret\",\"secret88\"", 500), ok);
	EXPECT("AT+CWJAP?\r\n",
	       "+CWJAP:\"secret\",\"02:00:00:00:00:03\",1,-24,0,1,3,0,1\r\n\r\nOK\r\n");
	/* Without name and password: the last ones. */
	assert_string_equal(join(w, ",,,,9", 500), ok);
	EXPECT("AT+CWRECONNCFG?\r\n", "+CWRECONNCFG:9,0\r\n\r\nOK\r\n");
	EXPECT("AT+CWRECONNCFG=0,0\r\n", "\r\nOK\r\n");
	sim_core_wifi_drop(w->core, w->now, true);
	pass(w, 100000);
	assert_string_equal(drain(w), "WIFI DISCONNECT\r\n");
	/* pci_en: no open ones. */
	assert_string_equal(join(w, "\"open\",\"\",,1", 500), "+CWJAP:3\r\n\r\nERROR\r\n");
	assert_string_equal(join(w, "\"open\",\"\",,0", 500), ok);
	w->cfg.times.join = 9000;
	new_chip(w);
	chunk(w, "AT+CWMODE=1\r\n");
	/* Wi-Fi that goes again before there is an address. */
	assert_string_equal(join(w, "\"open\",\"\"", 8000), "WIFI CONNECTED\r\n");
	sim_core_wifi_drop(w->core, w->now, true);
	pass(w, w->cfg.times.join_fail + 10);
	assert_string_equal(drain(w), "WIFI DISCONNECT\r\n+CWJAP:1\r\n\r\nERROR\r\n");
	assert_string_equal(join(w, "\"open\",\"\",,,,,,3", 2990), "");
	pass(w, 20);
	assert_string_equal(drain(w), "+CWJAP:1\r\n\r\nERROR\r\n");
	w->cfg.times.join = 90;
	w->cfg.firmware = "5.0";
	new_chip(w);
	chunk(w, "AT+CWMODE=1\r\n");
	assert_string_equal(join(w, "\"lab\",\"secret88\",,6", 500), "+CWJAP:3\r\n\r\nERROR\r\n");
	assert_string_equal(join(w, "\"lab\",\"secret88\",,3", 500), ok);
}

static void test_addresses(void **state)
{
	static const char *const wrong[] = { "\"10.0.2.99\",\"10.0.2.2\"", "\"10.0.2.300\"",
					     "\"fd00::5\"",
					     "\"10.0.2.99\",\"gateway\",\"255.255.255.0\"",
					     "\"10.0.2.99\",\"10.0.2.2\",\"24\"" };
	static const char own[] = "+CIPSTA:ip:\"10.0.2.99\"\r\n+CIPSTA:gateway:\"10.0.2.1\"\r\n"
				  "+CIPSTA:netmask:\"255.255.0.0\"\r\n\r\nOK\r\n";
	static const char fallback[] =
		"+CIPDNS:0,\"208.67.222.222\",\"114.114.114.114\",\"8.8.8.8\"\r\n\r\nOK\r\n";
	static const char leased[] =
		"+CIPDNS:0,\"10.0.2.3\",\"114.114.114.114\",\"8.8.8.8\"\r\n\r\nOK\r\n";
	struct world *w = *state;
	char line[200];

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(line, sizeof(line), "AT+CIPSTA=%s\r\n", wrong[i]);
		EXPECT(line, "\r\nERROR\r\n");
	}
	EXPECT("AT+CIPDNS?\r\n", leased);
	EXPECT("AT+CWDHCP?\r\n", "+CWDHCP:3\r\nOK\r\n");
	/* Another address: DHCP is off and its server forgotten, and what was open does not live on. */
	chunk(w, "AT+CIPSTART=\"TCP\",\"10.0.2.2\",7000\r\n");
	connect_link(w, 0);
	drain(w);
	EXPECT("AT+CIPSTA=\"10.0.2.99\",\"10.0.2.1\",\"255.255.0.0\"\r\n", "CLOSED\r\n\r\nOK\r\n");
	EXPECT("AT+CIPSTA?\r\n", own);
	EXPECT("AT+CIFSR\r\n",
	       "+CIFSR:STAIP,\"10.0.2.99\"\r\n+CIFSR:STAMAC,\"24:0a:c4:12:34:56\"\r\n\r\nOK\r\n");
	EXPECT("AT+CWDHCP?\r\n", "+CWDHCP:2\r\nOK\r\n");
	EXPECT("AT+CIPDNS?\r\n", fallback);
	/* It is saved, there without a network, and a join brings no other and no DNS server. */
	chunk(w, "AT+CWQAP\r\n");
	EXPECT("AT+CIPSTA?\r\n", own);
	sim_core_reset(w->core, w->now, false);
	pass(w, 1000);
	assert_non_null(strstr(drain(w), "WIFI GOT IP\r\n"));
	chunk(w, "ATE0\r\n");
	EXPECT("AT+CIPSTA?\r\n", own);
	EXPECT("AT+CIPDNS?\r\n", fallback);
	EXPECT("AT+CIPDNS=1,\"10.0.2.2\"\r\n", "\r\nOK\r\n");
	/* DHCP again: it takes a while; servers set by hand stay. */
	EXPECT("AT+CWDHCP=1,1\r\n", "\r\nOK\r\n");
	EXPECT("AT+CWSTATE?\r\n", "+CWSTATE:1,\"lab\"\r\n\r\nOK\r\n");
	pass(w, 100);
	assert_string_equal(drain(w), "WIFI GOT IP\r\n");
	EXPECT("AT+CIPDNS?\r\n", "+CIPDNS:1,\"10.0.2.2\"\r\n\r\nOK\r\n");
	EXPECT("AT+CIPDNS=0\r\n", "\r\nOK\r\n");
	EXPECT("AT+CIPDNS?\r\n", fallback);
	assert_string_equal(join(w, "\"lab\",\"secret88\"", 500),
			    "WIFI CONNECTED\r\nWIFI GOT IP\r\n\r\nOK\r\n");
	EXPECT("AT+CIPDNS?\r\n", leased);
	/* Without it the address of its own is there again. */
	EXPECT("AT+CWDHCP=0,3\r\n", "\r\nOK\r\n");
	EXPECT("AT+CWDHCP?\r\n", "+CWDHCP:0\r\nOK\r\n");
	EXPECT("AT+CIPSTA?\r\n", own);
	EXPECT("AT+CWDHCP=1,4\r\n", "\r\nERROR\r\n");
	/* The servers: any of the two families, no two the same, and all three if none is named. */
	EXPECT("AT+CIPDNS=1,\"dns.test\"\r\n", "\r\nERROR\r\n");
	EXPECT("AT+CIPDNS=1,\"10.0.2.2\",\"10.0.2.2\"\r\n", "\r\nERROR\r\n");
	EXPECT("AT+CIPDNS=1,\"fd00::2\",\"10.0.2.2\"\r\n", "\r\nOK\r\n");
	EXPECT("AT+CIPDNS?\r\n", "+CIPDNS:1,\"FD00::2\",\"10.0.2.2\"\r\n\r\nOK\r\n");
	sim_core_reset(w->core, w->now, false);
	pass(w, 1000);
	drain(w);
	chunk(w, "ATE0\r\n");
	assert_non_null(strstr(chunk(w, "AT+CIPDNS?\r\n"), "+CIPDNS:1,\"FD00::2\",\"10.0.2.2\""));
	EXPECT("AT+CIPDNS=1\r\n", "\r\nOK\r\n");
	EXPECT("AT+CIPDNS?\r\n",
	       "+CIPDNS:1,\"208.67.222.222\",\"114.114.114.114\",\"8.8.8.8\"\r\n\r\nOK\r\n");
	/* With no address from anywhere there is none. */
	new_chip(w);
	chunk(w, "AT+CWMODE=1\r\n");
	chunk(w, "AT+CWDHCP=0,1\r\n");
	assert_string_equal(join(w, "\"lab\",\"secret88\"", 500),
			    "WIFI CONNECTED\r\n+CWJAP:1\r\n\r\nERROR\r\n");
	EXPECT("AT+CIPSTA=\"10.0.2.99\"\r\n", "\r\nOK\r\nWIFI GOT IP\r\n");
}

static void test_host_name_and_country(void **state)
{
	struct world *w = *state;

	chunk(w, "ATE0\r\n");
	EXPECT("AT+CWHOSTNAME?\r\n", "+CWHOSTNAME:espressif\r\n\r\nOK\r\n");
	EXPECT("AT+CWHOSTNAME=\"chip\"\r\n", "\r\nERROR\r\n"); /* no station */
	chunk(w, "AT+CWMODE=3\r\n");
	EXPECT("AT+CWHOSTNAME=\"a23456789012345678901234567890123\"\r\n", "\r\nERROR\r\n");
	EXPECT("AT+CWHOSTNAME=\"a2345678901234567890123456789012\"\r\n", "\r\nOK\r\n");
	EXPECT("AT+CWHOSTNAME?\r\n", "+CWHOSTNAME:a2345678901234567890123456789012\r\n\r\nOK\r\n");
	EXPECT("AT+CWCOUNTRY=0,\"DE\",1,14\r\n", "\r\nOK\r\n");
	EXPECT("AT+CWCOUNTRY?\r\n", "+CWCOUNTRY:0,\"DE\",1,14\r\n\r\nOK\r\n");
	EXPECT("AT+CWCOUNTRY=2,\"DE\",1,13\r\n", "\r\nERROR\r\n");
	EXPECT("AT+CWCOUNTRY=0,\"DEUX\",1,13\r\n", "\r\nERROR\r\n");
	EXPECT("AT+CWCOUNTRY=0,\"DE\",0,13\r\n", "\r\nERROR\r\n");
	EXPECT("AT+CWCOUNTRY=0,\"DE\",2,14\r\n", "\r\nERROR\r\n");
	EXPECT("AT+CWCOUNTRY=0,\"DE\",1,13,1\r\n", "\r\nERROR\r\n");
	/* Neither is saved. */
	sim_core_reset(w->core, w->now, false);
	pass(w, 500);
	drain(w);
	chunk(w, "ATE0\r\n");
	EXPECT("AT+CWHOSTNAME?\r\n", "+CWHOSTNAME:espressif\r\n\r\nOK\r\n");
	EXPECT("AT+CWCOUNTRY?\r\n", "+CWCOUNTRY:1,\"CN\",1,13\r\n\r\nOK\r\n");
	w->cfg.firmware = "5.0";
	new_chip(w);
	EXPECT("AT+CWCOUNTRY=1,\"DE\",1,13,15\r\n", "\r\nOK\r\n");
	EXPECT("AT+CWCOUNTRY?\r\n", "+CWCOUNTRY:1,\"DE\",1,13,15\r\n\r\nOK\r\n");
}

static void test_sntp(void **state)
{
	struct world *w = *state;

	w->names = true;
	EXPECT("AT+CIPSNTPCFG=1,0,\"slow.test\",\"time.test\",\"10.0.2.4\"\r\n", "\r\nOK\r\n");
	assert_string_equal(w->asked, "slow.test");
	/* Whose name has no address, or has none in time, or does not answer: the next is asked, and nothing is said. */
	pass(w, 6900);
	assert_string_equal(w->asked, "slow.test");
	pass(w, 5200);
	assert_string_equal(w->asked, "time.test");
	sim_core_on_resolved(w->core, w->now, 1, 0, "10.0.2.3");
	assert_string_equal(w->sntp, "10.0.2.3");
	sim_core_on_sntp(w->core, w->now, -ETIMEDOUT, 0);
	pass(w, 5100);
	assert_string_equal(w->sntp, "10.0.2.4");
	assert_string_equal(drain(w), "");
	sim_core_on_sntp(w->core, w->now, 0, 1795418726);
	assert_string_equal(drain(w), "+TIME_UPDATED\r\n");
	EXPECT("AT+SYSTIMESTAMP?\r\n", "+SYSTIMESTAMP:1795418726\r\nOK\r\n");
	/* Again after the interval, from the one that answered. */
	w->sntp[0] = 0;
	pass(w, 3599000);
	assert_string_equal(w->sntp, "");
	pass(w, 2000);
	assert_string_equal(w->sntp, "10.0.2.4");
	/* What comes after it was turned off is not believed. */
	chunk(w, "AT+CIPSNTPCFG=0\r\n");
	sim_core_on_sntp(w->core, w->now, 0, 5);
	pass(w, 100000);
	assert_string_equal(drain(w), "");
}

static void test_enterprise(void **state)
{
	static const char ok[] = "WIFI CONNECTED\r\nWIFI GOT IP\r\n\r\nOK\r\n";
	static const char failed[] = "+CWJEAP:Timeout\r\nERR CODE:0x00008016\r\n\r\nERROR\r\n";
	static const struct {
		const char *args;
		unsigned code;
	} wrong[] = {
		{ "\"corp\",0,\"me\",,", 0x8020 },
		{ "\"corp\",0,\"me\",,,1,15,1", 0x8020 },
		{ "1,0,\"me\",,,1", 0x8012 },
		{ ",0,\"me\",,,1", 0x8013 },
		{ "\"corp\",x,\"me\",,,1", 0x8015 },
		{ "\"corp\",3,\"me\",,,1", 0x8024 },
		{ "\"corp\",0,,,,1", 0x8018 },
		{ "\"corp\",1,\"me\",,\"p\",0", 0x801a },
		{ "\"corp\",1,\"me\",\"u\",,0", 0x801c },
		{ "\"corp\",0,\"me\",,,4", 0x801e },
		{ "\"corp\",0,\"me\",,,", 0x801d },
		{ "\"corp\",0,\"me\",,,2", 0x801f },
		{ "\"corp\",0,\"me\",,,1,2", 0x8026 },
		{ "\"corp\",0,\"me\",,,1,x", 0x8025 },
	};
	struct world *w = *state;
	char line[200], want[200];

	/* Only a firmware that was built so has it, and the key material. */
	EXPECT("AT+CWJEAP?\r\n", "AT+CWJEAP?\r\n\r\nERROR\r\n");
	assert_null(strstr(chunk(w, "AT+SYSMFG?\r\n"), "wpa2"));
	w->cfg.with_eap = true;
	w->cfg.n_ap = 2;
	w->cfg.ap[1] =
		(struct sim_ap){ .ssid = "corp", .channel = 3, .eap = true, .eap_identity = "me" };
	new_chip(w);
	assert_non_null(strstr(chunk(w, "AT+CMD?\r\n"), "\"AT+CWJEAP\",0,1,1,0\r\n"));
	EXPECT("AT+SYSMFG?\r\n",
	       "+SYSMFG:\"client_ca\"\r\n+SYSMFG:\"wpa2_cert\"\r\n+SYSMFG:\"wpa2_key\"\r\n"
	       "+SYSMFG:\"wpa2_ca\"\r\n+SYSMFG:\"factory_param\"\r\n\r\nOK\r\n");
	chunk(w, "AT+SYSLOG=1\r\n");
	EXPECT("AT+CWJEAP=\"corp\",0,\"me\",,,1\r\n", "ERR CODE:0x00008022\r\n\r\nERROR\r\n");
	chunk(w, "AT+CWMODE=1\r\n");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(line, sizeof(line), "AT+CWJEAP=%s\r\n", wrong[i].args);
		snprintf(want, sizeof(want), "ERR CODE:0x%08x\r\n\r\nERROR\r\n", wrong[i].code);
		EXPECT(line, want);
	}
	chunk(w, "AT+CWLAPOPT=,3\r\n");
	chunk(w, "AT+CWLAP=\"corp\"\r\n");
	pass(w, 100);
	assert_string_equal(drain(w), "+CWLAP:(5,\"corp\")\r\n\r\nOK\r\n");
	/* A password is none. */
	assert_string_equal(join(w, "\"corp\",\"secret88\"", 500), "+CWJAP:2\r\n\r\nERROR\r\n");
	assert_string_equal(join(w, "\"corp\",\"\"", 500), "+CWJAP:2\r\n\r\nERROR\r\n");
	EXPECT("AT+CWJEAP=\"corp\",0,\"me\",,,1\r\n", "");
	assert_string_equal(w->eap, "1TK");
	pass(w, 500);
	assert_string_equal(drain(w), ok);
	EXPECT("AT+CWJEAP?\r\n", "+CWJEAP:\"corp\",0,\"me\",\"\",\"\",1\r\n\r\nOK\r\n");
	EXPECT("AT+CWJAP?\r\n",
	       "+CWJAP:\"corp\",\"10:01:00:c4:0a:52\",3,-24,0,1,3,0,1\r\n\r\nOK\r\n");
	/* It is saved, and tried again with what is in the flash by then. */
	chunk(w, "AT+SYSMFG=2,\"wpa2_key\",\"wpa2_key\",8,2\r\n");
	chunk(w, "K2");
	sim_core_reset(w->core, w->now, false);
	pass(w, 1000);
	assert_non_null(strstr(drain(w), "WIFI GOT IP\r\n"));
	assert_string_equal(w->eap, "1TK2");
	chunk(w, "ATE0\r\n");
	chunk(w, "AT+SYSLOG=1\r\n");
	/* The wrong one, another method, an access point of another kind, another name, and what the two sides say. */
	EXPECT("AT+CWJEAP=\"corp\",0,\"you\",,,3\r\n", "WIFI DISCONNECT\r\n");
	pass(w, 500);
	assert_string_equal(drain(w), failed);
	EXPECT("AT+CWJEAP?\r\n", "\r\nOK\r\n");
	chunk(w, "AT+CWJEAP=\"corp\",1,\"me\",\"u\",\"p\",3\r\n");
	pass(w, 500);
	assert_string_equal(drain(w), failed);
	chunk(w, "AT+CWJEAP=\"lab\",0,\"me\",,,3\r\n");
	pass(w, 500);
	assert_string_equal(drain(w), failed);
	chunk(w, "AT+CWJEAP=\"nowhere\",0,\"me\",,,3\r\n");
	pass(w, 500);
	assert_string_equal(drain(w), failed);
	w->eap_refuse = -EKEYREJECTED;
	chunk(w, "AT+CWJEAP=\"corp\",0,\"me\",,,3\r\n");
	assert_string_equal(w->eap, "1ATK2");
	pass(w, 290);
	assert_string_equal(drain(w), "");
	pass(w, 20);
	assert_string_equal(drain(w), failed);
	w->eap_refuse = 0;
	/* What is not there is found before anything is sent. */
	chunk(w, "AT+SYSMFG=0,\"wpa2_ca\"\r\n");
	EXPECT("AT+CWJEAP=\"corp\",0,\"me\",,,3\r\n", "ERR CODE:0x00008008\r\n\r\nERROR\r\n");
	chunk(w, "AT+SYSMFG=0,\"wpa2_key\"\r\n");
	EXPECT("AT+CWJEAP=\"corp\",0,\"me\",,,1\r\n", "ERR CODE:0x0000800d\r\n\r\nERROR\r\n");
	/* A later CWJAP is what counts after a reset. */
	assert_string_equal(join(w, "\"lab\",\"secret88\"", 500), ok);
	EXPECT("AT+CWJEAP?\r\n", "\r\nOK\r\n");
	sim_core_reset(w->core, w->now, false);
	pass(w, 1000);
	assert_non_null(strstr(drain(w), "WIFI GOT IP\r\n"));
	w->cfg.firmware = "5.0";
	new_chip(w);
	assert_non_null(strstr(chunk(w, "AT+SYSMFG=1,\"wpa_ent_key\"\r\n"),
			       "+SYSMFG:\"wpa_ent_key\",\"wpa_ent_key\",8\r\n"));
	chunk(w, "AT+CWMODE=1\r\n");
	chunk(w, "AT+SYSLOG=1\r\n");
	EXPECT("AT+CWJEAP=\"corp\",0,\"me\",,,3,3,-90,\"10:01:00:c4:0a\",3,1,0\r\n",
	       "ERR CODE:0x0000802a\r\n\r\nERROR\r\n");
	chunk(w, "AT+CWJEAP=\"corp\",0,\"me\",,,3,3,-90,\"10:01:00:c4:0a:52\",3,1,0\r\n");
	pass(w, 500);
	assert_string_equal(drain(w), ok);
	chunk(w, "AT+CWJEAP=\"corp\",0,\"me\",,,3,,,,,,1\r\n");
	pass(w, 500);
	assert_string_equal(drain(w), failed);
}

static void test_ipv6(void **state)
{
	static const struct {
		const char *in, *out;
	} text[] = {
		{ "FD00:0:0:0:0:0:0:2", "FD00::2" },
		{ "::", "::" },
		{ "::1", "::1" },
		{ "1::", "1::" },
		{ "2001:db8:0:1:0:0:0:ab", "2001:DB8:0:1::AB" },
		{ "1:0:0:2:0:0:0:3", "1::2:0:0:0:3" },
		{ "::ffff:10.0.2.2", "::FFFF:10.0.2.2" },
	};
	struct world *w = *state;
	char line[120], want[120];

	/* Without CIPV6 there is no such thing, and it helps only from the next join on. */
	EXPECT("AT+CIPV6?\r\n", "+CIPV6:0\r\n\r\nOK\r\n");
	EXPECT("AT+CIPSTART=\"TCPv6\",\"fd00::2\",7000\r\n", "\r\nERROR\r\n");
	EXPECT("AT+CIPDOMAIN=\"x.test\",3\r\n", "\r\nERROR\r\n");
	EXPECT("AT+CIPV6=2\r\n", "\r\nERROR\r\n");
	EXPECT("AT+CIPV6=1\r\n", "\r\nOK\r\n");
	EXPECT("AT+CIPV6?\r\n", "+CIPV6:1\r\n\r\nOK\r\n");
	EXPECT("AT+CIPSTART=\"TCPv6\",\"fd00::2\",7000\r\n", "\r\nERROR\r\n");
	EXPECT("AT+CIPSTA?\r\n", "+CIPSTA:ip:\"10.0.2.15\"\r\n+CIPSTA:gateway:\"10.0.2.2\"\r\n"
				 "+CIPSTA:netmask:\"255.255.255.0\"\r\n\r\nOK\r\n");
	EXPECT("AT+CWJAP=\"lab\",\"secret88\"\r\n", "WIFI DISCONNECT\r\n");
	pass(w, 110);
	assert_string_equal(drain(w), "WIFI CONNECTED\r\nWIFI GOT IP\r\n\r\nOK\r\n");
	pass(w, 10);
	assert_string_equal(drain(w), "WIFI GOT IPv6 LL\r\n");
	EXPECT("AT+CIFSR\r\n",
	       "+CIFSR:STAIP,\"10.0.2.15\"\r\n+CIFSR:STAIP6LL,\"FE80::260A:C4FF:FE12:3456\"\r\n"
	       "+CIFSR:STAMAC,\"24:0a:c4:12:34:56\"\r\n\r\nOK\r\n");
	/* With a local address alone only the neighbours are there. */
	EXPECT("AT+CIPSTART=\"TCPv6\",\"fe80::2\",7000\r\n", "");
	assert_string_equal(w->ip[0], "fe80::2");
	connect_link(w, 0);
	assert_string_equal(drain(w), "CONNECT\r\n\r\nOK\r\n");
	EXPECT("AT+CIPCLOSE\r\n", "CLOSED\r\n\r\nOK\r\n");
	pass(w, 20);
	assert_string_equal(drain(w), "WIFI GOT IPv6 GL\r\n");
	EXPECT("AT+CIPSTA?\r\n", "+CIPSTA:ip:\"10.0.2.15\"\r\n+CIPSTA:gateway:\"10.0.2.2\"\r\n"
				 "+CIPSTA:netmask:\"255.255.255.0\"\r\n+CIPSTA:ip6ll:\"FE80::260A:"
				 "C4FF:FE12:3456\"\r\n"
				 "+CIPSTA:ip6gl:\"FD00::260A:C4FF:FE12:3456\"\r\n\r\nOK\r\n");
	EXPECT("AT+CIPMUX=1\r\n", "\r\nOK\r\n");
	/* The other family's literals are no hosts. */
	EXPECT("AT+CIPSTART=1,\"TCPv6\",\"10.0.2.2\",7000\r\n", "\r\nERROR\r\n");
	EXPECT("AT+CIPSTART=1,\"TCP\",\"fd00::2\",7000\r\n", "\r\nERROR\r\n");
	EXPECT("AT+CIPSTART=1,\"tcpv6\",\"fd00::2\",7000\r\n", "\r\nERROR\r\n");
	EXPECT("AT+CIPSTART=1,\"SSLv6\",\"fd00::2\",8443\r\n", "");
	connect_link(w, 1);
	assert_string_equal(drain(w), "1,CONNECT\r\n\r\nOK\r\n");
	w->names = true;
	EXPECT("AT+CIPSTART=2,\"UDPv6\",\"x.test\",7100\r\n", "");
	assert_string_equal(w->asked, "x.test");
	assert_int_equal(w->family, SIM_V6);
	sim_core_on_resolved(w->core, w->now, 0, 0, "fd00::3");
	connect_link(w, 2);
	drain(w);
	chunk(w, "AT+CIPSTART=3,\"TCP\",\"x.test\",7000\r\n");
	assert_int_equal(w->family, SIM_V4);
	sim_core_on_resolved(w->core, w->now, 0, 0, "10.0.2.2");
	connect_link(w, 3);
	drain(w);
	EXPECT("AT+CIPSTATE?\r\n", "+CIPSTATE:1,\"SSLv6\",\"FD00::2\",8443,50000,0\r\n"
				   "+CIPSTATE:2,\"UDPv6\",\"FD00::3\",7100,50000,0\r\n"
				   "+CIPSTATE:3,\"TCP\",\"10.0.2.2\",7000,50000,0\r\n\r\nOK\r\n");
	/* A new lease is no new IPv6 address. */
	EXPECT("AT+CWDHCP=0,1\r\n", "\r\nOK\r\n");
	chunk(w, "AT+CIPDINFO=1\r\n");
	arrive(w, 1, "hi", 2);
	assert_string_equal(drain(w), "\r\n+IPD,1,2,\"FD00::2\",8443:hi\r\n");
	for (int net = 1; net <= 3; net++) {
		snprintf(line, sizeof(line), "AT+CIPDOMAIN=\"x.test\",%d\r\n", net);
		EXPECT(line, "");
		assert_int_equal(w->family, net);
		sim_core_on_resolved(w->core, w->now, 0, 0, net == 2 ? "10.0.2.2" : "fd00::2");
		assert_string_equal(drain(w), net == 2 ? "+CIPDOMAIN:\"10.0.2.2\"\r\n\r\nOK\r\n"
						       : "+CIPDOMAIN:\"FD00::2\"\r\n\r\nOK\r\n");
	}
	EXPECT("AT+CIPDOMAIN=\"10.0.2.2\",3\r\n", "\r\nERROR\r\n");
	EXPECT("AT+CIPDOMAIN=\"fd00::2\",2\r\n", "\r\nERROR\r\n");
	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
		snprintf(line, sizeof(line), "AT+CIPDOMAIN=\"%s\",3\r\n", text[i].in);
		snprintf(want, sizeof(want), "+CIPDOMAIN:\"%s\"\r\n\r\nOK\r\n", text[i].out);
		EXPECT(line, want);
	}
	EXPECT("AT+CWDHCP=1,1\r\n", "3,CLOSED\r\n\r\nOK\r\n");
	pass(w, 500);
	assert_string_equal(drain(w), "WIFI GOT IP\r\n");
	/* It is saved. */
	sim_core_reset(w->core, w->now, false);
	pass(w, 1000);
	assert_non_null(
		strstr(drain(w), "WIFI GOT IP\r\nWIFI GOT IPv6 LL\r\nWIFI GOT IPv6 GL\r\n"));
	chunk(w, "ATE0\r\n");
	EXPECT("AT+CIPV6?\r\n", "+CIPV6:1\r\n\r\nOK\r\n");
	chunk(w, "AT+CIPV6=0\r\n");
	EXPECT("AT+CIPSTART=\"TCPv6\",\"fd00::2\",7000\r\n", "\r\nERROR\r\n");
	chunk(w, "AT+CIPDOMAIN=\"x.test\"\r\n");
	assert_int_equal(w->family, SIM_V4);
}

static void test_profiles(void **state)
{
	static const struct {
		const char *name;
		bool mode, type, status, persist;
	} p[] = {
		{ "3.2", true, false, true, false }, { "3.4", true, true, true, false },
		{ "4.1", true, true, true, false },  { "4.2", true, true, true, true },
		{ "5.0", false, true, false, true },
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(p) / sizeof(p[0]); i++) {
		const char *list;

		sim_core_free(w->core);
		w->core = NULL;
		w->cfg.firmware = p[i].name;
		assert_int_equal(sim_core_new(&w->core, &w->cfg, &ops, w, NULL, 0, w->now), 0);
		pass(w, 200);
		drain(w);
		list = chunk(w, "AT+CMD?\r\n");
		assert_int_equal(!!strstr(list, "\"AT+CIPRECVMODE\""), p[i].mode);
		assert_int_equal(!!strstr(list, "\"AT+CIPRECVTYPE\""), p[i].type);
		assert_int_equal(!!strstr(list, "\"AT+CIPSTATUS\""), p[i].status);
		assert_int_equal(!!strstr(list, "\"AT+CIPCONNPERSIST\""), p[i].persist);
		/* With 4.1 came SYSRAM=<caps> and the timeout of CIPDOMAIN. */
		assert_int_equal(!!strstr(list, "\"AT+SYSRAM\",0,1,1,0"), p[i].name[0] > '3');
		chunk(w, "ATE0\r\n");
		EXPECT("AT+CIPDOMAIN=\"10.0.2.2\",1,900\r\n",
		       p[i].name[0] > '3' ? "+CIPDOMAIN:\"10.0.2.2\"\r\n\r\nOK\r\n"
					  : "\r\nERROR\r\n");
		EXPECT("AT+CIPRECVMODE=1\r\n", p[i].mode ? "\r\nOK\r\n" : "\r\nERROR\r\n");
		EXPECT("AT+SYSMFG=2,\"client_ca\",\"x\",8,8192\r\n", "\r\nERROR\r\n");
	}
}

static void test_newest(void **state)
{
	struct world *w = *state;

	sim_core_free(w->core);
	w->core = NULL;
	w->cfg.firmware = "5.0";
	assert_int_equal(sim_core_new(&w->core, &w->cfg, &ops, w, buf_data(&w->flash),
				      buf_len(&w->flash), w->now),
			 0);
	pass(w, 500);
	drain(w);
	chunk(w, "ATE0\r\n");
	chunk(w, "AT+SYSLOG=1\r\n");
	chunk(w, "AT+CIPSTART=\"SSL\",\"10.0.2.2\",8443\r\n");
	sim_core_on_open(w->core, w->now, 0, -EKEYREJECTED, 0);
	assert_string_equal(drain(w), "+ERRNO:0x8\r\n\r\nERROR\r\n");
	chunk(w, "AT+CIPMUX=1\r\n");
	/* No server_cert in this flash. */
	assert_non_null(strstr(chunk(w, "AT+CIPSERVER=1,8443,\"SSL\",0\r\n"), "+ERRNO:0x"));
	chunk(w, "AT+CIPMUX=0\r\n");
	EXPECT("AT+CIPRECVLEN?\r\n", "+CIPRECVLEN:-1\r\n\r\nOK\r\n");
	EXPECT("AT+CIPCONNPERSIST=1\r\n", "\r\nOK\r\n");
	chunk(w, "AT+CIPSTART=\"TCP\",\"10.0.2.2\",7000\r\n");
	connect_link(w, 0);
	drain(w);
	sim_core_wifi_drop(w->core, w->now, true);
	pass(w, 2000);
	assert_string_equal(drain(w), "WIFI DISCONNECT\r\nWIFI CONNECTED\r\nWIFI GOT IP\r\n");
	EXPECT("AT+CIPCLOSE\r\n", "CLOSED\r\n\r\nOK\r\n");
}

static void test_faults(void **state)
{
	struct world *w = *state;

	chunk(w, "AT+CIPSTART=\"TCP\",\"10.0.2.2\",7000\r\n");
	connect_link(w, 0);
	drain(w);
	sim_core_fault(w->core, w->now, SIM_FAULT_BUSY, 1);
	EXPECT("AT\r\n", "\r\nbusy p...\r\n");
	sim_core_fault(w->core, w->now, SIM_FAULT_BUSY_AFTER, 1);
	EXPECT("AT\r\n", "\r\nOK\r\n\r\nbusy p...\r\n");
	sim_core_fault(w->core, w->now, SIM_FAULT_MUTE, 1);
	EXPECT("AT\r\n", "");
	EXPECT("AT\r\n", "\r\nOK\r\n");
	sim_core_fault(w->core, w->now, SIM_FAULT_DELAY, 300);
	EXPECT("AT\r\n", "");
	pass(w, 299);
	assert_string_equal(drain(w), "");
	pass(w, 2);
	assert_string_equal(drain(w), "\r\nOK\r\n");
	sim_core_fault(w->core, w->now, SIM_FAULT_NO_PROMPT, 1);
	EXPECT("AT+CIPSEND=6\r\n", "\r\nOK\r\n");
	sim_core_fault(w->core, w->now, SIM_FAULT_SEND_FAIL, 1 + 2);
	EXPECT("abcdef", "\r\nRecv 6 bytes\r\n\r\nSEND FAIL\r\n");
	assert_int_equal(buf_len(&w->sent[0]), 2);
	sim_core_fault(w->core, w->now, SIM_FAULT_LATE_CLOSED, 50);
	EXPECT("AT+CIPCLOSE\r\n", "\r\nOK\r\n");
	pass(w, 60);
	assert_string_equal(drain(w), "CLOSED\r\n");
	sim_core_fault(w->core, w->now, SIM_FAULT_HANG, 1);
	EXPECT("AT\r\n", "");
	pass(w, 100000);
	assert_string_equal(drain(w), "");
	sim_core_reset(w->core, w->now, true);
	pass(w, 500);
	assert_non_null(strstr(drain(w), "rst:0xc"));
	EXPECT("AT\r\n", "AT\r\n\r\nOK\r\n");
}

/* The network goes away under what the chip is doing. */
static void test_network_lost(void **state)
{
	struct world *w = *state;

	/* A connect on its way fails with the Wi-Fi, at once. */
	EXPECT("AT+CIPSTART=\"SSL\",\"10.0.2.2\",8443\r\n", "");
	sim_core_wifi_drop(w->core, w->now, true);
	assert_string_equal(drain(w), "WIFI DISCONNECT\r\n\r\nERROR\r\n");
	pass(w, 2000);
	drain(w);
	/* Passthrough says nothing of its link and opens it again; by a reset of the peer, too. */
	chunk(w, "AT+CIPSTART=\"TCP\",\"10.0.2.2\",7000\r\n");
	connect_link(w, 0);
	chunk(w, "AT+CIPMODE=1\r\n");
	chunk(w, "AT+CIPSEND\r\n");
	for (int reset = 0; reset < 2; reset++) {
		if (reset)
			sim_core_link_reset(w->core, w->now, 0);
		else
			sim_core_wifi_drop(w->core, w->now, true);
		pass(w, 2500);
		assert_string_equal(drain(w),
				    reset ? ""
					  : "WIFI DISCONNECT\r\nWIFI CONNECTED\r\nWIFI GOT IP\r\n");
		assert_true(w->open[0]);
		connect_link(w, 0);
		EXPECT("hello", "");
		assert_int_equal(buf_len(&w->sent[0]), 5);
	}
}

static void test_more_faults(void **state)
{
	struct world *w = *state;

	chunk(w, "AT+CIPSTART=\"SSL\",\"10.0.2.2\",8443\r\n");
	connect_link(w, 0);
	drain(w);
	/* Less heap than a link costs is no heap, not four gigabytes. */
	sim_core_fault(w->core, w->now, SIM_FAULT_HEAP, 1000);
	EXPECT("AT+SYSRAM?\r\n", "+SYSRAM:0,0\r\nOK\r\n");
	sim_core_fault(w->core, w->now, SIM_FAULT_HEAP, 29000 + 4096);
	EXPECT("AT+SYSRAM?\r\n", "+SYSRAM:29000,0\r\nOK\r\n");
	EXPECT("AT+SYSRAM=0x1800\r\n", "+SYSRAM:14500,29000,0,279198\r\nOK\r\n");
	sim_core_fault(w->core, w->now, SIM_FAULT_HEAP, 0);
	/* All of a block may go out, and CIPSENDL fails as well. */
	sim_core_fault(w->core, w->now, SIM_FAULT_SEND_FAIL, 1 + 100);
	chunk(w, "AT+CIPSEND=6\r\n");
	EXPECT("abcdef", "\r\nRecv 6 bytes\r\n\r\nSEND FAIL\r\n");
	assert_int_equal(buf_len(&w->sent[0]), 6);
	sim_core_fault(w->core, w->now, SIM_FAULT_SEND_FAIL, 1 + 4);
	chunk(w, "AT+CIPSENDL=10\r\n");
	EXPECT("0123456789", "\r\nSEND FAIL\r\n");
	assert_int_equal(buf_len(&w->sent[0]), 6 + 4);
	chunk(w, "AT+CIPSENDL=10\r\n");
	assert_non_null(strstr(chunk(w, "0123456789"), "\r\nSEND OK\r\n"));
	sim_core_fault(w->core, w->now, SIM_FAULT_NO_PROMPT, 1);
	EXPECT("AT+SYSFLASH=1,\"fatfs\",0,4\r\n", "");
	EXPECT("abcd", "\r\nOK\r\n");
	/* A withheld answer takes no data with it. */
	sim_core_fault(w->core, w->now, SIM_FAULT_MUTE, 1);
	EXPECT("AT+CWLAP\r\n", "");
	arrive(w, 0, "data", 4);
	assert_string_equal(drain(w), "\r\n+IPD,4:data\r\n");
	pass(w, 100);
	EXPECT("AT\r\n", "\r\nOK\r\n");
	/* A time counts from now, however long nothing has happened. */
	w->now += 10000000;
	sim_core_fault(w->core, w->now, SIM_FAULT_RESET, 500);
	pass(w, 499);
	assert_string_equal(drain(w), "");
	pass(w, 300);
	assert_non_null(strstr(drain(w), "ready"));
	/* Who hangs says nothing of what happens around him, and does not wake up by it. */
	chunk(w, "ATE0\r\n");
	chunk(w, "AT+CWJAP=\"lab\",\"secret88\"\r\n");
	pass(w, 500);
	chunk(w, "AT+CIPSTART=\"TCP\",\"10.0.2.2\",7000\r\n");
	sim_core_fault(w->core, w->now, SIM_FAULT_HANG, 1);
	connect_link(w, 0);
	sim_core_wifi_drop(w->core, w->now, true);
	assert_string_equal(drain(w), "");
	EXPECT("AT\r\n", "");
	sim_core_fault(w->core, w->now, SIM_FAULT_RESET, 0);
	pass(w, 500);
	assert_non_null(strstr(drain(w), "ready"));
}

static void test_fault_script(void **state)
{
	static const char *const wrong[] = { "cmd",
					     "cmd AT",
					     "cmd AT fly",
					     "drop",
					     "drop up",
					     "drop in x",
					     "at x hang",
					     "in 5",
					     "busy 1 2",
					     "send-fail 9000",
					     "nonsense",
					     "clock",
					     "clock -1",
					     "clock 1 2",
					     "mfg-erase client_ca",
					     "mfg-erase client_ca k234567890123456",
					     "mfg-erase client_ca client_ca.0 x" };
	struct world *w = *state;
	struct fault_ops none = { 0 };
	struct faults *f = faults_new(&w->core, &none, NULL, w->now);
	uint8_t out[64];
	const char *why;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(faults_line(f, w->now, wrong[i], &why), -EINVAL);
	assert_int_equal(faults_line(f, w->now, "# nothing", &why), 0);
	assert_int_equal(faults_line(f, w->now, "in 3 drop in 2", &why), 0);
	assert_int_equal(faults_wire(f, w->now, true, (const uint8_t *)"abcdefg", 7, out), 5);
	assert_memory_equal(out, "abcfg", 5);
	assert_int_equal(faults_line(f, w->now, "double out 1", &why), 0);
	assert_int_equal(faults_wire(f, w->now, false, (const uint8_t *)"xy", 2, out), 3);
	assert_memory_equal(out, "xxy", 3);
	assert_int_equal(faults_line(f, w->now, "cmd AT+GMR 2 mute", &why), 0);
	faults_command(f, w->now, "AT+GMR", 6);
	EXPECT("AT\r\n", "\r\nOK\r\n");
	faults_command(f, w->now, "at+gmr", 6);
	EXPECT("AT\r\n", "");
	assert_int_equal(faults_line(f, w->now, "clock 1795418726", &why), 0);
	EXPECT("AT+SYSTIMESTAMP?\r\n", "+SYSTIMESTAMP:1795418726\r\nOK\r\n");
	assert_int_equal(faults_line(f, w->now, "cmd AT+CIP clock 0", &why), 0);
	faults_command(f, w->now, "AT+CIPMUX?", 10);
	pass(w, 3000);
	EXPECT("AT+SYSTIMESTAMP?\r\n", "+SYSTIMESTAMP:3\r\nOK\r\n");
	faults_free(f);
}

static void note_told(void *ud, const char *what)
{
	struct buf *told = ud;

	buf_add(told, what, strlen(what));
	buf_add(told, ";", 1);
}

/* When a fault begins and when the wire is whole again, by itself or not. */
static void test_faults_are_told(void **state)
{
	struct world *w = *state;
	struct fault_ops ops = { .told = note_told };
	struct buf told = { 0 };
	struct faults *f = faults_new(&w->core, &ops, &told, w->now);
	uint8_t out[64];
	const char *why;

	assert_int_equal(faults_line(f, w->now, "drop out 2", &why), 0);
	assert_int_equal(faults_line(f, w->now, "flip out 3", &why), 0);
	assert_int_equal(faults_wire(f, w->now, false, (const uint8_t *)"abcdefg", 7, out), 5);
	assert_memory_equal(out, "CDEfg", 5);
	assert_int_equal(faults_line(f, w->now, "in 2 drop in 4096", &why), 0);
	assert_int_equal(faults_wire(f, w->now, true, (const uint8_t *)"abcd", 4, out), 2);
	assert_int_equal(faults_line(f, w->now, "mend 1", &why), -EINVAL);
	assert_int_equal(faults_line(f, w->now, "cmd AT mute", &why), 0);
	assert_int_equal(faults_line(f, w->now, "mend", &why), 0);
	assert_int_equal(faults_line(f, w->now, "mend", &why), 0);
	assert_int_equal(faults_wire(f, w->now, true, (const uint8_t *)"abcd", 4, out), 4);
	faults_command(f, w->now, "AT", 2);
	buf_add(&told, "", 1);
	assert_string_equal((const char *)buf_data(&told), "drop out 2;flip out 3;over;"
							   "drop in 4096;mend 0;over;mend 0;");
	buf_free(&told);
	faults_free(f);
}

/* ---- the line ---- */

static void test_uart_rate(void **state)
{
	struct uart u;
	const uint8_t *p;
	uint64_t now = 1000000, end;
	uint8_t data[4000] = { 0 };
	size_t n, got = 0;

	uart_init(&u, 115200, 2048);
	uart_host_wrote(&u, now, data, 100);
	/* A partly filled FIFO comes two byte-times after its last byte: 102 byte-times of 86.8 us. */
	assert_int_equal(uart_chunk(&u, now + 8853, &p), 0);
	assert_int_equal(uart_chunk(&u, now + 8856, &p), 100);
	uart_chunk_taken(&u, 100);
	now = 2000000;
	uart_host_wrote(&u, now, data, sizeof(data));
	for (end = now; got < sizeof(data); end = uart_next(&u, 0)) {
		n = uart_chunk(&u, end, &p);
		assert_true(n == 0 || n == 120 || got + n == sizeof(data));
		uart_chunk_taken(&u, n);
		got += n;
		if (got == sizeof(data))
			break;
	}
	/* 4000 bytes and the idle time: never faster than nominal, at most 0.5 % slower. */
	assert_in_range(end - now, 4000ull * 10000000 / 115200,
			4002ull * 10000000 / 115200 * 1005 / 1000);
	uart_free(&u);
}

static void test_uart_overflow(void **state)
{
	uint8_t data[4000] = { 0 };
	const uint8_t *p;
	struct uart u;
	size_t got = 0, n;

	for (int flow = 0; flow < 2; flow++) {
		uint64_t now = 1000000;

		uart_init(&u, 115200, 2048);
		u.chip_rts = u.host_cts = flow;
		uart_host_wrote(&u, now, data, sizeof(data));
		/* The chip does not look for a second. */
		n = uart_chunk(&u, now + 1000000, &p);
		assert_in_range(n, 2040, 2048);
		assert_int_equal(u.lost > 0, !flow);
		got = 0;
		for (int i = 0; i < 100; i++) {
			n = uart_chunk(&u, now + 1000000 + i * 100000, &p);
			uart_chunk_taken(&u, n);
			got += n;
		}
		assert_int_equal(got + u.lost, sizeof(data));
		uart_free(&u);
	}
}

static void test_uart_mismatch(void **state)
{
	const uint8_t *p;
	struct uart u;

	uart_init(&u, 115200, 2048);
	uart_rate(&u, 921600, 0, 6);
	assert_false(uart_mismatch(&u)); /* the OK still goes out at the old rate */
	assert_int_equal(uart_out(&u, 1000000, 6), 0);
	assert_int_equal(uart_out(&u, 1001000, 6), 6);
	uart_out_taken(&u, 1001000, 6, 6, 6);
	u.host_baud = 115200;
	assert_true(uart_mismatch(&u));
	uart_host_wrote(&u, 2000000, (const uint8_t *)"AT\r\n", 4);
	assert_int_equal(uart_chunk(&u, 3000000, &p), 4);
	assert_memory_not_equal(p, "AT\r\n", 4);
	uart_free(&u);
}

/* Short lines get through, long ones do not; and nothing of what comes back. */
static void test_uart_bad_line(void **state)
{
	static uint8_t data[1000];
	const uint8_t *p;
	struct uart u;
	size_t wrong = 0;

	uart_init(&u, 115200, 2048);
	u.max_baud = 921600;
	memset(data, 'x', sizeof(data));
	for (int round = 0; round < 2; round++) {
		assert_int_equal(uart_noisy(&u), round);
		uart_host_wrote(&u, 1000000 * (round + 1), data, sizeof(data));
		assert_int_equal(uart_chunk(&u, 1000000 * (round + 2), &p), sizeof(data));
		for (size_t i = 0; i < sizeof(data); i++)
			wrong += p[i] != 'x';
		assert_int_equal(wrong, round * 5);
		uart_chunk_taken(&u, sizeof(data));
		uart_rate(&u, 1000000, 0, 0);
	}
	uart_free(&u);
}

/* RTS that is not wired holds up nobody; CTS that is not wired keeps the chip silent. */
static void test_uart_not_wired(void **state)
{
	static uint8_t data[4000];
	const uint8_t *p;
	struct uart u;

	uart_init(&u, 115200, 2048);
	u.host_cts = true;
	u.rts_cut = true;
	uart_rate(&u, 115200, 3, 0);
	uart_host_wrote(&u, 1000000, data, sizeof(data));
	uart_chunk(&u, 3000000, &p);
	assert_true(u.lost > 0);
	assert_true(uart_out(&u, 3000000, 10) == 0 && uart_out(&u, 4000000, 10) == 10);
	u.cts_cut = true;
	assert_int_equal(uart_out(&u, 5000000, 10), 0);
	uart_free(&u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_line, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mfg, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flash, setup, teardown),
		cmocka_unit_test_setup_teardown(test_brownout, setup, teardown),
		cmocka_unit_test_setup_teardown(test_brownout_erase, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mfg_erase_fault, joined, teardown),
		cmocka_unit_test_setup_teardown(test_send, joined, teardown),
		cmocka_unit_test_setup_teardown(test_plus, joined, teardown),
		cmocka_unit_test_setup_teardown(test_sendl, joined, teardown),
		cmocka_unit_test_setup_teardown(test_passive, joined, teardown),
		cmocka_unit_test_setup_teardown(test_back_pressure, joined, teardown),
		cmocka_unit_test_setup_teardown(test_turns, joined, teardown),
		cmocka_unit_test_setup_teardown(test_names, joined, teardown),
		cmocka_unit_test_setup_teardown(test_reset, joined, teardown),
		cmocka_unit_test_setup_teardown(test_wifi, setup, teardown),
		cmocka_unit_test_setup_teardown(test_access_points, setup, teardown),
		cmocka_unit_test_setup_teardown(test_addresses, joined, teardown),
		cmocka_unit_test_setup_teardown(test_host_name_and_country, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sntp, joined, teardown),
		cmocka_unit_test_setup_teardown(test_enterprise, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ipv6, joined, teardown),
		cmocka_unit_test_setup_teardown(test_profiles, setup, teardown),
		cmocka_unit_test_setup_teardown(test_newest, joined, teardown),
		cmocka_unit_test_setup_teardown(test_faults, joined, teardown),
		cmocka_unit_test_setup_teardown(test_network_lost, joined, teardown),
		cmocka_unit_test_setup_teardown(test_more_faults, joined, teardown),
		cmocka_unit_test_setup_teardown(test_fault_script, joined, teardown),
		cmocka_unit_test_setup_teardown(test_faults_are_told, joined, teardown),
		cmocka_unit_test(test_uart_rate),
		cmocka_unit_test(test_uart_overflow),
		cmocka_unit_test(test_uart_mismatch),
		cmocka_unit_test(test_uart_bad_line),
		cmocka_unit_test(test_uart_not_wired),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
