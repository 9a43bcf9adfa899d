/* SPDX-License-Identifier: MIT */
/* TCP/IP: connect, send in all its forms, receive settings, server, DNS, SNTP, ping. */
#include "cmds.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#define HEAP_HANDSHAKE 30000 /* what a TLS handshake needs at its peak */

static const char *const type_names[2][3] = {
	{ [SIM_TCP] = "TCP", [SIM_UDP] = "UDP", [SIM_SSL] = "SSL" },
	{ [SIM_TCP] = "TCPv6", [SIM_UDP] = "UDPv6", [SIM_SSL] = "SSLv6" },
};

const char *type_name(enum sim_type t, bool v6)
{
	return type_names[v6][t];
}

/* The types of IPv6 are types only while CIPV6 is on. */
static int arg_type(struct sim_core *c, struct call *call, int i, enum sim_type *type, bool *v6)
{
	const char *name;

	if (arg_str(c, call, i, &name) < 0)
		return -EINVAL;
	for (int k = 0; k < 6; k++)
		if (!strcmp(name, type_names[k / 3][k % 3])) {
			*type = k % 3;
			*v6 = k / 3;
			return *v6 && !c->ipv6 ? -EINVAL : 0;
		}
	return -EINVAL;
}

/* An address that can be used as it is. */
static bool is_ip(const struct sim_core *c, const char *text)
{
	return is_ip4(text) || (c->ipv6 && is_ip6(text));
}

/* ---- connect ---- */

void sim_connect_abort(struct sim_core *c)
{
	if (c->conn.stage == CONN_NAME && c->ops->resolve_cancel)
		c->ops->resolve_cancel(c->ud, 0);
	if (c->conn.stage != CONN_NONE)
		sim_link_closed(c, c->conn.link, false);
	c->conn.stage = CONN_NONE;
	c->conn_deadline = c->conn_wait = SIM_NEVER;
}

/* The chip's own numbers for the commonest failures of +ERRNO (certificate flags, mbedTLS, esp-tls). */
static unsigned err_no(int err)
{
	switch (-err) {
	case EKEYEXPIRED:
		return 0x1;
	case ENOTUNIQ:
		return 0x4;
	case EKEYREJECTED:
		return 0x8;
	case EKEYREVOKED:
		return 0x200;
	case ECONNREFUSED:
		return 0x8004;
	case EHOSTUNREACH:
	case ENOENT:
		return 0x8001;
	case EPROTO:
		return 0x7780;
	case ENOMEM:
		return 0x7f00;
	default:
		return 0x8006;
	}
}

static void say_errno(struct sim_core *c, int err)
{
	if (c->prof->err_no && c->syslog)
		sim_sayf(c, "+ERRNO:0x%x\r\n", err_no(err));
}

static void conn_failed(struct sim_core *c, int err)
{
	bool reconnect = c->conn.reconnect;

	sim_connect_abort(c);
	if (reconnect) {
		ip_pass_lost(c);
		return;
	}
	say_errno(c, err);
	sim_done(c, RES_ERROR);
}

static void conn_open(struct sim_core *c)
{
	struct link *l = &c->link[c->conn.link];
	bool reconnect = c->conn.reconnect;

	c->conn.stage = CONN_NONE;
	c->conn_deadline = c->conn_wait = SIM_NEVER;
	l->state = LINK_OPEN;
	l->readable = true;
	l->last_io = c->now;
	c->had_link = true;
	if (reconnect) {
		if (c->in == IN_PASS)
			ip_stream(c);
		return;
	}
	if (c->sysmsg & 2)
		sim_sayf(c, "+LINK_CONN:0,%d,\"%s\",0,\"%s\",%u,%u\r\n", c->conn.link,
			 type_name(l->type, l->v6), l->ip, l->port, l->local_port);
	else
		sim_link_say(c, c->conn.link, "CONNECT");
	sim_done(c, RES_OK);
}

static int conn_dial(struct sim_core *c)
{
	struct connect *n = &c->conn;
	struct link *l = &c->link[n->link];
	struct sim_open o = {
		.type = n->type,
		.ip = n->ip,
		.port = n->port,
		.local_port = n->local_port,
		.udp_mode = n->udp_mode,
	};
	struct sim_tls tls;
	int r;

	if (n->type == SIM_SSL) {
		r = ssl_fill(c, n->link, n->host, &tls);
		if (r < 0)
			return r;
		o.tls = &tls;
	}
	addr_text(l->ip, sizeof(l->ip), n->ip);
	/* Beyond the link nothing answers to a chip without a global address. */
	n->stage = n->v6 && c->ip6 != IP6_GLOBAL && !is_link_local(n->ip) ? CONN_NO_NET
									  : CONN_OPENING;
	if (n->stage == CONN_NO_NET)
		return 0;
	return c->ops->open ? c->ops->open(c->ud, n->link, &o) : -ENETUNREACH;
}

