"""From what the store holds about one id to the tree from frame to ack, with the milliseconds between the hops: pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from lineage.chain import Chain, Stored, WindowFrames
from mliot.clock import clock_time, span_text
from mliot.grains import Grains, Span
from mliot.messages import Command, Feature, Frame, Prediction
from mliot.units import with_unit
from mliot.usecase import UseCase

NodeKind = Literal["frame", "frames", "feature", "prediction", "label", "command", "state", "ack", "deadletter", "awaited"]
_STATE_ORDER = {"queued": 0, "withheld": 0, "sent": 1, "acked": 3, "failed": 3, "expired": 3}
_ACK_ORDER = 2


@dataclass(frozen=True)
class Node:
    """One step of the chain. ``after_ms`` is the time since the step above it (a state's: since the state before it).

    Kind ``awaited`` stands for a step that is not there, ``text`` says why; ``subject`` marks the step that was asked for.
    """

    kind: NodeKind
    id: str
    text: str
    at_ms: int | None = None
    after_ms: int | None = None
    subject: bool = False
    fields: Mapping[str, object] = field(default_factory=dict)
    children: tuple["Node", ...] = ()

    def walk(self) -> Iterator["Node"]:
        """This node and all below it, depth first."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True)
class Trace:
    """Builds the tree of one chain, as it stands at ``now_ms``."""

    chain: Chain
    use_cases: Mapping[str, UseCase]
    grains: Grains
    now_ms: int
    grace_ms: int

    def tree(self) -> Node:
        """The whole tree, from the frame (or the frames of the window) down to the acks."""
        chain = self.chain
        if chain.letter is not None:
            return self._letter()
        if chain.frame is not None:
            return self._frame(chain.frame)
        if chain.window is not None:
            return self._frames(chain.window)
        return self._rootless()

    def _is_subject(self, kind: str, id: str) -> bool:
        return (self.chain.subject.kind, self.chain.subject.id) == (kind, id)

    def _letter(self) -> Node:
        stored = self.chain.letter
        assert stored is not None
        letter = stored.letter
        replayed = f"; replayed at {clock_time(stored.replayed_ms)}" if stored.replayed_ms else ""
        text = f"refused by {letter.service}, from {letter.source}: {letter.reason}{replayed}"
        fields = {"service": letter.service, "source": letter.source, "reason": letter.reason, "key": letter.key,
                  "address": stored.address, "stored_ms": stored.stored_ms, "replayed_ms": stored.replayed_ms}  # fmt: skip
        return Node("deadletter", letter.dead_id, text, letter.at_ms, subject=True, fields=fields)

    def _frame(self, stored: Stored[Frame]) -> Node:
        frame = stored.message
        undated = "; it had no time of its own, so arrival stands for it" if frame.undated else ""
        text = (
            f"{frame.device} at {frame.place_id}: arrived {span_text(frame.arrived_ms - frame.event_ms)} after its event, "
            f"stored {span_text(stored.stored_ms - frame.arrived_ms)} later{undated}"
        )
        fields = {"device": frame.device, "place_id": frame.place_id, "arrived_ms": frame.arrived_ms, "stored_ms": stored.stored_ms,
                  "undated": frame.undated, "mqtt_topic": frame.mqtt_topic, "payload": frame.payload,
                  "address": stored.address}  # fmt: skip
        subject = self._is_subject("frame", frame.frame_id)
        children = self._rows_of(frame) if subject else [self._feature(row, frame.arrived_ms) for row in self.chain.features]
        return Node("frame", frame.frame_id, text, frame.event_ms, None, subject, fields, tuple(children))

    def _rows_of(self, frame: Frame) -> list[Node]:
        """The feature row of every grain that the frame belongs to; where there is none yet, why."""
        rows = {row.message.feature_id: row for row in self.chain.features}
        nodes = [
            self._feature(rows[own], frame.arrived_ms)
            if own in rows
            else Node("awaited", own, "no feature row of this frame yet; see the features service in `mliot status`")
            for own in self.grains.rows_of_frame(frame.frame_id)
        ]
        for span in self.grains.windows_of(frame.device, frame.place_id, frame.event_ms):
            row = rows.get(span.id)
            nodes.append(self._feature(row, frame.arrived_ms) if row else Node("awaited", span.id, self._why_open(span)))
        return nodes

    def _why_open(self, span: Span) -> str:
        left_ms = span.end_ms + self.grace_ms - self.now_ms
        if left_ms > 0:
            return f"its {span.grain.span} closes in {span_text(left_ms)}"
        return f"its {span.grain.span} should have closed {span_text(-left_ms)} ago; see the features service in `mliot status`"

    def _frames(self, window: WindowFrames) -> Node:
        span = window.span
        row = next((row for row in self.chain.features if row.message.feature_id == span.id), None)
        at = span.grain.values(span.key)
        whose = " at ".join(f"{column.removesuffix('_id')} {at[column]}" for column in reversed(span.grain.columns))
        text = f"{window.count} {'frame' if window.count == 1 else 'frames'} of {whose} from {clock_time(span.start_ms)}"
        text += f" to {clock_time(span.end_ms)}"
        fields: dict[str, object] = {
            "count": window.count, "key": span.key, "start_ms": span.start_ms, "end_ms": span.end_ms,
            "frames": [{"frame_id": f.message.frame_id, "event_ms": f.message.event_ms, "address": f.address} for f in window.listed],
        }  # fmt: skip
        if row is None:
            awaited = Node("awaited", span.id, self._why_open(span), subject=self._is_subject("feature", span.id))
            return Node("frames", span.id, text, span.end_ms, None, False, fields, (awaited,))
        feature = row.message
        fields |= {"first": feature.first, "last": feature.last, "counted": feature.frames}
        text += f"; {feature.first} to {feature.last}"
        if feature.frames != window.count:
            text += f"; the row counted {feature.frames}, the others came late"
        return Node("frames", span.id, text, span.end_ms, None, False, fields, (self._feature(row, span.end_ms),))

    def _rootless(self) -> Node:
        """The chain starts at what the store has: a row whose frames, or a prediction or command whose row, is not there."""
        if self.chain.features:
            return self._feature(self.chain.features[0], None)
        if self.chain.predictions:
            prediction = self.chain.predictions[0]
            above = Node("awaited", prediction.message.feature_id, "its feature row is not in the store yet")
            return Node(above.kind, above.id, above.text, children=(self._prediction(prediction, None),))
        commands = tuple(self._commands(None, None))
        return Node("awaited", self.chain.commands[0].message.prediction_id, "its prediction is not in the store yet", children=commands)

    def _feature(self, row: Stored[Feature], since_ms: int | None) -> Node:
        feature = row.message
        how = self.chain.closed_by.get(feature.feature_id, "")
        text = f"{feature.model}: {len(feature.values)} values of {feature.frames} {'frame' if feature.frames == 1 else 'frames'}"
        if self.grains.frame_of(feature.feature_id) is None:
            text += f", made {span_text(feature.made_ms - feature.end_ms)} after its end"
        text += f" (closed by the {how})" if how else ""
        fields = {"model": feature.model, "version": feature.version, "grain": feature.grain, "key": feature.key,
                  "start_ms": feature.start_ms, "end_ms": feature.end_ms, "frames": feature.frames, "first": feature.first,
                  "last": feature.last, "values": feature.values, "closed_by": how or None,
                  "address": row.address, "stored_ms": row.stored_ms}  # fmt: skip
        return Node("feature", feature.feature_id, text, feature.made_ms, _since(feature.made_ms, since_ms),
                    self._is_subject("feature", feature.feature_id), fields, tuple(self._answers(feature)))  # fmt: skip

    def _answers(self, feature: Feature) -> list[Node]:
        """Every prediction about the row, champion first; then the use cases that owe one."""
        answers = [p for p in self.chain.predictions if p.message.feature_id == feature.feature_id]
        answers.sort(key=lambda p: (p.message.use_case, p.message.shadow, p.message.made_ms))
        nodes = [self._prediction(p, feature.made_ms) for p in answers]
        if self.chain.subject.kind in ("prediction", "command"):
            return nodes
        answered = {p.message.use_case for p in answers if not p.message.shadow}
        for use_case in self.use_cases.values():
            if use_case.features == feature.model and use_case.serves(feature.place_id) and use_case.name not in answered:
                nodes.append(Node("awaited", f"{feature.feature_id}+{use_case.name}", self._why_unanswered(use_case.name, feature)))
        return nodes

    def _why_unanswered(self, use_case: str, feature: Feature) -> str:
        first_ms = self.chain.champions.get(use_case)
        if first_ms is None:
            return f"no champion of {use_case} has answered yet"
        if feature.made_ms < first_ms:
            return f"passed by: the row is older than the first answer of a champion of {use_case} ({clock_time(first_ms)})"
        return f"no answer of {use_case} yet; see the inference service in `mliot status`"

    def _prediction(self, row: Stored[Prediction], since_ms: int | None) -> Node:
        p = row.message
        sure = "" if p.probability is None else f" ({p.probability:.0%})"
        sure = f" ({p.low:g} to {p.high:g})" if p.low is not None and p.high is not None else sure
        unit = self.use_cases[p.use_case].unit if p.use_case in self.use_cases else ""
        text = f"{p.use_case} {with_unit(f'{p.value:g}', unit)}{sure} by {'shadow' if p.shadow else 'champion'} {p.model_version}"
        fields = {"use_case": p.use_case, "value": p.value, "probability": p.probability, "low": p.low, "high": p.high,
                  "shadow": p.shadow, "model_version": p.model_version, "feature_version": p.feature_version,
                  "at_ms": p.at_ms, "for_ms": p.for_ms, "address": row.address, "stored_ms": row.stored_ms}  # fmt: skip
        children = (*self._labels(p), *(self._commands(p.prediction_id, p.made_ms) or self._unordered(p)))
        subject = self._is_subject("prediction", p.prediction_id)
        return Node("prediction", p.prediction_id, text, p.made_ms, _since(p.made_ms, since_ms), subject, fields, children)

    def _labels(self, p: Prediction) -> list[Node]:
        for row in self.chain.labels:
            label = row.message
            if (label.use_case, label.feature_id) == (p.use_case, p.feature_id):
                fields = {"value": label.value, "label_ms": label.label_ms, "address": row.address, "stored_ms": row.stored_ms}
                text = f"label {label.value:g}" + ("" if p.value == label.value else f", off by {p.value - label.value:+g}")
                return [Node("label", label.id, text, label.available_ms, _since(label.available_ms, p.made_ms), False, fields)]
        use_case = self.use_cases.get(p.use_case)
        due_ms = None if use_case is None else p.at_ms + use_case.delay_ms - self.now_ms
        text = f"its label comes in {span_text(due_ms)}" if due_ms is not None and due_ms > 0 else "no label has come"
        return [Node("awaited", f"{p.use_case}:{p.feature_id}", text)]

    def _commands(self, prediction_id: str | None, since_ms: int | None) -> list[Node]:
        """The commands of one prediction (of any where ``prediction_id`` is None), each with its states and its ack."""
        by_id: dict[str, list[Stored[Command]]] = {}
        for row in self.chain.commands:
            if prediction_id in (None, row.message.prediction_id):
                by_id.setdefault(row.message.command_id, []).append(row)
        return [self._command(states, since_ms) for states in by_id.values()]

    def _unordered(self, p: Prediction) -> list[Node]:
        """What is awaited where a prediction that acts became no command, sent or withheld."""
        use_case = self.use_cases.get(p.use_case)
        if p.shadow or use_case is None or use_case.acts is None:
            return []
        return [Node("awaited", p.prediction_id, "no command of it yet, sent or withheld; see the commands service in `mliot status`")]

    def _command(self, states: list[Stored[Command]], since_ms: int | None) -> Node:
        first = states[0].message
        text = f"{first.device or 'no device'}: {first.action} {first.value:g}"
        if first.state != "withheld":
            text += f", worth obeying for {span_text(first.expires_ms - first.decided_ms)}"
        fields = {"device": first.device, "place_id": first.place_id, "use_case": first.use_case, "action": first.action,
                  "value": first.value, "expires_ms": first.expires_ms, "prediction_id": first.prediction_id}  # fmt: skip
        return Node("command", first.command_id, text, first.decided_ms, _since(first.decided_ms, since_ms),
                    self._is_subject("command", first.command_id), fields, tuple(self._states(first, states)))  # fmt: skip

    def _states(self, command: Command, states: list[Stored[Command]]) -> Iterator[Node]:
        """States and ack in the order in which a command goes through them, each with the time since the one before."""
        steps: list[tuple[int, int, Node]] = []
        for row in states:
            m = row.message
            text = f"{m.state}{f': {m.reason}' if m.reason else ''}"
            node = Node("state", m.id, text, m.at_ms, fields={"state": m.state, "reason": m.reason, "address": row.address})
            steps.append((_STATE_ORDER[m.state], m.at_ms, node))
        for ack in self.chain.acks:
            a = ack.message
            if a.command_id == command.command_id:
                text = f"{'done' if a.ok else 'refused'}, says {a.device}{f': {a.reason}' if a.reason else ''}"
                fields = {"ok": a.ok, "device": a.device, "at_ms": a.at_ms, "reason": a.reason, "address": ack.address}
                steps.append((_ACK_ORDER, a.arrived_ms, Node("ack", a.command_id, text, a.arrived_ms, fields=fields)))
        before_ms = command.decided_ms
        for _, at_ms, node in sorted(steps, key=lambda step: step[:2]):
            yield Node(node.kind, node.id, node.text, at_ms, at_ms - before_ms, fields=node.fields)
            before_ms = at_ms
        if not any(row.message.state in ("acked", "failed", "expired", "withheld") for row in states):
            left_ms = command.expires_ms - self.now_ms
            text = f"no ack yet; it expires in {span_text(left_ms)}" if left_ms > 0 else "no ack came; its time is over"
            yield Node("awaited", command.command_id, text)


def _since(at_ms: int, since_ms: int | None) -> int | None:
    return None if since_ms is None else at_ms - since_ms
