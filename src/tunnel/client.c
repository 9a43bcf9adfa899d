/* SPDX-License-Identifier: MIT */
/* One accepted client. */
#include "tunnel/client.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tunnel/log.h"
#include "tunnel/pool.h"
#include "tunnel/tunnel.h"
#include "util/clock.h"

/* How often a client that we do not read from is looked at: epoll tells no hang-up without also
 * telling, without end, that there is something to read. */
#define CLIENT_LOOK (250 * TIMERS_MS)

/* Reads of 4 KiB: more than a socket holds. */
#define CLIENT_DISCARDS 256

/* How long a client whose connect has failed waits for the reason. */
#define CLIENT_EXPLAIN (15 * TIMERS_S)

/* A ring that was not used for so long is given back. */
#define CLIENT_SPARE (5 * TIMERS_S)

static bool state_has_link(enum client_state state)
{
	return state == CLIENT_CONNECTING || state == CLIENT_OPEN;
}

static void client_enter_state(struct client *client, enum client_state state)
{
	struct tunnel *tunnel = client->tunnel;
	bool told = client->state == CLIENT_WAITING && state == CLIENT_CONNECTING;

	tunnel->n_waiting += state == CLIENT_WAITING;
	tunnel->n_waiting -= client->state == CLIENT_WAITING;
	tunnel->n_links += state_has_link(state);
	tunnel->n_links -= state_has_link(client->state);
	tunnel->pool->left |= state_has_link(client->state) && !state_has_link(state);
	tunnel->n_clients -= state == CLIENT_DEAD && client->state != CLIENT_DEAD;
	client->state = state;
	/* One who comes or goes is told of when the tunnel's list is right. */
	if (told)
		tunnel_changed(tunnel);
}

/* ---- the end ---- */

static void client_count_end(struct client *client, const char *why)
{
	struct tunnel *tunnel = client->tunnel;

	switch (client->state) {
	case CLIENT_WAITING:
		return; /* whoever ends those that wait has told it, or it has gone away by itself */
	case CLIENT_CONNECTING:
		if (why) /* else client_refuse() has told it, or it has gone away by itself */
			tunnel_log_info(tunnel, "connection %u given up before it was open: %s",
					client->number, why);
		return;
	case CLIENT_OPEN:
	case CLIENT_DRAINING:
		if (!why) {
			tunnel_log_info(tunnel, "connection %u ended", client->number);
			return;
		}
		tunnel->aborted++;
		tunnel_log_failure(tunnel, client->reason, "connection %u aborted: %s",
				   client->number, why);
		return;
	case CLIENT_DEAD:
		return;
	}
}

/* Tells the pool how much memory the ring has now. */
static void client_count_ring(struct client *client)
{
	struct pool *pool = client->tunnel->pool;

	if (client->counted == client->ring.size)
		return;
	pool->buffered += client->ring.size - client->counted;
	if (client->counted == 0)
		list_append(&pool->rings, &client->ring_node);
	else if (client->ring.size == 0)
		list_remove(&client->ring_node);
	client->counted = client->ring.size;
}

/*
 * What it has sent goes nowhere any more. Closed with that unread, its socket would tell it of a reset, in place of the
 * end of what it got (unix(7)).
 */
static void client_discard_input(const struct client *client)
{
	char buf[4096];

	for (int i = 0; i < CLIENT_DISCARDS; i++)
		if (recv(client->fd, buf, sizeof(buf), MSG_DONTWAIT) <= 0)
			return;
}

/*
 * @delivered: all that it is to get has been written. There is nothing to wait for where that was nothing; whoever sends to
 * nobody is to be told so. Of one that has ended its side nothing more comes.
 */
static void client_close(struct client *client, bool delivered)
{
	if (delivered)
		client_discard_input(client);
	if (delivered && client->given && !client->eof)
		lingers_close(&client->tunnel->pool->lingers, client->fd);
	else
		close(client->fd);
	client->fd = -1;
}

void client_end(struct client *client, const char *why)
{
	struct link *link = client->link;

	if (client->state == CLIENT_DEAD)
		return;
	client_count_end(client, why);
	client_enter_state(client, CLIENT_DEAD);
	client->link = NULL;
	list_remove(&client->wait_node);
	list_remove(&client->flush_node);
	list_remove(&client->node);
	list_append(&client->tunnel->pool->dead, &client->node);
	timer_cancel(&client->deadline);
	timer_cancel(&client->idle);
	timer_cancel(&client->look);
	timer_cancel(&client->spare);
	if (client->read_event)
		event_free(client->read_event);
	if (client->write_event)
		event_free(client->write_event);
	client->read_event = NULL;
	client->write_event = NULL;
	ring_deinit(&client->ring);
	client_count_ring(client);
	client_close(client, why == NULL);
	tunnel_changed(client->tunnel);
	/* The last step: it may open the link for the next one. */
	if (link)
		link_close(link);
}

