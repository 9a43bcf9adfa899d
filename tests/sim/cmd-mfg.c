/* SPDX-License-Identifier: MIT */
/* SYSMFG and SYSFLASH: manufacturing NVS and raw partitions. */
#include "cmds.h"

#include <errno.h>
#include <stdio.h>

#define MFG_NVS_SIZE 0x1c000

enum {
	PART_MFG,
	PART_FAT,
};

static void list_spaces(struct sim_core *c)
{
	for (int i = 0; i < c->nvs.n_spaces; i++)
		sim_sayf(c, "+SYSMFG:\"%s\"\r\n", c->nvs.spaces[i]);
}

HANDLER(sysmfg_query)
{
	list_spaces(c);
	return sim_flash_done(c, RES_OK);
}

static int arg_name(struct sim_core *c, struct call *call, int i, const char **name)
{
	size_t len;

	if (arg_str(c, call, i, name) < 0)
		return -EINVAL;
	len = strlen(*name);
	return len && len <= NVS_NAME_MAX ? 0 : -EINVAL;
}

static long long int_value(uint8_t type, const uint8_t *p)
{
	uint32_t v = p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;

	switch ((enum nvs_type)type) {
	case NVS_U8:
		return (uint8_t)v;
	case NVS_I8:
		return (int8_t)v;
	case NVS_U16:
		return (uint16_t)v;
	case NVS_I16:
		return (int16_t)v;
	case NVS_I32:
		return (int32_t)v;
	case NVS_U32:
	case NVS_STRING:
	case NVS_BINARY:
		break;
	}
	return v;
}

static enum result mfg_read(struct sim_core *c, struct call *call)
{
	const struct nvs_entry *e;
	const char *ns, *key;
	long long off = 0, len;

	if (call->n == 1) {
		list_spaces(c);
		return sim_flash_done(c, RES_OK);
	}
	if (call->n > 5 || call->n == 4 || arg_name(c, call, 1, &ns) < 0)
		return RES_ERROR;
	if (call->n == 2) {
		if (!nvs_count(&c->nvs, ns))
			return RES_ERROR;
		for (e = c->nvs.entries; e; e = e->next)
			if (!strcmp(e->ns, ns))
				sim_sayf(c, "+SYSMFG:\"%s\",\"%s\",%d\r\n", ns, e->key, e->type);
		return sim_flash_done(c, RES_OK);
	}
	if (arg_name(c, call, 2, &key) < 0)
		return RES_ERROR;
	if (call->n == 5 && (arg_range(c, call, 3, 0, NVS_BLOB_MAX, &off) < 0 ||
			     arg_range(c, call, 4, 1, NVS_BLOB_MAX, &len) < 0))
		return RES_ERROR;
	e = nvs_get(&c->nvs, ns, key);
	if (!e)
		return sim_flash_done(c, RES_ERROR);
	sim_heap_free(c);
	if (e->type < NVS_STRING) {
		char text[24];

		if (call->n == 5)
			return sim_flash_done(c, RES_ERROR);
		snprintf(text, sizeof(text), "%lld", int_value(e->type, e->data));
		sim_sayf(c, "+SYSMFG:\"%s\",\"%s\",%d,%zu,%s\r\n", ns, key, e->type, strlen(text),
			 text);
		return sim_flash_done(c, RES_OK);
	}
	if (call->n == 3)
		len = e->len;
	if (off + len > e->len) /* not a short read (capture 48) */
		return sim_flash_done(c, RES_ERROR);
	sim_sayf(c, "+SYSMFG:\"%s\",\"%s\",%d,%lld,", ns, key, e->type, len);
	sim_say(c, e->data + off, len);
	sim_say(c, "\r\n", 2);
	return sim_flash_done(c, RES_OK);
}

static enum result mfg_write(struct sim_core *c, struct call *call)
{
	const char *ns, *key;
	long long type, v;
	uint8_t raw[4];

	if (call->n != 5 || arg_name(c, call, 1, &ns) < 0 || arg_name(c, call, 2, &key) < 0 ||
	    arg_range(c, call, 3, NVS_U8, NVS_BINARY, &type) < 0)
		return RES_ERROR;
	if (type >= NVS_STRING) {
		if (arg_range(c, call, 4, 1, NVS_BLOB_MAX, &v) < 0)
			return RES_ERROR;
		strcpy(c->mfg_ns, ns);
		strcpy(c->mfg_key, key);
		c->mfg_type = type;
		sim_open_prompt(c, PROMPT_MFG, 0, v);
		return RES_PROMPT;
	}
	/* What does not fit the type is cut, not refused (capture 12: 256 as u8). */
	if (arg_num(c, call, 4, &v) < 0)
		return RES_ERROR;
	for (int i = 0; i < 4; i++)
		raw[i] = (unsigned long long)v >> (8 * i);
	v = int_value(type, raw);
	for (int i = 0; i < 4; i++)
		raw[i] = (unsigned long long)v >> (8 * i);
	if (nvs_set(&c->nvs, ns, key, type, raw, 4) < 0)
		return RES_ERROR;
	c->dirty = true;
	return sim_flash_done(c, RES_OK);
}

void mfg_block_done(struct sim_core *c)
{
	int r = nvs_set(&c->nvs, c->mfg_ns, c->mfg_key, c->mfg_type, buf_data(&c->send),
			buf_len(&c->send));

	buf_clear(&c->send);
	if (!r)
		c->dirty = true;
	sim_done(c, sim_flash_done(c, r < 0 ? RES_ERROR : RES_OK));
}

