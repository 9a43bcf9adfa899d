/* SPDX-License-Identifier: MIT */
/* at/reply: reply lines as recorded, and lines that are not quite them. */
#include "test.h"

#include <stdbool.h>
#include <string.h>

#include "at/reply.h"

static const struct {
	const char *text;
	bool ok;
	int major, minor, patch;
	const char *core, *chip;
} versions[] = {
	{ "AT version:3.5.0.0-dev(s-33af283 - ESP32 - Mar 13 2025 10:44:34)", true, 3, 5, 0,
	  "3.5.0.0-dev", "ESP32" },
	{ "AT version:2.2.0.0(c6fa6bf - ESP32C3 - Jul  2 2021 06:44:05)", true, 2, 2, 0, "2.2.0.0",
	  "ESP32C3" },
	{ "AT version:3.2.0.0", true, 3, 2, 0, "3.2.0.0", "" },
	{ "AT version:3.2.0(x)", true, 3, 2, 0, "3.2.0", "" },
	{ "AT version:12.34.56(a - b", true, 12, 34, 56, "12.34.56", "" },
	{ "AT version:3.2", false, 0, 0, 0, NULL, NULL },
	{ "AT version:", false, 0, 0, 0, NULL, NULL },
	{ "AT version:-3.2.0", false, 0, 0, 0, NULL, NULL },
	{ "AT version:x", false, 0, 0, 0, NULL, NULL },
	{ "SDK version:v5.4-dirty", false, 0, 0, 0, NULL, NULL },
	{ "Bin version:v4.1.0.0-dev(WROOM-32)", false, 0, 0, 0, NULL, NULL },
	/* 64 bytes of core do not fit with their NUL, 63 do */
	{ "AT version:3.2.0.0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false, 0,
	  0, 0, NULL, NULL },
	{ "AT version:3.2.0.0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true, 3, 2,
	  0, "3.2.0.0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "" },
};

static void test_version(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		struct at_version v = { .core = "untouched" };

		assert_int_equal(at_reply_version(versions[i].text, strlen(versions[i].text), &v),
				 versions[i].ok);
		if (!versions[i].ok) {
			assert_string_equal(v.core, "untouched");
			continue;
		}
		assert_int_equal(v.major, versions[i].major);
		assert_int_equal(v.minor, versions[i].minor);
		assert_int_equal(v.patch, versions[i].patch);
		assert_string_equal(v.core, versions[i].core);
		assert_string_equal(v.chip, versions[i].chip);
	}
}

static void test_bin_version(void **state)
{
	static const char text[] = "Bin version:v4.1.0.0-dev(WROOM-32)";
	char version[23] = "?";

	assert_false(at_reply_bin_version(text, strlen(text), version, 22));
	assert_true(at_reply_bin_version(text, strlen(text), version, 23));
	assert_string_equal(version, "v4.1.0.0-dev(WROOM-32)");
	assert_false(at_reply_bin_version("AT version:3.5", 14, version, 23));
}

