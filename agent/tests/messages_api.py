"""The scripted model of the self-test, under the name that tests know it by."""

from bgagent_agent.selftest.messages_api import assistant_turns, stream_step, tool_results

__all__ = ["assistant_turns", "stream_step", "tool_results"]
