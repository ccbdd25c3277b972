"""Rows of Parquet become documents; nothing is lost or repaired without being counted."""

from __future__ import annotations

import os
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder import corpus as corpus_module
from embedder.columns import ColumnRequest
from embedder.corpus import open_corpus, open_files, read_shards, shard_digest
from embedder.errors import ColumnError, RequestError, SourceError
from embedder.rows import (
    BLANK_TEXT,
    EMPTY_TEXT,
    INVALID_METADATA,
    INVALID_TEXT,
    LEFT_OUT,
    NULL_ID,
    NULL_TEXT,
    Rows,
)
from embedder.sources import NO_LABELS, KnownFile, Labels, find_files

TEXTS = ["The bank of the river.", "Würde, 猫 🙂", "third"]


def write(path: Path, columns: dict[str, Any], **options: Any) -> str:
    """Write a Parquet file; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)
    return str(path)


def read(
    *sources: str | Path, limit: int | None = None, **request: Any
) -> tuple[list[Rows], Counter[str]]:
    """All batches of documents of some sources, and the counts of defects."""
    opened = open_corpus([str(s) for s in sources], ColumnRequest(**request))
    batches = list(read_shards(opened.shards(limit), opened))
    return batches, sum((b.counts for b in batches), Counter())


def texts_of(batches: Sequence[Rows]) -> list[str]:
    """The texts of all batches."""
    return [text for batch in batches for text in batch.texts]


def ids_of(batches: Sequence[Rows]) -> list[str]:
    """The ids of all batches."""
    return [id_ for batch in batches for id_ in batch.ids]


def metadata_of(batches: Sequence[Rows]) -> pa.Table:
    """The metadata of all batches."""
    return pa.concat_tables([batch.metadata for batch in batches])


def digests(*sources: str | Path, limit: int | None = None, **request: Any) -> list[str]:
    """The content identities of the shards of some sources."""
    opened = open_corpus([str(s) for s in sources], ColumnRequest(**request))
    return [shard_digest(shard, opened) for shard in opened.shards(limit)]


def strings_of_bytes(values: Sequence[bytes | None]) -> pa.Array:
    """A string array of bytes that nothing validates."""
    binary = pa.array(values, pa.binary())
    return pa.Array.from_buffers(pa.string(), len(binary), binary.buffers(), binary.null_count)


@settings(max_examples=60)
@given(
    values=st.lists(st.none() | st.sampled_from(["", " ", "\n\t"]) | st.text(), min_size=1),
    row_group_size=st.integers(1, 5),
)
def test_every_row_is_read_or_counted(
    tmp_path_factory: pytest.TempPathFactory, values: list[str | None], row_group_size: int
) -> None:
    """The texts read are the usable ones in order, and the rest is counted by reason."""
    path = tmp_path_factory.mktemp("rows") / "x.parquet"
    columns = {"text": pa.array(values, pa.string()), "n": list(range(len(values)))}
    source = write(path, columns, row_group_size=row_group_size)
    batches, counts = read(source)
    usable = [(i, v) for i, v in enumerate(values) if v and v.strip()]
    assert texts_of(batches) == [v for _, v in usable]
    assert ids_of(batches) == [f"x.parquet:{i}" for i, _ in usable]
    assert metadata_of(batches).column("n").to_pylist() == [i for i, _ in usable]
    assert sum(batch.n_rows for batch in batches) == len(values)
    assert sum(counts[reason] for reason in LEFT_OUT) == len(values) - len(usable)
    assert counts[NULL_TEXT] == values.count(None)
    assert counts[EMPTY_TEXT] == values.count("")


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    ids=str,
)
def test_all_text_types_read_equal(tmp_path: Path, kind: pa.DataType) -> None:
    """The same texts and ids are read from every type that holds text."""
    values = [*TEXTS, None, TEXTS[0]]
    ids = ["a", "b", "c", "d", "e"]
    columns = {"text": pa.array(values).cast(kind), "id": pa.array(ids).cast(kind)}
    batches, counts = read(write(tmp_path / "x.parquet", columns))
    assert open_corpus([str(tmp_path)]).sources[0].schema.field("text").type == kind
    assert texts_of(batches) == [*TEXTS, TEXTS[0]]
    assert ids_of(batches) == ["a", "b", "c", "e"]
    assert counts == Counter({NULL_TEXT: 1})


@pytest.mark.parametrize("kind", [pa.string(), pa.string_view()], ids=str)
def test_invalid_utf8_in_a_text_is_counted_and_left_out(tmp_path: Path, kind: pa.DataType) -> None:
    """A text of invalid UTF-8 is no document, and is counted."""
    values = [b"good", b"\xff\xfe", b"caf\xe9", None, b"", b" ", "Würde".encode()]
    strings = strings_of_bytes(values)
    if kind == pa.string_view():
        strings = pa.array(values, pa.binary()).cast(pa.binary_view()).view(pa.string_view())
    batches, counts = read(write(tmp_path / "x.parquet", {"text": strings}))
    assert texts_of(batches) == ["good", "Würde"]
    assert counts == Counter({INVALID_TEXT: 2, NULL_TEXT: 1, EMPTY_TEXT: 1, BLANK_TEXT: 1})


def test_invalid_utf8_in_metadata_becomes_null_and_is_counted(tmp_path: Path) -> None:
    """A metadata value of invalid UTF-8 is null, its row stays, and it is counted."""
    columns = {"text": TEXTS, "lang": strings_of_bytes([b"en", b"\xff", None])}
    batches, counts = read(write(tmp_path / "x.parquet", columns))
    assert texts_of(batches) == TEXTS
    assert metadata_of(batches).column("lang").to_pylist() == ["en", None, None]
    assert counts == Counter({INVALID_METADATA: 1})


def test_an_invalid_value_of_a_dictionary_nulls_only_its_own_rows(tmp_path: Path) -> None:
    """A dictionary with one value of invalid UTF-8 keeps its other values."""
    values = strings_of_bytes([b"en", b"\xff"])
    lang = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int32()), values)
    batches, counts = read(write(tmp_path / "x.parquet", {"text": TEXTS, "lang": lang}))
    assert metadata_of(batches).column("lang").to_pylist() == ["en", None, "en"]
    assert counts == Counter({INVALID_METADATA: 1})


def test_an_invalid_value_of_a_list_nulls_only_its_own_row(tmp_path: Path) -> None:
    """Of lists of texts, the one with invalid UTF-8 is null, and the others stay."""
    values = strings_of_bytes([b"en", b"\xff", b"de", b"fr"])
    tags = pa.ListArray.from_arrays(pa.array([0, 1, 2, 4], pa.int32()), values)
    batches, counts = read(write(tmp_path / "x.parquet", {"text": TEXTS, "tags": tags}))
    assert metadata_of(batches).column("tags").to_pylist() == [["en"], None, ["de", "fr"]]
    assert counts == Counter({INVALID_METADATA: 1})


def test_string_views_in_metadata_follow_their_rows(tmp_path: Path) -> None:
    """A string_view column of metadata is read like a string one when rows are left out."""
    lang = pa.array(["en", "fr", None, "de"]).cast(pa.string_view())
    columns = {"text": ["a", None, "b", "c"], "lang": lang}
    batches, _ = read(write(tmp_path / "x.parquet", columns))
    assert metadata_of(batches).column("lang").to_pylist() == ["en", None, "de"]


def test_metadata_keeps_its_types(tmp_path: Path) -> None:
    """Metadata columns come along with their types and values, nested ones included."""
    columns = {
        "text": TEXTS,
        "year": pa.array([1, None, 3], pa.int16()),
        "tags": pa.array([["a"], [], None]),
        "place": pa.array([{"lat": 1.5}, None, {"lat": None}]),
        "day": pa.array([0, 1, 2], pa.date32()),
        "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
    }
    batches, _ = read(write(tmp_path / "x.parquet", columns))
    wanted = pa.table(columns).drop_columns("text")
    assert metadata_of(batches).to_pylist() == wanted.to_pylist()
    assert metadata_of(batches).schema.field("year").type == pa.int16()
    assert metadata_of(batches).schema.field("day").type == pa.date32()


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.string()], ids=str)
def test_ids_are_the_values_as_text(tmp_path: Path, kind: pa.DataType) -> None:
    """Integer and text ids are read as their decimal text."""
    columns = {"text": TEXTS, "id": pa.array([3, 1, 2]).cast(kind)}
    batches, _ = read(write(tmp_path / "x.parquet", columns))
    assert ids_of(batches) == ["3", "1", "2"]
    assert batches[0].metadata.num_columns == 0
    assert batches[0].metadata.num_rows == 3


def test_a_missing_id_is_made_and_counted(tmp_path: Path) -> None:
    """A row whose id is null or empty is called by file and row, and counted."""
    columns = {"text": [*TEXTS, None], "id": ["a", None, "", None]}
    batches, counts = read(write(tmp_path / "x.parquet", columns))
    assert ids_of(batches) == ["a", "x.parquet:1", "x.parquet:2"]
    assert counts == Counter({NULL_ID: 2, NULL_TEXT: 1})


def test_made_ids_count_rows_of_the_file(tmp_path: Path) -> None:
    """Without an id column a document is called by its file in the folder and its row in it."""
    write(tmp_path / "a" / "x.parquet", {"text": TEXTS}, row_group_size=2)
    write(tmp_path / "b" / "x.parquet", {"text": ["one"]})
    batches, _ = read(tmp_path)
    names = [f"a/x.parquet:{i}" for i in range(3)]
    assert ids_of(batches) == [*names, "b/x.parquet:0"]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 99])
def test_a_limit_counts_rows(tmp_path: Path, limit: int) -> None:
    """With a limit the first rows are read, over row groups and files, and no more."""
    write(tmp_path / "a.parquet", {"text": ["0", "1", "2"]}, row_group_size=2)
    write(tmp_path / "b.parquet", {"text": ["3", "4"]})
    batches, _ = read(tmp_path, limit=limit)
    assert texts_of(batches) == [str(i) for i in range(min(limit, 5))]
    assert [b.is_last for b in batches] == [True] * len(batches)


def test_every_shard_ends_with_its_last_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard read in several batches sets is_last on the last alone, also when all is null."""
    monkeypatch.setattr(corpus_module, "MAX_BATCH_ROWS", 2)
    texts = pa.array(["a", "b", "c", None, None, None, None, None, "d"])
    batches, _ = read(write(tmp_path / "x.parquet", {"text": texts}, row_group_size=4))
    assert [(b.shard, b.is_last) for b in batches] == [
        *[(0, False), (0, True)],
        *[(1, False), (1, True)],
        (2, True),
    ]


