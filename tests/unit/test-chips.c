/* SPDX-License-Identifier: MIT */
/* daemon/chips: which chip belongs to a device, and what people may have written there. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/chips.h"
#include "temp-dir.h"

#define MAC "24:0a:c4:12:34:56"

static void put(const char *name, const char *text, size_t len)
{
	int fd;

	mkdir(path_of("chips"), 0755);
	fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), len);
	close(fd);
}

static void assert_recalled(const char *device, const char *expected)
{
	char mac[CHIPS_MAC_SIZE] = "?";

	assert_int_equal(chips_recall(dir, device, mac), 0);
	assert_string_equal(mac, expected);
}

static void test_check(void **state)
{
	static const struct {
		const char *mac;
		const char *lower; /* NULL: refused */
	} cases[] = {
		{ MAC, MAC },
		{ "24:0A:C4:12:34:5F", "24:0a:c4:12:34:5f" },
		{ "ff:ff:FF:ff:ff:ff", "ff:ff:ff:ff:ff:ff" },
		{ "", NULL },
		{ "24:0a:c4:12:34", NULL },
		{ "24:0a:c4:12:34:5", NULL },
		{ "24:0a:c4:12:34:567", NULL },
		{ "24:0a:c4:12:34:56:78", NULL },
		{ "24-0a-c4-12-34-56", NULL },
		{ "240:ac4:12:34:56:", NULL },
		{ "24:0g:c4:12:34:56", NULL },
		{ " 4:0a:c4:12:34:56", NULL },
		{ "24:0a:c4:12:34:5\xe4", NULL },
		{ "240ac4123456", NULL },
		{ MAC "\n", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char mac[64];
		const char *expected;

		strcpy(mac, cases[i].mac);
		expected = chips_check_mac(mac);
		if (cases[i].lower) {
			assert_null(expected);
			assert_string_equal(mac, cases[i].lower);
		} else {
			assert_string_equal(expected, "a MAC address, as in 24:0a:c4:12:34:56");
			assert_string_equal(mac, cases[i].mac);
		}
	}
}

static void test_round_trip(void **state)
{
	static const mode_t umasks[] = { 0, 077 };
	struct stat st, again;

	for (size_t i = 0; i < ARRAY_SIZE(umasks); i++) {
		mode_t old;
		char text[64] = "";
		FILE *f;

		clean();
		assert_recalled("esp0", "");
		assert_int_equal(chips_forget(dir, "esp0"), 0);
		old = umask(umasks[i]);
		assert_int_equal(chips_remember(dir, "esp0", "24:0A:C4:12:34:56"), 0);
		umask(old);
		assert_recalled("esp0", MAC);
		assert_recalled("esp1", "");
		f = fopen(path_of("chips/esp0"), "r");
		assert_int_equal(fread(text, 1, sizeof(text), f), 18);
		fclose(f);
		assert_string_equal(text, MAC "\n");
		assert_int_equal(stat(path_of("chips"), &st), 0);
		assert_int_equal(st.st_mode, S_IFDIR | 0755);
		assert_int_equal(stat(path_of("chips/esp0"), &st), 0);
		assert_int_equal(st.st_mode, S_IFREG | 0644);
	}
	/* The same once more is not written: it is the same file. */
	assert_int_equal(chips_remember(dir, "esp0", MAC), 0);
	assert_int_equal(stat(path_of("chips/esp0"), &again), 0);
	assert_int_equal(again.st_ino, st.st_ino);
	assert_int_equal(again.st_mtim.tv_nsec, st.st_mtim.tv_nsec);
	assert_int_equal(chips_remember(dir, "esp0", "24:0a:c4:12:34:57"), 0);
	assert_recalled("esp0", "24:0a:c4:12:34:57");
	assert_int_equal(chips_remember(dir, "esp1", MAC), 0);
	assert_int_equal(chips_forget(dir, "esp0"), 0);
	assert_recalled("esp0", "");
	assert_recalled("esp1", MAC);
}

