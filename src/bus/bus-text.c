/* SPDX-License-Identifier: MIT */
/* Arguments in, texts out. */
#include "bus/bus-text.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "at/reply.h"
#include "cert/intake.h"
#include "config/config.h"
#include "config/syntax.h"
#include "device/request.h"
#include "util/sdbus.h"
#include "util/utf8.h"

/* Longest key of an option: half_close_timeout has 18. */
#define OPTION_KEY_MAX 48
/* A line of the chip's answer in which each byte had to be replaced. */
#define TEXT_MAX (3 * DEVICE_ANSWER_LINE_MAX)

#define REPLACEMENT "\xef\xbf\xbd"

/* Length of the character at @s, or 0 if it is none that D-Bus takes. */
static size_t character_length(const char *s)
{
	uint32_t c;
	size_t n = utf8_character(s, SIZE_MAX, &c);

	/* Not all libraries take these, which are no characters. */
	if (n > 0 && ((c >= 0xfdd0 && c <= 0xfdef) || (c & 0xfffe) == 0xfffe))
		return 0;
	return n;
}

void bus_utf8(char *buf, size_t size, const char *s)
{
	size_t used = 0;

	while (s && *s) {
		size_t n = character_length(s);
		const char *from = n ? s : REPLACEMENT;
		size_t len = n ? n : strlen(REPLACEMENT);

		if (used + len >= size)
			break;
		memcpy(buf + used, from, len);
		used += len;
		s += n ? n : 1;
	}
	buf[used] = '\0';
}

int bus_append_text(sd_bus_message *m, const char *s)
{
	char text[TEXT_MAX + 1];

	bus_utf8(text, sizeof(text), s);
	return sd_bus_message_append_basic(m, 's', text);
}

