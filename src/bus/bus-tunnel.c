/* SPDX-License-Identifier: MIT */
/* org.espat1.Tunnel */
#include "bus/bus-request.h"
#include "bus/bus-text.h"
#include "bus/internal.h"
#include "tunnel/tunnel.h"

void bus_tunnel_tell_failure(const struct bus_object *object, const char *reason, const char *text)
{
	char clean[BUS_VALUE_MAX + 1];

	bus_utf8(clean, sizeof(clean), text);
	sd_bus_emit_signal(object->bus->sd, object->path, "org.espat1.Tunnel", "ConnectionFailed",
			   "ss", reason, clean);
}

/* ---- properties ---- */

static void get_name(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret, object->tunnel->config->name);
}

static void get_device(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret, config_tunnel_device(object->tunnel->config));
}

static void get_host(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret, object->tunnel->config->host);
}

static void get_port(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_u16(ret, (uint16_t)object->tunnel->config->port);
}

static void get_socket_path(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret, tunnel_path(object->tunnel));
}

static void get_verified(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_bool(ret, !object->tunnel->config->insecure);
}

static void get_origin(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret,
			 object->bus->ops->tunnel_origin(object->bus->userdata, object->tunnel));
}

static void get_state(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret, tunnel_state_name(tunnel_state(object->tunnel)));
}

static void get_clients(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_u32(ret, tunnel_clients(object->tunnel));
}

static void get_waiting(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_u32(ret, tunnel_waiting(object->tunnel));
}

static void get_bytes_sent(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_u64(ret, object->tunnel->sent);
}

static void get_bytes_received(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_u64(ret, object->tunnel->received);
}

static void get_connects(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_u64(ret, object->tunnel->connects);
}

static void get_failures(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_u64(ret, object->tunnel->failures);
}

static void get_aborted(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_u64(ret, object->tunnel->aborted);
}

static void get_last_error(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret, tunnel_error(object->tunnel));
}

static void get_last_error_reason(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret, tunnel_error_reason(object->tunnel));
}

static const struct bus_property tunnel_properties[] = {
	{ "Name", false, get_name },
	{ "Device", true, get_device },
	{ "Host", true, get_host },
	{ "Port", true, get_port },
	{ "SocketPath", true, get_socket_path },
	{ "Verified", true, get_verified },
	{ "Origin", true, get_origin },
	{ "State", true, get_state },
	{ "Clients", true, get_clients },
	{ "Waiting", true, get_waiting },
	{ "BytesSent", false, get_bytes_sent },
	{ "BytesReceived", false, get_bytes_received },
	{ "Connects", true, get_connects },
	{ "Failures", true, get_failures },
	{ "Aborted", true, get_aborted },
	{ "LastError", true, get_last_error },
	{ "LastErrorReason", true, get_last_error_reason },
	{ .name = NULL },
};

/* ---- methods ---- */

static void run_disconnect(struct bus_request *req)
{
	struct bus_object *object = bus_request_object(req);
	sd_bus_message *reply = NULL;
	unsigned int clients;
	int r;

	if (!object)
		return;
	clients = tunnel_disconnect(object->tunnel, "disconnected by an administrator");
	r = sd_bus_message_new_method_return(req->message, &reply);
	if (r >= 0)
		r = sd_bus_message_append(reply, "u", (uint32_t)clients);
	bus_request_reply(req, reply, r);
}

static const struct bus_method method_disconnect = {
	.action = BUS_ACTION_MANAGE,
	.run = run_disconnect,
};
BUS_HANDLER(disconnect)

static const sd_bus_vtable tunnel_vtable[] = {
	SD_BUS_VTABLE_START(0),
	BUS_METHOD("Disconnect", "", "", "u", SD_BUS_PARAM(clients), on_disconnect),
	BUS_PROPERTY("Name", "s", SD_BUS_VTABLE_PROPERTY_CONST),
	BUS_PROPERTY("Device", "s", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("Host", "s", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("Port", "q", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("SocketPath", "s", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("Verified", "b", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("Origin", "s", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("State", "s", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("Clients", "u", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("Waiting", "u", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("BytesSent", "t", 0),
	BUS_PROPERTY("BytesReceived", "t", 0),
	BUS_PROPERTY("Connects", "t", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("Failures", "t", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("Aborted", "t", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("LastError", "s", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	BUS_PROPERTY("LastErrorReason", "s", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_SIGNAL_WITH_NAMES("ConnectionFailed", "ss", SD_BUS_PARAM(reason) SD_BUS_PARAM(text),
				 0),
	SD_BUS_VTABLE_END,
};

const struct bus_interface bus_tunnel_interfaces[] = {
	{ "org.espat1.Tunnel", tunnel_vtable, tunnel_properties },
	{ .name = NULL },
};
