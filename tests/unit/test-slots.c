/* SPDX-License-Identifier: MIT */
/* device/slots: where authorities and identities go, whatever the chip holds already. */
#include "test.h"

#include <string.h>

#include "device/slots.h"

/* A blob's digest is its letter, all over. */
static struct cert_blob authority[] = { { .kind = CERT_KIND_CA } };
static struct cert_blob identity[] = { { .kind = CERT_KIND_CERT }, { .kind = CERT_KIND_KEY } };

static int setup(void **state)
{
	memset(authority[0].digest, 'a', sizeof(authority[0].digest));
	memset(identity[0].digest, 'c', sizeof(identity[0].digest));
	memset(identity[1].digest, 'k', sizeof(identity[1].digest));
	return 0;
}

/*
 * One letter a slot: '.' free, '?' unread, '!' unusable, '-' not looked at, 't' taken by somebody, else
 * read and of that digest.
 */
static void fill(struct slots *slots, enum cert_kind kind, const char *letters)
{
	for (int i = 0; i < SLOTS_COUNT; i++) {
		struct slot *s = &slots->of[kind][i];

		memset(s->digest, letters[i], sizeof(s->digest));
		s->content = letters[i] == '.'   ? SLOT_FREE
			     : letters[i] == '?' ? SLOT_UNREAD
			     : letters[i] == '!' ? SLOT_UNUSABLE
			     : letters[i] == '-' ? SLOT_UNKNOWN
						 : SLOT_READ;
		s->taken = letters[i] == 't';
	}
}

struct row {
	const char *letters; /* client_ca, or client_cert */
	const char *keys;    /* client_key */
	int pinned;
	enum slots_verdict verdict;
	int slot;
	enum cert_kind kind;
};

static const struct row authorities[] = {
	/* found: whichever slot it is in */
	{ ".....a....", NULL, CONFIG_SLOT_AUTO, SLOTS_USE, 5, 0 },
	{ "a.........", NULL, CONFIG_SLOT_AUTO, SLOTS_USE, 0, 0 },
	{ "a........a", NULL, CONFIG_SLOT_AUTO, SLOTS_USE, 9, 0 },
	/* the factory's are below, ours above: reads begin at the top, and end when it is found */
	{ "???.......", NULL, CONFIG_SLOT_AUTO, SLOTS_READ, 2, CERT_KIND_CA },
	{ "??x.......", NULL, CONFIG_SLOT_AUTO, SLOTS_READ, 1, CERT_KIND_CA },
	{ "??a.......", NULL, CONFIG_SLOT_AUTO, SLOTS_USE, 2, 0 },
	{ "?......a..", NULL, CONFIG_SLOT_AUTO, SLOTS_USE, 7, 0 },
	/* not there: the lowest free one */
	{ "..........", NULL, CONFIG_SLOT_AUTO, SLOTS_WRITE, 0, 0 },
	{ "xx........", NULL, CONFIG_SLOT_AUTO, SLOTS_WRITE, 2, 0 },
	{ "x!x.x.....", NULL, CONFIG_SLOT_AUTO, SLOTS_WRITE, 3, 0 },
	/* somebody else's, though nothing stands there yet */
	{ "tt........", NULL, CONFIG_SLOT_AUTO, SLOTS_WRITE, 2, 0 },
	{ "xtxxxxxxxx", NULL, CONFIG_SLOT_AUTO, SLOTS_FULL, -1, 0 },
	/* pinned: nobody has to list anything */
	{ "----------", NULL, 3, SLOTS_READ, 3, CERT_KIND_CA },
	{ "xxxxxxxxx.", NULL, CONFIG_SLOT_AUTO, SLOTS_WRITE, 9, 0 },
	/* what is not ours is never overwritten */
	{ "xxxxxxxxxx", NULL, CONFIG_SLOT_AUTO, SLOTS_FULL, -1, 0 },
	{ "xxxx!xxxxx", NULL, CONFIG_SLOT_AUTO, SLOTS_FULL, -1, 0 },
	{ "xxxx?xxxxx", NULL, CONFIG_SLOT_AUTO, SLOTS_READ, 4, CERT_KIND_CA },
	/* pinned: that one and no other */
	{ "..........", NULL, 4, SLOTS_WRITE, 4, 0 },
	{ "a.........", NULL, 4, SLOTS_WRITE, 4, 0 },
	{ "....a.....", NULL, 4, SLOTS_USE, 4, 0 },
	{ "....x.....", NULL, 4, SLOTS_WRITE, 4, 0 },
	{ "....!.....", NULL, 4, SLOTS_WRITE, 4, 0 },
	{ "?????.....", NULL, 4, SLOTS_READ, 4, CERT_KIND_CA },
	{ "x.........", NULL, 0, SLOTS_WRITE, 0, 0 },
	{ "xxxxxxxxx?", NULL, 9, SLOTS_READ, 9, CERT_KIND_CA },
};