static void test_cmd(void **state)
{
	char name[AT_NAME_MAX];

	assert_true(at_reply_cmd("+CMD:5,\"AT+CMD\",0,1,0,0", 23, name));
	assert_string_equal(name, "AT+CMD");
	assert_true(at_reply_cmd("+CMD:70,\"AT+CIPRECVTYPE\",0,1,1,0", 32, name));
	assert_string_equal(name, "AT+CIPRECVTYPE");
	assert_false(at_reply_cmd("+CMD:,\"AT\"", 10, name));
	assert_false(at_reply_cmd("+CMD:5,AT", 9, name));
	assert_false(at_reply_cmd("+CMD:5,\"AT", 10, name));
	assert_false(at_reply_cmd("AT+CMD?", 7, name)); /* the echo */
	assert_false(at_reply_cmd("+CMD:5,\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"", 41, name));
}

static void test_mac(void **state)
{
	char mac[AT_MAC_MAX + 1];

	assert_true(at_reply_mac("+CIPSTAMAC:\"24:0a:c4:12:34:56\"", 30, mac));
	assert_string_equal(mac, "24:0a:c4:12:34:56");
	assert_false(at_reply_mac("+CIPSTAMAC:\"24:0a:c4:12:34:5\"", 29, mac));
	assert_false(at_reply_mac("+CIPSTAMAC:\"24:0a:c4:12:34:5g\"", 30, mac));
	assert_false(at_reply_mac("+CIPSTAMAC:\"24:0a:c4:12-34:56\"", 30, mac));
	assert_false(at_reply_mac("+CIPSTAMAC:\"24:0a:c4:12:34:567\"", 31, mac));
	assert_false(at_reply_mac("+CIPSTAMAC:\"24:0a:c4:12:34:56\",1", 32, mac));
	assert_false(at_reply_mac("+CIPAPMAC:\"24:0a:c4:12:34:56\"", 29, mac));
}

static void test_links(void **state)
{
	static const char *const none[] = { "+CIPSSLCCONF:0,2,0",     "+CIPSSLCCONF:0,2,0,",
					    "+CIPSSLCCONF:0,2,0,5,1", "+CIPSSLCCONF:a,2,0,5",
					    "+CIPSSLCCONF:0,-2,0,5",  "+CIPSSLCSNI:0,2,0,5" };
	struct at_sslconf conf;
	long link;

	assert_true(at_reply_sslconf("+CIPSSLCCONF:4,3,9,5", 20, &conf));
	assert_int_equal(conf.link, 4);
	assert_int_equal(conf.auth, 3);
	assert_int_equal(conf.pki, 9);
	assert_int_equal(conf.ca, 5);
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		assert_false(at_reply_sslconf(none[i], strlen(none[i]), &conf));
	/* 40 and 62 */
	assert_true(at_reply_cipstate("+CIPSTATE:4,\"TCP\",\"10.0.2.2\",7001,55321,0", 43, &link));
	assert_int_equal(link, 4);
	assert_false(at_reply_cipstate("+CIPSTATE:\"TCP\"", 15, &link));
	assert_false(at_reply_cipstate("+CIPSTATE:4", 11, &link));
}

static const struct {
	const char *text;
	bool ok;
	int number;
	const char *ssid;
} cwstates[] = {
	{ "+CWSTATE:0,\"\"", true, 0, "" },
	{ "+CWSTATE:2,\"Espressif\"", true, 2, "Espressif" },
	{ "+CWSTATE:2,\"a\"b,c\\\"", true, 2, "a\"b,c\\" },
	{ "+CWSTATE:3", true, 3, "" },
	{ "+CWSTATE:4,\"x", true, 4, "" },
	{ "+CWSTATE:2,\"", true, 2, "" },
	{ "+CWSTATE:2,\"12345678901234567890123456789012\"", true, 2,
	  "12345678901234567890123456789012" },
	{ "+CWSTATE:2,\"123456789012345678901234567890123\"", true, 2, "" },
	{ "+CWSTATE:5,\"x\"", false, 0, NULL },
	{ "+CWSTATE:,\"x\"", false, 0, NULL },
	{ "+CWMODE:2", false, 0, NULL },
};

static void test_cwstate(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cwstates); i++) {
		char ssid[AT_SSID_MAX + 1] = "?";
		int number = -1;

		assert_int_equal(
			at_reply_cwstate(cwstates[i].text, strlen(cwstates[i].text), &number, ssid),
			cwstates[i].ok);
		if (!cwstates[i].ok)
			continue;
		assert_int_equal(number, cwstates[i].number);
		assert_string_equal(ssid, cwstates[i].ssid);
	}
}

static const struct {
	const char *text;
	const char *bssid; /* NULL: none */
} cwjaps[] = {
	{ "+CWJAP:\"Espressif\",\"10:01:00:c4:0a:51\",5,-24,0,1,3,0,1", "10:01:00:c4:0a:51" },
	{ "+CWJAP:\"\",\"10:01:00:C4:0A:51\",5", "10:01:00:C4:0A:51" },
	{ "+CWJAP:\"a\",\"b\",\"10:01:00:c4:0a:51\",5,-24", "10:01:00:c4:0a:51" },
	/* a name that looks like an address */
	{ "+CWJAP:\"x\",\"99:99:99:99:99:99\",\"10:01:00:c4:0a:51\",5", "10:01:00:c4:0a:51" },
	{ "+CWJAP:\"x\",\"10:01:00:c4:0a:5\",5", NULL },
	{ "+CWJAP:\"x\",\"10:01:00:c4:0a:5g\",5", NULL },
	{ "+CWJAP:\"10:01:00:c4:0a:51\"", NULL },
	{ "+CWJAP:\",\"10:01:00:c4:0a:51\"", NULL },
	{ "+CWJAP:\"x\",x10:01:00:c4:0a:51\",5", NULL },
	{ "+CWJAP:,\"10:01:00:c4:0a:51\"", NULL },
	{ "+CWJAP:\"x\"", NULL },
	{ "+CWJAP:\"", NULL },
	{ "+CWJAP:3", NULL },
	{ "+CWSTATE:2,\"x\",\"10:01:00:c4:0a:51\"", NULL },
};

