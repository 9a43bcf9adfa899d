/* SPDX-License-Identifier: MIT */
/* Opening a line. */
#include <errno.h>
#include <fcntl.h>
#include <libserialport.h>
#include <linux/serial.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "port/internal.h"
#include "port/port.h"
#include "util/cleanup.h"

/* Unix98 pseudo-terminal slaves (Documentation/admin-guide/devices.txt of the kernel). */
#define PTS_MAJOR_FIRST 136
#define PTS_MAJOR_LAST 143

__attribute__((format(printf, 3, 4))) static void explain(char *why, size_t size,
							  const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(why, size, format, ap);
	va_end(ap);
}

/*
 * The file is there, as stat(2) has told. The device cgroup of a service's sandbox refuses access(2) and
 * open(2) of it with EPERM, where a file's mode gives EACCES.
 */
static void explain_open(char *why, size_t size, const char *path, int error)
{
	explain(why, size, "cannot open %s: %s%s", path, strerror(error),
		error == EPERM ? " (as a service it takes DeviceAllow= in a drop-in, see espatd(8))"
			       : "");
}

/* ---- a serial port ---- */

static int sp_errno(enum sp_return r)
{
	if (r == SP_ERR_MEM)
		return -ENOMEM;
	if (r == SP_ERR_FAIL && sp_last_error_code() > 0)
		return -sp_last_error_code();
	return r == SP_ERR_SUPP ? -ENOTSUP : -EIO;
}

/*
 * An adapter that gathers bytes (FTDI: for 16 ms) is to hand them out at once. Not all drivers have it, and
 * not all users may ask for it: it is faster, and works without.
 */
static void ask_for_low_latency(int fd)
{
	struct serial_struct serial;

	if (ioctl(fd, TIOCGSERIAL, &serial) < 0 || (serial.flags & ASYNC_LOW_LATENCY))
		return;
	serial.flags |= ASYNC_LOW_LATENCY;
	(void)ioctl(fd, TIOCSSERIAL, &serial);
}

/*
 * What whoever had the port before has left in the adapter goes out at the rate that the adapter has by then. So
 * one that he may have raised is left as it is, with the flow control that belongs to it, until whoever opens
 * it has seen to that.
 */
static bool is_raised(unsigned int found, unsigned int baud, unsigned int max_baud)
{
	return found > baud && found <= max_baud;
}

static void sp_keep(struct sp_port_config *config, struct port_line *line, unsigned int max_baud)
{
	struct sp_port_config *found;
	int baud;
	enum sp_cts cts;
	enum sp_rts rts;

	if (sp_new_config(&found) != SP_OK)
		return;
	if (sp_get_config(line->sp, found) == SP_OK &&
	    sp_get_config_baudrate(found, &baud) == SP_OK &&
	    is_raised((unsigned int)baud, line->baud, max_baud) &&
	    sp_get_config_cts(found, &cts) == SP_OK && sp_get_config_rts(found, &rts) == SP_OK) {
		line->baud = (unsigned int)baud;
		line->rtscts = cts == SP_CTS_FLOW_CONTROL && rts == SP_RTS_FLOW_CONTROL;
		sp_set_config_baudrate(config, baud);
		if (line->rtscts)
			sp_set_config_flowcontrol(config, SP_FLOWCONTROL_RTSCTS);
	}
	sp_free_config(found);
}

static int sp_setup(struct port_line *line, unsigned int max_baud)
{
	struct sp_port_config *config;
	enum sp_return r;

	r = sp_new_config(&config);
	if (r != SP_OK)
		return sp_errno(r);
	sp_set_config_baudrate(config, (int)line->baud);
	sp_set_config_bits(config, 8);
	sp_set_config_parity(config, SP_PARITY_NONE);
	sp_set_config_stopbits(config, 1);
	sp_set_config_flowcontrol(config, SP_FLOWCONTROL_NONE);
	/*
	 * On boards with the auto-reset circuit DTR and RTS drive GPIO0 and EN: both asserted, or
	 * both not, leaves the chip alone (esptool#1157). RTS asserted also lets a chip with CTS
	 * talk.
	 */
	sp_set_config_dtr(config, SP_DTR_ON);
	sp_set_config_rts(config, SP_RTS_ON);
	sp_keep(config, line, max_baud);
	r = sp_set_config(line->sp, config);
	sp_free_config(config);
	return r == SP_OK ? 0 : sp_errno(r);
}

