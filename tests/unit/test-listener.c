/* SPDX-License-Identifier: MIT */
/* tunnel/listener and tunnel/peer: real sockets in a folder of the test's own. */
#include "test.h"

#include <acl/libacl.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/acl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "temp-dir.h"
#include "tunnel/listener.h"
#include "tunnel/peer.h"

static char name[CONFIG_NAME_MAX + 1];
static struct config_tunnel config;
static struct listener l;
static char why[LISTENER_WHY_MAX];

/* What happens just before and after the n-th renameat2(). */
static unsigned int renames;
static void (*before_rename)(unsigned int n);
static void (*after_rename)(unsigned int n);
static int acl_failure; /* of acl_set_file(); 0: it works */

int __real_renameat2(int olddir, const char *old, int newdir, const char *new, unsigned int flags);
int __wrap_renameat2(int olddir, const char *old, int newdir, const char *new, unsigned int flags);
int __wrap_renameat2(int olddir, const char *old, int newdir, const char *new, unsigned int flags)
{
	int r, error;

	renames++;
	if (before_rename)
		before_rename(renames);
	r = __real_renameat2(olddir, old, newdir, new, flags);
	error = errno;
	if (after_rename)
		after_rename(renames);
	errno = error;
	return r;
}

int __real_acl_set_file(const char *path, acl_type_t type, acl_t acl);
int __wrap_acl_set_file(const char *path, acl_type_t type, acl_t acl);
int __wrap_acl_set_file(const char *path, acl_type_t type, acl_t acl)
{
	if (acl_failure) {
		errno = acl_failure;
		return -1;
	}
	return __real_acl_set_file(path, type, acl);
}

static int setup(void **state)
{
	clean();
	umask(022);
	strcpy(name, "broker");
	config = (struct config_tunnel){ .name = name, .mode = 0660 };
	config.where.file = "espatd.conf";
	config.where.line = 12;
	listener_init(&l, NULL);
	renames = 0;
	before_rename = NULL;
	after_rename = NULL;
	acl_failure = 0;
	return 0;
}

static int teardown(void **state)
{
	listener_close(&l);
	return 0;
}

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	assert_true(strlen(path) < sizeof(addr.sun_path));
	strcpy(addr.sun_path, path);
	return addr;
}

