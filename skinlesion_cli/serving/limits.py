"""Address of the server, and limits on concurrent photographs and on photographs per address."""

import time
from collections import OrderedDict
from collections.abc import Callable

from skinlesion_cli.common.limits import MAX_UPLOAD_BYTES

HOST, PORT = "127.0.0.1", 8000
"""Defaults: this machine only."""
RATE = 600
"""Default number of photographs per minute from one address."""
BURST = 60
"""Photographs from one address that may come at once: the burst size of this rate."""
ADDRESSES = 1024
"""Maximum number of addresses that are remembered; the least recently active one is forgotten first."""
MOST_WAITING = 32
"""Maximum number of photographs being received, waiting or being processed."""
MOST_BYTES = 4 * MAX_UPLOAD_BYTES
"""Their total size."""
UPLOAD_SECONDS = 60.0
"""Time within which a photograph must have arrived completely."""
HEADER_SECONDS = 10.0
"""Time within which a connection must have sent the headers of a request."""
MOST_CONNECTIONS = 256


class Places:
    """The bounded queue: photographs in memory, by number and by size."""

    def __init__(self, most: int = MOST_WAITING, most_bytes: int = MOST_BYTES):
        self._free, self._free_bytes = most, most_bytes

    def take(self, size: int) -> bool:
        """Reserve a place for `size` bytes, to be given back later; False if there is none."""
        if self._free < 1 or self._free_bytes < size:
            return False
        self._free, self._free_bytes = self._free - 1, self._free_bytes - size
        return True

    def give_back(self, size: int) -> None:
        """Give a place of `size` bytes back."""
        self._free, self._free_bytes = self._free + 1, self._free_bytes + size


class Rate:
    """Requests per minute from each address, limited with a token bucket."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic):
        """No limit if `per_minute` is 0."""
        self._per_second, self._burst, self._clock = per_minute / 60, min(BURST, per_minute), clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Tokens of each address, and when they were counted; the address heard last is at the end."""

    def wait(self, address: str) -> float:
        """Count a request; returns 0 if it is allowed, otherwise the seconds after which to try again."""
        if self._per_second == 0:
            return 0.0
        now = self._clock()
        tokens, since = self._buckets.pop(address, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - since) * self._per_second)
        allowed = tokens >= 1
        self._buckets[address] = (tokens - allowed, now)
        if len(self._buckets) > ADDRESSES:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self._per_second
