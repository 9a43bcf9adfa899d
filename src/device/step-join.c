/* SPDX-License-Identifier: MIT */
/*
 * Wi-Fi: joins what was asked for at run time, else what the configuration names, or waits for what the
 * chip joins by itself; or leaves it.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "device/internal.h"
#include "device/request-internal.h"

/* The chip gives up after 16 s (capture 20), and after 15 s in an enterprise network. */
#define JOIN_TIMEOUT (40 * TIMERS_S)
/* How long a chip may take to join, or to come back, by itself before it is told to. */
#define JOIN_PATIENCE (8 * TIMERS_S)
/* And when it is asked whether it is about to: it tries once a second, if it tries at all (capture 04). */
#define JOIN_PATIENCE_LOST (2500 * TIMERS_MS)
/* Between two commands to join, of which each takes the chip 16 s where it fails. */
#define JOIN_RETRY_MAX (1 * TIMERS_S)
/* For a global IPv6 address, which comes after the join or, without a router for it, never. */
#define JOIN_PATIENCE_IP6 (5 * TIMERS_S)

/* AT+CWJEAP: EAP-TLS, and what <security> is made of */
#define JOIN_EAP_TLS 0
#define JOIN_EAP_OWN_CERTIFICATE 1
#define JOIN_EAP_VERIFY 2

/* dev->step_no */
enum join_step {
	JOIN_BEGIN,
	JOIN_LOOKED, /* for one that was lost: whether it is coming back */
	JOIN_WAITED, /* long enough */
};

enum join_failure {
	JOIN_NO_REASON = 0,
	/* 1..4 are the chip's own */
	JOIN_EAP_TIMEOUT = 5,
};

static const char *join_failure_text(const struct device *dev)
{
	switch (dev->cwjap_code) {
	case 1:
		return "timed out";
	case 2:
		return "wrong password";
	case 3:
		return "no such access point in range";
	case 4:
		return "the access point refused (wrong password, or none where one is needed?)";
	case JOIN_EAP_TIMEOUT:
		return "timed out (no such network in range, or a certificate or the identity was "
		       "not accepted?)";
	default:
		break;
	}
	/* Releases up to 5.0.1 document seven arguments of AT+CWJEAP, without these two. */
	if (device_joins_enterprise(dev) &&
	    (dev->settings->wifi.bssid || dev->settings->wifi.hidden))
		return "the chip gave no reason (its firmware may not know `bssid` and `hidden` "
		       "in an enterprise network)";
	return "the chip gave no reason";
}

static void join_query(struct device *dev);

/* The network that is to be joined; NULL: whatever the chip joins by itself. */
static const char *join_ssid(const struct device *dev)
{
	if (dev->network)
		return dev->network->ssid;
	return dev->settings->has_wifi ? dev->settings->wifi.ssid : NULL;
}

/* Its access point; NULL: any. */
static const char *join_bssid(const struct device *dev)
{
	if (dev->network)
		return dev->network->bssid[0] ? dev->network->bssid : NULL;
	return dev->settings->has_wifi ? dev->settings->wifi.bssid : NULL;
}

static bool join_is_hidden(const struct device *dev)
{
	return dev->network ? dev->network->hidden : dev->settings->wifi.hidden;
}

/* ---- joined ---- */

static void join_ip6_over(struct timer *timer)
{
	struct device *dev = device_of_timer(timer);

	dev_info(dev, "no global IPv6 address so far");
	device_enter_state(dev, DEVICE_CLOCK);
}

static void join_joined(struct device *dev)
{
	dev_info(dev, "joined \"%s\"", dev->ssid);
	if (!dev->wifi.connected || strcmp(dev->wifi.ssid, dev->ssid) != 0) {
		dev->wifi = (struct device_wifi){ .connected = true };
		memcpy(dev->wifi.ssid, dev->ssid, sizeof(dev->ssid));
		device_note(dev, DEVICE_FACT_WIFI);
	}
	requests_joined(dev);
	if (dev->ip6_due && device_wants_ipv6(dev)) {
		device_wait(dev, JOIN_PATIENCE_IP6, join_ip6_over);
		return;
	}
	device_enter_state(dev, DEVICE_CLOCK);
}

/* ---- joining by command ---- */

