/* SPDX-License-Identifier: MIT */
/* reload, log-level, disconnect. */
#include <stdio.h>

#include "ctl/bus.h"
#include "ctl/fetch.h"
#include "ctl/json.h"
#include "ctl/text.h"

enum ctl_exit cmd_reload(struct ctl *ctl)
{
	const struct ctl_method reload = { ESPAT_ROOT, ESPAT_MANAGER, "Reload", true };

	if (ctl->argc > 0)
		return ctl_usage("too many arguments");
	return ctl_call(ctl, &reload, NULL, NULL);
}

static enum ctl_exit show_log_level(struct ctl *ctl)
{
	_cleanup_snapshot_ struct snapshot snap = { 0 };
	_cleanup_free_ char *clean = NULL;
	struct json j = JSON_TO(stdout);
	enum ctl_exit status = fetch_objects(ctl, &snap);

	if (status != CTL_OK)
		return status;
	if (ctl->json) {
		json_object(&j, NULL);
		json_string(&j, "log_level", snap.log_level);
		json_end(&j);
		return CTL_OK;
	}
	clean = text_clean(snap.log_level);
	if (clean)
		puts(clean);
	return CTL_OK;
}

enum ctl_exit cmd_log_level(struct ctl *ctl)
{
	const struct ctl_method set = { ESPAT_ROOT, ESPAT_MANAGER, "SetLogLevel", true };

	if (ctl->argc > 1)
		return ctl_usage("too many arguments");
	if (ctl->argc == 0)
		return show_log_level(ctl);
	return ctl_call(ctl, &set, NULL, "s", ctl->argv[0]);
}

enum ctl_exit cmd_disconnect(struct ctl *ctl)
{
	_cleanup_message_ sd_bus_message *reply = NULL;
	_cleanup_free_ char *path = NULL;
	struct ctl_method disconnect = { NULL, ESPAT_TUNNEL, "Disconnect", true };
	struct json j = JSON_TO(stdout);
	enum ctl_exit status;
	uint32_t clients;

	if (ctl->argc != 1)
		return ctl_usage("expected the name of one tunnel");
	status = ctl_tunnel(ctl, ctl->argv[0], &path);
	disconnect.path = path;
	if (status == CTL_OK)
		status = ctl_ask(ctl, &disconnect, "u", &reply, NULL);
	if (status != CTL_OK)
		return status;
	sd_bus_message_read(reply, "u", &clients);
	if (ctl->json) {
		json_object(&j, NULL);
		json_uint(&j, "clients", clients);
		json_end(&j);
	} else {
		printf("%u client%s ended.\n", clients, clients == 1 ? "" : "s");
	}
	return CTL_OK;
}
