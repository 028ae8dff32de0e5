"""Declared use cases, one file each; see :mod:`mliot.usecase` for what a declaration holds."""
