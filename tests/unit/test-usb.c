/* SPDX-License-Identifier: MIT */
/*
 * port: a serial port of libserialport's, which is played here: two USB adapters and one without a USB
 * number. Behind each is a pseudo-terminal, so that reading and writing are real.
 */
#include "test.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <libserialport.h>
#include <linux/serial.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "port/internal.h"
#include "port/port.h"

#define BAUD 115200

/* struct sp_port is known to libserialport alone. */
struct adapter {
	const char *name, *serial; /* NULL: it has none */
	int vid, pid;              /* 0: it is no USB port */
};

static struct adapter adapters[] = {
	{ "/dev/ttyS0", NULL, 0, 0 },
	{ "/dev/ttyUSB0", NULL, 0x0403, 0x6001 },
	{ "/dev/ttyUSB1", "A10K", 0x0403, 0x6001 },
};

/* What the driver does, and what it was told. */
static struct {
	bool listless, deaf, handless, mute, rateless, flowless, counts;
	int real; /* the rate that it makes of any; 0: that one */
	int baud, dtr, rts, cts;
	bool open, low_latency, can_low_latency;
	unsigned int ports; /* copies that nobody has given back */
	struct serial_icounter_struct counted;
} driver;

static int master = -1;

static struct adapter *adapter_of(const struct sp_port *port)
{
	return (struct adapter *)(uintptr_t)port;
}

/* Declared as in libserialport.h. */
#define WRAP(name) __typeof__(name) __wrap_##name
WRAP(sp_list_ports);
WRAP(sp_free_port_list);
WRAP(sp_copy_port);
WRAP(sp_free_port);
WRAP(sp_get_port_transport);
WRAP(sp_get_port_usb_vid_pid);
WRAP(sp_get_port_usb_serial);
WRAP(sp_get_port_name);
WRAP(sp_open);
WRAP(sp_close);
WRAP(sp_get_port_handle);
WRAP(sp_set_config);
WRAP(sp_get_config);
WRAP(sp_set_baudrate);
WRAP(sp_set_rts);
WRAP(sp_set_dtr);
WRAP(sp_set_cts);
WRAP(sp_flush);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __real_ioctl(int fd, unsigned long request, ...);

enum sp_return __wrap_sp_list_ports(struct sp_port ***list)
{
	static struct sp_port *all[ARRAY_SIZE(adapters) + 1];

	for (size_t i = 0; i < ARRAY_SIZE(adapters); i++)
		all[i] = (struct sp_port *)&adapters[i];
	*list = all;
	return driver.listless ? SP_ERR_FAIL : SP_OK;
}

void __wrap_sp_free_port_list(struct sp_port **list)
{
}

enum sp_return __wrap_sp_copy_port(const struct sp_port *port, struct sp_port **copy)
{
	driver.ports++;
	*copy = (struct sp_port *)(uintptr_t)port;
	return SP_OK;
}

void __wrap_sp_free_port(struct sp_port *port)
{
	assert_true(driver.ports > 0);
	driver.ports--;
}

enum sp_transport __wrap_sp_get_port_transport(const struct sp_port *port)
{
	return adapter_of(port)->vid ? SP_TRANSPORT_USB : SP_TRANSPORT_NATIVE;
}

enum sp_return __wrap_sp_get_port_usb_vid_pid(const struct sp_port *port, int *vid, int *pid)
{
	*vid = adapter_of(port)->vid;
	*pid = adapter_of(port)->pid;
	return SP_OK;
}

char *__wrap_sp_get_port_usb_serial(const struct sp_port *port)
{
	return (char *)(uintptr_t)adapter_of(port)->serial;
}

char *__wrap_sp_get_port_name(const struct sp_port *port)
{
	return (char *)(uintptr_t)adapter_of(port)->name;
}

enum sp_return __wrap_sp_open(struct sp_port *port, enum sp_mode flags)
{
	assert_int_equal(flags, SP_MODE_READ_WRITE);
	assert_false(driver.open);
	driver.open = !driver.deaf;
	return driver.deaf ? SP_ERR_SUPP : SP_OK;
}

enum sp_return __wrap_sp_close(struct sp_port *port)
{
	assert_true(driver.open);
	driver.open = false;
	return SP_OK;
}

enum sp_return __wrap_sp_get_port_handle(const struct sp_port *port, void *ret)
{
	char path[64];

