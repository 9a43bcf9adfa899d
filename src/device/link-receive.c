/* SPDX-License-Identifier: MIT */
/*
 * What a link receives, and whether the chip tells it by itself.
 *
 * Passive links are read block by block. What the chip announces is only that there is something: over TLS
 * its lengths are wrong in both ways, and it announces once what may never be announced again (protocol
 * fact 16, field notes 2.3). So the block's own number counts, ERROR means that nothing is there, and a
 * link that is silent is read all the same now and then, see LINK_LOOK_FIRST.
 */
#include "device/internal.h"

/* One read: what the firmware takes (capture 62). It needs as much heap for it, and says ERROR if it has not. */
#define LINK_FETCH_MAX LINK_BLOCK_MAX
/* Where nothing was announced, and where the chip may have too little heap for more. */
#define LINK_FETCH_LOOK 2048
/* After it had too little, a block asks for so much more than the one before. */
#define LINK_FETCH_MORE 128
#define LINK_TIMEOUT_FETCH (10 * TIMERS_S)

/*
 * A link of which nothing was announced is read so long after it has last moved, and then after twice, four
 * times... that long: what was not announced comes late by no more than the link has been silent, and by
 * LINK_LOOK_MAX at most. That costs some 40 bytes on the line, eight times and then each second.
 */
#define LINK_LOOK_FIRST (4 * TIMERS_MS)
#define LINK_LOOK_MAX (1 * TIMERS_S)

/*
 * The chip keeps what it receives for it: data comes when it is asked for. That firmware keeps to the type for
 * the link's next connection is not recorded anywhere, so one of these must have shown it.
 */
static bool link_is_kept(const struct link *link)
{
	const struct device *dev = link->dev;

	if (!link->kept)
		return false;
	if (dev->features & DEVICE_HAS_CIPRECVTYPE)
		return link->passive && !link->recv_running;
	return dev->recv_passive && !dev->recv_running;
}

void link_ipd(struct link *link, const uint8_t *data, size_t len)
{
	if (link_is_kept(link)) {
		device_recover(link->dev, "data that was not fetched");
		return;
	}
	switch (link->state) {
	case LINK_FREE:
	case LINK_SETTING:
		device_recover(link->dev, "data for a link that is not open");
		return;
	case LINK_CONNECTING:
		if (!link->connected) {
			device_recover(link->dev, "data for a link that is not open");
			return;
		}
		break;
	case LINK_OPEN:
	case LINK_CLOSING:
		break;
	}
	link->moved = link->dev->timers->now;
	if (!link->ops || link->diagnosing)
		return;
	if (data)
		link->ops->data(link->user, data, len);
	else
		link->ops->data_end(link->user);
}

/* ---- what the receive type is to be ---- */

static bool link_wants_passive(const struct link *link)
{
	switch (link->dev->settings->receive) {
	case CONFIG_RECEIVE_AUTO:
		return link->held;
	case CONFIG_RECEIVE_ACTIVE:
		return false;
	case CONFIG_RECEIVE_PASSIVE:
		return true;
	}
	return false;
}

static bool device_wants_passive(const struct device *dev)
{
	bool want = false;

	for (int i = 0; i < AT_LINKS; i++)
		want = want || link_wants_passive(&dev->links[i]);
	return want;
}

/* It is, and stays so: it is read from as long as its user has room. */
static bool link_is_read(const struct link *link)
{
	const struct device *dev = link->dev;

	if (link->state != LINK_OPEN || link->held)
		return false;
	if (dev->features & DEVICE_HAS_CIPRECVTYPE)
		return link->passive && link_wants_passive(link);
	return dev->recv_passive && device_wants_passive(dev);
}

/* ---- reading ---- */

static void link_fetch_data(struct chan_cmd *cmd, const struct at_block *block, const uint8_t *data,
			    size_t len)
{
	struct link *link = container_of(cmd, struct link, fetch_cmd);

	if (block->type != AT_BLOCK_RECVDATA)
		return; /* the answer ends without one of ours: it is known there */
	if (len > link->fetch_size - link->fetched) {
		device_recover(link->dev, "more data than was asked for");
		return;
	}
	link->fetched += len;
	/* After its user has gone it is of no use to anybody. */
	if (data && link->ops)
		link->ops->data(link->user, data, len);
}

static void link_look_later(struct link *link)
{
	timer_arm(&link->look, link->look_delay);
	link->look_delay = 2 * link->look_delay < LINK_LOOK_MAX ? 2 * link->look_delay
								: LINK_LOOK_MAX;
}

