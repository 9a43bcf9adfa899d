#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""That the programs of a release build have all the hardening that meson.build asks for."""
import argparse
import json
import pathlib
import re
import subprocess
import sys

PROGRAMS = "src/daemon/espatd", "src/ctl/espatctl"


def readelf(*args):
    return subprocess.run(["readelf", "--wide", *map(str, args)], capture_output=True, text=True,
                          check=True).stdout


def missing_in_program(path):
    head, dynamic, segments = readelf("-h", path), readelf("-d", path), readelf("-l", path)
    imported = set(re.findall(r"UND (\w+)", readelf("--dyn-syms", path)))
    there = {
        "position independent (PIE)":
            re.search(r"Type: +DYN", head) and re.search(r"FLAGS_1.*PIE", dynamic),
        "read-only relocations (RELRO)": "GNU_RELRO" in segments,
        "all of them bound at start (BIND_NOW)": "BIND_NOW" in dynamic,
        "a stack that is not executable": re.search(r"GNU_STACK .* RW +0x", segments),
        "no segment both written and executed": not re.search(r"LOAD .* RWE ", segments),
        "stack protector": "__stack_chk_fail" in imported,
        "fortified functions": sum(name.endswith("_chk") for name in imported) >= 5,
    }
    if "X86-64" in head:
        there["shadow stack (CET)"] = "SHSTK" in readelf("-n", path)
    return [what for what, found in there.items() if not found]


def missing_in_objects(build):
    """What leaves no trace in a program, or is lost in it by what the system's own start files lack."""
    commands = [c for c in json.loads((build / "compile_commands.json").read_text())
                if "/src/" in c["file"]]
    assert len(commands) > 100, "where are the sources?"
    for command in commands:
        path = build / command["output"]
        if "-fstack-clash-protection" not in command["command"]:
            yield f"{path}: stack clash protection"
        if "X86-64" in readelf("-h", path) and "IBT, SHSTK" not in readelf("-n", path):
            yield f"{path}: control-flow protection (CET)"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=pathlib.Path)
    build = parser.parse_args().build
    missing = [f"{name}: {what}" for name in PROGRAMS for what in missing_in_program(build / name)]
    missing += missing_in_objects(build)
    for line in missing:
        print(f"missing in {line}")
    if not missing:
        print(f"{', '.join(PROGRAMS)}: hardened")
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
