"""From nothing to a pull request and back, with the blocks of docs/operations.md, in this order."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from pathlib import Path
from typing import Any

from Tests.compose import document
from Tests.compose.installation import WORDS, Installation
from Tests.system.waiting import until

BLOCKS = document.blocks()
TASK_ID = re.compile(r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b")
SERVERS = ("postgres", "rabbitmq")


def test_every_shell_block_of_the_operations_page_has_a_name_and_is_run_here() -> None:
    assert document.unnamed() == []
    sources = "".join(path.read_text() for path in Path(__file__).parent.parent.rglob("compose*/*.py"))
    sources += "".join(path.read_text() for path in Path(__file__).parent.parent.glob("long/test_compose.py"))
    missing = [name for name in BLOCKS if f'BLOCKS["{name}"]' not in sources]
    assert missing == []


def test_nothing_starts_without_first_run(rehearsal: Installation) -> None:
    none = rehearsal.folder / "none.env"
    none.touch()
    done = rehearsal.attempt(["docker", "compose", "up", "--detach"], COMPOSE_ENV_FILES=str(none))
    assert done.returncode != 0
    assert "Run scripts/first-run first" in done.stderr
    assert rehearsal.left() == []


def test_first_run_makes_passwords_that_only_the_services_can_read(rehearsal: Installation) -> None:
    rehearsal.block(BLOCKS["first-run"])
    files = [path for path in (rehearsal.folder / "secrets").iterdir() if path.is_file()]
    before = {path: path.read_text() for path in files}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in [*files, rehearsal.env_file])
    passwords = [text for path, text in before.items() if path.name.endswith("-password") and text]
    assert len(set(passwords)) == len(passwords) >= 2
    assert all(len(text.strip()) == 48 for text in passwords)
    settings = rehearsal.env_file.read_text()
    assert not any(text.strip() in settings for text in before.values() if text.strip())
    rehearsal.block(BLOCKS["first-run"])
    assert {path: path.read_text() for path in files} == before


def test_one_command_brings_everything_up_and_says_what_to_type(rehearsal: Installation) -> None:
    rehearsal.compose("--profile", "*", "build", "--quiet")
    said = rehearsal.block(BLOCKS["up"])
    assert BLOCKS["submit"].strip() in said
    states = {service(one): one["State"] for one in rehearsal.containers()}
    ended = {name for name, state in states.items() if state["Status"] == "exited"}
    assert ended == {"migrate", "agent"}
    assert all(states[name]["ExitCode"] == 0 for name in ended)
    healths = {name: state["Health"]["Status"] for name, state in states.items() if name not in ended}
    assert set(healths.values()) == {"healthy"}, healths


def test_a_failing_test_becomes_a_pull_request_by_an_agent_in_a_container(rehearsal: Installation) -> None:
    answers: list[str] = []
    typing = threading.Thread(target=lambda: answers.append(rehearsal.block(BLOCKS["submit"])))
    typing.start()
    try:
        sandbox = until("an agent has a container", lambda: next(iter(rehearsal.sandboxes()), None), 60)
    finally:
        typing.join()
    assert answers, "the task did not end well"
    assert "COMPLETED" in answers[0]
    task = TASK_ID.search(answers[0])
    assert task is not None
    confined(sandbox, task[0], rehearsal.project)
    rehearsal.checked()
    shown = rehearsal.block(BLOCKS["look"])
    assert "== acme/pricing: pull request #" in shown
    assert "== Slack" in shown and "== mail to" in shown
    until("its container is gone", lambda: not rehearsal.sandboxes(), 30)


def test_a_trace_passes_from_the_sandbox_to_whoever_has_its_link(rehearsal: Installation) -> None:
    task = str(rehearsal.ask("submit", "--repo", "acme/pricing", "--trace", WORDS)["task_id"])
    until("the task has ended", lambda: rehearsal.status(task)["status"] == "COMPLETED", 120)
    # Two services share the files, and one of them may only read. The shell takes the bytes as they are.
    line = 'scripts/bgagent trace download "$0" --file - | gunzip | sed -n 1p'
    first = json.loads(rehearsal.run(["bash", "-o", "pipefail", "-c", line, task]))
    assert (first["type"], first["task_id"], first["attempt"]) == ("header", task, 1)
    kept = rehearsal.ask("trace", "download", task, "--file", "/tmp/trace.gz")
    assert kept["complete"] and not kept["truncated"]
    until("its container is gone", lambda: not rehearsal.sandboxes(), 30)


def service(container: dict[str, Any]) -> str:
    """What compose calls it."""
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def confined(sandbox: dict[str, Any], task: str, project: str) -> None:
    """Holds that an agent's container can do nothing but its work."""
    host, config = sandbox["HostConfig"], sandbox["Config"]
    assert sandbox["Name"] == f"/bgagent-{task}-1"
    assert config["Labels"]["bgagent.installation"] == project
    assert config["User"] == "10001:10001"
    assert host["ReadonlyRootfs"] and not host["Privileged"] and host["CapDrop"] == ["ALL"]
    assert "no-new-privileges" in " ".join(host["SecurityOpt"])
    assert host["Memory"] > 0 and host["PidsLimit"] > 0 and host["NanoCpus"] > 0
    assert not any(mount["Type"] == "bind" for mount in sandbox["Mounts"])
    assert list(sandbox["NetworkSettings"]["Networks"]) == [f"bgagent-{task}-1"]
    assert not any(word in line for line in config["Env"] for word in ("POSTGRES", "AMQP", "GITHUB_TOKEN"))


