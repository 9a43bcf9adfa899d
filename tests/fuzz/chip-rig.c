/* SPDX-License-Identifier: MIT */
/* A device on a simulated chip. */
#include "chip-rig.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cert/digest.h"
#include "must.h"
#include "util/log.h"

/* Turns in which something has happened, without time having passed: more are a loop without an end. */
#define TURNS_MAX 200000
/* The host's clock: 2026-09-21. */
#define WALLCLOCK 1790000000
/* So long what its clock was set to may be on its way to us. */
#define MISLED_FOR (5 * TIMERS_S)
/* A bring-up with all of its attempts and pauses, and what people have asked for meanwhile. */
#define HEAL_PATIENCE (900 * TIMERS_S)

static struct rig
	*the_rig; /* of __wrap_chan_submit() and the log, which have nothing else to go by */

/* ---- secrets ---- */

static void must_be_no_secret(const void *data, size_t len)
{
	MUST(!memmem(data, len, RIG_SECRET, strlen(RIG_SECRET)));
}

__attribute__((format(printf, 2, 3))) void __wrap_log_msg(enum log_level level, const char *format,
							  ...);

void __wrap_log_msg(enum log_level level, const char *format, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	must_be_no_secret(text, strlen(text));
	/* For whoever looks into what was found. */
	if (getenv("FUZZ_LOG"))
		fprintf(stderr, "%12.6f %s\n", (double)the_rig->timers.now / TIMERS_S, text);
}

/* ---- commands ---- */

void __real_chan_submit(struct chan *chan, enum chan_lane lane, struct chan_cmd *cmd);
void __wrap_chan_submit(struct chan *chan, enum chan_lane lane, struct chan_cmd *cmd);

static struct rig_command *command_of(const struct chan_cmd *cmd)
{
	for (size_t i = 0; i < RIG_COMMANDS; i++)
		if (the_rig->commands[i].cmd == cmd)
			return &the_rig->commands[i];
	return NULL;
}

static void on_cmd_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct rig_command *command = command_of(cmd);

	MUST(command); /* it was submitted, and has not ended since */
	command->cmd = NULL;
	cmd->done = command->done;
	cmd->done(cmd, result);
}

void __wrap_chan_submit(struct chan *chan, enum chan_lane lane, struct chan_cmd *cmd)
{
	struct rig_command *command;

	MUST(!command_of(cmd));
	command = command_of(NULL);
	MUST(command);
	command->cmd = cmd;
	command->done = cmd->done;
	cmd->done = on_cmd_done;
	__real_chan_submit(chan, lane, cmd);
}

/* ---- what is said on a connection ---- */

/* Whatever a server sends, it is data; the first byte tells one connection from the other. */
static uint8_t said_at(const struct rig_connection *c, size_t at)
{
	static const char text[] = "#\r\n+IPD,1,9:\r\nOK\r\n\r\nready\r\n>+++\0"
				   "\r\n0,CLOSED\r\nSEND OK\r\n+CIPRECVDATA:3,a\r\nERROR\r\n";
	size_t i = at % (sizeof(text) - 1);

	return i == 0 ? (uint8_t)(c - c->rig->connections + 1) : (uint8_t)text[i];
}

/* And so do clients. */
static uint8_t sent_at(const struct rig_connection *c, size_t at)
{
	static const char text[] = "#+++AT+RST\r\n+++++\0\r\n\\,\"AT+CIPCLOSE=5\r\n";
	size_t i = at % (sizeof(text) - 1);

	return i == 0 ? (uint8_t)(c - c->rig->connections + 1) : (uint8_t)text[i];
}

/* ---- the chip's network ---- */

static bool holds(const struct sim_blob *blob, const struct cert_blob *want)
{
	return blob->len == want->len && memcmp(blob->data, want->data, want->len) == 0;
}

/* What it shows or trusts is that of the tunnel, before or after the last reload. */
static bool is_of_a_world(const struct rig *rig, const struct sim_blob *blob, enum cert_kind kind)
{
	for (size_t w = 0; w < 2; w++)
		for (size_t i = 0; i < sizeof(rig->worlds[w].blobs) / sizeof(struct cert_blob); i++)
			if (rig->worlds[w].blobs[i].kind == kind &&
			    holds(blob, &rig->worlds[w].blobs[i]))
				return true;
	return false;
}

