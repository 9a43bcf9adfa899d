/* SPDX-License-Identifier: MIT */
/* org.espat1.Device */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "bus/bus-device.h"
#include "bus/bus-request.h"
#include "bus/bus-text.h"
#include "bus/internal.h"
#include "device/device.h"
#include "device/request.h"

/* ---- properties ---- */

static void get_name(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret, object->dev->settings->name);
}

static void get_port(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret, object->dev->settings->port);
}

static void get_state(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret, device_state_name(object->dev->state));
}

static void get_model(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret, object->dev->version.chip);
}

static void get_firmware(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret, object->dev->firmware);
}

static void get_core(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret, object->dev->version.core);
}

static void get_mac(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret, object->dev->mac);
}

static void get_baud(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_u32(ret, object->bus->ops->device_baud(object->bus->userdata, object->dev));
}

static void get_flow_control(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret, object->dev->rtscts ? "rtscts" : "none");
}

static void get_flow_control_error(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret, device_flow_error(object->dev));
}

static void get_links(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_u32(ret, AT_LINKS);
}

static void get_links_in_use(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_u32(ret, device_links_in_use(object->dev));
}

static void get_free_heap(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_u32(ret, device_free_heap(object->dev));
}

static void get_clock(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret, device_clock_source(object->dev));
}

static void get_resets(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_u64(ret, device_resets(object->dev));
}

static void get_flash_writes(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_u64(ret, device_flash_writes(object->dev));
}

static void get_last_error(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret, object->dev->error);
}

static const struct bus_property device_properties[] = {
	{ "Name", false, get_name },
	{ "Port", true, get_port },
	{ "State", true, get_state },
	{ "Model", true, get_model },
	{ "Firmware", true, get_firmware },
	{ "Core", true, get_core },
	{ "Mac", true, get_mac },
	{ "Baud", true, get_baud },
	{ "FlowControl", true, get_flow_control },
	{ "FlowControlError", true, get_flow_control_error },
	{ "Links", false, get_links },
	{ "LinksInUse", true, get_links_in_use },
	{ "FreeHeap", true, get_free_heap },
	{ "Clock", true, get_clock },
	{ "Resets", true, get_resets },
	{ "FlashWrites", true, get_flash_writes },
	{ "LastError", true, get_last_error },
	{ .name = NULL },
};

/* ---- methods without arguments ---- */

static void run_reset(struct bus_request *req)
{
	bus_request_start(req, device_reset, bus_request_device_done);
}

static const struct bus_method method_reset = {
	.action = BUS_ACTION_MANAGE,
	.run = run_reset,
};
BUS_HANDLER(reset)

static void run_reprobe(struct bus_request *req)
{
	bus_request_start(req, device_reprobe, bus_request_device_done);
}

static const struct bus_method method_reprobe = {
	.action = BUS_ACTION_MANAGE,
	.run = run_reprobe,
};
BUS_HANDLER(reprobe)

static void run_sync_time(struct bus_request *req)
{
	bus_request_start(req, device_set_clock, bus_request_device_done);
}

static const struct bus_method method_sync_time = {
	.action = BUS_ACTION_MANAGE,
	.run = run_sync_time,
};
BUS_HANDLER(sync_time)

static void run_adopt(struct bus_request *req)
{
	struct bus_object *object = bus_request_object(req);
	struct bus_failure failure;
	int r;

	if (!object)
		return;
	r = req->bus->ops->adopt(req->bus->userdata, object->dev, &failure);
	bus_request_done(req, r, &failure);
}

static const struct bus_method method_adopt = {
	.action = BUS_ACTION_TRUST,
	.run = run_adopt,
};
BUS_HANDLER(adopt)

/* ---- Command ---- */

static int check_command(struct bus *bus, const char *line, struct bus_failure *failure)
{
	const char *why;

	switch (device_command_class(line)) {
	case DEVICE_COMMAND_HARMLESS:
		return 0;
	case DEVICE_COMMAND_RAW:
		if (bus->ops->raw_commands(bus->userdata))
			return 0;
		return bus_fail(failure, BUS_E_COMMAND_NOT_ALLOWED,
				"this command could change something: it takes raw_commands = true "
				"in the configuration");
	case DEVICE_COMMAND_NEVER:
		break;
	}
	why = device_command_refusal(line);
	return bus_fail(failure, BUS_E_COMMAND_NOT_ALLOWED, "this command is never sent: %s",
			why ? why : "it could tell a secret");
}

static int parse_command(struct bus_request *req, sd_bus_message *m, struct bus_failure *failure)
{
	if (bus_read_string(m, &req->args.text, "line", CONFIG_COMMAND_MAX,
			    BUS_E_COMMAND_NOT_ALLOWED, failure) < 0)
		return -1;
	return check_command(req->bus, req->args.text, failure);
}

static void run_command(struct bus_request *req)
{
	struct bus_object *object = bus_request_object(req);
	struct bus_failure failure;
	int r;

	if (!object)
		return;
	/* The configuration may be another one by now. */
	if (check_command(req->bus, req->args.text, &failure) < 0) {
		bus_request_finish(req, &failure);
		return;
	}
	r = device_command(object->dev, req->args.text, bus_request_lines_done, req,
			   &req->device_request);
	bus_request_started(req, object, r);
}

