/* SPDX-License-Identifier: MIT */
/* util/ring: order across wraps and growth, the hard bound, and that an empty ring holds no memory. */
#include "test.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "util/ring.h"

#define RING_MAX 16384

static void assert_content(const struct ring *ring, const uint8_t *want, size_t len)
{
	struct iovec iov[2];
	size_t off = 0;
	int n = ring_peek(ring, iov);

	assert_int_equal(ring->len, len);
	for (int i = 0; i < n; i++) {
		assert_true(iov[i].iov_len > 0 && off + iov[i].iov_len <= len);
		assert_memory_equal(iov[i].iov_base, want + off, iov[i].iov_len);
		off += iov[i].iov_len;
	}
	assert_int_equal(off, len);
}

static void test_empty(void **state)
{
	struct ring ring;
	struct iovec iov[2];

	ring_init(&ring, RING_MAX);
	assert_null(ring.data);
	assert_int_equal(ring_peek(&ring, iov), 0);
	ring_drop(&ring, 5);
	assert_int_equal(ring_put(&ring, "", 0), 0);
	assert_int_equal(ring.len, 0);
	ring_deinit(&ring);
}

static void test_bound_is_exact(void **state)
{
	static uint8_t data[RING_MAX];
	struct ring ring;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	ring_init(&ring, RING_MAX);
	assert_int_equal(ring_put(&ring, data, RING_MAX - 1), 0);
	assert_int_equal(ring_put(&ring, "ab", 2), -ENOBUFS);
	assert_content(&ring, data, RING_MAX - 1); /* all or nothing */
	assert_int_equal(ring_put(&ring, data + RING_MAX - 1, 1), 0);
	assert_content(&ring, data, RING_MAX);
	assert_int_equal(ring.size, RING_MAX);
	assert_int_equal(ring_put(&ring, "a", 1), -ENOBUFS);
	assert_int_equal(ring_put(&ring, "a", SIZE_MAX), -ENOBUFS);
	ring_deinit(&ring);
}

static void test_memory_goes_back(void **state)
{
	struct ring ring;
	const uint8_t *data;

	ring_init(&ring, RING_MAX);
	assert_int_equal(ring_put(&ring, "hello", 5), 0);
	data = ring.data;
	assert_non_null(data);
	ring_drop(&ring, 4);
	ring_trim(&ring); /* not while something is in it */
	assert_content(&ring, (const uint8_t *)"o", 1);
	ring_drop(&ring, 1);
	/* What comes next needs no other memory. */
	assert_int_equal(ring_put(&ring, "again", 5), 0);
	assert_ptr_equal(ring.data, data);
	assert_content(&ring, (const uint8_t *)"again", 5);
	ring_drop(&ring, 1000);
	assert_int_equal(ring.len, 0);
	ring_trim(&ring);
	assert_null(ring.data);
	assert_int_equal(ring.size, 0);
	assert_int_equal(ring.max, RING_MAX);
	assert_int_equal(ring_put(&ring, "and again", 9), 0);
	assert_content(&ring, (const uint8_t *)"and again", 9);
	ring_deinit(&ring);
}

static void test_wiped(void **state)
{
	static uint8_t data[5000];
	struct ring ring;

	memset(data, 'x', sizeof(data));
	ring_init(&ring, RING_MAX);
	ring.wipe = true;
	/* At last it wraps: both pieces go. */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ring_put(&ring, data, sizeof(data)), 0);
		if (i == 0)
			memset(ring.data + sizeof(data), 0, ring.size - sizeof(data));
		ring_drop(&ring, sizeof(data) - 1);
		for (size_t k = 0; k < ring.size; k++)
			assert_int_equal(ring.data[k] != 0,
					 ((k - ring.head) & (ring.size - 1)) < ring.len);
	}
	ring_drop(&ring, ring.len);
	for (size_t k = 0; k < ring.size; k++)
		assert_int_equal(ring.data[k], 0);
	ring_deinit(&ring);
}

static void test_against_model(void **state)
{
	static uint8_t model[RING_MAX];
	uint8_t chunk[5000];
	size_t len = 0, wraps = 0, grown_wrapped = 0;
	uint64_t seed = 0x5eed0002;
	struct iovec iov[2];
	struct ring ring;

	ring_init(&ring, RING_MAX);
	for (size_t round = 0; round < 20000; round++) {
		size_t n = test_random_below(&seed, round % 3 ? 700 : sizeof(chunk)) + 1;

		if (test_random_below(&seed, 2)) {
			bool wrapped = ring_peek(&ring, iov) == 2;
			size_t size = ring.size;

			for (size_t i = 0; i < n; i++)
				chunk[i] = (uint8_t)test_random(&seed);
			if (len + n > RING_MAX) {
				assert_int_equal(ring_put(&ring, chunk, n), -ENOBUFS);
			} else {
				assert_int_equal(ring_put(&ring, chunk, n), 0);
				memcpy(model + len, chunk, n);
				len += n;
				grown_wrapped += wrapped && ring.size > size;
			}
		} else {
			size_t gone = n < len ? n : len;

			ring_drop(&ring, n);
			memmove(model, model + gone, len - gone);
			len -= gone;
			ring_trim(&ring);
		}
		wraps += ring_peek(&ring, iov) == 2;
		assert_content(&ring, model, len);
	}
	/* The cases that this is about did occur. */
	assert_true(wraps > 100);
	assert_true(grown_wrapped > 5);
	ring_deinit(&ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_bound_is_exact),
		cmocka_unit_test(test_memory_goes_back),
		cmocka_unit_test(test_wiped),
		cmocka_unit_test(test_against_model),
	};

	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
