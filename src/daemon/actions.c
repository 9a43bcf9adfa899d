/* SPDX-License-Identifier: MIT */
/* What espatd does besides running: it changes something in the state folder, and ends. */
#include "daemon/actions.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/chips.h"
#include "daemon/load.h"
#include "daemon/state.h"
#include "util/cleanup.h"
#include "util/log.h"

int action_usage_error(const char *what, const char *argument)
{
	fprintf(stderr, "espatd: %s%s%s\nTry `espatd --help`.\n", what, argument ? " " : "",
		argument ? argument : "");
	return EXIT_USAGE;
}

const struct config_device *action_find_device(const struct config *config, const char *name)
{
	const struct config_device *device = config_find_device(config, name);

	if (!device)
		log_error("no device has the name %s", name);
	return device;
}

/* @argument: NAME=MAC or NAME=next */
int action_adopt(const struct config *config, char *argument)
{
	char *mac = strchr(argument, '=');
	const struct config_device *device;
	_cleanup_close_ int lock_fd = -1;
	bool next;
	int r;

	if (!mac)
		return action_usage_error("--adopt: expected NAME=MAC or NAME=next, not", argument);
	*mac++ = '\0';
	next = strcmp(mac, "next") == 0;
	if (!next && chips_check_mac(mac))
		return action_usage_error("--adopt: expected NAME=next, or NAME= and",
					  chips_check_mac(mac));
	device = action_find_device(config, argument);
	if (!device)
		return EXIT_FAILURE;
	if (device->mac || device->adopt != CONFIG_ADOPT_FIRST) {
		log_error("device %s has %s in its configuration, so nothing is remembered for it",
			  device->name, device->mac ? "a `mac`" : "`adopt = \"any\"`");
		return EXIT_FAILURE;
	}
	r = state_lock(config->state_dir, true, &lock_fd);
	if (r == 0)
		r = next ? chips_forget(config->state_dir, device->name)
			 : chips_remember(config->state_dir, device->name, mac);
	if (r < 0) {
		log_error("cannot remember the chip in %s: %s", config->state_dir, strerror(-r));
		return EXIT_FAILURE;
	}
	printf("The chip of %s is %s.\n", device->name, next ? "the one that is found next" : mac);
	return EXIT_SUCCESS;
}

/* NAME of authority:NAME or identity:NAME; NULL: it is something else. */
static const char *split_argument(const char *argument, enum store_kind *kind)
{
	*kind = strncmp(argument, "identity:", 9) == 0 ? STORE_IDENTITY : STORE_AUTHORITY;
	if (*kind == STORE_IDENTITY)
		return argument + 9;
	return strncmp(argument, "authority:", 10) == 0 ? argument + 10 : NULL;
}

/* @argument: authority:NAME or identity:NAME */
int action_forget(struct daemon_parts *parts, const char *argument)
{
	enum store_kind kind;
	const char *name = split_argument(argument, &kind);
	_cleanup_close_ int lock_fd = -1;
	int r;

	if (!name)
		return action_usage_error("--forget: expected authority:NAME or identity:NAME, not",
					  argument);
	if (load_config_has(parts->base, kind, name)) {
		log_error("%s is in the configuration: take it out first", argument);
		return EXIT_FAILURE;
	}
	r = load_open_store(parts, &lock_fd);
	if (r < 0)
		return EXIT_FAILURE;
	r = store_remove(parts->store, kind, name);
	if (r < 0) {
		log_error("cannot forget %s: %s", argument, strerror(-r));
		return EXIT_FAILURE;
	}
	printf("Nothing is kept of %s.\n", argument);
	return EXIT_SUCCESS;
}

int action_rollback(struct daemon_parts *parts, const char *argument)
{
	enum store_kind kind;
	const char *name = split_argument(argument, &kind);
	struct material_item item;
	uint8_t origin[CERT_DIGEST_SIZE];
	_cleanup_close_ int lock_fd = -1;
	int r;

	if (!name || !load_find_item(parts->config, kind, name, &item)) {
		log_error("%s is no authority:NAME or identity:NAME of this configuration",
			  argument);
		return EXIT_FAILURE;
	}
	r = load_open_store(parts, &lock_fd);
	if (r < 0)
		return EXIT_FAILURE;
	/* The service's credentials cannot be read here. */
	material_last_origin(&item, parts->store, origin, time(NULL));
	r = store_roll_back(parts->store, kind, name, origin, time(NULL));
	if (r == -ENOENT)
		log_error("nothing is kept of %s from before", argument);
	else if (r < 0)
		log_error("cannot roll %s back: %s", argument, strerror(-r));
	else
		printf("%s is what it was before; a running espatd takes it after SIGHUP.\n",
		       argument);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
