/* SPDX-License-Identifier: MIT */
/* PEM, DER and C arrays -> DER blocks. Every buffer may hold a private key, so all are wiped. */
#include "cert/intake.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cert/complain.h"
#include "util/cleanup.h"

#define PEM_BEGIN "-----BEGIN "
#define PEM_END "-----END "
#define PEM_DASHES "-----"

#define DER_INTEGER 0x02
#define DER_OCTET_STRING 0x04
#define DER_OID 0x06
#define DER_SEQUENCE 0x30

int cert_complain(const struct cert_source *source, struct problems *problems,
		  enum problem_severity severity, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;
	int r;

	va_start(ap, format);
	r = vasprintf(&text, format, ap);
	va_end(ap);
	if (r < 0) {
		text = NULL;
		problems->errors += severity == PROBLEM_ERROR;
		return -ENOMEM;
	}
	if (!source->name)
		return problems_add(problems, severity, source->file, source->line, "%s", text);
	return problems_add(problems, severity, source->file, source->line, "%.1000s: %s",
			    source->name, text);
}

void intake_wipe(void *data, size_t len)
{
	if (!data)
		return;
	explicit_bzero(data, len);
	free(data);
}

void intake_clear(struct intake *intake)
{
	for (size_t i = 0; i < intake->n_blocks; i++)
		intake_wipe(intake->blocks[i].der, intake->blocks[i].len);
	free(intake->blocks);
	*intake = (struct intake)INTAKE_NULL;
}

/* A complaint that ends the reading. */
#define REFUSE(source, problems, ...)                                                              \
	(cert_complain(source, problems, PROBLEM_ERROR, __VA_ARGS__) < 0 ? -ENOMEM : -EINVAL)

/* Adds a block with room for @size bytes; NULL: out of memory. */
static struct intake_block *intake_add(struct intake *intake, size_t size)
{
	struct intake_block *blocks, *block;
	uint8_t *der = malloc(size ? size : 1);

	if (!der)
		return NULL;
	/* The array holds pointers and labels, no secrets: it may be moved without a wipe. */
	blocks = reallocarray(intake->blocks, intake->n_blocks + 1, sizeof(*blocks));
	if (!blocks) {
		free(der);
		return NULL;
	}
	intake->blocks = blocks;
	block = &blocks[intake->n_blocks++];
	*block = (struct intake_block){ .type = INTAKE_OTHER, .der = der, .len = size };
	return block;
}

/* ---- DER ---- */

struct der {
	uint8_t tag;
	const uint8_t *data;
	size_t len;
};

/* Takes one element off the front of @data; false, and nothing changed, if there is no whole one. */
static bool der_next(struct der *ret, const uint8_t **data, size_t *len)
{
	const uint8_t *p = *data;
	size_t left = *len, n;

	if (left < 2)
		return false;
	n = p[1];
	p += 2;
	left -= 2;
	if (n & 0x80) {
		size_t bytes = n & 0x7f;

		if (bytes == 0 || bytes > 4 || bytes > left)
			return false;
		n = 0;
		for (size_t i = 0; i < bytes; i++)
			n = n << 8 | p[i];
		p += bytes;
		left -= bytes;
	}
	if (n > left)
		return false;
	*ret = (struct der){ .tag = **data, .data = p, .len = n };
	*data = p + n;
	*len = left - n;
	return true;
}

/* What kind of thing a DER sequence is, by its first elements. */
static enum intake_type der_type(const uint8_t *data, size_t len)
{
	struct der outer, first, second = { 0 }, inner;

	if (!der_next(&outer, &data, &len) || outer.tag != DER_SEQUENCE)
		return INTAKE_OTHER;
	data = outer.data;
	len = outer.len;
	if (!der_next(&first, &data, &len))
		return INTAKE_OTHER;
	der_next(&second, &data, &len);
	if (first.tag == DER_INTEGER) {
		if (second.tag == DER_OCTET_STRING)
			return INTAKE_KEY_EC;
		if (second.tag == DER_INTEGER)
			return INTAKE_KEY_RSA;
		if (second.tag != DER_SEQUENCE)
			return INTAKE_OTHER;
		return first.len == 1 && first.data[0] == 3 ? INTAKE_PKCS12 : INTAKE_KEY_PKCS8;
	}
	if (first.tag == DER_OID)
		return INTAKE_PKCS7;
	if (first.tag != DER_SEQUENCE)
		return INTAKE_OTHER;
	data = first.data;
	len = first.len;
	if (!der_next(&inner, &data, &len))
		return INTAKE_OTHER;
	if (inner.tag == DER_OID && second.tag == DER_OCTET_STRING)
		return INTAKE_KEY_ENCRYPTED;
	return INTAKE_CERT;
}

