"""A process that writes a learning journal until it is killed, and says what was confirmed.

    python journal_writer.py FOLDER THREADS FILE_BYTES

Prints a line after each flush: the entries of one thread that are confirmed by then.
"""

import sys
import threading
from pathlib import Path

from ruvllm.learning.journal import Journal, JournalSettings
from ruvllm.learning.journal_entry import JournalEntry

FLUSHED_TOGETHER = 7


def main(folder: str, threads: str, file_bytes: str) -> None:
    """Until it is killed."""
    settings = JournalSettings(file_bytes=int(file_bytes), max_files=10_000, batch_seconds=0.01)
    journal = Journal(Path(folder), settings)
    telling = threading.Lock()

    def write(name: str) -> None:
        count = 0
        while True:
            for _ in range(FLUSHED_TOGETHER):
                count += 1
                journal.record(
                    JournalEntry(tenant=name, loop="instant", applied=True, generation_after=count),
                    request="what was asked" * (count % 9),
                )
            journal.flush()
            with telling:
                print(name, count, flush=True)

    for number in range(int(threads)):
        threading.Thread(target=write, args=(f"{number}",), daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
