"""What the endpoint accepts and answers. Which columns a row must have is the model's own matter: see :mod:`serving.rows`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from learning.answers import MAX_ROWS
from learning.store import Alias
from mliot.fields import NAME

Reading = Annotated[float, Field(strict=True, allow_inf_nan=False)] | None
Row = dict[str, Reading]
_VERSION = "20261124-213000-0c8aa56a"
_FIELD = "rows[0].humidity_avg"


class PredictRequest(BaseModel):
    """Feature rows of one use case, to be scored in order."""

    model_config = ConfigDict(extra="forbid", title="PredictRequest")

    use_case: str = Field(description="Name of the use case.")
    rows: Annotated[list[Row], Field(min_length=1, max_length=MAX_ROWS)] = Field(
        description=f"1 to {MAX_ROWS:,} rows. Each holds every column of the use case and no other; null is a missing reading."
    )
    alias: Alias = Field("champion", description="Which model answers: the champion, or the challenger that runs in its shadow.")


class PredictEntityRequest(BaseModel):
    """A place (or a device, where the use case looks at single devices), whose newest features are to be scored."""

    model_config = ConfigDict(extra="forbid", title="PredictEntityRequest")

    use_case: str = Field(description="Name of the use case.")
    place_id: Annotated[str, Field(pattern=f"^{NAME}$")] = Field(description="Whose newest features are scored.")
    alias: Alias = Field("champion", description="Which model answers: the champion, or the challenger that runs in its shadow.")


class Prediction(BaseModel):
    """One answer."""

    value: int | float | None = Field(
        description="The predicted class or number, in the use case's unit; null where the model has no finite answer to this row.",
        examples=[2],
    )
    probability: float | None = Field(description="Classes only: the model's probability of this class, 0 to 1.", examples=[0.93])
    low: float | None = Field(
        description="Numbers only: lower end of the prediction interval, in the use case's unit; /models tells its coverage.",
        examples=[None],
    )
    high: float | None = Field(
        description="Numbers only: upper end of the prediction interval, in the use case's unit; /models tells its coverage.",
        examples=[None],
    )


class PredictResponse(BaseModel):
    """The answers in the order of the rows, and the model that gave them."""

    use_case: str = Field(examples=["fan_speed"])
    model_version: str = Field(description="Version of the model that answered every row of this response.", examples=[_VERSION])
    feature_version: str = Field(description="Version of the feature SQL that this model learnt from.", examples=["4f1c09ab22d1"])
    predictions: list[Prediction]


class PredictEntityResponse(PredictResponse):
    """The answer, the model that gave it and the feature row that it is about."""

    feature_id: str = Field(description="Id of the feature row: the window that it describes.")
    at_ms: int = Field(description="End of that window, milliseconds since 1970-01-01 UTC.")
    age_s: float = Field(description="How long ago that was, in seconds.")


class Problem(BaseModel):
    """Why a request was not answered."""

    error: str = Field(description="What is wrong and what is allowed.", examples=[f"{_FIELD}: must be a number or null"])
    field: str | None = Field(None, description="The part of the request at fault.", examples=[_FIELD])


class NewestCandidate(BaseModel):
    """The newest model that was trained for a use case, where it is not the one in charge, and what the gate said of it."""

    model_version: str
    trained_ms: int | None = Field(description="When, milliseconds since 1970-01-01 UTC; null where its card cannot be read.")
    outcome: Literal["passed", "refused", "broken"] = Field(
        description="refused: sound, but not better than what is there; broken: something is wrong with it or with its data."
    )
    why: str = Field(description="The gate's first reason, or why it is not promoted.")
    advice: str = Field(description="What to do about it.")


class ModelState(BaseModel):
    """One alias of a use case: the model that answers, or why none does."""

    use_case: str
    alias: Alias
    model_version: str | None = Field(description="The model that answers; null where none does.")
    waits_for: str = Field(description="Why no model answers; empty where one does.")
    expected: bool = Field(description="True while nothing is wrong: a model answers, or none has passed the gate yet.")
    fault: str = Field(description="Why what the aliases stand for now cannot be loaded; the model that answers is an older one.")
    candidate: NewestCandidate | None = Field(description="The newest candidate, where it is not in charge; at the champion only.")
    feature_version: str | None
    since_ms: int | None = Field(description="When the alias moved to this version, milliseconds since 1970-01-01 UTC.")
    kind: str = Field(description="Kind of its task, such as classification or regression.")
    unit: str = Field(description="Unit of the predicted value.")
    features: str = Field(description="Feature model whose rows it scores.")
    columns: list[str] = Field(description="Columns that a row must have.")
    estimator: str | None
    metrics: dict[str, float]
    interval_coverage: float | None = Field(description="Numbers only: share of truths that the interval was made to hold.")
    interval_measured: float | None = Field(
        description="Numbers only: share that it did hold of the later rows on which the model was judged; bursts and drift move it."
    )


class EndpointHealth(BaseModel):
    """How the endpoint is. ``waiting``: it answers, but the model that an alias stands for cannot be read."""

    state: Literal["ok", "waiting"]
    faults: dict[str, str] = Field(description="What cannot be read, each with the reason.")
    without_champion: dict[str, str] = Field(description="The use cases that no model answers for, each with the reason and what to do.")
