/* SPDX-License-Identifier: MIT */
/* A listening socket. */
#include "tunnel/listener.h"

#include <acl/libacl.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/acl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "espatd/espatd.h"
#include "util/cleanup.h"

#define LISTENER_BACKLOG 128
/*
 * Names that are tried until one is free: each was left by a process that was killed in
 * listener_bind().
 */
#define LISTENER_TEMPORARIES 0x1000
/* How often another process may change what stands at our path while we look at it. */
#define LISTENER_TRIES 5
/*
 * A TCP client that has closed looks like one that has only shut down its sending side, and may go
 * on receiving. His host answers for the second one as long as he is there, for the first only for
 * a minute (tcp(7), tcp_fin_timeout); a host that is gone does not answer at all.
 */
#define LISTENER_TCP_IDLE 10    /* s */
#define LISTENER_TCP_INTERVAL 5 /* s */
#define LISTENER_TCP_PROBES 3

/* "/proc/self/fd/N": that very file, whatever stands at its path meanwhile. */
struct fd_path {
	char text[32];
};

static struct fd_path path_of_fd(int fd)
{
	struct fd_path path = { "" };

	snprintf(path.text, sizeof(path.text), "/proc/self/fd/%d", fd);
	return path;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

void listener_init(struct listener *l, struct tunnel *tunnel)
{
	*l = (struct listener){ .tunnel = tunnel, .fd = -1 };
}

/* ---- who may connect ---- */

/* Connecting is writing; the other bits mean nothing for a socket, and look as usual. */
static int acl_add(acl_t *acl, acl_tag_t tag, unsigned int id)
{
	acl_permset_t perms;
	acl_entry_t entry;

	if (acl_create_entry(acl, &entry) < 0 || acl_set_tag_type(entry, tag) < 0 ||
	    acl_set_qualifier(entry, &id) < 0 || acl_get_permset(entry, &perms) < 0 ||
	    acl_add_perm(perms, ACL_READ) < 0 || acl_add_perm(perms, ACL_WRITE) < 0)
		return -errno;
	return 0;
}

static int acl_add_all(acl_t *acl, acl_tag_t tag, const struct config_ids *ids)
{
	int r = 0;

	for (size_t i = 0; i < ids->n && r == 0; i++) {
		size_t k = 0;

		/* An ACL with one twice is none. */
		while (ids->items[k] != ids->items[i])
			k++;
		if (k == i)
			r = acl_add(acl, tag, ids->items[i]);
	}
	return r;
}

static int acl_of_config(acl_t *ret, const struct config_tunnel *config)
{
	acl_t acl = acl_from_mode(config->mode);
	int r;

	if (!acl)
		return -errno;
	r = acl_add_all(&acl, ACL_USER, &config->acl_users);
	if (r == 0)
		r = acl_add_all(&acl, ACL_GROUP, &config->acl_groups);
	if (r == 0 && config->acl_users.n + config->acl_groups.n > 0 && acl_calc_mask(&acl) < 0)
		r = -errno;
	*ret = acl;
	return r;
}

/*
 * Exactly what the configuration says: without entries of its own it also takes away those that a
 * default ACL of the folder has made.
 */
static int set_access(int path_fd, const struct config_tunnel *config, char why[LISTENER_WHY_MAX])
{
	bool named = config->acl_users.n + config->acl_groups.n > 0;
	struct fd_path path = path_of_fd(path_fd);
	acl_t acl = NULL;
	int r;

	if (chmod(path.text, config->mode) < 0) {
		r = -errno;
		snprintf(why, LISTENER_WHY_MAX, "cannot set its mode: %s", strerror(-r));
		return r;
	}
	r = acl_of_config(&acl, config);
	if (r == 0 && acl_set_file(path.text, ACL_TYPE_ACCESS, acl) < 0)
		r = -errno;
	acl_free(acl);
	if (r == -EOPNOTSUPP && !named)
		return 0;
	if (r == -EOPNOTSUPP)
		snprintf(why, LISTENER_WHY_MAX,
			 "its file system has no ACLs, which acl_users and acl_groups need");
	else if (r < 0)
		snprintf(why, LISTENER_WHY_MAX, "cannot set its ACL: %s", strerror(-r));
	return r;
}

/* ---- our own ---- */

/*
 * A socket that nobody serves any more, opened to hold on to it. Returns the descriptor, -ENOENT if
 * there is nothing, or -errno as listener_bind(). Who has bound and does not listen yet is taken
 * for gone: that cannot be told apart. Links are not followed.
 */
static int open_stale(int dir, const char *name)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int probe = -1, found = -1;
	struct stat st;
	int fd;