/* 0: on its way. */
static int conn_start(struct sim_core *c, unsigned timeout_ms)
{
	struct connect *n = &c->conn;
	struct link *l = &c->link[n->link];
	struct sim_tls tls;
	int r = 0;

	if (n->type == SIM_SSL) {
		/* Missing material is found before anything is sent (capture 42). */
		r = ssl_fill(c, n->link, n->host, &tls);
		if (r < 0)
			return r;
		if (sim_heap_free(c) < HEAP_HANDSHAKE)
			return -ENOMEM;
	}
	l->state = LINK_CONNECTING;
	l->type = n->type;
	l->v6 = n->v6;
	l->server = l->announced = l->peer_closed = l->readable = false;
	l->port = n->port;
	n->timeout_ms = timeout_ms ? timeout_ms : c->cfg.times.connect_timeout;
	c->conn_deadline = ms_after(c, n->timeout_ms);
	c->conn_wait = SIM_NEVER;
	n->stage = CONN_NO_NET;
	if (!wifi_is_up(c))
		return 0;
	if (n->v6 && c->ip6 == IP6_NONE) {
		r = -EHOSTUNREACH;
	} else if (n->v6 ? is_ip6(n->host) : is_ip4(n->host)) {
		snprintf(n->ip, sizeof(n->ip), "%s", n->host);
		r = conn_dial(c);
	} else if (is_ip4(n->host) || is_ip6(n->host)) {
		r = -ENOENT; /* of the other family: lwIP knows no such host */
	} else {
		uint64_t patience = ms_after(c, c->cfg.times.dns_timeout);

		n->stage = CONN_NAME;
		if (patience < c->conn_deadline)
			c->conn_deadline = patience;
		r = c->ops->resolve
			    ? c->ops->resolve(c->ud, 0, n->host, n->v6 ? SIM_V6 : SIM_V4, c->dns[0])
			    : -ENOENT;
	}
	if (r < 0)
		sim_connect_abort(c);
	return r;
}

static enum result start(struct sim_core *c, struct call *call, int i, int link)
{
	struct connect *n = &c->conn;
	long long port, v = 0, timeout = 0, local = 0;
	const char *host, *text;
	enum sim_type type;
	bool v6;
	int r;

	if (arg_type(c, call, i, &type, &v6) < 0 || arg_str(c, call, i + 1, &host) < 0 ||
	    !host[0] || strlen(host) > SIM_NAME_MAX ||
	    arg_range(c, call, i + 2, 1, 65535, &port) < 0)
		return RES_ERROR;
	i += 3;
	if (type == SIM_UDP) {
		if (arg_given(call, i) && arg_range(c, call, i, 1, 65535, &local) < 0)
			return RES_ERROR;
		i++;
		if (arg_given(call, i) && arg_range(c, call, i, 0, 2, &v) < 0)
			return RES_ERROR;
		i++;
	} else {
		if (arg_given(call, i) && arg_range(c, call, i, 0, 7200, &v) < 0)
			return RES_ERROR;
		i++;
	}
	if (arg_given(call, i) && arg_str(c, call, i, &text) < 0)
		return RES_ERROR;
	i++;
	if (c->prof->start_timeout) {
		if (arg_given(call, i) && arg_range(c, call, i, 0, 60000, &timeout) < 0)
			return RES_ERROR;
		i++;
	}
	if (call->n > i || c->link[link].state != LINK_FREE || c->conn.stage != CONN_NONE)
		return RES_ERROR;
	*n = (struct connect){
		.link = link,
		.type = type,
		.v6 = v6,
		.port = port,
		.local_port = local,
		.udp_mode = type == SIM_UDP ? v : 0,
	};
	snprintf(n->host, sizeof(n->host), "%s", host);
	r = conn_start(c, timeout);
	if (r < 0) {
		say_errno(c, r);
		return RES_ERROR;
	}
	return RES_PENDING;
}

HANDLER(cipstart_set)
{
	int i = 0, link;

	if (arg_link(c, call, &i, SIM_LINKS - 1, &link) < 0)
		return RES_ERROR;
	return start(c, call, i, link);
}

HANDLER(cipstartex_set)
{
	int link = 0;

	if (c->mux)
		while (link < SIM_LINKS && c->link[link].state != LINK_FREE)
			link++;
	return link < SIM_LINKS ? start(c, call, 0, link) : RES_ERROR;
}

void ip_on_open(struct sim_core *c, int link, int err, uint16_t local_port)
{
	if (c->conn.stage != CONN_OPENING || c->conn.link != link)
		return;
	if (err) {
		conn_failed(c, err);
		return;
	}
	c->link[link].local_port = local_port;
	if (c->conn.type == SIM_SSL && c->cfg.times.handshake) {
		c->conn.stage = CONN_HANDSHAKE;
		c->conn_wait = ms_after(c, c->cfg.times.handshake);
		return;
	}
	conn_open(c);
}

/* Passthrough lost its peer: nothing is said, the link comes back by itself (capture 51). */
void ip_pass_lost(struct sim_core *c)
{
	struct link *l = &c->link[0];
	struct connect n = {
		.type = l->type,
		.v6 = l->v6,
		.port = l->port,
		.stage = CONN_PAUSE,
		.reconnect = true,
	};

	snprintf(n.host, sizeof(n.host), "%s", l->ip);
	if (l->state == LINK_OPEN && l->type == SIM_SSL) {
		/* This time the names stay: the chip needs them again. */
		l->type = SIM_TCP;
		sim_link_closed(c, 0, false);
		l->type = SIM_SSL;
	} else {
		sim_link_closed(c, 0, false);
	}
	l->state = LINK_CONNECTING;
	c->conn = n;
	c->conn_deadline = SIM_NEVER;
	c->conn_wait = ms_after(c, 100 * c->reconn_interval);
}

