"""Words that no file may hold: addresses that only one network or one machine knows."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Each is put together from parts, so that this file does not hold what it forbids.
REGISTRY_HOSTS = [
    ".".join(parts)
    for parts in [
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("download", "pytorch", "org"),
        ("anaconda", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("deb", "debian", "org"),
        ("proxy", "golang", "org"),
        ("crates", "io"),
    ]
]
REGISTRY_OPTIONS = ["-".join(parts) for parts in [("index", "url"), ("find", "links")]]
PRIVATE_HOST = (
    r"(?://|@)(?:[\w-]+\.)*"
    r"(?:[\w-]+\.(?:corp|internal|intranet|lan|local)\b"
    r"|(?:10|192\.168|172\.(?:1[6-9]|2\d|3[01]))(?:\.\d+){2,3}\b)"
)
FORBIDDEN = re.compile(
    "|".join([*map(re.escape, REGISTRY_HOSTS + REGISTRY_OPTIONS), PRIVATE_HOST]).encode(),
    re.IGNORECASE,
)


def files_of_the_repository() -> list[Path]:
    """All files that git tracks, or would track once added."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in sorted(listed.split("\0")) if (ROOT / name).is_file()]


def test_no_file_names_a_registry_or_a_private_host() -> None:
    """No file of the repository names a package registry or a host of a private network."""
    files = files_of_the_repository()
    assert ROOT / "pyproject.toml" in files
    found = [
        f"{path.relative_to(ROOT)}: {match.group().decode()}"
        for path in files
        if (match := FORBIDDEN.search(path.read_bytes()))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        *(f"https://{host}/simple" for host in REGISTRY_HOSTS),
        *(f"--{option}=x" for option in REGISTRY_OPTIONS),
        "https://mirror.build." + "internal/simple",
        "http://" + "10.1.2.3:8080/",
        "http://" + "192.168.0.7/",
        "git@" + "code.corp:team/project.git",
    ],
)
def test_a_forbidden_word_is_found(text: str) -> None:
    """A registry's host or option and a private host are each recognised."""
    assert FORBIDDEN.search(text.encode())


@pytest.mark.parametrize(
    "text", ["https://creativecommons.org/licenses/", "numpy.internal", "torch==10.1.2.3"]
)
def test_an_ordinary_word_passes(text: str) -> None:
    """A public address, an attribute and a version are not taken for a host."""
    assert not FORBIDDEN.search(text.encode())
