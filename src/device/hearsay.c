/* SPDX-License-Identifier: MIT */
#include "device/hearsay.h"

#include <ctype.h>
#include <string.h>

/* So much of a line is kept when it is longer: a sign may lie across. */
#define HEARSAY_KEEP 16
/* A glitch when a port is opened or a chip gets its power makes no noise of a text. */
#define HEARSAY_NOISE_PART 4

/* `I (123) `, as ESP-IDF has it; @p: behind the letter */
static bool is_log(const char *p)
{
	if (strncmp(p, " (", 2) != 0 || !isdigit((unsigned char)p[2]))
		return false;
	p += 2;
	while (isdigit((unsigned char)*p))
		p++;
	return *p == ')';
}

/* `ets Jun  8 2016 00:22:57`, as the ROM of ESP8266 and ESP32 has it; @p: behind `ets ` */
static bool is_date(const char *p)
{
	return isupper((unsigned char)p[0]) && islower((unsigned char)p[1]) &&
	       islower((unsigned char)p[2]) && p[3] == ' ';
}

static bool is_boot(const char *line)
{
	static const char *const signs[] = { "rst:0x", "boot:0x", "ESP-ROM:", "rst cause:" };
	const char *ets = strstr(line, "ets ");

	for (size_t i = 0; i < sizeof(signs) / sizeof(*signs); i++)
		if (strstr(line, signs[i]))
			return true;
	for (const char *p = line; (p = strpbrk(p, "EWIDV")); p++)
		if (is_log(p + 1))
			return true;
	return ets && (ets == line || !isalpha((unsigned char)ets[-1])) && is_date(ets + 4);
}

static void hearsay_line(struct hearsay *hearsay, size_t keep)
{
	hearsay->line[hearsay->len] = '\0';
	hearsay->boot = hearsay->boot || is_boot(hearsay->line);
	if (keep > 0)
		memmove(hearsay->line, hearsay->line + hearsay->len - keep, keep);
	hearsay->len = keep;
}

void hearsay_take(struct hearsay *hearsay, const uint8_t *data, size_t len, bool right)
{
	hearsay->came = hearsay->came || len > 0;
	for (size_t i = 0; i < len; i++) {
		bool end = data[i] == '\r' || data[i] == '\n';
		bool text = end || data[i] == '\t' || data[i] == '\x1b' ||
			    (data[i] >= 0x20 && data[i] < 0x7f);

		if (right) {
			hearsay->text += text;
			hearsay->noise += !text;
		}
		if (!end)
			hearsay->line[hearsay->len++] = text ? (char)data[i] : '?';
		if (end || hearsay->len == HEARSAY_LINE)
			hearsay_line(hearsay, end ? 0 : HEARSAY_KEEP);
	}
}

const char *hearsay_describe(const struct hearsay *hearsay)
{
	if (hearsay->boot)
		return "what came is the text of a boot loader or a log, so this is not the AT "
		       "port";
	if (!hearsay->came)
		return "the line is silent";
	if (hearsay->noise * HEARSAY_NOISE_PART >= hearsay->text)
		return "what came is no text, is this the right rate?";
	return "what came is text, but not that of ESP-AT";
}
