"""`python -m bgagent_agent.selftest`: does the pinned SDK with its CLI start here, and does it obey the gate?

What the platform relies on is behaviour of a program that changes between versions. The image is built only
where this passes, and it runs wherever the harness is installed: it needs no network and no credential.
"""
