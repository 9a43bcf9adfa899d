/* SPDX-License-Identifier: MIT */
/*
 * The chip's UART task and AT task: chunks in, lines, prompts, dispatch, replies out, and the pump of received data.
 *
 * A chunk is read to its end before a completed line runs or a completed block is sent: that is why what follows in the
 * same chunk gets "busy p..." in front of the answer (captures 01, 11, 30).
 */
#include "core-priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

uint64_t ms_after(const struct sim_core *c, unsigned ms)
{
	return c->now + (uint64_t)ms * 1000;
}

void sim_say(struct sim_core *c, const void *data, size_t len)
{
	if (!c->mute && c->in != IN_HUNG)
		buf_add(&c->out, data, len);
}

void sim_sayf(struct sim_core *c, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(text) - 1)
		n = sizeof(text) - 1;
	sim_say(c, text, n);
}

static void say_error(struct sim_core *c)
{
	if (c->syslog && c->err_code)
		sim_sayf(c, "ERR CODE:0x%08x\r\n", c->err_code);
	sim_sayf(c, "\r\nERROR\r\n");
}

static void say_busy(struct sim_core *c)
{
	if (c->syslog)
		sim_sayf(c, "ERR CODE:0x010b0000\r\n");
	sim_sayf(c, "\r\nbusy p...\r\n");
}

/* Takes what is armed of a fault that happens once. */
static long take_fault(struct sim_core *c, enum sim_fault f)
{
	long v = c->fault[f];

	c->fault[f] = 0;
	return v;
}

static void busy_after(struct sim_core *c)
{
	if (!c->fault[SIM_FAULT_BUSY_AFTER])
		return;
	c->fault[SIM_FAULT_BUSY_AFTER]--;
	say_busy(c);
}

static void idle(struct sim_core *c)
{
	c->in = IN_COMMAND;
	c->line_len = 0;
	c->line_cr = c->line_long = false;
	c->done_at = SIM_NEVER;
	c->run_at = SIM_NEVER;
}

void sim_done(struct sim_core *c, enum result res)
{
	if (c->in == IN_HUNG) /* what a command waited for has come, and nobody is there */
		return;
	switch (res) {
	case RES_OK:
		sim_sayf(c, "\r\nOK\r\n");
		busy_after(c);
		break;
	case RES_OK_BARE:
		sim_sayf(c, "OK\r\n");
		busy_after(c);
		break;
	case RES_ERROR:
		say_error(c);
		break;
	case RES_PENDING:
		c->in = IN_BUSY;
		return;
	case RES_PROMPT:
		return;
	case RES_SILENT:
		break;
	}
	c->mute = false;
	if (c->in != IN_OFF && c->in != IN_PASS)
		idle(c);
}

enum result sim_later(struct sim_core *c, unsigned ms, enum result res)
{
	if (!ms)
		return res;
	c->done_at = ms_after(c, ms);
	c->done_res = res;
	return RES_PENDING;
}

enum result sim_flash_done(struct sim_core *c, enum result res)
{
	return sim_later(c, c->cfg.times.flash, res);
}

/* ---- parameters ---- */

bool arg_given(const struct call *call, int i)
{
	return i < call->n && call->par[i].kind != PARAM_EMPTY;
}

int arg_num(struct sim_core *c, struct call *call, int i, long long *ret)
{
	if (!arg_given(call, i))
		return -ENOENT;
	if (call->par[i].kind != PARAM_NUM) {
		c->err_code = 0x01080000 | i; /* capture 02 */
		return -EINVAL;
	}
	*ret = call->par[i].num;
	return 0;
}

int arg_range(struct sim_core *c, struct call *call, int i, long long min, long long max,
	      long long *ret)
{
	int r = arg_num(c, call, i, ret);

	if (r < 0)
		return r;
	return *ret < min || *ret > max ? -EINVAL : 0;
}

int arg_str(struct sim_core *c, struct call *call, int i, const char **ret)
{
	if (!arg_given(call, i))
		return -ENOENT;
	if (call->par[i].kind != PARAM_STR) {
		if (call->par[i].kind == PARAM_NUM)
			c->err_code = 0x01080000 | i;
		return -EINVAL;
	}
	*ret = call->par[i].str;
	return 0;
}

int arg_link(struct sim_core *c, struct call *call, int *i, int max, int *link)
{
	long long n;
	int r;

	*link = 0;
	if (!c->mux)
		return 0;
	r = arg_range(c, call, *i, 0, max, &n);
	if (r < 0)
		return r;
	*link = n;
	(*i)++;
	return 0;
}

bool arg_option(struct sim_core *c, struct call *call, int i, long long min, long long max,
		long long *ret)
{
	return !arg_given(call, i) || !arg_range(c, call, i, min, max, ret);
}

