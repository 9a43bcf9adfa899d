/* SPDX-License-Identifier: MIT */
/* org.espat1.Manager */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bus/bus-request.h"
#include "bus/bus-text.h"
#include "bus/internal.h"
#include "config/syntax.h"
#include "config/text.h"
#include "device/device.h"
#include "tunnel/tunnel.h"
#include "util/log.h"

/* Items of an array in a tunnel's options; ciphers may have 16, lists of users more. */
#define OPTION_ITEMS_MAX 64
/* "authority:" or "identity:" and a name */
#define ROLLBACK_NAME_MAX (CONFIG_NAME_MAX + 10)
#define LEVEL_NAME_MAX 16

/* ---- properties ---- */

static void get_version(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret, ESPATD_VERSION);
}

static void get_log_level(const struct bus_object *object, struct bus_value *ret)
{
	bus_value_string(ret, log_level_name(log_get_level()));
}

static const struct bus_property manager_properties[] = {
	{ "Version", false, get_version },
	{ "LogLevel", true, get_log_level },
	{ .name = NULL },
};

/* ---- what there is ---- */

static int reply_objects(sd_bus_message *m, struct list *list)
{
	sd_bus_message *reply = NULL;
	int r;

	r = sd_bus_message_new_method_return(m, &reply);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "(so)");
	list_for_each(it, list) {
		struct bus_object *object = container_of(it, struct bus_object, node);

		if (r >= 0)
			r = sd_bus_message_append(reply, "(so)", bus_object_name(object),
						  object->path);
	}
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	return bus_send_reply(m, reply, r);
}

static int on_list_devices(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct bus_object *manager = userdata;

	return reply_objects(m, &manager->bus->devices);
}

static int on_list_tunnels(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct bus_object *manager = userdata;

	return reply_objects(m, &manager->bus->tunnels);
}

/* The path of @object is the answer to @m. Returns 0 or -errno; *ret is to be given on in either case. */
static int make_path_reply(sd_bus_message *m, const struct bus_object *object, sd_bus_message **ret)
{
	int r = sd_bus_message_new_method_return(m, ret);

	return r < 0 ? r : sd_bus_message_append(*ret, "o", object->path);
}

static int reply_object(sd_bus_message *m, struct bus *bus, enum bus_object_kind kind)
{
	const char *what = kind == BUS_DEVICE ? "device" : "tunnel";
	enum bus_error no_such = kind == BUS_DEVICE ? BUS_E_NO_SUCH_DEVICE : BUS_E_NO_SUCH_TUNNEL;
	struct bus_object *object;
	struct bus_failure failure;
	sd_bus_message *reply = NULL;
	const char *name;
	int r;

	bus_reading_begins(bus);
	r = bus_read_known_name(m, &name, no_such, what, &failure);
	bus_reading_ends(bus);
	if (r < 0)
		return bus_reply_failure(m, &failure);
	object = bus_find(bus, kind, name);
	if (!object) {
		bus_fail(&failure, no_such, "no %s has the name \"%s\"", what, name);
		return bus_reply_failure(m, &failure);
	}
	r = make_path_reply(m, object, &reply);
	return bus_send_reply(m, reply, r);
}

static int on_get_device(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct bus_object *manager = userdata;

	return reply_object(m, manager->bus, BUS_DEVICE);
}

static int on_get_tunnel(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct bus_object *manager = userdata;

	return reply_object(m, manager->bus, BUS_TUNNEL);
}

/* ---- tunnels ---- */

struct tunnel_options {
	struct config_writer *writer;
	bool persist;
};

static int write_strings(struct config_writer *writer, sd_bus_message *m,
			 const struct bus_option *option, struct bus_failure *failure)
{
	const char *items[OPTION_ITEMS_MAX];
	size_t n = 0;
	int r;

	sd_bus_message_enter_container(m, 'a', "s");
	while ((r = sd_bus_message_at_end(m, 0)) == 0) {
		if (n == OPTION_ITEMS_MAX)
			return bus_fail(failure, BUS_E_INVALID_ARGUMENT,
					"%s: expected at most %d items", option->key,
					OPTION_ITEMS_MAX);
		if (bus_read_string(m, &items[n++], option->key, BUS_OPTION_STRING_MAX,
				    BUS_E_INVALID_ARGUMENT, failure) < 0)
			return -1;
	}
	sd_bus_message_exit_container(m);
	config_write_strings(writer, option->key, items, n);
	return 0;
}

