/* SPDX-License-Identifier: MIT */
/* Pending method calls. */
#include "bus/bus-request.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus/bus-text.h"

/* An error's text with each byte replaced. */
#define ERROR_TEXT_MAX (3 * sizeof(((struct bus_failure *)0)->text))

int bus_reply_failure(sd_bus_message *m, const struct bus_failure *failure)
{
	char text[ERROR_TEXT_MAX];

	bus_utf8(text, sizeof(text), failure->text);
	log_debug("bus: %s: %s: %s", sd_bus_message_get_member(m), bus_error_name(failure->error),
		  text);
	sd_bus_reply_method_error(m,
				  &SD_BUS_ERROR_MAKE_CONST(bus_error_name(failure->error), text));
	return 1;
}

int bus_send_reply(sd_bus_message *m, sd_bus_message *reply, int r)
{
	struct bus_failure failure;

	if (r >= 0)
		r = sd_bus_send(NULL, reply, NULL);
	sd_bus_message_unref(reply);
	if (r >= 0)
		return 1;
	/* A bus that has gone takes no error either. */
	bus_fail(&failure, r == -ENOMEM ? BUS_E_NO_MEMORY : BUS_E_FAILED,
		 "the answer cannot be sent: %s", strerror(-r));
	return bus_reply_failure(m, &failure);
}

/* ---- the end ---- */

/* What was begun for it goes on without it, or not at all. */
static void request_abandon(struct bus_request *req)
{
	bus_auth_cancel(&req->auth);
	bus_fd_clear(&req->input);
	if (req->device_request)
		device_request_cancel(req->device_request);
	req->device_request = NULL;
	if (req->changing)
		req->bus->ops->change_cancel(req->bus->userdata, req);
	req->changing = false;
}

static void request_free(struct bus_request *req)
{
	request_abandon(req);
	list_remove(&req->node);
	list_remove(&req->turn);
	req->bus->n_requests--;
	if (req->args.fd >= 0)
		close(req->args.fd);
	free(req->args.config_text);
	sd_bus_message_unref(req->message);
	free(req);
}

void bus_request_finish(struct bus_request *req, const struct bus_failure *failure)
{
	bus_reply_failure(req->message, failure);
	request_free(req);
}

void bus_request_fail(struct bus_request *req, enum bus_error error, const char *format, ...)
{
	struct bus_failure failure;
	va_list ap;

	va_start(ap, format);
	bus_vfail(&failure, error, format, ap);
	va_end(ap);
	bus_request_finish(req, &failure);
}

void bus_request_reply(struct bus_request *req, sd_bus_message *reply, int r)
{
	bus_send_reply(req->message, reply, r);
	request_free(req);
}

void bus_request_succeed(struct bus_request *req)
{
	sd_bus_message *reply = NULL;
	int r = sd_bus_message_new_method_return(req->message, &reply);

	bus_request_reply(req, reply, r);
}

void bus_request_done(struct bus_request *req, int r, const struct bus_failure *failure)
{
	if (r < 0)
		bus_request_finish(req, failure);
	else
		bus_request_succeed(req);
}

/* ---- its course ---- */

/*
 * Many may be ready in one turn of the loop, each by an event of its own: who finds that others have had
 * its time waits, behind those that wait already.
 */
static void request_run(struct bus_request *req)
{
	struct bus *bus = req->bus;

	if (list_empty(&bus->runnable) && !bus_turn_is_over(bus) && !bus->ops->busy(bus->userdata))
		req->method->run(req);
	else
		list_append(&bus->runnable, &req->turn);
}

void bus_requests_run(struct bus *bus)
{
	struct list *node;

	while (!bus->ops->busy(bus->userdata) && (node = list_first(&bus->runnable))) {
		struct bus_request *req = container_of(node, struct bus_request, turn);

		list_remove(node);
		req->method->run(req);
		if (bus_turn_is_over(bus))
			return;
	}
}

static void request_on_input(struct bus_fd *reader, const struct bus_failure *failure)
{
	struct bus_request *req = container_of(reader, struct bus_request, input);

	if (failure)
		bus_request_finish(req, failure);
	else
		request_run(req);
}

static void request_go_on(struct bus_request *req)
{
	int fd = req->args.fd;

	if (!req->method->reads) {
		request_run(req);
		return;
	}
	req->args.fd = -1;
	bus_fd_read(&req->input, req->bus->base, req->bus->timers, fd, req->method->end,
		    request_on_input);
}

static void request_on_auth(struct bus_auth *auth, enum bus_error verdict, const char *why)
{
	struct bus_request *req = container_of(auth, struct bus_request, auth);

	if (verdict != BUS_OK) {
		bus_request_fail(req, verdict,
				 "it takes root, the group %s, or polkit's action %s: %s",
				 BUS_ADMIN_GROUP, bus_action_name(auth->action), why);
		return;
	}
	log_info("bus: %s%s%s by uid %" PRId64 " (%s)", sd_bus_message_get_member(req->message),
		 req->object[0] ? " of " : "", req->object, auth->uid, why);
	request_go_on(req);
}