int arg_mac(struct sim_core *c, struct call *call, int i, uint8_t mac[6])
{
	const char *text;
	unsigned m[6];
	char end;
	int r = arg_str(c, call, i, &text);

	if (r < 0)
		return r;
	if (strlen(text) != 17 || sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", m, m + 1, m + 2, m + 3,
					 m + 4, m + 5, &end) != 6)
		return -EINVAL;
	for (int k = 0; k < 6; k++)
		mac[k] = m[k];
	return 0;
}

static void parse_param(struct param *p, char *s, char *end)
{
	char *out = s, *stop;

	p->str = s;
	if (s == end) {
		p->kind = PARAM_EMPTY;
		return;
	}
	p->kind = PARAM_BAD;
	if (*s == '"') {
		if (end - s < 2 || end[-1] != '"')
			return;
		for (s++; s < end - 1; s++) {
			if (*s == '"')
				return;
			/* The closing quote may itself be escaped: "x\" is not a string. */
			if (*s == '\\' && ++s == end - 1)
				return;
			*out++ = *s;
		}
		*out = 0;
		p->kind = PARAM_STR;
		return;
	}
	*end = 0;
	if (*s != '-' && (*s < '0' || *s > '9'))
		return;
	errno = 0;
	p->num = strtoll(s, &stop, s[0] == '0' && (s[1] | 32) == 'x' ? 16 : 10);
	if (stop == end && !errno && stop > s)
		p->kind = PARAM_NUM;
}

static void parse_params(struct call *call, char *s)
{
	char *start = s;

	for (;; s++) {
		if (*s == '\\' && s[1]) {
			s++;
			continue;
		}
		if (*s && *s != ',')
			continue;
		if (call->n == PARAMS_MAX) {
			call->too_many = true;
			return;
		}
		/* parse_param() writes behind a number: the separator has been seen by now. */
		char sep = *s;

		parse_param(&call->par[call->n++], start, s);
		if (!sep)
			return;
		start = s + 1;
	}
}

/* ---- dispatch ---- */

bool sim_has_cmd(const struct sim_core *c, const struct cmd *cmd)
{
	return cmd->profiles & (c->prof->bit | (c->cfg.with_eap ? PEAP : 0));
}

static const struct cmd *find_cmd(struct sim_core *c, const char *name, size_t len)
{
	for (int i = 0; i < sim_n_cmds; i++) {
		const struct cmd *cmd = &sim_cmds[i];

		if (sim_has_cmd(c, cmd) && strlen(cmd->name) == len &&
		    !strncasecmp(cmd->name, name, len))
			return cmd;
	}
	return NULL;
}

static enum result run_line(struct sim_core *c)
{
	struct call *call = &c->call;
	char *s = call->raw, *p;

	c->err_code = 0;
	memset(call, 0, offsetof(struct call, raw));
	if (c->line_long)
		return RES_ERROR;
	memcpy(call->raw, c->line, c->line_len);
	call->raw[c->line_len] = 0;
	if (memchr(call->raw, 0, c->line_len) || strncasecmp(s, "AT", 2)) {
		if (c->line_len)
			c->err_code = 0x01030000;
		return RES_ERROR;
	}
	s += 2;
	p = s + strcspn(s, "=?");
	call->cmd = find_cmd(c, s, p - s);
	if (!call->cmd) {
		c->err_code = 0x01090000;
		return RES_ERROR;
	}
	if (!*p)
		call->op = OP_EXEC;
	else if (!strcmp(p, "?"))
		call->op = OP_QUERY;
	else if (!strcmp(p, "=?"))
		call->op = OP_TEST;
	else if (*p == '=') {
		call->op = OP_SET;
		parse_params(call, p + 1);
		if (call->too_many)
			return RES_ERROR;
	} else
		return RES_ERROR;
	if (!call->cmd->fn[call->op])
		return RES_ERROR;
	return call->cmd->fn[call->op](c, call);
}

static void run_queued(struct sim_core *c)
{
	enum result res;

	c->run_at = SIM_NEVER;
	if (c->fault[SIM_FAULT_BUSY]) {
		c->fault[SIM_FAULT_BUSY]--;
		say_busy(c);
		idle(c);
		return;
	}
	c->mute = take_fault(c, SIM_FAULT_MUTE);
	c->in = IN_BUSY;
	res = run_line(c);
	if (res == RES_PROMPT)
		c->mute = false;
	sim_done(c, res);
}

static void block_done(struct sim_core *c)
{
	c->run_at = SIM_NEVER;
	if (c->prompt == PROMPT_MFG)
		mfg_block_done(c);
	else
		ip_block_done(c);
}

