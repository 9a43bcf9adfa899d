/* SPDX-License-Identifier: MIT */
/* One chip: construction, what comes from the channel, and running commands. */
#include "device/device.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/internal.h"
#include "device/request-internal.h"

/* Bytes that were lost came within so long before it was seen; see PORT_LOOK. */
#define DEVICE_LOST_WINDOW (300 * TIMERS_MS)
/* A link that has not moved for so long is idle: what holds the channel up does not delay it. */
#define DEVICE_QUIET (1 * TIMERS_S)

static void device_cmd_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct device *dev = device_of_cmd(cmd);

	/* Whoever reset the channel has also decided what comes next. */
	if (result == CHAN_E_RESET)
		return;
	if (dev->join_due && result != CHAN_E_TIMEOUT)
		join_is_due(dev);
	else
		dev->step(dev, result);
}

void device_begin(struct device *dev, const char *name)
{
	chan_cmd_begin(&dev->cmd, name);
}

void device_run(struct device *dev, uint64_t timeout,
		void (*on_line)(struct chan_cmd *cmd, const char *text, size_t len),
		void (*step)(struct device *dev, enum chan_result result))
{
	dev->cmd.timeout = timeout;
	dev->cmd.on_line = on_line;
	dev->cmd.done = device_cmd_done;
	dev->step = step;
	chan_submit(&dev->chan, CHAN_CONTROL, &dev->cmd);
}

void device_run_plain(struct device *dev, const char *command, uint64_t timeout,
		      void (*on_line)(struct chan_cmd *cmd, const char *text, size_t len),
		      void (*step)(struct device *dev, enum chan_result result))
{
	device_begin(dev, command);
	at_line_end(&dev->cmd.line);
	device_run(dev, timeout, on_line, step);
}

void device_wait(struct device *dev, uint64_t delay, void (*fn)(struct timer *timer))
{
	dev->timer.fn = fn;
	timer_arm(&dev->timer, delay);
}

/*
 * Unless we have reset it, it may as well be what a server has said, in a block whose head was lost:
 * then a prompt may be open, and links set up, as before. But it was legible, at this rate.
 */
static void device_report_ready(struct device *dev)
{
	bool asked = dev->forced || device_awaits_ready(dev);

	if (dev->state == DEVICE_ABSENT)
		return;
	if (asked) {
		dev->fresh = true;
		for (int i = 0; i < AT_LINKS; i++)
			dev->links[i].left = 0;
		line_was_reset(dev);
	} else {
		dev->chip_baud = dev->baud;
	}
	dev->booted = asked;
	if (dev->heard) {
		dev->resets++;
		device_note(dev, DEVICE_FACT_RESETS);
	}
	dev->heard = true;
	device_has_restarted(dev);
}

/*
 * If what the chip says of links is about ours: also while Wi-Fi is gone, when it closes them one by
 * one (protocol fact 23), while the clock is set once a day, and when the network was left.
 */
static bool device_has_links(const struct device *dev)
{
	return dev->state == DEVICE_READY || dev->state == DEVICE_JOINING ||
	       dev->state == DEVICE_CLOCK || dev->state == DEVICE_OFFLINE;
}

void device_report(struct device *dev, const struct at_report *report)
{
	switch (report->type) {
	case AT_REPORT_READY:
		device_report_ready(dev);
		return;
	case AT_REPORT_CONNECT:
	case AT_REPORT_CLOSED:
		if (!device_has_links(dev) || report->link < 0)
			return;
		if (report->type == AT_REPORT_CONNECT)
			link_report_connect(&dev->links[report->link]);
		else
			link_report_closed(&dev->links[report->link]);
		return;
	case AT_REPORT_WIFI_CONNECTED:
	case AT_REPORT_WIFI_GOT_IP:
	case AT_REPORT_WIFI_GOT_IP6:
	case AT_REPORT_WIFI_DISCONNECT:
		join_report(dev, report);
		return;
	case AT_REPORT_TIME_UPDATED:
		clock_report(dev);
		return;
	case AT_REPORT_IPD:
		if (device_has_links(dev) && report->link >= 0)
			link_announced(&dev->links[report->link],
				       report->value > 0 ? (size_t)report->value : 0);
		return;
	default:
		return;
	}
}

