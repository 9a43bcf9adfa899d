/* SPDX-License-Identifier: MIT */
/* One configured endpoint. */
#include "tunnel/tunnel.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "espatd/espatd.h"
#include "tunnel/client.h"
#include "tunnel/log.h"
#include "tunnel/pool.h"
#include "util/clock.h"
#include "util/log.h"

/* How long no client is accepted after the process ran out of file descriptors. */
#define TUNNEL_ACCEPT_LATER (1 * TIMERS_S)
/* So many clients in one turn of the loop. */
#define TUNNEL_ACCEPT_MAX 16
/* How often a socket is tried to be made that could not be, and looked for where it should be. */
#define TUNNEL_LISTEN_LATER (30 * TIMERS_S)
/* How often a failed connection is looked into, for each tunnel. */
#define TUNNEL_DIAGNOSE (60 * TIMERS_S)

#define REASON_NO_SOCKET "no-socket"
#define REASON_UNWANTED "refused-user"

/* ---- what is told of it ---- */

const char *tunnel_state_name(enum tunnel_state state)
{
	switch (state) {
	case TUNNEL_WAITING:
		return "waiting";
	case TUNNEL_LISTENING:
		return "listening";
	case TUNNEL_FAILED:
		return "failed";
	case TUNNEL_DRAINING:
		return "draining";
	}
	return "?";
}

void tunnel_watch(struct tunnel *tunnel, struct tunnel_watch *watch)
{
	list_append(&tunnel->watches, &watch->node);
}

void tunnel_unwatch(struct tunnel_watch *watch)
{
	list_remove(&watch->node);
}

void tunnel_changed(struct tunnel *tunnel)
{
	list_for_each_safe(node, &tunnel->watches) {
		struct tunnel_watch *watch = container_of(node, struct tunnel_watch, node);

		if (watch->changed)
			watch->changed(watch, tunnel);
	}
}

static void tunnel_tell_failed(struct tunnel *tunnel)
{
	list_for_each_safe(node, &tunnel->watches) {
		struct tunnel_watch *watch = container_of(node, struct tunnel_watch, node);

		if (watch->failed)
			watch->failed(watch, tunnel, tunnel->error_reason, tunnel->error);
	}
}

static void tunnel_enter_state(struct tunnel *tunnel, enum tunnel_state state)
{
	if (state == tunnel->state)
		return;
	tunnel_log_debug(tunnel, "%s -> %s", tunnel_state_name(tunnel->state),
			 tunnel_state_name(state));
	tunnel->state = state;
	tunnel_changed(tunnel);
}

enum tunnel_state tunnel_state(const struct tunnel *tunnel)
{
	return tunnel->state;
}

const char *tunnel_path(const struct tunnel *tunnel)
{
	return tunnel->path;
}

const char *tunnel_error(const struct tunnel *tunnel)
{
	return tunnel->error;
}

const char *tunnel_error_reason(const struct tunnel *tunnel)
{
	return tunnel->error_reason;
}

static void tunnel_set_error(struct tunnel *tunnel, const char *reason, const char *text)
{
	tunnel->error_reason = reason;
	snprintf(tunnel->error, sizeof(tunnel->error), "%s", text);
}

/* ---- the server ---- */

int tunnel_target(struct tunnel *tunnel, struct device *dev, struct link_target *ret)
{
	const struct config_tunnel *config = tunnel->config;
	unsigned int auth = LINK_AUTH_NONE;

	*ret = (struct link_target){
		.owner = tunnel->config_owner,
		.host = config->host,
		.port = config->port,
		.server_name = config->server_name,
		.psk = config->has_psk ? &config->psk : NULL,
		.alpn = &config->alpn,
		.ciphers = config->ciphers,
		.n_ciphers = config->n_ciphers,
		.keep_alive = config->keep_alive,
		.timeout = config->connect_timeout,
		.family = config->family,
	};
	if (config->authority && !config->insecure) {
		ret->ca = device_authority_slot(dev, config->authority);
		auth |= LINK_AUTH_SERVER;
	}
	if (config->identity) {
		ret->pki = device_identity_slot(dev, config->identity);
		auth |= LINK_AUTH_CLIENT;
	}
	ret->auth = auth;
	return ret->ca < 0 || ret->pki < 0 ? -ENOENT : 0;
}

