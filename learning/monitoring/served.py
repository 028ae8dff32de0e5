"""The feature rows that the stream served last, as the warehouse has them."""

from typing import TYPE_CHECKING

import duckdb
import msgspec

from mliot.usecase import UseCase

if TYPE_CHECKING:
    import pandas as pd

_VALUES = msgspec.json.Decoder(dict[str, float])
_NEWEST = """
select message ->> '$.values'
from (
    select kafka_partition, kafka_offset, message, message ->> '$.feature_id' as feature_id, (message ->> '$.start_ms')::bigint as start_ms
    from (select kafka_partition, kafka_offset, case when json_valid(value) then value::json end as message from warehouse.raw.feature)
    where message ->> '$.model' = ? and regexp_full_match(message ->> '$.place_id', ?)
    qualify row_number() over (partition by feature_id order by kafka_partition, kafka_offset) = 1
)
order by start_ms desc, feature_id
limit ?
"""


def newest_served(con: duckdb.DuckDBPyConnection, use_case: UseCase, most: int) -> "pd.DataFrame":
    """At most ``most`` rows that ``use_case`` was asked with, newest first, a column a feature; NaN where a value was missing."""
    import pandas as pd  # imported here: it takes a while, and only monitoring needs it

    rows = [_VALUES.decode(values) for (values,) in con.execute(_NEWEST, [use_case.features, use_case.places, most]).fetchall()]
    return pd.DataFrame(rows, columns=list(use_case.columns), dtype="float64")
