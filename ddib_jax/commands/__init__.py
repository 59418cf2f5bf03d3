"""The sub-commands of `ddib`: each a frozen dataclass of its options with a `run`, composed from
the rooms below.
"""

from ddib_jax.commands.colours import Colours
from ddib_jax.commands.convert import Convert
from ddib_jax.commands.diagnose import Diagnose
from ddib_jax.commands.halves import Decode, Encode, Sample
from ddib_jax.commands.plan import Plan
from ddib_jax.commands.sweep import Sweep
from ddib_jax.commands.train import Train
from ddib_jax.commands.train_classifier import TrainClassifier
from ddib_jax.commands.train_cyclegan import TrainCyclegan
from ddib_jax.commands.train_dcgan import TrainDcgan
from ddib_jax.commands.translate import Translate

COMMANDS: dict[str, type] = {
    "train": Train,
    "train-classifier": TrainClassifier,
    "train-cyclegan": TrainCyclegan,
    "train-dcgan": TrainDcgan,
    "translate": Translate,
    "sweep": Sweep,
    "sample": Sample,
    "encode": Encode,
    "decode": Decode,
    "diagnose": Diagnose,
    "colours": Colours,
    "convert": Convert,
    "plan": Plan,
}