static const struct row identities[] = {
	{ "..........", "..........", CONFIG_SLOT_AUTO, SLOTS_WRITE, 0, 0 },
	{ "...c......", "...k......", CONFIG_SLOT_AUTO, SLOTS_USE, 3, 0 },
	/* certificate and key share a number */
	{ "c.........", "...k......", CONFIG_SLOT_AUTO, SLOTS_WRITE, 0, 0 },
	{ "cx........", "xk........", CONFIG_SLOT_AUTO, SLOTS_WRITE, 2, 0 },
	{ "x.........", ".x........", CONFIG_SLOT_AUTO, SLOTS_WRITE, 2, 0 },
	/* half of it is there: completed, before a free slot is used */
	{ ".....c....", "..........", CONFIG_SLOT_AUTO, SLOTS_WRITE, 5, 0 },
	{ "..........", ".....k....", CONFIG_SLOT_AUTO, SLOTS_WRITE, 5, 0 },
	{ "..c..c....", "..........", CONFIG_SLOT_AUTO, SLOTS_WRITE, 2, 0 },
	{ ".....c....", ".....x....", CONFIG_SLOT_AUTO, SLOTS_WRITE, 0, 0 },
	{ ".....c....", ".....!....", CONFIG_SLOT_AUTO, SLOTS_WRITE, 0, 0 },
	/* a whole one goes before a half one, wherever */
	{ "c........c", "k.........", CONFIG_SLOT_AUTO, SLOTS_USE, 0, 0 },
	/* reads: certificates first; a key only where the certificate does not rule it out */
	{ "??........", "??........", CONFIG_SLOT_AUTO, SLOTS_READ, 1, CERT_KIND_CERT },
	{ "?x........", "??........", CONFIG_SLOT_AUTO, SLOTS_READ, 0, CERT_KIND_CERT },
	{ "?c........", "??........", CONFIG_SLOT_AUTO, SLOTS_READ, 1, CERT_KIND_KEY },
	{ "xx........", "??........", CONFIG_SLOT_AUTO, SLOTS_WRITE, 2, 0 },
	{ "?!........", "??........", CONFIG_SLOT_AUTO, SLOTS_READ, 0, CERT_KIND_CERT },
	{ "..........", "..?.......", CONFIG_SLOT_AUTO, SLOTS_READ, 2, CERT_KIND_KEY },
	{ "xxxxxxxxxx", "kkkkkkkkkk", CONFIG_SLOT_AUTO, SLOTS_FULL, -1, 0 },
	{ "xxxxxxxxxx", "??????????", CONFIG_SLOT_AUTO, SLOTS_FULL, -1, 0 },
	/* pinned */
	{ "......?...", "......?...", 6, SLOTS_READ, 6, CERT_KIND_CERT },
	{ "......c...", "......?...", 6, SLOTS_READ, 6, CERT_KIND_KEY },
	{ "......c...", "......k...", 6, SLOTS_USE, 6, 0 },
	{ "......c...", "......x...", 6, SLOTS_WRITE, 6, 0 },
	{ "......x...", "......k...", 6, SLOTS_WRITE, 6, 0 },
	{ "c.........", "k.........", 6, SLOTS_WRITE, 6, 0 },
};

static void check(const struct row *row, size_t i, const struct cert_blob *blobs, size_t n)
{
	struct slots slots;
	struct slots_choice choice;

	memset(&slots, 0, sizeof(slots));
	fill(&slots, blobs[0].kind, row->letters);
	if (n > 1)
		fill(&slots, CERT_KIND_KEY, row->keys);
	choice = slots_choose(&slots, blobs, n, row->pinned);
	if (choice.verdict != row->verdict || choice.slot != row->slot ||
	    (row->verdict == SLOTS_READ && choice.kind != row->kind))
		fail_msg("row %zu, %s: verdict %d, slot %d, kind %d", i, row->letters,
			 choice.verdict, choice.slot, choice.kind);
}

static void test_authorities(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(authorities); i++)
		check(&authorities[i], i, authority, 1);
}