static int bound(const char *path, int type)
{
	struct sockaddr_un addr = address(path);
	int fd = socket(AF_UNIX, type, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static int listening(const char *path)
{
	int fd = bound(path, SOCK_STREAM);

	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

/* Returns 0 or -errno. */
static int try_connect(const char *path)
{
	struct sockaddr_un addr = address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	int r = connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;

	close(fd);
	return r;
}

static struct stat look(const char *path)
{
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	return st;
}

static void assert_served(void)
{
	int fd;

	assert_int_equal(try_connect(path_of("broker.sock")), 0);
	fd = accept(l.fd, NULL, NULL);
	assert_true(fd >= 0);
	close(fd);
}

/* ---- our own ---- */

static void test_bind(void **state)
{
	static const unsigned int modes[] = { 0600, 0660, 0666, 0777, 0060, 0 };

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		config.mode = modes[i];
		assert_int_equal(listener_bind(&l, dir, &config, why), 0);
		assert_string_equal(l.name, path_of("broker.sock"));
		assert_int_equal(look(l.name).st_mode, S_IFSOCK | modes[i]);
		assert_int_equal(look(l.name).st_uid, geteuid());
		assert_int_equal(fcntl(l.fd, F_GETFD), FD_CLOEXEC);
		assert_true(fcntl(l.fd, F_GETFL) & O_NONBLOCK);
		assert_int_equal(count_files(), 1);
		if (geteuid() == 0)
			assert_served();
		listener_close(&l);
		assert_int_equal(l.fd, -1);
		assert_int_equal(count_files(), 0);
	}
}

/* Nobody meets it at its path before it listens. */
static void check_that_it_listens(unsigned int n)
{
	struct dirent *e;
	DIR *d = opendir(dir);

	while ((e = readdir(d)))
		if (strstr(e->d_name, "broker")) {
			assert_int_equal(look(path_of(e->d_name)).st_mode, S_IFSOCK | 0640);
			assert_int_equal(try_connect(path_of(e->d_name)), 0);
		}
	closedir(d);
}

static void test_ready_before_it_is_there(void **state)
{
	config.mode = 0640;
	before_rename = check_that_it_listens;
	assert_int_equal(listener_bind(&l, dir, &config, why), 0);
	assert_int_equal(renames, 1);
}

/* The longest path that there can be has a temporary one, too. */
static void test_longest_path(void **state)
{
	size_t room = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
	char deep[200];
	size_t len;

	for (size_t longer = 0; longer < 2; longer++) {
		clean();
		len = (size_t)snprintf(deep, sizeof(deep), "%s/", dir);
		while (len < room - strlen("/broker.sock") + longer)
			deep[len++] = 'x';
		deep[len] = '\0';
		assert_int_equal(mkdir(deep, 0755), 0);
		assert_int_equal(listener_bind(&l, deep, &config, why), longer ? -ENAMETOOLONG : 0);
		listener_close(&l);
		assert_int_equal(rmdir(deep), 0);
	}
	assert_string_equal(why, strerror(ENAMETOOLONG));
}

static void test_folder_that_is_not_there(void **state)
{
	assert_int_equal(listener_bind(&l, path_of("none"), &config, why), -ENOENT);
	assert_string_equal(why, strerror(ENOENT));
	make_file(path_of("file"));
	assert_int_equal(listener_bind(&l, path_of("file"), &config, why), -ENOTDIR);
}

/* What a process that was killed has left under a temporary name is passed over. */
static void test_temporary_name_that_is_taken(void **state)
{
	close(bound(path_of(".broker.000"), SOCK_STREAM));
	make_file(path_of(".broker.001"));
	assert_int_equal(listener_bind(&l, dir, &config, why), 0);
	assert_served();
	assert_int_equal(count_files(), 3);
}

static void test_stale_is_replaced(void **state)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct stat old;

		close(bound(path_of("broker.sock"), types[i]));
		old = look(path_of("broker.sock"));
		assert_int_equal(listener_bind(&l, dir, &config, why), 0);
		assert_int_not_equal(look(path_of("broker.sock")).st_ino, old.st_ino);
		assert_int_equal(count_files(), 1);
		assert_served();
		listener_close(&l);
	}
}

static int keep_fd;

static void place_served(const char *path)
{
	keep_fd = listening(path);
}

/* Its backlog is full: it does not answer, and is served all the same. */
static void place_busy(const char *path)
{
	keep_fd = bound(path, SOCK_STREAM);
	assert_int_equal(listen(keep_fd, 0), 0);
	assert_int_equal(try_connect(path), 0);
}

static void place_datagrams(const char *path)
{
	keep_fd = bound(path, SOCK_DGRAM);
}

static void place_folder(const char *path)
{
	assert_int_equal(mkdir(path, 0700), 0);
}

static void place_pipe(const char *path)
{
	assert_int_equal(mkfifo(path, 0600), 0);
}

static void place_link_to_stale(const char *path)
{
	close(bound(path_of("elsewhere"), SOCK_STREAM));
	assert_int_equal(symlink(path_of("elsewhere"), path), 0);
}

static void place_link_to_nothing(const char *path)
{
	assert_int_equal(symlink(path_of("nothing"), path), 0);
}

static const struct {
	void (*place)(const char *path);
	int error;
} foreign[] = {
	{ place_served, -EADDRINUSE },    { place_busy, -EADDRINUSE },
	{ place_datagrams, -EADDRINUSE }, { make_file, -EEXIST },
	{ place_folder, -EEXIST },        { place_pipe, -EEXIST },
	{ place_link_to_stale, -EEXIST }, { place_link_to_nothing, -EEXIST },
};

