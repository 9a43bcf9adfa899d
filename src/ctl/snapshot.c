/* SPDX-License-Identifier: MIT */
#include "ctl/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/json.h"

#define DEVICE(property, json, type, member)                                                       \
	{                                                                                          \
		"org.espat1.Device", property, json, type, offsetof(struct snap_device, member)    \
	}
#define WIFI(property, json, type, member)                                                         \
	{                                                                                          \
		"org.espat1.Wifi", property, json, type, offsetof(struct snap_device, member)      \
	}
#define TUNNEL(property, json, type, member)                                                       \
	{                                                                                          \
		"org.espat1.Tunnel", property, json, type, offsetof(struct snap_tunnel, member)    \
	}
#define MANAGER(property, json, type, member)                                                      \
	{                                                                                          \
		"org.espat1.Manager", property, json, type, offsetof(struct snapshot, member)      \
	}

const struct snap_field snap_device_fields[] = {
	DEVICE("Name", "name", 's', name),
	DEVICE("Port", "port", 's', port),
	DEVICE("State", "state", 's', state),
	DEVICE("Model", "model", 's', model),
	DEVICE("Firmware", "firmware", 's', firmware),
	DEVICE("Core", "core", 's', core),
	DEVICE("Mac", "mac", 's', mac),
	DEVICE("Baud", "baud", 'u', baud),
	DEVICE("FlowControl", "flow_control", 's', flow_control),
	DEVICE("FlowControlError", "flow_control_error", 's', flow_control_error),
	DEVICE("Links", "links", 'u', links),
	DEVICE("LinksInUse", "links_in_use", 'u', links_in_use),
	DEVICE("FreeHeap", "free_heap", 'u', free_heap),
	DEVICE("Clock", "clock", 's', clock),
	DEVICE("Resets", "resets", 't', resets),
	DEVICE("FlashWrites", "flash_writes", 't', flash_writes),
	DEVICE("LastError", "last_error", 's', last_error),
	{ 0 },
};

const struct snap_field snap_wifi_fields[] = {
	WIFI("Ssid", "ssid", 's', ssid),
	WIFI("Bssid", "bssid", 's', bssid),
	WIFI("Channel", "channel", 'u', channel),
	WIFI("Rssi", "rssi", 'i', rssi),
	WIFI("Address", "address", 's', address),
	WIFI("Connected", "connected", 'b', connected),
	{ 0 },
};

const struct snap_field snap_tunnel_fields[] = {
	TUNNEL("Name", "name", 's', name),
	TUNNEL("Device", "device", 's', device),
	TUNNEL("Host", "host", 's', host),
	TUNNEL("Port", "port", 'q', port),
	TUNNEL("SocketPath", "socket_path", 's', socket_path),
	TUNNEL("Verified", "verified", 'b', verified),
	TUNNEL("Origin", "origin", 's', origin),
	TUNNEL("State", "state", 's', state),
	TUNNEL("Clients", "clients", 'u', clients),
	TUNNEL("Waiting", "waiting", 'u', waiting),
	TUNNEL("BytesSent", "bytes_sent", 't', bytes_sent),
	TUNNEL("BytesReceived", "bytes_received", 't', bytes_received),
	TUNNEL("Connects", "connects", 't', connects),
	TUNNEL("Failures", "failures", 't', failures),
	TUNNEL("Aborted", "aborted", 't', aborted),
	TUNNEL("LastError", "last_error", 's', last_error),
	TUNNEL("LastErrorReason", "last_error_reason", 's', last_error_reason),
	{ 0 },
};

const struct snap_field snap_manager_fields[] = {
	MANAGER("Version", "version", 's', version),
	MANAGER("LogLevel", "log_level", 's', log_level),
	{ 0 },
};

/* ---- life ---- */

void strings_free(char **strings)
{
	for (size_t i = 0; strings && strings[i]; i++)
		free(strings[i]);
	free(strings);
}

static void clear_fields(void *object, const struct snap_field *fields)
{
	for (; fields->property; fields++)
		if (fields->type == 's')
			free(*(char **)((char *)object + fields->offset));
}

void snap_value_clear(struct snap_value *v)
{
	free(v->namespace);
	free(v->kind);
	free(v->sha256);
	free(v->subject);
	free(v->issuer);
	strings_free(v->used_by);
}

void snap_material_clear(struct snap_material *m)
{
	free(m->name);
	free(m->source);
	free(m->sha256);
	free(m->subject);
	free(m->issuer);
	strings_free(m->tunnels);
	strings_free(m->devices);
}

static void clear_device(struct snap_device *d)
{
	clear_fields(d, snap_device_fields);
	clear_fields(d, snap_wifi_fields);
	free(d->path);
	for (size_t i = 0; i < d->n_values; i++)
		snap_value_clear(&d->values[i]);
	free(d->values);
	for (size_t i = 0; i < d->n_orphans; i++) {
		free(d->orphans[i].namespace);
		free(d->orphans[i].sha256);
	}
	free(d->orphans);
}

