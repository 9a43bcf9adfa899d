/* SPDX-License-Identifier: MIT */
#include "ctl/table.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/text.h"
#include "util/cleanup.h"

#define COLUMNS_MAX 16

struct cell {
	char *text; /* clean */
	enum table_color color;
	bool note; /* takes a line of its own */
};

struct table {
	const char *titles[COLUMNS_MAX];
	bool right[COLUMNS_MAX];
	size_t columns;
	struct cell *cells;
	size_t n;
	bool failed; /* there was no memory */
};

int table_new(struct table **ret, const char *const *titles, size_t n)
{
	struct table *table = calloc(1, sizeof(*table));

	if (!table || n > COLUMNS_MAX) {
		free(table);
		return -ENOMEM;
	}
	table->columns = n;
	for (size_t i = 0; i < n; i++) {
		table->right[i] = titles[i][0] == '>';
		table->titles[i] = titles[i] + table->right[i];
	}
	*ret = table;
	return 0;
}

struct table *table_free(struct table *table)
{
	if (!table)
		return NULL;
	for (size_t i = 0; i < table->n; i++)
		free(table->cells[i].text);
	free(table->cells);
	free(table);
	return NULL;
}

__attribute__((format(printf, 4, 0))) static void add(struct table *table, enum table_color color,
						      bool note, const char *format, va_list ap)
{
	_cleanup_free_ char *raw = NULL;
	struct cell *cell;

	/* Room is doubled whenever the number is a power of two. */
	if ((table->n & (table->n - 1)) == 0) {
		cell = reallocarray(table->cells, table->n ? 2 * table->n : 1, sizeof(*cell));
		if (!cell) {
			table->failed = true;
			return;
		}
		table->cells = cell;
	}
	cell = &table->cells[table->n];
	if (vasprintf(&raw, format, ap) < 0) {
		raw = NULL;
		table->failed = true;
		return;
	}
	*cell = (struct cell){ text_clean(*raw ? raw : "-"), color, note };
	if (cell->text)
		table->n++;
	else
		table->failed = true;
}

void table_cell(struct table *table, enum table_color color, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	add(table, color, false, format, ap);
	va_end(ap);
}

void table_note(struct table *table, enum table_color color, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	add(table, color, true, format, ap);
	va_end(ap);
}

bool table_empty(const struct table *table)
{
	return table->n == 0;
}

const char *table_color_begin(enum table_color which, bool color)
{
	if (!color)
		return "";
	switch (which) {
	case TABLE_PLAIN:
		return "";
	case TABLE_BOLD:
		return "\x1b[1m";
	case TABLE_DIM:
		return "\x1b[2m";
	case TABLE_GOOD:
		return "\x1b[32m";
	case TABLE_WARNING:
		return "\x1b[33m";
	case TABLE_BAD:
		return "\x1b[31m";
	}
	return "";
}

const char *table_color_end(enum table_color which, bool color)
{
	return color && which != TABLE_PLAIN ? "\x1b[0m" : "";
}

static void put_cell(FILE *f, const char *text, size_t width, bool right, bool last,
		     enum table_color which, bool color)
{
	size_t own = text_width(text), pad = width > own ? width - own : 0;

	if (right)
		fprintf(f, "%*s", (int)pad, "");
	fputs(table_color_begin(which, color), f);
	fputs(text, f);
	fputs(table_color_end(which, color), f);
	if (last)
		putc('\n', f);
	else
		fprintf(f, "%*s", (int)(right ? 2 : pad + 2), "");
}

static void measure(const struct table *table, size_t width[COLUMNS_MAX])
{
	size_t column = 0;

	for (size_t i = 0; i < table->columns; i++)
		width[i] = text_width(table->titles[i]);
	for (size_t i = 0; i < table->n; i++) {
		size_t own = text_width(table->cells[i].text);

		if (table->cells[i].note)
			continue;
		if (own > width[column])
			width[column] = own;
		column = (column + 1) % table->columns;
	}
}

int table_print(const struct table *table, FILE *f, bool color)
{
	size_t width[COLUMNS_MAX] = { 0 }, column = 0;

	assert(table->columns > 0);
	if (table->failed)
		return -ENOMEM;
	measure(table, width);
	for (size_t i = 0; i < table->columns; i++)
		put_cell(f, table->titles[i], width[i], table->right[i], i + 1 == table->columns,
			 TABLE_BOLD, color);
	for (size_t i = 0; i < table->n; i++) {
		const struct cell *cell = &table->cells[i];

		if (cell->note) {
			fprintf(f, "  %s%s%s\n", table_color_begin(cell->color, color), cell->text,
				table_color_end(cell->color, color));
			continue;
		}
		put_cell(f, cell->text, width[column], table->right[column],
			 column + 1 == table->columns, cell->color, color);
		column = (column + 1) % table->columns;
	}
	return 0;
}