static int request_check_limits(struct bus *bus, sd_bus_message *m, struct bus_failure *failure)
{
	const char *sender = sd_bus_message_get_sender(m);
	unsigned int n = 0;

	if (bus->stopping)
		return bus_fail(failure, BUS_E_STOPPING, "the daemon is stopping");
	if (!sender)
		return bus_fail(failure, BUS_E_NOT_AUTHORIZED, "nobody is known to have called");
	list_for_each(it, &bus->requests) {
		struct bus_request *req = container_of(it, struct bus_request, node);

		n += strcmp(sd_bus_message_get_sender(req->message), sender) == 0;
	}
	if (n >= BUS_REQUESTS_SENDER_MAX || bus->n_requests >= BUS_REQUESTS_MAX)
		return bus_fail(failure, BUS_E_BUSY,
				"too many calls wait for an answer: at most %d of one caller, and "
				"%d in all",
				BUS_REQUESTS_SENDER_MAX, BUS_REQUESTS_MAX);
	return 0;
}

static struct bus_request *request_new(sd_bus_message *m, struct bus_object *object,
				       const struct bus_method *method)
{
	struct bus_request *req = calloc(1, sizeof(*req));

	if (!req)
		return NULL;
	req->bus = object->bus;
	req->method = method;
	req->message = sd_bus_message_ref(m);
	req->kind = object->kind;
	req->args.fd = -1;
	snprintf(req->object, sizeof(req->object), "%s", bus_object_name(object));
	list_init(&req->turn);
	list_append(&req->bus->requests, &req->node);
	req->bus->n_requests++;
	return req;
}

static int request_parse(struct bus_request *req, sd_bus_message *m, struct bus_failure *failure)
{
	int r;

	bus_reading_begins(req->bus);
	r = req->method->parse(req, m, failure);
	if (r < 0 && failure->oversize)
		bus_reading_ends(req->bus);
	bus_reading_forget(req->bus);
	return r;
}

int bus_request_begin(sd_bus_message *m, struct bus_object *object, const struct bus_method *method)
{
	struct bus_failure failure;
	struct bus_request *req;
	int r;

	if (request_check_limits(object->bus, m, &failure) < 0)
		return bus_reply_failure(m, &failure);
	req = request_new(m, object, method);
	if (!req) {
		bus_fail(&failure, BUS_E_NO_MEMORY, "out of memory");
		return bus_reply_failure(m, &failure);
	}
	/* What is wrong with a call is told to anybody, before polkit bothers somebody with it. */
	if (method->parse && request_parse(req, m, &failure) < 0) {
		bus_request_finish(req, &failure);
		return 1;
	}
	r = bus_auth_ask(&req->auth, req->bus, m, method->action, request_on_auth);
	if (r < 0)
		bus_request_fail(req, BUS_E_NOT_AUTHORIZED,
				 "the bus cannot be asked who you are: %s", strerror(-r));
	return 1;
}

struct bus_object *bus_request_object(struct bus_request *req)
{
	struct bus_object *object = bus_find(req->bus, req->kind, req->object);

	if (!object)
		bus_request_fail(
			req, req->kind == BUS_DEVICE ? BUS_E_NO_SUCH_DEVICE : BUS_E_NO_SUCH_TUNNEL,
			"%s: it was removed meanwhile", req->object);
	return object;
}

/* ---- on a chip ---- */

static void request_refused(struct bus_request *req, const struct device *dev, int r)
{
	const char *name = req->object;
	char users[256] = "a name of the configuration";

	switch (-r) {
	case ENOTCONN:
		bus_request_fail(
			req, BUS_E_NOT_READY, "%s: the chip is not in service, it is %s%s%s", name,
			device_state_name(dev->state), dev->error[0] ? ": " : "", dev->error);
		return;
	case EBUSY:
		bus_request_fail(req, BUS_E_BUSY, "%s: too many calls wait for the chip", name);
		return;
	case EADDRINUSE:
		device_slot_users(dev, req->args.namespace, req->args.slot, users, sizeof(users));
		bus_request_fail(req, BUS_E_SLOT_IN_USE, "%s: %s needs it", name, users);
		return;
	case EPERM:
		bus_request_fail(req, BUS_E_INVALID_ARGUMENT,
				 "namespace %s: expected one of certificates and keys, or of "
				 "extra_namespaces",
				 req->args.namespace);
		return;
	case EINVAL:
		bus_request_fail(req, BUS_E_INVALID_ARGUMENT, "%s: no command can carry that",
				 name);
		return;
	case ENOMEM:
		bus_request_fail(req, BUS_E_NO_MEMORY, "out of memory");
		return;
	}
	bus_request_fail(req, BUS_E_FAILED, "%s: %s", name, strerror(-r));
}

void bus_request_started(struct bus_request *req, struct bus_object *object, int r)
{
	if (r < 0) {
		req->device_request = NULL;
		request_refused(req, object->dev, r);
		return;
	}
	req->target = object;
	/* What it has carried is the device's now. */
	bus_fd_clear(&req->input);
}