def test_a_huge_row_group_is_read_in_bounded_batches(tmp_path: Path) -> None:
    """One row group of many bytes comes in batches of few bytes, and arrives whole."""
    texts = [f"{i} " + "x" * 50_000 for i in range(1000)]
    source = write(tmp_path / "x.parquet", {"text": texts}, row_group_size=1000)
    opened = open_corpus([source])
    sizes, got = [], []
    for batch in read_shards(opened.shards(), opened):
        sizes.append(sum(map(len, batch.texts)))
        got += batch.texts
    assert got == texts
    assert max(sizes) <= 2 * corpus_module.MAX_BATCH_BYTES


def test_many_short_rows_come_in_bounded_batches(tmp_path: Path) -> None:
    """A row group of many short rows comes in batches of a bounded number of rows."""
    batches, _ = read(write(tmp_path / "x.parquet", {"text": ["short"] * 5000}))
    assert max(batch.n_rows for batch in batches) <= corpus_module.MAX_BATCH_ROWS
    assert sum(batch.n_rows for batch in batches) == 5000


# Where files lie


def test_hive_keys_are_typed_columns(tmp_path: Path) -> None:
    """A hive key of integers is int64, any other a string, and the null partition is null."""
    null = "__HIVE_DEFAULT_PARTITION__"
    write(tmp_path / "year=2020" / "lang=en" / "x.parquet", {"text": ["a"]})
    write(tmp_path / "year=2021" / f"lang={null}" / "x.parquet", {"text": ["b"]})
    write(tmp_path / f"year={null}" / "lang=a%20b" / "x.parquet", {"text": ["c"]})
    batches, _ = read(tmp_path)
    table = metadata_of(batches)
    assert table.schema.types == [pa.int64(), pa.string()]
    assert dict(zip(texts_of(batches), table.to_pylist(), strict=True)) == {
        "a": {"year": 2020, "lang": "en"},
        "b": {"year": 2021, "lang": None},
        "c": {"year": None, "lang": "a b"},
    }


