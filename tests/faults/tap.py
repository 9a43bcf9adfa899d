# SPDX-License-Identifier: MIT
"""A line between daemon and chip on which bytes get lost at a certain place of what the chip says."""
import dataclasses
import re
import threading

from between import Between
from harness import DEADLINE

HEAD = re.compile(rb"\+IPD,(\d),(\d+):")
REPORT = re.compile(rb"\d,(CONNECT|CLOSED)\r\n|WIFI ")


@dataclasses.dataclass
class Spot:
    """
    In the @nth piece of that @kind, with @at bytes of it gone (negative: still to come), so many bytes get
    lost. Kinds: "front" (the empty line in front of a block), "head", "data", "end" (its line end), "report",
    "prompt", "verdict" (SEND OK).
    """
    kind: str
    at: int
    size: int
    nth: int = 1


class Reader:
    """What the chip says, whole, cut into pieces: (kind, bytes). The rest of a line waits for its end."""

    def __init__(self):
        self.text = b""
        self.left = 0     # of a block
        self.size = 0
        self.ends = False  # its line end is next

    def pieces(self, data):
        self.text += data
        while piece := self._next():
            yield piece

    def _cut(self, kind, size):
        piece, self.text = self.text[:size], self.text[size:]
        return kind, piece

    def _next(self):
        text = self.text
        if not text:
            return None
        if self.left:
            kind = self._cut("data", self.left)
            self.left -= len(kind[1])
            self.ends = not self.left
            return kind
        if self.ends:
            self.ends = len(text) < 2
            return None if self.ends else self._cut("end", 2)
        if text[:1] == b">":
            return self._cut("prompt", 1)
        if head := HEAD.match(text):
            self.left = self.size = int(head[2])
            return self._cut("head", head.end())
        line = text.find(b"\n") + 1
        if not line:
            return None
        if text[:line] == b"\r\n":
            if len(text) < 7 and (b"\r\n+IPD,".startswith(text)):
                return None
            return self._cut("front" if text[2:7] == b"+IPD," else "line", 2)
        kind = "verdict" if text.startswith(b"SEND OK") else "report" if REPORT.match(text) else "line"
        return self._cut(kind, line)


class Tap(Between):
    """A line on which bytes get lost where it is told."""

    def __init__(self, dir, chip):
        self.lock = threading.Lock()
        self.spot = None
        self.fired = threading.Event()
        self.losing = 0
        self.reader = Reader()
        self.kept = bytearray()  # what has been passed on since record()
        super().__init__(dir / "tap", chip)

    def record(self):
        with self.lock:
            self.kept = bytearray()

    def arm(self, spot):
        """How much has been passed on until then, since record()."""
        with self.lock:
            self.spot = spot
            self.fired.clear()
            return len(self.kept)

    def await_fired(self):
        assert self.fired.wait(DEADLINE), f"it never came to {self.spot}"

    def disarm(self):
        with self.lock:
            self.spot, self.losing = None, 0
            return bytes(self.kept)

    def from_chip(self, data):
        with self.lock:
            passed = b"".join(self._pass(kind, piece) for kind, piece in self.reader.pieces(data))
            self.kept += passed
        self.to_host(passed)

    def _pass(self, kind, piece):
        at = self._place(kind, piece)
        if at is None:
            return self._lose(piece)
        before = self._lose(piece[:at])
        self.losing, self.spot = self.spot.size, None
        self.fired.set()
        return before + self._lose(piece[at:])

    def _place(self, kind, piece):
        """Where in this piece it is, or None. A block's data come in several."""
        spot = self.spot
        if not spot or kind != spot.kind:
            return None
        whole = self.reader.size if kind == "data" else len(piece)
        begin = whole - self.reader.left - len(piece) if kind == "data" else 0
        if begin == 0:
            spot.nth -= 1
        at = (spot.at if spot.at >= 0 else max(0, whole + spot.at)) - begin
        return at if spot.nth <= 0 and 0 <= at < len(piece) else None

    def _lose(self, piece):
        lost = min(self.losing, len(piece))
        self.losing -= lost
        return piece[lost:]


# ---- what can be seen of it ----

# Of a chip that is asked for nothing these are all that may come (captures 31, 32, 62).
ALONE = re.compile(rb"\d,(CONNECT|CLOSED)\r\n|WIFI (CONNECTED|GOT IP|DISCONNECT)\r\n")
# And of one that is asked to send.
ASKED = re.compile(rb"\r\n(OK|ERROR|SEND OK|SEND FAIL|busy p\.\.\.|Recv \d+ bytes)\r\n|\r\n>")
# Before something is lost: any answer.
ANSWER = re.compile(rb"[ -~]*\r\n|>")
# What the daemon asks now and then, in between: Wi-Fi, addresses, memory.
SAMPLE = re.compile(rb'(\+CWJAP:"lab",[^\r\n]*\r\n|(\+CIPSTA:[^\r\n]*\r\n)+|\+SYSRAM:\d+,\d+\r\n)\r\nOK\r\n')
# Behind a prompt that was lost there are two empty lines, as there are behind a line without text.
BLOCK = re.compile(rb"(?:\r\n)+\+IPD,([0-4]),([1-9]\d*):")


def well_formed(text, whole, asked):
    """
    What each link gets of that by the letter, and up to where it is what a chip can have said; @whole of it is.
    Whatever was lost on the way: by this alone nobody can tell.
    """
    links, at = {}, 0
    while at < len(text):
        if head := BLOCK.match(text, at):
            end = head.end() + int(head[2])
            if text[end:end + 2] != b"\r\n"[:max(0, len(text) - end)]:
                break
            links.setdefault(int(head[1]), bytearray()).extend(text[head.end():end])
            at = end + 2
        elif line := ALONE.match(text, at) or SAMPLE.match(text, at) or (asked and ASKED.match(text, at)) or (at < whole and ANSWER.match(text, at)):
            at = line.end()
        else:
            break
    return links, at
