import os
import socket

import pytest

from mliot.errors import PortTaken
from mliot.stack.ports import Listener, require_free


def test_taken_port_is_named_with_its_part_its_holder_and_the_variable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"^port {port} of kafka is taken by .* \(process {os.getpid()}\); MLIOT_KAFKA_PORT moves it$"):
            require_free([("kafka", Listener(port, "kafka_port"))])
        with pytest.raises(PortTaken, match=r"MLIOT_METRICS_PORT moves it \(it is 3 above it\)$"):
            require_free([("online", Listener(port, "metrics_port", offset=3))])


def test_free_port_is_free_also_right_after_its_last_use() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()
            client.recv(1)
    require_free([("kafka", Listener(port, "kafka_port"))])
