"""Several processes that train one model, on torch's own engine: gloo between CPUs, NCCL between GPUs.

Li et al., *PyTorch Distributed: Experiences on Accelerating Data Parallel Training*, VLDB 2020.
"""

import contextlib
import hashlib
import io
import json
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from skinlesion_cli.common.errors import InputError, PeerError, SkinLesionError, TrainingError, one_line
from skinlesion_cli.common.settings import Settings, spec
from skinlesion_cli.common.world import Launch, World
from skinlesion_cli.data.file_hashes import Contents
from skinlesion_cli.data.splits import Split
from skinlesion_cli.models.checkpoint import plain_settings
from skinlesion_cli.training.resume import LastState, read_last
from skinlesion_cli.training.run_folder import RunFolder

# A process whose peer died learns of it at once, from its connection. These bounds are for a peer that
# neither works nor dies, as one whose machine has lost its power or its network.
STEP_TIMEOUT = timedelta(minutes=10)
"""How long one process may wait for another inside a step, and for all to come together at the start."""
WAIT_TIMEOUT = timedelta(days=7)
"""How long it may wait where one works and the others do not: the final scores of a large data set, say."""
GOODBYE = timedelta(seconds=30)
POLL_SECONDS = 0.05


class Group(World):
    """A process among several. Make one with `join`, and leave it by leaving its context."""

    def __init__(self, launch: Launch, device: torch.device):
        super().__init__(launch)
        self.device = device
        # A group of its own for all that is no training step: on the CPU, and patient.
        self._patient: Any = dist.new_group(backend="gloo", timeout=WAIT_TIMEOUT)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            dist.barrier(self._patient)
            dist.destroy_process_group()
        # After a fault nothing is torn down: that would wait for the peers, which wait for this one's end.
        elif isinstance(error, RuntimeError) and (reason := _lost_connection(error)):
            raise TrainingError(
                f"another process of this run has ended or does not answer ({reason}); its own message says "
                "why, and --resume goes on once that is mended"
            ) from error

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:  # noqa: D102 - as in World
        fault: SkinLesionError | None = None
        try:
            yield
        except SkinLesionError as error:
            fault = error
        faults = self.gather(None if fault is None else [str(fault), fault.exit_code])
        first = next((rank for rank, one in enumerate(faults) if one is not None), None)
        if first is None:
            return
        if fault is not None and first == self.rank:
            raise fault
        raise self._after_goodbye(*faults[first])

    def _after_goodbye(self, message: str, exit_code: int) -> PeerError:
        """Wait for the end of the process that speaks: torchrun ends all as soon as one has ended."""
        waiting: Any = dist.barrier(self._patient, async_op=True)
        with contextlib.suppress(RuntimeError):
            waiting.wait(GOODBYE)
        return PeerError(message, exit_code)

    @contextlib.contextmanager
    def machine_first(self) -> Iterator[None]:  # noqa: D102 - as in World
        waits = self.launch.local_rank > 0
        if waits:
            dist.barrier(self._patient)
        try:
            yield
        finally:
            if not waits:
                dist.barrier(self._patient)

    def gather(self, value: Any) -> list[Any]:  # noqa: D102 - as in World
        # As JSON, not as torch's pickled objects: nothing that comes over a network is unpickled.
        text = np.frombuffer(json.dumps(value).encode(), np.uint8)
        (length,) = self.largest(len(text))
        padded = torch.full((length,), ord(" "), dtype=torch.uint8)
        padded[: len(text)] = torch.from_numpy(text.copy())
        texts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(texts, padded, group=self._patient)
        return [json.loads(one.numpy().tobytes()) for one in texts]

    def from_leader(self, content: bytes) -> bytes:  # noqa: D102 - as in World
        (length,) = self.largest(len(content) if self.leads else 0)
        values = torch.zeros(length, dtype=torch.uint8)
        if self.leads:
            values = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        dist.broadcast(values, 0, group=self._patient)
        return values.numpy().tobytes()

    def largest(self, *numbers: int) -> tuple[int, ...]:  # noqa: D102 - as in World
        values = torch.tensor(numbers)
        dist.all_reduce(values, dist.ReduceOp.MAX, group=self._patient)
        return tuple(values.tolist())

    def common(self, error: SkinLesionError) -> SkinLesionError:  # noqa: D102 - as in World
        return error if self.leads else self._after_goodbye(str(error), error.exit_code)

    def sums_of_step(self, values: torch.Tensor) -> torch.Tensor:  # noqa: D102 - as in World
        total = values.clone()
        dist.all_reduce(total)
        # The losses are scaled as for the average of the gradients.
        total[0] /= self.size
        return total

    def collected(self, rows: NDArray[np.float64], indices: Sequence[int], count: int) -> NDArray[np.float64]:  # noqa: D102
        # Each row is one process's, and adding zeros changes no bit of it.
        every = np.zeros((count, rows.shape[1]))
        every[list(indices)] = rows
        dist.all_reduce(torch.from_numpy(every), group=self._patient)
        return every

    def wrap(self, model: nn.Module) -> nn.Module:  # noqa: D102 - as in World
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices)

    def seed_step(self, seed: int, epoch: int, step: int) -> None:  # noqa: D102 - as in World
        # The leader goes on with its own generator, whose state every checkpoint holds.
        if not self.leads:
            own = np.random.SeedSequence((seed, epoch, step, self.rank))
            torch.manual_seed(int(own.generate_state(1, np.uint64)[0] >> 1))

    def set_averaging(self, wrapped: nn.Module, wanted: bool) -> None:  # noqa: D102 - as in World
        # What torch's `no_sync` does, without a block around the forward and the backward pass.
        wrapped.require_backward_grad_sync = wanted  # type: ignore[assignment]

    def share_buffers(self, model: nn.Module) -> None:  # noqa: D102 - as in World
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def join(launch: Launch, device: str) -> Group:
    """Meet the other processes; blocks until all are there.

    Args:
        launch: of more than one process.
        device: auto, cpu or cuda; the process takes the GPU of its local rank.

    Raises:
        SkinLesionError: the device is not there for every process, or the others do not come.
    """
    own = _device(launch, device)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    try:
        store, _, _ = next(rendezvous("env://", launch.rank, launch.size, timeout=STEP_TIMEOUT))
        store = PrefixStore(_session(store, launch), store)
        # Both engines on a GPU: what is told between the processes lies on the CPU.
        backend = "cpu:gloo,cuda:nccl" if own.type == "cuda" else "gloo"
        dist.init_process_group(
            backend, timeout=STEP_TIMEOUT, store=store, rank=launch.rank, world_size=launch.size
        )
        return Group(launch, own)
    except (RuntimeError, ValueError) as error:
        reason = one_line(error, 160)
        raise SkinLesionError(
            f"process {launch.rank} of {launch.size} did not meet the others ({reason}); see that all were "
            "started, and that MASTER_ADDR and MASTER_PORT can be reached from every machine"
        ) from error


