"""What the page asks for: encode once, and then perturb and decode at every move."""

import math
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddib_jax import pretrained
from ddib_jax.bridge import DDIB, Bridge, check_meeting, fixed_noise, parse_coupling
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.lab import programs
from ddib_jax.lab.origin import Origin
from ddib_jax.lab.pictures import PREFIX, Shelf
from ddib_jax.lab.programs import Kept
from ddib_jax.lab.sliders import SEVEN, Slider, slider
from ddib_jax.lab.state import Side, State
from ddib_jax.perturbations import get_perturbation
from ddib_jax.pretrained import Checkpoint
from ddib_jax.solvers import get_solver
from ddib_jax.translation import image_keys, path
from ddib_jax.types import HostImages

QUICK = 8
"""Steps of a preview, while a slider is moved."""
_KEPT, _FEWEST = 64, 4
"""Latents that are kept, and translations, where there is room for them."""
_ROOM = 2**24
"""Numbers of all latents that are kept, and of each picture of the translations."""
_TOGETHER = 2**14
"""Numbers of a latent of which seven are decoded in one program; larger ones go one by one."""


class Found(NamedTuple):
    """A translation: all [1 ...]; latents are as the target's model has them."""

    image: HostImages
    latent: HostImages
    perturbed: HostImages
    translation: HostImages


