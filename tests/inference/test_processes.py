"""A predictor in other processes, in threads, and beside the user's own use of torch."""

import io
import multiprocessing
import pickle
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from skinlesion_cli import explain, load_predictor
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.data.splits import read_split
from skinlesion_cli.inference.prediction import Failure, Prediction
from tests.support.processes import run_to_end

FORKING = """
import os, sys, torch
from skinlesion_cli import load_predictor
torch.set_num_threads(4)
model, picture = sys.argv[1:]
predictor = load_predictor(model)
before = predictor.predict_many([picture] * 4)
before = [one.probabilities for one in before]
child = os.fork()
if child == 0:
    after = [one.probabilities for one in predictor.predict_many([picture] * 4)]
    same = all(abs(a - b) < 1e-5 for x, y in zip(before, after) for a, b in zip(x.values(), y.values()))
    os._exit(0 if same else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.mark.skipif(not hasattr(multiprocessing, "get_context") or sys.platform == "win32", reason="no fork")
@pytest.mark.parametrize("kind", ["exported", "checkpoint"])
def test_a_forked_child_predicts(
    kind: str, picture: Path, request: pytest.FixtureRequest, command_environment: dict[str, str]
) -> None:
    model = request.getfixturevalue(kind)
    # Several threads, as outside the tests: it is they that a child lacks.
    env = command_environment | {"OMP_NUM_THREADS": "4"}
    command = [sys.executable, "-c", FORKING, str(model), str(picture)]
    run_to_end(command, env=env, seconds=100, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize("kind", ["exported", "checkpoint"])
def test_a_predictor_is_pickled(kind: str, picture: Path, request: pytest.FixtureRequest) -> None:
    predictor = load_predictor(request.getfixturevalue(kind))
    expected = predictor.predict(picture)
    copy = pickle.loads(pickle.dumps(predictor))
    assert copy.predict(picture).probabilities == pytest.approx(expected.probabilities, abs=1e-6)
    list(predictor.predict_many([picture] * 2))  # Makes the faster copy of the weights.
    assert pickle.loads(pickle.dumps(predictor)).predict(picture).label == expected.label


def test_images_come_in_any_form(exported: Path, data: Path) -> None:
    predictor = load_predictor(exported)
    paths = read_split(data, "test").paths[:3]
    expected = [predictor.predict(path).probabilities for path in paths]

    def found(images: Any) -> list[dict[str, float]]:
        answers = list(predictor.predict_many(images))
        assert all(isinstance(one, Prediction) for one in answers)
        return [one.probabilities for one in answers if isinstance(one, Prediction)]

    def pictures() -> Iterator[Image.Image]:
        for path in paths:
            with Image.open(path) as picture:
                yield picture.copy()

    assert found(path for path in paths) == expected
    assert found(pictures()) == expected
    assert found([np.asarray(one) for one in pictures()]) == expected
    assert found(map(str, paths)) == expected
    assert found([io.BytesIO(path.read_bytes()) for path in paths]) == expected
    with paths[0].open("rb") as file:
        assert predictor.predict(file).probabilities == expected[0]  # type: ignore[arg-type]
    folder = paths[0].parent
    everything = sorted(folder.iterdir())
    assert [one.image for one in predictor.predict_many(f"{folder}/*.jpg")] == [*map(str, everything)]
    assert sorted(one.image for one in predictor.predict_many(folder.glob("*.jpg"))) == [
        *map(str, everything)
    ]
    broken, fine = predictor.predict_many([io.BytesIO(b"no picture"), paths[1]])
    assert isinstance(broken, Failure)
    assert broken.error.startswith("cannot read image 0: it is not an image")
    assert isinstance(fine, Prediction)


def test_an_open_file_is_explained(checkpoint: Path, picture: Path) -> None:
    (by_path,) = explain(checkpoint, picture)
    with picture.open("rb") as file:
        (by_file,) = explain(checkpoint, file)
    assert np.array_equal(by_file.raw, by_path.raw)
    assert by_file.source == "image 0"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, "^device: 'gpu' is not one of auto, cpu, cuda, mps$"),
        ({"device": "cpu:7"}, "^no cpu:7 device is available"),
        ({"device": "cuda:x"}, "^no cuda:x device is available"),
        ({"device": "cuda:0"}, "^no cuda:0 device is available"),
        ({"device": torch.device("cuda", 1)}, "^no cuda:1 device is available"),
        ({"precision": "half"}, "^precision: 'half' is not one of auto, fp32, bf16, fp16$"),
        ({"batch_size": 0}, "^batch_size: 0 is out of range; it must be at least 1$"),
        ({"num_workers": -1}, "^num_workers: -1 is out of range; it must be at least 0$"),
    ],
)
def test_invalid_options_give_one_line(checkpoint: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_predictor(checkpoint, **options)


@pytest.mark.parametrize("kind", ["exported", "checkpoint"])
def test_torchs_own_names_of_devices_are_taken(
    kind: str, picture: Path, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(kind)
    expected = load_predictor(model, device="cpu").predict(picture)
    for device in ("cpu:0", torch.device("cpu"), torch.device("cpu", 0)):
        assert load_predictor(model, device=device).predict(picture) == expected


@pytest.mark.gpu
def test_a_numbered_gpu_is_taken(checkpoint: Path, picture: Path) -> None:
    expected = load_predictor(checkpoint, device="cpu").predict(picture)
    for device in ("cuda", "cuda:0", torch.device("cuda", 0)):
        answer = load_predictor(checkpoint, device=device).predict(picture)
        assert answer.probabilities == pytest.approx(expected.probabilities, abs=1e-3)


def flags() -> tuple[object, ...]:
    backends = torch.backends
    return (
        torch.get_float32_matmul_precision(),
        backends.cuda.matmul.allow_tf32,
        backends.cudnn.allow_tf32,
        backends.cuda.matmul.fp32_precision,
        backends.cudnn.conv.fp32_precision,
        backends.mkldnn.matmul.fp32_precision,
    )


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_torchs_precision_is_left_as_it_was(precision: str, checkpoint: Path, picture: Path) -> None:
    # The default of a new process, where it is asked for.
    start = torch.get_float32_matmul_precision()
    try:
        if precision != start:
            torch.set_float32_matmul_precision(precision)
        before = flags()
        predictor = load_predictor(checkpoint)
        list(predictor.predict_many([picture, picture]))
        explain(predictor, picture)
        assert flags() == before
    finally:
        if torch.get_float32_matmul_precision() != start:
            torch.set_float32_matmul_precision(start)


def test_two_threads_ask_for_maps_at_once(checkpoint: Path, data: Path) -> None:
    predictor, paths = load_predictor(checkpoint), read_split(data, "test").paths[:6]
    expected = {path: explain(predictor, path)[0].raw for path in paths}
    found: dict[tuple[int, Path], Any] = {}

    def ask(number: int) -> None:
        for path in paths[number:] + paths[:number]:
            found[number, path] = explain(predictor, path)[0].raw

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 * len(paths)
    assert all(np.allclose(raw, expected[path], atol=1e-6) for (_, path), raw in found.items())
