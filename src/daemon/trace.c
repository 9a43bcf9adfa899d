/* SPDX-License-Identifier: MIT */
/* Records what goes over the line of chips. */
#include "daemon/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "config/config.h"
#include "util/list.h"
#include "util/ring.h"

/* What a reader may be behind; a power of two. */
#define TRACE_BUFFER 65536
/* Of it, and of max_bytes, what is kept for the last lines: that some were dropped, and why it ended. */
#define TRACE_RESERVE 512
/* What a line holds between its quotes; the longest line of the chip fits if it is mostly text. */
#define TRACE_TEXT_MAX 1024
/* A line's time, direction and quotes. */
#define TRACE_FRAME 64
#define TRACE_LINE_MAX (TRACE_TEXT_MAX + 2 * TRACE_FRAME)
/* How long a line may wait in here for the next to be written with it. */
#define TRACE_TICK (100 * TIMERS_MS)
/* How long a block that does not go on is awaited, before what has come of it is a line. */
#define TRACE_PATIENCE (1 * TIMERS_S)
/* How long a slow reader is waited for when it has ended. */
#define TRACE_DRAIN (1 * TIMERS_S)

enum trace_state {
	TRACE_RUNS,
	TRACE_DRAINS, /* it has ended, and its reader does not have all yet */
	TRACE_ENDED,
};

struct trace {
	struct timers *timers; /* weak */
	int fd;
	bool socket;
	bool pipe;            /* or a terminal: one that could make us wait */
	bool set_nonblocking; /* by us */
	enum trace_state state;
	uint64_t began;
	uint64_t end_by; /* TRACE_DRAINS */
	uint64_t max_bytes;
	uint64_t bytes;
	uint32_t max_seconds;
	struct timer limit;
	struct timer tick;
	struct ring ring;
	uint64_t dropped;                 /* lines, not yet told */
	char device[CONFIG_NAME_MAX + 1]; /* the lines are of; "" for none so far */
	char why[128];
	void (*ended)(void *userdata, const char *why);
	void *userdata;
	/* the line that is being made */
	bool open;
	bool sent;
	char of[CONFIG_NAME_MAX + 1]; /* its device */
	uint64_t time;
	size_t hidden; /* bytes that come behind the text and are not shown */
	char text[TRACE_TEXT_MAX + 1];
	size_t len;
};

static void trace_end(struct trace *trace, const char *why);

/* ---- to the file ---- */

/*
 * Whoever shares the description, as another trace into the same pipe that ends, may have taken its
 * O_NONBLOCK off: it is looked at each time.
 */
