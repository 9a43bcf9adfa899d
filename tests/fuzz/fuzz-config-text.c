/* SPDX-License-Identifier: MIT */
/*
 * The writer of configuration by any deeds: a byte for each, then its key and value, which end with a
 * NUL. What comes out is read back by libconfig as it was written.
 */
#include <errno.h>
#include <libconfig.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/text.h"
#include "must.h"

/* Bounded, to compare each with what is read back. */
#define VALUES_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const char *data;
	size_t size;
};

/* Up to the next NUL, which the caller's copy has at its end. */
static const char *next_string(struct input *in)
{
	const char *text = in->data;
	size_t len = strlen(text);
	size_t used = len < in->size ? len + 1 : in->size;

	in->data += used;
	in->size -= used;
	return text;
}

/* Strings in the order that they were written, also of arrays. */
static size_t check_strings(const config_setting_t *group, const char *const *values, size_t i)
{
	int n = config_setting_length(group);

	for (int k = 0; k < n; k++) {
		const config_setting_t *setting = config_setting_get_elem(group, (unsigned int)k);

		if (config_setting_type(setting) == CONFIG_TYPE_STRING)
			MUST(strcmp(config_setting_get_string(setting), values[i++]) == 0);
		else if (config_setting_is_aggregate(setting))
			i = check_strings(setting, values, i);
	}
	return i;
}

static size_t write_all(struct config_writer *w, struct input *in, const char **values)
{
	size_t n = 0;

	while (in->size > 0 && n + 2 < VALUES_MAX) {
		char deed = *in->data++;
		const char *key;

		in->size--;
		key = deed % 6 == 0 ? "" : next_string(in);
		switch (deed % 6) {
		case 1:
			values[n] = next_string(in);
			config_write_string(w, key, values[n++]);
			break;
		case 2:
			values[n] = next_string(in);
			values[n + 1] = next_string(in);
			config_write_strings(w, key, values + n, 2);
			n += 2;
			break;
		case 3:
			config_write_int(w, key, strtoll(next_string(in), NULL, 0));
			break;
		case 4:
			config_write_begin(w, key);
			break;
		case 5:
			config_write_bool(w, key, true);
			break;
		default:
			config_write_end(w);
		}
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *values[VALUES_MAX];
	struct config_writer *w;
	char *copy = malloc(size + 1), *text = NULL;
	struct input in = { .data = copy, .size = size };
	size_t n;
	int r;

	MUST(copy);
	memcpy(copy, data, size);
	copy[size] = '\0';
	MUST(config_writer_new(&w, "x") == 0);
	n = write_all(w, &in, values);
	r = config_writer_finish(w, &text);
	MUST((r == 0 || r == -EINVAL) && (r == 0) == (text != NULL));
	if (text) {
		config_t tree;

		config_init(&tree);
		MUST(config_read_string(&tree, text));
		MUST(check_strings(config_root_setting(&tree), values, 0) == n);
		config_destroy(&tree);
	}
	free(text);
	config_writer_free(w);
	free(copy);
	return 0;
}
