/* SPDX-License-Identifier: MIT */
/* What was made in service and stands in no file of the configuration. */
#include "daemon/overlay.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/syntax.h"
#include "config/text.h"
#include "util/cleanup.h"
#include "util/file.h"

DEFINE_CLEANUP(struct config *, config_free)

#define KEPT_FOLDER "tunnels"
#define KEPT_SUFFIX ".conf"

/* Where the tunnel is kept; NULL: out of memory. */
static char *kept_path(const char *state_dir, const char *name)
{
	char *path;

	return asprintf(&path, "%s/" KEPT_FOLDER "/%s" KEPT_SUFFIX, state_dir, name) < 0 ? NULL
											 : path;
}

void overlay_init(struct overlay *overlay)
{
	list_init(&overlay->tunnels);
}

static void tunnel_free_text(struct overlay_tunnel *tunnel)
{
	free(tunnel->name);
	free(tunnel->label);
	free(tunnel->text);
	free(tunnel->before);
	free(tunnel);
}

void overlay_drop(struct overlay_tunnel *tunnel)
{
	list_remove(&tunnel->node);
	tunnel_free_text(tunnel);
}

void overlay_deinit(struct overlay *overlay)
{
	struct list *node;

	while ((node = list_first(&overlay->tunnels)))
		overlay_drop(container_of(node, struct overlay_tunnel, node));
}

void overlay_move(struct overlay *to, struct overlay *from)
{
	struct list *node;

	while ((node = list_first(&from->tunnels))) {
		list_remove(node);
		list_append(&to->tunnels, node);
	}
}

struct overlay_tunnel *overlay_find(struct overlay *overlay, const char *name)
{
	list_for_each(node, &overlay->tunnels) {
		struct overlay_tunnel *tunnel = container_of(node, struct overlay_tunnel, node);

		if (strcmp(tunnel->name, name) == 0)
			return tunnel;
	}
	return NULL;
}

int overlay_add(struct overlay *overlay, const char *name, const char *text, const char *state_dir,
		bool persistent, struct overlay_tunnel **ret)
{
	struct overlay_tunnel *tunnel = calloc(1, sizeof(*tunnel));

	if (!tunnel)
		return -ENOMEM;
	list_init(&tunnel->node);
	tunnel->persistent = persistent;
	tunnel->name = strdup(name);
	tunnel->text = strdup(text);
	if (persistent)
		tunnel->label = kept_path(state_dir, name);
	else if (asprintf(&tunnel->label, "the new tunnel %s", name) < 0)
		tunnel->label = NULL;
	if (!tunnel->name || !tunnel->text || !tunnel->label) {
		tunnel_free_text(tunnel);
		return -ENOMEM;
	}
	list_append(&overlay->tunnels, &tunnel->node);
	if (ret)
		*ret = tunnel;
	return 0;
}

/* ---- kept tunnels ---- */

static int read_one(struct overlay *overlay, const char *state_dir, const char *file,
		    struct problems *problems)
{
	_cleanup_free_ char *path = NULL, *name = NULL;
	_cleanup_free_ void *text = NULL;
	size_t len;
	int r;

	name = strndup(file, strlen(file) - strlen(KEPT_SUFFIX));
	path = name ? kept_path(state_dir, name) : NULL;
	if (!path)
		return -ENOMEM;
	r = file_read(path, OVERLAY_TEXT_MAX, &text, &len);
	if (r == 0 && strlen(text) != len)
		r = -EINVAL;
	if (r == 0)
		return overlay_add(overlay, name, text, state_dir, true, NULL);
	if (r == -ENOMEM)
		return r;
	return problems_add(problems, PROBLEM_WARNING, path, 0,
			    "cannot be read: %s; its tunnel is left out", strerror(-r));
}

static int is_kept(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name), suffix = strlen(KEPT_SUFFIX);

	/* A file that is being written begins with a dot. */
	return entry->d_name[0] != '.' && len > suffix &&
	       strcmp(entry->d_name + len - suffix, KEPT_SUFFIX) == 0;
}