static void conn_tick(struct sim_core *c)
{
	if (c->conn_wait <= c->now) {
		c->conn_wait = SIM_NEVER;
		if (c->conn.stage == CONN_HANDSHAKE) {
			conn_open(c);
		} else if (c->conn.stage == CONN_PAUSE) {
			c->link[0].state = LINK_FREE;
			if (!wifi_is_up(c) || conn_start(c, 0) < 0)
				ip_pass_lost(c);
		}
	}
	if (c->conn_deadline > c->now)
		return;
	c->conn_deadline = SIM_NEVER;
	if (c->conn.stage != CONN_NONE) {
		/* A name without an answer is one without an address. */
		conn_failed(c, c->conn.stage == CONN_NAME ? -ENOENT : -ETIMEDOUT);
	} else if (c->domain_query) {
		c->domain_query = false;
		if (c->ops->resolve_cancel)
			c->ops->resolve_cancel(c->ud, 0);
		sim_done(c, RES_ERROR);
	} else if (c->ping_query) {
		c->ping_query = false;
		sim_sayf(c, "+PING:TIMEOUT\r\n");
		sim_done(c, RES_ERROR);
	}
}

/* ---- close ---- */

static void close_open(struct sim_core *c, bool v4_only, bool say)
{
	for (int i = 0; i < SIM_LINKS; i++) {
		const struct link *l = &c->link[i];

		if (l->state != LINK_OPEN || (v4_only && l->v6))
			continue;
		if (c->in == IN_PASS)
			ip_pass_lost(c);
		else
			sim_link_closed(c, i, say);
	}
}

void ip_close_all(struct sim_core *c, bool say)
{
	close_open(c, false, say);
}

/* Links do not survive that their own address goes. */
void ip4_changed(struct sim_core *c)
{
	close_open(c, true, true);
}

/* The Wi-Fi has gone: whoever waits for an answer of the network has waited long enough. */
void ip_net_lost(struct sim_core *c)
{
	if (c->conn_deadline != SIM_NEVER)
		c->conn_deadline = c->now;
}

static enum result close_one(struct sim_core *c, int i)
{
	struct link *l = &c->link[i];

	if (l->state == LINK_FREE)
		return RES_ERROR;
	if (l->state == LINK_CONNECTING) {
		sim_connect_abort(c);
		sim_link_say(c, i, "CLOSED");
	} else {
		sim_link_closed(c, i, true);
	}
	return RES_OK;
}

HANDLER(cipclose_exec)
{
	return c->mux ? RES_ERROR : close_one(c, 0);
}

HANDLER(cipclose_set)
{
	long long i;

	if (!c->mux || call->n != 1 || arg_range(c, call, 0, 0, SIM_LINKS, &i) < 0)
		return RES_ERROR;
	if (i < SIM_LINKS)
		return close_one(c, i);
	ip_close_all(c, true);
	return RES_OK;
}

/* ---- send ---- */

static enum result send_prompt(struct sim_core *c, struct call *call, enum prompt prompt,
			       long long max)
{
	long long len, port;
	const char *ip;
	int i = 0, link;

	if (arg_link(c, call, &i, SIM_LINKS - 1, &link) < 0 ||
	    arg_range(c, call, i, 1, max, &len) < 0)
		return RES_ERROR;
	i++;
	if (c->link[link].state != LINK_OPEN || c->cipmode)
		return RES_ERROR;
	if (call->n > i) {
		/* A datagram to somebody else. */
		if (c->link[link].type != SIM_UDP || call->n != i + 2 ||
		    arg_str(c, call, i, &ip) < 0 || !(c->link[link].v6 ? is_ip6(ip) : is_ip4(ip)) ||
		    arg_range(c, call, i + 1, 1, 65535, &port) < 0 || !c->ops->udp_peer ||
		    c->ops->udp_peer(c->ud, link, ip, port) < 0)
			return RES_ERROR;
	}
	sim_open_prompt(c, prompt, link, len);
	return RES_PROMPT;
}

HANDLER(cipsend_set)
{
	return send_prompt(c, call, PROMPT_SEND, SEND_MAX);
}

HANDLER(cipsendex_set)
{
	return send_prompt(c, call, PROMPT_SENDEX, SEND_MAX);
}

HANDLER(cipsendl_set)
{
	return send_prompt(c, call, PROMPT_SENDL, 0x7fffffff);
}

HANDLER(cipsend_exec)
{
	if (!c->cipmode || c->mux || c->link[0].state != LINK_OPEN)
		return RES_ERROR;
	buf_clear(&c->send);
	c->send_link = 0;
	c->in = IN_PASS;
	sim_sayf(c, "\r\nOK\r\n\r\n>");
	return RES_SILENT;
}

