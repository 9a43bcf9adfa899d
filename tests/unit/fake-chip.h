/* SPDX-License-Identifier: MIT */
/*
 * A chip for the tests of device/: answers commands as the recorded one does, writes down what it was
 * told, and says something else where a test wants it to. Around it, a device on a virtual clock.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device/device.h"

struct chip_key {
	char name[AT_NVS_NAME_MAX + 1]; /* "client_ca.3", in the namespace before the dot */
	int type;                       /* 0: not there */
	bool ours;                      /* the device has written it */
	uint8_t data[CERT_BLOB_MAX];
	size_t len;
};

struct chip_answer {
	const char *command; /* a line begins so */
	const char *reply;   /* NULL: says nothing */
	int times;           /* left; -1: always */
};

struct chip {
	/* its end of the line; a difference to the host's, and nothing is understood */
	unsigned int baud, next_baud; /* next: when OK has gone */
	unsigned int flow, next_flow;
	unsigned int silent_above; /* cannot be heard at higher rates; 0: can */
	bool no_cts;               /* says nothing while it waits for CTS, and obeys */
	bool no_rts;               /* loses what is too fast for it */
	bool echo, mute;
	bool working;          /* see chip_works */
	const char *drops_for; /* and of each for a command that begins so */
	bool drop;             /* the first byte of the next payload is lost on its way */
	bool joined;
	char ssid[AT_SSID_MAX + 1]; /* "": "lab" */
	int mode;                   /* CWMODE */
	time_t clock;
	bool open[AT_LINKS];
	int sslconf[AT_LINKS][3];
	const char *gmr;
	const char *mac;
	const char *without; /* a command that AT+CMD? does not list */
	struct chip_key nvs[80];
	size_t n_nvs;
	unsigned int writes;    /* of keys, and erases, that took effect */
	const char *namespaces; /* what AT+SYSMFG? says, in place of the truth */
	int corrupt; /* so many of the next writes of keys that begin so are stored wrong */
	const char *corrupted;
	int lose; /* so many of the next writes of this key change nothing */
	const char *lost;
	struct chip_answer answers[16];
	/* what it was told: "AT+X|", "[payload's length]|" */
	char told[32768];
	size_t told_len;
	bool tells_samples; /* also what is asked in idle time, see sample.c */
	char sent[262144];  /* CIPSEND payloads, one after the other */
	size_t sent_len;
	size_t blocks_with_plus; /* payloads with three + in a row */
	/* on the way */
	uint8_t in[131072];
	size_t in_len;
	char out[65536];
	size_t out_len;
	/* a payload that is awaited */
	size_t wanted;
	size_t progress; /* of a long block: so much of it was told to have come */
	char wanted_for[257];
	/* see chip_die_at() */
	unsigned int moments;
	unsigned int dies_at;
	bool dead;
};

/* What an observer may show of a device, a text for each enum device_fact that has one. */
#define FACTS 10
struct facts {
	char text[FACTS][512];
};

struct bench {
	/* the host's end */
	unsigned int baud;
	bool rtscts, held;
	int line_error;        /* what every set_line() says */
	unsigned int port_max; /* above it, it says -EINVAL; 0: never */
	bool no_dtr;           /* set_reset() says -ENOTSUP */
	bool in_reset;
	unsigned int resets; /* times that it was let go from it */
	bool unseen;         /* the chip's RTS */
	struct timers timers;
	struct config config;
	struct config_device settings;
	struct config_authority authority;
	struct config_identity identity;
	struct config_tunnel tunnel;
	struct material material;
	struct material_item items[8];
	struct cert_blob ca, cert, key;
	int load_error;                /* what every load_blob() says; 0: the blob */
	const char *load_error_name;   /* only of this item; NULL: of all */
	unsigned int load_error_kinds; /* only of these kinds (bit mask); 0: of all */
	unsigned int loads;
	char known[AT_MAC_MAX + 1]; /* the chip that is remembered */
	int recall_error, remember_error;
	unsigned int recalls, remembers;
	struct device *dev;
	struct chip chip;
	char states[512]; /* "probing>identifying>..." */
	struct device_watch watch;
	unsigned int rooms;
	unsigned int discards;    /* of what was written and has not gone */
	unsigned int provisioned; /* times that a provisioning has ended */
	void (*on_provisioned)(struct bench *b);
	const char *handed_over; /* keys that are nobody's, " mqtt_ca mqtt_ca.1 " */
	time_t wallclock;
	bool unsynchronized;
	unsigned int facts;   /* that have changed */
	struct facts shown;   /* as they were when the device said so last */
	const char *password; /* what every secret's file holds; NULL: there is none */
};

/* A device with authority and identity for its tunnel, and a chip with an empty NVS; no port yet. */
void bench_init(struct bench *b);
void bench_free(struct bench *b);
/* The device is made anew, after a change of config or material. */
void bench_remake(struct bench *b);
/* The same for a configuration of the test's own. */
void bench_make(struct bench *b, const struct config *config, const struct config_device *settings,
		const struct material *material);
/* A blob of this text. */
void blob_init(struct cert_blob *blob, enum cert_kind kind, const char *text);
/* A key of the chip's NVS; it is made, with type 0, if it is not there. */
struct chip_key *chip_nvs(struct bench *b, const char *name);
/* What stands there is @blob, and binary. */
bool chip_holds(struct bench *b, const char *name, const struct cert_blob *blob);
/* The port comes up, and until the device is ready or has failed. */
void bench_up(struct bench *b);
/* The same, and all that it does by itself has been done; what it was told before is forgotten. */
void bench_up_idle(struct bench *b);
/* Until nobody has anything to say at the present time. */
void bench_run(struct bench *b);
/* One thing that the chip does, or one that it has said; false: there is none. */
bool bench_step(struct bench *b);
/* Lets time pass. */
void bench_pass(struct bench *b, uint64_t delay);
/* The chip says something by itself. */
void chip_say(struct bench *b, const char *text);
/* An answer that is none: until it says OK, ERROR or ready by chip_say() it works on that, and is busy. */
extern const char chip_works[];
/* Where a line begins with @command, the chip says @reply, so many times (-1: from now on). */
void chip_answer(struct bench *b, const char *command, const char *reply, int times);
/*
 * It falls silent at the @n-th moment from now on (1: the next one; 0: not at all). A line has two: when
 * it has come, and when it was obeyed but not yet answered. A payload has three: when half of it has
 * come, when it is whole, and when it was stored but not yet answered.
 */
void chip_die_at(struct bench *b, unsigned int n);
/*
 * It works again. @power: because it was off; else its host had gone, and it still waits for the rest of
 * a payload.
 */
void chip_revive(struct bench *b, bool power);
/* What the chip was told is forgotten. */
void chip_forget(struct bench *b);
int count_of(const char *text, const char *part);