def test_hive_keys_do_not_depend_on_what_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are those of the whole path, be the file named, its folder or one above."""
    folder = tmp_path / "data" / "year=2020" / "lang=en"
    write(folder / "x.parquet", {"text": ["a"]})
    monkeypatch.chdir(folder)
    for named in (".", "x.parquet", "../..", tmp_path, folder.parent, "../../*/*/x.parquet"):
        table = metadata_of(read(named)[0])
        assert table.to_pylist() == [{"year": 2020, "lang": "en"}], named


def test_columns_that_the_first_file_lacks_are_metadata(tmp_path: Path) -> None:
    """Metadata are the columns of all files and the keys of all paths."""
    write(tmp_path / "a.parquet", {"text": ["a"], "n": [1]})
    write(tmp_path / "b" / "year=2020" / "x.parquet", {"text": ["b"], "lang": ["en"]})
    opened = open_corpus([str(tmp_path)])
    assert opened.columns.metadata == ("n", "lang", "year")
    first, second = read(tmp_path)[0]
    assert first.metadata.to_pylist() == [{"n": 1}]
    assert second.metadata.to_pylist() == [{"lang": "en", "year": 2020}]


def labels_of(*sources: Path, labels: Labels = NO_LABELS) -> list[str]:
    """Labels of the files that sources name."""
    return [file.label for file in find_files([str(source) for source in sources], labels)]


def test_no_two_files_have_one_label(tmp_path: Path) -> None:
    """A label is the end of a path, and no longer than it has to be."""
    for name in ("a/x.parquet", "b/x.parquet", "b/deep/x.parquet", "c/deep/x.parquet"):
        write(tmp_path / name, {"text": [name]})
    assert labels_of(tmp_path / "a" / "x.parquet") == ["x.parquet"]
    assert labels_of(tmp_path / "a" / "x.parquet", tmp_path / "b" / "x.parquet") == [
        "a/x.parquet",
        "b/x.parquet",
    ]
    assert labels_of(tmp_path / "b", tmp_path / "c") == [
        "b/deep/x.parquet",
        "x.parquet",
        "c/deep/x.parquet",
    ]


def test_a_file_keeps_its_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it is named later; another one does not get it."""
    one, other = tmp_path / "a" / "x.parquet", tmp_path / "b" / "x.parquet"
    for path in (one, other):
        write(path, {"text": ["a"]})
    known = known_files(one)
    for are_kept in (False, True):
        labels = Labels(known, are_kept=are_kept)
        assert labels_of(tmp_path, labels=labels) == ["x.parquet", "b/x.parquet"]
        monkeypatch.chdir(tmp_path / "b")
        assert labels_of(Path("../b/../a"), labels=labels) == ["x.parquet"]
        wanted = "b/x.parquet" if are_kept else "x.parquet"
        assert labels_of(other, labels=labels) == [wanted]