static int write_ints(struct config_writer *writer, sd_bus_message *m,
		      const struct bus_option *option, struct bus_failure *failure)
{
	bool is_signed = option->type[1] == 'i';
	long long items[OPTION_ITEMS_MAX];
	const void *data = NULL;
	size_t size, n;

	if (sd_bus_message_read_array(m, option->type[1], &data, &size) < 0)
		return bus_fail(failure, BUS_E_INVALID_ARGUMENT, "%s: cannot be read", option->key);
	n = size / sizeof(uint32_t);
	if (n > OPTION_ITEMS_MAX)
		return bus_fail(failure, BUS_E_INVALID_ARGUMENT, "%s: expected at most %d items",
				option->key, OPTION_ITEMS_MAX);
	for (size_t i = 0; i < n; i++) {
		if (is_signed)
			items[i] = ((const int32_t *)data)[i];
		else
			items[i] = ((const uint32_t *)data)[i];
	}
	config_write_ints(writer, option->key, items, n);
	return 0;
}

static int write_string(struct config_writer *writer, sd_bus_message *m,
			const struct bus_option *option, struct bus_failure *failure)
{
	const char *value;

	if (bus_option_string(m, option, &value, failure) < 0)
		return -1;
	config_write_string(writer, option->key, value);
	return 0;
}

static int write_bool(struct config_writer *writer, sd_bus_message *m,
		      const struct bus_option *option, struct bus_failure *failure)
{
	bool value;

	if (bus_option_bool(m, option, &value, failure) < 0)
		return -1;
	config_write_bool(writer, option->key, value);
	return 0;
}

static int write_int(struct config_writer *writer, sd_bus_message *m,
		     const struct bus_option *option, struct bus_failure *failure)
{
	long long value;

	if (bus_option_int(m, option, &value, failure) < 0)
		return -1;
	config_write_int(writer, option->key, value);
	return 0;
}

/* The configuration knows its keys; here are only those that are none of a tunnel on the bus. */
static int write_tunnel_option(void *userdata, sd_bus_message *m, const struct bus_option *option,
			       struct bus_failure *failure)
{
	struct tunnel_options *options = userdata;

	if (strcmp(option->key, "persist") == 0)
		return bus_option_bool(m, option, &options->persist, failure);
	if (strcmp(option->key, "name") == 0)
		return bus_fail(failure, BUS_E_INVALID_ARGUMENT,
				"name: expected as the first argument only");
	if (strcmp(option->key, "psk") == 0)
		return bus_fail(failure, BUS_E_INVALID_ARGUMENT,
				"psk: expected in a file of the configuration only");
	if (strcmp(option->type, "s") == 0)
		return write_string(options->writer, m, option, failure);
	if (strcmp(option->type, "b") == 0)
		return write_bool(options->writer, m, option, failure);
	if (strcmp(option->type, "as") == 0)
		return write_strings(options->writer, m, option, failure);
	if (strcmp(option->type, "ai") == 0 || strcmp(option->type, "au") == 0)
		return write_ints(options->writer, m, option, failure);
	return write_int(options->writer, m, option, failure);
}

static int finish_text(struct config_writer *writer, char **ret, struct bus_failure *failure)
{
	int r = config_writer_finish(writer, ret);

	if (r == -EINVAL)
		return bus_fail(failure, BUS_E_INVALID_ARGUMENT,
				"options: a key that stands there twice, or is none, or a string "
				"that the configuration cannot have");
	return r < 0 ? bus_fail(failure, BUS_E_NO_MEMORY, "out of memory") : 0;
}

static int parse_create_tunnel(struct bus_request *req, sd_bus_message *m,
			       struct bus_failure *failure)
{
	struct tunnel_options options = { 0 };
	int r;

	if (bus_read_name(m, &req->args.name, failure) < 0)
		return -1;
	if (config_writer_new(&options.writer, "tunnels") < 0)
		return bus_fail(failure, BUS_E_NO_MEMORY, "out of memory");
	config_write_string(options.writer, "name", req->args.name);
	r = bus_read_options(m, write_tunnel_option, &options, failure);
	if (r == 0)
		r = finish_text(options.writer, &req->args.config_text, failure);
	config_writer_free(options.writer);
	req->args.persist = options.persist;
	return r;
}