static void test_what_is_somebodys_is_left_alone(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(foreign); i++) {
		struct stat before, after;
		size_t n;

		clean();
		keep_fd = -1;
		foreign[i].place(path_of("broker.sock"));
		n = count_files();
		before = look(path_of("broker.sock"));
		renames = 0;
		assert_int_equal(listener_bind(&l, dir, &config, why), foreign[i].error);
		assert_int_equal(l.fd, -1);
		assert_string_equal(why, foreign[i].error == -EEXIST
						 ? "there is something that is not a socket"
						 : "another program serves it");
		/* Not even moved for a moment. */
		assert_int_equal(renames, 1);
		after = look(path_of("broker.sock"));
		assert_int_equal(after.st_ino, before.st_ino);
		assert_int_equal(after.st_mode, before.st_mode);
		assert_int_equal(count_files(), n);
		if (keep_fd >= 0)
			close(keep_fd);
	}
}

/* ---- others, between two of our steps ---- */

static size_t foreign_now;

/* The stale socket was looked at; what is exchanged then is another one's. */
static void replace_before_the_exchange(unsigned int n)
{
	if (n != 2)
		return;
	assert_int_equal(unlink(path_of("broker.sock")), 0);
	foreign[foreign_now].place(path_of("broker.sock"));
}

static void test_race_for_a_stale_one(void **state)
{
	before_rename = replace_before_the_exchange;
	for (foreign_now = 0; foreign_now < ARRAY_SIZE(foreign); foreign_now++) {
		bool linked = foreign[foreign_now].place == place_link_to_stale;

		clean();
		keep_fd = -1;
		renames = 0;
		close(bound(path_of("broker.sock"), SOCK_STREAM));
		assert_int_equal(listener_bind(&l, dir, &config, why), foreign[foreign_now].error);
		/* Exchanged, and back again. */
		assert_true(renames >= 3);
		assert_int_equal(count_files(), linked ? 2 : 1);
		if (keep_fd >= 0)
			assert_int_equal(look(path_of("broker.sock")).st_mode & S_IFMT, S_IFSOCK);
		if (foreign[foreign_now].place == place_served)
			assert_int_equal(try_connect(path_of("broker.sock")), 0);
		if (keep_fd >= 0)
			close(keep_fd);
	}
}

static void remove_before_the_exchange(unsigned int n)
{
	if (n == 2)
		assert_int_equal(unlink(path_of("broker.sock")), 0);
}

static void test_stale_one_that_goes_away(void **state)
{
	before_rename = remove_before_the_exchange;
	close(bound(path_of("broker.sock"), SOCK_STREAM));
	assert_int_equal(listener_bind(&l, dir, &config, why), 0);
	assert_int_equal(renames, 3);
	assert_served();
	assert_int_equal(count_files(), 1);
}

/* It is in the way, and gone when it is looked at. */
static void remove_after_the_first_one(unsigned int n)
{
	if (n == 1)
		assert_int_equal(unlink(path_of("broker.sock")), 0);
}

static void test_what_goes_away(void **state)
{
	after_rename = remove_after_the_first_one;
	make_file(path_of("broker.sock"));
	assert_int_equal(listener_bind(&l, dir, &config, why), 0);
	assert_int_equal(renames, 2);
	assert_served();
}

/* Two that put a dead socket there as fast as we look: given up, and nothing is left behind. */
static void always_another_stale_one(unsigned int n)
{
	if (n % 3 != 2)
		return;
	/* The old one stays, so that the new one cannot get its number. */
	assert_int_equal(rename(path_of("broker.sock"), path_of("old")), 0);
	close(bound(path_of("broker.sock"), SOCK_STREAM));
}

static void test_race_without_end(void **state)
{
	before_rename = always_another_stale_one;
	close(bound(path_of("broker.sock"), SOCK_STREAM));
	assert_int_equal(listener_bind(&l, dir, &config, why), -EEXIST);
	assert_int_equal(l.fd, -1);
	assert_int_equal(count_files(), 2);
}

