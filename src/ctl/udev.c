/* SPDX-License-Identifier: MIT */
#include "ctl/udev.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/file.h"

/* What is longer is not one of these small files. */
#define ATTRIBUTE_MAX 256
#define DATA_MAX 65536

/* Of an adapter that is plugged in now. "": not known. */
struct usb_port {
	char tty[64];
	char kernel[64];   /* of the USB device, as "1-1.2": where it is plugged in */
	char interface[8]; /* number of the interface, "00" */
	char vid[8], pid[8];
	char serial[ATTRIBUTE_MAX];
	char path[ATTRIBUTE_MAX]; /* ID_PATH */
};

static void closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* The first line of a small file. */
static bool read_attribute(const char *dir, const char *name, char *buf, size_t size)
{
	char path[PATH_MAX];
	_cleanup_fclose_ FILE *f = NULL;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) >= sizeof(path))
		return false;
	f = fopen(path, "re");
	if (!f || !fgets(buf, (int)size, f)) {
		buf[0] = '\0';
		return false;
	}
	buf[strcspn(buf, "\n")] = '\0';
	return true;
}

/* A property that udev's data base has of a terminal. */
static bool udev_property(const struct udev_roots *roots, const char *tty, const char *key,
			  char *buf, size_t size)
{
	char path[PATH_MAX], dev[32], line[512];
	_cleanup_fclose_ FILE *f = NULL;
	size_t len = strlen(key);

	snprintf(path, sizeof(path), "%s/class/tty/%s", roots->sysfs, tty);
	if (!read_attribute(path, "dev", dev, sizeof(dev)))
		return false;
	snprintf(path, sizeof(path), "%s/c%s", roots->udev_data, dev);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "E:", 2) != 0 || strncmp(line + 2, key, len) != 0 ||
		    line[2 + len] != '=')
			continue;
		line[strcspn(line, "\n")] = '\0';
		return (size_t)snprintf(buf, size, "%s", line + 3 + len) < size;
	}
	return false;
}

/* Goes up from a terminal's device to the USB device that it belongs to. */
static bool find_usb(const struct udev_roots *roots, const char *tty, struct usb_port *ret)
{
	char path[PATH_MAX];
	_cleanup_free_ char *dir = NULL;
	char *slash;

	*ret = (struct usb_port){ 0 };
	snprintf(path, sizeof(path), "%s/class/tty/%s/device", roots->sysfs, tty);
	dir = realpath(path, NULL);
	if (!dir || (size_t)snprintf(ret->tty, sizeof(ret->tty), "%s", tty) >= sizeof(ret->tty))
		return false;
	while ((slash = strrchr(dir, '/')) && slash != dir) {
		if (!ret->interface[0])
			read_attribute(dir, "bInterfaceNumber", ret->interface,
				       sizeof(ret->interface));
		if (read_attribute(dir, "idVendor", ret->vid, sizeof(ret->vid)) &&
		    read_attribute(dir, "idProduct", ret->pid, sizeof(ret->pid))) {
			read_attribute(dir, "serial", ret->serial, sizeof(ret->serial));
			udev_property(roots, tty, "ID_PATH", ret->path, sizeof(ret->path));
			return (size_t)snprintf(ret->kernel, sizeof(ret->kernel), "%s", slash + 1) <
			       sizeof(ret->kernel);
		}
		*slash = '\0';
	}
	return false;
}

/* ---- the text ---- */

/*
 * A value for a match: udev takes it as a pattern, in which `|` separates and nothing escapes; what has a
 * meaning there matches as any one character, and so does each byte of what is no ASCII, which a
 * terminal might obey. false: no rule can have it.
 */
static bool match_value(const char *value, char *buf, size_t size)
{
	size_t n = 0;

	for (const unsigned char *c = (const unsigned char *)value; *c; c++) {
		if (n + 1 >= size || *c < 0x20 || *c == 0x7f)
			return false;
		buf[n++] = *c >= 0x80 || strchr("*?[]|\\\"", *c) ? '?' : (char)*c;
	}
	buf[n] = '\0';
	return n > 0;
}

static bool is_name(const char *name)
{
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("_.-", *c))
			return false;
	return *name && strlen(name) <= 64;
}

static enum udev_result put_rule(const char *name, const char *match, char *text, size_t size)
{
	int n = snprintf(text, size,
			 "SUBSYSTEM==\"tty\", %s, ENV{ID_MM_PORT_IGNORE}=\"1\", "
			 "SYMLINK+=\"espat-%s\"",
			 match, name);

	if (n >= 0 && (size_t)n < size)
		return UDEV_RULE;
	snprintf(text, size, "its rule would be too long");
	return UDEV_FAILED;
}

