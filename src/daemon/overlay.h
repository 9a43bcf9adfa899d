/* SPDX-License-Identifier: MIT */
/*
 * What was made in service and stands in no file of the configuration: tunnels, each a piece of
 * configuration text, for now or kept in <state_dir>/tunnels/NAME.conf; and authorities and identities
 * whose material was set in service and is kept in the store.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cert/store.h"
#include "config/config.h"
#include "util/list.h"

/* As many as the configuration can have: what is more is refused there. */
#define OVERLAY_TEXT_MAX 65536

struct overlay_tunnel {
	struct list node;
	char *name;
	char *label; /* instead of a file's name in complaints */
	char *text;
	char *before; /* of its file, that another one was kept in, which was left out; NULL: none */
	bool persistent;
};

struct overlay {
	struct list tunnels;
};

void overlay_init(struct overlay *overlay);
void overlay_deinit(struct overlay *overlay);
/* All of @from goes to the end of @to. */
void overlay_move(struct overlay *to, struct overlay *from);
/* Reads the kept tunnels; what cannot be read is a warning. Returns 0 or -ENOMEM. */
int overlay_read(struct overlay *overlay, const char *state_dir, struct problems *problems);
struct overlay_tunnel *overlay_find(struct overlay *overlay, const char *name);
/* Adds one, not yet kept. Returns 0 or -ENOMEM. */
int overlay_add(struct overlay *overlay, const char *name, const char *text, const char *state_dir,
		bool persistent, struct overlay_tunnel **ret);
/* Writes its file (all is as it was on failure), or removes it. Returns 0 or -errno. */
int overlay_keep(struct overlay_tunnel *tunnel, const char *state_dir);
int overlay_forget(const struct overlay_tunnel *tunnel, const char *state_dir);
/* Its file is as it was before overlay_keep(). */
void overlay_take_back(struct overlay_tunnel *tunnel, const char *state_dir);
/*
 * Removes the file of a kept tunnel that is not in the overlay: it was left out. Returns 0, -ENOENT if
 * there is none, or another -errno.
 */
int overlay_forget_left_out(const char *name, const char *state_dir);
/* Out of the overlay, and freed. */
void overlay_drop(struct overlay_tunnel *tunnel);

/* The names in the store that no file names, found one by one. */
struct overlay_scan;

int overlay_scan_begin(struct overlay_scan **ret, struct store *store, struct config *base);
/* Looks at one of them. Returns 1 as long as there are more, 0, or -errno. */
int overlay_scan_go_on(struct overlay_scan *scan);
/* NULL is allowed; returns NULL. */
struct overlay_scan *overlay_scan_free(struct overlay_scan *scan);

/*
 * Which names have material that was set in service. Only the store knows; as long as no other files of
 * the configuration are taken, it need not be asked for those of a configuration that is in use.
 */
struct overlay_names {
	struct store *store;             /* NULL: none have */
	const struct config *present;    /* in use, with all those names; NULL: all are looked up */
	const struct overlay_scan *scan; /* that is through, instead of both; NULL: none was made */
	/* The one that is looked up all the same, as it was set or removed; NULL: none */
	const char *changed;
	enum store_kind kind;
};

/*
 * The configuration with all of it: @base is what the files say. Returns 0, -EINVAL after complaints, or
 * another -errno. Without anything that was made in service it is @base itself, once more referred to.
 */
int overlay_load(struct config **ret, const struct overlay *overlay, struct config *base,
		 const struct overlay_names *names, struct problems *problems);
/* The same, with the names that @store has; kept tunnels that do not fit are left out, with a warning. */
int overlay_load_fitting(struct config **ret, struct overlay *overlay, struct config *base,
			 struct store *store, struct problems *problems);
