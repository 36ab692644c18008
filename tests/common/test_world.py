import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.world import ALONE, Launch, read_launch

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "10.0.0.1",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "a-run",
    "TORCHELASTIC_RESTART_COUNT": "1",
}


def test_the_variables_of_torchrun_are_read() -> None:
    assert read_launch(TORCHRUN) == Launch(3, 4, 1, 2, "a-run", 1)
    assert read_launch({}) == Launch() == Launch(0, 1, 0, 1, None, 0)
    # A batch system's rank alone is no launch.
    assert read_launch({"RANK": "2"}) == Launch()
    assert read_launch({"RANK": "0", "WORLD_SIZE": "1"}) == Launch()


def test_a_run_that_torchrun_calls_none_gets_its_own_name() -> None:
    name = read_launch(TORCHRUN | {"TORCHELASTIC_RUN_ID": "none"}).run_id
    assert name is not None
    assert name != "none"
    assert name == read_launch(TORCHRUN | {"TORCHELASTIC_RUN_ID": "none", "RANK": "2"}).run_id


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"RANK": "4"}, "RANK is 4 of 4"),
        ({"LOCAL_RANK": "2"}, "LOCAL_RANK 2 of 2"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE is '0'.*at least 1"),
        ({"RANK": "first"}, "RANK is 'first'"),
        ({"MASTER_ADDR": None}, "without LOCAL_RANK, MASTER_ADDR or MASTER_PORT: start with torchrun"),
    ],
)
def test_invalid_variables_are_refused(changes: dict[str, str | None], reason: str) -> None:
    environ = {name: value for name, value in (TORCHRUN | changes).items() if value is not None}
    with pytest.raises(InputError, match=reason):
        read_launch(environ)


def test_alone_there_is_nothing_to_share() -> None:
    assert ALONE.leads
    assert ALONE.gather("x") == ["x"]
    assert ALONE.largest(3, 1) == (3, 1)
    assert ALONE.from_leader(b"x") == b"x"
