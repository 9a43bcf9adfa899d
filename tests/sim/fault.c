/* SPDX-License-Identifier: MIT */
/*
 * The script of misbehaviour. A line is TRIGGER ACTION; '#' begins a comment. Triggers:
 *
 *   cmd PREFIX [N]   the Nth (first) command line from now on that begins with PREFIX, before it runs
 *   in BYTES         so many bytes have come from the host; out BYTES: have gone to it
 *   at MS            so long after the start
 *   now
 */
#include "fault.h"
#include "nvs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define RULES_MAX 256

enum trigger {
	ON_COMMAND,
	ON_IN,
	ON_OUT,
	ON_TIME,
};

enum action {
	ACT_CORE, /* to the chip: fault */
	ACT_DROP,
	ACT_FLIP,
	ACT_DOUBLE,
	ACT_SPLIT,
	ACT_MEND,
	ACT_WIFI,
	ACT_WIFI_AWAY,
	ACT_UNPLUG,
	ACT_PLUG,
	ACT_LINK_RESET,
	ACT_CLOCK,
	ACT_MFG_ERASE,
};

enum args {
	ARGS_NUMBER, /* [N] */
	ARGS_WIRE,   /* in|out [N] */
	ARGS_NEEDED, /* N */
	ARGS_KEY,    /* NAMESPACE KEY */
};

static const struct {
	const char *name;
	enum action act;
	enum sim_fault fault;
	enum args args;
	int64_t min, max, otherwise;
} actions[] = {
	{ "drop", ACT_DROP, 0, ARGS_WIRE, 1, 1 << 30, 1 },
	{ "flip", ACT_FLIP, 0, ARGS_WIRE, 1, 1 << 30, 1 },
	{ "double", ACT_DOUBLE, 0, ARGS_WIRE, 1, 1 << 30, 1 },
	{ "split", ACT_SPLIT, 0, ARGS_NUMBER, 0, 1 << 30, 1 },
	{ "mend", ACT_MEND, 0, ARGS_NUMBER, 0, 0, 0 },
	{ "delay", ACT_CORE, SIM_FAULT_DELAY, ARGS_NUMBER, 1, 1 << 24, 1000 },
	{ "mute", ACT_CORE, SIM_FAULT_MUTE, ARGS_NUMBER, 1, 1, 1 },
	{ "no-prompt", ACT_CORE, SIM_FAULT_NO_PROMPT, ARGS_NUMBER, 1, 1, 1 },
	{ "busy", ACT_CORE, SIM_FAULT_BUSY, ARGS_NUMBER, 1, 1 << 20, 1 },
	{ "busy-after", ACT_CORE, SIM_FAULT_BUSY_AFTER, ARGS_NUMBER, 1, 1 << 20, 1 },
	{ "reset", ACT_CORE, SIM_FAULT_RESET, ARGS_NUMBER, 0, 1 << 24, 0 },
	{ "reset-rom", ACT_CORE, SIM_FAULT_RESET_ROM, ARGS_NUMBER, 0, 1 << 24, 0 },
	{ "hang", ACT_CORE, SIM_FAULT_HANG, ARGS_NUMBER, 1, 1, 1 },
	{ "brownout-old", ACT_CORE, SIM_FAULT_BROWNOUT_OLD, ARGS_NUMBER, 1, 1, 1 },
	{ "brownout-new", ACT_CORE, SIM_FAULT_BROWNOUT_NEW, ARGS_NUMBER, 1, 1, 1 },
	{ "send-fail", ACT_CORE, SIM_FAULT_SEND_FAIL, ARGS_NUMBER, 0, 8192, 0 },
	{ "late-closed", ACT_CORE, SIM_FAULT_LATE_CLOSED, ARGS_NUMBER, 1, 1 << 24, 1000 },
	{ "tls-length", ACT_CORE, SIM_FAULT_TLS_LENGTH, ARGS_NUMBER, -16384, 16384, 29 },
	{ "heap", ACT_CORE, SIM_FAULT_HEAP, ARGS_NUMBER, 0, 1 << 24, 0 },
	{ "rssi", ACT_CORE, SIM_FAULT_RSSI, ARGS_NUMBER, -120, 0, 0 },
	{ "wifi-drop", ACT_WIFI, 0, ARGS_NUMBER, 0, 1, 1 },
	{ "wifi-away", ACT_WIFI_AWAY, 0, ARGS_NEEDED, 1, 1 << 24, 0 },
	{ "unplug", ACT_UNPLUG, 0, ARGS_NUMBER, 0, 1 << 24, 0 },
	{ "plug", ACT_PLUG, 0, ARGS_NUMBER, 0, 0, 0 },
	{ "link-reset", ACT_LINK_RESET, 0, ARGS_NUMBER, 0, SIM_LINKS - 1, 0 },
	{ "clock", ACT_CLOCK, 0, ARGS_NEEDED, 0, UINT32_MAX, 0 },
	{ "mfg-erase", ACT_MFG_ERASE, 0, ARGS_KEY, 0, 0, 0 },
};

