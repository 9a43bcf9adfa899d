/* SPDX-License-Identifier: MIT */
/*
 * Commands that somebody says himself. Which of them are harmless, which may do anything, and which are
 * never said: those that would tell a secret, and those after which chip and host would not agree any
 * more, or a link would not be what the daemon believes it to be. What a raw command changes besides
 * (addresses, the network, the clock) is the business of whoever says it.
 *
 * The firmware takes names in any case, and nothing between them and their `=` or `?` (capture 01);
 * whatever is not written just so is refused here, before it is looked up.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/internal.h"
#include "device/request-internal.h"

/* Longest line without its end. */
#define COMMAND_MAX (AT_LINE_MAX - 2)
#define COMMAND_NAME_MAX 48
/* A harmless one asks for what the chip knows; a raw one may look up a name, join, or ping. */
#define COMMAND_TIMEOUT DEVICE_TIMEOUT_FLASH
#define COMMAND_TIMEOUT_RAW (75 * TIMERS_S)

/* How a command is said. */
enum command_form {
	COMMAND_EXECUTE = 1 << 0, /* AT+X */
	COMMAND_QUERY = 1 << 1,   /* AT+X? */
	COMMAND_SET = 1 << 2,     /* AT+X=..., also the test AT+X=? */
	COMMAND_ANY = COMMAND_EXECUTE | COMMAND_QUERY | COMMAND_SET,
};

struct command {
	char name[COMMAND_NAME_MAX + 1]; /* in capitals */
	enum command_form form;
	const char *args; /* behind the '=' */
};

/*
 * Each only tells something, without changing anything, without a word to the network, and nothing of
 * it is a secret; recorded in captures 01, 03, 04, 20 and 21, or in the documentation.
 */
static const struct {
	const char *name;
	enum command_form form;
} commands_harmless[] = {
	{ "AT", COMMAND_EXECUTE },
	{ "AT+GMR", COMMAND_EXECUTE }, /* versions */
	{ "AT+CMD", COMMAND_QUERY },   /* which commands there are */
	{ "AT+SYSRAM", COMMAND_QUERY },
	{ "AT+SYSTEMP", COMMAND_QUERY },
	{ "AT+SYSLOG", COMMAND_QUERY },
	{ "AT+SYSMSG", COMMAND_QUERY },
	{ "AT+SYSSTORE", COMMAND_QUERY },
	{ "AT+SYSTIMESTAMP", COMMAND_QUERY },
	{ "AT+USERDOCS", COMMAND_QUERY }, /* an address of the documentation */
	{ "AT+RFPOWER", COMMAND_QUERY },
	{ "AT+SLEEP", COMMAND_QUERY },
	{ "AT+UART", COMMAND_QUERY }, /* rate and frame of the serial line */
	{ "AT+UART_CUR", COMMAND_QUERY },
	{ "AT+UART_DEF", COMMAND_QUERY },
	{ "AT+CWMODE", COMMAND_QUERY },
	{ "AT+CWSTATE", COMMAND_QUERY },
	/* Name, address, channel and signal, and no password (capture 20). */
	{ "AT+CWJAP", COMMAND_QUERY },
	{ "AT+CWRECONNCFG", COMMAND_QUERY },
	{ "AT+CWAUTOCONN", COMMAND_QUERY },
	{ "AT+CWDHCP", COMMAND_QUERY },
	{ "AT+CWCOUNTRY", COMMAND_QUERY },
	{ "AT+CWHOSTNAME", COMMAND_QUERY },
	{ "AT+CWSTAPROTO", COMMAND_QUERY },
	{ "AT+CIFSR", COMMAND_EXECUTE }, /* addresses */
	{ "AT+CIPSTA", COMMAND_QUERY },
	{ "AT+CIPSTAMAC", COMMAND_QUERY },
	{ "AT+CIPV6", COMMAND_QUERY },
	{ "AT+CIPDNS", COMMAND_QUERY },
	{ "AT+CIPSTATUS", COMMAND_EXECUTE }, /* the links: to which address and port */
	{ "AT+CIPSTATE", COMMAND_QUERY },
	{ "AT+CIPMUX", COMMAND_QUERY },
	{ "AT+CIPMODE", COMMAND_QUERY },
	{ "AT+CIPDINFO", COMMAND_QUERY },
	{ "AT+CIPRECVMODE", COMMAND_QUERY },
	{ "AT+CIPRECVTYPE", COMMAND_QUERY },
	{ "AT+CIPRECVLEN", COMMAND_QUERY },
	{ "AT+CIPTCPOPT", COMMAND_QUERY },
	{ "AT+CIPSERVER", COMMAND_QUERY },
	/* How a link judges its server, in numbers. The PSK has a query of its own. */
	{ "AT+CIPSSLCCONF", COMMAND_QUERY },
	{ "AT+CIPSNTPCFG", COMMAND_QUERY },
	{ "AT+CIPSNTPTIME", COMMAND_QUERY },
	{ "AT+CIPSNTPINTV", COMMAND_QUERY },
};

