/* SPDX-License-Identifier: MIT */
/* at/lexer: recorded input -> tokens, damaged input, and that cutting changes nothing. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "render-tokens.h"

struct row {
	const char *input;
	size_t len;
	const char *tokens;
};

#define ROW(input, tokens)                                                                         \
	{                                                                                          \
		input, sizeof(input) - 1, tokens                                                   \
	}

/* As recorded, with the capture's number; long blocks made shorter. */
static const struct row good[] = {
	/* lines */
	ROW("\r\nOK\r\n", "~LOK|"),
	ROW("\r\nERROR\r\n", "~LERROR|"),
	ROW("AT\r\n\r\nOK\r\n", "LAT|~LOK|"), /* 01, echo on */
	ROW("AT+CIPDINFO?\r\n+CIPDINFO:false\r\nOK\r\n",
	    "LAT+CIPDINFO?|L+CIPDINFO:false|LOK|"), /* 04: no empty line */
	ROW("\r\n\r\n\r\nOK\r\n", "~LOK|"),
	ROW("WIFI CONNECTED\r\n\r\nready\r\nWIFI GOT IP\r\n",
	    "LWIFI CONNECTED|~Lready|LWIFI GOT IP|"), /* 30 */
	ROW("+CWSTATE:2,\"caf\xc3\xa9\"\r\n", "L+CWSTATE:2,\"caf\\xc3\\xa9\"|"),
	ROW("0,CONNECT\r\n\r\nOK\r\n0,CLOSED\r\n", "L0,CONNECT|~LOK|L0,CLOSED|"), /* 31 */
	ROW("AT+NOSUCH\r\nERR CODE:0x01090000\r\n\r\nERROR\r\n",
	    "LAT+NOSUCH|LERR CODE:0x01090000|~LERROR|"), /* 02 */
	/* prompts */
	ROW("AT+CIPSEND=5\r\n\r\nOK\r\n\r\n>", "LAT+CIPSEND=5|~LOK|~P|"), /* 30 */
	ROW("\r\nbusy p...\r\n\r\nOK\r\n\r\n>", "~Lbusy p...|~LOK|~P|"),  /* 62 */
	ROW(">", "P|"),                                                   /* 14 */
	ROW(">0,CLOSED\r\n", "P|L0,CLOSED|"),
	ROW("\r\n>\r\n+IPD,0,3\r\n", "~P|~L+IPD,0,3|"),
	ROW(">>a>b\r\n", "P|P|La>b|"),
	/* passive notices stay lines (32) */
	ROW("\r\n+IPD,11\r\n", "~L+IPD,11|"),
	ROW("\r\n+IPD,3,11\r\n", "~L+IPD,3,11|"),
	ROW("+CIPRECVLEN:0,11,0,11,0\r\n\r\nOK\r\n", "L+CIPRECVLEN:0,11,0,11,0|~LOK|"),
	/* active receive */
	ROW("\r\nSEND OK\r\n\r\n+IPD,5:hello\r\n",
	    "~LSEND OK|~B+IPD,5:(ipd -1 0 5)|Dhello|E|"), /* 30 */
	ROW("\r\n+IPD,7:a\r\nb\x00\xff+\r\n", "~B+IPD,7:(ipd -1 0 7)|Da\\r\\nb\\x00\\xff+|E|"),
	ROW("\r\n+IPD,4,11:220 hello\r\n\r\n", "~B+IPD,4,11:(ipd 4 0 11)|D220 hello\\r\\n|E|"),
	ROW("\r\n+IPD,15:data-then-close\r\nCLOSED\r\n",
	    "~B+IPD,15:(ipd -1 0 15)|Ddata-then-close|E|LCLOSED|"),
	ROW("\r\n+IPD,0,2:ab\r\n3,CLOSED\r\n", "~B+IPD,0,2:(ipd 0 0 2)|Dab|E|L3,CLOSED|"),
	/* with AT+CIPDINFO=1 */
	ROW("\r\n+IPD,11,\"10.0.2.2\",7001:220 hello\r\n\r\n",
	    "~B+IPD,11,\"10.0.2.2\",7001:(ipd -1 0 11)|D220 hello\\r\\n|E|"), /* 30 */
	ROW("\r\n+IPD,2,3,\"10.0.2.2\",7001:abc\r\n",
	    "~B+IPD,2,3,\"10.0.2.2\",7001:(ipd 2 0 3)|Dabc|E|"),
	ROW("\r\n+IPD,2,3,\"fe80::1:2\",443:abc\r\n",
	    "~B+IPD,2,3,\"fe80::1:2\",443:(ipd 2 0 3)|Dabc|E|"),
	ROW("\r\n+IPD,3,\"::1\",443:abc\r\n", "~B+IPD,3,\"::1\",443:(ipd -1 0 3)|Dabc|E|"),
	/* what is in a block is never looked at */
	ROW("\r\n+IPD,1,6:\r\nOK\r\n\r\n", "~B+IPD,1,6:(ipd 1 0 6)|D\\r\\nOK\\r\\n|E|"),
	ROW("\r\n+IPD,1,9:+IPD,1,9:\r\n", "~B+IPD,1,9:(ipd 1 0 9)|D+IPD,1,9:|E|"),
	ROW("\r\n+IPD,0,9:1,CLOSED\r\r\n", "~B+IPD,0,9:(ipd 0 0 9)|D1,CLOSED\\r|E|"),
	ROW("\r\n+IPD,0,1:>\r\n\r\n>", "~B+IPD,0,1:(ipd 0 0 1)|D>|E|~P|"),
	ROW("\r\n+IPD,0,2:\r\n\r\n\r\n+IPD,0,2:\n\r\r\n",
	    "~B+IPD,0,2:(ipd 0 0 2)|D\\r\\n|E|~B+IPD,0,2:(ipd 0 0 2)|D\\n\\r|E|"),
	/* fetched (32) */
	ROW("AT+CIPRECVDATA=3,5\r\n+CIPRECVDATA:5,220 h\r\nOK\r\n\r\n+IPD,3,6\r\n",
	    "LAT+CIPRECVDATA=3,5|B+CIPRECVDATA:5,(recvdata -1 0 5)|D220 h|E|LOK|~L+IPD,3,6|"),
	ROW("+CIPRECVDATA:28,hellofirst\r\nsecond \x00\x01\xff bin\r\n\r\nOK\r\n",
	    "B+CIPRECVDATA:28,(recvdata -1 0 28)|"
	    "Dhellofirst\\r\\nsecond \\x00\\x01\\xff bin\\r\\n|E|LOK|"),
	/* NVS, each type (10, 12) */
	ROW("+SYSMFG:\"factory_param\",\"max_tx_power\",2,2,70\r\n\r\nOK\r\n",
	    "B+SYSMFG:\"factory_param\",\"max_tx_power\",2,2,(sysmfg -1 2 2)|D70|E|~LOK|"),
	ROW("+SYSMFG:\"factory_param\",\"t_u8\",1,3,255\r\n",
	    "B+SYSMFG:\"factory_param\",\"t_u8\",1,3,(sysmfg -1 1 3)|D255|E|"),
	ROW("+SYSMFG:\"factory_param\",\"t_i8\",2,2,-5\r\n",
	    "B+SYSMFG:\"factory_param\",\"t_i8\",2,2,(sysmfg -1 2 2)|D-5|E|"),
	ROW("+SYSMFG:\"f\",\"t\",3,1,0\r\n+SYSMFG:\"f\",\"t\",4,1,1\r\n",
	    "B+SYSMFG:\"f\",\"t\",3,1,(sysmfg -1 3 1)|D0|E|"
	    "B+SYSMFG:\"f\",\"t\",4,1,(sysmfg -1 4 1)|D1|E|"),
	ROW("+SYSMFG:\"factory_param\",\"t_u32\",5,10,4294967295\r\n",
	    "B+SYSMFG:\"factory_param\",\"t_u32\",5,10,(sysmfg -1 5 10)|D4294967295|E|"),
	ROW("+SYSMFG:\"factory_param\",\"uart_baudrate\",6,6,115200\r\n",
	    "B+SYSMFG:\"factory_param\",\"uart_baudrate\",6,6,(sysmfg -1 6 6)|D115200|E|"),
	ROW("+SYSMFG:\"factory_param\",\"t_str\",7,12,hello string\r\n",
	    "B+SYSMFG:\"factory_param\",\"t_str\",7,12,(sysmfg -1 7 12)|Dhello string|E|"),
	ROW("+SYSMFG:\"client_ca\",\"client_ca.0\",8,10,-----\r\n\0\xff,\r\n",
	    "B+SYSMFG:\"client_ca\",\"client_ca.0\",8,10,(sysmfg -1 8 10)|"
	    "D-----\\r\\n\\x00\\xff,|E|"),
	/* listings stay lines (10) */
	ROW("+SYSMFG:\"server_cert\"\r\n+SYSMFG:\"ble_data\"\r\n\r\nOK\r\n",
	    "L+SYSMFG:\"server_cert\"|L+SYSMFG:\"ble_data\"|~LOK|"),
	ROW("+SYSMFG:\"client_ca\",\"client_ca.0\",8\r\n+SYSMFG:\"client_ca\",\"client_ca.1\","
	    "8\r\n",
	    "L+SYSMFG:\"client_ca\",\"client_ca.0\",8|L+SYSMFG:\"client_ca\",\"client_ca.1\",8|"),
	/* heads only count at the start of a line */
	ROW("x+IPD,1,9:\r\n", "Lx+IPD,1,9:|"),
	ROW("AT+CIPRECVDATA:5,\r\n", "LAT+CIPRECVDATA:5,|"),
	ROW("+CIPSENDL:1024,2944\r\n", "L+CIPSENDL:1024,2944|"),
	ROW("+CIPDOMAIN:\"10.0.2.2\"\r\n", "L+CIPDOMAIN:\"10.0.2.2\"|"),
	/* nothing complete */
	ROW("", ""),
	ROW("OK", ""),
	ROW("OK\r", ""),
	ROW("\r\n+IPD,1,5:ab", "~B+IPD,1,5:(ipd 1 0 5)|Dab|"),
	ROW("\r\n+IPD,1,2:ab\r", "~B+IPD,1,2:(ipd 1 0 2)|Dab|"),
};