static void device_on_report(void *userdata, const struct at_report *report)
{
	device_report(userdata, report);
}

static void device_on_ipd(void *userdata, int link, const uint8_t *data, size_t len)
{
	struct device *dev = userdata;

	if (device_has_links(dev))
		link_ipd(&dev->links[link], data, len);
}

static void device_on_trouble(void *userdata, const char *what)
{
	device_recover(userdata, what);
}

static void device_on_write(void *userdata, const void *data, size_t len)
{
	struct device *dev = userdata;

	dev->ops->write(dev->userdata, data, len);
}

static void device_on_trace(void *userdata, const struct chan_piece *piece)
{
	struct device *dev = userdata;

	if (dev->ops->trace)
		dev->ops->trace(dev->userdata, piece);
}

static const struct chan_ops device_chan_ops = {
	.write = device_on_write,
	.report = device_on_report,
	.ipd = device_on_ipd,
	.trouble = device_on_trouble,
	.trace = device_on_trace,
};

void device_set_trace(struct device *dev, bool on)
{
	chan_set_trace(&dev->chan, on);
}

/*
 * Bytes of a block that whoever used the port before may have left on their way. A process does not end before
 * a serial port has sent what was written; a socket goes on without it.
 */
static size_t device_left_behind(const struct device *dev)
{
	const char *port = dev->settings->port;

	/* Not if that was us: the port has been gone since. */
	if (dev->chan.commands > 0 || !port ||
	    (strncmp(port, "unix:", 5) != 0 && strncmp(port, "tcp:", 4) != 0))
		return 0;
	return LINK_BLOCK_MAX;
}

void device_port_up(struct device *dev, unsigned int baud)
{
	chan_set_baud(&dev->chan, baud);
	dev->baud = baud;
	/* One that we know may have kept its power, and with it the rate that it was told. */
	if (!dev->mac[0] || baud != dev->settings->baud)
		dev->chip_baud = baud;
	dev->rtscts = false;
	dev->flow_set = false;
	dev->line_fixed = false;
	dev->flow_failed = NULL;
	device_note(dev, DEVICE_FACT_LINE);
	dev->line_rate = 0;
	dev->line_mac[0] = '\0'; /* and nothing is known of any chip */
	dev->fresh = false;
	dev->heard = false;
	dev->hearsay = (struct hearsay){ 0 };
	dev->reset_due = false;
	dev->failures = 0;
	dev->restarted = false;
	dev->recovered = false;
	dev->n_troubles = 0;
	dev->forced = false;
	/* Whoever used it before may have left a prompt open. */
	dev->chan.send_open = true;
	dev->chan.gone_by = dev->timers->now + device_left_behind(dev) * dev->chan.byte_time / 1000;
	device_enter_state(dev, DEVICE_PROBING);
}

void device_port_waiting(struct device *dev, const char *why)
{
	device_set_error(dev, "%s", why);
}

void device_port_down(struct device *dev, const char *why)
{
	if (dev->state == DEVICE_ABSENT)
		return;
	dev_warning(dev, "%s", why);
	device_set_error(dev, "%s", why);
	device_enter_state(dev, DEVICE_ABSENT);
}

void device_feed(struct device *dev, const uint8_t *data, size_t len)
{
	if (dev->state == DEVICE_ABSENT)
		return;
	if (dev->aside) {
		chan_skip(&dev->chan, len);
		return;
	}
	if (dev->proof.active) {
		line_feed(dev, data, len);
		return;
	}
	if (!dev->heard)
		hearsay_take(&dev->hearsay, data, len, dev->baud == dev->settings->baud);
	chan_feed(&dev->chan, data, len);
	line_watch_noise(dev);
}

