# SPDX-License-Identifier: MIT
"""
What happens to data without anybody being able to see it: bytes of a block flipped, or doubled on their way in, and
blocks lost whole, with head and line end.
"""


def first_difference(got, want):
    return next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), None)


def is_flipped(got, want, most):
    """The same bytes, but for one bit in @most of them at most."""
    return len(got) <= len(want) and sum(a != b for a, b in zip(got, want)) <= most and \
        all(a ^ b in (0, 0x20) for a, b in zip(got, want))


def is_doubled(got, want, most):
    """@most bytes at most come twice, and all behind them later."""
    at = first_difference(got, want)
    if at is None:
        return len(got) <= len(want)
    # Of equal neighbours any may be the first one.
    for start in range(max(0, at - 2), at + 1):
        for n in range(most, -1, -1):
            twice = bytes(x for x in want[start:start + n] for _ in (0, 1))
            if (want[:start] + twice + want[start + n:]).startswith(got):
                return True
    return False


def is_without_blocks(got, want, most, block):
    """Whole blocks of that size are missing, in one place."""
    at = first_difference(got, want)
    if at is None or at % block:
        return False
    return any(want[end:].startswith(got[at:]) for end in range(at + block, at + most + 1, block))


def explains(action, got, want, block=None):
    """
    Whether a fault as `flip out 7` has made @got of @want, and could not be seen. @block: what was sent came in
    blocks of so many bytes.
    """
    kind, *way, number = action.split()
    if kind == "flip":
        return is_flipped(got, want, int(number))
    if kind == "drop" and way == ["out"] and block:
        return is_without_blocks(got, want, int(number), block)
    return kind == "double" and way == ["in"] and is_doubled(got, want, int(number))