/* Bytes were lost or changed; reading goes on at the next line. */
static const struct row bad[] = {
	/* control characters; a bare LF or CR is one */
	ROW("a\x00"
	    "b\r\nOK\r\n",
	    "Xcontrol|LOK|"),
	ROW("a\tb\r\nOK\r\n", "Xcontrol|LOK|"), ROW("a\x7f\r\nOK\r\n", "Xcontrol|LOK|"),
	ROW("\x1b[0mboot\r\nOK\r\n", "Xcontrol|LOK|"), ROW("O\nK\r\n", "Xcontrol|LK|"),
	ROW("O\rK\r\nOK\r\n", "Xcontrol|LOK|"), ROW("\n\r\nOK\r\n", "Xcontrol|~LOK|"),
	ROW("OK\r\r\nOK\r\n", "Xcontrol|~LOK|"), ROW("OK\r\r\r\nOK\r\n", "Xcontrol|Xcontrol|~LOK|"),
	ROW("\r\na\x01\r\nOK\r\n", "Xcontrol|LOK|"), /* the empty line is forgotten */
	/* lengths and links */
	ROW("\r\n+IPD,1,0:\r\nOK\r\n", "Xlength|LOK|"),
	ROW("\r\n+IPD,0:\r\nOK\r\n", "Xlength|LOK|"),
	ROW("\r\n+IPD,1,16385:\r\nOK\r\n", "Xlength|LOK|"),
	ROW("\r\n+IPD,1,4294967297:\r\nOK\r\n", "Xlength|LOK|"),
	ROW("\r\n+IPD,1,99999999999999999999:\r\nOK\r\n", "Xlength|LOK|"),
	ROW("\r\n+IPD,5,3:abc\r\nOK\r\n", "Xlength|LOK|"),
	ROW("\r\n+IPD,4294967295,3:abc\r\nOK\r\n", "Xlength|LOK|"),
	ROW("\r\n+IPD,,3:abc\r\nOK\r\n", "Xlength|LOK|"),
	ROW("\r\n+IPD,1,:abc\r\nOK\r\n", "Xlength|LOK|"),
	ROW("\r\n+IPD,1,x3:abc\r\nOK\r\n", "Xlength|LOK|"),
	ROW("\r\n+IPD,-1,3:abc\r\nOK\r\n", "Xlength|LOK|"),
	ROW("\r\n+IPD,1, 3:abc\r\nOK\r\n", "Xlength|LOK|"),
	ROW("\r\n+IPD,1,3,:abc\r\nOK\r\n", "Xlength|LOK|"),
	ROW("\r\n+IPD,1,3,4:abc\r\nOK\r\n", "Xlength|LOK|"),
	ROW("\r\n+IPD,1,3,\"1.2.3.4\",:abc\r\nOK\r\n", "Xlength|LOK|"),
	ROW("\r\n+IPD,1,3,\"1.2.3.4\":abc\r\nOK\r\n", "Xlength|LOK|"),
	ROW("+CIPRECVDATA:0,\r\nOK\r\n", "Xlength|LOK|"),
	ROW("+CIPRECVDATA:16385,\r\nOK\r\n", "Xlength|LOK|"),
	ROW("+CIPRECVDATA:x,\r\nOK\r\n", "Xlength|LOK|"),
	ROW("+SYSMFG:\"a\",\"b\",8,0,\r\nOK\r\n", "Xlength|LOK|"),
	ROW("+SYSMFG:\"a\",\"b\",8,16385,\r\nOK\r\n", "Xlength|LOK|"),
	ROW("+SYSMFG:\"a\",\"b\",9,1,x\r\nOK\r\n", "Xlength|LOK|"),
	ROW("+SYSMFG:\"a\",\"b\",0,1,x\r\nOK\r\n", "Xlength|LOK|"),
	/* a block that has lost or gained bytes */
	ROW("\r\n+IPD,1,5:abc\r\nOK\r\n", "~B+IPD,1,5:(ipd 1 0 5)|Dabc\\r\\n|Xno-crlf|"),
	ROW("\r\n+IPD,1,3:abcd\r\nOK\r\n", "~B+IPD,1,3:(ipd 1 0 3)|Dabc|Xno-crlf|LOK|"),
	ROW("\r\n+IPD,1,3:abc\r\r\nOK\r\n", "~B+IPD,1,3:(ipd 1 0 3)|Dabc|Xno-crlf|LOK|"),
	ROW("\r\n+IPD,1,3:abc\nOK\r\n", "~B+IPD,1,3:(ipd 1 0 3)|Dabc|Xno-crlf|LOK|"),
	ROW("\r\n+IPD,1,4:abc\r\nOK\r\n", "~B+IPD,1,4:(ipd 1 0 4)|Dabc\\r|Xno-crlf|LOK|"),
	ROW("+CIPRECVDATA:3,\"10.0.2.2\",7001,abc\r\nOK\r\n",
	    "B+CIPRECVDATA:3,(recvdata -1 0 3)|D\"10|Xno-crlf|LOK|"), /* 32, CIPDINFO=1 */
};

