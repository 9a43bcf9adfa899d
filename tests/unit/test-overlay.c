/* SPDX-License-Identifier: MIT */
/* daemon/overlay: what was made in service, through restarts and failures of the disk. */
#include "test.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "cert/digest.h"
#include "config-files.h"
#include "daemon/overlay.h"
#include "util/file.h"

#define DEVICE "devices = ( { name = \"esp0\"; port = \"/dev/ttyUSB0\"; } );\n"
#define TUNNEL(name, more)                                                                         \
	"tunnels = ( { name = \"" name "\"; host = \"h\"; port = 1; " more " } );\n"
#define OPEN(name) TUNNEL(name, "insecure = true;")

static struct overlay overlay;
static struct problems problems;

static int setup(void **state)
{
	clean();
	overlay_init(&overlay);
	return mkdir(path_of("tunnels"), 0755);
}

static int teardown(void **state)
{
	overlay_deinit(&overlay);
	problems_clear(&problems);
	return 0;
}

/* What was said since the last time. */
static void assert_said(const char *expected)
{
	char *got = joined(&problems);

	assert_string_equal(got, expected);
	assert_int_equal(problems.errors, 0);
	free(got);
	problems_clear(&problems);
}

/* The names in it, with a space behind each. */
static void assert_has(const char *expected)
{
	char text[1024] = "";

	list_for_each(node, &overlay.tunnels) {
		strcat(text, container_of(node, struct overlay_tunnel, node)->name);
		strcat(text, " ");
	}
	assert_string_equal(text, expected);
}

static void assert_file(const char *name, const char *expected)
{
	void *text = NULL;
	size_t len;

	assert_int_equal(file_read(path_of(name), 2 * OVERLAY_TEXT_MAX, &text, &len), 0);
	assert_string_equal(text, expected);
	free(text);
}

static bool exists(const char *name)
{
	struct stat st;

	return lstat(path_of(name), &st) == 0;
}

static struct overlay_tunnel *add(const char *name, const char *text, bool persistent)
{
	struct overlay_tunnel *tunnel = NULL;

	assert_int_equal(overlay_add(&overlay, name, text, dir, persistent, &tunnel), 0);
	return tunnel;
}

static struct config *base_of(const char *text)
{
	struct config *config = NULL;

	put("a.conf", text);
	if (config_load(&config, path_of("a.conf"), &problems) < 0)
		fail_msg("%s", problems.items[0].text);
	return config;
}

/* The names of the tunnels, with a space behind each. */
static void assert_tunnels(const struct config *config, const char *expected)
{
	char text[1024] = "";

	assert_non_null(config);
	for (size_t i = 0; i < config->n_tunnels; i++) {
		strcat(text, config->tunnels[i].name);
		strcat(text, " ");
	}
	assert_string_equal(text, expected);
}

/* ---- kept files ---- */

static const struct overlay_names no_names;

static void test_read(void **state)
{
	static const char *const names[] = { "b", "c", "a-2", "a", "B" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char file[64], text[64];

		snprintf(file, sizeof(file), "tunnels/%s.conf", names[i]);
		snprintf(text, sizeof(text), "# of %s\n", names[i]);
		put(file, text);
	}
	/* None of ours, or not whole yet. */
	put("tunnels/.d.conf.tmp", "x");
	put("tunnels/.e.conf", "x");
	put("tunnels/.conf", "x");
	put("tunnels/f.conf~", "x");
	put("tunnels/conf", "x");
	assert_int_equal(overlay_read(&overlay, dir, &problems), 0);
	assert_said("");
	assert_has("B a-2 a b c ");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const struct overlay_tunnel *tunnel = overlay_find(&overlay, names[i]);
		char label[128], text[64];

		snprintf(label, sizeof(label), "%s/tunnels/%s.conf", dir, names[i]);
		snprintf(text, sizeof(text), "# of %s\n", names[i]);
		assert_non_null(tunnel);
		assert_string_equal(tunnel->label, label);
		assert_string_equal(tunnel->text, text);
		assert_true(tunnel->persistent);
	}
	assert_null(overlay_find(&overlay, "d"));
}