int bus_append_texts(sd_bus_message *m, const char *const *texts, size_t n)
{
	int r = sd_bus_message_open_container(m, 'a', "s");

	for (size_t i = 0; r >= 0 && i < n; i++)
		r = bus_append_text(m, texts[i]);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

int bus_append_strv(sd_bus_message *m, const char *const *texts)
{
	size_t n = 0;

	while (texts && texts[n])
		n++;
	return bus_append_texts(m, texts, n);
}

int bus_append_entry(sd_bus_message *m, const char *key, const char *type, ...)
{
	va_list ap;
	int r;

	r = sd_bus_message_open_container(m, 'e', "sv");
	if (r >= 0)
		r = sd_bus_message_append_basic(m, 's', key);
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'v', type);
	if (r < 0)
		return r;
	va_start(ap, type);
	r = sd_bus_message_appendv(m, type, ap);
	va_end(ap);
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

int bus_append_text_entry(sd_bus_message *m, const char *key, const char *s)
{
	char text[TEXT_MAX + 1];

	bus_utf8(text, sizeof(text), s);
	return bus_append_entry(m, key, "s", text);
}

void bus_hex(char *buf, size_t size, const uint8_t *data, size_t len)
{
	buf[0] = '\0';
	for (size_t i = 0; i < len && 2 * i + 2 < size; i++)
		sprintf(buf + 2 * i, "%02x", data[i]);
}

/* ---- arguments ---- */

static int too_long(struct bus_failure *failure)
{
	failure->oversize = true;
	return -1;
}

/* The library has compared the signature: what is left is a message that is broken in itself. */
static int read_failed(struct bus_failure *failure, const char *what)
{
	return bus_fail(failure, BUS_E_INVALID_ARGUMENT, "%s: cannot be read", what);
}

int bus_read_string(sd_bus_message *m, const char **ret, const char *what, size_t max,
		    enum bus_error error, struct bus_failure *failure)
{
	if (sd_bus_message_read_basic(m, 's', ret) <= 0)
		return read_failed(failure, what);
	if (strnlen(*ret, max + 1) <= max)
		return 0;
	bus_fail(failure, error, "%s: expected at most %zu bytes", what, max);
	return too_long(failure);
}

int bus_read_name(sd_bus_message *m, const char **ret, struct bus_failure *failure)
{
	const char *expected;

	if (bus_read_string(m, ret, "name", CONFIG_NAME_MAX, BUS_E_INVALID_ARGUMENT, failure) < 0)
		return -1;
	expected = syntax_name(*ret);
	if (expected)
		return bus_fail(failure, BUS_E_INVALID_ARGUMENT, "name: expected %s", expected);
	return 0;
}

int bus_read_known_name(sd_bus_message *m, const char **ret, enum bus_error no_such,
			const char *what, struct bus_failure *failure)
{
	if (sd_bus_message_read_basic(m, 's', ret) <= 0)
		return read_failed(failure, "name");
	if (!syntax_name(*ret))
		return 0;
	bus_fail(failure, no_such, "no %s has the name \"%.80s\"", what, *ret);
	return strnlen(*ret, CONFIG_NAME_MAX + 1) > CONFIG_NAME_MAX ? too_long(failure) : -1;
}

static bool intake_type_is_secret(enum intake_type type)
{
	switch (type) {
	case INTAKE_KEY_PKCS8:
	case INTAKE_KEY_RSA:
	case INTAKE_KEY_EC:
	case INTAKE_KEY_ENCRYPTED:
	case INTAKE_KEY_UNUSABLE:
	case INTAKE_PKCS12:
		return true;
	case INTAKE_CERT:
	case INTAKE_CERT_TRUSTED:
	case INTAKE_PARAMETERS:
	case INTAKE_PKCS7:
	case INTAKE_OTHER:
		break;
	}
	return false;
}

/* By its label, or in any other form that people have keys in. */
static bool text_has_key(const char *text)
{
	static const struct cert_source source = { .name = "pem" };
	struct problems problems = PROBLEMS_NULL;
	struct intake intake = INTAKE_NULL;
	/* In capitals: "Private Key Usage Period" is in what openssl prints of a certificate. */
	bool found = strstr(text, "PRIVATE KEY") != NULL;

	if (!found) {
		intake_read(&intake, (const uint8_t *)text, strlen(text), &source, &problems);
		for (size_t i = 0; i < intake.n_blocks; i++)
			found = found || intake_type_is_secret(intake.blocks[i].type);
		intake_clear(&intake);
		problems_clear(&problems);
	}
	return found;
}

int bus_read_pem(sd_bus_message *m, const char **ret, const char *what, struct bus_failure *failure)
{
	if (bus_read_string(m, ret, what, BUS_PEM_MAX, BUS_E_BAD_CERTIFICATE, failure) < 0)
		return -1;
	if (text_has_key(*ret))
		return bus_fail(failure, BUS_E_SECRET_IN_ARGUMENT,
				"%s has a private key, which whoever listens to the bus, or lists "
				"processes, may have read: take another key, and hand it over as a "
				"file descriptor",
				what);
	return 0;
}

int bus_read_fd(sd_bus_message *m, int *ret, struct bus_failure *failure)
{
	int fd;

	if (sd_bus_message_read_basic(m, 'h', &fd) <= 0)
		return bus_fail(failure, BUS_E_BAD_DESCRIPTOR, "there is no file descriptor");
	*ret = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (*ret < 0)
		return bus_fail(failure, BUS_E_BUSY, "too many file descriptors are open");
	return 0;
}

int bus_read_key(sd_bus_message *m, const char **namespace, int *slot, struct bus_failure *failure)
{
	const char *expected;
	uint32_t number;

	if (bus_read_string(m, namespace, "namespace", CONFIG_NVS_NAME_MAX, BUS_E_INVALID_ARGUMENT,
			    failure) < 0)
		return -1;
	expected = syntax_namespace(*namespace);
	if (expected)
		return bus_fail(failure, BUS_E_INVALID_ARGUMENT, "namespace: expected %s",
				expected);
	if (sd_bus_message_read_basic(m, 'u', &number) <= 0)
		return read_failed(failure, "slot");
	if (number == UINT32_MAX) {
		*slot = DEVICE_SLOT_NONE;
		return 0;
	}
	if (number > CONFIG_SLOT_MAX)
		return bus_fail(failure, BUS_E_INVALID_ARGUMENT,
				"slot %u: expected 0 to %d, or 4294967295 for the key without a "
				"suffix",
				number, CONFIG_SLOT_MAX);
	if (strlen(*namespace) + strlen(".0") > CONFIG_NVS_NAME_MAX)
		return bus_fail(failure, BUS_E_INVALID_ARGUMENT,
				"namespace: %s.%u is longer than a key may be, expected at most %d "
				"characters",
				*namespace, number, CONFIG_NVS_NAME_MAX);
	*slot = (int)number;
	return 0;
}

/* ---- options ---- */

static int read_option(sd_bus_message *m, struct bus_option *option, struct bus_failure *failure)
{
	const char *contents;
	char type;

	if (bus_read_string(m, &option->key, "options", OPTION_KEY_MAX, BUS_E_INVALID_ARGUMENT,
			    failure) < 0)
		return -1;
	if (sd_bus_message_peek_type(m, &type, &contents) <= 0 || type != 'v')
		return read_failed(failure, "options");
	if (strlen(contents) >= sizeof(option->type))
		return bus_fail(failure, BUS_E_INVALID_ARGUMENT,
				"%s: a value of the type %.20s, expected a string, a number, true "
				"or false, or an array of strings or numbers",
				option->key, contents);
	strcpy(option->type, contents);
	if (sd_bus_message_enter_container(m, 'v', option->type) <= 0)
		return read_failed(failure, "options");
	return 0;
}

int bus_read_options(sd_bus_message *m,
		     int (*fn)(void *userdata, sd_bus_message *m, const struct bus_option *option,
			       struct bus_failure *failure),
		     void *userdata, struct bus_failure *failure)
{
	struct bus_option option;
	int r, n = 0;

	if (sd_bus_message_enter_container(m, 'a', "{sv}") < 0)
		return read_failed(failure, "options");
	while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		if (n++ == BUS_OPTIONS_MAX)
			return bus_fail(failure, BUS_E_INVALID_ARGUMENT,
					"expected at most %d options", BUS_OPTIONS_MAX);
		if (read_option(m, &option, failure) < 0 || fn(userdata, m, &option, failure) < 0)
			return -1;
		r = sd_bus_message_exit_container(m); /* the variant */
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
		if (r < 0)
			return read_failed(failure, option.key);
	}
	if (r < 0 || sd_bus_message_exit_container(m) < 0)
		return read_failed(failure, "options");
	return 0;
}

