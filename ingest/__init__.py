"""Nonito Events: an ingestion server whose 2xx means durable, exactly once."""

__version__ = "0.1.0"
