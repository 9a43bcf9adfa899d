/* SPDX-License-Identifier: MIT */
/* Who gets which link. */
#include "tunnel/pool.h"

#include <errno.h>
#include <stdlib.h>

#include "tunnel/client.h"
#include "tunnel/tunnel.h"

static struct tunnel *tunnel_of(struct list *node)
{
	return container_of(node, struct tunnel, pool_node);
}

/* ---- who may have one ---- */

/* Links of @dev that its clients have; but for @except, that of one who is as good as gone. */
static unsigned int tunnel_links_on(const struct tunnel *tunnel, const struct device *dev,
				    const struct client *except)
{
	unsigned int n = 0;

	for (int i = 0; i < AT_LINKS; i++) {
		const struct client *client = client_of_link(&dev->links[i]);

		n += client && client != except && client->tunnel == tunnel;
	}
	return n;
}

/* So many links of @dev are kept free for the other tunnels. */
static unsigned int reserved_by_others(const struct tunnel *tunnel, const struct device *dev,
				       const struct client *except)
{
	unsigned int n = 0;

	list_for_each(node, &tunnel->pool->tunnels) {
		const struct tunnel *other = tunnel_of(node);
		unsigned int used;

		if (other == tunnel || other->config->reserve == 0 || !tunnel_uses(other, dev))
			continue;
		used = tunnel_links_on(other, dev, except);
		if (used < other->config->reserve)
			n += other->config->reserve - used;
	}
	return n;
}

/*
 * Whether a client of it may get a link of @dev, if one is free: now (@except NULL), or as soon as @except,
 * who has one of @dev, has given his back.
 */
static bool tunnel_may_have(const struct tunnel *tunnel, const struct device *dev,
			    const struct client *except)
{
	const struct config_tunnel *config = tunnel->config;
	unsigned int of_dev = device_links_in_use(dev), of_tunnel = tunnel->n_links;

	if (except) {
		of_dev--;
		of_tunnel -= except->tunnel == tunnel;
	}
	if (!tunnel_uses(tunnel, dev) || tunnel_awaits_material(tunnel, dev) ||
	    (config->max_clients > 0 && of_tunnel >= config->max_clients))
		return false;
	if (tunnel_links_on(tunnel, dev, except) < config->reserve)
		return true;
	return of_dev + reserved_by_others(tunnel, dev, except) < dev->settings->max_links;
}

static struct client *first_waiting(const struct tunnel *tunnel)
{
	struct list *node = list_first(&tunnel->waiting);

	return node ? container_of(node, struct client, wait_node) : NULL;
}

/*
 * Who is next for a link of @dev: of those whose tunnel may have it the one that came first. The others
 * hold nobody up.
 */
static struct client *pool_next(struct pool *pool, const struct device *dev)
{
	struct client *next = NULL;

	list_for_each(node, &pool->tunnels) {
		const struct tunnel *tunnel = tunnel_of(node);
		struct client *client = first_waiting(tunnel);

		if (client && (!next || client->turn < next->turn) &&
		    tunnel_may_have(tunnel, dev, NULL))
			next = client;
	}
	return next;
}

static void pool_kick(struct pool_device *pd)
{
	struct client *client;
	struct link *link;

	while ((link = device_free_link(pd->dev)) && (client = pool_next(pd->pool, pd->dev))) {
		list_remove(&client->wait_node);
		client_connect(client, link);
	}
}

void pool_look(struct pool *pool)
{
	list_for_each(node, &pool->devices)
		pool_kick(container_of(node, struct pool_device, node));
}

/* ---- where to ---- */

/* Less of its links in use, as a share of those that it has. */
static bool is_less_loaded(const struct device *a, const struct device *b)
{
	return device_links_in_use(a) * b->settings->max_links <
	       device_links_in_use(b) * a->settings->max_links;
}

static struct pool_device *least_loaded(struct pool *pool, const struct tunnel *tunnel)
{
	struct pool_device *best = NULL;

	list_for_each(node, &pool->devices) {
		struct pool_device *pd = container_of(node, struct pool_device, node);

		if (tunnel_may_have(tunnel, pd->dev, NULL) && device_free_link(pd->dev) &&
		    (!best || is_less_loaded(pd->dev, best->dev)))
			best = pd;
	}
	return best;
}

static bool has_device(const struct pool *pool, const struct tunnel *tunnel)
{
	list_for_each(node, &pool->devices)
		if (tunnel_uses(tunnel, container_of(node, struct pool_device, node)->dev))
			return true;
	return false;
}

static void pool_refuse(struct client *client)
{
	client_refuse(client, tunnel_wait_end(client->tunnel), tunnel_wait_text(client->tunnel));
}

void pool_wait(struct pool *pool, struct client *client)
{
	struct tunnel *tunnel = client->tunnel;
	struct pool_device *pd;

	if (!has_device(pool, tunnel)) {
		pool_refuse(client);
		return;
	}
	client->turn = ++pool->turns;
	list_append(&tunnel->waiting, &client->wait_node);
	pd = least_loaded(pool, tunnel);
	if (pd)
		pool_kick(pd);
}

bool pool_is_waiting_for(const struct pool *pool, const struct client *client)
{
	list_for_each(node, &pool->tunnels) {
		const struct tunnel *tunnel = tunnel_of(node);

		if (!list_empty(&tunnel->waiting) && tunnel_may_have(tunnel, client->dev, client))
			return true;
	}
	return false;
}

