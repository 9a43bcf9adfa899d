/* SPDX-License-Identifier: MIT */
/* config/config of several parts: the file, `conf.d` beside it, texts; and files of credentials. */
#include "test.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config-files.h"
#include "config/config.h"

#define DEVICE "devices = ( { name = \"esp0\"; port = \"/dev/ttyUSB0\"; } );\n"
#define TUNNEL(name, more)                                                                         \
	"tunnels = ( { name = \"" name "\"; host = \"h\"; port = 1; " more " } );\n"

/* An own folder for each test, with its conf.d. */
static int setup(void **state)
{
	clean();
	return mkdir(path_of("conf.d"), 0755);
}

/* "" as @expected: it is good, and the config is returned; else NULL. */
static struct config *load(const struct config_text *texts, size_t n, const char *expected)
{
	struct problems problems = PROBLEMS_NULL;
	struct config *config = NULL;
	char *got;
	int r;

	r = config_load_with(&config, path_of("a.conf"), texts, n, &problems);
	got = joined(&problems);
	assert_string_equal(got, expected);
	assert_int_equal(r, expected[0] ? -EINVAL : 0);
	assert_int_equal(config != NULL, r == 0);
	free(got);
	problems_clear(&problems);
	return config;
}

static void expect(const char *expected)
{
	config_free(load(NULL, 0, expected));
}

static void expect_text(const char *text, const char *expected)
{
	const struct config_text one = { .name = "tunnel t", .text = text };

	config_free(load(&one, 1, expected));
}

static void assert_in_dir(const char *path, const char *name)
{
	assert_string_equal(path, path_of(name));
}

/* Lists are joined, whatever refers to what; each entry knows where it stands. */
static void test_joined(void **state)
{
	static const struct config_text texts[] = {
		{ "names", "authorities = ( { name = \"set\"; } );\n" },
		{ "tunnel t4",
		  TUNNEL("t4", "device = \"esp1\"; authority = \"set\"; identity = \"id\";") },
		{ "empty", "" },
	};
	const struct config_tunnel *t;
	struct config *config;

	put("a.conf", "raw_commands = true; extra_namespaces = [ \"one\" ];\n"
		      "devices = ( { name = \"esp0\"; port = \"/dev/a\"; } );\n"
		      "nvs = ( { namespace = \"two\"; kind = \"raw\"; file = \"v\"; } );\n"
		      "authorities = ( { name = \"first\"; file = \"ca\"; } );\n" TUNNEL(
			      "t1", "device = \"esp1\"; authority = \"late\";"));
	put("conf.d/10.conf",
	    "drain_timeout = 9; extra_namespaces = [ \"two\" ];\n" TUNNEL(
		    "t2", "device = \"esp0\"; authority = \"set\"; insecure = false;"));
	put("conf.d/20.conf",
	    "\ndevices = ( { name = \"esp1\"; port = \"/dev/b\"; } );\n"
	    "authorities = ( { name = \"late\"; file = \"ca\"; } );\n"
	    "identities = ( { name = \"id\"; cert = \"c\"; key = \"/k\"; } );\n"
	    "@include \"more.inc\"\n" TUNNEL("t3", "device = \"esp0\"; authority = \"first\";"));
	put("conf.d/more.inc",
	    "nvs = ( { namespace = \"one\"; kind = \"raw\"; file = \"v\"; } );\n");
	config = load(texts, ARRAY_SIZE(texts), "");

	assert_true(config->raw_commands);
	assert_int_equal(config->drain_timeout, 9);
	assert_int_equal(config->n_devices, 2);
	assert_string_equal(config->devices[0].name, "esp0");
	assert_ptr_equal(config->devices[0].where.file, config->path);
	assert_int_equal(config->devices[1].where.line, 2);
	assert_in_dir(config->devices[1].where.file, "conf.d/20.conf");
	assert_int_equal(config->extra_namespaces.n, 2);
	assert_string_equal(config->extra_namespaces.items[1], "two");
	assert_int_equal(config->n_nvs, 2);
	assert_in_dir(config->nvs[0].file, "v");
	assert_in_dir(config->nvs[1].file, "conf.d/v");
	assert_in_dir(config->nvs[1].where.file, "conf.d/more.inc");
	assert_int_equal(config->n_authorities, 3);
	assert_in_dir(config->authorities[0].file, "ca");
	assert_in_dir(config->authorities[1].file, "conf.d/ca");
	assert_null(config->authorities[2].file);
	assert_string_equal(config->authorities[2].where.file, "names");
	assert_in_dir(config->identities[0].cert, "conf.d/c");
	assert_string_equal(config->identities[0].key, "/k");

	assert_int_equal(config->n_tunnels, 4);
	t = config->tunnels;
	assert_ptr_equal(t[0].device, &config->devices[1]);
	assert_ptr_equal(t[0].authority, &config->authorities[1]);
	assert_string_equal(t[1].name, "t2");
	assert_ptr_equal(t[1].authority, &config->authorities[2]);
	assert_string_equal(t[2].name, "t3");
	assert_ptr_equal(t[2].authority, &config->authorities[0]);
	assert_string_equal(t[3].name, "t4");
	assert_ptr_equal(t[3].identity, &config->identities[0]);
	assert_string_equal(t[3].where.file, "tunnel t4");
	assert_int_equal(t[3].where.line, 1);
	config_free(config);
}

