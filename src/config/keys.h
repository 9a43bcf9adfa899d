/* SPDX-License-Identifier: MIT */
/*
 * The table that the configuration's keys stand in, and the reader that it drives: types, ranges,
 * defaults, required, unknown and doubled entries are all decided by the table alone.
 */
#pragma once

#include <libconfig.h>
#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"
#include "util/problems.h"

struct key_reader;
struct key_table;

enum key_type {
	KEY_STRING,  /* char * */
	KEY_PATH,    /* char *, made absolute */
	KEY_UINT,    /* unsigned int, @min..@max */
	KEY_INT,     /* int, @min..@max */
	KEY_BOOL,    /* bool */
	KEY_CHOICE,  /* an enum: the index in @choices */
	KEY_STRINGS, /* struct config_strings, each string checked by @check, at most @max */
	KEY_GROUP,   /* a struct of @table, and a bool at @extra that says whether it is there */
	KEY_LIST,    /* an array of @table's struct, and its size_t at @extra */
	KEY_OTHER,   /* whatever @parse makes of it */
};

struct key {
	const char *name;
	enum key_type type;
	size_t offset;
	size_t extra;
	bool required;
	long min;
	long max;                /* of KEY_LIST: the most entries */
	long preset;             /* default of KEY_UINT, KEY_INT and KEY_BOOL */
	const char *preset_text; /* default of KEY_STRING and KEY_PATH, NULL: stays NULL */
	const char *expected;    /* in words; made from type and range if NULL */
	const struct key_table *table;
	const char *const *choices; /* KEY_CHOICE: NULL-terminated; the first one is the default */
	/* KEY_STRING, KEY_STRINGS, KEY_PATH: NULL if @value is good, else what is expected. */
	const char *(*check)(const char *value);
	/* KEY_OTHER: sets @field, or complains. */
	void (*parse)(struct key_reader *reader, const struct key *key,
		      const config_setting_t *setting, void *field);
	void (*set_preset)(void *field); /* KEY_OTHER */
};

struct key_table {
	const char *kind; /* "device"; NULL for the file itself */
	size_t size;      /* of the struct */
	size_t where;     /* offset of its struct config_where, if @kind */
	bool named;       /* its list wants names that differ; @name is the offset of a char * */
	size_t name;
	const struct key *keys;
	size_t n_keys;
	/* Rules that span several keys, after all of them are read. */
	void (*finish)(struct key_reader *reader, config_setting_t *group, void *object);
};

struct key_reader {
	struct config *config;
	struct problems *problems;
	const char *folder; /* that relative paths start from */
	int error;          /* 0 or -ENOMEM; the first one stays */
};

/* Reads @group into @object, which is zeroed. Complaints go to @reader, memory is @object's. */
void key_read_group(struct key_reader *reader, const struct key_table *table,
		    config_setting_t *group, void *object);

/* Frees what the fields of @object own, by the same table. */
void key_free_group(const struct key_table *table, void *object);

/* Adds an error about @setting. */
__attribute__((format(printf, 3, 4))) void
key_complain(struct key_reader *reader, const config_setting_t *setting, const char *format, ...);
/* "an integer": what @setting is, in words. */
const char *key_type_of(const config_setting_t *setting);
/* Where @setting stands; the file's name is kept by the config. */
struct config_where key_where(struct key_reader *reader, const config_setting_t *setting);
/* An absolute path in new memory, without `/` at its end; NULL: out of memory. */
char *key_absolute_path(const char *folder, const char *path);
