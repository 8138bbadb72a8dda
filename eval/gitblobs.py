"""Reads files out of bare git copies with `git cat-file`, never through a work tree.

A copy lies at MIRROR/<owner>+<name>/repo (bare) or MIRROR/<owner>+<name>/repo/.git.
Objects that the copy lacks (too large for it) are reported as absent, not as errors.
"""

import os
import subprocess
from pathlib import Path


class Copy:
    """One repository copy. `name` is "owner/name"."""

    def __init__(self, mirror, name):
        self.name = name
        base = Path(mirror) / name.replace("/", "+") / "repo"
        self.dir = base / ".git" if (base / ".git").is_dir() else base
        if not self.dir.is_dir():
            raise FileNotFoundError(f"{name}: no git copy at {base}; fetch it or give --mirror")
        self._batch = None

    def git(self, *args):
        """Output of one git command, as text."""
        command = ["git", f"--git-dir={self.dir}", *args]
        return subprocess.run(command, check=True, capture_output=True).stdout.decode("utf-8", "replace")

    def head(self):
        """The commit that HEAD names."""
        return self.git("rev-parse", "HEAD").strip()

    def paths(self, under="", suffix=()):
        """Paths of HEAD's tree under a folder that end in one of the suffixes, sorted."""
        args = ["ls-tree", "-r", "-z", "--name-only", "HEAD"]
        if under:
            args += ["--", under]
        names = [p for p in self.git(*args).split("\0") if p]
        return sorted(p for p in names if not suffix or p.endswith(tuple(suffix)))

    def read(self, path):
        """Bytes of HEAD:path, or None where the copy lacks the object."""
        if self._batch is None:
            env = dict(os.environ, GIT_NO_LAZY_FETCH="1")
            self._batch = subprocess.Popen(
                ["git", f"--git-dir={self.dir}", "cat-file", "--batch"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env)
        self._batch.stdin.write(f"HEAD:{path}\n".encode())
        self._batch.stdin.flush()
        header = self._batch.stdout.readline()
        fields = header.split()
        if len(fields) < 3 or fields[-1] == b"missing":
            if not header:
                self._batch = None
            return None
        size = int(fields[-1])
        data = self._batch.stdout.read(size)
        self._batch.stdout.read(1)
        return data

    def first_added(self, path):
        """Date (YYYY-MM-DD) of the commit that first added anything under `path`."""
        dates = self.git("log", "--diff-filter=A", "--format=%as", "--reverse", "--", path).split()
        return min(dates) if dates else None


def mirror_argument(parser):
    """Adds --mirror with its default from THYMUS_MIRROR."""
    parser.add_argument(
        "--mirror", default=os.environ.get("THYMUS_MIRROR"), required="THYMUS_MIRROR" not in os.environ,
        help="folder of git copies, <owner>+<name>/repo each (default: $THYMUS_MIRROR)")
