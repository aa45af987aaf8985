"""A mail server that keeps what it accepts."""

from rehearsal.smtp.simulator import Mail

__all__ = ["Mail"]