static void test_recall(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		int result;
	} cases[] = {
		{ MAC "\n", 18, 0 },
		{ MAC, 17, 0 },
		{ "24:0A:C4:12:34:56\n", 18, 0 },
		{ "", 0, -EBADMSG },
		{ "\n", 1, -EBADMSG },
		{ MAC "\n\n", 19, -EBADMSG },
		{ MAC "\r\n", 19, -EBADMSG },
		{ MAC "\n" MAC "\n", 36, -EBADMSG },
		{ MAC "\0", 18, -EBADMSG },
		{ "24:0a:c4:12:34:5\0\n", 18, -EBADMSG },
		{ "24:0a:c4:12:34:5\n", 17, -EBADMSG },
		{ "esp32\n", 6, -EBADMSG },
	};
	char mac[CHIPS_MAC_SIZE];

	clean();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put("chips/a", cases[i].text, cases[i].len);
		strcpy(mac, "?");
		assert_int_equal(chips_recall(dir, "a", mac), cases[i].result);
		assert_string_equal(mac, cases[i].result == 0 ? MAC : "");
		/* What is no MAC address is replaced. */
		assert_int_equal(chips_remember(dir, "a", MAC), 0);
		assert_recalled("a", MAC);
	}
}

static void test_in_the_way(void **state)
{
	char mac[CHIPS_MAC_SIZE];

	clean();
	put("chips/target", MAC "\n", 18);
	assert_int_equal(symlink("target", path_of("chips/link")), 0);
	assert_int_equal(mkfifo(path_of("chips/fifo"), 0600), 0);
	assert_int_equal(mkdir(path_of("chips/folder"), 0700), 0);
	assert_recalled("link", MAC);
	assert_int_equal(chips_recall(dir, "fifo", mac), -EBADMSG);
	assert_int_equal(chips_recall(dir, "folder", mac), -EBADMSG);
	assert_int_equal(chips_remember(dir, "link", "24:0a:c4:12:34:57"), 0);
	assert_int_equal(chips_remember(dir, "fifo", MAC), 0);
	assert_int_equal(chips_remember(dir, "folder", MAC), -EISDIR);
	assert_int_equal(chips_forget(dir, "folder"), -EISDIR);
	assert_recalled("target", MAC);
	assert_recalled("link", "24:0a:c4:12:34:57");
	assert_recalled("fifo", MAC);

	/* A file where the folder should be. */
	clean();
	assert_int_equal(close(open(path_of("chips"), O_WRONLY | O_CREAT, 0600)), 0);
	assert_int_equal(chips_recall(dir, "a", mac), -ENOTDIR);
	assert_int_equal(chips_remember(dir, "a", MAC), -ENOTDIR);
	assert_int_equal(chips_forget(dir, "a"), -ENOTDIR);
}

static void test_refused(void **state)
{
	static const char *const names[] = { "",    ".",    "..",  ".a",      "-a",
					     "a/b", "../a", "a b", "\xc3\xa4" };
	char mac[CHIPS_MAC_SIZE];
	char name[64];

	clean();
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(chips_recall(dir, names[i], mac), -EINVAL);
		assert_int_equal(chips_remember(dir, names[i], MAC), -EINVAL);
		assert_int_equal(chips_forget(dir, names[i]), -EINVAL);
	}
	memset(name, 'n', sizeof(name));
	name[49] = '\0';
	assert_int_equal(chips_remember(dir, name, MAC), -EINVAL);
	name[48] = '\0';
	assert_int_equal(chips_remember(dir, name, MAC), 0);
	assert_recalled(name, MAC);
	assert_int_equal(chips_remember(dir, "a", "no"), -EINVAL);
	assert_int_equal(chips_remember(dir, "a", "24:0a:c4:12:34:5x"), -EINVAL);
	assert_int_equal(chips_remember(dir, "a", "24:0a:c4:12:34:56:and so on, very long"),
			 -EINVAL);
	assert_recalled("a", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check),   cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_recall),  cmocka_unit_test(test_in_the_way),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests_name("chips", tests, make_temp_dir, remove_temp_dir);
}