static void test_only_our_own_is_removed(void **state)
{
	assert_int_equal(listener_bind(&l, dir, &config, why), 0);
	assert_int_equal(unlink(l.name), 0);
	make_file(l.name);
	listener_close(&l);
	assert_int_equal(count_files(), 1);
	assert_int_equal(unlink(path_of("broker.sock")), 0);
	/* The one of a successor. */
	assert_int_equal(listener_bind(&l, dir, &config, why), 0);
	assert_int_equal(unlink(l.name), 0);
	keep_fd = listening(l.name);
	listener_close(&l);
	assert_int_equal(try_connect(path_of("broker.sock")), 0);
	close(keep_fd);
	assert_int_equal(unlink(path_of("broker.sock")), 0);
	/* Removed by hand. */
	assert_int_equal(listener_bind(&l, dir, &config, why), 0);
	assert_int_equal(unlink(l.name), 0);
	listener_close(&l);
	assert_int_equal(count_files(), 0);
}

/* ---- access ---- */

static void assert_acl(const char *path, const char *expected)
{
	acl_t acl = acl_get_file(path, ACL_TYPE_ACCESS);
	char *text;

	assert_non_null(acl);
	text = acl_to_any_text(acl, NULL, ',', TEXT_ABBREVIATE | TEXT_NUMERIC_IDS);
	assert_non_null(text);
	assert_string_equal(text, expected);
	acl_free(text);
	acl_free(acl);
}

/* Whether this folder's file system has ACLs. */
static bool has_acls(void)
{
	acl_t acl = acl_from_text("u::rw,u:1:rw,g::r,m::rw,o::-");
	bool has;

	make_file(path_of("probe"));
	has = __real_acl_set_file(path_of("probe"), ACL_TYPE_ACCESS, acl) == 0;
	unlink(path_of("probe"));
	acl_free(acl);
	return has;
}

static void test_acl(void **state)
{
	/* One may be named twice: as a name and as a number. */
	static unsigned int users[] = { 1234, 60001, 1234 }, groups[] = { 60002, 60002 };
	static const struct {
		unsigned int mode;
		size_t n_users, n_groups;
		const char *text;
	} rows[] = {
		{ 0600, 0, 0, "u::rw-,g::---,o::---" },
		{ 0600, 1, 0, "u::rw-,u:1234:rw-,g::---,m::rw-,o::---" },
		{ 0600, 3, 0, "u::rw-,u:1234:rw-,u:60001:rw-,g::---,m::rw-,o::---" },
		{ 0660, 0, 2, "u::rw-,g::rw-,g:60002:rw-,m::rw-,o::---" },
		{ 0640, 2, 1, "u::rw-,u:1234:rw-,u:60001:rw-,g::r--,g:60002:rw-,m::rw-,o::---" },
	};

	if (!has_acls())
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		config.mode = rows[i].mode;
		config.acl_users = (struct config_ids){ users, rows[i].n_users };
		config.acl_groups = (struct config_ids){ groups, rows[i].n_groups };
		assert_int_equal(listener_bind(&l, dir, &config, why), 0);
		assert_acl(l.name, rows[i].text);
		listener_close(&l);
	}
}

/* What a folder hands down is more than the configuration says. */
static void test_default_acl_of_the_folder(void **state)
{
	static unsigned int users[] = { 60001 };
	acl_t acl;

	if (!has_acls())
		skip();
	acl = acl_from_text("u::rwx,u:1:rwx,g::rwx,m::rwx,o::rwx");
	assert_int_equal(__real_acl_set_file(dir, ACL_TYPE_DEFAULT, acl), 0);
	acl_free(acl);
	config.mode = 0640;
	assert_int_equal(listener_bind(&l, dir, &config, why), 0);
	assert_acl(l.name, "u::rw-,g::r--,o::---");
	listener_close(&l);
	config.acl_users = (struct config_ids){ users, 1 };
	assert_int_equal(listener_bind(&l, dir, &config, why), 0);
	assert_acl(l.name, "u::rw-,u:60001:rw-,g::r--,m::rw-,o::---");
}