void snapshot_clear(struct snapshot *snap)
{
	clear_fields(snap, snap_manager_fields);
	for (size_t i = 0; i < snap->n_devices; i++)
		clear_device(&snap->devices[i]);
	free(snap->devices);
	for (size_t i = 0; i < snap->n_tunnels; i++) {
		clear_fields(&snap->tunnels[i], snap_tunnel_fields);
		free(snap->tunnels[i].path);
	}
	free(snap->tunnels);
	for (size_t i = 0; i < snap->n_authorities; i++)
		snap_material_clear(&snap->authorities[i]);
	free(snap->authorities);
	for (size_t i = 0; i < snap->n_identities; i++)
		snap_material_clear(&snap->identities[i]);
	free(snap->identities);
	*snap = (struct snapshot){ 0 };
}

static int fill_string(char **s)
{
	if (!*s)
		*s = strdup("");
	return *s ? 0 : -ENOMEM;
}

static int fill_fields(void *object, const struct snap_field *fields)
{
	int r = 0;

	for (; r == 0 && fields->property; fields++)
		if (fields->type == 's')
			r = fill_string((char **)((char *)object + fields->offset));
	return r;
}

static int fill_material(struct snap_material *m, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		char **strings[] = { &m[i].name, &m[i].source, &m[i].sha256, &m[i].subject,
				     &m[i].issuer };

		for (size_t k = 0; r == 0 && k < sizeof(strings) / sizeof(*strings); k++)
			r = fill_string(strings[k]);
	}
	return r;
}

/* An object without a name of its own is called by the end of its path. */
static int fill_name(char **name, const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	if (!*name && slash)
		*name = strdup(slash + 1);
	return fill_string(name);
}

int snapshot_fill(struct snapshot *snap)
{
	int r = fill_fields(snap, snap_manager_fields);

	for (size_t i = 0; r == 0 && i < snap->n_devices; i++) {
		struct snap_device *d = &snap->devices[i];

		r = fill_name(&d->name, d->path);
		if (r == 0)
			r = fill_fields(d, snap_device_fields);
		if (r == 0)
			r = fill_fields(d, snap_wifi_fields);
	}
	for (size_t i = 0; r == 0 && i < snap->n_tunnels; i++) {
		r = fill_name(&snap->tunnels[i].name, snap->tunnels[i].path);
		if (r == 0)
			r = fill_fields(&snap->tunnels[i], snap_tunnel_fields);
	}
	if (r == 0)
		r = fill_material(snap->authorities, snap->n_authorities);
	if (r == 0)
		r = fill_material(snap->identities, snap->n_identities);
	return r;
}

static int compare_devices(const void *a, const void *b)
{
	return strverscmp(((const struct snap_device *)a)->name,
			  ((const struct snap_device *)b)->name);
}

static int compare_tunnels(const void *a, const void *b)
{
	return strverscmp(((const struct snap_tunnel *)a)->name,
			  ((const struct snap_tunnel *)b)->name);
}

static int compare_material(const void *a, const void *b)
{
	return strverscmp(((const struct snap_material *)a)->name,
			  ((const struct snap_material *)b)->name);
}

/* qsort() is not to be called with NULL. */
static void sort(void *items, size_t n, size_t size, int (*compare)(const void *, const void *))
{
	if (n > 1)
		qsort(items, n, size, compare);
}

void snapshot_sort(struct snapshot *snap)
{
	sort(snap->devices, snap->n_devices, sizeof(*snap->devices), compare_devices);
	sort(snap->tunnels, snap->n_tunnels, sizeof(*snap->tunnels), compare_tunnels);
	sort(snap->authorities, snap->n_authorities, sizeof(*snap->authorities), compare_material);
	sort(snap->identities, snap->n_identities, sizeof(*snap->identities), compare_material);
}

const struct snap_device *snapshot_device(const struct snapshot *snap, const char *name)
{
	for (size_t i = 0; i < snap->n_devices; i++)
		if (strcmp(snap->devices[i].name, name) == 0)
			return &snap->devices[i];
	return NULL;
}

const struct snap_tunnel *snapshot_tunnel(const struct snapshot *snap, const char *name)
{
	for (size_t i = 0; i < snap->n_tunnels; i++)
		if (strcmp(snap->tunnels[i].name, name) == 0)
			return &snap->tunnels[i];
	return NULL;
}

void snap_key(char *buf, size_t size, const char *namespace, uint32_t slot)
{
	if (slot == SNAP_SLOT_NONE)
		snprintf(buf, size, "%s", namespace);
	else
		snprintf(buf, size, "%s.%u", namespace, slot);
}

/* ---- as JSON ---- */