static bool awaits_item(const struct device *dev, int slot, size_t item)
{
	const char *why;

	return slot < 0 && device_item_state(dev, item, &why) == DEVICE_ITEM_PENDING;
}

bool tunnel_awaits_material(const struct tunnel *tunnel, const struct device *dev)
{
	const struct config_tunnel *config = tunnel->config;

	if (config->authority && !config->insecure &&
	    awaits_item(dev, device_authority_slot(dev, config->authority),
			material_of_authority(dev->material, config->authority)))
		return true;
	return config->identity &&
	       awaits_item(dev, device_identity_slot(dev, config->identity),
			   material_of_identity(dev->material, config->identity));
}

/* Looking into it costs the chip a connection: not for each of a client's retries. */
enum link_probe tunnel_may_probe(struct tunnel *tunnel, bool quiet)
{
	uint64_t now = tunnel->pool->timers->now;

	if (!tunnel->config->diagnose ||
	    (tunnel->diagnosed && now - tunnel->diagnosed_at < TUNNEL_DIAGNOSE))
		return LINK_PROBE_NO;
	if (!quiet)
		return LINK_PROBE_LATER;
	tunnel->diagnosing = true;
	tunnel->diagnosed = true;
	tunnel->diagnosed_at = now;
	tunnel->diagnosis = LINK_END_UNEXPLAINED;
	return LINK_PROBE_YES;
}

static unsigned int authority_generation(const struct tunnel *tunnel, const struct device *dev)
{
	const struct config_authority *a = tunnel->config->authority;

	return a ? device_authority_generation(dev, a) : 0;
}

static unsigned int identity_generation(const struct tunnel *tunnel, const struct device *dev)
{
	const struct config_identity *id = tunnel->config->identity;

	return id ? device_identity_generation(dev, id) : 0;
}

void tunnel_connected(struct tunnel *tunnel, struct device *dev)
{
	tunnel->connects++;
	tunnel_set_error(tunnel, "", "");
	tunnel->diagnosis = LINK_END_UNEXPLAINED;
	tunnel->failure = LINK_END_PEER;
	tunnel->good_authority = authority_generation(tunnel, dev);
	tunnel->good_identity = identity_generation(tunnel, dev);
	tunnel_changed(tunnel);
}

/* It worked with the generation @good and fails with @now: says so once. */
static void blame_generation(const struct tunnel *tunnel, const char *kind, const char *name,
			     unsigned int good, unsigned int now, unsigned int *told)
{
	if (good == 0 || now <= good || *told == now)
		return;
	*told = now;
	tunnel_log_warning(
		tunnel,
		"it connected with generation %u of %s %s, and does not with generation %u: "
		"`espatctl certs rollback %s:%s` brings the one before back",
		good, kind, name, now, kind, name);
}

static void blame_material(struct tunnel *tunnel, const struct device *dev)
{
	const struct config_tunnel *config = tunnel->config;

	if (config->authority)
		blame_generation(tunnel, "authority", config->authority->name,
				 tunnel->good_authority, authority_generation(tunnel, dev),
				 &tunnel->told_authority);
	if (config->identity)
		blame_generation(tunnel, "identity", config->identity->name, tunnel->good_identity,
				 identity_generation(tunnel, dev), &tunnel->told_identity);
}

void tunnel_failed(struct tunnel *tunnel, struct device *dev, enum link_end end, const char *text)
{
	/* With a text it never came as far as a connect. */
	if (tunnel->diagnosing && !text)
		tunnel->diagnosis = end;
	else if (end == LINK_END_UNEXPLAINED && tunnel->diagnosed && !text)
		end = tunnel->diagnosis;
	if (!text)
		tunnel->diagnosing = false;
	tunnel->failures++;
	tunnel->failure = end;
	tunnel_set_error(tunnel, link_end_reason(end), text ? text : link_end_text(end));
	tunnel_log_failure(tunnel, tunnel->error_reason, "connection failed: %s [%s]",
			   tunnel->error, tunnel->error_reason);
	/* Nothing explains it where others are busy, or where it is not to be looked into. */
	if (dev && (end == LINK_END_TLS || end == LINK_END_NO_MATERIAL || end == LINK_END_VOID ||
		    (end == LINK_END_UNEXPLAINED && !text)))
		blame_material(tunnel, dev);
	tunnel_tell_failed(tunnel);
	tunnel_changed(tunnel);
}

