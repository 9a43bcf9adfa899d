/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer learns words from what strcmp() and its like compare. Where an input is no text there is nothing to learn,
 * and it costs a sixth of the time: the linker puts these in their place (--wrap), which AddressSanitizer checks as it
 * checks all of our own.
 */
#include <stddef.h>

int __wrap_memcmp(const void *a, const void *b, size_t n);
int __wrap_strcmp(const char *a, const char *b);
int __wrap_strncmp(const char *a, const char *b, size_t n);

int __wrap_memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *x = a, *y = b;

	for (size_t i = 0; i < n; i++)
		if (x[i] != y[i])
			return x[i] - y[i];
	return 0;
}

int __wrap_strncmp(const char *a, const char *b, size_t n)
{
	const unsigned char *x = (const unsigned char *)a, *y = (const unsigned char *)b;

	for (size_t i = 0; i < n; i++)
		if (x[i] != y[i] || !x[i])
			return x[i] - y[i];
	return 0;
}

int __wrap_strcmp(const char *a, const char *b)
{
	return __wrap_strncmp(a, b, (size_t)-1);
}
