/* SPDX-License-Identifier: MIT */
/* The queue of one device's requests, and those that reset, look for or set the clock of its chip. */
#include "device/request.h"

#include <errno.h>
#include <stdlib.h>

#include "device/internal.h"
#include "device/request-internal.h"

/*
 * How long a request may wait for its turn, or for the chip to be in service: a bring-up with a full
 * NVS to write and a join that needs its time takes less. Only a clock that cannot be set takes longer.
 */
#define REQUEST_PATIENCE (300 * TIMERS_S)

/* Where a command finds a chip that answers, and nobody in its way. */
#define STATES_SERVING (DEVICE_STATE_BIT(DEVICE_READY) | DEVICE_STATE_BIT(DEVICE_OFFLINE))
/* From where it gets there without being looked for anew. */
#define STATES_SERVICE                                                                             \
	(STATES_SERVING | DEVICE_STATE_BIT(DEVICE_JOINING) | DEVICE_STATE_BIT(DEVICE_CLOCK))

static const char text_gone[] = "the chip was reset or lost meanwhile";
static const char text_absent[] = "the chip is not there any more";

static bool request_may_start(const struct device_request *req)
{
	return req->states & DEVICE_STATE_BIT(req->dev->state);
}

int device_request_init(struct device_request *req, struct device *dev, device_done_fn done,
			void *userdata)
{
	*req = (struct device_request){
		.dev = dev,
		.done = done,
		.userdata = userdata,
		.states = STATES_SERVING,
		.since = dev->timers->now,
	};
	list_init(&req->node);
	return 0;
}

static void request_free(struct device_request *req)
{
	req->dev->n_requests--;
	if (req->free_data)
		req->free_data(req);
	free(req);
}

/* ---- when ---- */

static void requests_tick(struct timer *timer);

/* When it is given up; TIMERS_NEVER where what it runs ends by itself. */
static uint64_t request_deadline(const struct device_request *req)
{
	return req->running && !req->in_service && !req->any_state ? TIMERS_NEVER
								   : req->since + REQUEST_PATIENCE;
}

static void requests_arm(struct device *dev)
{
	uint64_t next = TIMERS_NEVER;

	if (dev->request)
		next = request_deadline(dev->request);
	list_for_each(node, &dev->requests) {
		struct device_request *req = container_of(node, struct device_request, node);

		if (request_deadline(req) < next)
			next = request_deadline(req);
	}
	if (next != TIMERS_NEVER)
		timer_arm(&dev->requests_timer,
			  next > dev->timers->now ? next - dev->timers->now : 0);
	else
		timer_cancel(&dev->requests_timer);
}

void requests_kick(struct device *dev)
{
	if (dev->n_requests > 0)
		timer_arm(&dev->requests_timer, 0);
}

static void request_give_up(struct device_request *req)
{
	struct device *dev = req->dev;
	struct device_answer answer = {
		.text = dev->error[0] ? dev->error : "the chip did not get into service in time",
	};

	if (req->running && requests_join_failed(dev, DEVICE_E_TIMEOUT, answer.text))
		join_again(dev);
	else
		device_request_finish(req, DEVICE_E_TIMEOUT, &answer);
}

/* Those that were waiting for too long. */
static void requests_expire(struct device *dev)
{
	uint64_t now = dev->timers->now;
	struct list ending;
	struct list *node;

	list_init(&ending);
	list_for_each_safe(it, &dev->requests) {
		if (request_deadline(container_of(it, struct device_request, node)) > now)
			continue;
		list_remove(it);
		list_append(&ending, it);
	}
	if (dev->request && request_deadline(dev->request) <= now)
		request_give_up(dev->request);
	/* Whom it tells may cancel others of them. */
	while ((node = list_first(&ending)))
		request_give_up(container_of(node, struct device_request, node));
}

static void requests_start_next(struct device *dev)
{
	list_for_each_safe(node, &dev->requests) {
		struct device_request *req = container_of(node, struct device_request, node);

		if (!request_may_start(req))
			continue;
		list_remove(node);
		dev->request = req;
		req->running = true;
		req->since = dev->timers->now;
		req->start(req);
		return;
	}
}

static void requests_tick(struct timer *timer)
{
	struct device *dev = container_of(timer, struct device, requests_timer);

	requests_expire(dev);
	if (!dev->request)
		requests_start_next(dev);
	/* What has ended meanwhile wants the next one to start, and has armed it. */
	if (!timer_armed(timer))
		requests_arm(dev);
}

int requests_init(struct device *dev)
{
	return timer_init(&dev->requests_timer, dev->timers, requests_tick);
}

/* ---- the life of one ---- */

int device_request_submit(struct device_request *req)
{
	struct device *dev = req->dev;

	if (!(DEVICE_STATE_BIT(dev->state) & (req->any_state ? req->states : STATES_SERVICE)))
		return -ENOTCONN;
	if (dev->n_requests >= DEVICE_REQUESTS_MAX)
		return -EBUSY;
	dev->n_requests++;
	list_append(&dev->requests, &req->node);
	requests_kick(dev);
	return 0;
}

void device_request_finish(struct device_request *req, enum device_result result,
			   const struct device_answer *answer)
{
	static const struct device_answer empty = { .text = "" };
	struct device *dev = req->dev;

	list_remove(&req->node);
	if (dev->request == req)
		dev->request = NULL;
	if (!req->cancelled && req->done)
		req->done(req->userdata, result, answer ? answer : &empty);
	request_free(req);
	requests_kick(dev);
}

void device_request_cancel(struct device_request *req)
{
	req->cancelled = true;
	if (req->running)
		return;
	list_remove(&req->node);
	request_free(req);
}