/* Of several devices, any of which would have served it, the nearest one's state is told. */
enum link_end tunnel_wait_end(const struct tunnel *tunnel)
{
	const struct device *dev = pool_nearest_device(tunnel->pool, tunnel);

	if (!dev)
		return LINK_END_RESET;
	switch (dev->state) {
	case DEVICE_READY:
		return tunnel_awaits_material(tunnel, dev) ? LINK_END_NO_MATERIAL
							   : LINK_END_TIMEOUT;
	case DEVICE_JOINING:
	case DEVICE_OFFLINE:
		return LINK_END_WIFI;
	case DEVICE_CLOCK:
		return LINK_END_CLOCK;
	case DEVICE_PROVISIONING:
		return LINK_END_NO_MATERIAL;
	case DEVICE_ABSENT:
	case DEVICE_PROBING:
	case DEVICE_IDENTIFYING:
	case DEVICE_CONFIGURING:
	case DEVICE_TUNING:
	case DEVICE_FAILED:
	case DEVICE_PROVISIONED:
		break;
	case DEVICE_UNKNOWN_CHIP:
		return LINK_END_NO_MATERIAL;
	}
	return LINK_END_RESET;
}

const char *tunnel_wait_text(const struct tunnel *tunnel)
{
	const struct device *dev = pool_nearest_device(tunnel->pool, tunnel);
	unsigned int most = tunnel->config->max_clients;
	bool any = !tunnel->dev;

	if (!dev)
		return any ? "there is no device any more" : "its device was removed";
	if (dev->state == DEVICE_READY && tunnel_awaits_material(tunnel, dev))
		return any ? "its certificates were not written to any chip in time"
			   : "its certificates were not written to the chip in time";
	if (dev->state == DEVICE_READY && most > 0 && tunnel->n_links >= most)
		return "`max_clients` of the tunnel had a link all the time";
	if (dev->state == DEVICE_READY)
		return any ? "no link of any chip became free in time"
			   : "no link of the chip became free in time";
	if (any)
		return "no chip became ready in time";
	if (dev->state == DEVICE_UNKNOWN_CHIP)
		return "the chip is not the one of this device";
	return "the chip did not become ready in time";
}

/* ---- clients ---- */

unsigned int tunnel_clients(const struct tunnel *tunnel)
{
	return tunnel->n_clients;
}

unsigned int tunnel_waiting(const struct tunnel *tunnel)
{
	return tunnel->n_waiting;
}

/* No failures, but they must know: one line for all of them, there may be many. */
static unsigned int tunnel_end_waiting(struct tunnel *tunnel, const char *why)
{
	unsigned int n = 0;

	list_for_each_safe(node, &tunnel->clients) {
		struct client *client = container_of(node, struct client, node);

		if (client->state == CLIENT_WAITING) {
			client_end(client, NULL);
			n++;
		}
	}
	if (n > 0)
		tunnel_log_info(tunnel, "%u clients that waited were ended: %s", n, why);
	return n;
}

unsigned int tunnel_disconnect(struct tunnel *tunnel, const char *why)
{
	/* They first, so that the link of another one is not opened for them. */
	unsigned int n = tunnel_end_waiting(tunnel, why);
	struct list *node;

	for (; (node = list_first(&tunnel->clients)); n++)
		client_end(container_of(node, struct client, node), why);
	return n;
}

/* ---- who may connect ---- */

static void tunnel_tell_unwanted(struct ratelimit *limit, unsigned int more)
{
	struct tunnel *tunnel = container_of(limit, struct tunnel, unwanted);

	tunnel_log_failure(tunnel, REASON_UNWANTED,
			   "%u more clients were refused within a minute, the last one of "
			   "user %u [" REASON_UNWANTED "]",
			   more, tunnel->unwanted_uid);
}

