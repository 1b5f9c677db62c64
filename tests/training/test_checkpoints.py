import os
import pickle
from pathlib import Path

import pytest

from training.checkpoints import Checkpoints, keep_nothing
from training.errors import BadInputError


def test_what_is_kept_is_worked_out_once_whoever_asks(tmp_path: Path) -> None:
    made: list[str] = []

    def make() -> dict[str, list[int]]:
        made.append("once")
        return {"lists": [1, 2, 3]}

    first = Checkpoints(tmp_path, "inputs")("part", make)
    again = Checkpoints(tmp_path, "inputs")("part", make)
    assert first == again == {"lists": [1, 2, 3]}
    assert made == ["once"]


def test_nothing_is_a_result_like_any_other(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "inputs")
    assert checkpoints("part", lambda: None) is None
    assert checkpoints("part", lambda: "something else") is None


def test_without_a_place_each_is_worked_out_anew() -> None:
    assert [keep_nothing("part", lambda value=value: value) for value in (1, 2)] == [1, 2]


def test_other_inputs_find_nothing_and_leave_nothing(tmp_path: Path) -> None:
    Checkpoints(tmp_path, "yesterday")("part", lambda: 1)
    assert Checkpoints(tmp_path, "today")("part", lambda: 2) == 2
    assert [folder.name for folder in tmp_path.iterdir()] == ["today"]


@pytest.mark.parametrize("keep", [0, 10, 40, -1])
def test_a_damaged_file_is_worked_out_anew(tmp_path: Path, keep: int) -> None:
    checkpoints = Checkpoints(tmp_path, "inputs")
    checkpoints("part", lambda: "first")
    (file,) = (tmp_path / "inputs").iterdir()
    file.write_bytes(file.read_bytes()[:keep])
    assert checkpoints("part", lambda: "second") == "second"
    assert checkpoints("part", lambda: "third") == "second"


def test_a_pickle_that_is_not_ours_is_never_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    checkpoints = Checkpoints(tmp_path, "inputs")
    (tmp_path / "inputs/part.pickle").write_bytes(pickle.dumps(Trap()))
    assert checkpoints("part", lambda: 1) == 1
    assert not (tmp_path / "sprung").exists()


def test_what_fails_is_not_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "inputs")

    def fail() -> int:
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        checkpoints("part", fail)
    assert checkpoints("part", lambda: 1) == 1


def test_a_file_that_was_cut_off_while_it_was_written_is_no_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "inputs")
    (tmp_path / "inputs/part.part").write_bytes(b"half")
    assert checkpoints("part", lambda: 1) == 1


def test_in_the_end_nothing_is_left(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "inputs")
    checkpoints("part", lambda: 1)
    checkpoints.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match="checkpoints can't be kept here"):
        Checkpoints(tmp_path / "file", "inputs")
