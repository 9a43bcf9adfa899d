/* SPDX-License-Identifier: MIT */
/* ctl/udev: rules for adapters of a made-up /sys. No rule may match by vendor and product alone. */
#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ctl/udev.h"
#include "temp-dir.h"

static struct udev_roots roots;

static void put(const char *path, const char *text)
{
	char command[600];
	FILE *f;

	snprintf(command, sizeof(command), "mkdir -p \"$(dirname '%s/%s')\"", dir, path);
	assert_int_equal(system(command), 0);
	f = fopen(path_of(path), "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* A terminal of an interface of an adapter that is plugged in at @place. */
static void plug(const char *tty, const char *place, const char *interface, const char *serial,
		 unsigned int minor, const char *id_path)
{
	char path[400], text[300], link[400];

	snprintf(path, sizeof(path), "sys/devices/usb/%s/idVendor", place);
	put(path, "10c4\n");
	snprintf(path, sizeof(path), "sys/devices/usb/%s/idProduct", place);
	put(path, "ea60\n");
	snprintf(path, sizeof(path), "sys/devices/usb/%s/serial", place);
	if (serial)
		put(path, serial);
	snprintf(path, sizeof(path), "sys/devices/usb/%s/%s:1.%s/bInterfaceNumber", place, place,
		 interface);
	snprintf(text, sizeof(text), "%s\n", interface);
	put(path, text);
	snprintf(path, sizeof(path), "sys/devices/usb/%s/%s:1.%s/%s/x", place, place, interface,
		 tty);
	put(path, "");
	snprintf(path, sizeof(path), "sys/class/tty/%s/dev", tty);
	snprintf(text, sizeof(text), "188:%u\n", minor);
	put(path, text);
	snprintf(path, sizeof(path), "sys/class/tty/%s/device", tty);
	snprintf(link, sizeof(link), "%s/sys/devices/usb/%s/%s:1.%s/%s", dir, place, place,
		 interface, tty);
	assert_int_equal(symlink(link, path_of(path)), 0);
	if (!id_path)
		return;
	snprintf(path, sizeof(path), "udev/c188:%u", minor);
	snprintf(text, sizeof(text), "I:1\nE:ID_PATH_TAG=no\nE:ID_PATH=%s\n", id_path);
	put(path, text);
}

static int setup(void **state)
{
	static char sysfs[100], data[100];

	clean();
	snprintf(sysfs, sizeof(sysfs), "%s/sys", dir);
	snprintf(data, sizeof(data), "%s/udev", dir);
	roots = (struct udev_roots){ sysfs, data };
	return 0;
}

static void expect(const char *port, enum udev_result result, const char *text)
{
	char buf[1024];
	enum udev_result got = udev_rule(&roots, "esp0", port, buf, sizeof(buf));

	if (got != result || !strstr(buf, text))
		fail_msg("%s: %d \"%s\"", port, got, buf);
	/* Vendor and product alone would take every adapter of a kind. */
	if (got == UDEV_RULE && strstr(buf, "idVendor"))
		assert_true(strstr(buf, "ATTRS{serial}==") || strstr(buf, "ENV{ID_PATH}==") ||
			    strstr(buf, "KERNELS=="));
}

#define ACTION "ENV{ID_MM_PORT_IGNORE}=\"1\", SYMLINK+=\"espat-esp0\""

static void test_serial(void **state)
{
	plug("ttyUSB0", "1-1.2", "00", "0001\n", 0, NULL);
	expect("/dev/ttyUSB0", UDEV_RULE,
	       "SUBSYSTEM==\"tty\", ATTRS{idVendor}==\"10c4\", ATTRS{idProduct}==\"ea60\", "
	       "ATTRS{serial}==\"0001\", ENV{ID_USB_INTERFACE_NUM}==\"00\", " ACTION);
	expect("usb:10c4:ea60:0001", UDEV_RULE, "ATTRS{serial}==\"0001\"");
	expect("usb:10C4:EA60", UDEV_RULE, "ATTRS{serial}==\"0001\"");
	/* Not plugged in, but told apart all the same. */
	expect("usb:0403:6001:A9", UDEV_RULE,
	       "SUBSYSTEM==\"tty\", ATTRS{idVendor}==\"0403\", ATTRS{idProduct}==\"6001\", "
	       "ATTRS{serial}==\"A9\", " ACTION);
}

static void test_place(void **state)
{
	plug("ttyUSB3", "1-1.3", "01", NULL, 3, "pci-0000:00:14.0-usb-0:1.3:1.1");
	expect("/dev/ttyUSB3", UDEV_RULE,
	       "ATTRS{idProduct}==\"ea60\", ENV{ID_PATH}==\"pci-0000:00:14.0-usb-0:1.3:1.1\", "
	       "ENV{ID_USB_INTERFACE_NUM}==\"01\", " ACTION);
	plug("ttyUSB4", "1-1.4", "00", NULL, 4, NULL);
	expect("/dev/ttyUSB4", UDEV_RULE,
	       "KERNELS==\"1-1.4\", ATTRS{idVendor}==\"10c4\", ATTRS{idProduct}==\"ea60\", "
	       "ENV{ID_USB_INTERFACE_NUM}==\"00\", " ACTION);
	/* Which of both? */
	expect("usb:10c4:ea60", UDEV_FAILED, "2 ports");
	expect("usb:0403:6001", UDEV_FAILED, "not plugged in");
}

static void test_link(void **state)
{
	plug("ttyUSB7", "1-7", "00", "S7\n", 7, NULL);
	put("dev/ttyUSB7", "");
	assert_int_equal(symlink("ttyUSB7", path_of("dev/by-id")), 0);
	expect(path_of("dev/by-id"), UDEV_RULE, "ATTRS{serial}==\"S7\"");
}

static void test_others(void **state)
{
	put("sys/class/tty/ttyS0/dev", "4:64\n");
	expect("/dev/ttyS0", UDEV_RULE, "SUBSYSTEM==\"tty\", KERNEL==\"ttyS0\", " ACTION);
	expect("/dev/ttyUSB9", UDEV_FAILED, "not there");
	expect("/dev/pts/3", UDEV_NO_NEED, "a pseudo-terminal, no serial adapter");
	expect("tcp:host:1234", UDEV_NO_NEED, "no serial adapter, and needs no rule");
	expect("unix:/run/x", UDEV_NO_NEED, "no serial adapter, and needs no rule");
	expect("usb:xyz", UDEV_FAILED, "not usb:VID:PID");
	expect("usb:10c4:ea60x", UDEV_FAILED, "not usb:VID:PID");
	expect("ttyUSB0", UDEV_NO_NEED, "no file of a device");
}

/* As what simulates a chip names its end. */
static void test_link_to_terminal(void **state)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	assert_true(fd >= 0 && grantpt(fd) == 0 && unlockpt(fd) == 0);
	assert_int_equal(symlink(ptsname(fd), path_of("tty-esp0")), 0);
	expect(path_of("tty-esp0"), UDEV_NO_NEED, "tty-esp0 is a pseudo-terminal");
	close(fd);
}

/* What a serial number may have in it must not become a rule, or a pattern for others. */
static void test_hostile(void **state)
{
	char buf[1024];

	plug("ttyUSB0", "1-1", "00", "a*b\"c|d\\e[f]g\n", 0, NULL);
	expect("/dev/ttyUSB0", UDEV_RULE, "ATTRS{serial}==\"a?b?c?d?e?f?g\", ");
	/* Nor is it to be obeyed by the terminal that shows it: U+009B begins a sequence as ESC [ does. */
	plug("ttyUSB5", "1-5", "00", "a\xc2\x9bg\n", 5, NULL);
	expect("/dev/ttyUSB5", UDEV_RULE, "ATTRS{serial}==\"a??g\", ");
	/* With a control character in it, it is none: the place is taken. */
	plug("ttyUSB1", "1-2", "00", "a\x01", 1, NULL);
	expect("/dev/ttyUSB1", UDEV_RULE, "KERNELS==\"1-2\"");
	assert_int_equal(udev_rule(&roots, "a\"b", "/dev/ttyUSB0", buf, sizeof(buf)), UDEV_FAILED);
	assert_int_equal(udev_rule(&roots, "a\nb", "/dev/ttyUSB0", buf, sizeof(buf)), UDEV_FAILED);
	assert_int_equal(udev_rule(&roots, "", "/dev/ttyUSB0", buf, sizeof(buf)), UDEV_FAILED);
	/* Too long for what there is room for: nothing that is cut. */
	assert_int_equal(udev_rule(&roots, "esp0", "/dev/ttyUSB0", buf, 100), UDEV_FAILED);
}

static void test_ignored(void **state)
{
	plug("ttyUSB0", "1-1", "00", "A\n", 0, NULL);
	plug("ttyUSB1", "1-2", "00", "B\n", 1, NULL);
	plug("ttyUSB2", "1-3", "00", "C\n", 2, NULL);
	put("udev/c188:0", "E:ID_MM_PORT_IGNORE=1\n");
	put("udev/c188:1", "E:ID_MM_PORT_IGNORE_NOT=1\nE:ID_MM_DEVICE_IGNORE=0\n");
	assert_true(udev_is_ignored(&roots, "/dev/ttyUSB0"));
	assert_true(udev_is_ignored(&roots, "usb:10c4:ea60:A"));
	assert_false(udev_is_ignored(&roots, "/dev/ttyUSB1"));
	assert_false(udev_is_ignored(&roots, "/dev/ttyUSB2"));
	assert_false(udev_is_ignored(&roots, "usb:10c4:ea60:D"));
}

static void test_find_rule(void **state)
{
	static const char rules[] = "# SYMLINK+=\"espat-esp0\"\n"
				    "A, SYMLINK+=\"espat-esp1\"\n"
				    "B, SYMLINK+=\"espat-esp0\"\n"
				    "C, SYMLINK+=\"espat-last\"";
	char buf[64];

	assert_string_equal(udev_find_rule(rules, "esp0", buf, sizeof(buf)),
			    "B, SYMLINK+=\"espat-esp0\"");
	assert_string_equal(udev_find_rule(rules, "last", buf, sizeof(buf)),
			    "C, SYMLINK+=\"espat-last\"");
	assert_null(udev_find_rule(rules, "esp", buf, sizeof(buf)));
	assert_null(udev_find_rule("", "esp0", buf, sizeof(buf)));
	assert_null(udev_find_rule(rules, "esp0", buf, 10));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_serial, setup),
		cmocka_unit_test_setup(test_place, setup),
		cmocka_unit_test_setup(test_link, setup),
		cmocka_unit_test_setup(test_others, setup),
		cmocka_unit_test_setup(test_link_to_terminal, setup),
		cmocka_unit_test_setup(test_hostile, setup),
		cmocka_unit_test_setup(test_ignored, setup),
		cmocka_unit_test(test_find_rule),
	};

	return cmocka_run_group_tests(tests, make_temp_dir, remove_temp_dir);
}
