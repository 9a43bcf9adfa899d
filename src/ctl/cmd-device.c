/* SPDX-License-Identifier: MIT */
/* What is asked of one chip without more: reset, reprobe, sync-time, adopt, command. */
#include <errno.h>
#include <stdio.h>

#include "ctl/bus.h"
#include "ctl/json.h"
#include "ctl/text.h"

/* As many lines of an answer as the service keeps, with room to spare. */
#define LINES_MAX 4096

/* A method without arguments and answer. */
static enum ctl_exit simple(struct ctl *ctl, const char *member)
{
	_cleanup_free_ char *path = NULL;
	enum ctl_exit status = ctl_device_argument(ctl, 0, &path);
	const struct ctl_method method = { path, ESPAT_DEVICE, member, true };

	return status == CTL_OK ? ctl_call(ctl, &method, NULL, NULL) : status;
}

enum ctl_exit cmd_reset(struct ctl *ctl)
{
	return simple(ctl, "Reset");
}

enum ctl_exit cmd_reprobe(struct ctl *ctl)
{
	return simple(ctl, "Reprobe");
}

enum ctl_exit cmd_sync_time(struct ctl *ctl)
{
	return simple(ctl, "SyncTime");
}

enum ctl_exit cmd_adopt(struct ctl *ctl)
{
	return simple(ctl, "Adopt");
}

static enum ctl_exit show_answer(const struct ctl *ctl, sd_bus_message *reply)
{
	struct json j = JSON_TO(stdout);
	const char *line;
	size_t n = 0;
	int r = sd_bus_message_enter_container(reply, 'a', "s");

	if (ctl->json)
		json_array(&j, NULL);
	while (r >= 0 && n++ < LINES_MAX && (r = sd_bus_message_read(reply, "s", &line)) > 0) {
		_cleanup_free_ char *clean = text_clean(line);

		if (ctl->json)
			json_string(&j, NULL, line);
		else if (clean)
			puts(clean);
	}
	if (ctl->json)
		json_end(&j);
	return r < 0 ? ctl_bad_answer("Command", r) : CTL_OK;
}

enum ctl_exit cmd_command(struct ctl *ctl)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_message_ sd_bus_message *reply = NULL;
	enum ctl_exit status = ctl_device_argument(ctl, 1, &path);
	const struct ctl_method method = { path, ESPAT_DEVICE, "Command", true };

	if (status == CTL_OK)
		status = ctl_call(ctl, &method, &reply, "s", ctl->argv[0]);
	if (status == CTL_OK)
		status = ctl_expect(reply, "as", "Command");
	return status == CTL_OK ? show_answer(ctl, reply) : status;
}
