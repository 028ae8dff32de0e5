import os
import socket

import pytest

from mliot.errors import PortTaken, SettingError
from mliot.settings import Settings
from stack.plan import plan
from stack.ports import Listener, require_distinct, require_free


def listeners(**changes: object) -> list[tuple[str, Listener]]:
    parts = plan(Settings(_env_file=None, **changes))
    return [(part.name, listener) for part in parts if not part.external for listener in part.listeners]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"mqtt_port": 19092},
            "port 19092 is given to artemis by MLIOT_MQTT_PORT and to kafka by MLIOT_KAFKA_PORT; each needs one of its own",
        ),
        (
            {"kafka_controller_port": 19092},
            "port 19092 is given to kafka by MLIOT_KAFKA_PORT and to kafka by MLIOT_KAFKA_CONTROLLER_PORT; each needs one of its own",
        ),
        (
            {"dashboard_port": 19402},
            "port 19402 is given to dashboard by MLIOT_DASHBOARD_PORT and to inference by MLIOT_METRICS_PORT (it is 2 above it);"
            " each needs one of its own",
        ),
    ],
)
def test_port_that_is_given_twice_is_named_with_both_variables(changes: dict[str, object], told: str) -> None:
    with pytest.raises(SettingError) as refusal:
        require_distinct(listeners(**changes))
    assert str(refusal.value) == told


def test_ports_are_distinct_by_default_and_one_of_a_server_of_ones_own_does_not_count() -> None:
    require_distinct(listeners())
    require_distinct(listeners(dashboard_port=19092, kafka_bootstrap="kafka.example:9092"))


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