/* Gives up to max bytes of the block to the network; true if it wants no more now. */
static bool give(struct sim_core *c, size_t max)
{
	struct link *l = &c->link[c->send_link];
	ssize_t n;

	if (c->send_failed)
		return false;
	n = c->ops->send ? c->ops->send(c->ud, c->send_link, buf_data(&c->send), max) : -EPIPE;
	if (n < 0) {
		c->send_failed = true;
		return false;
	}
	l->last_io = c->now;
	buf_eat(&c->send, n);
	c->send_done += n;
	return n == 0;
}

static void progress(struct sim_core *c)
{
	while (c->send_reported + c->sendl_report <= c->send_done) {
		c->send_reported += c->sendl_report;
		sim_sayf(c, "+CIPSENDL:%zu,%zu\r\n", c->send_reported, c->send_got);
	}
}

static void finish_send(struct sim_core *c)
{
	c->sending = false;
	buf_clear(&c->send);
	sim_sayf(c, c->send_failed ? "\r\nSEND FAIL\r\n" : "\r\nSEND OK\r\n");
	sim_done(c, RES_SILENT);
}

static void stream_long(struct sim_core *c)
{
	bool complete = c->in != IN_DATA;
	long fail = c->fault[SIM_FAULT_SEND_FAIL];

	c->sending = complete;
	while (buf_len(&c->send) && !c->send_failed) {
		size_t n = buf_len(&c->send);

		if (n > c->sendl_chunk)
			n = c->sendl_chunk;
		else if (n < c->sendl_chunk && !complete)
			break;
		if (fail > 0) {
			size_t left = (size_t)fail - 1 > c->send_done ? fail - 1 - c->send_done : 0;

			if (n > left)
				n = left;
		}
		if (!n)
			break;
		if (give(c, n))
			return;
		progress(c);
	}
	/* It has sent its share, or all there was. */
	if (fail > 0 && (complete || c->send_done + 1 >= (size_t)fail)) {
		c->fault[SIM_FAULT_SEND_FAIL] = 0;
		c->send_failed = true;
	}
	if (c->send_failed)
		buf_clear(&c->send);
	if (!complete)
		return;
	if (!c->send_failed && c->send_reported < c->send_need)
		sim_sayf(c, "+CIPSENDL:%zu,%zu\r\n", c->send_need, c->send_need);
	finish_send(c);
}

/* Moves what waits for the network: passthrough, CIPSENDL, or a complete block. */
void ip_stream(struct sim_core *c)
{
	if (c->in == IN_PASS) {
		if (c->link[0].state != LINK_OPEN)
			return;
		c->send_failed = false;
		while (buf_len(&c->send) && !c->send_failed)
			if (give(c, buf_len(&c->send)))
				return;
		if (c->send_failed) {
			c->send_failed = false;
			ip_pass_lost(c);
		}
		return;
	}
	if (c->in == IN_DATA || c->in == IN_DATA_DONE) {
		if (c->prompt == PROMPT_SENDL)
			stream_long(c);
		return;
	}
	if (!c->sending)
		return;
	while (buf_len(&c->send) && !c->send_failed)
		if (give(c, buf_len(&c->send)))
			return;
	finish_send(c);
}

void ip_block_done(struct sim_core *c)
{
	if (c->prompt == PROMPT_SENDL) {
		ip_stream(c);
		return;
	}
	sim_sayf(c, "\r\nRecv %zu bytes\r\n", c->send_got);
	c->in = IN_BUSY;
	c->sending = true;
	if (c->fault[SIM_FAULT_SEND_FAIL] > 0) {
		size_t part = c->fault[SIM_FAULT_SEND_FAIL] - 1;

		c->fault[SIM_FAULT_SEND_FAIL] = 0;
		if (part > buf_len(&c->send))
			part = buf_len(&c->send);
		while (part && !c->send_failed) {
			size_t before = buf_len(&c->send);

			if (give(c, part))
				break;
			part -= before - buf_len(&c->send);
		}
		c->send_failed = true;
	}
	ip_stream(c);
}

void ip_send_cancel(struct sim_core *c)
{
	bool stream = c->prompt == PROMPT_SENDL;

	/* What CIPSENDL has taken still goes out (capture 63). */
	while (stream && buf_len(&c->send) && !c->send_failed)
		if (give(c, buf_len(&c->send)))
			break;
	buf_clear(&c->send);
	c->sending = false;
	sim_sayf(c, stream ? "\r\nSEND CANCELLED\r\n" : "\r\nSEND Canceled\r\n");
	sim_done(c, RES_SILENT);
}

HANDLER(cipsendlcfg_query)
{
	sim_sayf(c, "+CIPSENDLCFG:%u,%u\r\n", c->sendl_report, c->sendl_chunk);
	return RES_OK;
}

HANDLER(cipsendlcfg_set)
{
	long long report, chunk = IPD_MAX;

	if (!call->n || call->n > 2 || arg_range(c, call, 0, 100, 1 << 20, &report) < 0 ||
	    (arg_given(call, 1) && arg_range(c, call, 1, 100, IPD_MAX, &chunk) < 0))
		return RES_ERROR;
	c->sendl_report = report;
	c->sendl_chunk = chunk;
	return RES_OK;
}

/* ---- receive ---- */

HANDLER(cipdinfo_query)
{
	sim_sayf(c, "+CIPDINFO:%s\r\n", c->dinfo ? "true" : "false");
	return RES_OK_BARE;
}

