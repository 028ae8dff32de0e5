"""From rows to what the page says: places, models, services, commands, dead letters, problems."""

from dataclasses import replace

import pytest

from dashboard.data.rows import (
    NO_ANSWER,
    Answer,
    CandidateRow,
    CommandRow,
    Health,
    Model,
    ParityRow,
    Peer,
    Point,
    Reading,
    Refusal,
    Scored,
    Snapshot,
    StoreRows,
)
from dashboard.data.scores import MIN_ROWS
from dashboard.view.models import CandidateView, model_views
from dashboard.view.operations import MAX_REASONS, command_views, problems, refusals_view, service_views
from dashboard.view.overview import NO_COMMANDS, NO_PLACES, NOT_READ, READING, overview
from dashboard.view.places import Known, place_views
from dashboard.view.reports import ReportView, reports_views
from dashboard.view.wording import Stamp
from learning.monitoring.reports import Report
from mliot.frames import TOO_MANY_NEW
from mliot.measurements import load_measurements
from tests.builtingrains import GRAINS
from usecases import load_use_cases

NOW = 1_764_000_030_000
KNOWN = Known(load_use_cases(), load_measurements(), GRAINS)
READING_1 = Reading("iot_sensor_1", "room-1", NOW - 2000, "iot_sensor_1@1#a", {"humidity": 61, "temperature": 24.71, "zz_custom": 1.5})
ANSWER = Answer("p1", "fan_speed", "room-1", "room-1", "v1", NOW - 30_000, NOW - 30_000, NOW - 25_000, 2, 0.93, None, None)
COMMAND = CommandRow(
    "room-1@1#a", "acked", "room-1-fan", "room-1", "fan_speed", "fan_speed", 2, NOW - 5000, NOW + 85_000, NOW, "", NOW - 4788
)
CHAMPION = Model("fan_speed", "champion", "v1", "f1", NOW - 1000, "random_forest(trees=100)")


def test_a_place_shows_values_with_units_known_ones_first() -> None:
    (place,) = place_views(StoreRows(readings=(READING_1,), intervals={"iot_sensor_1": 5000}), KNOWN, NOW)
    (device,) = place.devices
    assert [(v.name, v.text, v.unit) for v in device.values] == [
        ("temperature", "24.7", "°C"),
        ("humidity", "61", "%RH"),
        ("zz custom", "1.50", ""),
    ]
    assert (device.stamp.at_ms, device.stamp.old_after_ms) == (NOW - 2000, 15_000)
    assert device.trace == "/trace/iot_sensor_1%401%23a"


def test_a_place_says_what_there_was_no_room_for() -> None:
    crowded = replace(READING_1, measured=4, devices=100_000)
    (place,) = place_views(StoreRows(readings=(crowded,)), KNOWN, NOW)
    assert (place.devices[0].more, place.more) == ("and 1 more value", "and 99,999 more devices")


def test_a_flood_of_new_names_is_one_problem() -> None:
    reasons = [f"{TOO_MANY_NEW}{kind} names came through iot/+/frames in this hour" for kind in ("device", "place")]
    refusals = (
        Refusal("bridge", reasons[0], 90_000, NOW, "a"),
        Refusal("bridge", reasons[1], 10, NOW, "b"),
        Refusal("bridge", "x", 7, NOW, "c"),
    )
    assert [problem.text for problem in problems(Snapshot(NOW, StoreRows(refusals=refusals)))] == [
        "90,010 frames were refused, most of them since too many new device names came through iot/+/frames in this hour"
    ]


def test_a_full_disk_is_a_problem() -> None:
    assert [problem.text for problem in problems(Snapshot(NOW, disk="the disk of /x is full"))] == ["The disk of /x is full"]


def test_a_place_without_a_prediction_says_what_will_come_and_one_that_no_use_case_serves_says_nothing() -> None:
    (place,) = place_views(StoreRows(readings=(READING_1,)), KNOWN, NOW)
    assert place.answers[0].waits_for.startswith("no prediction yet")
    (other,) = place_views(StoreRows(readings=(replace(READING_1, place_id="barn"),)), KNOWN, NOW)
    assert other.answers == ()