def test_a_file_that_was_moved_keeps_its_label(tmp_path: Path) -> None:
    """One that is not where it was any more is known by its name and size, and of several by the
    folders above; one of another size is another file."""
    for name, text in [("a", "one"), ("b", "two")]:
        write(tmp_path / "old" / name / "x.parquet", {"text": [text]})
    labels = Labels(known_files(tmp_path / "old"), are_kept=True)
    assert sorted(known.label for known in labels.known.values()) == ["a/x.parquet", "b/x.parquet"]
    (tmp_path / "old").rename(tmp_path / "new")
    assert labels_of(tmp_path / "new" / "b", labels=labels) == ["b/x.parquet"]
    assert labels_of(tmp_path / "new", labels=labels) == ["a/x.parquet", "b/x.parquet"]
    write(tmp_path / "new" / "b" / "x.parquet", {"text": ["three, which is longer"] * 9})
    assert labels_of(tmp_path / "new" / "b", labels=labels) == ["x.parquet"]


def known_files(*sources: Path) -> dict[str, KnownFile]:
    """What an index of some sources would know of their files."""
    return {
        source.file.identity: KnownFile(source.file.label, source.stamp[0])
        for source in open_files([str(source) for source in sources])
    }


def test_a_path_through_a_link_is_the_one_that_the_system_follows(tmp_path: Path) -> None:
    """`..` behind a link leads to the folder above the one that it points to."""
    write(tmp_path / "x.parquet", {"text": ["wrong"]})
    write(tmp_path / "other" / "x.parquet", {"text": ["right"]})
    (tmp_path / "other" / "deep").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "other" / "deep")
    assert texts_of(read(f"{tmp_path}/link/../x.parquet")[0]) == ["right"]