/* Padding that tools put behind the last element. */
static bool is_padding(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (data[i] != 0 && data[i] != '\r' && data[i] != '\n')
			return false;
	return true;
}

static int read_der(struct intake *intake, const uint8_t *data, size_t len,
		    const struct cert_source *source, struct problems *problems)
{
	while (!is_padding(data, len)) {
		const uint8_t *start = data;
		struct intake_block *block;
		struct der element;

		if (intake->n_blocks == INTAKE_BLOCKS_MAX)
			return REFUSE(source, problems, "has too many parts, expected at most %d",
				      INTAKE_BLOCKS_MAX);
		if (!der_next(&element, &data, &len) || element.tag != DER_SEQUENCE)
			return REFUSE(source, problems,
				      intake->n_blocks
					      ? "has bytes that are no DER behind its end, "
						"expected PEM or DER"
					      : "looks like DER that is cut off, expected a "
						"whole PEM or DER file");
		block = intake_add(intake, data - start);
		if (!block)
			return -ENOMEM;
		memcpy(block->der, start, block->len);
		block->type = der_type(start, block->len);
		strcpy(block->label, "DER");
	}
	return 0;
}

/* ---- PEM ---- */

static const struct {
	const char *label;
	enum intake_type type;
} pem_labels[] = {
	{ "CERTIFICATE", INTAKE_CERT },
	{ "X509 CERTIFICATE", INTAKE_CERT },
	{ "TRUSTED CERTIFICATE", INTAKE_CERT_TRUSTED },
	{ "PRIVATE KEY", INTAKE_KEY_PKCS8 },
	{ "RSA PRIVATE KEY", INTAKE_KEY_RSA },
	{ "EC PRIVATE KEY", INTAKE_KEY_EC },
	{ "ENCRYPTED PRIVATE KEY", INTAKE_KEY_ENCRYPTED },
	{ "DSA PRIVATE KEY", INTAKE_KEY_UNUSABLE },
	{ "OPENSSH PRIVATE KEY", INTAKE_KEY_UNUSABLE },
	{ "EC PARAMETERS", INTAKE_PARAMETERS },
	{ "PKCS7", INTAKE_PKCS7 },
	{ "CMS", INTAKE_PKCS7 },
};

static enum intake_type pem_type(const char *label)
{
	for (size_t i = 0; i < sizeof(pem_labels) / sizeof(pem_labels[0]); i++)
		if (strcmp(pem_labels[i].label, label) == 0)
			return pem_labels[i].type;
	return INTAKE_OTHER;
}

