"""The options that name a trained model, and describe one whose file does not."""

from skinlesion_cli.cli.options import option
from skinlesion_cli.common.settings import choices
from skinlesion_cli.models.model_info import BEST_MODEL
from skinlesion_cli.models.preprocessing import INTERPOLATIONS

CHECKPOINT = option(
    "--checkpoint",
    "The trained model: its file, the folder of its run, a timm folder, or hf-hub:ORG/NAME. Several, or "
    f"the runs in a folder, form an ensemble. Default: {BEST_MODEL}.",
    "FILE",
    show_default=False,
)
RUN = option("--run", "Folder of a run: its best model; its data too, unless --data is given.", "DIR")
ARCH = option("--arch --model-arch", "Backbone, for a checkpoint that does not name it.", "TEXT")
CLASSES = option(
    "--classes",
    "Classes, in the order of the outputs, for a checkpoint that does not name them; "
    "or a text file with one class per line.",
    "A,B,…",
)
IMG_SIZE = option("--img-size", "Input side in pixels, for a checkpoint that does not give it.", "INTEGER")
_UNSAID = "for a checkpoint that does not give it. Default: that of timm's weights for the backbone"
NORMALIZATION = option(
    "--normalization",
    f"Mean and std, {_UNSAID}.",
    "imagenet|backbone",
)
MEAN = option("--mean", f"Mean of the three channels, in [0, 1], {_UNSAID}.", "R,G,B")
STD = option("--std", f"Standard deviation of the three channels, {_UNSAID}.", "R,G,B")
INTERPOLATION = option("--interpolation", f"How images are resized, {_UNSAID}.", "|".join(INTERPOLATIONS))
CROP = option("--crop-pct", f"Side of the centre crop / shorter side of the image, {_UNSAID}.", "NUMBER")
FIT = option(
    "--fit", "How an image becomes square, for a checkpoint that does not say so.", "|".join(choices("fit"))
)
EMA = option(
    "--ema/--no-ema",
    "Take the averaged weights (EMA), if the file also contains them. Default: no.",
    show_default=False,
)
