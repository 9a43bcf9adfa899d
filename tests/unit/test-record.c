/* SPDX-License-Identifier: MIT */
/* device/record: what is ours. It comes back from a chip that others may have written to. */
#include "test.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cert/digest.h"
#include "device/record.h"

/* A record, its sum once more, and something behind it. */
#define ROOM (CERT_BLOB_MAX + 256)

#define HEX_OF_A "6161616161616161616161616161616161616161616161616161616161616161"
#define LINE(key) key " 0123456789abcdef 1 " HEX_OF_A "\n"

static struct record_entry entry(const char *key, uint64_t name, unsigned int generation,
				 char digest)
{
	struct record_entry e = { .name = name, .generation = generation };

	snprintf(e.key, sizeof(e.key), "%s", key);
	memset(e.digest, digest, sizeof(e.digest));
	return e;
}

static void put(struct record *record, const char *key, uint64_t name, unsigned int generation,
		char digest)
{
	struct record_entry e = entry(key, name, generation, digest);

	assert_int_equal(record_put(record, &e), 0);
}

/* @text with the sum that it should have. */
static size_t with_sum(char buf[ROOM], const char *text, size_t len)
{
	uint8_t digest[CERT_DIGEST_SIZE];
	char *p = buf + len;

	memmove(buf, text, len);
	assert_int_equal(cert_digest_of(text, len, digest), 0);
	p += sprintf(p, "sum ");
	for (size_t i = 0; i < CERT_DIGEST_SIZE; i++)
		p += sprintf(p, "%02x", digest[i]);
	*p++ = '\n';
	return (size_t)(p - buf);
}

static bool is_empty(const struct record *record)
{
	static const struct record empty;

	return memcmp(record, &empty, sizeof(empty)) == 0;
}

static bool parses(const char *text, size_t len)
{
	struct record record;
	int r;

	memset(&record, 0xa5, sizeof(record));
	r = record_parse(&record, text, len);
	assert_true(r == 0 || r == -EBADMSG);
	if (r < 0)
		assert_true(is_empty(&record));
	return r == 0;
}

/* With a right sum around it. */
static bool body_parses(const char *text, size_t len)
{
	char buf[ROOM];

	assert_true(len + 256 <= sizeof(buf));
	return parses(buf, with_sum(buf, text, len));
}

static size_t format(const struct record *record, char buf[CERT_BLOB_MAX])
{
	size_t len = record_format(record, buf);

	assert_in_range(len, 1, CERT_BLOB_MAX);
	return len;
}

static void fill(struct record *record)
{
	memset(record, 0, sizeof(*record));
	put(record, "client_ca.0", 0x0123456789abcdef, 1, 'a');
	put(record, "client_cert.9", 0, 4294967295u, 'c');
	put(record, "mqtt_ca", UINT64_MAX, 0, '\xff');
	record->sequence = 77;
	record->writes = 12345;
}

static void test_text(void **state)
{
	static const char expected[] = "espatd 1 3 7\n"
				       "client_ca.0 0123456789abcdef 1 " HEX_OF_A "\n"
				       "mqtt_ca 00000000000000ff 4294967295 " HEX_OF_A "\n";
	struct record record = { .sequence = 3, .writes = 7 };
	char buf[CERT_BLOB_MAX], want[ROOM];
	size_t len, want_len;

	put(&record, "client_ca.0", 0x0123456789abcdef, 1, 'a');
	put(&record, "mqtt_ca", 0xff, 4294967295u, 'a');
	len = format(&record, buf);
	want_len = with_sum(want, expected, strlen(expected));
	assert_int_equal(len, want_len);
	assert_memory_equal(buf, want, len);
}

static void test_round_trip(void **state)
{
	struct record record, back;
	char buf[CERT_BLOB_MAX], again[CERT_BLOB_MAX];
	size_t len;

	fill(&record);
	len = format(&record, buf);
	assert_int_equal(record_parse(&back, buf, len), 0);
	assert_int_equal(back.n, 3);
	assert_int_equal(back.sequence, 77);
	assert_int_equal(back.writes, 12345);
	assert_true(record_equal(&record, &back));
	for (size_t i = 0; i < record.n; i++) {
		assert_string_equal(back.entries[i].key, record.entries[i].key);
		assert_int_equal(back.entries[i].name, record.entries[i].name);
		assert_int_equal(back.entries[i].generation, record.entries[i].generation);
	}
	assert_int_equal(format(&back, again), len);
	assert_memory_equal(buf, again, len);
	/* An empty one is one, too. */
	memset(&record, 0, sizeof(record));
	record.writes = UINT64_MAX;
	len = format(&record, buf);
	assert_int_equal(record_parse(&back, buf, len), 0);
	assert_int_equal(back.n, 0);
	assert_true(back.writes == UINT64_MAX);
}

