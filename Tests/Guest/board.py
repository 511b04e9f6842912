"""The board that both scenarios run on: its processor, its disk, and the values that are set there."""

import os
import pathlib
import shutil

import guest

from vigie_harness.checkout import ROOT, STATE

HERE = pathlib.Path(__file__).resolve().parent
if os.environ.get("VIGIE_GUEST") == "arm64":
    # As tools/debian13/test-arm64 makes it.
    ARCHITECTURE = guest.ARM64
    SYSTEM = STATE / "debian13/arm64"
    RELEASE = STATE / "debian13/build/arm64/release"
    APT_OPTIONS = (f"--config-file={STATE / 'debian13/arm64.apt.conf'}",)
else:
    ARCHITECTURE = guest.AMD64
    SYSTEM = pathlib.Path("/")
    RELEASE = ROOT / ".build/release"
    APT_OPTIONS = ()
PROGRAMS = ("vigie-gateway", "vigie-simbus")
TOOLS = ("i2cdetect", "i2ctransfer", "gpiodetect", "gpioset", "sqlite3")
# Seconds. Quiet it takes a fraction; a loaded machine shall not fail.
LIMIT = 1800

# What init.sh sets first.
FIRST = {
    "cellar": {"temperature": 21.5, "humidity": 40, "pressure": 1000},
    "office": {"temperature": 23, "humidity": 45, "co2": 800},
    "porch": {"temperature": 5.25, "humidity": 70, "battery_voltage": 3.9},
    "kitchen": {"temperature": 20, "humidity": 48, "voc_index": 110, "pm2_5": 8.5},
    "attic": {"temperature": 28, "humidity": 30, "pressure": 1010},
    "shed": {"temperature": 16, "humidity": 52, "pressure": 1005},
    "hall": {"temperature": 19, "humidity": 50, "pressure": 990},
    "loft": {"temperature": 34.5, "humidity": 25, "pressure": 980},
    "annex": {"temperature": 12, "humidity": 60, "co2": 500},
}
# Half a step of the coarsest chip that gives the quantity, and what its driver rounds: BME280 with single conversions
# 0.005 degrees, 0.03 hPa, 0.01 %; SCD4x 1 ppm; ADS1115 125 microvolts behind a divider by two; SEN55 0.1 of its index
# and 0.1 micrograms a cubic metre.
TOLERANCE = {
    "temperature": 0.01, "humidity": 0.02, "pressure": 0.05, "co2": 0.5, "battery_voltage": 0.0003, "voc_index": 0.06,
    "pm2_5": 0.06,
}  # fmt: skip
QUANTITIES = tuple(TOLERANCE)


def run_scenario(folder: pathlib.Path, scenario: str, network: bool = False) -> tuple[str, pathlib.Path]:
    """Boots the guest with a scenario, and returns what its console said and the file in which that is kept.

    `folder` is for what is made for it. GuestError if it does not get to its end.
    """
    # Of the last run, whatever became of it.
    log = STATE / f"guest-{scenario.split()[0]}.log"
    STATE.mkdir(exist_ok=True)
    cache = STATE / "cache"
    package = guest.download_kernel(ARCHITECTURE, cache / "kernel", APT_OPTIONS)
    # Its modules are taken out anew when others are wanted.
    kernel, modules = guest.unpack_kernel(package, cache / "guest" / f"{package.stem}-{len(guest.MODULES)}")
    programs = {f"/bin/{name}": _stripped(RELEASE / name, folder) for name in PROGRAMS}
    for name in TOOLS:
        folders = ":".join(str(SYSTEM / part) for part in ("usr/sbin", "usr/bin", "sbin", "bin"))
        programs[f"/bin/{name}"] = pathlib.Path(shutil.which(name, path=folders) or name)
    files = {f"/{path.name}": path.read_bytes() for path in HERE.glob("*.sh")}
    files["/init"] = files.pop("/init.sh")
    files["/gateway.yaml"] = (HERE / "gateway.yaml").read_bytes()
    disk = folder / "disk"
    disk.write_bytes(guest.make_initial_disk(ARCHITECTURE, modules, programs, files, SYSTEM))
    try:
        guest.boot(ARCHITECTURE, kernel, disk, log, LIMIT, scenario, network)
        console = log.read_text(errors="replace").replace("\r", "")
        if "\nDONE " not in console:
            raise guest.GuestError(f"the guest did not get to its end:\n{console[-4000:]}")
    except guest.GuestError as error:
        raise guest.GuestError(f"{error}\nIts console is kept in {keep(log)}") from None
    return console, log


def keep(log: pathlib.Path) -> pathlib.Path:
    """Keeps the console of a guest that failed."""
    kept = STATE / "failed"
    kept.mkdir(parents=True, exist_ok=True)
    return pathlib.Path(shutil.copy(log, kept / log.name))


def _stripped(program: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    if not program.exists():
        raise guest.GuestError(f"{program} is missing: 'make build' makes it")
    if ARCHITECTURE is not guest.AMD64:
        return program  # Our strip knows no other processor; it was linked without symbols.
    guest.run("strip", "-o", folder / program.name, program)
    return folder / program.name
