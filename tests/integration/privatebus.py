# SPDX-License-Identifier: MIT
"""A message bus of the test's own."""
import subprocess

import dbus
import dbus.bus

from busdaemon import BusDaemon
from harness import DEADLINE, wait_for

NAME = "org.espat1"
ROOT = "/org/espat1"

class BusError(Exception):
    """@name is without org.espat1.Error. in front."""

    def __init__(self, error):
        self.name = error.get_dbus_name().removeprefix(f"{NAME}.Error.")
        self.text = error.get_dbus_message()
        super().__init__(f"{self.name}: {self.text}")


def plain(value):
    """Python's own types."""
    if isinstance(value, dbus.Dictionary):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, dbus.Struct):
        return tuple(plain(item) for item in value)
    if isinstance(value, dbus.Array):
        return [plain(item) for item in value]
    for own in bool, int, float, str:
        if isinstance(value, dbus.Boolean if own is bool else own):
            return own(value)
    return value


class PrivateBus(BusDaemon):
    def __init__(self, dir):
        super().__init__(dir)
        self.connection = self.connect()

    def connect(self):
        return dbus.bus.BusConnection(self.address)

    def close(self):
        self.connection.close()
        self.kill()

    def busctl(self, *args, **how):
        return subprocess.run(["busctl", f"--address={self.address}", *args],
                              capture_output=True, text=True, timeout=DEADLINE, **how)

    def call(self, path, interface, method, signature="", *args, timeout=DEADLINE):
        """What the method returns: None, a value, or a tuple of several."""
        try:
            return plain(self.connection.call_blocking(
                NAME, path, interface, method, signature, args, timeout=timeout))
        except dbus.DBusException as error:
            raise BusError(error) from None

    def manager(self, method, signature="", *args, **how):
        return self.call(ROOT, f"{NAME}.Manager", method, signature, *args, **how)

    def device(self, interface, method, signature="", *args, name="esp0", **how):
        path = self.manager("GetDevice", "s", name)
        return self.call(path, f"{NAME}.{interface}", method, signature, *args, **how)

    def get(self, path, interface):
        """All properties."""
        return self.call(path, "org.freedesktop.DBus.Properties", "GetAll", "s",
                         f"{NAME}.{interface}")

    def tunnel(self, name="broker"):
        return self.get(self.manager("GetTunnel", "s", name), "Tunnel")

    def chip(self, name="esp0", interface="Device"):
        return self.get(self.manager("GetDevice", "s", name), interface)

    def await_name(self):
        wait_for(lambda: self.connection.name_has_owner(NAME), f"{NAME} on the bus")


def fd(file):
    """An open file, or a descriptor, as an argument."""
    return dbus.types.UnixFd(file)
