"""Slack: the Web API methods that a bot needs to talk in a channel."""

from rehearsal.slack.simulator import Slack

__all__ = ["Slack"]
