# SPDX-License-Identifier: MIT
"""The table: what may go wrong, when, and which of the two do not go together."""
import dataclasses

RATE = 115200

# Seconds from the cause gone to the next client that is served, at a join of 1 s and a handshake of 0.5 s.
RESET, PROMPT, SILENT, BAUD, REPLUG, WIFI = 4, 5, 15, 8, 3, 5


@dataclasses.dataclass(frozen=True)
class Phase:
    """
    What the daemon is doing. @cmd is the command that the fault comes with ("now": with none), @before
    the one in front of it: what is lost on its way to the chip has to be lost before it has come.
    """
    name: str
    cmd: str
    before: str
    starts: bool = False  # happens while the daemon starts
    device: tuple = ()    # keys of the configuration


PHASES = [
    Phase("probe", "cmd ATE1", "now", starts=True),
    Phase("identify", "cmd AT+GMR", "cmd ATE0", starts=True),
    Phase("tuning", "cmd AT+UART_CUR", "cmd AT+UART_CUR", starts=True, device=(("max_baud", 921600),)),
    Phase("provision", "cmd AT+SYSMFG=2", "cmd AT+SYSMFG=2", starts=True),
    Phase("join", "cmd AT+CWJAP=", "cmd AT+CWSTATE?", starts=True),
    Phase("connect", "cmd AT+CIPSTART=", "cmd AT+CIPSSLCCN="),
    Phase("sending", "cmd AT+CIPSEND=1 2", "cmd AT+CIPSEND=1 2"),
    Phase("active", "now", "now"),
    Phase("passive", "cmd AT+CIPRECVDATA=1 3", "cmd AT+CIPRECVDATA=1 3", device=(("receive", "passive"),)),
    Phase("closing", "cmd AT+CIPCLOSE", "now"),
    Phase("idle", "now", "now"),
]
STARTS = {x.name for x in PHASES if x.starts}
LINKS = {"sending", "active", "passive"}
ALL = {x.name for x in PHASES}


@dataclasses.dataclass(frozen=True)
class Fault:
    """
    @then ends it: another action, or what the simulator tells. @only the phases that have it, @why. @bounds of
    phases that have one of their own.
    """
    action: str
    bound: float
    then: str = ""
    only: frozenset = frozenset(ALL)
    why: str = ""
    bounds: tuple = ()

    def bound_in(self, phase):
        return dict(self.bounds).get(phase.name, self.bound)

    def kind(self):
        return self.action.split()[0]

    def rule(self, phase):
        """A line of a fault script."""
        trigger = phase.before if " in " in self.action else phase.cmd
        return f"{trigger} {self.action}"


def fault(action, bound, then="", only=ALL, why="", **bounds):
    return Fault(action, bound, then, frozenset(only), why, tuple(bounds.items()))


def wire(kind, way):
    """What the chip does not get of a block leaves it waiting for the rest; a rate may not be what it was told."""
    bounds = {"tuning": BAUD, **({"provision": PROMPT, "sending": PROMPT} if way == "in" else {})}
    return [fault(f"{kind} {way} {n}", SILENT, "over", **bounds) for n in (1, 2, 7, 300, 4096)]


NO_LINK = "no link is open"
NOT_JOINED = "the chip has not joined yet"

FAULTS = [
    *[x for kind in ("drop", "flip", "double") for way in ("in", "out") for x in wire(kind, way)],
    fault("split 1", SILENT),
    fault("delay 1500", SILENT),
    fault("mute", SILENT),
    fault("no-prompt", PROMPT, only={"provision", "sending"}, why="nothing is asked for by a prompt"),
    fault("busy 3", SILENT),
    fault("busy-after 2", SILENT),
    fault("reset", RESET),
    fault("reset-rom", RESET),
    fault("hang", SILENT, "reset 2000"),
    fault("brownout-old", RESET, only={"provision"}, why="the flash is not written"),
    fault("brownout-new", RESET, only={"provision"}, why="the flash is not written"),
    fault("send-fail 10", PROMPT, only={"sending"}, why="nothing is sent"),
    fault("late-closed 1500", SILENT, only={"closing"}, why="no link closes"),
    fault("tls-length 29", SILENT, only={"passive"}, why="lengths are announced to those that fetch"),
    fault("heap 20000", SILENT, "heap 0", only={"connect", "idle"}, why="only a handshake needs it"),
    fault("wifi-drop 1", WIFI, only=ALL - STARTS | {"join"}, why=NOT_JOINED),
    fault("wifi-drop 0", WIFI, only=ALL - STARTS, why=NOT_JOINED),
    fault("unplug 500", REPLUG, "plugged"),
    fault("link-reset 0", SILENT, only=LINKS | {"closing"}, why=NO_LINK),
    fault("link-reset 1", SILENT, only=LINKS, why=NO_LINK),
    fault("clock 0", SILENT, only={"join", "connect", "idle"}, why="it is set later, or looked at no more"),
    fault("mfg-erase client_ca client_ca.2", SILENT, only={"idle"},
          why="not there yet, not used any more, or looked at only while no other connection moves (espatd(8))"),
]


def cells():
    """(fault, phase) of each that makes sense."""
    return [(f, p) for f in FAULTS for p in PHASES if p.name in f.only]


def share():
    """A seventh of them, so spread that each fault and each phase has some."""
    where = {p.name: n for n, p in enumerate(PHASES)}
    return [(f, p) for n, f in enumerate(FAULTS) for p in PHASES
            if p.name in f.only and (n + 3 * where[p.name]) % 7 == 0]