void sim_open_prompt(struct sim_core *c, enum prompt prompt, int link, size_t need)
{
	c->prompt = prompt;
	c->send_link = link;
	c->send_need = need;
	c->send_got = c->send_done = c->send_reported = 0;
	c->send_failed = c->send_escape = c->sending = false;
	buf_clear(&c->send);
	c->in = IN_DATA;
	if (take_fault(c, SIM_FAULT_NO_PROMPT)) {
		if (prompt != PROMPT_FLASH)
			sim_sayf(c, "\r\nOK\r\n");
		return;
	}
	/* A raw flash write prompts without an OK before it (capture 14). */
	sim_sayf(c, prompt == PROMPT_FLASH ? ">" : "\r\nOK\r\n\r\n>");
}

/* ---- the UART task ---- */

static bool is_plus(const uint8_t *data, size_t len)
{
	return len == 3 && !memcmp(data, "+++", 3);
}

/* One byte of a CIPSENDEX block: \0 ends it, a backslash escapes (capture 30). True when the block is complete. */
static bool sendex_byte(struct sim_core *c, uint8_t b)
{
	if (c->send_escape) {
		c->send_escape = false;
		if (b == '0')
			return true;
		if (b != '\\')
			buf_add(&c->send, "\\", 1);
		buf_add(&c->send, &b, 1);
	} else if (b == '\\') {
		c->send_escape = true;
	} else {
		buf_add(&c->send, &b, 1);
	}
	return buf_len(&c->send) >= c->send_need;
}

/* Bytes of the chunk that the prompt takes. */
static size_t take_data(struct sim_core *c, const uint8_t *data, size_t len)
{
	size_t n = 0;
	bool complete = false;

	if (c->prompt == PROMPT_SENDEX) {
		while (n < len && !complete)
			complete = sendex_byte(c, data[n++]);
		if (complete && buf_len(&c->send) > c->send_need)
			c->send.tail = c->send.head + c->send_need;
		c->send_got = buf_len(&c->send);
	} else {
		n = c->send_need - c->send_got;
		if (n > len)
			n = len;
		if (c->prompt != PROMPT_SENDL || !c->send_failed)
			buf_add(&c->send, data, n);
		c->send_got += n;
		complete = c->send_got == c->send_need;
	}
	if (c->prompt == PROMPT_SENDL) {
		if (complete)
			c->in = IN_DATA_DONE;
		ip_stream(c);
	} else if (complete && c->prompt == PROMPT_FLASH) {
		flash_block_done(c);
	} else if (complete) {
		c->in = IN_DATA_DONE;
		c->run_at = ms_after(c, c->cfg.times.latency);
	}
	return n;
}

static bool force_restart(const uint8_t *data, size_t len)
{
	return len >= 8 && !strncasecmp((const char *)data, "AT+RST\r\n", 8);
}

/* Bytes of a command line; stops behind its CRLF. */
static size_t take_line(struct sim_core *c, const uint8_t *data, size_t len)
{
	size_t n;

	for (n = 0; n < len; n++) {
		uint8_t b = data[n];

		if (b == '\n' && c->line_cr) {
			c->line_cr = false;
			if (c->line_len)
				c->line_len--; /* the CR; it may have been cut off an overlong line */
			c->in = IN_QUEUED;
			if (c->ops->command)
				c->ops->command(c->ud, c->line,
						c->line_len < LINE_MAX_AT ? c->line_len
									  : LINE_MAX_AT);
			c->run_at = ms_after(c,
					     c->cfg.times.latency + take_fault(c, SIM_FAULT_DELAY));
			n++;
			break;
		}
		c->line_cr = b == '\r';
		if (c->line_len < sizeof(c->line))
			c->line[c->line_len++] = b;
		else
			c->line_long = true;
	}
	if (c->line_len > LINE_MAX_AT)
		c->line_long |= c->in == IN_QUEUED;
	if (c->echo)
		sim_say(c, data, n);
	return n;
}

static void settle(struct sim_core *c);

void sim_core_input(struct sim_core *c, uint64_t now, const uint8_t *data, size_t len)
{
	size_t at = 0;

	c->now = now;
	if (is_plus(data, len)) {
		if (c->in == IN_DATA && c->prompt <= PROMPT_SENDL) {
			ip_send_cancel(c);
			settle(c);
			return;
		}
		if (c->in == IN_PASS) {
			idle(c);
			if (c->sysmsg & 1)
				sim_sayf(c, "\r\n+QUITT\r\n");
			settle(c);
			return;
		}
	}
	while (at < len) {
		switch (c->in) {
		case IN_OFF:
		case IN_HUNG:
			at = len;
			break;
		case IN_COMMAND:
			at += take_line(c, data + at, len - at);
			break;
		case IN_DATA:
			at += take_data(c, data + at, len - at);
			break;
		case IN_PASS:
			buf_add(&c->send, data + at, len - at);
			at = len;
			ip_stream(c);
			break;
		case IN_QUEUED:
		case IN_BUSY:
		case IN_DATA_DONE:
			if (force_restart(data + at, len - at)) {
				sim_sayf(c, "\r\nWill force to restart!!!\r\n\r\nOK\r\n");
				sim_restart(c, 0, false);
			} else {
				say_busy(c);
			}
			at = len;
			break;
		}
	}
	settle(c);
}