static void test_identities(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(identities); i++)
		check(&identities[i], i, identity, 2);
}

/* Whatever the chip holds: reading ends, and what is not ours stays unless it is pinned. */
static void test_always_ends(void **state)
{
	static const char truth[] = ".xck!";
	uint64_t seed = 0x5eed0005;

	for (size_t round = 0; round < 20000; round++) {
		char there[2][SLOTS_COUNT], known[2][SLOTS_COUNT];
		struct slots_choice choice = { 0 };
		int pinned = test_random_below(&seed, 3)
				     ? CONFIG_SLOT_AUTO
				     : (int)test_random_below(&seed, SLOTS_COUNT);
		size_t reads = 0;

		for (size_t k = 0; k < 2; k++)
			for (size_t i = 0; i < SLOTS_COUNT; i++) {
				char c = truth[test_random_below(&seed, 5)];

				there[k][i] = c;
				known[k][i] = c == '.' || c == '!' ? c : '?';
			}
		for (;;) {
			struct slots slots;

			memset(&slots, 0, sizeof(slots));
			fill(&slots, CERT_KIND_CERT, known[0]);
			fill(&slots, CERT_KIND_KEY, known[1]);
			choice = slots_choose(&slots, identity, 2, pinned);
			if (choice.verdict != SLOTS_READ)
				break;
			assert_in_range(choice.slot, 0, SLOTS_COUNT - 1);
			assert_int_equal(known[choice.kind - CERT_KIND_CERT][choice.slot], '?');
			known[choice.kind - CERT_KIND_CERT][choice.slot] =
				there[choice.kind - CERT_KIND_CERT][choice.slot];
			assert_true(++reads <= 2 * SLOTS_COUNT);
		}
		if (choice.verdict == SLOTS_USE) {
			assert_int_equal(there[0][choice.slot], 'c');
			assert_int_equal(there[1][choice.slot], 'k');
		} else if (pinned == CONFIG_SLOT_AUTO) {
			for (size_t i = 0; i < SLOTS_COUNT; i++)
				assert_false(there[0][i] == 'c' && there[1][i] == 'k');
			if (choice.verdict == SLOTS_WRITE) {
				assert_true(strchr(".c", there[0][choice.slot]) != NULL);
				assert_true(strchr(".k", there[1][choice.slot]) != NULL);
			}
		}
		if (pinned != CONFIG_SLOT_AUTO)
			assert_int_equal(choice.slot, pinned);
	}
}

/* A digest counts only if it was read. */
static void test_holds_what_was_read(void **state)
{
	struct slots slots;

	memset(&slots, 0, sizeof(slots));
	fill(&slots, CERT_KIND_CA, "axaaaaaaaa");
	assert_true(slots_holds(&slots, 0, &authority[0]));
	assert_false(slots_holds(&slots, 1, &authority[0]));
	for (int content = SLOT_FREE; content <= SLOT_UNUSABLE; content++) {
		slots.of[CERT_KIND_CA][2].content = (enum slot_content)content;
		assert_int_equal(slots_holds(&slots, 2, &authority[0]), content == SLOT_READ);
	}
}

static void test_names(void **state)
{
	char buf[16];

	slots_key(CERT_KIND_CA, 0, buf, sizeof(buf));
	assert_string_equal(buf, "client_ca.0");
	slots_key(CERT_KIND_CERT, 9, buf, sizeof(buf));
	assert_string_equal(buf, "client_cert.9");
	assert_string_equal(slots_namespace(CERT_KIND_KEY), "client_key");
	assert_int_equal(slots_of_key(CERT_KIND_KEY, "client_key.7"), 7);
	assert_int_equal(slots_of_key(CERT_KIND_CA, "client_ca.10"), -1);
	assert_int_equal(slots_of_key(CERT_KIND_CA, "client_ca"), -1);
	assert_int_equal(slots_of_key(CERT_KIND_CA, "client_ca."), -1);
	assert_int_equal(slots_of_key(CERT_KIND_CA, "client_ca.1x"), -1);
	assert_int_equal(slots_of_key(CERT_KIND_CA, "client_ca.-1"), -1);
	assert_int_equal(slots_of_key(CERT_KIND_CA, "client_cert.1"), -1);
	assert_int_equal(slots_of_key(CERT_KIND_CA, ""), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_authorities), cmocka_unit_test(test_identities),
		cmocka_unit_test(test_always_ends), cmocka_unit_test(test_holds_what_was_read),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests_name("slots", tests, setup, NULL);
}