/* What is in a text starts from the main file's folder. */
static void test_text_paths(void **state)
{
	static const struct config_text text = {
		"x", "authorities = ( { name = \"a\"; file = \"ca\"; } );"
	};
	struct config *config;

	put("a.conf", DEVICE);
	config = load(&text, 1, "");
	assert_in_dir(config->authorities[0].file, "ca");
	config_free(config);
}

static void test_order(void **state)
{
	static const char *const names[] = { "10", "9", "B", "_", "a", "\xc3\xa4" };
	struct config *config;

	put("a.conf", DEVICE);
	for (size_t i = ARRAY_SIZE(names); i > 0; i--) {
		char name[64], text[128];

		snprintf(name, sizeof(name), "conf.d/%s.conf", names[i - 1]);
		snprintf(text, sizeof(text), "authorities = ( { name = \"n%zu\"; } );", i - 1);
		put(name, text);
	}
	config = load(NULL, 0, "");
	assert_int_equal(config->n_authorities, ARRAY_SIZE(names));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%zu", i);
		assert_string_equal(config->authorities[i].name, name);
	}
	config_free(config);
}

/* What is no part is not looked at. */
static void test_ignored(void **state)
{
	static const char *const names[] = { ".hidden.conf",    ".conf",      "x.conf~",
					     "x.conf.dpkg-old", "x",          "conf",
					     "xconf",           "x.CONF",     "x.confx",
					     "x.cfg",           ".x.conf.tmp" };
	struct config *config;

	put("a.conf", DEVICE);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char name[64];

		snprintf(name, sizeof(name), "conf.d/%s", names[i]);
		put(name, "not = ( a configuration");
	}
	assert_int_equal(mkdir(path_of("conf.d/folder.conf"), 0755), 0);
	put("conf.d/folder.conf/x.conf", "not = ( a configuration");
	assert_int_equal(mkfifo(path_of("conf.d/fifo.conf"), 0600), 0);
	assert_int_equal(symlink("/dev/null", path_of("conf.d/masked.conf")), 0);
	expect("");
	put("elsewhere", "authorities = ( { name = \"x\"; file = \"f\"; } );");
	assert_int_equal(symlink("../elsewhere", path_of("conf.d/link.conf")), 0);
	config = load(NULL, 0, "");
	assert_int_equal(config->n_authorities, 1);
	assert_in_dir(config->authorities[0].where.file, "conf.d/link.conf");
	assert_in_dir(config->authorities[0].file, "conf.d/f");
	config_free(config);
	/* This one was meant to be there. */
	assert_int_equal(symlink("nowhere", path_of("conf.d/lost.conf")), 0);
	expect("conf.d/lost.conf: no such file, expected a configuration file\n");
}

