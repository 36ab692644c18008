"""What several processes of one run agree on before the first step: settings, images and the checkpoint."""

import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

import torch

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.settings import Settings, spec
from skinlesion_cli.common.world import World
from skinlesion_cli.data.screening import Screening, split_of
from skinlesion_cli.data.splits import Split
from skinlesion_cli.models.checkpoint import plain_settings
from skinlesion_cli.training.resume import LastState, read_last
from skinlesion_cli.training.run_folder import RunFolder


def agreed_splits(splits: Mapping[str, Split], world: World) -> dict[str, Split]:
    """The splits with only the files that the leader has kept, in every process."""
    kept = {name: [str(file) for file in split.files] for name, split in splits.items()}
    stored = json.loads(world.from_leader(json.dumps(kept).encode()))
    of_leader = {name: set(stored.get(name, ())) for name in splits}
    return {
        name: split_of(split, [file in of_leader[name] for file in kept[name]])
        for name, split in splits.items()
    }


def require_same(world: World, settings: Settings, screening: Screening) -> None:
    """Require the same settings and images of all processes; contents only where there are facts."""
    own = {name: value for name, value in plain_settings(settings).items() if not spec(name).per_machine}
    names = [[split.classes, split.names] for split in screening.splits.values()]
    contents = screening.contents
    digests = world.gather([_digest(own), _digest(names), _digest(contents) if contents else None])
    with world.together():
        for rank, (of_settings, of_names, of_contents) in enumerate(digests if world.leads else []):
            if of_settings != digests[0][0]:
                fault = f"process {rank} has different settings from process 0"
                raise InputError(f"{fault}; start all with the same settings")
            if of_names != digests[0][1] or of_contents not in (None, digests[0][2]):
                raise InputError(
                    f"process {rank} finds different images in {settings.data_root} from process 0; give "
                    "every machine the same images"
                )


def read_last_together(world: World, folder: RunFolder) -> LastState:
    """Like `read_last`, but only the leader reads: the others need no access to the run's folder."""
    if world.size == 1:
        return read_last(folder)
    file = io.BytesIO()
    with world.together():
        if world.leads:
            torch.save(read_last(folder), file)
    received = io.BytesIO(world.from_leader(file.getvalue()))
    content, remark = torch.load(received, map_location="cpu", weights_only=True)
    return content, remark


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
