"""What a process has loaded for a run, kept out of Python's garbage collection."""

import gc


def settle() -> None:
    """To be called when all is loaded: going through it again would hold the process up for tens of milliseconds."""
    gc.unfreeze()  # what an earlier run left
    gc.collect()
    gc.freeze()