static void must_be_trusted(const struct rig *rig, const struct rig_connection *c,
			    const struct sim_tls *tls)
{
	const struct link_target *t = &c->target;

	MUST(tls->verify == (bool)(t->auth & LINK_AUTH_SERVER));
	MUST(tls->name && strcmp(tls->name, t->server_name) == 0);
	if (tls->verify) {
		MUST(is_of_a_world(rig, &tls->ca, CERT_KIND_CA));
		/* A time server that has just said another may still be unheard of. */
		MUST(tls->time >= WALLCLOCK || rig->hurt_out ||
		     rig->timers.now < rig->misled_until);
	}
	if (t->auth & LINK_AUTH_CLIENT)
		MUST(is_of_a_world(rig, &tls->cert, CERT_KIND_CERT) &&
		     is_of_a_world(rig, &tls->key, CERT_KIND_KEY));
}

static int op_open(void *ud, int link, const struct sim_open *o)
{
	struct rig *rig = ud;
	struct rig_peer *peer = &rig->peers[link];
	size_t n = o->port - (size_t)RIG_PORT;
	struct rig_connection *c = n < rig->n_connections ? &rig->connections[n] : NULL;

	MUST(!peer->used);
	if (!rig->hurt_in) {
		MUST(c && o->type != SIM_UDP);
		if (o->type == SIM_SSL)
			must_be_trusted(rig, c, o->tls);
	}
	if (rig->open_error && !rig->deaf_network)
		return rig->open_error;
	/* Where the line has changed the command, whoever that reaches is nobody's. */
	*peer = (struct rig_peer){ .used = true, .opening = true };
	peer->connection = o->type == SIM_SSL && !rig->hurt_in ? c : NULL;
	return 0;
}

static ssize_t op_send(void *ud, int link, const void *data, size_t len)
{
	struct rig *rig = ud;
	struct rig_connection *c = rig->peers[link].connection;
	const uint8_t *bytes = data;

	MUST(rig->peers[link].used);
	if (rig->hurt_in)
		return (ssize_t)len;
	MUST(c);
	rig->peers[link].stuck = rig->deaf_network || rig->slow_server;
	if (rig->deaf_network)
		return 0;
	if (rig->slow_server && len > 100)
		len = 100;
	MUST(c->arrived + len <= c->submitted);
	for (size_t i = 0; i < len; i++)
		MUST(bytes[i] == sent_at(c, c->arrived + i));
	c->arrived += len;
	return (ssize_t)len;
}

static ssize_t op_recv(void *ud, int link, void *data, size_t len)
{
	struct rig *rig = ud;
	struct rig_connection *c = rig->peers[link].connection;
	uint8_t *bytes = data;

	MUST(rig->peers[link].used);
	if (!c)
		return 0;
	if (len > c->said - c->read)
		len = c->said - c->read;
	for (size_t i = 0; i < len; i++)
		bytes[i] = said_at(c, c->read + i);
	c->read += len;
	return len == 0 && c->closed ? -EPIPE : (ssize_t)len;
}

static void op_close(void *ud, int link)
{
	((struct rig *)ud)->peers[link] = (struct rig_peer){ .used = false };
}

static int op_resolve(void *ud, int token, const char *name, enum sim_family family,
		      const char *server)
{
	((struct rig *)ud)->resolving[token] = true;
	return 0;
}

static void op_resolve_cancel(void *ud, int token)
{
	((struct rig *)ud)->resolving[token] = false;
}

static int op_sntp(void *ud, const char *ip)
{
	((struct rig *)ud)->asked_time = true;
	return 0;
}

static int op_ping(void *ud, const char *ip)
{
	((struct rig *)ud)->pinged = true;
	return 0;
}

static void op_uart(void *ud, unsigned int baud, unsigned int flow)
{
	struct rig *rig = ud;
	size_t len = 0;

	if (rig->core)
		sim_core_output(rig->core, &len);
	rig->next_baud = baud;
	rig->next_after = len;
}

static const struct sim_core_ops core_ops = {
	.open = op_open,
	.send = op_send,
	.recv = op_recv,
	.close = op_close,
	.resolve = op_resolve,
	.resolve_cancel = op_resolve_cancel,
	.sntp = op_sntp,
	.ping = op_ping,
	.uart = op_uart,
};

