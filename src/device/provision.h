/* SPDX-License-Identifier: MIT */
/* What the files of provisioning share; see step-provision.c. */
#pragma once

#include "device/internal.h"

/* SYSMFG's types (protocol fact 10): a PEM stored as a string is not found (fact 7). */
#define MFG_READ 1
#define MFG_WRITE 2
#define MFG_ERASE 0
#define MFG_BINARY 8
/* A value that does not read back right is written this often before we give up. */
#define PROVISION_WRITES_MAX 3
/* ERROR to a line: it means what it says the second time, when no byte of it
 * can have been lost on the way. */
#define PROVISION_REFUSED_MAX 2
/* What the host could not read is tried again after a while: doubled from the first to the second. It
 * costs the chip some commands, and no write. */
#define PROVISION_UNREAD (1 * TIMERS_S)
#define PROVISION_UNREAD_MAX (64 * TIMERS_S)

enum want_state {
	WANT_OPEN,  /* it is not known where it goes */
	WANT_WRITE, /* it has its place, and is not there yet */
	WANT_THERE,
	WANT_FAILED, /* it cannot be had */
	WANT_NONE,   /* nobody has set what it is to be yet */
};

/* How reading or writing a value ended. */
enum value_end {
	VALUE_END_DONE,    /* it was looked at; or it holds what was to be written */
	VALUE_END_REFUSED, /* the chip does not write it */
	VALUE_END_DIFFERS, /* it does not read back */
	VALUE_END_NOT_HAD, /* load() has failed */
};

/* A value that is read, or written and read back: one at a time, dev->io. */
struct value_io {
	char key[AT_NVS_NAME_MAX + 1];
	enum cert_kind kind;
	struct slot *value;         /* weak: what is known of it */
	struct cert_digest *digest; /* owned */
	size_t len;                 /* that was read */
	bool complete;              /* it was read to its end */
	uint8_t *text;              /* weak: CERT_BLOB_MAX bytes for what is read; NULL: not kept */
	const struct cert_blob *blob; /* weak: what it is to hold, by length and digest */
	struct cert_blob *bytes;      /* owned, with bytes, while they are written */
	unsigned int writes;          /* of this value */
	/* Makes @bytes. Returns 0 or -errno. */
	int (*load)(struct device *dev, struct value_io *io);
	void (*done)(struct device *dev, enum value_end end);
};

/* Something that this chip must hold. */
struct want {
	const char *what; /* "authority", for people */
	char name[CONFIG_NAME_MAX + 1];
	/* In the material; its n_items, which has a holding of its own: the name is gone. */
	size_t item;
	uint64_t hash;
	unsigned int generation;
	struct cert_blob blobs[MATERIAL_BLOBS]; /* copies, without bytes */
	size_t n_blobs;
	int pinned; /* CONFIG_SLOT_AUTO: the slot is chosen */
	bool named; /* its keys are given, there is no slot */
	enum want_state state;
	const char *why; /* it has failed */
	bool readable;   /* its bytes can be had */
	bool unread;     /* the host could not read them, as it had no memory or descriptor */
	bool is_twin;    /* an earlier one of the same content is written to the same place */
	int slot;
	char keys[MATERIAL_BLOBS][AT_NVS_NAME_MAX + 1]; /* once it has its place */
	struct slot values[MATERIAL_BLOBS];             /* what is under them, if they are named */
};

enum record_place {
	RECORD_MAIN,
	RECORD_COPY,
};

struct provision {
	struct want *wants;
	size_t n_wants;
	bool up;                /* the chip is being brought up; else it is in service */
	bool again;             /* the material has changed meanwhile */
	bool waits;             /* there will be room when a link has gone */
	bool full;              /* there was none for one of the wants */
	bool listed[3];         /* namespaces, by enum cert_kind */
	bool names_read;        /* which namespaces there are */
	uint64_t writes_before; /* dev->flash_writes, when it began */
	/* the value that is read or written */
	struct want *want;
	size_t index;
	struct value_io io;
	/* the record */
	bool complete;             /* it was read to its end */
	unsigned int record_tries; /* writes of it */
	bool record_is_stuck;      /* it cannot be written */
	struct record kept;        /* what it said before, or what was erased since */
	char text[CERT_BLOB_MAX];
	size_t text_len;
	enum record_place place; /* that is read or written */
	bool unusable[2];        /* it stands there as another type than binary */
	bool damaged;            /* one of them is */
	char erasing[AT_NVS_NAME_MAX + 1];
	unsigned int erases; /* of this key */
};

/* provision-value.c */
void provision_begin(struct device *dev, const char *name);
void provision_begin_op(struct device *dev, int op);
void provision_line(struct device *dev, int op, const char *key);
void provision_run(struct device *dev, void (*step)(struct device *dev, enum chan_result result));
/*
 * ERROR to a listing or a reading: there is nothing, or the line has damaged the name. Returns true if it is to be asked
 * again, and is believed then.
 */
bool provision_asks_again(struct device *dev, enum chan_result result);
void provision_count_write(struct device *dev, enum chan_result result);
/* @io->value, under @io->key: read, then @io->done(). */
void value_read(struct device *dev, struct value_io *io);
/* The same: @io->blob is written to it, whatever it holds, and read back. */
void value_write(struct device *dev, struct value_io *io);

/* provision-want.c */
int provision_collect(struct device *dev);
int provision_new(struct device *dev);
/* The name under which an NVS entry's value stands. */
void nvs_key(const struct config_nvs *nvs, char key[AT_NVS_NAME_MAX + 1]);
/* Where Enterprise Wi-Fi looks for the authority's or the identity's values. */
const char *const *eap_keys(const struct device *dev, enum material_type type);
/* Whether this chip must hold it, in whatever place. */
bool item_is_needed(const struct device *dev, size_t item);
struct slot *want_value(struct device *dev, struct want *want, size_t i);
bool holding_is_broken(const struct device *dev, const struct want *want);
void want_fail(struct want *want, const char *why);
/* Returns 0 and the bytes of one of its blobs, or -errno: then it has failed. */
int want_load(struct device *dev, struct want *want, size_t i, struct cert_blob **ret);
void want_settle(struct device *dev, struct want *want);
void want_take_slot(struct device *dev, struct want *want, int slot);
bool want_is_equal(const struct want *a, const struct want *b);
const struct want *want_find_twin(const struct provision *p, const struct want *want);
bool key_is_in_use(const struct device *dev, const char *key);
bool key_is_held(const struct device *dev, const char *key);
int want_recorded_slot(const struct device *dev, const struct want *want);
int want_superseded_slot(const struct device *dev, const struct want *want, bool *waits);

/* provision-lost.c: @digest is the value's. */
bool lost_is_left_alone(struct device *dev, const uint8_t digest[CERT_DIGEST_SIZE]);
void lost_write_begins(struct device *dev, const uint8_t digest[CERT_DIGEST_SIZE]);
void lost_write_ends(struct device *dev, bool good);
/* Whoever begins anew: the write that was under way has had no answer. */
void lost_note(struct device *dev);

/* provision-record.c */
void record_read_all(struct device *dev);
void record_write(struct device *dev);
bool record_claim(struct device *dev, struct want *want);
bool retire_next(struct device *dev);
void note_orphans(struct device *dev);
void forget_erased_names(struct device *dev);

/* step-provision.c: decides what comes next, and begins it. */
void provision_next(struct device *dev);