bool sim_core_can_take(const struct sim_core *c)
{
	if (buf_len(&c->out) > c->cfg.tx_buffer)
		return false;
	if (c->in == IN_PASS || (c->in == IN_DATA && c->prompt == PROMPT_SENDL))
		return buf_len(&c->send) < STREAM_MAX;
	return true;
}

/* ---- received data ---- */

void sim_link_say(struct sim_core *c, int link, const char *what)
{
	if (c->mux)
		sim_sayf(c, "%d,%s\r\n", link, what);
	else
		sim_sayf(c, "%s\r\n", what);
}

static void want(struct sim_core *c, int i, bool on)
{
	struct link *l = &c->link[i];

	if (l->wanted == on)
		return;
	l->wanted = on;
	if (c->ops->want_read)
		c->ops->want_read(c->ud, i, on);
}

static void say_closed(struct sim_core *c, int i)
{
	long late = take_fault(c, SIM_FAULT_LATE_CLOSED);

	if (!late) {
		sim_link_say(c, i, "CLOSED");
		return;
	}
	snprintf(c->late, sizeof(c->late), c->mux ? "%d,CLOSED\r\n" : "CLOSED\r\n", i);
	c->late_at = ms_after(c, late);
}

void sim_link_closed(struct sim_core *c, int i, bool say)
{
	struct link *l = &c->link[i];

	if (l->state == LINK_FREE)
		return;
	want(c, i, false);
	if (c->ops->close)
		c->ops->close(c->ud, i);
	if (l->state == LINK_OPEN && l->type == SIM_SSL && !l->server)
		ssl_forget(c, i);
	/* What a prompt still collects must never reach whoever gets this link next. */
	if (i == c->send_link)
		c->send_failed = true;
	if (say && l->state == LINK_OPEN)
		say_closed(c, i);
	l->state = LINK_FREE;
	l->readable = l->announced = l->peer_closed = l->server = false;
	buf_clear(&l->rx);
}

static void announce(struct sim_core *c, int i)
{
	struct link *l = &c->link[i];
	long len;

	if (l->announced || !buf_len(&l->rx))
		return;
	l->announced = true;
	len = buf_len(&l->rx);
	if (l->type == SIM_SSL && len + c->fault[SIM_FAULT_TLS_LENGTH] > 0)
		len += c->fault[SIM_FAULT_TLS_LENGTH];
	if (c->mux)
		sim_sayf(c, "\r\n+IPD,%d,%ld\r\n", i, len);
	else
		sim_sayf(c, "\r\n+IPD,%ld\r\n", len);
}

static void emit_ipd(struct sim_core *c, int i, const uint8_t *data, size_t len)
{
	struct link *l = &c->link[i];
	char head[96];
	int n;

	n = c->mux ? snprintf(head, sizeof(head), "\r\n+IPD,%d,%zu", i, len)
		   : snprintf(head, sizeof(head), "\r\n+IPD,%zu", len);
	if (c->dinfo)
		n += snprintf(head + n, sizeof(head) - n, ",\"%s\",%u", l->ip, l->port);
	head[n++] = ':';
	sim_say(c, head, n);
	sim_say(c, data, len);
	sim_say(c, "\r\n", 2);
}

/* Reads the link; true if something was got, false if there is nothing now or it is over. */
static ssize_t link_read(struct sim_core *c, int i, uint8_t *data, size_t len)
{
	struct link *l = &c->link[i];
	ssize_t n;

	if (!l->readable || !c->ops->recv)
		return 0;
	n = c->ops->recv(c->ud, i, data, len);
	if (n > 0) {
		l->last_io = c->now;
		return n;
	}
	l->readable = false;
	if (n < 0)
		l->peer_closed = true;
	return 0;
}

static bool has_room(struct sim_core *c, size_t len)
{
	size_t queued = buf_len(&c->out);

	return !queued || queued + len <= c->cfg.tx_buffer;
}

