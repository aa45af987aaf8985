"""One task without the platform: `agent/run.sh owner/repo 42`.

`launch` is the front: it checks the settings and starts the sandbox. `__main__` is what runs inside: the
same harness, tools and runner as on the platform, over a `Control` that prints. Settings, GitHub and prompt
need nothing but the standard library, so that a dry run works from a bare checkout.
"""
