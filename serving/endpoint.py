"""What the endpoint does with a request, without HTTP: find the model, score, answer. What cannot be answered is :class:`Refused`."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus

from learning.scoring import first_line
from learning.store import Alias, ModelStore
from mliot.clock import Clock
from mliot.errors import Transient
from mliot.usecase import UseCase
from serving.candidates import Candidates
from serving.counters import Counters
from serving.entity import FeatureReader
from serving.live import ALIASES_FOLDER, LiveModel, LiveModels
from serving.problems import Refused
from serving.rows import matrix, predictions
from serving.schema import EndpointHealth, ModelState, NewestCandidate, PredictEntityResponse, Prediction, PredictResponse, Row

INLINE_ROWS = 200
"""More rows than this are scored in a thread, so that they do not hold up everybody else."""


class Endpoint:
    """Answers requests with the models that are live."""

    def __init__(
        self,
        store: ModelStore,
        live: LiveModels,
        features: FeatureReader,
        use_cases: Mapping[str, UseCase],
        *,
        counters: Counters,
        clock: Clock,
    ) -> None:
        self._candidates = Candidates(store)
        self._live = live
        self._features = features
        self._use_cases = use_cases
        self._counters = counters
        self._clock = clock

    async def predict(self, use_case: str, rows: Sequence[Row], alias: Alias) -> PredictResponse:
        """Scores of ``rows``, all by one model version."""
        model = self._model(use_case, alias)
        return PredictResponse.model_construct(
            use_case=use_case,
            model_version=model.version,
            feature_version=model.card.feature_version,
            predictions=await self._score(model, rows),
        )

    async def predict_entity(self, use_case: str, place_id: str, alias: Alias) -> PredictEntityResponse:
        """The score of the newest features of ``place_id``, with their age."""
        model = self._model(use_case, alias)
        declared = self._use_cases.get(use_case)
        if declared is not None and not declared.serves(place_id):
            raise Refused(422, f"place_id: {use_case} does not serve this place; its places match {declared.places}", "place_id")
        try:
            newest = await self._features.newest(model.card.features, place_id)
        except Transient as error:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error
        if newest is None:
            raise Refused(HTTPStatus.NOT_FOUND, f"place_id: there are no {model.card.features} of {place_id!a} yet", "place_id")
        row = {column: newest.values.get(column) for column in model.card.columns}
        return PredictEntityResponse(
            use_case=use_case,
            model_version=model.version,
            feature_version=model.card.feature_version,
            predictions=await self._score(model, [row]),
            feature_id=newest.feature_id,
            at_ms=newest.end_ms,
            age_s=round((self._clock.now_ms() - newest.end_ms) / 1000, 3),
        )

    def models(self) -> list[ModelState]:
        """Every model that answers now, by use case and alias, and every declared use case that has no champion, with the reason."""
        live = [self._state(model) for model in self._live.all()]
        waiting = [self._waiting(use_case) for use_case in self._use_cases.values() if self._live.get(use_case.name, "champion") is None]
        return sorted([*live, *waiting], key=lambda state: (state.use_case, state.alias))

    def health(self) -> EndpointHealth:
        """How the endpoint is, and what of the model store it cannot read."""
        faults = self._live.faults()
        lacking = [name for name in self._use_cases if self._live.get(name, "champion") is None]
        without = {name: self._why_none(name, "champion") for name in lacking}
        held_up = any(not subject.startswith(f"{ALIASES_FOLDER}/") for subject in faults)  # a stray file is in nobody's way
        return EndpointHealth(state="waiting" if held_up else "ok", faults=faults, without_champion=without)

    def typical(self) -> dict[str, Mapping[str, float | None]]:
        """A row to try each use case's champion with, by use case."""
        return {model.card.use_case: model.card.typical for model in self._live.all() if model.alias == "champion"}

    def _model(self, use_case: str, alias: Alias) -> LiveModel:
        model = self._live.get(use_case, alias)
        if model is not None:
            return model
        known = {*self._use_cases, *(model.card.use_case for model in self._live.all())}
        if use_case not in known:
            raise Refused(HTTPStatus.NOT_FOUND, f"use_case: there is no {use_case[:80]!a}; there are {_listed(known)}", "use_case")
        because = self._why_none(use_case, alias)
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, f"there is no {alias} of {use_case} yet: {because}", "use_case")

    def _why_none(self, use_case: str, alias: Alias) -> str:
        failure = self._live.failure(use_case, alias)
        if failure:
            return f"what its alias stands for cannot be loaded: {failure}"
        if alias != "champion":
            return "no model was put beside the champion"
        return self._candidates.why_no_champion(use_case) if use_case in self._use_cases else "it is not declared any more"

    def _state(self, model: LiveModel) -> ModelState:
        card = model.card
        return ModelState(
            use_case=card.use_case,
            alias=model.alias,
            model_version=model.version,
            waits_for="",
            expected=True,
            fault=self._live.failure(card.use_case, model.alias) or "",
            candidate=self._candidate(model),
            feature_version=card.feature_version,
            since_ms=model.since_ms,
            kind=card.kind,
            unit=card.unit,
            features=card.features,
            columns=list(card.columns),
            estimator=card.estimator,
            metrics=card.metrics,
            interval_coverage=card.interval.coverage if card.interval else None,
            interval_measured=card.interval.measured if card.interval else None,
        )

    def _candidate(self, champion: LiveModel) -> NewestCandidate | None:
        if champion.alias != "champion":
            return None
        newest = self._candidates.newest(champion.card.use_case)
        return newest if newest is not None and newest.model_version > champion.version else None

    def _waiting(self, use_case: UseCase) -> ModelState:
        return ModelState(
            use_case=use_case.name,
            alias="champion",
            model_version=None,
            waits_for=f"there is no champion yet: {self._why_none(use_case.name, 'champion')}",
            expected=self._live.failure(use_case.name, "champion") is None,
            fault="",
            candidate=self._candidates.newest(use_case.name),
            feature_version=None,
            since_ms=None,
            kind=use_case.kind,
            unit=use_case.unit,
            features=use_case.features,
            columns=list(use_case.columns),
            estimator=None,
            metrics={},
            interval_coverage=None,
            interval_measured=None,
        )

    async def _score(self, model: LiveModel, rows: Sequence[Row]) -> list[Prediction]:
        answers = _scored(model, rows) if len(rows) <= INLINE_ROWS else await asyncio.to_thread(_scored, model, rows)
        self._counters.scored(model.card.use_case, model, len(rows))
        return answers


def _scored(model: LiveModel, rows: Sequence[Row]) -> list[Prediction]:
    """Raises :class:`Refused` (422) where the rows are not what the model takes, (500) where the model itself fails."""
    values = matrix(rows, model.card)
    try:
        scores = model.scorer.score(values)
    except Exception as error:  # onnxruntime's errors share no base class below Exception
        why = f"use_case: the model {model.version} of {model.card.use_case} fails: {first_line(error)}"
        raise Refused(HTTPStatus.INTERNAL_SERVER_ERROR, why, "use_case") from error
    return predictions(scores, model.card)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
