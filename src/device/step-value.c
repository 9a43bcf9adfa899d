/* SPDX-License-Identifier: MIT */
/*
 * Single values of the manufacturing NVS that somebody asks for: written, erased, or all of them looked
 * at. They are nobody's of the configuration, so our record does not list them.
 *
 * Such a request and a provisioning exclude each other: it waits for the end of one that runs, and one
 * that is asked for meanwhile comes after it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cert/digest.h"
#include "device/provision.h"
#include "device/request-internal.h"
#include "device/values.h"

enum value_op {
	VALUE_LOAD,
	VALUE_ERASE,
	VALUE_VERIFY,
};

struct value_request {
	struct device_request req; /* first */
	enum value_op op;
	bool busy; /* its commands are running */
	char namespace[AT_NVS_NAME_MAX + 1];
	int slot;
	char key[AT_NVS_NAME_MAX + 1];
	struct cert_blob *blob; /* owned, with bytes */
	struct value_io io;
	struct slot value;   /* what stands there */
	bool disowned;       /* what was ours there was erased */
	unsigned int erases; /* of this key */
	/* looking at all of them */
	struct value_cache *found; /* owned */
	uint64_t present;          /* namespaces that the chip has, by their place */
	size_t namespaces_done;
	size_t read; /* of the values that were found */
	uint8_t *text;
};

static struct value_request *of_request(struct device_request *req)
{
	return container_of(req, struct value_request, req);
}

/* ---- the life of a request ---- */

static void value_free_data(struct device_request *req)
{
	struct value_request *v = of_request(req);

	if (req->dev->value_req == v)
		req->dev->value_req = NULL;
	cert_blob_free(v->blob);
	cert_blob_free(v->io.bytes);
	cert_digest_free(v->io.digest);
	value_cache_free(v->found);
	if (v->text)
		explicit_bzero(v->text, CERT_BLOB_MAX);
	free(v->text);
}

static void value_finish_with(struct value_request *v, enum device_result result,
			      const struct device_answer *answer)
{
	struct device *dev = v->req.dev;
	bool later = dev->provision_later;

	dev->value_req = NULL;
	dev->provision_later = false;
	device_note(dev, DEVICE_FACT_VALUES);
	device_request_finish(&v->req, result, answer);
	if (later)
		provision_again(dev);
}

static void value_finish(struct value_request *v, enum device_result result, const char *text)
{
	value_finish_with(v, result, &(struct device_answer){ .text = text });
}

static void value_go(struct value_request *v);

static void value_start(struct device_request *req)
{
	req->dev->value_req = of_request(req);
	value_go(of_request(req));
}

static int value_request_new(struct value_request **ret, struct device *dev, enum value_op op,
			     device_done_fn done, void *userdata)
{
	struct value_request *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return -ENOMEM;
	r = device_request_init(&v->req, dev, done, userdata);
	if (r == 0)
		r = cert_digest_new(&v->io.digest);
	if (r < 0) {
		free(v);
		return r;
	}
	v->op = op;
	v->req.start = value_start;
	v->req.free_data = value_free_data;
	*ret = v;
	return 0;
}

bool values_are_busy(const struct device *dev)
{
	return dev->value_req && dev->value_req->busy;
}

void values_resume(struct device *dev)
{
	if (dev->value_req && !dev->value_req->busy && !dev->provision)
		value_go(dev->value_req);
}

void values_time_out(struct device *dev)
{
	if (values_are_busy(dev))
		value_finish(dev->value_req, DEVICE_E_TIMEOUT, "the chip does not answer");
}

/* ---- what is known of the place ---- */

static struct slot *slot_of_key(struct device *dev, const char *key)
{
	for (int kind = 0; kind < 3; kind++) {
		int slot = slots_of_key((enum cert_kind)kind, key);

		if (slot >= 0)
			return &dev->slots.of[kind][slot];
	}
	return NULL;
}

/* What was seen under a key is what provisioning believes of it, too. */
static void value_note_slot(struct device *dev, const char *key, const struct slot *seen)
{
	struct slot *slot = slot_of_key(dev, key);

	if (!slot)
		return;
	slot->content = seen->content;
	memcpy(slot->digest, seen->digest, sizeof(slot->digest));
}