/* What the network has to answer; true: something. */
static bool network_turn(struct rig *rig)
{
	uint64_t now = rig->timers.now;

	if (rig->deaf_network)
		return false;
	for (int i = 0; i < SIM_LINKS; i++) {
		if (rig->peers[i].opening) {
			rig->peers[i].opening = false;
			sim_core_on_open(rig->core, now, i, 0, 40000);
			return true;
		}
		if (rig->peers[i].stuck) {
			rig->peers[i].stuck = false;
			sim_core_on_writable(rig->core, now, i);
			return true;
		}
	}
	for (int token = 0; token < 2; token++)
		if (rig->resolving[token]) {
			rig->resolving[token] = false;
			sim_core_on_resolved(rig->core, now, token, rig->resolve_error, "10.0.2.2");
			return true;
		}
	if (rig->asked_time) {
		rig->asked_time = false;
		if (rig->wallclock < WALLCLOCK)
			rig->misled_until = now + MISLED_FOR;
		sim_core_on_sntp(rig->core, now, rig->sntp_error, rig->wallclock);
		return true;
	}
	if (rig->pinged) {
		rig->pinged = false;
		sim_core_on_ping(rig->core, now, 0, 1);
		return true;
	}
	return false;
}

/* ---- the line ---- */

static void garble(uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(data[i] * 73 + 41) | 0x80;
}

static void rate_is_due(struct rig *rig, size_t said)
{
	rig->next_after -= said < rig->next_after ? said : rig->next_after;
	if (rig->next_baud && rig->next_after == 0) {
		rig->chip_baud = rig->next_baud;
		rig->next_baud = 0;
	}
}

static size_t less(size_t a, size_t b)
{
	return a < b ? a : b;
}

static bool to_chip(struct rig *rig)
{
	uint8_t piece[1024];
	size_t n = less(less(rig->line_len, rig->chunk), sizeof(piece)), lost;

	if (n == 0 || !sim_core_can_take(rig->core))
		return false;
	lost = less(rig->drop_in, n);
	rig->drop_in -= lost;
	memcpy(piece, rig->line + lost, n - lost);
	rig->line_len -= n;
	memmove(rig->line, rig->line + n, rig->line_len);
	if (rig->host_baud != rig->chip_baud)
		garble(piece, n - lost);
	if (n > lost)
		sim_core_input(rig->core, rig->timers.now, piece, n - lost);
	return true;
}

/* What becomes of @n bytes on their way; @out has room for twice as many. */
static size_t injure(struct rig *rig, const uint8_t *in, size_t n, uint8_t *out)
{
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		if (rig->drop_out > 0) {
			rig->drop_out--;
			continue;
		}
		out[len++] = in[i];
		if (rig->flip_out > 0) {
			rig->flip_out--;
			out[len - 1] ^= 0x20;
		}
		if (rig->twice_out > 0) {
			rig->twice_out--;
			out[len++] = in[i];
		}
	}
	return len;
}

static bool from_chip(struct rig *rig)
{
	uint8_t said[4096], piece[2 * sizeof(said)];
	size_t n, len;
	const uint8_t *out = sim_core_output(rig->core, &n);

	if (n == 0 || rig->held)
		return false;
	n = less(less(n, rig->chunk), sizeof(said));
	if (rig->next_baud && rig->next_after > 0)
		n = less(n, rig->next_after);
	memcpy(said, out, n);
	len = injure(rig, said, n, piece);
	if (rig->host_baud != rig->chip_baud)
		garble(piece, len);
	rate_is_due(rig, n);
	sim_core_output_taken(rig->core, rig->timers.now, n);
	if (len > 0)
		device_feed(rig->dev, piece, len);
	return true;
}

void rig_run(struct rig *rig)
{
	unsigned int turns = 0;

	while (rate_is_due(rig, 0), to_chip(rig) || from_chip(rig) || network_turn(rig))
		MUST(++turns < TURNS_MAX);
}

