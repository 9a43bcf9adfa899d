/* SPDX-License-Identifier: MIT */
/* udev: rules for the ports of the configured devices, shown or written. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/bus.h"
#include "ctl/fetch.h"
#include "ctl/json.h"
#include "ctl/text.h"
#include "ctl/udev.h"
#include "util/file.h"

#define RULES_MAX (256 * 1024)
#define RULE_MAX 2048

static const char head[] =
	"# Made by `espatctl udev --write`: one rule for each chip of espatd. It gives the port a\n"
	"# name that stays, /dev/espat-NAME, and keeps ModemManager away from it.\n";

struct rule {
	enum udev_result result;
	bool kept; /* it stands in the file already, and cannot be made anew now */
	char text[RULE_MAX];
	char why[RULE_MAX]; /* if kept */
};

static void make_rule(const struct ctl *ctl, const struct snap_device *d, const char *present,
		      struct rule *rule)
{
	const struct udev_roots roots = { ctl->opt.sysfs, ctl->opt.udev_data };
	char old[RULE_MAX];

	rule->kept = false;
	rule->result = udev_rule(&roots, d->name, d->port, rule->text, sizeof(rule->text));
	/* An adapter that is not plugged in keeps the rule that it has. */
	if (rule->result == UDEV_FAILED && present &&
	    udev_find_rule(present, d->name, old, sizeof(old))) {
		rule->kept = true;
		memcpy(rule->why, rule->text, sizeof(rule->why));
		memcpy(rule->text, old, sizeof(rule->text));
	}
}

/* In a comment, where a line end would begin a rule. */
static void put_comment(FILE *f, const char *name, const char *text)
{
	_cleanup_free_ char *clean_name = text_clean(name), *clean = text_clean(text);

	fprintf(f, "# %s: %s\n", clean_name ? clean_name : "?", clean ? clean : "?");
}

static void put_rule(FILE *f, const struct snap_device *d, const struct rule *rule)
{
	if (rule->result == UDEV_RULE) {
		fprintf(f, "%s\n", rule->text);
	} else if (rule->kept) {
		put_comment(f, d->name, rule->why);
		fprintf(f, "%s\n", rule->text);
	} else {
		put_comment(f, d->name, rule->text);
	}
}

static void json_rule(struct json *j, const struct snap_device *d, const struct rule *rule)
{
	bool there = rule->result == UDEV_RULE || rule->kept;

	json_object(j, NULL);
	json_string(j, "device", d->name);
	json_string(j, "port", d->port);
	json_string(j, "rule", there ? rule->text : NULL);
	json_string(j, "problem",
		    rule->result == UDEV_RULE ? NULL
		    : rule->kept              ? rule->why
					      : rule->text);
	json_end(j);
}

/* Returns whether each device that needs a rule has one. @n: how many have one; NULL: who cares. */
static bool put_rules(FILE *f, struct json *j, const struct ctl *ctl, const struct snapshot *snap,
		      const char *present, size_t *n)
{
	struct rule rule;
	bool all = true;

	if (j)
		json_array(j, NULL);
	else
		fputs(head, f);
	for (size_t i = 0; i < snap->n_devices; i++) {
		make_rule(ctl, &snap->devices[i], present, &rule);
		if (j)
			json_rule(j, &snap->devices[i], &rule);
		else
			put_rule(f, &snap->devices[i], &rule);
		if (n && (rule.result == UDEV_RULE || rule.kept))
			++*n;
		if (rule.result == UDEV_FAILED && !rule.kept)
			all = false;
		if (rule.result == UDEV_FAILED && ctl->opt.write)
			ctl_error("%s: %s%s", snap->devices[i].name,
				  rule.kept ? rule.why : rule.text,
				  rule.kept ? "; its rule of before is kept" : "");
	}
	if (j)
		json_end(j);
	return all;
}

static bool any_rule(const char *rules)
{
	for (; *rules; rules += strcspn(rules, "\n"), rules += *rules == '\n')
		if (*rules != '#' && *rules != '\n')
			return true;
	return false;
}

static enum ctl_exit write_rules(const struct ctl *ctl, const struct snapshot *snap,
				 const char *present)
{
	_cleanup_free_ char *text = NULL;
	size_t size, n = 0;
	FILE *f = open_memstream(&text, &size);
	bool all;
	int r;

	if (!f)
		return ctl_oom();
	all = put_rules(f, NULL, ctl, snap, present, &n);
	if (fclose(f) != 0)
		return ctl_oom();
	/* Rules of devices that are not there any more go, too. */
	if (n == 0 && !(present && any_rule(present))) {
		if (!ctl->json)
			printf("There is no rule to write: %s stays as it is.\n", ctl->opt.rules);
		return all ? CTL_OK : CTL_FAILED;
	}
	r = file_write_atomic(ctl->opt.rules, text, size, 0644);
	if (r < 0) {
		ctl_error("cannot write %s: %s", ctl->opt.rules, strerror(-r));
		return r == -EACCES || r == -EPERM ? CTL_DENIED : CTL_FAILED;
	}
	if (!ctl->json)
		printf("%s is written. It takes effect when an adapter is plugged in, or by:\n"
		       "  udevadm control --reload && udevadm trigger --subsystem-match=tty\n",
		       ctl->opt.rules);
	return all ? CTL_OK : CTL_FAILED;
}

enum ctl_exit cmd_udev(struct ctl *ctl)
{
	_cleanup_snapshot_ struct snapshot snap = { 0 };
	_cleanup_free_ void *present = NULL;
	struct json j = JSON_TO(stdout);
	enum ctl_exit status;
	size_t len;
	int r;

	if (ctl->argc > 0)
		return ctl_usage("too many arguments");
	status = fetch_objects(ctl, &snap);
	if (status != CTL_OK)
		return status;
	r = file_read(ctl->opt.rules, RULES_MAX, &present, &len);
	if (r < 0) {
		present = NULL;
		/* What cannot be read is not replaced: rules in it would be lost. */
		if (r != -ENOENT && ctl->opt.write) {
			ctl_error("cannot read %s: %s", ctl->opt.rules, strerror(-r));
			return CTL_FAILED;
		}
	}
	if (ctl->opt.write)
		return write_rules(ctl, &snap, present);
	return put_rules(stdout, ctl->json ? &j : NULL, ctl, &snap, present, NULL) ? CTL_OK
										   : CTL_FAILED;
}
