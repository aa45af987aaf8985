"""Where a path lies: inside the workspace, in a place for temporary files, or outside."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass, field

# Writing there leaves nothing behind.
SINKS = re.compile(r"/dev/(?:null|zero|full|tty|stdin|stdout|stderr|fd/\d+)|/proc/self/fd/\d+")
TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - names to compare with
# Removing one of these with all that is in it is removing the machine.
_SYSTEM = frozenset(
    [
        "/bin",
        "/boot",
        "/dev",
        "/etc",
        "/home",
        "/lib",
        "/lib32",
        "/lib64",
        "/media",
        "/mnt",
        "/opt",
        "/proc",
        "/root",
        "/run",
        "/sbin",
        "/srv",
        "/sys",
        "/usr",
        "/var",
        "/usr/bin",
        "/usr/lib",
        "/usr/local",
        "/usr/sbin",
        "/usr/share",
        "/var/lib",
        "/var/log",
    ]
)
_GLOB = re.compile(r"[*?\[]")

# Directories that a command may run in: a `cd` that may fail leaves two. None when it cannot be known.
Directories = frozenset[str] | None
MAX_DIRECTORIES = 8


@dataclass(frozen=True, slots=True)
class Place:
    """A path without `.`, `..` and double slashes: relative to the workspace inside it, absolute outside."""

    path: str
    outside: bool = False
    temporary: bool = False


@dataclass(frozen=True)
class Layout:
    """The directories of a sandbox. `resolve` follows symbolic links, where the caller can see the files."""

    workspace: str = "/workspace"
    home: str = "/home/agent"
    resolve: Callable[[str], str] | None = field(default=None, compare=False)

    def absolute(self, text: str, directory: str) -> str:
        """The path made absolute, `..` taken literally."""
        path = posixpath.normpath(posixpath.join(directory, text))
        return "/" + path.lstrip("/")

    def candidates(self, text: str, directories: Directories) -> tuple[str, ...] | None:
        """Every absolute path that the text may mean, links followed; None when that cannot be known."""
        if not text or "\0" in text:
            return None
        if text.startswith("/"):
            directories = frozenset((self.workspace,))
        if directories is None:
            return None
        found = sorted({self.absolute(text, directory) for directory in directories})
        if self.resolve is not None:
            found = sorted({*found, *("/" + self.resolve(path).lstrip("/") for path in found)})
        return tuple(found)

    def place(self, path: str) -> Place:
        """Where an absolute path lies."""
        root = self.absolute(self.workspace, "/")
        if path == root:
            return Place(".")
        if path.startswith(root.rstrip("/") + "/"):
            return Place(path[len(root.rstrip("/")) + 1 :])
        temporary = any(path == t or path.startswith(t + "/") for t in TEMPORARY)
        return Place(path, outside=True, temporary=temporary)

    def places(self, text: str, directories: Directories) -> tuple[Place, ...] | None:
        """Where the text may lead to; None when that cannot be known."""
        found = self.candidates(text, directories)
        return None if found is None else tuple(dict.fromkeys(self.place(path) for path in found))

    def is_root(self, path: str) -> bool:
        """True for what no task may remove as a whole: system and home directories, what holds the work."""
        path = _whole(path)
        if self.is_workspace(path) or self._holds(self.workspace, path):
            return False
        if path in _SYSTEM or path in ("/", self.home) or re.fullmatch(r"/home/[^/]+", path):
            return True
        if path.count("/") == 1 and _GLOB.search(path):
            return True
        return self._holds(path, self.workspace) or self._holds(path, self.home)

    def is_workspace(self, path: str) -> bool:
        """True for the workspace as a whole."""
        return _whole(path) == self.absolute(self.workspace, "/")

    @staticmethod
    def _holds(outer: str, inner: str) -> bool:
        return outer != inner and inner.startswith(outer.rstrip("/") + "/")


def _whole(path: str) -> str:
    """`/x` for `/x/*`, `/x/.*` and the like, which are all that is in it."""
    while (tail := posixpath.basename(path)) and set(tail) <= set("*.?"):
        if "*" not in tail:
            break
        path = posixpath.dirname(path)
    return path
