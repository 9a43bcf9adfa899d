/* SPDX-License-Identifier: MIT */
/*
 * One chip: from an open port to five usable links, again after every reset, and what is known of
 * it. Pure: bytes come in by device_feed(), go out by ops->write(); time is that of its timers.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "at/reply.h"
#include "cert/material.h"
#include "chan/chan.h"
#include "config/config.h"
#include "device/hearsay.h"
#include "device/link.h"
#include "device/record.h"
#include "device/slots.h"
#include "util/list.h"
#include "util/timers.h"

enum device_state {
	DEVICE_ABSENT,       /* no port */
	DEVICE_PROBING,      /* looking for a chip that answers */
	DEVICE_IDENTIFYING,  /* version, commands, MAC */
	DEVICE_UNKNOWN_CHIP, /* not the chip that belongs here: it gets nothing */
	DEVICE_CONFIGURING,  /* into a known state */
	DEVICE_TUNING,       /* the line: a higher rate, flow control */
	DEVICE_PROVISIONING, /* certificates and keys */
	DEVICE_JOINING,      /* Wi-Fi */
	DEVICE_CLOCK,
	DEVICE_READY,       /* links can be opened */
	DEVICE_FAILED,      /* waiting to try again */
	DEVICE_PROVISIONED, /* provision_only: it holds what it should, and is left alone */
	DEVICE_OFFLINE,     /* it has left its network by device_leave(), and stays so */
};

/* What the firmware can do, by AT+CMD?, never by its version. */
enum device_feature {
	DEVICE_HAS_SYSMFG = 1 << 0,
	DEVICE_HAS_SYSTIMESTAMP = 1 << 1,
	DEVICE_HAS_CIPSSLCCONF = 1 << 2,
	DEVICE_HAS_CIPSSLCSNI = 1 << 3,
	DEVICE_HAS_CIPSSLCCN = 1 << 4,
	DEVICE_HAS_CIPRECVTYPE = 1 << 5,
	DEVICE_HAS_CIPRECVMODE = 1 << 6,
	DEVICE_HAS_CIPDOMAIN = 1 << 7,
	DEVICE_HAS_CIPSSLCCIPHER = 1 << 8,
	/* CIPSTART's last argument came with it, in v4.1 (field notes 1.2). */
	DEVICE_HAS_CIPSTART_TIMEOUT = DEVICE_HAS_CIPSSLCCIPHER,
	DEVICE_HAS_CIPCONNPERSIST = 1 << 9,
	DEVICE_HAS_CWJEAP = 1 << 10,
	DEVICE_HAS_CIPSENDL = 1 << 11,
	DEVICE_HAS_CIPSTATE = 1 << 12,
};

/* Where the chip's present time comes from. */
enum device_clock {
	DEVICE_CLOCK_UNSET,
	DEVICE_CLOCK_HOST,
	DEVICE_CLOCK_SNTP,
};

struct device_ops {
	void (*write)(void *userdata, const void *data, size_t len);
	/*
	 * What was written and has not gone over the line yet never goes: a chip that was reset would take the
	 * rest of a client's block for commands. May be NULL.
	 */
	void (*discard)(void *userdata);
	/*
	 * The host's end of the line; what was not sent yet is thrown away. 0, or -errno with all as it was,
	 * -ENOTSUP where it has no rate. May be NULL, as the next four: the line is as it is.
	 */
	int (*set_line)(void *userdata, unsigned int baud, bool rtscts);
	/* Holds the chip in reset, by DTR and RTS, or lets it go. 0, or -errno where that is not possible. */
	int (*set_reset)(void *userdata, bool on);
	/* False: the chip's RTS cannot be seen. */
	bool (*cts)(void *userdata);
	/* Stops reading, or goes on. */
	void (*hold)(void *userdata, bool hold);
	/* Bytes that were written and have not left, as far as is known. */
	size_t (*queued)(void *userdata);
	time_t (*wallclock)(void *userdata); /* the host's clock */
	/* Whether something keeps the host's clock right. */
	bool (*synchronized)(void *userdata);
	uint64_t (*random)(void *userdata);
	/* The first line of a secret's file, with NUL; the caller wipes it. Returns 0 or -errno. */
	int (*secret)(void *userdata, const char *path, char *buf, size_t size);
	/* The bytes of one of @item's blobs, owned by the caller. Returns 0 or -errno. */
	int (*load_blob)(void *userdata, const struct material_item *item, size_t blob,
			 struct cert_blob **ret);
	/* The MAC address of the chip that is remembered for this device, or "". 0 or -errno. */
	int (*recall_chip)(void *userdata, char mac[AT_MAC_MAX + 1]);
	int (*remember_chip)(void *userdata, const char *mac);
	/* What goes over the line, while device_set_trace() says so. May be NULL. */
	void (*trace)(void *userdata, const struct chan_piece *piece);
};