/* One step of one link: true if it made progress. */
static bool pump_link(struct sim_core *c, int i)
{
	struct link *l = &c->link[i];
	uint8_t data[RECORD_MAX];
	ssize_t n;

	if (l->state != LINK_OPEN)
		return false;
	if (c->in == IN_PASS || !c->passive[i] || c->cipmode) {
		bool raw = c->in == IN_PASS;
		size_t max = IPD_MAX;

		/* An unusual --tx-buffer must not stop the flow: then the chunks become smaller. */
		if (max + 96 > c->cfg.tx_buffer)
			max = c->cfg.tx_buffer > 192 ? c->cfg.tx_buffer - 96 : 96;
		if (!has_room(c, max + 96)) {
			/* A link of which it is not known whether it has data takes part in the next turn, too. */
			want(c, i, !l->readable);
			return false;
		}
		if (buf_len(&l->rx)) {
			n = buf_len(&l->rx) < max ? buf_len(&l->rx) : max;
			memcpy(data, buf_data(&l->rx), n);
			buf_eat(&l->rx, n);
		} else {
			n = link_read(c, i, data, max);
		}
		if (n > 0) {
			if (raw)
				sim_say(c, data, n);
			else
				emit_ipd(c, i, data, n);
			return true;
		}
	} else {
		size_t have = buf_len(&l->rx), max = 0;

		/* Of TLS the record that is being fetched, of TCP what the window lets in, of UDP a datagram. */
		if (l->type == SIM_TCP)
			max = have < WINDOW_TCP ? WINDOW_TCP - have : 0;
		else if (!have)
			max = RECORD_MAX;
		n = max ? link_read(c, i, data, max) : 0;
		if (n > 0)
			buf_add(&l->rx, data, n);
		announce(c, i);
		if (n > 0)
			return true;
		if (!max) {
			want(c, i, false);
			return false;
		}
	}
	if (l->peer_closed && !buf_len(&l->rx)) {
		if (c->in == IN_PASS && i == 0)
			ip_pass_lost(c);
		else
			sim_link_closed(c, i, true);
		return true;
	}
	want(c, i, !l->peer_closed);
	return false;
}

void sim_pump(struct sim_core *c)
{
	bool more = true, mute = c->mute;

	if (c->in == IN_OFF || c->in == IN_HUNG)
		return;
	c->mute = false; /* that is for an answer, not for the links' data */
	while (more) {
		more = false;
		for (int k = 0, first = c->pump_first; k < SIM_LINKS; k++) {
			int i = (first + k) % SIM_LINKS;

			if (!pump_link(c, i))
				continue;
			more = true;
			/* Who has had the room comes last for the next one: nobody waits for ever. */
			c->pump_first = (i + 1) % SIM_LINKS;
		}
	}
	c->mute = mute;
}

bool sim_any_link(const struct sim_core *c)
{
	for (int i = 0; i < SIM_LINKS; i++)
		if (c->link[i].state != LINK_FREE)
			return true;
	return false;
}

unsigned sim_heap_free(struct sim_core *c)
{
	unsigned heap = c->cfg.heap ? c->cfg.heap : c->prof->heap, cost;

	for (int i = 0; i < SIM_LINKS; i++) {
		if (c->link[i].state != LINK_OPEN)
			continue;
		cost = c->link[i].type == SIM_SSL ? 4096 : 1024;
		heap -= cost < heap ? cost : heap;
	}
	if (heap < c->heap_min)
		c->heap_min = heap;
	return heap;
}

/* ---- reset ---- */

/* Everything that lives in RAM (fact 22). The clock goes on (ESP32). */
static void forget(struct sim_core *c)
{
	for (int i = 0; i < SIM_LINKS; i++) {
		sim_link_closed(c, i, false);
		ssl_forget(c, i);
		c->link[i].n_ciphers = 0;
	}
	sim_connect_abort(c);
	if (c->server_on && c->ops->unlisten)
		c->ops->unlisten(c->ud);
	c->server_on = false;
	c->server_max = SIM_LINKS;
	c->server_timeout = 0;
	c->echo = true;
	c->syslog = c->no_store = false;
	c->sleep = 1;
	c->rfpower = 72;
	c->transintvl = 20;
	c->mux = false;
	c->cipmode = 0;
	c->dinfo = c->persist = false;
	memset(c->passive, 0, sizeof(c->passive));
	buf_clear(&c->send);
	c->sendl_report = 1024;
	c->sendl_chunk = IPD_MAX;
	c->sntp_on = false;
	c->sntp_at = SIM_NEVER;
	c->sntp_resolving = false;
	c->domain_query = c->ping_query = c->sending = false;
	c->scan_at = SIM_NEVER;
	c->reconn_interval = 1;
	c->cwlap_sort = 0;
	c->cwlap_mask = 2047;
	c->heap_min = ~0u;
	c->mute = false;
	c->late_at = c->fault_at = SIM_NEVER;
}

static void boot(struct sim_core *c)
{
	const unsigned *uart, *sysmsg;

	forget(c);
	idle(c);
	c->in = IN_OFF;
	c->ready = false;
	c->reset_at = SIM_NEVER;
	uart = nvs_saved(&c->nvs, "uart", NULL);
	c->uart_baud = uart ? uart[0] : c->cfg.baud;
	c->uart_flow = uart ? uart[1] : 1;
	if (c->ops->uart)
		c->ops->uart(c->ud, c->uart_baud, c->uart_flow);
	sysmsg = nvs_saved(&c->nvs, "sysmsg", NULL);
	c->sysmsg = sysmsg ? *sysmsg : 0;
	ssl_boot(c);
	ip_boot(c);
	c->boot_at = ms_after(c, c->cfg.times.boot);
	wifi_boot(c);
}

