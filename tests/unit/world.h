/* SPDX-License-Identifier: MIT */
/*
 * Configuration and material for a device of the tests, all on the heap: when one takes the place of
 * another, the sanitizers find whoever still looks at the old one.
 */
#pragma once

#include "fake-chip.h"

#define WORLD_MAX 8

struct world {
	struct config config;
	struct config_device settings;
	struct config_authority authorities[WORLD_MAX];
	struct config_identity identities[WORLD_MAX];
	struct config_nvs nvs[WORLD_MAX];
	struct config_tunnel tunnels[2 * WORLD_MAX];
	char *strings[4 * WORLD_MAX];
	size_t n_strings;
	struct material material;
	struct material_item items[3 * WORLD_MAX];
};

/*
 * Words of @spec: `a:NAME=TEXT/GENERATION`, `i:...`, `n:KEY=TEXT`, with `@SLOT` at the end where it is
 * pinned; TEXT `-`: it has no material. Each authority and identity has a tunnel `t-NAME`, unless a `!`
 * stands in front; `+x` is one of `extra_namespaces`, `w:IDENTITY` Enterprise Wi-Fi.
 */
struct world *world_new(const char *spec);
/* Overwritten, too. NULL is allowed; returns NULL. */
struct world *world_free(struct world *w);
/* A new device for it: a start of the daemon. */
void world_start(struct bench *b, const struct world *w);
/* It takes the place of *@was, which is freed; a reload of the daemon. */
void world_reload(struct bench *b, struct world **was, struct world *w);
/* All is on the chip as it should be, known to be ours, and used; nothing else of ours is. */
void world_assert_there(struct bench *b, const struct world *w);
/* Nothing of ours stands on the chip without being in its record. */
void world_assert_known(struct bench *b);
/* What the record on the chip says: its keys, in order, "client_ca.0 client_cert.0". */
const char *world_record(struct bench *b);