void rig_pass(struct rig *rig, uint64_t delay)
{
	uint64_t end = rig->timers.now + delay;
	unsigned int turns = 0;

	rig_run(rig);
	for (;;) {
		uint64_t ours = timers_next(&rig->timers), chips = sim_core_next(rig->core);
		uint64_t next = ours < chips ? ours : chips;

		if (next > end)
			break;
		MUST(++turns < TURNS_MAX);
		timers_set_now(&rig->timers, next);
		sim_core_tick(rig->core, rig->timers.now);
		timers_run(&rig->timers);
		rig_run(rig);
	}
	timers_set_now(&rig->timers, end);
}

void rig_inject(struct rig *rig, const uint8_t *data, size_t len)
{
	rig->hurt_out = true;
	device_feed(rig->dev, data, len);
}

void rig_plug(struct rig *rig)
{
	if (rig->dev->state != DEVICE_ABSENT)
		return;
	rig->line_len = 0;
	rig->held = false;
	rig->host_baud = rig->settings.baud;
	device_port_up(rig->dev, rig->settings.baud);
}

void rig_unplug(struct rig *rig)
{
	rig->line_len = 0;
	device_port_down(rig->dev, "the port is gone");
}

void rig_cut_power(struct rig *rig)
{
	sim_core_reset(rig->core, rig->timers.now, true);
}

/* ---- the device's host ---- */

static void on_write(void *userdata, const void *data, size_t len)
{
	struct rig *rig = userdata;

	if (getenv("FUZZ_LOG"))
		fprintf(stderr, "%12.6f %zu bytes at %u baud: %.3s\n",
			(double)rig->timers.now / TIMERS_S, len, rig->host_baud,
			(const char *)data);
	MUST(len > 0 && rig->line_len + len <= sizeof(rig->line));
	memcpy(rig->line + rig->line_len, data, len);
	rig->line_len += len;
}

static void on_discard(void *userdata)
{
	((struct rig *)userdata)->line_len = 0;
}

static int on_set_line(void *userdata, unsigned int baud, bool rtscts)
{
	struct rig *rig = userdata;

	rig->host_baud = baud;
	rig->line_len = 0;
	return 0;
}

static bool on_cts(void *userdata)
{
	return true;
}

static void on_hold(void *userdata, bool hold)
{
	((struct rig *)userdata)->held = hold;
}

static size_t on_queued(void *userdata)
{
	return ((struct rig *)userdata)->line_len;
}

static time_t on_wallclock(void *userdata)
{
	return ((struct rig *)userdata)->wallclock;
}

static bool on_synchronized(void *userdata)
{
	return !((struct rig *)userdata)->unsynchronized;
}

static uint64_t on_random(void *userdata)
{
	return 0x0123456789abcdefull;
}

static int on_secret(void *userdata, const char *path, char *buf, size_t size)
{
	struct rig *rig = userdata;

	if (rig->secret_error)
		return rig->secret_error;
	snprintf(buf, size, RIG_SECRET);
	return 0;
}

static int on_load_blob(void *userdata, const struct material_item *item, size_t blob,
			struct cert_blob **ret)
{
	struct rig *rig = userdata;
	const struct cert_blob *from = item->blobs[blob];

	return rig->load_error ? rig->load_error
			       : cert_blob_new(ret, from->kind, from->data, from->len);
}

static int on_recall_chip(void *userdata, char mac[AT_MAC_MAX + 1])
{
	return 0;
}

static int on_remember_chip(void *userdata, const char *mac)
{
	return 0;
}

static void on_trace(void *userdata, const struct chan_piece *piece)
{
	if (piece->data)
		must_be_no_secret(piece->data, piece->len);
}

static const struct device_ops device_ops = {
	.write = on_write,
	.discard = on_discard,
	.set_line = on_set_line,
	.cts = on_cts,
	.hold = on_hold,
	.queued = on_queued,
	.wallclock = on_wallclock,
	.synchronized = on_synchronized,
	.random = on_random,
	.secret = on_secret,
	.load_blob = on_load_blob,
	.recall_chip = on_recall_chip,
	.remember_chip = on_remember_chip,
	.trace = on_trace,
};

static void on_state(struct device_watch *watch, struct device *dev, enum device_state old)
{
	struct rig *rig = container_of(watch, struct rig, watch);

	MUST(old == rig->state && dev->state != old && dev->state <= DEVICE_OFFLINE);
	rig->state = dev->state;
}

