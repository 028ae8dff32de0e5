"""What each service needs at 10, 1,000 and 10,000 simulated devices, in figures and as a picture."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from math import isclose
from pathlib import Path
from statistics import median

from matplotlib import colormaps
from matplotlib.figure import Figure

from benchmarks.models import make_champion
from benchmarks.results import DOCS
from benchmarks.row import Row, Side
from benchmarks.servers import Health, own_settings, running, until
from benchmarks.usage import Usage, watch
from usecases import load_use_cases

USE_CASE = "fan_speed"
DEVICES = (10, 1_000, 10_000)
PERIOD_S = 10.0
"""Between two frames of a device."""
SERVERS = ("artemis", "kafka", "postgres")
SERVICES = ("endpoint", "bridge", "features", "inference", "online", "store", "commands")
FLEET = "fleet"
WATCHED_S = 60.0
"""A whole minute, so that the end of a window is in it, when most is done at once."""
LEVEL = 0.1
"""The rate is level once it is this close to what the devices send."""
PICTURE = DOCS / "images" / "devices.png"


@contextmanager
def rows(folder: Path) -> Iterator[tuple[Row, ...]]:
    folder.chmod(0o711)  # as root, PostgreSQL runs under another account, which must pass through
    machine = _Machine(folder)
    most, *fewer = reversed(DEVICES)
    rates = ", ".join(f"{n / PERIOD_S:,.0f}" for n in DEVICES)
    note = (
        f"Simulated devices that send a frame every {PERIOD_S:g} s, so {rates} frames/s, the whole path of a fresh stack each time: "
        f"{', '.join(SERVICES)}, together, over {WATCHED_S:g} s once the rate is level and windows close. Servers and the simulation "
        "itself are in the picture only."
    )
    yield (
        Row(
            f"Memory of all services, {most:,} devices",
            "MB",
            Side(_name(most), partial(machine.memory, most)),
            tuple(Side(_name(n), partial(machine.memory, n)) for n in fewer),
            {},
            better="less",
            note=note,
        ),
        Row(
            f"Processor of all services, {most:,} devices",
            "cores",
            Side(_name(most), partial(machine.cores, most)),
            tuple(Side(_name(n), partial(machine.cores, n)) for n in fewer),
            {},
            better="less",
            note="Of the same runs.",
        ),
    )
    if all(machine.seen.values()):
        draw({n: _middle(found) for n, found in machine.seen.items()}, PICTURE)


def _name(devices: int) -> str:
    return f"{devices:,} devices"


class _Machine:
    """Runs whole stacks and keeps what was seen of them: ``seen`` by number of devices, a reading of all services for each run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs = count()
        self._told = dict.fromkeys(DEVICES, 0)
        self.seen: dict[int, list[Mapping[str, Usage]]] = {n: [] for n in DEVICES}

    def memory(self, devices: int) -> float:
        """MB of all services in a new run."""
        self.seen[devices].append(self._run(devices))
        return sum(self.seen[devices][-1][name].memory for name in SERVICES)

    def cores(self, devices: int) -> float:
        """Cores that all services kept busy in the next of the runs whose memory was measured."""
        run = self.seen[devices][self._told[devices]]
        self._told[devices] += 1
        return sum(run[name].cores for name in SERVICES)

    def _run(self, devices: int) -> Mapping[str, Usage]:
        home = self._folder / f"run-{next(self._runs)}"
        home.mkdir()
        settings = own_settings(
            home, fleet_rooms=1 + (devices - 1) // 3, fleet_period_s=PERIOD_S, fleet_history_days=0, replay=""
        )  # a room has three devices, the reference room one
        make_champion(settings, load_use_cases()[USE_CASE])
        with running(settings, *SERVERS, *SERVICES, FLEET) as started:
            pids = {server.name: server.pid for server in started}
            bridge, inference = Health((settings, "bridge")), Health((settings, "inference"))
            until("the first windows are predicted from", lambda: _done(inference, f"predicted_{USE_CASE}"))
            until("the rate is level", lambda: _is_level(bridge, devices))
            before = bridge.read()
            found = watch(pids, WATCHED_S)
            carried = (bridge.read() - before) / WATCHED_S
            if not isclose(carried, devices / PERIOD_S, rel_tol=LEVEL):
                raise ValueError(f"{devices} devices send {devices / PERIOD_S:.0f} frames/s, but {carried:.0f} were carried")
        return found


def _done(service: Health, what: str) -> int:
    return sum(answer["counts"].get(what, 0) for answer in service.answers())


def _is_level(bridge: Health, devices: int) -> bool:
    """True where as much is carried as is sent, seen over two periods."""
    before, began = bridge.read(), time.perf_counter()
    time.sleep(2 * PERIOD_S)
    return isclose((bridge.read() - before) / (time.perf_counter() - began), devices / PERIOD_S, rel_tol=LEVEL)


def _middle(runs: Sequence[Mapping[str, Usage]]) -> dict[str, Usage]:
    """The median of each service over the runs."""
    return {name: Usage(median(run[name].memory for run in runs), median(run[name].cores for run in runs)) for name in runs[0]}


def draw(found: Mapping[int, Mapping[str, Usage]], path: Path) -> None:
    """Writes the picture: memory and processor of each process by the number of devices."""
    figure = Figure(figsize=(12, 5), layout="constrained", facecolor="white")
    panels = figure.subplots(1, 2)
    devices = sorted(found)
    colours = [*colormaps["tab10"](range(10)), "black"]
    for panel, what, unit in zip(panels, ("memory", "cores"), ("MB", "cores kept busy"), strict=True):
        for index, name in enumerate((*SERVICES, *SERVERS, FLEET)):
            style = "-" if name in SERVICES else "--" if name in SERVERS else ":"
            values = [getattr(found[n][name], what) for n in devices]
            panel.plot(devices, values, style, marker="o", markersize=4, color=colours[index], label=name)
        panel.set_xscale("log")
        panel.set_xticks(devices, [f"{n:,}" for n in devices])
        panel.set_xlabel(f"devices, a frame every {PERIOD_S:g} s each")
        panel.set_ylabel(unit)
        panel.set_ylim(bottom=0)
        panel.grid(visible=True, alpha=0.3)
    panels[0].set_title("Memory", loc="left")
    panels[1].set_title("Processor", loc="left")
    panels[1].legend(loc="upper left", fontsize=8, ncols=2, frameon=False)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)
