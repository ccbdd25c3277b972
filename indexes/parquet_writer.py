"""Parquet files that are being written, on disks that may be full."""

from __future__ import annotations

import pyarrow.parquet as pq


class ParquetWriter(pq.ParquetWriter):  # type: ignore[misc]  # pyarrow has no types
    """pyarrow's, which after an error tries to write once more when it is dropped, and prints
    that this failed too: here, what could not be finished is over."""

    def close(self) -> None:
        """Write what is missing; whoever calls this a second time, nothing."""
        try:
            super().close()
        finally:
            self.is_open = False
