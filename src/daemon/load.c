/* SPDX-License-Identifier: MIT */
/* Reads what espatd is to run with. */
#include "daemon/load.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "daemon/state.h"
#include "util/cleanup.h"
#include "util/log.h"

int load_base(struct config **ret, const struct daemon_options *options, struct problems *problems)
{
	struct config *config;
	int r;

	r = config_load(&config, options->config, problems);
	if (r < 0)
		return r;
	if (options->runtime_dir)
		r = config_set_runtime_dir(config, options->runtime_dir, problems);
	if (r == 0 && options->state_dir)
		r = config_set_state_dir(config, options->state_dir, problems);
	if (r < 0) {
		config_free(config);
		return r;
	}
	*ret = config;
	return 0;
}

void load_init(struct daemon_parts *parts)
{
	*parts = (struct daemon_parts){ 0 };
	overlay_init(&parts->overlay);
}

void load_clear(struct daemon_parts *parts)
{
	overlay_deinit(&parts->overlay);
	material_free(parts->material);
	store_free(parts->store);
	config_free(parts->config);
	config_free(parts->base);
}

static void log_state_error(const struct daemon_parts *parts, int r)
{
	if (r < 0 && r != -EINVAL && r != -ENOMEM)
		log_error("cannot keep certificates and keys in %s: %s", parts->base->state_dir,
			  strerror(-r));
}

int load_open_store(struct daemon_parts *parts, int *lock_fd)
{
	int r;

	r = state_lock(parts->base->state_dir, true, lock_fd);
	if (r == 0 && !parts->store)
		r = store_new(&parts->store, parts->base->state_dir);
	log_state_error(parts, r);
	return r;
}

/* With what was made in service. */
static int load_overlay(struct daemon_parts *parts, struct problems *problems)
{
	int r = overlay_read(&parts->overlay, parts->base->state_dir, problems);

	if (r < 0)
		return r;
	return overlay_load_fitting(&parts->config, &parts->overlay, parts->base, parts->store,
				    problems);
}

/* What the files hold has nothing to do with actions that change the state folder. */
static int load_material(struct daemon_parts *parts, enum load_how how, struct problems *problems)
{
	switch (how) {
	case LOAD_TO_CHECK:
		return material_check(parts->config, time(NULL), problems);
	case LOAD_TO_RUN:
		return material_load(&parts->material, parts->config, parts->store, time(NULL),
				     MATERIAL_DATES_WARN, problems);
	case LOAD_CONFIG_ONLY:
	case LOAD_TO_ROLL_BACK:
		break;
	}
	return 0;
}

int load_all(struct daemon_parts *parts, const struct daemon_options *options, enum load_how how,
	     struct problems *problems)
{
	_cleanup_close_ int lock_fd = -1;
	bool with_state = how == LOAD_TO_RUN || how == LOAD_TO_ROLL_BACK;
	int r;

	r = load_base(&parts->base, options, problems);
	if (r == 0 && with_state)
		r = load_open_store(parts, &lock_fd);
	if (r < 0)
		return r;
	if (with_state)
		r = load_overlay(parts, problems);
	else
		parts->config = config_ref(parts->base);
	if (r == 0)
		r = load_material(parts, how, problems);
	log_state_error(parts, r);
	return r;
}

bool load_find_item(const struct config *config, enum store_kind kind, const char *name,
		    struct material_item *ret)
{
	const struct config_authority *authority = NULL;
	const struct config_identity *identity = NULL;

	if (kind == STORE_AUTHORITY)
		authority = config_find_authority(config, name);
	else
		identity = config_find_identity(config, name);
	if (authority)
		*ret = (struct material_item){ .type = MATERIAL_AUTHORITY,
					       .name = authority->name,
					       .config = authority };
	else if (identity)
		*ret = (struct material_item){ .type = MATERIAL_IDENTITY,
					       .name = identity->name,
					       .config = identity };
	return authority || identity;
}

bool load_config_has(const struct config *config, enum store_kind kind, const char *name)
{
	struct material_item item;

	return load_find_item(config, kind, name, &item);
}