/* Whoever has asked for this network is told, and what was before is joined again; else false. */
static bool join_refused(struct device *dev, const char *why)
{
	char text[sizeof(dev->error)];

	snprintf(text, sizeof(text), "cannot join Wi-Fi \"%s\": %s",
		 join_ssid(dev) ? join_ssid(dev) : "", why);
	if (!requests_join_failed(dev, DEVICE_E_REFUSED, text))
		return false;
	dev_warning(dev, "%s; going back to what was before", text);
	join_again(dev);
	return true;
}

static void join_patience_over(struct timer *timer)
{
	struct device *dev = device_of_timer(timer);

	/* It has said OK to a join that was asked for, and has no address since. */
	if (dev->network && dev->step_no == JOIN_BEGIN && join_refused(dev, "it gives no address"))
		return;
	dev->step_no = dev->wifi_lost && dev->step_no == JOIN_BEGIN ? JOIN_LOOKED : JOIN_WAITED;
	join_query(dev);
}

static void join_command_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	long code;

	if (at_reply_number(text, len, "+CWJAP:", &code) && code <= 4)
		device_of_cmd(cmd)->cwjap_code = (int)code;
	else if (at_reply_cwjeap_timeout(text, len))
		device_of_cmd(cmd)->cwjap_code = JOIN_EAP_TIMEOUT;
}

static void join_commanded(struct device *dev, enum chan_result result)
{
	if (result == CHAN_E_TIMEOUT)
		return; /* trouble follows */
	if (result != CHAN_OK && join_refused(dev, join_failure_text(dev)))
		return;
	if (result != CHAN_OK) {
		dev->retry_max = JOIN_RETRY_MAX;
		if (join_ssid(dev))
			device_fail(dev, "cannot join Wi-Fi \"%s\": %s", join_ssid(dev),
				    join_failure_text(dev));
		else
			device_fail(dev,
				    "the chip does not join a Wi-Fi network by itself: %s; name "
				    "one with `wifi`",
				    join_failure_text(dev));
		return;
	}
	/*
	 * OK of AT+CWJAP stands behind `WIFI GOT IP` (capture 20); for AT+CWJEAP the documentation
	 * shows neither. Without `wifi` the network's name is yet to be asked for.
	 */
	if (!dev->got_ip) {
		device_wait(dev, JOIN_PATIENCE, join_patience_over);
		return;
	}
	if (!join_ssid(dev)) {
		join_query(dev);
		return;
	}
	dev->cwstate = DEVICE_CWSTATE_CONNECTED;
	dev->joined = true;
	snprintf(dev->ssid, sizeof(dev->ssid), "%s", join_ssid(dev));
	join_joined(dev);
}

/* AT+CWJAP=<ssid>,<password>[,<bssid>,<authmode>,<reconnect>,<listen>,<scan mode>] */
static void join_put_personal(struct device *dev, const char *password)
{
	const char *bssid = join_bssid(dev);
	struct at_line *line = &dev->cmd.line;

	device_begin(dev, "AT+CWJAP");
	dev->cmd.secret = true;
	at_line_string(line, join_ssid(dev));
	at_line_secret_string(line, password);
	if (bssid)
		at_line_string(line, bssid);
	if (!join_is_hidden(dev))
		return;
	/* Scan mode 1: all channels are searched, not only up to the first beacon with the name. */
	for (int i = bssid ? 1 : 0; i < 4; i++)
		at_line_empty(line);
	at_line_int(line, 1);
}

/*
 * AT+CWJEAP=<ssid>,<method>,<identity>,<user>,<password>,<security>
 *           [,<time-out>,<rssi>,<bssid>,<channel>,<scan mode>]
 */
static void join_put_enterprise(struct device *dev)
{
	const struct config_wifi *wifi = &dev->settings->wifi;
	struct at_line *line = &dev->cmd.line;

	device_begin(dev, "AT+CWJEAP");
	at_line_string(line, wifi->ssid);
	at_line_int(line, JOIN_EAP_TLS);
	at_line_string(line, wifi->enterprise.identity);
	at_line_empty(line);
	at_line_empty(line);
	at_line_int(line,
		    JOIN_EAP_OWN_CERTIFICATE | (wifi->enterprise.authority ? JOIN_EAP_VERIFY : 0));
	if (!wifi->bssid && !wifi->hidden)
		return;
	at_line_empty(line);
	at_line_empty(line);
	if (wifi->bssid)
		at_line_string(line, wifi->bssid);
	else
		at_line_empty(line);
	if (!wifi->hidden)
		return;
	at_line_empty(line);
	at_line_int(line, 1);
}