static void value_begin(struct value_request *v, const char *key, enum cert_kind kind,
			void (*done)(struct device *dev, enum value_end end))
{
	v->busy = true;
	v->value.content = SLOT_UNKNOWN;
	v->io.value = &v->value;
	v->io.kind = kind;
	v->io.done = done;
	snprintf(v->io.key, sizeof(v->io.key), "%s", key);
}

/* ---- writing one ---- */

static int load_bytes(struct device *dev, struct value_io *io)
{
	const struct cert_blob *blob = dev->value_req->blob;

	return cert_blob_new(&io->bytes, blob->kind, blob->data, blob->len);
}

static void load_wrote(struct device *dev, enum value_end end)
{
	struct value_request *v = dev->value_req;

	value_note_slot(dev, v->key, &v->value);
	values_forget(dev, v->key);
	switch (end) {
	case VALUE_END_DONE:
		values_note(dev, v->namespace, v->slot, v->blob);
		value_finish(v, DEVICE_OK, "");
		return;
	case VALUE_END_REFUSED:
		value_finish(v, DEVICE_E_REFUSED,
			     "the chip refuses to write it (is its NVS full?)");
		return;
	case VALUE_END_DIFFERS:
		value_finish(v, DEVICE_E_VERIFY, "it does not read back as it was written");
		return;
	case VALUE_END_NOT_HAD:
		value_finish(v, DEVICE_E_MEMORY, "out of memory");
		return;
	}
}

static void load_looked(struct device *dev, enum value_end end)
{
	struct value_request *v = dev->value_req;

	if (slot_holds(&v->value, v->blob)) {
		load_wrote(dev, VALUE_END_DONE);
		return;
	}
	v->io.blob = v->blob;
	v->io.load = load_bytes;
	v->io.done = load_wrote;
	value_write(dev, &v->io);
}

/* ---- erasing one ---- */

static void erase_now(struct device *dev);

/* It is gone. What was ours there was asked to go, and the record is to say so. */
static void erase_finish(struct value_request *v)
{
	struct device *dev = v->req.dev;

	value_note_slot(dev, v->key, &v->value);
	values_forget(dev, v->key);
	if (!record_find(&dev->record, v->key) && !record_find(&dev->record_stored, v->key)) {
		value_finish(v, DEVICE_OK, "");
		return;
	}
	record_remove(&dev->record, v->key);
	if (v->op == VALUE_ERASE) {
		dev->provision_later = true;
		value_finish(v, DEVICE_OK, "");
		return;
	}
	/* Else what comes there next would be taken for ours, and erased as an orphan some day. */
	v->disowned = true;
	v->busy = false;
	dev->provision_later = false;
	provision_again(dev);
}

static void erase_looked(struct device *dev, enum value_end end)
{
	struct value_request *v = dev->value_req;

	if (v->value.content == SLOT_FREE && v->erases == 0 && v->op == VALUE_ERASE) {
		value_note_slot(dev, v->key, &v->value);
		values_forget(dev, v->key);
		value_finish(v, DEVICE_E_NO_VALUE, "nothing stands there");
	} else if (v->value.content == SLOT_FREE) {
		erase_finish(v);
	} else if (v->erases < PROVISION_REFUSED_MAX) {
		erase_now(dev);
	} else {
		value_note_slot(dev, v->key, &v->value);
		value_finish(v, DEVICE_E_REFUSED, "the chip does not erase it");
	}
}

static void erase_done(struct device *dev, enum chan_result result)
{
	struct value_request *v = dev->value_req;

	provision_count_write(dev, result);
	if (result == CHAN_OK)
		dev_notice(dev, "erased %s, as somebody has asked for", v->key);
	/* Whether it has gone is looked at, whatever the chip says. */
	v->value.content = SLOT_UNKNOWN;
	value_read(dev, &v->io);
}

static void erase_now(struct device *dev)
{
	struct value_request *v = dev->value_req;

	v->erases++;
	provision_line(dev, MFG_ERASE, v->key);
	provision_run(dev, erase_done);
}

/* ---- looking at all of them ---- */

static void verify_next(struct device *dev);

static void verify_names_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	struct device *dev = container_of(cmd, struct device, mfg_cmd);
	char line[sizeof("+SYSMFG:\"\"") + AT_NVS_NAME_MAX];
	const char *namespace;

	for (size_t i = 0; (namespace = values_namespace(dev, i)); i++) {
		snprintf(line, sizeof(line), "+SYSMFG:\"%s\"", namespace);
		if (strcmp(text, line) == 0)
			dev->value_req->present |= 1ull << i;
	}
}

