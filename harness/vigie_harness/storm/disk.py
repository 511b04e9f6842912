"""A small file system for each outbox, so that a full disk is really full."""

import os
import pathlib
import subprocess
import tempfile

# An outbox of some thousand readings comes to a few MiB.
SIZE = 64 << 20


class SmallDisk:
    """A file system in memory, mounted at a folder, which can be filled and freed again."""

    def __init__(self, folder: pathlib.Path, size: int = SIZE):
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self._filler = folder / "filler"
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "vigie-storm", str(folder)]
        subprocess.run(mount, check=True, capture_output=True)

    def fill(self) -> None:
        """Takes all room that is left."""
        with open(self._filler, "wb", buffering=0) as file:
            block = bytes(1 << 20)
            while block:
                try:
                    file.write(block)
                except OSError:
                    # Less and less, down to the last page.
                    block = block[: len(block) // 2] if len(block) > 512 else b""

    def free(self) -> None:
        """Gives the room back."""
        self._filler.unlink(missing_ok=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=False, capture_output=True)

    @staticmethod
    def is_possible() -> bool:
        """Whether this process may mount file systems, which takes root outside most containers."""
        if os.geteuid() != 0:
            return False
        with tempfile.TemporaryDirectory(prefix="vigie-storm-") as folder:
            try:
                SmallDisk(pathlib.Path(folder) / "disk", 1 << 20).unmount()
            except (OSError, subprocess.CalledProcessError):
                return False
        return True
