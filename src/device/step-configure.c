/* SPDX-License-Identifier: MIT */
/* Into a known state, whatever the chip was used for before; nothing is saved to its flash. */
#include <stdio.h>
#include <string.h>

#include "device/internal.h"

/* What an ERROR means. */
enum configure_error {
	CONFIGURE_IGNORE, /* it was so already */
	CONFIGURE_RESET,  /* something stands in the way that a reset removes */
	CONFIGURE_TRY,    /* then those of the two next kinds are commanded, and else not */
	CONFIGURE_HELP,   /* it does not matter */
	CONFIGURE_RETRY,  /* as CONFIGURE_RESET */
};

static const struct {
	const char *command;
	const char *passive;   /* instead, with `receive = "passive"`; NULL: the same */
	unsigned int features; /* only with one of these; 0: always */
	unsigned int without;  /* only without this */
	enum configure_error error;
} configure_commands[] = {
	/* First: from here on nothing is saved by side effect. */
	{ "AT+SYSSTORE=0", NULL, 0, 0, CONFIGURE_RESET },
	{ "AT+CIPSERVER=0,1", NULL, 0, 0, CONFIGURE_IGNORE },
	/* Refused while a link is open in the other mode or passthrough is on (captures 31, 51). */
	{ "AT+CIPMUX=1", NULL, 0, 0, CONFIGURE_TRY },
	{ "AT+CIPCLOSE", NULL, 0, 0, CONFIGURE_HELP },
	{ "AT+CIPMODE=0", NULL, 0, 0, CONFIGURE_HELP },
	{ "AT+CIPMUX=1", NULL, 0, 0, CONFIGURE_RETRY },
	{ "AT+CIPCLOSE=5", NULL, 0, 0, CONFIGURE_IGNORE },
	{ "AT+CIPDINFO=0", NULL, 0, 0, CONFIGURE_RESET },
	/* It stays over all links that are opened and closed (capture 32). */
	{ "AT+CIPRECVTYPE=5,0", "AT+CIPRECVTYPE=5,1", DEVICE_HAS_CIPRECVTYPE, 0, CONFIGURE_RESET },
	{ "AT+CIPRECVMODE=0", "AT+CIPRECVMODE=1", DEVICE_HAS_CIPRECVMODE, DEVICE_HAS_CIPRECVTYPE,
	  CONFIGURE_RESET },
};

#define N_COMMANDS (sizeof(configure_commands) / sizeof(*configure_commands))

static void configure_run(struct device *dev);

/* Only if another one was refused. */
static bool configure_is_retry(size_t i)
{
	return configure_commands[i].error == CONFIGURE_HELP ||
	       configure_commands[i].error == CONFIGURE_RETRY;
}

static const char *configure_command(const struct device *dev, size_t i)
{
	if (configure_commands[i].passive && device_is_passive(dev))
		return configure_commands[i].passive;
	return configure_commands[i].command;
}

/* ---- what another program may have left for the next connection (protocol fact 4) ---- */

static void configure_cleared(struct device *dev, enum chan_result result)
{
	if (result != CHAN_OK) {
		device_restart_chip(dev, "the chip refuses to forget earlier TLS settings");
		return;
	}
	/* The others are cleared where a link is used: there is no command that clears the ciphers of all. */
	for (int i = 0; i < AT_LINKS; i++) {
		dev->links[i].left = LINK_LEFT_ALPN;
		if (dev->features & DEVICE_HAS_CIPSSLCCIPHER)
			dev->links[i].left |= LINK_LEFT_CIPHERS;
	}
	line_begin(dev);
}

/* ---- station mode ---- */

static void configure_finish(struct device *dev)
{
	/* After `ready` there is nothing that could be left over (protocol fact 22). */
	if (dev->fresh) {
		line_begin(dev);
		return;
	}
	/* In both its forms: AT+CIPSSLCPSKHEX sets the same. */
	device_run_plain(dev, "AT+CIPSSLCPSK=5,\"\",\"\"", DEVICE_TIMEOUT, NULL, configure_cleared);
}

static void configure_mode_set(struct device *dev, enum chan_result result)
{
	if (result != CHAN_OK) {
		device_restart_chip(dev, "the chip refuses station mode");
		return;
	}
	configure_finish(dev);
}

static void configure_mode_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	at_reply_number(text, len, "+CWMODE:", &device_of_cmd(cmd)->cwmode);
}

static void configure_mode(struct device *dev, enum chan_result result)
{
	if (result == CHAN_OK && dev->cwmode == 1) {
		configure_finish(dev);
		return;
	}
	/* The factory's is 2, an access point of its own (protocol fact 29). */
	device_run_plain(dev, "AT+CWMODE=1", DEVICE_TIMEOUT_FLASH, NULL, configure_mode_set);
}

/* ---- the table ---- */

static void configure_next(struct device *dev, enum chan_result result)
{
	size_t i = (size_t)dev->step_no;
	char why[64];

	if (result != CHAN_OK && (configure_commands[i].error == CONFIGURE_RESET ||
				  configure_commands[i].error == CONFIGURE_RETRY)) {
		snprintf(why, sizeof(why), "the chip refuses %s", configure_command(dev, i));
		device_restart_chip(dev, why);
		return;
	}
	if (result != CHAN_OK && configure_commands[i].error == CONFIGURE_TRY)
		dev->refused = true;
	dev->step_no++;
	configure_run(dev);
}

static void configure_run(struct device *dev)
{
	for (; dev->step_no < (int)N_COMMANDS; dev->step_no++) {
		size_t i = (size_t)dev->step_no;
		unsigned int features = configure_commands[i].features;

		if (configure_is_retry(i) && !dev->refused)
			continue;
		if ((features == 0 || (dev->features & features)) &&
		    !(dev->features & configure_commands[i].without)) {
			device_run_plain(dev, configure_command(dev, i), DEVICE_TIMEOUT, NULL,
					 configure_next);
			return;
		}
	}
	device_receive_is_set(dev);
	dev->cwmode = 0;
	device_run_plain(dev, "AT+CWMODE?", DEVICE_TIMEOUT, configure_mode_line, configure_mode);
}

void configure_start(struct device *dev)
{
	dev->step_no = 0;
	dev->refused = false;
	configure_run(dev);
}