def test_a_prediction_has_unit_certainty_and_an_age_after_which_it_is_old() -> None:
    (place,) = place_views(StoreRows(readings=(READING_1,), newest=(ANSWER,)), KNOWN, NOW)
    (answer,) = place.answers
    assert (answer.title, answer.text, answer.sure, answer.trace) == ("Fan speed", "level 2", "93% sure", "/trace/p1")
    assert answer.stamp is not None
    assert answer.stamp.old_after_ms == 150_000


def test_charts_hold_the_labels_beside_predictions_and_the_reading_that_the_use_case_looks_at() -> None:
    point = Point("place_1m:room-1@1", "room-1", "temperature_avg", NOW - 60_000, 24.5)
    other = Point("place_1m:room-1@1", "room-1", "humidity_avg", NOW - 60_000, 60)
    rows = StoreRows(readings=(READING_1,), history=(replace(ANSWER, label=1.0),), points=(point, other))
    (place,) = place_views(rows, KNOWN, NOW)
    reading, predicted = place.charts
    assert (reading.title, len(reading.marks)) == ("temperature", 1)
    assert (predicted.title, predicted.has_labels, predicted.marks[0].text) == ("Fan speed", True, "predicted level 2, label level 1")
    assert (predicted.bottom, predicted.top) == ("level 0", "level 3")


def test_views_do_not_change_with_time_alone_within_a_window() -> None:
    rows = StoreRows(readings=(READING_1,), newest=(ANSWER,), history=(ANSWER,), commands=(COMMAND,))
    snapshot = Snapshot(NOW, rows, NOW, services=(Health("bridge", "ok"),), models=())
    assert overview(snapshot, KNOWN) == overview(replace(snapshot, now_ms=NOW + 1000, read_ms=NOW + 1000), KNOWN)


def test_the_model_in_charge_has_its_score_beside_the_baseline_and_its_shadows_below() -> None:
    rows = StoreRows(
        champion_scored={"fan_speed": (Scored("v1", 1, 0, 1), Scored("v1", 2, 0, 2), Scored("v0", 3, 3, 0)) * 15},
        shadow_scored={"fan_speed": (Scored("online-12", 0, 1, 1), Scored("online-11", 0, 1, 1)) * 20},
    )
    model = next(m for m in model_views(Snapshot(NOW, rows, models=(CHAMPION,)), KNOWN) if m.use_case == "fan_speed")
    champion, shadow = model.scores
    assert (model.version, model.feature_version) == ("v1", "f1")
    assert (champion.value, champion.baseline, champion.ahead, champion.rows) == ("1.000", "0.000", True, "over the last 30 labelled rows")
    assert (shadow.who, shadow.version, shadow.value, shadow.verdict) == ("in shadow", "online", "0.000", "worse than last value")


def waiting(use_case: str, **more: object) -> Model:
    return Model(
        use_case, "champion", None, waits_for="there is no champion yet: no candidate was trained; Dagster trains the first", **more
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("models", "says"),
    [
        (None, "the endpoint has not answered"),
        ((), "the endpoint does not know this use case: start it again"),
        (
            (waiting("fan_speed"), waiting("water_flow")),
            "no candidate was trained; Dagster trains the first; its gate judges it by newer rows",
        ),
    ],
)
def test_without_a_champion_it_says_what_will_come(models: tuple[Model, ...] | None, says: str) -> None:
    assert all(says in view.waits_for for view in model_views(Snapshot(NOW, StoreRows(), models=models), KNOWN))


REFUSED = CandidateRow("v2", NOW - 5000, "refused", "over_baseline: 0.0033, at least 0.02: refused", "other columns are the answer")


def test_a_refused_candidate_says_that_when_why_and_what_to_do_with_a_champion_and_without() -> None:
    for model in (waiting("fan_speed", candidate=REFUSED), replace(CHAMPION, candidate=REFUSED)):
        view = next(m for m in model_views(Snapshot(NOW, StoreRows(), models=(model,)), KNOWN) if m.use_case == "fan_speed")
        assert view.candidate == CandidateView("refused by the gate", Stamp(NOW - 5000), REFUSED.why, REFUSED.advice)
        assert "trains" not in view.waits_for, "nothing more comes by itself"


