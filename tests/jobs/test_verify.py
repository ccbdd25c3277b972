"""Verifying: a whole index passes, and whatever is changed in it is found and named."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import Done, assert_refused, tree
from worlds import answers, content_files, damages, make_index, put, state_digests

from embedder.errors import EmbedderError, IndexNotFoundError
from embedder.records import hash_text
from indexes.layout import (
    CENTROIDS_FILE,
    CODES_FILE,
    DOCUMENTS_FILE,
    ENDS_FILE,
    FAISS_FILE,
    FUNCTION_WORDS_FILE,
    OCCURRENCES_FILE,
    PASSAGES_FILE,
    PROJECTION_FILE,
    SENSES_FILE,
    USES_FILE,
    VECTORS_FILE,
    WORDS_FILE,
    Layout,
)
from indexes.lock import hold_open
from indexes.manifest import Manifest, SegmentRecord
from indexes.manifest_file import read_manifest, write_manifest
from indexes.npy import NPY_HEADER_BYTES, npy_header
from indexes.problems import REBUILD
from jobs.induction import update_senses
from jobs.progress import Progress
from jobs.verify import Report, verify_index

N_PARTS = 4
Run = Callable[..., Done]
Table = Callable[[pa.Table], pa.Table]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A whole index. Whoever damages it repairs it."""
    return make_index(tmp_path_factory.mktemp("whole") / "an.index")


@pytest.fixture
def copy(whole: Layout, tmp_path: Path) -> Layout:
    """A copy of the whole index that may be damaged."""
    return Layout(Path(shutil.copytree(whole.root, tmp_path / "copy.index")))


# --- whole ---


def test_a_whole_index_has_no_problem(whole: Layout) -> None:
    """Nothing is wrong with an index of merged segments, deletions and two FAISS structures."""
    manifest = read_manifest(whole)
    assert [g.structure[:3] for g in manifest.generations] == ["IVF", "SQf"]
    assert len(manifest.segments[0].shards) == 2
    assert all(segment.deletion for segment in manifest.segments)
    report = verify_index(whole)
    assert report.problems == report.leftovers == ()
    assert report.is_whole and report.is_finished
    assert report.n_files == len(content_files(whole)) - 1
    assert report.n_vectors == report.n_passages == sum(s.n_passages for s in manifest.segments)


def test_verifying_changes_nothing(whole: Layout) -> None:
    """Verifying leaves every byte of the folder as it was."""
    before = tree(whole.root)
    verify_index(whole, with_recall=True)
    assert tree(whole.root) == before


def test_a_built_index_is_whole(run: Run, tiny_index: Path) -> None:
    """An index that was built by the command line is whole, by exit code and in words."""
    done = run("verify", tiny_index, "--recall")
    assert done.returncode == 0, done.stdout
    assert f"{tiny_index}: whole, " in done.stdout
    assert "recall@10 1.000 ± 0.000" in done.stdout
    quiet = run("verify", tiny_index, "-q")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_json_holds_the_report(run: Run, whole: Layout) -> None:
    """`--format json` holds what the Python API returns."""
    done = run("verify", "--index", whole.root, "--format", "json", "--recall")
    found, report = json.loads(done.stdout), verify_index(whole, with_recall=True)
    assert found["is_whole"] is True
    assert found["n_documents"] == report.n_documents
    assert report.recall is not None
    assert found["recall"]["recall"] == report.recall.recall


def test_no_index(tmp_path: Path) -> None:
    """Where there is no index there is nothing to verify."""
    with pytest.raises(IndexNotFoundError):
        verify_index(Layout(tmp_path / "no.index"))


# --- the law: damage is found and named, and never searched without a word ---


@pytest.mark.slow
@pytest.mark.parametrize("part", range(N_PARTS))
def test_every_damaged_file_is_named(whole: Layout, part: int) -> None:
    """A changed byte anywhere, a lost end and a lost file are each a problem of that file."""
    missed = []
    for path in content_files(whole)[part::N_PARTS]:
        content = path.read_bytes()
        for what, damaged in damages(content, path.name):
            put(path, damaged)
            report = verify_index(whole)
            if str(path) not in {problem.file for problem in report.problems}:
                missed.append((path, what, report.problems))
            assert all(problem.file in problem.message for problem in report.problems)
        path.write_bytes(content)
    assert not missed
    assert verify_index(whole).is_whole


