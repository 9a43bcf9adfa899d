/* SPDX-License-Identifier: MIT */
/* port/line: what is said of a line that cannot be opened, the sandbox of a service being why, or not. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <libserialport.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "port/internal.h"

/* What the kernel says, errno each; 0: it is there, or does. No file of this machine is touched. */
static struct {
	int stat, open, socket;
	bool pty;
	enum sp_return by_name;
	unsigned int freed;
} kernel;

static struct sp_port *const fake_port = (struct sp_port *)&kernel;

char *__wrap_realpath(const char *path, char *resolved);
int __wrap_access(const char *path, int mode);
int __wrap_stat64(const char *path, struct stat *st);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_socket(int domain, int type, int protocol);
enum sp_return __wrap_sp_get_port_by_name(const char *name, struct sp_port **ret);
char *__wrap_sp_get_port_name(const struct sp_port *port);
enum sp_return __wrap_sp_open(struct sp_port *port, enum sp_mode flags);
int __wrap_sp_last_error_code(void);
void __wrap_sp_free_port(struct sp_port *port);

static int fails(int error)
{
	errno = error;
	return error ? -1 : 0;
}

/* udev's names are links. */
char *__wrap_realpath(const char *path, char *resolved)
{
	assert_null(resolved);
	assert_int_equal(kernel.stat, 0);
	return strdup(strncmp(path, "/dev/serial/", 12) == 0 ? "/dev/ttyS0" : path);
}

/* The device cgroup looks at access(2) and open(2), not at stat(2). */
int __wrap_access(const char *path, int mode)
{
	return fails(kernel.stat ? kernel.stat : kernel.open == EPERM ? EPERM : 0);
}

int __wrap_stat64(const char *path, struct stat *st)
{
	*st = (struct stat){
		.st_mode = S_IFCHR | 0660,
		.st_rdev = kernel.pty ? makedev(136, 0) : makedev(4, 64),
	};
	return fails(kernel.stat);
}

int __wrap_open64(const char *path, int flags, ...)
{
	assert_int_not_equal(kernel.open, 0);
	return fails(kernel.open);
}

int __wrap_socket(int domain, int type, int protocol)
{
	assert_int_not_equal(kernel.socket, 0);
	return fails(kernel.socket);
}

enum sp_return __wrap_sp_get_port_by_name(const char *name, struct sp_port **ret)
{
	assert_string_equal(name, "/dev/ttyS0");
	*ret = fake_port;
	return kernel.by_name;
}

char *__wrap_sp_get_port_name(const struct sp_port *port)
{
	assert_ptr_equal(port, fake_port);
	return (char *)(uintptr_t) "/dev/ttyS0";
}

enum sp_return __wrap_sp_open(struct sp_port *port, enum sp_mode flags)
{
	assert_int_not_equal(kernel.open, 0);
	return SP_ERR_FAIL;
}

int __wrap_sp_last_error_code(void)
{
	return kernel.open;
}

void __wrap_sp_free_port(struct sp_port *port)
{
	assert_ptr_equal(port, fake_port);
	kernel.freed++;
}

#define SANDBOX " (as a service it takes DeviceAllow= in a drop-in, see espatd(8))"

struct refusal {
	const char *spec;
	int stat, open, socket;
	bool pty;
	enum sp_return by_name;
	int r;
	const char *why;
};

static void check(const struct refusal *c)
{
	struct port_line line = { .fd = -7 };
	char why[256] = "";

	memset(&kernel, 0, sizeof(kernel));
	kernel.stat = c->stat;
	kernel.open = c->open;
	kernel.socket = c->socket;
	kernel.pty = c->pty;
	kernel.by_name = c->by_name;
	assert_int_equal(port_line_open(&line, c->spec, 115200, 0, why, sizeof(why)), c->r);
	assert_string_equal(why, c->why);
	assert_int_equal(line.fd, -7);
}

