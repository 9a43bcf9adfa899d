/* SPDX-License-Identifier: MIT */
/* Any value of D-Bus, as JSON and as text. */
#pragma once

#include <stdio.h>

#include <systemd/sd-bus.h>

#include "ctl/json.h"

/*
 * Reads one complete value; what is in a variant stands for it. A dictionary with strings as keys is an
 * object, a structure an array; a file descriptor, and what lies too deep, is null. 0 or -errno.
 */
int value_json(struct json *j, const char *key, sd_bus_message *m);
/* The same on one line for people, cleaned; a text stands without quotes if it is all there is. */
int value_text(FILE *f, sd_bus_message *m);
