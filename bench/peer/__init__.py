"""The peer of the benchmark; its packages are its own, see requirements.in beside this."""
