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
/* Longest `host`: DNS has 253, but AT+CIPDOMAIN's line with all its arguments takes no more. */
#define CONFIG_HOST_MAX 230
/* Longest name that ESP-AT takes as SNI or CN; 65 bytes are ERROR (capture 40). */
#define CONFIG_SERVER_NAME_MAX 64
/* Links of one chip (AT+CIPMUX=1). */
#define CONFIG_LINKS_MAX 5
#define CONFIG_CLIENTS_MAX (CONFIG_DEVICES_MAX * CONFIG_LINKS_MAX)
/* What a tunnel names instead of a device, for all of them; no device has this name. */
#define CONFIG_DEVICE_ANY "any"
/* NVS slots: 0..9 all work (protocol fact 7). */
#define CONFIG_SLOT_AUTO (-1)
/* Of an NVS entry: its key is the namespace's name alone, as the firmware has it for `mqtt_ca`. */
#define CONFIG_SLOT_NONE (-1)
/* Most entries of each kind; generous, so that a runaway generated file is refused early. */
#define CONFIG_DEVICES_MAX 64
#define CONFIG_TUNNELS_MAX 256
#define CONFIG_MATERIAL_MAX 256
#define CONFIG_SLOT_MAX 9
/* Longest line that the chip takes, with its CRLF (capture 01). */
#define CONFIG_COMMAND_MAX 256
/* NVS namespaces and keys: 16 is ERROR (capture 12). */
#define CONFIG_NVS_NAME_MAX 15
/* The namespace of our record of what is ours. */
#define CONFIG_NVS_OWN "espatd"
#define CONFIG_NVS_MAX 64
/* For one chip: its record has room for so many beside the slots (RECORD_MAX). */
#define CONFIG_NVS_DEVICE_MAX 32
#define CONFIG_NAMESPACES_MAX 16
/* AT+CIPSNTPCFG takes three servers, AT+CIPDNS three addresses. */
#define CONFIG_NTP_SERVERS_MAX 3
#define CONFIG_DNS_MAX 3
/* AT+CIPSSLCALPN takes five names. */
#define CONFIG_ALPN_MAX 5
/* AT+CIPSSLCCIPHER is limited by the length of its line only; more than these is no choice. */
#define CONFIG_CIPHERS_MAX 16
/* AT+CIPSSLCPSK: key and identity have 32 bytes each (ESP-AT documentation). */
#define CONFIG_PSK_MAX 32
/* CWJEAP's identity (ESP-AT documentation), and a station's host name. */
#define CONFIG_EAP_IDENTITY_MAX 32
#define CONFIG_HOSTNAME_MAX 32

/* Of one list of users or groups: more of them share a group. */
#define CONFIG_IDS_MAX 32
/* What stands before the name of a file of the service's credentials. */
#define CONFIG_CREDENTIAL "credential:"
/* Files in `conf.d`, and texts: one for each tunnel, authority and identity, in both. */
#define CONFIG_DROP_INS_MAX 256
#define CONFIG_TEXTS_MAX (CONFIG_TUNNELS_MAX + 2 * CONFIG_MATERIAL_MAX)

/* Where in which file an entry stands; @file belongs to the config. */
struct config_where {
	const char *file;
	unsigned int line;
};

enum config_time {
	CONFIG_TIME_HOST, /* the host's clock is pushed to the chip */
	CONFIG_TIME_SNTP, /* the chip asks a time server */
};

/* Whether the line's RTS and CTS are used. */
enum config_flow {
	CONFIG_FLOW_AUTO,   /* above 115200 baud, if it is proven to work */
	CONFIG_FLOW_RTSCTS, /* likewise at any rate; told where it does not */
	CONFIG_FLOW_NONE,
};

/* How a chip that does not answer is reset. */
enum config_reset {
	CONFIG_RESET_NONE,
	CONFIG_RESET_DTR_RTS, /* by the circuit that most boards have */
};

/* How received data comes from the chip. */
enum config_receive {
	CONFIG_RECEIVE_AUTO,    /* by itself, but for a link whose client does not keep up */
	CONFIG_RECEIVE_ACTIVE,  /* by itself, always */
	CONFIG_RECEIVE_PASSIVE, /* as it is asked for, always */
};

/* Which chip on the port gets secrets. */
enum config_adopt {
	CONFIG_ADOPT_FIRST, /* the first one, which is remembered */
	CONFIG_ADOPT_ANY,
};

struct config_authority;
struct config_identity;

/* Strings of an array. */
struct config_strings {
	char **items;
	size_t n;
};

/* Users or groups, by their numbers. */
struct config_ids {
	unsigned int *items;
	size_t n;
};

