"""Starts the dashboard's server in the folder `dashboard`; what stands behind goes to Streamlit."""

import signal
import sys

from streamlit.web.cli import main

# Told to end, the server ends in order, and then sends itself the signal once more, which by default would end it as if
# it had failed.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
main(["run", "server.py", *sys.argv[1:]])