void device_bytes_lost(struct device *dev, const char *what)
{
	/* While it is looked for, or tuned, that is no wonder, and nothing is believed that is not proven. */
	if (!device_has_links(dev))
		return;
	dev_error(dev, "bytes were lost or damaged on the serial line (%s)", what);
	for (int i = 0; i < AT_LINKS; i++) {
		struct link *link = &dev->links[i];

		if (link->state == LINK_OPEN &&
		    dev->timers->now - link->moved <= DEVICE_LOST_WINDOW)
			link_abort(link, LINK_END_LOST);
	}
	device_recover(dev, "bytes were lost on the line");
}

void device_port_closing(struct device *dev)
{
	device_end_reset(dev);
	/*
	 * In the middle of a command it might become a part of a block; then the chip stays as it is, and is
	 * found so.
	 */
	if (dev->state <= DEVICE_PROBING || dev->state == DEVICE_FAILED || dev->chan.current ||
	    dev->proof.active || (dev->baud == dev->settings->baud && !dev->flow_set))
		return;
	line_write_rate(dev, dev->settings->baud);
}

void device_link_freed(struct device *dev)
{
	if (dev->retire_later && !dev->provision)
		provision_again(dev);
}

void device_watch(struct device *dev, struct device_watch *watch)
{
	list_append(&dev->watches, &watch->node);
}

void device_unwatch(struct device_watch *watch)
{
	list_remove(&watch->node);
}

void device_notify_room(struct device *dev)
{
	if (dev->state != DEVICE_READY)
		return;
	list_for_each_safe(node, &dev->watches) {
		struct device_watch *watch = container_of(node, struct device_watch, node);

		if (watch->room)
			watch->room(watch, dev);
	}
}

void device_note(struct device *dev, unsigned int facts)
{
	list_for_each_safe(node, &dev->watches) {
		struct device_watch *watch = container_of(node, struct device_watch, node);

		if (watch->changed)
			watch->changed(watch, dev, facts);
	}
}

bool device_is_quiet(const struct device *dev, const struct link *except)
{
	for (int i = 0; i < AT_LINKS; i++) {
		const struct link *link = &dev->links[i];

		if (link == except || link->state == LINK_FREE)
			continue;
		if (link->state != LINK_OPEN || link->tx_len > 0 ||
		    dev->timers->now - link->moved < DEVICE_QUIET)
			return false;
	}
	return true;
}

struct link *device_free_link(struct device *dev)
{
	struct link *found = NULL;

	if (dev->state != DEVICE_READY || provision_is_in_place(dev) ||
	    device_links_in_use(dev) >= dev->settings->max_links)
		return NULL;
	for (int i = 0; i < AT_LINKS; i++) {
		enum link_state state = dev->links[i].state;

		/* One that has failed and waits for a quiet moment stands in nobody's way. */
		if (dev->links[i].diagnosing && !dev->links[i].running)
			continue;
		/* A handshake blocks the channel: the next one would only wait in it. */
		if (state == LINK_SETTING || state == LINK_CONNECTING ||
		    (state == LINK_CLOSING && dev->links[i].running && !dev->links[i].connected))
			return NULL;
		if (state == LINK_FREE && !found)
			found = &dev->links[i];
	}
	return found;
}

static const struct holding *authority_holding(const struct device *dev,
					       const struct config_authority *authority)
{
	return &dev->holdings[material_of_authority(dev->material, authority)];
}

static const struct holding *identity_holding(const struct device *dev,
					      const struct config_identity *identity)
{
	return &dev->holdings[material_of_identity(dev->material, identity)];
}

int device_authority_slot(const struct device *dev, const struct config_authority *authority)
{
	return authority_holding(dev, authority)->slot;
}

int device_identity_slot(const struct device *dev, const struct config_identity *identity)
{
	return identity_holding(dev, identity)->slot;
}

