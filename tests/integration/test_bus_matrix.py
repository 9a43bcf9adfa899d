# SPDX-License-Identifier: MIT
"""Every method on the bus with every kind of bad argument: an error with a name, no effect, and nothing kept."""
import contextlib
import os
import re
import socket
import threading
import xml.etree.ElementTree as xml

import pytest

dbus = pytest.importorskip("dbus")

from bench import tunnel  # noqa: E402
from clients import works  # noqa: E402
from fixtures import TOP, bench, pki, serve  # noqa: E402,F401 (used by name)
from harness import wait_for  # noqa: E402
from privatebus import NAME, ROOT, BusError, fd  # noqa: E402

HUGE = "x" * (16 << 20)
STRINGS = {
    "empty": "",
    "huge": HUGE,
    "line ends": "corp\r\nAT+RST\r\n",
    "quotes": 'co"rp",1,\\"x',
    "unknown": "nobody-has-this",
}
# Of more than the daemon takes it reads no more than that.
TOO_MUCH = 65 << 10
# What the loop keeps for the next time, and the library's own buffers after 16 MiB.
MEMORY_MORE = 4 << 20

PATHS = {"Manager": ROOT, "Device": f"{ROOT}/device/esp0", "Wifi": f"{ROOT}/device/esp0",
         "Certificates": f"{ROOT}/device/esp0", "Tunnel": f"{ROOT}/tunnel/broker"}
# What would be right there, by the name of the argument, where it is not only by its type.
GOOD = {"slot": dbus.UInt32(7), "namespace": "mqtt_ca", "level": "info", "line": "AT+GMR", "ssid": "lab"}
# A new name; the network of the configuration; and names that a network may have.
RIGHT = {("SetAuthority", "name", "unknown"), ("SetIdentity", "name", "unknown"), ("Join", "ssid", "empty"),
         ("Join", "ssid", "unknown"), ("Join", "ssid", "quotes")}


def methods():
    """(interface, method, [(name, type)])"""
    for file in sorted((TOP / "include/espatd/dbus").glob("*.xml")):
        interface = xml.parse(file).find("interface")
        for method in interface.findall("method"):
            yield (interface.get("name").rpartition(".")[2], method.get("name"),
                   [(x.get("name"), x.get("type")) for x in method.findall("arg") if x.get("direction") == "in"])


class Place:
    """The daemon with one tunnel, and what it looks like from the bus."""

    def __init__(self, bench, bus, daemon):
        self.bus, self.daemon = bus, daemon
        self.pem = (bench.pki / "ca2.pem").read_text()
        self.cert = (bench.pki / "ecclient.pem").read_text()
        self.key = (bench.pki / "ecclient.key").read_bytes()

    def looks(self):
        """All that a call could have changed."""
        bus = self.bus
        return (bus.manager("ListAuthorities"), bus.manager("ListIdentities"), bus.manager("ListTunnels"),
                bus.get(ROOT, "Manager"), bus.device("Certificates", "List"),
                {k: v for k, v in bus.chip().items() if k in ("State", "Resets", "FlashWrites", "Baud", "LastError")},
                {k: v for k, v in bus.chip(interface="Wifi").items() if k in ("Ssid", "Connected", "Address")})

    def costs(self):
        pid = self.daemon.process.pid
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            memory = int(re.search(r"RssAnon:\s+(\d+)", f.read())[1]) << 10
        return memory, len(os.listdir(f"/proc/{pid}/fd"))

    def good(self, method, name, type):
        if name in ("pem", "cert_pem"):
            return self.cert if name == "cert_pem" else self.pem
        if type == "h":
            return fd(memfd(self.key))
        if type == "a{sv}":
            return dbus.Dictionary({}, signature="sv")
        if name == "name":
            return {"GetDevice": "esp0", "GetTunnel": "broker", "RemoveTunnel": "broker"}.get(method, "corp")
        return GOOD[name]

    def refused(self, interface, method, signature, args):
        """The name of the error, with which the call ends."""
        try:
            done = self.bus.call(PATHS[interface], f"{NAME}.{interface}", method, signature, *args, timeout=60)
        except BusError as error:
            assert error.text, f"{method}: an error without a word"
            return error.name
        raise AssertionError(f"{method}({signature}) was done: {done!r:.200}")


