/* SPDX-License-Identifier: MIT */
/*
 * A device on a simulated chip (tests/sim's core), the line between them and the servers behind it, all on one
 * virtual clock. Each connection is to a port of its own, by which the two ends find each other; what either
 * side sends is known byte by byte, and what looks like the chip's own words is among it.
 *
 * Checked all the time: the server is asked for and verified as the target says; what arrives is what was
 * sent, in order and from the start, on both ends; a close delivers all; no call comes after the last one; each
 * command and each request ends once; no secret is in the log or in a trace. Once a byte of the line was
 * damaged on purpose, what depends on it is not checked any more.
 */
#pragma once

#include "../sim/core.h"
#include "device/device.h"
#include "device/request.h"

#define RIG_CONNECTIONS 48
#define RIG_REQUESTS 64
#define RIG_COMMANDS 64
/* What may wait for the chip: the longest block, its command, and what fills an open prompt. */
#define RIG_LINE_MAX (LINK_STREAM_MAX + 2 * LINK_BLOCK_MAX)
/* The first port of a server. */
#define RIG_PORT 1000

/* In each of them, so that they are found where they must not be. */
#define RIG_SECRET "hunter2-secret"

struct rig;

/* From a link_open() to its end, and its server's. */
struct rig_connection {
	struct rig *rig;   /* weak */
	struct link *link; /* weak; NULL: it has ended for its user */
	struct link_target target;
	bool open, ended;
	/* to the server */
	size_t submitted; /* by the user */
	size_t arrived;
	/* to the user */
	size_t said;   /* by the server */
	size_t read;   /* of that by the chip */
	size_t staged; /* by the user, in a block that is not believed yet */
	bool wrong;    /* that one is not what was sent */
	size_t got;
	bool closed; /* the server has, in good order */
};

/* What the chip has of it. */
struct rig_peer {
	bool used, opening;
	bool stuck; /* it has not taken all of a send */
	struct rig_connection
		*connection; /* NULL: a plain connection that looks whether there is a server */
};

struct rig_request {
	struct rig *rig; /* weak */
	struct device_request *request;
	bool pending;
};

struct rig_command {
	struct chan_cmd *cmd; /* NULL: the place is free */
	void (*done)(struct chan_cmd *cmd, enum chan_result result);
};

/* What goes on two chips that have the same settings, before and after a reload. */
struct rig_world {
	struct config config;
	struct config_authority authorities[2];
	struct config_identity identities[1];
	struct config_tunnel tunnels[2];
	struct material material;
	struct material_item items[3];
	struct cert_blob blobs[4];
};

struct rig {
	struct timers timers;
	struct config_device settings;
	struct rig_world worlds[2];
	int world; /* which one it is */
	struct device *dev;
	struct device_watch watch;
	enum device_state state; /* as it was told last */
	struct sim_core *core;
	struct sim_config chip;
	/* the line */
	unsigned int host_baud, chip_baud, next_baud;
	size_t next_after; /* bytes that the chip still says at its old rate */
	bool held;
	uint8_t line[RIG_LINE_MAX];
	size_t line_len;
	size_t chunk; /* most that goes over it at once */
	size_t drop_in, drop_out, flip_out, twice_out;
	bool hurt_in, hurt_out;
	/* behind the chip */
	struct rig_peer peers[SIM_LINKS];
	struct rig_connection connections[RIG_CONNECTIONS];
	size_t n_connections;
	bool resolving[2], asked_time, pinged;
	/* what is to go wrong from now on */
	int open_error, resolve_error, sntp_error, load_error, secret_error;
	bool deaf_network; /* no answer at all */
	bool slow_server;  /* takes less than it is given */
	enum link_probe probe;
	bool not_alone, unsynchronized;
	time_t wallclock;
	uint64_t misled_until; /* the chip's clock, by a time server */
	bool reset_due;        /* it does not get well without power being cut */
	struct rig_request requests[RIG_REQUESTS];
	size_t n_requests;
	struct rig_command commands[RIG_COMMANDS];
};

/* What differs between two runs. */
struct rig_options {
	const char *firmware;
	unsigned int max_baud;
	enum config_flow flow_control;
	enum config_receive receive;
	enum config_time time;
	unsigned int max_links;
	bool slow;  /* the chip takes its time */
	bool trace; /* and the log tells all */
};

void rig_init(struct rig *rig, const struct rig_options *options);
/* All must have ended by then. */
void rig_free(struct rig *rig);
/* Until nobody has anything to say at the present time. */
void rig_run(struct rig *rig);
void rig_pass(struct rig *rig, uint64_t delay);
/* What must be so between two deeds. */
void rig_check(const struct rig *rig);
/* Bytes that the chip has not said. */
void rig_inject(struct rig *rig, const uint8_t *data, size_t len);
void rig_plug(struct rig *rig);
void rig_unplug(struct rig *rig);
/* The chip's power is cut for a moment. */
void rig_cut_power(struct rig *rig);

/* A connection that was opened now; NULL: none may be. */
struct rig_connection *rig_open(struct rig *rig, enum link_auth auth, bool named);
/* So many bytes, or as many as fit. */
void rig_send(struct rig_connection *c, size_t len);
void rig_close(struct rig_connection *c);
/* The server does something; each does nothing if the chip has no such link. */
void rig_server_says(struct rig *rig, int link, size_t len);
void rig_server_closes(struct rig *rig, int link);

/* Where done() and its userdata of a request go; NULL: there is no place. */
struct rig_request *rig_request(struct rig *rig);
void rig_request_done(void *userdata, enum device_result result,
		      const struct device_answer *answer);
/* It was made, or not: @r as it was returned. */
void rig_request_made(struct rig_request *req, int r);
void rig_request_cancel(struct rig_request *req);
/* The configuration is read again. */
void rig_reload(struct rig *rig);
/* All that goes wrong stops; then the device must be in service, and serve somebody. */
void rig_heal(struct rig *rig);
