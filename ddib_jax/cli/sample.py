"""`ddib sample`: noise in, images out."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import tyro

from ddib_jax import pretrained, translation
from ddib_jax.cli.arguments import ImageSize, ModelName, OptionalText
from ddib_jax.cli.conditions import size_of
from ddib_jax.cli.crossing import Crossing, Flat
from ddib_jax.cli.recording import Recording, film_of_samples, nearest_training_images
from ddib_jax.data.png import write_grid, write_images
from ddib_jax.data.results import open_folder
from ddib_jax.diagnosis import evaluations, sample_record
from ddib_jax.files import drafted
from ddib_jax.options import Count, OptionalPortion, OptionalSigned, Text, Whole
from ddib_jax.pretrained import Checkpoint
from ddib_jax.progress import progress


@dataclass(frozen=True)
class Sample:
    """Sample images of a model's domain by decoding Gaussian noise."""

    model: ModelName
    """A model directory or a shipped model."""
    out: Path
    """Where the samples go, one PNG each, and sheet.png with all."""
    label: Annotated[str, tyro.conf.arg(name="class", metavar="CLASS[,CLASS ...]|all")] = "all"
    """Classes of a class-conditional model by name or number (.npy files for one that is told
    embeddings), separated by commas; the samples take them in turn.
    """
    prompt: Annotated[
        tuple[str, ...],
        Text,
        tyro.conf.arg(metavar="TEXT ...", help_behavior_hint="(default: none)"),
    ] = ()
    """What the samples of a text-conditional model show, in words; they take several in turn."""
    guidance: OptionalSigned = None
    """Scale of classifier-free guidance towards the class or the prompt; 1 is that itself."""
    negative: OptionalText = None
    """A prompt to be guided away from; unless given, that of no image in particular."""
    guidance_rescale: OptionalPortion = None
    """How far the guidance is scaled back to the contrast of the condition alone (Lin et al. 2023):
    0.7 is usual where a high scale overexposes.
    """
    image_size: ImageSize = ()
    """Height and width of a latent model's images, or one number for both."""
    count: Count = 64
    """How many images in all."""
    seed: Whole = 0
    """Seed of the latents."""
    report: bool = False
    """Also make the page of the run at once: OUT/run/index.html."""
    film: bool = True
    """Solve a few samples' ways once more, for the film on the page."""
    crossing: Flat = dataclasses.field(default_factory=Crossing)

    def run(self) -> None:
        """Draw noise, decode, write."""
        if self.count < 1:
            raise ValueError(f"At least one sample is needed, not {self.count}.")
        open_folder(self.out)
        recording = Recording(self.out, self)
        checkpoint = pretrained.open(self.model, image_size=size_of(self.image_size))
        words = self._words(checkpoint)
        conds = pretrained.conditions(checkpoint, words, prompts=self.prompt)
        model = pretrained.guided(
            checkpoint,
            checkpoint.model(),
            self.guidance,
            self.negative,
            rescale=self.guidance_rescale,
        )
        key = jax.random.key(self.seed)
        noise = np.asarray(jax.random.normal(key, (self.count, *model.data_shape)))
        target = self.crossing.bridge(model)
        # A batch is measured with any condition: how long an evaluation takes depends on none.
        measured = self.crossing.bridge(model.given(jax.tree.map(lambda leaf: leaf[0], conds)))
        in_turn = lambda leaf: np.resize(leaf, (self.count, *leaf.shape[1:]))
        conds = jax.tree.map(in_turn, conds)
        images = translation.sample(
            target,
            noise,
            cond=conds,
            batch_size=self.crossing.batch(measured, self.count),
            progress=progress("sampling"),
        )
        names = [f"sample-{i:05d}" for i in range(self.count)]
        with drafted(self.out) as draft:
            write_images(draft, names, images)
            write_grid(draft / "sheet.png", images)
        recording.kept.add(sample=images)
        if told := words or self.prompt:
            names = [f"{name}, {told[i % len(told)]}" for i, name in enumerate(names)]
        recording.write(
            "samples",
            f"Samples of {Path(self.model).name}",
            sample_record(
                recording.kept,
                names,
                summary=recording.summary(self.count, "samples", hosts=1),
                cost=[
                    ("Samples", self.count),
                    ("Network evaluations a sample", evaluations(target)),
                ],
                passage=film_of_samples(target, noise, conds) if self.film else None,
                nearest=nearest_training_images(checkpoint, images),
            ),
            report=self.report,
        )
        print(f"{self.count} samples lie in {self.out}.")

    def _words(self, checkpoint: Checkpoint) -> tuple[str, ...]:
        """The words of the classes asked for; of all that the model knows for "all"."""
        if self.label != "all":
            known = () if checkpoint.conditioner is None else checkpoint.conditioner.vocabulary
            if self.label in known:  # a name may hold a comma
                return (self.label,)
            return tuple(word.strip() for word in self.label.split(","))
        return () if checkpoint.conditioner is None else checkpoint.conditioner.vocabulary
