"""What a command runs against, in words."""

import re
import subprocess


def library_versions() -> dict[str, str]:
    """The system libraries that the programs use."""
    modules = {"librdkafka": "rdkafka", "libpq": "libpq", "SQLite": "sqlite3", "simdjson": "simdjson"}
    versions = {}
    for name, module in modules.items():
        result = subprocess.run(["pkg-config", "--modversion", module], capture_output=True, text=True, check=False)
        versions[name] = result.stdout.strip() or "unknown"
    return versions


def swift_version() -> str:
    result = subprocess.run(["swift", "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"Swift version (\S+)", result.stdout)
    return found[1] if found else "unknown"


def build_parts() -> dict[str, str]:
    """What the programs were built with."""
    libraries = ", ".join(f"{name} {version}" for name, version in library_versions().items())
    return {"libraries": libraries, "compiler": f"Swift {swift_version()}"}
