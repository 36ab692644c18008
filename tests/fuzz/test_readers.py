"""A small, deterministic part of tests/benchmarks/fuzz.py."""

import random
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.fuzz.mutation import damaged
from tests.fuzz.readers import READERS, Reader, fault_of_reading

INPUTS = 60
DETERMINISTIC = hypothesis.settings(
    derandomize=True,
    max_examples=40,
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)


def path_in(folder: Path, reader: Reader) -> Path:
    (folder / "picture.jpg").touch()
    return folder / (f"input{reader.suffix}" if reader.suffix.startswith(".") else reader.suffix)


def require_read_or_refused(reader: Reader, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    fault, _ = fault_of_reading(reader, path)
    assert not fault
    assert {one.name for one in path.parent.iterdir()} == {path.name, "picture.jpg"}


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_valid_files_are_read(reader: Reader, tmp_path: Path) -> None:
    path, seeds = path_in(tmp_path, reader), reader.seeds()
    assert seeds
    for content in seeds:
        path.write_bytes(reader.wrap(content))
        fault, refused = fault_of_reading(reader, path)
        assert not fault
        # Weights without metadata are refused for lack of --arch.
        assert not refused or reader.name in ("safetensors", "header")


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_damaged_files_are_read_or_refused(reader: Reader, tmp_path: Path) -> None:
    path, seeds, draw = path_in(tmp_path, reader), reader.seeds(), random.Random(f"suite {reader.name}")
    for _ in range(INPUTS):
        require_read_or_refused(reader, path, reader.wrap(damaged(seeds, reader.tokens, draw)))


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_any_bytes_are_read_or_refused(reader: Reader, tmp_path: Path) -> None:
    path = path_in(tmp_path, reader)
    seeds = reader.seeds()

    @DETERMINISTIC
    @hypothesis.given(
        st.one_of(
            st.binary(max_size=300),
            # The start of a valid file, followed by random bytes.
            st.builds(
                lambda seed, at, end: seed[:at] + end,
                st.sampled_from(seeds),
                st.integers(0, 400),
                st.binary(),
            ),
            st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
        )
    )
    def check(content: bytes) -> None:
        require_read_or_refused(reader, path, reader.wrap(content))

    check()