def test_a_damaged_index_is_not_searched_without_a_word(whole: Layout) -> None:
    """Over a damaged file a search finds what it found before, or says what is wrong."""
    wanted, silent = answers(whole), []
    for path in content_files(whole):
        content = path.read_bytes()
        for what, damaged in damages(content, path.name):
            put(path, damaged)
            try:
                if answers(whole) != wanted:
                    silent.append((path, what))
            except EmbedderError:
                pass
        path.write_bytes(content)
    assert not silent
    assert answers(whole) == wanted


def test_all_problems_are_listed(run: Run, copy: Layout) -> None:
    """Every damaged file has its line, the exit code is 1, and the last line says what to do."""
    paths = [path for path in content_files(copy) if path.name in (VECTORS_FILE, FAISS_FILE)]
    for path in paths:
        path.write_bytes(path.read_bytes()[:-1])
    done = run("verify", copy.root)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert len(paths) == 4
    assert all(any(line.startswith(f"{path} has ") for line in lines) for path in paths)
    assert f"{copy.root}: damaged" in lines[-1]
    error = done.stderr.splitlines()[-1]
    assert error.startswith(f"Error: {copy.root} is damaged: 4 problems. Run embedder index again")


def test_one_way_out_is_named(run: Run, copy: Layout) -> None:
    """Of several kinds of damage the last line names the one repair that is good for all."""
    vectors = next(path for path in content_files(copy) if path.name == VECTORS_FILE)
    vectors.write_bytes(vectors.read_bytes()[:-1])
    done = run("verify", copy.root, "-q")
    assert done.stderr.endswith("1 problem. Run embedder index again to restore it.\n")
    copy.calibration.unlink()
    done = run("verify", copy.root, "-q")
    assert done.stderr.endswith(f"2 problems. {REBUILD}\n")


def test_a_damaged_manifest_is_a_problem_of_its_own(run: Run, copy: Layout) -> None:
    """A manifest that is gone or cannot be read is named with the way out."""
    copy.manifest.write_text("{}")
    for _ in range(2):
        done = run("verify", copy.root, "-q")
        assert done.returncode == 1
        assert "manifest.json is" in done.stdout
        assert "Remove " in done.stderr and " and run embedder index again" in done.stderr
        copy.manifest.unlink(missing_ok=True)


# --- what only a look inside finds ---


def rewrite(path: Path, change: Table) -> None:
    """Replace a Parquet file by a changed one, with checksums of its pages."""
    table = change(pq.read_table(path))
    pq.write_table(table, path, compression="zstd", write_page_checksum=True)


def with_column(name: str, change: Callable[[list[Any]], Sequence[Any]]) -> Table:
    """A table with one column changed."""

    def changed(table: pa.Table) -> pa.Table:
        field = table.schema.field(name)
        values = pa.array(change(table[name].to_pylist()), field.type)
        return table.set_column(table.schema.get_field_index(name), field, values)

    return changed


def swapped(values: list[Any], first: int = 3, second: int = 40) -> list[Any]:
    """Values two of which have changed places."""
    values[first], values[second] = values[second], values[first]
    return values


def replaced(place: int, value: Any) -> Callable[[list[Any]], list[Any]]:
    """A change of one value."""

    def changed(values: list[Any]) -> list[Any]:
        values[place] = value
        return values

    return changed


def added(place: int, value: int) -> Callable[[list[Any]], list[Any]]:
    """A change of one value by a number."""
    return lambda values: replaced(place, values[place] + value)(values)


