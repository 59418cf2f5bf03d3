"""The flag is set where it helps, and the environment is left alone everywhere else."""

import os
import subprocess
import sys
import textwrap

import pytest

from ddib_jax import xla_flags
from ddib_jax.xla_flags import FLAG, GPU_FLAG, prefer_equal_bits, prefer_fast_cpu

OFF = f"--{FLAG}="


@pytest.fixture(autouse=True)
def cpu_host(monkeypatch, tmp_path):
    """A CPU host whose jaxlib knows the flag and whose cache folder is empty."""
    for name in ("XLA_FLAGS", "JAX_PLATFORMS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "")  # so that whatever is set below is undone afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(xla_flags, "_plugins", set)
    fake_library(monkeypatch, tmp_path, FLAG)


def fake_library(monkeypatch, tmp_path, name):
    path = tmp_path / "libjax_common.so"
    path.write_bytes(b"\x7fELF\0other_flag\0" + name.encode() + b"\0xla_cpu_last\0")
    monkeypatch.setattr(xla_flags, "_jaxlib_library", lambda: str(path))


def test_set_once_on_a_cpu_host():
    assert prefer_fast_cpu()
    assert os.environ["XLA_FLAGS"] == OFF
    assert not prefer_fast_cpu()
    assert os.environ["XLA_FLAGS"] == OFF


def test_other_flags_of_the_user_are_kept(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
    assert prefer_fast_cpu()
    assert os.environ["XLA_FLAGS"] == f"--xla_force_host_platform_device_count=8 {OFF}"


@pytest.mark.parametrize(
    "flags", [f"--{FLAG}=LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT", OFF, "/home/me/xla_flags.txt"]
)
def test_the_users_own_choice_wins(monkeypatch, flags):
    monkeypatch.setenv("XLA_FLAGS", flags)
    assert not prefer_fast_cpu()
    assert os.environ["XLA_FLAGS"] == flags


@pytest.mark.parametrize(
    ("platforms", "expected"),
    [
        ("cpu", True),
        ("CPU", True),
        ("cuda", False),
        ("tpu,cpu", False),
        ("cpu,cuda", False),
        ("", True),
    ],
)
def test_platform_that_jax_was_told(monkeypatch, platforms, expected):
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    assert prefer_fast_cpu() is expected
    assert (FLAG in os.environ.get("XLA_FLAGS", "")) is expected


@pytest.mark.parametrize(
    ("plugin", "device", "visible", "expected"),
    [
        ("xla_cuda13", True, None, False),
        ("xla_cuda13", True, "0,1", False),
        ("xla_cuda13", True, "", True),  # the GPUs are hidden
        ("xla_cuda12", False, None, True),  # the plugin is installed, but there is no GPU
        ("xla_rocm7", True, None, False),
        ("libtpu", True, None, False),
        ("libtpu", False, None, True),
        ("some_new_device", False, None, False),
    ],
)
def test_plugin_with_and_without_a_device(monkeypatch, tmp_path, plugin, device, visible, expected):
    node = tmp_path / "device"
    if device:
        node.touch()
    monkeypatch.setattr(
        xla_flags, "_DEVICE_FILES", {kind: (str(node),) for kind in xla_flags._DEVICE_FILES}
    )
    monkeypatch.setattr(xla_flags, "_plugins", lambda: {plugin})
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert prefer_fast_cpu() is expected


def test_plugins_are_found_without_importing_them(monkeypatch, tmp_path):
    monkeypatch.undo()
    plugin = tmp_path / "jax_plugins" / "xla_imaginary"
    plugin.mkdir(parents=True)
    (plugin / "__init__.py").write_text("raise ImportError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "xla_imaginary" in xla_flags._plugins()


@pytest.mark.parametrize("name", ["xla_cpu_something_else", f"no_{FLAG}", f"{FLAG}_2"])
def test_left_alone_where_jaxlib_does_not_know_the_flag(monkeypatch, tmp_path, name):
    fake_library(monkeypatch, tmp_path, name)
    assert not prefer_fast_cpu()
    assert "XLA_FLAGS" not in os.environ


def test_a_miss_is_searched_only_once_a_library(monkeypatch, tmp_path):
    fake_library(monkeypatch, tmp_path, "xla_cpu_something_else")
    assert not prefer_fast_cpu()
    assert len(os.listdir(tmp_path / "cache" / "ddib_jax")) == 1
    with monkeypatch.context() as patch:
        patch.setattr(xla_flags.mmap, "mmap", lambda *_, **__: pytest.fail("searched again"))
        assert not prefer_fast_cpu()
    fake_library(monkeypatch, tmp_path, FLAG)  # an update of jaxlib: another size
    assert prefer_fast_cpu()


def test_a_cache_folder_that_cannot_be_written_is_no_error(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    fake_library(monkeypatch, tmp_path, "xla_cpu_something_else")
    assert not prefer_fast_cpu()


def test_no_jaxlib(monkeypatch):
    monkeypatch.setattr(xla_flags, "_jaxlib_library", lambda: None)
    assert not prefer_fast_cpu()


def run(code):
    """Runs code in a fresh interpreter, where `flags` is the module loaded by its file, so without
    the package.
    """
    load = f"""
        import importlib.util, os, sys
        spec = importlib.util.spec_from_file_location("flags", {xla_flags.__file__!r})
        flags = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(flags)
    """
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    program = textwrap.dedent(load) + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )


def test_the_installed_jaxlib_takes_the_flag_and_convolutions_lose_their_fusion():
    done = run("""
        added = flags.prefer_fast_cpu()
        assert "jax" not in sys.modules and "jaxlib" not in sys.modules
        import jax
        x, w = jax.numpy.ones((8, 16, 16, 32)), jax.numpy.ones((3, 3, 32, 32))
        axes = ("NHWC", "HWIO", "NHWC")
        f = lambda x, w: jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=axes)
        assert not added or "ynn" not in jax.jit(f).lower(x, w).compile().as_text()
        assert not flags.prefer_fast_cpu()
        print("added", added)
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("added")


@pytest.mark.parametrize(
    ("platforms", "plugins", "expected"),
    [
        ("", {"xla_cuda13"}, True),
        ("cuda", {"xla_cuda13", "libtpu"}, True),
        ("cpu", {"xla_cuda13"}, False),
        ("", {"libtpu"}, False),
        ("", set(), False),
    ],
)
def test_equal_bits_are_asked_of_a_gpu_alone(monkeypatch, tmp_path, platforms, plugins, expected):
    fake_library(monkeypatch, tmp_path, GPU_FLAG)
    monkeypatch.setattr(xla_flags, "_plugins", lambda: plugins)
    monkeypatch.setattr(xla_flags, "_has_device", lambda plugin: True)
    if platforms:
        monkeypatch.setenv("JAX_PLATFORMS", platforms)
    assert prefer_equal_bits() is expected
    assert (f"--{GPU_FLAG}=true" in os.environ.get("XLA_FLAGS", "")) is expected
    monkeypatch.setenv("XLA_FLAGS", f"--{GPU_FLAG}=false")
    assert not prefer_equal_bits()
