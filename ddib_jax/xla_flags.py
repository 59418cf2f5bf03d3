"""Two XLA flags: one makes convolutional training on CPU hosts about twice as fast.

XLA hands convolutions on CPU to YNNPACK by default, and that halves the speed of training: with jax
0.10.2 on two cores a step of a U-Net with 1.9 M parameters (batch 64) takes 653 ms with these
fusions and 335 ms without. An empty `--xla_cpu_experimental_ynn_fusion_type=` turns them off.
jaxlib 0.10.0 to 0.12.0 know the flag; XLA aborts the process on a flag that it does not know, so
the name is looked for in the installed library first.

The other is for who needs equal bits of a GPU: there XLA times several algorithms for a product or
convolution while it compiles, so that two compilations of one program may round differently.

Nothing here imports jax: a flag must be in the environment before XLA reads it.
"""

import glob
import importlib.util
import mmap
import os
import zlib

FLAG = "xla_cpu_experimental_ynn_fusion_type"
GPU_FLAG = "xla_gpu_deterministic_ops"

_DEVICE_FILES = {
    "cuda": ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg"),
    "rocm": ("/dev/kfd",),
    "tpu": ("/dev/accel[0-9]*", "/dev/vfio/[0-9]*"),
}


def prefer_fast_cpu() -> bool:
    """Turns XLA's YNNPACK fusions off in `XLA_FLAGS` on a CPU-only host; True if this call added
    the flag.

    Call it before the first use of a JAX device: XLA reads `XLA_FLAGS` once, when its backend
    starts, and later it does nothing. It leaves the environment alone, and returns False, where the
    user has named the flag, where `XLA_FLAGS` names a file of flags, where an accelerator may be
    used, and where the installed jaxlib does not know the flag.
    """
    return _cpu_only() and _added(FLAG, "")


def prefer_equal_bits() -> bool:
    """Has a GPU compute every program by the same algorithms each time, chosen by no timing.

    As `prefer_fast_cpu` in when to call it, in what it returns and in which flags it leaves alone;
    on a host without a GPU it does nothing.
    """
    return _has_gpu() and _added(GPU_FLAG, "true")


def _added(flag: str, value: str) -> bool:
    """Adds a flag that the user has not named to `XLA_FLAGS`, where jaxlib knows it."""
    flags = os.environ.get("XLA_FLAGS", "").strip()
    if flag in flags or (flags and not flags.startswith("-")) or not _jaxlib_knows(flag):
        return False
    os.environ["XLA_FLAGS"] = f"{flags} --{flag}={value}".lstrip()
    return True


def _cpu_only() -> bool:
    """True if JAX will run on CPU alone: it was told so, or no accelerator plugin has a device to
    drive.
    """
    if platforms := _platforms():
        return platforms == ["cpu"]
    return not any(_has_device(plugin) for plugin in _plugins())


def _has_gpu() -> bool:
    """True if JAX may run on a GPU: it was not told otherwise, and a plugin has one to drive."""
    platforms = _platforms()
    if platforms and not {"gpu", "cuda", "rocm"} & set(platforms):
        return False
    gpus = (plugin for plugin in _plugins() if "cuda" in plugin or "rocm" in plugin)
    return any(_has_device(plugin) for plugin in gpus)


def _platforms() -> list[str]:
    """The platforms that JAX was told to use."""
    names = os.environ.get("JAX_PLATFORMS", "").lower().split(",")
    return [name.strip() for name in names if name.strip()]


def _plugins() -> set[str]:
    """Names of the installed accelerator plugins, as `xla_cuda13` or `libtpu`."""
    plugins = {"libtpu"} if importlib.util.find_spec("libtpu") else set()
    namespace = importlib.util.find_spec("jax_plugins")
    for folder in (namespace.submodule_search_locations or ()) if namespace else ():
        plugins.update(name for name in os.listdir(folder) if not name.startswith(("_", ".")))
    return plugins


def _has_device(plugin: str) -> bool:
    """True if the host shows a device for the plugin; a plugin of an unknown kind is taken to have
    one.
    """
    kind = next((kind for kind in _DEVICE_FILES if kind in plugin), None)
    if kind is None:
        return True
    if kind == "cuda" and os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return any(glob.glob(pattern) for pattern in _DEVICE_FILES[kind])


def _jaxlib_knows(flag: str) -> bool:
    """True if the flag's name is a string of its own in the jaxlib library.

    A hit takes about 5 ms. A miss reads all of the 330 MB (about 90 ms), so it is remembered by an
    empty file in the user's cache folder, if that can be written.
    """
    library = _jaxlib_library()
    if library is None:
        return False
    stat = os.stat(library)
    stamp = zlib.crc32(f"{library} {stat.st_size} {stat.st_mtime_ns}".encode())
    cache = os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "ddib_jax"
    )
    miss = os.path.join(cache, f"no-{flag}-{stamp:08x}")
    if os.path.exists(miss):
        return False
    with open(library, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        # With its closing zeros: the bare name would also be found in the description of a message
        # that only reserves it.
        found = text.find(b"\0" + flag.encode() + b"\0") >= 0
    if not found:
        try:
            os.makedirs(cache, exist_ok=True)
            open(miss, "w").close()
        except OSError:
            pass
    return found


def _jaxlib_library() -> str | None:
    """Path of the shared library that holds XLA, without importing it."""
    spec = importlib.util.find_spec("jaxlib")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for pattern in ("*jax_common.*", "xla_extension.*"):
            for path in glob.glob(os.path.join(glob.escape(folder), pattern)):
                return path
    return None