/* EAP-TLS with the chip's certificate. */
struct config_eap {
	struct config_where where;
	char *identity;                           /* outer identity, 1..CONFIG_EAP_IDENTITY_MAX */
	const struct config_identity *credential; /* never NULL after config_load() */
	const struct config_authority *authority; /* of the RADIUS server; NULL: not verified */
	bool insecure;
};

struct config_wifi {
	struct config_where where;
	char *ssid;                /* 1..32 bytes */
	char *password_file;       /* NULL: open network, or enterprise */
	char *bssid;               /* "xx:xx:xx:xx:xx:xx"; NULL: any */
	bool hidden;               /* it does not tell its name: all channels are searched */
	char *country;             /* two capital letters; NULL: left as it is */
	char *hostname;            /* NULL: left as it is */
	char *address;             /* IPv4; NULL: by DHCP */
	char *netmask;             /* with address */
	char *gateway;             /* with address */
	struct config_strings dns; /* IPv4 addresses; none: by DHCP */
	bool has_enterprise;
	struct config_eap enterprise;
};

struct config_device {
	struct config_where where;
	char *name;
	char *port;            /* /dev/..., usb:VID:PID[:SERIAL], unix:PATH, tcp:ADDRESS:PORT */
	unsigned int baud;     /* 80..5000000: as the chip has it after a reset */
	unsigned int max_baud; /* the highest one to be tried, at least baud; 0: that stays */
	enum config_flow flow_control;
	enum config_reset reset;
	enum config_receive receive;
	unsigned int max_links; /* 1..CONFIG_LINKS_MAX: those that are used */
	char *mac;              /* of the chip that belongs here, in lower case; NULL: see adopt */
	enum config_adopt adopt;
	bool has_wifi; /* false: the chip joins by itself */
	struct config_wifi wifi;
	enum config_time time;
	bool require_synchronized;         /* time = "host": only when the host's clock is */
	struct config_strings ntp_servers; /* time = "sntp": at least one */
};

struct config_authority {
	struct config_where where;
	char *name;
	char *file; /* NULL: its material is set in service, and kept in the state folder */
	int slot;   /* CONFIG_SLOT_AUTO or 0..CONFIG_SLOT_MAX */
};

struct config_identity {
	struct config_where where;
	char *name;
	char *cert; /* both NULL: as above */
	char *key;
	int slot; /* as above; the same number for client_cert and client_key */
};

/* What a value of an NVS entry is. */
enum config_nvs_kind {
	CONFIG_NVS_CA,
	CONFIG_NVS_CERT,
	CONFIG_NVS_KEY,
	CONFIG_NVS_RAW, /* bytes that nobody looks at */
};

/* A key of the chip's manufacturing NVS by its own name, for what is no tunnel's. */
struct config_nvs {
	struct config_where where;
	const struct config_device *device; /* NULL: all devices */
	char *namespace;
	int slot; /* CONFIG_SLOT_NONE or 0..CONFIG_SLOT_MAX */
	enum config_nvs_kind kind;
	char *file;
};

enum config_family {
	CONFIG_FAMILY_AUTO, /* IPv6 if the host is an IPv6 address, else IPv4 */
	CONFIG_FAMILY_IPV4,
	CONFIG_FAMILY_IPV6,
};

/* A pre-shared key instead of certificates. */
struct config_psk {
	struct config_where where;
	char *identity; /* 1..CONFIG_PSK_MAX bytes */
	char *file;
	bool hex; /* the file's first line is hexadecimal; else the key's own bytes */
};

struct config_tunnel {
	struct config_where where;
	char *name;
	const struct config_device *device;       /* NULL: any, see config_tunnel_uses() */
	const struct config_authority *authority; /* NULL only if insecure */
	const struct config_identity *identity;   /* NULL: no client certificate */
	char *host;
	unsigned int port;          /* 1..65535 */
	char *server_name;          /* SNI and checked name; = host if the config names none */
	bool insecure;              /* the server is not verified */
	struct config_strings alpn; /* in order of preference */
	bool has_psk;
	struct config_psk psk;
	unsigned int ciphers[CONFIG_CIPHERS_MAX]; /* IANA numbers; none: as the firmware likes */
	size_t n_ciphers;
	unsigned int keep_alive; /* s, 0..7200; 0: none */
	enum config_family family;
	bool diagnose; /* a failed connect may be looked into by one plain TCP connection */
	unsigned int connect_timeout;    /* s, 1..60: CIPSTART, from command to verdict */
	unsigned int wait_timeout;       /* s, 1..3600: how long a client waits for a free link */
	unsigned int half_close_timeout; /* s, 0..86400: how long a client that has shut down its
					    write side still receives; 0: no limit */
	unsigned int idle_timeout;       /* s, 0..86400: without a byte either way; 0: no limit */
	unsigned int max_waiting;        /* 0..1024: clients that may wait for a link */
	unsigned int max_clients; /* 0..CONFIG_CLIENTS_MAX: with a link, at once; 0: no limit */
	unsigned int reserve;     /* 0..CONFIG_LINKS_MAX: links of each of its devices that
					    other tunnels leave free for it */
	unsigned int mode;        /* of the socket, 0..0777 */
	struct config_ids acl_users, acl_groups;  /* who else may connect: entries of its ACL */
	struct config_ids allow_uids, allow_gids; /* none of both: whoever can connect */
};

