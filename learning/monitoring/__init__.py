"""Watching a model in service: what it is fed beside what it was trained on, and what it answered beside what was true."""
