"""What the simulated Messages API answers and refuses, and how it follows a script."""

from __future__ import annotations

import hashlib
import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rehearsal.model.script import BadScript, Script
from rehearsal.tests.support import ROOT, SAMPLES, Client

BASH = {"name": "Bash", "description": "Runs a command", "input_schema": {"type": "object"}}
READ = {"name": "Read", "description": "Reads a file", "input_schema": {"type": "object"}}
MARK = {"cache_control": {"type": "ephemeral"}}
SCRIPT = {
    "name": "token",
    "repository": "acme/token",
    "steps": [
        {"text": "Begin.", "tools": [{"name": "Bash", "input": {"command": "echo {{nonce}}"}}]},
        {
            "expect": [{"tool_result_regex": "^{{nonce}}$"}],
            "capture": [{"name": "token", "regex": "^token ([0-9a-f]+)$"}],
            "tools": [{"name": "Bash", "input": {"command": "printf %s {{token}} | sha256sum"}}],
        },
        {"any": [
            {"expect": [{"tool_result_regex": "^{{sha256:token}}"}], "text": "Right."},
            {"expect": [{"tool_result_regex": "no sha256sum"}], "text": "Never mind."},
        ]},
    ],
}  # fmt: skip


def body(messages: Any = None, **fields: Any) -> dict[str, Any]:
    said = [{"role": "user", "content": "Hello"}] if messages is None else messages
    return {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": said, **fields}


def ask(model: Client, messages: Any = None, **fields: Any) -> Any:
    return model("POST", "/v1/messages?beta=true", body(messages, **fields))


def events(raw: bytes) -> list[tuple[str, Any]]:
    found = []
    for block in raw.decode().strip().split("\n\n"):
        kind, data = block.split("\n")
        found.append((kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def play(
    model: Client, outputs: list[Any], opening: str = "Repository: acme/token", **fields: Any
) -> list[Any]:
    """A conversation in which each call gets the next output, which may be a function of the command."""
    messages: list[Any] = [{"role": "user", "content": opening}]
    answers = []
    for output in [*outputs, None]:
        answer = ask(model, messages, tools=[BASH, READ], **fields)
        answers.append(answer)
        calls = [block for block in answer.json.get("content", []) if block["type"] == "tool_use"]
        if answer.status != 200 or not calls or output is None:
            break
        text = output(calls[0]["input"]["command"]) if callable(output) else output
        results = [{"type": "tool_result", "tool_use_id": call["id"], "content": text} for call in calls]
        messages += [
            {"role": "assistant", "content": answer.json["content"]},
            {"role": "user", "content": results},
        ]
    return answers


def echo(command: str) -> str:
    return command.split()[1] + "\ntoken abc123\n"


def sha(command: str) -> str:
    return hashlib.sha256(command.split()[2].encode()).hexdigest() + "  -\n"


def test_what_is_no_json_or_no_route_is_refused(model: Client) -> None:
    assert model("POST", "/v1/messages", b"{").status == 400
    assert model("GET", "/v1/messages").status == 405
    assert model("POST", "/v1/complete", body()).status == 404


USER = {"role": "user", "content": "hi"}


def test_system_messages_inside_the_list_are_accepted(model: Client) -> None:
    system = {"role": "system", "content": "The user sent a message."}
    call = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "x"}
    talk = [
        USER,
        system,
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
        system,
    ]
    assert ask(model, talk).status == 200


def test_a_call_without_tools_is_a_side_call(model: Client) -> None:
    answer = ask(model, [{"role": "user", "content": "Repository: acme/pricing\nA title, please"}])
    assert (answer.status, answer.json["stop_reason"], len(answer.json["content"])) == (200, "end_turn", 1)
    assert model.log()[-1]["kind"] == "side"


def test_a_stream_has_every_event_of_the_real_one(model: Client) -> None:
    opening = [{"role": "user", "content": [{"type": "text", "text": "Repository: acme/pricing"}]}]
    raw = ask(model, opening, tools=[BASH, READ], stream=True)
    assert raw.headers["content-type"].startswith("text/event-stream")
    whole = ask(model, opening, tools=[BASH, READ]).json
    found = events(raw.body)
    kinds = [kind for kind, _ in found if kind != "content_block_delta"]
    assert kinds == [
        "message_start", "content_block_start", "ping", "content_block_stop",
        "content_block_start", "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip
    assert all(data["type"] == kind for kind, data in found)
    blocks = dict.fromkeys((0, 1), "")
    for _, data in found:
        if data["type"] == "content_block_delta":
            blocks[data["index"]] += data["delta"].get("text", "") + data["delta"].get("partial_json", "")
    assert blocks[0] == whole["content"][0]["text"]
    assert json.loads(blocks[1]) == whole["content"][1]["input"]
    delta = next(data for kind, data in found if kind == "message_delta")
    assert (delta["delta"]["stop_reason"], delta["usage"]["output_tokens"]) == (
        "tool_use", whole["usage"]["output_tokens"],
    )  # fmt: skip
    start = found[0][1]["message"]
    assert (start["id"], start["content"], start["stop_reason"]) == (whole["id"], [], None)


def test_thinking_is_said_only_where_it_is_on(model: Client) -> None:
    steps = [{"thinking": "Hm.", "text": "Yes."}]
    model("POST", "/__seed", {"scripts": [{"name": "t", "repository": "acme/t", "steps": steps}]})
    opening = [{"role": "user", "content": "Repository: acme/t"}]
    on = ask(model, opening, tools=[BASH], thinking={"type": "adaptive"}).json["content"]
    off = ask(model, opening, tools=[BASH]).json["content"]
    assert ([one["type"] for one in on], [one["type"] for one in off]) == (["thinking", "text"], ["text"])


def test_usage_counts_the_cache(model: Client) -> None:
    system = [{"type": "text", "text": "word " * 2000, **MARK}]
    model("POST", "/__seed", {"scripts": [SCRIPT]})
    first, second, _ = [answer.json["usage"] for answer in play(model, [echo, sha], system=system)]
    assert (first["cache_read_input_tokens"], first["input_tokens"]) == (0, 4)
    assert first["cache_creation_input_tokens"] > 2000
    assert 0 < second["cache_creation_input_tokens"] < 200
    assert second["cache_read_input_tokens"] > 2000
    assert play(model, [])[0].json["usage"]["cache_creation_input_tokens"] == 0


def test_a_script_goes_on_only_with_what_a_tool_really_printed(model: Client) -> None:
    model("POST", "/__seed", {"scripts": [SCRIPT]})
    assert play(model, [echo, sha])[-1].json["content"][0]["text"] == "Right."
    assert play(model, [echo, "no sha256sum here"])[-1].json["content"][0]["text"] == "Never mind."
    assert model.state()["expectation_failures"] == []
    for outputs in (["made up"], [echo, "0" * 64]):
        answer = play(model, outputs)[-1]
        assert (answer.status, "expectation_failed" in answer.json["error"]["message"]) == (400, True)
        assert "expectation_failed" in model.log()[-1]
    assert [failure["step"] for failure in model.state()["expectation_failures"]] == [1, 2]


def test_the_same_conversation_gets_the_same_answers_whoever_asks_meanwhile(model: Client) -> None:
    model("POST", "/__seed", {"scripts": [SCRIPT]})

    def one(number: int) -> list[bytes]:
        return [answer.body for answer in play(model, [echo, sha], metadata={"user_id": f"s{number % 4}"})]

    with ThreadPoolExecutor(8) as pool:
        played = list(pool.map(one, range(24)))
    assert all(len(answers) == 3 for answers in played)
    assert len({b"".join(answers) for answers in played}) == 4


def test_a_script_is_chosen_by_name_or_by_what_was_asked(model: Client) -> None:
    scripts = [
        {
            "name": "plain",
            "repository": "acme/pricing",
            "when": "nothing to do",
            "steps": [{"text": "Nothing."}],
        },
        {"name": "other", "repository": "acme/other", "steps": [{"text": "Other."}]},
    ]
    model("POST", "/__seed", {"scripts": scripts})

    def first(opening: str) -> str:
        return str(play(model, [], opening)[0].json["content"][0]["text"])

    assert first("Repository: acme/pricing\n\nthere is nothing to do") == "Nothing."
    assert first("Repository: acme/pricing\n\nfix the failing test").startswith("I start")
    assert first("Repository: acme/pricing\n\nScript: other") == "Other."
    assert first("Repository: acme/none") == "Nothing is scripted for this conversation."


def test_the_last_step_is_repeated_where_the_script_says_so(model: Client) -> None:
    answers = play(model, ["1", "2", "3"], "Repository: acme/pricing\nScript: endless")
    assert [answer.json["stop_reason"] for answer in answers] == ["tool_use"] * 4
    calls = [block["id"] for answer in answers for block in answer.json["content"] if "id" in block]
    assert len(set(calls)) == 4


def test_a_tool_that_was_not_offered_is_not_called(model: Client) -> None:
    answer = ask(model, [{"role": "user", "content": "Repository: acme/pricing"}], tools=[READ])
    assert (answer.status, "tools not offered: Bash" in answer.json["error"]["message"]) == (400, True)


@pytest.mark.parametrize("status", [429, 500, 529])
def test_ordered_errors_have_their_real_shape(model: Client, status: int) -> None:
    kinds = {429: "rate_limit_error", 500: "api_error", 529: "overloaded_error"}
    model.fault("status", status=status, headers={"retry-after": "1"})
    answer = ask(model)
    assert (answer.status, answer.json["error"]["type"]) == (status, kinds[status])
    assert answer.headers["retry-after"] == "1"


def test_a_stream_can_be_cut(model: Client) -> None:
    model.fault("cut", chunks=3)
    with pytest.raises(http.client.IncompleteRead) as cut:
        ask(model, stream=True)
    assert b"message_start" in cut.value.partial
    assert b"message_stop" not in cut.value.partial


def test_counting_tokens(model: Client) -> None:
    sent = {"model": "claude-sonnet-4-5", "messages": [USER]}
    assert model("POST", "/v1/messages/count_tokens", sent).json["input_tokens"] > 0


@pytest.mark.parametrize(
    "step",
    [{}, {"text": "x", "strange": 1}, {"text": "x", "expect": [{"strange": "x"}]},
     {"text": "x", "expect": [{"text_regex": "("}]}, {"text": "x", "capture": [{"name": "a", "regex": "a"}]}],
)  # fmt: skip
def test_a_script_that_could_not_be_played_is_refused(model: Client, step: Any) -> None:
    script = {"name": "bad", "repository": "a/b", "steps": [step]}
    with pytest.raises(BadScript):
        Script.parse(script, "bad")
    assert model("POST", "/__seed", {"scripts": [script]}).status == 400


@pytest.mark.parametrize(("name", "file"), [("pricing", "pricing/money.py"), ("wordcount", "count.c")])
def test_the_sums_in_the_scripts_are_those_of_the_fixed_files(name: str, file: str) -> None:
    script = json.loads((ROOT / "scripts" / f"{name}.json").read_text())
    text = (SAMPLES / name / file).read_text()
    for step in script["steps"]:
        for tool in [tool for one in step.get("any", [step]) for tool in one.get("tools", [])]:
            if tool["name"] == "Edit":
                assert text.count(tool["input"]["old_string"]) == 1
                text = text.replace(tool["input"]["old_string"], tool["input"]["new_string"])
    assert hashlib.sha256(text.encode()).hexdigest() in json.dumps(script)


def test_the_list_of_models_needs_the_key_and_nothing_else(model: Client) -> None:
    assert model("GET", "/v1/models?limit=1").json["data"] == []
    assert model("GET", "/v1/models", headers={**model.headers, "x-api-key": "wrong"}).status == 401
    assert model("POST", "/v1/models", {}).status == 405