static void test_device(void **state)
{
	static const struct refusal cases[] = {
		{ .spec = "/dev/ttyS0",
		  .stat = ENOENT,
		  .r = -ENOENT,
		  .why = "there is no /dev/ttyS0" },
		{ .spec = "/dev/x/ttyS0",
		  .stat = ENOTDIR,
		  .r = -ENOENT,
		  .why = "there is no /dev/x/ttyS0" },
		{ .spec = "/dev/ttyS0",
		  .stat = EACCES,
		  .r = -EACCES,
		  .why = "cannot open /dev/ttyS0: Permission denied" },
		{ .spec = "/dev/ttyS0",
		  .stat = ELOOP,
		  .r = -ELOOP,
		  .why = "cannot open /dev/ttyS0: Too many levels of symbolic links" },
		{ .spec = "/dev/ttyS0",
		  .open = EPERM,
		  .r = -EPERM,
		  .why = "cannot open /dev/ttyS0: Operation not permitted" SANDBOX },
		{ .spec = "/dev/ttyS0",
		  .open = EACCES,
		  .r = -EACCES,
		  .why = "cannot open /dev/ttyS0: Permission denied" },
		{ .spec = "/dev/ttyS0",
		  .open = EIO,
		  .r = -EIO,
		  .why = "cannot open /dev/ttyS0: Input/output error" },
		{ .spec = "/dev/serial/by-id/usb-adapter",
		  .open = EIO,
		  .r = -EIO,
		  .why = "cannot open /dev/ttyS0: Input/output error" },
		{ .spec = "/dev/serial/by-id/usb-adapter",
		  .by_name = SP_ERR_ARG,
		  .r = -EIO,
		  .why = "/dev/serial/by-id/usb-adapter is not a serial port" },
		{ .spec = "/dev/ttyS0",
		  .by_name = SP_ERR_ARG,
		  .r = -EIO,
		  .why = "/dev/ttyS0 is not a serial port" },
		{ .spec = "/dev/pts/0",
		  .pty = true,
		  .open = EPERM,
		  .r = -EPERM,
		  .why = "cannot open /dev/pts/0: Operation not permitted" SANDBOX },
		{ .spec = "/dev/pts/0",
		  .pty = true,
		  .open = EACCES,
		  .r = -EACCES,
		  .why = "cannot open /dev/pts/0: Permission denied" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bool got_port = !cases[i].stat && !cases[i].pty && cases[i].by_name == SP_OK;

		check(&cases[i]);
		assert_int_equal(kernel.freed, got_port ? 1 : 0);
	}
}

static void test_network(void **state)
{
	static const struct refusal cases[] = {
		{ .spec = "tcp:127.0.0.1:7",
		  .socket = EAFNOSUPPORT,
		  .r = -EAFNOSUPPORT,
		  .why = "cannot connect to 127.0.0.1:7: Address family not supported by protocol "
			 "(the service's sandbox has no network: espatd-tcp.conf, see espatd(8))" },
		{ .spec = "tcp:127.0.0.1:7",
		  .socket = EMFILE,
		  .r = -EMFILE,
		  .why = "cannot connect to 127.0.0.1:7: Too many open files" },
		{ .spec = "tcp:[::1]:7",
		  .socket = EMFILE,
		  .r = -EMFILE,
		  .why = "cannot connect to [::1]:7: Too many open files" },
		{ .spec = "tcp:localhost:7",
		  .socket = EMFILE,
		  .r = -EMFILE,
		  .why = "cannot connect to localhost:7: Too many open files" },
		/* Nobody is asked for the address of a name. */
		{ .spec = "tcp:host.invalid:7",
		  .r = -EINVAL,
		  .why = "tcp:host.invalid:7 is not tcp:ADDRESS:PORT" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check(&cases[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_device),
		cmocka_unit_test(test_network),
	};

	return cmocka_run_group_tests_name("line", tests, NULL, NULL);
}
