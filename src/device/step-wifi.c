/* SPDX-License-Identifier: MIT */
/*
 * What Wi-Fi needs before it joins: country, host name, IPv6, addresses, name servers. What the
 * configuration does not name is left as the chip has it, but for addresses and servers that
 * somebody has fixed: these are by DHCP then.
 *
 * A join that exists already may have been made with other settings. Where they take part in joining
 * or in DHCP, the documentation does not say that a change reaches it, so a new join is made; to make
 * none without need (it costs seconds), the chip is asked first what it has.
 */
#include <stdio.h>
#include <string.h>

#include "device/internal.h"

struct wifi_setting {
	const char *command; /* with its '=' it sets, with '?' it asks */
	const char *what;    /* for people */
	bool joins;          /* it needs a new join to take effect */
	bool asks; /* whether it stands already is asked even if there is no join to keep */
	unsigned int lines; /* of the answer that must say so */
	bool (*wanted)(const struct device *dev);
	bool (*stands)(const struct device *dev, const char *text, size_t len); /* one line */
	void (*put)(const struct device *dev, struct at_line *line);
};

static void wifi_next(struct device *dev);

/* ---- country ---- */

/*
 * The channels of 2.4 GHz from the first one on, as in the table of ESP-IDF
 * (components/esp_wifi/regulatory): the firmware takes any number and does not look at the code.
 * Where there are 11, more would break the law; where there are 13, networks on the last two would
 * not be found.
 */
static int wifi_channels(const char *country)
{
	static const char eleven[][3] = {
		"AS", "BM", "CA", "DM", "DO", "FM", "GD", "GU",
		"HT", "MH", "MP", "NI", "PR", "PW", "US", "VI",
	};

	for (size_t i = 0; i < sizeof(eleven) / sizeof(*eleven); i++)
		if (strcmp(eleven[i], country) == 0)
			return 11;
	return strcmp(country, "JP") == 0 ? 14 : 13;
}

static bool country_wanted(const struct device *dev)
{
	return dev->settings->wifi.country;
}

/*
 * Policy 1: whatever the access point says. It also makes the chip call for hidden networks on all
 * its channels; with policy 0 it only listens from 12 on (ESP-IDF, Wi-Fi country code).
 */
static void country_put(const struct device *dev, struct at_line *line)
{
	at_line_int(line, 1);
	at_line_string(line, dev->settings->wifi.country);
	at_line_int(line, 1);
	at_line_int(line, wifi_channels(dev->settings->wifi.country));
}

/* ---- host name: DHCP tells it to the router ---- */

static bool hostname_wanted(const struct device *dev)
{
	return dev->settings->wifi.hostname;
}

static bool hostname_stands(const struct device *dev, const char *text, size_t len)
{
	char name[AT_HOSTNAME_MAX + 1];

	return at_reply_hostname(text, len, name) &&
	       strcmp(name, dev->settings->wifi.hostname) == 0;
}

static void hostname_put(const struct device *dev, struct at_line *line)
{
	at_line_string(line, dev->settings->wifi.hostname);
}

/* ---- IPv6: its addresses are made when joining (documentation of AT+CWJAP) ---- */

bool device_wants_ipv6(const struct device *dev)
{
	for (size_t i = 0; i < dev->config->n_tunnels; i++) {
		const struct config_tunnel *tunnel = &dev->config->tunnels[i];

		if (config_tunnel_uses(tunnel, dev->settings) && tunnel->host &&
		    config_wants_ipv6(tunnel->family, tunnel->host))
			return true;
	}
	return false;
}

static bool ipv6_stands(const struct device *dev, const char *text, size_t len)
{
	long on;

	return at_reply_number(text, len, "+CIPV6:", &on) && on == 1;
}

static void ipv6_put(const struct device *dev, struct at_line *line)
{
	at_line_int(line, 1);
}

/* ---- addresses; each of these two commands undoes the other ---- */

/* Those of the configuration are of its network, not of one that was asked for at run time. */
static bool address_wanted(const struct device *dev)
{
	return !dev->network && dev->settings->wifi.address;
}

static bool address_stands(const struct device *dev, const char *text, size_t len)
{
	const struct config_wifi *wifi = &dev->settings->wifi;
	char address[AT_IPV4_MAX + 1];

	return (at_reply_cipsta(text, len, "ip", address) && strcmp(address, wifi->address) == 0) ||
	       (at_reply_cipsta(text, len, "gateway", address) &&
		strcmp(address, wifi->gateway) == 0) ||
	       (at_reply_cipsta(text, len, "netmask", address) &&
		strcmp(address, wifi->netmask) == 0);
}

static void address_put(const struct device *dev, struct at_line *line)
{
	at_line_string(line, dev->settings->wifi.address);
	at_line_string(line, dev->settings->wifi.gateway);
	at_line_string(line, dev->settings->wifi.netmask);
}

static bool dhcp_wanted(const struct device *dev)
{
	return dev->network || (dev->settings->has_wifi && !dev->settings->wifi.address);
}

/* Bit 0 is the station's. */
static bool dhcp_stands(const struct device *dev, const char *text, size_t len)
{
	long state;

	return at_reply_number(text, len, "+CWDHCP:", &state) && (state & 1);
}

