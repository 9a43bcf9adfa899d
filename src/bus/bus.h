/* SPDX-License-Identifier: MIT */
/*
 * The D-Bus interface org.espat1: sd-bus on the daemon's loop. It shows devices and tunnels as they are
 * added here, watches them for changes, decides who may call what, and hands changes that concern more
 * than one object down to the daemon by its ops. A lost bus is connected to again, by and by; calls
 * that were pending then end without effect on anybody else.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "bus/error.h"
#include "cert/store.h"
#include "device/device.h"
#include "tunnel/tunnel.h"
#include "util/timers.h"

struct bus;
struct event_base;

/* What became of a change on one chip. */
struct bus_chip_result {
	const char *device; /* its name */
	bool ok;
	const char *text; /* for people: "written", why it failed, or why it was not tried */
};

/* @failure NULL: the change was made; @results of the chips that it concerns. Called exactly once. */
typedef void (*bus_change_fn)(void *userdata, const struct bus_failure *failure,
			      const struct bus_chip_result *results, size_t n);

/* One authority or identity, as ListAuthorities and ListIdentities tell it. */
struct bus_material {
	const char *name;
	bool configured;         /* it stands in a file of the configuration */
	unsigned int generation; /* 0: it has no material yet */
	enum store_source source;
	const char *sha256; /* of the CA or the certificate, in hexadecimal; "": none */
	size_t length;
	const char *subject, *issuer; /* of the first certificate; "" */
	time_t not_before, not_after;
	const char *const *tunnels; /* that name it, NULL-terminated */
	const char *const *devices; /* whose chips hold its present generation, likewise */
	bool previous;              /* there is one to roll back to */
};

struct bus_ops {
	/* All return 0, or -1 after bus_fail(). Names and texts are checked by the callee. */
	/*
	 * If it returns 0, @done follows, without results, unless change_cancel() came first. Until then
	 * it is busy, and none of the others is called but for change_cancel() and those that only ask.
	 */
	int (*reload)(void *userdata, bus_change_fn done, void *done_userdata,
		      struct bus_failure *failure);
	bool (*busy)(void *userdata);
	/*
	 * @text: the tunnel in the configuration's own language, made by config_text (see
	 * config/text.h), a group with its name; @persist: kept over a restart.
	 */
	int (*create_tunnel)(void *userdata, const char *name, const char *text, bool persist,
			     struct bus_failure *failure);
	int (*remove_tunnel)(void *userdata, const char *name, struct bus_failure *failure);
	/*
	 * Changes of material. If they return 0, @done follows, perhaps at once, unless change_cancel()
	 * came first: then the change goes on, and nobody is told. @key only of an identity.
	 */
	int (*set_material)(void *userdata, enum store_kind kind, const char *name,
			    const void *cert, size_t cert_len, const void *key, size_t key_len,
			    bus_change_fn done, void *done_userdata, struct bus_failure *failure);
	int (*remove_material)(void *userdata, enum store_kind kind, const char *name,
			       bus_change_fn done, void *done_userdata,
			       struct bus_failure *failure);
	/* @name: NAME, authority:NAME or identity:NAME */
	int (*rollback)(void *userdata, const char *name, bus_change_fn done, void *done_userdata,
			struct bus_failure *failure);
	void (*change_cancel)(void *userdata, void *done_userdata);
	/* Calls @fn for each. */
	void (*each_material)(void *userdata, enum store_kind kind,
			      void (*fn)(void *fn_userdata, const struct bus_material *m),
			      void *fn_userdata);
	/* Accepts the chip that is there now. */
	int (*adopt)(void *userdata, struct device *dev, struct bus_failure *failure);
	/* Takes @fd if it returns 0; limits of 0: the usual ones. */
	int (*start_trace)(void *userdata, struct device *dev, int fd, uint64_t max_bytes,
			   unsigned int max_seconds, struct bus_failure *failure);
	int (*stop_trace)(void *userdata, struct device *dev, struct bus_failure *failure);
	/* "configuration", "runtime" or "persistent" */
	const char *(*tunnel_origin)(void *userdata, const struct tunnel *tunnel);
	unsigned int (*device_baud)(void *userdata, const struct device *dev);
	bool (*raw_commands)(void *userdata);
};

/* Where to: "system", "session", "none", or an address of a bus as D-Bus has it. */
const char *bus_check_address(const char *address); /* NULL, or what is expected */

/* All pointers must outlive it. It connects by itself, also later. Returns 0 or -errno. */
int bus_new(struct bus **ret, struct event_base *base, struct timers *timers, const char *address,
	    const struct bus_ops *ops, void *userdata);
/* Pending calls end with BUS_E_STOPPING, and are flushed for a bounded time. NULL allowed; NULL. */
struct bus *bus_free(struct bus *bus);

/* Objects come and go; the bus watches them itself. Each is removed before it is freed. 0 or -errno. */
int bus_add_device(struct bus *bus, struct device *dev);
void bus_remove_device(struct bus *bus, struct device *dev);
int bus_add_tunnel(struct bus *bus, struct tunnel *tunnel);
void bus_remove_tunnel(struct bus *bus, struct tunnel *tunnel);

/* Before each wait of the loop: what is due is sent, and fd, events and time-out are read anew. */
void bus_prepare(struct bus *bus);
/*
 * ns of CPU time, since it was asked last, that the library has needed to read messages that are larger
 * than any of ours: nobody could have refused them before.
 */
uint64_t bus_take_reading(struct bus *bus);
/* Groups were looked up by name at the start; after a reload they are looked up again. */
void bus_reload_groups(struct bus *bus);