bool pool_any_ready(const struct pool *pool, const struct tunnel *tunnel)
{
	list_for_each(node, &pool->devices) {
		const struct device *dev = container_of(node, struct pool_device, node)->dev;

		if (tunnel_uses(tunnel, dev) && dev->state == DEVICE_READY)
			return true;
	}
	return false;
}

/* How near it is to a link for a client of @tunnel: first what it waits for, then what a person waits for. */
static int device_nearness(const struct device *dev, const struct tunnel *tunnel)
{
	switch (dev->state) {
	case DEVICE_READY:
		return tunnel_awaits_material(tunnel, dev) ? 11 : 12;
	case DEVICE_CLOCK:
		return 10;
	case DEVICE_JOINING:
		return 9;
	case DEVICE_PROVISIONING:
		return 8;
	case DEVICE_TUNING:
		return 7;
	case DEVICE_CONFIGURING:
		return 6;
	case DEVICE_IDENTIFYING:
		return 5;
	case DEVICE_PROBING:
		return 4;
	case DEVICE_FAILED:
		return 3;
	case DEVICE_OFFLINE:
		return 2;
	case DEVICE_UNKNOWN_CHIP:
		return 1;
	case DEVICE_ABSENT:
	case DEVICE_PROVISIONED:
		return 0;
	}
	return 0;
}

struct device *pool_nearest_device(const struct pool *pool, const struct tunnel *tunnel)
{
	struct device *nearest = NULL;

	list_for_each(node, &pool->devices) {
		struct device *dev = container_of(node, struct pool_device, node)->dev;

		if (tunnel_uses(tunnel, dev) &&
		    (!nearest || device_nearness(dev, tunnel) > device_nearness(nearest, tunnel)))
			nearest = dev;
	}
	return nearest;
}

/* ---- devices ---- */

static void pool_on_room(struct device_watch *watch, struct device *dev)
{
	pool_kick(container_of(watch, struct pool_device, watch));
}

static void pool_on_state(struct device_watch *watch, struct device *dev, enum device_state old)
{
	struct pool *pool = container_of(watch, struct pool_device, watch)->pool;

	list_for_each(node, &pool->tunnels)
		if (tunnel_uses(tunnel_of(node), dev))
			tunnel_device_changed(tunnel_of(node), dev, old);
}

int pool_add_device(struct pool *pool, struct device *dev)
{
	struct pool_device *pd = calloc(1, sizeof(*pd));

	if (!pd)
		return -ENOMEM;
	pd->pool = pool;
	pd->dev = dev;
	pd->watch.room = pool_on_room;
	pd->watch.state = pool_on_state;
	list_append(&pool->devices, &pd->node);
	device_watch(dev, &pd->watch);
	return 0;
}

/* Clients that have a link of it, and those that nobody else serves. */
static void tunnel_leave_device(struct tunnel *tunnel, const struct device *dev)
{
	struct client *client;

	for (int i = 0; i < AT_LINKS; i++) {
		client = client_of_link(&dev->links[i]);
		if (client && client->tunnel == tunnel)
			client_end(client, "its device was removed");
	}
	while (!has_device(tunnel->pool, tunnel) && (client = first_waiting(tunnel)))
		pool_refuse(client);
}

static void pool_free_device(struct pool_device *pd)
{
	list_remove(&pd->node);
	device_unwatch(&pd->watch);
	list_for_each(node, &pd->pool->tunnels)
		if (tunnel_uses(tunnel_of(node), pd->dev))
			tunnel_leave_device(tunnel_of(node), pd->dev);
	free(pd);
}

void pool_remove_device(struct pool *pool, struct device *dev)
{
	list_for_each_safe(node, &pool->devices) {
		struct pool_device *pd = container_of(node, struct pool_device, node);

		if (pd->dev == dev)
			pool_free_device(pd);
	}
}

/* ---- what clients are to get ---- */

void pool_flush(struct pool *pool)
{
	struct list *node;

	while ((node = list_first(&pool->flushing)))
		client_flush(container_of(node, struct client, flush_node));
}

static struct client *pool_fullest(struct pool *pool)
{
	struct client *found = NULL;

	list_for_each(node, &pool->rings) {
		struct client *client = container_of(node, struct client, ring_node);

		if (!found || client->ring.len > found->ring.len)
			found = client;
	}
	return found;
}

void pool_relieve(struct pool *pool)
{
	struct client *client;

	while (pool->buffered > POOL_BUFFER_MAX && (client = pool_fullest(pool)))
		client_end(client,
			   "the client reads too slowly, and too much is kept for all clients");
}

/* ---- its life ---- */

void pool_reap(struct pool *pool)
{
	struct list *node;

	/* One that may have no more links than it had may have another one now, perhaps of another device. */
	if (pool->left) {
		pool->left = false;
		pool_look(pool);
	}
	while ((node = list_first(&pool->dead))) {
		list_remove(node);
		client_free(container_of(node, struct client, node));
	}
}

void pool_init(struct pool *pool, struct event_base *base, struct timers *timers)
{
	*pool = (struct pool){ .base = base, .timers = timers };
	list_init(&pool->devices);
	list_init(&pool->tunnels);
	list_init(&pool->dead);
	list_init(&pool->flushing);
	list_init(&pool->rings);
	lingers_init(&pool->lingers, base, timers);
}

void pool_deinit(struct pool *pool)
{
	struct list *node;

	pool_reap(pool);
	while ((node = list_first(&pool->devices)))
		pool_free_device(container_of(node, struct pool_device, node));
	lingers_deinit(&pool->lingers);
}