static void verify_named(struct device *dev, enum chan_result result)
{
	struct value_request *v = dev->value_req;

	/* A firmware that does not tell is asked for each. */
	if (result != CHAN_OK)
		v->present = UINT64_MAX;
	/* Those of the slots in any case: what is not listed is free. */
	v->present |= 7;
	verify_next(dev);
}

static void verify_list_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	struct device *dev = container_of(cmd, struct device, mfg_cmd);
	struct value_request *v = dev->value_req;
	char key[AT_NVS_NAME_MAX + 1];
	int type, slot;

	if (!at_reply_mfg_entry(text, len, key, &type) || !values_slot_of(v->namespace, key, &slot))
		return;
	value_cache_add(v->found, v->namespace, slot, type == MFG_BINARY);
}

static void verify_listed(struct device *dev, enum chan_result result)
{
	struct value_request *v = dev->value_req;
	char key[AT_NVS_NAME_MAX + 1];

	for (int kind = 0; kind < 3; kind++) {
		if (strcmp(v->namespace, slots_namespace((enum cert_kind)kind)) != 0)
			continue;
		for (int slot = 0; slot < SLOTS_COUNT; slot++) {
			const struct value_entry *e = value_cache_find(v->found, v->namespace,
								       slot);
			struct slot seen = {
				.content = !e             ? SLOT_UNLISTED
					   : e->is_binary ? SLOT_UNREAD
							  : SLOT_UNUSABLE,
			};

			slots_key((enum cert_kind)kind, slot, key, sizeof(key));
			value_note_slot(dev, key, &seen);
		}
	}
	verify_next(dev);
}

static void verify_read(struct device *dev, enum value_end end)
{
	struct value_request *v = dev->value_req;
	struct value_entry *e = &v->found->entries[v->read++];

	value_note_slot(dev, v->io.key, &v->value);
	if (v->value.content == SLOT_READ)
		value_entry_fill(e, v->value.digest, v->io.len, v->io.text);
	if (v->io.text)
		explicit_bzero(v->text, CERT_BLOB_MAX);
	verify_next(dev);
}

/* Returns true if a value that was found is being read. */
static bool verify_read_next(struct device *dev)
{
	struct value_request *v = dev->value_req;
	char key[AT_NVS_NAME_MAX + 1];

	for (; v->read < v->found->n; v->read++) {
		struct value_entry *e = &v->found->entries[v->read];
		enum cert_kind kind = device_namespace_kind(e->namespace);

		if (!e->is_binary)
			continue;
		values_key(e->namespace, e->slot, key);
		value_begin(v, key, kind, verify_read);
		/* It was listed: what cannot be read is somebody's. */
		v->value.content = SLOT_UNREAD;
		v->io.text = kind == CERT_KIND_CA || kind == CERT_KIND_CERT ? v->text : NULL;
		value_read(dev, &v->io);
		return true;
	}
	return false;
}

static void verify_finish(struct device *dev)
{
	struct value_request *v = dev->value_req;
	struct value_problems problems = { 0 };
	struct device_answer answer = { .text = "" };

	value_cache_free(dev->values);
	dev->values = v->found;
	v->found = NULL;
	if (values_compare(dev, &problems) < 0) {
		value_problems_clear(&problems);
		value_finish(v, DEVICE_E_MEMORY, "out of memory");
		return;
	}
	answer.lines = problems.lines;
	answer.n_lines = problems.n;
	value_finish_with(v, DEVICE_OK, &answer);
	value_problems_clear(&problems);
}

/* Namespace by namespace: listed, then what it has is read. */
static void verify_next(struct device *dev)
{
	struct value_request *v = dev->value_req;
	const char *namespace;

	if (verify_read_next(dev))
		return;
	while ((namespace = values_namespace(dev, v->namespaces_done)) &&
	       !(v->present >> v->namespaces_done & 1))
		v->namespaces_done++;
	if (!namespace) {
		verify_finish(dev);
		return;
	}
	/* Its own copy: the configuration may change before the answer comes. */
	snprintf(v->namespace, sizeof(v->namespace), "%s", namespace);
	v->namespaces_done++;
	provision_begin_op(dev, MFG_READ);
	at_line_string(&dev->mfg_cmd.line, v->namespace);
	dev->mfg_cmd.on_line = verify_list_line;
	provision_run(dev, verify_listed);
}