void client_refuse(struct client *client, enum link_end end, const char *text)
{
	tunnel_failed(client->tunnel, client->dev, end, text);
	client_end(client, NULL);
}

void client_free(struct client *client)
{
	timer_deinit(&client->deadline);
	timer_deinit(&client->idle);
	timer_deinit(&client->look);
	timer_deinit(&client->spare);
	free(client);
}

/* ---- a client that is not read from ---- */

/* It has closed for good, and left nothing to send. */
static bool client_has_hung_up(const struct client *client)
{
	struct pollfd p = { .fd = client->fd };
	int unread = 0;

	if (poll(&p, 1, 0) != 1 || !(p.revents & (POLLHUP | POLLERR)))
		return false;
	return client->eof || (ioctl(client->fd, FIONREAD, &unread) == 0 && unread == 0);
}

static void client_on_look(struct timer *timer)
{
	struct client *client = container_of(timer, struct client, look);

	if (client_has_hung_up(client)) {
		client_end(client, NULL);
		return;
	}
	timer_arm(&client->look, CLIENT_LOOK);
}

static void client_on_deadline(struct timer *timer)
{
	struct client *client = container_of(timer, struct client, deadline);

	switch (client->state) {
	case CLIENT_WAITING:
		client_refuse(client, tunnel_wait_end(client->tunnel),
			      tunnel_wait_text(client->tunnel));
		return;
	case CLIENT_CONNECTING:
		client_refuse(client,
			      client->link->diagnosing ? LINK_END_UNEXPLAINED : LINK_END_TIMEOUT,
			      NULL);
		return;
	case CLIENT_OPEN:
		client_end(client, "half-closed for too long");
		return;
	case CLIENT_DRAINING:
		client_end(client, "the client does not read what was received");
		return;
	case CLIENT_DEAD:
		return;
	}
}

/* Nothing is done for it with each byte: when it fires, the link tells when it last moved. */
static void client_on_idle(struct timer *timer)
{
	struct client *client = container_of(timer, struct client, idle);
	uint64_t limit = client->tunnel->config->idle_timeout * TIMERS_S;
	uint64_t idle = timer->timers->now - client->link->moved;

	if (idle < limit) {
		timer_arm(timer, limit - idle);
		return;
	}
	if (client->ring.len > 0 || link_tx_pending(client->link)) {
		client_end(client,
			   "nothing has moved for `idle_timeout`, and not all was delivered");
		return;
	}
	tunnel_log_info(client->tunnel, "connection %u: nothing has moved for %u s", client->number,
			client->tunnel->config->idle_timeout);
	client_end(client, NULL);
}

/* ---- client to server ---- */

static void client_read_on(struct client *client)
{
	if (client->state == CLIENT_OPEN && !client->eof)
		event_add(client->read_event, NULL);
}

/*
 * The chip cannot half-close: the server learns of the client's end of input only when the link is
 * closed, which must wait until the server has said what it has to say.
 */
static void client_on_eof(struct client *client)
{
	unsigned int limit = client->tunnel->config->half_close_timeout;

	client->eof = true;
	if (client_has_hung_up(client)) {
		client_end(client, NULL);
		return;
	}
	timer_arm(&client->look, CLIENT_LOOK);
	if (limit > 0)
		timer_arm(&client->deadline, limit * TIMERS_S);
}

static void client_read(struct client *client)
{
	uint8_t *buf;
	size_t size;
	ssize_t n;

	buf = link_tx_buffer(client->link, &size);
	if (!buf)
		return; /* sent() reads on */
	n = recv(client->fd, buf, size, 0);
	client->more = n > 0 && (size_t)n == size;
	if (n > 0) {
		client->tunnel->sent += (uint64_t)n;
		link_tx_submit(client->link, (size_t)n);
		/* As long as that waits for its turn, what comes meanwhile goes with it. */
		if (client->state == CLIENT_OPEN && link_tx_buffer(client->link, &size))
			client_read_on(client);
		return;
	}
	/* It has ended; first what it has written must have gone. */
	if ((n == 0 || (errno != EAGAIN && errno != EINTR)) && link_tx_pending(client->link))
		return;
	if (n == 0) {
		client_on_eof(client);
		return;
	}
	if (errno == EAGAIN || errno == EINTR) {
		client_read_on(client);
		return;
	}
	/* ECONNRESET: it closed with something unread. */
	client_end(client, NULL);
}

