from pathlib import Path

from mliot.space import MIN_FREE_MB, MIN_START_MB, Space, space, wait_for_space

HOME = Path("/srv/mliot")


def test_a_disk_is_full_before_the_broker_stops_to_take_frames() -> None:
    assert Space(HOME, MIN_FREE_MB).problem == ""
    assert Space(HOME, 7).problem == (
        "the disk of /srv/mliot is full: 7 MB are free, at least 256 MB are needed; make room, and everything goes on by itself"
    )


def test_a_home_that_is_not_there_yet_has_the_space_of_the_folder_above(tmp_path: Path) -> None:
    assert space(tmp_path / "not" / "yet").free_mb > 0


def test_a_part_waits_until_it_can_be_started_and_says_so_once() -> None:
    looks = iter([0, 3, MIN_START_MB - 1, MIN_START_MB])
    said: list[str] = []
    wait_for_space(HOME, said.append, look=lambda home: Space(home, next(looks)))
    assert [why[:43] for why in said] == ["waiting: the disk of /srv/mliot is full: 0 "]
    assert next(looks, None) is None
