"""What a comparison of served with built feature rows found. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Parity:
    """One feature model. Rows that end after ``since_ms`` and whose frames the warehouse holds were compared, ``until_ms`` the newest.

    ``values`` were compared, of which ``differ`` are not equal without late frames being the reason; ``largest`` is the largest relative
    difference (infinite where only one side has a value). ``late_rows`` equal the batch's once the frames that came after their windows
    had closed are left out. ``missing`` rows are owed and were not served, ``missing_late`` of them because all their frames came late;
    ``extra`` rows were served and not built. ``example`` names the first fault.
    """

    model: str
    version: str
    checked_ms: int
    since_ms: int
    until_ms: int
    rows: int
    values: int
    differ: int
    late_rows: int
    missing: int
    missing_late: int
    extra: int
    largest: float
    example: str = ""

    @property
    def passed(self) -> bool:
        """True where nothing is left that late frames do not explain."""
        return not (self.differ or self.extra or self.missing > self.missing_late)

    @property
    def late_share(self) -> float:
        """The share of the compared rows that differ only by late frames."""
        return self.late_rows / self.rows if self.rows else 0.0

    @property
    def summary(self) -> str:
        """The outcome in one line."""
        if not self.rows and not self.missing:
            return "nothing to compare yet"
        faults = [
            f"{count} {what}"
            for count, what in (
                (self.differ, "differ"),
                (self.missing - self.missing_late, "rows missing"),
                (self.extra, "rows that the batch does not know"),
            )
            if count or what == "differ"
        ]
        late = f"; {self.late_share:.2%} of {self.rows:,} rows differ by late frames only" if self.late_rows else ""
        example = f"; first: {self.example}" if self.example else ""
        return f"{self.values:,} values compared, {', '.join(faults)}{late}{example}"