	if (driver.handless)
		return SP_ERR_FAIL;
	assert_int_equal(ptsname_r(master, path, sizeof(path)), 0);
	*(int *)ret = open(path, O_RDWR | O_NOCTTY);
	assert_true(*(int *)ret >= 0);
	return SP_OK;
}

enum sp_return __wrap_sp_set_config(struct sp_port *port, const struct sp_port_config *config)
{
	enum sp_dtr dtr;
	enum sp_rts rts;
	enum sp_cts cts;
	int bits;

	if (driver.mute)
		return SP_ERR_MEM;
	sp_get_config_baudrate(config, &driver.baud);
	sp_get_config_bits(config, &bits);
	sp_get_config_dtr(config, &dtr);
	sp_get_config_rts(config, &rts);
	sp_get_config_cts(config, &cts);
	assert_int_equal(bits, 8);
	/* Else a board's auto-reset circuit resets the chip. */
	assert_int_equal(dtr, SP_DTR_ON);
	driver.rts = rts;
	driver.cts = cts;
	return SP_OK;
}

enum sp_return __wrap_sp_get_config(struct sp_port *port, struct sp_port_config *config)
{
	if (driver.rateless)
		return SP_ERR_FAIL;
	sp_set_config_rts(config, driver.rts);
	sp_set_config_cts(config, driver.cts);
	return sp_set_config_baudrate(config, driver.real ? driver.real : driver.baud);
}

enum sp_return __wrap_sp_set_baudrate(struct sp_port *port, int baud)
{
	if (baud > 3000000)
		return SP_ERR_ARG;
	driver.baud = baud;
	return SP_OK;
}

enum sp_return __wrap_sp_set_rts(struct sp_port *port, enum sp_rts rts)
{
	if (driver.flowless && rts == SP_RTS_FLOW_CONTROL)
		return SP_ERR_SUPP;
	driver.rts = rts;
	return SP_OK;
}

enum sp_return __wrap_sp_set_dtr(struct sp_port *port, enum sp_dtr dtr)
{
	driver.dtr = dtr;
	return driver.flowless ? SP_ERR_FAIL : SP_OK;
}

enum sp_return __wrap_sp_set_cts(struct sp_port *port, enum sp_cts cts)
{
	driver.cts = cts;
	return SP_OK;
}

enum sp_return __wrap_sp_flush(struct sp_port *port, enum sp_buffer buffers)
{
	assert_int_equal(buffers, SP_BUF_OUTPUT);
	return SP_OK;
}

/* What a pseudo-terminal has not. */
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	switch (request) {
	case TIOCGSERIAL:
		memset(arg, 0, sizeof(struct serial_struct));
		return driver.can_low_latency ? 0 : -1;
	case TIOCSSERIAL:
		driver.low_latency = ((struct serial_struct *)arg)->flags & ASYNC_LOW_LATENCY;
		return 0;
	case TIOCGICOUNT:
		*(struct serial_icounter_struct *)arg = driver.counted;
		errno = ENOTTY;
		return driver.counts ? 0 : -1;
	case TIOCMGET:
		*(int *)arg = TIOCM_CTS;
		return 0;
	default:
		return __real_ioctl(fd, request, arg);
	}
}

static int setup(void **state)
{
	memset(&driver, 0, sizeof(driver));
	driver.can_low_latency = driver.counts = true;
	master = posix_openpt(O_RDWR | O_NOCTTY);
	assert_true(master >= 0);
	assert_int_equal(grantpt(master), 0);
	assert_int_equal(unlockpt(master), 0);
	return 0;
}

static int teardown(void **state)
{
	close(master);
	assert_false(driver.open);
	assert_int_equal(driver.ports, 0);
	return 0;
}

/* ---- which port it is ---- */

static void assert_path(const char *spec, const char *expected)
{
	char *path = port_line_path(spec);

	if (expected)
		assert_string_equal(path, expected);
	else
		assert_null(path);
	free(path);
}

