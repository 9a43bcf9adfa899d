/* SPDX-License-Identifier: MIT */
/* Log lines as text, and as fields where stderr is the journal. */
#include "test.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "util/log.h"

int __wrap_sd_journal_sendv(const struct iovec *iov, int n);
int __wrap_access(const char *path, int mode);

static char sent[4096]; /* datagrams: each field with '|' */
static int send_result;
static bool socket_is_there;
static int saved, fd; /* stderr, and what stands in for it */

int __wrap_sd_journal_sendv(const struct iovec *iov, int n)
{
	if (send_result < 0)
		return send_result;
	for (int i = 0; i < n; i++)
		snprintf(sent + strlen(sent), sizeof(sent) - strlen(sent), "%.*s|",
			 (int)iov[i].iov_len, (const char *)iov[i].iov_base);
	return 0;
}

int __wrap_access(const char *path, int mode)
{
	assert_string_equal(path, "/run/systemd/journal/socket");
	errno = ENOENT;
	return socket_is_there ? 0 : -1;
}

static int setup(void **state)
{
	sent[0] = '\0';
	send_result = 0;
	socket_is_there = true;
	unsetenv("JOURNAL_STREAM");
	log_set_level(LOG_LEVEL_INFO);
	fflush(stderr);
	saved = dup(STDERR_FILENO);
	fd = memfd_create("stderr", MFD_CLOEXEC);
	return saved < 0 || fd < 0 || dup2(fd, STDERR_FILENO) < 0;
}

static int teardown(void **state)
{
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(fd);
	return 0;
}

/* stderr is the journal's, or (@other) the one is that was there when the variable was set. */
static void claim_journal(bool other)
{
	char stream[64];
	struct stat st;

	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev,
		 (uintmax_t)st.st_ino + other);
	setenv("JOURNAL_STREAM", stream, 1);
}

/* What went to stderr since the last call. */
static const char *text(void)
{
	static char out[8192];
	off_t end = lseek(fd, 0, SEEK_END);

	assert_in_range(end, 0, sizeof(out) - 1);
	assert_int_equal(pread(fd, out, (size_t)end, 0), end);
	out[end] = '\0';
	assert_int_equal(ftruncate(fd, 0), 0);
	lseek(fd, 0, SEEK_SET);
	return out;
}

static void test_text(void **state)
{
	log_error("a %d", 1);
	log_object(LOG_LEVEL_INFO, &(struct log_object){ .device = "esp0" }, "found %s", "it");
	log_object(LOG_LEVEL_WARNING,
		   &(struct log_object){ .device = "esp0", .tunnel = "broker", .reason = "dns" },
		   "failed");
	log_debug("not this");
	log_object(LOG_LEVEL_DEBUG, &(struct log_object){ .device = "esp0" }, "nor this");
	assert_string_equal(text(), "a 1\nesp0: found it\nbroker: failed\n");
	assert_string_equal(sent, "");
}

static void test_fields(void **state)
{
	claim_journal(false);
	log_error("a %d", 1);
	assert_string_equal(sent, "PRIORITY=3|SYSLOG_IDENTIFIER=test-log|MESSAGE=a 1|");
	sent[0] = '\0';
	log_object(LOG_LEVEL_INFO, &(struct log_object){ .device = "esp0" }, "found %s", "it");
	assert_string_equal(sent, "PRIORITY=6|SYSLOG_IDENTIFIER=test-log|ESPAT_DEVICE=esp0|"
				  "MESSAGE=esp0: found it|");
	sent[0] = '\0';
	log_object(LOG_LEVEL_WARNING,
		   &(struct log_object){ .device = "esp0", .tunnel = "broker", .reason = "dns" },
		   "failed");
	assert_string_equal(sent, "PRIORITY=4|SYSLOG_IDENTIFIER=test-log|ESPAT_DEVICE=esp0|"
				  "ESPAT_TUNNEL=broker|ESPAT_REASON=dns|MESSAGE=broker: failed|");
	assert_string_equal(text(), "");
}

/* The variable is inherited by whom stderr was redirected for, and may be anything. */
static void test_not_the_journal(void **state)
{
	static const char *const streams[] = { "", "1", "1:", ":1", "1:2x", "x:y" };

	claim_journal(true);
	log_error("a");
	for (size_t i = 0; i < ARRAY_SIZE(streams); i++) {
		setenv("JOURNAL_STREAM", streams[i], 1);
		log_error("b");
	}
	assert_string_equal(text(), "a\nb\nb\nb\nb\nb\nb\n");
	assert_string_equal(sent, "");
}

/* Lines get through without fields. */
static void test_journal_out_of_reach(void **state)
{
	claim_journal(false);
	socket_is_there = false;
	log_warning("a");
	log_object(LOG_LEVEL_NOTICE, &(struct log_object){ .device = "esp0" }, "b");
	socket_is_there = true;
	send_result = -EPERM;
	log_info("c");
	assert_string_equal(text(), "<4>a\n<5>esp0: b\n<6>c\n");
	assert_string_equal(sent, "");
}

/* No second line and no other field, whatever a chip says. */
static void test_cannot_be_forged(void **state)
{
	static char longest[2000];

	log_info("x\r\ny\tz\x7f\xc3\xa9\xc2\x9b"
		 "2J\xc2\xa0\xc2");
	assert_string_equal(text(), "x??y?z?\xc3\xa9??2J\xc2\xa0?\n");
	/* What is no UTF-8 may be a control character of 8 bits. */
	log_info("a\x9b"
		 "2J\xff\xed\xa0\x80\xf0\x9f\x98");
	assert_string_equal(text(), "a?2J???????\n");
	claim_journal(false);
	log_object(LOG_LEVEL_INFO, &(struct log_object){ .device = "a\nPRIORITY=0" }, "\nX=%s",
		   "\n");
	assert_string_equal(sent, "PRIORITY=6|SYSLOG_IDENTIFIER=test-log|"
				  "ESPAT_DEVICE=a?PRIORITY=0|MESSAGE=a?PRIORITY=0: ?X=?|");
	unsetenv("JOURNAL_STREAM");
	memset(longest, 'x', sizeof(longest) - 1);
	log_info("%s", longest);
	assert_int_equal(strlen(text()), 1023);
	log_object(LOG_LEVEL_INFO, &(struct log_object){ .device = longest }, "%s", longest);
	assert_int_equal(strlen(text()), 1023);
}

static void test_levels(void **state)
{
	static const char *const names[] = { "error", "warning", "notice", "info", "debug" };
	static const char *const none[] = { "", "err", "Error", "debugs", "5" };
	enum log_level level;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(log_level_parse(names[i], &level), 0);
		assert_int_equal(level, i);
		assert_string_equal(log_level_name(level), names[i]);
		log_set_level(level);
		assert_int_equal(log_get_level(), level);
	}
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		assert_int_equal(log_level_parse(none[i], &level), -EINVAL);
	log_set_level(LOG_LEVEL_WARNING);
	log_warning("a");
	log_notice("b");
	assert_string_equal(text(), "a\n");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_text),
		T(test_fields),
		T(test_not_the_journal),
		T(test_journal_out_of_reach),
		T(test_cannot_be_forged),
		T(test_levels),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
