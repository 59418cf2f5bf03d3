"""What a compiled program costs on a chip: memory, arithmetic, traffic, and the least time."""

import math
import re
from dataclasses import dataclass
from typing import Any

import jax


@dataclass(frozen=True)
class Chip:
    """An accelerator's published figures."""

    name: str
    memory: int
    """Bytes."""
    flops: float
    """bfloat16 operations a second."""
    bandwidth: float
    """Bytes a second to and from memory."""
    links: float
    """Bytes a second to other chips, one way."""


CHIPS = {
    "TPU v5 lite": Chip("TPU v5e", 63 * 2**28, 197e12, 819e9, 200e9),
    "TPU v5": Chip("TPU v5p", 95 * 2**30, 459e12, 2765e9, 600e9),
    "TPU v6 lite": Chip("TPU v6e", 32 * 2**30, 918e12, 1640e9, 448e9),
    "NVIDIA H100 80GB HBM3": Chip("H100", 80 * 10**9, 989e12, 3350e9, 450e9),
    "NVIDIA H200": Chip("H200", 141 * 10**9, 989e12, 4800e9, 450e9),
}
"""JAX's name of a device -> its figures, by Google Cloud's pages on TPUs and NVIDIA's data sheets.

Of a v5e's 16 GiB, XLA has 15.75.
"""

_BYTES = {
    "pred": 1,
    "s8": 1,
    "u8": 1,
    "bf16": 2,
    "f16": 2,
    "s16": 2,
    "u16": 2,
    "f32": 4,
    "s32": 4,
    "u32": 4,
    "f64": 8,
    "s64": 8,
    "u64": 8,
}
_OF_LIBRARIES = 'custom_call_target="__cu'
"""In the text of a program that has NVIDIA's libraries compute a part of it."""
_COLLECTIVE = re.compile(
    r"= (\(.*?\)|\S+)"
    r" (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
)
_SHAPE = re.compile(r"(\w+)\[([\d,]*)\]")


def temporaries(compiled: jax.stages.Compiled) -> int:
    """Bytes of the temporaries that XLA plans for a program; RuntimeError where it does not say."""
    memory = compiled.memory_analysis()
    if memory is None:
        raise RuntimeError("This backend does not say how much memory a program needs.")
    return memory.temp_size_in_bytes


@dataclass(frozen=True)
class Cost:
    """What one call of a program costs on each device."""

    arguments: int
    """Bytes of the arguments, which stay."""
    temporary: int
    """Bytes of all other buffers, which come and go, and of the program itself."""
    flops: float
    """Operations."""
    traffic: float
    """Bytes read from and written to memory."""
    collectives: dict[str, tuple[int, int]]
    """Kind of message between devices -> (how many, bytes of their results on a device)."""

    @classmethod
    def of(cls, lowered: Any, *, compiled: Any = None) -> "Cost":
        """The cost of a program that jax has lowered, by XLA's own analysis of it.

        compiled: the same program compiled, where it is at hand; otherwise it is compiled here.
        """
        compiled = compiled or lowered.compile()
        memory, counts, text = (
            compiled.memory_analysis(),
            compiled.cost_analysis(),
            compiled.as_text(),
        )
        # What cuBLAS and cuDNN compute for a compiled program XLA counts as no operations: on a GPU
        # a tenth of a U-Net's were left.
        flops = (lowered.cost_analysis() if _OF_LIBRARIES in text else counts).get("flops", 0.0)
        # An aliased output (donated, as a training's state) takes the place of its argument.
        temporary = (
            memory.temp_size_in_bytes
            + memory.output_size_in_bytes
            - memory.alias_size_in_bytes
            + memory.generated_code_size_in_bytes
        )
        return cls(
            memory.argument_size_in_bytes,
            temporary,
            flops,
            counts.get("bytes accessed", 0.0),
            collectives(text),
        )

    @property
    def memory(self) -> int:
        """Bytes of memory that a device needs."""
        return self.arguments + self.temporary

    @property
    def intensity(self) -> float:
        """Operations for each byte of memory traffic."""
        return self.flops / max(self.traffic, 1.0)

    def seconds(self, chip: Chip, devices: int) -> dict[str, float]:
        """The least seconds that arithmetic, memory and links need on `devices` chips: roofline."""
        # A ring all-reduce passes its bytes nearly twice: each chip sends 2 (n - 1) / n of them.
        sent = sum(size for _, size in self.collectives.values()) * 2 * (devices - 1) / devices
        return {
            "arithmetic": self.flops / chip.flops,
            "memory": self.traffic / chip.bandwidth,
            "links": sent / chip.links,
        }

    def largest_batch(self, chip: Chip, batch: int) -> int:
        """About how large a device's batch may be, this cost being that of a batch of `batch`.

        The temporary memory is taken to grow in proportion to the batch.
        """
        return max(0, math.floor((chip.memory - self.arguments) / max(1, self.temporary) * batch))


def collectives(text: str) -> dict[str, tuple[int, int]]:
    """Kind of collective -> (count, bytes of a device) in the text of a compiled program."""
    costs: dict[str, tuple[int, int]] = {}
    for shapes, kind in _COLLECTIVE.findall(text):
        size = sum(
            _BYTES.get(dtype, 0) * math.prod(int(n) for n in dims.split(",") if n)
            for dtype, dims in _SHAPE.findall(shapes)
        )
        count, total = costs.get(kind, (0, 0))
        costs[kind] = (count + 1, total + size)
    return costs