static void render_pieces(struct render *r, const uint8_t *data, size_t n, size_t piece)
{
	for (size_t off = 0; off < n; off += piece)
		render_feed(r, data + off, n - off < piece ? n - off : piece);
}

static void assert_tokens(const struct row *row)
{
	struct render r;

	render_init(&r);
	render_feed(&r, (const uint8_t *)row->input, row->len);
	assert_string_equal(r.text, row->tokens);
	render_free(&r);
}

static void test_good(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_tokens(&good[i]);
}

static void test_bad(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_tokens(&bad[i]);
}

/* The cut comes from copies on the heap, so that reading over the end of a piece is seen. */
static void assert_cut_anywhere(const struct row *row)
{
	for (size_t cut = 0; cut <= row->len; cut++) {
		uint8_t *head = malloc(cut + 1), *tail = malloc(row->len - cut + 1);
		struct render r;

		assert_non_null(head);
		assert_non_null(tail);
		memcpy(head, row->input, cut);
		memcpy(tail, row->input + cut, row->len - cut);
		render_init(&r);
		render_feed(&r, head, cut);
		render_feed(&r, tail, row->len - cut);
		assert_string_equal(r.text, row->tokens);
		render_free(&r);
		free(head);
		free(tail);
	}
	for (size_t piece = 1; piece < 5; piece++) {
		struct render r;

		render_init(&r);
		render_pieces(&r, (const uint8_t *)row->input, row->len, piece);
		assert_string_equal(r.text, row->tokens);
		render_free(&r);
	}
}

