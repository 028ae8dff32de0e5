"""The services between MQTT and PostgreSQL, one module each, in the order data flows."""
