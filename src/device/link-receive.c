/* SPDX-License-Identifier: MIT */
/* What a link receives, and whether the chip tells it by itself. */
#include "device/internal.h"

void link_ipd(struct link *link, const uint8_t *data, size_t len)
{
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

static void link_receive_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct link *link = container_of(cmd, struct link, recv_cmd);

	link->recv_running = false;
	if (result == CHAN_E_RESET || result == CHAN_E_TIMEOUT)
		return; /* link_reset() follows */
	if (result == CHAN_OK)
		link->passive = !link->passive;
	else if (link->state == LINK_OPEN)
		link_abort(link, LINK_END_FLOW);
	else
		link->passive = link->want_passive; /* the link is gone, and its type with it */
	device_receive_update(link->dev);
}

static void link_receive_update(struct link *link)
{
	if (link->recv_running || link->passive == link->want_passive)
		return;
	at_line_begin(&link->recv_cmd.line, "AT+CIPRECVTYPE");
	at_line_int(&link->recv_cmd.line, link->id);
	at_line_int(&link->recv_cmd.line, !link->passive);
	at_line_end(&link->recv_cmd.line);
	link->recv_cmd.timeout = DEVICE_TIMEOUT;
	link->recv_cmd.done = link_receive_done;
	link->recv_running = true;
	chan_submit(&link->dev->chan, CHAN_CONTROL, &link->recv_cmd);
}

/* ---- the receive type where it is one for all (v3.2) ---- */

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
	device_receive_update(dev);
}

void device_receive_update(struct device *dev)
{
	bool want = false;

	if (dev->features & DEVICE_HAS_CIPRECVTYPE) {
		for (int i = 0; i < AT_LINKS; i++)
			link_receive_update(&dev->links[i]);
		return;
	}
	for (int i = 0; i < AT_LINKS; i++)
		want = want || dev->links[i].want_passive;
	if (dev->recv_running || dev->recv_passive == want)
		return;
	at_line_begin(&dev->recv_cmd.line, "AT+CIPRECVMODE");
	at_line_int(&dev->recv_cmd.line, want);
	at_line_end(&dev->recv_cmd.line);
	dev->recv_cmd.timeout = DEVICE_TIMEOUT;
	dev->recv_cmd.done = device_receive_done;
	dev->recv_running = true;
	chan_submit(&dev->chan, CHAN_CONTROL, &dev->recv_cmd);
}

void link_hold(struct link *link, bool hold)
{
	if (link->state != LINK_OPEN && link->state != LINK_CONNECTING)
		return;
	link->want_passive = hold;
	device_receive_update(link->dev);
}
