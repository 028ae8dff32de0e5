"""Simulated devices and the replay of recorded readings, over real MQTT."""
