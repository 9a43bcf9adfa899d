/* SPDX-License-Identifier: MIT */
/* What is it: versions, commands, address. */
#include <stdio.h>
#include <string.h>

#include "device/internal.h"

/* The first version with AT+SYSMFG (field notes 1.1). */
#define VERSION_MIN_MAJOR 3
#define VERSION_MIN_MINOR 2

static const struct {
	const char *command;
	enum device_feature feature;
	bool needed;
} identify_features[] = {
	{ "AT+SYSMFG", DEVICE_HAS_SYSMFG, true },
	{ "AT+SYSTIMESTAMP", DEVICE_HAS_SYSTIMESTAMP, true },
	{ "AT+CIPSSLCCONF", DEVICE_HAS_CIPSSLCCONF, true },
	{ "AT+CIPSSLCSNI", DEVICE_HAS_CIPSSLCSNI, true },
	{ "AT+CIPSSLCCN", DEVICE_HAS_CIPSSLCCN, true },
	{ "AT+CIPRECVTYPE", DEVICE_HAS_CIPRECVTYPE, false },
	{ "AT+CIPRECVMODE", DEVICE_HAS_CIPRECVMODE, false },
	{ "AT+CIPDOMAIN", DEVICE_HAS_CIPDOMAIN, false },
	{ "AT+CIPSSLCCIPHER", DEVICE_HAS_CIPSSLCCIPHER, false },
	{ "AT+CIPCONNPERSIST", DEVICE_HAS_CIPCONNPERSIST, false },
	{ "AT+CWJEAP", DEVICE_HAS_CWJEAP, false },
	{ "AT+CIPSENDL", DEVICE_HAS_CIPSENDL, false },
	{ "AT+CIPSTATE", DEVICE_HAS_CIPSTATE, false },
};

/* Where the line has damaged one answer, the next two are the same. */
#define IDENTIFY_MAC_MAX 5

#define N_FEATURES (sizeof(identify_features) / sizeof(*identify_features))

static void identify_mac_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	at_reply_mac(text, len, device_of_cmd(cmd)->mac);
}

static void identify_mac(struct device *dev, enum chan_result result)
{
	if (result != CHAN_OK || dev->mac[0] == '\0') {
		device_fail(dev, "the chip does not tell its MAC address");
		return;
	}
	chip_check(dev);
}

static void identify_ask_mac(struct device *dev)
{
	dev->mac[0] = '\0';
	device_note(dev, DEVICE_FACT_CHIP);
	device_run_plain(dev, "AT+CIPSTAMAC?", DEVICE_TIMEOUT, identify_mac_line, identify_mac);
}

void identify_mac_again(struct device *dev)
{
	if (++dev->mac_asked == IDENTIFY_MAC_MAX) {
		device_note(dev, DEVICE_FACT_CHIP);
		device_fail(dev, "the chip tells another MAC address each time");
		return;
	}
	strcpy(dev->mac_before, dev->mac);
	identify_ask_mac(dev);
}

static void identify_cmd_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	struct device *dev = device_of_cmd(cmd);
	char name[AT_NAME_MAX];

	if (!at_reply_cmd(text, len, name))
		return;
	for (size_t i = 0; i < N_FEATURES; i++)
		if (strcmp(identify_features[i].command, name) == 0)
			dev->features |= identify_features[i].feature;
}

static void identify_cmd(struct device *dev, enum chan_result result)
{
	if (result != CHAN_OK) {
		device_fail(dev, "the chip does not list its commands (AT+CMD?)");
		return;
	}
	for (size_t i = 0; i < N_FEATURES; i++)
		if (identify_features[i].needed &&
		    !(dev->features & identify_features[i].feature)) {
			device_fail(dev, "this firmware has no %s, which espatd needs",
				    identify_features[i].command);
			return;
		}
	if (!(dev->features & (DEVICE_HAS_CIPRECVTYPE | DEVICE_HAS_CIPRECVMODE))) {
		device_fail(dev, "this firmware has neither AT+CIPRECVTYPE nor AT+CIPRECVMODE");
		return;
	}
	if (device_wants_enterprise(dev) && !(dev->features & DEVICE_HAS_CWJEAP)) {
		device_fail(dev, "this firmware has no AT+CWJEAP: enterprise Wi-Fi needs a build "
				 "with it");
		return;
	}
	dev->mac_before[0] = '\0';
	dev->mac_asked = 0;
	identify_ask_mac(dev);
}

static void identify_gmr_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	struct device *dev = device_of_cmd(cmd);

	if (!at_reply_version(text, len, &dev->version))
		at_reply_bin_version(text, len, dev->firmware, sizeof(dev->firmware));
}

static void identify_gmr(struct device *dev, enum chan_result result)
{
	const struct at_version *v = &dev->version;

	device_note(dev, DEVICE_FACT_CHIP);
	if (result != CHAN_OK || v->core[0] == '\0') {
		device_fail(dev, "AT+GMR is not answered as ESP-AT does");
		return;
	}
	if (v->major < VERSION_MIN_MAJOR ||
	    (v->major == VERSION_MIN_MAJOR && v->minor < VERSION_MIN_MINOR)) {
		device_fail(dev, "AT version %s is too old, espatd needs %d.%d.0 or newer", v->core,
			    VERSION_MIN_MAJOR, VERSION_MIN_MINOR);
		return;
	}
	device_run_plain(dev, "AT+CMD?", DEVICE_TIMEOUT, identify_cmd_line, identify_cmd);
}

void identify_start(struct device *dev)
{
	memset(&dev->version, 0, sizeof(dev->version));
	dev->firmware[0] = '\0';
	device_note(dev, DEVICE_FACT_CHIP);
	dev->features = 0;
	dev->tells_errno = false;
	dev->wifi_lost = false;
	dev->refreshing = false;
	dev->sendl_set = false;
	dev->cwstate = -1;
	dev->wifi_prepared = false;
	dev->clock_done = false;
	dev->clock_set = false;
	dev->clock_asked = false;
	clock_set_source(dev, DEVICE_CLOCK_UNSET);
	device_run_plain(dev, "AT+GMR", DEVICE_TIMEOUT, identify_gmr_line, identify_gmr);
}
