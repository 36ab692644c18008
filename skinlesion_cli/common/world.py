"""The processes of a distributed run: how torchrun started them, and their collective operations.

Without torchrun there is one process, `ALONE`, for which the operations do nothing. This module imports
neither torch nor numpy; `training.distributed.Group` is the world of several processes.
"""

import contextlib
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from skinlesion_cli.common.errors import InputError, SkinLesionError

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Launch:
    """How this process was started: one of `size`, by torchrun or a launcher that sets the same variables."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Rank among the processes on this machine."""
    local_size: int = 1
    run_id: str | None = None
    """The same for all restarts of a run by torchrun, different for other runs; None without torchrun."""
    restarts: int = 0
    """How many times torchrun has restarted the processes."""


def read_launch(environ: Mapping[str, str] | None = None) -> Launch:
    """Read the environment variables set by torchrun; InputError if some are missing or invalid."""
    environ = os.environ if environ is None else environ
    if "RANK" not in environ or "WORLD_SIZE" not in environ:
        return Launch()
    size = _whole(environ, "WORLD_SIZE", 1)
    local_size = _whole(environ, "LOCAL_WORLD_SIZE", 1, size)
    rank, local_rank = _whole(environ, "RANK", 0), _whole(environ, "LOCAL_RANK", 0, 0)
    if rank >= size or local_rank >= local_size:
        raise InputError(f"RANK is {rank} of {size} and LOCAL_RANK {local_rank} of {local_size}: start again")
    if size > 1 and not {"LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} <= environ.keys():
        raise InputError(
            f"WORLD_SIZE is {size}, without LOCAL_RANK, MASTER_ADDR or MASTER_PORT: start with torchrun, or "
            "unset RANK and WORLD_SIZE"
        )
    restarts, run_id = _whole(environ, "TORCHELASTIC_RESTART_COUNT", 0, 0), environ.get("TORCHELASTIC_RUN_ID")
    if run_id == "none":
        # The static rendezvous gives every run this name. torchrun's agent, our parent, outlives restarts.
        run_id = f"{socket.gethostname()}-{os.getppid()}"
    return Launch(rank, size, local_rank, local_size, run_id, restarts)


def _whole(environ: Mapping[str, str], name: str, low: int, default: int | None = None) -> int:
    text = environ.get(name, str(default))
    if not text.isdecimal() or int(text) < low:
        fault = f"{name} is {text!r} in the environment"
        raise InputError(f"{fault}; torchrun sets a whole number of at least {low}")
    return int(text)


def has_joined() -> bool:
    """Whether this process has joined others, of which the first reports a common error."""
    distributed = sys.modules.get("torch.distributed")
    return distributed is not None and distributed.is_initialized()


class World:
    """A single process, and the interface of several."""

    def __init__(self, launch: Launch = Launch()):
        self.launch = launch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Leave the process group."""

    @property
    def rank(self) -> int:
        """From 0."""
        return self.launch.rank

    @property
    def size(self) -> int:
        """Number of processes."""
        return self.launch.size

    @property
    def leads(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def together(self) -> contextlib.AbstractContextManager[None]:
        """Either all processes pass the block, or all stop with the first one's `SkinLesionError`."""
        return contextlib.nullcontext()

    def machine_first(self) -> contextlib.AbstractContextManager[None]:
        """Let the first process on each machine pass the block before the others enter it."""
        return contextlib.nullcontext()

    def gather(self, value: Any) -> list[Any]:
        """The JSON-ready values of all processes, by rank."""
        return [value]

    def from_leader(self, content: bytes) -> bytes:
        """The bytes of the leader; those of the others are ignored."""
        return content

    def largest(self, *numbers: int) -> tuple[int, ...]:
        """The element-wise maximum over the processes."""
        return numbers

    def common(self, error: SkinLesionError) -> SkinLesionError:
        """The error to raise if all processes found the same one, so that it is reported once."""
        return error

    def sums_of_step(self, values: "torch.Tensor") -> "torch.Tensor":
        """Loss, weight and correct predictions (3,) of a step, summed over the processes."""
        return values

    def wrap(self, model: "nn.Module") -> "nn.Module":
        """The model as a module that averages gradients over the processes."""
        return model

    def seed_step(self, seed: int, epoch: int, step: int) -> None:
        """Seed the random numbers of each process inside the model (dropout), reproducibly on `--resume`."""

    def set_averaging(self, wrapped: "nn.Module", wanted: bool) -> None:
        """Whether the next backward pass through a wrapped module averages gradients."""

    def share_buffers(self, model: "nn.Module") -> None:
        """Copy the running statistics of the leader to all processes."""


ALONE = World()