struct device;
struct device_request;
struct value_cache;
struct value_io;
struct value_request;

/* An observer; embedded in its owner, who removes it before he goes away. */
struct device_watch {
	struct list node;
	/* The state has changed from @old. May be NULL. */
	void (*state)(struct device_watch *watch, struct device *dev, enum device_state old);
	/* A link may be opened now, where none could a moment ago. May be NULL. */
	void (*room)(struct device_watch *watch, struct device *dev);
	/* Something that is told of it is another now, see enum device_fact. May be NULL. */
	void (*changed)(struct device_watch *watch, struct device *dev, unsigned int facts);
	/*
	 * Provisioning has ended, in bring-up or in service, with nothing more to do for now; see
	 * device_item_state(). Perhaps inside the call that has begun it, if no command was needed. May
	 * be NULL.
	 */
	void (*provisioned)(struct device_watch *watch, struct device *dev);
};

/* What an observer may want to tell others. */
enum device_fact {
	DEVICE_FACT_STATE = 1 << 0, /* also settings and the last error */
	DEVICE_FACT_CHIP = 1 << 1,  /* versions, MAC address */
	DEVICE_FACT_LINKS = 1 << 2, /* how many are in use */
	DEVICE_FACT_HEAP = 1 << 3,
	DEVICE_FACT_CLOCK = 1 << 4,
	DEVICE_FACT_RESETS = 1 << 5,
	DEVICE_FACT_FLASH = 1 << 6, /* writes */
	DEVICE_FACT_WIFI = 1 << 7,
	DEVICE_FACT_VALUES = 1 << 8,
	DEVICE_FACT_LINE = 1 << 9, /* rate and flow control */
};

/* How one of the material's items is held by a chip. */
enum device_item_state {
	DEVICE_ITEM_NOT_NEEDED,
	DEVICE_ITEM_THERE,   /* in its present generation, for new connections */
	DEVICE_ITEM_PENDING, /* it is being written, or the chip is not there */
	DEVICE_ITEM_FAILED,
};

/* Names whose orphans are still to be erased: whoever removes that many at once has others to erase. */
#define DEVICE_ERASE_NAMES_MAX 16
/*
 * So often may a chip lose step or restart in DEVICE_TROUBLE_TIME before it is left alone for a while: a line
 * that is bad now and then is no reason, a chip that restarts every few seconds is.
 */
#define DEVICE_TROUBLES_MAX 15
#define DEVICE_TROUBLE_TIME (60 * TIMERS_S)

/* Where an authority or identity is on this chip, for new connections. */
struct holding {
	int slot; /* -1: it is not there */
	unsigned int generation;
	struct cert_blob blobs[MATERIAL_BLOBS]; /* what stands there, without bytes */
	size_t n_blobs;
	bool suspected; /* it may not stand there any more: read it again */
	bool told;      /* that its newer material cannot be had */
	bool given_up;  /* the chip does not take it */
	/* Why its present material is not there, after provisioning has ended; "": it is. */
	char why[96];
};

/* A value whose writes have ended without an answer, one after the other. */
struct lost_writes {
	uint8_t digest[CERT_DIGEST_SIZE];
	unsigned int times; /* 0: nothing */
	uint64_t last;      /* µs */
};

/* So many of them are remembered; then the oldest is not. */
#define LOST_WRITES_MAX 8

/* A value that the chip is known to hold for us. */
struct device_key {
	char key[AT_NVS_NAME_MAX + 1];
	enum cert_kind kind;
	enum material_type type;
	bool wifi;                      /* Enterprise Wi-Fi uses it there */
	char name[CONFIG_NAME_MAX + 1]; /* of the authority or identity, or the namespace */
	unsigned int generation;
	size_t len;
	uint8_t digest[CERT_DIGEST_SIZE];
};

/* What the chip is joined to, as it was told last; all empty if it is not. */
struct device_wifi {
	char ssid[AT_SSID_MAX + 1];
	char bssid[AT_MAC_MAX + 1];
	unsigned int channel;
	int rssi; /* dBm; 0: not known */
	char address[AT_IPV4_MAX + 1];
	bool connected;
};

