/* SPDX-License-Identifier: MIT */
/* Tables that several commands show, and single values as people write them. */
#pragma once

#include "ctl/ctl.h"
#include "ctl/snapshot.h"
#include "ctl/table.h"

enum table_color device_color(const struct snap_device *d);
enum table_color tunnel_color(const struct snap_tunnel *t);
enum table_color expiry_color(int64_t not_after, int64_t now);
enum ctl_exit show_devices(const struct ctl *ctl, const struct snapshot *snap);
enum ctl_exit show_tunnels(const struct ctl *ctl, const struct snapshot *snap);
/* Authorities or identities. */
enum ctl_exit show_material(const struct ctl *ctl, const char *title, const struct snap_material *m,
			    size_t n);
/* "a, b"; "" for none. */
void join_strings(char *buf, size_t size, char *const *strings);
/* A title above a table. */
void show_title(const struct ctl *ctl, const char *title);
/* "Key:  value", cleaned. */
__attribute__((format(printf, 3, 4))) void show_pair(const struct ctl *ctl, const char *key,
						     const char *format, ...);
/* Each string of an answer of the type as, in JSON an array; *n: how many. @what: what has answered. */
enum ctl_exit show_lines(const struct ctl *ctl, sd_bus_message *reply, const char *what, size_t *n);
