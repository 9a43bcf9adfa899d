/* SPDX-License-Identifier: MIT */
/* What is asked of one chip without more: reset, reprobe, sync-time, adopt, command. */
#include "ctl/bus.h"
#include "ctl/show.h"

enum ctl_exit cmd_reset(struct ctl *ctl)
{
	return ctl_device_call(ctl, ESPAT_DEVICE, "Reset");
}

enum ctl_exit cmd_reprobe(struct ctl *ctl)
{
	return ctl_device_call(ctl, ESPAT_DEVICE, "Reprobe");
}

enum ctl_exit cmd_sync_time(struct ctl *ctl)
{
	return ctl_device_call(ctl, ESPAT_DEVICE, "SyncTime");
}

enum ctl_exit cmd_adopt(struct ctl *ctl)
{
	return ctl_device_call(ctl, ESPAT_DEVICE, "Adopt");
}

enum ctl_exit cmd_command(struct ctl *ctl)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_message_ sd_bus_message *reply = NULL;
	enum ctl_exit status = ctl_device_argument(ctl, 1, &path);
	const struct ctl_method method = { path, ESPAT_DEVICE, "Command", true };
	size_t n;

	if (status == CTL_OK)
		status = ctl_ask(ctl, &method, "as", &reply, "s", ctl->argv[0]);
	return status == CTL_OK ? show_lines(ctl, reply, "Command", &n) : status;
}
