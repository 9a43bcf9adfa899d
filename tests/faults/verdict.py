# SPDX-License-Identifier: MIT
"""What changes in a block of data without anybody being able to see it: flipped, or doubled on its way in."""


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


def explains(action, got, want):
    """Whether a fault as `flip out 7` has made @got of @want, and could not be seen."""
    kind, *way, number = action.split()
    if kind == "flip":
        return is_flipped(got, want, int(number))
    return kind == "double" and way == ["in"] and is_doubled(got, want, int(number))
