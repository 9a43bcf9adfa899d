# SPDX-License-Identifier: MIT
"""
Runs inside, as root. A line of JSON on the virtio port is a call of a function of this file, {"id", "call", "args"};
the answer is one, too: {"id", "value"} or {"id", "error"}. Calls run at the same time.
"""
import fcntl
import json
import os
import pathlib
import random
import socket
import subprocess
import termios
import threading
import time
import traceback

import clients

PORT = "/dev/virtio-ports/espat.guest"
NETLINK_KOBJECT_UEVENT = 15
KERNEL_UEVENTS = 1
# <linux/serial.h>: the fifth int of struct serial_struct; and a bit of it.
SERIAL_FLAGS = slice(16, 20)
ASYNC_LOW_LATENCY = 0x2000


def run(command, input=None, timeout=120):
    """[status, output, errors]"""
    done = subprocess.run(command, input=input, stdin=subprocess.DEVNULL if input is None else None,
                          capture_output=True, text=True, timeout=timeout)
    return done.returncode, done.stdout, done.stderr


# ---- the adapter ----

held = []


def hold(path):
    """Opens a port, and keeps it: its number is not free again before it is closed, wherever the adapter is."""
    held.append(os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK))


def release():
    while held:
        os.close(held.pop())


def low_latency(path):
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        serial = bytearray(128)
        fcntl.ioctl(fd, termios.TIOCGSERIAL, serial)
    finally:
        os.close(fd)
    return bool(int.from_bytes(serial[SERIAL_FLAGS], "little") & ASYNC_LOW_LATENCY)


uevents = {}


def watch(name):
    """From now on, what the kernel says of devices is kept for next_port(@name)."""
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT)
    s.bind((0, KERNEL_UEVENTS))
    uevents[name] = s


def serial_of(device):
    """The serial number of the USB device that a terminal belongs to."""
    for folder in pathlib.Path(device).resolve().parents:
        if (folder / "idProduct").exists():
            return (folder / "serial").read_text().strip()
    return None


def next_port(name, serial):
    """The first port of the adapter @serial since watch(@name), when it is there."""
    with uevents.pop(name) as s:
        s.settimeout(60)
        while True:
            action, _, device = s.recv(8192).split(b"\0")[0].decode().partition("@")
            if action == "add" and "/tty/ttyUSB" in device and serial_of("/sys" + device) == serial:
                return os.path.basename(device)


# ---- clients of a tunnel ----

def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(30)
    s.connect(path)
    return s


def exchange(path, text="are you there?"):
    """A whole connection through an echoing server."""
    try:
        with connect(path) as s:
            return clients.exchange(s, text.encode()) == text.encode()
    except (OSError, AssertionError):
        return False


def busy():
    """Seconds that the processor has worked since it was started."""
    user, nice, system, _, _, *interrupts = map(int, pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:8])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def recovery(name, serial, path):
    """What port the adapter has become; how many seconds later a client has been served, and the work in them."""
    port = next_port(name, serial)
    began, worked = time.monotonic(), busy()
    while not exchange(path):
        assert time.monotonic() - began < 60, "it does not come back"
        time.sleep(0.05)
    return {"port": port, "seconds": time.monotonic() - began, "busy": busy() - worked}


def transfer(path, seed, size):
    """Sends and reads at the same time, until there is an end; how much came back, and if it was what was sent."""
    data = random.Random(seed).randbytes(size)
    with connect(path) as s:
        thread = clients.send_in_background(s, data)
        got = clients.read_all(s, size)
        s.shutdown(socket.SHUT_RDWR)
        thread.join()
    return {"received": len(got), "right": data.startswith(got)}


# ---- calls ----

FUNCTIONS = {f.__name__: f for f in (run, hold, release, low_latency, watch, recovery, next_port, exchange, transfer)}


def serve(fd, lock, request):
    answer = {"id": request["id"]}
    try:
        answer["value"] = FUNCTIONS[request["call"]](*request["args"])
    except Exception:
        answer["error"] = traceback.format_exc()
    line = json.dumps(answer).encode() + b"\n"
    with lock:
        while line:
            line = line[os.write(fd, line):]


def main():
    fd = os.open(PORT, os.O_RDWR)
    lock = threading.Lock()
    serve(fd, lock, {"id": 0, "call": "run", "args": [["uname", "-r"]]})
    with os.fdopen(fd, "rb", closefd=False) as lines:
        for line in lines:
            threading.Thread(target=serve, args=(fd, lock, json.loads(line)), daemon=True).start()


main()
