"""Several processes that train one model, with torch.distributed: gloo between CPUs, NCCL between GPUs.

Li et al., *PyTorch Distributed: Experiences on Accelerating Data Parallel Training*, VLDB 2020.
"""

import contextlib
import inspect
import json
import re
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from skinlesion_cli.common.errors import InputError, PeerError, SkinLesionError, TrainingError, one_line
from skinlesion_cli.common.world import Launch, World

# When a process ends, its connections are closed, so that its peers notice immediately. These limits are for
# a peer that hangs, for example because its machine has lost its power or its network.
STEP_TIMEOUT = timedelta(minutes=10)
"""How long a process waits for another inside a step, and for all to join at the start."""
WAIT_TIMEOUT = timedelta(days=7)
"""How long a process waits while another works alone, for example on the final scores."""
GOODBYE = timedelta(seconds=30)
POLL_SECONDS = 0.05


class Group(World):
    """The processes of a run, as seen by one of them. Create it with `join`; it is a context manager."""

    def __init__(self, launch: Launch, device: torch.device):
        super().__init__(launch)
        self.device = device
        # A second group, on the CPU and with a long timeout, for everything outside the training steps.
        self._patient: Any = dist.new_group(backend="gloo", timeout=WAIT_TIMEOUT)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None:
            dist.barrier(self._patient)
            dist.destroy_process_group()
        # After an error, nothing is torn down: that would wait for the peers, which wait for this process.
        elif isinstance(error, RuntimeError) and (reason := _lost_connection(error)):
            raise TrainingError(
                f"another process of this run has ended or does not respond ({reason}); fix what its own "
                "message reports, then continue with --resume (or start again, if nothing was saved yet)"
            ) from error

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:  # noqa: D102 - as in World
        fault: SkinLesionError | None = None
        try:
            yield
        except SkinLesionError as error:
            fault = error
        faults = self.gather(fault and [self.rank, str(fault), fault.exit_code])
        if first := next(filter(None, faults), None):
            rank, message, exit_code = first
            raise fault if fault and rank == self.rank else self._after_goodbye(message, exit_code)

    def _after_goodbye(self, message: str, exit_code: int) -> PeerError:
        """Wait for the end of the process that reports the error: torchrun then ends all the others."""
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
        # JSON instead of torch's pickled objects: nothing that comes over the network is unpickled.
        text = json.dumps(value).encode()
        (length,) = self.largest(len(text))
        padded = torch.frombuffer(bytearray(text.ljust(length)), dtype=torch.uint8)
        texts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(texts, padded, group=self._patient)
        return [json.loads(one.numpy().tobytes()) for one in texts]

    def from_leader(self, content: bytes) -> bytes:  # noqa: D102 - as in World
        (length,) = self.largest(len(content) if self.leads else 0)
        values = torch.frombuffer(bytearray(content if self.leads else length), dtype=torch.uint8)
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
        # Each process has scaled its loss for the averaging of the gradients.
        total[0] /= self.size
        return total

    def wrap(self, model: nn.Module) -> nn.Module:  # noqa: D102 - as in World
        devices = [self.device] if self.device.type == "cuda" else None
        # The running statistics are shared once per epoch, by `share_buffers`: training does not use them.
        # torch 2.15 warns about the older of the two names.
        newer = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
        unshared: dict[str, Any] = {"forward_sync_buffers" if newer else "broadcast_buffers": False}
        return DistributedDataParallel(model, device_ids=devices, **unshared)

    def seed_step(self, seed: int, epoch: int, step: int) -> None:  # noqa: D102 - as in World
        # The leader keeps its own generator, whose state is in every checkpoint.
        if not self.leads:
            own = np.random.SeedSequence((seed, epoch, step, self.rank))
            torch.manual_seed(int(own.generate_state(1, np.uint64)[0] >> 1))

    def set_averaging(self, wrapped: nn.Module, wanted: bool) -> None:  # noqa: D102 - as in World
        # The effect of torch's `no_sync`, without a context around the forward and the backward pass.
        wrapped.require_backward_grad_sync = wanted  # type: ignore[assignment]

    def share_buffers(self, model: nn.Module) -> None:  # noqa: D102 - as in World
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def join(launch: Launch, device: str) -> Group:
    """Join the process group; blocks until all processes have joined. Each takes its local rank's GPU."""
    own = _device(launch, device)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    try:
        store, _, _ = next(rendezvous("env://", launch.rank, launch.size, timeout=STEP_TIMEOUT))
        store = dist.PrefixStore(_session(store, launch), store)  # type: ignore[attr-defined, unused-ignore]
        # Both backends on a GPU: the messages between the processes are on the CPU.
        backend = "cpu:gloo,cuda:nccl" if own.type == "cuda" else "gloo"
        dist.init_process_group(
            backend, timeout=STEP_TIMEOUT, store=store, rank=launch.rank, world_size=launch.size
        )
        return Group(launch, own)
    except (RuntimeError, ValueError) as error:
        reason = one_line(error, 160)
        raise SkinLesionError(
            f"process {launch.rank} of {launch.size} failed to join the process group ({reason}); check that "
            "all were started, and that every machine can reach MASTER_ADDR and MASTER_PORT"
        ) from error


def _session(store: Any, launch: Launch) -> str:
    """A name for this start of the processes, by which they find only each other.

    torchrun keeps one store through all restarts, with the addresses of processes that have died. Its
    restart count cannot be the name: each machine counts its own.
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
        # The name may be from an earlier start; then no process responds to it.
        name = bytes(store.get("session")).decode()
        store.set(f"{name}/{launch.rank}", token)
        if store.check([f"{name}/{token}"]):
            return name
        time.sleep(POLL_SECONDS)
    raise RuntimeError("timed out waiting for process 0")


def _device(launch: Launch, device: str) -> torch.device:
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        available = torch.cuda.device_count()
        if launch.local_rank >= available:
            raise InputError(
                f"process {launch.local_rank} of this machine has no GPU of its own (GPUs: {available}): "
                "start fewer with --nproc-per-node, or use --device cpu"
            )
        return torch.device("cuda", launch.local_rank)
    if device == "mps" or (device == "auto" and torch.backends.mps.is_available()):
        raise InputError("several processes can train only on cpu or cuda: use --device cpu")
    return torch.device("cpu")


def _lost_connection(error: RuntimeError) -> str:
    """How an error says that a peer has ended; an empty string for any other error."""
    # gloo raises plain RuntimeErrors, which only the message distinguishes.
    if found := re.search(r"connection (closed|reset|refused)|broken pipe|timed out", str(error).lower()):
        return found[0]
    return "NCCL lost the connection" if isinstance(error, dist.DistBackendError) else ""
