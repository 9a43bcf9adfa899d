/* SPDX-License-Identifier: MIT */
/* Who has a port: whoever opens one as we do locks it (flock), and the kernel lists the locks. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "port/internal.h"
#include "port/port.h"
#include "util/cleanup.h"

/* The kernel cuts a process's name at 15 bytes. */
#define COMM_MAX 16

static bool is_espatd(long pid)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[40], name[COMM_MAX + 1] = "";

	snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
	f = fopen(path, "re");
	if (!f || !fgets(name, sizeof(name), f))
		return false;
	name[strcspn(name, "\n")] = '\0';
	return strcmp(name, "espatd") == 0;
}

/* "1: FLOCK  ADVISORY  WRITE 1234 00:18:5 0 EOF" (proc(5)) */
static bool is_lock_of(const char *line, const struct stat *st, long *pid)
{
	unsigned int maj, min;
	unsigned long ino;

	return sscanf(line, "%*u: FLOCK %*s %*s %ld %x:%x:%lu", pid, &maj, &min, &ino) == 4 &&
	       makedev(maj, min) == st->st_dev && ino == st->st_ino;
}

long port_other_daemon(const char *spec)
{
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_free_ char *path = port_line_path(spec);
	struct stat st;
	char line[128];
	long pid;

	if (!path || stat(path, &st) < 0)
		return 0;
	f = fopen("/proc/locks", "re");
	while (f && fgets(line, sizeof(line), f))
		if (is_lock_of(line, &st, &pid) && pid != getpid() && is_espatd(pid))
			return pid;
	return 0;
}