static void test_cut_anywhere(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_cut_anywhere(&good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_cut_anywhere(&bad[i]);
}

/* Rows in any order, some bytes damaged, cut at random: the tokens are those of the whole. */
static void test_cuts_of_damaged_streams(void **state)
{
	uint64_t seed = 0x5eed0004;
	static uint8_t stream[8192];

	for (size_t round = 0; round < 2000; round++) {
		size_t n = 0, off = 0;
		struct render whole, cut;

		for (size_t k = 0; k < 12; k++) {
			size_t i = test_random_below(&seed, ARRAY_SIZE(good) + ARRAY_SIZE(bad));
			const struct row *row = i < ARRAY_SIZE(good) ? &good[i]
								     : &bad[i - ARRAY_SIZE(good)];

			if (n + row->len > sizeof(stream))
				break;
			memcpy(stream + n, row->input, row->len);
			n += row->len;
		}
		for (size_t k = test_random_below(&seed, 6); k > 0 && n > 0; k--)
			stream[test_random_below(&seed, n)] = (uint8_t)test_random(&seed);
		render_init(&whole);
		render_feed(&whole, stream, n);
		render_init(&cut);
		while (off < n) {
			size_t piece = test_random_below(&seed, n - off < 30 ? n - off + 1 : 30);

			render_feed(&cut, stream + off, piece);
			off += piece;
		}
		assert_string_equal(cut.text, whole.text);
		render_free(&whole);
		render_free(&cut);
	}
}

/* Names of networks in a scan, and what a loss makes of its lines. */
static const struct row scans[] = {
#define CWLAP "+CWLAP:(3,\""
#define BEHIND "\",-9,\"10:01:00:c4:0a:51\",5,-1,-1,4,4,7,0)\r\n"
#define SHOWN "\",-9,\"10:01:00:c4:0a:51\",5,-1,-1,4,4,7,0)|"
	ROW(CWLAP BEHIND "\r\nOK\r\n", "L" CWLAP SHOWN "~LOK|"),
	ROW(CWLAP "\r\n\r\nOK\r\n" BEHIND, "L" CWLAP "\\r\\n\\r\\nOK\\r\\n" SHOWN),
	ROW(CWLAP "\r" BEHIND, "L" CWLAP "\\r" SHOWN),
	ROW(CWLAP "12345678901234567890123456789\r\n\n" BEHIND,
	    "L" CWLAP "12345678901234567890123456789\\r\\n\\n" SHOWN),
	/* too long for one */
	ROW(CWLAP "123456789012345678901234567890\r\n\n" BEHIND "OK\r\n",
	    "Xcontrol|L" SHOWN "LOK|"),
	ROW(CWLAP "a\0" BEHIND "OK\r\n", "Xcontrol|LOK|"),
	/* the rest was lost */
	ROW(CWLAP "a\r\n" CWLAP "b" BEHIND "OK\r\n", "Xcontrol|LOK|"),
	ROW(CWLAP "a\",-9\r\n\r\n+IPD,0,30:012345678901234567890123456789\r\nOK\r\n",
	    "Xcontrol|LOK|"),
	/* not of its name */
	ROW("+CWLAP:(3\n,\"" BEHIND "OK\r\n", "Xcontrol|L,\"" SHOWN "LOK|"),
};

static void test_names(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(scans); i++)
		for (size_t piece = 1; piece <= scans[i].len; piece++) {
			struct render r;

			render_init(&r);
			r.lexer.names = true;
			render_pieces(&r, (const uint8_t *)scans[i].input, scans[i].len, piece);
			assert_string_equal(r.text, scans[i].tokens);
			render_free(&r);
		}
}