/* A network that was asked for at run time; see device_join(). */
struct device_network {
	char ssid[AT_SSID_MAX + 1];
	char password[AT_WIFI_PASSWORD_MAX + 1];
	char bssid[AT_MAC_MAX + 1]; /* "": any */
	bool hidden;
};

/*
 * A proof of the line: with echo on, a line without an end comes back byte for byte. Both ends of it are
 * made by the same generator of numbers, so that its length is of no matter.
 */
struct line_proof {
	bool active; /* what the chip says is compared */
	uint32_t write_seed, read_seed;
	size_t written, matched; /* of its bytes */
	size_t len;              /* of all of it */
	char text[80];           /* a line that is no part of it */
	size_t text_len;
	unsigned int rounds; /* done */
	uint64_t moved;      /* when something was written last, µs */
	size_t queued;       /* then */
	uint64_t deadline;
};

struct device {
	const struct config *config;          /* weak */
	const struct config_device *settings; /* weak, into config */
	const struct material *material;      /* weak */
	const struct device_ops *ops;
	void *userdata;
	struct timers *timers; /* weak */
	struct chan chan;
	struct list watches;

	enum device_state state;
	struct timer timer; /* of the state */
	/* The command of the running step machine, and what is called when it has ended. */
	struct chan_cmd cmd;
	void (*step)(struct device *dev, enum chan_result result);
	int step_no;
	unsigned int attempt;
	unsigned int failures; /* in a row, for the back-off */
	uint64_t retry_max;    /* of the next one; 0: as usual */
	char error[256];       /* the last one; "" for none */

	/* the line, see step-line.c */
	unsigned int baud;      /* of the host's end */
	unsigned int chip_baud; /* what the chip was told last, or has after a reset */
	bool rtscts;            /* RTS/CTS are in use, and proven */
	bool flow_set;          /* the chip was told to use them */
	bool line_fixed;        /* nothing can be changed at the host's end */
	unsigned int line_rate; /* that is tried, or in use */
	unsigned int
		line_failed; /* this rate does not work, nor do higher ones; 0: none has failed */
	const char
		*flow_failed; /* why RTS/CTS do not, a literal; NULL: they were not found wanting */
	unsigned int flow_proven;      /* the rate at which they have been proven; 0 */
	char line_mac[AT_MAC_MAX + 1]; /* of the chip of which all this is known */
	struct line_proof proof;
	struct timer noise_timer;
	struct chan_cmd noise_cmd; /* AT: whether it is still there */

	/* what is known of the chip */
	struct at_version version;
	char firmware[AT_VERSION_MAX]; /* the "Bin version" */
	char mac[AT_MAC_MAX + 1];
	char mac_before[AT_MAC_MAX +
			1]; /* as it was told when it was asked before, "" the first time */
	int mac_asked;
	unsigned int features; /* enum device_feature */
	bool tells_errno;      /* AT+SYSLOG=1 was sent since the last reset */
	bool booted;           /* it has just said `ready`: no block can be open */
	bool fresh;            /* nobody but us has spoken to it since it said `ready` */
	long cwmode;
	int cwstate;
	int cwjap_code;
	bool wifi_lost;  /* it was there and went away */
	bool refreshing; /* DEVICE_CLOCK from DEVICE_READY */
	char ssid[AT_SSID_MAX + 1];
	bool recovered; /* it was started over since it was last ready */
	/* when it lost step, or restarted unasked, the last times */
	uint64_t troubles[DEVICE_TROUBLES_MAX];
	unsigned int n_troubles;
	bool aside;     /* that was too often: nothing that it says is looked at for a while */
	bool restarted; /* it was reset once in this bring-up already */
	bool reset_due; /* it is to be reset as soon as it answers */
	bool forced;    /* it was reset by DTR and RTS since it was looked for anew */
	bool in_reset;  /* so at this moment */
	bool refused;   /* to leave the mode without link numbers, see step-configure.c */
	bool heard; /* it has said something since the port came up: another `ready` is a reset */
	uint64_t resets;
	unsigned int heap; /* free bytes; 0: not known */
	struct device_wifi wifi;

	/* what is asked of it, see request-internal.h */
	struct list requests;           /* those that wait */
	struct device_request *request; /* the one that runs; NULL: none */
	size_t n_requests;              /* of both */
	struct timer requests_timer;

