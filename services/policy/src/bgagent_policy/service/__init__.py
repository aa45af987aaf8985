"""The policy service: validate, effective and evaluate over HTTP, without any state."""