PARQUET: dict[str, tuple[str, Table, str]] = {
    "row numbers": (DOCUMENTS_FILE, with_column("__row", swapped), "not numbered by its place"),
    "an id": (DOCUMENTS_FILE, with_column("__id", replaced(7, None)), "document 7 has no id"),
    "a text": (DOCUMENTS_FILE, with_column("__text", replaced(7, None)), "document 7 has no text"),
    "another text": (DOCUMENTS_FILE, with_column("__text", swapped), "another hash than its text"),
    "documents' columns": (DOCUMENTS_FILE, lambda t: t.select(t.column_names[::-1]), "columns are"),
    "fewer documents": (DOCUMENTS_FILE, lambda t: t.slice(1), "documents where"),
    "order": (PASSAGES_FILE, with_column("document", swapped), "of a later document"),
    "no such document": (PASSAGES_FILE, with_column("document", replaced(-1, 9999)), "not there"),
    "no passage": (PASSAGES_FILE, with_column("document", replaced(0, 1)), "has no passage"),
    "end": (PASSAGES_FILE, with_column("end", added(9, 99)), "passage 9 lies outside"),
    "start": (PASSAGES_FILE, with_column("start", added(9, -1)), "passage 9 lies outside"),
    "empty passage": (PASSAGES_FILE, with_column("start", added(9, 99)), "passage 9 lies outside"),
    "hash": (PASSAGES_FILE, with_column("hash_low", swapped), "another hash than its text"),
    "checksum": (PASSAGES_FILE, with_column("checksum", swapped), "checksum than its vector"),
    "tokens": (PASSAGES_FILE, with_column("n_tokens", added(9, 1)), "tokens, and"),
    "null": (PASSAGES_FILE, with_column("end", replaced(9, None)), "a value is null"),
    "passages' columns": (PASSAGES_FILE, lambda t: t.drop_columns(["checksum"]), "columns are"),
    "fewer passages": (PASSAGES_FILE, lambda t: t.slice(1), "passages, and"),
}


def check_found(layout: Layout, path: Path, words: str) -> Report:
    """The index has a problem with this file that the words describe."""
    report = verify_index(layout)
    found = [problem for problem in report.problems if problem.file == str(path)]
    assert any(words in problem.message for problem in found), report.problems
    return report


@pytest.mark.parametrize("case", PARQUET)
@pytest.mark.parametrize("number", [0, 1])
def test_a_segment_that_contradicts_itself(copy: Layout, case: str, number: int) -> None:
    """Documents and passages that do not fit together are found although digests are right."""
    name, change, words = PARQUET[case]
    folder = copy.segment(read_manifest(copy).segments[number].id)
    rewrite(folder / name, change)
    state_digests(copy)
    named = PASSAGES_FILE if "hash" in words else name
    check_found(copy, folder / named, words)


def vectors_of(layout: Layout) -> tuple[Path, np.ndarray[Any, Any]]:
    """The file of the first segment's vectors, and the vectors."""
    path = layout.segment(read_manifest(layout).segments[0].id) / VECTORS_FILE
    return path, np.load(path)


def save(path: Path, rows: np.ndarray[Any, Any]) -> None:
    """Write vectors as an index has them."""
    path.write_bytes(npy_header(rows.dtype, rows.shape) + rows.tobytes())


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1.0])
def test_a_vector_that_is_none(copy: Layout, value: float) -> None:
    """A vector that is not finite, or not of unit length, is found by its number."""
    path, rows = vectors_of(copy)
    rows[17] = value
    save(path, rows)
    state_digests(copy)
    check_found(copy, path, "vector 17 is not finite or not of unit length")


def test_another_unit_vector(copy: Layout) -> None:
    """A vector that gave way to another one is found by its checksum and in FAISS."""
    path, rows = vectors_of(copy)
    rows[17] = rows[200]
    save(path, rows)
    state_digests(copy)
    check_found(copy, path.with_name(PASSAGES_FILE), "passage 17 has another checksum")


@pytest.mark.parametrize("change", ["transposed", "wider type", "longer header", "fewer rows"])
def test_an_array_of_another_kind(copy: Layout, change: str) -> None:
    """Vectors of another shape, type or order are refused by what is there."""
    path, rows = vectors_of(copy)
    if change == "longer header":
        header = b"\x93NUMPY\x01\x00" + (246).to_bytes(2, "little")
        old = path.read_bytes()
        body = old[10 : NPY_HEADER_BYTES - 1].ljust(245) + b"\n"
        path.write_bytes(header + body + old[NPY_HEADER_BYTES:])
    else:
        np.save(
            path,
            {
                "transposed": np.asfortranarray(rows),
                "wider type": rows.astype(np.float32),
                "fewer rows": rows[:-1],
            }[change],
        )
    state_digests(copy)
    check_found(copy, path, str(path))


def deletion_of(layout: Layout) -> tuple[Path, Manifest, SegmentRecord]:
    """The file of the first segment's deletions, the manifest, and the segment."""
    manifest = read_manifest(layout)
    segment = manifest.segments[0]
    assert segment.deletion is not None
    return layout.deleted / segment.deletion.name, manifest, segment


