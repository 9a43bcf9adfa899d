/* SPDX-License-Identifier: MIT */
/* Builds, wires and frees everything; owns the loop. */
#pragma once

#include "cert/material.h"
#include "config/config.h"

struct daemon;

/* Takes @config and @material, also on error. Returns 0 or -errno (logged). */
int daemon_new(struct daemon **ret, struct config *config, struct material *material);
/* NULL is allowed; returns NULL. */
struct daemon *daemon_free(struct daemon *daemon);
/* Runs until SIGTERM or SIGINT. Returns 0 or -errno. */
int daemon_run(struct daemon *daemon);