	/* what is asked in idle time, see sample.c */
	struct timer sample_timer;
	struct chan_cmd sample_cmd;
	int sample_step;
	bool sample_joined;                    /* the chip has named a network */
	unsigned int sample_open, sample_seen; /* bits: open when it was asked, and what it named */
	bool sample_urgent;                    /* whoever is in the way */
	uint64_t sample_doubted;               /* when that was last so, µs */

	/* joining */
	struct device_network *network; /* owned; instead of the configured one; NULL: that */
	bool offline;                   /* it is to leave its network and stay away */
	bool join_due; /* another network is wanted, or none, as soon as the command has ended */
	bool joined;   /* to what it should be, as far as was asked */
	bool got_ip;   /* `WIFI GOT IP` came since the join was commanded */
	bool ip6_due;  /* the global IPv6 address of the present join has not come yet */
	bool wifi_prepared; /* the settings were made in this bring-up */
	bool wifi_changed;  /* one of them needs a new join, which was not commanded so far */
	int setting;
	unsigned int setting_lines; /* of an answer that say what they should */

	/* the clock */
	bool clock_done; /* it was seen to in this bring-up, if only for joining */
	bool clock_set;  /* it has been set as `time` wants it in this bring-up */
	bool clock_stale; /* the host's clock has jumped since, or time servers have set the chip's */
	long clock_pushed; /* what it was set to, s since 1970 */
	uint64_t clock_pushed_at;
	int clock_pushes; /* it was not found as set so many times */
	bool clock_told;  /* that the host's clock is of no use any more, in the log */
	bool sntp_runs;   /* the chip asks time servers that we have not named */
	bool clock_asked; /* somebody wants it set anew: where that fails, the time goes on */
	enum device_clock clock_source;
	long chip_time;

	/* probing */
	unsigned int rate;      /* which one of line_rates() is tried */
	struct hearsay hearsay; /* of a port on which nothing has answered so far */
	int plus_noises;        /* times that it was repeated for noise */
	uint64_t plus_bytes;    /* what had been heard until the last `+++` */
	uint64_t plus_at;       /* when `+++` was written; 0: not in this probing */
	bool plus_heard;        /* and the chip was busy: it has heard it at this rate */
	char nonce[32];
	bool nonce_seen;

	/* provisioning */
	struct slots slots;
	struct provision *provision; /* owned; NULL when not provisioning */
	struct chan_cmd mfg_cmd;
	void (*mfg_step)(struct device *dev, enum chan_result result);
	unsigned int mfg_refusals; /* of the same listing or reading, see provision_asks_again() */
	struct value_io *io;       /* weak: the value that is read or written */
	struct value_request *value_req; /* weak: the request for a value that is running */
	struct value_cache *values;      /* owned: what was found on the chip; NULL: nothing */
	bool provision_later;            /* asked for while a value was read or written */
	/* across bring-ups, see provision-lost.c */
	struct lost_writes lost_writes[LOST_WRITES_MAX];
	bool write_runs; /* of the value with this digest: */
	uint8_t write_digest[CERT_DIGEST_SIZE];
	struct timer lost_timer;   /* until one that was given up is written again */
	struct timer unread_timer; /* until what the host could not read is tried again */
	unsigned int unread_times; /* in a row, for the back-off */
	struct holding
		*holdings; /* of each of the material's items, and one of names that are gone */
	struct device_key keys[RECORD_MAX]; /* all of them, also for Wi-Fi and NVS entries */
	size_t n_keys;
	struct record record;        /* of what is ours on the chip, as it should be */
	struct record record_stored; /* and as the chip has it */
	struct record record_copy;   /* what is known to stand in its copy */
	struct record orphans;       /* entries that were told to be some */
	bool record_known;
	bool record_is_whole; /* it stands in its first place, not only in the copy */
	bool retire_later;    /* something to be erased is still in use */
	bool keep_old;        /* superseded generations stay for now */
	bool kept_old;        /* there are some */
	uint64_t erase_names[DEVICE_ERASE_NAMES_MAX]; /* record_name()s: their orphans go */
	size_t n_erase_names;
	bool incomplete;       /* something that it should hold cannot be had */
	bool eap_is_new;       /* the firmware looks for wpa_ent_*, not wpa2_* */
	bool provision_only;   /* set by the owner: no Wi-Fi, no links */
	bool erase_orphans;    /* likewise: what is ours and not needed goes */
	uint64_t flash_writes; /* and erases, since the device was made */
	int64_t uncounted; /* of them, more than record.writes has; less: it counts what is planned */

