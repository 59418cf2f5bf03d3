"""`ddib plan`: what a training or a translation will need, before a chip is paid for."""

import contextlib
import dataclasses
import functools
import time
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import tyro
from jax.errors import JaxRuntimeError
from jaxtyping import Array

from ddib_jax import parallel, pretrained
from ddib_jax.bridge import SOLVER, STEPS
from ddib_jax.cli.arguments import SolverName
from ddib_jax.cli.estimate import Estimate
from ddib_jax.cli.topology import compiler_effort, devices_of, shortage
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.guidance import ClassifierFreeGuidance
from ddib_jax.nets import UNet, UNet2DCondition, example_condition
from ddib_jax.options import Count, OptionalModelName, OptionalSize, Signed, Size
from ddib_jax.preconditioning import PRECONDITIONINGS, Wiener
from ddib_jax.pretrained.published import PUBLISHED
from ddib_jax.roofline import CHIPS, Cost
from ddib_jax.solvers import get_solver
from ddib_jax.trainer import Recipe, Reference
from ddib_jax.training import TrainState, train_steps
from ddib_jax.weightings import WEIGHTINGS


@dataclass(frozen=True, kw_only=True)
class Plan(Recipe):
    """Say whether a training or a translation fits on chips, and how long it takes.

    The real program is compiled, for chips that need not be here; the time is the least they allow.
    """

    like: OptionalModelName = None
    """Plan for the network and image size of this model, not for those of the options: a shipped
    model, a model directory, adm-64, adm-256, sd15 or sdxl.
    """
    image_size: Size = 32
    """Side of the images in pixels."""
    channels: Size = 3
    """Channels of the images."""
    classes: OptionalSize = None
    """How many classes a --conditional model has."""
    topology: Annotated[str, tyro.conf.arg(metavar="TOPOLOGY")] = "local"
    """TPU chips (v5e:2x2 ... v5e:16x16, v5p:2x2x1, v6e:2x2; needs the extra ddib_jax[plan]), or
    local for the devices of this machine.
    """
    work: Literal["training", "translation"] = "training"
    """A step of training, or the evaluations of a translation, encoding and decoding."""
    guided: bool = False
    """With classifier-free guidance: two rows of the network's batch for each image of a
    translation.
    """
    solver: SolverName = SOLVER
    """Solver of a translation; an unknown name gives the list."""
    grid_steps: Count = STEPS
    """Steps of the grid, each way, of a translation."""
    effort: Signed = -1.0
    """Effort of the compiler for chips that are not here, from -1 (a few minutes) to 0 (as for a
    program that is to run, four to thirteen times as long).
    """

    def run(self) -> None:
        """Compile, count, print."""
        self._check()
        devices, local = devices_of(self.topology), self.topology == "local"
        self._check_batch(len(devices))
        began = time.monotonic()
        model = jax.eval_shape(self._model)
        try:
            with contextlib.nullcontext() if local else compiler_effort(self.effort):
                cost = self._cost(model, devices)
        except JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            print(f"{self.work} on {self.topology}: DOES NOT FIT. {shortage(str(error))}")
            return
        kind = devices[0].device_kind
        chip = CHIPS.get(kind)
        hardware = f"{len(devices)} x {chip.name if chip else kind}"
        if local:
            hardware += " (these devices)"
        seconds = time.monotonic() - began
        print(f"{self.work} on {self.topology}, {hardware}, compiled in {seconds:.0f} s")
        calls, call, work = 1, "a step", "a step"
        if self.work == "translation":
            calls = 2 * get_solver(self.solver).evaluations(self.grid_steps)
            call, work = "an evaluation", f"for {calls} evaluations"
        parameters, batch = _size(model.params), self.batch_size
        estimate = Estimate(cost, chip, len(devices), batch, parameters, calls, call, work)
        for label, words in estimate.rows().items():
            print(f"  {label:<15} {words}")

    def _check(self) -> None:
        """Raise ValueError for options that do not go together."""
        if self.conditional != (self.classes is not None):
            raise ValueError(
                "A plan knows no data: give the number of classes (--classes) with --conditional,"
                " and with it alone."
            )
        if self.like is not None and self.conditional:
            raise ValueError(f"'{self.like}' has the classes that it has; leave --conditional out.")
        if self.like is not None and self.captions:
            raise ValueError(f"'{self.like}' is told what it is told; leave --captions out.")
        if self.like is None:
            self.check(points=False)
        if self.label_dropout and not (self.conditional or self.captions):
            raise ValueError(
                "Labels are dropped in a training that has some alone; add --conditional or"
                " --captions, or leave the label dropout out."
            )
        if self.guided and self.work != "translation":
            raise ValueError("A training is not guided; leave --guided out.")
        if get_solver(self.solver).tolerance is not None:
            raise ValueError(
                f"How many evaluations '{self.solver}' takes is known only when it runs; plan with"
                " another solver."
            )

    def _check_batch(self, devices: int) -> None:
        """Raise ValueError where the batch does not divide over devices, and in training parts."""
        parts = self.accumulate if self.work == "training" else 1
        if self.batch_size % (devices * parts):
            in_parts = f" in {self.accumulate} parts" if self.accumulate > 1 else ""
            raise ValueError(
                f"A batch of {self.batch_size} does not divide over {devices} devices{in_parts};"
                " choose a multiple."
            )

    def _model(self) -> DiffusionModel:
        """The untrained model; traced only, nothing of it is computed."""
        if self.like in PUBLISHED:
            return self._known_model(*PUBLISHED[self.like])
        if self.like is not None:
            if self.bf16:
                raise ValueError(f"'{self.like}' computes as it was trained; leave --bf16 out.")
            return pretrained.load(self.like)
        shape = (self.image_size, self.image_size, self.channels)
        if self.preconditioning == "wiener":
            directions = jnp.zeros((self.rank, *shape))
            precondition = Wiener(jnp.zeros(shape), directions, jnp.ones(self.rank), jnp.ones(()))
        else:
            precondition = PRECONDITIONINGS[self.preconditioning]()
        labels = self.classes
        if labels is not None and self.label_dropout > 0:
            labels += 1  # the null label
        model = self.untrained(shape, precondition, labels)
        if self.captions and self.work == "translation":  # the texts are encoded before
            network: Any = model.network
            params: Any = model.params
            unet = network.unet.clone(parent=None)
            model = dataclasses.replace(model, network=unet, params=params["unet"])
        return model

    def _known_model(self, size: int, network: UNet | UNet2DCondition) -> DiffusionModel:
        network = network.clone(dtype="bfloat16" if self.bf16 else "float32")
        of_codes = isinstance(network, UNet2DCondition)
        shape = (size, size, network.in_channels if of_codes else 3)
        inputs = jnp.zeros((1, *shape)), jnp.zeros(1), example_condition(network)
        params = network.init(jax.random.key(0), *inputs)["params"]
        if of_codes and self.work == "translation":  # such weights are stored in half precision
            params = jax.tree.map(lambda leaf: leaf.astype(network.dtype), params)
        return DiffusionModel(
            params,
            PRECONDITIONINGS["edm"](),
            network=network,
            schedule=self.noise_schedule(),
            data_shape=shape,
        )

    def _cost(self, model: DiffusionModel, devices: list) -> Cost:
        """The cost of a call: a step of training, or one evaluation of a translation."""
        if self.work == "translation":
            return Cost.of(self._evaluation(model, devices))
        cost = Cost.of(self._step(model, devices))
        if self.accumulate == 1:
            return cost
        # XLA counts the body of a loop once; the optimiser, outside of it, reads and writes some
        # 36 bytes a parameter.
        outside = 36 * _size(model.params)
        return dataclasses.replace(
            cost,
            flops=self.accumulate * cost.flops,
            traffic=self.accumulate * max(0, cost.traffic - outside) + outside,
        )

    def _step(self, model: DiffusionModel, devices: list) -> Any:
        """A step of training, lowered for all devices."""
        tx, batch = self.tx(), self.batch_size // len(devices)
        step = functools.partial(
            train_steps,
            grad_fn=self.grad_fn(model, WEIGHTINGS[self.weighting](), self.classes or 0),
            tx=tx,
            ema_decay=self.ema_decay,
            axis_name=parallel.BATCH_AXIS,
        )
        each = lambda *shape, dtype=jnp.float32: jax.ShapeDtypeStruct((len(devices), *shape), dtype)
        state = jax.eval_shape(lambda params: TrainState.create(params, tx), model.params)
        state = jax.tree.map(lambda leaf: each(*leaf.shape, dtype=leaf.dtype), state)
        batches = {
            "image": each(1, batch, *model.data_shape),
            "index": each(1, batch, dtype=jnp.int32),
        }
        spec = model.network.condition_spec()
        if spec is not None:
            of_batch = lambda leaf: each(1, batch, *leaf.shape, dtype=leaf.dtype)
            batches["cond"] = jax.tree.map(of_batch, spec)
        compared = self.reference and not self.captions
        shared = (model.precondition, self._reference(model) if compared else None)
        key = jax.eval_shape(lambda: jax.random.key(0))
        program = parallel.data_parallel(step, devices=devices)
        return program.lower(key, state, batches, shared)

    def _reference(self, model: DiffusionModel) -> Reference:
        """Shapes of the reference images and, where the network is told labels, of theirs."""
        labelled = model.network.condition_spec() == jax.ShapeDtypeStruct((), jnp.int32)

        def reference() -> Reference:
            images = jnp.zeros((self.reference, *model.data_shape))
            return Reference(images, jnp.zeros(self.reference, jnp.int32) if labelled else None)

        return jax.eval_shape(reference)

    def _evaluation(self, model: DiffusionModel, devices: list) -> Any:
        """An evaluation of the denoiser, lowered for all devices."""

        def evaluate(model: DiffusionModel, batch: tuple[Array, Array]) -> Array:
            x, sigma = batch
            return model.denoise(x, sigma[0])

        # Conditions are arguments: of constants XLA would compute a part beforehand.
        cond = model.network.condition_spec()
        model = dataclasses.replace(model, cond=cond)
        if self.guided:
            if cond is None:
                raise ValueError("The network is told nothing to be guided to; leave --guided out.")
            scale = jax.ShapeDtypeStruct((), jnp.float32)
            guidance = ClassifierFreeGuidance(cond, scale)
            model = dataclasses.replace(model, guidance=guidance)
        shape = (len(devices), self.batch_size // len(devices), *model.data_shape)
        images = jax.ShapeDtypeStruct(shape, jnp.float32)
        sigmas = jax.ShapeDtypeStruct((len(devices), 1), jnp.float32)
        return parallel.mapped(evaluate, devices=devices).lower(model, (images, sigmas))


def _size(params: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))
