"""Takes files out of the machine's memory, so that a start reads them from the disk again; what others use stays."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path


def forget(folders: Iterable[Path]) -> int:
    """Forgets every file below these folders; returns how many there were. Unreadable ones are left as they are."""
    count = 0
    for folder in folders:
        for directory, _, names in os.walk(folder):
            for name in names:
                with contextlib.suppress(OSError):
                    descriptor = os.open(Path(directory) / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                    try:
                        # Only pages that are on the disk already can go.
                        os.fdatasync(descriptor)
                        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                        count += 1
                    finally:
                        os.close(descriptor)
    return count