	struct link links[AT_LINKS];
	struct chan_cmd sendl_cmd; /* AT+CIPSENDLCFG */
	bool sendl_set;
	struct chan_cmd recv_cmd; /* AT+CIPRECVMODE, where the receive type is one for all links */
	bool recv_running;
	bool recv_passive; /* what it is set to */
};

/*
 * @settings is one of @config's devices; all pointers must outlive the device. Returns 0 or
 * -ENOMEM. A new device is DEVICE_ABSENT.
 */
int device_new(struct device **ret, const struct config *config,
	       const struct config_device *settings, const struct material *material,
	       struct timers *timers, const struct device_ops *ops, void *userdata);
/* Ends all links. NULL is allowed; returns NULL. */
struct device *device_free(struct device *dev);

/* The port is open and @baud is set; the chip is looked for. */
void device_port_up(struct device *dev, unsigned int baud);
/* The port cannot be opened. @why is for people. */
void device_port_waiting(struct device *dev, const char *why);
/* The port is gone: all links end. @why is for people. */
void device_port_down(struct device *dev, const char *why);
/* Bytes from the chip. */
void device_feed(struct device *dev, const uint8_t *data, size_t len);

/* Bytes of the chip were lost or damaged a moment ago: @what, in words. */
void device_bytes_lost(struct device *dev, const char *what);
/* The port is about to be closed in good order: the chip is told to go back to the rate it starts with. */
void device_port_closing(struct device *dev);

/* Whether ops->trace() is called. */
void device_set_trace(struct device *dev, bool on);

/* The host's clock was set, or the host has slept: the chip's clock is set again. */
void device_sync_clock(struct device *dev);

void device_watch(struct device *dev, struct device_watch *watch);
void device_unwatch(struct device_watch *watch);

/* A link for link_open(), or NULL if none is free now or a handshake is under way. */
struct link *device_free_link(struct device *dev);
/* Where the authority or identity is on this chip; -1 if it is not. */
int device_authority_slot(const struct device *dev, const struct config_authority *authority);
int device_identity_slot(const struct device *dev, const struct config_identity *identity);
/* And in which generation; 0 if it is not. */
unsigned int device_authority_generation(const struct device *dev,
					 const struct config_authority *authority);
unsigned int device_identity_generation(const struct device *dev,
					const struct config_identity *identity);
/* The material has changed: what is new is written, and used by new connections when it is there. */
void device_provision(struct device *dev);
/*
 * Another configuration takes the place of the present one, in which this device has the same settings
 * (config_device_equal()); what it knows of names that are in both stays. device_provision() follows.
 * Returns 0 or -ENOMEM (then nothing has changed).
 */
int device_reconfigure(struct device *dev, const struct config *config,
		       const struct config_device *settings, const struct material *material);
/*
 * While true, generations that were superseded stay on the chip: others are to have the new one first.
 * false: what is not used any more is erased, now or when its last link has gone.
 */
void device_keep_old(struct device *dev, bool keep);
/* @item: its place in the material. *why (DEVICE_ITEM_FAILED): a text that lives as long as the state. */
enum device_item_state device_item_state(const struct device *dev, size_t item, const char **why);
/* What is ours on the chip for a name of "authority" or "identity" that nobody needs is erased. */
void device_erase_name(struct device *dev, const char *what, const char *name);
/*
 * How that has gone: DEVICE_ITEM_PENDING; DEVICE_ITEM_NOT_NEEDED: nothing of it is there;
 * DEVICE_ITEM_FAILED and *why: something is.
 */
enum device_item_state device_erase_state(const struct device *dev, const char *what,
					  const char *name, const char **why);

/* ---- what is told of it ---- */

unsigned int device_links_in_use(const struct device *dev);
/* Bits per second of the line. */
unsigned int device_baud(const struct device *dev);
/* Why RTS/CTS are not in use although they are wanted; "": they are, or are not wanted. */
const char *device_flow_error(const struct device *dev);
/* Free memory in bytes, as it was told last; 0: not known. */
unsigned int device_free_heap(const struct device *dev);
/* "unset", "host" or "sntp": where the present time comes from. */
const char *device_clock_source(const struct device *dev);
uint64_t device_resets(const struct device *dev);       /* those seen since it was made */
uint64_t device_flash_writes(const struct device *dev); /* in the chip's life, as far as is known */

const struct device_wifi *device_wifi(const struct device *dev);

const char *device_state_name(enum device_state state);
