"""The other ports on real servers: the MQTT broker and the model server."""
