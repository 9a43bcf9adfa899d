/* SPDX-License-Identifier: MIT */
/* What a link sends: how much at once, and by which command. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "device/internal.h"

/* From the receipt of a block to its verdict: a server that does not read holds the chip up. */
#define LINK_TIMEOUT_SEND (60 * TIMERS_S)
/* For so long who has sent little, or has just connected, is expected to send little again, and soon. */
#define LINK_SPARSE (2 * TIMERS_S)
/* Below, AT+CIPSENDL gains nothing. */
#define LINK_STREAM_MIN (2 * LINK_BLOCK_MAX)
/* A block that is so many times as long as the wait for its prompt, and as that for its verdict, uses 7/8 of the time. */
#define LINK_STREAM_PROMPTS 14
/* All who have much to send have had their turn in so long. */
#define LINK_STREAM_ROUND (3 * TIMERS_S)
/* So long a long block waits for more: who writes when there is room again needs a moment for it. */
#define LINK_GATHER (1 * TIMERS_MS)
/* AT+CIPSENDLCFG: a line of progress so often, by which the channel goes, and pieces as large as they may be. */
#define LINK_STREAM_REPORT 4096
#define LINK_STREAM_PIECE 2920

static void link_submit_block(struct link *link);

/* ---- how much ---- */

size_t link_block_len(const uint8_t *data, size_t len)
{
	const uint8_t *plus = memmem(data, len, "+++", 3);

	return plus ? (size_t)(plus - data) + 2 : len;
}

static bool link_is_sparse(const struct link *link)
{
	return link->state == LINK_OPEN && link->sparse_until > link->dev->timers->now;
}

/* Another link may want the channel at any moment, and only for a moment. */
static bool device_has_sparse(const struct device *dev, const struct link *except)
{
	for (int i = 0; i < AT_LINKS; i++)
		if (&dev->links[i] != except && link_is_sparse(&dev->links[i]))
			return true;
	return false;
}

/* Whoever is not open, and runs, is being connected or closed. */
static bool device_connects(const struct device *dev)
{
	for (int i = 0; i < AT_LINKS; i++)
		if (dev->links[i].running && dev->links[i].state != LINK_OPEN)
			return true;
	return false;
}

/* Nobody needs the channel for a moment only: whoever else wants it has much to send, too. */
static bool link_may_stream(const struct link *link)
{
	const struct device *dev = link->dev;

	return dev->rtscts && dev->sendl_set && dev->n_requests == 0 &&
	       /* What comes meanwhile could not be read. */
	       !device_is_passive(dev) && !dev->recv_passive &&
	       !chan_is_wanted(&dev->chan, CHAN_CONTROL, NULL) && !device_connects(dev) &&
	       !device_has_sparse(dev, link);
}

static uint64_t min_time(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/*
 * How long a block may take to be written. Those who take turns shall not wait longer for each other than it
 * takes to use the line well, and each one shall have its turn every few seconds.
 */
static uint64_t link_stream_time(const struct link *link)
{
	const struct device *dev = link->dev;
	uint64_t prompt = dev->chan.prompt_took, turn;
	unsigned int senders = 1;

	for (int i = 0; i < AT_LINKS; i++)
		senders += &dev->links[i] != link && dev->links[i].tx_len > 0;
	if (senders == 1)
		return LINK_STREAM_TIME;
	turn = LINK_STREAM_ROUND / senders;
	if (turn <= 2 * prompt)
		return 0;
	return min_time(min_time(turn - 2 * prompt, prompt * LINK_STREAM_PROMPTS),
			LINK_STREAM_TIME);
}

/* 0: none may go now. */
static size_t link_stream_max(const struct link *link)
{
	uint64_t most;

	if (!link_may_stream(link))
		return 0;
	most = link_stream_time(link) * 1000 / link->dev->chan.byte_time;
	return most < LINK_STREAM_MAX ? (size_t)most : LINK_STREAM_MAX;
}

size_t link_block_max(const struct link *link)
{
	const struct device *dev = link->dev;

	if (chan_is_wanted(&dev->chan, CHAN_CONTROL, NULL) || device_has_sparse(dev, link))
		return LINK_BLOCK_SHORT;
	return LINK_BLOCK_MAX;
}

/* ---- by which command ---- */

static void sendl_done(struct chan_cmd *cmd, enum chan_result result)
{
	container_of(cmd, struct device, sendl_cmd)->sendl_set = result == CHAN_OK;
}

void link_send_start(struct link *link)
{
	struct device *dev = link->dev;
	struct chan_cmd *cmd = &dev->sendl_cmd;

	link->sparse_until = dev->timers->now + LINK_SPARSE;
	if (!dev->rtscts || !(dev->features & DEVICE_HAS_CIPSENDL) || dev->sendl_set ||
	    cmd->phase != CHAN_PHASE_IDLE)
		return;
	chan_cmd_begin(cmd, "AT+CIPSENDLCFG");
	at_line_int(&cmd->line, LINK_STREAM_REPORT);
	at_line_int(&cmd->line, LINK_STREAM_PIECE);
	at_line_end(&cmd->line);
	cmd->timeout = DEVICE_TIMEOUT;
	cmd->done = sendl_done;
	chan_submit(&dev->chan, CHAN_CONTROL, cmd);
}

/* The next block of what is to be sent, as the moment has it. */
static void link_make_block(struct chan_cmd *cmd)
{
	struct link *link = container_of(cmd, struct link, cmd);
	const uint8_t *data = link->tx + link->tx_off;
	size_t left = link->tx_len - link->tx_off, max = link_block_max(link), block;
	size_t stream = link_stream_max(link);

	block = link_block_len(data, left);
	cmd->kind = CHAN_SEND;
	if (block >= LINK_STREAM_MIN && stream >= LINK_STREAM_MIN) {
		cmd->kind = CHAN_STREAM;
		max = stream;
	}
	if (block > max)
		block = max;
	link->tx_block = block;
	cmd->payload = data;
	cmd->payload_len = block;
	at_line_begin(&cmd->line, cmd->kind == CHAN_STREAM ? "AT+CIPSENDL" : "AT+CIPSEND");
	at_line_int(&cmd->line, link->id);
	at_line_int(&cmd->line, (long)block);
	at_line_end(&cmd->line);
}

static void link_send_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct link *link = link_of_cmd(cmd);

	if (result == CHAN_E_RESET || result == CHAN_E_TIMEOUT)
		return; /* link_reset() follows */
	if (link->state != LINK_OPEN) {
		link_shut(link);
		return;
	}
	/* What the server said before it closed is still being read: then that is the end. */
	if (result != CHAN_OK && link->closed && link->fetching)
		return;
	if (result != CHAN_OK) {
		/* Never sent again: some of it may have gone (protocol fact 19). */
		link_abort(link, link->closed ? LINK_END_PEER : LINK_END_SEND);
		return;
	}
	link->moved = link->dev->timers->now;
	link->tx_off += link->tx_block;
	if (link->tx_off < link->tx_len) {
		link_submit_block(link);
		return;
	}
	link->tx_len = 0;
	link->tx_off = 0;
	link->ops->sent(link->user);
	if (link->state == LINK_OPEN && link->tx_len == 0)
		link_expects(link);
}

