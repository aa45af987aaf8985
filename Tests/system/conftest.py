"""One stack for all system tests. Tasks whose tests only look at how they end run side by side."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from Tests.system.jobs import End, Job
from Tests.system.world import PEOPLE, Stack

# The crowd first, then what disturbs the stack for everybody.
ORDER = (
    "test_outcomes",
    "test_faults",
    "test_refusals",
    "test_accounts",
    "test_crowd",
    "test_operations",
    "test_steering",
    "test_policies",
    "test_asking",
    "test_nudged",
    "test_open_gates",
    "test_traces",
    "test_parking",
    "test_kills",
    "test_restarts",
)


@dataclass
class Fault:
    """A simulator's misbehaviour towards one repository; `{repo}` in a pattern is its name."""

    simulator: str
    action: str
    match: dict[str, str]
    order: dict[str, Any] = field(default_factory=dict)

    def place(self, stack: Stack, repo: str) -> int:
        """Gives the order; returns its number."""
        match = {name: text.replace("{repo}", repo) for name, text in self.match.items()}
        return stack.fault(self.simulator, self.action, match, **self.order)


@dataclass
class Order:
    """A task to start: what it is about, and what is arranged before and right after it is submitted."""

    words: tuple[str, ...]
    repo: str = ""
    sample: str = "acme/pricing"
    options: tuple[str, ...] = ()
    seed: dict[str, Any] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    after: Callable[[Stack, Job], None] | None = None


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "task(order): a task that the test looks at after its end")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        name = item.path.stem
        return ORDER.index(name) if name in ORDER else len(ORDER)

    items.sort(key=place)


def order_of(item: pytest.Item) -> Order | None:
    """What a test ordered; its repository is named after it unless it names one."""
    mark = item.get_closest_marker("task")
    if mark is None:
        return None
    order: Order = mark.args[0]
    order.repo = order.repo or "acme/" + item.name.removeprefix("test_").replace("_", "-")[:90]
    return order


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Remembers failures, so that the stack keeps its logs."""
    report = yield
    if report.failed:
        stack = getattr(item, "funcargs", {}).get("stack")
        if isinstance(stack, Stack):
            stack.failed = True
    return report


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The stack, torn down whatever happens."""
    made = Stack("system")
    try:
        made.up()
        yield made
    except BaseException:
        made.failed = True
        raise
    finally:
        made.close()


@pytest.fixture(scope="session")
def crowd(stack: Stack, request: pytest.FixtureRequest) -> Iterator[dict[str, Job]]:
    """All ordered tasks, submitted at once by people in turn."""
    jobs: dict[str, Job] = {}
    orders = [(item.name, order) for item in request.session.items if (order := order_of(item))]
    try:
        for person in PEOPLE:
            stack.token(person)
        for _, order in orders:
            if order.repo not in stack.onboarded:
                stack.onboard(order.repo, *order.options, sample=order.sample, **order.seed)
        for number, (name, order) in enumerate(orders):
            faults = [(one.simulator, one.place(stack, order.repo)) for one in order.faults]
            jobs[name] = Job(stack, order.repo, *order.words, user=PEOPLE[number % len(PEOPLE)])
            jobs[name].faults = faults
            if order.after is not None:
                order.after(stack, jobs[name])
        yield jobs
    finally:
        for job in jobs.values():
            job.close()


@pytest.fixture
def job(crowd: dict[str, Job], request: pytest.FixtureRequest) -> Job:
    """The task that this test ordered."""
    return crowd[request.node.name]


@pytest.fixture
def end(job: Job) -> End:
    """How the task that this test ordered ended."""
    return job.end()
