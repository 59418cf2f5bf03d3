"""The sub-commands of `ddib`, by name.

A command is imported when it is asked for, so that `ddib --help` needs neither JAX nor the rest.
"""

import importlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """What a command is for, and where its options are.

    summary: one line, shown by `ddib --help`; the first line of the options' docstring is the same.
    options: the dataclass, as "module:Class" in this package. examples: command lines, shown by the
    command's own help. needs_jax: whether it computes anything; it works without JAX otherwise.
    """

    group: str
    summary: str
    options: str
    examples: tuple[str, ...]
    needs_jax: bool = True

    def load(self) -> type:
        """The dataclass of its options, imported here."""
        module, name = self.options.split(":")
        return getattr(importlib.import_module(f"ddib_jax.cli.{module}"), name)


COMMANDS: dict[str, Command] = {
    "translate": Command(
        group="translate",
        summary="Translate images of one domain into another.",
        options="translate:Translate",
        examples=(
            "ddib translate five --source five --target seven --limit 64 --out sevens",
            "ddib translate photo.png --source models/photos --target models/paintings --out out",
            "ddib translate five --method sdedit --target seven --noise 1 --limit 64 --out edited",
            "ddib translate photo.png --model models/stable-diffusion \\\n"
            '      --source-prompt "a cat" --target-prompt "a dog" --out dogs',
            "ddib translate edges.png --method freecontrol --model models/stable-diffusion \\\n"
            '      --bases cat.npz --condition-prompt "edges of a cat" --prompt "a wet cat" \\\n'
            "      --target-guidance 7.5 --out cats",
        ),
    ),
    "sweep": Command(
        group="translate",
        summary="Translate images with their latents perturbed, once for every coefficient.",
        options="sweep:Sweep",
        examples=(
            "ddib sweep five --source five --target seven --perturb blur \\\n"
            "      --coefficients 0 0.5 1 --limit 12 --out swept",
        ),
    ),
    "encode": Command(
        group="translate",
        summary="Encode images to latents, which whoever holds the other model can decode.",
        options="encode:Encode",
        examples=("ddib encode five --model five --limit 64 --out latents.npz",),
    ),
    "decode": Command(
        group="translate",
        summary="Decode latents to images of a model's domain.",
        options="decode:Decode",
        examples=("ddib decode latents.npz --model seven --out sevens",),
    ),
    "sample": Command(
        group="translate",
        summary="Sample images of a model's domain by decoding Gaussian noise.",
        options="sample:Sample",
        examples=(
            "ddib sample --model seven --out samples",
            "ddib sample --model digits --class 1,2,3 --out samples",
            "ddib sample --model models/stable-diffusion \\\n"
            '      --prompt "a photo of a cat" --guidance 7.5 --count 4 --out samples',
        ),
    ),
    "bases": Command(
        group="translate",
        summary="Make semantic bases of a concept, by which FreeControl reads structure.",
        options="bases:MakeBases",
        examples=(
            'ddib bases --model models/stable-diffusion --prompt "a photo of a cat" \\\n'
            "      --guidance 7.5 --out cat.npz",
        ),
    ),
    "condition": Command(
        group="translate",
        summary="Make condition images (edges, a skeleton, depth ...) of pictures.",
        options="condition:MakeConditions",
        examples=("ddib condition edges photo.png --out edges",),
    ),
    "colours": Command(
        group="translate",
        summary="Give an image the palette of another one.",
        options="colours:Colours",
        examples=("ddib colours photo.jpg --like painting.jpg --out recoloured.png",),
    ),
    "train": Command(
        group="train",
        summary="Train a diffusion model of one domain.",
        options="train:Train",
        examples=(
            "ddib train --data folder/of/photos --image-size 32 --out models/photos",
            "ddib train --data seven --init five --steps 600 --out models/sevens",
        ),
    ),
    "distill": Command(
        group="train",
        summary="Train a network that translates in one evaluation, by the pairs of a DDIB.",
        options="distill:Distill",
        examples=(
            "ddib distill --source five --target seven --data five --out models/five-to-seven",
            "ddib translate five --method student --model models/five-to-seven --out sevens",
        ),
    ),
    "train-classifier": Command(
        group="train",
        summary="Train a classifier of digits, by which translations are measured.",
        options="train_classifier:TrainClassifier",
        examples=("ddib train-classifier --data digits:5,7 --out models/classifier",),
    ),
    "train-cyclegan": Command(
        group="train",
        summary="Train a CycleGAN on two domains.",
        options="train_cyclegan:TrainCyclegan",
        examples=(
            "ddib train-cyclegan --a horse2zebra/trainA --b horse2zebra/trainB \\\n"
            "      --image-size 128 --out models/zebras",
        ),
    ),
    "train-dcgan": Command(
        group="train",
        summary="Train a DCGAN on one domain.",
        options="train_dcgan:TrainDcgan",
        examples=("ddib train-dcgan --data five --steps 1200 --out models/fives-gan",),
    ),
    "lab": Command(
        group="examine",
        summary="Open a page with an image, its latent, its translation and sliders between them.",
        options="lab:Lab",
        examples=(
            "ddib lab",
            "ddib lab photos --source models/photos --target models/paintings",
        ),
    ),
    "diagnose": Command(
        group="examine",
        summary="Examine a model and say whether it is fit to bridge.",
        options="diagnose:Diagnose",
        examples=(
            "ddib diagnose five",
            "ddib diagnose models/photos folder/of/photos --error 1e-2",
        ),
    ),
    "evaluate": Command(
        group="examine",
        summary="Score results beside references, each figure with its interval.",
        options="evaluate:Evaluate",
        examples=(
            "ddib evaluate translations references --dice 128 --out scores",
            "ddib evaluate sevens seven --unpaired --features efficientnet_lite0.npz --out scores",
        ),
    ),
    "tune": Command(
        group="examine",
        summary="Find the few noise levels, and the solver, that serve a pair of models best.",
        options="tune:Tune",
        examples=(
            "ddib tune --source five --target seven --data five --steps 10 --out ten.json",
            "ddib translate five --source five --target seven --grid ten.json --out sevens",
        ),
    ),
    "report": Command(
        group="examine",
        summary="Make the page of a run, or make it again, without JAX.",
        options="report:Report",
        examples=("ddib report sevens",),
        needs_jax=False,
    ),
    "plan": Command(
        group="examine",
        summary="Say whether a training or a translation fits on chips, and how long it takes.",
        options="plan:Plan",
        examples=("ddib plan --like five --batch-size 16384 --topology v5e:16x16",),
    ),
    "convert": Command(
        group="convert",
        summary="Write a model in another format, its weights bit for bit.",
        options="convert:Convert",
        examples=("ddib convert 256x256_diffusion_uncond.pt --to ddib --out models/imagenet",),
    ),
}