static const char refused_secret[] = "it would tell or change a secret";
static const char refused_store[] =
	"it reads or writes the chip's store of keys; load, erase and verify do that";
static const char refused_flash[] =
	"it reads or writes the chip's flash or memory, where its keys are";
static const char refused_data[] =
	"it waits for data, or brings some, that nobody could tell from answers";
static const char refused_names[] = "names of networks may hold anything, also what looks like an "
				    "answer or a report; there is a "
				    "method of its own that can tell them apart";
static const char refused_passthrough[] = "after it the chip takes commands for data";
static const char refused_links[] = "links are opened and used by the daemon alone";
static const char refused_tls[] =
	"the next link would be judged by it, and not by what its tunnel says";
static const char refused_engine[] =
	"the daemon has set it so that it understands what the chip says";
static const char refused_serial[] = "the daemon and the chip would not hear each other any more";
static const char refused_reset[] = "there is a method of its own for resetting the chip";
static const char refused_firmware[] = "it replaces the chip's firmware, or all its settings";
static const char refused_sleep[] = "a chip that sleeps does not hear what it is told";

/* The first one that fits counts. */
static const struct {
	const char *name; /* ends in '*': all that begin so */
	enum command_form form;
	const char *why;
} commands_never[] = {
	/* keys, and where they are */
	{ "AT+SYSMFG*", COMMAND_ANY, refused_store },
	{ "AT+SYSFLASH*", COMMAND_ANY, refused_flash },
	{ "AT+SYSREG*", COMMAND_ANY, refused_flash },
	{ "AT+USERRAM", COMMAND_EXECUTE | COMMAND_SET, refused_flash },
	{ "AT+FS*", COMMAND_ANY, refused_flash },
	/* passwords, which their queries tell */
	{ "AT+CIPSSLCPSK*", COMMAND_ANY, refused_secret },
	{ "AT+CWSAP*", COMMAND_QUERY, refused_secret },
	{ "AT+CWJEAP*", COMMAND_QUERY, refused_secret },
	/* They tell the password that they have heard. */
	{ "AT+CWSTARTSMART", COMMAND_ANY, refused_secret },
	{ "AT+BLUFI*", COMMAND_ANY, refused_secret },
	{ "AT+WEB*", COMMAND_ANY, refused_secret },
	/*
	 * Prompts; and answers and reports whose bytes come from servers, neighbours or buses, and may be
	 * anything, also `OK` or `ready`.
	 */
	{ "AT+MQTT*", COMMAND_ANY, refused_data },
	{ "AT+HTTP*", COMMAND_ANY, refused_data },
	{ "AT+WS*", COMMAND_ANY, refused_data },
	{ "AT+BLE*", COMMAND_ANY, refused_data },
	{ "AT+BT*", COMMAND_ANY, refused_data },
	{ "AT+DRVI2C*", COMMAND_ANY, refused_data },
	{ "AT+DRVSPI*", COMMAND_ANY, refused_data },
	{ "AT+DRVUART*", COMMAND_ANY, refused_data },
	{ "AT+SYSMSGFILTER*", COMMAND_SET, refused_data },
	{ "AT+CIPSEND*", COMMAND_EXECUTE | COMMAND_SET, refused_data },
	{ "AT+CIPRECVDATA*", COMMAND_ANY, refused_data },
	{ "AT+CWLAP", COMMAND_EXECUTE | COMMAND_SET, refused_names },
	{ "AT+CIPMODE", COMMAND_SET, refused_passthrough },
	{ "AT+SAVETRANSLINK*", COMMAND_ANY, refused_passthrough },
	/* what the daemon counts on */
	{ "AT+CIPSTART*", COMMAND_ANY, refused_links },
	{ "AT+CIPSERVER*", COMMAND_SET, refused_links },
	{ "AT+CIPSSLC*", COMMAND_SET, refused_tls },
	{ "ATE1", COMMAND_EXECUTE, refused_engine },
	{ "AT+CIPMUX", COMMAND_SET, refused_engine },
	{ "AT+CIPDINFO", COMMAND_SET, refused_engine },
	{ "AT+CIPRECVMODE", COMMAND_SET, refused_engine },
	{ "AT+CIPRECVTYPE", COMMAND_SET, refused_engine },
	{ "AT+SYSMSG", COMMAND_SET, refused_engine },
	{ "AT+UART*", COMMAND_SET, refused_serial },
	{ "AT+FACTPLCP*", COMMAND_ANY, refused_serial },
	{ "AT+RST", COMMAND_ANY, refused_reset },
	{ "AT+RESTORE", COMMAND_ANY, refused_firmware },
	{ "AT+CIUPDATE", COMMAND_EXECUTE | COMMAND_SET, refused_firmware },
	{ "AT+USEROTA*", COMMAND_ANY, refused_firmware },
	{ "AT+SYSROLLBACK", COMMAND_EXECUTE | COMMAND_SET, refused_firmware },
	{ "AT+GSLP", COMMAND_ANY, refused_sleep },
	{ "AT+SLEEPWKCFG", COMMAND_ANY, refused_sleep },
	{ "AT+SYSLSP*", COMMAND_ANY, refused_sleep },
	{ "AT+USERMCUSLEEP", COMMAND_ANY, refused_sleep },
};

