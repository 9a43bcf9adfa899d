# SPDX-License-Identifier: MIT
"""A virtual machine: its USB, by QMP, and what runs inside, by guest.py."""
import concurrent.futures
import fcntl
import itertools
import json
import os
import socket
import termios
import threading
import time

import harness
from harness import wait_for

BOOT = 240  # seconds, of software emulation on a busy host


class Qmp:
    """QEMU's own monitor."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(harness.DEADLINE)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile("r")
        self.events = []
        self.next()
        self.execute("qmp_capabilities")

    def next(self):
        line = self.lines.readline()
        assert line, "the machine has ended"
        message = json.loads(line)
        if "event" in message:
            self.events.append(message)
        return message

    def execute(self, command, **arguments):
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            message = self.next()
            assert "error" not in message, (command, arguments, message)
            if "return" in message:
                return message["return"]

    def await_event(self, name, **data):
        """Takes the first event that says this, of those that nobody has taken yet."""
        while True:
            for event in self.events:
                if event["event"] == name and data.items() <= event.get("data", {}).items():
                    self.events.remove(event)
                    return
            self.next()


class Guest:
    """Calls of what is in guest.py: guest.run(...) waits for its value, guest.start("run", ...) gives a future."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.numbers = itertools.count(1)
        self.calls = {0: concurrent.futures.Future()}  # guest.py begins with an answer
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.socket.makefile("r"):
            answer = json.loads(line)
            call = self.calls.pop(answer["id"])
            if "error" in answer:
                call.set_exception(AssertionError(answer["error"]))
            else:
                call.set_result(answer["value"])

    def await_boot(self):
        return self.calls[0].result(BOOT)

    def start(self, call, *args):
        future = concurrent.futures.Future()
        number = next(self.numbers)
        self.calls[number] = future
        self.socket.sendall(json.dumps({"id": number, "call": call, "args": args}).encode() + b"\n")
        return future

    def __getattr__(self, call):
        return lambda *args: self.start(call, *args).result(180)


class Machine:
    def __init__(self, dir, accel):
        self.dir = dir
        self.cables = {}
        command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                   "-machine", "pc", "-accel", accel, "-cpu", "max", "-m", "768", "-smp", "1",
                   "-kernel", dir / "vmlinuz", "-initrd", dir / "initrd",
                   "-append", "root=/dev/vda rw console=ttyS0 quiet panic=-1 mitigations=off",
                   "-drive", f"file={dir}/disk,if=virtio,format=raw,snapshot=on",
                   "-serial", f"file:{dir}/console",
                   "-qmp", f"unix:{dir}/qmp,server=on,wait=off",
                   "-device", "virtio-serial-pci",
                   "-chardev", f"socket,id=guest,path={dir}/guest,server=on,wait=off",
                   "-device", "virtserialport,chardev=guest,name=espat.guest",
                   "-device", "qemu-xhci,id=usb"]
        self.qemu = harness.Program([str(word) for word in command])
        try:
            self.qmp = wait_for(lambda: self.attempt(Qmp, dir / "qmp"), "the monitor")
            self.guest = wait_for(lambda: self.attempt(Guest, dir / "guest"), "the way inside")
            self.kernel = self.guest.await_boot()[1].strip()
        except BaseException:
            self.end()
            raise

    def attempt(self, kind, path):
        assert not self.qemu.ended, "\n".join(["QEMU has ended:", *self.qemu.log()])
        try:
            return kind(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return None

    def end(self):
        self.qemu.kill()

    # ---- USB ----

    def plug(self, name, serial, path):
        """An adapter, with the chip that listens at @path behind it."""
        cable = self.cables[name] = Cable(self.dir / f"{name}-cable", path)
        self.qmp.execute("chardev-add", id=name + "-line", backend={"type": "socket", "data": {
            "addr": {"type": "unix", "data": {"path": str(cable.path)}}, "server": False}})
        cable.start()
        self.qmp.execute("device_add", driver="usb-serial", id=name, bus="usb.0", chardev=name + "-line",
                         serial=serial)

    def unplug(self, name):
        """Without a word to those inside, as people do; they may be in the middle of a write."""
        cable = self.cables.pop(name)
        cable.hush()
        self.qmp.execute("device_del", id=name)
        self.qmp.await_event("DEVICE_DELETED", device=name)
        wait_for(lambda: self.is_removed(name + "-line"), "the end of its character device")
        cable.close()

    def is_removed(self, chardev):
        try:
            self.qmp.execute("chardev-remove", id=chardev)
        except AssertionError as error:
            assert "busy" in str(error), error
            return False
        return True


class Cable:
    """
    From an adapter to its chip. QEMU (7.2) ends when a byte comes for an adapter that it has just taken away
    (usb_wakeup() in its usb_serial_read()), so what the chip says ends a moment before that: hush().
    """

    def __init__(self, path, chip):
        self.path = path
        self.path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.chip = socket.socket(socket.AF_UNIX)
        self.chip.connect(str(chip))

    def start(self):
        self.adapter, _ = self.listener.accept()
        self.listener.close()
        self.hushed = False
        self.threads = [threading.Thread(target=self._copy, args=ends, daemon=True)
                        for ends in [(self.chip, self.adapter), (self.adapter, self.chip)]]
        for thread in self.threads:
            thread.start()

    def _copy(self, source, to):
        try:
            while data := source.recv(4096):
                if self.hushed and to is self.adapter:
                    break
                to.sendall(data)
        except OSError:
            pass  # of an end that is closed

    def hush(self):
        self.hushed = True
        self.chip.shutdown(socket.SHUT_RD)
        self.threads[0].join(2)
        # A machine that does not read is not in the middle of reading either.
        end = time.monotonic() + 2
        while self.unread() and time.monotonic() < end:
            time.sleep(0.001)

    def unread(self):
        """How much of what the chip has said is still on its way to the machine."""
        size = bytearray(4)
        fcntl.ioctl(self.adapter, termios.TIOCOUTQ, size)
        return int.from_bytes(size, "little")

    def close(self):
        for end in self.adapter, self.chip:
            end.close()


class Chip(harness.Sim):
    """A chip at the other end of an adapter; what it says while that is not plugged in is lost."""

    def __init__(self, dir, *options):
        dir.mkdir(exist_ok=True)
        (dir / "hosts").write_text("broker.test 10.0.2.2\n10.0.2.2 127.0.0.1\n")
        self.dir = dir
        self.line = dir / "uart"
        self.control = dir / "ctl"
        harness.Program.__init__(self, [
            os.environ["ESPAT_SIM"], "--listen", f"unix:{self.line}", "--state", str(dir / "flash"),
            "--hosts", str(dir / "hosts"), "--ssid", "lab", "--psk", harness.PASSWORD,
            "--control", str(self.control), "-v", *options])
        there = self.line, self.control, dir / "flash"
        wait_for(lambda: all(path.exists() for path in there), "the simulator's line and flash")