__attribute__((format(printf, 3, 4))) static enum udev_result no_rule(char *text, size_t size,
								      const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, size, format, ap);
	va_end(ap);
	return UDEV_FAILED;
}

static bool is_hex4(const char *text)
{
	return strlen(text) == 4 && strspn(text, "0123456789abcdefABCDEF") == 4;
}

/* A rule for an adapter: by its serial number, else by the place that it is plugged into. */
static enum udev_result rule_usb(const char *name, const struct usb_port *usb, char *text,
				 size_t size)
{
	char match[1024], serial[ATTRIBUTE_MAX], path[ATTRIBUTE_MAX], kernel[64];
	int n;

	if (!is_hex4(usb->vid) || !is_hex4(usb->pid))
		return no_rule(text, size, "its adapter has no vendor and product number");
	if (match_value(usb->serial, serial, sizeof(serial)))
		n = snprintf(match, sizeof(match),
			     "ATTRS{idVendor}==\"%s\", ATTRS{idProduct}==\"%s\", "
			     "ATTRS{serial}==\"%s\"",
			     usb->vid, usb->pid, serial);
	else if (match_value(usb->path, path, sizeof(path)))
		n = snprintf(match, sizeof(match),
			     "ATTRS{idVendor}==\"%s\", ATTRS{idProduct}==\"%s\", "
			     "ENV{ID_PATH}==\"%s\"",
			     usb->vid, usb->pid, path);
	/* KERNELS and ATTRS of one rule are looked for in one and the same parent. */
	else if (match_value(usb->kernel, kernel, sizeof(kernel)))
		n = snprintf(match, sizeof(match),
			     "KERNELS==\"%s\", ATTRS{idVendor}==\"%s\", ATTRS{idProduct}==\"%s\"",
			     kernel, usb->vid, usb->pid);
	else
		return no_rule(text, size, "its adapter has no serial number, and no known place");
	/* An adapter with several ports has one serial number. */
	if (n > 0 && (size_t)n < sizeof(match) && strlen(usb->interface) == 2 &&
	    strspn(usb->interface, "0123456789abcdef") == 2)
		n += snprintf(match + n, sizeof(match) - (size_t)n,
			      ", ENV{ID_USB_INTERFACE_NUM}==\"%s\"", usb->interface);
	if (n < 0 || (size_t)n >= sizeof(match))
		return no_rule(text, size, "its rule would be too long");
	return put_rule(name, match, text, size);
}

/* ---- usb:VID:PID[:SERIAL] ---- */

struct usb_wanted {
	char vid[5], pid[5];
	const char *serial; /* NULL: any */
};

static bool parse_usb(const char *port, struct usb_wanted *ret)
{
	unsigned int vid, pid;
	int n = 0;

	if (sscanf(port, "usb:%4x:%4x%n", &vid, &pid, &n) != 2 || n == 0 ||
	    (port[n] && port[n] != ':'))
		return false;
	snprintf(ret->vid, sizeof(ret->vid), "%04x", vid & 0xffff);
	snprintf(ret->pid, sizeof(ret->pid), "%04x", pid & 0xffff);
	ret->serial = port[n] == ':' && port[n + 1] ? port + n + 1 : NULL;
	return true;
}

static bool is_wanted(const struct usb_wanted *wanted, const struct usb_port *usb)
{
	return strcasecmp(usb->vid, wanted->vid) == 0 && strcasecmp(usb->pid, wanted->pid) == 0 &&
	       (!wanted->serial || strcmp(usb->serial, wanted->serial) == 0);
}

/* How many there are; the one with the lowest name in *ret. */
static unsigned int find_wanted(const struct udev_roots *roots, const struct usb_wanted *wanted,
				struct usb_port *ret)
{
	char path[PATH_MAX];
	_cleanup_(closedirp) DIR *dir = NULL;
	unsigned int found = 0;
	struct usb_port usb;
	struct dirent *entry;

	snprintf(path, sizeof(path), "%s/class/tty", roots->sysfs);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || !find_usb(roots, entry->d_name, &usb) ||
		    !is_wanted(wanted, &usb))
			continue;
		if (found++ == 0 || strverscmp(usb.tty, ret->tty) < 0)
			*ret = usb;
	}
	return found;
}