	found = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (found < 0 || fstat(found, &st) < 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe < 0)
		return -errno;
	strcpy(addr.sun_path, path_of_fd(found).text);
	/* EAGAIN: its backlog is full; EPROTOTYPE: it is no stream socket. */
	if (connect(probe, (struct sockaddr *)&addr, sizeof(addr)) == 0 || errno == EAGAIN ||
	    errno == EPROTOTYPE)
		return -EADDRINUSE;
	if (errno != ECONNREFUSED)
		return errno == ENOENT ? -EIO : -errno;
	fd = found;
	found = -1;
	return fd;
}

static bool is_there(int dir, const char *name, const struct stat *file)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_same_file(&st, file);
}

/*
 * From @temp to @name. Neither step can take away what is somebody's: the first one replaces
 * nothing, and the second one leaves what was there under @temp, so that it can still be looked at
 * and put back. Returns 0, -errno, or 1: somebody else was at it, too.
 */
static int try_in_place(int dir, const char *temp, const char *name)
{
	_cleanup_close_ int stale = -1;
	struct stat st;

	if (renameat2(dir, temp, dir, name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	stale = open_stale(dir, name);
	if (stale == -ENOENT)
		return 1;
	if (stale < 0)
		return stale;
	if (fstat(stale, &st) < 0)
		return -errno;
	if (renameat2(dir, temp, dir, name, RENAME_EXCHANGE) < 0)
		return errno == ENOENT ? 1 : -errno;
	if (is_there(dir, temp, &st))
		return unlinkat(dir, temp, 0) < 0 ? -errno : 0;
	/* Somebody has put something else there in between. */
	return renameat2(dir, temp, dir, name, RENAME_EXCHANGE) < 0 ? -errno : 1;
}

static int put_in_place(int dir, const char *temp, const char *name)
{
	int r = 1;

	for (int i = 0; i < LISTENER_TRIES && r > 0; i++)
		r = try_in_place(dir, temp, name);
	return r > 0 ? -EEXIST : r;
}

/* Binds under a name of our own that is no longer than the final one, which fits (config.h). */
static int bind_temporary(int fd, const char *dir, const char *name, char temp[NAME_MAX + 1])
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	for (unsigned int i = 0; i < LISTENER_TEMPORARIES; i++) {
		int n;

		snprintf(temp, NAME_MAX + 1, ".%s.%03x", name, i);
		n = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", dir, temp);
		if (n < 0 || (size_t)n >= sizeof(addr.sun_path))
			return -ENAMETOOLONG;
		if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
			return 0;
		if (errno != EADDRINUSE)
			return -errno;
	}
	return -EADDRINUSE;
}

/* @fd is bound to @temp: access, and listening, before anybody finds it. */
static int make_ready(struct listener *l, int fd, int dir, const char *temp,
		      const struct config_tunnel *config, char why[LISTENER_WHY_MAX])
{
	_cleanup_close_ int path_fd = -1;
	struct stat st;
	int r;

	/* First of all what can be removed by it. */
	if (fstatat(dir, temp, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode) || st.st_uid != geteuid())
		return -EEXIST;
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	path_fd = openat(dir, temp, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (path_fd < 0 || fstat(path_fd, &st) < 0)
		return -errno;
	if (st.st_dev != l->dev || st.st_ino != l->ino)
		return -EEXIST;
	r = set_access(path_fd, config, why);
	if (r < 0)
		return r;
	return listen(fd, LISTENER_BACKLOG) < 0 ? -errno : 0;
}

static void remove_own(const struct listener *l, int dir, const char *name)
{
	struct stat own = { .st_dev = l->dev, .st_ino = l->ino };

	if (is_there(dir, name, &own))
		unlinkat(dir, name, 0);
}

static int bind_in(struct listener *l, int fd, int dir, const char *dir_path,
		   const struct config_tunnel *config, char why[LISTENER_WHY_MAX])
{
	const char *final = l->name + strlen(dir_path) + 1;
	char temp[NAME_MAX + 1];
	int r;

	r = bind_temporary(fd, dir_path, config->name, temp);
	if (r < 0)
		return r;
	r = make_ready(l, fd, dir, temp, config, why);
	if (r == 0)
		r = put_in_place(dir, temp, final);
	/* Never what is somebody's, even if it bears our name. */
	if (r < 0)
		remove_own(l, dir, temp);
	return r;
}

/*
 * Whoever may write the folder can put other files there at any time and take ours away: it is to
 * be writable for the daemon alone. A folder that is a link is followed, as the administrator's own
 * choice. What the kernel tells of the socket's address, as in ss(8), stays the name that it was
 * bound by.
 */
int listener_bind(struct listener *l, const char *dir, const struct config_tunnel *config,
		  char why[LISTENER_WHY_MAX])
{
	_cleanup_close_ int fd = -1, dir_fd = -1;
	int r;

	why[0] = '\0';
	snprintf(l->name, sizeof(l->name), "%s/%s" ESPATD_SOCKET_SUFFIX, dir, config->name);
	dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r = dir_fd < 0 || fd < 0 ? -errno : bind_in(l, fd, dir_fd, dir, config, why);
	if (r < 0) {
		if (!why[0])
			snprintf(why, LISTENER_WHY_MAX, "%s",
				 r == -EADDRINUSE ? "another program serves it"
				 : r == -EEXIST   ? "there is something that is not a socket"
						  : strerror(-r));
		return r;
	}
	l->fd = fd;
	fd = -1;
	return 0;
}

bool listener_is_there(const struct listener *l)
{
	struct stat own = { .st_dev = l->dev, .st_ino = l->ino };

	/* While it is open its number is no other file's. */
	return l->given || is_there(AT_FDCWD, l->name, &own);
}

void listener_close(struct listener *l)
{
	if (l->fd < 0)
		return;
	if (!l->given)
		remove_own(l, AT_FDCWD, l->name);
	close(l->fd);
	l->fd = -1;
}

/* ---- one that was given ---- */

union address {
	struct sockaddr any;
	struct sockaddr_un un;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static void describe(const union address *a, socklen_t size, char name[LISTENER_NAME_MAX])
{
	char ip[INET6_ADDRSTRLEN] = "?";
	size_t path = size > offsetof(struct sockaddr_un, sun_path)
			      ? size - offsetof(struct sockaddr_un, sun_path)
			      : 0;

	if (a->any.sa_family == AF_INET) {
		inet_ntop(AF_INET, &a->in.sin_addr, ip, sizeof(ip));
		snprintf(name, LISTENER_NAME_MAX, "%s:%u", ip, ntohs(a->in.sin_port));
	} else if (a->any.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &a->in6.sin6_addr, ip, sizeof(ip));
		snprintf(name, LISTENER_NAME_MAX, "[%s]:%u", ip, ntohs(a->in6.sin6_port));
	} else if (path > 0 && a->un.sun_path[0] == '\0') {
		snprintf(name, LISTENER_NAME_MAX, "@%.*s", (int)path - 1, a->un.sun_path + 1);
	} else if (path > 0) {
		snprintf(name, LISTENER_NAME_MAX, "%.*s", (int)path, a->un.sun_path);
	} else {
		snprintf(name, LISTENER_NAME_MAX, "a socket without a name");
	}
}

static bool is_loopback(const union address *a)
{
	if (a->any.sa_family == AF_INET)
		return ntohl(a->in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	if (IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
		return a->in6.sin6_addr.s6_addr[12] == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
}

static int option_of(int fd, int name)
{
	socklen_t size = sizeof(int);
	int value;

	return getsockopt(fd, SOL_SOCKET, name, &value, &size) < 0 ? -errno : value;
}

/* What is wrong with it, or NULL. */
static const char *find_fault(int fd)
{
	int type = option_of(fd, SO_TYPE), domain = option_of(fd, SO_DOMAIN);

	if (type == -EBADF)
		return "is not open";
	if (type < 0)
		return "is no socket";
	if (type != SOCK_STREAM)
		return "is no stream socket (ListenStream=)";
	if (domain != AF_UNIX && domain != AF_INET && domain != AF_INET6)
		return "is neither a Unix nor a TCP socket";
	if (option_of(fd, SO_ACCEPTCONN) != 1)
		return "is a connection, not listening for such (Accept=no)";
	return NULL;
}

static int check_tcp(const union address *a, const char *name, const struct config_tunnel *config,
		     struct problems *problems)
{
	const struct config_where *w = &config->where;
	int r = 0;

	if (config->allow_uids.n + config->allow_gids.n > 0) {
		r = problems_add(
			problems, PROBLEM_ERROR, w->file, w->line,
			"tunnel %s has `allow_uids` or `allow_gids`, and gets clients from "
			"%s: TCP does not tell who they are, expected Unix sockets only",
			config->name, name);
		return r < 0 ? r : -EINVAL;
	}
	if (!is_loopback(a))
		r = problems_add(problems, PROBLEM_WARNING, w->file, w->line,
				 "tunnel %s gets clients from %s, where other hosts may reach it: "
				 "what they send is not encrypted, expected an address of the "
				 "loopback",
				 config->name, name);
	return r;
}

static int check_unix(const char *name, const struct config_tunnel *config,
		      struct problems *problems)
{
	if (config->acl_users.n + config->acl_groups.n == 0)
		return 0;
	return problems_add(problems, PROBLEM_WARNING, config->where.file, config->where.line,
			    "`acl_users` and `acl_groups` of tunnel %s have no effect on %s, which "
			    "is its socket unit's",
			    config->name, name);
}

int listener_check(int fd, const struct config_tunnel *config, struct problems *problems)
{
	const char *fault = find_fault(fd);
	char name[LISTENER_NAME_MAX];
	union address a = { 0 };
	socklen_t size = sizeof(a);
	int r;

	if (fault || getsockname(fd, &a.any, &size) < 0) {
		r = problems_add(problems, PROBLEM_ERROR, config->where.file, config->where.line,
				 "what tunnel %s was given as descriptor %d %s, expected a "
				 "listening socket",
				 config->name, fd, fault ? fault : strerror(errno));
		return r < 0 ? r : -EINVAL;
	}
	describe(&a, size, name);
	if (a.any.sa_family == AF_UNIX)
		return check_unix(name, config, problems);
	return check_tcp(&a, name, config, problems);
}

int listener_take(struct listener *l, int fd)
{
	union address a = { 0 };
	socklen_t size = sizeof(a);
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    getsockname(fd, &a.any, &size) < 0)
		return -errno;
	l->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (l->fd < 0)
		return -errno;
	l->given = true;
	l->tcp = a.any.sa_family != AF_UNIX;
	describe(&a, size, l->name);
	return 0;
}

void listener_prepare_client(const struct listener *l, int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, LISTENER_TCP_IDLE },
		{ IPPROTO_TCP, TCP_KEEPINTVL, LISTENER_TCP_INTERVAL },
		{ IPPROTO_TCP, TCP_KEEPCNT, LISTENER_TCP_PROBES },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
	};

	if (!l->tcp)
		return;
	/* They fail for no socket that was just accepted; without them it works, only less well. */
	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
		setsockopt(fd, options[i].level, options[i].name, &options[i].value,
			   sizeof(options[i].value));
}
