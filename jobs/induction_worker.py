"""Groups uses of words in a process of its own, for `jobs.induction_pool`."""

from __future__ import annotations

from multiprocessing.connection import Connection

from jobs.induction_pool import induce_all, pack, unpack


def serve() -> None:
    """Answer tasks, each the uses of some words, with the words' centroids, until the socket that
    is stdin ends."""
    with Connection(0) as connection:
        while True:
            try:
                task = connection.recv_bytes()
            except EOFError:
                return
            connection.send_bytes(pack(induce_all(unpack(task))))