def memfd(data):
    handle = os.memfd_create("key")
    os.write(handle, data)
    return handle


# ---- descriptors that give nothing of use; each gives (descriptor, [what is to be closed]) ----

def no_writer():
    reader, writer = os.pipe()
    os.close(writer)
    return reader, []


def datagrams():
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return os.dup(a.fileno()), [a, b]


def folder():
    return os.open("/", os.O_RDONLY | os.O_DIRECTORY), []


def endless():
    """A writer that never ends, and blocks when nobody reads."""
    reader, writer = os.pipe()

    def write():
        with contextlib.suppress(OSError):
            while True:
                os.write(writer, b"x" * 65536)
        os.close(writer)
    threading.Thread(target=write, daemon=True).start()
    return reader, []


def too_large():
    return memfd(b"x" * TOO_MUCH), []


def for_writing():
    reader, writer = os.pipe()
    return writer, [reader]


def trickle():
    """A byte now and then, and no end: the time is that for all of it."""
    reader, writer = os.pipe()
    over = threading.Event()

    def write():
        with contextlib.suppress(OSError):
            while not over.wait(0.5):
                os.write(writer, b"x")
        os.close(writer)
    threading.Thread(target=write, daemon=True).start()
    return reader, [over]


def nonsense():
    return memfd(b"\0\r\n\"AT+RST\r\n" * 100), []


DESCRIPTORS = [no_writer, datagrams, folder, endless, too_large, for_writing, trickle, nonsense]
# A descriptor to write to is what a trace wants, and no password that of an open network.
FINE = {"StartTrace": {datagrams, endless, too_large, for_writing, nonsense}, "Join": {no_writer}}


@contextlib.contextmanager
def descriptor(make):
    handle, parts = make()
    try:
        yield fd(handle)
    finally:
        os.close(handle)
        for part in parts:
            if isinstance(part, int):
                os.close(part)
            elif isinstance(part, threading.Event):
                part.set()
            else:
                part.close()


def strings(place):
    """Each string of each method in turn, the others being right."""
    for interface, method, arguments in methods():
        signature = "".join(type for _, type in arguments)
        for bad, (name, type) in enumerate(arguments):
            if type != "s":
                continue
            for what, text in STRINGS.items():
                if (method, name, what) in RIGHT:
                    continue
                args = [text if i == bad else place.good(method, *x) for i, x in enumerate(arguments)]
                error = place.refused(interface, method, signature, args)
                assert re.fullmatch(r"[A-Z]\w+", error), f"{method}, {name} {what}: {error}"


def types(place):
    """A signature that is not the method's."""
    for interface, method, arguments in methods():
        signature = "".join(type for _, type in arguments)
        for wrong in {"", "s", "u", "as", signature + "s"} - {signature}:
            args = {"": [], "s": ["x"], "u": [1], "as": [["x"]]}.get(wrong)
            if args is None:
                args = [*(place.good(method, *x) for x in arguments), "x"]
            assert place.refused(interface, method, wrong, args) == "org.freedesktop.DBus.Error.InvalidArgs", method


def descriptors(place):
    for interface, method, arguments in methods():
        signature = "".join(type for _, type in arguments)
        for make in DESCRIPTORS if "h" in signature else []:
            if make in FINE.get(method, ()):
                continue
            with descriptor(make) as handle:
                args = [handle if x[1] == "h" else place.good(method, *x) for x in arguments]
                error = place.refused(interface, method, signature, args)
                assert re.fullmatch(r"[A-Z]\w+", error), f"{method}, {make.__name__}: {error}"


@pytest.mark.parametrize("what", [strings, types, descriptors])
@pytest.mark.timeout(240)
def test_bad_arguments(bench, serve, what):
    bus = bench.with_bus()
    daemon = bench.up(tunnel(serve()))
    bus.await_name()
    place = Place(bench, bus, daemon)
    wait_for(lambda: bus.chip(interface="Wifi")["Address"], "the address")
    before = place.looks()
    files = place.costs()[1]
    what(place)
    assert place.looks() == before
    memory = place.costs()[0]
    what(place)
    assert place.looks() == before
    wait_for(lambda: place.costs()[1] <= files, "its descriptors are closed")
    if "ASAN_OPTIONS" not in os.environ:  # who keeps what was freed
        assert place.costs()[0] <= memory + MEMORY_MORE
    assert works(daemon)