static void test_which(void **state)
{
	assert_path("/dev/ttyS0", "/dev/ttyS0");
	assert_path("usb:0403:6001", "/dev/ttyUSB0"); /* the first one */
	assert_path("usb:0403:6001:A10K", "/dev/ttyUSB1");
	assert_path("usb:403:6001:A10K", "/dev/ttyUSB1");
	assert_path("usb:0403:6001:A10", NULL);
	assert_path("usb:0403:6015", NULL);
	assert_path("usb:1a86:6001", NULL);
	assert_path("usb:0000:0000", NULL);
	assert_path("usb:0403", NULL);
	assert_path("usb:0403:6001A", NULL);
	assert_path("tcp:host:1", NULL);
	driver.listless = true;
	assert_path("usb:0403:6001", NULL);
}

static void assert_refused(const char *spec, int expected, const char *text)
{
	struct port_line line = { .fd = -7 };
	char why[256] = "";

	assert_int_equal(port_line_open(&line, spec, BAUD, 0, why, sizeof(why)), expected);
	assert_string_equal(why, text);
	assert_int_equal(line.fd, -7);
	assert_false(driver.open);
	assert_int_equal(driver.ports, 0);
}

static void test_refused(void **state)
{
	assert_refused("usb:0403", -EINVAL, "usb:0403 is not usb:VID:PID[:SERIAL]");
	assert_refused("usb:0403:6015", -ENOENT, "no USB serial port 0403:6015 is plugged in");
	driver.mute = true;
	assert_refused("usb:0403:6001", -ENOMEM,
		       "cannot set up /dev/ttyUSB0 at 115200 baud: Cannot allocate memory");
	driver.mute = false;
	driver.handless = true;
	assert_refused("usb:0403:6001", -EIO,
		       "cannot set up /dev/ttyUSB0 at 115200 baud: Input/output error");
	driver.deaf = true;
	assert_refused("usb:0403:6001", -ENOTSUP,
		       "cannot open /dev/ttyUSB0: Operation not supported");
	driver.listless = true;
	assert_refused("usb:0403:6001", -EIO, "cannot list the serial ports");
}

/* ---- the line ---- */

static void open_line(struct port_line *line)
{
	char why[256] = "";

	assert_int_equal(port_line_open(line, "usb:0403:6001:A10K", BAUD, 0, why, sizeof(why)), 0);
	assert_string_equal(why, "");
	assert_true(driver.open);
}

/* libserialport closes the descriptor itself, which is ours here. */
static void close_line(struct port_line *line)
{
	int fd = line->fd;

	port_line_close(line);
	assert_int_equal(line->fd, -1);
	close(fd);
}