int request_submit_or_free(struct device_request *req, struct device_request **ret)
{
	int r = device_request_submit(req);

	if (r < 0) {
		if (req->free_data)
			req->free_data(req);
		free(req);
		return r;
	}
	if (ret)
		*ret = req;
	return 0;
}

void request_cmd_failed(struct device_request *req, enum chan_result result,
			const struct device_answer *answer)
{
	/* The device ends it. */
	if (result == CHAN_E_RESET)
		return;
	if (result == CHAN_E_TIMEOUT)
		device_request_finish(
			req, DEVICE_E_TIMEOUT,
			&(struct device_answer){ .text = "the chip does not answer" });
	else
		device_request_finish(req, DEVICE_E_REFUSED, answer);
}

/* ---- the states of the device ---- */

/* Whether it ends where the device is now, and how. */
static bool request_is_over(const struct device_request *req, enum device_result *result,
			    struct device_answer *answer)
{
	const struct device *dev = req->dev;

	*answer = (struct device_answer){ .text = text_gone };
	*result = DEVICE_E_GONE;
	switch (dev->state) {
	case DEVICE_ABSENT:
		answer->text = text_absent;
		return true;
	case DEVICE_FAILED:
		if (dev->error[0])
			answer->text = dev->error;
		if (!req->any_state)
			return true;
		/* One that waits is to get the chip out of here. */
		*result = DEVICE_E_TIMEOUT;
		return req->running;
	case DEVICE_UNKNOWN_CHIP:
		answer->text = dev->error;
		return !req->any_state || req->running || !request_may_start(req);
	case DEVICE_PROBING:
	case DEVICE_IDENTIFYING:
	case DEVICE_CONFIGURING:
	case DEVICE_TUNING:
	case DEVICE_PROVISIONING:
	case DEVICE_JOINING:
	case DEVICE_CLOCK:
	case DEVICE_READY:
	case DEVICE_PROVISIONED:
	case DEVICE_OFFLINE:
		break;
	}
	return !req->any_state;
}

static void request_end(struct device_request *req)
{
	enum device_result result;
	struct device_answer answer;

	request_is_over(req, &result, &answer);
	device_request_finish(req, result, &answer);
}

void requests_drop(struct device *dev)
{
	enum device_result result;
	struct device_answer answer;
	struct list ending;
	struct list *node;

	list_init(&ending);
	list_for_each_safe(it, &dev->requests) {
		if (!request_is_over(container_of(it, struct device_request, node), &result,
				     &answer))
			continue;
		list_remove(it);
		list_append(&ending, it);
	}
	if (dev->request && request_is_over(dev->request, &result, &answer))
		request_end(dev->request);
	while ((node = list_first(&ending)))
		request_end(container_of(node, struct device_request, node));
}

void requests_in_service(struct device *dev)
{
	if (dev->request && dev->request->in_service)
		dev->request->in_service(dev->request);
	requests_kick(dev);
}

void requests_deinit(struct device *dev)
{
	requests_drop(dev);
	timer_deinit(&dev->requests_timer);
}

/* ---- reset, and looking for the chip ---- */

struct service_request {
	struct device_request req;
	bool reset;
};

static void service_start(struct device_request *req)
{
	struct device *dev = req->dev;
	bool reset = ((struct service_request *)req)->reset;

	dev_notice(dev, "%s, as was asked for",
		   reset ? "resetting the chip" : "looking for the chip anew");
	device_start_over(dev, reset);
}

static void service_is_there(struct device_request *req)
{
	device_request_finish(req, DEVICE_OK, NULL);
}

static int service_new(struct device *dev, bool reset, device_done_fn done, void *userdata,
		       struct device_request **ret)
{
	struct service_request *service = calloc(1, sizeof(*service));
	int r;

	if (!service)
		return -ENOMEM;
	r = device_request_init(&service->req, dev, done, userdata);
	if (r < 0) {
		free(service);
		return r;
	}
	service->reset = reset;
	service->req.start = service_start;
	service->req.in_service = service_is_there;
	service->req.any_state = true;
	service->req.states = ~DEVICE_STATE_BIT(DEVICE_ABSENT);
	return request_submit_or_free(&service->req, ret);
}

int device_reset(struct device *dev, device_done_fn done, void *userdata,
		 struct device_request **ret)
{
	return service_new(dev, true, done, userdata, ret);
}

int device_reprobe(struct device *dev, device_done_fn done, void *userdata,
		   struct device_request **ret)
{
	return service_new(dev, false, done, userdata, ret);
}

/* ---- the clock ---- */

static void clock_request_start(struct device_request *req)
{
	struct device *dev = req->dev;

	if (dev->state == DEVICE_OFFLINE && dev->settings->time != CONFIG_TIME_HOST) {
		device_request_finish(
			req, DEVICE_E_REFUSED,
			&(struct device_answer){ .text = "the time comes from time servers, and "
							 "the chip has left its network" });
		return;
	}
	/* Where it is being set right now, that is waited for. */
	if (dev->state != DEVICE_CLOCK)
		clock_set_now(dev);
}

int device_set_clock(struct device *dev, device_done_fn done, void *userdata,
		     struct device_request **ret)
{
	struct device_request *req = calloc(1, sizeof(*req));
	int r;

	if (!req)
		return -ENOMEM;
	r = device_request_init(req, dev, done, userdata);
	if (r < 0) {
		free(req);
		return r;
	}
	req->start = clock_request_start;
	req->in_service = service_is_there;
	req->states = STATES_SERVING | DEVICE_STATE_BIT(DEVICE_CLOCK);
	return request_submit_or_free(req, ret);
}

void requests_clock_failed(struct device *dev, enum device_result result, const char *text)
{
	if (dev->request && dev->request->start == clock_request_start)
		device_request_finish(dev->request, result,
				      &(struct device_answer){ .text = text });
}
