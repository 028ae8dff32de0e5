"""River's linear models behind one face: they learn what can be learnt, and a state in JSON is all of them."""

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.models.online import MIN_LEARNT, Learner
from learning.tasks import load_task
from mliot.usecase import UseCase
from usecases import load_use_cases

USE_CASES = load_use_cases()
FAN, FLOW = USE_CASES["fan_speed"], USE_CASES["water_flow"]
NUMBERS = st.floats(-1e6, 1e6)


def learner_for(use_case: UseCase) -> Learner:
    return load_task(use_case.kind).online(use_case)


def rows(use_case):
    """Rows of which values are missing, each with a label."""
    values = st.dictionaries(st.sampled_from(use_case.columns), NUMBERS)
    label = st.sampled_from([float(c) for c in use_case.classes]) if use_case.classes else NUMBERS
    return st.lists(st.tuples(values, label), max_size=40)


@pytest.mark.parametrize("use_case", [FAN, FLOW], ids=lambda use_case: use_case.name)
@given(data=st.data())
def test_one_that_was_restored_answers_and_learns_on_to_the_last_bit(use_case, data: st.DataObject) -> None:
    before, after = data.draw(rows(use_case)), data.draw(rows(use_case))
    learner, twin = learner_for(use_case), learner_for(use_case)
    for values, label in before:
        learner.learn(values, label)
    twin.restore(msgspec.Raw(msgspec.json.encode(learner.state())))
    for values, label in after:
        assert (twin.version, twin.predict(values)) == (learner.version, learner.predict(values))
        learner.learn(values, label)
        twin.learn(values, label)
    assert msgspec.json.encode(twin.state()) == msgspec.json.encode(learner.state())


@pytest.mark.parametrize("spoilt", [b"{}", b"[]", b'{"learnt":3}', b'"x"'])
def test_what_is_no_state_of_its_kind_is_refused_and_changes_nothing(spoilt: bytes) -> None:
    for use_case, other in ((FAN, FLOW), (FLOW, FAN)):
        learner = learner_for(use_case)
        learner.learn(dict.fromkeys(use_case.columns, 1.0), 1.0)
        before = msgspec.json.encode(learner.state())
        for state in (spoilt, msgspec.json.encode(learner_for(other).state())):
            with pytest.raises(msgspec.DecodeError):
                learner.restore(msgspec.Raw(state))
        assert msgspec.json.encode(learner.state()) == before


@pytest.mark.parametrize("use_case", [FAN, FLOW], ids=lambda use_case: use_case.name)
def test_it_learns_what_can_be_learnt(use_case) -> None:
    random.seed(4)
    learner = learner_for(use_case)
    column = use_case.columns[0]
    errors = []
    for n in range(1500):
        x = random.uniform(0, 8)
        truth = float(int(x > 4)) if use_case.classes else 30 * x + 100
        answer = learner.predict({column: x})
        if n > 1000:
            errors.append(abs(answer[0] - truth))
        learner.learn({column: x}, truth)
    limit = 0.06 if use_case.classes else 8.0
    assert sum(errors) / len(errors) < limit


@pytest.mark.parametrize("use_case", [FAN, FLOW], ids=lambda use_case: use_case.name)
def test_its_state_is_json_and_whole(use_case) -> None:
    random.seed(5)
    learner, twin = learner_for(use_case), learner_for(use_case)
    for _ in range(200):
        values = {column: random.gauss(0, 1) for column in use_case.columns if random.random() > 0.2}
        learner.learn(values, float(random.randint(0, 3)))
    twin.restore(msgspec.Raw(msgspec.json.encode(learner.state())))
    probe = dict.fromkeys(use_case.columns, 0.3)
    for learn in (learner, twin):
        learn.learn(probe, 2.0)
    assert twin.predict(probe) == learner.predict(probe)
    assert twin.version == learner.version != "online-0"


def test_it_learns_the_change_where_the_use_case_says_so() -> None:
    """A level that wanders far from where it began: the change is always 2."""
    learner = learner_for(FLOW)
    for n in range(300):
        learner.learn({"water_flow_avg": 10.0 * n, "hour_sin": 0.5}, 10.0 * n + 2)
    assert learner.predict({"water_flow_avg": 50_000.0})[0] == pytest.approx(50_002, abs=1)
    assert learner.predict({"hour_sin": 0.5}) is None


def test_it_says_nothing_before_it_has_seen_a_few_labels() -> None:
    learner = learner_for(FLOW)
    for _ in range(MIN_LEARNT - 1):
        learner.learn({"water_flow_avg": 1.0}, 1.0)
    assert learner.predict({"water_flow_avg": 1.0}) is None