/* ---- links ---- */

static struct rig_connection *alive(void *user)
{
	struct rig_connection *c = user;

	MUST(!c->ended && c->link);
	return c;
}

static void on_opened(void *user)
{
	struct rig_connection *c = alive(user);

	MUST(!c->open && c->link->state == LINK_OPEN);
	c->open = true;
}

static void on_data(void *user, const uint8_t *data, size_t len)
{
	struct rig_connection *c = alive(user);
	size_t from = c->got + c->staged;

	MUST(len > 0);
	for (size_t i = 0; i < len; i++)
		c->wrong = c->wrong || from + i >= c->read || data[i] != said_at(c, from + i);
	c->staged += len;
}

static void on_data_end(void *user)
{
	struct rig_connection *c = alive(user);

	MUST(c->staged > 0);
	MUST(!c->wrong || c->rig->hurt_out || c->rig->hurt_in);
	c->got += c->staged;
	c->staged = 0;
	c->wrong = false;
}

static void on_sent(void *user)
{
	struct rig_connection *c = alive(user);

	MUST(c->open && !link_tx_pending(c->link));
	MUST(c->arrived == c->submitted || c->rig->hurt_out || c->rig->hurt_in);
}

static enum link_probe on_may_probe(void *user, bool quiet)
{
	return alive(user)->rig->probe;
}

static bool on_alone(void *user)
{
	return !alive(user)->rig->not_alone;
}

static void on_closed(void *user, enum link_end end)
{
	struct rig_connection *c = alive(user);
	bool whole = !c->rig->hurt_out && !c->rig->hurt_in;

	MUST(end <= LINK_END_LOST && link_end_text(end));
	/* Of a server that has closed, all is there. */
	if (end == LINK_END_PEER && c->closed && whole)
		MUST(c->got == c->said);
	c->ended = true;
	c->link = NULL;
}

static const struct link_ops link_ops = {
	.opened = on_opened,
	.data = on_data,
	.data_end = on_data_end,
	.sent = on_sent,
	.may_probe = on_may_probe,
	.alone = on_alone,
	.closed = on_closed,
};

static char host_name[] = "broker.example", host_address[] = "192.0.2.7";

struct rig_connection *rig_open(struct rig *rig, enum link_auth auth, bool named)
{
	struct rig_connection *c = &rig->connections[rig->n_connections];
	const struct rig_world *world = &rig->worlds[rig->world];
	struct link *link = device_free_link(rig->dev);
	int ca = device_authority_slot(rig->dev, &world->authorities[0]);
	int pki = device_identity_slot(rig->dev, &world->identities[0]);

	if (!link || rig->n_connections == RIG_CONNECTIONS ||
	    ((auth & LINK_AUTH_SERVER) && ca < 0) || ((auth & LINK_AUTH_CLIENT) && pki < 0))
		return NULL;
	*c = (struct rig_connection){ .rig = rig, .link = link };
	c->target = (struct link_target){
		.host = named ? host_name : host_address,
		.server_name = named ? host_name : host_address,
		.port = RIG_PORT + (unsigned int)rig->n_connections++,
		.auth = auth,
		.ca = auth & LINK_AUTH_SERVER ? ca : 0,
		.pki = auth & LINK_AUTH_CLIENT ? pki : 0,
		.timeout = 10,
	};
	MUST(link_open(link, &c->target, &link_ops, c) == 0);
	return c;
}

void rig_send(struct rig_connection *c, size_t len)
{
	size_t room;
	uint8_t *to = c->open && c->link ? link_tx_buffer(c->link, &room) : NULL;

	if (!to || len == 0)
		return;
	len = less(len, room);
	for (size_t i = 0; i < len; i++)
		to[i] = sent_at(c, c->submitted + i);
	c->submitted += len;
	link_tx_submit(c->link, len);
}

void rig_close(struct rig_connection *c)
{
	struct link *link = c->link;

	if (!link)
		return;
	c->ended = true;
	c->link = NULL;
	link_close(link);
}

void rig_server_says(struct rig *rig, int link, size_t len)
{
	struct rig_connection *c = rig->peers[link].connection;

	if (!c || c->closed || rig->peers[link].opening)
		return;
	c->said += len;
	sim_core_on_readable(rig->core, rig->timers.now, link);
}