static void verify_begin(struct value_request *v)
{
	struct device *dev = v->req.dev;

	v->busy = true;
	provision_begin(dev, "AT+SYSMFG?");
	dev->mfg_cmd.on_line = verify_names_line;
	provision_run(dev, verify_named);
}

/* ---- its turn ---- */

/* A key that was nobody's when it was asked for may have become a name's while it waited. */
static bool value_is_refused(struct value_request *v)
{
	struct device *dev = v->req.dev;
	char who[160], text[200];

	if (device_slot_users(dev, v->namespace, v->slot, who, sizeof(who)))
		snprintf(text, sizeof(text), "it is needed by %s meanwhile", who);
	else if (v->disowned && record_find(&dev->record_stored, v->key))
		snprintf(text, sizeof(text), "the record of what is ours cannot be written");
	else
		return false;
	value_finish(v, DEVICE_E_REFUSED, text);
	return true;
}

static void value_go(struct value_request *v)
{
	struct device *dev = v->req.dev;
	bool ours;

	/* values_resume() comes back to it. */
	if (dev->provision)
		return;
	if (v->op == VALUE_VERIFY) {
		verify_begin(v);
		return;
	}
	if (value_is_refused(v))
		return;
	ours = record_find(&dev->record, v->key) || record_find(&dev->record_stored, v->key);
	if (v->op == VALUE_LOAD && !ours) {
		value_begin(v, v->key, v->blob->kind, load_looked);
	} else {
		v->erases = 0;
		value_begin(v, v->key, CERT_KIND_RAW, erase_looked);
	}
	value_read(dev, &v->io);
}

/* ---- what is asked for ---- */

static int value_request_for(struct value_request **ret, struct device *dev, enum value_op op,
			     const char *namespace, int slot, device_done_fn done, void *userdata)
{
	char who[8];
	int r;

	if (!device_namespace_is_known(dev, namespace))
		return -EPERM;
	if (slot != DEVICE_SLOT_NONE && (slot < 0 || slot > CONFIG_SLOT_MAX))
		return -EINVAL;
	/* "<namespace>.<slot>" */
	if (slot != DEVICE_SLOT_NONE && strlen(namespace) + 2 > AT_NVS_NAME_MAX)
		return -EINVAL;
	if (device_slot_users(dev, namespace, slot, who, sizeof(who)))
		return -EADDRINUSE;
	r = value_request_new(ret, dev, op, done, userdata);
	if (r < 0)
		return r;
	snprintf((*ret)->namespace, sizeof((*ret)->namespace), "%s", namespace);
	(*ret)->slot = slot;
	values_key(namespace, slot, (*ret)->key);
	return 0;
}

int device_load(struct device *dev, const char *namespace, int slot, struct cert_blob *blob,
		device_done_fn done, void *userdata, struct device_request **ret)
{
	struct value_request *v = NULL;
	int r;

	r = value_request_for(&v, dev, VALUE_LOAD, namespace, slot, done, userdata);
	if (r < 0) {
		cert_blob_free(blob);
		return r;
	}
	v->blob = blob;
	return request_submit_or_free(&v->req, ret);
}

int device_erase(struct device *dev, const char *namespace, int slot, device_done_fn done,
		 void *userdata, struct device_request **ret)
{
	struct value_request *v = NULL;
	int r;

	r = value_request_for(&v, dev, VALUE_ERASE, namespace, slot, done, userdata);
	return r < 0 ? r : request_submit_or_free(&v->req, ret);
}

int device_verify(struct device *dev, device_done_fn done, void *userdata,
		  struct device_request **ret)
{
	struct value_request *v = NULL;
	int r;

	r = value_request_new(&v, dev, VALUE_VERIFY, done, userdata);
	if (r < 0)
		return r;
	v->text = malloc(CERT_BLOB_MAX);
	r = value_cache_new(&v->found, dev->mac);
	if (!v->text || r < 0) {
		value_free_data(&v->req);
		free(v);
		return -ENOMEM;
	}
	return request_submit_or_free(&v->req, ret);
}