unsigned int device_authority_generation(const struct device *dev,
					 const struct config_authority *authority)
{
	return authority_holding(dev, authority)->generation;
}

unsigned int device_identity_generation(const struct device *dev,
					const struct config_identity *identity)
{
	return identity_holding(dev, identity)->generation;
}

unsigned int device_links_in_use(const struct device *dev)
{
	unsigned int n = 0;

	for (int i = 0; i < AT_LINKS; i++)
		n += dev->links[i].state != LINK_FREE;
	return n;
}

unsigned int device_free_heap(const struct device *dev)
{
	return dev->heap;
}

unsigned int device_baud(const struct device *dev)
{
	return dev->baud ? dev->baud : dev->settings->baud;
}

const char *device_clock_source(const struct device *dev)
{
	switch (dev->clock_source) {
	case DEVICE_CLOCK_UNSET:
		return "unset";
	case DEVICE_CLOCK_HOST:
		return "host";
	case DEVICE_CLOCK_SNTP:
		return "sntp";
	}
	return "?";
}

uint64_t device_resets(const struct device *dev)
{
	return dev->resets;
}

uint64_t device_flash_writes(const struct device *dev)
{
	/* The record on the chip counts those of all the daemons that it ever had, once it is read. */
	return dev->record.writes + (uint64_t)dev->uncounted;
}

const struct device_wifi *device_wifi(const struct device *dev)
{
	return &dev->wifi;
}

int device_new(struct device **ret, const struct config *config,
	       const struct config_device *settings, const struct material *material,
	       struct timers *timers, const struct device_ops *ops, void *userdata)
{
	struct device *dev;
	int r;

	dev = calloc(1, sizeof(*dev));
	if (!dev)
		return -ENOMEM;
	dev->config = config;
	dev->settings = settings;
	dev->material = material;
	dev->ops = ops;
	dev->userdata = userdata;
	dev->timers = timers;
	list_init(&dev->watches);
	dev->holdings = calloc(material->n_items + 1, sizeof(*dev->holdings));
	list_init(&dev->requests);
	r = timer_init(&dev->timer, timers, NULL);
	if (r == 0)
		r = timer_init(&dev->noise_timer, timers, line_on_noise);
	if (r == 0)
		r = timer_init(&dev->unread_timer, timers, provision_unread_is_due);
	if (r == 0)
		r = timer_init(&dev->lost_timer, timers, lost_timer_is_due);
	if (!dev->holdings)
		r = -ENOMEM;
	for (size_t i = 0; r == 0 && i <= material->n_items; i++)
		dev->holdings[i].slot = -1;
	if (r == 0)
		r = requests_init(dev);
	if (r == 0)
		r = sample_init(dev);
	if (r == 0)
		r = chan_init(&dev->chan, settings->name, timers, &device_chan_ops, dev);
	for (int i = 0; i < AT_LINKS && r == 0; i++)
		r = link_init(&dev->links[i], dev, i);
	if (r < 0) {
		device_free(dev);
		return r;
	}
	*ret = dev;
	return 0;
}

struct device *device_free(struct device *dev)
{
	if (!dev)
		return NULL;
	/* Nobody is told of what ends from here on. */
	list_for_each_safe(node, &dev->watches)
		list_remove(node);
	provision_stop(dev);
	dev->state = DEVICE_ABSENT;
	if (dev->chan.ops)
		chan_deinit(&dev->chan);
	for (int i = 0; i < AT_LINKS; i++)
		link_deinit(&dev->links[i]);
	requests_deinit(dev);
	values_free(dev);
	sample_deinit(dev);
	network_free(dev->network);
	timer_deinit(&dev->timer);
	timer_deinit(&dev->noise_timer);
	timer_deinit(&dev->unread_timer);
	timer_deinit(&dev->lost_timer);
	free(dev->holdings);
	free(dev);
	return NULL;
}
