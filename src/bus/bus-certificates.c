/* SPDX-License-Identifier: MIT */
/* org.espat1.Certificates: values of the chip's NVS by their own names. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bus/bus-device.h"
#include "bus/bus-request.h"
#include "bus/bus-text.h"
#include "cert/check.h"
#include "device/device.h"
#include "device/request.h"

const struct bus_property bus_certificates_properties[] = { { .name = NULL } };

#define SLOT_NONE UINT32_MAX

static uint32_t slot_number(int slot)
{
	return slot == DEVICE_SLOT_NONE ? SLOT_NONE : (uint32_t)slot;
}

/* ---- Load, LoadPem ---- */

/* What @data must be, for the namespace. Returns 0, or -1 after bus_fail(). */
static int make_blob(struct cert_blob **ret, const char *namespace, const char *what,
		     const void *data, size_t len, struct bus_failure *failure)
{
	const struct cert_source source = { .name = what };
	struct problems problems = PROBLEMS_NULL;
	enum cert_kind kind = device_namespace_kind(namespace);
	int r;

	if (kind == CERT_KIND_RAW) {
		r = cert_blob_new(ret, kind, data, len);
		if (r == -EINVAL)
			return bus_fail(failure, len ? BUS_E_TOO_LARGE : BUS_E_INVALID_ARGUMENT,
					"%s: %zu bytes, expected 1 to %d", what, len,
					CERT_BLOB_MAX);
	} else {
		r = cert_check(ret, kind, data, len, time(NULL), &source, &problems);
		if (r == -EINVAL)
			bus_fail_problems(failure,
					  kind == CERT_KIND_KEY ? BUS_E_BAD_KEY
								: BUS_E_BAD_CERTIFICATE,
					  &problems);
		problems_clear(&problems);
	}
	if (r == -ENOMEM)
		bus_fail(failure, BUS_E_NO_MEMORY, "out of memory");
	return r < 0 ? -1 : 0;
}

static int check_namespace(const struct device *dev, const char *namespace,
			   struct bus_failure *failure)
{
	if (device_namespace_is_known(dev, namespace))
		return 0;
	return bus_fail(failure, BUS_E_INVALID_ARGUMENT,
			"namespace %s: expected one of certificates and keys, as client_ca, or of "
			"extra_namespaces",
			namespace);
}

static void load(struct bus_request *req, const char *what, const void *data, size_t len)
{
	struct bus_object *object = bus_request_object(req);
	struct cert_blob *blob = NULL;
	struct bus_failure failure;

	if (!object)
		return;
	if (check_namespace(object->dev, req->args.namespace, &failure) < 0 ||
	    make_blob(&blob, req->args.namespace, what, data, len, &failure) < 0) {
		bus_request_finish(req, &failure);
		return;
	}
	bus_request_started(req, object,
			    device_load(object->dev, req->args.namespace, req->args.slot, blob,
					bus_request_device_done, req, &req->device_request));
}

static int parse_load_pem(struct bus_request *req, sd_bus_message *m, struct bus_failure *failure)
{
	if (bus_read_key(m, &req->args.namespace, &req->args.slot, failure) < 0)
		return -1;
	switch (device_namespace_kind(req->args.namespace)) {
	case CERT_KIND_CA:
	case CERT_KIND_CERT:
		return bus_read_pem(m, &req->args.text, "pem", failure);
	case CERT_KIND_KEY:
	case CERT_KIND_RAW:
		break;
	}
	return bus_fail(
		failure, BUS_E_SECRET_IN_ARGUMENT,
		"what belongs into %s is, or may be, a secret, which whoever listens to the "
		"bus, or lists processes, could read: use Load, with a file descriptor",
		req->args.namespace);
}

static void run_load_pem(struct bus_request *req)
{
	load(req, "pem", req->args.text, strlen(req->args.text));
}

static const struct bus_method method_load_pem = {
	.action = BUS_ACTION_TRUST,
	.parse = parse_load_pem,
	.run = run_load_pem,
};
BUS_HANDLER(load_pem)

static int parse_load(struct bus_request *req, sd_bus_message *m, struct bus_failure *failure)
{
	if (bus_read_key(m, &req->args.namespace, &req->args.slot, failure) < 0)
		return -1;
	return bus_read_fd(m, &req->args.fd, failure);
}

static void run_load(struct bus_request *req)
{
	load(req, "fd", req->input.data, req->input.len);
}

static const struct bus_method method_load = {
	.action = BUS_ACTION_TRUST,
	.parse = parse_load,
	.run = run_load,
	.reads = true,
	.end = BUS_FD_ALL,
};
BUS_HANDLER(load)

/* ---- Erase ---- */

static int parse_erase(struct bus_request *req, sd_bus_message *m, struct bus_failure *failure)
{
	return bus_read_key(m, &req->args.namespace, &req->args.slot, failure);
}

static void run_erase(struct bus_request *req)
{
	struct bus_object *object = bus_request_object(req);
	struct bus_failure failure;

	if (!object)
		return;
	if (check_namespace(object->dev, req->args.namespace, &failure) < 0) {
		bus_request_finish(req, &failure);
		return;
	}
	bus_request_started(req, object,
			    device_erase(object->dev, req->args.namespace, req->args.slot,
					 bus_request_device_done, req, &req->device_request));
}