@pytest.mark.parametrize(
    ("numbers", "words"),
    [([9, 4], "not ascending"), ([4, 4], "not ascending"), ([4, 9999], "beyond"), ([4], "missing")],
)
def test_deletions_that_cannot_be(copy: Layout, numbers: list[int], words: str) -> None:
    """Numbers of deleted documents are ascending, in the segment, and as many as recorded."""
    path, _, segment = deletion_of(copy)
    assert segment.deletion is not None
    assert segment.deletion.n_documents == 2
    np.save(path, np.array(numbers, dtype=np.int32))
    state_digests(copy)
    check_found(copy, path, words)


def test_deleted_passages_are_counted(copy: Layout) -> None:
    """The manifest's number of deleted passages is that of the deleted documents."""
    _, manifest, segment = deletion_of(copy)
    assert segment.deletion is not None
    deletion = replace(segment.deletion, n_passages=segment.deletion.n_passages + 1)
    segments = (replace(segment, deletion=deletion), *manifest.segments[1:])
    write_manifest(copy, replace(manifest, segments=segments))
    check_found(copy, copy.manifest, "deleted passages, not")


def changed_shard(manifest: Manifest, number: int, **changes: Any) -> dict[str, Any]:
    """The manifest's segments with one shard of the first changed."""
    first = manifest.segments[0]
    shards = list(first.shards)
    shards[number] = replace(shards[number], **changes)
    return {"segments": (replace(first, shards=tuple(shards)), *manifest.segments[1:])}


def changed_generation(manifest: Manifest, **changes: Any) -> dict[str, Any]:
    """The manifest's generations with the second changed."""
    first, second = manifest.generations
    return {"generations": (first, replace(second, **changes))}


Change = Callable[[Manifest], dict[str, Any]]
MANIFEST: dict[str, tuple[Change, str]] = {
    "overlapping shards": (lambda m: changed_shard(m, 1, first_document=5), "begins at 5"),
    "shard too long": (lambda m: changed_shard(m, 1, n_documents=5000), "beyond the segment"),
    "shard too short": (lambda m: changed_shard(m, 1, n_documents=5), "in no shard, nor deleted"),
    "shard twice": (lambda m: changed_shard(m, 1, id=m.segments[0].shards[0].id), "the shard"),
    "segment twice": (
        lambda m: {"segments": (*m.segments, m.segments[1])},
        "the segment c 2 times",
    ),
    "generation twice": (
        lambda m: {"generations": (*m.generations, m.generations[0])},
        "the generation",
    ),
    "covered twice": (
        lambda m: changed_generation(
            m,
            segments=(*m.generations[0].segments, "c"),
            sizes=(*m.generations[0].sizes, *m.generations[1].sizes),
        ),
        "the covered segment",
    ),
    "other sizes": (lambda m: changed_generation(m, sizes=(7,)), "has 7 vectors of segment c"),
    "no sizes": (lambda m: changed_generation(m, sizes=()), "has 0 sizes of 1"),
    "settled": (lambda m: {"n_settled": 3}, "3 of 2 segments"),
    "duplicate ids": (lambda m: {"n_duplicate_ids": 4}, "counts 4 duplicate ids, and there are 0"),
    "history": (
        lambda m: {"history": (replace(m.history[-1], n_documents=5),)},
        "its last run left 5 documents",
    ),
}


@pytest.mark.parametrize("case", MANIFEST)
def test_a_manifest_that_contradicts_itself(copy: Layout, case: str) -> None:
    """What the manifest says twice is the same, and it names nothing twice."""
    change, words = MANIFEST[case]
    manifest = read_manifest(copy)
    write_manifest(copy, replace(manifest, **change(manifest)))
    check_found(copy, copy.manifest, words)


def test_other_calibration_texts(copy: Layout) -> None:
    """Calibration texts other than the encoder's are found, and what is no list of texts."""
    for content in ('["one", "three"]', '{"one": 1}', "one"):
        copy.calibration.write_text(content)
        state_digests(copy)
        check_found(copy, copy.calibration, "calibration.json: ")


def test_excluded_documents_that_cannot_be_read(copy: Layout) -> None:
    """A file of excluded documents that holds something else is found."""
    excluded = read_manifest(copy).excluded
    assert excluded is not None
    path = copy.deleted / excluded[0]
    np.save(path, np.zeros((3, 5), dtype=np.uint64))
    state_digests(copy)
    check_found(copy, path, "missing or damaged")