void rig_server_closes(struct rig *rig, int link)
{
	struct rig_connection *c = rig->peers[link].connection;

	if (!c || rig->peers[link].opening)
		return;
	c->closed = true;
	sim_core_on_readable(rig->core, rig->timers.now, link);
}

/* ---- requests ---- */

struct rig_request *rig_request(struct rig *rig)
{
	struct rig_request *req = &rig->requests[rig->n_requests];

	if (rig->n_requests == RIG_REQUESTS)
		return NULL;
	rig->n_requests++;
	*req = (struct rig_request){ .rig = rig };
	return req;
}

void rig_request_done(void *userdata, enum device_result result, const struct device_answer *answer)
{
	struct rig_request *req = userdata;

	MUST(req->pending); /* once, and not inside the call that has made it */
	MUST(result <= DEVICE_E_MEMORY && answer && answer->text);
	must_be_no_secret(answer->text, strlen(answer->text));
	for (size_t i = 0; i < answer->n_lines; i++)
		must_be_no_secret(answer->lines[i], strlen(answer->lines[i]));
	req->pending = false;
}

void rig_request_made(struct rig_request *req, int r)
{
	MUST(r <= 0);
	req->pending = r == 0;
}

void rig_request_cancel(struct rig_request *req)
{
	if (!req->pending)
		return;
	req->pending = false;
	device_request_cancel(req->request);
}

/* ---- between two deeds ---- */

static bool state_has_no_links(enum device_state state)
{
	switch (state) {
	case DEVICE_ABSENT:
	case DEVICE_PROBING:
	case DEVICE_IDENTIFYING:
	case DEVICE_UNKNOWN_CHIP:
	case DEVICE_CONFIGURING:
	case DEVICE_TUNING:
	case DEVICE_FAILED:
	case DEVICE_PROVISIONED:
		return true;
	case DEVICE_PROVISIONING:
	case DEVICE_JOINING:
	case DEVICE_CLOCK:
	case DEVICE_READY:
	case DEVICE_OFFLINE:
		return false;
	}
	return false;
}

void rig_check(const struct rig *rig)
{
	const struct device *dev = rig->dev;

	MUST(dev->state == rig->state);
	MUST(!dev->chan.current || command_of(dev->chan.current));
	/* What is not at rest goes on by itself. */
	if (dev->state != DEVICE_ABSENT && dev->state != DEVICE_OFFLINE)
		MUST(timers_next(&rig->timers) != TIMERS_NEVER);
	if (state_has_no_links(dev->state))
		MUST(device_links_in_use(dev) == 0);
	for (size_t i = 0; i < rig->n_connections; i++) {
		const struct rig_connection *c = &rig->connections[i];

		if (c->link)
			MUST(c->link->ops == &link_ops && c->link->user == c);
	}
}

/* ---- construction ---- */

static void make_blob(struct cert_blob *blob, enum cert_kind kind, const char *what, int world)
{
	struct cert_digest *digest = NULL;
	char text[128];

	snprintf(text, sizeof(text), "%s %d\n\r\nOK\r\n%s\n", what, world,
		 kind == CERT_KIND_KEY ? RIG_SECRET : ">");
	MUST(cert_digest_new(&digest) == 0);
	blob->kind = kind;
	blob->data = (uint8_t *)strdup(text);
	blob->len = strlen(text);
	MUST(blob->data && cert_digest_reset(digest) == 0 &&
	     cert_digest_update(digest, blob->data, blob->len) == 0 &&
	     cert_digest_final(digest, blob->digest) == 0);
	cert_digest_free(digest);
}

static void make_item(struct rig_world *w, enum material_type type, const char *name,
		      const void *config, size_t blob, size_t n_blobs, unsigned int generation)
{
	struct material_item *item = &w->items[w->material.n_items++];

	*item = (struct material_item){ .type = type,
					.name = name,
					.config = config,
					.n_blobs = n_blobs,
					.generation = generation };
	for (size_t i = 0; i < n_blobs; i++)
		item->blobs[i] = &w->blobs[blob + i];
}

