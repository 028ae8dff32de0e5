"""Reading ahead loses no byte and hides none: paho is told of what waits, and hears of an end of the connection."""

import socket
from collections.abc import Iterator

import pytest
from paho.mqtt.client import Client

from mliot.burstclient import BufferedSocket, BurstClient


@pytest.fixture
def ends() -> Iterator[tuple[BufferedSocket, socket.socket]]:
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        yield BufferedSocket(near), far


def test_bytes_come_in_order_however_few_are_asked_for_and_what_is_left_is_told(ends: tuple[BufferedSocket, socket.socket]) -> None:
    buffered, far = ends
    far.sendall(b"abcdef")
    assert (buffered.recv(1), buffered.pending()) == (b"a", 5)
    far.sendall(b"gh")
    assert (buffered.recv(10), buffered.pending()) == (b"bcdef", 0)
    assert buffered.recv(10) == b"gh"


def test_nothing_there_and_the_end_are_said_as_the_socket_says_them(ends: tuple[BufferedSocket, socket.socket]) -> None:
    buffered, far = ends
    with pytest.raises(BlockingIOError):
        buffered.recv(1)
    far.sendall(b"x")
    far.close()
    assert (buffered.recv(1), buffered.recv(1)) == (b"x", b"")


def test_paho_still_makes_its_socket_where_this_wraps_it() -> None:
    assert "_create_socket" in vars(Client)
    assert "_create_socket" in vars(BurstClient)
