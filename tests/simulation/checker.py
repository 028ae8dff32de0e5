"""The judge of a world: everything that is owed is there exactly once, in order, and nothing else. It shares no code with the services."""

import json
import re
from base64 import b64decode
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from math import isclose
from typing import Any

from tests.simulation.evidence import Evidence, Row, gather
from tests.simulation.plan import HOUR, SECOND
from tests.simulation.twin import Owed, lookback, owed
from tests.simulation.world import CHANGES_AN_HOUR, DWELL_S, STALEST_S, TIME_TO_LIVE_S, World

READERS = {
    "stream-frame": ("features",), "stream-feature": ("inference", "online"), "stream-prediction": ("commands",),
    "stream-label": ("online",), "stream-ack": ("commands",),
}  # fmt: skip
STORED = {
    "stream-frame": "frame_id", "stream-window": "window_id", "stream-feature": "feature_id", "stream-prediction": "prediction_id",
    "stream-label": "", "stream-command": "", "stream-ack": "command_id", "stream-deadletter": "dead_id",
}  # fmt: skip
PREDICTED = {"features_place_1m": ("fan_speed", r"room-.*|0{9}"), "features_place_1h": ("water_flow", r"water-.*")}
DELAYS_MS = {"fan_speed": 30_000, "water_flow": 3_600_000}
"""From a row's end to its label, in the worlds of this simulation."""
PATIENCE_MS = 3_600_000
FINAL = ("acked", "failed", "expired")


def check(world: World) -> list[str]:
    """Every finding, in words; none where all is well."""
    if world.stuck:
        return [world.stuck]
    seen = gather(world.kafka)
    twin = owed(seen)
    rules = (
        reads(world, seen), frames(world, seen), windows(world, seen, twin), features(seen, twin), predictions(world, seen),
        labels(seen), kept(seen), commands(world, seen), dead_letters(world, seen), stored(world, seen), ends(world, seen),
        fresh(world, seen),
    )  # fmt: skip
    return [finding for rule in rules for finding in rule]


def reads(world: World, seen: Evidence) -> Iterator[str]:
    for service, record in world.reads:
        if f"{record.topic}-{record.partition}-{record.offset}" not in seen.addresses:
            yield f"{service} read {record.topic}-{record.partition}-{record.offset}, which was never committed"


def frame_id(payload: bytes) -> str:
    body = json.loads(payload)
    return f"{body['name']}@{body['payload']['timestamp']}#{blake2b(payload, digest_size=4).hexdigest()}"


def frames(world: World, seen: Evidence) -> Iterator[str]:
    """Each published frame is in the log, perhaps again under the same id; the first of each device's in the order of publishing."""
    poison = {message.payload for message in world.plan.messages if message.kind == "poison"}
    sent = [frame_id(payload) for topic, payload in world.published if topic.endswith("frames") and payload not in poison]
    found = [(row, body["frame_id"]) for row, body in seen.bodies("stream-frame")]
    yield from differences("frame", set(sent), {name for _, name in found})
    for device in {name.partition("@")[0] for name in sent}:
        wanted = list(dict.fromkeys(name for name in sent if name.partition("@")[0] == device))
        got = list(dict.fromkeys(name for _, name in found if name.partition("@")[0] == device))
        if wanted != got:
            yield f"frames of {device} are out of order: {got}, published {wanted}"


def windows(world: World, seen: Evidence, twin: Owed) -> Iterator[str]:
    """Equal to the twin's, each in the transaction that owes it; closed no earlier than the rule allows, counted as the rule says."""
    yield from twin.wrong
    found = seen.bodies("stream-window")
    yield from once("window", (body["window_id"] for _, body in found))
    yield from differences("window", set(twin.windows), {body["window_id"] for _, body in found})
    for row, body in found:
        if body["window_id"] not in twin.windows:
            continue
        number, wanted = twin.windows[body["window_id"]]
        if row.transaction != number:
            yield f"window {body['window_id']} was emitted by transaction {row.transaction}, owed by {number}"
        yield from unequal(f"window {body['window_id']}", wanted, body)
        yield from closed_early(world, seen, row, body)
    yield from in_order("windows", ((row, (body["grain"], body["key"]), body["start_ms"]) for row, body in found))
    for name in ("used", "duplicate", "late", "late_for_shortest", "rejected"):
        if seen.counts["features"][name] != twin.counts[name]:
            yield f"features counted {seen.counts['features'][name]} {name}, there were {twin.counts[name]}"


