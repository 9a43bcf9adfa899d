#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
Measures espatd on simulated chips with a paced line and real TLS, each figure beside what the line, or another
program, reaches in the same run. See README.md.
"""
import argparse
import fnmatch
import json
import os
import pathlib
import platform
import re
import shlex
import signal
import subprocess
import sys
import time

import result
from rig import TOP, Env
from figures import FIGURES

PATIENCE = 180  # seconds for one figure


def options():
    p = argparse.ArgumentParser(prog="bench", description="Measures espatd against the wire.")
    build = TOP / os.environ.get("BUILD", "build-bench")
    p.add_argument("--espatd", type=pathlib.Path, default=build / "src/daemon/espatd", metavar="PATH")
    p.add_argument("--espat-sim", type=pathlib.Path, default=build / "tests/sim/espat-sim", metavar="PATH")
    p.add_argument("--quick", action="store_true", help="fewer figures, and each one shorter")
    p.add_argument("--only", nargs="+", default=[], metavar="NAME",
                   help="figures whose name has this in it, which may be a pattern: 'goodput/921600', '*/rtscts'")
    p.add_argument("--list", action="store_true", help="shows the names of the figures")
    p.add_argument("--json", metavar="FILE", help="writes all that was measured; - is standard output")
    p.add_argument("--markdown", metavar="FILE", help="writes the table")
    p.add_argument("--check", action="store_true", help="a bar that is missed is a failure, too")
    return p.parse_args()


def chosen(args):
    for name, (function, quick) in FIGURES.items():
        if args.only:
            if any(fnmatch.fnmatch(name, f"*{x}*") for x in args.only):
                yield name, function
        elif quick or not args.quick:
            yield name, function


def cpu_model():
    found = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def asked():
    """The options without the paths that ./dev adds."""
    words = iter(sys.argv[1:])
    for word in words:
        if word in ("--espatd", "--espat-sim"):
            next(words, None)
        else:
            yield word


def facts(args):
    return {
        "date": time.strftime("%Y-%m-%d"),
        "host": f"{cpu_model()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "espatd": subprocess.run([args.espatd, "--version"], capture_output=True, text=True).stdout.strip(),
        "commit": subprocess.run(["git", "describe", "--always", "--dirty"], cwd=TOP, capture_output=True,
                                 text=True).stdout.strip(),
        "command": shlex.join(["./dev", "bench", *asked()]),
        "quick": args.quick,
    }


def on_alarm(signum, frame):
    raise TimeoutError(f"not within {PATIENCE} s")


def on_term(signum, frame):
    raise KeyboardInterrupt


def measured(env, name, function):
    """Its rows; what goes wrong is a row, too."""
    signal.alarm(PATIENCE)
    try:
        return function(env)
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        return [result.Row(name, missing=why, note="; ".join(getattr(error, "__notes__", [])), failed=True)]
    finally:
        signal.alarm(0)


def run(args, out):
    rows = []
    env = Env(args.espatd.resolve(), args.espat_sim.resolve(), args.quick)
    try:
        print(result.line(result.HEADS), file=out, flush=True)
        for name, function in chosen(args):
            for row in measured(env, name, function):
                rows.append(row)
                print(result.line(row.cells()), file=out)
                if row.note:
                    print(f"    {row.note}", file=out)
                out.flush()
    finally:
        env.close()
    return rows


def markdown(path, about, rows):
    with open(path, "w") as f:
        f.write("# Results of ./dev bench\n\n")
        f.writelines(f"- {key}: {about[key]}\n" for key in ("date", "host", "espatd", "commit"))
        f.write(f"- command: `{about['command']}`\n\n")
        heads = [*result.HEADS[:-1], "ok", "note"]
        f.write("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|\n")
        for row in rows:
            f.write("| " + " | ".join([*row.cells(), row.note]) + " |\n")


def main():
    args = options()
    if args.list:
        print("\n".join(f"{name}{'  (quick)' if quick else ''}" for name, (_, quick) in FIGURES.items()))
        return 0
    if not list(chosen(args)):
        print(f"bench: no figure is called {' or '.join(args.only)}; see --list", file=sys.stderr)
        return 2
    signal.signal(signal.SIGALRM, on_alarm)
    signal.signal(signal.SIGTERM, on_term)
    about = facts(args)
    # JSON on standard output is alone there.
    out = sys.stderr if args.json == "-" else sys.stdout
    try:
        rows = run(args, out)
    except KeyboardInterrupt:
        return 130
    if args.json:
        text = json.dumps({**about, "rows": [row.json() for row in rows]}, indent=1) + "\n"
        if args.json == "-":
            sys.stdout.write(text)
        else:
            pathlib.Path(args.json).write_text(text)
    if args.markdown:
        markdown(args.markdown, about, rows)
    failed = [row for row in rows if row.failed]
    below = [row for row in rows if row.ok is False]
    print(f"{len(rows)} figures, {len(failed)} failed, {len(below)} below their bar", file=out)
    return 1 if failed or (args.check and below) else 0


if __name__ == "__main__":
    sys.exit(main())
