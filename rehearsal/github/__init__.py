"""GitHub: a subset of the REST API, and git over smart HTTP."""

from rehearsal.github.simulator import GitHub

__all__ = ["GitHub"]