static ssize_t trace_write_file(const struct trace *trace, const struct iovec *iov, int n)
{
	int flags = trace->pipe ? fcntl(trace->fd, F_GETFL) : O_NONBLOCK;

	if (flags < 0)
		return -1;
	if (!(flags & O_NONBLOCK) && fcntl(trace->fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -1;
	return writev(trace->fd, iov, n);
}

static ssize_t trace_write_some(struct trace *trace)
{
	struct msghdr msg = { 0 };
	struct iovec iov[2];
	int n = ring_peek(&trace->ring, iov);

	if (!trace->socket)
		return trace_write_file(trace, iov, n);
	msg.msg_iov = iov;
	msg.msg_iovlen = (size_t)n;
	return sendmsg(trace->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Nothing can be written any more, also not why. */
static void trace_fail(struct trace *trace, int error)
{
	ring_drop(&trace->ring, trace->ring.len);
	if (trace->state == TRACE_RUNS)
		snprintf(trace->why, sizeof(trace->why), "%s",
			 error == EPIPE ? "nobody reads it any more" : strerror(error));
	trace->state = TRACE_DRAINS;
	timer_cancel(&trace->limit);
	timer_arm(&trace->tick, 0);
}

static void trace_flush(struct trace *trace)
{
	while (trace->ring.len > 0) {
		ssize_t n = trace_write_some(trace);

		if (n > 0) {
			ring_drop(&trace->ring, (size_t)n);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			trace_fail(trace, errno);
		return;
	}
}

static bool trace_has_room(struct trace *trace, size_t len)
{
	if (trace->ring.len + len + TRACE_RESERVE > TRACE_BUFFER)
		trace_flush(trace);
	return trace->ring.len + len + TRACE_RESERVE <= TRACE_BUFFER;
}

static int trace_queue(struct trace *trace, const char *line)
{
	int r = ring_put(&trace->ring, line, strlen(line));

	if (r < 0)
		return r;
	trace->bytes += strlen(line);
	if (!timer_armed(&trace->tick))
		timer_arm(&trace->tick, TRACE_TICK);
	return 0;
}

/* ---- lines ---- */

/* Where the time of a line stands, and what it is of: "    0.000 # ..." */
static int line_begin(char *line, size_t size, const struct trace *trace, uint64_t time)
{
	uint64_t ms = (time - trace->began) / TIMERS_MS;

	return snprintf(line, size, "%5" PRIu64 ".%03" PRIu64 " ", ms / 1000, ms % 1000);
}

static void line_comment(char *line, size_t size, const struct trace *trace, uint64_t time,
			 const char *format, ...) __attribute__((format(printf, 5, 6)));
static void line_comment(char *line, size_t size, const struct trace *trace, uint64_t time,
			 const char *format, ...)
{
	int n = line_begin(line, size, trace, time);
	va_list ap;

	n += snprintf(line + n, size - (size_t)n, "# ");
	va_start(ap, format);
	vsnprintf(line + n, size - (size_t)n - 1, format, ap);
	va_end(ap);
	for (char *c = line; *c; c++)
		if (*c < 0x20 || *c > 0x7e)
			*c = '?';
	strcat(line, "\n");
}

/*
 * Writes @line of @device, with what must come in front of it: that others were dropped, and whose it
 * is. All or nothing, so that no line is ever taken for another chip's.
 */
static void trace_emit(struct trace *trace, const char *device, uint64_t time, const char *line)
{
	char dropped[TRACE_FRAME] = "", of[CONFIG_NAME_MAX + TRACE_FRAME] = "";
	char all[TRACE_LINE_MAX + sizeof(dropped) + sizeof(of)];

	if (trace->state != TRACE_RUNS)
		return;
	if (trace->dropped > 0)
		line_comment(dropped, sizeof(dropped), trace, time, "%" PRIu64 " lines dropped",
			     trace->dropped);
	if (strcmp(trace->device, device) != 0)
		line_comment(of, sizeof(of), trace, time, "device %s", device);
	snprintf(all, sizeof(all), "%s%s%s", dropped, of, line);
	if (trace->bytes + strlen(all) + TRACE_RESERVE > trace->max_bytes) {
		char why[64];

		snprintf(why, sizeof(why), "the limit of %" PRIu64 " bytes", trace->max_bytes);
		trace_end(trace, why);
		return;
	}
	if (!trace_has_room(trace, strlen(all)) || trace_queue(trace, all) < 0) {
		trace->dropped++;
		return;
	}
	trace->dropped = 0;
	snprintf(trace->device, sizeof(trace->device), "%s", device);
}

static void text_put(struct trace *trace, const char *text)
{
	trace->len += (size_t)snprintf(trace->text + trace->len, sizeof(trace->text) - trace->len,
				       "%s", text);
}

static void text_put_hidden(struct trace *trace)
{
	char text[TRACE_FRAME];

	if (trace->hidden == 0)
		return;
	snprintf(text, sizeof(text), "<%zu bytes>", trace->hidden);
	trace->hidden = 0;
	text_put(trace, text);
}

static void text_put_byte(struct trace *trace, uint8_t c)
{
	char text[8] = { (char)c, '\0' };

	if (c == '\r' || c == '\n' || c == '\t')
		snprintf(text, sizeof(text), "\\%c", c == '\r' ? 'r' : c == '\n' ? 'n' : 't');
	else if (c == '"' || c == '\\')
		snprintf(text, sizeof(text), "\\%c", c);
	else if (c < 0x20 || c > 0x7e || c == '<' || c == '{')
		snprintf(text, sizeof(text), "\\x%02x", c);
	text_put(trace, text);
}

/* The line that is being made is one. */
static void trace_close(struct trace *trace)
{
	char line[TRACE_LINE_MAX];
	int n;

	if (!trace->open)
		return;
	trace->open = false;
	text_put_hidden(trace);
	if (trace->len == 0)
		return;
	n = line_begin(line, sizeof(line), trace, trace->time);
	snprintf(line + n, sizeof(line) - (size_t)n, "%s \"%s\"\n", trace->sent ? "H>D" : "D>H",
		 trace->text);
	trace_emit(trace, trace->of, trace->time, line);
}

static void trace_open_line(struct trace *trace, const char *device, bool sent)
{
	if (trace->open && trace->sent == sent && strcmp(trace->of, device) == 0)
		return;
	trace_close(trace);
	trace->open = true;
	trace->sent = sent;
	trace->time = trace->timers->now;
	trace->len = 0;
	trace->text[0] = '\0';
	snprintf(trace->of, sizeof(trace->of), "%s", device);
}

void trace_piece(struct trace *trace, const char *device, const struct chan_piece *piece)
{
	const uint8_t *data = piece->data;

	if (trace->state != TRACE_RUNS)
		return;
	trace_open_line(trace, device, piece->sent);
	if (!data && !piece->secret) {
		trace->hidden += piece->len;
	} else {
		text_put_hidden(trace);
		if (piece->secret)
			text_put(trace, "<secret>");
		for (size_t i = 0; data && i < piece->len && trace->state == TRACE_RUNS; i++) {
			/* Another byte, and a count behind it. */
			if (trace->len + TRACE_FRAME > TRACE_TEXT_MAX)
				trace_close(trace);
			trace_open_line(trace, device, piece->sent);
			text_put_byte(trace, data[i]);
		}
	}
	if (piece->end || trace->len + TRACE_FRAME > TRACE_TEXT_MAX)
		trace_close(trace);
	if (trace->state == TRACE_RUNS && !timer_armed(&trace->tick))
		timer_arm(&trace->tick, TRACE_TICK);
}

void trace_note(struct trace *trace, const char *device, const char *text)
{
	char line[256];

	if (trace->state != TRACE_RUNS)
		return;
	trace_close(trace);
	line_comment(line, sizeof(line), trace, trace->timers->now, "%s", text);
	trace_emit(trace, device, trace->timers->now, line);
}

/* ---- the end ---- */

static void trace_end(struct trace *trace, const char *why)
{
	char line[TRACE_RESERVE / 2];

	if (trace->state != TRACE_RUNS)
		return;
	trace->open = false;
	trace->state = TRACE_DRAINS;
	trace->end_by = trace->timers->now + TRACE_DRAIN;
	snprintf(trace->why, sizeof(trace->why), "%s", why);
	timer_cancel(&trace->limit);
	if (trace->dropped > 0) {
		line_comment(line, sizeof(line), trace, trace->timers->now,
			     "%" PRIu64 " lines dropped", trace->dropped);
		trace_queue(trace, line);
	}
	line_comment(line, sizeof(line), trace, trace->timers->now, "end: %s", trace->why);
	trace_queue(trace, line);
	timer_arm(&trace->tick, 0);
}

static void trace_on_limit(struct timer *timer)
{
	struct trace *trace = container_of(timer, struct trace, limit);
	char why[64];

	trace_close(trace);
	snprintf(why, sizeof(why), "the limit of %" PRIu32 " s", trace->max_seconds);
	trace_end(trace, why);
}

static void trace_on_tick(struct timer *timer)
{
	struct trace *trace = container_of(timer, struct trace, tick);
	uint64_t now = trace->timers->now;

	if (trace->open && now - trace->time >= TRACE_PATIENCE)
		trace_close(trace);
	trace_flush(trace);
	if (trace->state == TRACE_RUNS) {
		if (trace->open || trace->ring.len > 0)
			timer_arm(&trace->tick, TRACE_TICK);
		return;
	}
	if (trace->state == TRACE_DRAINS && trace->ring.len > 0 && now < trace->end_by) {
		timer_arm(&trace->tick, TRACE_TICK);
		return;
	}
	if (trace->state == TRACE_ENDED)
		return;
	timer_cancel(&trace->tick);
	trace->state = TRACE_ENDED;
	if (trace->ended)
		trace->ended(trace->userdata, trace->why); /* may free it */
}

struct trace *trace_free(struct trace *trace, const char *why)
{
	int flags;

	if (!trace)
		return NULL;
	if (trace->state == TRACE_RUNS) {
		trace_close(trace);
		trace_end(trace, why);
	}
	if (trace->state != TRACE_ENDED)
		trace_flush(trace);
	flags = fcntl(trace->fd, F_GETFL);
	if (trace->set_nonblocking && flags >= 0)
		fcntl(trace->fd, F_SETFL, flags & ~O_NONBLOCK);
	close(trace->fd);
	timer_deinit(&trace->limit);
	timer_deinit(&trace->tick);
	ring_deinit(&trace->ring);
	free(trace);
	return NULL;
}

/* ---- the beginning ---- */

/* Looks at what it is given, and makes it fit. Returns 0 or -errno. */
static int trace_take_fd(struct trace *trace)
{
	int flags = fcntl(trace->fd, F_GETFL), type;
	socklen_t len = sizeof(type);
	struct stat st;

	if (flags < 0 || fstat(trace->fd, &st) < 0)
		return -errno;
	if ((flags & O_PATH) || (flags & O_ACCMODE) == O_RDONLY)
		return -EINVAL;
	if (S_ISREG(st.st_mode))
		return 0;
	if (S_ISSOCK(st.st_mode)) {
		trace->socket = true;
		if (getsockopt(trace->fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
			return -errno;
		return type == SOCK_STREAM ? 0 : -EINVAL;
	}
	if (!S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode))
		return -EINVAL;
	trace->pipe = true;
	if (flags & O_NONBLOCK)
		return 0;
	if (fcntl(trace->fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	trace->set_nonblocking = true;
	return 0;
}

static int trace_set_limits(struct trace *trace, uint64_t max_bytes, uint32_t max_seconds)
{
	trace->max_bytes = max_bytes > 0 ? max_bytes : TRACE_BYTES_DEFAULT;
	trace->max_seconds = max_seconds > 0 ? max_seconds : TRACE_SECONDS_DEFAULT;
	if (trace->max_bytes < TRACE_BYTES_MIN || trace->max_bytes > TRACE_BYTES_MAX)
		return -EINVAL;
	if (trace->max_seconds > TRACE_SECONDS_MAX && trace->max_seconds != TRACE_SECONDS_ENDLESS)
		return -EINVAL;
	return 0;
}

static int trace_begin(struct trace *trace, const char *title)
{
	char line[TRACE_RESERVE], clock[32] = "?";
	time_t now = time(NULL);
	struct tm tm;

	if (gmtime_r(&now, &tm))
		strftime(clock, sizeof(clock), "%Y-%m-%dT%H:%M:%SZ", &tm);
	line_comment(line, sizeof(line), trace, trace->began, "%.400s, begun at %s", title, clock);
	return trace_queue(trace, line);
}

int trace_new(struct trace **ret, struct timers *timers, int fd, const char *title,
	      uint64_t max_bytes, uint32_t max_seconds,
	      void (*ended)(void *userdata, const char *why), void *userdata)
{
	struct trace *trace = calloc(1, sizeof(*trace));
	int r;

	if (!trace) {
		close(fd);
		return -ENOMEM;
	}
	trace->timers = timers;
	trace->fd = fd;
	trace->began = timers->now;
	trace->state = TRACE_ENDED; /* nothing is written if it cannot begin */
	trace->ended = ended;
	trace->userdata = userdata;
	ring_init(&trace->ring, TRACE_BUFFER);
	r = timer_init(&trace->limit, timers, trace_on_limit);
	if (r == 0)
		r = timer_init(&trace->tick, timers, trace_on_tick);
	if (r == 0)
		r = trace_set_limits(trace, max_bytes, max_seconds);
	if (r == 0)
		r = trace_take_fd(trace);
	if (r == 0)
		r = trace_begin(trace, title);
	if (r < 0) {
		trace_free(trace, NULL);
		return r;
	}
	trace->state = TRACE_RUNS;
	if (trace->max_seconds != TRACE_SECONDS_ENDLESS)
		timer_arm(&trace->limit, trace->max_seconds * TIMERS_S);
	*ret = trace;
	return 0;
}

int trace_open_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : fd;
}
