"""The pages for readers: every link leads somewhere, every decision has its number."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(#[^)]*)?\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """Every page that is kept."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines() if "repositories/" not in name]


def test_every_link_between_pages_leads_somewhere() -> None:
    found = 0
    for page in pages():
        for target, _ in LINK.findall(FENCE.sub("", page.read_text())):
            if re.match(r"[a-z]+:", target):
                continue
            found += 1
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"
    assert found > 20


def test_decisions_are_numbered_and_have_their_parts() -> None:
    decisions = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert len(decisions) > 10
    for number, decision in enumerate(decisions, 1):
        text = decision.read_text()
        assert decision.name.startswith(f"{number:04d}-")
        assert text.startswith(f"# {number}. ")
        parts = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert parts == ["Context", "Decision", "Consequences"], decision.name