static int option_is_no(const struct bus_option *option, const char *expected,
			struct bus_failure *failure)
{
	return bus_fail(failure, BUS_E_INVALID_ARGUMENT, "%s: a value of the type %s, expected %s",
			option->key, option->type, expected);
}

int bus_option_string(sd_bus_message *m, const struct bus_option *option, const char **ret,
		      struct bus_failure *failure)
{
	if (strcmp(option->type, "s") != 0)
		return option_is_no(option, "a string", failure);
	return bus_read_string(m, ret, option->key, BUS_OPTION_STRING_MAX, BUS_E_INVALID_ARGUMENT,
			       failure);
}

int bus_option_bool(sd_bus_message *m, const struct bus_option *option, bool *ret,
		    struct bus_failure *failure)
{
	int value;

	if (strcmp(option->type, "b") != 0)
		return option_is_no(option, "true or false", failure);
	if (sd_bus_message_read_basic(m, 'b', &value) <= 0)
		return read_failed(failure, option->key);
	*ret = value;
	return 0;
}

int bus_option_int(sd_bus_message *m, const struct bus_option *option, long long *ret,
		   struct bus_failure *failure)
{
	struct sdbus_integer value;

	if (option->type[0] == '\0' || option->type[1] != '\0' ||
	    !strchr(SDBUS_INTEGERS, option->type[0]))
		return option_is_no(option, "a number", failure);
	if (sdbus_read_integer(m, option->type[0], &value) <= 0)
		return read_failed(failure, option->key);
	if (!value.is_signed && value.u > LLONG_MAX)
		return bus_fail(failure, BUS_E_INVALID_ARGUMENT, "%s: expected a smaller number",
				option->key);
	*ret = value.is_signed ? value.i : (long long)value.u;
	return 0;
}

int bus_option_unknown(const struct bus_option *option, const char *expected,
		       struct bus_failure *failure)
{
	return bus_fail(failure, BUS_E_INVALID_ARGUMENT, "%s: no option of this call, expected %s",
			option->key, expected);
}

int bus_fail_problems(struct bus_failure *failure, enum bus_error error,
		      const struct problems *problems)
{
	size_t used = 0;

	bus_fail(failure, error, "out of memory");
	for (size_t i = 0; i < problems->count; i++) {
		if (problems->items[i].severity != PROBLEM_ERROR)
			continue;
		used += (size_t)snprintf(failure->text + used, sizeof(failure->text) - used, "%s%s",
					 used > 0 ? "\n" : "", problems->items[i].text);
		if (used >= sizeof(failure->text) - 1)
			break;
	}
	return -1;
}
