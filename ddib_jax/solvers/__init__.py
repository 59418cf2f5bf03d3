"""Solvers of ordinary differential equations; none of them knows what a diffusion model is."""

from ddib_jax.solvers.integrate import odeint
from ddib_jax.solvers.multistep import DPMSolverPP2M
from ddib_jax.solvers.runge_kutta import EULER, HEUN, MIDPOINT, RK4, RungeKutta
from ddib_jax.types import Solver

SOLVERS: dict[str, Solver] = {
    "euler": EULER,
    "ddim": EULER,
    "midpoint": MIDPOINT,
    "heun": HEUN,
    "rk4": RK4,
    "dpmpp-2m": DPMSolverPP2M(),
}


def get_solver(name: str) -> Solver:
    """The registered solver `name`; raises ValueError, with the list, for an unknown one."""
    if name not in SOLVERS:
        raise ValueError(f"Unknown solver '{name}'; known are {', '.join(SOLVERS)}.")
    return SOLVERS[name]


__all__ = ["SOLVERS", "DPMSolverPP2M", "EULER", "HEUN", "MIDPOINT", "RK4", "RungeKutta", "get_solver", "odeint"]
