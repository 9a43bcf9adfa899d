/* SPDX-License-Identifier: MIT */
/* What the parts of the D-Bus interface share among themselves. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>

#include "bus/bus.h"
#include "util/list.h"
#include "util/log.h"

#define BUS_NAME "org.espat1"
#define BUS_PATH "/org/espat1"
#define BUS_DEVICES BUS_PATH "/device"
#define BUS_TUNNELS BUS_PATH "/tunnel"

/* The group whose members may change things; none of that name: nobody is in it. */
#define BUS_ADMIN_GROUP "espat-admin"

/* Properties of one object, over all its interfaces. */
#define BUS_PROPERTIES_MAX 32
/* A string property is cut there; what is longer is an error's text that nobody reads to its end. */
#define BUS_VALUE_MAX 1024

/* A property's value. */
struct bus_value {
	char type; /* as in D-Bus: s u i t q b */
	union {
		uint32_t u;
		int32_t i;
		uint64_t t;
		uint16_t q;
		int b;
	};
	char s[BUS_VALUE_MAX + 1];
};

enum bus_object_kind {
	BUS_MANAGER,
	BUS_DEVICE,
	BUS_TUNNEL,
};

/* What stands at one path. */
struct bus_object {
	struct bus *bus; /* weak */
	enum bus_object_kind kind;
	char *path;
	struct list node;  /* in bus->devices or bus->tunnels */
	struct list stale; /* in bus->stale, while there is something to be told */
	bool told;         /* InterfacesAdded was sent, or nobody was there when it came */
	uint64_t values[BUS_PROPERTIES_MAX]; /* hashes of what was told last */
	struct device *dev;                  /* weak; BUS_DEVICE */
	struct tunnel *tunnel;               /* weak; BUS_TUNNEL */
	struct device_watch device_watch;
	struct tunnel_watch tunnel_watch;
};

struct bus_property {
	const char *name;
	bool watched; /* told by PropertiesChanged */
	void (*get)(const struct bus_object *object, struct bus_value *ret);
};

struct bus_interface {
	const char *name;
	const sd_bus_vtable *vtable;
	const struct bus_property *properties; /* the last one has no name */
};

/* Each ends with one that has no name. */
extern const struct bus_interface bus_manager_interfaces[];
extern const struct bus_interface bus_device_interfaces[];
extern const struct bus_interface bus_tunnel_interfaces[];

struct bus {
	struct event_base *base; /* weak */
	struct timers *timers;   /* weak */
	const struct bus_ops *ops;
	void *userdata;
	char *address; /* as bus_new() has it */

	sd_bus *sd;      /* NULL: not connected */
	bool named;      /* the name is ours */
	bool queued;     /* it is another's, which was logged */
	bool complained; /* that there is no bus, or no name for us */
	bool stopping;
	struct event *event; /* of the connection's fd */
	struct event *wake;  /* of its time-out */
	int fd;              /* that @event is for */
	short events;
	struct timer retry; /* connects again, or asks for the name again */
	uint64_t delay;     /* before the next attempt */

	struct bus_object manager;
	struct list devices; /* bus_object.node */
	struct list tunnels;
	struct list stale;
	struct list requests;  /* bus_request.node */
	struct list questions; /* bus_auth.node: those that polkit has */
	size_t n_requests;
	struct list runnable;   /* bus_request.turn: they wait for a turn of the loop */
	enum log_level level;   /* as it was told last */
	uint64_t serial;        /* of polkit's cancellation ids */
	uint64_t turn;          /* clock_cpu_ns() at the last bus_prepare() */
	uint64_t reading_since; /* clock_cpu_ns(), while the library reads; 0: it does not */
	uint64_t reading;       /* as bus_take_reading() has it */

	/* who may change things without polkit */
	uid_t root, own;   /* own: (uid_t)-1 on the system's bus */
	gid_t admin_group; /* (gid_t)-1: there is none */
};

/* ---- bus.c ---- */

/* NULL: no object of that name, as a device or tunnel. */
struct bus_object *bus_find(struct bus *bus, enum bus_object_kind kind, const char *name);
const char *bus_object_name(const struct bus_object *object);
/* Whether so much waits to be sent that nothing is added that nobody has asked for. */
bool bus_is_clogged(struct bus *bus);
/* From here on until bus_reading_ends() nobody but the library works. */
void bus_reading_begins(struct bus *bus);
void bus_reading_ends(struct bus *bus);
/* Somebody else has worked, too. */
void bus_reading_forget(struct bus *bus);
/* This turn of the loop has had its share of CPU time: what else there is to do waits for the next. */
bool bus_turn_is_over(const struct bus *bus);
/* Its properties are compared with what was told, before the next wait. */
void bus_object_changed(struct bus_object *object);

/* ---- bus-property.c ---- */

/* The getter of all properties. */
int bus_get_property(sd_bus *sd, const char *path, const char *interface, const char *property,
		     sd_bus_message *reply, void *userdata, sd_bus_error *error);
void bus_value_string(struct bus_value *ret, const char *s);
void bus_value_u32(struct bus_value *ret, uint32_t value);
void bus_value_i32(struct bus_value *ret, int32_t value);
void bus_value_u64(struct bus_value *ret, uint64_t value);
void bus_value_u16(struct bus_value *ret, uint16_t value);
void bus_value_bool(struct bus_value *ret, bool value);
/* What is there now is what was told. */
void bus_remember(struct bus_object *object);
/* Sends PropertiesChanged for what is another than was told. */
void bus_tell_changes(struct bus_object *object);
const struct bus_interface *bus_interfaces(const struct bus_object *object);

/* ---- bus-tunnel.c ---- */

/* Sends ConnectionFailed. */
void bus_tunnel_tell_failure(const struct bus_object *object, const char *reason, const char *text);
