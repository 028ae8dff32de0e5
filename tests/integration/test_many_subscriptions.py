"""The command topics of five thousand devices, each a queue of the MQTT broker's."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mliot.clock import Deadline, SystemClock
from mliot.errors import Transient
from mliot.settings import Settings
from stack.standalone import StandaloneServer
from streaming.adapters.mqtt import MqttBroker
from streaming.runtime.effects import Outgoing, Publish, Receive

pytestmark = pytest.mark.stack
DEVICES = 5_000


@pytest.fixture
def broker(open_folder: Path, free_ports: Callable[[int], list[int]]) -> Iterator[StandaloneServer]:
    """One of this test's own: a broker out of memory would take the other tests with it."""
    mqtt, metrics = free_ports(2)
    with StandaloneServer(Settings(_env_file=None, home=open_folder, mqtt_port=mqtt, mqtt_metrics_port=metrics), "artemis") as server:
        yield server


def test_a_command_reaches_the_last_of_five_thousand_devices(broker: StandaloneServer) -> None:
    """Sent again until it comes: what is published before the broker has made the last subscription reaches nobody."""
    address = broker.settings.mqtt_address
    topics = [f"iot/devices/{number}/commands" for number in range(DEVICES)]
    now_ms = SystemClock().now_ms()
    command = Publish([Outgoing(topics[-1], b"{}", "", now_ms, now_ms + 600_000)])
    deadline = Deadline.after(SystemClock(), 60)
    came: list[str] = []
    with MqttBroker(address, "devices", topics) as devices, MqttBroker(address, "commands", ()) as commands:
        while not came:
            assert not deadline.passed(), f"nothing came; {broker.log} tells"
            with suppress(Transient):
                commands.publish(command)
                came = [message.topic for message in devices.receive(Receive(100, wait_ms=1000))]
    assert set(came) == {topics[-1]}
