"""The processes that torchrun has started. No torch here, which a single process may not need."""

from skinlesion_cli.common.world import Launch, World


def joined(launch: Launch, device: str) -> World:
    """The processes that work together; a context."""
    if launch.size == 1:
        return World(launch)
    from skinlesion_cli.training.distributed import join

    return join(launch, device)
