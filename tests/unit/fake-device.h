/* SPDX-License-Identifier: MIT */
/* In the place of src/device and src/tunnel: what was asked of them is kept, and answered by the test. */
#pragma once

#include <stdbool.h>

#include "device/device.h"
#include "device/request.h"
#include "tunnel/tunnel.h"

#define FAKE_REQUESTS_MAX 300

struct device_request {
	const char *what; /* "reset", ... */
	struct device *dev;
	device_done_fn done;
	void *userdata;
	bool pending;
	bool cancelled;
	/* arguments, copied */
	char text[1024]; /* command, SSID or namespace */
	char password[128], bssid[32];
	bool hidden;
	int slot;
	size_t len; /* of the value */
	enum cert_kind kind;
	char value[64]; /* its first bytes */
};

struct fake {
	int result;         /* of the next ones; 0: they wait for fake_finish() */
	const char *in_use; /* of device_slot_users() */
	struct device_request requests[FAKE_REQUESTS_MAX];
	size_t n; /* so many were made */
	struct device_wifi wifi;
	unsigned int heap, links;
	const char *clock;
	uint64_t resets, flash_writes;
	struct device_value values[4];
	size_t n_values;
	/* of all tunnels */
	enum tunnel_state tunnel_state;
	const char *tunnel_path;
	unsigned int clients, waiting;
	const char *tunnel_error;
	const char *tunnel_reason; /* NULL: as fits the error */
	unsigned int disconnects;
};

extern struct fake fake;

void fake_reset(void);
struct device *fake_device(const char *name);
struct device *fake_device_free(struct device *dev);
struct tunnel *fake_tunnel(const char *name, struct device *dev);
struct tunnel *fake_tunnel_free(struct tunnel *tunnel);
/* The chip has answered. */
void fake_finish(struct device_request *req, enum device_result result,
		 const struct device_answer *answer);
/* Its observers are told. */
void fake_device_changed(struct device *dev);
void fake_tunnel_changed(struct tunnel *tunnel);
void fake_tunnel_failed(struct tunnel *tunnel, const char *reason, const char *text);