/* Returns false after device_fail(). */
static bool join_put_password(struct device *dev)
{
	const char *file = dev->settings->wifi.password_file;
	char password[72] = "";
	int r = 0;

	if (dev->network) {
		join_put_personal(dev, dev->network->password);
		return true;
	}
	if (file)
		r = dev->ops->secret(dev->userdata, file, password, sizeof(password));
	if (r == 0)
		join_put_personal(dev, password);
	explicit_bzero(password, sizeof(password));
	if (r < 0)
		device_fail(dev, "cannot read the Wi-Fi password from %s: %s", file, strerror(-r));
	return r == 0;
}

static void join_command(struct device *dev)
{
	dev->cwjap_code = JOIN_NO_REASON;
	dev->got_ip = false;
	dev->wifi_changed = false;
	if (!join_ssid(dev)) {
		/* The network that the chip remembers. */
		device_run_plain(dev, "AT+CWJAP", JOIN_TIMEOUT, join_command_line, join_commanded);
		return;
	}
	if (device_joins_enterprise(dev))
		join_put_enterprise(dev);
	else if (!join_put_password(dev))
		return;
	if (at_line_end(&dev->cmd.line) < 0) {
		device_fail(dev,
			    "the Wi-Fi name or password has a character that AT commands cannot "
			    "carry");
		return;
	}
	device_run(dev, JOIN_TIMEOUT, join_command_line, join_commanded);
}

/* ---- what there is ---- */

/* By the chip itself. */
static bool join_is_under_way(const struct device *dev)
{
	return dev->cwstate == DEVICE_CWSTATE_NO_ADDRESS || dev->cwstate == DEVICE_CWSTATE_JOINING;
}

static void join_decide(struct device *dev)
{
	bool joined = dev->joined && dev->cwstate == DEVICE_CWSTATE_CONNECTED;

	if (joined && !dev->wifi_changed) {
		join_joined(dev);
		return;
	}
	if (dev->wifi_changed || (join_ssid(dev) && !dev->wifi_lost) ||
	    dev->step_no == JOIN_WAITED ||
	    (dev->step_no == JOIN_LOOKED && !join_is_under_way(dev))) {
		dev->step_no = JOIN_BEGIN;
		join_command(dev);
	} else if (dev->step_no == JOIN_LOOKED) {
		device_wait(dev, JOIN_PATIENCE - JOIN_PATIENCE_LOST, join_patience_over);
	} else {
		dev_info(dev, "waiting for the chip to join its Wi-Fi network");
		device_wait(dev, dev->wifi_lost ? JOIN_PATIENCE_LOST : JOIN_PATIENCE,
			    join_patience_over);
	}
}

void join_prepared(struct device *dev)
{
	dev->wifi_prepared = true;
	join_decide(dev);
}

static void join_found(struct device *dev, bool joined)
{
	dev->joined = joined;
	if (dev->wifi_prepared)
		join_decide(dev);
	else
		wifi_prepare(dev);
}

static void join_ap_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	struct device *dev = device_of_cmd(cmd);
	const char *wanted = join_bssid(dev);
	char bssid[AT_MAC_MAX + 1];

	if (wanted && at_reply_bssid(text, len, bssid) && strcasecmp(bssid, wanted) == 0)
		dev->joined = true;
}

static void join_ap(struct device *dev, enum chan_result result)
{
	if (result != CHAN_E_TIMEOUT) /* then trouble follows */
		join_found(dev, dev->joined);
}

