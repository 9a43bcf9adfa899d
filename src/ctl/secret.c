/* SPDX-License-Identifier: MIT */
#include "ctl/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "util/file.h"

void secret_clear(struct secret *s)
{
	if (s->data)
		explicit_bzero(s->data, SECRET_MAX + 1);
	free(s->data);
	*s = (struct secret){ 0 };
}

static enum ctl_exit make(struct secret *s)
{
	secret_clear(s);
	s->data = calloc(1, SECRET_MAX + 1);
	return s->data ? CTL_OK : ctl_oom();
}

enum ctl_exit secret_read(struct secret *s, const char *path)
{
	_cleanup_close_ int opened = -1;
	enum ctl_exit status = make(s);
	int fd = STDIN_FILENO, r;

	if (status != CTL_OK)
		return status;
	if (strcmp(path, "-") != 0) {
		fd = opened = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		if (fd < 0) {
			ctl_error("cannot open %s: %s", path, strerror(errno));
			return CTL_FAILED;
		}
	}
	r = file_read_fd(fd, s->data, SECRET_MAX, &s->len);
	if (r == 0)
		return CTL_OK;
	if (r == -E2BIG)
		ctl_error("%s has more than %d bytes", path, SECRET_MAX);
	else
		ctl_error("cannot read %s: %s", path, strerror(-r));
	secret_clear(s);
	return CTL_FAILED;
}

void secret_cut_line(struct secret *s)
{
	size_t len = 0;

	while (len < s->len && s->data[len] != '\n')
		len++;
	if (len > 0 && s->data[len - 1] == '\r')
		len--;
	explicit_bzero(s->data + len, s->len - len);
	s->len = len;
}

/* A line of the terminal; 0, or -errno, -EINTR: a signal waits. */
static int read_line(struct secret *s, int tty, int signals)
{
	struct pollfd fds[] = { { .fd = tty, .events = POLLIN },
				{ .fd = signals, .events = POLLIN } };
	ssize_t n;

	while (s->len == 0 || s->data[s->len - 1] != '\n') {
		if (poll(fds, 2, -1) < 0)
			return -errno;
		if (fds[1].revents)
			return -EINTR;
		n = read(tty, s->data + s->len, SECRET_MAX - s->len);
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		s->len += (size_t)n;
		if (s->len == SECRET_MAX)
			return -E2BIG;
	}
	s->data[s->len] = '\0';
	return 0;
}

/* With the echo off, whatever ends it; a signal takes its effect after the echo is back. */
static int prompt(struct secret *s, int tty, const char *text)
{
	_cleanup_close_ int signals = -1;
	struct termios quiet, old;
	sigset_t mask, before;
	int r;

	if (tcgetattr(tty, &old) < 0)
		return -errno;
	sigemptyset(&mask);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGHUP);
	sigaddset(&mask, SIGQUIT);
	sigaddset(&mask, SIGTSTP);
	signals = signalfd(-1, &mask, SFD_CLOEXEC);
	if (signals < 0)
		return -errno;
	sigprocmask(SIG_BLOCK, &mask, &before);
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	/* Before it asks: an answer that is quick must not be echoed, nor lost. */
	r = tcsetattr(tty, TCSAFLUSH, &quiet) < 0 || dprintf(tty, "%s", text) < 0 ? -errno : 0;
	if (r == 0)
		r = read_line(s, tty, signals);
	tcsetattr(tty, TCSAFLUSH, &old);
	(void)!write(tty, "\n", 1);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return r;
}

enum ctl_exit secret_prompt(struct secret *s, const char *text)
{
	_cleanup_close_ int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	enum ctl_exit status;
	int r;

	if (tty < 0)
		return ctl_usage("there is no terminal to ask for the password; give a file, or - "
				 "for standard input");
	status = make(s);
	if (status != CTL_OK)
		return status;
	r = prompt(s, tty, text);
	if (r == 0) {
		secret_cut_line(s);
		return CTL_OK;
	}
	ctl_error("no password was read: %s", strerror(-r));
	secret_clear(s);
	return CTL_FAILED;
}

enum ctl_exit secret_fd(const struct secret *s, int *ret)
{
	_cleanup_close_ int fd = memfd_create("espatctl", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t done = 0;
	ssize_t n = 0;

	while (fd >= 0 && done < s->len && (n = write(fd, s->data + done, s->len - done)) > 0)
		done += (size_t)n;
	if (fd < 0 || n < 0 || lseek(fd, 0, SEEK_SET) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0) {
		ctl_error("cannot make a memory file: %s", strerror(errno));
		return CTL_FAILED;
	}
	*ret = fd;
	fd = -1;
	return CTL_OK;
}
