/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target of the simulated chip: chunks, time, network events and faults in any order. No crash, no hang, bounded
 * memory, and the core never claims to be due for ever without doing anything.
 *
 * The input is a program: a byte that says what, a byte of length or argument, then what belongs to it.
 */
#include "core.h"
#include "uart.h"

#include <errno.h>
#include <stdlib.h>

#define OUT_MAX (1 << 20)

struct world {
	const uint8_t *data;
	size_t len;
	bool open[SIM_LINKS];
};

static uint8_t next(struct world *w)
{
	if (!w->len)
		return 0;
	w->len--;
	return *w->data++;
}

static int op_open(void *ud, int link, const struct sim_open *o)
{
	struct world *w = ud;
	size_t sum = o->tls ? o->tls->ca.len + o->tls->cert.len + o->tls->key.len : 0;

	w->open[link] = true;
	return sum > 100000 || next(w) % 8 == 7 ? -ENETUNREACH : 0;
}

static ssize_t op_send(void *ud, int link, const void *data, size_t len)
{
	struct world *w = ud;
	uint8_t b = next(w);

	if (!w->open[link])
		abort();
	if (b % 16 == 15)
		return -EPIPE;
	return b % 4 == 3 ? 0 : (ssize_t)(len < 100u * (b + 1u) ? len : 100u * (b + 1u));
}

static ssize_t op_recv(void *ud, int link, void *data, size_t len)
{
	struct world *w = ud;
	uint8_t b = next(w);
	size_t n = 37u * b;

	if (!w->open[link])
		abort();
	if (b % 16 == 15)
		return -EPIPE;
	n = n < len ? n : len;
	memset(data, b, n);
	return n;
}

static void op_close(void *ud, int link)
{
	struct world *w = ud;

	w->open[link] = false;
}

static int op_resolve(void *ud, int token, const char *name, enum sim_family family,
		      const char *server)
{
	return next(ud) % 4 == 3 ? -ENOENT : 0;
}

static int op_ip(void *ud, const char *ip)
{
	return next(ud) % 4 == 3 ? -ENETUNREACH : 0;
}

static int op_listen(void *ud, uint16_t port, bool v6, const struct sim_tls *tls)
{
	return 0;
}

static int op_eap(void *ud, int ap, const struct sim_eap *e)
{
	if ((e->show && (!e->cert.len || !e->key.len)) || (e->check && !e->ca.len))
		abort();
	return next(ud) % 4 == 3 ? -EKEYREJECTED : 0;
}

static const struct sim_core_ops ops = {
	.open = op_open,
	.send = op_send,
	.recv = op_recv,
	.close = op_close,
	.resolve = op_resolve,
	.sntp = op_ip,
	.ping = op_ip,
	.listen = op_listen,
	.eap = op_eap,
};

