/* SPDX-License-Identifier: MIT */
/* How a request is made, for the files of device/ that have one. */
#pragma once

#include <stdbool.h>

#include "device/device.h"
#include "device/request.h"
#include "util/list.h"

/*
 * The first member of a bigger heap object, which the device owns from device_request_submit() on.
 *
 * start() is called once, when it is the request's turn: it runs commands of its own (a chan_cmd in
 * the object), and somewhen ends in device_request_finish(). When the chip is lost or reset, an
 * embedded chan_cmd ends with CHAN_E_RESET first; its done() does nothing then, for right after that
 * the device ends the request itself, with DEVICE_E_GONE.
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
	bool any_state; /* also of a chip that is not in service, but has a port */
};

/* start(), free_data() and any_state are for the caller to set. Returns 0 or -ENOMEM. */
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
