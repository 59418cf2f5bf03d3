"""launch.sh with a stub in place of Python and pip, so without a network and in milliseconds."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = [
    "bash",
    "cat",
    "chmod",
    "cksum",
    "cp",
    "dd",
    "dirname",
    "env",
    "grep",
    "ls",
    "mkdir",
    "mv",
    "readlink",
    "rm",
    "sed",
    "sleep",
    "tail",
]

# Python as launch.sh uses it: asked for its version and modules, for an environment, for pip, and
# to run things.
STUB = """#!{bash}
echo "${{0##*/}} $*" >>"$CALLS"
case "$*" in
  *version_info*) echo "${{STUB_VERSION:-3.12}}" ;;
  *"import venv"*) [ -z "$STUB_NO_VENV" ] ;;
  *flock*) shift; exec "{python}" -c "$@" ;;
  "-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip --version") ;;
  "-m pip install"*)
    [ -z "$STUB_PIP_SLEEPS" ] || sleep "$STUB_PIP_SLEEPS"
    if [ -n "$STUB_PIP_SAYS" ]; then printf '%s\\n' "$STUB_PIP_SAYS"; exit 1; fi
    echo "Collecting jax"
    bin=${{0%/*}}
    printf '%s\\n' '#!{bash}' 'echo "ddib in $PWD:"; printf "<%s>" "$@"' 'exit ${{STUB_EXIT:-0}}' \\
      >"$bin/ddib"
    chmod +x "$bin/ddib"
    ;;
  *) echo "python in $PWD:"; printf "<%s>" "$@"; exit "${{STUB_EXIT:-0}}" ;;
esac
"""


class Host:
    """A machine with nothing but a shell and the stubs, and a copy of launch.sh on a path with
    spaces.
    """

    def __init__(self, tmp_path):
        self.repository = tmp_path / "the repository"
        self.bin = tmp_path / "bin"
        self.elsewhere = tmp_path / "some where"
        self.calls_file = tmp_path / "calls"
        for folder in (self.repository, self.bin, self.elsewhere):
            folder.mkdir()
        for name in ("launch.sh", "setup.cfg", "pyproject.toml"):
            shutil.copy(ROOT / name, self.repository)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.script = self.repository / "launch.sh"
        self.venv = self.repository / ".venv"
        self.python("python3")

    def python(self, name):
        self.command(name, STUB.format(bash=shutil.which("bash"), python=sys.executable))

    def command(self, name, text):
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def environment(self, env):
        fixed = {
            "PATH": str(self.bin),
            "HOME": str(self.elsewhere),
            "CALLS": str(self.calls_file),
            "DDIB_PLATFORM": "cpu",
        }
        return fixed | env

    def launch(self, *arguments, **env):
        self.calls_file.write_text("")
        return subprocess.run(
            [self.script, *arguments],
            cwd=self.elsewhere,
            env=self.environment(env),
            capture_output=True,
            text=True,
        )

    def start(self, *arguments, **env):
        """Starts launch.sh in a process group of its own, in which an interrupt is not ignored."""
        run = (
            "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL);"
            " os.execv(sys.argv[1], sys.argv[1:])"
        )
        return subprocess.Popen(
            [sys.executable, "-c", run, self.script, *arguments],
            env=self.environment(env),
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def calls(self, word):
        return [line for line in self.calls_file.read_text().splitlines() if word in line]


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def fails_in_a_sentence(done, *words):
    """One line that says what is wrong, after at most the line that says what was tried."""
    lines = [line for line in done.stderr.splitlines() if "installing ddib_jax" not in line]
    assert done.returncode != 0, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("launch.sh: ")
    assert lines[0].endswith(".")
    for word in words:
        assert word in lines[0]


def test_help_installs_nothing(host):
    done = host.launch("--help")
    assert done.returncode == 0
    assert "./launch.sh test" in done.stdout
    assert not host.calls("")
    assert not host.venv.exists()


def test_without_arguments_does_the_main_job_in_the_repository(host):
    done = host.launch()
    studies = ("<experiments/coloured_mnist.py>", "<experiments/perturbations.py><--quick>")
    assert done.stdout == "".join(f"python in {host.repository}:\n{study}" for study in studies), (
        done.stderr
    )
    assert host.launch("--full").stdout.endswith("<experiments/coloured_mnist.py><--full>")


def test_test_installs_the_test_extra_and_passes_arguments_on(host):
    done = host.launch("test", "-k", "a or b")
    words = ["-m", "pytest", "-n", "auto", "--maxprocesses", "8", "--dist", "loadfile"]
    called = "".join(f"<{word}>" for word in [*words, "-k", "a or b"])
    assert done.stdout == f"python in {host.repository}:\n{called}"
    assert host.calls("pip install")[0].endswith("-e .[test]")


def test_the_accelerator_is_timed_in_the_repository(host):
    done = host.launch("accelerator", "--parts", "attention")
    called = "<experiments/accelerator.py><--parts><attention>"
    assert done.stdout == f"python in {host.repository}:\n{called}"


def test_any_other_command_goes_to_ddib_where_the_caller_is(host):
    done = host.launch("translate", "my images", "--out", "")
    assert done.stdout == f"ddib in {host.elsewhere}:\n<translate><my images><--out><>"
    assert host.calls("pip install")[0].endswith("-e .")


@pytest.mark.parametrize("arguments", [("test",), ("train",), ()])
def test_the_exit_code_passes_through(host, arguments):
    assert host.launch(*arguments, STUB_EXIT="7").returncode == 7


def test_the_second_call_installs_nothing_and_is_quick(host):
    assert "installed in" in host.launch("train").stderr
    start = time.perf_counter()
    done = host.launch("train")
    assert time.perf_counter() - start < 0.5
    assert done.returncode == 0
    assert done.stderr == ""
    assert not host.calls("pip")


def test_extras_are_added_and_kept(host):
    host.launch("train")
    host.launch("test")
    assert host.calls("pip install")
    assert not host.calls("-m venv")
    host.launch("train")
    host.launch("test")
    assert not host.calls("pip")


@pytest.mark.parametrize(
    ("section", "again"), [("[options.extras_require]\n", True), ("[metadata]\n", False)]
)
def test_a_change_of_the_requirements_installs_again(host, section, again):
    host.launch("test")
    config = host.repository / "setup.cfg"
    config.write_text(config.read_text().replace(section, section + "new = numpy\n"))
    host.launch("train")
    assert bool(host.calls("-e .[test]")) is again
    assert not host.calls("-m venv")


def test_a_moved_repository_installs_again(host):
    host.launch("train")
    moved = host.repository.rename(host.repository.with_name("moved here"))
    host.script = moved / "launch.sh"
    assert host.launch("train").returncode == 0
    assert host.calls("pip install")


def test_works_through_symlinks(host):
    (host.elsewhere / "first").symlink_to(host.script)
    (host.elsewhere / "second").symlink_to("first")
    host.script = host.elsewhere / "second"
    assert host.launch().stdout.startswith(f"python in {host.repository}:")
    assert host.venv.is_dir()


def test_the_environment_can_be_elsewhere(host):
    assert host.launch("train", DDIB_VENV="my venv").returncode == 0
    assert (host.elsewhere / "my venv" / "bin" / "ddib").exists()
    assert not host.venv.exists()


# ---- Python -------------------------------------------------------------------------------------


def test_no_python(host):
    (host.bin / "python3").unlink()
    fails_in_a_sentence(host.launch(), "Python 3.11 or newer", "no Python at all", "PYTHON=")


def test_python_too_old(host):
    fails_in_a_sentence(host.launch(STUB_VERSION="3.9"), "Python 3.11 or newer", "python3 (3.9)")
    assert not host.venv.exists()


def test_a_python_that_does_not_run_is_passed_over(host):
    host.command("python3.13", "#!/bin/sh\necho 'not for this folder' >&2; exit 127\n")
    assert host.launch("train").returncode == 0
    assert host.calls("python3 -m venv")


def test_the_venv_module_is_missing(host):
    fails_in_a_sentence(
        host.launch(STUB_NO_VENV="1"), "venv module is missing", "apt install python3.12-venv"
    )


def test_python_can_be_named(host):
    host.python("my python")
    assert host.launch("train", PYTHON=str(host.bin / "my python")).returncode == 0
    assert host.calls("my python -m venv")
    fails_in_a_sentence(
        host.launch("train", PYTHON="/no/such/python"),
        "PYTHON=/no/such/python",
        "nothing that runs",
    )


# ---- What goes wrong ----------------------------------------------------------------------------

NO_NETWORK = """WARNING: Retrying (Retry(total=0)) after 'NewConnectionError(...)': /simple/jax/
ERROR: Could not find a version that satisfies the requirement jax (from versions: none)
ERROR: No matching distribution found for jax
"""


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (
            NO_NETWORK,
            (
                "no package index can be reached",
                "No matching distribution found for jax",
                ".venv.log",
            ),
        ),
        (
            (
                "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on"
                " device"
            ),
            ("the disk is full",),
        ),
        (
            "Collecting jax\n  ERROR: this and that\nnote: see above",
            ("the installation failed", '"ERROR: this and that"'),
        ),
        ("Segmentation fault", ("the installation failed", '"Segmentation fault"')),
    ],
)
def test_a_failing_installation(host, says, words):
    done = host.launch("train", STUB_PIP_SAYS=says)
    fails_in_a_sentence(done, *words)
    assert not host.venv.exists()  # nothing half-made stays
    assert host.launch("train").returncode == 0


def test_a_failing_addition_leaves_what_works(host):
    host.launch("train")
    fails_in_a_sentence(host.launch("test", STUB_PIP_SAYS=NO_NETWORK), "no package index")
    done = host.launch("train")
    assert done.returncode == 0
    assert not host.calls("pip")


def test_a_killed_installation_is_made_again_from_the_start(host):
    process = host.start("train", STUB_PIP_SLEEPS="30")
    wait_for(lambda: host.calls_file.exists() and host.calls("pip install"))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (host.venv / "half").touch()
    assert host.launch("train").returncode == 0
    assert host.calls("-m venv")
    assert not (host.venv / "half").exists()


def test_an_interrupt_ends_it_in_a_sentence(host):
    process = host.start("train", STUB_PIP_SLEEPS="30")
    wait_for(lambda: host.calls_file.exists() and host.calls("pip install"))
    os.killpg(process.pid, signal.SIGINT)
    assert "interrupted" in process.communicate(timeout=5)[1]
    assert process.returncode == 130


def test_two_at_once_install_once(host):
    processes = [host.start("train", STUB_PIP_SLEEPS="0.7") for _ in range(2)]
    words = [process.communicate(timeout=10)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], words
    assert len(host.calls("pip install")) == 1
    assert sum("waiting for another" in text for text in words) == 1


def wait_for(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_environment_of_the_user_is_used_but_never_deleted(host):
    (host.venv / "bin").mkdir(parents=True)
    shutil.copy(host.bin / "python3", host.venv / "bin" / "python")
    assert host.launch("train").returncode == 0
    assert not host.calls("-m venv")
    fails_in_a_sentence(
        host.launch("train", STUB_VERSION="3.10"), "was not made by launch.sh", "DDIB_VENV="
    )
    assert host.venv.is_dir()


def test_a_folder_that_is_no_environment_is_refused(host):
    (host.elsewhere / "thesis.tex").touch()
    fails_in_a_sentence(
        host.launch("train", DDIB_VENV=str(host.elsewhere)), "was not made by launch.sh"
    )
    assert (host.elsewhere / "thesis.tex").exists()


def test_a_broken_environment_is_made_again(host):
    host.launch("train")
    (host.venv / "bin" / "python").unlink()
    assert host.launch("train").returncode == 0
    assert host.calls("-m venv")


# ---- Accelerator --------------------------------------------------------------------------------


@pytest.mark.skipif(
    any(Path("/dev").glob("accel[0-9]*")), reason="this host has a TPU, which goes first"
)
@pytest.mark.parametrize(
    ("smi", "extra"),
    [
        ("echo '580.65.06, 9.0'", "-e .[cuda]"),
        ("printf '595.10, 7.5\\n595.10, 12.0\\n'", "-e .[cuda]"),
        ("echo '550.54.14, 8.0'", "-e .[cuda12]"),
        ("printf '580.65.06, 9.0\\n580.65.06, 7.0\\n'", "-e .[cuda12]"),
        ("echo '470.82.01, 7.0'", "-e ."),
        ("echo 'No devices were found'; exit 6", "-e ."),
    ],
)
def test_the_extra_for_an_nvidia_driver(host, smi, extra):
    host.command("nvidia-smi", f"#!/bin/sh\n{smi}\n")
    done = host.launch("train", DDIB_PLATFORM="")
    assert host.calls("pip install")[0].endswith(extra)
    assert ("too old" in done.stderr) == ("470" in smi)
    host.launch("train", DDIB_PLATFORM="")
    assert not host.calls("pip")


@pytest.mark.parametrize(
    ("platform", "extra"),
    [
        ("cpu", "-e .[test]"),
        ("cuda", "-e .[cuda,test]"),
        ("cuda12", "-e .[cuda12,test]"),
        ("tpu", "-e .[tpu,test]"),
    ],
)
def test_the_platform_can_be_named(host, platform, extra):
    host.launch("test", DDIB_PLATFORM=platform)
    assert host.calls("pip install")[0].endswith(extra)


def test_an_unknown_platform(host):
    fails_in_a_sentence(
        host.launch("train", DDIB_PLATFORM="gpu"), "DDIB_PLATFORM=gpu", "cpu, cuda, cuda12 or tpu"
    )


def test_another_accelerator_gets_a_new_environment(host):
    host.launch("test", DDIB_PLATFORM="cuda")
    host.launch("train", DDIB_PLATFORM="cuda12")
    assert host.calls("-m venv")
    assert host.calls("-e .[cuda12]")
    host.launch("train", DDIB_PLATFORM="cpu")
    assert not host.calls("pip")