static void client_on_read(evutil_socket_t fd, short what, void *userdata)
{
	struct client *client = userdata;

	timers_touch(client->tunnel->pool->timers);
	client_read(client);
}

/* Of one who sends without end there is more, most likely, and no need to be told of it. */
static void client_on_sent(void *user)
{
	struct client *client = user;

	if (client->more && client->state == CLIENT_OPEN && !client->eof)
		client_read(client);
	else
		client_read_on(client);
}

/* ---- server to client ---- */

static void client_trim(struct client *client)
{
	ring_trim(&client->ring);
	client_count_ring(client);
}

static void client_on_spare(struct timer *timer)
{
	struct client *client = container_of(timer, struct client, spare);

	if (!client->used)
		client_trim(client);
	client->used = false;
	if (client->ring.size > 0)
		timer_arm(&client->spare, CLIENT_SPARE);
}

/* The chip is asked to keep the rest. */
static void client_hold_if_full(struct client *client)
{
	if (client->held || !client->link || client->ring.len <= CLIENT_HIGH)
		return;
	client->held = true;
	link_hold(client->link, true);
}

static void client_drained(struct client *client)
{
	if (client->state == CLIENT_DRAINING) {
		client_end(client, NULL);
		return;
	}
	if (client->held && client->link && client->ring.len <= CLIENT_LOW) {
		client->held = false;
		link_hold(client->link, false);
	}
	if (client->ring.size > CLIENT_KEEP)
		client_trim(client);
}

/* The pieces of the ring that may be written; those of an incomplete block may not. */
static int client_pieces(const struct client *client, struct iovec iov[2])
{
	size_t left = client->ring.len - client->staged;
	int n = left > 0 ? ring_peek(&client->ring, iov) : 0;

	for (int i = 0; i < n; i++) {
		if (iov[i].iov_len > left)
			iov[i].iov_len = left;
		left -= iov[i].iov_len;
	}
	return n == 2 && iov[1].iov_len == 0 ? 1 : n;
}

void client_flush(struct client *client)
{
	struct iovec iov[2];
	struct msghdr msg = { .msg_iov = iov };
	int count;
	ssize_t n;

	list_remove(&client->flush_node);
	while ((count = client_pieces(client, iov)) > 0) {
		msg.msg_iovlen = (size_t)count;
		n = sendmsg(client->fd, &msg, MSG_NOSIGNAL);
		if (n > 0) {
			client->given = true;
			ring_drop(&client->ring, (size_t)n);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			event_add(client->write_event, NULL);
			client_hold_if_full(client);
			return;
		}
		/* EPIPE: it does not want more. */
		client_end(client, NULL);
		return;
	}
	client_drained(client);
}

static void client_on_write(evutil_socket_t fd, short what, void *userdata)
{
	struct client *client = userdata;

	timers_touch(client->tunnel->pool->timers);
	client_flush(client);
}

static void client_on_data(void *user, const uint8_t *data, size_t len)
{
	struct client *client = user;

	int r = ring_put(&client->ring, data, len);

	if (r < 0) {
		client_end(client, r == -ENOBUFS ? "the client reads too slowly"
						 : "espatd is out of memory");
		return;
	}
	client->staged += len;
	client->used = true;
	if (client->counted == client->ring.size)
		return;
	if (!timer_armed(&client->spare))
		timer_arm(&client->spare, CLIENT_SPARE);
	client_count_ring(client);
	pool_relieve(client->tunnel->pool);
}

static void client_on_data_end(void *user)
{
	struct client *client = user;

	client->tunnel->received += client->staged;
	client->staged = 0;
	/*
	 * Until the link is open it may turn out to be void; while the socket is full its event flushes. Else
	 * all that one read of the line has brought goes at once.
	 */
	if (client->state != CLIENT_OPEN || event_pending(client->write_event, EV_WRITE, NULL))
		client_hold_if_full(client);
	else if (!list_linked(&client->flush_node))
		list_append(&client->tunnel->pool->flushing, &client->flush_node);
}

/* ---- the link ---- */

static void client_on_opened(void *user)
{
	struct client *client = user;

	client_enter_state(client, CLIENT_OPEN);
	timer_cancel(&client->deadline);
	timer_cancel(&client->look);
	if (client->tunnel->config->idle_timeout > 0)
		timer_arm(&client->idle, client->tunnel->config->idle_timeout * TIMERS_S);
	tunnel_connected(client->tunnel, client->dev);
	tunnel_log_info(client->tunnel, "connection %u is open on %s/%d", client->number,
			client->dev->settings->name, client->link->id);
	client_read_on(client);
	client_flush(client);
}

