/* SPDX-License-Identifier: MIT */
/* Requests about Wi-Fi: what is in range, another network, none. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/syntax.h"
#include "device/internal.h"
#include "device/request-internal.h"

/*
 * Networks that are kept, the strongest: more than there are in range of anything, and hostile ones
 * must end somewhere.
 */
#define SCAN_MAX 128
/* The recorded chip takes 1.6 s (capture 20); 14 channels at 1.5 s each is the longest that can be set. */
#define SCAN_TIMEOUT (30 * TIMERS_S)

/* ---- scan ---- */

struct scan_request {
	struct device_request req;
	struct chan_cmd cmd;
	struct device_ap aps[SCAN_MAX];
	size_t n_aps;
};

/* <ecn>: the documentation's up to 9, then as ESP-IDF's wifi_auth_mode_t, which the firmware prints. */
static const char *scan_security(int number)
{
	static const char *const names[] = {
		[0] = "open",
		[1] = "wep",
		[2] = "wpa",
		[3] = "wpa2",
		[4] = "wpa-wpa2",
		[5] = "wpa2-enterprise",
		[6] = "wpa3",
		[7] = "wpa2-wpa3",
		[8] = "wapi",
		[9] = "owe",
		[10] = "wpa3-enterprise-192",
		[14] = "wpa3-enterprise",
		[15] = "wpa2-wpa3-enterprise",
		[16] = "wpa-enterprise",
	};

	if (number < 0 || number >= (int)(sizeof(names) / sizeof(*names)) || !names[number])
		return "unknown";
	return names[number];
}

/* A name may have bytes that nobody is to see as they are; no command could carry a line end of it. */
static void scan_name(char *to, const char *name)
{
	size_t i = 0;

	for (; name[i]; i++)
		to[i] = (unsigned char)name[i] < 0x20 || name[i] == 0x7f ? '?' : name[i];
	to[i] = '\0';
}

static void scan_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	struct scan_request *scan = container_of(cmd, struct scan_request, cmd);
	struct device_ap *ap = &scan->aps[scan->n_aps];
	struct at_ap found;

	if (scan->n_aps == SCAN_MAX || !at_reply_cwlap(text, len, &found))
		return;
	scan_name(ap->ssid, found.ssid);
	memcpy(ap->bssid, found.bssid, sizeof(ap->bssid));
	ap->rssi = (int)found.rssi;
	ap->channel = (unsigned int)found.channel;
	ap->security = scan_security(found.security);
	scan->n_aps++;
}

static void scan_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct scan_request *scan = container_of(cmd, struct scan_request, cmd);
	struct device_answer answer = { .text = "", .aps = scan->aps, .n_aps = scan->n_aps };

	if (result == CHAN_OK) {
		device_request_finish(&scan->req, DEVICE_OK, &answer);
		return;
	}
	answer = (struct device_answer){ .text = "the chip refuses to scan" };
	request_cmd_failed(&scan->req, result, &answer);
}

static void scan_options_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct scan_request *scan = container_of(cmd, struct scan_request, cmd);

	static const struct device_answer refused = {
		.text = "the chip refuses to say scans so that names can be told from all else "
			"(AT+CWLAPOPT)",
	};

	if (result != CHAN_OK) {
		request_cmd_failed(&scan->req, result, &refused);
		return;
	}
	chan_cmd_begin(cmd, "AT+CWLAP");
	at_line_end(&cmd->line);
	cmd->names = true;
	cmd->timeout = SCAN_TIMEOUT;
	cmd->on_line = scan_line;
	cmd->done = scan_done;
	chan_submit(&scan->req.dev->chan, CHAN_CONTROL, cmd);
}

static void scan_start(struct device_request *req)
{
	struct scan_request *scan = (struct scan_request *)req;
	struct chan_cmd *cmd = &scan->cmd;

	/* By strength, with all that there is: as recorded. Somebody may have left it otherwise. */
	chan_cmd_begin(cmd, "AT+CWLAPOPT");
	at_line_int(&cmd->line, 1);
	at_line_int(&cmd->line, 2047);
	at_line_end(&cmd->line);
	cmd->timeout = DEVICE_TIMEOUT;
	cmd->done = scan_options_done;
	chan_submit(&req->dev->chan, CHAN_CONTROL, cmd);
}

int device_scan(struct device *dev, device_done_fn done, void *userdata,
		struct device_request **ret)
{
	struct scan_request *scan = calloc(1, sizeof(*scan));

	if (!scan)
		return -ENOMEM;
	device_request_init(&scan->req, dev, done, userdata);
	scan->req.start = scan_start;
	return request_submit_or_free(&scan->req, ret);
}

/* ---- another network, or none ---- */

