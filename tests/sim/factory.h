/* SPDX-License-Identifier: MIT */
/* What is in mfg_nvs of a new chip. */
#pragma once

#include "core.h"

extern const struct sim_factory_item sim_factory[];
extern const int sim_n_factory;
