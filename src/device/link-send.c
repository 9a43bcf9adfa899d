/* SPDX-License-Identifier: MIT */
/* What a link sends. */
#include <assert.h>
#include <string.h>

#include "device/internal.h"

/* From the receipt of a block to its verdict: a server that does not read holds the chip up. */
#define LINK_TIMEOUT_SEND (60 * TIMERS_S)

static void link_submit_block(struct link *link);

size_t link_block_len(const uint8_t *data, size_t len)
{
	const uint8_t *plus;

	if (len > LINK_BLOCK_MAX)
		len = LINK_BLOCK_MAX;
	plus = memmem(data, len, "+++", 3);
	return plus ? (size_t)(plus - data) + 2 : len;
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
}

static void link_submit_block(struct link *link)
{
	link->tx_block = link_block_len(link->tx + link->tx_off, link->tx_len - link->tx_off);
	link->cmd.kind = CHAN_SEND;
	link->cmd.payload = link->tx + link->tx_off;
	link->cmd.payload_len = link->tx_block;
	at_line_begin(&link->cmd.line, "AT+CIPSEND");
	at_line_int(&link->cmd.line, link->id);
	at_line_int(&link->cmd.line, (long)link->tx_block);
	at_line_end(&link->cmd.line);
	link_run(link, CHAN_DATA, LINK_TIMEOUT_SEND, link_send_done);
}

uint8_t *link_tx_buffer(struct link *link, size_t *size)
{
	if (link->state != LINK_OPEN || link->tx_len > 0)
		return NULL;
	*size = LINK_BLOCK_MAX;
	return link->tx;
}

void link_tx_submit(struct link *link, size_t len)
{
	assert(link->state == LINK_OPEN && link->tx_len == 0 && len > 0 && len <= LINK_BLOCK_MAX);
	link->tx_len = len;
	link->tx_off = 0;
	link->moved = link->dev->timers->now;
	link_submit_block(link);
}