static void test_bssid(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cwjaps); i++) {
		char bssid[AT_MAC_MAX + 1];
		bool ok = at_reply_bssid(cwjaps[i].text, strlen(cwjaps[i].text), bssid);

		assert_int_equal(ok, cwjaps[i].bssid != NULL);
		if (ok)
			assert_string_equal(bssid, cwjaps[i].bssid);
	}
}

static void test_access_points(void **state)
{
	static const char joined[] = "+CWJAP:\"a\",\"b\",\"10:01:00:c4:0a:51\",5,-24,0,1,3,0,1";
	static const char bare[] = "+CWJAP:\"a\",\"10:01:00:c4:0a:51\"";
	static const char found[] =
		"+CWLAP:(3,\"Espressif\",-25,\"10:01:00:c4:0a:51\",5,-1,-1,4,4,3,0)";
	static const char *const not_understood[] = {
		"+CWLAP:(3,\"123456789012345678901234567890123\",-1,\"10:01:00:c4:0a:51\",5)",
		"+CWLAP:(3,\"a\",\"10:01:00:c4:0a:51\",5)",
		"+CWLAP:(3,\"a\",-1,\"10:01:00:c4:0a:51\")",
		"+CWLAP:(\"a\",-1,\"10:01:00:c4:0a:51\",5)",
		"+CWLAP:(3,\"a\",-x,\"10:01:00:c4:0a:51\",5)",
		"+CWLAP:(3,\"a\",-1,\"10:01:00:c4:0a:5z\",5)",
		"+CWLAP:(3)",
	};
	struct at_ap ap;

	assert_true(at_reply_cwjap(joined, strlen(joined), &ap));
	assert_string_equal(ap.ssid, "a\",\"b");
	assert_string_equal(ap.bssid, "10:01:00:c4:0a:51");
	assert_int_equal(ap.channel, 5);
	assert_int_equal(ap.rssi, -24);
	assert_int_equal(ap.security, -1);
	assert_true(at_reply_cwjap(bare, strlen(bare), &ap));
	assert_int_equal(ap.channel, 0);
	assert_int_equal(ap.rssi, 0);
	/* capture 20 */
	assert_true(at_reply_cwlap(found, strlen(found), &ap));
	assert_string_equal(ap.ssid, "Espressif");
	assert_string_equal(ap.bssid, "10:01:00:c4:0a:51");
	assert_int_equal(ap.channel, 5);
	assert_int_equal(ap.rssi, -25);
	assert_int_equal(ap.security, 3);
	/* Cut off anywhere, it is either not understood or says the same. */
	for (size_t n = 0; n < strlen(found); n++) {
		char text[sizeof(found)] = "";

		memcpy(text, found, n);
		if (at_reply_cwlap(text, n, &ap))
			assert_true(ap.channel == 5 && ap.rssi == -25);
	}
	for (size_t i = 0; i < ARRAY_SIZE(not_understood); i++)
		assert_false(at_reply_cwlap(not_understood[i], strlen(not_understood[i]), &ap));
	assert_false(at_reply_cwlap(joined, strlen(joined), &ap));
	assert_false(at_reply_cwjap(found, strlen(found), &ap));
}

