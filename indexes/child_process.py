"""Starting Python processes that see the libraries of this one, and nothing else."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def start_python(
    code: str,
    *arguments: str,
    packages: Sequence[str],
    channel: int,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Run code in a process of its own, with a socket as its stdin and stdout.

    Neither `site` nor the working directory nor the caller's program are imported there. Ctrl-C
    does not reach it; it has to end when the other end of the socket is closed.

    Args:
        code: what it runs; `sys.argv[1:]` are the arguments.
        arguments: strings for the code.
        packages: what it imports, out of the folders where this process finds them.
        channel: file descriptor of the socket.
        environment: of the process; this one's when None.

    Raises:
        OSError: it cannot be started.
    """
    specs = [importlib.util.find_spec(name) for name in packages]
    folders = {str(Path(spec.origin).parents[1]) for spec in specs if spec and spec.origin}
    # In the order in which they are looked through here: two may have a library of one name.
    order = {folder: place for place, folder in reversed([*enumerate(sys.path)])}
    found = sorted(folders, key=lambda folder: order.get(folder, -1))
    setup = f"import sys; sys.path += {found!r}; {code}"
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", setup, *arguments],
        stdin=channel,
        stdout=channel,
        stderr=subprocess.DEVNULL,
        process_group=0,
        env=environment,
    )
