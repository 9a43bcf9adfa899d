/* SPDX-License-Identifier: MIT */
/*
 * What is told of a chip in service and changes by itself: its access point and the signal, its address,
 * its free memory, the links that it has. Asked after each join and then about once a minute, one question at a time,
 * and only when the channel is free and nobody waits for it: data is never held up by more than one short answer. A
 * chip that has left its network, or closed a link, although nobody has heard it say so is found out by it, and at once
 * where a connection fails.
 */
#include <string.h>

#include "device/internal.h"

/* After the chip has come into service: first those go who have waited for that. */
#define SAMPLE_SOON (1 * TIMERS_S)
#define SAMPLE_EVERY (60 * TIMERS_S)
/* How soon it is looked again for a moment when nobody is in the way. */
#define SAMPLE_LOOK (1 * TIMERS_S)
/* A link that the chip does not name is looked for once more: its CLOSED may be late (protocol fact 23). */
#define SAMPLE_MISSING (10 * TIMERS_S)
#define SAMPLE_MISSING_MAX 2
/* And from one that a failed connection was the reason for to the next. */
#define SAMPLE_DOUBT (5 * TIMERS_S)

static bool sample_cwjap(struct device *dev, const char *text, size_t len)
{
	struct device_wifi *wifi = &dev->wifi;
	struct at_ap ap;

	if (!at_reply_cwjap(text, len, &ap))
		return false;
	dev->sample_joined = true;
	if (!wifi->connected || strcmp(ap.ssid, wifi->ssid) != 0)
		return false;
	if (strcmp(wifi->bssid, ap.bssid) == 0 && wifi->channel == (unsigned int)ap.channel &&
	    wifi->rssi == (int)ap.rssi)
		return false;
	memcpy(wifi->bssid, ap.bssid, sizeof(wifi->bssid));
	wifi->channel = (unsigned int)ap.channel;
	wifi->rssi = (int)ap.rssi;
	return true;
}

static bool sample_cipsta(struct device *dev, const char *text, size_t len)
{
	struct device_wifi *wifi = &dev->wifi;
	char address[AT_IPV4_MAX + 1];

	if (!wifi->connected || !at_reply_cipsta(text, len, "ip", address) ||
	    strcmp(address, wifi->address) == 0)
		return false;
	memcpy(wifi->address, address, sizeof(address));
	return true;
}

static bool sample_sysram(struct device *dev, const char *text, size_t len)
{
	long heap;

	if (!at_reply_free_heap(text, len, &heap) || dev->heap == (unsigned int)heap)
		return false;
	dev->heap = (unsigned int)heap;
	return true;
}

static bool sample_cipstate(struct device *dev, const char *text, size_t len)
{
	long link;

	if (at_reply_cipstate(text, len, &link) && link < AT_LINKS)
		dev->sample_seen |= 1u << link;
	return false;
}

static const struct {
	const char *command;
	bool (*line)(struct device *dev, const char *text, size_t len); /* true: it is news */
	enum device_fact fact;
} samples[] = {
	{ "AT+CWJAP?", sample_cwjap, DEVICE_FACT_WIFI },
	{ "AT+CIPSTA?", sample_cipsta, DEVICE_FACT_WIFI },
	{ "AT+SYSRAM?", sample_sysram, DEVICE_FACT_HEAP },
	{ "AT+CIPSTATE?", sample_cipstate, DEVICE_FACT_LINKS }, /* the last one */
};

#define N_SAMPLES (int)(sizeof(samples) / sizeof(*samples))
#define SAMPLE_CIPSTATE (N_SAMPLES - 1)

static void sample_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	struct device *dev = container_of(cmd, struct device, sample_cmd);

	if (samples[dev->sample_step].line(dev, text, len))
		device_note(dev, samples[dev->sample_step].fact);
}

/* Where connections are open it may as well be the line that has lost the answer, and they end if it is not. */
static void sample_is_not_joined(struct device *dev)
{
	const struct at_report report = { .type = AT_REPORT_WIFI_DISCONNECT };

	if (dev->state != DEVICE_READY || !dev->wifi.connected)
		return;
	for (int i = 0; i < AT_LINKS; i++)
		if (dev->links[i].state == LINK_OPEN)
			return;
	join_report(dev, &report);
}

