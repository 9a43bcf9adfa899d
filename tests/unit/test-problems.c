/* SPDX-License-Identifier: MIT */
/* util/problems: the form of a complaint's line. */
#include "test.h"

#include "util/problems.h"

static void test_lines(void **state)
{
	struct problems p = PROBLEMS_NULL;

	assert_int_equal(problems_add(&p, PROBLEM_WARNING, NULL, 7, "no %s", "file"), 0);
	assert_int_equal(problems_add(&p, PROBLEM_ERROR, "a.conf", 0, "no line"), 0);
	assert_int_equal(problems_add(&p, PROBLEM_ERROR, "a.conf", 12, "%d is %s", 1, "wrong"), 0);
	assert_int_equal(p.count, 3);
	assert_int_equal(p.errors, 2);
	assert_string_equal(p.items[0].text, "no file");
	assert_int_equal(p.items[0].severity, PROBLEM_WARNING);
	assert_string_equal(p.items[1].text, "a.conf: no line");
	assert_string_equal(p.items[2].text, "a.conf:12: 1 is wrong");
	assert_int_equal(p.items[2].severity, PROBLEM_ERROR);
	problems_clear(&p);
	assert_int_equal(p.count, 0);
	assert_int_equal(p.errors, 0);
	assert_null(p.items);
}

/* A name out of a file cannot forge a second line, or speak to the terminal. */
static void test_control_characters(void **state)
{
	struct problems p = PROBLEMS_NULL;

	assert_int_equal(problems_add(&p, PROBLEM_ERROR, "x\n.conf", 3,
				      "bad name \"a\r\nb\x1b\x7f\t\xc3\xa9\""),
			 0);
	assert_string_equal(p.items[0].text, "x?.conf:3: bad name \"a??b???\xc3\xa9\"");
	problems_clear(&p);
}

static void test_many_and_again(void **state)
{
	struct problems p = PROBLEMS_NULL;

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 100; i++)
			assert_int_equal(problems_add(&p, PROBLEM_ERROR, NULL, 0, "%d", i), 0);
		assert_int_equal(p.errors, 100);
		assert_string_equal(p.items[0].text, "0");
		assert_string_equal(p.items[99].text, "99");
		problems_clear(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_control_characters),
		cmocka_unit_test(test_many_and_again),
	};

	return cmocka_run_group_tests_name("problems", tests, NULL, NULL);
}
