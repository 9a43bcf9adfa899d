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
/* ERROR to the line of a write or an erase: it means what it says the second time, when no byte of it
 * can have been lost on the way. */
#define PROVISION_REFUSED_MAX 2

enum want_state {
	WANT_OPEN,  /* it is not known where it goes */
	WANT_WRITE, /* it has its place, and is not there yet */
	WANT_THERE,
	WANT_FAILED, /* it cannot be had */
};

/* Something that this chip must hold. */
struct want {
	const char *what; /* "authority", for people */
	const char *name; /* weak */
	size_t item;      /* in the material */
	uint64_t hash;
	unsigned int generation;
	struct cert_blob blobs[MATERIAL_BLOBS]; /* copies, without bytes */
	size_t n_blobs;
	int pinned; /* CONFIG_SLOT_AUTO: the slot is chosen */
	bool named; /* its keys are given, there is no slot */
	enum want_state state;
	const char *why; /* it has failed */
	bool readable;   /* its bytes can be had */
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
	struct slot *value;
	struct cert_blob *blob; /* owned, with bytes, while it is written */
	unsigned int writes;    /* of this value */
	struct cert_digest *digest;
	bool complete; /* it was read to its end */
	/* the record */
	bool record_is_stuck; /* it cannot be written */
	struct record kept;   /* what it said before, or what was erased since */
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
void provision_count_write(struct device *dev, enum chan_result result);
void value_read(struct device *dev, struct slot *value, const char *key, enum cert_kind kind);
bool value_load(struct device *dev, struct want *want, size_t i);
void value_write(struct device *dev, struct want *want, size_t i);

/* provision-want.c */
void provision_collect(struct device *dev);
int provision_new(struct device *dev);
struct slot *want_value(struct device *dev, struct want *want, size_t i);
bool holding_is_broken(const struct device *dev, const struct want *want);
void want_fail(struct want *want, const char *why);
void want_settle(struct device *dev, struct want *want);
void want_take_slot(struct device *dev, struct want *want, int slot);
bool want_is_equal(const struct want *a, const struct want *b);
const struct want *want_find_twin(const struct provision *p, const struct want *want);
bool key_is_in_use(const struct device *dev, const char *key);
bool key_is_held(const struct device *dev, const char *key);
int want_recorded_slot(const struct device *dev, const struct want *want);
int want_superseded_slot(const struct device *dev, const struct want *want, bool *waits);

/* provision-record.c */
void record_read_all(struct device *dev);
void record_write(struct device *dev);
bool record_claim(struct device *dev, struct want *want);
bool retire_next(struct device *dev);
void note_orphans(struct device *dev);

/* step-provision.c: decides what comes next, and begins it. */
void provision_next(struct device *dev);