static char name_corp[] = "corp", name_lab[] = "lab", name_gateway[] = "gateway",
	    name_broker[] = "broker", name_other[] = "other", name_esp0[] = "esp0",
	    name_file[] = "wifi.secret", name_ntp[] = "ntp.example";
static char *ntp_servers[] = { name_ntp };

/* The second one has another authority on top, and newer material of the others. */
static void make_world(struct rig *rig, int n)
{
	struct rig_world *w = &rig->worlds[n];
	unsigned int generation = (unsigned int)n + 1;

	w->authorities[0] = (struct config_authority){ .name = name_corp, .slot = -1 };
	w->authorities[1] = (struct config_authority){ .name = name_lab, .slot = 4 };
	w->identities[0] = (struct config_identity){ .name = name_gateway, .slot = -1 };
	w->tunnels[0] = (struct config_tunnel){
		.name = name_broker,
		.device = &rig->settings,
		.authority = &w->authorities[0],
		.identity = &w->identities[0],
	};
	w->tunnels[1] = (struct config_tunnel){ .name = name_other,
						.device = &rig->settings,
						.authority = &w->authorities[1] };
	w->config.devices = &rig->settings;
	w->config.n_devices = 1;
	w->config.authorities = w->authorities;
	w->config.n_authorities = w->config.n_tunnels = (size_t)n + 1;
	w->config.identities = w->identities;
	w->config.n_identities = 1;
	w->config.tunnels = w->tunnels;
	w->material.config = &w->config;
	w->material.items = w->items;
	make_blob(&w->blobs[0], CERT_KIND_CA, "the authority", n);
	make_blob(&w->blobs[1], CERT_KIND_CERT, "the certificate", n);
	make_blob(&w->blobs[2], CERT_KIND_KEY, "the key", n);
	make_blob(&w->blobs[3], CERT_KIND_CA, "another authority", n);
	make_item(w, MATERIAL_AUTHORITY, name_corp, &w->authorities[0], 0, 1, generation);
	if (n > 0)
		make_item(w, MATERIAL_AUTHORITY, name_lab, &w->authorities[1], 3, 1, 1);
	make_item(w, MATERIAL_IDENTITY, name_gateway, &w->identities[0], 1, 2, generation);
}

static void make_chip(struct rig *rig, const struct rig_options *options)
{
	sim_config_init(&rig->chip);
	if (options->slow)
		sim_times_real(&rig->chip.times);
	rig->chip.firmware = options->firmware;
	strcpy(rig->chip.ap[0].ssid, "lab");
	strcpy(rig->chip.ap[0].psk, RIG_SECRET);
	strcpy(rig->chip.ap[1].ssid, "other");
	rig->chip.n_ap = 2;
	rig->chip_baud = rig->chip.baud;
	MUST(sim_core_new(&rig->core, &rig->chip, &core_ops, rig, NULL, 0, rig->timers.now) == 0);
}