int overlay_read(struct overlay *overlay, const char *state_dir, struct problems *problems)
{
	_cleanup_free_ char *folder = NULL;
	struct dirent **entries;
	int n, r = 0;

	if (asprintf(&folder, "%s/" KEPT_FOLDER, state_dir) < 0) {
		folder = NULL;
		return -ENOMEM;
	}
	n = scandir(folder, &entries, is_kept, alphasort);
	if (n < 0 && errno == ENOENT)
		return 0;
	if (n < 0)
		return errno == ENOMEM
			       ? -ENOMEM
			       : problems_add(problems, PROBLEM_WARNING, folder, 0,
					      "cannot be read: %s; its tunnels are left out",
					      strerror(errno));
	for (int i = 0; i < n; i++) {
		if (r == 0)
			r = read_one(overlay, state_dir, entries[i]->d_name, problems);
		free(entries[i]);
	}
	free(entries);
	return r;
}

static int read_before(struct overlay_tunnel *tunnel)
{
	_cleanup_free_ void *text = NULL;
	size_t len;
	int r = file_read(tunnel->label, OVERLAY_TEXT_MAX, &text, &len);

	if (r == -ENOENT)
		return 0;
	/* It could not be put back as it was. */
	if (r == 0 && strlen(text) != len)
		r = -EINVAL;
	if (r < 0)
		return r;
	free(tunnel->before);
	tunnel->before = text;
	text = NULL;
	return 0;
}

void overlay_take_back(struct overlay_tunnel *tunnel, const char *state_dir)
{
	if (tunnel->before)
		file_write_atomic(tunnel->label, tunnel->before, strlen(tunnel->before), 0644);
	else
		overlay_forget(tunnel, state_dir);
}

int overlay_keep(struct overlay_tunnel *tunnel, const char *state_dir)
{
	_cleanup_free_ char *folder = NULL;
	int r;

	if (asprintf(&folder, "%s/" KEPT_FOLDER, state_dir) < 0) {
		folder = NULL;
		return -ENOMEM;
	}
	r = file_make_dir(folder, 0755);
	if (r == 0)
		r = read_before(tunnel);
	if (r < 0)
		return r;
	r = file_write_atomic(tunnel->label, tunnel->text, strlen(tunnel->text), 0644);
	/* It may be in its place all the same. */
	if (r < 0)
		overlay_take_back(tunnel, state_dir);
	return r;
}

int overlay_forget_left_out(const char *name, const char *state_dir)
{
	_cleanup_free_ char *path = NULL;

	if (syntax_name(name))
		return -ENOENT;
	path = kept_path(state_dir, name);
	return path ? file_remove(path) : -ENOMEM;
}

int overlay_forget(const struct overlay_tunnel *tunnel, const char *state_dir)
{
	int r = file_remove(tunnel->label);

	return r == -ENOENT ? 0 : r;
}

/* ---- names whose material was set in service ---- */

/* Pieces of configuration; the first ones, of names, have texts that are owned. */
struct pieces {
	const struct overlay_names *names;
	const struct config *base;
	struct config_text *texts;
	size_t n, size;
	int error;
};

static int pieces_add(struct pieces *pieces, const char *name, const char *text)
{
	struct config_text *texts;

	if (pieces->n == pieces->size) {
		texts = reallocarray(pieces->texts, pieces->size * 2 + 8, sizeof(*texts));
		if (!texts)
			return -ENOMEM;
		pieces->texts = texts;
		pieces->size = pieces->size * 2 + 8;
	}
	pieces->texts[pieces->n++] = (struct config_text){ .name = name, .text = text };
	return 0;
}

static bool is_in_base(const struct config *base, enum store_kind kind, const char *name)
{
	return kind == STORE_AUTHORITY ? config_find_authority(base, name) != NULL
				       : config_find_identity(base, name) != NULL;
}