static void test_damage(void **state)
{
	struct record record;
	char buf[ROOM];
	size_t len;

	fill(&record);
	len = format(&record, buf);
	assert_true(parses(buf, len));
	for (size_t i = 0; i < len; i++)
		for (unsigned int change = 1; change < 256; change++) {
			buf[i] ^= (char)change;
			assert_false(parses(buf, len));
			buf[i] ^= (char)change;
		}
	for (size_t i = 0; i < len; i++)
		assert_false(parses(buf, i));
	/* Cut off, and filled up with blanks: what the probing of a chip leaves of a write. */
	for (size_t i = 0; i < len; i++) {
		char cut[CERT_BLOB_MAX];

		memcpy(cut, buf, len);
		memset(cut + i, ' ', len - i);
		assert_false(parses(cut, len));
	}
	buf[len] = '\n';
	assert_false(parses(buf, len + 1));
	buf[len] = '\0';
	assert_false(parses(buf, len + 1));
	assert_true(parses(buf, len));
	assert_false(parses("", 0));
}

/* Whoever can write to the chip can make the sum right. */
static void test_hostile(void **state)
{
	static const char *const good[] = {
		"espatd 1 0 0\n",
		"espatd 1 18446744073709551615 18446744073709551615\n",
		"espatd 1 0 0\n" LINE("client_ca.0"),
		"espatd 1 0 0\n" LINE("client_ca.0") LINE("client_ca.1"),
		"espatd 1 0 0\n" LINE("_-") LINE("A") LINE("z.9") LINE("fifteen_bytes.9"),
		"espatd 1 0 0\nx 0000000000000000 0 " HEX_OF_A "\n",
		"espatd 1 0 0\nx ffffffffffffffff 4294967295 " HEX_OF_A "\n",
	};
	static const char *const bad[] = {
		"",
		"\n",
		"espatd 1 0 0",
		"espatd 1 0 0\r\n",
		"espatd 1 0 0\n\n",
		"espatd 1 0 0\n ",
		"espatd 2 0\n",
		"espatd 1\n",
		"espatd 1 \n",
		" espatd 1 0\n",
		"Espatd 1 0\n",
		/* numbers: too long, of another base, with zeros, signs and blanks */
		"espatd 1 18446744073709551616 0\n",
		"espatd 1 0 18446744073709551616\n",
		"espatd 1 99999999999999999999 0\n",
		"espatd 1 0 99999999999999999999\n",
		"espatd 1 100000000000000000000 0\n",
		"espatd 1 0 100000000000000000000\n",
		"espatd 1 00 0\n",
		"espatd 1 0 00\n",
		"espatd 1 01 0\n",
		"espatd 1 0 01\n",
		"espatd 1 0x1 0\n",
		"espatd 1 0 0x1\n",
		"espatd 1 a 0\n",
		"espatd 1 0 a\n",
		"espatd 1 -1 0\n",
		"espatd 1 0 -1\n",
		"espatd 1 +1 0\n",
		"espatd 1 0 +1\n",
		"espatd 1  1 0\n",
		"espatd 1 0  1\n",
		"espatd 1 1  0\n",
		"espatd 1 0 1 \n",
		"espatd 1 0 0\nx 0123456789abcdef 4294967296 " HEX_OF_A "\n",
		"espatd 1 0 0\nx 0123456789abcdef 99999999999999999999999999 " HEX_OF_A "\n",
		"espatd 1 0 0\nx 0123456789abcdef 01 " HEX_OF_A "\n",
		"espatd 1 0 0\nx 0123456789abcdef -1 " HEX_OF_A "\n",
		"espatd 1 0 0\nx 0123456789abcdef  " HEX_OF_A "\n",
		"espatd 1 0 0\nx 0123456789abcde 1 " HEX_OF_A "\n",
		"espatd 1 0 0\nx 0123456789abcdef0 1 " HEX_OF_A "\n",
		"espatd 1 0 0\nx 00123456789abcdef 1 " HEX_OF_A "\n",
		"espatd 1 0 0\nx 0123456789ABCDEF 1 " HEX_OF_A "\n",
		"espatd 1 0 0\nx 0123456789abcdeg 1 " HEX_OF_A "\n",
		/* digests: too short and too long */
		"espatd 1 0 0\nx 0123456789abcdef 1 6161\n",
		"espatd 1 0 0\nx 0123456789abcdef 1 " HEX_OF_A "61\n",
		"espatd 1 0 0\nx 0123456789abcdef 1 6" HEX_OF_A "\n",
		"espatd 1 0 0\nx 0123456789abcdef 1 "
		"616161616161616161616161616161616161616161616161616161616161616A\n",
		"espatd 1 0 0\nx 0123456789abcdef 1 " HEX_OF_A,
		"espatd 1 0 0\nx 0123456789abcdef 1 " HEX_OF_A " \n",
		/* keys */
		"espatd 1 0 0\n" LINE(""),
		"espatd 1 0 0\n" LINE("."),
		"espatd 1 0 0\n" LINE(".x"),
		"espatd 1 0 0\n" LINE("sixteen__bytes.9"),
		"espatd 1 0 0\n" LINE("a b"),
		"espatd 1 0 0\n" LINE("\""),
		"espatd 1 0 0\n" LINE("a\"b"),
		"espatd 1 0 0\n" LINE("a,b"),
		"espatd 1 0 0\n" LINE("a\\b"),
		"espatd 1 0 0\n" LINE("a\rb"),
		"espatd 1 0 0\n" LINE("a\r"),
		"espatd 1 0 0\n" LINE("a\nb"),
		"espatd 1 0 0\n" LINE("\x80"),
		"espatd 1 0 0\n" LINE("a=b"),
		"espatd 1 0 0\n" LINE("a*"),
		/* one key twice, also apart */
		"espatd 1 0 0\n" LINE("x") LINE("x"),
		"espatd 1 0 0\n" LINE("x") LINE("y") "x ffffffffffffffff 9 " HEX_OF_A "\n",
		/* a sum before its time */
		"espatd 1 0 0\nsum " HEX_OF_A "\n",
		"espatd 1 0 0\n" LINE("x") "sum " HEX_OF_A "\n" LINE("y"),
	};
	static const char with_nul[] = "espatd 1 0 0\n" LINE("a\0b");

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (!body_parses(good[i], strlen(good[i])))
			fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (body_parses(bad[i], strlen(bad[i])))
			fail_msg("taken: %s", bad[i]);
	/* NUL ends nothing. */
	assert_false(body_parses("espatd 1 0 0\n\0", 14));
	assert_false(body_parses(with_nul, sizeof(with_nul) - 1));
	assert_false(body_parses("\0espatd 1 0 0\n", 14));
}

