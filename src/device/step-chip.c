/* SPDX-License-Identifier: MIT */
/*
 * Whether it is the chip that belongs to this device: another one gets no key, no PSK and no Wi-Fi
 * password. A chip is known by its station MAC address, which protects against mistakes and not
 * against a chip that was made to deceive.
 */
#include <stdio.h>
#include <string.h>

#include "device/internal.h"

/* How often it is looked whether an administrator has accepted the chip. */
#define UNKNOWN_CHIP_LOOK (2 * TIMERS_S)

/* The chip that belongs here, or "" if any may come. Returns 0 or -errno. */
static int chip_expected(struct device *dev, char mac[AT_MAC_MAX + 1])
{
	mac[0] = '\0';
	if (dev->settings->mac)
		snprintf(mac, AT_MAC_MAX + 1, "%s", dev->settings->mac);
	else if (dev->settings->adopt == CONFIG_ADOPT_FIRST)
		return dev->ops->recall_chip(dev->userdata, mac);
	return 0;
}

/* The first one stays. */
static int chip_remember(struct device *dev)
{
	int r;

	if (dev->settings->mac || dev->settings->adopt != CONFIG_ADOPT_FIRST)
		return 0;
	r = dev->ops->remember_chip(dev->userdata, dev->mac);
	if (r == 0)
		dev_notice(dev, "%s is the chip of this device from now on", dev->mac);
	return r;
}

static void chip_is_unknown(struct device *dev, const char *expected)
{
	char text[sizeof(dev->error)];

	snprintf(text, sizeof(text), "the chip %s is not the one of this device, %s", dev->mac,
		 expected);
	if (strcmp(text, dev->error) != 0)
		dev_error(dev,
			  "%s: it gets no key and no password, and its tunnels stay down. To "
			  "accept it: %s",
			  text,
			  dev->settings->mac ? "change `mac`"
					     : "espatctl adopt, or espatd -c FILE --adopt");
	device_set_error(dev, "%s", text);
	device_enter_state(dev, DEVICE_UNKNOWN_CHIP);
}

/* It would be remembered, or turned away, until somebody comes: not for one digit that the line has changed. */
static bool chip_is_doubtful(const struct device *dev, const char *expected)
{
	if (strcmp(dev->mac_before, dev->mac) == 0)
		return false;
	if (expected[0] != '\0')
		return strcasecmp(expected, dev->mac) != 0;
	return dev->settings->adopt == CONFIG_ADOPT_FIRST;
}

static void chip_tell(struct device *dev)
{
	dev_notice(dev, "found %s %s, AT core %s, firmware %s",
		   dev->version.chip[0] ? dev->version.chip : "chip", dev->mac, dev->version.core,
		   dev->firmware[0] ? dev->firmware : "unnamed");
	device_note(dev, DEVICE_FACT_CHIP);
}

void chip_check(struct device *dev)
{
	char expected[AT_MAC_MAX + 1];
	int r;

	r = chip_expected(dev, expected);
	if (r == 0 && chip_is_doubtful(dev, expected)) {
		identify_mac_again(dev);
		return;
	}
	chip_tell(dev);
	if (r < 0) {
		device_fail(dev, "cannot read which chip belongs to this device in %s: %s",
			    dev->config->state_dir, strerror(-r));
		return;
	}
	if (expected[0] != '\0' && strcasecmp(expected, dev->mac) != 0) {
		chip_is_unknown(dev, expected);
		return;
	}
	r = expected[0] == '\0' ? chip_remember(dev) : 0;
	if (r < 0)
		device_fail(dev, "cannot remember the chip of this device in %s: %s",
			    dev->config->state_dir, strerror(-r));
	else
		device_enter_state(dev, DEVICE_CONFIGURING);
}

static void unknown_chip_look(struct timer *timer)
{
	struct device *dev = device_of_timer(timer);
	char expected[AT_MAC_MAX + 1];

	if (chip_expected(dev, expected) == 0 &&
	    (expected[0] == '\0' || strcasecmp(expected, dev->mac) == 0))
		device_enter_state(dev, DEVICE_PROBING);
	else
		device_wait(dev, UNKNOWN_CHIP_LOOK, unknown_chip_look);
}

void unknown_chip_start(struct device *dev)
{
	device_wait(dev, UNKNOWN_CHIP_LOOK, unknown_chip_look);
}
