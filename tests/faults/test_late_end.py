"""A late EndTxn loses, or doubles, a record on the real Kafka; with the remedy it does neither."""

import pytest

from stack.standalone import StandaloneServer
from tests.faults.late_end import LateEnd

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]
OBEYED, FENCED = 0, 47


def test_a_late_abort_takes_away_a_record_that_was_committed(kafka_server: StandaloneServer) -> None:
    copied = LateEnd(kafka_server.settings, "abort", remedy=False).run()
    assert (copied.lost, copied.twice, copied.answer) == (["a"], [], OBEYED), copied


def test_a_producer_that_never_aborts_sends_no_late_abort(kafka_server: StandaloneServer) -> None:
    copied = LateEnd(kafka_server.settings, "abort", remedy=True).run()
    assert (copied.lost, copied.twice, copied.answer) == ([], [], None), copied


def test_a_late_commit_publishes_half_a_transaction(kafka_server: StandaloneServer) -> None:
    copied = LateEnd(kafka_server.settings, "commit", remedy=False).run()
    assert (copied.lost, copied.twice, copied.answer) == ([], ["b"], OBEYED), copied


def test_a_late_commit_is_fenced(kafka_server: StandaloneServer) -> None:
    copied = LateEnd(kafka_server.settings, "commit", remedy=True).run()
    assert (copied.lost, copied.twice, copied.answer) == ([], [], FENCED), copied
