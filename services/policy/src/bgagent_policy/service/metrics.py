"""The service's numbers in Prometheus' text format."""

from __future__ import annotations

import os
import resource
import time
from collections import defaultdict
from pathlib import Path

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_EFFECTS = ("allow", "ask", "deny")


class Metrics:
    """Counts requests and decisions; a handful of series whatever comes in."""

    def __init__(self) -> None:
        self._started = time.time()
        self._decisions = dict.fromkeys(_EFFECTS, 0)
        self._requests: dict[tuple[str, str, int], list[int]] = defaultdict(lambda: [0] * (len(_BUCKETS) + 1))
        self._seconds: dict[tuple[str, str, int], float] = defaultdict(float)
        self.ready = False

    def decided(self, effect: str) -> None:
        """One tool call was judged."""
        self._decisions[effect] += 1

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request was answered."""
        counts = self._requests[method, route, status]
        counts[next((at for at, bound in enumerate(_BUCKETS) if seconds <= bound), len(_BUCKETS))] += 1
        self._seconds[method, route, status] += seconds

    def exposition(self) -> str:
        """All of it as text."""
        lines = [
            *_head(
                "bgagent_policy_decisions_total", "counter", "Tool calls that were judged, by what came of it"
            ),
            *(
                f'bgagent_policy_decisions_total{{effect="{effect}"}} {count}'
                for effect, count in self._decisions.items()
            ),
            *_head("bgagent_ready", "gauge", "1 where a part of the process can work, else 0"),
            f'bgagent_ready{{part="rules"}} {int(self.ready)}',
            *self._histogram(),
            *self._process(),
        ]
        return "\n".join(lines) + "\n"

    def _histogram(self) -> list[str]:
        name = "bgagent_http_request_seconds"
        lines = _head(name, "histogram", "From the end of a request's head to the last byte of its answer")
        for key, counts in sorted(self._requests.items()):
            method, route, status = key
            labels = f'method="{method}",route="{route}",status="{status}"'
            total = 0
            for bound, count in zip((*map(str, _BUCKETS), "+Inf"), counts, strict=True):
                total += count
                lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {total}')
            lines.append(f"{name}_sum{{{labels}}} {self._seconds[key]:.6f}")
            lines.append(f"{name}_count{{{labels}}} {total}")
        return lines

    def _process(self) -> list[str]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        values = (
            ("process_cpu_seconds_total", "counter", "Processor time the process has used",
             f"{usage.ru_utime + usage.ru_stime:.3f}"),
            ("process_max_fds", "gauge", "Descriptors the process may hold open",
             resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
            ("process_open_fds", "gauge", "Descriptors the process holds open",
             len(os.listdir("/proc/self/fd"))),
            ("process_resident_memory_bytes", "gauge", "Memory of the process that lies in RAM",
             pages * resource.getpagesize()),
            ("process_start_time_seconds", "gauge", "When the process started, since 1970",
             f"{self._started:.3f}"),
        )  # fmt: skip
        return [
            line
            for name, kind, what, value in values
            for line in (*_head(name, kind, what), f"{name} {value}")
        ]


def _head(name: str, kind: str, what: str) -> list[str]:
    return [f"# HELP {name} {what}.", f"# TYPE {name} {kind}"]