void rig_init(struct rig *rig, const struct rig_options *options)
{
	memset(rig, 0, sizeof(*rig));
	the_rig = rig;
	timers_init(&rig->timers);
	timers_set_now(&rig->timers, 1 * TIMERS_S);
	rig->wallclock = WALLCLOCK;
	rig->chunk = 512;
	rig->settings = (struct config_device){
		.name = name_esp0,
		.baud = 115200,
		.max_baud = options->max_baud,
		.flow_control = options->flow_control,
		.receive = options->receive,
		.max_links = options->max_links,
		.adopt = CONFIG_ADOPT_ANY,
		.has_wifi = true,
		.wifi = { .ssid = name_lab, .password_file = name_file },
		.time = options->time,
		.ntp_servers = { .items = ntp_servers, .n = 1 },
	};
	make_world(rig, 0);
	make_world(rig, 1);
	make_chip(rig, options);
	MUST(device_new(&rig->dev, &rig->worlds[0].config, &rig->settings, &rig->worlds[0].material,
			&rig->timers, &device_ops, rig) == 0);
	rig->watch.state = on_state;
	device_watch(rig->dev, &rig->watch);
	device_set_trace(rig->dev, options->trace);
	log_set_level(options->trace || getenv("FUZZ_LOG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
}

void rig_free(struct rig *rig)
{
	rig->dev = device_free(rig->dev);
	for (size_t i = 0; i < RIG_COMMANDS; i++)
		MUST(!rig->commands[i].cmd);
	for (size_t i = 0; i < rig->n_requests; i++)
		MUST(!rig->requests[i].pending);
	MUST(timers_next(&rig->timers) == TIMERS_NEVER);
	timers_deinit(&rig->timers);
	sim_core_free(rig->core);
	for (size_t w = 0; w < 2; w++)
		for (size_t i = 0; i < sizeof(rig->worlds[w].blobs) / sizeof(struct cert_blob); i++)
			free(rig->worlds[w].blobs[i].data);
	the_rig = NULL;
}

void rig_reload(struct rig *rig)
{
	struct rig_world *w = &rig->worlds[!rig->world];

	MUST(device_reconfigure(rig->dev, &w->config, &rig->settings, &w->material) == 0);
	rig->world = !rig->world;
	device_provision(rig->dev);
}

/* ---- the end ---- */

static void stop_all_trouble(struct rig *rig)
{
	/* The others happen at once. */
	static const enum sim_fault lasting[] = {
		SIM_FAULT_DELAY,        SIM_FAULT_MUTE,       SIM_FAULT_NO_PROMPT,
		SIM_FAULT_BUSY,         SIM_FAULT_BUSY_AFTER, SIM_FAULT_BROWNOUT_OLD,
		SIM_FAULT_BROWNOUT_NEW, SIM_FAULT_SEND_FAIL,  SIM_FAULT_LATE_CLOSED,
		SIM_FAULT_TLS_LENGTH,
	};

	rig->drop_in = rig->drop_out = rig->flip_out = rig->twice_out = 0;
	rig->open_error = rig->resolve_error = rig->sntp_error = 0;
	rig->load_error = rig->secret_error = 0;
	rig->deaf_network = rig->slow_server = rig->unsynchronized = false;
	rig->wallclock = WALLCLOCK;
	rig->chunk = 512;
	for (size_t i = 0; i < sizeof(lasting) / sizeof(*lasting); i++)
		sim_core_fault(rig->core, rig->timers.now, lasting[i], 0);
	sim_core_fault(rig->core, rig->timers.now, SIM_FAULT_HEAP, 1000000);
	if (rig->reset_due)
		rig_cut_power(rig);
	rig_plug(rig);
}

/* In service, and nothing is under way. */
static bool is_at_rest(const struct device *dev)
{
	return (dev->state == DEVICE_READY || dev->state == DEVICE_OFFLINE) &&
	       device_links_in_use(dev) == 0 && !dev->provision && dev->n_requests == 0;
}

static void come_to_rest(struct rig *rig)
{
	const struct device *dev = rig->dev;
	uint64_t end = rig->timers.now + HEAL_PATIENCE;

	do
		rig_pass(rig, 1 * TIMERS_S);
	while (rig->timers.now < end && !is_at_rest(dev));
	rig_check(rig);
	if (!is_at_rest(dev))
		fprintf(stderr, "%s: %s\n", device_state_name(dev->state), dev->error);
	MUST(is_at_rest(dev));
}

/* Whether a new client gets through; true also where the rig has no room for one. */
static bool serves(struct rig *rig)
{
	struct rig_connection *c = rig_open(rig, LINK_AUTH_NONE, false);

	if (!c)
		return true;
	rig_pass(rig, 20 * TIMERS_S);
	if (!c->open || c->ended)
		return false;
	rig_send(c, 100);
	rig_pass(rig, 5 * TIMERS_S);
	MUST(c->submitted > 0 && (c->arrived == c->submitted || rig->hurt_in));
	rig_close(c);
	return true;
}

void rig_heal(struct rig *rig)
{
	/*
	 * What was lost may have been a report, as of Wi-Fi that is gone, and what a chip says that has just
	 * restarted is noise at a raised rate: who comes first finds it out.
	 */
	int attempts = 3;
	bool served = false;

	stop_all_trouble(rig);
	for (size_t i = 0; i < rig->n_connections; i++)
		rig_close(&rig->connections[i]);
	while (!served && attempts-- > 0) {
		come_to_rest(rig);
		if (rig->dev->state == DEVICE_OFFLINE)
			return; /* as somebody has wished */
		served = serves(rig);
	}
	MUST(served);
}
