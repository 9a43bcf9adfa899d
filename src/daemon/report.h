/* SPDX-License-Identifier: MIT */
/* What is told of chips and complaints outside of the log's own lines. */
#pragma once

#include <stdio.h>

#include "config/config.h"
#include "device/device.h"
#include "util/problems.h"

/*
 * One line of JSON: what `espatd --provision-only` says of a chip, see espatd(8). @error NULL: it was
 * provisioned.
 */
void report_chip(FILE *f, const struct config_device *config, const struct device *dev,
		 const char *error);
/* Each complaint as a line of the log. */
void log_problems(const struct problems *problems);
