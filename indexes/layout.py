"""Where the files of an index lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DOCUMENTS_FILE = "documents.parquet"
PASSAGES_FILE = "passages.parquet"
VECTORS_FILE = "vectors.npy"
OCCURRENCES_FILE = "occurrences.npy"
CODES_FILE = "occurrence_codes.npy"
ENDS_FILE = "occurrence_ends.npy"
WORDS_FILE = "words.parquet"
OCCURRENCE_FILES = (OCCURRENCES_FILE, CODES_FILE, ENDS_FILE, WORDS_FILE)
FUNCTION_WORDS_FILE = "function_words.json"
PROJECTION_FILE = "projection.npy"
SENSES_FILE = "senses.parquet"
USES_FILE = "uses.npy"
CENTROIDS_FILE = "centroids.npy"
FAISS_FILE = "index.faiss"
INDEX_ENDING = ".index"


@dataclass(frozen=True)
class Layout:
    """The paths inside one index folder.

    Args:
        root: the index folder.
    """

    root: Path

    @property
    def manifest(self) -> Path:
        """The only file that changes."""
        return self.root / "manifest.json"

    @property
    def lock(self) -> Path:
        """Held by the one writer."""
        return self.root / "lock"

    @property
    def readers(self) -> Path:
        """Held by all readers together."""
        return self.root / "readers"

    @property
    def segments(self) -> Path:
        """Folder of the segments' folders."""
        return self.root / "segments"

    @property
    def ann(self) -> Path:
        """Folder of the generations of the FAISS structure."""
        return self.root / "ann"

    @property
    def calibration(self) -> Path:
        """The texts on which int8 was calibrated."""
        return self.root / "calibration.json"

    @property
    def deleted(self) -> Path:
        """Folder of the files that say which documents are deleted."""
        return self.root / "deleted"

    @property
    def senses(self) -> Path:
        """Folder of the sense inventories, and of what the vectors of occurrences rest on."""
        return self.root / "senses"

    def segment(self, segment_id: str) -> Path:
        """Folder of one segment."""
        return self.segments / segment_id

    def generation(self, generation_id: str) -> Path:
        """Folder of one generation of the FAISS structure."""
        return self.ann / generation_id

    def sense_folder(self, name: str) -> Path:
        """Folder of one sense inventory, or of one basis."""
        return self.senses / name