static void run_create_tunnel(struct bus_request *req)
{
	struct bus *bus = req->bus;
	const struct bus_object *object;
	struct bus_failure failure;
	sd_bus_message *reply = NULL;
	int r;

	if (bus->ops->create_tunnel(bus->userdata, req->args.name, req->args.config_text,
				    req->args.persist, &failure) < 0) {
		bus_request_finish(req, &failure);
		return;
	}
	object = bus_find(bus, BUS_TUNNEL, req->args.name);
	if (!object) {
		bus_request_fail(req, BUS_E_FAILED, "%s: it was made, and has gone again",
				 req->args.name);
		return;
	}
	r = make_path_reply(req->message, object, &reply);
	bus_request_reply(req, reply, r);
}

static const struct bus_method method_create_tunnel = {
	.action = BUS_ACTION_MANAGE,
	.parse = parse_create_tunnel,
	.run = run_create_tunnel,
};
BUS_HANDLER(create_tunnel)

static int parse_tunnel(struct bus_request *req, sd_bus_message *m, struct bus_failure *failure)
{
	return bus_read_known_name(m, &req->args.name, BUS_E_NO_SUCH_TUNNEL, "tunnel", failure);
}

static void run_remove_tunnel(struct bus_request *req)
{
	struct bus *bus = req->bus;
	struct bus_failure failure;
	int r = bus->ops->remove_tunnel(bus->userdata, req->args.name, &failure);

	bus_request_done(req, r, &failure);
}

static const struct bus_method method_remove_tunnel = {
	.action = BUS_ACTION_MANAGE,
	.parse = parse_tunnel,
	.run = run_remove_tunnel,
};
BUS_HANDLER(remove_tunnel)

/* ---- authorities and identities ---- */

static int parse_set(struct bus_request *req, sd_bus_message *m, const char *what,
		     struct bus_failure *failure)
{
	if (bus_read_name(m, &req->args.name, failure) < 0)
		return -1;
	return bus_read_pem(m, &req->args.text, what, failure);
}

static int parse_set_authority(struct bus_request *req, sd_bus_message *m,
			       struct bus_failure *failure)
{
	return parse_set(req, m, "pem", failure);
}

static int parse_set_identity(struct bus_request *req, sd_bus_message *m,
			      struct bus_failure *failure)
{
	if (parse_set(req, m, "cert_pem", failure) < 0)
		return -1;
	return bus_read_fd(m, &req->args.fd, failure);
}

/* After one of the ops: if it has begun, @req may be answered and gone already. */
static void change_begun(struct bus_request *req, int r, const struct bus_failure *failure)
{
	if (r == 0)
		return;
	req->changing = false;
	bus_request_finish(req, failure);
}

static void set_material(struct bus_request *req, enum store_kind kind)
{
	struct bus *bus = req->bus;
	struct bus_failure failure;

	req->changing = true;
	change_begun(req,
		     bus->ops->set_material(bus->userdata, kind, req->args.name, req->args.text,
					    strlen(req->args.text), req->input.data, req->input.len,
					    bus_request_change_done, req, &failure),
		     &failure);
}

static void run_set_authority(struct bus_request *req)
{
	set_material(req, STORE_AUTHORITY);
}

static const struct bus_method method_set_authority = {
	.action = BUS_ACTION_TRUST,
	.parse = parse_set_authority,
	.run = run_set_authority,
};
BUS_HANDLER(set_authority)

static void run_set_identity(struct bus_request *req)
{
	set_material(req, STORE_IDENTITY);
}

static const struct bus_method method_set_identity = {
	.action = BUS_ACTION_TRUST,
	.parse = parse_set_identity,
	.run = run_set_identity,
	.reads = true,
	.end = BUS_FD_ALL,
};
BUS_HANDLER(set_identity)

static void remove_material(struct bus_request *req, enum store_kind kind)
{
	struct bus *bus = req->bus;
	struct bus_failure failure;

	req->changing = true;
	change_begun(req,
		     bus->ops->remove_material(bus->userdata, kind, req->args.name,
					       bus_request_change_done, req, &failure),
		     &failure);
}

static int parse_authority(struct bus_request *req, sd_bus_message *m, struct bus_failure *failure)
{
	return bus_read_known_name(m, &req->args.name, BUS_E_NO_SUCH_AUTHORITY, "authority",
				   failure);
}

static void run_remove_authority(struct bus_request *req)
{
	remove_material(req, STORE_AUTHORITY);
}

static const struct bus_method method_remove_authority = {
	.action = BUS_ACTION_TRUST,
	.parse = parse_authority,
	.run = run_remove_authority,
};
BUS_HANDLER(remove_authority)

