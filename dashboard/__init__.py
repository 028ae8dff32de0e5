"""The operators' live page."""