static const struct bus_method method_erase = {
	.action = BUS_ACTION_TRUST,
	.parse = parse_erase,
	.run = run_erase,
};
BUS_HANDLER(erase)

/* ---- Verify ---- */

static void run_verify(struct bus_request *req)
{
	bus_request_start(req, device_verify, bus_request_lines_done);
}

static const struct bus_method method_verify = {
	.action = BUS_ACTION_MANAGE,
	.run = run_verify,
};
BUS_HANDLER(verify)

/* ---- what everybody may see ---- */

struct listing {
	sd_bus_message *m;
	int r;
};

/*
 * Everybody may see a list: of what may be a short secret, as a token, not even the digest is told, by
 * which it could be guessed. A key is too long for that.
 */
static bool is_guessable(const struct device_value *value)
{
	return strcmp(value->kind, "raw") == 0 || strcmp(value->kind, "other") == 0;
}

static int append_value(sd_bus_message *m, const struct device_value *value)
{
	char digest[2 * CERT_DIGEST_SIZE + 1] = "";
	int r;

	if (value->digest && !is_guessable(value))
		bus_hex(digest, sizeof(digest), value->digest, CERT_DIGEST_SIZE);
	r = sd_bus_message_open_container(m, 'r', "sususssxxas");
	if (r >= 0)
		r = bus_append_text(m, value->namespace);
	if (r >= 0)
		r = sd_bus_message_append(m, "usus", slot_number(value->slot), value->kind,
					  (uint32_t)value->len, digest);
	if (r >= 0)
		r = bus_append_text(m, value->subject);
	if (r >= 0)
		r = bus_append_text(m, value->issuer);
	if (r >= 0)
		r = sd_bus_message_append(m, "xx", (int64_t)value->not_before,
					  (int64_t)value->not_after);
	if (r >= 0)
		r = bus_append_strv(m, value->used_by);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static void list_value(void *userdata, const struct device_value *value)
{
	struct listing *listing = userdata;

	if (listing->r >= 0)
		listing->r = append_value(listing->m, value);
}

static int on_list(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct bus_object *object = userdata;
	struct listing listing = { 0 };
	int r;

	r = sd_bus_message_new_method_return(m, &listing.m);
	if (r >= 0)
		r = sd_bus_message_open_container(listing.m, 'a', "(sususssxxas)");
	if (r >= 0) {
		device_each_value(object->dev, list_value, &listing);
		r = listing.r;
	}
	if (r >= 0)
		r = sd_bus_message_close_container(listing.m);
	return bus_send_reply(m, listing.m, r);
}

static int append_orphan(sd_bus_message *m, const struct record_entry *entry)
{
	char digest[2 * CERT_DIGEST_SIZE + 1] = "", namespace[AT_NVS_NAME_MAX + 1];
	const char *dot = strchr(entry->key, '.');
	uint32_t slot = dot ? (uint32_t)strtoul(dot + 1, NULL, 10) : SLOT_NONE;
	int r;

	record_namespace(entry->key, namespace);
	/* Without a generation: of an NVS entry, of which the record does not know if it was raw. */
	if (entry->generation != 0)
		bus_hex(digest, sizeof(digest), entry->digest, CERT_DIGEST_SIZE);
	r = sd_bus_message_open_container(m, 'r', "suus");
	if (r >= 0)
		r = bus_append_text(m, namespace);
	if (r >= 0)
		r = sd_bus_message_append(m, "uus", slot, (uint32_t)entry->generation, digest);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static int on_list_orphans(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct bus_object *object = userdata;
	const struct record *orphans = &object->dev->orphans;
	sd_bus_message *reply = NULL;
	int r;

	r = sd_bus_message_new_method_return(m, &reply);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "(suus)");
	for (size_t i = 0; r >= 0 && i < orphans->n; i++)
		r = append_orphan(reply, &orphans->entries[i]);
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	return bus_send_reply(m, reply, r);
}

const sd_bus_vtable bus_certificates_vtable[] = {
	SD_BUS_VTABLE_START(0),
	BUS_METHOD("LoadPem", "sus", SD_BUS_PARAM(namespace) SD_BUS_PARAM(slot) SD_BUS_PARAM(pem),
		   "", "", on_load_pem),
	BUS_METHOD("Load", "suh", SD_BUS_PARAM(namespace) SD_BUS_PARAM(slot) SD_BUS_PARAM(fd), "",
		   "", on_load),
	BUS_METHOD("Erase", "su", SD_BUS_PARAM(namespace) SD_BUS_PARAM(slot), "", "", on_erase),
	BUS_METHOD("List", "", "", "a(sususssxxas)", SD_BUS_PARAM(values), on_list),
	BUS_METHOD("ListOrphans", "", "", "a(suus)", SD_BUS_PARAM(orphans), on_list_orphans),
	BUS_METHOD("Verify", "", "", "as", SD_BUS_PARAM(problems), on_verify),
	SD_BUS_VTABLE_END,
};
