/* SPDX-License-Identifier: MIT */
/* What is told of chips and complaints outside of the log's own lines. */
#include "daemon/report.h"

#include <inttypes.h>

#include "util/log.h"
#include "util/utf8.h"

/* A JSON string; bytes that are no UTF-8 are shown as if they were Latin-1. */
static void put_string(FILE *f, const char *text)
{
	bool raw = utf8_is_valid(text);

	putc('"', f);
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (*c == '"' || *c == '\\')
			fprintf(f, "\\%c", *c);
		else if (*c < 0x20 || *c == 0x7f || (*c > 0x7f && !raw))
			fprintf(f, "\\u%04x", *c);
		else
			putc(*c, f);
	}
	putc('"', f);
}

static void put_member(FILE *f, const char *name, const char *value)
{
	fprintf(f, ",\"%s\":", name);
	put_string(f, value);
}

static void put_digest(FILE *f, const uint8_t digest[CERT_DIGEST_SIZE])
{
	fputs(",\"sha256\":\"", f);
	for (size_t i = 0; i < CERT_DIGEST_SIZE; i++)
		fprintf(f, "%02x", digest[i]);
	putc('"', f);
}

static void put_key(FILE *f, const struct device_key *key, bool first)
{
	fprintf(f, "%s{\"key\":", first ? "" : ",");
	put_string(f, key->key);
	put_member(f, "kind", cert_kind_name(key->kind));
	put_member(f, "name", key->name);
	fprintf(f, ",\"generation\":%u,\"length\":%zu", key->generation, key->len);
	put_digest(f, key->digest);
	putc('}', f);
}

static void put_orphans(FILE *f, const struct device *dev)
{
	for (size_t i = 0; i < dev->orphans.n; i++) {
		const struct record_entry *e = &dev->orphans.entries[i];

		fprintf(f, "%s{\"key\":", i > 0 ? "," : "");
		put_string(f, e->key);
		fprintf(f, ",\"generation\":%u", e->generation);
		put_digest(f, e->digest);
		putc('}', f);
	}
}

void report_chip(FILE *f, const struct config_device *config, const struct device *dev,
		 const char *error)
{
	fputs("{\"device\":", f);
	put_string(f, config->name);
	put_member(f, "port", config->port);
	fprintf(f, ",\"ok\":%s", error ? "false" : "true");
	if (error)
		put_member(f, "error", error);
	put_member(f, "mac", dev->mac);
	put_member(f, "model", dev->version.chip);
	put_member(f, "core", dev->version.core);
	put_member(f, "firmware", dev->firmware);
	fprintf(f, ",\"writes\":%" PRIu64 ",\"writes_ever\":%" PRIu64 ",\"keys\":[",
		dev->flash_writes, dev->record.writes + (uint64_t)dev->uncounted);
	for (size_t i = 0; i < dev->n_keys; i++)
		put_key(f, &dev->keys[i], i == 0);
	fputs("],\"orphans\":[", f);
	put_orphans(f, dev);
	fputs("]}\n", f);
	fflush(f);
}

void log_problems(const struct problems *problems)
{
	for (size_t i = 0; i < problems->count; i++) {
		if (problems->items[i].severity == PROBLEM_ERROR)
			log_error("%s", problems->items[i].text);
		else
			log_warning("%s", problems->items[i].text);
	}
}