static void drain(struct sim_core *c, uint64_t now)
{
	size_t len, total = 0;

	while (sim_core_output(c, &len), len) {
		total += len;
		/* A reader that never stops would never see the end of an endless sender: enough is enough. */
		if (total > OUT_MAX)
			break;
		sim_core_output_taken(c, now, len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const firmware[] = { "3.2", "3.4", "4.1", "4.2", "5.0" };
	static const struct sim_factory_item factory[] = {
		{ "client_ca", "client_ca.0", 8, (const uint8_t *)"CA0", 3 },
		{ "client_cert", "client_cert.0", 8, (const uint8_t *)"CRT", 3 },
		{ "client_key", "client_key.0", 8, (const uint8_t *)"KEY", 3 },
		{ "server_cert", "server_cert", 8, (const uint8_t *)"CRT", 3 },
		{ "server_key", "server_key", 8, (const uint8_t *)"KEY", 3 },
		{ "ca", NULL, 8, (const uint8_t *)"CA", 2 },
		{ "cert", NULL, 8, (const uint8_t *)"CRT", 3 },
		{ "key", NULL, 8, (const uint8_t *)"KEY", 3 },
	};
	struct world w = { data, size, { 0 } };
	struct sim_config cfg;
	struct sim_core *c;
	uint64_t now = 1000000;
	const uint8_t *image;
	size_t len;

	sim_config_init(&cfg);
	cfg.firmware = firmware[next(&w) % 5];
	cfg.factory = factory;
	cfg.n_factory = sizeof(factory) / sizeof(factory[0]);
	strcpy(cfg.ap[0].ssid, "a");
	strcpy(cfg.ap[1].ssid, "e");
	cfg.ap[1].eap = true;
	cfg.n_ap = 2;
	cfg.with_eap = next(&w) & 1;
	cfg.times.boot = cfg.times.join = 1;
	cfg.times.latency = next(&w) % 3;
	cfg.tx_buffer = 256u << next(&w) % 6;
	if (sim_core_new(&c, &cfg, &ops, &w, NULL, 0, now))
		abort();
	now += 10000;
	sim_core_tick(c, now);
	sim_core_input(c, now, (const uint8_t *)"AT+CWMODE=1\r\n", 13);
	sim_core_input(c, now, (const uint8_t *)"AT+CWJAP=\"a\",\"\"\r\n", 17);
	for (int i = 0; i < 4; i++)
		sim_core_tick(c, now += 1000);
	while (w.len) {
		uint8_t what = next(&w), arg = next(&w);
		int link = arg % SIM_LINKS;

		switch (what % 16) {
		case 0 ... 5:
			len = arg < w.len ? arg : w.len;
			image = w.data;
			w.data += len;
			w.len -= len;
			/* The line does not give more to a chip that does not read. */
			if (sim_core_can_take(c))
				sim_core_input(c, now, image, len);
			break;
		case 6:
			sim_core_input(c, now, (const uint8_t *)"+++", 3);
			break;
		case 7:
			now += arg * 1000ull;
			sim_core_tick(c, now);
			break;
		case 8:
			if (sim_core_next(c) != SIM_NEVER && sim_core_next(c) > now)
				now = sim_core_next(c);
			sim_core_tick(c, now);
			break;
		case 9:
			sim_core_on_open(c, now, link, arg & 64 ? -EPROTO : 0, 1);
			break;
		case 10:
			sim_core_on_readable(c, now, link);
			break;
		case 11:
			sim_core_on_writable(c, now, link);
			break;
		case 12:
			sim_core_on_resolved(c, now, arg & 1, arg & 2 ? -ENOENT : 0,
					     arg & 16 ? "fd00::2" : "10.0.2.2");
			sim_core_on_sntp(c, now, arg & 4 ? -EPROTO : 0, arg * 1000000ll);
			sim_core_on_ping(c, now, arg & 8 ? -EPROTO : 0, arg);
			break;
		case 13:
			if (sim_core_on_accept(c, now, "10.0.2.2", 1, 2) >= 0)
				for (int i = 0; i < SIM_LINKS; i++)
					w.open[i] = true;
			break;
		case 14:
			drain(c, now);
			break;
		case 15:
			if (arg < SIM_FAULT_COUNT && arg != SIM_FAULT_HANG)
				sim_core_fault(c, now, arg, next(&w));
			else if (arg & 1)
				sim_core_wifi_drop(c, now, arg & 2);
			else
				sim_core_link_reset(c, now, link);
			break;
		}
		sim_core_output(c, &len);
		if (len > OUT_MAX)
			abort();
		if (!(what & 16))
			drain(c, now);
	}
	drain(c, now);
	/* What it has in its flash can be read again. */
	image = sim_core_flash(c, &len);
	if (len) {
		struct sim_core *again;

		if (sim_core_new(&again, &cfg, &ops, &w, image, len, now))
			abort();
		sim_core_free(again);
	}
	sim_core_free(c);
	return 0;
}

#ifdef FUZZ_STANDALONE
#include <stdio.h>

/* Without libFuzzer: plays the files given, or so many random programs made from the words of a command language. */
static uint32_t seed = 1;

static uint32_t rnd(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

static size_t random_program(uint8_t *p, size_t max)
{
	static const char *const word[] = {
		"AT",
		"+CIPSTART=",
		"+CIPSEND",
		"+CIPSENDL=",
		"+CIPSENDEX=",
		"=0,",
		"\"TCP\",",
		"\"SSL\",",
		"\"UDP\",",
		"\"10.0.2.2\",",
		"\"x.test\",",
		"\"SSLv6\",",
		"\"UDPv6\",",
		"\"fd00::2\",",
		"+CIPV6=1",
		"7000",
		"\r\n",
		"\r\n",
		"+CIPMUX=",
		"1",
		"0",
		"5",
		"+CIPRECVTYPE=",
		"+CWJEAP=\"e\",0,\"i\",,,3",
		"+CWJAP=\"a\",\"\"",
		"+CIPRECVDATA=",
		"+CIPCLOSE",
		"+CIPSERVER=1",
		"+SYSMFG=2,\"client_ca\",\"k\",8,",
		"+SYSMFG=0,\"client_ca\"",
		"+CIPMODE=1",
		"+CIPSTA?",
		"+CIFSR",
		"+RST",
		"+RESTORE",
		"+CIPSSLCCONF=",
		"2,0,0",
		"3,0,0",
		"+CIPSSLCSNI=",
		"+CIPSNTPCFG=1,0",
		"+CIPDOMAIN=",
		"+PING=",
		"+CMD?",
		"+SYSFLASH=1,\"fatfs\",0,",
		"?",
		"=",
		",",
		"\\",
		"+CWJAP",
		"-1",
		"99999",
	};
	size_t n = 0;

	while (n + 80 < max && rnd(60)) {
		if (rnd(3)) {
			size_t at = n + 2, words = 1 + rnd(6);

			p[n] = 0;
			n = at;
			memcpy(p + n, "AT", 2);
			n += 2;
			while (words-- && n + 40 < max) {
				const char *s = word[rnd(sizeof(word) / sizeof(word[0]))];

				memcpy(p + n, s, strlen(s));
				n += strlen(s);
			}
			if (rnd(4)) {
				memcpy(p + n, "\r\n", 2);
				n += 2;
			}
			p[at - 1] = n - at > 255 ? 255 : n - at;
		} else {
			p[n++] = rnd(32);
			p[n++] = rnd(256);
		}
	}
	return n;
}

int main(int argc, char **argv)
{
	static uint8_t data[65536];
	size_t len;

	if (argc == 3 && !strcmp(argv[1], "--random")) {
		for (long i = atol(argv[2]); i > 0; i--)
			LLVMFuzzerTestOneInput(data, random_program(data, 4000));
		return 0;
	}
	for (int i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");

		if (!f)
			return 1;
		len = fread(data, 1, sizeof(data), f);
		fclose(f);
		LLVMFuzzerTestOneInput(data, len);
	}
	return 0;
}
#endif
