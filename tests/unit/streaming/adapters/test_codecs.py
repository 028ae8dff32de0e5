"""Makers' codecs: what they answer, and that none of them, however it behaves, holds up the others or sees what another call left."""

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from mliot.clock import ManualClock
from mliot.errors import DeclarationError, Rejected
from streaming.adapters.codecs import QUARANTINE_S, Codecs
from streaming.intake.decoders import load_decoders
from streaming.intake.uplinks import Undecoded
from streaming.runtime.effects import Received
from streaming.services import bridge

NOW = 1_764_000_000_000
GOOD = """
function decodeUplink(input) {
  var sign = input.bytes[0] & 0x80 ? 0x10000 : 0;
  return { data: { temperature: (((input.bytes[0] << 8) | input.bytes[1]) - sign) / 10, port: input.fPort, at: +input.recvTime } };
}
"""
DECODERS = load_decoders()
HOSTILE = {
    "endless loop": ("function decodeUplink(i) { while (true) {} }", "interrupted"),
    "memory bomb": ("function decodeUplink(i) { var a = []; while (true) a.push(new Array(1000).fill(7)); }", "memory|interrupted"),
    "native call": ("function decodeUplink(i) { return { data: { a: Array(3e7).join().length } }; }", "memory|too long"),
    "long native call": ("function decodeUplink(i) { return { data: { a: Array(4e9).indexOf(7) } }; }", "interrupted|too long"),
    "prototype pollution": (
        "'use strict'; function decodeUplink(i) { Object.prototype.temperature = 9; Array.prototype.map = null; return { data: {} }; }",
        "TypeError",
    ),
    "huge output": ("function decodeUplink(i) { return { data: { a: 'x'.repeat(1e6) } }; }", "answers more than"),
    "recursion": ("function decodeUplink(i) { return decodeUplink(i); }", "stack|call"),
    "throwing getter": ("function decodeUplink(i) { return { get data() { throw new Error('boo'); } }; }", "boo"),
    "throws what cannot be shown": (
        "function decodeUplink(i) { throw { toString() { throw 1; } }; }",
        "cannot be shown",
    ),
    "wrong type": ("function decodeUplink(i) { return 'warm'; }", "answers no object"),
    "wrong data": ("function decodeUplink(i) { return { data: [1, 2] }; }", "answers no data"),
    "cyclic": ("function decodeUplink(i) { var d = {}; d.d = d; return { data: d }; }", "circular"),
    "a million keys": (
        "function decodeUplink(i) { var d = {}; for (var n = 0; n < 1e6; n++) d['k' + n] = n; return { data: d }; }",
        "memory|inter",
    ),
    "promise": ("function decodeUplink(i) { return new Promise(function () {}); }", "answers no data"),
    "eval bomb": (
        "function decodeUplink(i) { var s = '1'; for (;;) { s += '+' + s; Function(s)(); } }",
        "memory|interrupted|stack|too long",
    ),
    "eval": ("function decodeUplink(i) { return { data: { a: eval('1') } }; }", "eval"),
    "regex": ("function decodeUplink(i) { return { data: { a: /^(a+)+$/.test('a'.repeat(40) + 'b') ? 1 : 0 } }; }", "interrupted|too long"),
    "waits": ("function decodeUplink(i) { Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); }", "is not defined"),
    "syntax error": ("function decodeUplink(i) { return {{ }", "SyntaxError"),
    "no function": ("var decode = 1;", "it has no function decodeUplink"),
    "its own error": ("function decodeUplink(i) { return { errors: ['bad port'] }; }", "says: .*bad port"),
}


def uplink(name: str, payload: bytes = b"\x00\xd7", port: int = 2) -> Undecoded:
    return Undecoded((name,), port, payload, {"id": "d", "name": "d", "place_id": ""}, [], "2025-11-24T16:00:00Z", "no object")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Good.js").write_text(GOOD)
    return tmp_path


@pytest.fixture
def codecs(folder: Path) -> Iterator[Codecs]:
    for name, (code, _) in HOSTILE.items():
        (folder / f"{name}.js").write_text(code)
    with Codecs(folder) as codecs:
        codecs([uplink("Good")] * 2)
        yield codecs