static void json_field(struct json *j, const void *object, const struct snap_field *field)
{
	const void *at = (const char *)object + field->offset;

	switch (field->type) {
	case 's':
		json_string(j, field->json, *(char *const *)at);
		break;
	case 'b':
		json_bool(j, field->json, *(const bool *)at);
		break;
	case 'u':
		json_uint(j, field->json, *(const uint32_t *)at);
		break;
	case 'i':
		json_int(j, field->json, *(const int32_t *)at);
		break;
	case 'q':
		json_uint(j, field->json, *(const uint16_t *)at);
		break;
	case 't':
		json_uint(j, field->json, *(const uint64_t *)at);
		break;
	}
}

static void json_fields(struct json *j, const void *object, const struct snap_field *fields)
{
	for (; fields->property; fields++)
		json_field(j, object, fields);
}

static void json_strings(struct json *j, const char *key, char *const *strings)
{
	json_array(j, key);
	for (size_t i = 0; strings && strings[i]; i++)
		json_string(j, NULL, strings[i]);
	json_end(j);
}

/* Seconds since 1970; null: not known. */
static void json_time(struct json *j, const char *key, int64_t when)
{
	if (when)
		json_int(j, key, when);
	else
		json_null(j, key);
}

static void json_slot(struct json *j, uint32_t slot)
{
	if (slot == SNAP_SLOT_NONE)
		json_null(j, "slot");
	else
		json_uint(j, "slot", slot);
}

void json_snap_device(struct json *j, const char *key, const struct snap_device *d)
{
	json_object(j, key);
	json_fields(j, d, snap_device_fields);
	json_object(j, "wifi");
	json_fields(j, d, snap_wifi_fields);
	json_end(j);
	json_end(j);
}

void json_snap_tunnel(struct json *j, const char *key, const struct snap_tunnel *t)
{
	json_object(j, key);
	json_fields(j, t, snap_tunnel_fields);
	json_end(j);
}

static void json_material(struct json *j, const struct snap_material *m)
{
	json_object(j, NULL);
	json_string(j, "name", m->name);
	json_bool(j, "configured", m->configured);
	json_uint(j, "generation", m->generation);
	json_bool(j, "previous", m->previous);
	json_string(j, "source", m->source);
	json_uint(j, "length", m->length);
	json_string(j, "sha256", m->sha256);
	json_string(j, "subject", m->subject);
	json_string(j, "issuer", m->issuer);
	json_time(j, "not_before", m->not_before);
	json_time(j, "not_after", m->not_after);
	json_strings(j, "tunnels", m->tunnels);
	json_strings(j, "devices", m->devices);
	json_end(j);
}

void json_snap_value(struct json *j, const struct snap_device *d, const struct snap_value *v)
{
	json_object(j, NULL);
	json_string(j, "device", d->name);
	json_string(j, "namespace", v->namespace);
	json_slot(j, v->slot);
	json_string(j, "kind", v->kind);
	json_uint(j, "length", v->length);
	json_string(j, "sha256", v->sha256);
	json_string(j, "subject", v->subject);
	json_string(j, "issuer", v->issuer);
	json_time(j, "not_before", v->not_before);
	json_time(j, "not_after", v->not_after);
	json_strings(j, "used_by", v->used_by);
	json_end(j);
}

void json_snap_orphan(struct json *j, const struct snap_device *d, const struct snap_orphan *o)
{
	json_object(j, NULL);
	json_string(j, "device", d->name);
	json_string(j, "namespace", o->namespace);
	json_slot(j, o->slot);
	json_uint(j, "generation", o->generation);
	json_string(j, "sha256", o->sha256);
	json_end(j);
}

void json_snap_devices(struct json *j, const char *key, const struct snapshot *snap)
{
	json_array(j, key);
	for (size_t i = 0; i < snap->n_devices; i++)
		json_snap_device(j, NULL, &snap->devices[i]);
	json_end(j);
}

void json_snap_tunnels(struct json *j, const char *key, const struct snapshot *snap)
{
	json_array(j, key);
	for (size_t i = 0; i < snap->n_tunnels; i++)
		json_snap_tunnel(j, NULL, &snap->tunnels[i]);
	json_end(j);
}

void json_snap_materials(struct json *j, const char *key, const struct snap_material *m, size_t n)
{
	json_array(j, key);
	for (size_t i = 0; i < n; i++)
		json_material(j, &m[i]);
	json_end(j);
}

void json_snapshot(struct json *j, const struct snapshot *snap)
{
	json_object(j, NULL);
	json_fields(j, snap, snap_manager_fields);
	json_snap_devices(j, "devices", snap);
	json_snap_tunnels(j, "tunnels", snap);
	json_snap_materials(j, "authorities", snap->authorities, snap->n_authorities);
	json_snap_materials(j, "identities", snap->identities, snap->n_identities);
	json_end(j);
}