static void dhcp_put(const struct device *dev, struct at_line *line)
{
	at_line_int(line, 1);
	at_line_int(line, 1);
}

/* ---- name servers; those set by hand count at once (capture 21) and hold against DHCP's ---- */

static bool dns_wanted(const struct device *dev)
{
	return !dev->network && dev->settings->wifi.dns.n > 0;
}

static void dns_put(const struct device *dev, struct at_line *line)
{
	at_line_int(line, 1);
	for (size_t i = 0; i < dev->settings->wifi.dns.n; i++)
		at_line_string(line, dev->settings->wifi.dns.items[i]);
}

/*
 * Somebody may have set servers by hand who is gone: an earlier espatd with another configuration, on
 * a chip that is still joined, or whoever has switched DHCP off. Without these signs the chip is not
 * asked.
 */
static bool dns_by_dhcp_wanted(const struct device *dev)
{
	return dhcp_wanted(dev) && !dns_wanted(dev) && (dev->joined || dev->wifi_changed);
}

static bool dns_by_dhcp_stands(const struct device *dev, const char *text, size_t len)
{
	bool manual;

	return at_reply_cipdns(text, len, &manual) && !manual;
}

static void dns_by_dhcp_put(const struct device *dev, struct at_line *line)
{
	at_line_int(line, 0);
}

/* ---- one after the other ---- */

/* DHCP's servers come right behind DHCP: only its change may have preceded them. */
static const struct wifi_setting wifi_settings[] = {
	{ "AT+CWCOUNTRY", "country", .wanted = country_wanted, .put = country_put },
	{ "AT+CIPSTA", "fixed address", .joins = true, .lines = 3, .wanted = address_wanted,
	  .stands = address_stands, .put = address_put },
	{ "AT+CWDHCP", "use of DHCP", .joins = true, .asks = true, .lines = 1,
	  .wanted = dhcp_wanted, .stands = dhcp_stands, .put = dhcp_put },
	{ "AT+CIPDNS", "name servers", .wanted = dns_wanted, .put = dns_put },
	{ "AT+CIPDNS", "name servers of DHCP", .joins = true, .asks = true, .lines = 1,
	  .wanted = dns_by_dhcp_wanted, .stands = dns_by_dhcp_stands, .put = dns_by_dhcp_put },
	{ "AT+CWHOSTNAME", "host name", .joins = true, .lines = 1, .wanted = hostname_wanted,
	  .stands = hostname_stands, .put = hostname_put },
	{ "AT+CIPV6", "use of IPv6", .joins = true, .lines = 1, .wanted = device_wants_ipv6,
	  .stands = ipv6_stands, .put = ipv6_put },
};

#define N_SETTINGS (int)(sizeof(wifi_settings) / sizeof(*wifi_settings))

static void wifi_put_done(struct device *dev, enum chan_result result)
{
	const struct wifi_setting *setting = &wifi_settings[dev->setting];

	if (result == CHAN_E_TIMEOUT)
		return; /* trouble follows */
	if (result != CHAN_OK) {
		device_fail(dev, "the chip refuses the %s (%s)", setting->what, setting->command);
		return;
	}
	if (setting->joins)
		dev->wifi_changed = true;
	dev->setting++;
	wifi_next(dev);
}

static void wifi_put(struct device *dev)
{
	const struct wifi_setting *setting = &wifi_settings[dev->setting];

	device_begin(dev, setting->command);
	setting->put(dev, &dev->cmd.line);
	/* What the configuration lets through fits into a line. */
	at_line_end(&dev->cmd.line);
	device_run(dev, DEVICE_TIMEOUT_FLASH, NULL, wifi_put_done);
}

static void wifi_asked_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	struct device *dev = device_of_cmd(cmd);

	if (wifi_settings[dev->setting].stands(dev, text, len))
		dev->setting_lines++;
}

static void wifi_asked(struct device *dev, enum chan_result result)
{
	const struct wifi_setting *setting = &wifi_settings[dev->setting];

	if (result == CHAN_E_TIMEOUT)
		return; /* trouble follows */
	/* What the firmware cannot tell nobody has fixed in it. */
	if (result == CHAN_OK ? dev->setting_lines != setting->lines : !setting->asks) {
		wifi_put(dev);
		return;
	}
	dev->setting++;
	wifi_next(dev);
}

static void wifi_next(struct device *dev)
{
	const struct wifi_setting *setting = &wifi_settings[dev->setting];
	/* Without `wifi` the chip may be joining by itself at this moment. */
	bool keeps = dev->joined || !(dev->network || dev->settings->has_wifi);
	char query[AT_NAME_MAX];

	for (; dev->setting < N_SETTINGS; setting++, dev->setting++)
		if (setting->wanted(dev))
			break;
	if (dev->setting == N_SETTINGS) {
		join_prepared(dev);
		return;
	}
	if (!setting->asks && !(setting->joins && keeps)) {
		wifi_put(dev);
		return;
	}
	dev->setting_lines = 0;
	snprintf(query, sizeof(query), "%s?", setting->command);
	device_run_plain(dev, query, DEVICE_TIMEOUT, wifi_asked_line, wifi_asked);
}

void wifi_prepare(struct device *dev)
{
	dev->setting = 0;
	wifi_next(dev);
}
