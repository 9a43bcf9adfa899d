/* SPDX-License-Identifier: MIT */
/* Values in the manufacturing NVS: read, compared, written, and read back. */
#include <string.h>

#include "cert/digest.h"
#include "device/provision.h"

/* ---- commands ---- */

static void provision_cmd_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct device *dev = container_of(cmd, struct device, mfg_cmd);

	if (result == CHAN_E_TIMEOUT || result == CHAN_E_RESET)
		dev->mfg_refusals = 0;
	/* Whoever reset the channel has also ended this; after silence trouble follows. */
	if (result == CHAN_E_TIMEOUT)
		values_time_out(dev);
	else if (result != CHAN_E_RESET)
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
	dev->mfg_cmd.timeout = dev->mfg_cmd.kind == CHAN_BLOCK ? DEVICE_TIMEOUT_WRITE
							       : DEVICE_TIMEOUT_FLASH;
	dev->mfg_cmd.done = provision_cmd_done;
	dev->mfg_step = step;
	chan_submit(&dev->chan, CHAN_CONTROL, &dev->mfg_cmd);
}

bool provision_asks_again(struct device *dev, enum chan_result result)
{
	if (result == CHAN_E_ERROR && ++dev->mfg_refusals < PROVISION_REFUSED_MAX)
		return true;
	dev->mfg_refusals = 0;
	return false;
}

void provision_count_write(struct device *dev, enum chan_result result)
{
	if (result == CHAN_E_ERROR)
		return;
	dev->flash_writes++;
	dev->uncounted++;
	device_note(dev, DEVICE_FACT_FLASH);
}

/* ---- reading a value ---- */

static void value_data(struct chan_cmd *cmd, const struct at_block *block, const uint8_t *data,
		       size_t len)
{
	struct value_io *io = container_of(cmd, struct device, mfg_cmd)->io;

	if (block->type != AT_BLOCK_SYSMFG || block->kind != MFG_BINARY)
		return;
	if (!data) {
		io->complete = true;
		return;
	}
	cert_digest_update(io->digest, data, len);
	if (io->text && io->len + len <= CERT_BLOB_MAX)
		memcpy(io->text + io->len, data, len);
	io->len += len;
}

static void value_write_now(struct device *dev);

/* What was written must be what is there. */
static void value_compare(struct device *dev)
{
	struct value_io *io = dev->io;

	if (slot_holds(io->value, io->blob)) {
		io->done(dev, VALUE_END_DONE);
		return;
	}
	if (io->writes >= PROVISION_WRITES_MAX) {
		io->done(dev, VALUE_END_DIFFERS);
		return;
	}
	if (io->value->content == SLOT_READ)
		dev_warning(dev, "%s does not read back as it was written, writing it again",
			    io->key);
	else
		dev_warning(dev,
			    "%s is not there after it was written (if the line has lost a byte "
			    "of its name, it is on the chip under another one), writing it again",
			    io->key);
	value_write_now(dev);
}

static void value_read_now(struct device *dev);

static void value_read_done(struct device *dev, enum chan_result result)
{
	struct value_io *io = dev->io;
	struct slot *value = io->value;

	if (provision_asks_again(dev, result)) {
		value_read_now(dev);
		return;
	}
	/* ERROR: the key, or its namespace, is not there (protocol fact 11). */
	if (result == CHAN_E_ERROR && io->writes == 0 &&
	    (value->content == SLOT_UNKNOWN || value->content == SLOT_UNLISTED))
		value->content = SLOT_FREE;
	else
		value->content = SLOT_UNUSABLE;
	if (result == CHAN_OK && io->complete && cert_digest_final(io->digest, value->digest) == 0)
		value->content = SLOT_READ;
	if (io->writes > 0)
		value_compare(dev);
	else
		io->done(dev, VALUE_END_DONE);
}

static void value_read_now(struct device *dev)
{
	struct value_io *io = dev->io;

	io->complete = false;
	io->len = 0;
	cert_digest_reset(io->digest);
	provision_line(dev, MFG_READ, io->key);
	dev->mfg_cmd.on_data = value_data;
	dev->mfg_cmd.secret_reply = io->kind == CERT_KIND_KEY || io->kind == CERT_KIND_RAW;
	provision_run(dev, value_read_done);
}

void value_read(struct device *dev, struct value_io *io)
{
	dev->io = io;
	io->writes = 0;
	value_read_now(dev);
}

/* ---- writing a value ---- */

static void value_written(struct device *dev, enum chan_result result)
{
	struct value_io *io = dev->io;

	dev->mfg_cmd.payload = NULL;
	io->bytes = cert_blob_free(io->bytes);
	provision_count_write(dev, result);
	if (result == CHAN_E_ERROR) {
		if (io->writes < PROVISION_REFUSED_MAX)
			value_write_now(dev);
		else
			io->done(dev, VALUE_END_REFUSED);
		return;
	}
	if (result == CHAN_OK)
		dev_notice(dev, "wrote %s, %zu bytes", io->key, io->blob->len);
	value_read_now(dev);
}

static void value_write_now(struct device *dev)
{
	struct value_io *io = dev->io;

	if (io->load(dev, io) < 0) {
		io->done(dev, VALUE_END_NOT_HAD);
		return;
	}
	io->writes++;
	provision_line(dev, MFG_WRITE, io->key);
	at_line_int(&dev->mfg_cmd.line, MFG_BINARY);
	at_line_int(&dev->mfg_cmd.line, (long)io->bytes->len);
	dev->mfg_cmd.kind = CHAN_BLOCK;
	dev->mfg_cmd.payload = io->bytes->data;
	dev->mfg_cmd.payload_len = io->bytes->len;
	provision_run(dev, value_written);
}

static void value_erased(struct device *dev, enum chan_result result)
{
	/* A key that is not there is ERROR, and as good. */
	provision_count_write(dev, result);
	value_write_now(dev);
}

void value_write(struct device *dev, struct value_io *io)
{
	dev->io = io;
	io->writes = 0;
	if (io->value->content != SLOT_UNUSABLE) {
		value_write_now(dev);
		return;
	}
	/* A key of another type keeps its old value if it is not erased first (capture 12). */
	provision_line(dev, MFG_ERASE, io->key);
	provision_run(dev, value_erased);
}
