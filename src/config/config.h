/* SPDX-License-Identifier: MIT */
/*
 * The configuration as plain data. config_load() reads it, and nothing else in here has a side
 * effect: certificate, key and password files are named, not opened.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/problems.h"

/* Longest name of a device, authority, identity or tunnel: [A-Za-z0-9_][A-Za-z0-9_.-]*. */
#define CONFIG_NAME_MAX 48
/* Longest `host`: a DNS name. */
#define CONFIG_HOST_MAX 253
/* Longest name that ESP-AT takes as SNI or CN; 65 bytes are ERROR (capture 40). */
#define CONFIG_SERVER_NAME_MAX 64
/* NVS slots: 0..9 all work (protocol fact 7). */
#define CONFIG_SLOT_AUTO (-1)
/* Most entries of each kind; generous, so that a runaway generated file is refused early. */
#define CONFIG_DEVICES_MAX 32
#define CONFIG_TUNNELS_MAX 256
#define CONFIG_MATERIAL_MAX 256
#define CONFIG_SLOT_MAX 9

/* Where in which file an entry stands; @file belongs to the config. */
struct config_where {
	const char *file;
	unsigned int line;
};

enum config_time {
	CONFIG_TIME_HOST, /* the host's clock is pushed to the chip */
};

struct config_wifi {
	struct config_where where;
	char *ssid;          /* 1..32 bytes */
	char *password_file; /* NULL: open network */
};

struct config_device {
	struct config_where where;
	char *name;
	char *port;        /* /dev/..., usb:VID:PID[:SERIAL], unix:PATH, tcp:HOST:PORT */
	unsigned int baud; /* 80..5000000 */
	bool has_wifi;     /* false: the chip joins by itself */
	struct config_wifi wifi;
	enum config_time time;
};

struct config_authority {
	struct config_where where;
	char *name;
	char *file;
	int slot; /* CONFIG_SLOT_AUTO or 0..CONFIG_SLOT_MAX */
};

struct config_identity {
	struct config_where where;
	char *name;
	char *cert;
	char *key;
	int slot; /* as above; the same number for client_cert and client_key */
};

struct config_tunnel {
	struct config_where where;
	char *name;
	const struct config_device *device;       /* never NULL after config_load() */
	const struct config_authority *authority; /* NULL only if insecure */
	const struct config_identity *identity;   /* NULL: no client certificate */
	char *host;
	unsigned int port;               /* 1..65535 */
	char *server_name;               /* SNI and checked name; = host if the config names none */
	bool insecure;                   /* the server is not verified */
	unsigned int connect_timeout;    /* s, 1..60: CIPSTART, from command to verdict */
	unsigned int wait_timeout;       /* s, 1..3600: how long a client waits for a free link */
	unsigned int half_close_timeout; /* s, 0..86400: how long a client that has shut down its
					    write side still receives; 0: no limit */
	unsigned int max_waiting;        /* 0..1024: clients that may wait for a link */
	unsigned int mode;               /* of the socket, 0..0777 */
};

struct config {
	char *path;   /* the file it came from */
	char **files; /* the files it includes, for struct config_where */
	size_t n_files;
	char *runtime_dir; /* absolute */
	char *state_dir;   /* absolute */
	struct config_device *devices;
	size_t n_devices;
	struct config_authority *authorities;
	size_t n_authorities;
	struct config_identity *identities;
	size_t n_identities;
	struct config_tunnel *tunnels;
	size_t n_tunnels;
};

/*
 * Reads @path. All complaints go to @problems, one line each: "file:line: what, expected what".
 * Returns 0 and the config in *ret (owned by the caller), -EINVAL if there is any error among the
 * complaints, or -ENOMEM. Relative file names in the config are taken relative to the folder of
 * the config file.
 */
int config_load(struct config **ret, const char *path, struct problems *problems);
/*
 * Another folder than the file's; @dir is taken relative to the working directory. Returns 0, -EINVAL
 * after a complaint (a socket's path would be too long), or -ENOMEM; the config is unchanged then.
 */
int config_set_runtime_dir(struct config *config, const char *dir, struct problems *problems);
int config_set_state_dir(struct config *config, const char *dir, struct problems *problems);
/* NULL is allowed; returns NULL. */
struct config *config_free(struct config *config);