def test_a_use_case_whose_rows_pass_by_says_why_and_others_do_not() -> None:
    health = Health("inference", "waiting", waits_for="fan_speed: its model fails", withheld={"fan_speed": "its model fails"})
    snapshot = Snapshot(NOW, StoreRows(), NOW, models=(CHAMPION, waiting("water_flow")), services=(health,))
    fan_speed, water_flow = model_views(snapshot, KNOWN)
    assert fan_speed.problems == ("its rows pass by without a prediction: its model fails",)
    assert water_flow.problems == ()
    assert [problem.text for problem in problems(snapshot)] == ["inference is waiting: fan_speed: its model fails"]
    spoilt = replace(snapshot, services=(), models=(replace(CHAMPION, fault="no such file"),))
    assert "an older version answers: no such file" in model_views(spoilt, KNOWN)[0].problems[0]


def test_a_champion_without_labels_says_when_they_come() -> None:
    view = next(m for m in model_views(Snapshot(NOW, StoreRows(), models=(CHAMPION,)), KNOWN) if m.version)
    assert view.scores[0].waits_for == "no labelled row yet; a label comes 10 min after its window"


def test_few_labels_make_no_score() -> None:
    rows = StoreRows(
        champion_scored={"fan_speed": (Scored("v1", 1, 0, 1),) * 2 + (Scored("v1", 1, None, 1),) * 40},
        shadow_scored={"fan_speed": (Scored("online-12", 0, 1, 1),) * (MIN_ROWS - 1)},
    )
    view = next(m for m in model_views(Snapshot(NOW, rows, models=(CHAMPION,)), KNOWN) if m.version)
    assert [score.waits_for for score in view.scores] == [
        "too few labelled rows for a score (2 of 30)",
        "too few labelled rows for a score (29 of 30)",
    ]
    assert [(score.value, score.verdict, score.rows) for score in view.scores] == [("", "", "")] * 2


def test_the_newest_drift_report_stands_beside_the_model_in_charge() -> None:
    report = Report("fan_speed", "drift-20251124-160000.html", 1_764_000_000_000)
    snapshot = Snapshot(NOW, StoreRows(), models=(CHAMPION,), reports={"fan_speed": report})
    fan_speed, water_flow = model_views(snapshot, KNOWN)
    assert fan_speed.report == ReportView("2025-11-24 16:00:00 UTC", Stamp(1_764_000_000_000), report.url_path)
    assert water_flow.report is None
    (listed,) = reports_views({"gone": [report]}, KNOWN.use_cases)
    assert (listed.title, listed.reports) == ("gone", (fan_speed.report,))


@pytest.mark.parametrize(
    ("row", "text", "equal"),
    [
        (None, "batch and stream: not compared yet; Dagster's job parity does it every night", True),
        (ParityRow(NOW, 12_345, 0, 0, 0), "batch = stream: 12,345 values compared, 0 differ", True),
        (ParityRow(NOW, 12_345, 0, 0, 2), "batch = stream: 12,345 values compared, 0 differ, 2 rows apart by late frames", True),
        (ParityRow(NOW, 12_345, 3, 1, 0), "batch ≠ stream: 12,345 values compared, 3 differ, 1 rows missing or foreign", False),
    ],
)
def test_parity_is_one_line(row: ParityRow | None, text: str, equal: bool) -> None:
    view = overview(Snapshot(NOW, StoreRows(parity=row), NOW), KNOWN).parity
    assert (view.text, view.equal) == (text, equal)


def test_services_say_their_state_in_words_and_signs() -> None:
    waiting = Health("store", "waiting", 1, 12.25, 1500, "PostgreSQL is away", NOW - 1000)
    ok, away, absent, stuck = service_views(
        (Health("bridge", "ok", 1, 0.4, 0), Health("online", NO_ANSWER), Health("fleet", NO_ANSWER), waiting)
    )
    assert (ok.state, ok.glyph, ok.rate, ok.lag) == ("ok", "✓", "0.400/s", "up to date")
    assert (away.state, away.tone, absent.state, absent.tone) == ("no answer", "bad", "not running", "idle")
    assert (stuck.lag, stuck.error) == ("1,500 behind", "PostgreSQL is away")
    assert stuck.error_at is not None


