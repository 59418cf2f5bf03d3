"""The page of a study's run made again, on any machine that the run was copied to; without JAX.

python experiments/page.py runs/coloured_mnist
"""

import sys

from ddib_jax.report import write_report
from ddib_jax.runs import read_run
from pages import LAYOUTS


def main(directories: list[str]) -> None:
    """Write the page of every run; a run of another name is laid out as `ddib report` does it."""
    for directory in directories:
        print(write_report(directory, layout=LAYOUTS.get(read_run(directory).name)))


if __name__ == "__main__":
    main(sys.argv[1:])