/* The answer to RST is on its way: then the links and the Wi-Fi go down, and the chip starts again. */
void sim_restart(struct sim_core *c, unsigned after_ms, bool restore)
{
	c->in = IN_OFF;
	c->reset_restore = restore;
	c->reset_at = ms_after(c, after_ms);
}

static void sudden_reset(struct sim_core *c, bool boot_rom_text)
{
	buf_clear(&c->out);
	c->mute = false;
	c->in = IN_OFF;
	if (boot_rom_text)
		sim_sayf(c, "ets Jul 29 2019 12:21:46\r\n\r\nrst:0xc (SW_CPU_RESET),boot:0x13 "
			    "(SPI_FAST_FLASH_BOOT)\r\n"
			    "\xff\x86\x1c\xf2\r\nload:0x3fff0030,len:7112\r\nentry 0x400805c4\r\n");
	boot(c);
}

void sim_core_reset(struct sim_core *c, uint64_t now, bool boot_rom_text)
{
	c->now = now;
	sudden_reset(c, boot_rom_text);
	settle(c);
}

static void reset_now(struct sim_core *c)
{
	bool was_up = c->wifi == WIFI_UP || c->wifi == WIFI_ASSOCIATED;

	for (int i = 0; i < SIM_LINKS; i++)
		sim_link_closed(c, i, false);
	if (c->reset_restore) {
		nvs_restore(&c->nvs);
		c->dirty = true;
	}
	if (was_up)
		sim_sayf(c, "WIFI DISCONNECT\r\n");
	boot(c);
}

/* ---- time ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t sim_core_next(const struct sim_core *c)
{
	uint64_t t = c->reset_at;

	if (c->in == IN_HUNG)
		return SIM_NEVER;
	t = earlier(t, c->boot_at);
	t = earlier(t, c->run_at);
	t = earlier(t, c->done_at);
	t = earlier(t, c->conn_deadline);
	t = earlier(t, c->conn_wait);
	t = earlier(t, c->scan_at);
	t = earlier(t, c->sntp_at);
	t = earlier(t, c->fault_at);
	t = earlier(t, c->late_at);
	t = earlier(t, wifi_next(c));
	if (c->server_timeout)
		for (int i = 0; i < SIM_LINKS; i++)
			if (c->link[i].state == LINK_OPEN && c->link[i].server)
				t = earlier(t, c->link[i].last_io + c->server_timeout * 1000000ull);
	return t;
}

static bool due(struct sim_core *c, uint64_t *t)
{
	if (*t > c->now)
		return false;
	*t = SIM_NEVER;
	return true;
}

/* Runs what is due, until nothing is. */
static void run_due(struct sim_core *c)
{
	for (int guard = 0; guard < 64 && c->in != IN_HUNG; guard++) {
		if (sim_core_next(c) > c->now)
			break;
		if (due(c, &c->fault_at)) {
			sudden_reset(c, c->fault_rom);
			continue;
		}
		if (due(c, &c->reset_at)) {
			reset_now(c);
			continue;
		}
		if (due(c, &c->late_at))
			sim_sayf(c, "%s", c->late);
		if (due(c, &c->boot_at)) {
			c->ready = true;
			idle(c);
			sim_sayf(c, "\r\nready\r\n");
		}
		if (c->run_at <= c->now) {
			if (c->in == IN_QUEUED)
				run_queued(c);
			else if (c->in == IN_DATA_DONE)
				block_done(c);
			else
				c->run_at = SIM_NEVER;
		}
		if (due(c, &c->done_at))
			sim_done(c, c->done_res);
		if (due(c, &c->scan_at))
			wifi_scan_done(c);
		wifi_tick(c);
		ip_tick(c);
	}
}

/* Ends each entry into the core. */
static void settle(struct sim_core *c)
{
	bool again;

	do {
		run_due(c);
		sim_pump(c);
		/* The pump may have found the link gone on which a send is waiting. */
		again = c->sending && c->send_failed;
		if (again)
			ip_stream(c);
	} while (again);
	if (c->dirty) {
		c->dirty = false;
		/* The supply breaks down while the flash is written: it holds the old or the new value, never half of one. */
		if (take_fault(c, SIM_FAULT_BROWNOUT_OLD)) {
			nvs_free(&c->nvs);
			nvs_load(&c->nvs, buf_data(&c->image), buf_len(&c->image));
			sudden_reset(c, true);
			return;
		}
		nvs_dump(&c->nvs, &c->image);
		if (c->ops->flash)
			c->ops->flash(c->ud);
		if (take_fault(c, SIM_FAULT_BROWNOUT_NEW))
			sudden_reset(c, true);
	}
}

