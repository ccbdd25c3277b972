"""Groups uses of words in a process of its own, for `jobs.induction_pool`."""

from __future__ import annotations

from multiprocessing.connection import Connection

from jobs.induction_pool import induce_task


def serve(channel: int) -> None:
    """Answer tasks, each a list of the uses of words, with the words' centroids, until the other
    end is closed.

    Args:
        channel: file descriptor of a socket.
    """
    with Connection(channel) as connection:
        while True:
            try:
                task = connection.recv()
            except EOFError:
                return
            connection.send(induce_task(task))