static void test_folder(void **state)
{
	struct config *config;

	put("a.conf", DEVICE);
	expect("");
	assert_int_equal(rmdir(path_of("conf.d")), 0);
	expect("");
	put("conf.d", "");
	expect("conf.d: cannot be read: Not a directory, expected a folder, or nothing of that "
	       "name\n");
	assert_int_equal(unlink(path_of("conf.d")), 0);
	assert_int_equal(symlink("conf.d", path_of("conf.d")), 0);
	expect("conf.d: cannot be read: Too many levels of symbolic links, expected a folder, or "
	       "nothing of that name\n");
	/* A main file that is named relatively. */
	assert_int_equal(unlink(path_of("conf.d")), 0);
	assert_int_equal(mkdir(path_of("conf.d"), 0755), 0);
	put("conf.d/x.conf", "authorities = ( { name = \"x\"; file = \"f\"; } );");
	{
		struct problems problems = PROBLEMS_NULL;
		char cwd[4096];

		assert_non_null(getcwd(cwd, sizeof(cwd)));
		assert_int_equal(chdir(dir), 0);
		assert_int_equal(config_load(&config, "a.conf", &problems), 0);
		assert_int_equal(chdir(cwd), 0);
		assert_in_dir(config->authorities[0].where.file, "conf.d/x.conf");
		config_free(config);
	}
}

/* Without a main file nothing else is read. */
static void test_no_main(void **state)
{
	put("conf.d/x.conf", "nonsense");
	expect("a.conf: no such file, expected a configuration file\n");
}