/* One of the files of a configuration of before has their digest as its origin. */
static bool was_set_in_service(struct store *store, enum store_kind kind, const char *name)
{
	static const uint8_t none[CERT_DIGEST_SIZE];
	struct store_item *item = NULL;
	bool set = false;

	if (store_load(store, kind, name, STORE_CURRENT, &item) == 0)
		set = item->source != STORE_FROM_FILE &&
		      memcmp(item->origin, none, sizeof(none)) == 0;
	store_item_free(item);
	return set;
}

static int text_of_name(char **ret, enum store_kind kind, const char *name)
{
	struct config_writer *w;
	int r;

	r = config_writer_new(&w, kind == STORE_AUTHORITY ? "authorities" : "identities");
	if (r < 0)
		return r;
	config_write_string(w, "name", name);
	r = config_writer_finish(w, ret);
	config_writer_free(w);
	return r;
}

struct scanned {
	enum store_kind kind;
	bool set; /* what is wanted */
	char name[CONFIG_NAME_MAX + 1];
};

struct overlay_scan {
	struct store *store;       /* weak */
	const struct config *base; /* weak */
	struct scanned *names;
	size_t n, size, at;
	int error;
};

static void scan_add(void *userdata, enum store_kind kind, const char *name)
{
	struct overlay_scan *scan = userdata;
	struct scanned *names = scan->names;

	if (scan->error < 0 || is_in_base(scan->base, kind, name))
		return;
	if (scan->n == scan->size) {
		names = reallocarray(names, scan->size * 2 + 8, sizeof(*names));
		if (!names) {
			scan->error = -ENOMEM;
			return;
		}
		scan->names = names;
		scan->size = scan->size * 2 + 8;
	}
	names[scan->n] = (struct scanned){ .kind = kind };
	strcpy(names[scan->n++].name, name); /* the store has none that are longer */
}

int overlay_scan_begin(struct overlay_scan **ret, struct store *store, struct config *base)
{
	struct overlay_scan *scan = calloc(1, sizeof(*scan));
	int r;

	if (!scan)
		return -ENOMEM;
	scan->store = store;
	scan->base = base;
	r = store_each(store, scan_add, scan);
	if (r == 0)
		r = scan->error;
	if (r < 0) {
		overlay_scan_free(scan);
		return r;
	}
	*ret = scan;
	return 0;
}

int overlay_scan_go_on(struct overlay_scan *scan)
{
	struct scanned *name = &scan->names[scan->at];

	if (scan->at == scan->n)
		return 0;
	name->set = was_set_in_service(scan->store, name->kind, name->name);
	scan->at++;
	return scan->at < scan->n;
}

struct overlay_scan *overlay_scan_free(struct overlay_scan *scan)
{
	if (!scan)
		return NULL;
	free(scan->names);
	free(scan);
	return NULL;
}

static void add_name(struct pieces *pieces, enum store_kind kind, const char *name)
{
	char *text;

	pieces->error = text_of_name(&text, kind, name);
	if (pieces->error < 0)
		return;
	pieces->error = pieces_add(pieces, "the state folder", text);
	if (pieces->error < 0)
		free(text);
}

static void add_if_set(void *userdata, enum store_kind kind, const char *name)
{
	struct pieces *pieces = userdata;

	if (pieces->error == 0 && !is_in_base(pieces->base, kind, name) &&
	    was_set_in_service(pieces->names->store, kind, name))
		add_name(pieces, kind, name);
}

/* One of the present configuration: it is in no file, so it was set. */
static void add_present(struct pieces *pieces, enum store_kind kind, const char *name)
{
	const struct overlay_names *names = pieces->names;

	if (pieces->error < 0 || is_in_base(pieces->base, kind, name))
		return;
	if (!names->changed || kind != names->kind || strcmp(name, names->changed) != 0)
		add_name(pieces, kind, name);
}

static int add_scanned(struct pieces *pieces)
{
	const struct overlay_scan *scan = pieces->names->scan;

	for (size_t i = 0; i < scan->at && pieces->error == 0; i++)
		if (scan->names[i].set)
			add_name(pieces, scan->names[i].kind, scan->names[i].name);
	return pieces->error;
}

