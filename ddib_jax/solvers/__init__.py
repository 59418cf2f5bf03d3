"""Solvers of ordinary differential equations; none of them knows what a diffusion model is."""

from ddib_jax.solvers.adaptive import Adaptive
from ddib_jax.solvers.exponential import Exponential
from ddib_jax.solvers.fitted import Fitted
from ddib_jax.solvers.fixed_point import FixedPoint
from ddib_jax.solvers.implicit import ExactEuler, ExactInverse, ImplicitMidpoint
from ddib_jax.solvers.lattice import LatticeHeun
from ddib_jax.solvers.multistep import AdamsBashforth, DPMSolverPP2M, DPMSolverPP3M
from ddib_jax.solvers.noise_multistep import DEIS, IPNDM
from ddib_jax.solvers.reversible import EDICT, Coupled, ReversibleHeun, TwoStep
from ddib_jax.solvers.runge_kutta import EULER, HEUN, MIDPOINT, RK4, RungeKutta
from ddib_jax.solvers.solve import (
    Explicit,
    OverGrid,
    Solution,
    backward,
    solve,
    solve_path,
    solved,
    threshold,
    without_failures,
)
from ddib_jax.solvers.unipc import UniPC
from ddib_jax.types import Ending, Solver

SOLVERS: dict[str, Solver] = {
    "euler": EULER,
    "ddim": EULER,
    "midpoint": MIDPOINT,
    "heun": HEUN,
    "rk4": RK4,
    "exp-midpoint": Exponential(MIDPOINT),
    "exp-rk4": Exponential(RK4),
    "ab2": AdamsBashforth(2),
    "ab3": AdamsBashforth(3),
    "dpmpp-2m": DPMSolverPP2M(),
    "dpmpp-3m": DPMSolverPP3M(),
    "unipc-2": UniPC(2),
    "unipc-3": UniPC(3),
    "deis": DEIS(),
    "ipndm": IPNDM(),
    "o-belm": TwoStep(),
    "bdia": TwoStep(0.96),
    "edict": EDICT(),
    "reversible-heun": ReversibleHeun(),
    "lattice-heun": LatticeHeun(),
    "coupled-midpoint": Coupled(MIDPOINT),
    "coupled-rk4": Coupled(RK4),
    "rex-midpoint": Exponential(Coupled(MIDPOINT)),
    "rex-rk4": Exponential(Coupled(RK4)),
    "exact-ddim": ExactEuler(),
    "exact-dpmpp-2m": ExactInverse(DPMSolverPP2M()),
    "implicit-midpoint": ImplicitMidpoint(),
}


def get_solver(name: str) -> Solver:
    """The registered solver `name`; raises ValueError, with the list, for an unknown one."""
    if name not in SOLVERS:
        raise ValueError(f"Unknown solver '{name}'; known are {', '.join(SOLVERS)}.")
    return SOLVERS[name]


__all__ = [
    "DEIS",
    "EDICT",
    "EULER",
    "HEUN",
    "IPNDM",
    "MIDPOINT",
    "RK4",
    "SOLVERS",
    "AdamsBashforth",
    "Adaptive",
    "Coupled",
    "DPMSolverPP2M",
    "DPMSolverPP3M",
    "Ending",
    "ExactEuler",
    "ExactInverse",
    "Explicit",
    "Exponential",
    "Fitted",
    "FixedPoint",
    "ImplicitMidpoint",
    "LatticeHeun",
    "OverGrid",
    "ReversibleHeun",
    "RungeKutta",
    "Solution",
    "Solver",
    "TwoStep",
    "UniPC",
    "backward",
    "get_solver",
    "solve",
    "solve_path",
    "solved",
    "threshold",
    "without_failures",
]
