"""Parity as a standing fact: the feature rows that the stream served, value by value beside those that dbt built over the same frames."""
