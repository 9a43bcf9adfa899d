#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Plants one bug after the other, and says how long its fuzz target takes to find it.

planted.py FOLDER [WORD]...: those whose name has a WORD in it, in a copy of the sources in FOLDER.
"""

import pathlib
import subprocess
import sys
import tempfile
import time

import mutate
from mutate import Change

# s; each is to be found within them.
LIMIT = 60

PLANTED = [
    Change(
        "lexer: empty lines are counted by how the input was cut",
        "src/at/lexer.c",
        "l->blanks++;",
        "l->blanks += i < n;",
        "lexer",
    ),
    Change(
        "reply: a string is copied with no room for its end",
        "src/at/scan.c",
        "if (len >= size) {",
        "if (len > size) {",
        "reply",
    ),
    Change(
        "channel: commands are sent although chip and host disagree",
        "src/chan/chan.c",
        "if (chan->current || chan->deaf)",
        "if (chan->current)",
        "chan",
    ),
    Change(
        "channel: a command ends a second time after a reset",
        "src/chan/chan.c",
        "chan->current = NULL;\n\tchan->ended = -1;",
        "chan->ended = -1;",
        "chan",
    ),
    Change(
        "device: a link's user is called after its end",
        "src/device/link.c",
        "link->ops = NULL;\n\tif (ops)\n",
        "if (ops)\n",
        "device",
    ),
    Change(
        "device: what has failed is not tried again",
        "src/device/device-state.c",
        "device_wait(dev, dev->aside ? DEVICE_ASIDE : delay, retry_is_due);",
        "(void)delay, (void)retry_is_due;",
        "device",
    ),
    Change(
        "config: a complaint has a line end of the file's own",
        "src/util/problems.c",
        "if ((unsigned char)*c < 0x20 || *c == 0x7f)",
        "if ((unsigned char)*c < '\\n' || *c == 0x7f)",
        "config",
    ),
    Change(
        "certificates: no room for the end of the last line",
        "src/cert/check.c",
        "blob->data = malloc(len + 1);",
        "blob->data = malloc(len);",
        "cert",
    ),
    Change(
        "simulator: a connection on a sixth link",
        "tests/sim/cmd-ip.c",
        "if (arg_link(c, call, &i, SIM_LINKS - 1, &link) < 0)",
        "if (arg_link(c, call, &i, SIM_LINKS, &link) < 0)",
        "sim-core",
    ),
    Change(
        "D-Bus: a slot that does not exist",
        "src/bus/bus-text.c",
        "if (number > CONFIG_SLOT_MAX)",
        "if (number > 2 * CONFIG_SLOT_MAX)",
        "bus",
    ),
]


def find(copy, bug):
    """The seconds that the target takes, or None."""
    target = copy.build_dir / "tests" / "fuzz" / f"fuzz-{bug.finders}"
    seeds = next(copy.tree.glob(f"tests/fuzz/corpus-{bug.finders}"))
    words = next(copy.tree.glob(f"tests/fuzz/{bug.finders}.dict"), None)
    with copy.changed(bug), tempfile.TemporaryDirectory() as scratch:
        copy.build(target.relative_to(copy.build_dir))
        command = [target, f"-max_total_time={LIMIT}", "-timeout=10", "-seed=1", f"-artifact_prefix={scratch}/",
                   *([f"-dict={words}"] if words else []), scratch, seeds]
        start = time.monotonic()
        found = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0
        return time.monotonic() - start if found else None


def main():
    bugs = mutate.chosen(PLANTED, sys.argv[2:])
    mutate.check(bugs)
    copy = mutate.Copy(pathlib.Path(sys.argv[1]).resolve(), "-Dfuzz=true", "-Db_sanitize=address,undefined",
                       "-Db_lundef=false", CC="clang")
    missed = 0
    for bug in bugs:
        seconds = find(copy, bug)
        missed += seconds is None
        print(f"{bug.name:64} {bug.finders:9} {'NOT FOUND' if seconds is None else f'{seconds:6.1f} s'}", flush=True)
    print(f"{len(bugs) - missed} of {len(bugs)} planted bugs were found within {LIMIT} s each")
    sys.exit(missed > 0)


main()