static void test_read_refused(void **state)
{
	static char big[OVERLAY_TEXT_MAX + 1];

	memset(big, '\n', sizeof(big));
	put_bytes("tunnels/a-nul.conf", "# a\0b\n", 6);
	put_bytes("tunnels/b-big.conf", big, sizeof(big));
	put_bytes("tunnels/c-full.conf", big, sizeof(big) - 1);
	assert_int_equal(mkdir(path_of("tunnels/d-folder.conf"), 0755), 0);
	assert_int_equal(symlink("nowhere", path_of("tunnels/e-link.conf")), 0);
	put("tunnels/f.conf", "");
	assert_int_equal(overlay_read(&overlay, dir, &problems), 0);
	assert_has("c-full f ");
	assert_said(
		"tunnels/a-nul.conf: cannot be read: Invalid argument; its tunnel is left out\n"
		"tunnels/b-big.conf: cannot be read: Argument list too long; its tunnel is left "
		"out\n"
		"tunnels/d-folder.conf: cannot be read: Invalid argument; its tunnel is left out\n"
		"tunnels/e-link.conf: cannot be read: No such file or directory; its tunnel is "
		"left "
		"out\n");
	assert_true(exists("tunnels/a-nul.conf"));
	assert_true(exists("tunnels/b-big.conf"));
	assert_true(exists("tunnels/d-folder.conf"));
	assert_true(exists("tunnels/e-link.conf"));
}

static void test_read_no_folder(void **state)
{
	rmdir(path_of("tunnels"));
	assert_int_equal(overlay_read(&overlay, dir, &problems), 0);
	assert_said("");
	put("tunnels", "");
	assert_int_equal(overlay_read(&overlay, dir, &problems), 0);
	assert_said("tunnels: cannot be read: Not a directory; its tunnels are left out\n");
	assert_has("");
}

/* ---- to keep and to forget ---- */