def closed_early(world: World, seen: Evidence, row: Row, body: dict[str, Any]) -> Iterator[str]:
    transaction = seen.transactions[row.transaction]
    if body["closed_by"] == "clock":
        latest = max(each.ended_ms for each in seen.transactions[: row.transaction + 1]) + world.plan.turned_back_ms
    else:
        read = {place: position for place, (position, _) in transaction.positions.items()}
        bodies = (b for r, b in seen.bodies("stream-frame") if r.offset < read.get((r.topic, r.partition), 0))
        latest = max((min(body["event_ms"], body["arrived_ms"]) for body in bodies), default=0)
    if body["end_ms"] > latest - world.plan.grace_ms:
        yield f"window {body['window_id']} was closed by the {body['closed_by']} {body['end_ms'] - latest + world.plan.grace_ms} ms early"


def features(seen: Evidence, twin: Owed) -> Iterator[str]:
    """One row for each frame that was not late and for each window, beside it in one transaction, with what follows from its lookback."""
    found = seen.bodies("stream-feature")
    yield from once("feature row", (body["feature_id"] for _, body in found))
    yield from differences("feature row", set(twin.frames) | set(twin.windows), {body["feature_id"] for _, body in found})
    everything = [window for _, window in twin.windows.values()]
    for row, body in found:
        name = body["feature_id"]
        if name in twin.frames:
            number, frame = twin.frames[name]
            wanted = frame.body["payload"] | {}
        elif name in twin.windows:
            number, window = twin.windows[name]
            wanted = window["values"] | (lookback(window, everything) if window["grain"].endswith("1m") else {})
        else:
            continue
        if row.transaction != number:
            yield f"feature row {name} was emitted by transaction {row.transaction}, owed by {number}"
        yield from unequal(f"feature row {name}", wanted, {key: body["values"].get(key) for key in wanted})
    windowed = ((row, body) for row, body in found if body["grain"] != "sensor_frame")
    yield from in_order("feature rows", ((row, (body["grain"], body["key"]), body["start_ms"]) for row, body in windowed))


def asked(seen: Evidence) -> dict[str, tuple[str, dict[str, Any], Row]]:
    """The feature rows that predictions are owed for, each with its use case."""
    found = {}
    for row, body in seen.bodies("stream-feature"):
        use_case, places = PREDICTED.get(body["model"], ("", ""))
        if use_case and re.fullmatch(places, body["place_id"]):
            found[body["feature_id"]] = (use_case, body, row)
    return found


def answer(use_case: str, version: int, values: dict[str, float]) -> float:
    """What the model server of this world answers (NaN as such)."""
    if use_case == "water_flow":
        return values.get("water_flow_avg", 0.0) + version
    temperature = values.get("temperature_avg", 0.0)
    return float("nan") if temperature >= 38 else float((int(temperature) + version) % 4)


def predictions(world: World, seen: Evidence) -> Iterator[str]:
    """One a row by whatever champion there was; rows that passed by, for want of one or because it failed, are counted by use case."""
    found = [(row, body) for row, body in seen.bodies("stream-prediction") if not body.get("shadow")]
    owing = asked(seen)
    yield from once("prediction", (body["feature_id"] for _, body in found))
    unanswerable = {
        name for name, (use_case, body, _) in owing.items() if answer(use_case, 1, body["values"]) != answer(use_case, 1, body["values"])
    }
    predicted = {body["feature_id"] for _, body in found}
    for use_case, _ in PREDICTED.values():
        missing = {name for name, (wanted_by, _, _) in owing.items() if wanted_by == use_case} - predicted - unanswerable
        awaited, withheld = (seen.counts["inference"][f"{why}_{use_case}"] for why in ("no_champion", "withheld"))
        passed = awaited + withheld
        if not passed - len(unanswerable) <= len(missing) <= passed:
            yield f"{len(missing)} rows of {use_case} have no prediction and {passed} passed by: {sorted(missing)}"
        if world.plan.champion and awaited:
            yield f"{awaited} rows of {use_case} passed although there was a champion"
        if withheld and use_case not in world.plan.refused:
            yield f"{withheld} rows of {use_case} were withheld, whose model never failed"
    for _, body in found:
        if body["feature_id"] not in owing:
            yield f"prediction {body['prediction_id']} is foreign"
            continue
        use_case, row, _ = owing[body["feature_id"]]
        version = body["model_version"].removeprefix("v")
        if body["prediction_id"] != f"{body['feature_id']}+{use_case}+v{version}":
            yield f"prediction {body['prediction_id']} bears a wrong id"
        if not isclose(body["value"], answer(use_case, int(version), row["values"])):
            yield f"prediction {body['prediction_id']} is {body['value']}, the row says {answer(use_case, int(version), row['values'])}"
    yield from in_order("predictions", ((row, (body["use_case"], body["key"]), body["at_ms"]) for row, body in found))


