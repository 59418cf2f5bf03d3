"""What `ddib plan` prints: memory, work and the least time of a program, a row each."""

from dataclasses import dataclass

from ddib_jax.roofline import Chip, Cost


@dataclass(frozen=True)
class Estimate:
    """The figures of a planned program.

    cost: of one call on each device. chip: None for devices whose figures are unknown. calls: in
    the work that is timed. batch: images of a call, over all devices. parameters: of the model.
    call: a call in words ("a step"). work: what is timed, in words ("for 158 evaluations").
    """

    cost: Cost
    chip: Chip | None
    devices: int
    batch: int
    parameters: int
    calls: int
    call: str
    work: str

    def rows(self) -> dict[str, str]:
        """Label -> words; time and fit only where the chip is known."""
        cost, arguments = self.cost, self.cost.arguments / 2**30
        rows = {
            "parameters": f"{self.parameters / 1e6:.1f} M",
            "batch": f"{self.batch} images, {self._device_batch} a device",
            "memory": (
                f"{cost.memory / 2**30:.2f} GiB a device, {arguments:.2f} of it held all the time"
            ),
            "arithmetic": f"{cost.flops / 1e12:.3f} TFLOP a device for {self.call}",
            "memory traffic": f"{cost.traffic / 1e9:.2f} GB, {cost.intensity:.0f} FLOP a byte",
            "collectives": self._collectives(),
        }
        if self.chip is not None:
            rows["memory"] += f"; {self._fit(self.chip)}"
            rows["largest batch"] = f"about {self._largest_batch(self.chip)}"
            rows["at best"] = self._least_time(self.chip)
        return rows

    @property
    def _device_batch(self) -> int:
        return self.batch // self.devices

    def _collectives(self) -> str:
        kinds = self.cost.collectives.items()
        words = [f"{count} {kind} of {size / 1e6:.1f} MB" for kind, (count, size) in kinds]
        return ", ".join(words) or "none"

    def _fit(self, chip: Chip) -> str:
        verb = "fits" if self.cost.memory <= chip.memory else "DOES NOT FIT"
        return f"{verb} in {chip.memory / 2**30:.0f} GiB"

    def _largest_batch(self, chip: Chip) -> int:
        return self.cost.largest_batch(chip, self._device_batch) * self.devices

    def _least_time(self, chip: Chip) -> str:
        seconds = self.cost.seconds(chip, self.devices)
        bound = max(seconds, key=seconds.__getitem__)
        least = self.calls * seconds[bound]
        each = ", ".join(
            f"{name} {1e3 * self.calls * value:.2f}" for name, value in seconds.items()
        )
        rate = self.batch / least
        return (
            f"{1e3 * least:.2f} ms {self.work} (bound by {bound}: {each}),"
            f" {rate:.{0 if rate >= 10 else 2}f} images/s"
        )
