"""How often parts ended without being told to, by the supervisor's log."""

import re
import time
from collections import Counter
from collections.abc import Iterable

OVER_S = 600
"""How long a part is remembered to have ended."""
NEWEST_LINES = 2000
_EXITED = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ \w+ exited: (\S+) \(")
_BEGUN = " supervisord started with pid "


def crashes(lines: Iterable[str], since_s: float) -> Counter[str]:
    """How often each part has ended by itself since the instant ``since_s``, in this life of the supervisor. Pure."""
    counted: Counter[str] = Counter()
    for line in lines:
        if _BEGUN in line:
            counted.clear()
        elif (found := _EXITED.match(line)) and time.mktime(time.strptime(found[1], "%Y-%m-%d %H:%M:%S")) >= since_s:
            counted[found[2]] += 1
    return counted
