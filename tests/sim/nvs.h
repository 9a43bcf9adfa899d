/* SPDX-License-Identifier: MIT */
/* The chip's flash: manufacturing NVS (namespace, key, type), saved settings, the raw fatfs partition; pure. */
#pragma once

#include "buf.h"

#include <stdbool.h>
#include <stdint.h>

#define NVS_NAME_MAX 15                    /* capture 12 */
#define NVS_BLOB_MAX 8191                  /* capture 63 */
#define NVS_BYTES_MAX (0x1c000 - 2 * 4096) /* of the partition, less NVS's spare page */
#define NVS_SPACES_MAX 64
#define FATFS_SIZE 0x90000

enum nvs_type {
	NVS_U8 = 1,
	NVS_I8,
	NVS_U16,
	NVS_I16,
	NVS_U32,
	NVS_I32,
	NVS_STRING,
	NVS_BINARY,
};

/* Entries are told apart by namespace, key AND type; the oldest of a key is the one that is read (capture 12). */
struct nvs_entry {
	struct nvs_entry *next;
	char ns[NVS_NAME_MAX + 1], key[NVS_NAME_MAX + 1];
	uint8_t type;
	uint32_t len;
	uint8_t data[];
};

struct nvs_setting {
	struct nvs_setting *next;
	char key[24];
	uint32_t len;
	uint8_t data[];
};

struct nvs {
	struct nvs_entry *entries;
	char spaces[NVS_SPACES_MAX]
		   [NVS_NAME_MAX +
		    1]; /* in the order in which they were made; they outlive their keys */
	int n_spaces;
	struct nvs_setting *settings;
	uint8_t *fatfs; /* NULL: all erased */
};

void nvs_free(struct nvs *n);
bool nvs_has_space(const struct nvs *n, const char *ns);
/* -ENOSPC when the partition is full. */
int nvs_set(struct nvs *n, const char *ns, const char *key, uint8_t type, const void *data,
	    uint32_t len);
const struct nvs_entry *nvs_get(const struct nvs *n, const char *ns, const char *key);
int nvs_erase(struct nvs *n, const char *ns, const char *key);
void nvs_erase_space(struct nvs *n, const char *ns);
void nvs_erase_all(struct nvs *n);
int nvs_count(const struct nvs *n, const char *ns);

/* Saved settings (Wi-Fi, DNS, ...), wiped by RESTORE. len 0 removes. */
void nvs_save(struct nvs *n, const char *key, const void *data, uint32_t len);
const void *nvs_saved(const struct nvs *n, const char *key, uint32_t *len);
void nvs_restore(struct nvs *n);

/* The raw mfg_nvs partition as SYSFLASH shows it: pages with their headers, entries, and erased rest. */
void nvs_raw(const struct nvs *n, uint32_t off, uint8_t *out, uint32_t len);

void nvs_dump(const struct nvs *n, struct buf *out);
/* -EBADMSG if the image is not one. */
int nvs_load(struct nvs *n, const uint8_t *image, size_t len);