HANDLER(cipdinfo_set)
{
	long long on;

	if (call->n != 1 || arg_range(c, call, 0, 0, 1, &on) < 0)
		return RES_ERROR;
	c->dinfo = on;
	return RES_OK;
}

HANDLER(ciprecvmode_query)
{
	sim_sayf(c, "+CIPRECVMODE:%d\r\n", c->passive[0]);
	return RES_OK;
}

HANDLER(ciprecvmode_set)
{
	long long mode;

	if (call->n != 1 || arg_range(c, call, 0, 0, 1, &mode) < 0)
		return RES_ERROR;
	memset(c->passive, mode, sizeof(c->passive));
	return RES_OK;
}

HANDLER(ciprecvtype_query)
{
	for (int i = 0; i < (c->mux ? SIM_LINKS : 1); i++)
		sim_sayf(c, "+CIPRECVTYPE:%d,%d\r\n", i, c->passive[i]);
	return RES_OK;
}

HANDLER(ciprecvtype_set)
{
	long long mode;
	int i = 0, link;

	if (arg_link(c, call, &i, SIM_LINKS, &link) < 0 || call->n != i + 1 ||
	    arg_range(c, call, i, 0, 1, &mode) < 0)
		return RES_ERROR;
	for (int k = 0; k < SIM_LINKS; k++)
		if (link == SIM_LINKS || link == k) {
			c->passive[k] = mode;
			c->link[k].announced = false;
		}
	return RES_OK;
}

HANDLER(ciprecvlen_query)
{
	sim_sayf(c, "+CIPRECVLEN:");
	for (int i = 0; i < (c->mux ? SIM_LINKS : 1); i++) {
		bool closed = c->prof->recvlen_minus && c->link[i].state != LINK_OPEN;

		sim_sayf(c, "%s%d", i ? "," : "", closed ? -1 : (int)buf_len(&c->link[i].rx));
	}
	sim_sayf(c, "\r\n");
	return RES_OK;
}

HANDLER(ciprecvdata_set)
{
	int i = 0, link;
	struct link *l;
	long long len;

	if (arg_link(c, call, &i, SIM_LINKS - 1, &link) < 0 || call->n != i + 1 ||
	    arg_range(c, call, i, 1, 0x7fffffff, &len) < 0)
		return RES_ERROR;
	l = &c->link[link];
	if (!buf_len(&l->rx) || !c->passive[link])
		return RES_ERROR;
	if (len > (long long)buf_len(&l->rx))
		len = buf_len(&l->rx);
	sim_sayf(c, "+CIPRECVDATA:%lld,", len);
	if (c->dinfo)
		sim_sayf(c, "\"%s\",%u,", l->ip, l->port);
	sim_say(c, buf_data(&l->rx), len);
	sim_say(c, "\r\n", 2);
	buf_eat(&l->rx, len);
	l->announced = false;
	return RES_OK_BARE;
}

/* ---- modes and states ---- */

HANDLER(cipmux_query)
{
	sim_sayf(c, "+CIPMUX:%d\r\n", c->mux);
	return RES_OK;
}

HANDLER(cipmux_set)
{
	long long on;

	if (call->n != 1 || arg_range(c, call, 0, 0, 1, &on) < 0)
		return RES_ERROR;
	if (on != c->mux && (sim_any_link(c) || c->server_on || c->cipmode))
		return RES_ERROR;
	c->mux = on;
	return RES_OK;
}

HANDLER(cipmode_query)
{
	sim_sayf(c, "+CIPMODE:%u\r\n", c->cipmode);
	return RES_OK;
}

HANDLER(cipmode_set)
{
	long long mode;

	if (call->n != 1 || arg_range(c, call, 0, 0, 1, &mode) < 0 || (mode && c->mux))
		return RES_ERROR;
	c->cipmode = mode;
	return RES_OK;
}

static void say_links(struct sim_core *c, const char *what)
{
	for (int i = 0; i < SIM_LINKS; i++) {
		const struct link *l = &c->link[i];

		if (l->state == LINK_OPEN)
			sim_sayf(c, "+%s:%d,\"%s\",\"%s\",%u,%u,%d\r\n", what, i,
				 type_name(l->type, l->v6), l->ip, l->port, l->local_port,
				 l->server);
	}
}

HANDLER(cipstate_query)
{
	say_links(c, "CIPSTATE");
	return RES_OK;
}

HANDLER(cipstatus_exec)
{
	int status = 5;

	if (sim_any_link(c))
		status = 3;
	else if (wifi_is_up(c))
		status = c->had_link ? 4 : 2;
	else if (!(c->mode & 1))
		status = 0;
	sim_sayf(c, "STATUS:%d\r\n", status);
	say_links(c, "CIPSTATUS");
	return RES_OK;
}

void ip_boot(struct sim_core *c)
{
	static const int default_opt[4] = { -1, 0, 0, 0 };
	uint32_t len;
	const int *saved = nvs_saved(&c->nvs, "tcpopt", &len);

	for (int i = 0; i < SIM_LINKS; i++)
		memcpy(c->tcpopt[i], default_opt, sizeof(default_opt));
	if (saved && len == sizeof(c->tcpopt))
		memcpy(c->tcpopt, saved, len);
	c->had_link = false;
}