struct config {
	unsigned int refs;
	char *path;   /* the file it came from */
	char **files; /* the files it includes, for struct config_where */
	size_t n_files;
	char *runtime_dir;          /* absolute */
	char *state_dir;            /* absolute */
	bool raw_commands;          /* Command of the D-Bus interface may be anything */
	unsigned int drain_timeout; /* s, 0..60: how long open connections go on at the end */
	struct config_device *devices;
	size_t n_devices;
	struct config_authority *authorities;
	size_t n_authorities;
	struct config_identity *identities;
	size_t n_identities;
	struct config_strings extra_namespaces; /* that `nvs` may write to, too */
	struct config_nvs *nvs;
	size_t n_nvs;
	struct config_tunnel *tunnels;
	size_t n_tunnels;
};

/*
 * Reads @path and what is beside it. All complaints go to @problems, one line each: "file:line: what, expected what".
 * Returns 0 and the config in *ret (owned by the caller), -EINVAL if there is any error among the
 * complaints, or -ENOMEM. Relative file names are taken relative to the folder of the file that
 * they stand in. A credential of the service is the path of its file, or without a CREDENTIALS_DIRECTORY
 * "credential:NAME" as it stands there: no path, which who needs the bytes has to complain of.
 */
int config_load(struct config **ret, const char *path, struct problems *problems);
/* A piece of configuration that stands in no file. */
struct config_text {
	const char *name; /* instead of a file's, in complaints and struct config_where */
	const char *text;
};
/*
 * The same with more: first @path, then each `*.conf` of the folder `conf.d` beside it, in the order of
 * their names, then @texts. Their lists are joined; other keys may stand in one of them only. A complaint
 * about a part names that part. In a text relative file names start from the folder of @path, and it
 * cannot include files. config_load() is this without texts.
 */
int config_load_with(struct config **ret, const char *path, const struct config_text *texts,
		     size_t n_texts, struct problems *problems);
/*
 * Another folder than the file's; @dir is taken relative to the working directory. Returns 0, -EINVAL
 * after a complaint (a socket's path would be too long), or -ENOMEM; the config is unchanged then.
 */
int config_set_runtime_dir(struct config *config, const char *dir, struct problems *problems);
int config_set_state_dir(struct config *config, const char *dir, struct problems *problems);
/* NAME of "credential:NAME", in @path; NULL: it is the path of a file. */
const char *config_credential_name(const char *path);
/* Whether @tunnel may connect through @device. */
bool config_tunnel_uses(const struct config_tunnel *tunnel, const struct config_device *device);
/* "any", or the name of its device. */
const char *config_tunnel_device(const struct config_tunnel *tunnel);
/* Whether @device must hold it in a slot of its own: for its tunnels, or by an NVS entry. */
bool config_needs_authority(const struct config *config, const struct config_device *device,
			    const struct config_authority *authority);
bool config_needs_identity(const struct config *config, const struct config_device *device,
			   const struct config_identity *identity);
/* Whether a tunnel of @family connects to @host by IPv6. */
bool config_wants_ipv6(enum config_family family, const char *host);
bool config_needs_nvs(const struct config_device *device, const struct config_nvs *nvs);
/* The entry of that name, or NULL. */
const struct config_device *config_find_device(const struct config *config, const char *name);
const struct config_authority *config_find_authority(const struct config *config, const char *name);
const struct config_identity *config_find_identity(const struct config *config, const char *name);
const struct config_tunnel *config_find_tunnel(const struct config *config, const char *name);
/* Whether both have the same settings; where they stand and what memory they are in does not matter. */
bool config_device_equal(const struct config_device *a, const struct config_device *b);
bool config_tunnel_equal(const struct config_tunnel *a, const struct config_tunnel *b);
/* Whether both are for the same key of the same chips. */
bool config_nvs_is_same(const struct config_nvs *a, const struct config_nvs *b);
/* All of it, each entry in the same place of its list. */
bool config_equal(const struct config *a, const struct config *b);
/* One more owner, who calls config_free(). */
struct config *config_ref(struct config *config);
/* NULL is allowed; returns NULL. */
struct config *config_free(struct config *config);