def test_equal_names_in_two_archives_are_two_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of file systems of one kind are told apart by the systems."""
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        write(tmp_path / name / "x.parquet", {"text": [name]})
        shutil.make_archive(name, "zip", tmp_path / name)
    batches, _ = read(*(f"zip://x.parquet::{name}.zip" for name in ("one", "two")))
    assert texts_of(batches) == ["one", "two"]
    assert len(set(ids_of(batches))) == 2


@pytest.mark.parametrize("value", ["007", "1.5", "+1", "9" * 20])
def test_hive_values_that_integers_would_change_stay_text(tmp_path: Path, value: str) -> None:
    """A hive key is a string if writing its values as integers would change any."""
    write(tmp_path / "n=1" / "x.parquet", {"text": ["a"]})
    write(tmp_path / f"n={value}" / "x.parquet", {"text": ["b"]})
    batches, _ = read(tmp_path)
    assert set(metadata_of(batches).column("n").to_pylist()) == {"1", value}


def test_a_folder_gives_its_parquet_files_sorted(tmp_path: Path) -> None:
    """A folder gives its Parquet files by path; markers, hidden ones and others are passed over."""
    for name in ("b.parquet", "a/z.PARQUET", "c.pq", "_tmp/x.parquet", ".x.parquet", "_x.parquet"):
        write(tmp_path / name, {"text": [name]})
    for name in ("_SUCCESS", ".b.parquet.crc", "notes.txt"):
        (tmp_path / name).write_text("no Parquet")
    assert texts_of(read(tmp_path)[0]) == ["a/z.PARQUET", "b.parquet", "c.pq"]


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("*.parquet", ["a", "b"]),
        ("[b]*", ["b"]),
        ("**/*.parquet", ["a", "b", "c"]),
        ("folder*", ["c"]),
    ],
)
def test_a_glob_gives_its_matches(tmp_path: Path, pattern: str, wanted: list[str]) -> None:
    """A pattern gives its matches, folders among them with what they hold."""
    for name, text in (("a", "a"), ("b", "b"), ("folder/c", "c")):
        write(tmp_path / f"{name}.parquet", {"text": [text]})
    assert texts_of(read(tmp_path / pattern)[0]) == wanted


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    """A file that two sources name alike is read once."""
    source = write(tmp_path / "x.parquet", {"text": TEXTS})
    assert texts_of(read(source, source)[0]) == TEXTS
    assert texts_of(read(source, tmp_path / "*.parquet")[0]) == TEXTS


@pytest.fixture
def memory_folder() -> Iterator[str]:
    """The URL of an empty folder in memory."""
    url = f"memory://{uuid.uuid4().hex}"
    yield url
    fsspec.filesystem("memory").rm(url, recursive=True)


def test_urls_of_fsspec_are_read(tmp_path: Path, memory_folder: str) -> None:
    """A file, a folder and a pattern behind an fsspec URL read as local ones do."""
    local = Path(write(tmp_path / "x.parquet", {"text": TEXTS, "n": [1, 2, 3]}))
    for name in ("a/x.parquet", "b/x.parquet"):
        with fsspec.open(f"{memory_folder}/{name}", "wb") as file:
            file.write(local.read_bytes())
    assert texts_of(read(f"{memory_folder}/a/x.parquet")[0]) == TEXTS
    assert texts_of(read(memory_folder)[0]) == TEXTS * 2
    assert texts_of(read(f"{memory_folder}/*/x.parquet")[0]) == TEXTS * 2
    assert digests(f"{memory_folder}/a/x.parquet") == digests(local)


def test_file_urls_are_read(tmp_path: Path) -> None:
    """A file:// URL of a file or folder reads as its path does."""
    local = Path(write(tmp_path / "x.parquet", {"text": TEXTS}))
    assert texts_of(read(local.as_uri())[0]) == TEXTS
    assert texts_of(read(tmp_path.as_uri())[0]) == TEXTS
    assert digests(local.as_uri()) == digests(local)


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("missing.parquet", "no file or folder missing.parquet"),
        ("*.parquet", "No file matches"),
        ("memory://nothing/here.parquet", "memory://nothing/here.parquet"),
        ("nonsense://x/y.parquet", "nonsense"),
        ("empty", "no Parquet files"),
    ],
)
def test_a_source_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, cause: str
) -> None:
    """A source without files is a SourceError that names it."""
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    with pytest.raises(SourceError, match=cause.replace("*", r"\*")):
        open_corpus([source])


