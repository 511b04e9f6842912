"""Folders for the data of a test."""

import os
import pathlib
import shutil
import tempfile

from .checkout import STATE


def scratch_folder() -> pathlib.Path:
    """A new folder in memory if there is room (tests leave nothing behind and need no disk), else in .vigie.

    Its name holds our process' number: what a killed run left is removed by the next one.
    """
    memory = pathlib.Path("/dev/shm")
    has_room = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 4 << 30
    parent = memory if has_room else STATE
    parent.mkdir(exist_ok=True)
    for old in parent.glob("vigie-test-*-*"):
        if not pathlib.Path("/proc", old.name.split("-")[2]).exists():
            shutil.rmtree(old, ignore_errors=True)
    folder = tempfile.mkdtemp(prefix=f"vigie-test-{os.getpid()}-", dir=parent)
    # User postgres must pass through; the folders inside keep others out.
    os.chmod(folder, 0o711)
    return pathlib.Path(folder)