static void test_file_system_without_acls(void **state)
{
	static unsigned int users[] = { 60001 };

	acl_failure = EOPNOTSUPP;
	assert_int_equal(listener_bind(&l, dir, &config, why), 0);
	assert_int_equal(look(l.name).st_mode, S_IFSOCK | 0660);
	listener_close(&l);
	config.acl_groups = (struct config_ids){ users, 1 };
	assert_int_equal(listener_bind(&l, dir, &config, why), -EOPNOTSUPP);
	assert_string_equal(why,
			    "its file system has no ACLs, which acl_users and acl_groups need");
	assert_int_equal(l.fd, -1);
	assert_int_equal(count_files(), 0);
	/* Another failure is one, asked for or not. */
	acl_failure = EIO;
	config.acl_groups.n = 0;
	assert_int_equal(listener_bind(&l, dir, &config, why), -EIO);
	assert_int_equal(count_files(), 0);
}

static void test_group_of_the_folder(void **state)
{
	if (geteuid() != 0)
		skip();
	assert_int_equal(chown(dir, (uid_t)-1, 60002), 0);
	assert_int_equal(chmod(dir, 02755), 0);
	assert_int_equal(listener_bind(&l, dir, &config, why), 0);
	assert_int_equal(look(l.name).st_gid, 60002);
	assert_int_equal(look(l.name).st_mode, S_IFSOCK | 0660);
}

/* ---- sockets that were given ---- */

static int tcp(int family, const void *ip)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	int fd = socket(family, SOCK_STREAM, 0), r;

	assert_true(fd >= 0);
	if (family == AF_INET)
		memcpy(&in.sin_addr, ip, sizeof(in.sin_addr));
	else
		memcpy(&in6.sin6_addr, ip, sizeof(in6.sin6_addr));
	r = family == AF_INET ? bind(fd, (struct sockaddr *)&in, sizeof(in))
			      : bind(fd, (struct sockaddr *)&in6, sizeof(in6));
	assert_int_equal(r, 0);
	return fd;
}

static int make_closed(void)
{
	return 1000;
}

static int make_regular(void)
{
	return open(path_of("file"), O_RDWR | O_CREAT, 0600);
}

static int make_datagram(void)
{
	return bound(path_of("given"), SOCK_DGRAM);
}

static int make_packets(void)
{
	int fd = bound(path_of("given"), SOCK_SEQPACKET);

	listen(fd, 1);
	return fd;
}

static int make_bound(void)
{
	return bound(path_of("given"), SOCK_STREAM);
}

/* As with Accept=yes. */
static int make_connection(void)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	close(pair[1]);
	return pair[0];
}

static int make_udp(void)
{
	return socket(AF_INET, SOCK_DGRAM, 0);
}

static int make_unix(void)
{
	return listening(path_of("given"));
}

static int make_listening(int fd)
{
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

static int make_abstract(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	int n = snprintf(addr.sun_path + 1, 100, "espatd-test-%d", getpid());

	assert_int_equal(bind(fd, (struct sockaddr *)&addr,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)),
			 0);
	return make_listening(fd);
}

static int make_tcp4(void)
{
	return make_listening(tcp(AF_INET, &(struct in_addr){ htonl(INADDR_LOOPBACK) }));
}

static int make_tcp4_for_all(void)
{
	return make_listening(tcp(AF_INET, &(struct in_addr){ htonl(INADDR_ANY) }));
}

static int make_tcp6(void)
{
	return make_listening(tcp(AF_INET6, &in6addr_loopback));
}

static int make_tcp6_for_all(void)
{
	return make_listening(tcp(AF_INET6, &in6addr_any));
}

static bool has_ipv6(void)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	bool has = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;

	if (fd >= 0)
		close(fd);
	return has;
}

