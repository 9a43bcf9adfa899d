/* SPDX-License-Identifier: MIT */
/*
 * The table that the configuration's keys stand in, and the reader that it drives: types, ranges,
 * defaults, required, unknown and doubled entries, and what is equal, are all decided by the table
 * alone.
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
	KEY_FILE,    /* the same, or "credential:NAME" for a file of systemd's credentials */
	KEY_UINT,    /* unsigned int, @min..@max */
	KEY_INT,     /* int, @min..@max */
	KEY_BOOL,    /* bool */
	KEY_CHOICE,  /* an enum: the index in @choices */
	KEY_STRINGS, /* struct config_strings, each string checked by @check, at most @max */
	KEY_USERS,   /* struct config_ids, @min..@max of them, by name or number */
	KEY_GROUPS,  /* the same of groups */
	KEY_NAMED,   /* a pointer to an entry of @table, which @parse finds; equal by its name */
	KEY_GROUP,   /* a struct of @table, and a bool at @extra that says whether it is there */
	KEY_LIST,    /* an array of @table's struct, and its size_t at @extra */
	KEY_OTHER,   /* whatever @parse makes of it, and @equal compares */
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
	/* KEY_STRING, KEY_STRINGS, KEY_PATH, KEY_FILE: NULL if @value is good, else what is expected. */
	const char *(*check)(const char *value);
	/* KEY_NAMED, KEY_OTHER: sets @field, or complains. */
	void (*parse)(struct key_reader *reader, const struct key *key,
		      const config_setting_t *setting, void *field);
	void (*set_preset)(void *field);             /* KEY_OTHER */
	bool (*equal)(const void *a, const void *b); /* KEY_OTHER; without it nothing is equal */
};

struct key_table {
	const char *kind; /* "device"; NULL for the file itself */
	size_t size;      /* of the struct */
	size_t where;     /* offset of its struct config_where, if @kind */
	bool named;       /* its list wants names that differ; @name is the offset of a char * */
	size_t name;
	const struct key *keys;
	size_t n_keys;
	/* Of a key that is not in the table: true if it has complained better than "unknown". */
	bool (*refuse)(struct key_reader *reader, config_setting_t *group,
		       const config_setting_t *setting);
	/* Rules that span several keys, after all of them are read. */
	void (*finish)(struct key_reader *reader, config_setting_t *group, void *object);
};

/* One of several groups that are read into one object: of the file and of what stands beside it. */
struct key_part {
	config_setting_t *group;
	const char *file;   /* that it is in; the config's */
	const char *folder; /* that its relative paths start from */
};

struct key_reader {
	struct config *config;
	struct problems *problems;
	const char *file; /* as in the part that is being read */
	const char *folder;
	int error; /* 0 or -ENOMEM; the first one stays */
};

/* Reads @group into @object, which is zeroed. Complaints go to @reader, memory is @object's. */
void key_read_group(struct key_reader *reader, const struct key_table *table,
		    config_setting_t *group, void *object);

/*
 * The same of several parts: their lists and arrays are joined, any other key may stand in one of them
 * only. Each key is read in all parts before the next one.
 */
void key_read_parts(struct key_reader *reader, const struct key_table *table,
		    const struct key_part *parts, size_t n_parts, void *object);

/* Whether all fields are equal. */
bool key_equal_group(const struct key_table *table, const void *a, const void *b);

/* Frees what the fields of @object own, by the same table. */
void key_free_group(const struct key_table *table, void *object);

/* Adds an error about @setting. */
__attribute__((format(printf, 3, 4))) void
key_complain(struct key_reader *reader, const config_setting_t *setting, const char *format, ...);
/* "an integer": what @setting is, in words. */
const char *key_type_of(const config_setting_t *setting);
/* Where @setting stands; the file's name is kept by the config. */
struct config_where key_where(struct key_reader *reader, const config_setting_t *setting);
/* A copy of a file's name that lives as long as the config; NULL: out of memory. */
const char *key_keep_name(struct config *config, const char *name);
/* An absolute path in new memory, without `/` at its end; NULL: out of memory. */
char *key_absolute_path(const char *folder, const char *path);