# --- uses of words, and senses ---


def occurrences_of(layout: Layout) -> tuple[Path, np.ndarray[Any, Any]]:
    """The file of the first segment's occurrences, and their records."""
    path = layout.segment(read_manifest(layout).segments[0].id) / OCCURRENCES_FILE
    return path, np.load(path)


RECORDS: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "word": ("word", lambda old: old ^ 1, "is of a word that is not in words.parquet"),
    "another word": ("word", lambda _: hash_text("text"), "is of another word than stands in its"),
    "start": ("start", lambda old: old + 1, "is of another word than stands in its text"),
    "behind": ("start", lambda _: 9000, "lies outside its passage"),
    "before": ("start", lambda _: -5, "lies outside its passage"),
    "length": ("length", lambda old: old + 1, "is of another word than stands in its text"),
    "no length": ("length", lambda _: 0, "lies outside its passage"),
    "too long": ("length", lambda _: 9000, "lies outside its passage"),
}


@pytest.mark.parametrize("case", RECORDS)
def test_an_occurrence_that_is_none(copy: Layout, case: str) -> None:
    """An occurrence that is no use of its word in the text of its passage is found."""
    field, change, words = RECORDS[case]
    path, records = occurrences_of(copy)
    chosen = np.flatnonzero(records["word"] == hash_text("of"))[7]
    records[field][chosen] = change(records[field][chosen])
    np.save(path, records)
    state_digests(copy)
    check_found(copy, path, words)


def test_occurrences_in_another_order(copy: Layout) -> None:
    """The occurrences of a passage follow each other."""
    path, records = occurrences_of(copy)
    ends = np.load(path.with_name(ENDS_FILE))
    first = int(ends[np.flatnonzero(np.diff(ends) > 1)[5]])
    records[[first, first + 1]] = records[[first + 1, first]]
    np.save(path, records)
    state_digests(copy)
    check_found(copy, path, "begins before the one before it ends")


@pytest.mark.parametrize("change", ["descending", "shorter", "fewer", "wider"])
def test_ends_that_cannot_be(copy: Layout, change: str) -> None:
    """Where passages' occurrences end is ascending, and ends with the last of them."""
    path = occurrences_of(copy)[0].with_name(ENDS_FILE)
    ends = np.load(path)
    if change == "descending":
        ends[9] = ends[-1]
    if change == "shorter":
        ends[-1] -= 1
    np.save(path, {"fewer": ends[:-1], "wider": ends.astype(np.float64)}.get(change, ends))
    state_digests(copy)
    check_found(copy, path, str(path))


@pytest.mark.parametrize("change", ["zeros", "small", "fewer", "narrower", "wider"])
def test_codes_that_cannot_be(copy: Layout, change: str) -> None:
    """Codes are scaled unit rows, as many as there are occurrences."""
    path = occurrences_of(copy)[0].with_name(CODES_FILE)
    codes = np.load(path)
    codes[11] = {"zeros": 0, "small": 3}.get(change, codes[11])
    changed = {"fewer": codes[:-1], "narrower": codes[:, :-1], "wider": codes.astype(np.int16)}
    np.save(path, changed.get(change, codes))
    state_digests(copy)
    words = "code 11 is none of a unit row" if change in ("zeros", "small") else str(path)
    check_found(copy, path, words)


WORDS: dict[str, tuple[Table, str]] = {
    "hash": (with_column("word", added(0, 1)), "has another hash than its form"),
    "form": (with_column("form", replaced(0, "river")), "has another hash than its form"),
    "order": (lambda table: table.take([1, 0, *range(2, table.num_rows)]), "greater hash"),
    "uses": (with_column("n_uses", replaced(0, 5)), "has another number of uses"),
    "null": (with_column("n_uses", replaced(0, None)), "a value is null"),
    "columns": (lambda table: table.drop_columns(["form"]), "is damaged"),
    "no use": (
        lambda table: pa.concat_tables(
            [table, pa.table([[(1 << 64) - 1], ["never"], [9], [0]], schema=table.schema)]
        ),
        "has another hash than its form",
    ),
}


