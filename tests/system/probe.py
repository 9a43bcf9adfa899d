# SPDX-License-Identifier: MIT
"""Runs in the place of espatd, in its sandbox, and says as JSON what it could do there."""
import ctypes
import errno
import fcntl
import json
import os
import socket
import sys
import termios

libc = ctypes.CDLL(None, use_errno=True)
PR_SET_DUMPABLE = 4


def attempt(action):
    """"ok", or the name of the errno."""
    try:
        action()
        return "ok"
    except OSError as error:
        return errno.errorcode[error.errno]


def libc_call(name, *args):
    if getattr(libc, name)(*args) < 0:
        raise OSError(ctypes.get_errno(), name)


def adjtimex(modes):
    # modes is the first member of struct timex, 208 bytes on 64-bit machines; ADJ_TICK alone sets nothing else.
    buffer = ctypes.create_string_buffer(512)
    buffer[0:4] = modes.to_bytes(4, "little")
    libc_call("adjtimex", buffer)


def use_tty(path):
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.ioctl(fd, termios.TIOCEXCL)
        termios.tcsetattr(fd, termios.TCSANOW, termios.tcgetattr(fd))
    finally:
        os.close(fd)


def serve(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
        os.chmod(path, 0o660)
        s.listen()
    st = os.stat(path)
    os.unlink(path)
    return [st.st_gid, st.st_mode & 0o7777]


def connect(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)


def touch(path):
    with open(path, "w"):
        pass
    os.unlink(path)


def status():
    with open("/proc/self/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def main(tty):
    own = status()
    print(json.dumps({
        "adjtimex": attempt(lambda: adjtimex(0)),
        "adjtimex to set": attempt(lambda: adjtimex(0x4000)),
        "settimeofday": attempt(lambda: libc_call("settimeofday", ctypes.create_string_buffer(16), None)),
        "tty": attempt(lambda: use_tty(tty)),
        "kmsg": attempt(lambda: os.close(os.open("/dev/espat-kmsg", os.O_WRONLY))),
        "serve": serve("/run/espat/probe.sock"),
        "lock": attempt(lambda: fcntl.flock(os.open("/run/espat", os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)),
        "state": attempt(lambda: touch("/var/lib/espat/probe")),
        "etc": attempt(lambda: touch("/etc/espat/probe")),
        "config": attempt(lambda: os.close(os.open("/etc/espat/espatd.conf", os.O_RDONLY))),
        "home": attempt(lambda: os.listdir("/root")),
        "bus": attempt(lambda: connect("/run/dbus/system_bus_socket")),
        "journal": attempt(lambda: connect("/run/systemd/journal/stdout")),
        "notify": os.environ.get("NOTIFY_SOCKET", ""),
        "inet": attempt(lambda: socket.socket(socket.AF_INET).close()),
        "netlink": attempt(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()),
        "sysfs": attempt(lambda: os.listdir("/sys/class/tty")),
        "ptrace": attempt(lambda: libc_call("ptrace", 16, 1, 0, 0)),
        "chown": attempt(lambda: os.chown("/var/lib/espat", 0, 0)),
        "not dumpable": attempt(lambda: libc_call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)),
        "random": attempt(lambda: os.getrandom(16)),
        "others": sorted(p for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()),
        "net": os.readlink("/proc/self/ns/net"),
        "capabilities": own["CapEff"].strip("0") + own["CapBnd"].strip("0") + own["CapAmb"].strip("0"),
        "no new privileges": own["NoNewPrivs"],
        "seccomp": own["Seccomp"],
        "umask": own["Umask"],
        "uid": os.getuid(),
        "groups": sorted(os.getgroups()),
        "files": int(os.sysconf("SC_OPEN_MAX")) if hasattr(os, "sysconf") else 0,
        "uid map": open("/proc/self/uid_map").read().split(),
    }), flush=True)


main(sys.argv[1])
