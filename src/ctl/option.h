/* SPDX-License-Identifier: MIT */
/* KEY=VALUE of a tunnel, as somebody types it, with the type that the service wants. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A tunnel has some twenty keys, and its lists no more items than that. */
#define OPTIONS_MAX 64
#define OPTION_ITEMS_MAX 256

enum option_type {
	OPTION_STRING,
	OPTION_INT,
	OPTION_BOOL,
	OPTION_STRINGS,
};

struct ctl_option_value {
	char *key;
	enum option_type type;
	int64_t number; /* of OPTION_INT and OPTION_BOOL */
	char **strings; /* NULL at the end */
	size_t n;
};

struct ctl_option_list {
	struct ctl_option_value items[OPTIONS_MAX];
	size_t n;
};

/*
 * Adds KEY=VALUE. Keys that are lists in espatd.conf(5) take A,B and add up when they are repeated; those
 * that are texts there stay texts; for all others the look of the value decides: an integer, true or
 * false, else a text, or with a comma, a list. Returns 0, -ENOMEM or -EINVAL with @why.
 */
int option_add(struct ctl_option_list *list, const char *text, char *why, size_t size);
/* Whether all items of a list are numbers, as of users or cipher suites: then they go as such. */
bool option_is_numbers(const struct ctl_option_value *o, uint32_t numbers[OPTION_ITEMS_MAX]);
void option_list_clear(struct ctl_option_list *list);
