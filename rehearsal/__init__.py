"""Simulators of the services that bgagent meets on the internet.

GitHub (REST and git over HTTP), Slack, a mail server and the Anthropic Messages API, each refusing what the
real one refuses. They listen on loopback only, keep what they hold on disk, and take orders to misbehave.
"""