static const struct {
	const char *main, *drop_in, *text;
	const char *expected;
} cases[] = {
	/* scalars */
	{ DEVICE "runtime_dir = \"/r\";", "\nruntime_dir = \"/r\";", "",
	  "conf.d/x.conf:2: second `runtime_dir`, the first is in a.conf:2, expected it once in "
	  "all "
	  "files\n" },
	{ DEVICE, "state_dir = \"/r\";", "state_dir = 5;",
	  "tunnel t:1: second `state_dir`, the first is in conf.d/x.conf:1, expected it once in "
	  "all "
	  "files\n" },
	{ DEVICE "raw_commands = true;", "drain_timeout = 4;",
	  "drain_timeout = 4; raw_commands = true;",
	  "tunnel t:1: second `raw_commands`, the first is in a.conf:2, expected it once in all "
	  "files\n"
	  "tunnel t:1: second `drain_timeout`, the first is in conf.d/x.conf:1, expected it once "
	  "in "
	  "all files\n" },
	/* a list that has to have something, somewhere */
	{ "", "", "",
	  "a.conf: no `devices` in the file, expected a list of groups: ( { ... }, { "
	  "... } )\n" },
	{ "", DEVICE, "devices = ( );", "" },
	{ "devices = ( );", "", DEVICE, "" },
	{ "", "\ndevices = ( );", "devices = ( );",
	  "conf.d/x.conf:2: `devices` is empty, expected at least one device\n" },
	/* One mistake, one complaint. */
	{ "devices = 5;", "devices = ( );", "",
	  "a.conf:1: `devices` is an integer, expected a list of groups: ( { ... }, { ... } )\n" },
	/* wrong in a part */
	{ DEVICE, "foo = 1;", "\nbar = 1;",
	  "conf.d/x.conf:1: unknown key `foo` in the file, expected one of: runtime_dir, "
	  "state_dir, "
	  "raw_commands, drain_timeout, authorities, identities, devices, extra_namespaces, nvs, "
	  "tunnels\n"
	  "tunnel t:2: unknown key `bar` in the file, expected one of: runtime_dir, state_dir, "
	  "raw_commands, drain_timeout, authorities, identities, devices, extra_namespaces, nvs, "
	  "tunnels\n" },
	{ DEVICE, "tunnels = 5;", "tunnels = ( 5 );",
	  "conf.d/x.conf:1: `tunnels` is an integer, expected a list of groups: ( { ... }, { ... } "
	  ")\n"
	  "tunnel t:1: entry 1 of `tunnels` is an integer, expected a group: { ... }\n" },
	{ DEVICE, "\n\nextra_namespaces = [ \"a b\" ];", "extra_namespaces = [\n\"\" ];",
	  "conf.d/x.conf:3: entry 1 of `extra_namespaces` is \"a b\", expected the name of an NVS "
	  "namespace: 1 to 15 characters of A-Z a-z 0-9 _ -\n"
	  "tunnel t:2: entry 1 of `extra_namespaces` is \"\", expected the name of an NVS "
	  "namespace: 1 to 15 characters of A-Z a-z 0-9 _ -\n" },
	{ DEVICE, TUNNEL("u", "insecure = true;\nmax_waiting = -1;"), TUNNEL("t", "mode = 8;"),
	  "conf.d/x.conf:2: `max_waiting` is -1, expected an integer from 0 to 1024\n"
	  "tunnel t:1: `mode` is 8, expected up to four octal digits, at most \"0777\"\n"
	  "tunnel t:1: no `authority` in tunnel `t`, expected the name of one (or `psk`, or "
	  "`insecure = true`, which lets any server pass)\n" },
	/* doubles */
	{ DEVICE TUNNEL("t", "insecure = true;"), "\n" TUNNEL("t", "insecure = true;"),
	  TUNNEL("t", "insecure = true;"),
	  "conf.d/x.conf:2: second tunnel with the name `t`, the first is in a.conf:2, expected a "
	  "name of its own\n"
	  "tunnel t:1: second tunnel with the name `t`, the first is in a.conf:2, expected a name "
	  "of its own\n" },
	{ DEVICE, "devices = ( { name = \"b\"; port = \"/dev/ttyUSB0\"; } );", "",
	  "conf.d/x.conf:1: port /dev/ttyUSB0 is already the one of device `esp0`, expected "
	  "another "
	  "port\n" },
	{ DEVICE, "nvs = ( { namespace = \"mqtt_ca\"; file = \"f\"; } );",
	  "nvs = ( { namespace = \"mqtt_ca\"; file = \"f\"; } );",
	  "tunnel t:1: second nvs entry for the key mqtt_ca of all devices, the first is in "
	  "conf.d/x.conf:1, expected one\n" },
	/* what libconfig finds, and what is found before it; then nobody misses what is in there */
	{ DEVICE TUNNEL("t", "authority = \"x\";"), "\nauthorities = ( {", "",
	  "conf.d/x.conf:2: syntax error, expected `key = value;` (is a `;`, a quote or a bracket "
	  "missing, here or in the line before?)\n" },
	{ DEVICE, "a b", "\nc d",
	  "conf.d/x.conf:1: syntax error, expected `key = value;` (is a `;`, a quote or a bracket "
	  "missing, here or in the line before?)\n"
	  "tunnel t:2: syntax error, expected `key = value;` (is a `;`, a quote or a bracket "
	  "missing, here or in the line before?)\n" },
	{ DEVICE, "a = 1;\na = 2;", "/* no end",
	  "conf.d/x.conf:2: duplicate setting name, expected each key once in its group\n"
	  "tunnel t:1: the comment that begins here has no end, expected */\n" },
	{ DEVICE, "drain_timeout = 4294967297;", "\ndrain_timeout = 4294967297;",
	  "conf.d/x.conf:1: the number 4294967297 is too large, expected at most 2147483647\n"
	  "tunnel t:2: the number 4294967297 is too large, expected at most 2147483647\n" },
	/* includes: from the part's own folder; of a text none */
	{ DEVICE, "\n@include \"none\"", "",
	  "conf.d/none: no such file, expected a configuration file\n"
	  "conf.d/x.conf:2: includes \"none\", expected a file that can be read\n" },
	{ DEVICE, "@include \"x.conf\"", "",
	  "conf.d/x.conf:1: too many files are included (does one include itself?), expected at "
	  "most 100, 10 deep\n" },
	{ DEVICE, "", "\n  @include \"a.conf\"\n",
	  "tunnel t:2: includes \"a.conf\", expected no @include in here\n" },
	{ DEVICE, "", "runtime_dir = \"/x\n@include \\\"a.conf\\\"\";", "" },
};

static void test_cases(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put("a.conf", cases[i].main);
		put("conf.d/x.conf", cases[i].drop_in);
		expect_text(cases[i].text, cases[i].expected);
	}
}

/* As many tunnels as there may be, in all parts. */
static char *tunnels_of(size_t n, const char *prefix)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	assert_non_null(f);
	fprintf(f, "tunnels = (");
	for (size_t i = 0; i < n; i++)
		fprintf(f, "%s{ name = \"%s%zu\"; host = \"h\"; port = 1; insecure = true; }",
			i ? ", " : "", prefix, i);
	fprintf(f, ");");
	fclose(f);
	return text;
}

