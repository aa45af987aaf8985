"""Measures the built product beside a peer that does the same job the usual way."""