void bus_request_start(struct bus_request *req,
		       int (*start)(struct device *dev, device_done_fn done, void *userdata,
				    struct device_request **ret),
		       device_done_fn done)
{
	struct bus_object *object = bus_request_object(req);

	if (object)
		bus_request_started(req, object,
				    start(object->dev, done, req, &req->device_request));
}

static enum bus_error result_error(enum device_result result)
{
	switch (result) {
	case DEVICE_OK:
		return BUS_OK;
	case DEVICE_E_REFUSED:
		return BUS_E_REFUSED;
	case DEVICE_E_TIMEOUT:
		return BUS_E_TIMEOUT;
	case DEVICE_E_GONE:
		return BUS_E_CHIP_GONE;
	case DEVICE_E_VERIFY:
		return BUS_E_VERIFY;
	case DEVICE_E_NO_VALUE:
		return BUS_E_NO_SUCH_VALUE;
	case DEVICE_E_MEMORY:
		return BUS_E_NO_MEMORY;
	}
	return BUS_E_FAILED;
}

static const char *result_text(enum device_result result)
{
	switch (result) {
	case DEVICE_OK:
		return "";
	case DEVICE_E_REFUSED:
		return "the chip has refused it";
	case DEVICE_E_TIMEOUT:
		return "the chip has not answered in time";
	case DEVICE_E_GONE:
		return "the chip was reset or lost before it had answered";
	case DEVICE_E_VERIFY:
		return "what was written does not read back";
	case DEVICE_E_NO_VALUE:
		return "nothing stands there";
	case DEVICE_E_MEMORY:
		return "out of memory";
	}
	return "?";
}

bool bus_request_is_good(struct bus_request *req, enum device_result result,
			 const struct device_answer *answer)
{
	bool told = answer && answer->text && answer->text[0];

	req->device_request = NULL;
	req->target = NULL;
	if (result == DEVICE_OK)
		return true;
	bus_request_fail(req, result_error(result), "%s: %s", req->object,
			 told ? answer->text : result_text(result));
	return false;
}

void bus_request_device_done(void *userdata, enum device_result result,
			     const struct device_answer *answer)
{
	struct bus_request *req = userdata;

	if (bus_request_is_good(req, result, answer))
		bus_request_succeed(req);
}

void bus_request_lines_done(void *userdata, enum device_result result,
			    const struct device_answer *answer)
{
	struct bus_request *req = userdata;
	sd_bus_message *reply = NULL;
	int r;

	if (!bus_request_is_good(req, result, answer))
		return;
	r = sd_bus_message_new_method_return(req->message, &reply);
	if (r >= 0)
		r = bus_append_texts(reply, (const char *const *)answer->lines, answer->n_lines);
	bus_request_reply(req, reply, r);
}

/* ---- on several chips ---- */

static int append_result(sd_bus_message *m, const struct bus_chip_result *result)
{
	int r = sd_bus_message_open_container(m, 'e', "s(bs)");

	if (r >= 0)
		r = bus_append_text(m, result->device);
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'r', "bs");
	if (r >= 0)
		r = sd_bus_message_append(m, "b", result->ok);
	if (r >= 0)
		r = bus_append_text(m, result->text);
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

void bus_request_change_done(void *userdata, const struct bus_failure *failure,
			     const struct bus_chip_result *results, size_t n)
{
	struct bus_request *req = userdata;
	sd_bus_message *reply = NULL;
	int r;

	req->changing = false;
	if (failure) {
		bus_request_finish(req, failure);
		return;
	}
	r = sd_bus_message_new_method_return(req->message, &reply);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "{s(bs)}");
	for (size_t i = 0; r >= 0 && i < n; i++)
		r = append_result(reply, &results[i]);
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	bus_request_reply(req, reply, r);
}

void bus_request_reload_done(void *userdata, const struct bus_failure *failure,
			     const struct bus_chip_result *results, size_t n)
{
	struct bus_request *req = userdata;

	req->changing = false;
	bus_request_done(req, failure ? -1 : 0, failure);
}

/* ---- all of them ---- */

void bus_requests_object_gone(struct bus *bus, const struct bus_object *object)
{
	list_for_each_safe(it, &bus->requests) {
		struct bus_request *req = container_of(it, struct bus_request, node);

		if (req->target == object)
			bus_request_fail(req, BUS_E_CHIP_GONE,
					 "%s: it was removed before the chip had answered",
					 req->object);
	}
}

void bus_requests_drop(struct bus *bus, const char *sender)
{
	list_for_each_safe(it, &bus->requests) {
		struct bus_request *req = container_of(it, struct bus_request, node);

		if (sender && strcmp(sd_bus_message_get_sender(req->message), sender) != 0)
			continue;
		log_debug("bus: %s: its caller has gone", sd_bus_message_get_member(req->message));
		request_free(req);
	}
}

void bus_requests_stop(struct bus *bus)
{
	list_for_each_safe(it, &bus->requests)
		bus_request_fail(container_of(it, struct bus_request, node), BUS_E_STOPPING,
				 "the daemon is stopping");
}
