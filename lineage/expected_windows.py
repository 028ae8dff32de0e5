"""The windows that the frames in the log owe, counted in plain Python, against the windows that were emitted."""

from dataclasses import dataclass, field

from lineage.lateness import Closings, PartitionTime, may_be_late, watermark_ms
from lineage.ledger import Finding
from mliot.grains import Grains, Span
from mliot.messages import Frame, Window


@dataclass(slots=True)
class Owed:
    """What one window owes: its different frames, those of them that may have come late, those that are no longer under way."""

    span: Span
    frames: int = 0
    late: int = 0
    settled: int = 0


@dataclass
class WindowsOwed:
    """Fed with all windows and closings first, then with the frames in the order of their offsets in each partition."""

    grains: Grains
    grace_ms: int
    idle_ms: int
    now_ms: int
    closings: Closings = field(default_factory=Closings)
    _emitted: dict[str, int] = field(default_factory=dict)
    _emitted_to: dict[int, int] = field(default_factory=dict)
    _owed: dict[str, Owed] = field(default_factory=dict)
    _partition_of: dict[str, int] = field(default_factory=dict)
    _times: dict[int, PartitionTime] = field(default_factory=dict)

    def emitted(self, window: Window, partition: int, *, settled: bool, whole: bool) -> None:
        """Notes one window of the log; ``whole`` is False where some of its frames may have left Kafka by their age."""
        if whole:
            self._emitted[window.window_id] = window.frames
        if settled:
            self._emitted_to[partition] = max(self._emitted_to.get(partition, 0), window.end_ms)

    def frame(self, frame: Frame, partition: int, *, first: bool, settled: bool, counts: bool) -> bool:
        """Notes one frame; it owes its windows only the ``first`` time, and only where it ``counts``.

        Answers True where it may have come after all its windows had closed, which leaves it without a row of its own too.
        """
        before = self._times.setdefault(partition, PartitionTime())
        all_late = counts
        for span in self.grains.windows_of(frame.device, frame.place_id, frame.event_ms) if first and counts else ():
            late = may_be_late(
                frame.arrived_ms,
                span.end_ms,
                before=before,
                passed_ms=self.closings.passed_ms(span.end_ms),
                ahead_ms=self.closings.ahead_ms(span.end_ms, partition),
                grace_ms=self.grace_ms,
            )
            all_late = all_late and late
            owed = self._owed.setdefault(span.id, Owed(span))
            owed.frames += 1
            owed.late += late
            owed.settled += settled
            self._partition_of[span.key] = partition
        if settled:
            before.feed(frame.event_ms, frame.arrived_ms)
        return first and all_late

    def findings(self, repeated: list[str]) -> tuple[list[Finding], list[str]]:
        """One finding a grain, and the doubts: windows that lack frames which cannot have come late."""
        found = {name: Finding(f"windows {name}", 0, 0) for name in self.grains.windows}
        late = dict.fromkeys(self.grains.windows, 0)
        doubts: list[str] = []
        due_ms = watermark_ms(list(self._times.values()), now_ms=self.now_ms, grace_ms=self.grace_ms, idle_ms=self.idle_ms)
        for id, owed in self._owed.items():
            grain = owed.span.grain.name
            if id in self._emitted:
                found[grain].owed += 1
                late[grain] += self._compare(id, owed, found[grain], doubts)
            elif owed.settled and self._is_closed(owed.span, due_ms):
                if owed.late == owed.frames:
                    late[grain] += owed.frames
                else:
                    found[grain].owed += 1
                    found[grain].missing.append(id)
        for id in self._emitted:
            finding = found.setdefault(id.partition(":")[0], Finding("windows of unknown grains", 0, 0))
            finding.seen += 1
            if id not in self._owed:
                finding.foreign.append(id)
        for id in repeated:
            found.setdefault(id.partition(":")[0], Finding("windows of unknown grains", 0, 0)).twice.append(id)
        for grain, count in late.items():
            found[grain].note = f"{count} frames came late" if count else ""
        return list(found.values()), doubts

    def _compare(self, id: str, owed: Owed, finding: Finding, doubts: list[str]) -> int:
        """The frames that an emitted window lacks; one with more than it owes is foreign, more lacking than can be late is a doubt."""
        short = owed.frames - self._emitted[id]
        if short < 0:
            finding.foreign.append(f"{id} (counts {self._emitted[id]} frames, owes {owed.frames})")
        if short > owed.late:
            doubts.append(f"{id} lacks {short} of its {owed.frames} frames, and only {owed.late} can have come late")
        return max(short, 0)

    def _is_closed(self, span: Span, due_ms: int) -> bool:
        return span.end_ms <= max(due_ms, self._emitted_to.get(self._partition_of[span.key], 0))
