/* SPDX-License-Identifier: MIT */
/* Arguments in, checked and bounded; texts out, so that the bus takes them whatever is in them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "bus/error.h"
#include "util/problems.h"

/* As a file of certificates or a key may have. */
#define BUS_PEM_MAX (64 * 1024)
/* Entries of an a{sv}; a tunnel has 20 keys. */
#define BUS_OPTIONS_MAX 64
/* A string in one; a host name has 230. */
#define BUS_OPTION_STRING_MAX 1024

/*
 * The daemon of the bus cuts a connection off that sends a string which is no UTF-8. Each byte of one
 * becomes U+FFFD; what does not fit is cut at a character's end. @s NULL: "".
 */
void bus_utf8(char *buf, size_t size, const char *s);
/* Likewise, as a message's next string; it is cut at 3 KiB. Returns as sd_bus_message_append(). */
int bus_append_text(sd_bus_message *m, const char *s);
/* An array of them; @n items. */
int bus_append_texts(sd_bus_message *m, const char *const *texts, size_t n);
/* NULL at the end; @texts NULL: none. */
int bus_append_strv(sd_bus_message *m, const char *const *texts);
/* An entry of an open a{sv}. */
int bus_append_entry(sd_bus_message *m, const char *key, const char *type, ...);
int bus_append_text_entry(sd_bus_message *m, const char *key, const char *s);
void bus_hex(char *buf, size_t size, const uint8_t *data, size_t len);

/* All: 0, or -1 after bus_fail(). The strings live as long as the message. */

/* Up to @max bytes, more: @error. @what: the argument's name. */
int bus_read_string(sd_bus_message *m, const char **ret, const char *what, size_t max,
		    enum bus_error error, struct bus_failure *failure);
/* A name as the configuration has them. */
int bus_read_name(sd_bus_message *m, const char **ret, struct bus_failure *failure);
/* The name of something that is there; what no name could be is @no_such, too. @what: "tunnel" */
int bus_read_known_name(sd_bus_message *m, const char **ret, enum bus_error no_such,
			const char *what, struct bus_failure *failure);
/* PEM that is no secret. */
int bus_read_pem(sd_bus_message *m, const char **ret, const char *what,
		 struct bus_failure *failure);
/* Takes a file descriptor of its own: *ret is to be closed. */
int bus_read_fd(sd_bus_message *m, int *ret, struct bus_failure *failure);
/* A namespace and a slot. */
int bus_read_key(sd_bus_message *m, const char **namespace, int *slot, struct bus_failure *failure);

struct bus_option {
	const char *key;
	char type
		[3]; /* of its value, which is the message's next; longer ones are refused before */
};
/* Calls @fn for each entry of an a{sv}, which reads its value. */
int bus_read_options(sd_bus_message *m,
		     int (*fn)(void *userdata, sd_bus_message *m, const struct bus_option *option,
			       struct bus_failure *failure),
		     void *userdata, struct bus_failure *failure);
int bus_option_string(sd_bus_message *m, const struct bus_option *option, const char **ret,
		      struct bus_failure *failure);
int bus_option_bool(sd_bus_message *m, const struct bus_option *option, bool *ret,
		    struct bus_failure *failure);
/* Of any integer type. */
int bus_option_int(sd_bus_message *m, const struct bus_option *option, long long *ret,
		   struct bus_failure *failure);
int bus_option_unknown(const struct bus_option *option, const char *expected,
		       struct bus_failure *failure);

/* The errors among complaints, a line each. */
int bus_fail_problems(struct bus_failure *failure, enum bus_error error,
		      const struct problems *problems);
