# SPDX-License-Identifier: MIT
"""
Who wrote what on which connection, and whether what arrives is the beginning of it.

Each stream has bytes that no other has, at any position: a hole, a doubled piece and a foreign one show
where they are.
"""
import hashlib
import threading

# What tells one stream from all others.
NAME = 8


class Stream:
    """What one end of one connection writes."""

    def __init__(self, name):
        self.name = name
        self.text = b""
        self.offered = 0  # bytes that were handed over: no more can arrive
        self.head = bytes(self.upto(NAME))

    def upto(self, size):
        text = self.text  # another thread may forget() it
        if len(text) < size:
            self.text = text = self.make(max(2 * size, 2048))
        return memoryview(text)[:size]

    def make(self, size):
        return hashlib.shake_256(self.name.encode()).digest(size)

    def piece(self, size):
        return self.upto(self.offered + size)[self.offered:]

    def forget(self):
        """It can be made anew."""
        self.text = b""


class Hostile(Stream):
    """Text that a parser could take for the chip's own, numbered so that each piece is unlike all others."""

    def __init__(self, name, tiles):
        self.tiles = tiles
        super().__init__(name)

    def make(self, size):
        label = hashlib.shake_256(self.name.encode()).hexdigest(NAME // 2).encode()
        data, n, first = bytearray(label), 0, int(label, 16)
        while len(data) < size:
            data += self.tiles[n % len(self.tiles)].replace(b"*", b"%06d" % ((first + n) % 1000000))
            n += 1
        return bytes(data)


class Ledger:
    """All streams of a run, and what was found to be wrong with what arrived."""

    def __init__(self, seed=0):
        self.seed = seed
        self.lock = threading.Lock()
        self.streams = {}  # by (tunnel, end): those that this end wrote
        self.taken = {}    # by stream: who receives it
        self.wrong = []

    def stream(self, tunnel, end, make=None):
        with self.lock:
            mine = self.streams.setdefault((tunnel, end), [])
            mine.append((make or Stream)(f"{self.seed}/{tunnel}/{end}/{len(mine)}"))
            return mine[-1]

    def complain(self, text):
        with self.lock:
            self.wrong.append(text)

    def find(self, tunnel, end, head):
        """The stream that begins so; None if there is none. Less than a name is enough to tell that."""
        with self.lock:
            mine = self.streams.get((tunnel, end), [])
            return next((x for x in reversed(mine) if x.head.startswith(head)), None)

    def forget(self, recent=40):
        """The texts of all streams but those are made anew if they are needed."""
        with self.lock:
            for mine in self.streams.values():
                for stream in mine[:-recent]:
                    stream.forget()

    def take(self, stream, inbox):
        """What one end wrote is received by one other end."""
        with self.lock:
            owner = self.taken.setdefault(stream, inbox)
        if owner is not inbox:
            self.complain(f"{inbox.name}: {stream.name} has come twice")

    def origin(self, data):
        """In which streams, and where, this piece stands."""
        with self.lock:
            everything = [s for mine in self.streams.values() for s in mine]
        return [f"{s.name} at {at}" for s in everything if (at := s.text.find(data)) >= 0]


class Inbox:
    """What one end of a connection receives, of what the other @end of its tunnel writes."""

    def __init__(self, ledger, tunnel, end, keep=False):
        self.ledger = ledger
        self.tunnel = tunnel
        self.end = end
        self.name = f"{tunnel}, from a {end}"
        self.size = 0
        self.stream = None
        self.wrong = False
        self.head = b""
        self.data = bytearray() if keep else None

    def take(self, data):
        at, self.size = self.size, self.size + len(data)
        if self.data is not None:
            self.data += data
        if self.wrong:
            return
        if self.stream is None:
            self.head += bytes(data)
            self._recognise()
        elif self.stream.upto(self.size)[at:] != data:
            self._mismatch(at, data)
        if self.stream and not self.wrong and self.size > self.stream.offered:
            self._complain(f"{self.size} bytes of {self.stream.offered} that were written")

    def _recognise(self):
        stream = self.ledger.find(self.tunnel, self.end, self.head[:NAME])
        if stream is None:
            self._complain(f"what nobody wrote: {self.head[:32]!r}, {self.ledger.origin(self.head[:16])}")
        elif len(self.head) >= NAME:
            self.stream = stream
            self.ledger.take(stream, self)
            if stream.upto(len(self.head)) != self.head:
                self._mismatch(0, self.head)

    def _mismatch(self, at, data):
        want = self.stream.upto(at + len(data))[at:]
        bad = next(i for i in range(len(data)) if data[i] != want[i])
        piece = bytes(data[bad:bad + 16])
        self._complain(f"{self.stream.name}: at {at + bad} {piece.hex()}, which is {self.ledger.origin(piece)}")

    def _complain(self, text):
        self.wrong = True
        self.ledger.complain(f"{self.name}: {text}")