static void join_queried(struct device *dev, enum chan_result result)
{
	const char *ssid = join_ssid(dev);
	bool joined = result == CHAN_OK && dev->cwstate == DEVICE_CWSTATE_CONNECTED &&
		      (!ssid || strcmp(dev->ssid, ssid) == 0);

	if (result == CHAN_E_TIMEOUT)
		return; /* trouble follows */
	if (!joined || !join_bssid(dev)) {
		join_found(dev, joined);
		return;
	}
	dev->joined = false;
	device_run_plain(dev, "AT+CWJAP?", DEVICE_TIMEOUT, join_ap_line, join_ap);
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
	bool waits = dev->state == DEVICE_JOINING && timer_armed(&dev->timer);

	switch (report->type) {
	case AT_REPORT_WIFI_DISCONNECT:
		dev->wifi_lost = true;
		dev->cwstate = -1;
		dev->ip6_due = true;
		wifi_forget(dev);
		if (dev->state == DEVICE_READY)
			device_enter_state(dev, DEVICE_JOINING);
		return;
	case AT_REPORT_WIFI_GOT_IP:
		dev->got_ip = true;
		dev->ip6_due = true;
		/* The patience is over sooner; a command under way ends by itself. */
		if (waits)
			join_query(dev);
		if (dev->state == DEVICE_READY)
			sample_soon(dev); /* it may be another address */
		if (dev->state == DEVICE_OFFLINE) {
			dev_notice(dev, "somebody has made the chip join a network, going on");
			dev->offline = false;
			dev->wifi_lost = false;
			device_enter_state(dev, DEVICE_JOINING);
		}
		return;
	case AT_REPORT_WIFI_GOT_IP6:
		dev->ip6_due = false;
		if (waits && dev->timer.fn == join_ip6_over)
			device_enter_state(dev, DEVICE_CLOCK);
		return;
	default:
		return;
	}
}

/* ---- another network, or none ---- */

void wifi_forget(struct device *dev)
{
	bool known = dev->wifi.connected;

	dev->wifi = (struct device_wifi){ 0 };
	if (known)
		device_note(dev, DEVICE_FACT_WIFI);
}

void join_again(struct device *dev)
{
	/* "The last network" would be the one that was asked for: only a reset brings its own back. */
	bool own = !dev->offline && !join_ssid(dev);

	/* Its addresses and name servers may be others; and it is joined, whatever there is now. */
	dev->wifi_prepared = false;
	dev->wifi_changed = !own;
	switch (dev->state) {
	case DEVICE_READY:
	case DEVICE_OFFLINE:
	case DEVICE_JOINING:
	case DEVICE_CLOCK:
		if (dev->cmd.phase == CHAN_PHASE_IDLE)
			join_is_due(dev);
		else
			dev->join_due = true;
		return;
	case DEVICE_FAILED:
		/* Perhaps because of the network that nobody wants any more. */
		device_start_over(dev, own);
		return;
	case DEVICE_PROBING:
	case DEVICE_IDENTIFYING:
	case DEVICE_CONFIGURING:
	case DEVICE_TUNING:
	case DEVICE_PROVISIONING:
		/* Else the bring-up gets there. */
		if (own)
			device_start_over(dev, true);
		return;
	case DEVICE_ABSENT:
	case DEVICE_UNKNOWN_CHIP:
	case DEVICE_PROVISIONED:
		return;
	}
}

void join_is_due(struct device *dev)
{
	dev->join_due = false;
	dev->wifi_lost = false;
	dev->refreshing = false;
	if (!dev->offline && !join_ssid(dev))
		device_start_over(dev, true);
	else
		device_enter_state(dev, DEVICE_JOINING);
}

static void leave_done(struct device *dev, enum chan_result result)
{
	if (result == CHAN_E_TIMEOUT)
		return; /* trouble follows */
	dev->wifi_lost = true;
	/* Links that the firmware keeps for when it comes back are of no use. */
	for (int i = 0; i < AT_LINKS; i++)
		if (dev->links[i].state == LINK_OPEN)
			link_abort(&dev->links[i], LINK_END_WIFI);
	dev->cwstate = -1;
	wifi_forget(dev);
	requests_left(dev);
	/* Whoever was told may have another wish, but it comes to that later. */
	device_enter_state(dev, DEVICE_OFFLINE);
}

void join_start(struct device *dev)
{
	if (dev->offline) {
		device_run_plain(dev, "AT+CWQAP", DEVICE_TIMEOUT_FLASH, NULL, leave_done);
		return;
	}
	if (dev->wifi_lost)
		dev_warning(dev, "Wi-Fi is gone");
	/* The chip judges the network's server by its clock, which starts at 1970. */
	if (device_joins_enterprise(dev) && !dev->clock_done) {
		device_enter_state(dev, DEVICE_CLOCK);
		return;
	}
	dev->step_no = JOIN_BEGIN;
	join_query(dev);
}