/* Whoever may try may try often. */
static void tunnel_refuse_peer(struct tunnel *tunnel, const struct peer *peer)
{
	tunnel->unwanted_uid = peer->uid;
	if (ratelimit_pass(&tunnel->unwanted))
		tunnel_log_failure(
			tunnel, REASON_UNWANTED,
			"a client was refused: user %u, group %u (process %d) is neither of "
			"`allow_uids` nor of `allow_gids` [" REASON_UNWANTED "]",
			peer->uid, peer->gid, (int)peer->pid);
}

static bool tunnel_is_restricted(const struct config_tunnel *config)
{
	return config->allow_uids.n + config->allow_gids.n > 0;
}

static bool tunnel_may_connect(struct tunnel *tunnel, int fd)
{
	const struct config_tunnel *config = tunnel->config;
	bool allowed = false;
	struct peer peer;
	int r;

	if (!tunnel_is_restricted(config))
		return true;
	r = peer_read(&peer, fd);
	if (r < 0) {
		log_warning("%s: a client was refused, as it cannot be told whose it is: %s",
			    config->name, strerror(-r));
	} else {
		allowed = peer_is_allowed(&peer, &config->allow_uids, &config->allow_gids,
					  &tunnel->overflow);
		if (!allowed)
			tunnel_refuse_peer(tunnel, &peer);
	}
	peer_clear(&peer);
	return allowed;
}

/* ---- too many ---- */

static void tunnel_tell_crowded(struct ratelimit *limit, unsigned int more)
{
	struct tunnel *tunnel = container_of(limit, struct tunnel, crowded);

	tunnel_log_failure(tunnel, link_end_reason(LINK_END_TIMEOUT),
			   "%u more clients were refused, as too many waited already", more);
}

/* One is told of, then no more than their number: whoever starts so many starts more. */
static void tunnel_refuse_crowd(struct tunnel *tunnel, struct client *client)
{
	if (ratelimit_pass(&tunnel->crowded)) {
		client_refuse(client, LINK_END_TIMEOUT, "too many clients wait already");
		return;
	}
	tunnel->failures++;
	client_end(client, NULL);
}

/* ---- accepting ---- */

static void tunnel_accepted(struct tunnel *tunnel, const struct listener *listener, int fd)
{
	if (!tunnel_may_connect(tunnel, fd)) {
		close(fd);
		return;
	}
	listener_prepare_client(listener, fd);
	if (client_new(tunnel, fd) < 0) {
		tunnel_log_warning(tunnel, "out of memory for a client");
		return;
	}
	if (tunnel_waiting(tunnel) > tunnel->config->max_waiting)
		tunnel_refuse_crowd(tunnel,
				    container_of(tunnel->clients.prev, struct client, node));
}

static void tunnel_accept_again(struct timer *timer)
{
	struct tunnel *tunnel = container_of(timer, struct tunnel, accept_later);

	for (size_t i = 0; i < tunnel->n_listeners; i++)
		if (tunnel->listeners[i].event)
			event_add(tunnel->listeners[i].event, NULL);
}

static void tunnel_tell_deaf(struct ratelimit *limit, unsigned int more)
{
	struct tunnel *tunnel = container_of(limit, struct tunnel, deaf);

	tunnel_log_error(tunnel, "clients could not be accepted %u more times within a minute",
			 more);
}

/* What has become of one client (accept(2)), or nobody was there. */
static bool accept_goes_on(int error)
{
	switch (error) {
	case EAGAIN:
	case EINTR:
	case ECONNABORTED:
	case EPERM:
	case EPROTO:
	case ENETDOWN:
	case ENOPROTOOPT:
	case EHOSTDOWN:
	case ENONET:
	case EHOSTUNREACH:
	case EOPNOTSUPP:
	case ENETUNREACH:
		return true;
	default:
		return false;
	}
}

/* By another one who has it, too. An Internet socket says EINVAL then, one of this host EAGAIN. */
static bool is_shut_down(int fd)
{
	struct pollfd p = { .fd = fd };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP);
}