HANDLER(ciptcpopt_query)
{
	for (int i = 0; i < (c->mux ? SIM_LINKS : 1); i++) {
		const int *o = c->tcpopt[i];

		sim_sayf(c, "+CIPTCPOPT:%d,%d,%d,%d,%d\r\n", i, o[0], o[1], o[2], o[3]);
	}
	return RES_OK;
}

HANDLER(ciptcpopt_set)
{
	static const int min[4] = { -1, 0, 0, 0 }, max[4] = { 32767, 1, 0x7fffffff, 7200 };
	int i = 0, link, opt[4] = { -1, 0, 0, 0 };
	long long v;

	if (arg_link(c, call, &i, SIM_LINKS, &link) < 0 || call->n <= i || call->n > i + 4)
		return RES_ERROR;
	for (int k = 0; k < 4; k++) {
		if (!arg_given(call, i + k))
			continue;
		if (arg_range(c, call, i + k, min[k], max[k], &v) < 0)
			return RES_ERROR;
		opt[k] = v;
	}
	for (int k = 0; k < SIM_LINKS; k++)
		if (!c->mux || link == SIM_LINKS || link == k)
			memcpy(c->tcpopt[k], opt, sizeof(opt));
	if (c->no_store)
		return RES_OK;
	nvs_save(&c->nvs, "tcpopt", c->tcpopt, sizeof(c->tcpopt));
	c->dirty = true;
	return sim_flash_done(c, RES_OK);
}

HANDLER(cipreconnintv_query)
{
	sim_sayf(c, "+CIPRECONNINTV:%u\r\n", c->reconn_interval);
	return RES_OK;
}

HANDLER(cipreconnintv_set)
{
	long long v;

	if (call->n != 1 || arg_range(c, call, 0, 1, 36000, &v) < 0)
		return RES_ERROR;
	c->reconn_interval = v;
	return RES_OK;
}

HANDLER(cipconnpersist_query)
{
	sim_sayf(c, "+CIPCONNPERSIST:%d\r\n", c->persist);
	return RES_OK;
}

HANDLER(cipconnpersist_set)
{
	long long on;

	if (call->n != 1 || arg_range(c, call, 0, 0, 1, &on) < 0)
		return RES_ERROR;
	c->persist = on;
	return RES_OK;
}

/* ---- server ---- */

HANDLER(cipserver_query)
{
	if (c->server_on)
		sim_sayf(c, "+CIPSERVER:1,%u,\"%s\",%d\r\n", c->server_port,
			 type_name(c->server_type, c->server_v6), c->server_ca);
	else
		sim_sayf(c, "+CIPSERVER:0\r\n");
	return RES_OK;
}

static struct sim_blob server_blob(struct sim_core *c, const char *name)
{
	const struct nvs_entry *e = nvs_get(&c->nvs, name, name);

	if (!e || e->type != NVS_BINARY)
		return (struct sim_blob){ 0 };
	return (struct sim_blob){ e->data, e->len };
}

static void server_stop(struct sim_core *c, bool close_clients)
{
	if (c->server_on && c->ops->unlisten)
		c->ops->unlisten(c->ud);
	c->server_on = false;
	for (int i = 0; close_clients && i < SIM_LINKS; i++)
		if (c->link[i].state == LINK_OPEN && c->link[i].server)
			sim_link_closed(c, i, true);
}

HANDLER(cipserver_set)
{
	long long on, port = 333, extra = 0;
	enum sim_type type = SIM_TCP;
	struct sim_tls tls = { 0 };
	bool v6 = false;
	int r = 0;

	if (!c->mux || call->n > 5 || arg_range(c, call, 0, 0, 1, &on) < 0)
		return RES_ERROR;
	if (!on) {
		if (arg_given(call, 1) && arg_range(c, call, 1, 0, 1, &extra) < 0)
			return RES_ERROR;
		server_stop(c, extra);
		return RES_OK;
	}
	if ((arg_given(call, 1) && arg_range(c, call, 1, 1, 65535, &port) < 0) ||
	    (arg_given(call, 2) && arg_type(c, call, 2, &type, &v6) < 0) || type == SIM_UDP ||
	    (arg_given(call, 3) &&
	     arg_range(c, call, 3, 0, type == SIM_SSL ? 1 : 7200, &extra) < 0))
		return RES_ERROR;
	if (c->server_on)
		return RES_OK; /* and nothing changes (capture 50) */
	if (type == SIM_SSL) {
		tls.cert = server_blob(c, "server_cert");
		tls.key = server_blob(c, "server_key");
		tls.time = sim_core_clock(c, c->now);
		if (extra) {
			tls.verify = true;
			tls.ca = server_blob(c, "server_ca");
		}
		if (!tls.cert.data || !tls.key.data || (extra && !tls.ca.data))
			r = -ENOKEY;
	}
	if (!r && c->ops->listen)
		r = c->ops->listen(c->ud, port, v6, type == SIM_SSL ? &tls : NULL);
	if (r < 0) {
		say_errno(c, r);
		return RES_ERROR;
	}
	c->server_on = true;
	c->server_port = port;
	c->server_type = type;
	c->server_v6 = v6;
	c->server_ca = type == SIM_SSL && extra;
	return RES_OK;
}

