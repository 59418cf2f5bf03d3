"""What is imported when: the rooms that need no JAX work without it, and names come when asked."""

import subprocess
import sys

import ddib_jax

WITHOUT_JAX = """
import sys
for name in ("jax", "jaxlib", "flax", "optax", "orbax"):
    sys.modules[name] = None  # importing it raises ImportError
import numpy as np
import ddib_jax.data, ddib_jax.report, ddib_jax.runs
from ddib_jax.data.png import to_bytes
assert to_bytes(np.zeros((2, 2, 3))).dtype == np.uint8
assert len(ddib_jax.load_dataset("five", split="test").take(range(2))) == 2
"""

NOTHING_YET = """
import sys
import ddib_jax
assert not {"jax", "flax", "matplotlib", "tyro"} & set(sys.modules), sorted(sys.modules)
assert set(ddib_jax.__all__) <= set(dir(ddib_jax))
"""


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_data_runs_and_reports_need_no_jax():
    run(WITHOUT_JAX)


def test_importing_the_package_imports_nothing_else():
    run(NOTHING_YET)


def test_every_public_name_is_there():
    for name in ddib_jax.__all__:
        assert getattr(ddib_jax, name).__module__.startswith("ddib_jax."), name


def test_another_name_is_refused():
    assert not hasattr(ddib_jax, "no_such_name")