class Lab:
    """The computations of a page over one pair of models; one thread at a time may use it.

    quick: steps of a preview. The latent of an image is computed once for each setting of the
    source and kept, so that a move of a slider perturbs and decodes alone; of a perturbation that
    acts before there is a latent it encodes too. All methods raise as the library does, with the
    sentences that the command line prints.
    """

    def __init__(self, origin: Origin, *, quick: int = QUICK):
        self.origin, self.quick = origin, quick
        self.shelf = Shelf(origin.shape)
        self._weights, self._models, self._bridges = Kept(2), Kept(8), Kept(16)
        kept = max(_FEWEST, min(_KEPT, _ROOM // math.prod(origin.shape)))
        self._latents, self._found = Kept(kept), Kept(kept)

    def image(self, word: str) -> HostImages:
        """The image [1 h w c] of a word of a state."""
        return self.shelf.take(word) if word.startswith(PREFIX) else self.origin.image(int(word))

    def slider(self, name: str) -> Slider:
        """The slider of a perturbation, for these models; raises ValueError for an unknown one."""
        model = self.origin.source.model()
        highest = float(model.schedule.sigma_range[1])
        return slider(name, highest=highest, side=min(model.data_shape[:2]))

    def translate(self, state: State, *, quick: bool = False) -> Found:
        """The translation of a state, by few steps where it is to be quick."""
        quick = quick and state.steps > self.quick
        return self._found.get(
            (replace(state, perturb=state.moved), quick),
            lambda: self._translated(state, quick=quick),
        )

    def encode(self, state: State) -> HostImages:
        """The latent [1 ...] of a state's image, for which the source alone is needed."""
        return self._perturbed(replace(state, perturb=()), quick=False)[0]

    def back(self, state: State) -> HostImages:
        """The translation encoded again and decoded to the source's domain, [1 h w c]."""
        found = self.translate(state)
        source, target = self._both(state, quick=False)
        latent = programs.encode(target, programs.to_data(target.model, found.translation))
        return programs.to_image(source.model, programs.decode(source, latent))

    def row(self, state: State, place: int) -> tuple[tuple[float, ...], HostImages]:
        """Values of the perturbation at `place` of a state, and the previews [k h w c] of them.

        Small ones are decoded together, in one program. Raises ValueError where there is none.
        """
        if not 0 <= place < len(state.perturb):
            raise ValueError(f"There is no slider {place}; the page has {len(state.perturb)}.")
        name = state.perturb[place][0]
        values = self.slider(name).seven()
        states = [
            replace(
                state,
                perturb=tuple(
                    (name, value) if at == place else pair for at, pair in enumerate(state.perturb)
                ),
            )
            for value in values
        ]
        alone = math.prod(self.origin.source.model().data_shape) > _TOGETHER
        if alone or get_perturbation(name).stage != "latent" or state.couple is not None:
            found = [self.translate(each, quick=True).translation for each in states]
            return values, np.concatenate(found)
        each = [self._perturbed(one, quick=state.steps > self.quick) for one in states]
        # Always as many, so that one program serves every slider.
        latents = np.resize(
            np.concatenate([pair[1] for pair in each]), (SEVEN, *each[0][1].shape[1:])
        )
        _, target = self._both(state, quick=state.steps > self.quick)
        images = programs.to_image(target.model, programs.decode(target, latents))
        return values, images[: len(values)]

    def film(self, state: State) -> tuple[np.ndarray, HostImages, HostImages]:
        """Noise levels [k], and the states [k h w c] up from the image and down to the translation.

        Raises ValueError under a coupling, where two images go down together, and for a solver that
        has no states between the ends of its grid.
        """
        if state.couple is not None:
            raise ValueError(
                "Under a coupling two images go down together, and no film shows both; leave the"
                " coupling out."
            )
        source, target = self._both(state, quick=False)
        found = self.translate(state)
        data = programs.to_data(source.model, self._before(state))
        up = path(source, data, rising=True)[:, 0]
        down = path(target, found.perturbed, rising=False)[:, 0]
        frames = (programs.to_image(source.model, up), programs.to_image(target.model, down))
        return np.asarray(source.sigmas), *frames

    def warm(self) -> None:
        """Compile what the first moves of a slider need; for a thread of its own."""
        state = self.origin.first()
        source, target = self._both(state, quick=True)
        shape = source.model.data_shape
        zeros = np.zeros((SEVEN, *shape), np.float32)
        programs.decode(target, zeros[:1])
        context = dict.fromkeys(("data", "noise", "latent", "reference"), zeros[:1])
        for name, _ in state.perturb:
            programs.perturbed(name, zeros[:1], 0.5, context)
        if zeros[0].size <= _TOGETHER:
            programs.decode(target, zeros)

    def _translated(self, state: State, *, quick: bool) -> Found:
        latent, moved = self._perturbed(state, quick=quick)
        source, target = self._both(state, quick=quick)
        if state.couple is None:
            images = programs.to_image(target.model, programs.decode(target, moved))
        else:
            coupling = parse_coupling(
                state.couple, source.model.data_shape, strength=state.couple_strength
            )
            ddib = DDIB(source, target, coupling=coupling, until=state.until)
            ddib.check()
            # A leaf that is an array: another strength or end is no other program.
            ddib = jax.tree.map(jnp.asarray, ddib)
            images = programs.decode_coupled(ddib, latent, moved)
        return Found(self.image(state.image), latent, moved, images)

    def _perturbed(self, state: State, *, quick: bool) -> tuple[HostImages, HostImages]:
        """The latent [1 ...] as it was encoded, and as the state's perturbations leave it."""
        ahead = tuple(pair for pair in state.moved if get_perturbation(pair[0]).stage != "latent")
        # While a slider moves that acts before the latent, encoding is quick too; any other one
        # starts from the latent of the full grid, which is kept.
        coarse = quick and bool(ahead)
        source = self._source(state, quick=coarse)
        data = programs.to_data(source.model, self._before(state))
        settings = (state.source, state.steps, state.solver, state.grid, state.seed, ahead, coarse)
        latent = self._latents.get((state.image, *settings), lambda: programs.encode(source, data))
        context = {"data": data, "latent": latent}
        looked_at = {part for name, _ in state.moved for part in get_perturbation(name).needs}
        if "noise" in looked_at:
            context["noise"] = self._noise(state, latent)
        if "reference" in looked_at:
            word = state.reference or "0"
            other = programs.to_data(source.model, self.image(word))
            context["reference"] = self._latents.get(
                (word, "reference", *settings), lambda: programs.encode(source, other)
            )
        moved = latent
        for name, value in state.moved:
            if get_perturbation(name).stage == "latent":
                moved = programs.perturbed(name, moved, value, context)
        return latent, moved

    def _before(self, state: State) -> HostImages:
        """The image after the perturbations that act on images."""
        image = self.image(state.image)
        for name, value in state.moved:
            if get_perturbation(name).stage == "image":
                context = {"data": image, "noise": self._noise(state, image)}
                image = programs.perturbed(name, image, value, context)
        return image

    def _noise(self, state: State, like: HostImages) -> HostImages:
        """The fixed noise that `ddib translate` draws for this image."""
        number = 0 if state.image.startswith(PREFIX) else int(state.image)
        keys = image_keys(jax.random.key(state.seed), np.asarray([number]))
        return np.asarray(fixed_noise(keys, jnp.asarray(like)))

    def _both(self, state: State, *, quick: bool) -> tuple[Bridge, Bridge]:
        """The bridges of source and target, up to the noise level at which they meet."""
        source = self._source(state, quick=quick)
        target = self._bridge(self.origin.target, state.target, state, quick=quick)
        check_meeting(source.model, target.model)
        if source.model.data_shape != target.model.data_shape:
            raise ValueError(
                "The lab shows one latent to both models, and these have unlike numbers of"
                " channels; `ddib translate` lets them meet."
            )
        return source, target

    def _source(self, state: State, *, quick: bool) -> Bridge:
        return self._bridge(self.origin.source, state.source, state, quick=quick)

    def _bridge(self, checkpoint: Checkpoint, side: Side, state: State, *, quick: bool) -> Bridge:
        steps = min(state.steps, self.quick) if quick else state.steps

        def made() -> Bridge:
            model = self._models.get((checkpoint.name, side), lambda: self._told(checkpoint, side))
            solver = get_solver(state.solver)
            return Bridge.over(model, steps=steps, grid=state.grid, solver=solver)

        key = (checkpoint.name, side, steps, state.solver, state.grid)
        bridge = self._bridges.get(key, made)
        for name, value in state.moved:
            if get_perturbation(name).stage == "level":
                level = programs.perturbed(name, bridge.sigmas[-1], value, {})
                bridge = bridge.up_to(jnp.asarray(level))
        return bridge

    def _told(self, checkpoint: Checkpoint, side: Side) -> DiffusionModel:
        """The model under a condition; all of one checkpoint share its weights on the device."""
        model = pretrained.conditioned(
            checkpoint,
            label=side.label,
            prompt=side.prompt,
            guidance=side.guidance,
            negative=side.negative,
        )
        weights = self._weights.get(checkpoint.name, lambda: jax.device_put(model.params))
        return jax.device_put(replace(model, params=weights))
