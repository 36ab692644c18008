"""The processes that torchrun has started. No torch here: a single process may not need it."""

import hashlib
from collections.abc import Iterable
from typing import Any

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.world import Launch, World


def joined(launch: Launch, device: str) -> World:
    """The processes that work together, as a context manager."""
    if launch.size == 1:
        return World(launch)
    from skinlesion_cli.training.distributed import join

    return join(launch, device)


def require_same_work(world: World, images: Iterable[str], made_with: dict[str, Any]) -> None:
    """InputError, in all processes, unless they are to score the same images with the same model and options.

    The folders may have different names on different machines, so only the names of the files are compared.
    """
    digest = hashlib.sha256("\0".join(images).encode("utf-8", "surrogateescape")).hexdigest()
    for what, value in (("images", digest), *made_with.items()):
        found = world.gather(value)
        if other := next((rank for rank, one in enumerate(found) if one != found[0]), 0):
            raise InputError(
                f"processes 0 and {other} differ in {what}: give both the same files and options"
            )