static void test_limit_entries(void **state)
{
	char *some = tunnels_of(200, "a"), *rest = tunnels_of(56, "b"), *one = tunnels_of(57, "b");

	put("a.conf",
	    DEVICE "extra_namespaces = [ \"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", "
		   "\"h\" ];");
	put("conf.d/x.conf", some);
	expect_text(rest, "");
	expect_text(one, "tunnel t:1: `tunnels` has 257 entries with the ones of the files before, "
			 "expected at most 256\n");
	expect_text(
		"extra_namespaces = [ \"i\", \"j\", \"k\", \"l\", \"m\", \"n\", \"o\", \"p\" ];",
		"");
	expect_text("extra_namespaces = [ \"i\", \"j\", \"k\", \"l\", \"m\", \"n\", \"o\", \"p\", "
		    "\"q\" ];",
		    "tunnel t:1: `extra_namespaces` has 17 entries with the ones of the files "
		    "before, expected at most 16\n");
	free(some);
	free(rest);
	free(one);
}

static void test_limit_files(void **state)
{
	put("a.conf", DEVICE);
	for (int i = 0; i < CONFIG_DROP_INS_MAX; i++) {
		char name[64];

		snprintf(name, sizeof(name), "conf.d/%d.conf", i);
		put(name, "");
	}
	expect("");
	put("conf.d/.x.conf", "");
	expect("");
	put("conf.d/x.conf", "");
	expect("conf.d: holds more than 256 files *.conf, expected less\n");
}

static void test_limit_texts(void **state)
{
	struct config_text texts[CONFIG_TEXTS_MAX + 1];

	put("a.conf", DEVICE);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		texts[i] = (struct config_text){ .name = "n", .text = "\n" };
	config_free(load(texts, CONFIG_TEXTS_MAX, ""));
	config_free(load(texts, CONFIG_TEXTS_MAX + 1,
			 "a.conf: 769 texts beside the file, expected at most 768\n"));
}

/* 1 MiB each, 16 MiB in all. */
static void test_limit_bytes(void **state)
{
	const size_t mib = 1024 * 1024;
	struct config_text texts[16];
	char *text = malloc(mib + 2);

	put("a.conf", DEVICE);
	memset(text, '\n', mib + 1);
	text[mib + 1] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		texts[i] = (struct config_text){ .name = "n", .text = text + 1 };
	config_free(load(texts, 15, ""));
	config_free(load(texts, 16,
			 "n: makes the whole configuration larger than 16777216 bytes, expected "
			 "less\n"));
	texts[0].text = text;
	config_free(load(texts, 1, "n: has 1048577 bytes, expected at most 1048576\n"));
	free(text);
}

/* ---- credentials ---- */

#define CREDENTIAL_EXPECTED "expected credential:NAME, with a file name and no path as NAME\n"

static void test_credentials(void **state)
{
	static const char text[] =
		"devices = ( { name = \"a\"; port = \"/dev/a\"; wifi = { ssid = \"s\";\n"
		"  password_file = \"credential:wifi\"; }; } );\n"
		"authorities = ( { name = \"ca\"; file = \"credential:ca.pem\"; } );\n"
		"identities = ( { name = \"id\"; cert = \"credential:c\"; key = \"credential:k\"; "
		"} );\n"
		"nvs = ( { namespace = \"mqtt_ca\"; file = \"credential:..x\"; } );\n"
		"tunnels = ( { name = \"t\"; host = \"h\"; port = 1; psk = { identity = \"i\";\n"
		"  file = \"credential:psk:1\"; }; } );\n";
	static const char *const no_folders[] = { "", "credentials" };
	struct config *config;

	put("a.conf", text);
	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", "/run/credentials/espatd.service", 1), 0);
	config = load(NULL, 0, "");
	assert_string_equal(config->devices[0].wifi.password_file,
			    "/run/credentials/espatd.service/wifi");
	assert_string_equal(config->authorities[0].file, "/run/credentials/espatd.service/ca.pem");
	assert_string_equal(config->identities[0].cert, "/run/credentials/espatd.service/c");
	assert_string_equal(config->identities[0].key, "/run/credentials/espatd.service/k");
	assert_string_equal(config->nvs[0].file, "/run/credentials/espatd.service/..x");
	assert_string_equal(config->tunnels[0].psk.file, "/run/credentials/espatd.service/psk:1");
	config_free(config);

	/* In a shell there are none, which is for those to say who need their bytes. */
	assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
	config = load(NULL, 0, "");
	assert_string_equal(config->devices[0].wifi.password_file, "credential:wifi");
	assert_string_equal(config->authorities[0].file, "credential:ca.pem");
	assert_string_equal(config->identities[0].cert, "credential:c");
	assert_string_equal(config->identities[0].key, "credential:k");
	assert_string_equal(config->nvs[0].file, "credential:..x");
	assert_string_equal(config->tunnels[0].psk.file, "credential:psk:1");
	assert_string_equal(config_credential_name(config->nvs[0].file), "..x");
	config_free(config);
	/* systemd sets an absolute one. */
	for (size_t i = 0; i < ARRAY_SIZE(no_folders); i++) {
		assert_int_equal(setenv("CREDENTIALS_DIRECTORY", no_folders[i], 1), 0);
		config = load(NULL, 0, "");
		assert_string_equal(config->authorities[0].file, "credential:ca.pem");
		config_free(config);
	}
	assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
}

