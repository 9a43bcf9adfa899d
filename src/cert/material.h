/* SPDX-License-Identifier: MIT */
/* The certificate files that the configuration names, read and checked. */
#pragma once

#include <time.h>

#include "cert/check.h"
#include "config/config.h"

/* What one authority or identity of the config comes to. */
struct material_authority {
	const struct config_authority *config; /* weak */
	struct cert_blob *ca;
};

struct material_identity {
	const struct config_identity *config; /* weak */
	struct cert_blob *cert;
	struct cert_blob *key;
};

struct material {
	struct material_authority *authorities; /* in the order of the config */
	size_t n_authorities;
	struct material_identity *identities;
	size_t n_identities;
};

/*
 * Reads and checks every file of @config at time @now; complaints (missing or unreadable file, key
 * of another certificate, expired, key readable by group or others as a warning...) go to
 * @problems. Wi-Fi passwords are looked at in the same way, but not kept. Returns 0, -EINVAL if there was an error among the complaints, or -ENOMEM.
 */
int material_load(struct material **ret, const struct config *config, time_t now,
		  struct problems *problems);
/* Wipes and frees; NULL is allowed; returns NULL. */
struct material *material_free(struct material *material);