struct rule {
	enum trigger on;
	char prefix[64];
	uint64_t when; /* matches left, bytes, or us */
	int action;    /* index, -1: spent */
	bool to_chip;
	int64_t value;
	char ns[NVS_NAME_MAX + 1], key[NVS_NAME_MAX + 1];
};

struct wire {
	uint64_t passed;
	int64_t drop, flip, twice;
};

struct faults {
	struct sim_core **core;
	const struct fault_ops *ops;
	void *ud;
	uint64_t start;
	struct rule rule[RULES_MAX];
	int n;
	struct wire wire[2]; /* [to_chip] */
	int64_t split;       /* largest chunk, 0: whole */
};

struct faults *faults_new(struct sim_core **core, const struct fault_ops *ops, void *ud,
			  uint64_t now)
{
	struct faults *f = calloc(1, sizeof(*f));

	if (!f)
		abort();
	f->core = core;
	f->ops = ops;
	f->ud = ud;
	f->start = now;
	return f;
}

struct faults *faults_free(struct faults *f)
{
	free(f);
	return NULL;
}

static void tell(struct faults *f, const char *what)
{
	if (f->ops->told)
		f->ops->told(f->ud, what);
}

static void tell_action(struct faults *f, const struct rule *r)
{
	char text[64];

	snprintf(text, sizeof(text), "%s %s%lld", actions[r->action].name,
		 actions[r->action].args != ARGS_WIRE ? ""
		 : r->to_chip                         ? "in "
						      : "out ",
		 (long long)r->value);
	tell(f, text);
}

/* What is done to a wire until so many bytes have passed. */
static bool is_hurt(const struct wire *w)
{
	return w->drop || w->flip || w->twice;
}

static void mend(struct faults *f)
{
	bool hurt = is_hurt(&f->wire[0]) || is_hurt(&f->wire[1]);

	for (int i = 0; i < f->n; i++)
		f->rule[i].action = -1;
	for (int i = 0; i < 2; i++)
		f->wire[i].drop = f->wire[i].flip = f->wire[i].twice = 0;
	f->split = 0;
	if (hurt)
		tell(f, "over");
}

/* -ENOENT if there is nothing to be done it to. */
static int act(struct faults *f, uint64_t now, const struct rule *r)
{
	struct wire *w = &f->wire[r->to_chip];
	enum sim_fault fault = actions[r->action].fault;

	tell_action(f, r);
	switch (actions[r->action].act) {
	case ACT_CORE:
		/* 0 bytes of a send is a fault, too. */
		sim_core_fault(*f->core, now, fault, r->value + (fault == SIM_FAULT_SEND_FAIL));
		break;
	case ACT_DROP:
		w->drop += r->value;
		break;
	case ACT_FLIP:
		w->flip += r->value;
		break;
	case ACT_DOUBLE:
		w->twice += r->value;
		break;
	case ACT_SPLIT:
		f->split = r->value;
		break;
	case ACT_MEND:
		mend(f);
		break;
	case ACT_WIFI:
		sim_core_wifi_drop(*f->core, now, r->value);
		break;
	case ACT_WIFI_AWAY:
		sim_core_wifi_away(*f->core, now, r->value);
		break;
	case ACT_UNPLUG:
		f->ops->unplug(f->ud, r->value);
		break;
	case ACT_PLUG:
		f->ops->plug(f->ud);
		break;
	case ACT_LINK_RESET:
		f->ops->link_reset(f->ud, r->value);
		break;
	case ACT_CLOCK:
		sim_core_set_clock(*f->core, now, r->value);
		break;
	case ACT_MFG_ERASE:
		return sim_core_mfg_erase(*f->core, r->ns, r->key);
	}
	return 0;
}

static bool take_name(char *to, char **save)
{
	const char *word = strtok_r(NULL, " \t", save);

	if (!word || strlen(word) > NVS_NAME_MAX)
		return false;
	strcpy(to, word);
	return true;
}

static int parse_action(struct rule *r, char *word, char **save, const char **why)
{
	char *end;

	*why = "no such action";
	for (size_t i = 0; word && i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (strcmp(actions[i].name, word))
			continue;
		r->action = i;
		r->value = actions[i].otherwise;
		*why = "expected a namespace and a key";
		if (actions[i].args == ARGS_KEY &&
		    (!take_name(r->ns, save) || !take_name(r->key, save)))
			return -EINVAL;
		word = strtok_r(NULL, " \t", save);
		if (actions[i].args == ARGS_KEY) {
			*why = "too many words";
			return word ? -EINVAL : 0;
		}
		if (actions[i].args == ARGS_WIRE) {
			*why = "expected in or out";
			if (!word || (strcmp(word, "in") && strcmp(word, "out")))
				return -EINVAL;
			r->to_chip = !strcmp(word, "in");
			word = strtok_r(NULL, " \t", save);
		}
		*why = "not a number, or out of range";
		if (!word && actions[i].args == ARGS_NEEDED)
			return -EINVAL;
		if (word) {
			r->value = strtoll(word, &end, 10);
			if (*end || r->value < actions[i].min || r->value > actions[i].max)
				return -EINVAL;
			word = strtok_r(NULL, " \t", save);
		}
		*why = "too many words";
		return word ? -EINVAL : 0;
	}
	return -EINVAL;
}