def test_no_sources_are_refused() -> None:
    """Naming no source at all is a RequestError."""
    with pytest.raises(RequestError, match="No sources"):
        open_corpus([])


# Files that are not what they should be


@pytest.mark.parametrize("keep", [0, 3, 0.5, -1])
def test_a_truncated_file_is_named(tmp_path: Path, keep: float) -> None:
    """A Parquet file that lacks its end is a SourceError that names it."""
    path = Path(write(tmp_path / "x.parquet", {"text": TEXTS}))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if keep == 0.5 else int(keep)])
    with pytest.raises(SourceError, match=r"x\.parquet.*Parquet"):
        open_corpus([str(path)])


def test_a_csv_named_parquet_is_named(tmp_path: Path) -> None:
    """A file that only calls itself Parquet is a SourceError that names it."""
    (tmp_path / "x.parquet").write_text("id,text\n1,a bank by the river\n")
    with pytest.raises(SourceError, match=r"x\.parquet cannot be read as Parquet"):
        open_corpus([str(tmp_path)])


def test_a_damaged_page_is_named(tmp_path: Path) -> None:
    """A data page with damaged bytes is a SourceError that names file and row group."""
    texts = [f"text {i * 7919 % 1000}" for i in range(1000)]
    path = Path(write(tmp_path / "x.parquet", {"text": texts}, compression="zstd"))
    chunk = pq.read_metadata(path).row_group(0).column(0)
    data = bytearray(path.read_bytes())
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    data[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"x\.parquet, row group 0"):
        read(path)


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    """A corpus without a single row is a SourceError."""
    with pytest.raises(SourceError, match="no rows"):
        read(write(tmp_path / "x.parquet", {"text": pa.array([], pa.string())}))


def test_a_file_that_changes_while_it_is_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is replaced between its footer and its last row is a SourceError."""
    monkeypatch.setattr(corpus_module, "MAX_BATCH_ROWS", 1)  # so that the first is not the last
    path = Path(write(tmp_path / "x.parquet", {"text": TEXTS}))
    opened = open_corpus([str(path)])
    batches = read_shards(opened.shards(), opened)
    next(batches)
    write(path, {"text": [*TEXTS, "fourth"]})
    with pytest.raises(SourceError, match=r"x\.parquet changed while it was read"):
        list(batches)


def test_a_file_that_is_deleted_is_an_error(tmp_path: Path) -> None:
    """A file that is gone when its rows or its digest are wanted is a SourceError."""
    path = Path(write(tmp_path / "x.parquet", {"text": TEXTS}))
    opened = open_corpus([str(path)])
    path.unlink()
    with pytest.raises(SourceError, match=r"x\.parquet"):
        list(read_shards(opened.shards(), opened))
    with pytest.raises(SourceError, match=r"x\.parquet"):
        shard_digest(opened.shards()[0], opened)


# Content identity

BASE: dict[str, Any] = {"id": ["a", "b", "c"], "text": TEXTS, "year": [1, 2, 3]}


def test_a_copy_has_the_same_digest(tmp_path: Path) -> None:
    """The digest of a shard does not depend on the file's name, place or time."""
    source = write(tmp_path / "x.parquet", BASE)
    copy = tmp_path / "elsewhere" / "y.parquet"
    copy.parent.mkdir()
    shutil.copy(source, copy)
    os.utime(copy, (0, 0))
    assert digests(copy) == digests(source)