/* Something was there: the next look is soon again. */
static void link_fetch_was_right(struct link *link)
{
	link->kept = true;
	link->moved = link->dev->timers->now;
	link->look_delay = LINK_LOOK_FIRST;
	if (link->refused)
		link->fetch_limit = LINK_FETCH_LOOK;
	else if (link->fetch_limit < LINK_FETCH_MAX)
		link->fetch_limit += LINK_FETCH_MORE;
	link->refused = false;
	link->fresh = false;
	if (link->fetched >= LINK_BLOCK_SHORT)
		link->sparse_until = 0; /* nobody makes room for one who fills it */
	/* The announcement of what is left comes behind, but a read that starts now meets no pause. */
	link->ahead -= link->fetched < link->ahead ? link->fetched : link->ahead;
	if (link->ops)
		link->ops->data_end(link->user);
}

/*
 * Nothing was there, or the chip had no memory for it. That an announcement was wrong is seen at the end of
 * what it told of; where not one byte of it has come, a smaller read is tried at once.
 */
static void link_fetch_was_empty(struct link *link)
{
	bool refused = link->fetch_told && link->fetch_size > LINK_FETCH_LOOK;

	link->refused = refused;
	link->ahead = refused && link->fresh;
	link->fresh = false;
}

static void link_fetch_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct link *link = container_of(cmd, struct link, fetch_cmd);
	bool open = link->state == LINK_OPEN;

	link->fetching = false;
	if (result == CHAN_E_RESET || result == CHAN_E_TIMEOUT)
		return; /* link_reset() follows */
	if ((result == CHAN_OK) != (link->fetched > 0)) {
		device_recover(link->dev, "an answer without its block, or the other way round");
		return;
	}
	if (open && result == CHAN_OK)
		link_fetch_was_right(link);
	else if (open)
		link_fetch_was_empty(link);
	if (link->state == LINK_CLOSING && !link->running)
		link_shut(link);
	else if (link->state == LINK_OPEN && link->closed && result != CHAN_OK && link->ahead == 0)
		link_fail(link, LINK_END_PEER); /* that was all */
	else
		link_read_on(link);
}

/* How much, as the moment has it: with what others of its kind get the line is shared in time, see chan_share. */
static void link_make_fetch(struct chan_cmd *cmd)
{
	struct link *link = container_of(cmd, struct link, fetch_cmd);
	size_t size = link->ahead == 0 || link->refused ? LINK_FETCH_LOOK : link_block_max(link);

	link->fetch_size = size < link->fetch_limit ? size : link->fetch_limit;
	link->fetch_told = link->ahead > 0;
	at_line_begin(&cmd->line, "AT+CIPRECVDATA");
	at_line_int(&cmd->line, link->id);
	at_line_int(&cmd->line, (long)link->fetch_size);
	at_line_end(&cmd->line);
}

/* It is data: it takes its turn with what the links send and read. */
static void link_fetch(struct link *link)
{
	struct chan_cmd *cmd = &link->fetch_cmd;

	timer_cancel(&link->look);
	link->fetched = 0;
	link->fetching = true;
	link->looked = link->dev->timers->now;
	chan_cmd_begin(cmd, "AT+CIPRECVDATA");
	cmd->share = &link->share;
	cmd->turn = link_make_fetch;
	link_make_fetch(cmd); /* as it may be until then, for it must have a line */
	cmd->timeout = LINK_TIMEOUT_FETCH;
	cmd->on_data = link_fetch_data;
	cmd->done = link_fetch_done;
	chan_submit(&link->dev->chan, CHAN_DATA, cmd);
}

void link_read_on(struct link *link)
{
	if (link->fetching)
		return;
	if (link->state == LINK_OPEN && link->closed)
		link_fetch(link); /* of a link that is drained, whoever has room */
	else if (!link_is_read(link))
		timer_cancel(&link->look);
	else if (link->ahead > 0)
		link_fetch(link);
	else if (!timer_armed(&link->look))
		link_look_later(link);
}

static void link_on_look(struct timer *timer)
{
	struct link *link = container_of(timer, struct link, look);

	if (!link_is_read(link))
		return;
	/* Between the blocks of a long upload an answer is not what is waited for. */
	if (link->tx_len > 0 && link->dev->timers->now - link->looked < LINK_LOOK_MAX)
		link_look_later(link);
	else
		link_fetch(link);
}

/* While the type is being changed both are right. */
static bool link_may_announce(const struct link *link)
{
	const struct device *dev = link->dev;

	if (dev->features & DEVICE_HAS_CIPRECVTYPE)
		return link->passive || link->recv_running;
	return dev->recv_passive || dev->recv_running;
}

void link_announced(struct link *link, size_t len)
{
	/* Of nobody, or of one who has gone: closing it drops it. */
	if (link->state != LINK_OPEN && link->state != LINK_CONNECTING)
		return;
	/* It is what is left of the head of a block, and more is lost with that. */
	if (!link_may_announce(link)) {
		device_recover(link->dev, "data is announced of a link that is not passive");
		return;
	}
	link->kept = true;
	link->ahead = len > 0 ? len : 1;
	link->fresh = true;
	/* So it was right that nothing was there, however much was announced before. */
	if (!link->fetching)
		link->refused = false;
	link_read_on(link);
}