/* No more can be accepted, or the socket is of no use any more: which would be told of without end. */
static void tunnel_accept_failed(struct tunnel *tunnel)
{
	if (accept_goes_on(errno))
		return;
	if (ratelimit_pass(&tunnel->deaf)) {
		tunnel_log_error(tunnel, "cannot accept clients: %s; trying again every %llu s",
				 strerror(errno), TUNNEL_ACCEPT_LATER / TIMERS_S);
		tunnel->told_deaf = true;
	}
	for (size_t i = 0; i < tunnel->n_listeners; i++)
		if (tunnel->listeners[i].event)
			event_del(tunnel->listeners[i].event);
	timer_arm(&tunnel->accept_later, TUNNEL_ACCEPT_LATER);
}

static void tunnel_on_accept(evutil_socket_t fd, short what, void *userdata)
{
	struct listener *listener = userdata;
	struct tunnel *tunnel = listener->tunnel;

	timers_touch(tunnel->pool->timers);
	for (unsigned int i = 0; i < TUNNEL_ACCEPT_MAX; i++) {
		int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (client < 0) {
			/* It was told that there is somebody. */
			if (i == 0 && errno == EAGAIN && is_shut_down(fd))
				errno = ESHUTDOWN;
			tunnel_accept_failed(tunnel);
			return;
		}
		if (tunnel->told_deaf)
			tunnel_log_notice(tunnel, "accepts clients again");
		tunnel->told_deaf = false;
		tunnel_accepted(tunnel, listener, client);
	}
}

static int tunnel_accept_from(struct tunnel *tunnel, struct listener *listener)
{
	listener->event = event_new(tunnel->pool->base, listener->fd, EV_READ | EV_PERSIST,
				    tunnel_on_accept, listener);
	if (!listener->event || event_add(listener->event, NULL) < 0)
		return -ENOMEM;
	tunnel_log_notice(tunnel, "listening on %s%s%s", listener->name,
			  listener->given ? " (its socket unit's)" : "",
			  tunnel->config->insecure ? " (INSECURE: the server is not verified)"
						   : "");
	return 0;
}

static void tunnel_close_listener(struct listener *listener)
{
	if (listener->event)
		event_free(listener->event);
	listener->event = NULL;
	listener_close(listener);
}

static void tunnel_stop_listening(struct tunnel *tunnel)
{
	timer_cancel(&tunnel->accept_later);
	timer_cancel(&tunnel->listen_later);
	for (size_t i = 0; i < tunnel->n_listeners; i++)
		tunnel_close_listener(&tunnel->listeners[i]);
	ratelimit_end(&tunnel->unwanted);
	ratelimit_end(&tunnel->crowded);
	ratelimit_end(&tunnel->deaf);
}

/* ---- its own socket ---- */

static void tunnel_cannot_listen(struct tunnel *tunnel, const char *why)
{
	char text[TUNNEL_ERROR_MAX];

	snprintf(text, sizeof(text), "cannot listen on %s: %s", tunnel->path, why);
	/* Again and again for the same reason: told once. */
	if (tunnel->state != TUNNEL_FAILED || strcmp(text, tunnel->error) != 0)
		tunnel_log_error(tunnel, "%s", text);
	tunnel_set_error(tunnel, REASON_NO_SOCKET, text);
	timer_arm(&tunnel->listen_later, TUNNEL_LISTEN_LATER);
	if (tunnel->state == TUNNEL_FAILED)
		tunnel_changed(tunnel);
	tunnel_enter_state(tunnel, TUNNEL_FAILED);
}

static void tunnel_listen(struct tunnel *tunnel)
{
	struct listener *listener = tunnel->listeners;
	char why[LISTENER_WHY_MAX];

	timer_cancel(&tunnel->listen_later);
	if (listener_bind(listener, tunnel->dir, tunnel->config, why) < 0) {
		tunnel_cannot_listen(tunnel, why);
		return;
	}
	if (tunnel_accept_from(tunnel, listener) < 0) {
		tunnel_close_listener(listener);
		tunnel_cannot_listen(tunnel, "out of memory");
		return;
	}
	if (tunnel->state == TUNNEL_FAILED)
		tunnel_set_error(tunnel, "", "");
	timer_arm(&tunnel->listen_later, TUNNEL_LISTEN_LATER);
	tunnel_enter_state(tunnel, TUNNEL_LISTENING);
}

