/* SPDX-License-Identifier: MIT */
#include "ctl/fetch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/bus.h"
#include "util/sdbus.h"

/* Strings in one list, such as the tunnels that use an authority. */
#define STRINGS_MAX 1024

static int take_string(char **to, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*to);
	*to = copy;
	return 0;
}

/* One more zeroed item in a list; NULL: no memory, or too many (errno). */
static void *grow(void **items, size_t *n, size_t size, size_t max)
{
	void *more;

	if (*n >= max) {
		errno = E2BIG;
		return NULL;
	}
	/* Room is doubled whenever the number is a power of two. */
	if ((*n & (*n - 1)) == 0) {
		more = reallocarray(*items, *n ? 2 * *n : 1, size);
		if (!more)
			return NULL;
		*items = more;
	}
	more = (char *)*items + size * (*n)++;
	memset(more, 0, size);
	return more;
}

static int read_strings(sd_bus_message *m, char ***ret)
{
	char **list;
	size_t n = 0;
	int r;

	r = sd_bus_message_read_strv(m, &list);
	if (r < 0)
		return r;
	while (list && list[n])
		n++;
	if (n > STRINGS_MAX) {
		strings_free(list);
		return -E2BIG;
	}
	strings_free(*ret);
	*ret = list;
	return 0;
}

/* ---- variants ---- */

static int read_integer(sd_bus_message *m, char type, struct var *v)
{
	struct sdbus_integer x;
	int r = sdbus_read_integer(m, type, &x);

	v->type = x.is_signed ? VAR_INT : VAR_UINT;
	if (x.is_signed)
		v->i = x.i;
	else
		v->u = x.u;
	return r;
}

static int read_bool(sd_bus_message *m, struct var *v)
{
	int b = 0, r = sd_bus_message_read_basic(m, 'b', &b);

	v->type = VAR_BOOL;
	v->b = b;
	return r;
}