static enum result mfg_erase(struct sim_core *c, struct call *call)
{
	const char *ns, *key;

	if (call->n < 2 || call->n > 3 || arg_name(c, call, 1, &ns) < 0)
		return RES_ERROR;
	if (call->n == 2) {
		if (!nvs_count(&c->nvs, ns))
			return sim_flash_done(c, RES_OK);
		nvs_erase_space(&c->nvs, ns);
	} else {
		if (arg_name(c, call, 2, &key) < 0)
			return RES_ERROR;
		if (nvs_erase(&c->nvs, ns, key) < 0)
			return sim_flash_done(c, RES_ERROR);
	}
	c->dirty = true;
	return sim_flash_done(c, RES_OK);
}

HANDLER(sysmfg_set)
{
	long long op;

	if (arg_range(c, call, 0, 0, 2, &op) < 0)
		return RES_ERROR;
	if (op == 0)
		return mfg_erase(c, call);
	return op == 1 ? mfg_read(c, call) : mfg_write(c, call);
}

/* ---- raw flash ---- */

HANDLER(sysflash_query)
{
	sim_sayf(c, "%s", c->prof->partitions);
	return RES_OK;
}

static uint32_t part_size(int part)
{
	return part == PART_MFG ? MFG_NVS_SIZE : FATFS_SIZE;
}

static int arg_part(struct sim_core *c, struct call *call, int i)
{
	const char *name;

	if (arg_str(c, call, i, &name) < 0)
		return -EINVAL;
	if (!strcmp(name, "mfg_nvs"))
		return PART_MFG;
	if (!strcmp(name, strstr(c->prof->partitions, "fs_storage") ? "fs_storage" : "fatfs"))
		return PART_FAT;
	return -ENOENT;
}

static int arg_area(struct sim_core *c, struct call *call, int part, long long *off, long long *len)
{
	if (arg_range(c, call, 2, 0, part_size(part), off) < 0 ||
	    arg_range(c, call, 3, 1, part_size(part), len) < 0)
		return -EINVAL;
	return *off + *len > part_size(part) ? -EINVAL : 0;
}

static uint8_t *fat(struct sim_core *c)
{
	if (!c->nvs.fatfs) {
		c->nvs.fatfs = malloc(FATFS_SIZE);
		if (!c->nvs.fatfs)
			abort();
		memset(c->nvs.fatfs, 0xff, FATFS_SIZE);
	}
	return c->nvs.fatfs;
}

HANDLER(sysflash_set)
{
	uint8_t data[4096];
	long long op, off = 0, len = 0;
	int part;

	if (arg_range(c, call, 0, 0, 2, &op) < 0)
		return RES_ERROR;
	part = arg_part(c, call, 1);
	if (part < 0)
		return RES_ERROR;
	if (op == 0 && call->n == 2)
		len = part_size(part);
	else if (call->n != 4 || arg_area(c, call, part, &off, &len) < 0)
		return RES_ERROR;
	if (op == 0) {
		if (off % 4096 || len % 4096)
			return RES_ERROR;
		if (part == PART_FAT)
			memset(fat(c) + off, 0xff, len);
		else
			nvs_erase_all(&c->nvs);
		c->dirty = true;
		return sim_flash_done(c, RES_OK);
	}
	if (op == 1) {
		if (len > SEND_MAX)
			return RES_ERROR;
		c->flash_part = part;
		c->flash_off = off;
		sim_open_prompt(c, PROMPT_FLASH, 0, len);
		return RES_PROMPT;
	}
	if (len > SEND_MAX)
		return RES_ERROR;
	sim_sayf(c, "+SYSFLASH:%lld,", len);
	while (len) {
		uint32_t n = len < (long long)sizeof(data) ? len : (long long)sizeof(data);

		if (part == PART_MFG)
			nvs_raw(&c->nvs, off, data, n);
		else if (c->nvs.fatfs)
			memcpy(data, c->nvs.fatfs + off, n);
		else
			memset(data, 0xff, n);
		sim_say(c, data, n);
		off += n;
		len -= n;
	}
	sim_say(c, "\r\n", 2);
	return RES_OK_BARE;
}

/*
 * Done within the chunk: what follows in it is a command again (capture 14). Flash bits can only be cleared. What is
 * written raw into mfg_nvs is taken and dropped: the NVS entries stay as they are.
 */
void flash_block_done(struct sim_core *c)
{
	const uint8_t *p = buf_data(&c->send);

	if (c->flash_part == PART_FAT) {
		for (size_t i = 0; i < buf_len(&c->send); i++)
			fat(c)[c->flash_off + i] &= p[i];
		c->dirty = true;
	}
	buf_clear(&c->send);
	sim_done(c, RES_OK);
}

void mfg_factory(struct sim_core *c)
{
	for (int i = 0; i < c->cfg.n_factory; i++) {
		const struct sim_factory_item *f = &c->cfg.factory[i];
		char name[NVS_NAME_MAX + 1];

		if (f->key) {
			nvs_set(&c->nvs, f->ns, f->key, f->type, f->data, f->len);
		} else if (c->cfg.with_eap) {
			eap_space(c, f->ns, name);
			nvs_set(&c->nvs, name, name, f->type, f->data, f->len);
		}
	}
}