static int add_names(struct pieces *pieces)
{
	const struct overlay_names *names = pieces->names;
	int r;

	if (names->scan)
		return add_scanned(pieces);
	if (!names->store)
		return 0;
	if (!names->present) {
		r = store_each(names->store, add_if_set, pieces);
		return r < 0 ? r : pieces->error;
	}
	for (size_t i = 0; i < names->present->n_authorities; i++)
		add_present(pieces, STORE_AUTHORITY, names->present->authorities[i].name);
	for (size_t i = 0; i < names->present->n_identities; i++)
		add_present(pieces, STORE_IDENTITY, names->present->identities[i].name);
	if (names->changed)
		add_if_set(pieces, names->kind, names->changed);
	return pieces->error;
}

/* ---- all together ---- */

static int add_tunnels(struct pieces *pieces, const struct overlay *overlay)
{
	int r = 0;

	list_for_each(node, &overlay->tunnels) {
		struct overlay_tunnel *t = container_of(node, struct overlay_tunnel, node);

		if (r == 0)
			r = pieces_add(pieces, t->label, t->text);
	}
	return r;
}

static int load_pieces(struct config **ret, const struct pieces *pieces, struct config *base,
		       struct problems *problems)
{
	_cleanup_(config_freep) struct config *config = NULL;
	int r;

	if (pieces->n == 0) {
		*ret = config_ref(base);
		return 0;
	}
	r = config_load_with(&config, base->path, pieces->texts, pieces->n, problems);
	if (r == 0)
		r = config_set_runtime_dir(config, base->runtime_dir, problems);
	if (r == 0)
		r = config_set_state_dir(config, base->state_dir, problems);
	if (r < 0)
		return r;
	*ret = config;
	config = NULL;
	return 0;
}

int overlay_load(struct config **ret, const struct overlay *overlay, struct config *base,
		 const struct overlay_names *names, struct problems *problems)
{
	struct pieces pieces = { .names = names, .base = base };
	size_t owned;
	int r;

	r = add_names(&pieces);
	owned = pieces.n;
	if (r == 0)
		r = add_tunnels(&pieces, overlay);
	if (r == 0)
		r = load_pieces(ret, &pieces, base, problems);
	for (size_t i = 0; i < owned; i++)
		free((char *)pieces.texts[i].text);
	free(pieces.texts);
	return r;
}

/* Why @tunnel cannot be part of it, as a warning. */
static int leave_out(struct overlay_tunnel *tunnel, const struct problems *why,
		     struct problems *problems)
{
	int r = 0;

	for (size_t i = 0; i < why->count && r == 0; i++)
		if (why->items[i].severity == PROBLEM_ERROR)
			r = problems_add(problems, PROBLEM_WARNING, NULL, 0,
					 "%s; the kept tunnel %s is left out", why->items[i].text,
					 tunnel->name);
	overlay_drop(tunnel);
	return r;
}

int overlay_load_fitting(struct config **ret, struct overlay *overlay, struct config *base,
			 struct store *store, struct problems *problems)
{
	const struct overlay_names names = { .store = store };
	struct problems scratch = PROBLEMS_NULL;
	struct overlay fitting;
	struct list *node;
	int r;

	r = overlay_load(ret, overlay, base, &names, &scratch);
	problems_clear(&scratch);
	if (r != -EINVAL)
		return r;
	/* One after the other, to find those that do not fit. */
	overlay_init(&fitting);
	r = 0;
	while (r == 0 && (node = list_first(&overlay->tunnels))) {
		struct overlay_tunnel *tunnel = container_of(node, struct overlay_tunnel, node);
		struct config *config = NULL;

		list_remove(node);
		list_append(&fitting.tunnels, node);
		r = overlay_load(&config, &fitting, base, &names, &scratch);
		config_free(config);
		if (r == -EINVAL)
			r = leave_out(tunnel, &scratch, problems);
		problems_clear(&scratch);
	}
	overlay_move(overlay, &fitting);
	return r < 0 ? r : overlay_load(ret, overlay, base, &names, problems);
}
