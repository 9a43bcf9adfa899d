# SPDX-License-Identifier: MIT
"""The line between daemon and chip, on which something happens at a certain byte."""
import re
import threading

from between import Between
from harness import DEADLINE

WRITE = b"AT+SYSMFG=2,"
# The first bytes alone are in one certificate of a hundred, too.
COMMAND = re.compile(rb"AT\+(SYS|CIP|CW|GMR|CMD)|ATESPATD")

CUT = -1
# An answer's size is not known before it is over: these many bytes of it have gone.
ANSWER = {"first": 5, "middle": 150}


class Spot:
    """
    A place in the traffic of the @nth command that begins with @prefix, and what is done there.

    @phase is one of: "line", its bytes; "prompt", in front of the ">"; "data", the block's bytes;
    "ok", in front of what comes behind the block; "answer", the bytes of one; "back", the same, if
    the command is the first one behind a write. @where in there: with the "first" byte gone, in the
    "middle", or with the "last" byte still to come. @action(wire) says how many of the bytes that
    come next get lost; CUT is all of them, until the line is opened again.
    """

    def __init__(self, prefix, phase, where, action, nth=1):
        self.prefix = prefix.encode()
        self.phase = phase
        self.where = where
        self.action = action
        self.left = nth
        self.fired = threading.Event()

    def is_in(self, command, before):
        """Whether it is in this command, which comes behind @before."""
        if self.fired.is_set() or not command.startswith(self.prefix):
            return False
        if self.phase == "back" and not before.startswith(WRITE):
            return False
        self.left -= 1
        return self.left == 0

    def bytes_before(self, size):
        if self.phase in ("answer", "back"):
            return ANSWER[self.where]
        return {"first": 1, "middle": size // 2, "last": size - 1}[self.where]


class Wire(Between):
    """A line on which something happens at that spot."""

    def __init__(self, dir, chip, spot):
        self.flash = dir / "flash"
        self.spot = spot
        self.here = False  # the spot is in the present command
        self.command = b""
        self.phase = "line"
        self.size = self.passed = 0  # bytes of the phase
        self.losing = 0
        self.wrong = None
        super().__init__(dir / "line", chip)

    def await_fired(self):
        assert self.spot.fired.wait(DEADLINE), f"never came to {self.spot.prefix!r}"

    def opened(self):
        self.losing = 0
        self._enter("line")

    def _enter(self, phase, size=0):
        self.phase, self.size, self.passed = phase, size, 0

    def from_host(self, data):
        while data:
            if self.phase == "data":
                piece = data[:self.size - self.passed]
                self._pass(piece, self.to_chip)
                if self.passed == self.size:
                    self._enter("ok")
            else:
                # The daemon writes a line in one piece.
                piece = data[:data.find(b"\n") + 1 or len(data)]
                self.here = self.spot.is_in(piece, self.command)
                self.command = piece
                self._enter("line", len(piece))
                self._pass(piece, self.to_chip)
                self._enter("prompt" if piece.startswith(WRITE) else "answer")
            data = data[len(piece):]

    def from_chip(self, data):
        # Nothing has been stored that nobody wanted to be: this is looked at before each answer.
        if COMMAND.search(self.flash.read_bytes()):
            self.wrong = f"a command was stored, before {data!r}"
        head, prompt, _ = data.partition(b">")
        if self.phase == "prompt" and prompt:
            self.to_host(self._lose(head))
            self._stop_at("prompt")
            self.to_host(self._lose(prompt))
            self._enter("data", int(self.command.rsplit(b",", 1)[1]))
        elif self.phase == "ok":
            self._stop_at("ok")
            self.to_host(self._lose(data))
            self._enter("line")
        elif self.phase == "answer":
            self._pass(data, self.to_host)
        else:
            self.to_host(self._lose(data))

    def _stop_at(self, *phases):
        if self.here and self.spot.phase in phases and not self.spot.fired.is_set():
            self.losing = self.spot.action(self)
            self.spot.fired.set()

    def _pass(self, piece, to):
        """Bytes of the present phase, in the middle of which the spot may be."""
        phases = ("answer", "back") if self.phase == "answer" else (self.phase,)
        head = len(piece)
        if self.here and self.spot.phase in phases and not self.spot.fired.is_set():
            head = max(0, self.spot.bytes_before(self.size) - self.passed)
        to(self._lose(piece[:head]))
        if head < len(piece):
            self._stop_at(*phases)
            to(self._lose(piece[head:]))
        self.passed += len(piece)

    def _lose(self, piece):
        if self.losing == CUT:
            return b""
        lost = min(self.losing, len(piece))
        self.losing -= lost
        return piece[lost:]