def _session(store: Store, launch: Launch) -> str:
    """A name for this start of the processes, under which they find only each other.

    torchrun keeps one store through all restarts, and the addresses of processes that have died still stand
    in it. Its count of restarts is no such name: on several machines each counts its own.
    """
    if launch.rank == 0:
        name = uuid.uuid4().hex
        store.set("session", name)
        for rank in range(1, launch.size):
            token = bytes(store.get(f"{name}/{rank}")).decode()
            store.set(f"{name}/{token}", "seen")
        return name
    token, deadline = uuid.uuid4().hex, time.monotonic() + STEP_TIMEOUT.total_seconds()
    while time.monotonic() < deadline:
        # An earlier start's name may stand here still, but nobody lives to answer under it.
        name = bytes(store.get("session")).decode()
        store.set(f"{name}/{launch.rank}", token)
        if store.check([f"{name}/{token}"]):
            return name
        time.sleep(POLL_SECONDS)
    raise RuntimeError("timed out waiting for process 0")


def _device(launch: Launch, device: str) -> torch.device:
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        there = torch.cuda.device_count()
        if launch.local_rank >= there:
            raise InputError(
                f"process {launch.local_rank} of this machine has no GPU of its own, there are {there}: "
                "start fewer with --nproc-per-node, or use --device cpu"
            )
        return torch.device("cuda", launch.local_rank)
    if device == "mps" or (device == "auto" and torch.backends.mps.is_available()):
        raise InputError("several processes compute on cpu or cuda: use --device cpu")
    return torch.device("cpu")


def _lost_connection(error: RuntimeError) -> str:
    """What a fault says of a peer's end, or an empty text where it tells of something else."""
    # gloo raises plain RuntimeErrors, so that its words are all there is to go by.
    found = re.search(r"connection (closed|reset|refused)|broken pipe|timed out", str(error), re.IGNORECASE)
    if found is not None:
        return found[0].lower()
    return "NCCL lost the connection" if isinstance(error, dist.DistBackendError) else ""


def read_last_together(world: World, folder: RunFolder) -> LastState:
    """What `read_last` gives, read by the leader alone: the others need not see the run's folder."""
    file = io.BytesIO()
    with world.together():
        if world.leads:
            torch.save(read_last(folder), file)
    content, remark = torch.load(
        io.BytesIO(world.from_leader(file.getvalue())), map_location="cpu", weights_only=True
    )
    return content, remark


def require_same(world: World, settings: Settings, contents: Contents, splits: Mapping[str, Split]) -> None:
    """See that all processes were started to do the same.

    Args:
        world: the processes.
        settings: of this one.
        contents: of its splits; empty where another process of its machine has them.
        splits: as it sees them.

    Raises:
        InputError: a process has other settings, or finds other images.
    """
    own = {name: value for name, value in plain_settings(settings).items() if not spec(name).per_machine}
    names = [[split.classes, [str(file) for file in split.files]] for split in splits.values()]
    digests = world.gather([_digest(own), _digest(names), _digest(contents) if contents else None])
    with world.together():
        for rank, (of_settings, of_names, of_contents) in enumerate(digests if world.leads else []):
            if of_settings != digests[0][0]:
                raise InputError(f"process {rank} has other settings than process 0; start all alike")
            if of_names != digests[0][1] or of_contents not in (None, digests[0][2]):
                raise InputError(
                    f"process {rank} finds other images in {settings.data_root} than process 0; give every "
                    "machine the same ones"
                )


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