/*
 * Closing must not drop DTR, which resets the chip, nor may others open the port meanwhile. A serial port
 * is @exclusive until its last user closes it; a pseudo-terminal until the program at its other end does,
 * and so nobody but root could open it a second time.
 */
static int tty_claim(int fd, bool exclusive)
{
	struct termios tio;

	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	if (exclusive && ioctl(fd, TIOCEXCL) < 0)
		return -errno;
	if (tcgetattr(fd, &tio) < 0)
		return -errno;
	tio.c_cflag &= ~(tcflag_t)HUPCL;
	/* With VMIN 0 a read that finds nothing would look like the end of the line. */
	tio.c_cc[VMIN] = 1;
	tio.c_cc[VTIME] = 0;
	return tcsetattr(fd, TCSANOW, &tio) < 0 ? -errno : 0;
}

static int open_serial(struct port_line *line, struct sp_port *sp, unsigned int baud,
		       unsigned int max_baud, char *why, size_t why_size)
{
	struct port_line opened = { .fd = -1, .sp = sp, .baud = baud };
	enum sp_return ret;
	int r;

	ret = sp_open(sp, SP_MODE_READ_WRITE);
	if (ret != SP_OK) {
		r = sp_errno(ret);
		explain_open(why, why_size, sp_get_port_name(sp), -r);
		sp_free_port(sp);
		return r;
	}
	r = sp_setup(&opened, max_baud);
	if (r == 0 && sp_get_port_handle(sp, &opened.fd) != SP_OK)
		r = -EIO;
	if (r == 0) {
		/* libserialport leaves the fd blocking. */
		if (fcntl(opened.fd, F_SETFL, O_NONBLOCK) < 0)
			r = -errno;
	}
	if (r == 0)
		r = tty_claim(opened.fd, true);
	if (r == 0)
		ask_for_low_latency(opened.fd);
	if (r < 0) {
		explain(why, why_size, "cannot set up %s at %u baud: %s", sp_get_port_name(sp),
			baud, strerror(-r));
		sp_close(sp);
		sp_free_port(sp);
		return r;
	}
	*line = opened;
	return 0;
}

static int open_serial_path(struct port_line *line, const char *path, unsigned int baud,
			    unsigned int max_baud, char *why, size_t why_size)
{
	_cleanup_free_ char *real = realpath(path, NULL);
	struct sp_port *sp;
	enum sp_return ret;

	/* libserialport (0.1.1) looks for the name in /sys/class/tty, where no link's name is. */
	ret = sp_get_port_by_name(real ? real : path, &sp);
	if (ret != SP_OK) {
		explain(why, why_size, "%s is not a serial port", path);
		return sp_errno(ret);
	}
	return open_serial(line, sp, baud, max_baud, why, why_size);
}

/* "VID:PID[:SERIAL]", numbers in hex */
static bool usb_matches(struct sp_port *sp, unsigned int vid, unsigned int pid, const char *serial)
{
	int v, p;
	const char *s;

	if (sp_get_port_transport(sp) != SP_TRANSPORT_USB ||
	    sp_get_port_usb_vid_pid(sp, &v, &p) != SP_OK || (unsigned int)v != vid ||
	    (unsigned int)p != pid)
		return false;
	if (!*serial)
		return true;
	s = sp_get_port_usb_serial(sp);
	return s && strcmp(s, serial) == 0;
}

/* "VID:PID[:SERIAL]" -> a port, or NULL with the reason in *why and -errno in *r. */
static struct sp_port *find_usb(const char *id, char *why, size_t why_size, int *r)
{
	unsigned int vid, pid;
	const char *serial = "";
	struct sp_port **list;
	struct sp_port *found = NULL;
	int n = 0;

	if (sscanf(id, "%4x:%4x%n", &vid, &pid, &n) != 2 || (id[n] && id[n] != ':')) {
		explain(why, why_size, "usb:%s is not usb:VID:PID[:SERIAL]", id);
		*r = -EINVAL;
		return NULL;
	}
	if (id[n] == ':')
		serial = id + n + 1;
	if (sp_list_ports(&list) != SP_OK) {
		explain(why, why_size, "cannot list the serial ports");
		*r = -EIO;
		return NULL;
	}
	for (size_t i = 0; list[i] && !found; i++)
		if (usb_matches(list[i], vid, pid, serial) &&
		    sp_copy_port(list[i], &found) != SP_OK)
			found = NULL;
	sp_free_port_list(list);
	if (!found)
		explain(why, why_size, "no USB serial port %s is plugged in", id);
	*r = found ? 0 : -ENOENT;
	return found;
}

