"""How the draws of one step are divided: between processes, and into batches one after the other."""

from dataclasses import dataclass

from skinlesion_cli.common.settings import Settings
from skinlesion_cli.metrics.arrays import Floats


@dataclass(frozen=True)
class Division:
    """Each step in `processes` × `accumulate` parts: a batch for each process, then another for each."""

    processes: int = 1
    rank: int = 0
    """Of this process, from 0."""
    accumulate: int = 1
    """Batches of a process whose gradients make one step."""

    @property
    def parts(self) -> int:
        """Batches of a step, over all processes."""
        return self.processes * self.accumulate

    def mine(self, draws: int) -> list[slice]:
        """This process's batches of a step: `accumulate` places in its draws, as even as can be.

        Args:
            draws: of the step, `parts` or more, so that none is empty.
        """
        bounds = [part * draws // self.parts for part in range(self.parts + 1)]
        return [
            slice(bounds[part], bounds[part + 1]) for part in range(self.rank, self.parts, self.processes)
        ]

    def shares(self, weights: Floats) -> list[float]:
        """What each batch's mean loss is multiplied by, so that the gradient is that of the step's mean.

        The mean of a weighted loss is Σ w l / Σ w over all draws of the step, and the gradients of the
        processes are averaged: a batch counts by its share of the weight, times the number of processes.

        Args:
            weights: (draws,), the loss weight of each draw of the step.
        """
        # One part is the step itself, whatever the weights.
        if self.parts == 1:
            return [1.0]
        scale = self.processes / weights.sum()
        return [float(weights[part].sum() * scale) for part in self.mine(len(weights))]


def step_line(processes: int, settings: Settings, images: int) -> str:
    """Says how many images a step has and why, and that this changes nothing else."""
    factors = [f"{processes} processes"] if processes > 1 else []
    factors += [f"batch {settings.batch_size}"]
    factors += [f"accumulate {settings.accumulate}"] if settings.accumulate > 1 else []
    return f"{' × '.join(factors)} = {images} images a step; learning rate unchanged"