/* What belongs to the firmware is nobody's to write or erase, whatever a record says. */
static void test_keys_of_the_firmware(void **state)
{
	static const char *const bad[] = {
		"factory_param", "factory_param.1", "ble_data", "ble_data.0", "espatd", "espatd.3",
	};
	static const char *const good[] = {
		"factory_para", "factory_params", "ble_dat", "ble_data1", "espat", "espatd1",
	};
	char text[256];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text), "espatd 1 0 0\n" LINE("%s"), bad[i]);
		if (body_parses(text, strlen(text)))
			fail_msg("taken: %s", bad[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		snprintf(text, sizeof(text), "espatd 1 0 0\n" LINE("%s"), good[i]);
		if (!body_parses(text, strlen(text)))
			fail_msg("refused: %s", good[i]);
	}
}

static void test_largest(void **state)
{
	struct record record = { .sequence = UINT64_MAX, .writes = UINT64_MAX }, back;
	struct record_entry more = entry("one_more", 1, 1, 'm');
	char buf[ROOM], key[AT_NVS_NAME_MAX + 1];
	size_t len;

	for (unsigned int i = 0; i < RECORD_MAX; i++) {
		snprintf(key, sizeof(key), "fourteen_more%02u", i);
		put(&record, key, UINT64_MAX, 4294967295u, '\xff');
	}
	assert_int_equal(record_put(&record, &more), -ENOSPC);
	assert_int_equal(record.n, RECORD_MAX);
	/* One that is there can still be changed. */
	put(&record, key, 5, 4294967295u, '\xff');
	put(&record, key, UINT64_MAX, 4294967295u, '\xff');
	len = format(&record, buf);
	assert_int_equal(record_parse(&back, buf, len), 0);
	assert_int_equal(back.n, RECORD_MAX);
	assert_true(record_equal(&record, &back));
	/* One line too many. */
	len -= 4 + 64 + 1;
	len += (size_t)sprintf(buf + len, "x 0123456789abcdef 1 " HEX_OF_A "\n");
	assert_false(body_parses(buf, len));
}

