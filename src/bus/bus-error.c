/* SPDX-License-Identifier: MIT */
/* The table of errors. */
#include "bus/error.h"

#include <stdio.h>

#define NAME(name) "org.espat1.Error." name

static const char *const bus_error_names[] = {
	[BUS_OK] = NULL,
	[BUS_E_INVALID_ARGUMENT] = NAME("InvalidArgument"),
	[BUS_E_NO_SUCH_DEVICE] = NAME("NoSuchDevice"),
	[BUS_E_NO_SUCH_TUNNEL] = NAME("NoSuchTunnel"),
	[BUS_E_NO_SUCH_AUTHORITY] = NAME("NoSuchAuthority"),
	[BUS_E_NO_SUCH_IDENTITY] = NAME("NoSuchIdentity"),
	[BUS_E_NO_SUCH_VALUE] = NAME("NoSuchValue"),
	[BUS_E_AMBIGUOUS] = NAME("Ambiguous"),
	[BUS_E_EXISTS] = NAME("Exists"),
	[BUS_E_IN_CONFIGURATION] = NAME("InConfiguration"),
	[BUS_E_IN_USE] = NAME("InUse"),
	[BUS_E_SLOT_IN_USE] = NAME("SlotInUse"),
	[BUS_E_SECRET_IN_ARGUMENT] = NAME("SecretInArgument"),
	[BUS_E_BAD_CERTIFICATE] = NAME("BadCertificate"),
	[BUS_E_BAD_KEY] = NAME("BadKey"),
	[BUS_E_BAD_DESCRIPTOR] = NAME("BadFileDescriptor"),
	[BUS_E_TOO_LARGE] = NAME("TooLarge"),
	[BUS_E_NOT_AUTHORIZED] = NAME("NotAuthorized"),
	[BUS_E_NOT_READY] = NAME("NotReady"),
	[BUS_E_BUSY] = NAME("Busy"),
	[BUS_E_CHIP_GONE] = NAME("ChipGone"),
	[BUS_E_REFUSED] = NAME("ChipRefused"),
	[BUS_E_TIMEOUT] = NAME("Timeout"),
	[BUS_E_COMMAND_NOT_ALLOWED] = NAME("CommandNotAllowed"),
	[BUS_E_CONFIGURATION] = NAME("BadConfiguration"),
	[BUS_E_NOTHING_KEPT] = NAME("NothingKept"),
	[BUS_E_NO_TRACE] = NAME("NoTrace"),
	[BUS_E_VERIFY] = NAME("VerifyFailed"),
	[BUS_E_STOPPING] = NAME("Stopping"),
	[BUS_E_NO_MEMORY] = NAME("NoMemory"),
	[BUS_E_FAILED] = NAME("Failed"),
};

const char *bus_error_name(enum bus_error error)
{
	return bus_error_names[error];
}

void bus_vfail(struct bus_failure *failure, enum bus_error error, const char *format, va_list ap)
{
	failure->error = error;
	failure->oversize = false;
	vsnprintf(failure->text, sizeof(failure->text), format, ap);
}

int bus_fail(struct bus_failure *failure, enum bus_error error, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	bus_vfail(failure, error, format, ap);
	va_end(ap);
	return -1;
}
