/* SPDX-License-Identifier: MIT */
/* The further interfaces of a device, each in its own file. */
#pragma once

#include "bus/internal.h"

extern const sd_bus_vtable bus_wifi_vtable[];
extern const struct bus_property bus_wifi_properties[];
extern const sd_bus_vtable bus_certificates_vtable[];
extern const struct bus_property bus_certificates_properties[];