static void test_longest_line(void **state)
{
	static char line[AT_LEXER_LINE_MAX + 64];
	struct render r;

	memset(line, 'a', sizeof(line));
	memcpy(line + AT_LEXER_LINE_MAX, "\r\nOK\r\n", 6);
	render_init(&r);
	render_feed(&r, (const uint8_t *)line, AT_LEXER_LINE_MAX + 6);
	assert_int_equal(r.len, AT_LEXER_LINE_MAX + strlen("L|LOK|"));
	render_free(&r);

	line[AT_LEXER_LINE_MAX] = 'a';
	memcpy(line + AT_LEXER_LINE_MAX + 1, "\r\nOK\r\n", 6);
	render_init(&r);
	render_feed(&r, (const uint8_t *)line, AT_LEXER_LINE_MAX + 7);
	assert_string_equal(r.text, "Xtoo-long|LOK|");
	render_free(&r);

	/* A line without end is told once, however long. */
	render_init(&r);
	memset(line, 'a', sizeof(line));
	for (int i = 0; i < 100; i++)
		render_feed(&r, (const uint8_t *)line, sizeof(line));
	assert_string_equal(r.text, "Xtoo-long|");
	render_feed(&r, (const uint8_t *)"\r\n\r\nOK\r\n", 8);
	assert_string_equal(r.text, "Xtoo-long|~LOK|");
	render_free(&r);
}

