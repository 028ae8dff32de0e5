"""paho-mqtt for a stream of small messages: it reads what has come at once, instead of a packet's first byte, its length and its rest,
and acknowledges many messages at once.

paho asks the kernel four times a message (``select``, then three times ``recv``) and three times an acknowledgement (to wake the network
thread, which reads that, and sends four bytes). Each question costs some microseconds, and hands the interpreter to whichever other thread
has work, which keeps it for milliseconds. See ``docs/decisions/reading-in-bursts.md``.
"""

import socket
import ssl
import struct
from collections.abc import Callable, Iterable
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import MessageState, MessageType, MQTTErrorCode

BURST = 100
"""Most packets that are read before the network thread looks after its other duties: some milliseconds' work."""
READ_BYTES = 64 * 1024
PUBACK = struct.Struct("!BBH")
"""MQTT 5, section 3.4: type, remaining length, packet identifier; without a reason code it says success (3.4.2.1)."""


class BufferedSocket:
    """A connected socket that is read ahead of: what paho takes a socket to be, ``pending`` included, as TLS sockets have it."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._buffer = memoryview(b"")

    def recv(self, buffer_size: int) -> bytes:
        """At most so many bytes; raises what the socket raises where there are none."""
        if not self._buffer:
            self._buffer = memoryview(self._socket.recv(READ_BYTES))
        taken, self._buffer = self._buffer[:buffer_size], self._buffer[buffer_size:]
        return bytes(taken)

    def pending(self) -> int:
        """Bytes that can be read although ``select`` does not know of them."""
        below = getattr(self._socket, "pending", None)
        return len(self._buffer) + (below() if below else 0)

    def send(self, buffer: bytes | bytearray) -> int:
        return self._socket.send(buffer)

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def setblocking(self, flag: bool) -> None:
        self._socket.setblocking(flag)


class BurstClient(Client):
    """paho, reading as long as there is something to read. Its callbacks must call :meth:`heard`: it tells that there was a packet."""

    def __init__(self, *positional: Any, **named: Any) -> None:
        super().__init__(*positional, **named)
        self._heard = 0
        self.failure: OSError | None = None
        """Why the last attempt to connect failed, or why the connection ended; None where that is not known."""

    def heard(self) -> None:
        """A packet came."""
        self._heard += 1

    def reconnect(self) -> MQTTErrorCode:
        """As paho's, which forgets why it fails."""
        self.failure = None
        try:
            return super().reconnect()
        except OSError as error:
            self.failure = error
            raise

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """As paho's, which the network thread calls when the socket has something to read, but for a burst."""
        answer = MQTTErrorCode.MQTT_ERR_SUCCESS
        for _ in range(BURST):
            before = self._heard
            answer = super().loop_read(max_packets)
            if answer != MQTTErrorCode.MQTT_ERR_SUCCESS or self._heard == before:
                break
        return answer

    def ack_all(self, mids: Iterable[int]) -> None:
        """As :meth:`ack` for each of ``mids``, of messages of QoS 1, in one write."""
        packets = b"".join(PUBACK.pack(MessageType.PUBACK, 2, mid) for mid in mids)
        if packets:
            self._packet_queue(MessageType.PUBACK, packets, 0, 1)  # paho never looks for the number of an acknowledgement

    def drop_where(self, is_over: Callable[[MQTTMessage], bool]) -> list[int]:
        """As :meth:`drop_out_messages` for those unacknowledged messages of QoS 1 of which ``is_over`` says so; their numbers."""
        with self._out_message_mutex:
            over = [message for message in self._out_messages.values() if is_over(message)]
            for message in over:
                del self._out_messages[message.mid]
                self._inflight_messages -= message.state == MessageState.MQTT_MS_WAIT_FOR_PUBACK
        return [message.mid for message in over]

    def _sock_recv(self, bufsize: int) -> bytes:
        """paho's own, which forgets why TLS ends a connection: a server says only then that it wants a client's certificate (RFC 8446,
        section 4.4.2.4)."""
        try:
            return super()._sock_recv(bufsize)
        except ssl.SSLError as error:
            self.failure = error
            raise

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        """paho's own, which leaves the socket open where TLS cannot be agreed on."""
        assert self._ssl_context is not None
        wrapped = self._ssl_context.wrap_socket(tcp_sock, server_hostname=self._host, do_handshake_on_connect=False)
        try:
            wrapped.settimeout(self._connect_timeout)
            wrapped.do_handshake()
        except OSError:
            wrapped.close()
            raise
        return wrapped

    def _create_socket(self) -> Any:
        """paho's own, without the promise of a public method: should it ever be called something else, only the speed is lost."""
        return BufferedSocket(super()._create_socket())  # type: ignore[arg-type]  # a socket, as no transport but TCP is used