/* Somebody may have removed it, or the folder; nobody else tells of that. */
static void tunnel_look(struct tunnel *tunnel)
{
	if (tunnel->state == TUNNEL_LISTENING && listener_is_there(tunnel->listeners)) {
		timer_arm(&tunnel->listen_later, TUNNEL_LISTEN_LATER);
		return;
	}
	if (tunnel->state == TUNNEL_LISTENING) {
		tunnel_log_warning(tunnel, "%s is gone, making it anew", tunnel->path);
		tunnel_close_listener(tunnel->listeners);
	}
	tunnel_listen(tunnel);
}

static void tunnel_listen_again(struct timer *timer)
{
	tunnel_look(container_of(timer, struct tunnel, listen_later));
}

static bool tunnel_needs_socket(const struct tunnel *tunnel)
{
	return tunnel->state == TUNNEL_WAITING || tunnel->state == TUNNEL_FAILED;
}

bool tunnel_uses(const struct tunnel *tunnel, const struct device *dev)
{
	return !tunnel->dev || tunnel->dev == dev;
}

void tunnel_device_changed(struct tunnel *tunnel, struct device *dev, enum device_state old)
{
	if (dev->state == DEVICE_READY && tunnel_needs_socket(tunnel))
		tunnel_listen(tunnel);
	/* What was found out before may be so no longer. */
	if (old == DEVICE_READY && dev->state != DEVICE_CLOCK)
		tunnel->diagnosed = false;
}

/* ---- sockets that it was given ---- */

int tunnel_check_sockets(const struct config_tunnel *config, const int *fds, size_t n_fds,
			 struct problems *problems)
{
	bool wrong = n_fds > TUNNEL_SOCKETS_MAX;
	int r = 0;

	if (wrong)
		r = problems_add(problems, PROBLEM_ERROR, config->where.file, config->where.line,
				 "tunnel %s was given %zu sockets, expected at most %d",
				 config->name, n_fds, TUNNEL_SOCKETS_MAX);
	for (size_t i = 0; i < n_fds && r >= 0; i++) {
		r = listener_check(fds[i], config, problems);
		if (r == -EINVAL) {
			wrong = true;
			r = 0;
		}
	}
	return r < 0 ? r : wrong ? -EINVAL : 0;
}

/* The one to be told of: a path if there is any. */
static const char *tunnel_best_name(const struct tunnel *tunnel)
{
	for (size_t i = 0; i < tunnel->n_listeners; i++)
		if (!tunnel->listeners[i].tcp)
			return tunnel->listeners[i].name;
	return tunnel->listeners[0].name;
}

static int tunnel_take_sockets(struct tunnel *tunnel, const int *fds)
{
	struct problems problems = PROBLEMS_NULL;
	int r;

	/* The caller's duty, but what comes of leaving it out would be a way in. */
	r = tunnel_check_sockets(tunnel->config, fds, tunnel->n_listeners, &problems);
	for (size_t i = 0; i < problems.count && r < 0; i++)
		log_error("%s", problems.items[i].text);
	problems_clear(&problems);
	for (size_t i = 0; i < tunnel->n_listeners && r == 0; i++) {
		r = listener_take(&tunnel->listeners[i], fds[i]);
		if (r == 0)
			r = tunnel_accept_from(tunnel, &tunnel->listeners[i]);
		if (r < 0 && r != -ENOMEM)
			tunnel_log_error(tunnel, "cannot use descriptor %d: %s", fds[i],
					 strerror(-r));
	}
	if (r < 0)
		return r;
	tunnel->path = strdup(tunnel_best_name(tunnel));
	if (!tunnel->path)
		return -ENOMEM;
	tunnel_enter_state(tunnel, TUNNEL_LISTENING);
	return 0;
}

/* ---- its life ---- */

