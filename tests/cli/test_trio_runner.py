"""How the Trio part of a command ends: users' errors, Ctrl-C, programming errors; in this process and others."""

import signal
import subprocess
import sys

import pytest
import trio

from candled.cli.trio_runner import run_trio
from candled.errors import SettingsError, UserError


async def in_two_tasks(*errors: Exception) -> None:
    async def fail(error: Exception) -> None:
        raise error

    async with trio.open_nursery() as nursery:
        for error in errors:
            nursery.start_soon(fail, error)


def test_user_error_leaves_its_groups() -> None:
    with pytest.raises(UserError, match=r"^The port is in use\.$"):
        run_trio(in_two_tasks, UserError("The port is in use."))


def test_several_user_errors_are_joined() -> None:
    """Errors of several tasks become one, with each sentence once."""
    with pytest.raises(UserError) as caught:
        run_trio(in_two_tasks, UserError("A."), UserError("A."), SettingsError("B."))
    assert sorted(str(caught.value).split()) == ["A.", "B."]
    assert caught.value.exit_status == 2


def test_a_programming_error_keeps_its_group_and_traceback() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        run_trio(in_two_tasks, UserError("A."), ZeroDivisionError())
    assert caught.group_contains(ZeroDivisionError)


SLEEPER = """
import click, trio
from candled.cli.trio_runner import run_trio
async def main():
    print("up", flush=True)
    await trio.sleep_forever()
run_trio(main)
"""


def signalled(code: str, *numbers: signal.Signals) -> tuple[int, str]:
    """Run code that says "up", send it these signals; its exit status and what it said on standard error."""
    # A shell that runs the tests in its background lets its children ignore Ctrl-C: they are asked to heed it.
    code = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n{code}"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            for number in numbers:
                process.send_signal(number)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    return process.returncode, errors


def test_ctrl_c_exits_with_130_and_no_traceback() -> None:
    assert signalled(SLEEPER, signal.SIGINT) == (130, "")


def test_ctrl_c_during_import_of_the_program() -> None:
    imports_slowly = """
import builtins, time
from candled.__main__ import main
def slow(name, *_):
    print("up", flush=True)
    time.sleep(60)
builtins.__import__ = slow
main()
"""
    assert signalled(imports_slowly, signal.SIGINT) == (130, "")


def test_ctrl_c_during_import_of_a_command() -> None:
    imports_slowly = """
import importlib, time
from candled.cli.main import main
def slow(name):
    print("up", flush=True)
    time.sleep(60)
importlib.import_module = slow
main(["config"])
"""
    assert signalled(imports_slowly, signal.SIGINT) == (130, "")


def test_signals_at_interpreter_exit_keep_the_status() -> None:
    ends_slowly = """
import atexit, time
import candled.cli.main
from candled.__main__ import main
candled.cli.main.main = lambda: None
atexit.register(time.sleep, 0.5)
atexit.register(print, "up", flush=True)
main()
"""
    assert signalled(ends_slowly, signal.SIGINT, signal.SIGTERM) == (0, "")


def test_closed_pipe_ends_a_command_quietly() -> None:
    command = f"{sys.executable} -m candled.cli.main config | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.startswith("exchange = ")
    assert done.stderr == ""
