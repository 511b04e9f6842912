"""The demo's beginning: signals first, then what takes long to import. Run by `make demo`."""

import sys

from vigie_harness import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()
    from run import main

    sys.exit(main())
