/* SPDX-License-Identifier: MIT */
/* Wi-Fi: joins what the configuration names, or waits for what the chip joins by itself. */
#include <stdio.h>
#include <string.h>

#include "device/internal.h"
#include "util/log.h"

/* The chip gives up after 16 s (capture 20). */
#define JOIN_TIMEOUT (40 * TIMERS_S)
/* How long a chip may take to join, or to come back, by itself before it is told to. */
#define JOIN_PATIENCE (8 * TIMERS_S)

static const char *cwjap_text(int code)
{
	switch (code) {
	case 1:
		return "timed out";
	case 2:
		return "wrong password";
	case 3:
		return "no such access point in range";
	case 4:
		return "the access point refused (wrong password, or none where one is needed?)";
	default:
		return "the chip gave no reason";
	}
}

static void join_query(struct device *dev);

static void join_command_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	long code;

	if (at_reply_number(text, len, "+CWJAP:", &code))
		device_of_cmd(cmd)->cwjap_code = (int)code;
}

static void join_commanded(struct device *dev, enum chan_result result)
{
	if (result == CHAN_E_TIMEOUT)
		return; /* trouble follows */
	if (result == CHAN_OK) {
		join_query(dev);
		return;
	}
	if (dev->settings->has_wifi)
		device_fail(dev, "cannot join Wi-Fi \"%s\": %s", dev->settings->wifi.ssid,
			    cwjap_text(dev->cwjap_code));
	else
		device_fail(dev,
			    "the chip does not join a Wi-Fi network by itself: %s; name one with "
			    "`wifi`",
			    cwjap_text(dev->cwjap_code));
}

static void join_command(struct device *dev)
{
	char password[72] = "";
	int r = 0;

	dev->cwjap_code = 0;
	if (!dev->settings->has_wifi) {
		/* The network that the chip remembers. */
		device_run_plain(dev, "AT+CWJAP", JOIN_TIMEOUT, join_command_line, join_commanded);
		return;
	}
	if (dev->settings->wifi.password_file)
		r = dev->ops->secret(dev->userdata, dev->settings->wifi.password_file, password,
				     sizeof(password));
	if (r < 0) {
		explicit_bzero(password, sizeof(password));
		device_fail(dev, "cannot read the Wi-Fi password from %s: %s",
			    dev->settings->wifi.password_file, strerror(-r));
		return;
	}
	device_begin(dev, "AT+CWJAP");
	at_line_string(&dev->cmd.line, dev->settings->wifi.ssid);
	at_line_string(&dev->cmd.line, password);
	explicit_bzero(password, sizeof(password));
	dev->cmd.secret = true;
	if (at_line_end(&dev->cmd.line) < 0) {
		device_fail(dev,
			    "the Wi-Fi name or password has a character that AT commands cannot "
			    "carry");
		return;
	}
	device_run(dev, JOIN_TIMEOUT, join_command_line, join_commanded);
}

static void join_patience_over(struct timer *timer)
{
	struct device *dev = device_of_timer(timer);

	dev->step_no = 1;
	join_query(dev);
}

static void join_queried(struct device *dev, enum chan_result result)
{
	bool ours = !dev->settings->has_wifi || strcmp(dev->ssid, dev->settings->wifi.ssid) == 0;

	if (result == CHAN_E_TIMEOUT)
		return; /* trouble follows */
	if (result == CHAN_OK && dev->cwstate == DEVICE_CWSTATE_CONNECTED && ours) {
		log_info("%s: joined \"%s\"", dev->settings->name, dev->ssid);
		device_enter_state(dev, DEVICE_CLOCK);
		return;
	}
	if (dev->step_no > 0 || (dev->settings->has_wifi && !dev->wifi_lost)) {
		dev->step_no = 0;
		join_command(dev);
		return;
	}
	log_info("%s: waiting for the chip to join its Wi-Fi network", dev->settings->name);
	device_wait(dev, JOIN_PATIENCE, join_patience_over);
}

static void join_query_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	struct device *dev = device_of_cmd(cmd);

	at_reply_cwstate(text, len, &dev->cwstate, dev->ssid);
}

static void join_query(struct device *dev)
{
	timer_cancel(&dev->timer);
	dev->cwstate = -1;
	dev->ssid[0] = '\0';
	device_run_plain(dev, "AT+CWSTATE?", DEVICE_TIMEOUT, join_query_line, join_queried);
}

void join_report(struct device *dev, const struct at_report *report)
{
	if (report->type == AT_REPORT_WIFI_DISCONNECT) {
		dev->wifi_lost = true;
		dev->cwstate = -1;
		if (dev->state == DEVICE_READY)
			device_enter_state(dev, DEVICE_JOINING);
		return;
	}
	/* The patience is over sooner; a command under way ends by itself. */
	if (report->type == AT_REPORT_WIFI_GOT_IP && dev->state == DEVICE_JOINING &&
	    timer_armed(&dev->timer))
		join_query(dev);
}

void join_start(struct device *dev)
{
	if (dev->wifi_lost)
		log_warning("%s: Wi-Fi is gone", dev->settings->name);
	dev->step_no = 0;
	join_query(dev);
}