static void test_longest_block(void **state)
{
	static uint8_t data[AT_LEXER_BLOCK_MAX];
	static const char head[] = "\r\n+IPD,3,16384:";
	struct render r;

	memset(data, '>', sizeof(data));
	render_init(&r);
	render_feed(&r, (const uint8_t *)head, strlen(head));
	render_pieces(&r, data, sizeof(data), 1000);
	render_feed(&r, (const uint8_t *)"\r\n\r\nOK\r\n", 8);
	assert_int_equal(r.len, strlen("~B+IPD,3,16384:(ipd 3 0 16384)|D|E|~LOK|") + sizeof(data));
	assert_string_equal(r.text + r.len - 9, ">|E|~LOK|");
	render_free(&r);
}

static void test_reset_forgets(void **state)
{
	static const char *const halves[] = {
		"half a line",    "half a line\r",    "\r\n",    "\r\n+IPD,1,500:abc",
		"\r\n+IPD,1,1:a", "\r\n+IPD,1,1:a\r", "bad\x01",
	};

	for (size_t i = 0; i < ARRAY_SIZE(halves); i++) {
		struct render r, fresh;

		render_init(&r);
		render_feed(&r, (const uint8_t *)halves[i], strlen(halves[i]));
		at_lexer_reset(&r.lexer);
		render_init(&fresh);
		fresh.lexer = r.lexer;
		render_feed(&fresh, (const uint8_t *)"OK\r\n", 4);
		assert_string_equal(fresh.text, "LOK|");
		render_free(&fresh);
		render_free(&r);
	}
}

static void test_bad_has_words(void **state)
{
	for (int i = AT_BAD_CONTROL; i <= AT_BAD_NO_CRLF; i++)
		for (int k = AT_BAD_CONTROL; k < i; k++)
			assert_string_not_equal(at_bad_text((enum at_bad)i),
						at_bad_text((enum at_bad)k));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_cut_anywhere),
		cmocka_unit_test(test_cuts_of_damaged_streams),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_longest_line),
		cmocka_unit_test(test_longest_block),
		cmocka_unit_test(test_reset_forgets),
		cmocka_unit_test(test_bad_has_words),
	};

	return cmocka_run_group_tests_name("lexer", tests, NULL, NULL);
}
