"""`audit`: whether a data set leaks between its splits."""

import dataclasses
from pathlib import Path

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import OnEvent, Warned, ignore
from skinlesion_cli.curation.audit import Audit, audit_folder
from skinlesion_cli.curation.check_log import remember_check
from skinlesion_cli.curation.groups import read_groups
from skinlesion_cli.curation.label_check import check_labels, read_out_of_fold
from skinlesion_cli.data.manifest import MANIFEST
from skinlesion_cli.data.splits import is_table, require_folder
from skinlesion_cli.data.workers import worker_count


def audit(
    data: Path | str,
    *,
    images: Path | str | None = None,
    groups: Path | str | None = None,
    near: bool = True,
    predictions: Path | str | None = None,
    num_workers: int | None = None,
    on_event: OnEvent = ignore,
) -> Audit:
    """Look for unreadable files, and for photographs and groups in more than one split.

    Nothing is written to the data set's folder. The result is recorded in the user's cache folder, where
    `train` and `report` find it.

    Args:
        data: folder with `SPLIT/CLASS/`, or with `CLASS/` if the data are not split; or a table.
        images: the folder that the files of a table are relative to; None for the table's own.
        groups: CSV file with the lesion or patient of each image; None for those of `data/manifest.csv`, if
            it exists, or of the table.
        near: whether to look for changed copies too, not only for equal bytes and equal pixels.
        predictions: folder of a study with folds, or CSV file: out-of-fold predictions rank the labels.
        num_workers: processes that read images; None to choose for this machine.
        on_event: receives progress events.

    Returns:
        The audit. `leaking` is the result, `verdict()` states it in a sentence, `rows()` lists the pairs.

    Raises:
        InputError: there is no such data set, it has no class folders, its table is invalid, or the groups
            cannot be read, are ambiguous, or match none of the images.
    """
    folder, images_root = Path(data), None if images is None else Path(images)
    if images_root is not None and not is_table(folder):
        require_folder(folder, images_root)
    table = None if groups is None else Path(groups)
    own = folder / MANIFEST
    source = own if table is None and own.is_file() else table
    known = read_groups(source) if source is not None else {}
    out_of_fold = None if predictions is None else read_out_of_fold(Path(predictions))
    found = audit_folder(folder, known, table, near, worker_count(num_workers), on_event, images_root)
    try:
        remember_check(folder, found.verdict(), leaking=found.leaking, images=images_root)
    except InputError as error:
        on_event(Warned(f"this check is not recorded: {error}"))
    if out_of_fold is None:
        return found
    inventory = found.inventory
    labelled = [(image.file, image.label) for image in inventory.images]
    return dataclasses.replace(found, labels=check_labels(labelled, out_of_fold, inventory.root))
