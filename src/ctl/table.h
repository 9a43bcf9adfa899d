/* SPDX-License-Identifier: MIT */
/* A table for people: columns as wide as their widest cell, colours where they are wanted. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "util/cleanup.h"

enum table_color {
	TABLE_PLAIN,
	TABLE_BOLD,
	TABLE_DIM,
	TABLE_GOOD,
	TABLE_WARNING,
	TABLE_BAD,
};

struct table;

/* @titles: n of them, literals; one that begins with '>' is of numbers, at the right. 0 or -ENOMEM. */
int table_new(struct table **ret, const char *const *titles, size_t n);
struct table *table_free(struct table *table);
DEFINE_CLEANUP(struct table *, table_free)
#define _cleanup_table_ _cleanup_(table_freep)
/*
 * The next cell of the row, then of the next row. Cleaned by text_clean(); an empty one is shown as "-".
 * A lack of memory is told by table_print().
 */
__attribute__((format(printf, 3, 4))) void table_cell(struct table *table, enum table_color color,
						      const char *format, ...);
/* A line below the row that has just ended, such as its last error. */
__attribute__((format(printf, 3, 4))) void table_note(struct table *table, enum table_color color,
						      const char *format, ...);
bool table_empty(const struct table *table);
/* Returns 0 or -ENOMEM. */
int table_print(const struct table *table, FILE *f, bool color);

/* The escape sequence of a colour, and of its end; "" without @color. */
const char *table_color_begin(enum table_color which, bool color);
const char *table_color_end(enum table_color which, bool color);