static void test_put_and_remove(void **state)
{
	struct record record = { 0 };

	assert_null(record_find(&record, "a"));
	record_remove(&record, "a");
	put(&record, "a", 1, 1, 'a');
	put(&record, "b", 2, 1, 'b');
	put(&record, "c", 3, 1, 'c');
	put(&record, "b", 4, 2, 'B');
	assert_int_equal(record.n, 3);
	assert_int_equal(record_find(&record, "b")->name, 4);
	assert_int_equal(record_find(&record, "b")->generation, 2);
	assert_int_equal(record_find(&record, "b")->digest[31], 'B');
	/* The others keep their order. */
	record_remove(&record, "a");
	assert_int_equal(record.n, 2);
	assert_null(record_find(&record, "a"));
	assert_string_equal(record.entries[0].key, "b");
	assert_string_equal(record.entries[1].key, "c");
	record_remove(&record, "c");
	record_remove(&record, "c");
	assert_int_equal(record.n, 1);
	assert_string_equal(record.entries[0].key, "b");
	record_remove(&record, "b");
	assert_int_equal(record.n, 0);
	/* A key is found whole. */
	put(&record, "client_ca.1", 1, 1, 'a');
	assert_null(record_find(&record, "client_ca"));
	assert_null(record_find(&record, "client_ca.11"));
}

static void test_equal(void **state)
{
	struct record a, b;

	fill(&a);
	fill(&b);
	b.writes = 1;
	b.sequence = 1;
	assert_true(record_equal(&a, &b));
	/* Another order. */
	record_remove(&b, "client_ca.0");
	put(&b, "client_ca.0", 0x0123456789abcdef, 1, 'a');
	assert_true(record_equal(&a, &b));
	for (int what = 0; what < 6; what++) {
		fill(&b);
		switch (what) {
		case 0:
			b.entries[1].name ^= 1ull << 63;
			break;
		case 1:
			b.entries[1].generation--;
			break;
		case 2:
			b.entries[1].digest[CERT_DIGEST_SIZE - 1] ^= 1;
			break;
		case 3:
			b.entries[1].key[0] = 'C';
			break;
		case 4:
			record_remove(&b, "mqtt_ca");
			break;
		case 5:
			put(&b, "more", 1, 1, 'm');
			break;
		}
		assert_false(record_equal(&a, &b));
		assert_false(record_equal(&b, &a));
	}
}

static void test_sequence(void **state)
{
	struct record a = { .sequence = 1 }, b = { .sequence = 2 };

	assert_true(record_is_later(&b, &a));
	assert_false(record_is_later(&a, &b));
	assert_false(record_is_later(&a, &a));
	/* It goes round; the writes say nothing: they may turn out to be fewer than announced. */
	a = (struct record){ .sequence = UINT64_MAX, .writes = 9 };
	b = (struct record){ .sequence = 0, .writes = 3 };
	assert_true(record_is_later(&b, &a));
	assert_false(record_is_later(&a, &b));
}

static void test_names(void **state)
{
	char name[49], buf[AT_NVS_NAME_MAX + 1];

	/* It is on chips: it never changes. SHA-256 of "authority/corp". */
	assert_true(record_name("authority", "corp") == 0x0b6f1cc17751a166);
	assert_true(record_name("authority", "corp") != record_name("identity", "corp"));
	assert_true(record_name("authority", "corp") != record_name("authority", "corq"));
	/* The longest that there is. */
	memset(name, 'x', 48);
	name[48] = '\0';
	assert_true(record_name("authority", name) != 0);
	name[47] = 'y';
	assert_true(record_name("authority", name) != 0);
	assert_true(record_name("authority", name) != record_name("identity", name));
	record_namespace("client_ca.3", buf);
	assert_string_equal(buf, "client_ca");
	record_namespace("mqtt_ca", buf);
	assert_string_equal(buf, "mqtt_ca");
	record_namespace("fifteen_bytes_x", buf);
	assert_string_equal(buf, "fifteen_bytes_x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_keys_of_the_firmware),
		cmocka_unit_test(test_largest),
		cmocka_unit_test(test_put_and_remove),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_sequence),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