static int is_number(const char *word, uint64_t *ret)
{
	char *end;

	if (!word || *word < '0' || *word > '9')
		return 0;
	*ret = strtoull(word, &end, 10);
	return !*end;
}

int faults_line(struct faults *f, uint64_t now, const char *line, const char **why)
{
	char text[256], *save = NULL, *word;
	struct rule r = { 0 };
	bool at_once = false;
	int res;

	snprintf(text, sizeof(text), "%s", line);
	text[strcspn(text, "#\r\n")] = 0;
	word = strtok_r(text, " \t", &save);
	if (!word)
		return 0;
	if (!strcmp(word, "cmd")) {
		word = strtok_r(NULL, " \t", &save);
		*why = "expected the beginning of a command";
		if (!word || strlen(word) >= sizeof(r.prefix))
			return -EINVAL;
		r.on = ON_COMMAND;
		strcpy(r.prefix, word);
		r.when = 1;
		word = strtok_r(NULL, " \t", &save);
		if (is_number(word, &r.when))
			word = strtok_r(NULL, " \t", &save);
	} else if (!strcmp(word, "in") || !strcmp(word, "out") || !strcmp(word, "at")) {
		r.on = word[0] == 'i' ? ON_IN : word[0] == 'o' ? ON_OUT : ON_TIME;
		word = strtok_r(NULL, " \t", &save);
		*why = "expected a number";
		if (!is_number(word, &r.when))
			return -EINVAL;
		if (r.on == ON_TIME)
			r.when = f->start + r.when * 1000;
		word = strtok_r(NULL, " \t", &save);
	} else {
		at_once = true;
		if (!strcmp(word, "now"))
			word = strtok_r(NULL, " \t", &save);
	}
	res = parse_action(&r, word, &save, why);
	if (res < 0)
		return res;
	if (at_once) {
		*why = "no such key";
		return act(f, now, &r);
	}
	for (int i = 0; i < f->n; i++)
		if (f->rule[i].action < 0) {
			f->rule[i] = r;
			return 0;
		}
	*why = "too many rules";
	if (f->n == RULES_MAX)
		return -EINVAL;
	f->rule[f->n++] = r;
	return 0;
}

/* A rule is spent before it acts: its action may come back here. */
static void fire(struct faults *f, uint64_t now, struct rule *r)
{
	struct rule copy = *r;

	r->action = -1;
	act(f, now, &copy);
}

void faults_command(struct faults *f, uint64_t now, const char *line, size_t len)
{
	for (int i = 0; i < f->n; i++) {
		struct rule *r = &f->rule[i];
		size_t n = strlen(r->prefix);

		if (r->action < 0 || r->on != ON_COMMAND || len < n ||
		    strncasecmp(line, r->prefix, n))
			continue;
		if (r->when > 1)
			r->when--;
		else
			fire(f, now, r);
	}
}

/* One byte; returns how many have become of it. */
static size_t pass(struct wire *w, uint8_t b, uint8_t out[2])
{
	if (w->drop) {
		w->drop--;
		return 0;
	}
	if (w->flip) {
		w->flip--;
		b ^= 0x20;
	}
	out[0] = b;
	if (!w->twice)
		return 1;
	w->twice--;
	out[1] = b;
	return 2;
}

size_t faults_wire(struct faults *f, uint64_t now, bool to_chip, const uint8_t *in, size_t len,
		   uint8_t *out)
{
	struct wire *w = &f->wire[to_chip];
	enum trigger on = to_chip ? ON_IN : ON_OUT;
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		uint8_t b = in[i];
		bool hurt;

		for (int k = 0; k < f->n; k++) {
			struct rule *r = &f->rule[k];

			if (r->action >= 0 && r->on == on && r->when <= w->passed)
				fire(f, now, r);
		}
		w->passed++;
		hurt = is_hurt(w);
		n += pass(w, b, out + n);
		if (hurt && !is_hurt(w))
			tell(f, "over");
	}
	return n;
}

size_t faults_split(struct faults *f, size_t n)
{
	return f->split && (size_t)f->split < n ? (size_t)f->split : n;
}

uint64_t faults_next(const struct faults *f)
{
	uint64_t t = SIM_NEVER;

	for (int i = 0; i < f->n; i++)
		if (f->rule[i].action >= 0 && f->rule[i].on == ON_TIME && f->rule[i].when < t)
			t = f->rule[i].when;
	return t;
}

void faults_tick(struct faults *f, uint64_t now)
{
	for (int i = 0; i < f->n; i++)
		if (f->rule[i].action >= 0 && f->rule[i].on == ON_TIME && f->rule[i].when <= now)
			fire(f, now, &f->rule[i]);
}

void faults_counts(const struct faults *f, uint64_t *in, uint64_t *out)
{
	*in = f->wire[1].passed;
	*out = f->wire[0].passed;
}
