"""Models: trained, judged, kept, watched. Knows neither Dagster nor Kafka."""
