/* SPDX-License-Identifier: MIT */
/*
 * A client of a tunnel: asks a web server for a page. It speaks plain HTTP to a Unix socket; the TLS,
 * and whether the server is the right one, is espatd's.
 *
 *	cc -o client client.c && ./client web www.example.com
 *
 * A tunnel of espatd.conf(5):
 *
 *	{ name = "web"; host = "www.example.com"; port = 443; authority = "roots"; }
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <espatd/espatd.h>

/* @tunnel: a name, or the path of a socket. Returns a socket, or -1 with errno. */
static int tunnel_connect(const char *tunnel)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *form = strchr(tunnel, '/') ? "%s"
					       : ESPATD_RUNTIME_DIR "/%s" ESPATD_SOCKET_SUFFIX;
	int fd, n;

	n = snprintf(addr.sun_path, sizeof(addr.sun_path), form, tunnel);
	if (n < 0 || (size_t)n >= sizeof(addr.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static int send_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

int main(int argc, char **argv)
{
	char buf[4096];
	size_t total = 0;
	ssize_t n;
	int fd;

	if (argc != 3) {
		fprintf(stderr, "Usage: %s TUNNEL HOST\n", argv[0]);
		return 2;
	}
	fd = tunnel_connect(argv[1]);
	if (fd < 0) {
		perror(argv[1]);
		return 1;
	}
	n = snprintf(buf, sizeof(buf), "GET / HTTP/1.0\r\nHost: %s\r\n\r\n", argv[2]);
	if (n < 0 || (size_t)n >= sizeof(buf) || send_all(fd, buf, (size_t)n) < 0) {
		perror("send");
		close(fd);
		return 1;
	}
	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0) {
		total += (size_t)n;
		fwrite(buf, 1, (size_t)n, stdout);
	}
	close(fd);
	/*
	 * A tunnel that cannot connect just closes: `espatctl status`, or the property LastError of the
	 * tunnel on D-Bus, says why.
	 */
	if (n < 0 || total == 0) {
		fprintf(stderr, "%s: no answer; see `espatctl tunnels`\n", argv[1]);
		return 1;
	}
	return 0;
}