static void test_check(void **state)
{
	static unsigned int ids[] = { 1234 };
	enum {
		PLAIN,
		ALLOW_UIDS,
		ALLOW_GIDS,
		ACL
	};
	static const struct {
		int (*make)(void);
		int restriction;
		int r;
		const char *text; /* in the complaint; NULL: none */
	} rows[] = {
		{ make_closed, PLAIN, -EINVAL, "is not open" },
		{ make_regular, PLAIN, -EINVAL, "is no socket" },
		{ make_datagram, PLAIN, -EINVAL, "is no stream socket" },
		{ make_packets, PLAIN, -EINVAL, "is no stream socket" },
		{ make_udp, PLAIN, -EINVAL, "is no stream socket" },
		{ make_bound, PLAIN, -EINVAL, "not listening" },
		{ make_connection, PLAIN, -EINVAL, "Accept=no" },
		{ make_unix, PLAIN, 0, NULL },
		{ make_unix, ALLOW_UIDS, 0, NULL },
		{ make_unix, ALLOW_GIDS, 0, NULL },
		{ make_unix, ACL, 0, "no effect" },
		{ make_abstract, PLAIN, 0, NULL },
		{ make_tcp4, PLAIN, 0, NULL },
		{ make_tcp4, ALLOW_UIDS, -EINVAL, "expected Unix sockets only" },
		{ make_tcp4, ALLOW_GIDS, -EINVAL, "expected Unix sockets only" },
		{ make_tcp4_for_all, PLAIN, 0, "other hosts may reach it" },
		{ make_tcp6, PLAIN, 0, NULL },
		{ make_tcp6, ALLOW_UIDS, -EINVAL, "expected Unix sockets only" },
		{ make_tcp6_for_all, PLAIN, 0, "other hosts may reach it" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct config_ids some = { ids, 1 }, none = { NULL, 0 };
		struct problems problems = PROBLEMS_NULL;
		int fd, r;

		if ((rows[i].make == make_tcp6 || rows[i].make == make_tcp6_for_all) && !has_ipv6())
			continue;
		clean();
		config.allow_uids = rows[i].restriction == ALLOW_UIDS ? some : none;
		config.allow_gids = rows[i].restriction == ALLOW_GIDS ? some : none;
		config.acl_users = rows[i].restriction == ACL ? some : none;
		fd = rows[i].make();
		r = listener_check(fd, &config, &problems);
		if (r != rows[i].r || problems.count != !!rows[i].text ||
		    problems.errors != (rows[i].r < 0))
			fail_msg("row %zu: %d, %zu complaints", i, r, problems.count);
		if (rows[i].text && (!strstr(problems.items[0].text, rows[i].text) ||
				     strncmp(problems.items[0].text, "espatd.conf:12: ", 16) != 0 ||
				     !strstr(problems.items[0].text, "broker")))
			fail_msg("row %zu: %s", i, problems.items[0].text);
		problems_clear(&problems);
		close(fd);
	}
}

static void test_take(void **state)
{
	static const struct {
		int (*make)(void);
		bool tcp;
		const char *start;
	} rows[] = {
		{ make_unix, false, "/" },
		{ make_abstract, false, "@espatd-test-" },
		{ make_tcp4, true, "127.0.0.1:" },
		{ make_tcp6, true, "[::1]:" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int fd;

		if (rows[i].make == make_tcp6 && !has_ipv6())
			continue;
		clean();
		fd = rows[i].make();
		assert_int_equal(listener_take(&l, fd), 0);
		assert_int_not_equal(l.fd, fd);
		assert_int_equal(fcntl(l.fd, F_GETFD), FD_CLOEXEC);
		assert_true(fcntl(l.fd, F_GETFL) & O_NONBLOCK);
		assert_int_equal(l.tcp, rows[i].tcp);
		assert_memory_equal(l.name, rows[i].start, strlen(rows[i].start));
		assert_int_equal(accept(l.fd, NULL, NULL), -1);
		assert_int_equal(errno, EAGAIN);
		listener_close(&l);
		assert_int_equal(fcntl(fd, F_GETFD), 0);
		close(fd);
	}
}

/* It is not ours: no mode, no ACL, and it stays when we go. */
static void test_taken_one_is_left_as_it_is(void **state)
{
	static unsigned int ids[] = { 1234 };
	int fd = make_unix();
	struct stat before, after;

	assert_int_equal(chmod(path_of("given"), 0604), 0);
	before = look(path_of("given"));
	config.acl_users = (struct config_ids){ ids, 1 };
	assert_int_equal(listener_take(&l, fd), 0);
	assert_string_equal(l.name, path_of("given"));
	listener_close(&l);
	after = look(path_of("given"));
	assert_int_equal(after.st_ino, before.st_ino);
	assert_int_equal(after.st_mode, before.st_mode);
	assert_int_equal(after.st_ctim.tv_nsec, before.st_ctim.tv_nsec);
	/* Whoever holds it can go on. */
	assert_int_equal(try_connect(path_of("given")), 0);
	close(fd);
}

static int option(int fd, int level, int which)
{
	socklen_t size = sizeof(int);
	int value;

	assert_int_equal(getsockopt(fd, level, which, &value, &size), 0);
	return value;
}

/* A TCP client that has closed is found out; of a Unix one the kernel tells it. */
static void test_prepare_client(void **state)
{
	int fd = make_tcp4(), client = socket(AF_INET, SOCK_STREAM, 0), s;
	struct sockaddr_in a;
	socklen_t size = sizeof(a);

	assert_int_equal(listener_take(&l, fd), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &size), 0);
	assert_int_equal(connect(client, (struct sockaddr *)&a, size), 0);
	s = accept(l.fd, NULL, NULL);
	assert_true(s >= 0);
	listener_prepare_client(&l, s);
	assert_true(option(s, SOL_SOCKET, SO_KEEPALIVE));
	assert_true(option(s, IPPROTO_TCP, TCP_NODELAY));
	assert_in_range(option(s, IPPROTO_TCP, TCP_KEEPIDLE) +
				option(s, IPPROTO_TCP, TCP_KEEPINTVL) *
					option(s, IPPROTO_TCP, TCP_KEEPCNT),
			5, 30);
	close(s);
	close(client);
	close(fd);
}

/* ---- who it is ---- */

static void test_who_is_allowed(void **state)
{
	static const struct {
		unsigned int uid, gid, group; /* of the peer */
		unsigned int uids[2], gids[2];
		size_t n_uids, n_gids;
		bool allowed;
	} rows[] = {
		{ 1000, 1000, 27, { 1000 }, { 0 }, 1, 0, true },
		{ 1000, 1000, 27, { 7, 1000 }, { 0 }, 2, 0, true },
		{ 1001, 1000, 27, { 1000 }, { 0 }, 1, 0, false },
		/* a group's number is no user's */
		{ 27, 5, 6, { 1 }, { 27 }, 1, 1, false },
		{ 5, 27, 27, { 27 }, { 0 }, 1, 0, false },
		{ 1000, 1000, 27, { 0 }, { 27 }, 0, 1, true },
		{ 1000, 27, 5, { 0 }, { 27 }, 0, 1, true },
		{ 1000, 1000, 28, { 0 }, { 27 }, 0, 1, false },
		{ 1000, 1000, 27, { 7 }, { 8, 27 }, 1, 2, true },
		/* root is a user as others */
		{ 0, 0, 0, { 1000 }, { 27 }, 1, 1, false },
		{ 0, 0, 0, { 0 }, { 27 }, 1, 1, true },
		/* whoever has no number here may be anybody */
		{ 65534, 27, 27, { 65534 }, { 27 }, 1, 1, false },
		{ 1000, 65534, 65534, { 7 }, { 65534 }, 1, 1, false },
		{ 1000, 65534, 27, { 7 }, { 27 }, 1, 1, true },
	};
	static const struct peer_overflow overflow = { 65534, 65534 };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct config_ids uids = { (unsigned int *)rows[i].uids, rows[i].n_uids };
		struct config_ids gids = { (unsigned int *)rows[i].gids, rows[i].n_gids };
		gid_t groups[] = { 3, rows[i].group };
		struct peer peer = { 1, rows[i].uid, rows[i].gid, groups, 2 };

		if (peer_is_allowed(&peer, &uids, &gids, &overflow) != rows[i].allowed)
			fail_msg("row %zu", i);
	}
}

