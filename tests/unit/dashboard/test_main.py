"""Starting: a taken port is one line that names the setting."""

import socket

import pytest

from dashboard.__main__ import require_free
from mliot.errors import PortTaken
from mliot.settings import HOST


def test_a_taken_port_names_the_setting_that_moves_it() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"port {port} .*MLIOT_DASHBOARD_PORT"):
            require_free(port)
    require_free(port)
