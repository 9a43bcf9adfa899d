/* SPDX-License-Identifier: MIT */
/*
 * trace: the service writes into a descriptor that it gets from here: of a new file, or of a pipe whose
 * other end is read here. It ends by the limits, by a signal, or when the service has closed it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/bus.h"
#include "ctl/wait.h"
#include "util/cleanup.h"

/* ms, after the service has said that it has stopped */
#define REST_TIMEOUT 2000
/* More than the last line of a trace takes, which says why it has ended. */
#define TAIL_MAX 256

struct trace {
	struct ctl *ctl;
	char *device;     /* path of the object */
	const char *file; /* NULL: standard output */
	int given;        /* for the service */
	int watched; /* the pipe's other end, or an inotify that tells when the file is closed */
	bool tty;
	char tail[TAIL_MAX]; /* the last bytes that came through the pipe */
	size_t tail_len;
};

/* Its own file: nobody else's is written to, and nobody else reads it. */
static enum ctl_exit open_file(struct trace *t)
{
	t->given = open(t->file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (t->given < 0) {
		ctl_error("cannot make %s: %s", t->file, strerror(errno));
		return CTL_FAILED;
	}
	t->watched = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (t->watched < 0 || inotify_add_watch(t->watched, t->file, IN_CLOSE_WRITE) < 0) {
		ctl_error("cannot watch %s: %s", t->file, strerror(errno));
		return CTL_FAILED;
	}
	return CTL_OK;
}

static enum ctl_exit open_pipe(struct trace *t)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0) {
		ctl_error("cannot make a pipe: %s", strerror(errno));
		return CTL_FAILED;
	}
	t->watched = fds[0];
	t->given = fds[1];
	fcntl(t->watched, F_SETFL, O_NONBLOCK);
	t->tty = isatty(STDOUT_FILENO);
	return CTL_OK;
}

static int append_limits(sd_bus_message *m, const struct trace *t)
{
	const struct ctl_options *opt = &t->ctl->opt;
	int r = sd_bus_message_append(m, "h", t->given);

	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "{sv}");
	if (r >= 0 && opt->bytes)
		r = sd_bus_message_append(m, "{sv}", "max_bytes", "t", opt->bytes);
	if (r >= 0 && opt->seconds)
		r = sd_bus_message_append(m, "{sv}", "max_seconds", "u", (uint32_t)opt->seconds);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static enum ctl_exit start(struct trace *t)
{
	const struct ctl_method method = { t->device, ESPAT_DEVICE, "StartTrace", true };
	_cleanup_message_ sd_bus_message *m = ctl_message(t->ctl, &method);
	enum ctl_exit status;
	int r;

	if (!m)
		return CTL_FAILED;
	r = append_limits(m, t);
	status = r < 0 ? ctl_result(r) : ctl_send(t->ctl, m, NULL);
	/* From here on the service alone has it, so that its end is seen. */
	close(t->given);
	t->given = -1;
	return status;
}

/* One that has ended by itself is no failure. */
static enum ctl_exit stop(struct trace *t)
{
	const struct ctl_method method = { t->device, ESPAT_DEVICE, "StopTrace", true };
	_cleanup_bus_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
	int r = ctl_try(t->ctl, &method, &error, NULL, NULL);

	if (r >= 0 || sd_bus_error_has_name(&error, "org.espat1.Error.NoTrace"))
		return CTL_OK;
	return ctl_call_failed(t->ctl, &error, r);
}

/* What a terminal would obey is not shown to it. */
static void clean_bytes(char *buf, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (((unsigned char)buf[i] < 0x20 && buf[i] != '\n') ||
		    (unsigned char)buf[i] >= 0x7f)
			buf[i] = '?';
}

/* Keeps the end of what was seen so far. */
static void remember(struct trace *t, const char *buf, size_t n)
{
	size_t kept = t->tail_len;

	if (n >= TAIL_MAX) {
		buf += n - TAIL_MAX;
		n = TAIL_MAX;
	}
	if (kept > TAIL_MAX - n)
		kept = TAIL_MAX - n;
	memmove(t->tail, t->tail + t->tail_len - kept, kept);
	memcpy(t->tail + kept, buf, n);
	t->tail_len = kept + n;
}

