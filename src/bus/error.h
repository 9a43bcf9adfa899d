/* SPDX-License-Identifier: MIT */
/* The errors that callers see: one table of names, org.espat1.Error.*, described in org.espat1(5). */
#pragma once

#include <stdarg.h>
#include <stdbool.h>

enum bus_error {
	BUS_OK,
	BUS_E_INVALID_ARGUMENT,    /* InvalidArgument */
	BUS_E_NO_SUCH_DEVICE,      /* NoSuchDevice */
	BUS_E_NO_SUCH_TUNNEL,      /* NoSuchTunnel */
	BUS_E_NO_SUCH_AUTHORITY,   /* NoSuchAuthority */
	BUS_E_NO_SUCH_IDENTITY,    /* NoSuchIdentity */
	BUS_E_NO_SUCH_VALUE,       /* NoSuchValue: nothing stands in that slot */
	BUS_E_AMBIGUOUS,           /* Ambiguous: the name is an authority's and an identity's */
	BUS_E_EXISTS,              /* Exists */
	BUS_E_IN_CONFIGURATION,    /* InConfiguration: only a change of the file removes it */
	BUS_E_IN_USE,              /* InUse: a tunnel needs it */
	BUS_E_SLOT_IN_USE,         /* SlotInUse: a name of ours has it */
	BUS_E_SECRET_IN_ARGUMENT,  /* SecretInArgument */
	BUS_E_BAD_CERTIFICATE,     /* BadCertificate */
	BUS_E_BAD_KEY,             /* BadKey */
	BUS_E_BAD_DESCRIPTOR,      /* BadFileDescriptor */
	BUS_E_TOO_LARGE,           /* TooLarge */
	BUS_E_NOT_AUTHORIZED,      /* NotAuthorized */
	BUS_E_NOT_READY,           /* NotReady: the chip is not in service */
	BUS_E_BUSY,                /* Busy: too many calls wait, or the state folder is locked */
	BUS_E_CHIP_GONE,           /* ChipGone: reset or lost before it had answered */
	BUS_E_REFUSED,             /* ChipRefused */
	BUS_E_TIMEOUT,             /* Timeout */
	BUS_E_COMMAND_NOT_ALLOWED, /* CommandNotAllowed */
	BUS_E_CONFIGURATION, /* BadConfiguration: the text has file, line, what was expected */
	BUS_E_NOTHING_KEPT,  /* NothingKept: no generation to roll back to */
	BUS_E_NO_TRACE,      /* NoTrace: none is running */
	BUS_E_VERIFY,        /* VerifyFailed: what was written does not read back */
	BUS_E_STOPPING,      /* Stopping */
	BUS_E_NO_MEMORY,     /* NoMemory */
	BUS_E_FAILED,        /* Failed: anything else, the text says what */
};

/* Why something could not be done; text in words, several lines for several complaints. */
struct bus_failure {
	enum bus_error error;
	/* An argument is longer than it may be: that was found by the library's reading it, and no more. */
	bool oversize;
	char text[1024];
};

/* Fills in @failure and returns -1. */
__attribute__((format(printf, 3, 4))) int bus_fail(struct bus_failure *failure,
						   enum bus_error error, const char *format, ...);
__attribute__((format(printf, 3, 0))) void
bus_vfail(struct bus_failure *failure, enum bus_error error, const char *format, va_list ap);
/* "org.espat1.Error.InvalidArgument" */
const char *bus_error_name(enum bus_error error);
