# SPDX-License-Identifier: MIT
"""One wrong line at a time, in a copy of the sources that is built anew for each."""

import contextlib
import os
import pathlib
import subprocess
import sys
import typing

TOP = pathlib.Path(__file__).resolve().parents[2]


class Change(typing.NamedTuple):
    """In FILE the text OLD, which stands there once, becomes NEW; FINDERS are to notice."""

    name: str
    file: str
    old: str
    new: str
    finders: str  # separated by spaces


class Stale(Exception):
    """The text of a change is not in its file any more, or not once."""


class Copy:
    """The sources as they are in the work tree, in FOLDER/tree, built in FOLDER/build."""

    def __init__(self, folder, *options, **env):
        self.tree = folder / "tree"
        self.build_dir = folder / "build"
        self._env = {**os.environ, **env}
        self._copy()
        if not (self.build_dir / "build.ninja").exists():
            self._run("meson", "setup", self.build_dir, self.tree, *options)

    def _run(self, *command):
        done = subprocess.run(command, env=self._env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            sys.exit(f"{done.stdout}{' '.join(map(str, command))}: failed")

    def _copy(self):
        """What is the same already keeps its time, so that it is not built again."""
        names = subprocess.check_output(
            ["git", "-C", TOP, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], text=True)
        here = {name for name in names.split("\0") if name and (TOP / name).is_file()}
        for path in self.tree.rglob("*"):
            if path.is_file() and str(path.relative_to(self.tree)) not in here:
                path.unlink()
        for name in here:
            source, target = TOP / name, self.tree / name
            if target.exists() and target.read_bytes() == source.read_bytes():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
            target.chmod(source.stat().st_mode & 0o777)

    def build(self, *targets):
        self._run("ninja", "-C", self.build_dir, *targets)

    @contextlib.contextmanager
    def changed(self, change):
        path = self.tree / change.file
        right = path.read_text()
        if right.count(change.old) != 1:
            raise Stale(f"{change.name}: its text stands in {change.file} {right.count(change.old)} times, not once")
        path.write_text(right.replace(change.old, change.new))
        try:
            yield
        finally:
            path.write_text(right)


def check(changes):
    """Ends the program where one of them is stale."""
    stale = []
    for change in changes:
        count = (TOP / change.file).read_text().count(change.old)
        if count != 1:
            stale.append(f"{change.name}: its text stands in {change.file} {count} times, not once")
    if stale:
        sys.exit("\n".join(stale))


def chosen(changes, words):
    """Those whose name has one of WORDS in it; all without any."""
    found = [c for c in changes if not words or any(w in c.name for w in words)]
    return found or sys.exit(f"no such change: {' '.join(words)}")