def test_no_container_can_more_than_it_needs(rehearsal: Installation) -> None:
    for one in rehearsal.containers():
        name = service(one)
        host = one["HostConfig"]
        assert host["ReadonlyRootfs"] and not host["Privileged"] and host["CapDrop"] == ["ALL"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        if name not in SERVERS:
            assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", one["Config"]["User"]), name
            assert not host["CapAdd"], name
        if name != "agent":
            assert host["Memory"] > 0 and host["PidsLimit"] > 0 and host["NanoCpus"] > 0, name
        sockets = [mount for mount in one["Mounts"] if mount["Destination"].endswith("docker.sock")]
        assert bool(sockets) == (name == "engine-proxy"), name
        published = {port: bound[0]["HostIp"] for port, bound in (host["PortBindings"] or {}).items()}
        assert published == ({"8080/tcp": "127.0.0.1"} if name == "gateway" else {}), name


def test_the_broker_slows_its_publishers_before_its_memory_ends(rehearsal: Installation) -> None:
    (broker,) = rehearsal.containers("rabbitmq")
    limits = re.findall(
        r"Memory high watermark set to (\d+) MiB", rehearsal.compose("logs", "--no-color", "rabbitmq")
    )
    assert limits
    assert all(0 < int(limit) << 20 < broker["HostConfig"]["Memory"] for limit in limits)


def test_no_secret_is_in_a_container_s_settings_or_in_the_logs(rehearsal: Installation) -> None:
    files = [path for path in (rehearsal.folder / "secrets").iterdir() if path.is_file()]
    values = {path.name: path.read_text().strip() for path in files if path.read_text().strip()}
    assert "postgres-password" in values and "model-api-key" in values
    told = str(rehearsal.containers()) + rehearsal.compose("logs", "--no-color")
    assert [name for name, value in values.items() if value in told] == []


def test_what_the_page_says_about_looking_after_it_works(rehearsal: Installation) -> None:
    assert re.fullmatch(r"bga_\S{20,}|\S{20,}", rehearsal.block(BLOCKS["token"]).strip())
    assert "orchestrator" in rehearsal.block(BLOCKS["state"])


def test_an_uninstalled_installation_leaves_nothing(rehearsal: Installation) -> None:
    task = rehearsal.submit(words="Do what is asked.\n\nScript: waits")
    until("its agent has a container", rehearsal.sandboxes, 60)
    pids = [int(one["State"]["Pid"]) for one in rehearsal.containers() + rehearsal.sandboxes()]
    first, second = BLOCKS["uninstall"].strip().splitlines()
    said = rehearsal.block(first)
    assert f"would remove container bgagent-{task}-1" in said
    assert rehearsal.sandboxes() and rehearsal.env_file.exists()
    rehearsal.block(second)
    assert rehearsal.left() == []
    assert [str(path) for path in rehearsal.folder.iterdir() if path.name != "none.env"] == []
    assert [pid for pid in pids if pid and alive(pid)] == []


def test_uninstalling_without_a_name_removes_nothing(rehearsal: Installation) -> None:
    done = rehearsal.attempt(
        ["env", "-u", "COMPOSE_PROJECT_NAME", "scripts/uninstall", "--yes"],
        COMPOSE_ENV_FILES=str(rehearsal.folder / "gone.env"),
    )
    assert done.returncode != 0
    assert "name it in COMPOSE_PROJECT_NAME" in done.stderr


def alive(pid: int) -> bool:
    """Whether a process is there."""
    return subprocess.run(["ps", "-p", str(pid)], capture_output=True, check=False).returncode == 0
