/* SPDX-License-Identifier: MIT */
/* The files and texts that one configuration is made of, each parsed by libconfig on its own. */
#pragma once

#include <libconfig.h>
#include <stddef.h>

#include "config/config.h"
#include "util/problems.h"

/* The folder beside the main file whose `*.conf` belong to it. */
#define PARTS_FOLDER "conf.d"

struct part {
	config_t tree;
	const char *file; /* for complaints; the config's */
	char *folder;     /* that relative paths start from, absolute */
};

struct parts {
	struct part *items;
	size_t n;
	size_t total; /* bytes */
};

#define PARTS_NULL                                                                                 \
	{                                                                                          \
		0                                                                                  \
	}

/*
 * Reads config->path, what is in its PARTS_FOLDER, and @texts. Returns 0, with or without complaints,
 * or -ENOMEM; parts_clear() after it in any case.
 */
int parts_read(struct parts *parts, struct config *config, const struct config_text *texts,
	       size_t n_texts, struct problems *problems);
void parts_clear(struct parts *parts);
