# SPDX-License-Identifier: MIT
"""
Somebody's program, as a process of its own: `exchange PATH TEXT` over a tunnel, or `call`, a D-Bus call
that stands on standard input. The answer is JSON.
"""
import json
import os
import socket
import sys
import tempfile

import clients


def exchange(path, text):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(45)
        try:
            s.connect(path)
        except OSError as error:
            return error.errno
        try:
            s.sendall(text.encode())
            got = clients.read_all(s, len(text.encode()))
        except BrokenPipeError:
            got = b""
    json.dump(got.decode() or None, sys.stdout)
    return 0


def descriptor(what):
    """{"fd": PATH}: that file; {"new": PATH}: a new one; {"pipe"|"file": TEXT}: holds it; {"mute": ""}: never says it."""
    kind, text = next(iter(what.items()))
    if kind == "fd":
        return os.open(text, os.O_RDONLY)
    if kind == "new":
        return os.open(text, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    if kind == "file":
        with tempfile.TemporaryFile() as f:
            f.write(text.encode())
            f.flush()
            f.seek(0)
            return os.dup(f.fileno())
    read, write = os.pipe()
    if kind == "pipe":
        os.write(write, text.encode())
        os.close(write)
    return read


def plain(value):
    """What JSON can carry."""
    import dbus
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dbus.Boolean):
        return bool(value)
    if isinstance(value, int):
        return int(value)
    return float(value) if isinstance(value, float) else str(value)


def arguments(signature, values):
    import dbus
    made = []
    for type, value in zip(dbus.Signature(signature), values):
        if type == "h":
            fd = descriptor(value)
            value = dbus.types.UnixFd(fd)
            os.close(fd)
        elif type == "a{sv}":
            # {"port": ["q", 8883]}
            value = dbus.Dictionary({k: typed(*v) for k, v in value.items()}, signature="sv")
        made.append(value)
    return made


def typed(type, value):
    import dbus
    if type == "as":
        return dbus.Array(value, signature="s", variant_level=1)
    kinds = {"s": dbus.String, "b": dbus.Boolean, "q": dbus.UInt16, "u": dbus.UInt32, "t": dbus.UInt64,
             "i": dbus.Int32, "x": dbus.Int64}
    return kinds[type](value, variant_level=1)


def call(request):
    import dbus
    try:
        bus = dbus.bus.BusConnection("unix:path=/run/dbus/system_bus_socket")
        value = bus.call_blocking(request["bus"], request["path"], request["interface"], request["method"],
                                  request["signature"], arguments(request["signature"], request["args"]),
                                  timeout=request["timeout"])
        answer = {"value": plain(value)}
    except dbus.DBusException as error:
        answer = {"error": error.get_dbus_name(), "text": error.get_dbus_message()}
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(exchange(*sys.argv[2:]) if sys.argv[1] == "exchange" else call(json.load(sys.stdin)))
