"""The harness: runs one attempt of one coding task and reports to the platform that started it."""
