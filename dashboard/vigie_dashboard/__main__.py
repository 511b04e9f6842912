"""Starts the dashboard's server in the folder `dashboard`; what stands behind goes to Streamlit.

Exit status 78 says that a variable is wrong or missing (EX_CONFIG of sysexits.h): another try does not help.
"""

import signal
import sys

from streamlit.web.cli import main

from vigie_dashboard.settings import SettingsError, read_settings

try:
    read_settings()
except SettingsError as error:
    print(f"vigie-dashboard: {error}", file=sys.stderr)
    sys.exit(78)

# Told to end, the server ends in order, and then sends itself the signal once more, which by default would end it as if
# it had failed.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
main(["run", "server.py", *sys.argv[1:]])