static int open_usb(struct port_line *line, const char *id, unsigned int baud,
		    unsigned int max_baud, char *why, size_t why_size)
{
	int r;
	struct sp_port *found = find_usb(id, why, why_size, &r);

	return found ? open_serial(line, found, baud, max_baud, why, why_size) : r;
}

/* ---- a pseudo-terminal: libserialport refuses it, it has no modem lines ---- */

static const struct pty_rate {
	unsigned int baud;
	speed_t speed;
} pty_rates[] = {
	{ 9600, B9600 },       { 19200, B19200 },     { 38400, B38400 },     { 57600, B57600 },
	{ 115200, B115200 },   { 230400, B230400 },   { 460800, B460800 },   { 500000, B500000 },
	{ 576000, B576000 },   { 921600, B921600 },   { 1000000, B1000000 }, { 1152000, B1152000 },
	{ 1500000, B1500000 }, { 2000000, B2000000 }, { 2500000, B2500000 }, { 3000000, B3000000 },
	{ 3500000, B3500000 }, { 4000000, B4000000 },
};

static speed_t pty_speed(unsigned int baud)
{
	for (size_t i = 0; i < sizeof(pty_rates) / sizeof(*pty_rates); i++)
		if (pty_rates[i].baud == baud)
			return pty_rates[i].speed;
	return B0;
}

/* 0: none that could be set. */
static unsigned int pty_baud(speed_t speed)
{
	for (size_t i = 0; i < sizeof(pty_rates) / sizeof(*pty_rates); i++)
		if (pty_rates[i].speed == speed)
			return pty_rates[i].baud;
	return 0;
}

/* See is_raised(). */
static int pty_setup(struct port_line *line, unsigned int max_baud)
{
	struct termios tio;
	unsigned int found;

	if (tcgetattr(line->fd, &tio) < 0)
		return -errno;
	found = pty_baud(cfgetospeed(&tio));
	cfmakeraw(&tio);
	if (is_raised(found, line->baud, max_baud)) {
		line->baud = found;
		line->rtscts = tio.c_cflag & CRTSCTS;
	} else {
		tio.c_cflag &= ~(tcflag_t)CRTSCTS;
	}
	cfsetspeed(&tio, pty_speed(line->baud));
	return tcsetattr(line->fd, TCSANOW, &tio) < 0 ? -errno : tty_claim(line->fd, false);
}

static int open_pty(struct port_line *line, const char *path, unsigned int baud,
		    unsigned int max_baud, char *why, size_t why_size)
{
	struct port_line opened = { .baud = baud };
	_cleanup_close_ int fd = -1;
	int r;

	fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		r = -errno;
		explain_open(why, why_size, path, -r);
		return r;
	}
	if (pty_speed(baud) == B0) {
		explain(why, why_size, "%s is a pseudo-terminal, which has no rate of %u baud",
			path, baud);
		return -EINVAL;
	}
	opened.fd = fd;
	r = pty_setup(&opened, max_baud);
	if (r < 0) {
		explain(why, why_size, "cannot set up %s: %s", path,
			r == -EWOULDBLOCK ? "another program uses it" : strerror(-r));
		return r;
	}
	*line = opened;
	fd = -1;
	return 0;
}

/* ---- sockets ---- */

static int open_unix(struct port_line *line, const char *path, unsigned int baud, char *why,
		     size_t why_size)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;
	int r;

	if (strlen(path) >= sizeof(addr.sun_path)) {
		explain(why, why_size, "the path %s is too long for a Unix socket", path);
		return -ENAMETOOLONG;
	}
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		r = -errno;
		explain(why, why_size, "cannot connect to %s: %s", path, strerror(-r));
		return r;
	}
	*line = (struct port_line){ .fd = fd, .baud = baud };
	fd = -1;
	return 0;
}

/* A host that has vanished without a word is noticed by this, in seconds. */
static void watch_connection(int fd)
{
	static const struct {
		int level, option, value;
	} options[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },          { SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, 5 },         { IPPROTO_TCP, TCP_KEEPINTVL, 2 },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, 10000 }, /* ms */
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
		setsockopt(fd, options[i].level, options[i].option, &options[i].value,
			   sizeof(options[i].value));
}

