"""What waits in the broker is added up over all subscriptions, or not known."""

import httpx
import pytest

from mliot.errors import Transient
from streaming.adapters.queuedepth import ask, queue_bean, waiting


def test_a_subscription_is_a_queue_named_by_its_client() -> None:
    assert queue_bean("mliot-bridge-0", "iot/+/frames") == (
        'org.apache.activemq.artemis:broker="mliot",component=addresses,address="iot/+/frames",subcomponent=queues,'
        'routing-type="multicast",queue="mliot-bridge-0.iot/+/frames"'
    )


def test_a_shared_one_is_named_by_its_share() -> None:
    bean = queue_bean("mliot-bridge-0", "$share/bridges/iot/+/frames")
    assert 'address="iot/+/frames"' in bean
    assert bean.endswith('queue="bridges.iot/+/frames"')


def test_characters_that_mean_something_in_a_name_are_quoted() -> None:
    assert queue_bean("c", '$share/a*?"\\/t').endswith('queue="a\\*\\?\\"\\\\.t"')


def test_all_subscriptions_are_added_up() -> None:
    assert waiting([{"status": 200, "value": 5}, {"status": 200, "value": 0}, {"status": 200, "value": 7}]) == 12


def test_a_subscription_of_which_nothing_is_told_leaves_all_unknown() -> None:
    with pytest.raises(Transient, match="InstanceNotFound"):
        waiting([{"status": 200, "value": 5}, {"status": 404, "error": "InstanceNotFoundException"}])


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500),
        httpx.Response(200, text="<html>not Jolokia</html>"),
        httpx.Response(200, json={"status": 403}),
        httpx.Response(200, json=[{"value": 3}]),
        httpx.Response(200, json=[{"status": 200, "value": None}]),
    ],
    ids=["an error", "no JSON", "no list", "no status", "no number"],
)
def test_whatever_else_answers_tells_nothing(answer: httpx.Response) -> None:
    with httpx.Client(transport=httpx.MockTransport(lambda _: answer), base_url="http://broker") as client, pytest.raises(Transient):
        ask(client, ["bean"])