static enum udev_result rule_by_id(const struct udev_roots *roots, const char *name,
				   const char *port, char *text, size_t size)
{
	struct usb_wanted wanted;
	struct usb_port usb = { 0 };
	unsigned int found;

	if (!parse_usb(port, &wanted))
		return no_rule(text, size, "%s is not usb:VID:PID[:SERIAL]", port);
	found = find_wanted(roots, &wanted, &usb);
	if (found > 1 && !wanted.serial)
		return no_rule(text, size,
			       "%u ports of %s are plugged in; give `port` the serial number, or a "
			       "name of /dev/serial/by-path",
			       found, port);
	if (found == 0 && !wanted.serial)
		return no_rule(text, size, "%s is not plugged in, so its place is not known", port);
	if (found == 0) {
		memcpy(usb.vid, wanted.vid, sizeof(wanted.vid));
		memcpy(usb.pid, wanted.pid, sizeof(wanted.pid));
		if (strlen(wanted.serial) >= sizeof(usb.serial))
			return no_rule(text, size, "its serial number is too long");
		strcpy(usb.serial, wanted.serial);
	}
	return rule_usb(name, &usb, text, size);
}

/* ---- /dev/... ---- */

/* "ttyUSB0" of a path; false: too long. */
static bool last_of(const char *path, char *buf, size_t size)
{
	const char *slash = strrchr(path, '/');

	return slash && (size_t)snprintf(buf, size, "%s", slash + 1) < size;
}

/* The same behind whatever link; of one that is not there, what its own name says. */
static bool tty_of(const char *port, char *buf, size_t size)
{
	_cleanup_free_ char *real = realpath(port, NULL);

	return last_of(real ? real : port, buf, size);
}

static enum udev_result no_need(char *text, size_t size, const char *port, const char *what)
{
	no_rule(text, size, "%s is %s, no serial adapter, and needs no rule", port, what);
	return UDEV_NO_NEED;
}

static enum udev_result rule_by_path(const struct udev_roots *roots, const char *name,
				     const char *port, char *text, size_t size)
{
	_cleanup_free_ char *real = realpath(port, NULL);
	const char *target = real ? real : port;
	char tty[64], path[PATH_MAX], match[128], kernel[64];
	struct usb_port usb;

	if (strncmp(target, "/dev/pts/", 9) == 0)
		return no_need(text, size, port, "a pseudo-terminal");
	if (!last_of(target, tty, sizeof(tty)))
		return no_rule(text, size, "%s is no name of a port", port);
	snprintf(path, sizeof(path), "%s/class/tty/%s", roots->sysfs, tty);
	if (access(path, F_OK) < 0)
		return no_rule(text, size, "%s is not there, so it is not known what it is", port);
	if (find_usb(roots, tty, &usb))
		return rule_usb(name, &usb, text, size);
	/* A port of the board itself keeps its name, which is no one else's. */
	if (!match_value(tty, kernel, sizeof(kernel)))
		return no_rule(text, size, "%s is no name of a port", port);
	snprintf(match, sizeof(match), "KERNEL==\"%s\"", kernel);
	return put_rule(name, match, text, size);
}

enum udev_result udev_rule(const struct udev_roots *roots, const char *name, const char *port,
			   char *text, size_t size)
{
	if (!is_name(name))
		return no_rule(text, size, "the device's name cannot stand in a rule");
	if (strncmp(port, "usb:", 4) == 0)
		return rule_by_id(roots, name, port, text, size);
	if (port[0] == '/')
		return rule_by_path(roots, name, port, text, size);
	return no_need(text, size, port,
		       strncmp(port, "unix:", 5) == 0  ? "a socket"
		       : strncmp(port, "tcp:", 4) == 0 ? "a connection"
						       : "no file of a device");
}

bool udev_is_ignored(const struct udev_roots *roots, const char *port)
{
	struct usb_wanted wanted;
	struct usb_port usb;
	char tty[64], value[16];

	if (strncmp(port, "usb:", 4) == 0) {
		if (!parse_usb(port, &wanted) || find_wanted(roots, &wanted, &usb) == 0)
			return false;
		strcpy(tty, usb.tty);
	} else if (!tty_of(port, tty, sizeof(tty))) {
		return false;
	}
	return (udev_property(roots, tty, "ID_MM_PORT_IGNORE", value, sizeof(value)) ||
		udev_property(roots, tty, "ID_MM_DEVICE_IGNORE", value, sizeof(value))) &&
	       strcmp(value, "1") == 0;
}

const char *udev_find_rule(const char *rules, const char *name, char *buf, size_t size)
{
	char wanted[128];
	const char *end;

	snprintf(wanted, sizeof(wanted), "SYMLINK+=\"espat-%s\"", name);
	for (; *rules; rules = *end ? end + 1 : end) {
		end = strchrnul(rules, '\n');
		if (*rules == '#' || (size_t)(end - rules) >= size)
			continue;
		memcpy(buf, rules, (size_t)(end - rules));
		buf[end - rules] = '\0';
		if (strstr(buf, wanted))
			return buf;
	}
	return NULL;
}