static void test_wifi_settings(void **state)
{
	char name[AT_HOSTNAME_MAX + 1];
	char address[AT_IPV4_MAX + 1];
	bool manual;

	/* captures 04, 20, 21 */
	assert_true(at_reply_hostname("+CWHOSTNAME:espressif", 21, name));
	assert_string_equal(name, "espressif");
	assert_true(at_reply_hostname("+CWHOSTNAME:12345678901234567890123456789012", 44, name));
	assert_string_equal(name, "12345678901234567890123456789012");
	assert_false(at_reply_hostname("+CWHOSTNAME:123456789012345678901234567890123", 45, name));
	assert_false(at_reply_hostname("+CWHOSTNAME", 11, name));
	assert_true(at_reply_cipsta("+CIPSTA:ip:\"10.0.2.15\"", 22, "ip", address));
	assert_string_equal(address, "10.0.2.15");
	assert_true(at_reply_cipsta("+CIPSTA:netmask:\"255.255.255.255\"", 33, "netmask", address));
	assert_string_equal(address, "255.255.255.255");
	assert_false(at_reply_cipsta("+CIPSTA:ip:\"255.255.255.2555\"", 29, "ip", address));
	assert_false(at_reply_cipsta("+CIPSTA:ip6ll:\"fe80::1\"", 23, "ip", address));
	assert_false(at_reply_cipsta("+CIPSTA:ip:\"10.0.2.15\",1", 24, "ip", address));
	assert_false(at_reply_cipsta("+CIPSTA:gateway:\"10.0.2.2\"", 26, "ip", address));
	assert_true(at_reply_cipdns("+CIPDNS:1,\"10.0.2.2\"", 20, &manual));
	assert_true(manual);
	assert_true(at_reply_cipdns("+CIPDNS:0,\"10.0.2.3\",\"8.8.8.8\"", 30, &manual));
	assert_false(manual);
	assert_true(at_reply_cipdns("+CIPDNS:0", 9, &manual));
	assert_false(at_reply_cipdns("+CIPDNS:2", 9, &manual));
	assert_false(at_reply_cipdns("+CIPDNS:1x", 10, &manual));
	assert_false(at_reply_cipdns("+CIPDNS:", 8, &manual));
	/* ESP-AT documentation */
	assert_true(at_reply_cwjeap_timeout("+CWJEAP:Timeout", 15));
	assert_false(at_reply_cwjeap_timeout("+CWJEAP:Timeout,", 16));
	assert_false(at_reply_cwjeap_timeout("+CWJEAP:", 8));
}

static void test_mfg_entry(void **state)
{
	char key[AT_NVS_NAME_MAX + 1];
	int type = 0;

	assert_true(at_reply_mfg_entry("+SYSMFG:\"client_ca\",\"client_ca.0\",8", 35, key, &type));
	assert_string_equal(key, "client_ca.0");
	assert_int_equal(type, 8);
	assert_true(at_reply_mfg_entry("+SYSMFG:\"n\",\"123456789012345\",1", 31, key, &type));
	assert_int_equal(type, 1);
	assert_false(at_reply_mfg_entry("+SYSMFG:\"n\",\"1234567890123456\",1", 32, key, &type));
	assert_false(at_reply_mfg_entry("+SYSMFG:\"client_ca\"", 19, key, &type));
	assert_false(at_reply_mfg_entry("+SYSMFG:\"n\",\"k\",9", 17, key, &type));
	assert_false(at_reply_mfg_entry("+SYSMFG:\"n\",\"k\",0", 17, key, &type));
	assert_false(at_reply_mfg_entry("+SYSMFG:\"n\",\"k\",8,", 18, key, &type));
}

static void test_number_and_link(void **state)
{
	long value = -1;

	assert_true(at_reply_number("+CWMODE:2", 9, "+CWMODE:", &value));
	assert_int_equal(value, 2);
	assert_true(at_reply_number("+SYSTIMESTAMP:1700000000", 24, "+SYSTIMESTAMP:", &value));
	assert_int_equal(value, 1700000000);
	assert_false(at_reply_number("+CWMODE:2,1", 11, "+CWMODE:", &value));
	assert_false(at_reply_number("+CWMODE:", 8, "+CWMODE:", &value));
	assert_false(at_reply_number("+CWJAP:3", 8, "+CWMODE:", &value));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_version),
		cmocka_unit_test(test_bin_version),
		cmocka_unit_test(test_cmd),
		cmocka_unit_test(test_mac),
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_cwstate),
		cmocka_unit_test(test_bssid),
		cmocka_unit_test(test_access_points),
		cmocka_unit_test(test_wifi_settings),
		cmocka_unit_test(test_mfg_entry),
		cmocka_unit_test(test_number_and_link),
	};

	return cmocka_run_group_tests_name("reply", tests, NULL, NULL);
}
