/* SPDX-License-Identifier: MIT */
/* One of the chip's five links. */
#include "device/link.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "device/internal.h"
#include "util/log.h"

/*
 * The chip gives up on a server that does not answer after 10 s per packet and takes up to 60 s in
 * all (field notes 2.2); until then the command channel is blocked and nothing can be done about it.
 */
#define LINK_TIMEOUT_START (75 * TIMERS_S)
/* From the receipt of a block to its verdict: a server that does not read holds the chip up. */
#define LINK_TIMEOUT_SEND (60 * TIMERS_S)
#define LINK_TIMEOUT_CLOSE (10 * TIMERS_S)
/* A CLOSED that comes after the OK of its CIPCLOSE must not hit the link's next user. */
#define LINK_LATE_CLOSED (1 * TIMERS_S)

#define CONF_UNKNOWN (-1)

static void link_submit_block(struct link *link);
static void link_finish(struct link *link);
static void link_step(struct link *link);

const char *link_end_text(enum link_end end)
{
	switch (end) {
	case LINK_END_PEER:
		return "closed by the server";
	case LINK_END_SETTINGS:
		return "the chip refused the TLS settings";
	case LINK_END_REFUSED:
		return "the chip could not connect";
	case LINK_END_NO_HOST:
		return "no such host";
	case LINK_END_TIMEOUT:
		return "the server did not answer in time";
	case LINK_END_NO_TCP:
		return "connection refused, or the server cannot be reached";
	case LINK_END_TLS:
		return "the TLS handshake failed: the server's certificate or name is not what the "
		       "tunnel trusts, it does not accept ours, or it has no TLS 1.2";
	case LINK_END_VOID:
		return "closed while it was being set up";
	case LINK_END_SEND:
		return "a send failed or is in doubt";
	case LINK_END_FLOW:
		return "the chip refused to change the receive type";
	case LINK_END_RESET:
		return "the chip was reset or lost";
	}
	return "?";
}

size_t link_block_len(const uint8_t *data, size_t len)
{
	const uint8_t *plus;

	if (len > LINK_BLOCK_MAX)
		len = LINK_BLOCK_MAX;
	plus = memmem(data, len, "+++", 3);
	return plus ? (size_t)(plus - data) + 2 : len;
}

static void link_enter_state(struct link *link, enum link_state state)
{
	link->state = state;
}

/* The user's last call; whatever the link still has to do, it does for itself. */
static void link_end_user(struct link *link, enum link_end end)
{
	const struct link_ops *ops = link->ops;

	link->ops = NULL;
	if (ops)
		ops->closed(link->user, end);
}

static void link_become_free(struct link *link)
{
	timer_cancel(&link->timer);
	free(link->tx);
	link->tx = NULL;
	link->tx_len = 0;
	link->want_passive = false;
	link_enter_state(link, LINK_FREE);
	device_receive_update(link->dev);
	device_notify_room(link->dev);
}

/* The user is gone and the chip may not be: closes, unless a command of this link still runs. */
static void link_shut(struct link *link)
{
	link_enter_state(link, LINK_CLOSING);
	if (!link->running)
		link_finish(link);
}

void link_abort(struct link *link, enum link_end end)
{
	link_end_user(link, end);
	link_shut(link);
}

/* ---- commands ---- */

void link_run(struct link *link, enum chan_lane lane, uint64_t timeout,
	      void (*done)(struct chan_cmd *cmd, enum chan_result result))
{
	link->cmd.timeout = timeout;
	link->cmd.done = done;
	link->running = true;
	chan_submit(&link->dev->chan, lane, &link->cmd);
}

struct link *link_of_cmd(struct chan_cmd *cmd)
{
	struct link *link = container_of(cmd, struct link, cmd);

	link->running = false;
	return link;
}

void link_plain(struct link *link, const char *name)
{
	link->cmd.kind = CHAN_PLAIN;
	link->cmd.payload = NULL;
	at_line_begin(&link->cmd.line, name);
	at_line_int(&link->cmd.line, link->id);
}

/* ---- closing ---- */

static void link_late_closed_over(struct timer *timer)
{
	link_become_free(container_of(timer, struct link, timer));
}