@pytest.mark.parametrize("case", WORDS)
def test_words_that_cannot_be(copy: Layout, case: str) -> None:
    """The words of a segment are those of its occurrences, with their numbers and forms."""
    change, words = WORDS[case]
    path = copy.segment(read_manifest(copy).segments[1].id) / WORDS_FILE
    rewrite(path, change)
    state_digests(copy)
    check_found(copy, path, words)


SENSES: dict[str, tuple[Table, str]] = {
    "hash": (with_column("word", added(0, 1)), "has another hash than its word's form"),
    "number": (with_column("sense", lambda values: [1] * len(values)), "number of another one"),
    "no number": (with_column("sense", replaced(0, 0)), "number of another one"),
    "uses": (with_column("n_uses", added(0, 1)), "of a word with another number of uses"),
    "place": (with_column("first", added(-1, 1)), "has the uses of its word elsewhere"),
    "found": (with_column("n_found", replaced(0, 3)), "of a word with another number of uses"),
    "fewer": (lambda table: table.slice(0, table.num_rows - 1), "were written"),
    "null": (with_column("form", replaced(0, None)), "a value is null"),
    "order": (lambda table: table.take(list(range(table.num_rows))[::-1]), "greater hash"),
}


def senses_of(layout: Layout, name: str) -> Path:
    """A file of the sense inventory."""
    senses = read_manifest(layout).senses
    assert senses is not None
    assert senses.n_words == 5 and senses.n_senses > 5
    return layout.sense_folder(senses.id) / name


@pytest.mark.parametrize("case", SENSES)
def test_senses_that_cannot_be(copy: Layout, case: str) -> None:
    """The rows of an inventory agree with each other and with the manifest."""
    change, words = SENSES[case]
    path = senses_of(copy, SENSES_FILE)
    rewrite(path, change)
    state_digests(copy)
    check_found(copy, path, words)


@pytest.mark.parametrize("value", [np.nan, 0.0, 1.0, None])
def test_centroids_that_cannot_be(copy: Layout, value: float | None) -> None:
    """Centroids are finite unit rows, one a sense."""
    path = senses_of(copy, CENTROIDS_FILE)
    rows = np.load(path)
    rows[1] = rows[1] if value is None else value
    np.save(path, rows[:-1] if value is None else rows)
    state_digests(copy)
    words = "float16" if value is None else "centroid 1 is not finite or not of unit length"
    check_found(copy, path, words)


USES: dict[str, tuple[str, int, str]] = {
    "sense": ("sense", 9, "has a sense that its word has not"),
    "segment": ("segment", 7, "is no occurrence of its word"),
    "row": ("row", 1, "is no occurrence of its word"),
    "no row": ("row", 1 << 30, "is no occurrence of its word"),
}


@pytest.mark.parametrize("case", USES)
def test_uses_that_cannot_be(copy: Layout, case: str) -> None:
    """A use in an inventory is an occurrence of its word with one of its senses."""
    field, change, words = USES[case]
    path = senses_of(copy, USES_FILE)
    uses = np.load(path)
    uses[field][5] += change
    np.save(path, uses)
    state_digests(copy)
    check_found(copy, path, words)


def test_a_use_of_another_sense(copy: Layout) -> None:
    """The senses of a word have as many uses as the inventory says."""
    path = senses_of(copy, USES_FILE)
    uses = np.load(path)
    uses["sense"][5] = 3 - uses["sense"][5]
    np.save(path, uses)
    state_digests(copy)
    check_found(copy, path.with_name(SENSES_FILE), "has another number of uses")


def test_an_inventory_of_other_segments(copy: Layout) -> None:
    """An inventory is of segments that the manifest names, and there is one with its basis."""
    manifest = read_manifest(copy)
    assert manifest.senses is not None
    other = replace(manifest.senses, segments=(("gone", ""), *manifest.senses.segments[1:]))
    write_manifest(copy, replace(manifest, senses=other))
    check_found(copy, copy.manifest, "its senses are of segment gone")
    write_manifest(copy, replace(manifest, senses=None))
    check_found(copy, copy.manifest, "it names no senses")
    write_manifest(copy, replace(manifest, basis=None))
    check_found(copy, copy.manifest, "not the files of an index without senses")


@pytest.mark.parametrize("content", ['["b", "a"]', '["a", "a"]', '{"a": 1}', "[1]", "["])
def test_function_words_that_cannot_be(copy: Layout, content: str) -> None:
    """Function words are a sorted list of different words."""
    basis = read_manifest(copy).basis
    assert basis is not None
    path = copy.sense_folder(basis.id) / FUNCTION_WORDS_FILE
    path.write_text(content)
    state_digests(copy)
    check_found(copy, path, str(path))


