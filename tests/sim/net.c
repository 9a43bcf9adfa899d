/* SPDX-License-Identifier: MIT */
/*
 * The network behind the chip. The core's calls only start things; what comes of them is told from the loop, never from
 * within a call: results that are known at once wait in `struct answer` until net_run().
 */
#include "net.h"
#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_PENDING 8 /* inbound TLS handshakes at a time */
#define HANDSHAKE_US 10000000ull
/* A round trip: a peer that has reset by then is a failed connect, not an open and a closed link (capture 30). */
#define CONNECT_US 3000ull
#define DNS_RETRY_US 2000000ull
#define SNTP_TIMEOUT_US 3000000ull
#define NTP_EPOCH 2208988800ull
/* DNS */
#define TYPE_A 1
#define TYPE_AAAA 28

struct address {
	union {
		sa_family_t family;
		struct sockaddr sa;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
	};
};

struct rule {
	struct rule *next;
	bool address; /* else a name */
	bool never;   /* NAME - */
	char name[256];
	struct address from, to; /* port 0: any, the same */
};

enum conn_state {
	CONN_OFF,
	CONN_CONNECTING,
	CONN_HANDSHAKING,
	CONN_ON,
};

struct conn {
	struct net *net;
	int link; /* -1: an inbound handshake that has no link yet */
	enum conn_state state;
	enum sim_type type;
	struct watch w;
	struct tls *tls;
	bool server, want_read, want_write, tls_wants_write;
	unsigned udp_mode; /* of a socket that is not connected: the peer may change */
	struct address peer;
	int failed; /* found in a call: told by net_run */
	uint64_t deadline;
	uint64_t open_at;           /* TCP: when the core is told */
	uint64_t read_at, write_at; /* --tls-rate: not before */
};

struct answer {
	bool set, waiting;
	int err;
	char ip[48];
	/* a query by UDP */
	struct watch w;
	uint16_t id;
	char name[256];
	enum sim_family family;
	bool v6; /* asked for now */
	struct address server;
	uint64_t retry_at;
	unsigned job; /* of the resolver thread */
};

struct net {
	int epfd;
	struct net_options opt;
	struct sim_core *core;
	struct rule *rules;
	bool has_names;
	struct conn conn[SIM_LINKS];
	struct conn pending[MAX_PENDING];
	struct watch listener;
	struct sim_tls *server_tls;
	struct answer answer[2];
	struct watch sntp;
	uint64_t sntp_deadline;
	int sntp_err;
	bool sntp_failed;
	uint64_t ping_at;
	int pipe[2];
	struct watch pipe_watch;
	unsigned jobs;
};

struct job {
	int fd, token;
	unsigned job;
	char name[256];
	enum sim_family family;
	char ip[48];
	int err;
};

uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000ull + t.tv_nsec / 1000;
}

void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

/* A descriptor that nothing is wanted of leaves the set: epoll would report its HUP for ever. */
void watch_set(int epfd, struct watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (w->fd < 0 || (w->in && events == w->events) || (!w->in && !events))
		return;
	epoll_ctl(epfd,
		  !events ? EPOLL_CTL_DEL
		  : w->in ? EPOLL_CTL_MOD
			  : EPOLL_CTL_ADD,
		  w->fd, &ev);
	w->in = events;
	w->events = events;
}

static void watch_close(struct net *n, struct watch *w)
{
	if (w->fd < 0)
		return;
	watch_set(n->epfd, w, 0);
	close(w->fd);
	w->fd = -1;
}

/* ---- addresses ---- */

static socklen_t addr_len(const struct address *a)
{
	return a->family == AF_INET6 ? sizeof(a->in6) : sizeof(a->in4);
}

static uint16_t addr_port(const struct address *a)
{
	return ntohs(a->family == AF_INET6 ? a->in6.sin6_port : a->in4.sin_port);
}

static void set_port(struct address *a, uint16_t port)
{
	if (a->family == AF_INET6)
		a->in6.sin6_port = htons(port);
	else
		a->in4.sin_port = htons(port);
}

static bool same_ip(const struct address *a, const struct address *b)
{
	if (a->family != b->family)
		return false;
	if (a->family == AF_INET6)
		return IN6_ARE_ADDR_EQUAL(&a->in6.sin6_addr, &b->in6.sin6_addr);
	return a->in4.sin_addr.s_addr == b->in4.sin_addr.s_addr;
}

