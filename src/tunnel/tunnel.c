/* SPDX-License-Identifier: MIT */
/* One configured endpoint. */
#include "tunnel/tunnel.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "espatd/espatd.h"
#include "tunnel/client.h"
#include "tunnel/pool.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"

#define TUNNEL_BACKLOG 128
/* How long no client is accepted after the process ran out of file descriptors. */
#define TUNNEL_ACCEPT_LATER (1 * TIMERS_S)
/* How often a failed connection is looked into, for each tunnel. */
#define TUNNEL_DIAGNOSE (60 * TIMERS_S)

int tunnel_target(struct tunnel *tunnel, struct link_target *ret)
{
	const struct config_tunnel *config = tunnel->config;
	unsigned int auth = LINK_AUTH_NONE;

	*ret = (struct link_target){
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
		ret->ca = device_authority_slot(tunnel->dev, config->authority);
		auth |= LINK_AUTH_SERVER;
	}
	if (config->identity) {
		ret->pki = device_identity_slot(tunnel->dev, config->identity);
		auth |= LINK_AUTH_CLIENT;
	}
	ret->auth = auth;
	return ret->ca < 0 || ret->pki < 0 ? -ENOENT : 0;
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

static unsigned int authority_generation(const struct tunnel *tunnel)
{
	const struct config_authority *a = tunnel->config->authority;

	return a ? device_authority_generation(tunnel->dev, a) : 0;
}

static unsigned int identity_generation(const struct tunnel *tunnel)
{
	const struct config_identity *id = tunnel->config->identity;

	return id ? device_identity_generation(tunnel->dev, id) : 0;
}

void tunnel_connected(struct tunnel *tunnel)
{
	tunnel->connects++;
	tunnel->diagnosis = LINK_END_UNEXPLAINED;
	tunnel->failure = LINK_END_PEER;
	tunnel->good_authority = authority_generation(tunnel);
	tunnel->good_identity = identity_generation(tunnel);
}

/* It worked with the generation @good and fails with @now: says so once. */
static void blame_generation(const struct tunnel *tunnel, const char *kind, const char *name,
			     unsigned int good, unsigned int now, unsigned int *told)
{
	if (good == 0 || now <= good || *told == now)
		return;
	*told = now;
	log_warning(
		"%s: it connected with generation %u of %s %s, and does not with generation %u: "
		"`espatd --rollback %s:%s` and a reload bring the one before back",
		tunnel->config->name, good, kind, name, now, kind, name);
}

static void blame_material(struct tunnel *tunnel)
{
	const struct config_tunnel *config = tunnel->config;

	if (config->authority)
		blame_generation(tunnel, "authority", config->authority->name,
				 tunnel->good_authority, authority_generation(tunnel),
				 &tunnel->told_authority);
	if (config->identity)
		blame_generation(tunnel, "identity", config->identity->name, tunnel->good_identity,
				 identity_generation(tunnel), &tunnel->told_identity);
}

void tunnel_failed(struct tunnel *tunnel, enum link_end end, const char *text)
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
	log_warning("%s: connection failed: %s [%s]", tunnel->config->name,
		    text ? text : link_end_text(end), link_end_reason(end));
	/* Nothing explains it where others are busy, or where it is not to be looked into. */
	if (end == LINK_END_TLS || end == LINK_END_NO_MATERIAL || end == LINK_END_VOID ||
	    (end == LINK_END_UNEXPLAINED && !text))
		blame_material(tunnel);
}

enum link_end tunnel_wait_end(const struct tunnel *tunnel)
{
	switch (tunnel->dev->state) {
	case DEVICE_READY:
		return LINK_END_TIMEOUT;
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
	if (tunnel->dev->state == DEVICE_READY)
		return "no link of the chip became free in time";
	if (tunnel->dev->state == DEVICE_UNKNOWN_CHIP)
		return "the chip is not the one of this device";
	return "the chip did not become ready in time";
}

/* ---- clients ---- */

unsigned int tunnel_waiting(const struct tunnel *tunnel)
{
	unsigned int n = 0;

	list_for_each(node, &tunnel->clients)
		n += container_of(node, struct client, node)->state == CLIENT_WAITING;
	return n;
}

static void tunnel_accepted(struct tunnel *tunnel, int fd)
{
	if (client_new(tunnel, fd) < 0) {
		log_warning("%s: out of memory for a client", tunnel->config->name);
		return;
	}
	if (tunnel_waiting(tunnel) > tunnel->config->max_waiting)
		client_refuse(container_of(tunnel->clients.prev, struct client, node),
			      LINK_END_TIMEOUT, "too many clients wait already");
}

static void tunnel_accept_again(struct timer *timer)
{
	event_add(container_of(timer, struct tunnel, accept_later)->accept_event, NULL);
}

static void tunnel_on_accept(evutil_socket_t listener, short what, void *userdata)
{
	struct tunnel *tunnel = userdata;
	int fd;

	timers_touch(tunnel->pool->timers);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0) {
		tunnel_accepted(tunnel, fd);
		return;
	}
	if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS)
		return;
	log_error("%s: cannot accept clients: %s", tunnel->config->name, strerror(errno));
	event_del(tunnel->accept_event);
	timer_arm(&tunnel->accept_later, TUNNEL_ACCEPT_LATER);
}