HANDLER(cipservermaxconn_query)
{
	sim_sayf(c, "+CIPSERVERMAXCONN:%u\r\n", c->server_max);
	return RES_OK;
}

HANDLER(cipservermaxconn_set)
{
	long long n;

	if (c->server_on || call->n != 1 || arg_range(c, call, 0, 1, SIM_LINKS, &n) < 0)
		return RES_ERROR;
	c->server_max = n;
	return RES_OK;
}

HANDLER(cipsto_query)
{
	sim_sayf(c, "+CIPSTO:%u\r\n", c->server_timeout);
	return RES_OK;
}

HANDLER(cipsto_set)
{
	long long s;

	if (call->n != 1 || arg_range(c, call, 0, 0, 7200, &s) < 0)
		return RES_ERROR;
	c->server_timeout = s;
	return RES_OK;
}

/* ---- names, ping, time ---- */

static enum result ask_name(struct sim_core *c, const char *name, enum sim_family family,
			    unsigned timeout_ms)
{
	if (!wifi_is_up(c) || !c->ops->resolve)
		return RES_ERROR;
	c->conn_deadline = ms_after(c, timeout_ms);
	if (c->ops->resolve(c->ud, 0, name, family, c->dns[0]) < 0) {
		c->conn_deadline = SIM_NEVER;
		return RES_ERROR;
	}
	return RES_PENDING;
}

static enum sim_family any_family(const struct sim_core *c)
{
	return c->ipv6 ? SIM_ANY : SIM_V4;
}

HANDLER(cipdomain_set)
{
	char text[SIM_NAME_MAX + 1];
	long long net = SIM_ANY, timeout = c->cfg.times.dns_timeout;
	enum result res;
	const char *name;

	if (call->n > (c->prof->start_timeout ? 3 : 2) || arg_str(c, call, 0, &name) < 0 ||
	    !name[0] || (arg_given(call, 1) && arg_range(c, call, 1, SIM_ANY, SIM_V6, &net) < 0) ||
	    (arg_given(call, 2) && arg_range(c, call, 2, 0, 60000, &timeout) < 0) ||
	    c->conn.stage != CONN_NONE)
		return RES_ERROR;
	if (net == SIM_ANY)
		net = any_family(c);
	if (net == SIM_V6 && !c->ipv6)
		return RES_ERROR;
	if (is_ip4(name) || is_ip6(name)) {
		if (is_ip6(name) ? net == SIM_V4 : net == SIM_V6)
			return RES_ERROR;
		addr_text(text, sizeof(text), name);
		sim_sayf(c, "+CIPDOMAIN:\"%s\"\r\n", text);
		return RES_OK;
	}
	res = ask_name(c, name, net, timeout ? timeout : c->cfg.times.dns_timeout);
	c->domain_query = res == RES_PENDING;
	return res;
}

static enum result ping(struct sim_core *c, const char *ip)
{
	c->ping_query = true;
	c->conn_deadline = ms_after(c, 1000);
	if (c->ops->ping && !c->ops->ping(c->ud, ip))
		return RES_PENDING;
	c->ping_query = false;
	c->conn_deadline = SIM_NEVER;
	sim_sayf(c, "+PING:TIMEOUT\r\n");
	return RES_ERROR;
}

HANDLER(ping_set)
{
	enum result res;
	const char *host;

	if (call->n != 1 || arg_str(c, call, 0, &host) < 0 || !host[0] ||
	    c->conn.stage != CONN_NONE)
		return RES_ERROR;
	if (is_ip(c, host))
		return wifi_is_up(c) ? ping(c, host) : RES_ERROR;
	res = ask_name(c, host, any_family(c), c->cfg.times.dns_timeout);
	c->ping_query = res == RES_PENDING;
	return res;
}

void ip_on_resolved(struct sim_core *c, int token, int err, const char *ip)
{
	char text[SIM_NAME_MAX + 1];
	int r;

	if (token == 1) {
		if (!c->sntp_resolving)
			return;
		c->sntp_resolving = false;
		c->sntp_at = SIM_NEVER;
		if (err || !c->ops->sntp || c->ops->sntp(c->ud, ip) < 0)
			ip_on_sntp(c, -EHOSTUNREACH, 0);
		return;
	}
	if (c->conn.stage == CONN_NAME) {
		if (err) {
			conn_failed(c, -ENOENT);
			return;
		}
		snprintf(c->conn.ip, sizeof(c->conn.ip), "%s", ip);
		c->conn_deadline = ms_after(c, c->conn.timeout_ms);
		r = conn_dial(c);
		if (r < 0)
			conn_failed(c, r);
		return;
	}
	if (c->domain_query) {
		c->domain_query = false;
		c->conn_deadline = SIM_NEVER;
		if (!err) {
			addr_text(text, sizeof(text), ip);
			sim_sayf(c, "+CIPDOMAIN:\"%s\"\r\n", text);
		}
		sim_done(c, err ? RES_ERROR : RES_OK);
	} else if (c->ping_query) {
		c->ping_query = false;
		c->conn_deadline = SIM_NEVER;
		sim_done(c, err ? RES_ERROR : ping(c, ip));
	}
}

