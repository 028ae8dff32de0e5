"""The Dagster code location: composition, resources, automation."""
