# SPDX-License-Identifier: MIT
"""What was measured, and how it is shown."""
import math
from dataclasses import asdict, dataclass
from typing import Optional


@dataclass
class Row:
    """One figure beside its limit or rival; a bar is for `judged`, "ratio" or "value"."""
    name: str
    value: Optional[float] = None
    unit: str = ""
    against: str = ""  # what the limit or rival is
    limit: Optional[float] = None
    ratio: Optional[float] = None
    judged: str = "ratio"
    least: Optional[float] = None
    most: Optional[float] = None
    note: str = ""
    missing: str = ""  # why there is no value: not supported, or what went wrong
    failed: bool = False
    ok: Optional[bool] = None

    def __post_init__(self):
        if self.ratio is None and self.value is not None and self.limit:
            self.ratio = self.value / self.limit
        measured = self.ratio if self.judged == "ratio" else self.value
        if measured is not None and (self.least is not None or self.most is not None):
            self.ok = ((self.least is None or measured >= self.least)
                       and (self.most is None or measured <= self.most))

    def bar(self):
        if self.least is None and self.most is None:
            return ""
        sign, bar = (">=", self.least) if self.least is not None else ("<=", self.most)
        return f"{sign} {bar:.2f}" if self.judged == "ratio" else f"{sign} {number(bar, self.unit)}"

    def cells(self):
        if self.missing:
            return [self.name, f"{'FAILED' if self.failed else '-'}: {self.missing}", "", "", "", ""]
        return [self.name, number(self.value, self.unit),
                f"{self.against} {number(self.limit, self.unit) if self.limit is not None else ''}".strip(),
                "" if self.ratio is None else f"{self.ratio:.3f}", self.bar(),
                {None: "", True: "ok", False: "BELOW"}[self.ok]]

    def json(self):
        return asdict(self)


def number(value, unit):
    if unit == "bytes/s":
        return f"{value / 1000:.2f} kB/s"
    if unit == "ms":
        return f"{value:.2f} ms"
    if unit == "bytes":
        return f"{value / 1000:.0f} kB"
    if unit == "s/GB":
        return f"{value:.2f} s/GB"
    if unit == "ms/MB":
        return f"{value:.2f} ms/MB"
    if unit == "":
        return f"{value:.3f}"
    return f"{value:g} {unit}"


HEADS = ["figure", "value", "limit or rival", "ratio", "bar", ""]
WIDTHS = [40, 16, 40, 6, 12, 5]


def line(cells):
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, WIDTHS)).rstrip()


def quantile(values, part):
    """The smallest value that so large a part of all does not exceed."""
    values = sorted(values)
    return values[max(0, math.ceil(part * len(values)) - 1)]


def rate(samples, start, end):
    """
    Bytes per second of what came in that time. Data comes in blocks: it is counted from one arrival
    to another, so that it does not matter how many blocks happen to fall into the time.
    """
    inside = sorted((when, size) for when, size in samples if start <= when <= end)
    if len(inside) < 2 or inside[-1][0] <= inside[0][0]:
        raise RuntimeError(f"too little came: {len(inside)} blocks")
    return sum(size for _, size in inside[1:]) / (inside[-1][0] - inside[0][0])


def amount(samples, start, end):
    return sum(size for when, size in samples if start <= when < end)


def jain(shares):
    return sum(shares) ** 2 / (len(shares) * sum(x * x for x in shares))