/* "ADDRESS:PORT", an IPv6 address in brackets -> the list of one address, for freeaddrinfo(), or NULL. */
static struct addrinfo *parse_tcp(const char *spec)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
	struct addrinfo *list = NULL;
	_cleanup_free_ char *copy = strdup(spec);
	const char *host = copy;
	char *port = copy ? strrchr(copy, ':') : NULL;

	if (!port || port == host)
		return NULL;
	*port++ = '\0';
	if (*host == '[' && port[-2] == ']') {
		host++;
		port[-2] = '\0';
	}
	if (strcmp(host, "localhost") == 0)
		host = "127.0.0.1";
	return getaddrinfo(host, port, &hints, &list) == 0 ? list : NULL;
}

static void explain_tcp(char *why, size_t why_size, const char *spec, int r)
{
	explain(why, why_size, "cannot connect to %s: %s%s", spec, strerror(-r),
		r == -EAFNOSUPPORT ? " (the service's sandbox has no network: "
				     "espatd-tcp.conf, see espatd(8))"
				   : "");
}

/* Connects without waiting for the answer, for which there is port_line_dialled(). */
static int open_tcp(struct port_line *line, const char *spec, unsigned int baud, char *why,
		    size_t why_size)
{
	struct addrinfo *address = parse_tcp(spec);
	_cleanup_close_ int fd = -1;
	int r = 0;

	if (!address) {
		explain(why, why_size, "tcp:%s is not tcp:ADDRESS:PORT", spec);
		return -EINVAL;
	}
	fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 ||
	    (connect(fd, address->ai_addr, address->ai_addrlen) < 0 && errno != EINPROGRESS))
		r = -errno;
	freeaddrinfo(address);
	if (r < 0) {
		explain_tcp(why, why_size, spec, r);
		return r;
	}
	watch_connection(fd);
	*line = (struct port_line){ .fd = fd, .baud = baud, .dialing = true };
	fd = -1;
	return 0;
}