static void test_overflow(void **state)
{
	struct peer_overflow overflow = { 0 };

	peer_read_overflow(&overflow);
	assert_int_equal(overflow.uid, 65534);
	assert_int_equal(overflow.gid, 65534);
}

/* Somebody else, with @n_groups groups from 70000 on, who ends when the peer was read. */
static void read_peer_of(struct peer *peer, uid_t uid, gid_t gid, size_t n_groups)
{
	int pair[2], done[2], fd, server = listening(path_of("peers"));
	gid_t groups[300];
	pid_t pid;
	char c;

	assert_int_equal(chmod(path_of("peers"), 0666), 0);
	assert_int_equal(pipe(done), 0);
	for (size_t i = 0; i < n_groups; i++)
		groups[i] = 70000 + (gid_t)i;
	pid = fork();
	if (pid == 0) {
		struct sockaddr_un addr = address(path_of("peers"));

		close(done[1]);
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (setgroups(n_groups, groups) < 0 || setresgid(gid, gid, gid) < 0 ||
		    setresuid(uid, uid, uid) < 0 ||
		    connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
			_exit(1);
		_exit(read(done[0], &c, 1) != 0);
	}
	close(done[0]);
	pair[0] = accept(server, NULL, NULL);
	assert_true(pair[0] >= 0);
	assert_int_equal(peer_read(peer, pair[0]), 0);
	assert_int_equal(peer->pid, pid);
	close(done[1]);
	assert_int_equal(waitpid(pid, &pair[1], 0), pid);
	assert_int_equal(pair[1], 0);
	close(pair[0]);
	close(server);
	assert_int_equal(unlink(path_of("peers")), 0);
}

static void test_peer(void **state)
{
	static const size_t sizes[] = { 0, 1, 300 };
	struct peer peer;

	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(dir, 0711), 0);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		read_peer_of(&peer, 60001, 60002, sizes[i]);
		assert_int_equal(peer.uid, 60001);
		assert_int_equal(peer.gid, 60002);
		assert_int_equal(peer.n_groups, sizes[i]);
		for (size_t k = 0; k < sizes[i]; k++)
			assert_int_equal(peer.groups[k], 70000 + k);
		peer_clear(&peer);
	}
}

