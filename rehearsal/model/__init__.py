"""The Anthropic Messages API, with scripted words instead of a model."""

from rehearsal.model.simulator import Model

__all__ = ["Model"]