/* ---- the socket ---- */

/* A socket at @path that nobody serves any more is removed; anything else there is left alone. */
static int remove_stale(const char *path, const struct sockaddr_un *addr)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN)
		return -EADDRINUSE;
	if (errno != ECONNREFUSED)
		return -errno;
	return unlink(path) < 0 ? -errno : 0;
}

static int tunnel_bind(struct tunnel *tunnel)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;
	mode_t mask;
	int r;

	if (strlen(tunnel->path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, tunnel->path);
	r = remove_stale(tunnel->path, &addr);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* Nobody gets in between bind() and chmod(). */
	mask = umask(0777);
	r = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
	umask(mask);
	if (r < 0)
		return r;
	if (chmod(tunnel->path, tunnel->config->mode) < 0 || listen(fd, TUNNEL_BACKLOG) < 0) {
		r = -errno;
		unlink(tunnel->path);
		return r;
	}
	tunnel->fd = fd;
	fd = -1;
	return 0;
}

static void tunnel_listen(struct tunnel *tunnel)
{
	int r = tunnel_bind(tunnel);

	if (r == 0) {
		tunnel->accept_event = event_new(tunnel->pool->base, tunnel->fd,
						 EV_READ | EV_PERSIST, tunnel_on_accept, tunnel);
		r = tunnel->accept_event && event_add(tunnel->accept_event, NULL) == 0 ? 0
										       : -ENOMEM;
	}
	if (r < 0) {
		log_error("%s: cannot listen on %s: %s", tunnel->config->name, tunnel->path,
			  r == -EADDRINUSE ? "another program serves it"
			  : r == -EEXIST   ? "there is something that is not a socket"
					   : strerror(-r));
		return;
	}
	log_notice("%s: listening on %s%s", tunnel->config->name, tunnel->path,
		   tunnel->config->insecure ? " (INSECURE: the server is not verified)" : "");
}

static void tunnel_on_device(struct device_watch *watch, struct device *dev, enum device_state old)
{
	struct tunnel *tunnel = container_of(watch, struct tunnel, watch);

	if (dev->state == DEVICE_READY && tunnel->fd < 0)
		tunnel_listen(tunnel);
	/* What was found out before may be so no longer. */
	if (old == DEVICE_READY && dev->state != DEVICE_CLOCK)
		tunnel->diagnosed = false;
}

int tunnel_new(struct tunnel **ret, const struct config_tunnel *config, const char *runtime_dir,
	       struct pool *pool, struct device *dev)
{
	struct tunnel *tunnel = calloc(1, sizeof(*tunnel));

	if (!tunnel)
		return -ENOMEM;
	tunnel->config = config;
	tunnel->pool = pool;
	tunnel->dev = dev;
	tunnel->fd = -1;
	tunnel->diagnosis = LINK_END_UNEXPLAINED;
	tunnel->failure = LINK_END_PEER;
	list_init(&tunnel->clients);
	tunnel->watch.state = tunnel_on_device;
	device_watch(dev, &tunnel->watch);
	if (asprintf(&tunnel->path, "%s/%s" ESPATD_SOCKET_SUFFIX, runtime_dir, config->name) < 0) {
		tunnel->path = NULL;
		tunnel_free(tunnel);
		return -ENOMEM;
	}
	if (timer_init(&tunnel->accept_later, pool->timers, tunnel_accept_again) < 0) {
		tunnel_free(tunnel);
		return -ENOMEM;
	}
	*ret = tunnel;
	return 0;
}

struct tunnel *tunnel_free(struct tunnel *tunnel)
{
	struct list *node;

	if (!tunnel)
		return NULL;
	device_unwatch(&tunnel->watch);
	while ((node = list_first(&tunnel->clients)))
		client_end(container_of(node, struct client, node), "espatd stops");
	pool_reap(tunnel->pool);
	if (tunnel->accept_event)
		event_free(tunnel->accept_event);
	if (tunnel->fd >= 0) {
		unlink(tunnel->path);
		close(tunnel->fd);
	}
	timer_deinit(&tunnel->accept_later);
	free(tunnel->path);
	free(tunnel);
	return NULL;
}
