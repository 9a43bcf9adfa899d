/* SPDX-License-Identifier: MIT */
/* Finds, opens and parses the files and texts of a configuration. */
#include "config/parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/keys.h"
#include "config/source.h"
#include "util/cleanup.h"

/* ---- one part ---- */

/* libconfig's text for a mistake, made into "what, expected what". */
static int complain_syntax(const struct part *part, struct problems *problems)
{
	_cleanup_free_ char *included = NULL;
	const char *text = config_error_text(&part->tree);
	const char *expected = "";

	if (config_error_type(&part->tree) == CONFIG_ERR_FILE_IO)
		return problems_add(problems, PROBLEM_ERROR, part->file, 0,
				    "cannot be read to its end");
	if (config_error_file(&part->tree)) {
		included = key_absolute_path(part->folder, config_error_file(&part->tree));
		if (!included)
			return -ENOMEM;
	}
	if (text && strcmp(text, "syntax error") == 0)
		expected = ", expected `key = value;` (is a `;`, a quote or a bracket missing, "
			   "here or "
			   "in the line before?)";
	else if (text && strcmp(text, "duplicate setting name") == 0)
		expected = ", expected each key once in its group";
	return problems_add(problems, PROBLEM_ERROR, included ? included : part->file,
			    config_error_line(&part->tree), "%s%s", text ? text : "syntax error",
			    expected);
}

/* Of @f, which is @file; @text: it stands in no file. */
static int read_part(struct parts *parts, FILE *f, const char *file, const char *folder, bool text,
		     struct problems *problems)
{
	/* In its place at once: the settings of a tree point back to it. */
	struct part *part = &parts->items[parts->n++];
	const struct source_about about = {
		.path = file,
		.folder = folder,
		.no_includes = text,
		.total = &parts->total,
	};
	size_t errors = problems->errors;
	int r;

	config_init(&part->tree);
	part->file = file;
	part->folder = strdup(folder);
	if (!part->folder)
		return -ENOMEM;
	r = source_check(f, &about, problems);
	/* libconfig would exit or hang on what was found here, or repeat it. */
	if (r < 0 || problems->errors > errors)
		return r;
	config_set_include_dir(&part->tree, folder);
	return config_read(&part->tree, f) ? 0 : complain_syntax(part, problems);
}

static int read_file(struct parts *parts, const char *file, const char *folder,
		     struct problems *problems)
{
	_cleanup_fclose_ FILE *f = NULL;
	int r;

	r = source_open(&f, file, problems);
	if (r < 0 || !f)
		return r;
	return read_part(parts, f, file, folder, false, problems);
}

/* ---- the folder ---- */

struct names {
	char **items;
	size_t n;
};

static void names_clear(struct names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->items[i]);
	free(names->items);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Whether an entry of the folder is a part. What cannot be looked at is one, for its complaint. */
static bool is_drop_in(int folder, const char *name)
{
	static const char end[] = ".conf";
	size_t len = strlen(name), end_len = strlen(end);
	struct stat st;

	if (name[0] == '.' || len <= end_len || strcmp(name + len - end_len, end) != 0)
		return false;
	return fstatat(folder, name, &st, 0) < 0 || S_ISREG(st.st_mode);
}

static int add_name(struct names *names, const char *name)
{
	char **items = reallocarray(names->items, names->n + 1, sizeof(*items));

	if (!items)
		return -ENOMEM;
	names->items = items;
	items[names->n] = strdup(name);
	if (!items[names->n])
		return -ENOMEM;
	names->n++;
	return 0;
}

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

/* The names of the files in @folder that are parts, in order. Returns 0 or -ENOMEM. */
static int list_drop_ins(struct names *names, const char *folder, struct problems *problems)
{
	_cleanup_(closedirp) DIR *dir = opendir(folder);
	const struct dirent *entry;
	int r = 0;

	if (!dir && errno == ENOENT)
		return 0;
	if (!dir && errno == ENOMEM)
		return -ENOMEM;
	if (!dir)
		return problems_add(problems, PROBLEM_ERROR, folder, 0,
				    "cannot be read: %s, expected a folder, or nothing of that "
				    "name",
				    strerror(errno));
	while (r == 0 && (errno = 0, entry = readdir(dir))) {
		if (!is_drop_in(dirfd(dir), entry->d_name))
			continue;
		if (names->n == CONFIG_DROP_INS_MAX)
			return problems_add(problems, PROBLEM_ERROR, folder, 0,
					    "holds more than %d files *.conf, expected less",
					    CONFIG_DROP_INS_MAX);
		r = add_name(names, entry->d_name);
	}
	if (r == 0 && errno != 0)
		return problems_add(problems, PROBLEM_ERROR, folder, 0,
				    "cannot be read to its end: %s", strerror(errno));
	if (names->n > 0)
		qsort(names->items, names->n, sizeof(names->items[0]), compare_names);
	return r;
}

