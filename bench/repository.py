"""A repository of a given size, made of what does not compress, so that only carrying it takes time."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.processes import Failed

SMALLEST, LARGEST = 50_000, 900_000
COMMITS = 20
# Of all that is written, what comes with the first commit; the rest changes files again, commit by commit.
FIRST = 0.8


def _blobs(total: int) -> list[int]:
    """Sizes that add up to about `total`; the same each time."""
    source = random.Random(1)
    sizes: list[int] = []
    while sum(sizes) < total:
        sizes.append(source.randint(SMALLEST, LARGEST))
    return sizes


def _stream(total: int) -> Iterator[bytes]:
    """The history in the words of git fast-import."""
    source = random.Random(2)
    sizes = _blobs(total)
    count = int(len(sizes) * FIRST)
    groups = [list(range(count))]
    rest = list(range(count, len(sizes)))
    groups += [rest[start::COMMITS] for start in range(COMMITS) if rest[start::COMMITS]]
    for number, group in enumerate(groups):
        message = f"change {number}"
        yield f"commit refs/heads/main\ncommitter bench <bench@localhost> {number + 1} +0000\n".encode()
        yield f"data {len(message)}\n{message}\n".encode()
        for blob in group:
            yield f"M 100644 inline folder{blob % count % 20}/file{blob % count}\ndata {sizes[blob]}\n".encode()
            yield source.randbytes(sizes[blob]) + b"\n"
    yield b"done\n"


def make(path: Path, total: int) -> int:
    """Makes a bare repository of about `total` bytes; returns how many files its newest commit has."""
    env = {"PATH": "/usr/bin:/bin", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(path), *words], env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"git {words[0]}: {done.stderr[-500:]}")
        return done.stdout

    path.mkdir(parents=True)
    git("init", "--quiet", "--bare", "--initial-branch=main")
    # Compressing what cannot be compressed would take most of the time.
    command = ["git", "-C", str(path), "-c", "core.compression=0", "fast-import", "--quiet", "--done"]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE) as importing:
        assert importing.stdin is not None
        for part in _stream(total):
            importing.stdin.write(part)
        importing.stdin.close()
        if importing.wait() != 0:
            raise Failed("the repository could not be made")
    return len(git("ls-tree", "-r", "--name-only", "main").splitlines())