static void link_close_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct link *link = link_of_cmd(cmd);

	if (result == CHAN_E_RESET || result == CHAN_E_TIMEOUT)
		return; /* link_reset() follows */
	/* ERROR: it was closed already (capture 31). */
	if (link->closed || !link->connected || result == CHAN_E_ERROR)
		link_become_free(link);
	else
		timer_arm(&link->timer, LINK_LATE_CLOSED);
}

static void link_finish(struct link *link)
{
	if (link->closed) {
		link_become_free(link);
		return;
	}
	link_plain(link, "AT+CIPCLOSE");
	at_line_end(&link->cmd.line);
	link_run(link, CHAN_CONTROL, LINK_TIMEOUT_CLOSE, link_close_done);
}

void link_close(struct link *link)
{
	if (!link->ops)
		return;
	link->ops = NULL;
	if (link->state == LINK_SETTING && !link->running) {
		link_become_free(link);
		return;
	}
	link_shut(link);
}

/* ---- connecting ---- */

enum link_step {
	LINK_STEP_CONF,
	LINK_STEP_SNI,
	LINK_STEP_CN,
	LINK_STEP_START,
};

static void link_start_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct link *link = link_of_cmd(cmd);

	if (result == CHAN_E_RESET || result == CHAN_E_TIMEOUT)
		return; /* link_reset() follows */
	if (result != CHAN_OK) {
		/* There is nothing to close; a CLOSED that comes all the same is ignored when free. */
		link->closed = true;
		if (link->ops && link->target.diagnose)
			diagnose_start(link);
		else
			link_abort(link, LINK_END_REFUSED);
		return;
	}
	/*
	 * A link that closed again before this OK: whose CLOSED it was cannot be told, and with it
	 * the trust settings were forgotten (protocol facts 3, 4).
	 */
	if (link->closed || !link->connected) {
		link->closed = false;
		link_abort(link, LINK_END_VOID);
		return;
	}
	if (!link->ops) {
		link_shut(link);
		return;
	}
	link_enter_state(link, LINK_OPEN);
	link->ops->opened(link->user);
	/* A handshake blocks the channel; the next one may begin. */
	device_notify_room(link->dev);
}

static void link_setting_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct link *link = link_of_cmd(cmd);

	if (result == CHAN_E_RESET || result == CHAN_E_TIMEOUT)
		return; /* link_reset() follows */
	if (link->closed || !link->ops) {
		link_end_user(link, LINK_END_VOID);
		link_become_free(link);
		return;
	}
	if (result != CHAN_OK) {
		if (link->step == LINK_STEP_CONF)
			link->conf_auth = CONF_UNKNOWN;
		link_end_user(link, LINK_END_SETTINGS);
		link_become_free(link);
		return;
	}
	if (link->step == LINK_STEP_CONF) {
		link->conf_auth = link->target.auth;
		link->conf_pki = link->target.pki;
		link->conf_ca = link->target.ca;
	}
	link->step++;
	link_step(link);
}

/* All three modes but 0 need both numbers (capture 40), whichever of them matters. */
static void link_conf_line(struct link *link)
{
	const struct link_target *t = &link->target;

	link_plain(link, "AT+CIPSSLCCONF");
	at_line_int(&link->cmd.line, t->auth);
	if (t->auth == LINK_AUTH_NONE)
		return;
	at_line_int(&link->cmd.line, t->auth == LINK_AUTH_SERVER ? 0 : t->pki);
	at_line_int(&link->cmd.line, t->auth == LINK_AUTH_CLIENT ? 0 : t->ca);
}

static bool link_conf_is_set(const struct link *link)
{
	return link->conf_auth == (int)link->target.auth && link->conf_pki == link->target.pki &&
	       link->conf_ca == link->target.ca;
}

