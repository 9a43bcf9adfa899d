/* SPDX-License-Identifier: MIT */
/* Firmware profiles. 4.1 and 4.2 are as recorded (captures 03, 90), the others from the release documentation. */
#include "profile.h"

#include <stddef.h>
#include <string.h>

#define MFG "+SYSFLASH:\"mfg_nvs\",1,2,0x21000,0x1c000\r\n"
#define FATFS "+SYSFLASH:\"fatfs\",1,129,0x70000,0x90000\r\n"

const struct profile sim_profiles[] = {
	{
		.name = "3.2",
		.bit = P32,
		.chip = "ESP32",
		.gmr = "AT version:3.2.0.0(s-5045204 - ESP32 - Jul 20 2023 11:55:34)\r\n"
		       "SDK version:v5.0.2-dirty\r\n"
		       "compile time(b5d1a8a1):Jul 21 2023 03:46:09\r\n"
		       "Bin version:v3.2.0.0(WROOM-32)\r\n",
		.partitions = MFG FATFS,
		.heap = 186132,
	},
	{
		.name = "3.4",
		.bit = P34,
		.chip = "ESP32",
		.gmr = "AT version:3.4.0.0(s-1fe3806 - ESP32 - Jun  7 2024 12:10:40)\r\n"
		       "SDK version:v5.0.6-dirty\r\n"
		       "compile time(69b50bb1):Jun  7 2024 20:40:25\r\n"
		       "Bin version:v3.4.0.0(WROOM-32)\r\n",
		.partitions = MFG FATFS,
		.heap = 186132,
	},
	{
		.name = "4.1",
		.bit = P41,
		.chip = "ESP32",
		.gmr = "AT version:3.5.0.0-dev(s-33af283 - ESP32 - Mar 13 2025 10:44:34)\r\n"
		       "SDK version:v5.4-dirty\r\n"
		       "compile time(4dac09c4):May 30 2025 12:05:59\r\n"
		       "Bin version:v4.1.0.0-dev(WROOM-32)\r\n",
		.start_timeout = true,
		.partitions = MFG FATFS,
		.heap = 186132,
	},
	{
		.name = "4.2",
		.bit = P42,
		.chip = "ESP32",
		.gmr = "AT version:4.2.0.0-dev(bbccb5e - ESP32 - Feb  9 2026 02:41:25)\r\n"
		       "SDK version:-128-NOTFOUND\r\n"
		       "compile time(28167d3f):Mar  2 2026 11:02:16\r\n"
		       "Bin version:ES4.2.0(WROOM-32)\r\n",
		.auto_name = true,
		.start_timeout = true,
		.partitions = MFG "+SYSFLASH:\"fs_storage\",1,255,0x70000,0x50000\r\n",
		.heap = 130344,
	},
	{
		.name = "5.0",
		.bit = P50,
		.chip = "ESP32C5",
		.gmr = "AT version:5.0.0.0(s-3e5cd8f - ESP32C5 - Nov 14 2025 09:21:44)\r\n"
		       "SDK version:v5.5.1-dirty\r\n"
		       "compile time(7c2a41b9):Nov 20 2025 08:02:11\r\n"
		       "Bin version:v5.0.0.0(ESP32C5-4MB)\r\n",
		.start_timeout = true,
		.recvlen_minus = true,
		.authmode = true,
		.has_5ghz = true,
		.ent_names = true,
		.err_no = true,
		.partitions = MFG FATFS,
		.heap = 148408,
	},
};

const int sim_n_profiles = sizeof(sim_profiles) / sizeof(sim_profiles[0]);

const struct profile *profile_find(const char *name)
{
	if (!name)
		name = "4.1";
	for (int i = 0; i < sim_n_profiles; i++)
		if (!strcmp(sim_profiles[i].name, name))
			return &sim_profiles[i];
	return NULL;
}
