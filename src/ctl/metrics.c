/* SPDX-License-Identifier: MIT */
#include "ctl/metrics.h"

#include <inttypes.h>
#include <string.h>

/* In a label's value; D-Bus strings are UTF-8, as the format wants. */
static void put_value(FILE *f, const char *text)
{
	for (; *text; text++) {
		if (*text == '\n')
			fputs("\\n", f);
		else if (*text == '"' || *text == '\\')
			fprintf(f, "\\%c", *text);
		else
			putc(*text, f);
	}
}

static void put_label(FILE *f, char before, const char *label, const char *value)
{
	fprintf(f, "%c%s=\"", before, label);
	put_value(f, value);
	putc('"', f);
}

/* What stands before the value of a series with one label or more. */
static void begin(FILE *f, const char *name, const char *label, const char *value)
{
	fputs(name, f);
	put_label(f, '{', label, value);
}

static void head(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* ---- devices ---- */

enum source {
	SOURCE_UNKNOWN, /* 0 is no value: left out */
	SOURCE_ZERO,    /* 0 is one */
};

struct number {
	const char *name, *type, *help;
	size_t offset;
	char kind; /* of D-Bus */
	enum source zero;
};

static void put_number(FILE *f, const void *object, const struct number *n)
{
	const void *at = (const char *)object + n->offset;

	switch (n->kind) {
	case 'u':
		fprintf(f, "} %" PRIu32 "\n", *(const uint32_t *)at);
		break;
	case 'i':
		fprintf(f, "} %" PRId32 "\n", *(const int32_t *)at);
		break;
	case 'b':
		fprintf(f, "} %d\n", *(const bool *)at);
		break;
	case 't':
		fprintf(f, "} %" PRIu64 "\n", *(const uint64_t *)at);
		break;
	}
}

/* Memory and signal, the only ones of which 0 means that they are not known. */
static bool is_unknown(const void *object, const struct number *n)
{
	const void *at = (const char *)object + n->offset;

	return n->zero == SOURCE_UNKNOWN && *(const uint32_t *)at == 0;
}

static const struct number device_numbers[] = {
	{ "espat_device_links", "gauge", "Connections that the chip has at a time.",
	  offsetof(struct snap_device, links), 'u', SOURCE_ZERO },
	{ "espat_device_links_in_use", "gauge", "Connections that are in use.",
	  offsetof(struct snap_device, links_in_use), 'u', SOURCE_ZERO },
	{ "espat_device_free_heap_bytes", "gauge", "Free memory of the chip.",
	  offsetof(struct snap_device, free_heap), 'u', SOURCE_UNKNOWN },
	{ "espat_device_resets_total", "counter", "Resets of the chip since the service started.",
	  offsetof(struct snap_device, resets), 't', SOURCE_ZERO },
	{ "espat_device_flash_writes_total", "counter",
	  "Writes to the chip's flash in its life, as far as is known.",
	  offsetof(struct snap_device, flash_writes), 't', SOURCE_ZERO },
	{ "espat_device_wifi_connected", "gauge", "1 if the chip has joined a network.",
	  offsetof(struct snap_device, connected), 'b', SOURCE_ZERO },
	{ "espat_device_wifi_rssi_dbm", "gauge", "Strength of the network's signal.",
	  offsetof(struct snap_device, rssi), 'i', SOURCE_UNKNOWN },
};

static void write_device_numbers(FILE *f, const struct snapshot *snap, const struct number *n)
{
	head(f, n->name, n->type, n->help);
	for (size_t i = 0; i < snap->n_devices; i++) {
		if (is_unknown(&snap->devices[i], n))
			continue;
		begin(f, n->name, "device", snap->devices[i].name);
		put_number(f, &snap->devices[i], n);
	}
}

/* One series for each state, so that a state can be counted and alerted upon. */
static void write_states(FILE *f, const char *name, const char *label, const char *object,
			 const char *state, const char *const *states)
{
	for (; *states; states++) {
		begin(f, name, label, object);
		put_label(f, ',', "state", *states);
		fprintf(f, "} %d\n", strcmp(state, *states) == 0);
	}
}

static void write_devices(FILE *f, const struct snapshot *snap)
{
	static const char *const states[] = { "absent",       "probing",     "identifying",
					      "unknown-chip", "configuring", "tuning",
					      "provisioning", "joining",     "setting-clock",
					      "ready",        "failed",      "provisioned",
					      "offline",      NULL };

	head(f, "espat_device_info", "gauge", "What chip it is.");
	for (size_t i = 0; i < snap->n_devices; i++) {
		const struct snap_device *d = &snap->devices[i];

		begin(f, "espat_device_info", "device", d->name);
		put_label(f, ',', "port", d->port);
		put_label(f, ',', "model", d->model);
		put_label(f, ',', "firmware", d->firmware);
		put_label(f, ',', "mac", d->mac);
		fputs("} 1\n", f);
	}
	head(f, "espat_device_state", "gauge", "1 for the state that the device is in.");
	for (size_t i = 0; i < snap->n_devices; i++)
		write_states(f, "espat_device_state", "device", snap->devices[i].name,
			     snap->devices[i].state, states);
	head(f, "espat_device_clock_set", "gauge", "1 if the chip knows the time.");
	for (size_t i = 0; i < snap->n_devices; i++) {
		const char *clock = snap->devices[i].clock;

		begin(f, "espat_device_clock_set", "device", snap->devices[i].name);
		fprintf(f, "} %d\n", *clock && strcmp(clock, "unset") != 0);
	}
	for (size_t i = 0; i < sizeof(device_numbers) / sizeof(*device_numbers); i++)
		write_device_numbers(f, snap, &device_numbers[i]);
}

/* ---- tunnels ---- */

static const struct number tunnel_numbers[] = {
	{ "espat_tunnel_clients", "gauge", "Clients that are connected.",
	  offsetof(struct snap_tunnel, clients), 'u', SOURCE_ZERO },
	{ "espat_tunnel_waiting", "gauge", "Clients that wait for a free connection of the chip.",
	  offsetof(struct snap_tunnel, waiting), 'u', SOURCE_ZERO },
	{ "espat_tunnel_sent_bytes_total", "counter", "Bytes from clients to the server.",
	  offsetof(struct snap_tunnel, bytes_sent), 't', SOURCE_ZERO },
	{ "espat_tunnel_received_bytes_total", "counter", "Bytes from the server to clients.",
	  offsetof(struct snap_tunnel, bytes_received), 't', SOURCE_ZERO },
	{ "espat_tunnel_connects_total", "counter", "Connections that were made.",
	  offsetof(struct snap_tunnel, connects), 't', SOURCE_ZERO },
	{ "espat_tunnel_failures_total", "counter", "Connections that could not be made.",
	  offsetof(struct snap_tunnel, failures), 't', SOURCE_ZERO },
	{ "espat_tunnel_aborted_total", "counter", "Connections that ended by a failure.",
	  offsetof(struct snap_tunnel, aborted), 't', SOURCE_ZERO },
	{ "espat_tunnel_verified", "gauge", "1 if the server is verified.",
	  offsetof(struct snap_tunnel, verified), 'b', SOURCE_ZERO },
};

static void write_tunnels(FILE *f, const struct snapshot *snap)
{
	static const char *const states[] = { "waiting", "listening", "failed", "draining", NULL };

	head(f, "espat_tunnel_info", "gauge", "Where the tunnel goes.");
	for (size_t i = 0; i < snap->n_tunnels; i++) {
		const struct snap_tunnel *t = &snap->tunnels[i];

		begin(f, "espat_tunnel_info", "tunnel", t->name);
		put_label(f, ',', "device", t->device);
		put_label(f, ',', "host", t->host);
		fprintf(f, ",port=\"%u\"} 1\n", t->port);
	}
	head(f, "espat_tunnel_state", "gauge", "1 for the state that the tunnel is in.");
	for (size_t i = 0; i < snap->n_tunnels; i++)
		write_states(f, "espat_tunnel_state", "tunnel", snap->tunnels[i].name,
			     snap->tunnels[i].state, states);
	for (size_t n = 0; n < sizeof(tunnel_numbers) / sizeof(*tunnel_numbers); n++) {
		const struct number *number = &tunnel_numbers[n];

		head(f, number->name, number->type, number->help);
		for (size_t i = 0; i < snap->n_tunnels; i++) {
			begin(f, number->name, "tunnel", snap->tunnels[i].name);
			put_label(f, ',', "device", snap->tunnels[i].device);
			put_number(f, &snap->tunnels[i], number);
		}
	}
}

/* ---- certificates ---- */

static void write_expiry(FILE *f, const char *kind, const struct snap_material *m, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (m[i].not_after == 0)
			continue;
		begin(f, "espat_certificate_not_after_seconds", "kind", kind);
		put_label(f, ',', "name", m[i].name);
		fprintf(f, "} %" PRId64 "\n", m[i].not_after);
	}
}

static void write_generation(FILE *f, const char *kind, const struct snap_material *m, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		begin(f, "espat_material_generation", "kind", kind);
		put_label(f, ',', "name", m[i].name);
		fprintf(f, "} %" PRIu64 "\n", m[i].generation);
	}
}

void metrics_write(FILE *f, const struct snapshot *snap)
{
	head(f, "espat_up", "gauge", "1 if espatd answers.");
	fprintf(f, "espat_up %d\n", snap != NULL);
	if (!snap)
		return;
	head(f, "espat_info", "gauge", "Version of espatd.");
	begin(f, "espat_info", "version", snap->version);
	fputs("} 1\n", f);
	write_devices(f, snap);
	write_tunnels(f, snap);
	head(f, "espat_certificate_not_after_seconds", "gauge",
	     "When the certificate expires, in seconds since 1970.");
	write_expiry(f, "authority", snap->authorities, snap->n_authorities);
	write_expiry(f, "identity", snap->identities, snap->n_identities);
	head(f, "espat_material_generation", "gauge", "Which one is current; 0: none is there.");
	write_generation(f, "authority", snap->authorities, snap->n_authorities);
	write_generation(f, "identity", snap->identities, snap->n_identities);
}
