/* SPDX-License-Identifier: MIT */
#include "ctl/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "util/cleanup.h"

/* Clients that may wait while one is served. */
#define BACKLOG 8

union address {
	struct sockaddr any;
	struct sockaddr_un un;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/* ---- where ---- */

static bool parse_port(const char *text, uint16_t *ret)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || port < 1 || port > 65535)
		return false;
	*ret = htons((uint16_t)port);
	return true;
}

/* Numbers are told to nobody but this host. */
static enum ctl_exit parse_tcp(const char *where, union address *address, socklen_t *len)
{
	const char *colon = strrchr(where, ':');
	char host[64] = "127.0.0.1";
	uint16_t port;

	if (!parse_port(colon ? colon + 1 : where, &port))
		return ctl_usage("--listen: expected a path, or [ADDRESS:]PORT, not %s", where);
	if (colon && (size_t)(colon - where) >= sizeof(host))
		return ctl_usage("--listen: expected a path, or [ADDRESS:]PORT, not %s", where);
	if (colon) {
		memcpy(host, where, (size_t)(colon - where));
		host[colon - where] = '\0';
	}
	*address = (union address){ .in = { .sin_family = AF_INET, .sin_port = port } };
	*len = sizeof(address->in);
	if (strcmp(host, "localhost") == 0)
		strcpy(host, "127.0.0.1");
	if (inet_pton(AF_INET, host, &address->in.sin_addr) == 1 &&
	    ntohl(address->in.sin_addr.s_addr) >> 24 == 127)
		return CTL_OK;
	if (strcmp(host, "[::1]") == 0) {
		*address = (union address){ .in6 = { .sin6_family = AF_INET6,
						     .sin6_port = port,
						     .sin6_addr = IN6ADDR_LOOPBACK_INIT } };
		*len = sizeof(address->in6);
		return CTL_OK;
	}
	return ctl_usage("--listen: %s is not this host's loopback (127.0.0.1 or [::1])", host);
}

/* A socket that a killed one has left; another file is not ours to remove. */
static bool is_left_over(const union address *address, socklen_t len)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;

	return fd >= 0 && lstat(address->un.sun_path, &st) == 0 && S_ISSOCK(st.st_mode) &&
	       connect(fd, &address->any, len) < 0 && errno == ECONNREFUSED;
}

static enum ctl_exit start(struct http_server *server, const char *where,
			   const union address *address, socklen_t len)
{
	int one = 1, r;

	server->fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (server->fd < 0) {
		ctl_error("cannot make a socket: %s", strerror(errno));
		return CTL_FAILED;
	}
	if (address->any.sa_family != AF_UNIX)
		setsockopt(server->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	r = bind(server->fd, &address->any, len);
	if (r < 0 && errno == EADDRINUSE && address->any.sa_family == AF_UNIX &&
	    is_left_over(address, len)) {
		unlink(address->un.sun_path);
		r = bind(server->fd, &address->any, len);
	}
	if (r == 0 && address->any.sa_family == AF_UNIX)
		server->path = strdup(address->un.sun_path);
	if (r == 0)
		r = listen(server->fd, BACKLOG);
	if (r == 0)
		return CTL_OK;
	ctl_error("cannot listen on %s: %s", where, strerror(errno));
	return CTL_FAILED;
}

enum ctl_exit http_listen(struct http_server *server, const char *where)
{
	union address address = { .un = { .sun_family = AF_UNIX } };
	socklen_t len = sizeof(address.un);
	enum ctl_exit status;

	*server = (struct http_server){ .fd = -1 };
	if (strchr(where, '/')) {
		if (strlen(where) >= sizeof(address.un.sun_path))
			return ctl_usage("--listen: the path is too long for a socket");
		strcpy(address.un.sun_path, where);
	} else {
		status = parse_tcp(where, &address, &len);
		if (status != CTL_OK)
			return status;
	}
	return start(server, where, &address, len);
}

void http_close(struct http_server *server)
{
	if (server->fd >= 0)
		close(server->fd);
	if (server->path)
		unlink(server->path);
	free(server->path);
	*server = (struct http_server){ .fd = -1 };
}

/* ---- one request ---- */

static const char *status_text(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 408:
		return "Request Timeout";
	case 431:
		return "Request Header Fields Too Large";
	}
	return "Service Unavailable";
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

static bool wait_for(int fd, short events, int64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = events };
	int64_t left = deadline - now_ms();

	return left > 0 && poll(&p, 1, (int)left) > 0;
}

/* Returns the status; 0: it has gone. */
static int receive(int fd, int64_t deadline)
{
	char buf[HTTP_REQUEST_MAX];
	size_t len = 0;
	int status = 0;
	ssize_t n;

	while (status == 0) {
		if (!wait_for(fd, POLLIN, deadline))
			return 408;
		n = recv(fd, buf + len, sizeof(buf) - len, 0);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return 0;
		if (n > 0)
			len += (size_t)n;
		status = http_status(buf, len);
	}
	return status;
}

static bool transmit(int fd, const char *data, size_t len, int64_t deadline)
{
	ssize_t n;

	while (len > 0) {
		n = send(fd, data, len, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		} else if (!wait_for(fd, POLLOUT, deadline)) {
			return false;
		}
	}
	return true;
}

static void answer(int fd, int status, const char *body, size_t len, int64_t deadline)
{
	char head[256], rest[1024];
	int n = snprintf(head, sizeof(head),
			 "HTTP/1.0 %d %s\r\n"
			 "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
			 "Content-Length: %zu\r\nConnection: close\r\n\r\n",
			 status, status_text(status), len);

	if (transmit(fd, head, (size_t)n, deadline))
		transmit(fd, body, len, deadline);
	shutdown(fd, SHUT_WR);
	/* What was sent on top is taken, or the answer would be lost by a reset. */
	while (wait_for(fd, POLLIN, deadline) && recv(fd, rest, sizeof(rest), 0) > 0)
		;
}

void http_serve(struct http_server *server, char *(*body)(void *userdata, size_t *len),
		void *userdata)
{
	_cleanup_close_ int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	_cleanup_free_ char *text = NULL;
	int64_t deadline = now_ms() + HTTP_TIMEOUT * 1000;
	size_t len = 0;
	int status;

	if (fd < 0)
		return;
	status = receive(fd, deadline);
	if (status == 0)
		return;
	if (status == 200) {
		text = body(userdata, &len);
		/* That may have taken its time; so may the answer. */
		deadline = now_ms() + HTTP_TIMEOUT * 1000;
		if (!text)
			status = 503;
	}
	answer(fd, status, text ? text : "", len, deadline);
}