static unsigned int sample_links(const struct device *dev)
{
	unsigned int open = 0;

	if (dev->features & DEVICE_HAS_CIPSTATE)
		for (int i = 0; i < AT_LINKS; i++)
			if (dev->links[i].state == LINK_OPEN && !dev->links[i].closed)
				open |= 1u << i;
	return open;
}

/* Whose CLOSED was lost would be held for ever by a client that only receives. Returns whether one is missed. */
static bool sample_misses_links(struct device *dev)
{
	unsigned int asked = dev->sample_open & sample_links(dev);
	bool missed = false;

	for (int i = 0; i < AT_LINKS; i++) {
		struct link *link = &dev->links[i];

		if (!(asked & 1u << i) || (dev->sample_seen & 1u << i)) {
			link->missing = 0;
		} else if (++link->missing < SAMPLE_MISSING_MAX) {
			missed = true;
		} else {
			link_fail(link, LINK_END_LOST);
		}
	}
	return missed;
}

static void sample_next(struct device *dev, enum chan_result result)
{
	if (dev->sample_step == SAMPLE_CIPSTATE && result == CHAN_OK && sample_misses_links(dev)) {
		timer_arm(&dev->sample_timer, SAMPLE_MISSING);
		return;
	}
	dev->sample_step++;
	if (dev->sample_step == SAMPLE_CIPSTATE && !sample_links(dev))
		dev->sample_step++;
	/* It may be that whoever waited behind this one goes first. */
	timer_arm(&dev->sample_timer, dev->sample_step < N_SAMPLES ? 0 : SAMPLE_EVERY);
	if (dev->sample_step == N_SAMPLES)
		dev->sample_step = 0;
}

static void sample_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct device *dev = container_of(cmd, struct device, sample_cmd);

	if (result == CHAN_E_RESET || result == CHAN_E_TIMEOUT)
		return; /* it begins anew when the chip is ready again */
	if (dev->sample_step == 0 && result == CHAN_OK && !dev->sample_joined)
		sample_is_not_joined(dev);
	if (dev->state == DEVICE_READY)
		sample_next(dev, result);
}

static bool sample_is_in_the_way(const struct device *dev)
{
	if (dev->chan.current || !list_empty(&dev->chan.lanes[CHAN_CONTROL]) ||
	    !list_empty(&dev->chan.lanes[CHAN_DATA]) || dev->n_requests > 0 || dev->provision)
		return true;
	for (int i = 0; i < AT_LINKS; i++)
		if (dev->links[i].state == LINK_SETTING || dev->links[i].state == LINK_CONNECTING)
			return true;
	return false;
}

static void sample_is_due(struct timer *timer)
{
	struct device *dev = container_of(timer, struct device, sample_timer);
	struct chan_cmd *cmd = &dev->sample_cmd;

	if (dev->state != DEVICE_READY)
		return;
	if (!dev->sample_urgent && sample_is_in_the_way(dev)) {
		timer_arm(timer, SAMPLE_LOOK);
		return;
	}
	dev->sample_urgent = false;
	dev->sample_joined = false;
	dev->sample_open = sample_links(dev);
	dev->sample_seen = 0;
	chan_cmd_begin(cmd, samples[dev->sample_step].command);
	at_line_end(&cmd->line);
	cmd->timeout = DEVICE_TIMEOUT_FLASH;
	cmd->on_line = sample_line;
	cmd->done = sample_done;
	chan_submit(&dev->chan, CHAN_CONTROL, cmd);
}

void sample_soon(struct device *dev)
{
	/* One that is under way goes on with the next question by itself. */
	if (dev->sample_cmd.phase != CHAN_PHASE_IDLE)
		return;
	dev->sample_step = 0;
	timer_arm(&dev->sample_timer, SAMPLE_SOON);
}

void sample_doubt(struct device *dev)
{
	uint64_t now = dev->timers->now;

	if (dev->sample_cmd.phase != CHAN_PHASE_IDLE || now < dev->sample_doubted + SAMPLE_DOUBT)
		return;
	dev->sample_doubted = now;
	dev->sample_urgent = true;
	dev->sample_step = 0;
	timer_arm(&dev->sample_timer, 0);
}

int sample_init(struct device *dev)
{
	return timer_init(&dev->sample_timer, dev->timers, sample_is_due);
}

void sample_deinit(struct device *dev)
{
	timer_deinit(&dev->sample_timer);
}