static bool is_loopback(const struct address *a)
{
	if (a->family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
	return ntohl(a->in4.sin_addr.s_addr) >> 24 == 127;
}

static void addr_say(const struct address *a, char *ip, size_t size)
{
	if (a->family == AF_INET6)
		inet_ntop(AF_INET6, &a->in6.sin6_addr, ip, size);
	else
		inet_ntop(AF_INET, &a->in4.sin_addr, ip, size);
}

static bool addr_parse(struct address *a, const char *ip, uint16_t port)
{
	memset(a, 0, sizeof(*a));
	if (inet_pton(AF_INET6, ip, &a->in6.sin6_addr) == 1) {
		a->family = AF_INET6;
	} else {
		memset(a, 0, sizeof(*a));
		a->family = AF_INET;
		if (inet_pton(AF_INET, ip, &a->in4.sin_addr) != 1)
			return false;
	}
	set_port(a, port);
	return true;
}

/* This host, or all of it. */
static void addr_here(struct address *a, sa_family_t family, bool all, uint16_t port)
{
	memset(a, 0, sizeof(*a));
	a->family = family;
	if (family == AF_INET6)
		a->in6.sin6_addr = all ? in6addr_any : in6addr_loopback;
	else
		a->in4.sin_addr.s_addr = htonl(all ? INADDR_ANY : INADDR_LOOPBACK);
	set_port(a, port);
}

/* ---- hosts file ---- */

/* 10.0.2.2, 10.0.2.2:80, fd00::2, [fd00::2] or [fd00::2]:80. */
static bool parse_endpoint(char *text, struct address *a)
{
	char *port = NULL, *end;
	unsigned long v = 0;

	if (*text == '[') {
		text++;
		end = strchr(text, ']');
		if (!end || (end[1] && end[1] != ':'))
			return false;
		port = end[1] ? end + 2 : NULL;
		*end = 0;
		if (!strchr(text, ':'))
			return false;
	} else if (strchr(text, ':') == strrchr(text, ':') && strchr(text, ':')) {
		port = strchr(text, ':');
		*port++ = 0;
	}
	if (port) {
		v = strtoul(port, &end, 10);
		if (*end || !v || v > 65535)
			return false;
	}
	return addr_parse(a, text, v);
}

static int read_hosts(struct net *n, const char *path)
{
	char line[600], from[256], to[256], extra[2];
	struct rule **tail = &n->rules;
	FILE *f = fopen(path, "re");
	int number = 0, r = 0;

	if (!f) {
		say("espat-sim: %s: %s", path, strerror(errno));
		return -EINVAL;
	}
	while (!r && fgets(line, sizeof(line), f)) {
		struct rule *rule;
		int fields;

		number++;
		line[strcspn(line, "#")] = 0;
		fields = sscanf(line, "%255s %255s %1s", from, to, extra);
		if (fields <= 0)
			continue;
		rule = calloc(1, sizeof(*rule));
		if (!rule)
			abort();
		*tail = rule;
		tail = &rule->next;
		snprintf(rule->name, sizeof(rule->name), "%s", from);
		r = -EINVAL;
		if (fields != 2)
			continue;
		if (parse_endpoint(from, &rule->from)) {
			rule->address = true;
			if (parse_endpoint(to, &rule->to))
				r = 0;
		} else if (!strpbrk(rule->name, "[:]")) {
			n->has_names = true;
			rule->never = !strcmp(to, "-");
			if (rule->never || addr_parse(&rule->to, to, 0))
				r = 0;
		}
	}
	fclose(f);
	if (r)
		say("espat-sim: %s:%d: expected NAME ADDRESS, NAME - or ADDRESS[:PORT] "
		    "REAL-ADDRESS[:PORT], "
		    "IPv6 with a port as [ADDRESS]:PORT",
		    path, number);
	return r;
}

/* Where the chip's ip and port really are. */
static int map_address(struct net *n, const char *ip, uint16_t port, struct address *to)
{
	const struct rule *found = NULL;

	if (!addr_parse(to, ip, port))
		return -EINVAL;
	for (const struct rule *r = n->rules; r; r = r->next)
		if (r->address && same_ip(&r->from, to) &&
		    (addr_port(&r->from) == port || (!addr_port(&r->from) && !found)))
			found = r;
	if (found) {
		*to = found->to;
		if (!addr_port(to))
			set_port(to, port);
		return 0;
	}
	return n->opt.allow_network || is_loopback(to) ? 0 : -ENETUNREACH;
}

static bool is_mapped(struct net *n, const char *ip)
{
	struct address a;

	if (!addr_parse(&a, ip, 0))
		return false;
	for (const struct rule *r = n->rules; r; r = r->next)
		if (r->address && same_ip(&r->from, &a))
			return true;
	return false;
}

/* ---- links ---- */

static void conn_events(struct conn *c)
{
	uint32_t events = 0;
	uint64_t now;

	switch (c->state) {
	case CONN_OFF:
		return;
	case CONN_CONNECTING:
		events = EPOLLOUT;
		break;
	case CONN_HANDSHAKING:
		events = c->tls_wants_write ? EPOLLOUT : EPOLLIN;
		break;
	case CONN_ON:
		now = now_us();
		if (c->want_read && now >= c->read_at)
			events |= EPOLLIN;
		if (c->want_write && now >= c->write_at)
			events |= EPOLLOUT;
		break;
	}
	watch_set(c->net->epfd, &c->w, events);
}

static void conn_close(struct conn *c)
{
	if (c->tls) {
		tls_shutdown(c->tls);
		c->tls = tls_free(c->tls);
	}
	watch_close(c->net, &c->w);
	c->state = CONN_OFF;
	c->want_read = c->want_write = c->server = false;
	c->failed = 0;
	c->open_at = SIM_NEVER;
}

static uint16_t local_port(int fd)
{
	struct address a = { 0 };
	socklen_t len = sizeof(a);

	getsockname(fd, &a.sa, &len);
	return addr_port(&a);
}

static void fail(struct conn *c, int err)
{
	int link = c->link;
	struct net *n = c->net;

	conn_close(c);
	if (link >= 0)
		sim_core_on_open(n->core, now_us(), link, err, 0);
}

static void adopt(struct conn *c)
{
	struct net *n = c->net;
	struct address a = { 0 };
	socklen_t len = sizeof(a);
	char ip[48];
	struct conn *to;
	int link, fd = c->w.fd;
	uint16_t port;

	getpeername(fd, &a.sa, &len);
	addr_say(&a, ip, sizeof(ip));
	port = local_port(fd);
	/* The descriptor has to be in its place before the core, which reads at once, is told. */
	for (link = 0; link < SIM_LINKS && n->conn[link].state != CONN_OFF; link++)
		;
	if (link == SIM_LINKS || !sim_core_may_accept(n->core)) {
		conn_close(c);
		return;
	}
	watch_set(n->epfd, &c->w, 0);
	c->w.fd = -1;
	link = sim_core_on_accept(n->core, now_us(), ip, addr_port(&a), port);
	if (link < 0) {
		c->w.fd = fd;
		conn_close(c);
		return;
	}
	to = &n->conn[link];
	to->state = CONN_ON;
	to->type = c->type;
	to->server = true;
	to->w.fd = fd;
	to->tls = c->tls;
	to->want_read = true;
	to->want_write = false;
	to->read_at = to->write_at = 0;
	c->tls = NULL;
	c->state = CONN_OFF;
	conn_events(to);
	sim_core_on_readable(n->core, now_us(), link);
}

static void handshake(struct conn *c)
{
	int r = tls_handshake(c->tls, &c->tls_wants_write);

	if (r == -EAGAIN) {
		conn_events(c);
		return;
	}
	if (r < 0) {
		fail(c, r);
		return;
	}
	if (c->net->opt.verbose)
		tls_describe(c->tls, c->link);
	if (c->server) {
		adopt(c);
		return;
	}
	c->state = CONN_ON;
	conn_events(c);
	sim_core_on_open(c->net->core, now_us(), c->link, 0, local_port(c->w.fd));
}

static void connected(struct conn *c)
{
	int err = 0;
	socklen_t len = sizeof(err);

	getsockopt(c->w.fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (err) {
		fail(c, -err);
		return;
	}
	if (c->type == SIM_SSL) {
		c->state = CONN_HANDSHAKING;
		if (!c->tls) {
			fail(c, -EBADMSG);
			return;
		}
		handshake(c);
		return;
	}
	c->state = CONN_ON;
	c->open_at = now_us() + CONNECT_US;
	conn_events(c);
}

static void tell_open(struct conn *c, uint64_t now)
{
	char b;

	c->open_at = SIM_NEVER;
	if (recv(c->w.fd, &b, 1, MSG_PEEK) < 0 && errno != EAGAIN && c->type == SIM_TCP)
		fail(c, -errno);
	else
		sim_core_on_open(c->net->core, now, c->link, 0, local_port(c->w.fd));
}

static void conn_cb(void *ud, uint32_t events)
{
	struct conn *c = ud;

	switch (c->state) {
	case CONN_OFF:
		break;
	case CONN_CONNECTING:
		connected(c);
		break;
	case CONN_HANDSHAKING:
		handshake(c);
		break;
	case CONN_ON:
		if (c->want_write && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) {
			c->want_write = false;
			conn_events(c);
			sim_core_on_writable(c->net->core, now_us(), c->link);
		}
		if (c->state == CONN_ON && c->want_read &&
		    (events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
			sim_core_on_readable(c->net->core, now_us(), c->link);
		break;
	}
}

static int op_open(void *ud, int link, const struct sim_open *o)
{
	struct net *n = ud;
	struct conn *c = &n->conn[link];
	struct address to;
	int one = 1, fd, r;

	conn_close(c);
	r = map_address(n, o->ip, o->port, &to);
	if (n->opt.verbose)
		say("link %d: %s port %u %s", link, o->ip, o->port,
		    r ? "has no route (hosts file, --allow-network)" : "opens");
	if (r)
		return r;
	fd = socket(to.family,
		    (o->type == SIM_UDP ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK,
		    0);
	if (fd < 0)
		return -errno;
	c->w.fd = fd;
	c->type = o->type;
	c->read_at = c->write_at = 0;
	if (o->type == SIM_UDP) {
		struct address here;

		c->udp_mode = o->udp_mode;
		c->peer = to;
		addr_here(&here, to.family, !c->udp_mode || n->opt.allow_network, o->local_port);
		if (bind(fd, &here.sa, addr_len(&here)) < 0 ||
		    (!c->udp_mode && connect(fd, &to.sa, addr_len(&to)) < 0)) {
			r = -errno;
			watch_close(n, &c->w);
			return r;
		}
		c->state = CONN_ON;
		c->open_at = 0;
		return 0;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (o->type == SIM_SSL)
		/* Useless material shows only once the connection stands (capture 42: garbage as CA). */
		tls_client_new(&c->tls, fd, o->tls, n->opt.verbose, link);
	c->state = CONN_CONNECTING;
	c->deadline = SIM_NEVER; /* the core has its own */
	if (connect(fd, &to.sa, addr_len(&to)) < 0 && errno != EINPROGRESS)
		c->failed = -errno;
	else
		conn_events(c);
	return 0;
}

static void slow_down(struct net *n, struct conn *c, uint64_t *at, ssize_t len)
{
	uint64_t now = now_us();

	if (!n->opt.tls_rate || c->type != SIM_SSL || len <= 0)
		return;
	*at = (*at > now ? *at : now) + len * 1000000ull / n->opt.tls_rate;
}

/* A datagram of whoever sends one; he becomes the peer as the mode says. */
static ssize_t udp_recv(struct net *n, struct conn *c, int link, void *data, size_t len)
{
	struct address from = { 0 };
	socklen_t size = sizeof(from);
	ssize_t r = recvfrom(c->w.fd, data, len, 0, &from.sa, &size);
	char ip[48];

	if (r < 0 || (same_ip(&from, &c->peer) && addr_port(&from) == addr_port(&c->peer)))
		return r;
	c->peer = from;
	if (c->udp_mode == 1 && !connect(c->w.fd, &from.sa, addr_len(&from)))
		c->udp_mode = 0;
	addr_say(&from, ip, sizeof(ip));
	sim_core_peer(n->core, link, ip, addr_port(&from));
	return r;
}

static ssize_t op_send(void *ud, int link, const void *data, size_t len)
{
	struct net *n = ud;
	struct conn *c = &n->conn[link];
	ssize_t r = -EAGAIN;

	if (c->state != CONN_ON)
		return -EPIPE;
	if (now_us() >= c->write_at) {
		if (c->tls) {
			r = tls_write(c->tls, data, len);
		} else {
			if (c->type == SIM_UDP && c->udp_mode)
				r = sendto(c->w.fd, data, len, 0, &c->peer.sa, addr_len(&c->peer));
			else
				r = send(c->w.fd, data, len, MSG_NOSIGNAL);
			if (r < 0)
				r = -errno;
			/* A datagram that was refused before does not make this one fail. */
			if (r == -ECONNREFUSED && c->type == SIM_UDP)
				r = len;
		}
		slow_down(n, c, &c->write_at, r);
	}
	if (r != -EAGAIN)
		return r;
	c->want_write = true;
	conn_events(c);
	return 0;
}

static ssize_t op_recv(void *ud, int link, void *data, size_t len)
{
	struct net *n = ud;
	struct conn *c = &n->conn[link];
	ssize_t r = -EAGAIN;

	if (c->state != CONN_ON)
		return c->server || c->state == CONN_OFF ? 0 : -EPIPE;
	if (now_us() >= c->read_at) {
		if (c->tls) {
			r = tls_read(c->tls, data, len);
		} else {
			if (c->type == SIM_UDP && c->udp_mode)
				r = udp_recv(n, c, link, data, len);
			else
				r = recv(c->w.fd, data, len, 0);
			if (r < 0)
				r = -errno;
			else if (!r && c->type != SIM_UDP)
				r = -EPIPE;
			if (r == -ECONNREFUSED && c->type == SIM_UDP)
				r = -EAGAIN;
		}
		slow_down(n, c, &c->read_at, r);
	}
	return r == -EAGAIN ? 0 : r;
}

static void op_want_read(void *ud, int link, bool want)
{
	struct net *n = ud;

	n->conn[link].want_read = want;
	conn_events(&n->conn[link]);
}

static void op_close(void *ud, int link)
{
	struct net *n = ud;

	conn_close(&n->conn[link]);
}

static int op_udp_peer(void *ud, int link, const char *ip, uint16_t port)
{
	struct net *n = ud;
	struct conn *c = &n->conn[link];
	struct address to;
	int r = map_address(n, ip, port, &to);

	if (r)
		return r;
	/* The socket is of the family that the first peer really has. */
	if (to.family != c->peer.family)
		return -EAFNOSUPPORT;
	c->peer = to;
	if (c->udp_mode)
		return 0;
	return connect(c->w.fd, &to.sa, addr_len(&to)) < 0 ? -errno : 0;
}

void net_reset_link(struct net *n, int link)
{
	struct conn *c = &n->conn[link];
	struct linger l = { .l_onoff = 1 };

	if (c->state == CONN_OFF)
		return;
	setsockopt(c->w.fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	c->tls = tls_free(c->tls);
	conn_close(c);
	sim_core_link_reset(n->core, now_us(), link);
}

/* ---- server ---- */

static void accept_cb(void *ud, uint32_t events)
{
	struct net *n = ud;
	struct conn *c = NULL;
	int one = 1, fd;

	fd = accept4(n->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	for (int i = 0; i < MAX_PENDING && !c; i++)
		if (n->pending[i].state == CONN_OFF)
			c = &n->pending[i];
	/* Over the limit a client is dropped without a word. */
	if (!c || !sim_core_may_accept(n->core)) {
		close(fd);
		return;
	}
	c->w.fd = fd;
	c->server = true;
	c->type = n->server_tls ? SIM_SSL : SIM_TCP;
	c->state = CONN_HANDSHAKING;
	c->deadline = now_us() + HANDSHAKE_US;
	if (!n->server_tls) {
		adopt(c);
		return;
	}
	if (tls_server_new(&c->tls, fd, n->server_tls, n->opt.verbose) < 0) {
		conn_close(c);
		return;
	}
	handshake(c);
}

static struct sim_blob keep(struct sim_blob b)
{
	uint8_t *copy;

	if (!b.data)
		return b;
	copy = malloc(b.len + 1);
	if (!copy)
		abort();
	memcpy(copy, b.data, b.len);
	return (struct sim_blob){ copy, b.len };
}

static void op_unlisten(void *ud)
{
	struct net *n = ud;

	watch_close(n, &n->listener);
	for (int i = 0; i < MAX_PENDING; i++)
		conn_close(&n->pending[i]);
	if (n->server_tls) {
		free((void *)n->server_tls->ca.data);
		free((void *)n->server_tls->cert.data);
		free((void *)n->server_tls->key.data);
		free(n->server_tls);
		n->server_tls = NULL;
	}
}

static int op_listen(void *ud, uint16_t port, bool v6, const struct sim_tls *tls)
{
	struct net *n = ud;
	struct address a;
	int one = 1, r, fd;

	op_unlisten(n);
	addr_here(&a, v6 ? AF_INET6 : AF_INET, n->opt.allow_network, port);
	fd = socket(a.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (v6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, &a.sa, addr_len(&a)) < 0 || listen(fd, 8) < 0) {
		r = -errno;
		say("espat-sim: port %u: %s", port, strerror(-r));
		close(fd);
		return r;
	}
	if (tls) {
		n->server_tls = calloc(1, sizeof(*tls));
		if (!n->server_tls)
			abort();
		*n->server_tls = *tls;
		n->server_tls->ca = keep(tls->ca);
		n->server_tls->cert = keep(tls->cert);
		n->server_tls->key = keep(tls->key);
	}
	n->listener.fd = fd;
	watch_set(n->epfd, &n->listener, EPOLLIN);
	return 0;
}

/* ---- names ---- */

static void answer_set(struct answer *a, int err, const char *ip)
{
	a->waiting = false;
	a->set = true;
	a->err = err;
	snprintf(a->ip, sizeof(a->ip), "%s", ip ? ip : "");
}

static void *resolver(void *arg)
{
	struct addrinfo hint = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM }, *list = NULL;
	struct job *job = arg;

	if (job->family != SIM_ANY)
		hint.ai_family = job->family == SIM_V6 ? AF_INET6 : AF_INET;
	job->err = -ENOENT;
	if (!getaddrinfo(job->name, NULL, &hint, &list)) {
		struct addrinfo *best = list;

		while (best && best->ai_family != AF_INET)
			best = best->ai_next;
		if (!best)
			best = list;
		addr_say((struct address *)best->ai_addr, job->ip, sizeof(job->ip));
		job->err = 0;
		freeaddrinfo(list);
	}
	/* A pointer is written whole or not at all. */
	if (write(job->fd, &job, sizeof(job)) != sizeof(job))
		free(job);
	return NULL;
}

static void resolver_cb(void *ud, uint32_t events)
{
	struct net *n = ud;
	struct job *job;

	if (read(n->pipe[0], &job, sizeof(job)) != sizeof(job))
		return;
	if (n->answer[job->token].waiting && n->answer[job->token].job == job->job)
		answer_set(&n->answer[job->token], job->err, job->ip);
	free(job);
}

static int ask_host(struct net *n, int token, const char *name, enum sim_family family)
{
	struct job *job;
	pthread_t thread;

	if (n->pipe[0] < 0) {
		if (pipe(n->pipe) < 0)
			return -errno;
		n->pipe_watch.fd = n->pipe[0];
		watch_set(n->epfd, &n->pipe_watch, EPOLLIN);
	}
	job = calloc(1, sizeof(*job));
	if (!job)
		return -ENOMEM;
	job->fd = n->pipe[1];
	job->token = token;
	job->family = family;
	job->job = n->answer[token].job = ++n->jobs;
	snprintf(job->name, sizeof(job->name), "%s", name);
	if (pthread_create(&thread, NULL, resolver, job)) {
		free(job);
		return -EAGAIN;
	}
	pthread_detach(thread);
	n->answer[token].waiting = true;
	return 0;
}

static void dns_send(struct answer *a)
{
	uint8_t q[300] = { a->id >> 8, a->id, 1, 0, 0, 1 };
	size_t at = 12;
	const char *s = a->name;

	while (*s) {
		size_t n = strcspn(s, ".");

		if (!n || n > 63 || at + n + 6 > sizeof(q))
			return;
		q[at++] = n;
		memcpy(q + at, s, n);
		at += n;
		s += n + (s[n] == '.');
	}
	at++;
	q[at++] = 0;
	q[at++] = a->v6 ? TYPE_AAAA : TYPE_A;
	q[at++] = 0;
	q[at++] = 1; /* IN */
	if (sendto(a->w.fd, q, at, 0, &a->server.sa, addr_len(&a->server)) < 0)
		return; /* asked again */
}

static size_t skip_name(const uint8_t *p, size_t at, size_t len)
{
	while (at < len && p[at]) {
		if (p[at] >= 0xc0)
			return at + 2;
		at += p[at] + 1;
	}
	return at + 1;
}

static void dns_cb(void *ud, uint32_t events)
{
	struct answer *a = ud;
	uint8_t p[1500];
	ssize_t got = recv(a->w.fd, p, sizeof(p), 0);
	size_t len = got, at = 12;
	char ip[48];

	if (got < 0) {
		if (errno == ECONNREFUSED)
			answer_set(a, -ENOENT, NULL);
		return;
	}
	if (got < 12 || p[0] != a->id >> 8 || p[1] != (a->id & 255) || !(p[2] & 0x80))
		return;
	at = skip_name(p, at, len) + 4;
	for (int i = p[6] << 8 | p[7]; i > 0 && !(p[3] & 15); i--) {
		size_t size;

		at = skip_name(p, at, len);
		if (at + 10 > len)
			break;
		size = p[at + 8] << 8 | p[at + 9];
		if (at + 10 + size > len)
			break;
		if (p[at + 1] == (a->v6 ? TYPE_AAAA : TYPE_A) && size == (a->v6 ? 16 : 4)) {
			inet_ntop(a->v6 ? AF_INET6 : AF_INET, p + at + 10, ip, sizeof(ip));
			answer_set(a, 0, ip);
			return;
		}
		at += 10 + size;
	}
	if (a->family == SIM_ANY && !a->v6) {
		a->v6 = true;
		a->id++;
		dns_send(a);
		return;
	}
	answer_set(a, -ENOENT, NULL);
}

static int ask_dns(struct net *n, struct answer *a, const char *name, enum sim_family family,
		   const char *server)
{
	int r = map_address(n, server, 53, &a->server);

	if (r)
		return r;
	a->w.fd = socket(a->server.family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->w.fd < 0)
		return -errno;
	if (connect(a->w.fd, &a->server.sa, addr_len(&a->server)) < 0) {
		r = -errno;
		watch_close(n, &a->w);
		return r;
	}
	a->id = now_us() >> 3;
	snprintf(a->name, sizeof(a->name), "%s", name);
	a->family = family;
	a->v6 = family == SIM_V6;
	a->waiting = true;
	a->retry_at = now_us() + DNS_RETRY_US;
	watch_set(n->epfd, &a->w, EPOLLIN);
	dns_send(a);
	return 0;
}

static void op_resolve_cancel(void *ud, int token)
{
	struct net *n = ud;
	struct answer *a = &n->answer[token];

	watch_close(n, &a->w);
	a->waiting = a->set = false;
	a->retry_at = SIM_NEVER;
}

/*
 * The names of the hosts file, if it has any, are all there is. A file of addresses only leaves names to the DNS server
 * that the chip is set to, if the file says where that is; without a file the host is asked.
 */
static int op_resolve(void *ud, int token, const char *name, enum sim_family family,
		      const char *server)
{
	struct net *n = ud;
	struct answer *a = &n->answer[token];
	const struct rule *found = NULL;
	char ip[48];

	op_resolve_cancel(n, token);
	if (!n->opt.hosts)
		return ask_host(n, token, name, family);
	if (!n->has_names && is_mapped(n, server))
		return ask_dns(n, a, name, family, server);
	for (const struct rule *r = n->rules; r; r = r->next) {
		if (r->address || strcasecmp(r->name, name))
			continue;
		if (r->never) {
			a->waiting = true;
			return 0;
		}
		if (r->to.family == AF_INET6 ? family == SIM_V4 : family == SIM_V6)
			continue;
		if (!found || (found->to.family == AF_INET6 && r->to.family == AF_INET))
			found = r;
	}
	if (found)
		addr_say(&found->to, ip, sizeof(ip));
	answer_set(a, found ? 0 : -ENOENT, found ? ip : NULL);
	return 0;
}

/* ---- time and ping ---- */

static void sntp_cb(void *ud, uint32_t events)
{
	struct net *n = ud;
	uint8_t p[128];
	ssize_t len = recv(n->sntp.fd, p, sizeof(p), 0);
	int64_t seconds;

	if (len < 0 && errno == EAGAIN)
		return;
	watch_close(n, &n->sntp);
	n->sntp_deadline = SIM_NEVER;
	if (len < 48 || (p[0] & 7) != 4 || !p[1]) {
		sim_core_on_sntp(n->core, now_us(), -EPROTO, 0);
		return;
	}
	seconds = ((uint32_t)p[40] << 24 | p[41] << 16 | p[42] << 8 | p[43]);
	/* Era 0 ends in 2036: what is before 1970 there is of era 1. */
	if (seconds < (int64_t)NTP_EPOCH)
		seconds += 1ll << 32;
	sim_core_on_sntp(n->core, now_us(), 0, seconds - (int64_t)NTP_EPOCH);
}

static int op_sntp(void *ud, const char *ip)
{
	struct net *n = ud;
	struct address to;
	uint8_t q[48] = { 0x23 };
	int r = map_address(n, ip, 123, &to);

	if (r)
		return r;
	watch_close(n, &n->sntp);
	n->sntp.fd = socket(to.family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (n->sntp.fd < 0)
		return -errno;
	if (connect(n->sntp.fd, &to.sa, addr_len(&to)) < 0 ||
	    send(n->sntp.fd, q, sizeof(q), 0) < 0) {
		r = -errno;
		watch_close(n, &n->sntp);
		return r;
	}
	n->sntp_deadline = now_us() + SNTP_TIMEOUT_US;
	watch_set(n->epfd, &n->sntp, EPOLLIN);
	return 0;
}

/* No ICMP, which needs rights: who can be reached answers. */
static int op_ping(void *ud, const char *ip)
{
	struct net *n = ud;
	struct address to;
	int r = map_address(n, ip, 7, &to);

	if (r && is_mapped(n, ip)) /* of which some port is */
		r = 0;
	if (!r)
		n->ping_at = now_us() + 1000;
	return r;
}

const struct sim_core_ops net_ops = {
	.open = op_open,
	.send = op_send,
	.recv = op_recv,
	.want_read = op_want_read,
	.close = op_close,
	.resolve = op_resolve,
	.resolve_cancel = op_resolve_cancel,
	.udp_peer = op_udp_peer,
	.sntp = op_sntp,
	.ping = op_ping,
	.listen = op_listen,
	.unlisten = op_unlisten,
};

/* ---- loop ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t net_next(const struct net *n)
{
	uint64_t t = earlier(n->sntp_deadline, n->ping_at);

	for (int i = 0; i < 2; i++) {
		if (n->answer[i].set)
			return 0;
		t = earlier(t, n->answer[i].retry_at);
	}
	for (int i = 0; i < SIM_LINKS; i++) {
		const struct conn *c = &n->conn[i];

		if (c->failed)
			return 0;
		t = earlier(t, c->open_at);
		if (c->state == CONN_ON && c->want_read && !(c->w.events & EPOLLIN))
			t = earlier(t, c->read_at);
		if (c->state == CONN_ON && c->want_write && !(c->w.events & EPOLLOUT))
			t = earlier(t, c->write_at);
	}
	for (int i = 0; i < MAX_PENDING; i++)
		if (n->pending[i].state != CONN_OFF)
			t = earlier(t, n->pending[i].deadline);
	return t;
}

static void run_conn(struct net *n, struct conn *c, uint64_t now)
{
	if (c->failed) {
		fail(c, c->failed);
		return;
	}
	if (c->open_at <= now)
		tell_open(c, now);
	if (c->state != CONN_ON || !n->opt.tls_rate)
		return;
	if (c->want_read && !(c->w.events & EPOLLIN) && now >= c->read_at) {
		conn_events(c);
		/* The rest of a record may be inside OpenSSL, where epoll does not see it. */
		sim_core_on_readable(n->core, now, c->link);
	}
	if (c->state == CONN_ON && c->want_write && !(c->w.events & EPOLLOUT) && now >= c->write_at)
		conn_events(c);
}

void net_run(struct net *n, uint64_t now)
{
	for (int i = 0; i < 2; i++) {
		struct answer *a = &n->answer[i];

		if (a->set) {
			op_resolve_cancel(n, i);
			sim_core_on_resolved(n->core, now, i, a->err, a->ip);
		} else if (a->retry_at <= now) {
			a->retry_at = now + DNS_RETRY_US;
			dns_send(a);
		}
	}
	for (int i = 0; i < SIM_LINKS; i++)
		run_conn(n, &n->conn[i], now);
	for (int i = 0; i < MAX_PENDING; i++)
		if (n->pending[i].state != CONN_OFF && n->pending[i].deadline <= now)
			conn_close(&n->pending[i]);
	if (n->ping_at <= now) {
		n->ping_at = SIM_NEVER;
		sim_core_on_ping(n->core, now, 0, 1);
	}
	if (n->sntp_deadline <= now) {
		n->sntp_deadline = SIM_NEVER;
		watch_close(n, &n->sntp);
		sim_core_on_sntp(n->core, now, -ETIMEDOUT, 0);
	}
}

static void conn_init(struct net *n, struct conn *c, int link)
{
	c->net = n;
	c->link = link;
	c->open_at = SIM_NEVER;
	c->w = (struct watch){ .fd = -1, .cb = conn_cb, .ud = c };
}

int net_new(struct net **ret, int epfd, const struct net_options *opt)
{
	struct net *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return -ENOMEM;
	n->epfd = epfd;
	n->opt = *opt;
	n->pipe[0] = n->pipe[1] = -1;
	n->sntp_deadline = n->ping_at = SIM_NEVER;
	n->listener = (struct watch){ .fd = -1, .cb = accept_cb, .ud = n };
	n->sntp = (struct watch){ .fd = -1, .cb = sntp_cb, .ud = n };
	n->pipe_watch = (struct watch){ .fd = -1, .cb = resolver_cb, .ud = n };
	for (int i = 0; i < 2; i++) {
		n->answer[i].w = (struct watch){ .fd = -1, .cb = dns_cb, .ud = &n->answer[i] };
		n->answer[i].retry_at = SIM_NEVER;
	}
	for (int i = 0; i < SIM_LINKS; i++)
		conn_init(n, &n->conn[i], i);
	for (int i = 0; i < MAX_PENDING; i++)
		conn_init(n, &n->pending[i], -1);
	if (opt->hosts) {
		r = read_hosts(n, opt->hosts);
		if (r < 0) {
			net_free(n);
			return r;
		}
	}
	*ret = n;
	return 0;
}

void net_attach(struct net *n, struct sim_core *core)
{
	n->core = core;
}

/* A resolver thread that is still out writes into the pipe, which therefore stays open until the process ends. */
struct net *net_free(struct net *n)
{
	if (!n)
		return NULL;
	op_unlisten(n);
	for (int i = 0; i < SIM_LINKS; i++)
		conn_close(&n->conn[i]);
	for (int i = 0; i < 2; i++)
		op_resolve_cancel(n, i);
	watch_close(n, &n->sntp);
	while (n->rules) {
		struct rule *r = n->rules;

		n->rules = r->next;
		free(r);
	}
	free(n);
	return NULL;
}
