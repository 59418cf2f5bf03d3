"""`ddib plan`: what a training or a translation will need, before a chip is paid for."""

import contextlib
import dataclasses
import functools
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.errors import JaxRuntimeError
from jaxtyping import Array

from ddib_jax import parallel, pretrained
from ddib_jax.bridge import SOLVER, STEPS
from ddib_jax.commands.domain import Reference
from ddib_jax.commands.recipe import Recipe
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.nets import UNet, example_condition
from ddib_jax.preconditioning import PRECONDITIONINGS, Wiener
from ddib_jax.roofline import CHIPS, Chip, Cost
from ddib_jax.solvers import count, get_solver, is_implicit
from ddib_jax.training import TrainState, train_steps
from ddib_jax.weightings import WEIGHTINGS

_ADM = {
    "num_head_channels": 64,
    "resblock_updown": True,
    "learn_sigma": True,
    "attention_resolutions": (32, 16, 8),
}
KNOWN = {
    "adm-64": (
        64,
        UNet(model_channels=192, channel_mult=(1, 2, 3, 4), num_res_blocks=3, dropout=0.1, **_ADM),
    ),
    "adm-256": (
        256,
        UNet(model_channels=256, channel_mult=(1, 1, 2, 2, 4, 4), num_res_blocks=2, **_ADM),
    ),
}
"""Networks of Dhariwal and Nichol (2021, table 4) -> their image size and themselves, without
classes.
"""

_ELSEWHERE = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
}


@dataclass(frozen=True, kw_only=True)
class Plan(Recipe):
    """Say whether a training or a translation fits, and how long it takes at best: the real
    program, compiled for chips that need not be here.
    """

    like: str | None = None
    """Plan for this network and image size rather than for the options': a shipped model, a model
    directory, adm-64 or adm-256.
    """
    image_size: int = 32
    """Side of the images in pixels."""
    channels: int = 3
    """Channels of the images."""
    classes: int | None = None
    """How many, of a --conditional model."""
    topology: str = "local"
    """Chips: v5e:2x2 ... v5e:16x16, v5p:2x2x1, v6e:2x2 (needs the extra ddib_jax[plan]), or the
    devices that are here.
    """
    work: Literal["training", "translation"] = "training"
    """A step of training, or the evaluations of a translation's two legs."""
    solver: str = SOLVER
    """Solver of a translation; an unknown name gives the list."""
    grid_steps: int = STEPS
    """Steps of the grid, each way, of a translation."""
    effort: float = -1.0
    """What the compiler may spend on the program for chips that are not here, from -1 (a few
    minutes) to 0 (what running it would have it spend, four to thirteen times as long).
    """

    def run(self) -> None:
        """Compile, count, print."""
        if self.conditional != (self.classes is not None):
            raise ValueError(
                "A plan knows no data: give the number of classes (--classes) with --conditional,"
                " and with it alone."
            )
        if self.like is not None and self.conditional:
            raise ValueError(f"'{self.like}' has the classes that it has; leave --conditional out.")
        if self.label_dropout and not self.conditional:
            raise ValueError(
                "Labels are dropped in a conditional training alone; add --conditional, or leave"
                " the label dropout out."
            )
        if is_implicit(get_solver(self.solver)):
            raise ValueError(
                f"How many evaluations '{self.solver}' takes is known only when it runs; plan with"
                " another solver."
            )
        devices, here = _devices(self.topology)
        if self.batch_size % (len(devices) * (self.accumulate if self.work == "training" else 1)):
            parts = f" in {self.accumulate} parts" if self.accumulate > 1 else ""
            raise ValueError(
                f"A batch of {self.batch_size} does not divide over {len(devices)} devices{parts};"
                " choose a multiple."
            )
        began = time.monotonic()
        model = jax.eval_shape(self._model)
        chip, training = CHIPS.get(devices[0].device_kind), self.work == "training"
        try:
            with contextlib.nullcontext() if here else _effort(self.effort):
                cost = Cost.of(
                    self._step(model, devices) if training else self._evaluation(model, devices)
                )
        except JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            print(f"{self.work} on {self.topology}: DOES NOT FIT. {shortage(str(error))}")
            return
        if (
            training and self.accumulate > 1
            # XLA counts the body of a loop once; the optimiser, outside of it, reads and writes
            # some 36 bytes a parameter
        ):
            once = 36 * sum(leaf.size for leaf in jax.tree.leaves(model.params))
            cost = dataclasses.replace(
                cost,
                flops=self.accumulate * cost.flops,
                traffic=self.accumulate * max(0, cost.traffic - once) + once,
            )
        print(
            f"{self.work} on {self.topology}, {len(devices)} x"
            f" {chip.name if chip else devices[0].device_kind}{' (these devices)' if here else ''},"
            f" compiled in {time.monotonic() - began:.0f} s"
        )
        self._say(
            cost, chip, len(devices), sum(leaf.size for leaf in jax.tree.leaves(model.params))
        )

    def _model(self) -> DiffusionModel:
        """The untrained model; traced only, nothing of it is computed."""
        if self.like in KNOWN:
            size, network = KNOWN[self.like]
            network = network.clone(dtype="bfloat16" if self.bf16 else "float32")
            params = network.init(jax.random.key(0), jnp.zeros((1, size, size, 3)), jnp.zeros(1))[
                "params"
            ]
            return DiffusionModel(
                params,
                PRECONDITIONINGS["edm"](),
                network=network,
                schedule=self.noise_schedule(),
                data_shape=(size, size, 3),
            )
        if self.like is not None:
            model = pretrained.load(self.like)
            if self.bf16 or (self.remat and not hasattr(model.network, "remat")):
                raise ValueError(
                    f"'{self.like}' computes as it was trained; leave --bf16 out, and --remat where"
                    " its network has none."
                )
            return model
        shape = (self.image_size, self.image_size, self.channels)
        if self.preconditioning == "wiener":
            precondition = Wiener(
                jnp.zeros(shape), jnp.zeros((self.rank, *shape)), jnp.ones(self.rank), jnp.ones(())
            )
        else:
            precondition = PRECONDITIONINGS[self.preconditioning]()
        return self.untrained(shape, precondition, self._labels())

    def _labels(self) -> int | None:
        """Classes, and one more that means any where labels are dropped."""
        return None if self.classes is None else self.classes + (self.label_dropout > 0)

    def _step(self, model: DiffusionModel, devices: list) -> Any:
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
        if _labelled(model):
            batches["label"] = each(1, batch, dtype=jnp.int32)
        shared = (model.precondition, self._reference(model) if self.reference else None)
        return (
            parallel.data_parallel(step, devices=devices)
            .lower(jax.eval_shape(lambda: jax.random.key(0)), state, batches, shared)
            .compile()
        )

    def _reference(self, model: DiffusionModel) -> Reference:
        labels = jax.ShapeDtypeStruct((self.reference,), jnp.int32) if _labelled(model) else None
        return Reference(
            jax.ShapeDtypeStruct((self.reference, *model.data_shape), jnp.float32), labels
        )

    def _evaluation(self, model: DiffusionModel, devices: list) -> Any:
        labelled = _labelled(model)

        def evaluated(model: DiffusionModel, batch: tuple[Array, Array]) -> Array:
            x, sigma = batch
            return (model.given(jnp.zeros((), jnp.int32)) if labelled else model).denoise(
                x, sigma[0]
            )

        size = self.batch_size // len(devices)
        images = jax.ShapeDtypeStruct((len(devices), size, *model.data_shape), jnp.float32)
        return (
            parallel.mapped(evaluated, devices=devices)
            .lower(model, (images, jax.ShapeDtypeStruct((len(devices), 1), jnp.float32)))
            .compile()
        )

    def _say(self, cost: Cost, chip: Chip | None, devices: int, parameters: int) -> None:
        training = self.work == "training"
        calls = 1 if training else 2 * count(get_solver(self.solver), self.grid_steps)
        rows = {
            "parameters": f"{parameters / 1e6:.1f} M",
            "batch": f"{self.batch_size} images, {self.batch_size // devices} a device",
            "memory": (
                f"{cost.memory / 2**30:.2f} GiB a device, {cost.arguments / 2**30:.2f} of it held"
                " all the time"
            ),
            "arithmetic": (
                f"{cost.flops / 1e12:.3f} TFLOP a device for"
                f" {'a step' if training else 'an evaluation'}"
            ),
            "memory traffic": f"{cost.traffic / 1e9:.2f} GB, {cost.intensity:.0f} FLOP a byte",
            "collectives": (
                ", ".join(
                    f"{count} {kind} of {size / 1e6:.1f} MB"
                    for kind, (count, size) in cost.collectives.items()
                )
                or "none"
            ),
        }
        if chip:
            times = cost.seconds(chip, devices)
            slowest, least = max(times, key=times.get), calls * max(times.values())
            rows["memory"] += (
                f"; {'fits' if cost.memory <= chip.memory else 'DOES NOT FIT'} in"
                f" {chip.memory / 2**30:.0f} GiB"
            )
            rows["largest batch"] = (
                f"about {cost.largest_batch(chip, self.batch_size // devices) * devices}"
            )
            each = ", ".join(
                f"{name} {1e3 * calls * seconds:.2f}" for name, seconds in times.items()
            )
            rows["at best"] = (
                f"{1e3 * least:.2f} ms {'a step' if training else f'for {calls} evaluations'}"
                f" (bound by {slowest}: {each}), {self.batch_size / least:.0f} images/s"
            )
        for name, row in rows.items():
            print(f"  {name:<15} {row}")