static int tunnel_setup_sockets(struct tunnel *tunnel, const char *runtime_dir, const int *fds,
				size_t n_fds)
{
	tunnel->listeners = calloc(n_fds > 0 ? n_fds : 1, sizeof(*tunnel->listeners));
	if (!tunnel->listeners)
		return -ENOMEM;
	tunnel->given = n_fds > 0;
	tunnel->n_listeners = n_fds > 0 ? n_fds : 1;
	for (size_t i = 0; i < tunnel->n_listeners; i++)
		listener_init(&tunnel->listeners[i], tunnel);
	if (tunnel->given)
		return tunnel_take_sockets(tunnel, fds);
	tunnel->dir = strdup(runtime_dir);
	if (!tunnel->dir)
		return -ENOMEM;
	if (asprintf(&tunnel->path, "%s/%s" ESPATD_SOCKET_SUFFIX, runtime_dir,
		     tunnel->config->name) < 0) {
		tunnel->path = NULL;
		return -ENOMEM;
	}
	if (pool_any_ready(tunnel->pool, tunnel))
		tunnel_listen(tunnel);
	return 0;
}

static int tunnel_setup_timers(struct tunnel *tunnel)
{
	struct timers *timers = tunnel->pool->timers;
	int r;

	r = timer_init(&tunnel->accept_later, timers, tunnel_accept_again);
	if (r == 0)
		r = timer_init(&tunnel->listen_later, timers, tunnel_listen_again);
	if (r == 0)
		r = ratelimit_init(&tunnel->unwanted, timers, tunnel_tell_unwanted);
	if (r == 0)
		r = ratelimit_init(&tunnel->crowded, timers, tunnel_tell_crowded);
	if (r == 0)
		r = ratelimit_init(&tunnel->deaf, timers, tunnel_tell_deaf);
	return r;
}

int tunnel_new(struct tunnel **ret, const struct config_tunnel *config, struct config *owner,
	       const char *runtime_dir, const int *fds, size_t n_fds, struct pool *pool,
	       struct device *dev)
{
	struct tunnel *tunnel = calloc(1, sizeof(*tunnel));
	int r;

	if (!tunnel)
		return -ENOMEM;
	tunnel->config_owner = owner;
	tunnel->config = config;
	tunnel->pool = pool;
	tunnel->dev = dev;
	tunnel->diagnosis = LINK_END_UNEXPLAINED;
	tunnel->failure = LINK_END_PEER;
	tunnel->error_reason = "";
	list_init(&tunnel->clients);
	list_init(&tunnel->waiting);
	list_append(&pool->tunnels, &tunnel->pool_node);
	list_init(&tunnel->watches);
	peer_read_overflow(&tunnel->overflow);
	r = tunnel_setup_timers(tunnel);
	if (r == 0)
		r = tunnel_setup_sockets(tunnel, runtime_dir, fds, n_fds);
	if (r < 0) {
		tunnel_free(tunnel, NULL);
		return r;
	}
	*ret = tunnel;
	return 0;
}

void tunnel_reconfigure(struct tunnel *tunnel, const struct config_tunnel *config,
			struct config *owner)
{
	tunnel->config_owner = owner;
	tunnel->config = config;
	/* Where it comes from may be another place. */
	tunnel_changed(tunnel);
	/* Whoever reloads may have made room for it. */
	if (!tunnel->given && (tunnel->state == TUNNEL_FAILED || tunnel->state == TUNNEL_LISTENING))
		tunnel_look(tunnel);
}

void tunnel_drain(struct tunnel *tunnel)
{
	tunnel_stop_listening(tunnel);
	tunnel_enter_state(tunnel, TUNNEL_DRAINING);
	tunnel_end_waiting(tunnel, "espatd stops");
}

struct tunnel *tunnel_free(struct tunnel *tunnel, const char *why)
{
	if (!tunnel)
		return NULL;
	/* Nobody is told of what ends from here on. */
	list_for_each_safe(node, &tunnel->watches)
		list_remove(node);
	tunnel_stop_listening(tunnel);
	tunnel_disconnect(tunnel, why);
	list_remove(&tunnel->pool_node);
	pool_reap(tunnel->pool);
	timer_deinit(&tunnel->accept_later);
	timer_deinit(&tunnel->listen_later);
	ratelimit_deinit(&tunnel->unwanted);
	ratelimit_deinit(&tunnel->crowded);
	ratelimit_deinit(&tunnel->deaf);
	free(tunnel->listeners);
	free(tunnel->dir);
	free(tunnel->path);
	free(tunnel);
	return NULL;
}
