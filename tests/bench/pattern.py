# SPDX-License-Identifier: MIT
"""What bulk connections carry: bytes of which a missing, doubled or foreign piece is noticed."""
import random


class Pattern:
    """An endless repetition of @period."""

    def __init__(self, period):
        self.size = len(period)
        # Any piece of up to 256 KiB is one slice.
        self.text = memoryview(period * (2 + (1 << 18) // self.size))

    def at(self, position, size):
        start = position % self.size
        return self.text[start:start + size]


# The period is prime, and without line ends and `+`, which mean something to others.
PATTERN = Pattern(bytes(random.Random(6).choices([x for x in range(256) if x not in b"\r\n+"], k=65521)))
PLUS = Pattern(b"+" * 65536)


class Checker:
    """Whether a stream is @pattern from its beginning; `wrong` is the first position where not."""

    def __init__(self, pattern):
        self.pattern = pattern
        self.position = 0
        self.wrong = None

    def check(self, data):
        if self.wrong is None and self.pattern.at(self.position, len(data)) != data:
            self.wrong = self.position
        self.position += len(data)
