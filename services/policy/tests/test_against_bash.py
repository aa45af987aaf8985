"""What bash runs is never allowed unseen: lines are spoilt at random and judged, and what is allowed is run.

`rm` is a program of the test's own that only tells that it was called with an absolute path.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
from pathlib import Path

import pytest

from bgagent_policy import Effect, Source
from corpus import CASES
from support import bash

# Fixed seeds, so that a run can be repeated. BGAGENT_EXPLORE=1 takes others, before the grammar is renewed.
SEEDS = random.SystemRandom().sample(range(10**6), 80) if os.environ.get("BGAGENT_EXPLORE") else range(8)
LINES_PER_SEED = 250
_PIECES = [
    "'", '"', "\\", "\n", "#", " # ", "$", "(", ")", "{ ", " }", "`", "<<E\n", "\nE\n", "<<'E'\n", "\\\n",
    ";", ";; ", "&", "|", "&&", "||", "if ", "then ", "fi", "case x in ", "esac", "x) ", " ", "echo ", "[[ ",
    " ]]", "$(", "$((", "))", "${x:-", "${x#", "x=", "! ", "time ", "do ", "done", "while ", "for i in a",
    "\t", "<(", ">x", "2>&1", "*", "eval ", "sh -c ", "exec ", "f() ", "coproc ", "$'", "{a,b}", "x[", "<<<",
    "command ", "{d}>x ", "return;", "\r", "é", "\n\\",
]  # fmt: skip
_REMOVAL = "rm -rf /"
_FRAMES = [
    *(c.line for c in CASES if _REMOVAL in c.line and "/" not in c.line.replace(_REMOVAL, "")),
    f"echo a; {_REMOVAL}",
    f"[[ a =~ (b|c) ]] || {_REMOVAL}",
    f"cat <<E\nE \nE\n{_REMOVAL}",
    f"a=(\nb # )\n); {_REMOVAL}",
]


def _spoilt(chance: random.Random) -> str:
    line = chance.choice(_FRAMES)
    if chance.random() < 0.4:
        line += chance.choice(["; ", "\n", " && ", " | ", " "]) + chance.choice(_FRAMES)
    for _ in range(chance.randint(1, 3)):
        at = chance.randint(0, len(line))
        kind = chance.random()
        if kind < 0.6:
            line = line[:at] + chance.choice(_PIECES) + line[at:]
        else:
            line = line[:at] + line[at + chance.randint(1, 4) :]
    return line


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """A directory with a `bin` that holds nothing but our `rm` and a shell, and a place to work in."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "work").mkdir()
    script = tmp_path / "bin" / "rm"
    script.write_text(f'#!/bin/bash\nfor a in "$@"; do [[ $a == /* ]] && : >"{tmp_path}/called"; done\n')
    script.chmod(0o755)
    (tmp_path / "bin" / "sh").symlink_to("/bin/sh")
    return tmp_path


@pytest.mark.parametrize("seed", SEEDS)
def test_what_bash_would_remove_is_never_allowed(seed: int, told: Path) -> None:
    chance = random.Random(seed)
    allowed = 0
    for _ in range(LINES_PER_SEED):
        line = _spoilt(chance)
        if "/" in line.replace(_REMOVAL, ""):
            continue
        decision = bash(line) if line else None
        assert decision is None or decision.source is not Source.ERROR, line
        if decision is None or decision.effect is not Effect.ALLOW:
            continue
        allowed += 1
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                ["/bin/bash", "--noprofile", "--norc", "-c", line],
                cwd=told / "work",
                env={"PATH": str(told / "bin"), "HOME": str(told / "work")},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=5,
                check=False,
            )
        assert not (told / "called").exists(), line
    assert allowed, "nothing was allowed, so nothing was shown"