static void link_submit_block(struct link *link)
{
	link->cmd.share = &link->share;
	link->cmd.turn = link_make_block;
	/* As it may be until then, for it must have a line. */
	link_make_block(&link->cmd);
	link_run(link, CHAN_DATA, LINK_TIMEOUT_SEND, link_send_done);
}

/* ---- for its user ---- */

/* It has been given a part of a long block, and waits for the rest. */
static bool link_gathers(const struct link *link)
{
	return link->state == LINK_OPEN && timer_armed(&link->timer);
}

static void link_gathered(struct timer *timer)
{
	link_submit_block(container_of(timer, struct link, timer));
}

/* Whether it is a part of a long block, and more would make it longer. */
static bool link_may_gather(const struct link *link)
{
	return link->tx_len >= LINK_STREAM_MIN && link->tx_len < link->tx_size &&
	       link->tx_len < link_stream_max(link);
}

/* Room for a long block, made where one may go for the first time. */
static void link_grow(struct link *link)
{
	uint8_t *tx;

	if (link->tx_size >= LINK_STREAM_MAX || link->tx_len > 0)
		return;
	tx = malloc(LINK_STREAM_MAX);
	if (!tx)
		return; /* what there is will do */
	free(link->tx);
	link->tx = tx;
	link->tx_size = LINK_STREAM_MAX;
}

uint8_t *link_tx_buffer(struct link *link, size_t *size)
{
	size_t max = link_block_max(link), stream;

	if (link->state != LINK_OPEN || (link->tx_len > 0 && !link_gathers(link) &&
					 !(link->tx_off == 0 && chan_cmd_waits(&link->cmd))))
		return NULL;
	stream = link_stream_max(link);
	if (stream > max) {
		link_grow(link);
		max = stream;
	}
	if (max > link->tx_size)
		max = link->tx_size;
	if (max <= link->tx_len)
		return NULL;
	*size = max - link->tx_len;
	return link->tx + link->tx_len;
}

bool link_tx_pending(const struct link *link)
{
	return link->tx_len > 0;
}

void link_tx_submit(struct link *link, size_t len)
{
	bool more = link->tx_len > 0;

	assert(link->state == LINK_OPEN && len > 0 && link->tx_len + len <= link->tx_size);
	assert(!more || link_gathers(link) || chan_cmd_waits(&link->cmd));
	link->tx_len += len;
	link->moved = link->dev->timers->now;
	link->sparse_until = link->tx_len < LINK_BLOCK_SHORT ? link->dev->timers->now + LINK_SPARSE
							     : 0;
	if (more && !link_gathers(link))
		return; /* until its turn */
	link->tx_off = 0;
	if (link_may_gather(link)) {
		if (!more)
			link_wait(link, LINK_GATHER, link_gathered);
		return;
	}
	timer_cancel(&link->timer);
	link_submit_block(link);
}
