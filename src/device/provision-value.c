/* SPDX-License-Identifier: MIT */
/* Values in the manufacturing NVS: read, compared, written, and read back. */
#include <errno.h>
#include <string.h>

#include "cert/digest.h"
#include "device/provision.h"
#include "util/log.h"

/* ---- commands ---- */

static void provision_cmd_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct device *dev = container_of(cmd, struct device, mfg_cmd);

	/* Whoever reset the channel has also ended this; after silence trouble follows. */
	if (result == CHAN_E_RESET || result == CHAN_E_TIMEOUT)
		return;
	dev->mfg_step(dev, result);
}

void provision_begin(struct device *dev, const char *name)
{
	chan_cmd_begin(&dev->mfg_cmd, name);
}

void provision_begin_op(struct device *dev, int op)
{
	provision_begin(dev, "AT+SYSMFG");
	at_line_int(&dev->mfg_cmd.line, op);
}

/* `AT+SYSMFG=<op>,"<ns>","<key>"` */
void provision_line(struct device *dev, int op, const char *key)
{
	char namespace[AT_NVS_NAME_MAX + 1];

	record_namespace(key, namespace);
	provision_begin_op(dev, op);
	at_line_string(&dev->mfg_cmd.line, namespace);
	at_line_string(&dev->mfg_cmd.line, key);
}

void provision_run(struct device *dev, void (*step)(struct device *dev, enum chan_result result))
{
	at_line_end(&dev->mfg_cmd.line); /* names are short: it always fits */
	dev->mfg_cmd.timeout = DEVICE_TIMEOUT_FLASH;
	dev->mfg_cmd.done = provision_cmd_done;
	dev->mfg_step = step;
	chan_submit(&dev->chan, CHAN_CONTROL, &dev->mfg_cmd);
}

void provision_count_write(struct device *dev, enum chan_result result)
{
	if (result == CHAN_E_ERROR)
		return;
	dev->flash_writes++;
	dev->uncounted++;
}

/* ---- reading a value ---- */

static void value_data(struct chan_cmd *cmd, const struct at_block *block, const uint8_t *data,
		       size_t len)
{
	struct device *dev = container_of(cmd, struct device, mfg_cmd);
	struct provision *p = dev->provision;

	if (block->type != AT_BLOCK_SYSMFG || block->kind != MFG_BINARY)
		return;
	if (data)
		cert_digest_update(p->digest, data, len);
	else
		p->complete = true;
}

static void value_write_now(struct device *dev);

/*
 * Not tried again before the next bring-up, as each try wears the flash out. The other values, and
 * the tunnels that need no more than those, go on.
 */
static void value_give_up(struct device *dev, const char *why)
{
	dev->provision->writes = 0;
	dev->holdings[dev->provision->want->item].given_up = true;
	want_fail(dev->provision->want, why);
	provision_next(dev);
}

/* What was written must be what is there. */
static void value_compare(struct device *dev)
{
	struct provision *p = dev->provision;
	struct want *want = p->want;
	const char *key = want->keys[p->index];

	if (slot_holds(p->value, &want->blobs[p->index])) {
		p->writes = 0;
		provision_next(dev);
		return;
	}
	if (p->writes >= PROVISION_WRITES_MAX) {
		value_give_up(dev, "it does not read back as it was written");
		return;
	}
	if (p->value->content == SLOT_READ)
		log_warning("%s: %s does not read back as it was written, writing it again",
			    dev->settings->name, key);
	else
		log_warning("%s: %s is not there after it was written (if the line has lost a byte "
			    "of its name, it is on the chip under another one), writing it again",
			    dev->settings->name, key);
	value_write_now(dev);
}

static void value_read_done(struct device *dev, enum chan_result result)
{
	struct provision *p = dev->provision;
	struct slot *value = p->value;

	/* ERROR: the key, or its namespace, is not there (protocol fact 11). */
	if (result == CHAN_E_ERROR && value->content == SLOT_UNKNOWN)
		value->content = SLOT_FREE;
	else
		value->content = SLOT_UNUSABLE;
	if (result == CHAN_OK && p->complete && cert_digest_final(p->digest, value->digest) == 0)
		value->content = SLOT_READ;
	if (p->writes > 0)
		value_compare(dev);
	else
		provision_next(dev);
}

void value_read(struct device *dev, struct slot *value, const char *key, enum cert_kind kind)
{
	struct provision *p = dev->provision;

	p->value = value;
	p->complete = false;
	cert_digest_reset(p->digest);
	provision_line(dev, MFG_READ, key);
	dev->mfg_cmd.on_data = value_data;
	dev->mfg_cmd.secret_reply = kind == CERT_KIND_KEY || kind == CERT_KIND_RAW;
	provision_run(dev, value_read_done);
}

/* ---- writing a value ---- */

static void value_written(struct device *dev, enum chan_result result)
{
	struct provision *p = dev->provision;
	const struct cert_blob *blob = &p->want->blobs[p->index];
	const char *key = p->want->keys[p->index];

	dev->mfg_cmd.payload = NULL;
	p->blob = cert_blob_free(p->blob);
	provision_count_write(dev, result);
	if (result == CHAN_E_ERROR) {
		if (p->writes < PROVISION_REFUSED_MAX)
			value_write_now(dev);
		else
			value_give_up(dev, "the chip refuses to write it (is its NVS full?)");
		return;
	}
	if (result == CHAN_OK)
		log_notice("%s: wrote %s, %zu bytes", dev->settings->name, key, blob->len);
	value_read(dev, p->value, key, blob->kind);
}

/* The bytes of one of @want's blobs, into p->blob; what is already told makes it fail. */
bool value_load(struct device *dev, struct want *want, size_t i)
{
	struct provision *p = dev->provision;
	const struct material_item *item = &dev->material->items[want->item];
	int r;

	r = dev->ops->load_blob(dev->userdata, item, i, &p->blob);
	/* The material may be another one since the place was chosen. */
	if (r == 0 && !cert_blob_equal(p->blob, &want->blobs[i]))
		r = -ESTALE;
	if (r == 0)
		return true;
	p->blob = cert_blob_free(p->blob);
	want_fail(want, r == -ESTALE ? "its files have changed" : strerror(-r));
	return false;
}

static void value_write_now(struct device *dev)
{
	struct provision *p = dev->provision;
	struct want *want = p->want;

	if (!value_load(dev, want, p->index)) {
		p->writes = 0;
		provision_next(dev);
		return;
	}
	p->writes++;
	provision_line(dev, MFG_WRITE, want->keys[p->index]);
	at_line_int(&dev->mfg_cmd.line, MFG_BINARY);
	at_line_int(&dev->mfg_cmd.line, (long)p->blob->len);
	dev->mfg_cmd.kind = CHAN_BLOCK;
	dev->mfg_cmd.payload = p->blob->data;
	dev->mfg_cmd.payload_len = p->blob->len;
	provision_run(dev, value_written);
}

static void value_erased(struct device *dev, enum chan_result result)
{
	/* A key that is not there is ERROR, and as good. */
	provision_count_write(dev, result);
	value_write_now(dev);
}

void value_write(struct device *dev, struct want *want, size_t i)
{
	struct provision *p = dev->provision;

	p->want = want;
	p->index = i;
	p->value = want_value(dev, want, i);
	p->writes = 0;
	if (p->value->content != SLOT_UNUSABLE) {
		value_write_now(dev);
		return;
	}
	/* A key of another type keeps its old value if it is not erased first (capture 12). */
	provision_line(dev, MFG_ERASE, want->keys[i]);
	provision_run(dev, value_erased);
}
