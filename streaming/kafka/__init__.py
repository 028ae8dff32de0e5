"""The log port on a real Kafka: reading as a member of a group, writing in transactions."""
