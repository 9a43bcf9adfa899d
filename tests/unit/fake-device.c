/* SPDX-License-Identifier: MIT */
/* Doubles of devices and tunnels. */
#include "test.h"

#include "fake-device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fake fake;

/* Neither has a place for its observers yet that is its own alone. */
struct fake_dev {
	struct device dev;
	struct config_device settings;
	struct list observers;
	char name[64];
};

struct fake_tun {
	struct tunnel tunnel;
	struct config_tunnel config;
	struct list observers;
	char name[64];
};

void fake_reset(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.clock = "host";
	fake.resets = 3;
	fake.flash_writes = 1ull << 40;
	fake.tunnel_state = TUNNEL_LISTENING;
	fake.tunnel_path = "/run/espat/broker.sock";
	fake.waiting = 2;
	fake.tunnel_error = "";
}

struct device *fake_device(const char *name)
{
	struct fake_dev *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	snprintf(f->name, sizeof(f->name), "%s", name);
	f->settings.name = f->name;
	f->settings.port = (char *)"/dev/ttyUSB0";
	f->dev.settings = &f->settings;
	f->dev.state = DEVICE_READY;
	strcpy(f->dev.mac, "24:0a:c4:12:34:56");
	strcpy(f->dev.version.chip, "ESP32");
	strcpy(f->dev.version.core, "3.5.0.0-dev");
	strcpy(f->dev.firmware, "v4.1.0.0-dev");
	list_init(&f->observers);
	return &f->dev;
}

struct device *fake_device_free(struct device *dev)
{
	free(container_of(dev, struct fake_dev, dev));
	return NULL;
}

struct tunnel *fake_tunnel(const char *name, struct device *dev)
{
	struct fake_tun *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	snprintf(f->name, sizeof(f->name), "%s", name);
	f->config.name = f->name;
	f->config.device = dev->settings;
	f->config.host = (char *)"broker.example";
	f->config.port = 8883;
	f->tunnel.config = &f->config;
	list_init(&f->observers);
	return &f->tunnel;
}

struct tunnel *fake_tunnel_free(struct tunnel *tunnel)
{
	free(container_of(tunnel, struct fake_tun, tunnel));
	return NULL;
}

void device_watch(struct device *dev, struct device_watch *watch)
{
	list_append(&container_of(dev, struct fake_dev, dev)->observers, &watch->node);
}

void device_unwatch(struct device_watch *watch)
{
	list_remove(&watch->node);
}

void tunnel_watch(struct tunnel *tunnel, struct tunnel_watch *watch)
{
	list_append(&container_of(tunnel, struct fake_tun, tunnel)->observers, &watch->node);
}

void tunnel_unwatch(struct tunnel_watch *watch)
{
	list_remove(&watch->node);
}

void fake_device_changed(struct device *dev)
{
	list_for_each(it, &container_of(dev, struct fake_dev, dev)->observers) {
		struct device_watch *watch = container_of(it, struct device_watch, node);

		watch->changed(watch, dev, DEVICE_FACT_STATE);
	}
}

void fake_tunnel_changed(struct tunnel *tunnel)
{
	list_for_each(it, &container_of(tunnel, struct fake_tun, tunnel)->observers) {
		struct tunnel_watch *watch = container_of(it, struct tunnel_watch, node);

		watch->changed(watch, tunnel);
	}
}

void fake_tunnel_failed(struct tunnel *tunnel, const char *reason, const char *text)
{
	list_for_each(it, &container_of(tunnel, struct fake_tun, tunnel)->observers) {
		struct tunnel_watch *watch = container_of(it, struct tunnel_watch, node);

		watch->failed(watch, tunnel, reason, text);
	}
}

/* ---- requests ---- */

static struct device_request *fake_request(const char *what, struct device *dev,
					   device_done_fn done, void *userdata,
					   struct device_request **ret)
{
	struct device_request *req;

	if (fake.result < 0)
		return NULL;
	assert_true(fake.n < FAKE_REQUESTS_MAX);
	req = &fake.requests[fake.n++];
	req->what = what;
	req->dev = dev;
	req->done = done;
	req->userdata = userdata;
	req->pending = true;
	*ret = req;
	return req;
}

void fake_finish(struct device_request *req, enum device_result result,
		 const struct device_answer *answer)
{
	static const struct device_answer none = { .text = "" };

	assert_true(req->pending);
	req->pending = false;
	req->done(req->userdata, result, answer ? answer : &none);
}

void device_request_cancel(struct device_request *req)
{
	assert_true(req->pending);
	req->pending = false;
	req->cancelled = true;
}

int device_reset(struct device *dev, device_done_fn done, void *userdata,
		 struct device_request **ret)
{
	return fake_request("reset", dev, done, userdata, ret) ? 0 : fake.result;
}

int device_reprobe(struct device *dev, device_done_fn done, void *userdata,
		   struct device_request **ret)
{
	return fake_request("reprobe", dev, done, userdata, ret) ? 0 : fake.result;
}

int device_set_clock(struct device *dev, device_done_fn done, void *userdata,
		     struct device_request **ret)
{
	return fake_request("clock", dev, done, userdata, ret) ? 0 : fake.result;
}

int device_scan(struct device *dev, device_done_fn done, void *userdata,
		struct device_request **ret)
{
	return fake_request("scan", dev, done, userdata, ret) ? 0 : fake.result;
}

int device_join(struct device *dev, const struct device_join *join, device_done_fn done,
		void *userdata, struct device_request **ret)
{
	struct device_request *req = fake_request("join", dev, done, userdata, ret);

	if (!req)
		return fake.result;
	snprintf(req->text, sizeof(req->text), "%s", join->ssid);
	snprintf(req->password, sizeof(req->password), "%s", join->password);
	snprintf(req->bssid, sizeof(req->bssid), "%s", join->bssid ? join->bssid : "any");
	req->hidden = join->hidden;
	return 0;
}