def _labelled(model: DiffusionModel) -> bool:
    return example_condition(model.network) is not None


def shortage(error: str) -> str:
    """The sentence of XLA's error that says how much memory is used of how much, or else the first
    that speaks of it.
    """
    found = next(
        (
            match
            for words in ("Used ", "Ran out of memory")
            if (match := re.search(rf"{words}.*?(?=\.\s|$)", error, re.MULTILINE))
        ),
        None,
    )
    return f"{(found[0] if found else error.splitlines()[0]).rstrip('.')}."


@contextlib.contextmanager
def _effort(value: float) -> Iterator[None]:
    """XLA's effort to make a program fast and small, within."""
    names = ("jax_exec_time_optimization_effort", "jax_memory_fitting_effort")
    before = {name: getattr(jax.config, name) for name in names}
    try:
        for name in names:
            jax.config.update(name, value)
        yield
    finally:
        for name, old in before.items():
            jax.config.update(name, old)


def _devices(topology: str) -> tuple[list, bool]:
    """The devices of a topology, and whether they are those of this machine."""
    if topology == "local":
        return jax.local_devices(), True
    from jax.experimental import topologies

    if (
        jax.default_backend() != "tpu"
    ):  # libtpu would ask a cloud's metadata where it is, for minutes
        for name, value in _ELSEWHERE.items():
            os.environ.setdefault(name, value)
    try:
        return (
            list(topologies.get_topology_desc(platform="tpu", topology_name=topology).devices),
            False,
        )
    except (
        Exception
    ) as error:  # libtpu that is missing, and names that it does not know, each in their own way
        raise ValueError(
            f"The topology '{topology}' cannot be compiled for"
            f" ({str(error).splitlines()[0][:200]}); topologies are v5e:2x2 ... v5e:16x16,"
            " v5p:2x2x1, v6e:2x2 ..., and need libtpu: install ddib_jax[plan]."
        ) from error
