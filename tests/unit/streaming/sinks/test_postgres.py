"""How the store's connection is asked for."""

import pytest
from psycopg.conninfo import conninfo_to_dict

from streaming.sinks.postgres import SILENCE, with_patience


@pytest.mark.parametrize("dsn", ["postgresql://mliot:odd%20word@127.0.0.1:5432/mliot", "host=127.0.0.1 port=5432 dbname=mliot user=mliot"])
def test_a_silent_network_is_given_up_after_half_a_minute(dsn: str) -> None:
    assert conninfo_to_dict(with_patience(dsn)) == {**conninfo_to_dict(dsn), **SILENCE}


def test_an_address_that_says_how_long_is_obeyed() -> None:
    given = with_patience("postgresql://mliot@127.0.0.1/mliot?tcp_user_timeout=5000")
    assert conninfo_to_dict(given)["tcp_user_timeout"] == "5000"
    assert conninfo_to_dict(given)["keepalives_idle"] == SILENCE["keepalives_idle"]