def test_a_row_group_has_the_same_digest_in_another_file(tmp_path: Path) -> None:
    """A shard keeps its digest when row groups are added to its file."""
    short = write(tmp_path / "short.parquet", BASE, row_group_size=3)
    doubled = {name: values * 2 for name, values in BASE.items()}
    long = write(tmp_path / "long.parquet", doubled, row_group_size=3)
    assert digests(long) == digests(short) * 2


@pytest.mark.parametrize(
    "changes",
    [
        {"text": [*TEXTS[:2], "Third"]},
        {"text": [TEXTS[1], TEXTS[0], TEXTS[2]]},
        {"text": [*TEXTS[:2], None]},
        {"text": pa.array(TEXTS, pa.large_string())},
        {"id": ["a", "b", "d"]},
        {"year": [1, 2, 4]},
        {"year": [1, 2, None]},
        {"year": pa.array([1, 2, 3], pa.int32())},
        {"year": pa.array([1, 2, 3], pa.uint64())},
        {"other": [0, 0, 0]},
    ],
    ids=lambda changes: str({k: getattr(v, "type", v) for k, v in changes.items()}),
)
def test_any_change_to_what_is_read_changes_the_digest(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    """Another value, order, type or column of what is read is another digest."""
    before = digests(write(tmp_path / "x.parquet", BASE))
    assert digests(write(tmp_path / "y.parquet", {**BASE, **changes})) != before


@pytest.mark.parametrize(
    "request_",
    [{"metadata": ()}, {"id": "year"}, {"text": "id", "id": None}, {"metadata": ("year", "id")}],
    ids=str,
)
def test_another_choice_of_columns_changes_the_digest(
    tmp_path: Path, request_: dict[str, Any]
) -> None:
    """Reading other columns of the same file is another digest."""
    source = write(tmp_path / "x.parquet", BASE)
    assert digests(source, **request_) != digests(source)


def test_a_limit_that_cuts_a_shard_changes_its_digest(tmp_path: Path) -> None:
    """A shard that is cut short by a limit is another shard."""
    source = write(tmp_path / "x.parquet", BASE)
    assert digests(source, limit=2) != digests(source)
    assert digests(source, limit=3) == digests(source)


def test_columns_that_are_not_read_leave_the_digest(tmp_path: Path) -> None:
    """Changing, adding or reordering columns that are not read leaves the digest."""
    before = digests(write(tmp_path / "x.parquet", BASE), metadata=("year",))
    more = {"other": ["x", "y", "z"], **BASE, "last": [0.5, 0.5, 0.5]}
    assert digests(write(tmp_path / "y.parquet", more), metadata=("year",)) == before


def test_the_partition_is_part_of_the_digest(tmp_path: Path) -> None:
    """The same file under another hive value is another shard, unless the key is not read."""
    for year in (1, 2):
        write(tmp_path / f"y={year}" / "x.parquet", BASE)
    one, two = digests(tmp_path)
    assert one != two
    one, two = digests(tmp_path, metadata=())
    assert one == two


def test_made_ids_are_part_of_the_digest(tmp_path: Path) -> None:
    """Where ids are made from file and row, a file of another name is another shard."""
    values = {"text": TEXTS}
    one = digests(write(tmp_path / "a" / "x.parquet", values))
    assert digests(write(tmp_path / "b" / "x.parquet", values)) == one
    assert digests(write(tmp_path / "a" / "y.parquet", values)) != one


# Which column is what


@pytest.mark.parametrize(
    ("columns", "text", "id_", "metadata"),
    [
        ({"text": ["a"], "title": ["b"]}, "text", None, ["title"]),
        ({"Text": ["a"], "title": ["b"], "ID": [1]}, "Text", "ID", ["title"]),
        ({"content": ["a"], "title": ["b"]}, "content", None, ["title"]),
        ({"id": ["a"], "words": ["b"]}, "words", "id", []),
        ({"only": ["a"], "n": [1]}, "only", None, ["n"]),
        ({"text": ["a"], "id": [1.5]}, "text", None, ["id"]),
    ],
)
def test_sensible_columns_are_found(
    tmp_path: Path, columns: dict[str, Any], text: str, id_: str | None, metadata: list[str]
) -> None:
    """Without a word from the user the text, the id and the rest are found by name and type."""
    found = open_corpus([write(tmp_path / "x.parquet", columns)]).columns
    assert (found.text, found.id, list(found.metadata)) == (text, id_, metadata)


@pytest.mark.parametrize(
    ("columns", "request_", "named"),
    [
        ({"a": ["x"], "b": ["y"], "n": [1]}, {}, r"several text columns: a, b\."),
        ({"n": [1], "x": [0.5]}, {}, r"no text column.*n \(int64\), x \(double\)"),
        ({"a": ["x"], "n": [1]}, {"text": "b"}, r"no column 'b'; it has: a, n\."),
        ({"a": ["x"], "n": [1]}, {"text": "n"}, r"'n'.*int64.*--text: a\."),
        ({"a": ["x"], "n": [1]}, {"id": "m"}, r"no column 'm'; it has: a, n\."),
        ({"a": ["x"], "n": [0.5]}, {"id": "n"}, r"'n'.*double"),
        ({"a": ["x"], "n": [1]}, {"metadata": ("m",)}, r"no column 'm'; it has: a, n\."),
        ({"a": ["x"], "N": [1], "n": [1]}, {}, r"'n', and there is 'N'"),
        ({"a": ["x"], "": [1]}, {}, r"without a name"),
        ({"a": ["x"], "__row": [1]}, {}, r"'__row'.*reserved"),
        ({"a": ["x"], "file_index": [1]}, {}, r"'file_index'.*reserved"),
    ],
)
def test_a_column_that_cannot_be_used_is_explained(
    tmp_path: Path, columns: dict[str, Any], request_: dict[str, Any], named: str
) -> None:
    """A ColumnError lists the columns there are, or names the one that is wrong."""
    source = write(tmp_path / "x.parquet", columns)
    with pytest.raises(ColumnError, match=named):
        open_corpus([source], ColumnRequest(**request_))


def test_a_later_file_without_the_text_is_named(tmp_path: Path) -> None:
    """A file of a folder that lacks the text column is a ColumnError that names the file."""
    write(tmp_path / "a.parquet", {"text": TEXTS})
    write(tmp_path / "b.parquet", {"words": TEXTS})
    with pytest.raises(ColumnError, match=r"b\.parquet has no column 'text'"):
        open_corpus([str(tmp_path)])


@pytest.mark.parametrize("name", ["year", "ID"])
def test_a_column_of_another_case_in_a_later_file_is_refused(tmp_path: Path, name: str) -> None:
    """A later file's column is not lost because its name differs by case; unless nobody asks."""
    first = pa.table({"text": ["a"], "id": ["1"], "Year": [1]})
    renamed = ["text", "ID", "Year"] if name == "ID" else ["text", "id", "year"]
    pq.write_table(first, tmp_path / "a.parquet")
    pq.write_table(first.rename_columns(renamed), tmp_path / "b.parquet")
    with pytest.raises(ColumnError, match=rf"b\.parquet has a column '{name}', which other files"):
        open_corpus([str(tmp_path)])
    if name == "year":
        open_corpus([str(tmp_path)], ColumnRequest(metadata=()))


def test_a_column_that_a_later_file_lacks_is_left_out_there(tmp_path: Path) -> None:
    """Files that lack a metadata or id column are read without it."""
    write(tmp_path / "a.parquet", {"text": ["one"], "id": ["i"], "year": [1]})
    write(tmp_path / "b.parquet", {"text": ["two"]})
    batches, _ = read(tmp_path)
    assert ids_of(batches) == ["i", "b.parquet:0"]
    assert [batch.metadata.schema.names for batch in batches] == [["year"], []]


def test_columns_that_could_be_ids_are_told(tmp_path: Path) -> None:
    """A column that is called as an id is, and cannot be one, is not passed over in silence, unless
    another one is."""
    path = write(tmp_path / "a.parquet", {"text": ["a"], "id": [1.5], "uuid": [b"x"]})
    columns = open_corpus([path]).columns
    assert columns.id is None and columns.no_ids == ("id (double)", "uuid (binary)")
    path = write(tmp_path / "b.parquet", {"text": ["a"], "id": [1.5], "uuid": ["x"]})
    columns = open_corpus([path]).columns
    assert columns.id == "uuid" and columns.no_ids == ()
