/* SPDX-License-Identifier: MIT */
/*
 * One pending method call: parsed, authorised, its file descriptor read, then carried out, and
 * answered exactly once. It ends early, and what was begun for it is cancelled, when its caller, its
 * device, the bus or the daemon goes away.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "bus/bus-auth.h"
#include "bus/bus-fd.h"
#include "bus/error.h"
#include "bus/internal.h"
#include "config/config.h"
#include "device/request.h"

/* More than programs of good will have pending at once, in all and of one caller. */
#define BUS_REQUESTS_MAX 256
#define BUS_REQUESTS_SENDER_MAX 32

struct bus_request;

struct bus_method {
	enum bus_action action;
	/* Reads and checks the arguments, and has no other effect. 0, or -1 after bus_fail(). */
	int (*parse)(struct bus_request *req, sd_bus_message *m, struct bus_failure *failure);
	/* All is known and allowed: answers, or sees to it that it is answered. */
	void (*run)(struct bus_request *req);
	bool reads; /* args.fd, to @end, before run(): what was read is in req->input */
	enum bus_fd_end end;
};

/* The arguments, as far as a method has them; strings are the message's. */
struct bus_args {
	const char *name, *namespace, *text, *bssid;
	int slot;
	bool hidden, persist;
	enum log_level level;
	uint64_t max_bytes;
	unsigned int max_seconds;
	int fd;            /* owned; -1: none */
	char *config_text; /* owned */
};

struct bus_request {
	struct bus *bus; /* weak */
	const struct bus_method *method;
	struct list node;
	struct list turn; /* in bus->runnable, while it waits to be run */
	sd_bus_message *message;
	enum bus_object_kind kind;
	char object[CONFIG_NAME_MAX + 1]; /* name of the device or tunnel that was called */
	struct bus_args args;
	struct bus_auth auth;
	struct bus_fd input;
	/* at most one of them is under way */
	struct device_request *device_request;
	bool changing; /* by one of bus_ops, which calls bus_request_change_done() */
	const struct bus_object *target; /* weak: whose device has device_request */
};

/* The whole of a method's handler. Always returns 1: the message was taken care of. */
int bus_request_begin(sd_bus_message *m, struct bus_object *object,
		      const struct bus_method *method);

/* All of these answer and free @req. */
void bus_request_finish(struct bus_request *req, const struct bus_failure *failure);
__attribute__((format(printf, 3, 4))) void
bus_request_fail(struct bus_request *req, enum bus_error error, const char *format, ...);
void bus_request_succeed(struct bus_request *req); /* without a result */
/* @reply is taken; @r: what making it has come to, NULL if that is not 0. */
void bus_request_reply(struct bus_request *req, sd_bus_message *reply, int r);
/* After one of bus_ops that is done at once: @r as it has returned it. */
void bus_request_done(struct bus_request *req, int r, const struct bus_failure *failure);

/* What was called is looked up again. NULL: it has gone, and that was answered. */
struct bus_object *bus_request_object(struct bus_request *req);
/* After one of device/request.h: @r, and the request in req->device_request. Answers if it has failed. */
void bus_request_started(struct bus_request *req, struct bus_object *object, int r);
/* The whole of run() for one of device/request.h that takes no arguments. */
void bus_request_start(struct bus_request *req,
		       int (*start)(struct device *dev, device_done_fn done, void *userdata,
				    struct device_request **ret),
		       device_done_fn done);
/* In a device_done_fn: false: it has failed, and that was answered. */
bool bus_request_is_good(struct bus_request *req, enum device_result result,
			 const struct device_answer *answer);
/* A device_done_fn of what has no result. */
void bus_request_device_done(void *userdata, enum device_result result,
			     const struct device_answer *answer);
/* A device_done_fn of what is answered by lines. */
void bus_request_lines_done(void *userdata, enum device_result result,
			    const struct device_answer *answer);
/* A bus_change_fn, whose results are the answer. */
void bus_request_change_done(void *userdata, const struct bus_failure *failure,
			     const struct bus_chip_result *results, size_t n);

/* The same of what has no results. */
void bus_request_reload_done(void *userdata, const struct bus_failure *failure,
			     const struct bus_chip_result *results, size_t n);

/* Runs those that wait for it, unless the daemon is busy: as many as this turn has time for, or one. */
void bus_requests_run(struct bus *bus);
/* Those that run on it end with an error. */
void bus_requests_object_gone(struct bus *bus, const struct bus_object *object);
/* Nobody waits for an answer of theirs any more; @sender NULL: of nobody. */
void bus_requests_drop(struct bus *bus, const char *sender);
/* All end with BUS_E_STOPPING. */
void bus_requests_stop(struct bus *bus);

/* For handlers that answer at once; all return 1. */
int bus_reply_failure(sd_bus_message *m, const struct bus_failure *failure);
/* @reply is taken; @r: what making it has come to. */
int bus_send_reply(sd_bus_message *m, sd_bus_message *reply, int r);

/* The handler on_NAME() of the vtable, for method_NAME. */
#define BUS_HANDLER(name)                                                                          \
	static int on_##name(sd_bus_message *m, void *userdata, sd_bus_error *error)               \
	{                                                                                          \
		return bus_request_begin(m, userdata, &method_##name);                             \
	}
/* The library's own idea of privilege is not ours: every call comes to the handler. */
#define BUS_METHOD(member, signature, in_names, result, out_names, handler)                        \
	SD_BUS_METHOD_WITH_NAMES(member, signature, in_names, result, out_names, handler,          \
				 SD_BUS_VTABLE_UNPRIVILEGED)
#define BUS_PROPERTY(member, signature, flags)                                                     \
	SD_BUS_PROPERTY(member, signature, bus_get_property, 0, flags)