static int read_drop_ins(struct parts *parts, struct config *config, const char *folder,
			 const struct names *names, struct problems *problems)
{
	int r = 0;

	for (size_t i = 0; i < names->n && r == 0; i++) {
		_cleanup_free_ char *path = key_absolute_path(folder, names->items[i]);
		const char *kept = path ? key_keep_name(config, path) : NULL;

		r = kept ? read_file(parts, kept, folder, problems) : -ENOMEM;
	}
	return r;
}

/* ---- texts ---- */

static int read_text(struct parts *parts, struct config *config, const struct config_text *text,
		     const char *folder, struct problems *problems)
{
	_cleanup_fclose_ FILE *f = NULL;
	const char *name = key_keep_name(config, text->name);
	size_t len = strlen(text->text);

	if (!name)
		return -ENOMEM;
	if (len > SOURCE_MAX)
		return problems_add(problems, PROBLEM_ERROR, name, 0,
				    "has %zu bytes, expected at most %d", len, SOURCE_MAX);
	f = fmemopen((void *)text->text, len, "r");
	return f ? read_part(parts, f, name, folder, true, problems) : -ENOMEM;
}

static int read_texts(struct parts *parts, struct config *config, const struct config_text *texts,
		      size_t n_texts, const char *folder, struct problems *problems)
{
	int r = 0;

	for (size_t i = 0; i < n_texts && r == 0; i++)
		r = read_text(parts, config, &texts[i], folder, problems);
	return r;
}

/* ---- all of them ---- */

/* The folder of @path, absolute; NULL: out of memory. */
static char *folder_of(const char *path)
{
	_cleanup_free_ char *cwd = NULL, *full = NULL;
	char *slash;

	if (path[0] != '/') {
		cwd = getcwd(NULL, 0);
		if (!cwd)
			return errno == ENOMEM ? NULL : strdup("/");
	}
	full = key_absolute_path(cwd ? cwd : "/", path);
	if (!full)
		return NULL;
	slash = strrchr(full, '/');
	slash[slash == full ? 1 : 0] = '\0';
	return strdup(full);
}

int parts_read(struct parts *parts, struct config *config, const struct config_text *texts,
	       size_t n_texts, struct problems *problems)
{
	_cleanup_(names_clear) struct names names = { 0 };
	_cleanup_free_ char *folder = NULL, *drop_ins = NULL;
	size_t errors = problems->errors;
	int r;

	if (n_texts > CONFIG_TEXTS_MAX)
		return problems_add(problems, PROBLEM_ERROR, config->path, 0,
				    "%zu texts beside the file, expected at most %d", n_texts,
				    CONFIG_TEXTS_MAX);
	folder = folder_of(config->path);
	drop_ins = folder ? key_absolute_path(folder, PARTS_FOLDER) : NULL;
	if (!drop_ins)
		return -ENOMEM;
	r = list_drop_ins(&names, drop_ins, problems);
	if (r < 0)
		return r;
	parts->items = calloc(1 + names.n + n_texts, sizeof(*parts->items));
	if (!parts->items)
		return -ENOMEM;
	r = read_file(parts, config->path, folder, problems);
	/* Without the main file, what is beside it may be anybody's. */
	if (r < 0 || (problems->errors > errors && parts->n == 0))
		return r;
	r = read_drop_ins(parts, config, drop_ins, &names, problems);
	if (r == 0)
		r = read_texts(parts, config, texts, n_texts, folder, problems);
	return r;
}

void parts_clear(struct parts *parts)
{
	for (size_t i = 0; i < parts->n; i++) {
		config_destroy(&parts->items[i].tree);
		free(parts->items[i].folder);
	}
	free(parts->items);
}
