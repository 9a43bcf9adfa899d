/* SPDX-License-Identifier: MIT */
/* org.espat1.Wifi */
#include <string.h>

#include "bus/bus-device.h"
#include "bus/bus-request.h"
#include "bus/bus-text.h"
#include "config/syntax.h"
#include "device/device.h"
#include "device/request.h"

/* AT+CWJAP's password, as that of a file (espatd.conf(5), password_file). */
#define PASSWORD_MAX 64

/* ---- properties ---- */

static void get_ssid(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret, device_wifi(object->dev)->ssid);
}

static void get_bssid(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret, device_wifi(object->dev)->bssid);
}

static void get_channel(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_u32(ret, device_wifi(object->dev)->channel);
}

static void get_rssi(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_i32(ret, device_wifi(object->dev)->rssi);
}

static void get_address(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret, device_wifi(object->dev)->address);
}

static void get_connected(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_bool(ret, device_wifi(object->dev)->connected);
}

const struct bus_property bus_wifi_properties[] = {
	{ "Ssid", true, get_ssid },
	{ "Bssid", true, get_bssid },
	{ "Channel", true, get_channel },
	{ "Rssi", true, get_rssi },
	{ "Address", true, get_address },
	{ "Connected", true, get_connected },
	{ .name = NULL },
};

/* ---- Scan ---- */

static int append_network(sd_bus_message *m, const struct device_ap *ap)
{
	int r = sd_bus_message_open_container(m, 'a', "{sv}");

	if (r >= 0)
		r = bus_append_text_entry(m, "Ssid", ap->ssid);
	if (r >= 0)
		r = bus_append_text_entry(m, "Bssid", ap->bssid);
	if (r >= 0)
		r = bus_append_entry(m, "Rssi", "i", (int32_t)ap->rssi);
	if (r >= 0)
		r = bus_append_entry(m, "Channel", "u", (uint32_t)ap->channel);
	if (r >= 0)
		r = bus_append_text_entry(m, "Security", ap->security);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static void scan_done(void *userdata, enum device_result result, const struct device_answer *answer)
{
	struct bus_request *req = userdata;
	sd_bus_message *reply = NULL;
	int r;

	if (!bus_request_is_good(req, result, answer))
		return;
	r = sd_bus_message_new_method_return(req->message, &reply);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "a{sv}");
	for (size_t i = 0; r >= 0 && i < answer->n_aps; i++)
		r = append_network(reply, &answer->aps[i]);
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	bus_request_reply(req, reply, r);
}

static void run_scan(struct bus_request *req)
{
	bus_request_start(req, device_scan, scan_done);
}

static const struct bus_method method_scan = {
	.action = BUS_ACTION_MANAGE,
	.run = run_scan,
};
BUS_HANDLER(scan)

/* ---- Join, Leave ---- */

static int parse_join_option(void *userdata, sd_bus_message *m, const struct bus_option *option,
			     struct bus_failure *failure)
{
	struct bus_args *args = userdata;
	const char *expected;

	if (strcmp(option->key, "hidden") == 0)
		return bus_option_bool(m, option, &args->hidden, failure);
	if (strcmp(option->key, "bssid") != 0)
		return bus_option_unknown(option, "bssid or hidden", failure);
	if (bus_option_string(m, option, &args->bssid, failure) < 0)
		return -1;
	expected = syntax_mac(args->bssid);
	if (expected)
		return bus_fail(failure, BUS_E_INVALID_ARGUMENT, "bssid: expected %s", expected);
	return 0;
}

static int parse_join(struct bus_request *req, sd_bus_message *m, struct bus_failure *failure)
{
	const char *expected;

	if (bus_read_string(m, &req->args.text, "ssid", AT_SSID_MAX, BUS_E_INVALID_ARGUMENT,
			    failure) < 0)
		return -1;
	/* None: back to the configured network, if the device can go there. */
	expected = req->args.text[0] ? syntax_ssid(req->args.text) : NULL;
	if (expected)
		return bus_fail(failure, BUS_E_INVALID_ARGUMENT, "ssid: expected %s", expected);
	if (bus_read_fd(m, &req->args.fd, failure) < 0)
		return -1;
	return bus_read_options(m, parse_join_option, &req->args, failure);
}

static void run_join(struct bus_request *req)
{
	const struct device_join join = {
		.ssid = req->args.text,
		.password = req->input.data,
		.bssid = req->args.bssid,
		.hidden = req->args.hidden,
	};
	struct bus_object *object;

	if (req->input.len > PASSWORD_MAX || memchr(req->input.data, '\0', req->input.len)) {
		bus_request_fail(req, BUS_E_INVALID_ARGUMENT,
				 "the password: expected a line of at most %d bytes without NUL",
				 PASSWORD_MAX);
		return;
	}
	object = bus_request_object(req);
	if (object)
		bus_request_started(req, object,
				    device_join(object->dev, &join, bus_request_device_done, req,
						&req->device_request));
}

static const struct bus_method method_join = {
	.action = BUS_ACTION_MANAGE,
	.parse = parse_join,
	.run = run_join,
	.reads = true,
	.end = BUS_FD_LINE,
};
BUS_HANDLER(join)

static void run_leave(struct bus_request *req)
{
	bus_request_start(req, device_leave, bus_request_device_done);
}

static const struct bus_method method_leave = {
	.action = BUS_ACTION_MANAGE,
	.run = run_leave,
};
BUS_HANDLER(leave)

const sd_bus_vtable bus_wifi_vtable[] = {
	SD_BUS_VTABLE_START(0),
	BUS_METHOD("Scan", "", "", "aa{sv}", SD_BUS_PARAM(networks), on_scan),
	BUS_METHOD("Join", "sha{sv}",
		   SD_BUS_PARAM(ssid) SD_BUS_PARAM(password_fd) SD_BUS_PARAM(options), "", "",
		   on_join),
	BUS_METHOD("Leave", "", "", "", "", on_leave),
	BUS_PROPERTY("Ssid", "s", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("Bssid", "s", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("Channel", "u", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("Rssi", "i", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("Address", "s", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("Connected", "b", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_VTABLE_END,
};
