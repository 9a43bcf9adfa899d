/* SPDX-License-Identifier: MIT */
/* The tables of the configuration's keys. */
#pragma once

#include "config/keys.h"

/* Of the whole file: a struct config. */
extern const struct key_table config_root_table;
/* Of one entry of its lists. */
extern const struct key_table config_device_table;
extern const struct key_table config_tunnel_table;
