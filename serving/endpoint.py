"""What the endpoint does with a request, without HTTP: find the model, score, answer. What cannot be answered is :class:`Refused`."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus

from mliot.clock import Clock
from mliot.errors import Transient
from mliot.modelstore import Alias, ModelStore
from mliot.usecase import UseCase
from serving.candidates import why_no_champion
from serving.counters import Counters
from serving.entity import FeatureReader
from serving.live import LiveModel, LiveModels
from serving.problems import Refused
from serving.rows import matrix, predictions
from serving.schema import ModelInCharge, PredictEntityResponse, Prediction, PredictResponse, Row

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
        self._store = store
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

    def models(self) -> list[ModelInCharge]:
        """Every model that answers now, by use case and alias."""
        return [
            ModelInCharge(
                use_case=model.card.use_case,
                alias=model.alias,
                model_version=model.version,
                feature_version=model.card.feature_version,
                since_ms=model.since_ms,
                kind=model.card.kind,
                unit=model.card.unit,
                features=model.card.features,
                columns=list(model.card.columns),
                estimator=model.card.estimator,
                metrics=model.card.metrics,
                interval_coverage=model.card.interval.coverage if model.card.interval else None,
                interval_measured=model.card.interval.measured if model.card.interval else None,
            )
            for model in self._live.all()
        ]

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
        failure = self._live.failure(use_case)
        if failure:
            return f"its newest version cannot be loaded: {failure}"
        if alias != "champion":
            return "no model was put beside the champion"
        declared = self._use_cases.get(use_case)
        return why_no_champion(self._store, declared) if declared else "it is not declared any more"

    async def _score(self, model: LiveModel, rows: Sequence[Row]) -> list[Prediction]:
        answers = _scored(model, rows) if len(rows) <= INLINE_ROWS else await asyncio.to_thread(_scored, model, rows)
        self._counters.scored(model.card.use_case, model, len(rows))
        return answers


def _scored(model: LiveModel, rows: Sequence[Row]) -> list[Prediction]:
    return predictions(model.scorer.score(matrix(rows, model.card)), model.card)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