static int base64_value(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decodes into @out, which has room for all; false if it is no base64. */
static bool base64_decode(uint8_t *out, size_t *out_len, const uint8_t *text, size_t len)
{
	size_t n = 0, digits = 0, pads = 0;
	unsigned int bits = 0;

	for (size_t i = 0; i < len; i++) {
		int value;

		if (text[i] == ' ' || text[i] == '\t' || text[i] == '\r' || text[i] == '\n')
			continue;
		if (text[i] == '=') {
			pads++;
			continue;
		}
		value = base64_value(text[i]);
		if (value < 0 || pads > 0)
			return false;
		bits = (bits << 6 | value) & 0xffffff;
		if (++digits % 4 == 0) {
			out[n++] = bits >> 16;
			out[n++] = bits >> 8 & 0xff;
			out[n++] = bits & 0xff;
		}
	}
	if (pads > 2 || (digits + pads) % 4 != 0)
		return false;
	if (pads == 1) {
		out[n++] = bits >> 10 & 0xff;
		out[n++] = bits >> 2 & 0xff;
	} else if (pads == 2) {
		out[n++] = bits >> 4 & 0xff;
	}
	*out_len = n;
	return n > 0;
}

static unsigned int line_of(const uint8_t *data, const uint8_t *p)
{
	unsigned int line = 1;

	for (; data < p; data++)
		line += *data == '\n';
	return line;
}

/* Skips "Proc-Type: 4,ENCRYPTED" and the like; true if they say that the body is encrypted. */
static bool skip_headers(const uint8_t **body, size_t *len)
{
	bool encrypted = false;

	while (*len > 0) {
		const uint8_t *end = memchr(*body, '\n', *len);
		size_t line = end ? (size_t)(end - *body) + 1 : *len;

		if (!memchr(*body, ':', line) && !is_padding(*body, line))
			break;
		encrypted = encrypted || memmem(*body, line, "ENCRYPTED", 9);
		*body += line;
		*len -= line;
	}
	return encrypted;
}

static int read_pem(struct intake *intake, const uint8_t *data, size_t len,
		    const struct cert_source *source, struct problems *problems)
{
	const uint8_t *const start = data;
	const uint8_t *begin;

	while ((begin = memmem(data, len, PEM_BEGIN, strlen(PEM_BEGIN)))) {
		const uint8_t *label = begin + strlen(PEM_BEGIN);
		size_t left = len - (label - data), label_len, body_len;
		const uint8_t *end = memmem(label, left, PEM_DASHES, strlen(PEM_DASHES));
		unsigned int line = line_of(start, begin);
		struct intake_block *block;
		const uint8_t *body;
		bool encrypted;

		label_len = end ? (size_t)(end - label) : left;
		if (!end || label_len == 0 || label_len >= sizeof(block->label) ||
		    memchr(label, '\n', label_len))
			return REFUSE(source, problems,
				      "line %u: BEGIN without a label, expected "
				      "-----BEGIN CERTIFICATE----- or the like",
				      line);
		body = end + strlen(PEM_DASHES);
		left -= body - label;
		end = memmem(body, left, PEM_DASHES, strlen(PEM_DASHES));
		if (!end || (size_t)(body + left - end) < strlen(PEM_END) + label_len ||
		    memcmp(end, PEM_END, strlen(PEM_END)) != 0 ||
		    memcmp(end + strlen(PEM_END), label, label_len) != 0)
			return REFUSE(
				source, problems,
				"line %u: the block has no matching end (is the file cut off?), "
				"expected -----END %.*s-----",
				line, (int)label_len, label);
		body_len = end - body;
		data = end + strlen(PEM_END) + label_len;
		len = body + left - data;

		if (intake->n_blocks == INTAKE_BLOCKS_MAX)
			return REFUSE(source, problems, "has too many blocks, expected at most %d",
				      INTAKE_BLOCKS_MAX);
		encrypted = skip_headers(&body, &body_len);
		block = intake_add(intake, body_len);
		if (!block)
			return -ENOMEM;
		memcpy(block->label, label, label_len);
		block->label[label_len] = '\0';
		block->line = line;
		block->type = encrypted ? INTAKE_KEY_ENCRYPTED : pem_type(block->label);
		explicit_bzero(block->der, block->len);
		if (encrypted) {
			block->len = 0;
			continue;
		}
		if (!base64_decode(block->der, &block->len, body, body_len))
			return REFUSE(source, problems,
				      "line %u: the %s block is damaged, expected base64 text",
				      line, block->label);
	}
	return 0;
}

/* ---- C arrays ---- */

static bool is_word(uint8_t c)
{
	return isalnum(c) || c == '_';
}

/* Blanks comments and preprocessor lines out, in place. */
static void strip_c(uint8_t *text, size_t len)
{
	bool line_start = true;

	for (size_t i = 0; i < len;) {
		size_t end = i + 1;

		if (text[i] == '#' && line_start) {
			while (end < len && text[end] != '\n')
				end++;
		} else if (text[i] == '/' && i + 1 < len && text[i + 1] == '/') {
			while (end < len && text[end] != '\n')
				end++;
		} else if (text[i] == '/' && i + 1 < len && text[i + 1] == '*') {
			const uint8_t *close = memmem(text + i + 2, len - i - 2, "*/", 2);

			end = close ? (size_t)(close - text) + 2 : len;
		} else {
			line_start = text[i] == '\n' || (line_start && isspace(text[i]));
			i = end;
			continue;
		}
		memset(text + i, ' ', end - i);
		i = end;
	}
}

/* The part of @text between the braces, or all of it if there are none; false: several arrays. */
static bool array_body(const uint8_t **text, size_t *len)
{
	const uint8_t *open = memchr(*text, '{', *len), *close;
	size_t left;

	if (!open)
		return true;
	left = *len - (open + 1 - *text);
	close = memchr(open + 1, '}', left);
	if (!close)
		close = *text + *len;
	if (memchr(close, '{', *text + *len - close))
		return false;
	*text = open + 1;
	*len = close - (open + 1);
	return true;
}

/* Whether the first thing in @text is a number of a C array. */
static bool starts_array(const uint8_t *text, size_t len)
{
	size_t i = 0;

	while (i < len && isspace(text[i]))
		i++;
	return len - i >= 4 && text[i] == '0' && (text[i + 1] | 0x20) == 'x' &&
	       isxdigit(text[i + 2]);
}

/* One number at @text; its length, 0 if it is no byte. */
static size_t array_number(uint8_t *ret, const uint8_t *text, size_t len)
{
	unsigned int value = 0, base = 10;
	size_t i = 0, start;

	if (len > 2 && text[0] == '0' && (text[1] | 0x20) == 'x') {
		base = 16;
		i = 2;
	}
	for (start = i; i < len && isxdigit(text[i]) && i - start < 3; i++) {
		unsigned int digit = isdigit(text[i]) ? text[i] - '0' : (text[i] | 0x20) - 'a' + 10;

		if (digit >= base)
			return 0;
		value = value * base + digit;
	}
	if (i == start || value > 0xff || (i < len && is_word(text[i])))
		return 0;
	*ret = value;
	return i;
}

/* Decodes into @out, which has room for all. Returns the number of bytes, or -1 - its place. */
static ssize_t array_decode(uint8_t *out, const uint8_t *text, size_t len)
{
	ssize_t n = 0;

	for (size_t i = 0; i < len;) {
		size_t digits;

		if (isspace(text[i]) || text[i] == ',') {
			i++;
			continue;
		}
		digits = array_number(&out[n], text + i, len - i);
		if (digits == 0)
			return -1 - n;
		i += digits;
		n++;
	}
	return n;
}

static int read_bytes(struct intake *intake, const uint8_t *data, size_t len, bool in_array,
		      const struct cert_source *source, struct problems *problems);

/* Returns 1 if @data is no C array at all. */
static int read_array(struct intake *intake, const uint8_t *data, size_t len,
		      const struct cert_source *source, struct problems *problems)
{
	uint8_t *text = NULL, *bytes = NULL;
	const uint8_t *body;
	size_t body_len = len;
	ssize_t n;
	int r;

	text = malloc(len);
	bytes = calloc(1, len);
	if (!text || !bytes) {
		r = -ENOMEM;
		goto out;
	}
	memcpy(text, data, len);
	strip_c(text, len);
	body = text;
	if (!array_body(&body, &body_len)) {
		/* Of other texts with braces we only know that they are not ours. */
		r = memmem(text, len, "0x", 2)
			    ? REFUSE(source, problems, "holds several C arrays, expected one")
			    : 1;
		goto out;
	}
	if (!starts_array(body, body_len)) {
		r = 1;
		goto out;
	}
	n = array_decode(bytes, body, body_len);
	if (n < 0)
		r = REFUSE(source, problems,
			   "element %zd of the C array is no byte, expected 0x00 to 0xff", -n);
	else
		r = read_bytes(intake, bytes, n, true, source, problems);
out:
	intake_wipe(text, len);
	intake_wipe(bytes, len);
	return r;
}

/* ---- all of them ---- */

static int read_bytes(struct intake *intake, const uint8_t *data, size_t len, bool in_array,
		      const struct cert_source *source, struct problems *problems)
{
	int r;

	if (is_padding(data, len))
		return REFUSE(source, problems, "is empty, expected PEM or DER");
	if (len >= 2 && data[0] == 0xf1 && data[1] == 0xf1)
		return REFUSE(
			source, problems,
			"is wrapped by AtPKI.py (header F1 F1), which is the form of a flash "
			"partition and never works in the chip's NVS, expected the PEM or DER "
			"file that it was made from");
	if (len >= 2 &&
	    ((data[0] == 0xff && data[1] == 0xfe) || (data[0] == 0xfe && data[1] == 0xff)))
		return REFUSE(source, problems, "is text in UTF-16, expected ASCII or UTF-8");
	if (memmem(data, len, PEM_BEGIN, strlen(PEM_BEGIN)))
		return read_pem(intake, data, len, source, problems);
	/* 0x30 is also `0`, which an array may begin with: `0x2D`. No DER of ours begins with 0x30 0x78. */
	if (data[0] == DER_SEQUENCE && !(len > 1 && (data[1] | 0x20) == 'x'))
		return read_der(intake, data, len, source, problems);
	r = in_array ? 1 : read_array(intake, data, len, source, problems);
	if (r != 1)
		return r;
	return REFUSE(source, problems,
		      "holds no certificate and no key, expected PEM (-----BEGIN ...), DER or a C "
		      "array of one (0x2D, 0x2D, ...)");
}

int intake_read(struct intake *intake, const uint8_t *data, size_t len,
		const struct cert_source *source, struct problems *problems)
{
	return read_bytes(intake, data, len, false, source, problems);
}
