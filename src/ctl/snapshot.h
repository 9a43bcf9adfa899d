/* SPDX-License-Identifier: MIT */
/*
 * What the service tells of everything at one moment, as plain data: so that what is made of it (tables,
 * JSON, metrics, advice) is pure. Strings are never NULL after snapshot_fill().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json;

/* More than a configuration can have; an answer with more is refused. */
#define SNAP_DEVICES_MAX 256
#define SNAP_TUNNELS_MAX 4096
#define SNAP_ROWS_MAX 4096

/* A value of the chip's NVS. */
struct snap_value {
	char *namespace;
	uint32_t slot; /* SNAP_SLOT_NONE: the key without suffix */
	char *kind;
	uint32_t length;
	char *sha256, *subject, *issuer;
	int64_t not_before, not_after;
	char **used_by; /* NULL at the end */
};

#define SNAP_SLOT_NONE UINT32_MAX
/* The `device` of a tunnel that uses all of them. */
#define SNAP_DEVICE_ANY "any"

struct snap_orphan {
	char *namespace;
	uint32_t slot;
	uint32_t generation;
	char *sha256;
};

struct snap_device {
	char *path;
	char *name, *port, *state, *model, *firmware, *core, *mac, *flow_control,
		*flow_control_error, *clock, *last_error;
	uint32_t baud, links, links_in_use, free_heap;
	uint64_t resets, flash_writes;
	char *ssid, *bssid, *address;
	uint32_t channel;
	int32_t rssi;
	bool connected;
	/* by themselves, if asked for */
	struct snap_value *values;
	size_t n_values;
	struct snap_orphan *orphans;
	size_t n_orphans;
};

struct snap_tunnel {
	char *path;
	char *name, *device, *host, *socket_path, *origin, *state, *last_error, *last_error_reason;
	uint16_t port;
	bool verified;
	uint32_t clients, waiting;
	uint64_t bytes_sent, bytes_received, connects, failures, aborted;
};

/* An authority or an identity. */
struct snap_material {
	char *name, *source, *sha256, *subject, *issuer;
	bool configured, previous;
	uint64_t generation, length;
	int64_t not_before, not_after;
	char **tunnels, **devices; /* NULL at the end */
};

struct snapshot {
	char *version, *log_level;
	struct snap_device *devices;
	size_t n_devices;
	struct snap_tunnel *tunnels;
	size_t n_tunnels;
	struct snap_material *authorities;
	size_t n_authorities;
	struct snap_material *identities;
	size_t n_identities;
};

/* How a property is called on the bus, in JSON, and in the snapshot. */
struct snap_field {
	const char *interface;
	const char *property;
	const char *json;
	char type; /* of D-Bus: s, b, u, i, t, q */
	size_t offset;
};
/* NULL-terminated by `property`. */
extern const struct snap_field snap_device_fields[], snap_wifi_fields[], snap_tunnel_fields[],
	snap_manager_fields[];

/* Missing strings become "". Returns 0 or -ENOMEM. */
int snapshot_fill(struct snapshot *snap);
/* By name: the service tells no order. */
void snapshot_sort(struct snapshot *snap);
/* Frees what is in it. */
void snapshot_clear(struct snapshot *snap);
void snap_value_clear(struct snap_value *value);
void snap_material_clear(struct snap_material *m);
void strings_free(char **strings);

/* NULL: there is none of that name. */
const struct snap_device *snapshot_device(const struct snapshot *snap, const char *name);
const struct snap_tunnel *snapshot_tunnel(const struct snapshot *snap, const char *name);
/* "client_ca.3", as espatd's log calls it, or the namespace alone. */
void snap_key(char *buf, size_t size, const char *namespace, uint32_t slot);

/* The objects of espatctl(1). */
void json_snap_device(struct json *j, const char *key, const struct snap_device *d);
void json_snap_tunnel(struct json *j, const char *key, const struct snap_tunnel *t);
/* All of them, as an array. */
void json_snap_devices(struct json *j, const char *key, const struct snapshot *snap);
void json_snap_tunnels(struct json *j, const char *key, const struct snapshot *snap);
void json_snap_materials(struct json *j, const char *key, const struct snap_material *m, size_t n);
void json_snap_value(struct json *j, const struct snap_device *d, const struct snap_value *v);
void json_snap_orphan(struct json *j, const struct snap_device *d, const struct snap_orphan *o);
void json_snapshot(struct json *j, const struct snapshot *snap);