int var_read(sd_bus_message *m, struct var *v)
{
	const char *contents;
	char type;
	int r;

	*v = (struct var){ 0 };
	r = sd_bus_message_peek_type(m, &type, &contents);
	if (r < 0)
		return r;
	if (r == 0 || type != 'v')
		return -EBADMSG;
	if (strlen(contents) == 1 && strchr("b" SDBUS_INTEGERS, contents[0])) {
		r = sd_bus_message_enter_container(m, 'v', contents);
		if (r >= 0)
			r = contents[0] == 'b' ? read_bool(m, v) : read_integer(m, contents[0], v);
	} else if (strcmp(contents, "s") == 0 || strcmp(contents, "o") == 0) {
		v->type = VAR_STRING;
		r = sd_bus_message_enter_container(m, 'v', contents);
		if (r >= 0)
			r = sd_bus_message_read_basic(m, contents[0], &v->string);
	} else if (strcmp(contents, "as") == 0) {
		v->type = VAR_STRINGS;
		r = sd_bus_message_enter_container(m, 'v', contents);
		if (r >= 0)
			r = read_strings(m, &v->strings);
	} else {
		r = sd_bus_message_skip(m, "v");
		return r < 0 ? r : 0;
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	if (r < 0)
		var_clear(v);
	return r < 0 ? r : 0;
}

void var_clear(struct var *v)
{
	strings_free(v->strings);
	v->strings = NULL;
}

bool var_int(const struct var *v, int64_t *ret)
{
	if (v->type == VAR_INT)
		*ret = v->i;
	else if (v->type == VAR_UINT && v->u <= INT64_MAX)
		*ret = (int64_t)v->u;
	else
		return false;
	return true;
}

bool var_uint(const struct var *v, uint64_t *ret)
{
	int64_t i;

	if (v->type == VAR_UINT) {
		*ret = v->u;
		return true;
	}
	if (!var_int(v, &i) || i < 0)
		return false;
	*ret = (uint64_t)i;
	return true;
}

bool var_is(const char *key, const char *name)
{
	for (; *key && *name; key++) {
		if (*key == '_' || *key == '-')
			continue;
		while (*name == '_')
			name++;
		if ((*key | 0x20) != (*name++ | 0x20))
			return false;
	}
	return !*key && !*name;
}

int dict_each(sd_bus_message *m, int (*fn)(void *userdata, const char *key, sd_bus_message *m),
	      void *userdata)
{
	int r = sd_bus_message_enter_container(m, 'a', "{sv}");

	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		const char *key;

		r = sd_bus_message_read_basic(m, 's', &key);
		if (r >= 0)
			r = fn(userdata, key, m);
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

struct reader {
	dict_fn fn;
	void *userdata;
};

static int read_member(void *userdata, const char *key, sd_bus_message *m)
{
	const struct reader *reader = userdata;
	struct var value;
	int r = var_read(m, &value);

	if (r < 0)
		return r;
	r = reader->fn(reader->userdata, key, &value);
	var_clear(&value);
	return r;
}

int dict_read(sd_bus_message *m, dict_fn fn, void *userdata)
{
	struct reader reader = { fn, userdata };

	return dict_each(m, read_member, &reader);
}

/* ---- properties ---- */

/* Where the properties of an interface go. */
struct target {
	void *object;
	const struct snap_field *fields;
	const char *interface;
};

static int store(void *object, const struct snap_field *field, sd_bus_message *m)
{
	void *at = (char *)object + field->offset;
	const char *s;
	int r, b;

	switch (field->type) {
	case 's':
		r = sd_bus_message_read(m, "v", "s", &s);
		return r < 0 ? r : take_string(at, s);
	case 'b':
		r = sd_bus_message_read(m, "v", "b", &b);
		*(bool *)at = r >= 0 && b;
		return r;
	default:
		return sd_bus_message_read(m, "v", (char[]){ field->type, '\0' }, at);
	}
}

static int store_property(void *userdata, const char *name, sd_bus_message *m)
{
	const struct target *target = userdata;
	const char *contents;
	char type;
	int r = sd_bus_message_peek_type(m, &type, &contents);

	if (r <= 0)
		return r < 0 ? r : -EBADMSG;
	for (const struct snap_field *field = target->fields; field->property; field++) {
		if (strcmp(field->property, name) != 0)
			continue;
		if (contents[0] == field->type && !contents[1])
			return store(target->object, field, m);
		ctl_error("the service's %s.%s is not understood: its type is \"%s\" instead of "
			  "\"%c\"",
			  target->interface, name, contents, field->type);
		return -EUCLEAN; /* told already */
	}
	return sd_bus_message_skip(m, "v");
}

static enum ctl_exit read_failed(const char *what, int r)
{
	return r == -EUCLEAN ? CTL_FAILED : ctl_bad_answer(what, r);
}

/* What the interface of an object is to us; false: nothing. It may make the object. -errno */
static int target_of(struct snapshot *snap, const char *path, const char *interface, bool *made,
		     struct target *ret)
{
	bool tunnel = strcmp(interface, ESPAT_TUNNEL) == 0;
	bool device = strcmp(interface, ESPAT_DEVICE) == 0,
	     wifi = strcmp(interface, ESPAT_WIFI) == 0;
	char **its_path;

	if (!tunnel && !device && !wifi)
		return 0;
	if (!*made) {
		void *object = tunnel ? grow((void **)&snap->tunnels, &snap->n_tunnels,
					     sizeof(*snap->tunnels), SNAP_TUNNELS_MAX)
				      : grow((void **)&snap->devices, &snap->n_devices,
					     sizeof(*snap->devices), SNAP_DEVICES_MAX);

		if (!object)
			return -errno;
		*made = true;
		its_path = tunnel ? &((struct snap_tunnel *)object)->path
				  : &((struct snap_device *)object)->path;
		*its_path = strdup(path);
		if (!*its_path)
			return -ENOMEM;
	}
	/* An object that is a device and a tunnel at once is none of ours. */
	if (tunnel ? snap->n_tunnels == 0 : snap->n_devices == 0)
		return -EBADMSG;
	*ret = (struct target){ tunnel ? (void *)&snap->tunnels[snap->n_tunnels - 1]
				       : (void *)&snap->devices[snap->n_devices - 1],
				tunnel   ? snap_tunnel_fields
				: device ? snap_device_fields
					 : snap_wifi_fields,
				interface };
	return 1;
}

static int read_object(struct snapshot *snap, sd_bus_message *m)
{
	struct target target;
	const char *path, *interface;
	bool made = false;
	int r = sd_bus_message_read_basic(m, 'o', &path);

	if (r >= 0)
		r = sd_bus_message_enter_container(m, 'a', "{sa{sv}}");
	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sa{sv}")) > 0) {
		r = sd_bus_message_read_basic(m, 's', &interface);
		if (r >= 0)
			r = target_of(snap, path, interface, &made, &target);
		if (r > 0)
			r = dict_each(m, store_property, &target);
		else if (r == 0)
			r = sd_bus_message_skip(m, "a{sv}");
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_objects(struct snapshot *snap, sd_bus_message *m)
{
	int r = sd_bus_message_enter_container(m, 'a', "{oa{sa{sv}}}");

	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "oa{sa{sv}}")) > 0) {
		r = read_object(snap, m);
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	return r < 0 ? r : 0;
}

static enum ctl_exit fetch_manager(struct ctl *ctl, struct snapshot *snap)
{
	const struct ctl_method get = { ESPAT_ROOT, "org.freedesktop.DBus.Properties", "GetAll",
					false };
	struct target target = { snap, snap_manager_fields, ESPAT_MANAGER };
	_cleanup_message_ sd_bus_message *reply = NULL;
	enum ctl_exit status = ctl_ask(ctl, &get, "a{sv}", &reply, "s", ESPAT_MANAGER);
	int r;

	if (status != CTL_OK)
		return status;
	r = dict_each(reply, store_property, &target);
	return r < 0 ? read_failed("GetAll", r) : CTL_OK;
}

enum ctl_exit fetch_objects(struct ctl *ctl, struct snapshot *snap)
{
	const struct ctl_method get = { ESPAT_ROOT, "org.freedesktop.DBus.ObjectManager",
					"GetManagedObjects", false };
	_cleanup_message_ sd_bus_message *reply = NULL;
	enum ctl_exit status = fetch_manager(ctl, snap);
	int r;

	if (status == CTL_OK)
		status = ctl_ask(ctl, &get, "a{oa{sa{sv}}}", &reply, NULL);
	if (status != CTL_OK)
		return status;
	r = read_objects(snap, reply);
	if (r >= 0)
		r = snapshot_fill(snap);
	if (r < 0)
		return read_failed("GetManagedObjects", r);
	snapshot_sort(snap);
	return CTL_OK;
}

enum ctl_exit fetch_devices(struct ctl *ctl, struct snapshot *snap, const struct snap_device **ret)
{
	enum ctl_exit status;

	*ret = NULL;
	if (ctl->argc > 1)
		return ctl_usage("too many arguments");
	status = fetch_objects(ctl, snap);
	if (status != CTL_OK || ctl->argc == 0)
		return status;
	*ret = snapshot_device(snap, ctl->argv[0]);
	if (*ret)
		return CTL_OK;
	ctl_error("no device has the name %s", ctl->argv[0]);
	return CTL_NO_OBJECT;
}

/* ---- rows of a list ---- */

/* @signature: of an array; its items are added to *items, and each is read by @read. */
static enum ctl_exit fetch_rows(struct ctl *ctl, const struct ctl_method *list,
				const char *signature, int (*read)(void *item, sd_bus_message *m),
				void **items, size_t *n, size_t size)
{
	_cleanup_message_ sd_bus_message *reply = NULL;
	enum ctl_exit status = ctl_ask(ctl, list, signature, &reply, NULL);
	int r;

	if (status != CTL_OK)
		return status;
	r = sd_bus_message_enter_container(reply, 'a', signature + 1);
	while (r >= 0 && (r = sd_bus_message_at_end(reply, false)) == 0) {
		void *item = grow(items, n, size, SNAP_ROWS_MAX);

		r = item ? read(item, reply) : -errno;
	}
	return r < 0 ? ctl_bad_answer(list->member, r) : CTL_OK;
}

/* ---- authorities and identities ---- */

/* A known key with a value of no use is an error, an unknown one is not. */
static int take_material(void *userdata, const char *key, struct var *v)
{
	struct snap_material *m = userdata;
	const struct {
		const char *name;
		char **to;
	} texts[] = { { "name", &m->name },
		      { "source", &m->source },
		      { "sha256", &m->sha256 },
		      { "subject", &m->subject },
		      { "issuer", &m->issuer } };

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (var_is(key, texts[i].name))
			return v->type == VAR_STRING ? take_string(texts[i].to, v->string)
						     : -EBADMSG;
	if (var_is(key, "configured") || var_is(key, "previous")) {
		*(var_is(key, "previous") ? &m->previous : &m->configured) = v->b;
		return v->type == VAR_BOOL ? 0 : -EBADMSG;
	}
	if (var_is(key, "tunnels") || var_is(key, "devices")) {
		char ***to = var_is(key, "tunnels") ? &m->tunnels : &m->devices;

		if (v->type != VAR_STRINGS)
			return -EBADMSG;
		strings_free(*to);
		*to = v->strings;
		v->strings = NULL;
		return 0;
	}
	if (var_is(key, "generation"))
		return var_uint(v, &m->generation) ? 0 : -EBADMSG;
	if (var_is(key, "length"))
		return var_uint(v, &m->length) ? 0 : -EBADMSG;
	if (var_is(key, "not_before"))
		return var_int(v, &m->not_before) ? 0 : -EBADMSG;
	if (var_is(key, "not_after"))
		return var_int(v, &m->not_after) ? 0 : -EBADMSG;
	return 0;
}

static int read_material(void *item, sd_bus_message *m)
{
	return dict_read(m, take_material, item);
}

static enum ctl_exit fetch_materials(struct ctl *ctl, const char *member,
				     struct snap_material **items, size_t *n)
{
	const struct ctl_method list = { ESPAT_ROOT, ESPAT_MANAGER, member, false };

	return fetch_rows(ctl, &list, "aa{sv}", read_material, (void **)items, n, sizeof(**items));
}

enum ctl_exit fetch_material(struct ctl *ctl, struct snapshot *snap)
{
	enum ctl_exit status = fetch_materials(ctl, "ListAuthorities", &snap->authorities,
					       &snap->n_authorities);

	if (status == CTL_OK)
		status = fetch_materials(ctl, "ListIdentities", &snap->identities,
					 &snap->n_identities);
	if (status == CTL_OK && snapshot_fill(snap) < 0)
		return ctl_oom();
	if (status == CTL_OK)
		snapshot_sort(snap);
	return status;
}

/* ---- what stands on a chip ---- */

static int read_value(void *item, sd_bus_message *m)
{
	struct snap_value *v = item;
	const char *namespace, *kind, *sha256, *subject, *issuer;
	int r;

	r = sd_bus_message_enter_container(m, 'r', "sususssxxas");
	if (r <= 0)
		return r < 0 ? r : -EBADMSG;
	r = sd_bus_message_read(m, "sususssxx", &namespace, &v->slot, &kind, &v->length, &sha256,
				&subject, &issuer, &v->not_before, &v->not_after);
	if (r >= 0)
		r = read_strings(m, &v->used_by);
	if (r < 0)
		return r;
	v->namespace = strdup(namespace);
	v->kind = strdup(kind);
	v->sha256 = strdup(sha256);
	v->subject = strdup(subject);
	v->issuer = strdup(issuer);
	if (!v->namespace || !v->kind || !v->sha256 || !v->subject || !v->issuer)
		return -ENOMEM;
	return sd_bus_message_exit_container(m);
}

enum ctl_exit fetch_values(struct ctl *ctl, struct snap_device *d)
{
	const struct ctl_method list = { d->path, ESPAT_CERTIFICATES, "List", false };

	return fetch_rows(ctl, &list, "a(sususssxxas)", read_value, (void **)&d->values,
			  &d->n_values, sizeof(*d->values));
}

static int read_orphan(void *item, sd_bus_message *m)
{
	struct snap_orphan *o = item;
	const char *namespace, *sha256;
	int r = sd_bus_message_read(m, "(suus)", &namespace, &o->slot, &o->generation, &sha256);

	if (r < 0)
		return r;
	o->namespace = strdup(namespace);
	o->sha256 = strdup(sha256);
	return o->namespace && o->sha256 ? 0 : -ENOMEM;
}

enum ctl_exit fetch_orphans(struct ctl *ctl, struct snap_device *d)
{
	const struct ctl_method list = { d->path, ESPAT_CERTIFICATES, "ListOrphans", false };

	return fetch_rows(ctl, &list, "a(suus)", read_orphan, (void **)&d->orphans, &d->n_orphans,
			  sizeof(*d->orphans));
}
