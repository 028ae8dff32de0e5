"""The local stack: Kafka, an MQTT broker, PostgreSQL, Dagster, the endpoint and the services on one machine, without Docker or root."""