def test_a_codec_gets_bytes_port_and_time_and_its_numbers_come_back(codecs: Codecs) -> None:
    assert codecs([uplink("good"), uplink("GOOD", b"\xff\x9c", 7)]) == [
        {"temperature": 21.5, "port": 2, "at": NOW},
        {"temperature": -10, "port": 7, "at": NOW},
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_codec_is_stopped_and_delays_no_other_uplink_by_100_ms(codecs: Codecs, folder: Path, name: str) -> None:
    honest, delays = [uplink("Good")] * 50, []
    for again in range(5):  # the least delay of five: the machine has other things to do
        (folder / f"{name}-{again}.js").write_text(HOSTILE[name][0])
    with Codecs(folder) as fresh:
        fresh(honest)
        for again in range(5):
            started(fresh)
            alone = time.perf_counter()
            fresh(honest)
            began = time.perf_counter()
            answers = fresh([uplink(f"{name}-{again}"), *honest])
            delays.append((time.perf_counter() - began) - (began - alone))
            assert isinstance(answers[0], Rejected)
            assert re.search(HOSTILE[name][1], str(answers[0])), str(answers[0])
            assert answers[1:] == [{"temperature": 21.5, "port": 2, "at": NOW}] * 50
            if delays[-1] < 0.1:
                break
    print(name, *(f"{1000 * delay:.0f} ms" for delay in delays), answers[0])
    assert min(delays) < 0.1, delays


def started(codecs: Codecs) -> None:
    """The one that stands ready is up, as it is a tenth of a second after one was killed."""
    for process in codecs._workers:
        process.ready()


def test_no_number_that_is_none_becomes_a_frame(folder: Path) -> None:
    (folder / "nan.js").write_text("function decodeUplink(i) { return { data: { a: NaN, b: Infinity, c: 'x', d: null, e: true } }; }")
    out = through_bridge(folder, "nan")
    assert out.counts == {"read": 1, "rejected": 1}
    assert "the codec's data holds no number" in msgspec.json.decode(out.emits[0].value)["reason"]


@pytest.mark.parametrize(
    "leaves",
    [
        "seen = (typeof seen === 'undefined' ? 0 : seen) + 1; return { data: { seen: seen } };",
        "globalThis.seen = (globalThis.seen || 0) + 1; return { data: { seen: globalThis.seen } };",
        "Math.seen = (Math.seen || 0) + 1; return { data: { seen: Math.seen || 1 } };",
        "var p = Object.getPrototypeOf([][Symbol.iterator]()); p.seen = (p.seen || 0) + 1; return { data: { seen: p.seen || 1 } };",
        "var p = Object.getPrototypeOf(function* () {}); p.seen = (p.seen || 0) + 1; return { data: { seen: p.seen || 1 } };",
        "var f = decodeUplink; f.seen = (f.seen || 0) + 1; return { data: { seen: f.seen } };",
        "top = top + 1; return { data: { seen: top } };",
        "var o = globalThis.keep || { n: 0 }; o.n++; if (!globalThis.keep) Object.defineProperty(globalThis, 'keep', { value: o });"
        "return { data: { seen: o.n } };",
        "Function('globalThis.seen = (globalThis.seen || 0) + 1')(); return { data: { seen: globalThis.seen } };",
        "try { Object.preventExtensions(globalThis); } catch (e) {} return { data: { seen: 1 } };",
        "try { Array.prototype.push.seen = 5; RegExp.prototype.exec.seen = 5; } catch (e) {} return { data: { seen: [].push.seen || 1 } };",
    ],
)
def test_nothing_is_kept_from_one_call_to_the_next(folder: Path, leaves: str) -> None:
    (folder / "leaves.js").write_text(f"var top = 0; function decodeUplink(i) {{ {leaves} }}")
    with Codecs(folder) as codecs:
        assert codecs([uplink("leaves")] * 4) == [{"seen": 1}] * 4


def test_what_one_codec_does_to_the_language_no_other_sees(folder: Path) -> None:
    (folder / "spoils.js").write_text(
        "JSON.parse = null; Math.round = null; function decodeUplink(i) { return { data: { a: Math.round(1.4) } }; }"
    )
    with Codecs(folder) as codecs:
        spoilt, good = codecs([uplink("spoils"), uplink("good")])
        assert isinstance(good, dict)
        assert spoilt == {"a": 1}, "sloppy code writes to what is frozen in vain"


def test_a_codec_that_overran_is_left_alone_for_a_while(folder: Path) -> None:
    (folder / "loop.js").write_text(HOSTILE["endless loop"][0])
    clock = ManualClock(NOW)
    with Codecs(folder, clock) as codecs:
        first, second = codecs([uplink("loop")]), codecs([uplink("loop")])
        assert "interrupted" in str(first[0])
        assert str(second[0]) == "codec loop.js overran its limits and is not asked for 60 s"
        clock.ms += int(QUARANTINE_S * 1000) + 1
        assert "interrupted" in str(codecs([uplink("loop")])[0])


def test_a_process_that_was_killed_from_outside_is_replaced(folder: Path) -> None:
    with Codecs(folder) as codecs:
        codecs([uplink("good")])
        codecs._workers[0]._process.kill()
        codecs._workers[0]._process.wait()
        answers = codecs([uplink("good")] * 3)
        assert answers == [{"temperature": 21.5, "port": 2, "at": NOW}] * 3
    assert [child for child in psutil.Process(os.getpid()).children() if "codecworker" in " ".join(child.cmdline())] == []


def test_the_mapping_names_the_codec_of_a_device_or_a_profile(folder: Path) -> None:
    (folder / "codecs.yaml").write_text("70B3D5705000F300: Good.js\nOyster 3: Good.js\n")
    with Codecs(folder) as codecs:
        answers = codecs([uplink("70b3d5705000f300"), uplink("oyster 3"), uplink("other")])
    assert [isinstance(answer, dict) for answer in answers] == [True, True, False]
    assert str(answers[2]) == "no object; MLIOT_CODECS has none for other"


def test_a_wrong_folder_or_mapping_is_one_line(folder: Path) -> None:
    with pytest.raises(DeclarationError, match=r"nowhere: is not a folder of codecs \(MLIOT_CODECS\)"):
        Codecs(folder / "nowhere")
    (folder / "codecs.yaml").write_text("a: b.js\n")
    with pytest.raises(DeclarationError, match=r"codecs\.yaml: a: there is no codec 'b\.js' in the folder"):
        Codecs(folder)


def sent(profile: str, number: int = 0) -> Received:
    body = {
        "deviceInfo": {"devEui": "7", "deviceName": f"a{number}", "deviceProfileName": profile},
        "time": "2025-11-24T16:00:00Z",
        "fPort": 2,
        "data": base64.b64encode(b"\x00\xd7").decode(),
    }
    return Received("application/1/device/7/event/up", json.dumps(body).encode(), "", NOW, (1, number))


def through_bridge(folder: Path, profile: str):
    with Codecs(folder) as codecs:
        return decided([sent(profile)], codecs)


def decided(batch, codecs: Codecs | None):
    return bridge.decide(batch, decoders=DECODERS, measurements={}, retention_ms=10**12, now_ms=NOW, codecs=codecs)


def test_an_uplink_that_came_undecoded_becomes_a_frame(folder: Path) -> None:
    out = through_bridge(folder, "Good")
    frame = msgspec.json.decode(out.emits[0].value)
    assert (frame["device"], frame["event_ms"], frame["payload"]["temperature"]) == ("a0", NOW, 21.5)


def test_without_a_folder_of_codecs_it_is_a_dead_letter() -> None:
    out = decided([sent("Good")], None)
    assert msgspec.json.decode(out.emits[0].value)["reason"] == "object is missing: the device profile has no codec"


def test_the_things_stack_names_the_model(folder: Path) -> None:
    body = {
        "end_device_ids": {"device_id": "m7"},
        "uplink_message": {"f_port": 2, "frm_payload": "ANc=", "version_ids": {"brand_id": "acme", "model_id": "good"}},
    }
    with Codecs(folder) as codecs:
        out = decided([Received("v3/farm/devices/m7/up", json.dumps(body).encode(), "", NOW, (1, 1))], codecs)
    assert msgspec.json.decode(out.emits[0].value)["payload"]["temperature"] == 21.5


@pytest.mark.parametrize(("data", "reason"), [("!", "data is not base64"), ("A" * 400, "data holds 300 bytes; at most 255 are allowed")])
def test_what_is_no_radio_payload_is_refused(data: str, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        DECODERS.bodies("application/1/device/7/event/up", json.dumps({"deviceInfo": {"devEui": "7"}, "data": data}).encode())


def test_five_thousand_uplinks_a_second(folder: Path) -> None:
    batch, best = [sent("Good", number) for number in range(5000)], 0.0
    with Codecs(folder) as codecs:
        for _ in range(5):
            began = time.perf_counter()
            assert decided(batch, codecs).counts["used"] == 5000
            best = max(best, 5000 / (time.perf_counter() - began))
    assert best >= 5000
    print(f"{best:.0f} uplinks/s")


def test_its_processes_end_with_the_one_that_started_them(folder: Path) -> None:
    code = f"""
import time
from pathlib import Path
from streaming.adapters.codecs import Codecs
with Codecs(Path({str(folder)!r})) as codecs:
    for worker in codecs._workers:
        worker.ready()
    print(*(worker._process.pid for worker in codecs._workers), flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(workers) == 2
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert alive == []