int device_leave(struct device *dev, device_done_fn done, void *userdata,
		 struct device_request **ret)
{
	return fake_request("leave", dev, done, userdata, ret) ? 0 : fake.result;
}

enum device_command_class device_command_class(const char *line)
{
	if (strcmp(line, "AT+GMR") == 0)
		return DEVICE_COMMAND_HARMLESS;
	return strcmp(line, "AT+CWMODE=1") == 0 ? DEVICE_COMMAND_RAW : DEVICE_COMMAND_NEVER;
}

const char *device_command_refusal(const char *line)
{
	return device_command_class(line) == DEVICE_COMMAND_NEVER ? "it is not for the bus" : NULL;
}

int device_command(struct device *dev, const char *line, device_done_fn done, void *userdata,
		   struct device_request **ret)
{
	struct device_request *req = fake_request("command", dev, done, userdata, ret);

	if (!req)
		return fake.result;
	snprintf(req->text, sizeof(req->text), "%s", line);
	return 0;
}

int device_load(struct device *dev, const char *namespace, int slot, struct cert_blob *blob,
		device_done_fn done, void *userdata, struct device_request **ret)
{
	struct device_request *req = fake_request("load", dev, done, userdata, ret);

	if (req) {
		snprintf(req->text, sizeof(req->text), "%s", namespace);
		req->slot = slot;
		req->len = blob->len;
		req->kind = blob->kind;
		snprintf(req->value, sizeof(req->value), "%.*s", (int)blob->len, blob->data);
	}
	cert_blob_free(blob);
	return req ? 0 : fake.result;
}

int device_erase(struct device *dev, const char *namespace, int slot, device_done_fn done,
		 void *userdata, struct device_request **ret)
{
	struct device_request *req = fake_request("erase", dev, done, userdata, ret);

	if (!req)
		return fake.result;
	snprintf(req->text, sizeof(req->text), "%s", namespace);
	req->slot = slot;
	return 0;
}

int device_verify(struct device *dev, device_done_fn done, void *userdata,
		  struct device_request **ret)
{
	return fake_request("verify", dev, done, userdata, ret) ? 0 : fake.result;
}

/* ---- facts ---- */

void device_each_value(const struct device *dev,
		       void (*fn)(void *userdata, const struct device_value *value), void *userdata)
{
	for (size_t i = 0; i < fake.n_values; i++)
		fn(userdata, &fake.values[i]);
}

bool device_slot_users(const struct device *dev, const char *namespace, int slot, char *buf,
		       size_t size)
{
	if (fake.in_use)
		snprintf(buf, size, "%s", fake.in_use);
	return fake.in_use != NULL;
}

bool device_namespace_is_known(const struct device *dev, const char *namespace)
{
	static const char *const known[] = { "client_ca", "client_cert", "client_key", "mqtt_ca",
					     "mine" };

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(known[i], namespace) == 0)
			return true;
	return false;
}

enum cert_kind device_namespace_kind(const char *namespace)
{
	static const char *const ends[] = { "_ca", "_cert", "_key" };
	static const enum cert_kind kinds[] = { CERT_KIND_CA, CERT_KIND_CERT, CERT_KIND_KEY };

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		size_t len = strlen(namespace), end = strlen(ends[i]);

		if (len > end && strcmp(namespace + len - end, ends[i]) == 0)
			return kinds[i];
	}
	return CERT_KIND_RAW;
}

unsigned int device_links_in_use(const struct device *dev)
{
	return fake.links;
}

unsigned int device_free_heap(const struct device *dev)
{
	return fake.heap;
}

const char *device_flow_error(const struct device *dev)
{
	return dev->flow_failed ? dev->flow_failed : "";
}

const char *device_clock_source(const struct device *dev)
{
	return fake.clock;
}

uint64_t device_resets(const struct device *dev)
{
	return fake.resets;
}

uint64_t device_flash_writes(const struct device *dev)
{
	return fake.flash_writes;
}

const struct device_wifi *device_wifi(const struct device *dev)
{
	return &fake.wifi;
}

const char *device_state_name(enum device_state state)
{
	return state == DEVICE_READY ? "ready" : state == DEVICE_JOINING ? "joining" : "failed";
}

void record_namespace(const char *key, char buf[AT_NVS_NAME_MAX + 1])
{
	snprintf(buf, AT_NVS_NAME_MAX + 1, "%.*s", (int)strcspn(key, "."), key);
}

enum tunnel_state tunnel_state(const struct tunnel *tunnel)
{
	return fake.tunnel_state;
}

const char *tunnel_state_name(enum tunnel_state state)
{
	return state == TUNNEL_LISTENING ? "listening" : "failed";
}

const char *tunnel_path(const struct tunnel *tunnel)
{
	return fake.tunnel_path;
}

unsigned int tunnel_clients(const struct tunnel *tunnel)
{
	return fake.clients;
}

unsigned int tunnel_waiting(const struct tunnel *tunnel)
{
	return fake.waiting;
}

const char *tunnel_error(const struct tunnel *tunnel)
{
	return fake.tunnel_error;
}

const char *tunnel_error_reason(const struct tunnel *tunnel)
{
	if (fake.tunnel_reason)
		return fake.tunnel_reason;
	return fake.tunnel_error[0] ? "refused" : "";
}

unsigned int tunnel_disconnect(struct tunnel *tunnel, const char *why)
{
	fake.disconnects++;
	return 7;
}