/* The line of a step; false if this step is not needed. */
static bool link_step_line(struct link *link)
{
	const struct link_target *t = &link->target;

	switch ((enum link_step)link->step) {
	case LINK_STEP_CONF:
		if (link_conf_is_set(link))
			return false;
		link_conf_line(link);
		return true;
	case LINK_STEP_SNI:
		link_plain(link, "AT+CIPSSLCSNI");
		at_line_string(&link->cmd.line, t->server_name);
		return true;
	case LINK_STEP_CN:
		/* The name that is checked is SNI, else CN: both, so that no old one is left (fact 2). */
		link_plain(link, "AT+CIPSSLCCN");
		at_line_string(&link->cmd.line, t->server_name);
		return true;
	case LINK_STEP_START:
		link_plain(link, "AT+CIPSTART");
		at_line_string(&link->cmd.line, "SSL");
		at_line_string(&link->cmd.line, t->host);
		at_line_int(&link->cmd.line, (long)t->port);
		return true;
	}
	return false;
}

static void link_step(struct link *link)
{
	bool start;

	while (!link_step_line(link))
		link->step++;
	start = link->step == LINK_STEP_START;
	at_line_end(&link->cmd.line); /* link_open() has tried them all */
	if (start) {
		link->started = link->dev->timers->now;
		link_enter_state(link, LINK_CONNECTING);
	}
	link_run(link, CHAN_CONTROL, start ? LINK_TIMEOUT_START : DEVICE_TIMEOUT_FLASH,
		 start ? link_start_done : link_setting_done);
}

int link_open(struct link *link, const struct link_target *target, const struct link_ops *ops,
	      void *user)
{
	int r;

	assert(link->state == LINK_FREE && link->dev->state == DEVICE_READY);
	link->target = *target;
	for (link->step = LINK_STEP_CONF; link->step <= LINK_STEP_START; link->step++) {
		if (!link_step_line(link))
			continue;
		r = at_line_end(&link->cmd.line);
		if (r < 0)
			return r;
	}
	link->tx = malloc(LINK_BLOCK_MAX);
	if (!link->tx)
		return -ENOMEM;
	link->ops = ops;
	link->user = user;
	link->connected = false;
	link->closed = false;
	link->diagnosing = false;
	link->tx_len = 0;
	link->tx_off = 0;
	link->step = LINK_STEP_CONF;
	link_enter_state(link, LINK_SETTING);
	link_step(link);
	return 0;
}

/* ---- sending ---- */

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
	link_submit_block(link);
}

/* ---- receiving ---- */

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

/* ---- what the chip says ---- */

void link_report_connect(struct link *link)
{
	if (link->state != LINK_CONNECTING &&
	    !(link->state == LINK_CLOSING && link->step == LINK_STEP_START)) {
		device_recover(link->dev, "a connection that nobody asked for");
		return;
	}
	link->connected = true;
}

void link_report_closed(struct link *link)
{
	switch (link->state) {
	case LINK_FREE: /* it may follow the ERROR of a CIPSTART (field notes 2.2) */
		return;
	case LINK_SETTING:
	case LINK_CONNECTING:
		link->closed = true; /* voids the attempt, when its command has ended */
		return;
	case LINK_OPEN:
		link->closed = true;
		/* A send under way ends with SEND FAIL (capture 30); what was received is whole. */
		link_abort(link, LINK_END_PEER);
		return;
	case LINK_CLOSING:
		link->closed = true;
		if (timer_armed(&link->timer))
			link_become_free(link);
		return;
	}
}

/* The chip has forgotten everything. */
void link_reset(struct link *link)
{
	timer_cancel(&link->timer);
	link->running = false;
	link->recv_running = false;
	link->want_passive = false;
	link->passive = false;
	link->conf_auth = CONF_UNKNOWN;
	if (link->state == LINK_FREE)
		return;
	free(link->tx);
	link->tx = NULL;
	link->tx_len = 0;
	link_enter_state(link, LINK_FREE);
	link_end_user(link, LINK_END_RESET);
}

int link_init(struct link *link, struct device *dev, int id)
{
	link->dev = dev;
	link->id = id;
	link->conf_auth = CONF_UNKNOWN;
	return timer_init(&link->timer, dev->timers, link_late_closed_over);
}

void link_deinit(struct link *link)
{
	if (!link->dev)
		return;
	link->ops = NULL;
	link_reset(link);
	timer_deinit(&link->timer);
	link->dev = NULL;
}