def test_a_withheld_command_says_why_and_its_device_may_have_no_name() -> None:
    reason = "dwell: the value changed 60 s ago, and stays for 120 s"
    withheld = replace(COMMAND, state="withheld", acked_ms=None, reason=reason, expires_ms=NOW - 1)
    one, nameless = command_views((withheld, replace(withheld, device="")), KNOWN, NOW)
    assert (one.state, one.tone, one.reason, one.took) == ("withheld", "idle", reason, "")
    assert (one.order, nameless.order) == ("fan speed level 2 → room-1-fan", "fan speed level 2 → no device")


def test_a_service_that_stands_still_is_a_problem_and_an_unknown_lag_is_no_zero() -> None:
    stalled = Health("online", "stalled", 1, 0.0, 72_000, stalled="stands still: nothing was read for 45 s, 72,000 records are waiting")
    first, second = service_views((Health("bridge", "ok", 1, 0.4), stalled))
    assert first.lag == "lag unknown"
    assert (second.state, second.tone) == ("stalled", "bad")
    told = problems(Snapshot(NOW, StoreRows(), NOW, services=(stalled,)))
    assert [problem.text for problem in told] == [f"online {stalled.stalled}"]


def test_a_command_shows_how_long_its_ack_took_and_an_overdue_one_says_so() -> None:
    acked, overdue = command_views((COMMAND, replace(COMMAND, state="sent", acked_ms=None, expires_ms=NOW - 1)), KNOWN, NOW)
    assert (acked.order, acked.state, acked.took) == ("fan speed level 2 → room-1-fan", "acked", "answered in 212 ms")
    assert (overdue.took, overdue.reason) == ("", "its time is over and no ack came")


def test_dead_letters_are_counted_and_the_rarest_reasons_only_counted() -> None:
    many = tuple(Refusal("bridge", f"reason {at}", 100 - at, NOW, f"id{at}") for at in range(MAX_REASONS + 2))
    view = refusals_view(many)
    assert view.summary == f"{sum(r.letters for r in many):,} in the last 24 hours, 2 rarer reasons not listed"
    assert len(view.reasons) == MAX_REASONS
    assert refusals_view(()).summary == "none in the last 24 hours"


def test_problems_name_the_store_first_with_the_time_of_the_last_data() -> None:
    snapshot = Snapshot(NOW, StoreRows(), NOW - 5000, "PostgreSQL at h: refused", NOW - 4000, dagster=Peer(False, NOW),
                        services=(Health("bridge", "waiting", last_error="Kafka is away"), Health("fleet", NO_ANSWER)))  # fmt: skip
    texts = [problem.text for problem in problems(snapshot)]
    assert texts == [
        "The store is away (PostgreSQL at h: refused); what is shown was read at 2025-11-24 16:00:25.000 UTC",
        "bridge is waiting: Kafka is away",
        "No answer from Dagster",
    ]


def test_an_empty_page_tells_apart_what_is_not_read_yet_and_what_is_not_there_yet() -> None:
    assert overview(Snapshot(NOW), KNOWN).places_note == READING
    assert overview(Snapshot(NOW, away="away"), KNOWN).places_note == NOT_READ
    empty = overview(Snapshot(NOW, StoreRows(), NOW), KNOWN)
    assert (empty.places_note, empty.commands_note, empty.refusals.summary) == (NO_PLACES, NO_COMMANDS, "none in the last 24 hours")
    assert (
        overview(Snapshot(NOW, StoreRows(readings=(READING_1,), places=90), NOW), KNOWN).places_note
        == "The 1 heard of last, of 90 places; the search finds the others."
    )


def test_a_lost_session_is_a_problem_line_although_the_bridge_works() -> None:
    lost = Health("bridge", "ok", notice="the MQTT broker no longer had the session", notice_ms=NOW - 1000)
    (problem,) = problems(Snapshot(NOW, services=(lost,)))
    assert (problem.text, problem.since) == ("bridge: the MQTT broker no longer had the session", Stamp(NOW - 1000))