@pytest.mark.parametrize("change", ["not unit", "not finite", "fewer", "wider"])
def test_a_projection_that_cannot_be(copy: Layout, change: str) -> None:
    """A projection is a mean and unit components of the width of a vector."""
    basis = read_manifest(copy).basis
    assert basis is not None
    path = copy.sense_folder(basis.id) / PROJECTION_FILE
    rows = np.load(path)
    rows[3] *= {"not unit": 2}.get(change, 1)
    rows[0] += {"not finite": np.nan}.get(change, 0)
    np.save(path, {"fewer": rows[:-1], "wider": rows.astype(np.float64)}.get(change, rows))
    state_digests(copy)
    check_found(copy, path, str(path))


# --- FAISS ---


def change_bytes(path: Path, place: int, content: bytes) -> None:
    """Write over a part of a file."""
    with path.open("r+b") as file:
        file.seek(place, io.SEEK_SET if place >= 0 else io.SEEK_END)
        file.write(content)


def lists_of(layout: Layout, number: int) -> Path:
    """The file of inverted lists of one generation."""
    return layout.generation(read_manifest(layout).generations[number].id) / "lists.bin"


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(
    ("place", "content", "words"),
    [
        (-8, (3).to_bytes(8, "little"), "in the lists more than once"),
        (-8, (3).to_bytes(8, "little"), "in no list"),
        (-8, (99_999).to_bytes(8, "little"), "names other vectors"),
        (-8, (-1).to_bytes(8, "little", signed=True), "names other vectors"),
        (0, b"\x7f\x01\x02\x03", "is not the stored row"),
    ],
)
def test_lists_that_hold_something_else(
    copy: Layout, number: int, place: int, content: bytes, words: str
) -> None:
    """A vector that is in the lists twice, not at all, or with another code is found."""
    path = lists_of(copy, number)
    change_bytes(path, place, content)
    state_digests(copy)
    check_found(copy, path, words)


def test_swapped_vectors(copy: Layout) -> None:
    """Two vectors that changed places in a list are found by their codes."""
    path = lists_of(copy, 1)
    ids = np.frombuffer(path.read_bytes()[-16:], dtype="<i8")
    change_bytes(path, -16, ids[::-1].tobytes())
    state_digests(copy)
    check_found(copy, path, "2 vectors, the first is number")


def test_cells_that_are_not_those_of_the_lists(copy: Layout) -> None:
    """The cells by which filters look vectors up are those in which the vectors lie."""
    path = lists_of(copy, 0)
    cells = np.load(path.with_name("cells.npy"))
    cells[5] += 1
    np.save(path.with_name("cells.npy"), cells)
    state_digests(copy)
    check_found(copy, path, "vector 5 is in another cell")


@pytest.mark.parametrize("name", ["cells.npy", "codec.npy", "sizes.npy"])
def test_arrays_of_a_structure_of_another_kind(copy: Layout, name: str) -> None:
    """A structure whose arrays have another length cannot be opened, and is named."""
    folder = lists_of(copy, 0).parent
    np.save(folder / name, np.load(folder / name)[:-1])
    state_digests(copy)
    check_found(copy, folder, name)


def test_a_codec_of_other_vectors(copy: Layout) -> None:
    """With another codec the codes are not those of the stored rows."""
    path = lists_of(copy, 0)
    codec = np.load(path.with_name("codec.npy"))
    np.save(path.with_name("codec.npy"), codec * np.float32(1.5))
    state_digests(copy)
    check_found(copy, path, "is not the stored row")


def test_centroids_that_lead_elsewhere(copy: Layout) -> None:
    """Where the centroids do not lead to the vectors, stored rows do not find themselves."""
    path = lists_of(copy, 0).with_name(FAISS_FILE)
    content = path.read_bytes()
    n_lists = read_manifest(copy).generations[0].n_lists
    at, n_bytes = content.index(bytes_of_centroids(copy, path)), n_lists * 16
    centroids = content[at : at + n_bytes]
    path.write_bytes(content[:at] + centroids[::-1] + content[at + n_bytes :])
    state_digests(copy)
    check_found(copy, path.parent, "do not find themselves")