static void client_on_closed(void *user, enum link_end end)
{
	struct client *client = user;
	unsigned int limit = client->tunnel->config->half_close_timeout;

	client->link = NULL;
	timer_cancel(&client->idle);
	if (client->state == CLIENT_CONNECTING) {
		client_refuse(client, end, NULL);
		return;
	}
	/* However it has ended, blocks that were whole are its. */
	if (list_linked(&client->flush_node))
		client_flush(client);
	if (client->state == CLIENT_DEAD)
		return;
	if (end != LINK_END_PEER) {
		client->reason = link_end_reason(end);
		client_end(client, link_end_text(end));
		return;
	}
	client_enter_state(client, CLIENT_DRAINING);
	event_del(client->read_event);
	if (client->ring.len == 0) {
		client_end(client, NULL);
		return;
	}
	timer_arm(&client->look, CLIENT_LOOK);
	if (limit > 0)
		timer_arm(&client->deadline, limit * TIMERS_S);
	else
		timer_cancel(&client->deadline);
}

static enum link_probe client_may_probe(void *user, bool quiet)
{
	struct client *client = user;

	/* The verdict is there, only its reason is not. */
	timer_arm(&client->deadline, CLIENT_EXPLAIN);
	return tunnel_may_probe(client->tunnel, quiet);
}

static bool client_is_alone(void *user)
{
	struct client *client = user;

	return !pool_is_waiting_for(client->tunnel->pool, client);
}

static const struct link_ops client_link_ops = {
	.opened = client_on_opened,
	.data = client_on_data,
	.data_end = client_on_data_end,
	.sent = client_on_sent,
	.may_probe = client_may_probe,
	.alone = client_is_alone,
	.closed = client_on_closed,
};

struct client *client_of_link(const struct link *link)
{
	return link->ops == &client_link_ops ? link->user : NULL;
}

void client_connect(struct client *client, struct link *link)
{
	struct link_target target;
	int r;

	client->dev = link->dev;
	if (tunnel_target(client->tunnel, link->dev, &target) < 0) {
		client_refuse(client, LINK_END_NO_MATERIAL, "its certificates are not on the chip");
		return;
	}
	client_enter_state(client, CLIENT_CONNECTING);
	client->link = link;
	timer_arm(&client->deadline, client->tunnel->config->connect_timeout * TIMERS_S);
	r = link_open(link, &target, &client_link_ops, client);
	if (r == 0)
		return;
	client->link = NULL;
	client_refuse(client, r == -ENOMEM ? LINK_END_UNEXPLAINED : LINK_END_SETTINGS,
		      r == -ENOMEM       ? "espatd is out of memory"
		      : r == -EOPNOTSUPP ? "this firmware has no AT+CIPSSLCCIPHER for its `ciphers`"
					 : "the server's name does not fit into a command");
}

int client_new(struct tunnel *tunnel, int fd)
{
	struct client *client = calloc(1, sizeof(*client));
	int r;

	if (!client) {
		close(fd);
		return -ENOMEM;
	}
	client->tunnel = tunnel;
	client->fd = fd;
	client->number = ++tunnel->accepted;
	ring_init(&client->ring, CLIENT_MAX);
	list_init(&client->wait_node);
	list_init(&client->ring_node);
	list_init(&client->flush_node);
	r = timer_init(&client->deadline, tunnel->pool->timers, client_on_deadline);
	if (r == 0)
		r = timer_init(&client->idle, tunnel->pool->timers, client_on_idle);
	if (r == 0)
		r = timer_init(&client->look, tunnel->pool->timers, client_on_look);
	if (r == 0)
		r = timer_init(&client->spare, tunnel->pool->timers, client_on_spare);
	client->read_event = event_new(tunnel->pool->base, fd, EV_READ, client_on_read, client);
	client->write_event = event_new(tunnel->pool->base, fd, EV_WRITE, client_on_write, client);
	if (r < 0 || !client->read_event || !client->write_event) {
		if (client->read_event)
			event_free(client->read_event);
		if (client->write_event)
			event_free(client->write_event);
		close(fd);
		client_free(client);
		return -ENOMEM;
	}
	list_append(&tunnel->clients, &client->node);
	tunnel->n_clients++;
	tunnel->n_waiting++; /* it is CLIENT_WAITING from the start */
	timer_arm(&client->deadline, tunnel->config->wait_timeout * TIMERS_S);
	timer_arm(&client->look, CLIENT_LOOK);
	tunnel_changed(tunnel);
	pool_wait(tunnel->pool, client);
	return 0;
}