void sim_core_tick(struct sim_core *c, uint64_t now)
{
	c->now = now;
	settle(c);
}

/* ---- output and events ---- */

const uint8_t *sim_core_output(const struct sim_core *c, size_t *len)
{
	*len = buf_len(&c->out);
	return buf_data(&c->out);
}

void sim_core_output_taken(struct sim_core *c, uint64_t now, size_t len)
{
	c->now = now;
	buf_eat(&c->out, len);
	settle(c);
}

void sim_core_on_open(struct sim_core *c, uint64_t now, int link, int err, uint16_t local_port)
{
	c->now = now;
	ip_on_open(c, link, err, local_port);
	settle(c);
}

void sim_core_peer(struct sim_core *c, int link, const char *ip, uint16_t port)
{
	struct link *l = &c->link[link];

	addr_text(l->ip, sizeof(l->ip), ip);
	l->port = port;
}

void sim_core_on_readable(struct sim_core *c, uint64_t now, int link)
{
	c->now = now;
	c->link[link].readable = true;
	settle(c);
}

void sim_core_on_writable(struct sim_core *c, uint64_t now, int link)
{
	c->now = now;
	if (c->send_link == link || c->in == IN_PASS)
		ip_stream(c);
	settle(c);
}

bool sim_core_may_accept(const struct sim_core *c)
{
	unsigned used = 0;
	bool free_one = false;

	for (int i = 0; i < SIM_LINKS; i++) {
		if (c->link[i].state == LINK_FREE)
			free_one = true;
		else if (c->link[i].server)
			used++;
	}
	return c->server_on && c->in != IN_HUNG && free_one && used < c->server_max;
}

int sim_core_on_accept(struct sim_core *c, uint64_t now, const char *ip, uint16_t port,
		       uint16_t local_port)
{
	int i = 0;

	c->now = now;
	if (!sim_core_may_accept(c))
		return -EBUSY;
	while (c->link[i].state != LINK_FREE)
		i++;
	c->link[i].state = LINK_OPEN;
	c->link[i].type = c->server_type;
	c->link[i].v6 = c->server_v6;
	c->link[i].server = true;
	c->link[i].readable = true;
	c->link[i].wanted = true;
	c->link[i].last_io = now;
	addr_text(c->link[i].ip, sizeof(c->link[i].ip), ip);
	c->link[i].port = port;
	c->link[i].local_port = local_port;
	if (c->sysmsg & 2)
		sim_sayf(c, "+LINK_CONN:0,%d,\"%s\",1,\"%s\",%u,%u\r\n", i,
			 type_name(c->server_type, c->server_v6), c->link[i].ip, port, local_port);
	else
		sim_link_say(c, i, "CONNECT");
	return i;
}

void sim_core_on_resolved(struct sim_core *c, uint64_t now, int token, int err, const char *ip)
{
	c->now = now;
	ip_on_resolved(c, token, err, ip);
	settle(c);
}

void sim_core_on_sntp(struct sim_core *c, uint64_t now, int err, int64_t seconds)
{
	c->now = now;
	ip_on_sntp(c, err, seconds);
	settle(c);
}

void sim_core_on_ping(struct sim_core *c, uint64_t now, int err, unsigned ms)
{
	c->now = now;
	if (c->ping_query && c->in == IN_BUSY) {
		c->ping_query = false;
		c->conn_deadline = SIM_NEVER;
		if (err)
			sim_sayf(c, "+PING:TIMEOUT\r\n");
		else
			sim_sayf(c, "+PING:%u\r\n", ms);
		sim_done(c, err ? RES_ERROR : RES_OK);
	}
	settle(c);
}

void sim_core_fault(struct sim_core *c, uint64_t now, enum sim_fault fault, long value)
{
	c->now = now;
	switch (fault) {
	case SIM_FAULT_RESET:
	case SIM_FAULT_RESET_ROM:
		c->fault_rom = fault == SIM_FAULT_RESET_ROM;
		c->fault_at = ms_after(c, value);
		if (c->in == IN_HUNG)
			c->in = IN_OFF;
		break;
	case SIM_FAULT_HANG:
		c->in = IN_HUNG;
		break;
	case SIM_FAULT_HEAP:
		c->cfg.heap = value;
		break;
	default:
		c->fault[fault] = value;
		break;
	}
}

/* The chip looks for its network as often as it was told, or never. */
static void wifi_lost(struct sim_core *c, bool come_back)
{
	if (c->wifi == WIFI_UP || c->wifi == WIFI_ASSOCIATED) {
		wifi_leave(c, true);
		if (c->wifi_by_cmd)
			wifi_join_lost(c);
		else if (come_back && c->jap.reconn)
			c->wifi_retry_at = ms_after(c, 1000 * c->jap.reconn);
	}
	settle(c);
}