def labels(seen: Evidence) -> Iterator[str]:
    """One for each window that holds one; each was learnt once, as the last checkpoint tells."""
    found = [body for _, body in seen.bodies("stream-label")]
    yield from once("label", (f"{body['use_case']}:{body['feature_id']}" for body in found))
    wanted = set()
    for _, body in seen.bodies("stream-window"):
        if body["grain"] == "sensor_1m" and body["key"] == "iot_sensor_0" and "fan_speed_last" in body["values"]:
            wanted.add(f"fan_speed:place_1m:{body['place_id']}@{body['start_ms']}")
        if body["grain"] == "place_1h" and body["place_id"].startswith("water-") and "water_flow_avg" in body["values"]:
            wanted.add(f"water_flow:place_1h:{body['place_id']}@{body['start_ms'] - 3_600_000}")
    yield from differences("label", wanted, {f"{body['use_case']}:{body['feature_id']}" for body in found})
    owing, reached = asked(seen), event_times(seen)
    due = Counter(
        b["use_case"]
        for b in found
        if b["feature_id"] in owing and b["available_ms"] <= reached[b["use_case"], owing[b["feature_id"]][2].partition]
    )
    last = {row.key: body["learner"]["learnt"] for row, body in seen.bodies("stream-checkpoint") if "/" not in row.key}
    for use_case in DELAYS_MS:
        if last.get(use_case, 0) != due[use_case]:
            yield f"{use_case}: {last.get(use_case, 0)} labels were learnt, {due[use_case]} were due"


def event_times(seen: Evidence) -> dict[tuple[str, int], int]:
    """By use case and partition, the newest end of a row that a prediction is owed for."""
    reached: dict[tuple[str, int], int] = defaultdict(int)
    for use_case, body, row in asked(seen).values():
        reached[use_case, row.partition] = max(reached[use_case, row.partition], body["end_ms"])
    return reached


def kept(seen: Evidence) -> Iterator[str]:
    """The checkpoint holds exactly the rows whose label is still to be learnt, and the labels that came without their row."""
    owing, reached = asked(seen), event_times(seen)
    labels = {(body["use_case"], body["feature_id"]): (row, body) for row, body in seen.bodies("stream-label")}
    for use_case, delay_ms in DELAYS_MS.items():
        wanted: dict[str, int] = {}
        for name, (of, body, row) in owing.items():
            available_ms = labels[of, name][1]["available_ms"] if (of, name) in labels else -1
            now = reached[use_case, row.partition]
            if of == use_case and body["end_ms"] >= now - delay_ms - PATIENCE_MS and (available_ms < 0 or available_ms > now):
                wanted[name] = available_ms
        without_row = {
            name for (of, name), (row, body) in labels.items()
            if of == use_case and name not in owing and body["available_ms"] >= reached[use_case, row.partition] - PATIENCE_MS
        }  # fmt: skip
        rows, waiting = held(seen, use_case)
        yield from differences(f"{use_case}: row that waits", set(wanted), set(rows))
        yield from differences(f"{use_case}: label that waits", without_row, waiting)
        yield from (f"{use_case}: row {name} waits for another time" for name, at in rows.items() if name in wanted and at != wanted[name])


def held(seen: Evidence, use_case: str) -> tuple[dict[str, int], set[str]]:
    """What the pieces of a use case's last checkpoint amount to: rows, each with the time that its label waits for, and labels."""
    newest = {row.key: row.body for row in seen.rows["stream-checkpoint"]}
    head, rows, labels = newest.get(use_case), dict[str, int](), set[str]()
    pieces = [body for key, body in newest.items() if body and key.startswith(f"{use_case}/")]
    for piece in sorted(pieces, key=lambda body: body["number"]):
        if head and head["first"] <= piece["number"] <= head["number"]:
            rows |= {row[0]: row[4] for row in piece["rows"]}
            labels = (labels - {row[0] for row in piece["rows"]} | {label[0] for label in piece["labels"]}) - set(piece["gone"])
            rows = {name: at for name, at in rows.items() if name not in piece["gone"]}
    return rows, labels