struct credential_name {
	const char *name;
	bool good;
};

static void check_credential_name(const struct credential_name *c)
{
	char text[512], expected[512] = "";

	snprintf(text, sizeof(text),
		 DEVICE "authorities = ( { name = \"a\"; file = \"credential:%s\"; } );", c->name);
	put("a.conf", text);
	if (!c->good)
		snprintf(expected, sizeof(expected),
			 "a.conf:2: `file` is \"credential:%.69s\", " CREDENTIAL_EXPECTED, c->name);
	expect(expected);
}

static void test_credential_names(void **state)
{
#define NAME64 "1234567890123456789012345678901234567890123456789012345678901234"
	static const struct credential_name names[] = {
		{ "x", true },
		{ "...", true },
		{ ".x", true },
		{ "", false },
		{ ".", false },
		{ "..", false },
		{ "a/b", false },
		{ "/a", false },
		{ "a/", false },
		{ "../a", false },
		{ NAME64 NAME64 NAME64 NAME64, false },
		{ &NAME64 NAME64 NAME64 NAME64[1], true },
	};

	/* With such a folder, and without one. */
	for (size_t i = 0; i < 2 * ARRAY_SIZE(names); i++) {
		if (i < ARRAY_SIZE(names))
			assert_int_equal(setenv("CREDENTIALS_DIRECTORY", "/c", 1), 0);
		else
			assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
		check_credential_name(&names[i % ARRAY_SIZE(names)]);
	}
	assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
}

/* Elsewhere it is a name like any other. */
static void test_no_credential(void **state)
{
	struct config *config;

	put("a.conf", DEVICE "state_dir = \"credential:x\";\n"
			     "authorities = ( { name = \"a\"; file = \"./credential:x\"; },\n"
			     "{ name = \"b\"; file = \"Credential:x\"; } );");
	config = load(NULL, 0, "");
	assert_in_dir(config->state_dir, "credential:x");
	assert_in_dir(config->authorities[0].file, "./credential:x");
	assert_in_dir(config->authorities[1].file, "Credential:x");
	config_free(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_joined, setup),
		cmocka_unit_test_setup(test_text_paths, setup),
		cmocka_unit_test_setup(test_order, setup),
		cmocka_unit_test_setup(test_ignored, setup),
		cmocka_unit_test_setup(test_folder, setup),
		cmocka_unit_test_setup(test_no_main, setup),
		cmocka_unit_test_setup(test_cases, setup),
		cmocka_unit_test_setup(test_limit_entries, setup),
		cmocka_unit_test_setup(test_limit_files, setup),
		cmocka_unit_test_setup(test_limit_texts, setup),
		cmocka_unit_test_setup(test_limit_bytes, setup),
		cmocka_unit_test_setup(test_credentials, setup),
		cmocka_unit_test_setup(test_credential_names, setup),
		cmocka_unit_test_setup(test_no_credential, setup),
	};

	return cmocka_run_group_tests_name("config-parts", tests, make_temp_dir, remove_temp_dir);
}