struct join_request {
	struct device_request req;
	struct device_network
		*network; /* owned, until it starts; NULL: the configured one, or none */
	bool leave;
	/* What was before; of use while it is not known how it ends. */
	bool trying;
	struct device_network *before; /* owned */
	bool was_offline;
};

struct device_network *network_free(struct device_network *network)
{
	if (network)
		explicit_bzero(network, sizeof(*network));
	free(network);
	return NULL;
}

static void join_free_data(struct device_request *req)
{
	struct join_request *join = (struct join_request *)req;
	struct device *dev = req->dev;

	if (join->trying) {
		network_free(dev->network);
		dev->network = join->before;
		dev->offline = join->was_offline;
		join->before = NULL;
	}
	join->network = network_free(join->network);
	join->before = network_free(join->before);
}

static void join_request_start(struct device_request *req)
{
	struct join_request *join = (struct join_request *)req;
	struct device *dev = req->dev;

	join->before = dev->network;
	join->was_offline = dev->offline;
	join->trying = true;
	dev->network = join->network;
	dev->offline = join->leave;
	join->network = NULL;
	if (join->leave)
		dev_notice(dev, "leaving the Wi-Fi network, as was asked for");
	else if (dev->network)
		dev_notice(dev, "joining \"%s\", as was asked for", dev->network->ssid);
	else
		dev_notice(dev, "going back to the network of the configuration, as was asked for");
	join_again(dev);
}

/* The one that runs; NULL: none, or something else. */
static struct join_request *join_running(struct device *dev)
{
	if (!dev->request || dev->request->start != join_request_start)
		return NULL;
	return (struct join_request *)dev->request;
}

static void join_succeeded(struct join_request *join)
{
	join->trying = false;
	device_request_finish(&join->req, DEVICE_OK, NULL);
}

void requests_joined(struct device *dev)
{
	struct join_request *join = join_running(dev);

	if (join && !join->leave)
		join_succeeded(join);
}

void requests_left(struct device *dev)
{
	struct join_request *join = join_running(dev);

	if (join && join->leave)
		join_succeeded(join);
}

bool requests_join_failed(struct device *dev, enum device_result result, const char *text)
{
	struct join_request *join = join_running(dev);

	if (!join || join->leave)
		return false;
	device_request_finish(&join->req, result, &(struct device_answer){ .text = text });
	return true;
}

/* Also of a chip that cannot join what it should; but one that does not belong here gets no password. */
static int join_submit(struct device *dev, struct device_network *network, bool leave,
		       device_done_fn done, void *userdata, struct device_request **ret)
{
	struct join_request *join = calloc(1, sizeof(*join));

	if (!join) {
		network_free(network);
		return -ENOMEM;
	}
	device_request_init(&join->req, dev, done, userdata);
	join->network = network;
	join->leave = leave;
	join->req.start = join_request_start;
	join->req.free_data = join_free_data;
	join->req.any_state = true;
	join->req.states = ~(DEVICE_STATE_BIT(DEVICE_ABSENT) |
			     DEVICE_STATE_BIT(DEVICE_UNKNOWN_CHIP) |
			     DEVICE_STATE_BIT(DEVICE_PROVISIONED));
	return request_submit_or_free(&join->req, ret);
}

static bool is_mac(const char *text)
{
	if (strlen(text) != AT_MAC_MAX)
		return false;
	for (size_t i = 0; i < AT_MAC_MAX; i++)
		if (i % 3 == 2 ? text[i] != ':' : !strchr("0123456789abcdefABCDEF", text[i]))
			return false;
	return true;
}

static bool can_be_said(const char *text, size_t max)
{
	return strlen(text) <= max && !strpbrk(text, "\r\n");
}

int device_join(struct device *dev, const struct device_join *join, device_done_fn done,
		void *userdata, struct device_request **ret)
{
	struct device_network *network;

	if (join->ssid[0] == '\0')
		return join_submit(dev, NULL, false, done, userdata, ret);
	/* As one of the configuration: the chip tells it as it is, whenever it is asked for it. */
	if (syntax_ssid(join->ssid) || !can_be_said(join->password, AT_WIFI_PASSWORD_MAX) ||
	    (join->bssid && !is_mac(join->bssid)))
		return -EINVAL;
	network = calloc(1, sizeof(*network));
	if (!network)
		return -ENOMEM;
	strcpy(network->ssid, join->ssid);
	strcpy(network->password, join->password);
	if (join->bssid)
		strcpy(network->bssid, join->bssid);
	network->hidden = join->hidden;
	return join_submit(dev, network, false, done, userdata, ret);
}

int device_leave(struct device *dev, device_done_fn done, void *userdata,
		 struct device_request **ret)
{
	return join_submit(dev, NULL, true, done, userdata, ret);
}