def bytes_of_centroids(layout: Layout, path: Path) -> bytes:
    """The centroids in the file of an index, as it has them."""
    import faiss

    index = faiss.read_index(str(path))
    quantizer = faiss.downcast_index(index.quantizer)
    found: bytes = faiss.vector_to_array(quantizer.codes).tobytes()
    return found


def test_a_structure_that_nobody_knows(copy: Layout) -> None:
    """A structure of a name that this version does not know is a problem of its folder."""
    manifest = read_manifest(copy)
    write_manifest(copy, replace(manifest, **changed_generation(manifest, structure="LSH")))
    check_found(copy, copy.generation(manifest.generations[1].id), "does not know")


def test_a_segment_that_is_gone_is_not_missed(copy: Layout) -> None:
    """A FAISS structure may hold vectors of a segment that the index has no more."""
    manifest = read_manifest(copy)
    assert manifest.basis is not None
    second = manifest.segments[1]
    shutil.rmtree(copy.segment(second.id))
    segments = manifest.segments[:1]
    senses = update_senses(copy, segments, manifest.basis, manifest.senses, Progress())
    kept = replace(manifest, segments=segments, n_settled=1, senses=senses, history=())
    write_manifest(copy, kept)
    report = verify_index(copy, with_recall=True)
    assert report.problems == ()
    assert report.recall is not None
    assert report.recall.is_kept


# --- recall ---


def test_recall_is_measured(whole: Layout) -> None:
    """The recall measured is that of the structures, of which one is exact here and one is not."""
    found = verify_index(whole, with_recall=True).recall
    assert found is not None
    assert found.recorded == read_manifest(whole).generations[0].recall
    assert found.recorded - 0.03 < found.recall < 0.99
    assert found.is_kept


def test_recall_below_the_contract_fails(run: Run, copy: Layout) -> None:
    """An index whose search finds less than the contract says is refused, with both numbers."""
    manifest = read_manifest(copy)
    write_manifest(copy, replace(manifest, contract=replace(manifest.contract, recall=0.99)))
    done = run("verify", copy.root, "--recall", "--format", "json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["recall"]["is_kept"] is False
    assert "does not keep its contract" in done.stderr
    assert "0.99 was asked for" in done.stderr
    assert run("verify", copy.root, "-q").returncode == 0


# --- beside the index ---


def test_leftovers_are_listed_and_harm_nobody(run: Run, copy: Layout) -> None:
    """What nothing names is listed, with whether the next run removes it, and is no damage."""
    own = [copy.root / ".tmp-manifest.json", copy.segments / ".tmp-x", copy.ann / "old"]
    own.append(copy.deleted / "old.npy")
    folder = copy.segment(read_manifest(copy).segments[0].id)
    foreign = [copy.root / "notes.txt", folder / "notes.txt"]
    for path in (own[0], own[3], *foreign):
        path.write_text("x")
    for path in own[1:3]:
        path.mkdir()
    report = verify_index(copy)
    assert report.is_whole
    assert {x.file for x in report.leftovers if x.is_removed} == set(map(str, own))
    assert {x.file for x in report.leftovers if not x.is_removed} == set(map(str, foreign))
    done = run("verify", copy.root)
    assert done.returncode == 0
    assert f"{own[1]}: left over, or being written now; embedder index removes" in done.stdout
    assert f"{foreign[0]}: no part of the index" in done.stdout


def test_an_unfinished_run_is_said(run: Run, copy: Layout) -> None:
    """A run that has not finished is said, and is no damage."""
    manifest = read_manifest(copy)
    write_manifest(copy, replace(manifest, n_settled=1, generations=manifest.generations[:1]))
    done = run("verify", copy.root)
    assert done.returncode == 0, done.stdout
    assert "has not finished; run embedder index again" in done.stdout


def test_a_verification_holds_the_index_open(whole: Layout, monkeypatch: Any) -> None:
    """Writers may not remove what is being read."""
    held = []

    def noting(path: Path) -> Any:
        held.append(path)
        return hold_open(path)

    monkeypatch.setattr("jobs.verify.hold_open", noting)
    verify_index(whole)
    assert held == [whole.readers]


def test_the_command_names_a_missing_index(run: Run, tmp_path: Path) -> None:
    """A folder without an index is refused as by every other command."""
    done = run("verify", tmp_path, "-q")
    assert_refused(done, "There is no index at")