void link_expects(struct link *link)
{
	link->look_delay = LINK_LOOK_FIRST;
	timer_cancel(&link->look);
	link_read_on(link);
}

bool link_drains(struct link *link)
{
	if (link->dev->wifi_lost || (!link->fetching && !link_is_read(link)))
		return false;
	link_read_on(link);
	return true;
}

int link_receive_init(struct link *link)
{
	return timer_init(&link->look, link->dev->timers, link_on_look);
}

void link_receive_open(struct link *link)
{
	link->held = false;
	link->kept = false;
	link->ahead = 0;
	link->fresh = false;
	link->refused = false;
	link->fetch_limit = LINK_FETCH_MAX;
}

void link_receive_end(struct link *link)
{
	link->held = false;
	timer_cancel(&link->look);
}

/* ---- the receive type of one link ---- */

static void link_receive_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct link *link = container_of(cmd, struct link, recv_cmd);

	link->recv_running = false;
	if (result == CHAN_E_RESET || result == CHAN_E_TIMEOUT)
		return; /* link_reset() follows */
	link->kept = false;
	if (result == CHAN_OK)
		link->passive = !link->passive;
	else if (link->state == LINK_OPEN)
		link_abort(link, LINK_END_FLOW);
	else /* the link is gone, and its type with it */
		link->passive = link_wants_passive(link);
	device_receive_update(link->dev);
	link_read_on(link);
}

static void link_receive_update(struct link *link)
{
	if (link->recv_running || link->passive == link_wants_passive(link))
		return;
	chan_cmd_begin(&link->recv_cmd, "AT+CIPRECVTYPE");
	at_line_int(&link->recv_cmd.line, link->id);
	at_line_int(&link->recv_cmd.line, !link->passive);
	at_line_end(&link->recv_cmd.line);
	link->recv_cmd.timeout = DEVICE_TIMEOUT;
	link->recv_cmd.done = link_receive_done;
	link->recv_running = true;
	chan_submit(&link->dev->chan, CHAN_CONTROL, &link->recv_cmd);
}

/* ---- and where it is one for all (v3.2) ---- */

/* While one link is held the others are read from. */
static void device_read_on(struct device *dev)
{
	for (int i = 0; i < AT_LINKS; i++) {
		/* What came while it was passive and nobody read is not announced again. */
		if (dev->recv_passive && dev->links[i].state == LINK_OPEN)
			dev->links[i].look_delay = LINK_LOOK_FIRST;
		link_read_on(&dev->links[i]);
	}
}

static void device_receive_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct device *dev = container_of(cmd, struct device, recv_cmd);

	dev->recv_running = false;
	if (result == CHAN_E_RESET || result == CHAN_E_TIMEOUT)
		return; /* link_reset() follows */
	if (result != CHAN_OK) {
		device_recover(dev, "the chip refuses to change the receive mode");
		return;
	}
	dev->recv_passive = !dev->recv_passive;
	for (int i = 0; i < AT_LINKS; i++)
		dev->links[i].kept = false;
	device_receive_update(dev);
	device_read_on(dev);
}

void device_receive_update(struct device *dev)
{
	if (dev->features & DEVICE_HAS_CIPRECVTYPE) {
		for (int i = 0; i < AT_LINKS; i++)
			link_receive_update(&dev->links[i]);
		return;
	}
	if (dev->recv_running || dev->recv_passive == device_wants_passive(dev))
		return;
	chan_cmd_begin(&dev->recv_cmd, "AT+CIPRECVMODE");
	at_line_int(&dev->recv_cmd.line, !dev->recv_passive);
	at_line_end(&dev->recv_cmd.line);
	dev->recv_cmd.timeout = DEVICE_TIMEOUT;
	dev->recv_cmd.done = device_receive_done;
	dev->recv_running = true;
	chan_submit(&dev->chan, CHAN_CONTROL, &dev->recv_cmd);
}

void device_receive_is_set(struct device *dev)
{
	bool passive = device_is_passive(dev);

	dev->recv_passive = passive;
	for (int i = 0; i < AT_LINKS; i++)
		dev->links[i].passive = passive;
}

void link_hold(struct link *link, bool hold)
{
	if (link->state != LINK_OPEN && link->state != LINK_CONNECTING)
		return;
	link->held = hold;
	device_receive_update(link->dev);
	/* Who has room again does not wait for an announcement: there may have been one. */
	if (!hold && link->ahead == 0)
		link->ahead = 1;
	link_read_on(link);
}
