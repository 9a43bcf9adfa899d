/* SPDX-License-Identifier: MIT */
/* Who gets which link. */
#include "tunnel/pool.h"

#include <errno.h>
#include <stdlib.h>

#include "tunnel/client.h"
#include "tunnel/tunnel.h"

/*
 * Who is next: of those whose certificates are still being written nobody is, and they hold nobody
 * up. device_notify_room() comes when that has ended.
 */
static struct client *pool_next(struct pool_device *pd)
{
	list_for_each(node, &pd->waiting) {
		struct client *client = container_of(node, struct client, wait_node);

		if (!tunnel_awaits_material(client->tunnel))
			return client;
	}
	return NULL;
}

static void pool_kick(struct pool_device *pd)
{
	struct client *client;
	struct link *link;

	while ((client = pool_next(pd)) && (link = device_free_link(pd->dev))) {
		list_remove(&client->wait_node);
		client_connect(client, link);
	}
}

static void pool_on_room(struct device_watch *watch, struct device *dev)
{
	pool_kick(container_of(watch, struct pool_device, watch));
}

static struct pool_device *pool_find(struct pool *pool, const struct device *dev)
{
	list_for_each(node, &pool->devices) {
		struct pool_device *pd = container_of(node, struct pool_device, node);

		if (pd->dev == dev)
			return pd;
	}
	return NULL;
}

static void pool_refuse(struct client *client)
{
	client_refuse(client, LINK_END_RESET, "its device was removed");
}

void pool_wait(struct pool *pool, struct client *client)
{
	struct pool_device *pd = pool_find(pool, client->tunnel->dev);

	if (!pd) {
		pool_refuse(client);
		return;
	}
	list_append(&pd->waiting, &client->wait_node);
	pool_kick(pd);
}

bool pool_is_waiting(struct pool *pool, const struct device *dev)
{
	struct pool_device *pd = pool_find(pool, dev);

	return pd && !list_empty(&pd->waiting);
}

int pool_add_device(struct pool *pool, struct device *dev)
{
	struct pool_device *pd = calloc(1, sizeof(*pd));

	if (!pd)
		return -ENOMEM;
	pd->pool = pool;
	pd->dev = dev;
	pd->watch.room = pool_on_room;
	list_init(&pd->waiting);
	list_append(&pool->devices, &pd->node);
	device_watch(dev, &pd->watch);
	return 0;
}

static void pool_free_device(struct pool_device *pd)
{
	struct list *node;

	list_remove(&pd->node);
	device_unwatch(&pd->watch);
	while ((node = list_first(&pd->waiting)))
		pool_refuse(container_of(node, struct client, wait_node));
	free(pd);
}

void pool_remove_device(struct pool *pool, struct device *dev)
{
	struct pool_device *pd = pool_find(pool, dev);

	if (pd)
		pool_free_device(pd);
}

void pool_reap(struct pool *pool)
{
	struct list *node;

	while ((node = list_first(&pool->dead))) {
		list_remove(node);
		client_free(container_of(node, struct client, node));
	}
}

void pool_init(struct pool *pool, struct event_base *base, struct timers *timers)
{
	*pool = (struct pool){ .base = base, .timers = timers };
	list_init(&pool->devices);
	list_init(&pool->dead);
}

void pool_deinit(struct pool *pool)
{
	struct list *node;

	pool_reap(pool);
	while ((node = list_first(&pool->devices)))
		pool_free_device(container_of(node, struct pool_device, node));
}
