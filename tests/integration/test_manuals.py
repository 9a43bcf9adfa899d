# SPDX-License-Identifier: MIT
"""The manual pages have what the programs have: options, and the reasons that they give."""
import os
import re
import subprocess

import pytest

from fixtures import TOP

MAN = TOP / "man"


def options_of(program):
    """The long ones that --help tells of."""
    text = subprocess.run([program, "--help"], check=True, capture_output=True, text=True).stdout
    return set(re.findall(r"(?<![\w-])--([a-z][a-z-]+)", text))


@pytest.mark.parametrize("program, page, mark", [
    ("ESPATD", "espatd.8", r"Fl \\-([a-z][a-z-]+)"),
    ("ESPAT_SIM", "espat-sim.1", r"\\-\\-([a-z][a-z-]+)"),
])
def test_options(program, page, mark):
    described = set(re.findall(mark, (MAN / page).read_text()))
    assert options_of(os.environ[program]) == described


def test_reasons():
    reasons = set(re.findall(r'\[LINK_END_\w+\] = { "([a-z-]+)"', (TOP / "src/device/link.c").read_text()))
    reasons |= set(re.findall(r'define REASON_\w+ "([a-z-]+)"', (TOP / "src/tunnel/tunnel.c").read_text()))
    assert len(reasons) > 10
    text = (MAN / "espatd.8").read_text()
    missing = [x for x in reasons if not re.search(rf"^(\.It|\.Ql) {x}\b", text, re.M)]
    assert not missing