int port_line_dialled(struct port_line *line, const char *spec, char *why, size_t why_size)
{
	socklen_t size = sizeof(int);
	int error = 0;

	if (getsockopt(line->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		error = errno;
	if (error) {
		explain_tcp(why, why_size, spec + strlen("tcp:"), -error);
		return -error;
	}
	line->dialing = false;
	return 0;
}

static bool is_pty(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && major(st->st_rdev) >= PTS_MAJOR_FIRST &&
	       major(st->st_rdev) <= PTS_MAJOR_LAST;
}

/* By stat(2): access(2) fails on a device that a sandbox forbids, too. */
static int stat_line(const char *path, struct stat *st, char *why, size_t why_size)
{
	int r;

	if (stat(path, st) == 0)
		return 0;
	r = -errno;
	if (r == -ENOENT || r == -ENOTDIR) {
		explain(why, why_size, "there is no %s", path);
		return -ENOENT;
	}
	explain_open(why, why_size, path, -r);
	return r;
}

int port_line_open(struct port_line *line, const char *spec, unsigned int baud,
		   unsigned int max_baud, char *why, size_t why_size)
{
	struct stat st;
	int r;

	if (strncmp(spec, "unix:", 5) == 0)
		return open_unix(line, spec + 5, baud, why, why_size);
	if (strncmp(spec, "tcp:", 4) == 0)
		return open_tcp(line, spec + 4, baud, why, why_size);
	if (strncmp(spec, "usb:", 4) == 0)
		return open_usb(line, spec + 4, baud, max_baud, why, why_size);
	r = stat_line(spec, &st, why, why_size);
	if (r < 0)
		return r;
	if (is_pty(&st))
		return open_pty(line, spec, baud, max_baud, why, why_size);
	return open_serial_path(line, spec, baud, max_baud, why, why_size);
}

/* ---- in service ---- */

/* The rate that a driver has made of the one it was asked for; 0: it does not tell. */
static unsigned int sp_rate(struct sp_port *sp)
{
	struct sp_port_config *config;
	int baud = 0;

	if (sp_new_config(&config) != SP_OK)
		return 0;
	if (sp_get_config(sp, config) != SP_OK || sp_get_config_baudrate(config, &baud) != SP_OK)
		baud = 0;
	sp_free_config(config);
	return baud > 0 ? (unsigned int)baud : 0;
}

static int sp_set_line(struct sp_port *sp, unsigned int baud, bool rtscts)
{
	unsigned int real;

	sp_flush(sp, SP_BUF_OUTPUT);
	if (sp_set_baudrate(sp, (int)baud) != SP_OK)
		return -EINVAL;
	/* A driver gives the nearest rate that the adapter has. A UART puts up with about 3 %. */
	real = sp_rate(sp);
	if (real > 0 && (real > baud ? real - baud : baud - real) * 100ull > 3ull * baud)
		return -EINVAL;
	/* RTS stays on where it is not the driver's: see sp_setup(). */
	if (sp_set_rts(sp, rtscts ? SP_RTS_FLOW_CONTROL : SP_RTS_ON) != SP_OK ||
	    sp_set_cts(sp, rtscts ? SP_CTS_FLOW_CONTROL : SP_CTS_IGNORE) != SP_OK)
		return -EINVAL;
	return 0;
}

static int pty_set_line(int fd, unsigned int baud, bool rtscts)
{
	struct termios tio;

	if (pty_speed(baud) == B0)
		return -EINVAL;
	if (tcgetattr(fd, &tio) < 0)
		return -errno;
	cfsetspeed(&tio, pty_speed(baud));
	if (rtscts)
		tio.c_cflag |= CRTSCTS;
	else
		tio.c_cflag &= ~(tcflag_t)CRTSCTS;
	return tcsetattr(fd, TCSANOW, &tio) < 0 ? -errno : 0;
}

int port_line_set(struct port_line *line, unsigned int baud, bool rtscts)
{
	struct termios tio;
	int r;

	if (tcgetattr(line->fd, &tio) < 0)
		return -ENOTSUP; /* a socket */
	r = line->sp ? sp_set_line(line->sp, baud, rtscts) : pty_set_line(line->fd, baud, rtscts);
	if (r < 0) {
		if (line->sp)
			sp_set_line(line->sp, line->baud, line->rtscts);
		return r;
	}
	line->baud = baud;
	line->rtscts = rtscts;
	return 0;
}

int port_line_reset(const struct port_line *line, bool on)
{
	if (!line->sp)
		return -ENOTSUP;
	return sp_set_dtr(line->sp, on ? SP_DTR_OFF : SP_DTR_ON) == SP_OK ? 0 : -EIO;
}

int port_line_counts(const struct port_line *line, struct port_lost *counts)
{
	struct serial_icounter_struct kernel = { 0 };

	if (ioctl(line->fd, TIOCGICOUNT, &kernel) < 0)
		return -errno;
	*counts = (struct port_lost){
		.frame = (unsigned int)kernel.frame,
		.overrun = (unsigned int)kernel.overrun,
		.parity = (unsigned int)kernel.parity,
		.brk = (unsigned int)kernel.brk,
		.buf_overrun = (unsigned int)kernel.buf_overrun,
	};
	return 0;
}

size_t port_line_queued(const struct port_line *line)
{
	int n = 0;

	return ioctl(line->fd, TIOCOUTQ, &n) == 0 && n > 0 ? (size_t)n : 0;
}

/* Closing waits for what was written to leave, half a minute where a CTS that is off holds it back. */
static void release_flow(const struct port_line *line)
{
	struct termios tio;

	if (tcgetattr(line->fd, &tio) == 0 && (tio.c_cflag & CRTSCTS)) {
		tio.c_cflag &= ~(tcflag_t)CRTSCTS;
		(void)tcsetattr(line->fd, TCSANOW, &tio);
	}
}

void port_line_close(struct port_line *line)
{
	if (line->sp) {
		release_flow(line);
		sp_close(line->sp);
		sp_free_port(line->sp);
	} else if (line->fd >= 0) {
		close(line->fd);
	}
	*line = (struct port_line){ .fd = -1 };
}

char *port_line_path(const char *spec)
{
	struct sp_port *found;
	char why[256];
	char *path = NULL;
	int r;

	if (spec[0] == '/')
		return strdup(spec);
	if (strncmp(spec, "usb:", 4) != 0)
		return NULL;
	found = find_usb(spec + 4, why, sizeof(why), &r);
	if (!found)
		return NULL;
	if (sp_get_port_name(found))
		path = strdup(sp_get_port_name(found));
	sp_free_port(found);
	return path;
}
