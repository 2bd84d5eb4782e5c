"""The default role knows nothing of the bus."""

import subprocess
import sys

PROGRAM = """
import sys
import candled.daemon.root, candled.daemon.run
print([name for name in sys.modules if name.startswith("candled.bus")])
"""


def test_role_all_imports_no_bus() -> None:
    """One process imports nothing of it: what it costs and does is what it was."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=True)

    assert done.stdout == "[]\n"