/* The service has written the file, and nobody here has seen it. */
static void remember_file(struct trace *t)
{
	_cleanup_close_ int fd = open(t->file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	n = pread(fd, t->tail, TAIL_MAX, st.st_size > TAIL_MAX ? st.st_size - TAIL_MAX : 0);
	t->tail_len = n > 0 ? (size_t)n : 0;
}

/* "   12.345 # end: WHY": a limit was asked for, all else comes as a surprise. */
static void tell_end(struct trace *t)
{
	char text[TAIL_MAX + 1], *line;

	if (t->file)
		remember_file(t);
	if (t->tail_len == 0 || t->tail[t->tail_len - 1] != '\n')
		return;
	memcpy(text, t->tail, t->tail_len);
	text[t->tail_len - 1] = '\0';
	line = strrchr(text, '\n');
	line = line ? line + 1 : text;
	line += strspn(line, " 0123456789.");
	if (strncmp(line, "# end: ", 7) == 0 && strncmp(line + 7, "the limit of ", 13) != 0)
		ctl_error("the trace has ended: %s", line + 7);
}

/* Returns 1 as long as there is more, 0 at the end, or -errno. */
static int copy_some(struct trace *t)
{
	char buf[4096];
	ssize_t n = read(t->watched, buf, sizeof(buf));

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 1 : -errno;
	if (t->file) /* an event: it was closed */
		return 0;
	if (n == 0)
		return 0;
	remember(t, buf, (size_t)n);
	if (t->tty)
		clean_bytes(buf, (size_t)n);
	if (fwrite(buf, 1, (size_t)n, stdout) != (size_t)n || fflush(stdout) != 0)
		return -errno;
	return 1;
}

/* What was written before the service has stopped; it does not wait for one that does not close. */
static void copy_rest(struct trace *t)
{
	struct pollfd fd = { .fd = t->watched, .events = POLLIN };

	while (!t->file && poll(&fd, 1, REST_TIMEOUT) > 0 && copy_some(t) > 0)
		;
}

static enum ctl_exit follow(struct trace *t, struct waiter *w)
{
	enum ctl_exit status;
	int r = 1;

	w->other = t->watched;
	while (r > 0) {
		switch (wait_next(w, t->ctl)) {
		case WAIT_BUS:
			break;
		case WAIT_OTHER:
			r = copy_some(t);
			break;
		case WAIT_TIME:
		case WAIT_SIGNAL:
			status = stop(t);
			copy_rest(t);
			return status;
		case WAIT_LOST:
			return ctl_closed(t->ctl);
		}
	}
	if (r == 0) {
		tell_end(t);
		return CTL_OK;
	}
	stop(t);
	ctl_error("cannot write the trace: %s", strerror(-r));
	return CTL_FAILED;
}

static enum ctl_exit run(struct trace *t)
{
	/* The service keeps the time itself; here it is only the longest that is waited for it. */
	unsigned int seconds = t->ctl->opt.seconds ? t->ctl->opt.seconds + 5 : 0;
	_cleanup_waiter_ struct waiter w = WAITER_NULL;
	/* While polkit asks for a password, a signal ends it as usual. */
	enum ctl_exit status = start(t);

	if (status == CTL_OK)
		status = wait_begin(&w, seconds);
	return status == CTL_OK ? follow(t, &w) : status;
}

/* Nothing was traced: no empty file stays behind. */
static void drop_empty(const char *file)
{
	struct stat st;

	if (lstat(file, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0)
		unlink(file);
}

/* [DEVICE] [FILE]: one alone is the device, whose name has no slash, unless it has one. */
static enum ctl_exit parse_arguments(struct trace *t)
{
	const struct ctl *ctl = t->ctl;
	const char *device = ctl->argc > 0 ? ctl->argv[0] : NULL;
	const char *file = ctl->argc > 1 ? ctl->argv[1] : NULL;

	if (ctl->argc > 2)
		return ctl_usage("too many arguments");
	if (ctl->argc == 1 && strchr(device, '/')) {
		file = device;
		device = NULL;
	}
	t->file = file && strcmp(file, "-") != 0 ? file : NULL;
	return ctl_device(t->ctl, device, &t->device);
}

enum ctl_exit cmd_trace(struct ctl *ctl)
{
	struct trace t = { .ctl = ctl, .given = -1, .watched = -1 };
	enum ctl_exit status = parse_arguments(&t);

	if (status == CTL_OK)
		status = t.file ? open_file(&t) : open_pipe(&t);
	if (status == CTL_OK) {
		status = run(&t);
		if (status != CTL_OK && t.file)
			drop_empty(t.file);
	}
	if (t.given >= 0)
		close(t.given);
	if (t.watched >= 0)
		close(t.watched);
	free(t.device);
	return status;
}
