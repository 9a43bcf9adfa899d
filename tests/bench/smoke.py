#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The bench works: figures come out, and bytes come through. How fast is not judged. smoke.py ESPATD ESPAT_SIM"""
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent


def main():
    done = subprocess.run(
        [sys.executable, "-B", HERE / "bench.py", "--espatd", sys.argv[1], "--espat-sim", sys.argv[2], "--quick",
         "--json", "-", "--only", "goodput/921600/both/1/auto/none", "memory"],
        stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, "something could not be measured"
    rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    for name, limit in [("goodput/921600/both/1/auto/none", True), ("memory/1-chip-idle", False),
                        ("memory/1-chip-5-links", True), ("memory/further-chip", False)]:
        row = rows.pop(name)
        assert row["value"] > 0 and not row["missing"], row
        assert not limit or row["limit"] > 0 and row["ratio"] > 0, row
    assert not rows, rows.keys()


if __name__ == "__main__":
    main()