void sim_core_wifi_drop(struct sim_core *c, uint64_t now, bool come_back)
{
	c->now = now;
	wifi_lost(c, come_back);
}

void sim_core_wifi_away(struct sim_core *c, uint64_t now, unsigned ms)
{
	c->now = now;
	c->wifi_away = ms_after(c, ms);
	wifi_lost(c, true);
}

void sim_core_link_reset(struct sim_core *c, uint64_t now, int link)
{
	c->now = now;
	if (c->link[link].state == LINK_OPEN && c->in == IN_PASS)
		ip_pass_lost(c);
	else if (c->link[link].state == LINK_OPEN)
		sim_link_closed(c, link, true);
	settle(c);
}

void sim_core_set_clock(struct sim_core *c, uint64_t now, int64_t seconds)
{
	c->clock_base = seconds;
	c->clock_at = now;
}

/* No write of the chip's own: a brownout waits for the next one. */
int sim_core_mfg_erase(struct sim_core *c, const char *ns, const char *key)
{
	bool any = false;

	while (!nvs_erase(&c->nvs, ns, key))
		any = true;
	if (!any)
		return -ENOENT;
	nvs_dump(&c->nvs, &c->image);
	if (c->ops->flash)
		c->ops->flash(c->ud);
	return 0;
}

int64_t sim_core_clock(const struct sim_core *c, uint64_t now)
{
	return c->clock_base + (int64_t)((now - c->clock_at) / 1000000);
}

const uint8_t *sim_core_flash(struct sim_core *c, size_t *len)
{
	if (!buf_len(&c->image))
		nvs_dump(&c->nvs, &c->image);
	*len = buf_len(&c->image);
	return buf_data(&c->image);
}

/* ---- life ---- */

void sim_times_fast(struct sim_times *t)
{
	*t = (struct sim_times){
		.boot = 100,
		.join = 100,
		.join_fail = 300,
		.scan = 50,
		/* Not delays but the chip's own patience (captures 02, 46, 21). */
		.connect_timeout = 10000,
		.dns_timeout = 7000,
	};
}

void sim_times_real(struct sim_times *t)
{
	*t = (struct sim_times){
		.boot = 1200,
		.join = 3200,
		.join_fail = 16000,
		.scan = 1600,
		.flash = 250,
		.handshake = 400,
		.connect_timeout = 10000,
		.dns_timeout = 7000,
	};
}

void sim_config_init(struct sim_config *cfg)
{
	static const uint8_t mac[6] = { 0x24, 0x0a, 0xc4, 0x12, 0x34, 0x56 };

	memset(cfg, 0, sizeof(*cfg));
	memcpy(cfg->mac, mac, 6);
	cfg->tx_buffer = 8192;
	cfg->baud = 115200;
	sim_times_fast(&cfg->times);
}

const char *sim_core_firmwares(void)
{
	static char names[64];

	names[0] = 0;
	for (int i = 0; i < sim_n_profiles; i++) {
		if (i)
			strcat(names, " ");
		strcat(names, sim_profiles[i].name);
	}
	return names;
}

int sim_core_new(struct sim_core **ret, const struct sim_config *cfg,
		 const struct sim_core_ops *ops, void *ud, const uint8_t *image, size_t len,
		 uint64_t now)
{
	struct sim_core *c;
	int r;

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->cfg = *cfg;
	c->ops = ops;
	c->ud = ud;
	c->now = now;
	c->prof = profile_find(cfg->firmware);
	c->clock_at = now;
	c->conn_deadline = c->conn_wait = c->boot_at = SIM_NEVER;
	c->sntp_interval = 3600;
	if (!c->prof) {
		sim_core_free(c);
		return -EINVAL;
	}
	if (image) {
		r = nvs_load(&c->nvs, image, len);
		if (r < 0) {
			sim_core_free(c);
			return r;
		}
	} else {
		mfg_factory(c);
		c->dirty = true;
	}
	for (int i = 0; i < c->cfg.n_ap; i++) {
		static const uint8_t none[6], first[6] = { 0x10, 0x01, 0x00, 0xc4, 0x0a, 0x51 };
		uint8_t *bssid = c->cfg.ap[i].bssid;

		if (memcmp(bssid, none, 6))
			continue;
		memcpy(bssid, first, 6);
		bssid[5] += i;
	}
	nvs_dump(&c->nvs, &c->image);
	boot(c);
	settle(c);
	*ret = c;
	return 0;
}

struct sim_core *sim_core_free(struct sim_core *c)
{
	if (!c)
		return NULL;
	for (int i = 0; i < SIM_LINKS; i++)
		buf_free(&c->link[i].rx);
	nvs_free(&c->nvs);
	buf_free(&c->out);
	buf_free(&c->send);
	buf_free(&c->image);
	free(c);
	return NULL;
}