static void test_open(void **state)
{
	struct port_line line, second;
	struct termios tio;
	char why[256];

	open_line(&line);
	assert_true(driver.low_latency);
	assert_int_equal(driver.baud, BAUD);
	assert_int_equal(driver.rts, SP_RTS_ON);
	assert_int_equal(driver.cts, SP_CTS_IGNORE);
	assert_true(fcntl(line.fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(tcgetattr(line.fd, &tio), 0);
	assert_false(tio.c_cflag & HUPCL); /* it would reset the chip */
	assert_int_equal(port_line_queued(&line), 0);
	/* Nobody else may have it. */
	driver.open = false;
	assert_int_equal(port_line_open(&second, "usb:0403:6001", BAUD, 0, why, sizeof(why)),
			 -EWOULDBLOCK);
	driver.open = true;
	close_line(&line);
	driver.can_low_latency = driver.low_latency = false;
	open_line(&line);
	assert_false(driver.low_latency);
	close_line(&line);
}

static void assert_line(const struct port_line *line, unsigned int baud, bool rtscts)
{
	assert_int_equal(line->baud, baud);
	assert_int_equal(line->rtscts, rtscts);
	assert_int_equal(driver.baud, (int)baud);
	assert_int_equal(driver.rts, rtscts ? SP_RTS_FLOW_CONTROL : SP_RTS_ON);
	assert_int_equal(driver.cts, rtscts ? SP_CTS_FLOW_CONTROL : SP_CTS_IGNORE);
}

/* As somebody has left it who was killed: what is still in the adapter goes out as he meant it. */
static void test_found_raised(void **state)
{
	static const struct {
		int found;
		unsigned int max, expected;
	} rows[] = {
		{ 921600, 921600, 921600 }, { 921600, 3000000, 921600 }, { 921600, 460800, BAUD },
		{ 921600, 0, BAUD },        { 9600, 921600, BAUD },      { BAUD, 921600, BAUD },
	};
	struct port_line line;
	char why[256];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (int flow = 0; flow < 2; flow++) {
			driver.baud = rows[i].found;
			driver.rts = flow ? SP_RTS_FLOW_CONTROL : SP_RTS_ON;
			driver.cts = flow ? SP_CTS_FLOW_CONTROL : SP_CTS_IGNORE;
			assert_int_equal(port_line_open(&line, "usb:0403:6001:A10K", BAUD,
							rows[i].max, why, sizeof(why)),
					 0);
			assert_line(&line, rows[i].expected, flow && rows[i].expected != BAUD);
			close_line(&line);
		}
	driver.rateless = true;
	driver.baud = 921600;
	assert_int_equal(
		port_line_open(&line, "usb:0403:6001:A10K", BAUD, 921600, why, sizeof(why)), 0);
	assert_line(&line, BAUD, false);
	close_line(&line);
}

static void test_found_raised_pty(void **state)
{
	char path[64], why[256];
	struct port_line line;
	struct termios tio;

	assert_int_equal(ptsname_r(master, path, sizeof(path)), 0);
	assert_int_equal(port_line_open(&line, path, BAUD, 921600, why, sizeof(why)), 0);
	assert_int_equal(line.baud, BAUD);
	assert_int_equal(port_line_set(&line, 921600, true), 0);
	assert_int_equal(line.baud, 921600);
	close(line.fd);
	assert_int_equal(port_line_open(&line, path, BAUD, 921600, why, sizeof(why)), 0);
	assert_int_equal(line.baud, 921600);
	assert_true(line.rtscts);
	assert_int_equal(tcgetattr(line.fd, &tio), 0);
	assert_int_equal(cfgetospeed(&tio), B921600);
	assert_true(tio.c_cflag & CRTSCTS);
	close(line.fd);
	assert_int_equal(port_line_open(&line, path, BAUD, 460800, why, sizeof(why)), 0);
	assert_int_equal(line.baud, BAUD);
	assert_int_equal(tcgetattr(line.fd, &tio), 0);
	assert_int_equal(cfgetospeed(&tio), B115200);
	assert_false(tio.c_cflag & CRTSCTS);
	close(line.fd);
}

static void test_another_rate(void **state)
{
	struct port_line line;
	struct termios tio;

	open_line(&line);
	assert_int_equal(port_line_set(&line, 921600, true), 0);
	assert_line(&line, 921600, true);
	assert_int_equal(port_line_set(&line, 4000000, false), -EINVAL);
	assert_line(&line, 921600, true);
	/* The driver's nearest rate is near enough within 3 %, either way. */
	driver.real = 976000;
	assert_int_equal(port_line_set(&line, 1000000, true), 0);
	driver.real = 1025000;
	assert_int_equal(port_line_set(&line, 1000000, true), 0);
	driver.real = 960000;
	assert_int_equal(port_line_set(&line, 1000000, true), -EINVAL);
	driver.real = 1040000;
	assert_int_equal(port_line_set(&line, 1000000, true), -EINVAL);
	/* One that tells nothing is believed. */
	driver.rateless = true;
	assert_int_equal(port_line_set(&line, 2000000, false), 0);
	assert_line(&line, 2000000, false);
	/* DTR alone is taken away, and comes back. */
	assert_int_equal(port_line_reset(&line, true), 0);
	assert_int_equal(driver.dtr, SP_DTR_OFF);
	assert_int_equal(driver.rts, SP_RTS_ON);
	assert_int_equal(port_line_reset(&line, false), 0);
	assert_int_equal(driver.dtr, SP_DTR_ON);
	driver.flowless = true;
	assert_int_equal(port_line_reset(&line, true), -EIO);
	assert_int_equal(port_line_set(&line, 115200, true), -EINVAL);
	assert_line(&line, 2000000, false);
	/* Closing must not wait for a CTS that never comes. */
	assert_int_equal(tcgetattr(line.fd, &tio), 0);
	tio.c_cflag |= CRTSCTS;
	assert_int_equal(tcsetattr(line.fd, TCSANOW, &tio), 0);
	close_line(&line);
}

/* ---- on the loop ---- */

static struct {
	unsigned int ups, losses, downs, waits;
	struct port_lost lost;
	char data[64];
	size_t len;
	char why[256];
} heard;

static void on_up(void *userdata)
{
	heard.ups++;
}

static void on_data(void *userdata, const uint8_t *data, size_t len)
{
	assert_true(heard.len + len < sizeof(heard.data));
	memcpy(heard.data + heard.len, data, len);
	heard.len += len;
}

static void on_lost(void *userdata, const struct port_lost *lost)
{
	heard.losses++;
	heard.lost = *lost;
}

static void on_down(void *userdata, const char *why)
{
	heard.downs++;
	strcpy(heard.why, why);
}

static void on_waiting(void *userdata, const char *why)
{
	heard.waits++;
	strcpy(heard.why, why);
}

static const struct port_ops ops = {
	.up = on_up,
	.data = on_data,
	.lost = on_lost,
	.down = on_down,
	.waiting = on_waiting,
};

static void pass(struct timers *timers, uint64_t delay)
{
	timers_set_now(timers, timers->now + delay);
	timers_run(timers);
}

static void say(struct event_base *base, const char *text)
{
	assert_int_equal(write(master, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
}

static void test_losses(void **state)
{
	struct event_base *base = event_base_new();
	struct timers timers;
	struct port *port;
	struct termios tio;
	char out[8];

	memset(&heard, 0, sizeof(heard));
	timers_init(&timers);
	driver.listless = true;
	assert_int_equal(port_new(&port, base, &timers, "usb:0403:6001", BAUD, 0, &ops, NULL), 0);
	assert_int_equal(port_set_line(port, BAUD, false), -ENODEV);
	assert_int_equal(port_cts(port), -ENOTSUP);
	assert_int_equal(port_queued(port), 0);
	port_discard(port);
	port_hold(port, true);
	port_write(port, "x", 1);
	pass(&timers, 0);
	/* Told once; looked for again each second. */
	pass(&timers, 1 * TIMERS_S);
	pass(&timers, 1 * TIMERS_S);
	assert_int_equal(heard.waits, 1);
	assert_string_equal(heard.why, "cannot list the serial ports");
	driver.listless = false;
	driver.counted.overrun = 5;
	pass(&timers, 1 * TIMERS_S);
	assert_int_equal(heard.ups, 1);
	assert_int_equal(tcgetattr(master, &tio), 0);
	cfmakeraw(&tio);
	assert_int_equal(tcsetattr(master, TCSANOW, &tio), 0);
	assert_int_equal(port_cts(port), 1);

	/* What was lost before is nobody's business, nor what was lost in silence. */
	say(base, "abc");
	assert_string_equal(heard.data, "abc");
	pass(&timers, 100 * TIMERS_MS);
	assert_int_equal(heard.losses, 0);
	driver.counted.overrun = 7;
	driver.counted.frame = 1;
	pass(&timers, 1 * TIMERS_S);
	assert_int_equal(heard.losses, 0);
	say(base, "def");
	pass(&timers, 100 * TIMERS_MS);
	assert_int_equal(heard.losses, 1);
	assert_int_equal(heard.lost.overrun, 2);
	assert_int_equal(heard.lost.frame, 1);
	assert_int_equal(heard.lost.parity + heard.lost.brk + heard.lost.buf_overrun, 0);
	/* Once. */
	say(base, "ghi");
	pass(&timers, 100 * TIMERS_MS);
	assert_int_equal(heard.losses, 1);
	/* What another rate has damaged is no loss. */
	driver.counted.frame = 9;
	assert_int_equal(port_set_line(port, 921600, false), 0);
	say(base, "jkl");
	pass(&timers, 100 * TIMERS_MS);
	assert_int_equal(heard.losses, 1);
	/* A driver that does not count any more. */
	say(base, "mno");
	driver.counts = false;
	pass(&timers, 100 * TIMERS_MS);
	assert_int_equal(heard.losses, 1);

	port_write(port, "out", 3);
	assert_int_equal(read(master, out, sizeof(out)), 3);
	assert_memory_equal(out, "out", 3);
	assert_int_equal(heard.downs, 0);
	port_free(port);
	timers_deinit(&timers);
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_which, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_open, setup, teardown),
		cmocka_unit_test_setup_teardown(test_found_raised, setup, teardown),
		cmocka_unit_test_setup_teardown(test_found_raised_pty, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_rate, setup, teardown),
		cmocka_unit_test_setup_teardown(test_losses, setup, teardown),
	};

	return cmocka_run_group_tests_name("usb", tests, NULL, NULL);
}
