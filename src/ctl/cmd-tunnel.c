/* SPDX-License-Identifier: MIT */
/* tunnel add, tunnel remove. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/bus.h"
#include "ctl/json.h"
#include "ctl/option.h"

static int append_list(sd_bus_message *m, const struct ctl_option_value *o)
{
	uint32_t numbers[OPTION_ITEMS_MAX];
	bool is_numbers = option_is_numbers(o, numbers);
	int r = sd_bus_message_open_container(m, 'v', is_numbers ? "au" : "as");

	if (r >= 0)
		r = is_numbers
			    ? sd_bus_message_append_array(m, 'u', numbers, o->n * sizeof(*numbers))
			    : sd_bus_message_append_strv(m, o->strings);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_value(sd_bus_message *m, const struct ctl_option_value *o)
{
	switch (o->type) {
	case OPTION_STRING:
		return sd_bus_message_append(m, "v", "s", o->strings[0]);
	case OPTION_INT:
		return sd_bus_message_append(m, "v", "x", o->number);
	case OPTION_BOOL:
		return sd_bus_message_append(m, "v", "b", (int)o->number);
	case OPTION_STRINGS:
		return append_list(m, o);
	}
	return -EINVAL;
}

static int append_entry(sd_bus_message *m, const struct ctl_option_value *o)
{
	int r = sd_bus_message_open_container(m, 'e', "sv");

	if (r >= 0)
		r = sd_bus_message_append(m, "s", o->key);
	if (r >= 0)
		r = append_value(m, o);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static enum ctl_exit append_options(sd_bus_message *m, const struct ctl_option_list *list,
				    bool persist)
{
	int r = sd_bus_message_open_container(m, 'a', "{sv}");

	for (size_t i = 0; r >= 0 && i < list->n; i++)
		r = append_entry(m, &list->items[i]);
	if (r >= 0 && persist)
		r = sd_bus_message_append(m, "{sv}", "persist", "b", 1);
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	if (r == -EINVAL)
		return ctl_usage("keys and values must be UTF-8");
	return ctl_result(r < 0 ? r : 0);
}

static enum ctl_exit parse(struct ctl *ctl, struct ctl_option_list *list)
{
	char why[256];
	int r = 0;

	for (int i = 1; r == 0 && i < ctl->argc; i++)
		r = option_add(list, ctl->argv[i], why, sizeof(why));
	if (r == -EINVAL)
		return ctl_usage("%s", why);
	return ctl_result(r);
}

static enum ctl_exit tunnel_add(struct ctl *ctl)
{
	const struct ctl_method create = { ESPAT_ROOT, ESPAT_MANAGER, "CreateTunnel", true };
	_cleanup_(option_list_clear) struct ctl_option_list list = { 0 };
	_cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
	struct json j = JSON_TO(stdout);
	enum ctl_exit status;
	const char *path;

	if (ctl->argc < 1)
		return ctl_usage("tunnel add: expected a NAME and its KEY=VALUE");
	status = parse(ctl, &list);
	if (status == CTL_OK)
		status = ctl_connect(ctl);
	if (status != CTL_OK)
		return status;
	m = ctl_message(ctl, &create);
	if (!m)
		return CTL_FAILED;
	if (sd_bus_message_append(m, "s", ctl->argv[0]) < 0)
		return ctl_usage("the tunnel's name must be UTF-8");
	status = append_options(m, &list, ctl->opt.persist);
	if (status == CTL_OK)
		status = ctl_send(ctl, m, &reply);
	if (status == CTL_OK)
		status = ctl_expect(reply, "o", "CreateTunnel");
	if (status != CTL_OK || !ctl->json)
		return status;
	sd_bus_message_read(reply, "o", &path);
	json_object(&j, NULL);
	json_string(&j, "path", path);
	json_end(&j);
	return CTL_OK;
}

static enum ctl_exit tunnel_remove(struct ctl *ctl)
{
	const struct ctl_method remove = { ESPAT_ROOT, ESPAT_MANAGER, "RemoveTunnel", true };

	if (ctl->argc != 1)
		return ctl_usage("tunnel remove: expected the name of one tunnel");
	if (ctl->opt.persist)
		return ctl_usage("--persist goes with `tunnel add`; what is removed stays removed");
	return ctl_call(ctl, &remove, NULL, "s", ctl->argv[0]);
}

enum ctl_exit cmd_tunnel(struct ctl *ctl)
{
	static const struct ctl_subcommand table[] = { { "add", tunnel_add },
						       { "remove", tunnel_remove } };
	const struct ctl_subcommand *which = ctl_subcommand(ctl, table, COUNT(table));
	const char *what = ctl->argc > 0 ? ctl->argv[0] : "";

	if (which)
		return which->run(ctl);
	return ctl_usage("tunnel: expected add or remove%s%s", *what ? ", not " : "", what);
}