static void test_keep(void **state)
{
	struct overlay_tunnel *tunnel = add("a", OPEN("a"), true);
	struct stat st;

	/* The folder is made, and its parent. */
	clean();
	for (int i = 0; i < 2; i++) {
		assert_int_equal(overlay_keep(tunnel, dir), 0);
		assert_file("tunnels/a.conf", OPEN("a"));
	}
	assert_int_equal(stat(path_of("tunnels/a.conf"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(stat(path_of("tunnels"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	overlay_deinit(&overlay);
	assert_int_equal(overlay_read(&overlay, dir, &problems), 0);
	assert_has("a ");
	tunnel = overlay_find(&overlay, "a");
	assert_string_equal(tunnel->text, OPEN("a"));
	for (int i = 0; i < 2; i++)
		assert_int_equal(overlay_forget(tunnel, dir), 0);
	assert_int_equal(rmdir(path_of("tunnels")), 0); /* it is empty */
	assert_int_equal(overlay_forget(tunnel, dir), 0);
}

/* A file of that name, which was left out when it was read, outlasts one that is taken back. */
static void test_take_back(void **state)
{
	struct overlay_tunnel *tunnel = add("a", OPEN("a"), true);

	assert_int_equal(overlay_keep(tunnel, dir), 0);
	overlay_take_back(tunnel, dir);
	assert_false(exists("tunnels/a.conf"));
	put("tunnels/a.conf", "# before\n");
	assert_int_equal(overlay_keep(tunnel, dir), 0);
	assert_file("tunnels/a.conf", OPEN("a"));
	overlay_take_back(tunnel, dir);
	assert_file("tunnels/a.conf", "# before\n");
}

/* What could not be put back as it was is not replaced. */
static void test_keep_in_place_of(void **state)
{
	struct overlay_tunnel *tunnel = add("a", OPEN("a"), true);
	static char big[OVERLAY_TEXT_MAX + 1], text[8];
	struct stat st;
	FILE *f;

	memset(big, '\n', sizeof(big));
	put_bytes("tunnels/a.conf", big, sizeof(big));
	assert_int_equal(overlay_keep(tunnel, dir), -E2BIG);
	assert_int_equal(stat(path_of("tunnels/a.conf"), &st), 0);
	assert_int_equal(st.st_size, sizeof(big));
	put_bytes("tunnels/a.conf", "# a\0b\n", 6);
	assert_int_equal(overlay_keep(tunnel, dir), -EINVAL);
	f = fopen(path_of("tunnels/a.conf"), "r");
	assert_non_null(f);
	assert_int_equal(fread(text, 1, sizeof(text), f), 6);
	assert_memory_equal(text, "# a\0b\n", 6);
	fclose(f);
}

/* As when the disk is full. */
static void limit_files(rlim_t size)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = size < limit.rlim_max ? size : limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_keep_fails(void **state)
{
	struct overlay_tunnel *tunnel = add("a", OPEN("a"), true);
	int r;

	limit_files(10);
	r = overlay_keep(tunnel, dir);
	limit_files(RLIM_INFINITY);
	assert_int_equal(r, -EFBIG);
	assert_int_equal(rmdir(path_of("tunnels")), 0); /* it is empty */
	assert_int_equal(mkdir(path_of("tunnels"), 0755), 0);

	put("tunnels/a.conf", "# old\n");
	limit_files(10);
	r = overlay_keep(tunnel, dir);
	limit_files(RLIM_INFINITY);
	assert_int_equal(r, -EFBIG);
	assert_file("tunnels/a.conf", "# old\n");
	assert_false(exists("tunnels/.a.conf.tmp"));

	clean();
	put("tunnels", "in the way\n");
	assert_int_equal(overlay_keep(tunnel, dir), -ENOTDIR);
	assert_int_equal(overlay_forget(tunnel, dir), -ENOTDIR);
	assert_file("tunnels", "in the way\n");
}

/* ---- all together ---- */

static void test_load(void **state)
{
	struct config *base = base_of(DEVICE OPEN("base")), *config = NULL;

	/* Without anything it is the same one. */
	assert_int_equal(overlay_load(&config, &overlay, base, &no_names, &problems), 0);
	assert_ptr_equal(config, base);
	config_free(config);
	add("z", OPEN("z"), true);
	add("b", OPEN("b"), false);
	assert_int_equal(config_set_runtime_dir(base, "/tmp/r", &problems), 0);
	assert_int_equal(config_set_state_dir(base, "/tmp/s", &problems), 0);
	assert_int_equal(overlay_load(&config, &overlay, base, &no_names, &problems), 0);
	assert_tunnels(config, "base z b ");
	assert_string_equal(config->runtime_dir, "/tmp/r");
	assert_string_equal(config->state_dir, "/tmp/s");
	config_free(config);
	assert_said("");
	add("base", OPEN("base"), false);
	config = NULL;
	assert_int_equal(overlay_load(&config, &overlay, base, &no_names, &problems), -EINVAL);
	assert_null(config);
	assert_int_equal(problems.errors, 1);
	assert_non_null(strstr(problems.items[0].text, "the new tunnel base:1: "));
	config_free(base);
}

/* Those that do not fit, wherever they stand, and only those; their files stay. */
static void test_load_fitting(void **state)
{
	static const struct {
		const char *name, *text;
	} kept[] = {
		{ "a-syntax", "tunnels = (" },
		{ "b", OPEN("b") },
		{ "c-double", OPEN("base") },
		{ "d", TUNNEL("d", "authority = \"ca\";") },
		{ "e-ref", TUNNEL("e-ref", "authority = \"gone\";") },
		{ "f", OPEN("f") },
		{ "g-like-f", OPEN("f") },
	};
	struct config *base = base_of(
			      "authorities = ( { name = \"ca\"; file = \"f\"; } );\n" DEVICE OPEN(
				      "base")),
		      *config = NULL;
	char file[64], *got;

	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		snprintf(file, sizeof(file), "tunnels/%s.conf", kept[i].name);
		put(file, kept[i].text);
	}
	assert_int_equal(overlay_read(&overlay, dir, &problems), 0);
	assert_int_equal(overlay_load_fitting(&config, &overlay, base, NULL, &problems), 0);
	assert_tunnels(config, "base b d f ");
	assert_has("b d f ");
	assert_int_equal(problems.errors, 0);
	assert_int_equal(problems.count, 4);
	got = joined(&problems);
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		char said[64];

		snprintf(said, sizeof(said), "; the kept tunnel %s is left out\n", kept[i].name);
		assert_int_equal(strstr(got, said) == NULL,
				 overlay_find(&overlay, kept[i].name) != NULL);
		snprintf(file, sizeof(file), "tunnels/%s.conf", kept[i].name);
		assert_file(file, kept[i].text);
	}
	free(got);
	config_free(config);
	config_free(base);
}

/* One whose socket has too long a path only where --runtime-dir says that it shall be. */
static void test_load_fitting_folder(void **state)
{
	struct config *base = base_of(DEVICE OPEN("base")), *config = NULL;
	char folder[96];

	memset(folder, 'x', sizeof(folder));
	folder[0] = '/';
	folder[sizeof(folder) - 1] = '\0';
	assert_int_equal(config_set_runtime_dir(base, folder, &problems), 0);
	add("quite-a-long-name", OPEN("quite-a-long-name"), true);
	add("b", OPEN("b"), true);
	assert_int_equal(overlay_load_fitting(&config, &overlay, base, NULL, &problems), 0);
	assert_tunnels(config, "base b ");
	assert_has("b ");
	assert_int_equal(problems.count, 1);
	assert_int_equal(problems.errors, 0);
	config_free(config);
	config = NULL;
	add("quite-a-long-name", OPEN("quite-a-long-name"), true);
	assert_int_equal(overlay_load(&config, &overlay, base, &no_names, &problems), -EINVAL);
	assert_null(config);
	config_free(base);
}

/* ---- names whose material was set in service ---- */

static struct cert_blob *blob_of(enum cert_kind kind)
{
	struct cert_blob *blob = calloc(1, sizeof(*blob));

	assert_non_null(blob);
	blob->kind = kind;
	blob->len = 4;
	blob->data = (uint8_t *)strdup("data");
	assert_int_equal(cert_digest_of(blob->data, blob->len, blob->digest), 0);
	return blob;
}

static void set(struct store *store, enum store_kind kind, const char *name,
		enum store_source source, uint8_t origin)
{
	struct store_item *item = calloc(1, sizeof(*item));

	assert_non_null(item);
	item->source = source;
	item->time = 1800000000;
	memset(item->origin, origin, sizeof(item->origin));
	item->n_blobs = kind == STORE_AUTHORITY ? 1 : 2;
	item->blobs[0] = blob_of(kind == STORE_AUTHORITY ? CERT_KIND_CA : CERT_KIND_CERT);
	if (item->n_blobs > 1)
		item->blobs[1] = blob_of(CERT_KIND_KEY);
	assert_int_equal(store_put(store, kind, name, item), 0);
	store_item_free(item);
}

static void test_set_names(void **state)
{
	struct config *base = base_of("authorities = ( { name = \"filed\"; file = \"f\"; } );\n"
				      "identities = ( { name = \"named\"; } );\n" DEVICE);
	struct config *config = NULL;
	struct overlay_names names = { 0 };
	struct store *store = NULL;

	assert_int_equal(store_new(&store, dir), 0);
	names.store = store;
	/* Nothing was made: those stand in the configuration, or came from files of one before. */
	set(store, STORE_AUTHORITY, "filed", STORE_SET, 0);
	set(store, STORE_IDENTITY, "named", STORE_SET, 0);
	set(store, STORE_AUTHORITY, "of-before", STORE_FROM_FILE, 7);
	set(store, STORE_AUTHORITY, "set-over", STORE_SET, 7);
	set(store, STORE_IDENTITY, "back", STORE_ROLLED_BACK, 7);
	assert_int_equal(overlay_load(&config, &overlay, base, &names, &problems), 0);
	assert_ptr_equal(config, base);
	config_free(config);

	set(store, STORE_AUTHORITY, "ours", STORE_SET, 0);
	set(store, STORE_IDENTITY, "mine", STORE_ROLLED_BACK, 0);
	set(store, STORE_IDENTITY, "filed", STORE_SET, 0); /* the other kind's name */
	add("t", TUNNEL("t", "authority = \"ours\"; identity = \"mine\";"), true);
	assert_int_equal(overlay_load_fitting(&config, &overlay, base, store, &problems), 0);
	assert_said("");
	assert_tunnels(config, "t ");
	assert_int_equal(config->n_authorities, 2);
	assert_string_equal(config->authorities[0].name, "filed");
	assert_string_equal(config->authorities[1].name, "ours");
	assert_null(config->authorities[1].file);
	assert_ptr_equal(config->tunnels[0].authority, &config->authorities[1]);
	assert_int_equal(config->n_identities, 3);
	for (size_t i = 1; i < 3; i++) {
		bool mine = strcmp(config->identities[i].name, "mine") == 0;

		assert_true(mine || strcmp(config->identities[i].name, "filed") == 0);
		assert_int_equal(config->tunnels[0].identity == &config->identities[i], mine);
		assert_null(config->identities[i].cert);
	}
	config_free(config);

	/* The tunnel goes with its name. */
	assert_int_equal(store_remove(store, STORE_AUTHORITY, "ours"), 0);
	assert_int_equal(overlay_load_fitting(&config, &overlay, base, store, &problems), 0);
	assert_tunnels(config, "");
	assert_int_equal(config->n_authorities, 1);
	assert_int_equal(problems.count, 1);
	config_free(config);
	config_free(base);
	store_free(store);
}

/* With a configuration in use nothing is looked up but the one name that has changed. */
static void test_set_names_that_are_known(void **state)
{
	struct config *base = base_of(
		"authorities = ( { name = \"filed\"; file = \"f\"; } );\n" DEVICE);
	struct config *before = NULL, *config = NULL;
	struct store *store = NULL;
	struct overlay_names names = { 0 };

	assert_int_equal(store_new(&store, dir), 0);
	set(store, STORE_AUTHORITY, "filed", STORE_SET, 0);
	set(store, STORE_AUTHORITY, "ours", STORE_SET, 0);
	set(store, STORE_IDENTITY, "ours", STORE_SET, 0);
	names.store = store;
	assert_int_equal(overlay_load(&before, &overlay, base, &names, &problems), 0);
	assert_int_equal(before->n_authorities, 2);
	assert_int_equal(before->n_identities, 1);

	/* Another process's doing is not looked at. */
	names.present = before;
	assert_int_equal(store_remove(store, STORE_AUTHORITY, "ours"), 0);
	set(store, STORE_AUTHORITY, "theirs", STORE_SET, 0);
	assert_int_equal(overlay_load(&config, &overlay, base, &names, &problems), 0);
	assert_true(config_equal(config, before));
	config_free(config);

	names.changed = "ours";
	names.kind = STORE_AUTHORITY;
	assert_int_equal(overlay_load(&config, &overlay, base, &names, &problems), 0);
	assert_int_equal(config->n_authorities, 1);
	assert_string_equal(config->authorities[0].name, "filed");
	assert_int_equal(config->n_identities, 1);
	config_free(config);

	names.changed = "theirs";
	assert_int_equal(overlay_load(&config, &overlay, base, &names, &problems), 0);
	assert_int_equal(config->n_authorities, 3);
	assert_non_null(config_find_authority(config, "ours"));
	assert_non_null(config_find_authority(config, "theirs"));
	config_free(config);

	/* Set once more, it is there once; and one in a file is not there twice. */
	names.kind = STORE_IDENTITY;
	names.changed = "ours";
	assert_int_equal(overlay_load(&config, &overlay, base, &names, &problems), 0);
	assert_true(config_equal(config, before));
	config_free(config);
	names.kind = STORE_AUTHORITY;
	names.changed = "filed";
	assert_int_equal(overlay_load(&config, &overlay, base, &names, &problems), 0);
	assert_true(config_equal(config, before));
	config_free(config);
	config_free(before);
	config_free(base);
	store_free(store);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_read),           T(test_read_refused),
		T(test_read_no_folder), T(test_keep),
		T(test_take_back),      T(test_keep_in_place_of),
		T(test_keep_fails),     T(test_load),
		T(test_load_fitting),   T(test_load_fitting_folder),
		T(test_set_names),      T(test_set_names_that_are_known),
	};

	return cmocka_run_group_tests_name("overlay", tests, make_temp_dir, remove_temp_dir);
}