def commands(world: World, seen: Evidence) -> Iterator[str]:
    """Each prediction that may act is ordered or withheld, once; each state once and in its order; every order in the end sent or
    expired, and ended; none without its prediction."""
    states: dict[str, list[str]] = defaultdict(list)
    deciding: dict[str, str] = {}
    for _, body in seen.bodies("stream-command"):
        states[body["command_id"]].append(body["state"])
        deciding.setdefault(body["command_id"], body["prediction_id"])
    yield from once("command of one prediction", deciding.values())
    acting = {
        body["prediction_id"]: body
        for _, body in seen.bodies("stream-prediction")
        if body["use_case"] == "fan_speed" and not body.get("shadow")
    }
    for name, passed in states.items():
        middle = passed[1:-1]
        ordered = passed[0] == "queued" and passed[-1] in FINAL and middle in ([], ["sent"]) and (middle or passed[-1] == "expired")
        if not ordered and passed != ["withheld"]:
            yield f"command {name} passed through {passed}"
        if deciding[name] not in acting:
            yield f"command {name} was decided by {deciding[name]}, which is no prediction that may act"
    yield from (f"prediction {name} was neither ordered nor withheld" for name in acting.keys() - set(deciding.values()))
    yield from withheld(seen, acting)
    told = {json.loads(message.payload)["command_id"] for message in world.broker.published}
    sent = {name for name, passed in states.items() if "sent" in passed}
    unknown = {name for name, passed in states.items() if passed == ["queued", "expired"]}  # a crash kept from the log that it was sent
    yield from (f"command {name} was never sent to its device" for name in sent - told)
    yield from (f"the device got command {name}, which is not logged as sent" for name in told - sent - unknown)
    yield from outlived(world, seen)


def withheld(seen: Evidence, acting: dict[str, dict[str, Any]]) -> Iterator[str]:
    """An order is withheld for a reason that holds, and given where none does: a device whose level stays hears so each minute."""
    orders: dict[str, list[tuple[int, float, bool]]] = defaultdict(list)
    for _, body in seen.bodies("stream-command"):
        if body["state"] not in ("queued", "withheld") or body["prediction_id"] not in acting:
            continue
        now, before = body["decided_ms"], orders[body["device"]]
        changes = not before or before[-1][1] != body["value"] or now - before[-1][0] >= HOUR
        turned = [at for at, _, turn in before if turn]
        reason = ""
        if now - acting[body["prediction_id"]]["at_ms"] > STALEST_S * SECOND:
            reason = "stale"
        elif changes and before and before[-1][1] != body["value"] and now - turned[-1] < DWELL_S * SECOND:
            reason = "dwell"
        elif changes and sum(at > now - HOUR for at in turned) >= CHANGES_AN_HOUR:
            reason = "rate"
        told = body["reason"].partition(":")[0] if body["state"] == "withheld" else ""
        if told != reason:
            yield f"command {body['command_id']} is {body['state']} for {told!r}, and should be for {reason!r}"
        if body["state"] == "queued":
            before.append((now, body["value"], changes))


def outlived(world: World, seen: Evidence) -> Iterator[str]:
    """No device obeys a command later than its time to live after it was decided, although devices look at no time themselves."""
    decided = {body["command_id"]: body["decided_ms"] for _, body in seen.bodies("stream-command") if body["state"] == "queued"}
    for name, obeyed_ms in world.fans.obeyed:
        late_ms = obeyed_ms - decided[name] - TIME_TO_LIVE_S * SECOND - world.plan.turned_on_ms
        if late_ms > 0:
            yield f"command {name} was obeyed {late_ms} ms after its time to live"


def dead_letter(service: str, source: str, original: bytes) -> str:
    return blake2b(f"{service}\0{source}\0".encode() + original, digest_size=16).hexdigest()


def dead_letters(world: World, seen: Evidence) -> Iterator[str]:
    """Each refused record kept whole: once by services that write in transactions, at least once by the bridge."""
    poison = {(message.topic, message.payload) for message in world.plan.messages if message.kind == "poison"}
    wanted = {dead_letter("bridge", topic, payload) for topic, payload in poison}
    wanted |= {dead_letter(service, topic, value) for topic, value in world.foreign for service in READERS.get(topic, ())}
    foreign = {value for topic, value in world.foreign if topic == "stream-command"}
    recalled = {dead_letter("commands", r.topic, r.value) for who, r in world.reads if who == "commands" and r.value in foreign}
    unanswerable = {
        dead_letter("inference", "stream-feature", row.value)
        for use_case, body, row in asked(seen).values()
        if answer(use_case, 1, body["values"]) != answer(use_case, 1, body["values"])
    }
    found = [body for _, body in seen.bodies("stream-deadletter")]
    several = recalled | {body["dead_id"] for body in found if body["service"] == "bridge"}  # what is recalled is found at each start
    yield from once("dead letter", (body["dead_id"] for body in found if body["dead_id"] not in several))
    yield from differences("dead letter", wanted | recalled, {body["dead_id"] for body in found} - unanswerable)
    for body in found:
        if body["dead_id"] != dead_letter(body["service"], body["source"], b64decode(body["original_base64"])):
            yield f"dead letter {body['dead_id']} does not hold what was refused"