static int parse_identity(struct bus_request *req, sd_bus_message *m, struct bus_failure *failure)
{
	return bus_read_known_name(m, &req->args.name, BUS_E_NO_SUCH_IDENTITY, "identity", failure);
}

static void run_remove_identity(struct bus_request *req)
{
	remove_material(req, STORE_IDENTITY);
}

static const struct bus_method method_remove_identity = {
	.action = BUS_ACTION_TRUST,
	.parse = parse_identity,
	.run = run_remove_identity,
};
BUS_HANDLER(remove_identity)

/* NAME, authority:NAME or identity:NAME */
static int parse_rollback(struct bus_request *req, sd_bus_message *m, struct bus_failure *failure)
{
	enum bus_error no_such = BUS_E_NO_SUCH_AUTHORITY;
	const char *name;

	if (bus_read_string(m, &req->args.name, "name", ROLLBACK_NAME_MAX, no_such, failure) < 0)
		return -1;
	name = req->args.name;
	if (strncmp(name, "authority:", 10) == 0) {
		name += 10;
	} else if (strncmp(name, "identity:", 9) == 0) {
		name += 9;
		no_such = BUS_E_NO_SUCH_IDENTITY;
	}
	if (syntax_name(name))
		return bus_fail(failure, no_such, "no authority or identity has the name \"%s\"",
				req->args.name);
	return 0;
}

static void run_rollback(struct bus_request *req)
{
	struct bus *bus = req->bus;
	struct bus_failure failure;

	req->changing = true;
	change_begun(req,
		     bus->ops->rollback(bus->userdata, req->args.name, bus_request_change_done, req,
					&failure),
		     &failure);
}

static const struct bus_method method_rollback = {
	.action = BUS_ACTION_TRUST,
	.parse = parse_rollback,
	.run = run_rollback,
};
BUS_HANDLER(rollback)

