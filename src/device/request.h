/* SPDX-License-Identifier: MIT */
/*
 * Things that somebody asks of one chip in service: each is a heap object of the device's, its `done`
 * runs exactly once, never inside the call that made it, unless it is cancelled first. They run one at
 * a time for each device and wait while it is not DEVICE_READY; those that would wait for a chip that
 * is not in service are refused at once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "at/reply.h"
#include "cert/check.h"

struct device;
struct device_request;

/* More than anybody has use for; what comes on top is refused with -EBUSY. */
#define DEVICE_REQUESTS_MAX 64
/* Lines of an answer, and of each line the bytes, that are kept. */
#define DEVICE_ANSWER_LINES_MAX 256
#define DEVICE_ANSWER_LINE_MAX 1024

enum device_result {
	DEVICE_OK,
	DEVICE_E_REFUSED, /* the chip said ERROR */
	DEVICE_E_TIMEOUT,
	DEVICE_E_GONE,     /* the chip was reset, lost, or left service meanwhile */
	DEVICE_E_VERIFY,   /* what was written does not read back */
	DEVICE_E_NO_VALUE, /* nothing stands under that key */
	DEVICE_E_MEMORY,
};

/* A network of a scan. */
struct device_ap {
	char ssid[AT_SSID_MAX + 1];
	char bssid[AT_MAC_MAX + 1];
	int rssi; /* dBm */
	unsigned int channel;
	const char *security; /* "open", "wpa2", ... */
};

struct device_answer {
	const char *text; /* for people: why it failed; "" */
	const struct device_ap *aps;
	size_t n_aps;
	char *const *lines; /* of a command, or the problems that verifying has found */
	size_t n_lines;
};

typedef void (*device_done_fn)(void *userdata, enum device_result result,
			       const struct device_answer *answer);

/*
 * All: return 0 and the request, -ENOTCONN if the chip is not in service, -EBUSY if too many wait, or
 * -ENOMEM. Where more is said, that too.
 */

/* Resets the chip; done when it is back in service. Also of a chip that is not in service but has a
 * port. */
int device_reset(struct device *dev, device_done_fn done, void *userdata,
		 struct device_request **ret);
/* Looks for the chip anew, without a reset; done when it is in service. As device_reset(). */
int device_reprobe(struct device *dev, device_done_fn done, void *userdata,
		   struct device_request **ret);
/* Sets the clock now; done when it is set. */
int device_set_clock(struct device *dev, device_done_fn done, void *userdata,
		     struct device_request **ret);
int device_scan(struct device *dev, device_done_fn done, void *userdata,
		struct device_request **ret);

struct device_join {
	const char *ssid;     /* 1..32 bytes; "": back to what the configuration says */
	const char *password; /* "": an open network; copied, and wiped when it is replaced */
	const char *bssid;    /* NULL: any */
	bool hidden;
};
/*
 * Joins another network instead of the configured one, until device_leave(), another join, a restart
 * of the daemon or a change of the device's configuration. Its addresses and name servers are by DHCP.
 * Also of a chip that is joining or has failed. -EINVAL: what no command can carry, or is no address.
 *
 * Who asks may be on the other side of this very network: where it cannot be joined, the chip goes back
 * to what was before (the network of an earlier device_join(), the configured one, or none), and the
 * answer says why. Without a network before and without one in the configuration, the chip is reset, and
 * joins what it remembers.
 */
int device_join(struct device *dev, const struct device_join *join, device_done_fn done,
		void *userdata, struct device_request **ret);
/*
 * Leaves the network, until device_join(), or until somebody makes the chip join by a raw command:
 * DEVICE_OFFLINE, also after a reset. Also of a chip that is joining or has failed.
 */
int device_leave(struct device *dev, device_done_fn done, void *userdata,
		 struct device_request **ret);

enum device_command_class {
	DEVICE_COMMAND_HARMLESS, /* of the allow-list */
	DEVICE_COMMAND_RAW,      /* may do anything */
	DEVICE_COMMAND_NEVER,    /* it could tell a secret, or is no single command line */
};
/* Case-insensitive, and strict: what is not known to be harmless is not. */
enum device_command_class device_command_class(const char *line);
/* Why it is DEVICE_COMMAND_NEVER, for people; NULL if it is not. */
const char *device_command_refusal(const char *line);
/* Runs a command line of the class HARMLESS or RAW as it stands. -EINVAL: it is DEVICE_COMMAND_NEVER. */
int device_command(struct device *dev, const char *line, device_done_fn done, void *userdata,
		   struct device_request **ret);

/* ---- values of the manufacturing NVS, by namespace and slot ---- */

/* The slot that stands for the key without a suffix; as CONFIG_SLOT_NONE. */
#define DEVICE_SLOT_NONE (-1)

/*
 * Writes the bytes of @blob (taken, also on error) under the key, unless it holds them already, and reads
 * them back. -EPERM: the namespace is none that may be written to. -EADDRINUSE: a name of ours has the
 * key, see device_slot_users(); DEVICE_E_REFUSED if that has come about while it waited. -EINVAL: there
 * is no such slot, or its key would be too long. What espatd has left there for a name that nobody
 * needs is erased first.
 */
int device_load(struct device *dev, const char *namespace, int slot, struct cert_blob *blob,
		device_done_fn done, void *userdata, struct device_request **ret);
/* The same, with DEVICE_E_NO_VALUE where nothing stands. */
int device_erase(struct device *dev, const char *namespace, int slot, device_done_fn done,
		 void *userdata, struct device_request **ret);
/*
 * Reads all that stands in the known namespaces, so that device_each_value() tells it all; the answer's
 * lines say what of ours is not as it should be.
 */
int device_verify(struct device *dev, device_done_fn done, void *userdata,
		  struct device_request **ret);

/* Nobody waits for it any more: what runs is run to its end, what waits is dropped. Not after done(). */
void device_request_cancel(struct device_request *req);

/* A value of the chip, as far as it is known without asking. */
struct device_value {
	const char *namespace;
	int slot;              /* DEVICE_SLOT_NONE: the key has no suffix */
	const char *kind;      /* "ca", "certificate", "key", "raw", "other" (no binary value) */
	size_t len;            /* 0: not known */
	const uint8_t *digest; /* NULL: not known */
	const char *subject, *issuer; /* of the first certificate; "": not known, or none */
	time_t not_before, not_after; /* 0: likewise */
	const char *const
		*used_by; /* "authority:NAME", "identity:NAME", "nvs", "wifi"; NULL at the end */
};
void device_each_value(const struct device *dev,
		       void (*fn)(void *userdata, const struct device_value *value),
		       void *userdata);
/* Who needs the key, in words ("authority corp, of the tunnel broker"); false: nobody. */
bool device_slot_users(const struct device *dev, const char *namespace, int slot, char *buf,
		       size_t size);
/* If authorities, identities and NVS entries may stand there, or `extra_namespaces` has it. */
bool device_namespace_is_known(const struct device *dev, const char *namespace);
/* The kind that the namespace's name ends in; CERT_KIND_RAW for others. */
enum cert_kind device_namespace_kind(const char *namespace);