HANDLER(cipsntpcfg_query)
{
	sim_sayf(c, "+CIPSNTPCFG:%d,%d", c->sntp_on, c->sntp_tz);
	for (int i = 0; c->sntp_on && i < 3; i++)
		if (c->sntp_server[i][0])
			sim_sayf(c, ",\"%s\"", c->sntp_server[i]);
	sim_sayf(c, "\r\n");
	return RES_OK;
}

/* Hours, or hours and minutes as hhmm (capture 21: 8 and 800 pass, 99 does not). */
static bool zone_ok(long long tz)
{
	long long h = tz / 100, m = tz % 100;

	if (tz >= -12 && tz <= 14)
		return true;
	return (h || m) && h >= -12 && h <= 14 && h && m > -60 && m < 60;
}

HANDLER(cipsntpcfg_set)
{
	static const char *const pool[3] = { "cn.ntp.org.cn", "ntp.sjtu.edu.cn",
					     "us.pool.ntp.org" };
	const char *server[3] = { 0 };
	long long on, tz;

	if (call->n > 5 || arg_range(c, call, 0, 0, 1, &on) < 0)
		return RES_ERROR;
	if (!on) {
		c->sntp_on = c->sntp_resolving = false;
		c->sntp_at = SIM_NEVER;
		return call->n == 1 ? RES_OK : RES_ERROR;
	}
	if (arg_num(c, call, 1, &tz) < 0 || !zone_ok(tz))
		return RES_ERROR;
	for (int i = 2; i < call->n; i++)
		if (arg_str(c, call, i, &server[i - 2]) < 0 || strlen(server[i - 2]) > SIM_NAME_MAX)
			return RES_ERROR;
	c->sntp_on = true;
	c->sntp_resolving = false;
	c->sntp_tz = tz;
	c->sntp_index = 0;
	for (int i = 0; i < 3; i++) {
		const char *s = call->n > 2 ? server[i] : pool[i];

		snprintf(c->sntp_server[i], sizeof(c->sntp_server[i]), "%s", s ? s : "");
	}
	c->sntp_at = c->now;
	return RES_OK;
}

static void sntp_ask(struct sim_core *c)
{
	const char *server;
	int r;

	c->sntp_at = SIM_NEVER;
	if (c->sntp_resolving) {
		/* No answer about this one: the next. */
		c->sntp_resolving = false;
		if (c->ops->resolve_cancel)
			c->ops->resolve_cancel(c->ud, 1);
		ip_on_sntp(c, -ETIMEDOUT, 0);
		return;
	}
	if (!c->sntp_on || !wifi_is_up(c))
		return; /* asked again when the address comes */
	server = c->sntp_server[c->sntp_index];
	if (!server[0]) {
		c->sntp_index = 0;
		server = c->sntp_server[0];
	}
	if (is_ip(c, server)) {
		r = c->ops->sntp ? c->ops->sntp(c->ud, server) : -ENETUNREACH;
	} else {
		r = server[0] && c->ops->resolve
			    ? c->ops->resolve(c->ud, 1, server, any_family(c), c->dns[0])
			    : -ENOENT;
		c->sntp_resolving = !r;
		if (!r)
			c->sntp_at = ms_after(c, c->cfg.times.dns_timeout);
	}
	if (r < 0)
		ip_on_sntp(c, r, 0);
}

void ip_on_sntp(struct sim_core *c, int err, int64_t seconds)
{
	if (!c->sntp_on)
		return;
	if (err) {
		c->sntp_index = (c->sntp_index + 1) % 3;
		c->sntp_at = ms_after(c, 5000);
		return;
	}
	sim_core_set_clock(c, c->now, seconds);
	c->sntp_at = c->now + c->sntp_interval * 1000000ull;
	sim_sayf(c, "+TIME_UPDATED\r\n");
}

HANDLER(cipsntpintv_query)
{
	sim_sayf(c, "+CIPSNTPINTV:%u\r\n", c->sntp_interval);
	return RES_OK;
}

HANDLER(cipsntpintv_set)
{
	long long s;

	if (call->n != 1 || arg_range(c, call, 0, 15, 4294967, &s) < 0)
		return RES_ERROR;
	c->sntp_interval = s;
	return RES_OK;
}

HANDLER(cipsntptime_query)
{
	bool hours = c->sntp_tz >= -12 && c->sntp_tz <= 14;
	int minutes = hours ? c->sntp_tz * 60 : c->sntp_tz / 100 * 60 + c->sntp_tz % 100;
	time_t t = sim_core_clock(c, c->now) + minutes * 60;
	struct tm tm;
	char text[32];

	gmtime_r(&t, &tm);
	asctime_r(&tm, text);
	text[strcspn(text, "\n")] = 0;
	sim_sayf(c, "+CIPSNTPTIME:%s\r\n", text);
	return RES_OK_BARE;
}

void ip_tick(struct sim_core *c)
{
	conn_tick(c);
	if (c->sntp_at <= c->now)
		sntp_ask(c);
	for (int i = 0; c->server_timeout && i < SIM_LINKS; i++) {
		struct link *l = &c->link[i];

		if (l->state == LINK_OPEN && l->server &&
		    l->last_io + c->server_timeout * 1000000ull <= c->now)
			sim_link_closed(c, i, true);
	}
}