static int append_names_entry(sd_bus_message *m, const char *key, const char *const *names)
{
	int r = sd_bus_message_open_container(m, 'e', "sv");

	if (r >= 0)
		r = sd_bus_message_append_basic(m, 's', key);
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'v', "as");
	if (r >= 0)
		r = bus_append_strv(m, names);
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_material(sd_bus_message *m, const struct bus_material *material)
{
	int r = sd_bus_message_open_container(m, 'a', "{sv}");

	if (r >= 0)
		r = bus_append_text_entry(m, "Name", material->name);
	if (r >= 0)
		r = bus_append_entry(m, "Configured", "b", material->configured);
	if (r >= 0)
		r = bus_append_entry(m, "Generation", "u", (uint32_t)material->generation);
	if (r >= 0)
		r = bus_append_text_entry(m, "Source",
					  material->generation ? store_source_name(material->source)
							       : "");
	if (r >= 0)
		r = bus_append_text_entry(m, "Sha256", material->sha256);
	if (r >= 0)
		r = bus_append_entry(m, "Length", "u", (uint32_t)material->length);
	if (r >= 0)
		r = bus_append_text_entry(m, "Subject", material->subject);
	if (r >= 0)
		r = bus_append_text_entry(m, "Issuer", material->issuer);
	if (r >= 0)
		r = bus_append_entry(m, "NotBefore", "x", (int64_t)material->not_before);
	if (r >= 0)
		r = bus_append_entry(m, "NotAfter", "x", (int64_t)material->not_after);
	if (r >= 0)
		r = append_names_entry(m, "Tunnels", material->tunnels);
	if (r >= 0)
		r = append_names_entry(m, "Devices", material->devices);
	if (r >= 0)
		r = bus_append_entry(m, "Previous", "b", material->previous);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

struct listing {
	sd_bus_message *m;
	int r;
};

static void list_material(void *userdata, const struct bus_material *material)
{
	struct listing *listing = userdata;

	if (listing->r >= 0)
		listing->r = append_material(listing->m, material);
}

static int reply_material(sd_bus_message *m, struct bus *bus, enum store_kind kind)
{
	struct listing listing = { 0 };
	int r;

	r = sd_bus_message_new_method_return(m, &listing.m);
	if (r >= 0)
		r = sd_bus_message_open_container(listing.m, 'a', "a{sv}");
	if (r >= 0) {
		bus->ops->each_material(bus->userdata, kind, list_material, &listing);
		r = listing.r;
	}
	if (r >= 0)
		r = sd_bus_message_close_container(listing.m);
	return bus_send_reply(m, listing.m, r);
}

static int on_list_authorities(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct bus_object *manager = userdata;

	return reply_material(m, manager->bus, STORE_AUTHORITY);
}

static int on_list_identities(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct bus_object *manager = userdata;

	return reply_material(m, manager->bus, STORE_IDENTITY);
}

/* ---- the daemon ---- */

static void run_reload(struct bus_request *req)
{
	struct bus *bus = req->bus;
	struct bus_failure failure;

	req->changing = true;
	change_begun(req, bus->ops->reload(bus->userdata, bus_request_reload_done, req, &failure),
		     &failure);
}

static const struct bus_method method_reload = {
	.action = BUS_ACTION_MANAGE,
	.run = run_reload,
};
BUS_HANDLER(reload)

static int parse_set_log_level(struct bus_request *req, sd_bus_message *m,
			       struct bus_failure *failure)
{
	if (bus_read_string(m, &req->args.text, "level", LEVEL_NAME_MAX, BUS_E_INVALID_ARGUMENT,
			    failure) < 0)
		return -1;
	if (log_level_parse(req->args.text, &req->args.level) == 0)
		return 0;
	return bus_fail(failure, BUS_E_INVALID_ARGUMENT,
			"level: expected error, warning, notice, info or debug");
}

static void run_set_log_level(struct bus_request *req)
{
	log_set_level(req->args.level);
	bus_request_succeed(req);
}

static const struct bus_method method_set_log_level = {
	.action = BUS_ACTION_MANAGE,
	.parse = parse_set_log_level,
	.run = run_set_log_level,
};
BUS_HANDLER(set_log_level)

static const sd_bus_vtable manager_vtable[] = {
	SD_BUS_VTABLE_START(0),
	BUS_METHOD("ListDevices", "", "", "a(so)", SD_BUS_PARAM(devices), on_list_devices),
	BUS_METHOD("GetDevice", "s", SD_BUS_PARAM(name), "o", SD_BUS_PARAM(device), on_get_device),
	BUS_METHOD("ListTunnels", "", "", "a(so)", SD_BUS_PARAM(tunnels), on_list_tunnels),
	BUS_METHOD("GetTunnel", "s", SD_BUS_PARAM(name), "o", SD_BUS_PARAM(tunnel), on_get_tunnel),
	BUS_METHOD("CreateTunnel", "sa{sv}", SD_BUS_PARAM(name) SD_BUS_PARAM(options), "o",
		   SD_BUS_PARAM(tunnel), on_create_tunnel),
	BUS_METHOD("RemoveTunnel", "s", SD_BUS_PARAM(name), "", "", on_remove_tunnel),
	BUS_METHOD("SetAuthority", "ss", SD_BUS_PARAM(name) SD_BUS_PARAM(pem), "a{s(bs)}",
		   SD_BUS_PARAM(chips), on_set_authority),
	BUS_METHOD("SetIdentity", "ssh",
		   SD_BUS_PARAM(name) SD_BUS_PARAM(cert_pem) SD_BUS_PARAM(key_fd), "a{s(bs)}",
		   SD_BUS_PARAM(chips), on_set_identity),
	BUS_METHOD("RemoveAuthority", "s", SD_BUS_PARAM(name), "a{s(bs)}", SD_BUS_PARAM(chips),
		   on_remove_authority),
	BUS_METHOD("RemoveIdentity", "s", SD_BUS_PARAM(name), "a{s(bs)}", SD_BUS_PARAM(chips),
		   on_remove_identity),
	BUS_METHOD("Rollback", "s", SD_BUS_PARAM(name), "a{s(bs)}", SD_BUS_PARAM(chips),
		   on_rollback),
	BUS_METHOD("ListAuthorities", "", "", "aa{sv}", SD_BUS_PARAM(authorities),
		   on_list_authorities),
	BUS_METHOD("ListIdentities", "", "", "aa{sv}", SD_BUS_PARAM(identities),
		   on_list_identities),
	BUS_METHOD("Reload", "", "", "", "", on_reload),
	BUS_METHOD("SetLogLevel", "s", SD_BUS_PARAM(level), "", "", on_set_log_level),
	BUS_PROPERTY("Version", "s", SD_BUS_VTABLE_PROPERTY_CONST),
	BUS_PROPERTY("LogLevel", "s", SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_VTABLE_END,
};

const struct bus_interface bus_manager_interfaces[] = {
	{ "org.espat1.Manager", manager_vtable, manager_properties },
	{ .name = NULL },
};
