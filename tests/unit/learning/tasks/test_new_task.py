"""A kind of task is one file: one that nobody else knows trains, is judged, stored, scored, learnt online and shown."""

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

import learning.tasks
from assets.figures import as_markdown
from assets.monitoring import scores_table
from assets.training import candidates_table
from dashboard.data.rows import Model, Scored, Snapshot, StoreRows
from dashboard.view.models import model_views
from dashboard.view.places import Known
from dashboard.view.wording import THIN
from learning.answers import Answer, answers
from learning.monitoring.livescore import Answered, live_scores
from learning.scoring import Scorer
from learning.store import ModelStore
from learning.tasks import kinds, load_task
from learning.training.rows import read_rows
from learning.training.train import train
from mliot.errors import DeclarationError
from mliot.measurements import load_measurements
from mliot.usecase import UseCase
from streaming.learning.state import State
from tests.builtingrains import GRAINS
from usecases import load_use_cases

QUANTILE = '''
"""The value that nine labels of ten stay below, told by the pinball loss."""

import numpy as np

from learning.tasks.regression import Regression
from learning.tasks.task import Metric

SHARE = 0.9


class Quantile(Regression):
    metric = Metric("pinball", "pinball loss", "pinball", share=False)
    interval = False

    def fault(self, use_case):
        forests = any(estimator.kind == "random_forest" for estimator in use_case.candidates)
        return "candidates: kind 'quantile' knows no random forest" if forests else super().fault(use_case)

    def loss(self, labels, answers):
        apart = labels - answers
        return float(np.mean(np.maximum(SHARE * apart, (SHARE - 1) * apart)))

    def boosting(self, **parameters):
        from sklearn.ensemble import HistGradientBoostingRegressor

        return HistGradientBoostingRegressor(loss="quantile", quantile=SHARE, **parameters)

    def linear(self, penalty):
        from sklearn.linear_model import QuantileRegressor

        return QuantileRegressor(quantile=SHARE, alpha=penalty / 1000, solver="highs")

    def online(self, use_case):
        from river.optim.losses import Quantile as Pinball

        from learning.models.online import OnlineRegression

        return OnlineRegression(use_case, Pinball(SHARE))


TASK = Quantile()
'''
USE_CASE = """
from mliot.usecase import HistGradientBoosting, Label, Linear, RandomForest, UseCase

PEAK = UseCase(name="peak_flow", title="Peak flow", kind="quantile", unit="L/s", features="features_place_1h",
    columns=("water_flow_avg", "hour_sin"), label=Label(measurement="water_flow"), candidates=({candidates}))
"""
NOW_MS = 1_764_000_000_000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where files count as kinds of task too."""
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    monkeypatch.setattr(learning.tasks, "__path__", [*learning.tasks.__path__, str(tasks)])
    before = set(sys.modules)
    yield tasks
    for name in {name for name in sys.modules if name.startswith("learning.tasks.")} - before:
        del sys.modules[name]


@pytest.fixture
def use_case(folder: Path, tmp_path: Path) -> UseCase:
    (folder / "quantile.py").write_text(QUANTILE)
    return declared(tmp_path, "HistGradientBoosting(iterations=40), Linear()")


def declared(folder: Path, candidates: str) -> UseCase:
    found = folder / "usecases"
    found.mkdir(exist_ok=True)
    (found / "peak_flow.py").write_text(USE_CASE.format(candidates=candidates))
    return load_use_cases(found)["peak_flow"]


def test_it_is_found_beside_the_built_in_ones_and_says_what_a_use_case_of_it_needs(use_case: UseCase, tmp_path: Path) -> None:
    assert kinds() == ["classification", "quantile", "regression"]
    assert load_task("quantile").name == "quantile"
    with pytest.raises(DeclarationError, match=r"peak_flow\.py: UseCase: candidates: kind 'quantile' knows no random forest"):
        declared(tmp_path, "RandomForest(),")


def test_it_trains_is_judged_stored_and_scored(use_case: UseCase, make_table, tmp_path: Path) -> None:
    table = make_table(use_case, 900, missing=0)
    candidate = train(use_case, table, feature_version="1", created_ms=NOW_MS)
    card, judged = candidate.card, candidate.judged
    assert card.verdict is not None
    assert card.verdict.passed, card.verdict.reasons
    assert card.metrics.keys() == {"pinball", "baseline_pinball"}
    assert card.metrics["pinball"] == pytest.approx(load_task("quantile").loss(judged.labels, judged.candidate), abs=1e-6)
    assert card.interval is None
    assert 0.75 < np.mean(judged.labels <= judged.candidate) < 0.98  # nine of ten, not half, lie below
    assert card.evidence.parity < 1e-5
    store = ModelStore(tmp_path / "models")
    stored = store.get("peak_flow", store.save(card, candidate.onnx))
    scores = Scorer(stored.onnx_path, kind=stored.card.kind, columns=2).score(read_rows(use_case, table).values[-225:])
    assert scores.values.tolist() == judged.candidate.tolist()
    assert answers(scores, stored.card)[0] == Answer(judged.candidate[0])

    assert "| candidate | holdout |" in candidates_table(use_case, candidate)
    assert "loss (pinball loss, L/s)" in candidates_table(use_case, candidate)
    assert as_markdown(load_task("quantile").figure(use_case, judged), "answers").startswith("![answers](data:image/png;base64,")


def test_it_is_scored_live_and_shown(use_case: UseCase) -> None:
    scores = live_scores(use_case, [Answered("v1", False, value=8.0, baseline=12.0, label=10.0)] * 2)
    assert [(score.loss, score.baseline_loss) for score in scores] == [pytest.approx((1.8, 0.2))]  # below costs nine times what above costs
    assert "| v1 | in charge | 2 | 1.8 | 0.2 |" in scores_table(use_case, scores)
    rows = StoreRows(champion_scored={"peak_flow": (Scored("v1", 8, 12, 10),) * 40})
    champion = Model("peak_flow", "champion", "v1", "f1", NOW_MS, "linear(penalty=1.0)")
    known = Known({use_case.name: use_case}, load_measurements(), GRAINS)
    (view,) = model_views(Snapshot(NOW_MS, rows, models=(champion,)), known)
    (shown,) = view.scores
    assert (shown.measure, shown.verdict, shown.ahead) == ("pinball", "worse than last value", False)
    assert (shown.value, shown.baseline) == (f"1.80{THIN}L/s", f"0.200{THIN}L/s")


def test_it_learns_online_and_goes_on_from_its_checkpoint(use_case: UseCase) -> None:
    random = np.random.default_rng(1)
    state, twin = State(use_case), State(use_case)
    for label in (100 + 10 * random.random(6000)).tolist():
        state.learner.learn({"water_flow_avg": 1.0, "hour_sin": float(random.normal())}, label)
    answer = state.learner.predict({"water_flow_avg": 1.0, "hour_sin": 0.0})
    assert answer is not None
    assert answer[0] == pytest.approx(109, abs=0.7)  # the mean is 105
    twin.learner.restore(msgspec.Raw(msgspec.json.encode(state.learner.state())))
    assert twin.learner.predict({"hour_sin": 0.5}) == state.learner.predict({"hour_sin": 0.5})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("def", "SyntaxError: "),
        ("TASK = nothing", "NameError: name 'nothing' is not defined"),
        ("", "TASK: there must be one, of a class in this file that is a learning.tasks.task.Task"),
        ("TASK = 'quantile'", "TASK: there must be one"),
        ("from learning.tasks.regression import TASK", "TASK: there must be one, of a class in this file"),
        ("from learning.tasks.task import Task\nclass Half(Task): ...\nTASK = Half()", "TypeError: Can't instantiate abstract class Half"),
    ],
)
def test_a_file_that_is_wrong_is_named_in_one_line_when_use_cases_are_loaded(folder: Path, tmp_path: Path, content: str, says: str) -> None:
    path = folder / "quantile.py"
    path.write_text(content)
    with pytest.raises(DeclarationError) as refusal:
        declared(tmp_path, "Linear(),")
    assert f"peak_flow.py: UseCase: {path}: {says}" in str(refusal.value)
    assert "\n" not in str(refusal.value)
