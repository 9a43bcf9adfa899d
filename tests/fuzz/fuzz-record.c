/* SPDX-License-Identifier: MIT */
/*
 * record_parse() takes what is one record's only form, or refuses; what it takes can be put into
 * commands. Then the last line is made right for a second look, as hardly a change gets past it.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* "sum <64>\n" */
#define SUM_SIZE 69

#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "not so: %s\n", #condition);                               \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static void check_key(const struct record *record, size_t i)
{
	const char *key = record->entries[i].key;
	char namespace[AT_NVS_NAME_MAX + 1];

	MUST(key[0] && memchr(key, '\0', sizeof(record->entries[i].key)));
	for (const char *c = key; *c; c++)
		MUST((unsigned char)*c > ' ' && (unsigned char)*c < 0x7f && !strchr("\",\\=", *c));
	/* It is there once. */
	MUST(record_find(record, key) == &record->entries[i]);
	record_namespace(key, namespace);
	MUST(namespace[0] && strncmp(key, namespace, strlen(namespace)) == 0);
	MUST(strcmp(namespace, "factory_param") != 0 && strcmp(namespace, "ble_data") != 0);
}

static void look(const uint8_t *data, size_t size)
{
	static struct record record, again;
	char buf[CERT_BLOB_MAX];
	size_t len;
	int r;

	r = record_parse(&record, data, size);
	MUST(r == 0 || r == -EBADMSG);
	if (r < 0) {
		MUST(record.n == 0 && record.sequence == 0 && record.writes == 0);
		return;
	}
	MUST(record.n <= RECORD_MAX);
	for (size_t i = 0; i < record.n; i++)
		check_key(&record, i);
	len = record_format(&record, buf);
	MUST(len == size && memcmp(buf, data, size) == 0);
	MUST(record_parse(&again, buf, len) == 0 && record_equal(&record, &again));
	/* Whatever is removed, the rest stays. */
	while (again.n > 0) {
		char key[AT_NVS_NAME_MAX + 1];

		memcpy(key, again.entries[again.n / 2].key, sizeof(key));
		record_remove(&again, key);
		MUST(!record_find(&again, key) && !record_equal(&record, &again));
	}
}

/* Makes the last line fit what is before it. */
static void repair(uint8_t *data, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t digest[CERT_DIGEST_SIZE];
	uint8_t *sum = data + size - SUM_SIZE;

	MUST(EVP_Digest(data, size - SUM_SIZE, digest, NULL, EVP_sha256(), NULL) == 1);
	memcpy(sum, "sum ", 4);
	for (size_t i = 0; i < CERT_DIGEST_SIZE; i++) {
		sum[4 + 2 * i] = (uint8_t)digits[digest[i] >> 4];
		sum[5 + 2 * i] = (uint8_t)digits[digest[i] & 15];
	}
	sum[SUM_SIZE - 1] = '\n';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy;

	look(data, size);
	/* Longer than the chip could have it, it is never handed over. */
	if (size > CERT_BLOB_MAX - SUM_SIZE)
		return 0;
	copy = malloc(size + SUM_SIZE);
	MUST(copy);
	memcpy(copy, data, size);
	repair(copy, size + SUM_SIZE);
	look(copy, size + SUM_SIZE);
	if (size >= SUM_SIZE) {
		repair(copy, size);
		look(copy, size);
	}
	free(copy);
	return 0;
}
