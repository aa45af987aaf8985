"""`python -m rehearsal.look --data DIR`: what the simulators received, as people would read it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from rehearsal.checker import Outside
from rehearsal.github.gitdir import GitFailed, git
from rehearsal.words import slack_text

# Whose words are the platform's: the login that the simulated GitHub gives its token.
BOT = "bgagent-bot"


def lines(outside: Outside) -> Iterator[str]:
    """Everything, forge first."""
    for name, repo in sorted(outside.repos.items()):
        for pull in repo["pulls"]:
            issue = next(one for one in repo["issues"] if one["number"] == pull["number"])
            draft = ", a draft" if pull["draft"] else ""
            yield f"== {name}: pull request #{pull['number']}{draft}: {issue['title']}"
            yield f"{pull['head']} -> {pull['base']}\n\n{issue['body'] or ''}\n"
            try:
                yield git(Path(repo["git_dir"]), "diff", f"{pull['base']}...{pull['head']}")
            except GitFailed as error:
                yield f"(its diff cannot be shown: {error})"
        for comment in (one for one in repo["comments"] if one["user"] == BOT):
            yield f"== {name}: comment on #{comment['issue']}, by {comment['user']}\n{comment['body']}\n"
    for message in outside.messages:
        yield f"== Slack{', in a thread' if 'thread_ts' in message else ''}\n{slack_text(message)}\n"
    for mail in outside.mails:
        yield f"== mail to {', '.join(mail['to'])}: {mail['subject']}\n{mail.get('text') or ''}\n"


def main() -> None:
    """Prints it."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal.look", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the simulators' directory")
    data: Path = parser.parse_args().data
    found = list(lines(Outside.read(data, data, data, data)))
    print("\n".join(found) if found else "The simulators have received nothing yet.")


if __name__ == "__main__":
    main()
