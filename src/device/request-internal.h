/* SPDX-License-Identifier: MIT */
/* How a request is made, for the files of device/ that have one. */
#pragma once

#include <stdbool.h>

#include "device/device.h"
#include "device/request.h"
#include "util/list.h"

#define DEVICE_STATE_BIT(state) (1u << (state))

/*
 * The first member of a bigger heap object, which the device owns from device_request_submit() on.
 *
 * start() is called once, when it is the request's turn: it runs commands of its own (a chan_cmd in
 * the object), and at last ends in device_request_finish(). When the chip is lost or reset, an
 * embedded chan_cmd ends with CHAN_E_RESET first; its done() does nothing then (or ends the request
 * itself), for right after that the device ends it with DEVICE_E_GONE.
 */
struct device_request {
	struct device *dev; /* weak */
	struct list node;
	void (*start)(struct device_request *req);
	void (*free_data)(struct device_request *req); /* all but the object itself; may be NULL */
	device_done_fn done;
	void *userdata;
	bool running;
	bool cancelled; /* nobody is told of its end */
	/* Also of a chip that is not in service, but has a port; it goes on while the chip is set up. */
	bool any_state;
	/* The rest may be left as device_request_init() makes it. */
	unsigned int states; /* where it may start: DEVICE_STATE_BIT()s */
	/* The chip is in service (again), while it is running; may be NULL. */
	void (*in_service)(struct device_request *req);
	uint64_t since; /* when it was made or started, on the timers' clock */
};

/* start(), free_data() and any_state are for the caller to set. Returns 0. */
int device_request_init(struct device_request *req, struct device *dev, device_done_fn done,
			void *userdata);
/*
 * Returns 0, -ENOTCONN (the chip is not in service), or -EBUSY (DEVICE_REQUESTS_MAX are there). On
 * error the caller frees it. start() and done() are never called in here.
 */
int device_request_submit(struct device_request *req);
/* Calls done() unless it was cancelled, frees it, and lets the next one start. @answer NULL: empty. */
void device_request_finish(struct device_request *req, enum device_result result,
			   const struct device_answer *answer);

/*
 * For the done() of a request's command: ends it unless @result is CHAN_E_RESET; @answer is what an
 * ERROR means.
 */
void request_cmd_failed(struct device_request *req, enum chan_result result,
			const struct device_answer *answer);

/* ---- what the device does with them ---- */

/* Something may be able to start now. */
void requests_kick(struct device *dev);
/* After all commands of before have ended: the chip is lost, or is looked for anew. */
void requests_drop(struct device *dev);
/* The chip is in service, or is left alone on purpose. */
void requests_in_service(struct device *dev);
/* The clock is not set, or not anew; says so to whoever has asked for it. */
void requests_clock_failed(struct device *dev, enum device_result result, const char *text);
/* The network that was asked for is joined. */
void requests_joined(struct device *dev);
/*
 * It is not: who has asked for it is told, and what was before is wanted again, join_again() follows.
 * false: nobody has asked.
 */
bool requests_join_failed(struct device *dev, enum device_result result, const char *text);
/* The chip has left its network. */
void requests_left(struct device *dev);