/* All of them are raw: a query, too, takes the chip's time. */
static const struct bus_method method_command = {
	.action = BUS_ACTION_RAW,
	.parse = parse_command,
	.run = run_command,
};
BUS_HANDLER(command)

/* ---- the trace ---- */

/* What one may ask for, beside 0, the usual limit: see src/daemon/trace.h. */
#define TRACE_BYTES_MIN 4096
#define TRACE_BYTES_MAX (1ll << 30)
#define TRACE_SECONDS_MAX 86400

static int parse_limit(void *userdata, sd_bus_message *m, const struct bus_option *option,
		       struct bus_failure *failure)
{
	struct bus_args *args = userdata;
	bool bytes = strcmp(option->key, "max_bytes") == 0;
	long long min = bytes ? TRACE_BYTES_MIN : 1;
	long long max = bytes ? TRACE_BYTES_MAX : TRACE_SECONDS_MAX;
	long long value;

	if (!bytes && strcmp(option->key, "max_seconds") != 0)
		return bus_option_unknown(option, "max_bytes or max_seconds", failure);
	if (bus_option_int(m, option, &value, failure) < 0)
		return -1;
	if (value != 0 && (value < min || value > max))
		return bus_fail(failure, BUS_E_INVALID_ARGUMENT, "%s: %lld, expected %lld to %lld",
				option->key, value, min, max);
	if (bytes)
		args->max_bytes = (uint64_t)value;
	else
		args->max_seconds = (unsigned int)value;
	return 0;
}

static int parse_start_trace(struct bus_request *req, sd_bus_message *m,
			     struct bus_failure *failure)
{
	int flags;

	if (bus_read_fd(m, &req->args.fd, failure) < 0)
		return -1;
	flags = fcntl(req->args.fd, F_GETFL);
	if (flags < 0 || (flags & O_PATH) || (flags & O_ACCMODE) == O_RDONLY)
		return bus_fail(failure, BUS_E_BAD_DESCRIPTOR,
				"the file descriptor: expected one that is open for writing");
	return bus_read_options(m, parse_limit, &req->args, failure);
}

static void run_start_trace(struct bus_request *req)
{
	struct bus_object *object = bus_request_object(req);
	struct bus_failure failure;
	int r;

	if (!object)
		return;
	r = req->bus->ops->start_trace(req->bus->userdata, object->dev, req->args.fd,
				       req->args.max_bytes, req->args.max_seconds, &failure);
	/* It is taken. */
	if (r == 0)
		req->args.fd = -1;
	bus_request_done(req, r, &failure);
}

static const struct bus_method method_start_trace = {
	.action = BUS_ACTION_RAW,
	.parse = parse_start_trace,
	.run = run_start_trace,
};
BUS_HANDLER(start_trace)

static void run_stop_trace(struct bus_request *req)
{
	struct bus_object *object = bus_request_object(req);
	struct bus_failure failure;
	int r;

	if (!object)
		return;
	r = req->bus->ops->stop_trace(req->bus->userdata, object->dev, &failure);
	bus_request_done(req, r, &failure);
}

static const struct bus_method method_stop_trace = {
	.action = BUS_ACTION_RAW,
	.run = run_stop_trace,
};
BUS_HANDLER(stop_trace)

static const sd_bus_vtable device_vtable[] = {
	SD_BUS_VTABLE_START(0),
	BUS_METHOD("Reset", "", "", "", "", on_reset),
	BUS_METHOD("Reprobe", "", "", "", "", on_reprobe),
	BUS_METHOD("SyncTime", "", "", "", "", on_sync_time),
	BUS_METHOD("Adopt", "", "", "", "", on_adopt),
	BUS_METHOD("Command", "s", SD_BUS_PARAM(line), "as", SD_BUS_PARAM(answer), on_command),
	BUS_METHOD("StartTrace", "ha{sv}", SD_BUS_PARAM(fd) SD_BUS_PARAM(limits), "", "",
		   on_start_trace),
	BUS_METHOD("StopTrace", "", "", "", "", on_stop_trace),
	BUS_PROPERTY("Name", "s", SD_BUS_VTABLE_PROPERTY_CONST),
	BUS_PROPERTY("Port", "s", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("State", "s", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("Model", "s", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("Firmware", "s", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("Core", "s", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("Mac", "s", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("Baud", "u", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("FlowControl", "s", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("FlowControlError", "s", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("Links", "u", SD_BUS_VTABLE_PROPERTY_CONST),
	BUS_PROPERTY("LinksInUse", "u", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("FreeHeap", "u", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("Clock", "s", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("Resets", "t", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("FlashWrites", "t", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("LastError", "s", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_VTABLE_END,
};

const struct bus_interface bus_device_interfaces[] = {
	{ "org.espat1.Device", device_vtable, device_properties },
	{ "org.espat1.Wifi", bus_wifi_vtable, bus_wifi_properties },
	{ "org.espat1.Certificates", bus_certificates_vtable, bus_certificates_properties },
	{ .name = NULL },
};
