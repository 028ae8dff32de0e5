"""The process in which makers' codecs run: ``python -m streaming.adapters.codecworker FOLDER``. It may be killed at any time.

It reads requests from its standard input, each a list of calls, and writes one answer a call, in order, as soon as there is one. Both are
msgpack behind its length in four bytes.
"""

import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

MAX_CONTEXTS = 32
CALL_CPU_S = 0.01
MAX_MEMORY = 8 * 1024 * 1024
MAX_STACK = 256 * 1024
MAX_ANSWER = 64 * 1024
"""Characters of JSON."""
HARNESS = Path(__file__).with_name("codec.js")


class Call(msgspec.Struct, array_like=True):
    """One uplink for the codec in the file ``codec``: the input of ``decodeUplink`` as JSON."""

    codec: str
    given: str


class Answer(msgspec.Struct, array_like=True):
    """What the codec answered, as JSON, or why it did not; ``overran``: it was stopped."""

    answer: str = ""
    why: str = ""
    overran: bool = False


class Worker:
    """Runs calls, each codec in a context of its own; the contexts used last are kept."""

    def __init__(self, folder: Path) -> None:
        import quickjs  # it starts a thread, which no other process needs

        self._interpreter = quickjs
        self._folder = folder
        self._harness = HARNESS.read_text("utf-8")
        self._codecs: OrderedDict[str, Any] = OrderedDict()

    def run(self, call: Call) -> Answer:
        try:
            answer = self._codec(call.codec)(call.given)
        except self._interpreter.JSException as error:
            self._codecs.pop(call.codec, None)
            why = " ".join(str(error).split())[:300]
            return Answer(why=why, overran="interrupted" in why or "memory" in why)
        except (OSError, UnicodeDecodeError) as error:
            return Answer(why=f"cannot be read: {error}")
        if len(answer) > MAX_ANSWER:
            return Answer(why=f"answers more than {MAX_ANSWER} characters")
        kind, text, clean = msgspec.json.decode(answer)
        if not clean:
            del self._codecs[call.codec]
        if kind == "ok":
            return Answer(answer=text or "")
        return Answer(why=text, overran="out of memory" in text)

    def _codec(self, name: str) -> Any:
        if name not in self._codecs:
            context = self._interpreter.Context()
            context.set_memory_limit(MAX_MEMORY)
            context.set_max_stack_size(MAX_STACK)
            context.set_time_limit(CALL_CPU_S)
            self._codecs[name] = context.eval(self._harness)((self._folder / name).read_text("utf-8"))
            if len(self._codecs) > MAX_CONTEXTS:
                self._codecs.popitem(last=False)
        self._codecs.move_to_end(name)
        return self._codecs[name]


def framed(message: object) -> bytes:
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(4, "big") + body


def main(folder: Path, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answers until the requests end; the first answer is an empty one: it is ready."""
    worker, calls = Worker(folder), msgspec.msgpack.Decoder(list[Call])
    answers.write(framed(Answer()))
    answers.flush()
    while head := requests.read(4):
        for call in calls.decode(requests.read(int.from_bytes(head, "big"))):
            answers.write(framed(worker.run(call)))
            answers.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)
