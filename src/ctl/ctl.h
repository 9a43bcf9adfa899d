/* SPDX-License-Identifier: MIT */
/* espatctl: what its commands share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <systemd/sd-bus.h>

/* The exit statuses, see espatctl(1). Functions that return one have told people why. */
enum ctl_exit {
	CTL_OK,
	CTL_FAILED,      /* it was not done, or not everywhere */
	CTL_USAGE,       /* wrong usage */
	CTL_UNREACHABLE, /* no bus, or no service on it */
	CTL_DENIED,      /* the caller may not */
	CTL_NO_OBJECT,   /* no such device, tunnel, name or value */
	CTL_NOT_READY,   /* the chip is not in service, went away, or did not answer in time */
};

/* Options that belong to some commands only; each is a bit in the command's `options`. */
enum ctl_option {
	OPT_PERSIST = 1 << 0,
	OPT_PASSWORD_FILE = 1 << 1,
	OPT_BSSID = 1 << 2,
	OPT_HIDDEN = 1 << 3,
	OPT_SECONDS = 1 << 4,
	OPT_BYTES = 1 << 5,
	OPT_WRITE = 1 << 6,
	OPT_SYSFS = 1 << 7,
	OPT_UDEV_DATA = 1 << 8,
	OPT_RULES = 1 << 9,
	OPT_TEXTFILE = 1 << 10,
	OPT_LISTEN = 1 << 11,
	OPT_WAIT = 1 << 12,
};

struct ctl_options {
	bool persist;
	const char *password_file; /* NULL: not given */
	const char *bssid;
	bool hidden;
	unsigned int seconds; /* 0: no limit */
	uint64_t bytes;       /* likewise */
	bool write;
	const char *sysfs;
	const char *udev_data;
	const char *rules;
	const char *textfile;
	const char *listen;
	unsigned int wait;
};

struct ctl {
	const char *address; /* of the bus: "system", "session", or as D-Bus has it */
	bool json;
	bool color;                /* on standard output */
	unsigned int read_timeout; /* s, of a call that only reads */
	unsigned int timeout;      /* s, of a call that changes something */
	struct ctl_options opt;
	int argc; /* what follows the command's name, without options */
	char **argv;
	sd_bus *bus; /* NULL until ctl_connect() */
};

struct ctl_command {
	const char *name;
	const char *arguments; /* for the usage line */
	const char *summary;
	const char *help; /* further lines; NULL: none */
	unsigned int options;
	enum ctl_exit (*run)(struct ctl *ctl);
};

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* What the first argument of a command may name. */
struct ctl_subcommand {
	const char *name;
	enum ctl_exit (*run)(struct ctl *ctl);
};

/* The one that it names, which is no argument any more; NULL: it names none. */
const struct ctl_subcommand *ctl_subcommand(struct ctl *ctl, const struct ctl_subcommand *table,
					    size_t n);

/* To standard error, control characters replaced; several lines make several messages. */
__attribute__((format(printf, 1, 2))) void ctl_error(const char *format, ...);
/* Returns CTL_USAGE. */
__attribute__((format(printf, 1, 2))) enum ctl_exit ctl_usage(const char *format, ...);
/* Out of memory: told, and CTL_FAILED. */
enum ctl_exit ctl_oom(void);
/* For -errno of a table or a stream; 0: CTL_OK. */
enum ctl_exit ctl_result(int r);

/* The commands, one function each; see the table in main.c. */
enum ctl_exit cmd_status(struct ctl *ctl);
enum ctl_exit cmd_devices(struct ctl *ctl);
enum ctl_exit cmd_tunnels(struct ctl *ctl);
enum ctl_exit cmd_certs(struct ctl *ctl);
enum ctl_exit cmd_wifi(struct ctl *ctl);
enum ctl_exit cmd_tunnel(struct ctl *ctl);
enum ctl_exit cmd_monitor(struct ctl *ctl);
enum ctl_exit cmd_trace(struct ctl *ctl);
enum ctl_exit cmd_command(struct ctl *ctl);
enum ctl_exit cmd_reset(struct ctl *ctl);
enum ctl_exit cmd_reprobe(struct ctl *ctl);
enum ctl_exit cmd_sync_time(struct ctl *ctl);
enum ctl_exit cmd_adopt(struct ctl *ctl);
enum ctl_exit cmd_disconnect(struct ctl *ctl);
enum ctl_exit cmd_reload(struct ctl *ctl);
enum ctl_exit cmd_log_level(struct ctl *ctl);
enum ctl_exit cmd_doctor(struct ctl *ctl);
enum ctl_exit cmd_udev(struct ctl *ctl);
enum ctl_exit cmd_metrics(struct ctl *ctl);