def identity(topic: str, body: dict[str, Any]) -> str:
    if topic == "stream-label":
        return f"{body['use_case']}:{body['feature_id']}"
    if topic == "stream-command":
        return f"{body['command_id']}:{body['state']}"
    return str(body[STORED[topic]])


def stored(world: World, seen: Evidence) -> Iterator[str]:
    """Every record was taken to the store once, and each id has a row that names a record of its own."""
    taken = Counter(row["address"] for save in world.store.saved for rows in save.rows.values() for row in rows)
    visible = {row.address for topic in STORED for row in seen.rows[topic]}
    yield from (f"{address} was stored {times} times" for address, times in taken.items() if times > 1)
    yield from differences("stored record", visible, set(taken))
    at = {row.address: row for topic in STORED for row in seen.rows[topic]}
    for topic in STORED:
        held = world.store.rows.get(topic, {})
        ids = {identity(topic, body) for _, body in seen.bodies(topic)}
        own = {dead_letter("store", source, value) for source, value in world.foreign} if topic == "stream-deadletter" else set()
        yield from differences(f"row of {topic}", ids | own, set(held))
        for name, row in held.items():
            body = at[row["address"]].body if row["address"] in at else None
            if name not in own and (body is None or identity(topic, body) != name):
                yield f"row {name} of {topic} names {row['address']}, which is not its record"


def ends(world: World, seen: Evidence) -> Iterator[str]:
    """Nothing is left unread: positions of every group stand behind the last record."""
    positions: dict[tuple[str, str, int], int] = defaultdict(int)
    for transaction in seen.transactions:
        for (topic, partition), (offset, _) in transaction.positions.items():
            held = positions[transaction.service, topic, partition]
            if offset < held:
                yield f"{transaction.service} goes back in {topic}-{partition} from {held} to {offset}"
            positions[transaction.service, topic, partition] = max(held, offset)
    for topic, services in READERS.items():
        for row in seen.rows[topic]:
            for service in services:
                if positions[service, topic, row.partition] <= row.offset:
                    yield f"{service} never came to {row.address}"


def fresh(world: World, seen: Evidence) -> Iterator[str]:
    """A frame that was sent once the faults had ceased is stored, and predicted for."""
    predicted = {body["feature_id"] for _, body in seen.bodies("stream-prediction")}
    for payload in world.fresh:
        name, body = frame_id(payload), json.loads(payload)
        if name not in world.store.rows.get("stream-frame", {}):
            yield f"the fresh frame {name} did not reach the store"
        start = body["payload"]["timestamp"] // 60_000 * 60_000
        if world.model.champion and body["place_id"].startswith("room-") and f"place_1m:{body['place_id']}@{start}" not in predicted:
            yield f"the fresh frame {name} led to no prediction"


# What rules have in common


def once(what: str, names: Iterable[str]) -> Iterator[str]:
    yield from (f"{what} {name} is there {times} times" for name, times in Counter(names).items() if times > 1)


def differences(what: str, wanted: set[str], found: set[str]) -> Iterator[str]:
    yield from (f"{what} {name} is missing" for name in sorted(wanted - found))
    yield from (f"{what} {name} is foreign" for name in sorted(found - wanted))


def unequal(what: str, wanted: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    for name, value in wanted.items():
        other = found.get(name)
        if isinstance(value, dict):
            yield from unequal(what, value, other or {})
            yield from (f"{what}: {extra} should not be there" for extra in set(other or {}) - set(value))
        elif value != other and not (
            isinstance(value, float) and isinstance(other, int | float) and isclose(value, other, rel_tol=1e-9, abs_tol=1e-9)
        ):
            yield f"{what}: {name} is {other}, the twin says {value}"


def in_order(what: str, rows: Iterable[tuple[Row, tuple[str, str], int]]) -> Iterator[str]:
    last: dict[tuple[str, str], int] = {}
    for row, key, at in rows:
        if at < last.get(key, at):
            yield f"{what} of {key} are out of order at {row.address}"
        last[key] = at
