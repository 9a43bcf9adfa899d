/* SPDX-License-Identifier: MIT */
/* util/file: whole files, in the face of everything that may be in the way. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/file.h"
#include "temp-dir.h"

#define NOBODY 65534

static void put(const char *name, const char *text)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void assert_holds(const char *name, const char *text)
{
	void *data = NULL;
	size_t len = 0;

	assert_int_equal(file_read(path_of(name), 100, &data, &len), 0);
	assert_string_equal(data, text);
	assert_int_equal(len, strlen(text));
	free(data);
}

static unsigned int mode_of(const char *name)
{
	struct stat st;

	assert_int_equal(lstat(path_of(name), &st), 0);
	return st.st_mode & 07777;
}

/* Runs @fn in a process of its own; as somebody who is bound by permissions if @bound. */
static void run_apart(bool bound, void (*fn)(void))
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		if (bound && geteuid() == 0 && setuid(NOBODY) < 0)
			_exit(99);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

/* In a process of run_apart(), where cmocka cannot jump out of. */
#define MUST_BE(value, expected)                                                                   \
	do {                                                                                       \
		int value_ = (value);                                                              \
		if (value_ != (expected)) {                                                        \
			fprintf(stderr, "%d: %s is %d\n", __LINE__, #value, value_);               \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

static void test_write(void **state)
{
	static const char bytes[] = "a\0b";
	void *data = NULL;
	size_t len = 0;

	clean();
	assert_int_equal(file_write_atomic(path_of("a"), "one\n", 4, 0600), 0);
	assert_holds("a", "one\n");
	assert_int_equal(file_write_atomic(path_of("a"), bytes, sizeof(bytes), 0600), 0);
	assert_int_equal(file_read(path_of("a"), sizeof(bytes), &data, &len), 0);
	assert_int_equal(len, sizeof(bytes));
	assert_memory_equal(data, bytes, sizeof(bytes));
	assert_int_equal(((const char *)data)[len], 0);
	free(data);
	assert_int_equal(file_write_atomic(path_of("a"), NULL, 0, 0600), 0);
	assert_holds("a", "");
	assert_int_equal(count_files(), 1);
}

/* Without a folder in its path it goes to the working directory. */
static void in_working_directory(void)
{
	MUST_BE(chdir(dir), 0);
	MUST_BE(file_write_atomic("here", "x", 1, 0600), 0);
	MUST_BE(access("here", F_OK), 0);
	MUST_BE(file_make_dir("folder", 0700), 0);
	MUST_BE(access("folder", F_OK), 0);
	MUST_BE(file_remove("here"), 0);
	MUST_BE(access("here", F_OK), -1);
}

static void test_relative(void **state)
{
	clean();
	run_apart(false, in_working_directory);
}

static void test_modes(void **state)
{
	static const mode_t umasks[] = { 0, 022, 077, 0777 };
	static const mode_t modes[] = { 0600, 0644, 0640, 0400, 0666 };

	for (size_t i = 0; i < ARRAY_SIZE(umasks); i++)
		for (size_t k = 0; k < ARRAY_SIZE(modes); k++) {
			mode_t old;

			clean();
			put("a", "old"); /* whose mode is not kept */
			old = umask(umasks[i]);
			assert_int_equal(file_write_atomic(path_of("a"), "x", 1, modes[k]), 0);
			umask(old);
			assert_int_equal(mode_of("a"), modes[k]);
		}
	for (size_t i = 0; i < 3; i++) {
		mode_t old;

		clean();
		old = umask(umasks[i]);
		assert_int_equal(file_make_dir(path_of("p/one"), 0700), 0);
		assert_int_equal(file_make_dir(path_of("p/two"), 0755), 0);
		umask(old);
		assert_int_equal(mode_of("p"), 0755);
		assert_int_equal(mode_of("p/one"), 0700);
		assert_int_equal(mode_of("p/two"), 0755);
	}
}

static void test_stale(void **state)
{
	struct stat st;

	/* Of a killed run, longer than what is written now, and with another mode. */
	clean();
	put("a", "old");
	put(".a.tmp", "half of something that was very long");
	chmod(path_of(".a.tmp"), 0444);
	assert_int_equal(file_write_atomic(path_of("a"), "new", 3, 0600), 0);
	assert_holds("a", "new");
	assert_int_equal(mode_of("a"), 0600);
	assert_int_equal(count_files(), 1);
	/* A link is not followed. */
	put("victim", "precious");
	assert_int_equal(symlink("victim", path_of(".a.tmp")), 0);
	assert_int_equal(file_write_atomic(path_of("a"), "newer", 5, 0600), 0);
	assert_holds("a", "newer");
	assert_holds("victim", "precious");
	/* Nor is another name of the bytes harmed. */
	assert_int_equal(link(path_of("victim"), path_of(".a.tmp")), 0);
	assert_int_equal(file_write_atomic(path_of("a"), "again", 5, 0600), 0);
	assert_holds("victim", "precious");
	assert_int_equal(mkfifo(path_of(".a.tmp"), 0600), 0);
	assert_int_equal(file_write_atomic(path_of("a"), "x", 1, 0600), 0);
	assert_int_equal(count_files(), 2);
	/* A file that has the name of a temporary one, without the dot. */
	put("b.tmp", "mine");
	assert_int_equal(file_write_atomic(path_of("b"), "x", 1, 0600), 0);
	assert_holds("b.tmp", "mine");
	/* What is no file of ours is not removed. */
	assert_int_equal(mkdir(path_of(".a.tmp"), 0700), 0);
	assert_int_equal(file_write_atomic(path_of("a"), "no", 2, 0600), -EISDIR);
	assert_holds("a", "x");
	assert_int_equal(stat(path_of(".a.tmp"), &st), 0);
}

static void test_write_fails(void **state)
{
	static const struct {
		const char *path;
		int error;
	} cases[] = {
		{ "none/a", -ENOENT },  { "file/a", -ENOTDIR }, { "folder", -EISDIR },
		{ "folder/", -EINVAL }, { ".", -EINVAL },       { "folder/..", -EINVAL },
	};
	char name[300];

	clean();
	put("file", "x");
	assert_int_equal(mkdir(path_of("folder"), 0700), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(file_write_atomic(path_of(cases[i].path), "y", 1, 0600),
				 cases[i].error);
		assert_int_equal(count_files(), 2);
	}
	memset(name, 'n', sizeof(name));
	name[255] = '\0'; /* it would fit itself, but its temporary file would not */
	assert_int_equal(file_write_atomic(path_of(name), "y", 1, 0600), -ENAMETOOLONG);
	assert_int_equal(file_write_atomic("", "y", 1, 0600), -EINVAL);
	assert_int_equal(file_write_atomic("/", "y", 1, 0600), -EINVAL);
	assert_holds("file", "x");
}

static void with_small_limit(void)
{
	const struct rlimit limit = { 10, 10 };

	signal(SIGXFSZ, SIG_IGN);
	MUST_BE(setrlimit(RLIMIT_FSIZE, &limit), 0);
	MUST_BE(file_write_atomic(path_of("a"), "0123456789a", 11, 0600), -EFBIG);
	MUST_BE(file_write_atomic(path_of("new"), "0123456789a", 11, 0600), -EFBIG);
}

/* As a full disk: the first bytes could be written. */
static void test_disk_full(void **state)
{
	clean();
	put("a", "old");
	run_apart(false, with_small_limit);
	assert_holds("a", "old");
	assert_int_equal(count_files(), 1);
}

static void without_permission(void)
{
	void *data;
	size_t len;

	MUST_BE(file_write_atomic(path_of("a"), "x", 1, 0600), -EACCES);
	MUST_BE(file_remove(path_of("a")), -EACCES);
	MUST_BE(file_make_dir(path_of("folder"), 0700), -EACCES);
	MUST_BE(file_make_dir(path_of("p/folder"), 0700), -EACCES);
	MUST_BE(file_read(path_of("secret"), 10, &data, &len), -EACCES);
}

static void test_permissions(void **state)
{
	clean();
	put("a", "old");
	put("secret", "x");
	chmod(path_of("secret"), 0);
	chmod(dir, 0555);
	run_apart(true, without_permission);
	chmod(dir, 0755);
	assert_int_equal(count_files(), 2);
	assert_holds("a", "old");
}

/* A symbolic link at the path is replaced, and what it points to stays. */
static void test_write_link(void **state)
{
	struct stat st;

	clean();
	put("target", "old");
	assert_int_equal(symlink("target", path_of("a")), 0);
	assert_int_equal(file_write_atomic(path_of("a"), "new", 3, 0600), 0);
	assert_holds("target", "old");
	assert_holds("a", "new");
	assert_int_equal(lstat(path_of("a"), &st), 0);
	assert_true(S_ISREG(st.st_mode));
}

static void test_read(void **state)
{
	static const struct {
		const char *name;
		size_t max;
		int result;
	} cases[] = {
		{ "five", 5, 0 },         { "five", 6, 0 },          { "five", 4, -E2BIG },
		{ "five", 0, -E2BIG },    { "empty", 0, 0 },         { "link", 5, 0 },
		{ "none", 5, -ENOENT },   { "five/x", 5, -ENOTDIR }, { "fifo", 5, -EINVAL },
		{ "socket", 5, -EINVAL }, { ".", 5, -EINVAL },       { "dangling", 5, -ENOENT },
		{ "loop", 5, -ELOOP },
	};
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	void *data;
	size_t len;
	int fd;

	clean();
	put("five", "12345");
	put("empty", "");
	assert_int_equal(symlink("five", path_of("link")), 0);
	assert_int_equal(symlink("none", path_of("dangling")), 0);
	assert_int_equal(symlink("loop", path_of("loop")), 0);
	assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", path_of("socket"));
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		data = NULL;
		assert_int_equal(file_read(path_of(cases[i].name), cases[i].max, &data, &len),
				 cases[i].result);
		assert_int_equal(data != NULL, cases[i].result == 0);
		if (data) {
			assert_int_equal(len, strcmp(cases[i].name, "empty") ? 5 : 0);
			assert_string_equal(data, len ? "12345" : "");
		}
		free(data);
	}
	/* Files whose size is not told beforehand. */
	assert_int_equal(file_read("/proc/self/status", 65536, &data, &len), 0);
	assert_true(len > 100 && strncmp(data, "Name:", 5) == 0);
	free(data);
	assert_int_equal(file_read("/proc/self/status", 100, &data, &len), -E2BIG);
	assert_int_equal(file_read("/dev/null", 100, &data, &len), -EINVAL);
}

static void test_remove(void **state)
{
	char text[10000];
	int fd;

	clean();
	memset(text, 'x', sizeof(text));
	assert_int_equal(file_write_atomic(path_of("a"), text, sizeof(text), 0600), 0);
	put(".a.tmp", "half");
	fd = open(path_of("a"), O_RDONLY);
	assert_int_equal(file_remove(path_of("a")), 0);
	assert_int_equal(count_files(), 0);
	/* Who has it open sees that it is overwritten. */
	assert_int_equal(read(fd, text, sizeof(text)), sizeof(text));
	for (size_t i = 0; i < sizeof(text); i++)
		assert_int_equal(text[i], 0);
	close(fd);

	assert_int_equal(file_remove(path_of("a")), -ENOENT);
	put(".a.tmp", "half");
	assert_int_equal(file_remove(path_of("a")), -ENOENT);
	assert_int_equal(count_files(), 0);
	put("target", "precious");
	assert_int_equal(symlink("target", path_of("a")), 0);
	assert_int_equal(file_remove(path_of("a")), 0);
	assert_int_equal(link(path_of("target"), path_of("a")), 0);
	assert_int_equal(file_remove(path_of("a")), 0);
	assert_int_equal(mkfifo(path_of("a"), 0600), 0);
	assert_int_equal(file_remove(path_of("a")), 0);
	assert_holds("target", "precious");
	assert_int_equal(count_files(), 1);
	assert_int_equal(mkdir(path_of("a"), 0700), 0);
	assert_int_equal(file_remove(path_of("a")), -EISDIR);
	assert_int_equal(file_remove(path_of("none/a")), -ENOENT);
	assert_int_equal(file_remove(path_of("target/a")), -ENOTDIR);
}

static void test_make_dir(void **state)
{
	static const struct {
		const char *path;
		int result;
	} cases[] = {
		{ "a", 0 },           { "a", 0 },           { "a/", 0 },
		{ "b/c", 0 },         { "d/e/", 0 },        { "f//g//", 0 },
		{ "x/y/z", -ENOENT }, { "file", -ENOTDIR }, { "file/a", -ENOTDIR },
		{ "link", 0 },        { "link/new", 0 },    { "dangling", -ENOTDIR },
		{ "fifo", -ENOTDIR },
	};
	struct stat st;

	clean();
	put("file", "x");
	assert_int_equal(mkdir(path_of("own"), 0711), 0);
	assert_int_equal(symlink("own", path_of("link")), 0);
	assert_int_equal(symlink("none", path_of("dangling")), 0);
	assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(file_make_dir(path_of(cases[i].path), 0700), cases[i].result);
		if (cases[i].result == 0) {
			assert_int_equal(stat(path_of(cases[i].path), &st), 0);
			assert_true(S_ISDIR(st.st_mode));
		}
	}
	assert_int_equal(mode_of("own"), 0711);
	assert_int_equal(file_make_dir("/", 0700), 0);
	assert_int_equal(file_make_dir("", 0700), -ENOENT);
	assert_int_equal(file_sync_dir(dir), 0);
	assert_int_equal(file_sync_dir(path_of("none")), -ENOENT);
	assert_int_equal(file_sync_dir(path_of("file")), -ENOTDIR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write),       cmocka_unit_test(test_relative),
		cmocka_unit_test(test_modes),       cmocka_unit_test(test_stale),
		cmocka_unit_test(test_write_fails), cmocka_unit_test(test_disk_full),
		cmocka_unit_test(test_permissions), cmocka_unit_test(test_write_link),
		cmocka_unit_test(test_read),        cmocka_unit_test(test_remove),
		cmocka_unit_test(test_make_dir),
	};

	return cmocka_run_group_tests_name("file", tests, make_temp_dir, remove_temp_dir);
}