static void test_peer_of_oneself(void **state)
{
	struct peer peer;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(peer_read(&peer, pair[0]), 0);
	assert_int_equal(peer.uid, geteuid());
	assert_int_equal(peer.gid, getegid());
	assert_int_equal(peer.n_groups, getgroups(0, NULL));
	peer_clear(&peer);
	close(pair[0]);
	close(pair[1]);
	assert_int_equal(peer_read(&peer, pair[0]), -EBADF);
	peer_clear(&peer);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_bind),
		T(test_ready_before_it_is_there),
		T(test_longest_path),
		T(test_folder_that_is_not_there),
		T(test_temporary_name_that_is_taken),
		T(test_stale_is_replaced),
		T(test_what_is_somebodys_is_left_alone),
		T(test_race_for_a_stale_one),
		T(test_stale_one_that_goes_away),
		T(test_what_goes_away),
		T(test_race_without_end),
		T(test_only_our_own_is_removed),
		T(test_acl),
		T(test_default_acl_of_the_folder),
		T(test_file_system_without_acls),
		T(test_group_of_the_folder),
		T(test_check),
		T(test_take),
		T(test_taken_one_is_left_as_it_is),
		T(test_prepare_client),
		T(test_who_is_allowed),
		T(test_overflow),
		T(test_peer),
		T(test_peer_of_oneself),
	};

	return cmocka_run_group_tests_name("listener", tests, make_temp_dir, remove_temp_dir);
}