#define N(array) (sizeof(array) / sizeof(*(array)))

static char capital(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static bool is_name_char(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* `AT`, `ATE0`, `ATE1`, or `AT+` with a name. */
static bool command_name_is_right(const char *name)
{
	if (strcmp(name, "AT") == 0 || strcmp(name, "ATE0") == 0 || strcmp(name, "ATE1") == 0)
		return true;
	if (strncmp(name, "AT+", 3) != 0 || name[3] == '\0')
		return false;
	for (const char *c = name + 3; *c; c++)
		if (!is_name_char(*c))
			return false;
	return true;
}

/* Returns NULL, or why it is no single command line. */
static const char *command_parse(const char *line, struct command *ret)
{
	size_t n = strcspn(line, "=?");

	/* A Wi-Fi name may have letters of any language. */
	for (const unsigned char *c = (const unsigned char *)line; *c; c++)
		if (*c < ' ' || *c == 0x7f)
			return "it has a control character, and only one line is said at a time";
	if (strlen(line) > COMMAND_MAX)
		return "it is longer than the firmware takes a line";
	if (n > COMMAND_NAME_MAX)
		return "it is no AT command";
	memset(ret->name, '\0', sizeof(ret->name));
	for (size_t i = 0; i < n; i++)
		ret->name[i] = capital(line[i]);
	if (!command_name_is_right(ret->name) || (line[n] == '?' && line[n + 1] != '\0'))
		return "it is no AT command";
	ret->form = line[n] == '=' ? COMMAND_SET : line[n] == '?' ? COMMAND_QUERY : COMMAND_EXECUTE;
	ret->args = line[n] == '=' ? line + n + 1 : "";
	return NULL;
}

static bool command_fits(const struct command *command, const char *name)
{
	size_t n = strlen(name);

	if (name[n - 1] == '*')
		return strncmp(command->name, name, n - 1) == 0;
	return strcmp(command->name, name) == 0;
}

static const char *command_refusal(const struct command *command)
{
	for (size_t i = 0; i < N(commands_never); i++)
		if ((commands_never[i].form & command->form) &&
		    command_fits(command, commands_never[i].name))
			return commands_never[i].why;
	/* 0 and 1 (modem sleep) hear every byte; light sleep loses the first ones. */
	if (command->form == COMMAND_SET && strcmp(command->name, "AT+SLEEP") == 0 &&
	    strcmp(command->args, "0") != 0 && strcmp(command->args, "1") != 0)
		return refused_sleep;
	return NULL;
}

const char *device_command_refusal(const char *line)
{
	struct command command;
	const char *why = command_parse(line, &command);

	return why ? why : command_refusal(&command);
}

enum device_command_class device_command_class(const char *line)
{
	struct command command;

	if (command_parse(line, &command) || command_refusal(&command))
		return DEVICE_COMMAND_NEVER;
	for (size_t i = 0; i < N(commands_harmless); i++)
		if (commands_harmless[i].form == command.form &&
		    strcmp(commands_harmless[i].name, command.name) == 0)
			return DEVICE_COMMAND_HARMLESS;
	return DEVICE_COMMAND_RAW;
}

/* ---- running one ---- */

struct command_request {
	struct device_request req;
	struct chan_cmd cmd;
	bool raw;
	char *lines[DEVICE_ANSWER_LINES_MAX];
	size_t n_lines;
	bool out_of_memory;
};

static void command_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	struct command_request *command = container_of(cmd, struct command_request, cmd);
	char *copy;

	if (command->n_lines == DEVICE_ANSWER_LINES_MAX)
		return;
	copy = strndup(text, len < DEVICE_ANSWER_LINE_MAX ? len : DEVICE_ANSWER_LINE_MAX);
	if (copy)
		command->lines[command->n_lines++] = copy;
	else
		command->out_of_memory = true;
}

static void command_done(struct chan_cmd *cmd, enum chan_result result)
{
	struct command_request *command = container_of(cmd, struct command_request, cmd);
	struct device_answer answer = {
		.text = result == CHAN_OK ? "" : "the chip says ERROR",
		.lines = command->lines,
		.n_lines = command->n_lines,
	};

	if (result != CHAN_OK)
		request_cmd_failed(&command->req, result, &answer);
	else
		device_request_finish(&command->req,
				      command->out_of_memory ? DEVICE_E_MEMORY : DEVICE_OK,
				      &answer);
}

static void command_free_data(struct device_request *req)
{
	struct command_request *command = (struct command_request *)req;

	/* Whoever may say anything may hear anything. */
	for (size_t i = 0; i < command->n_lines; i++) {
		explicit_bzero(command->lines[i], strlen(command->lines[i]));
		free(command->lines[i]);
	}
	at_line_wipe(&command->cmd.line);
}

static void command_start(struct device_request *req)
{
	struct command_request *command = (struct command_request *)req;
	struct chan_cmd *cmd = &command->cmd;

	if (command->raw)
		dev_notice(req->dev, "a raw command is said: %.*s",
			   (int)strcspn(cmd->line.text, "=?\r"), cmd->line.text);
	chan_submit(&req->dev->chan, CHAN_CONTROL, cmd);
}

int device_command(struct device *dev, const char *line, device_done_fn done, void *userdata,
		   struct device_request **ret)
{
	enum device_command_class class = device_command_class(line);
	struct command_request *command;
	struct chan_cmd *cmd;

	if (class == DEVICE_COMMAND_NEVER)
		return -EINVAL;
	command = calloc(1, sizeof(*command));
	if (!command)
		return -ENOMEM;
	device_request_init(&command->req, dev, done, userdata);
	command->req.start = command_start;
	command->req.free_data = command_free_data;
	command->raw = class == DEVICE_COMMAND_RAW;
	cmd = &command->cmd;
	/* As it stands. */
	chan_cmd_begin(cmd, line);
	at_line_end(&cmd->line);
	cmd->secret = command->raw;
	cmd->timeout = command->raw ? COMMAND_TIMEOUT_RAW : COMMAND_TIMEOUT;
	cmd->on_line = command_line;
	cmd->done = command_done;
	return request_submit_or_free(&command->req, ret);
}
