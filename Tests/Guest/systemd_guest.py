"""The services under a real systemd, in a virtual machine with this distribution's kernel (`make test-systemd`).

What is done to them is in systemd/trial.sh; here the facts that it prints are judged. The power goes while readings are
stored: QEMU is killed, and the state directory is on a disk that the next boot has.

apt has installed the packages vigie-gateway, vigie-processor and vigie-tools in the system that is booted. VIGIE_DEBS
names their folder, by default where `make deb` leaves them.
"""

import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest

import board
import guest

from vigie_harness.checkout import ROOT, STATE

HERE = pathlib.Path(__file__).resolve().parent
ARCHITECTURE = guest.AMD64
MODULES = (*guest.MODULES, "virtio-blk", "ext4", "crc32c-generic")
PACKAGES = ("vigie-gateway", "vigie-processor", "vigie-tools")
RELEASE = dict(re.findall(r'^(\w+)="?([^"\n]*)', pathlib.Path("/etc/os-release").read_text(), re.M))
DEBS = pathlib.Path(os.environ.get("VIGIE_DEBS", STATE / f"packages/deb{RELEASE.get('VERSION_ID')}")).resolve()
# What the system has besides Debian's essential packages and apt.
SYSTEM = "systemd,udev,kmod,sqlite3"
# Installs the packages, as an administrator does, and writes the system to the standard output.
INSTALL = """
{
    apt-get update
    apt-get install --yes --no-install-recommends "$@"
    systemctl enable vigie-gateway
} >&2
exec tar --create --one-file-system --directory=/ .
"""
# Seconds that a boot may take. Quiet it is a fraction; beside much other work the first took 1021.
LIMIT = 1800
# How often the power goes.
CUTS = 2
# Much to unpack and to look through, and of no use here.
UNNEEDED = ("usr/share/", "usr/lib/udev/hwdb", "usr/lib/x86_64-linux-gnu/gconv/", "usr/lib/apt/", "var/cache/",
            "var/lib/apt/", "packages", "trial")  # fmt: skip
MASKED = ("serial-getty@ttyS0", "getty-static", "e2scrub_reap", "ldconfig", "systemd-hwdb-update",
          "systemd-journal-catalog-update", "systemd-logind")  # fmt: skip
# The console is for facts alone.
PARAMETERS = "loglevel=1 systemd.getty_auto=0 systemd.show_status=0 " + " ".join(
    f"systemd.mask={name}.service" for name in MASKED
)


def make_system(folder: pathlib.Path) -> pathlib.Path:
    """A system of this machine's Debian with the packages installed, as a tar archive."""
    codename = RELEASE["VERSION_CODENAME"]
    name = f"{codename}-guest"
    if subprocess.run([ROOT / "tools/packages/root", codename, name, SYSTEM]).returncode:
        raise guest.GuestError("there is no system to install the packages in")
    packages = [f"/packages/{package(name).name}" for name in PACKAGES]
    path = folder / "system.tar"
    log = STATE / "guest-systemd-install.log"
    with path.open("wb") as output, log.open("wb") as said:
        command = [ROOT / "tools/packages/enter", name, DEBS, "bash", "-euo", "pipefail", "-c", INSTALL, "bash"]
        if subprocess.run([*command, *packages], stdout=output, stderr=said).returncode:
            raise guest.GuestError(f"the packages cannot be installed:\n{log.read_text(errors='replace')[-3000:]}")
    return path


def package(name: str) -> pathlib.Path:
    """The file of a package."""
    found = list(DEBS.glob(f"{name}_*_{ARCHITECTURE.debian}.deb"))
    if len(found) != 1:
        raise guest.GuestError(f"{DEBS} has {len(found)} packages {name}: `make deb` makes them")
    return found[0]


def next_version(folder: pathlib.Path) -> bytes:
    """A next version of the gateway's package, with the same files."""
    content = folder / "next"
    guest.run("dpkg-deb", "--raw-extract", package("vigie-gateway"), content)
    control = content / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^(Version: .*)$", r"\1+next", control.read_text()))
    file = folder / "next.deb"
    guest.run("dpkg-deb", "-Znone", "--build", content, file)
    return file.read_bytes()


def trial_files() -> dict:
    """What the trial adds to the system."""
    # As in the other guests, but with the state directory, the kernel's word on its clock, and a secret.
    text = (HERE / "gateway.yaml").read_text()
    text = re.sub(r"(?m)^outbox:.*", "outbox: {path: /var/lib/vigie-gateway/outbox.sqlite}", text)
    text = re.sub(r"(?m)^clock:.*", "clock: {policy: kernel}", text)
    security = "security: sasl_plaintext, mechanism: PLAIN, username: guest, password_file: "
    text = text.replace("kafka: {", "kafka: {" + security + "/etc/vigie/secrets/gateway/kafka, ")
    values = [
        " ".join((name, *(f"{'battery' if key == 'battery_voltage' else key}={value}" for key, value in row.items())))
        for name, row in board.FIRST.items()
    ]
    files = {
        "/etc/vigie/gateway.yaml": (text.encode(), 0o644),
        "/init": ((HERE / "systemd/init").read_bytes(), 0o755),
        "/trial/trial.sh": ((HERE / "systemd/trial.sh").read_bytes(), 0o644),
        "/trial/values": ("\n".join(values).encode() + b"\n", 0o644),
        # The root disk is made anew at each boot; a secret comes with it, for the group that tmpfiles.d gives it.
        "/usr/lib/tmpfiles.d/vigie-trial.conf": (
            b"f /etc/vigie/secrets/gateway/kafka 0640 root vigie-gateway - opened\n", 0o644
        ),
        "/etc/hostname": (b"board\n", 0o644),
        # Without one systemd takes it for the first boot of a machine, and enables every unit.
        "/etc/machine-id": (b"0123456789abcdef0123456789abcdef\n", 0o444),
    }  # fmt: skip
    for unit in ("vigie-simbus", "vigie-trial"):
        files[f"/etc/systemd/system/{unit}.service"] = ((HERE / f"systemd/{unit}.service").read_bytes(), 0o644)
    return files


def make_disk(folder: pathlib.Path, modules) -> pathlib.Path:
    """The initial RAM disk, which is the root file system."""
    disk = guest.InitialDisk()
    with tarfile.open(make_system(folder)) as archive:
        disk.add_archive(archive, without=UNNEEDED)
    files = {"/trial/next.deb": (next_version(folder), 0o644)}
    for module in modules:
        files[f"/trial/modules/{re.sub('^[0-9]+-', '', module.name)}"] = (module.read_bytes(), 0o644)
    for path, (content, mode) in (files | trial_files()).items():
        disk.add(path, content, mode)
    wanted = "/etc/systemd/system/multi-user.target.wants"
    disk.folder(wanted.lstrip("/"))
    disk.link(f"{wanted}/vigie-trial.service", "/etc/systemd/system/vigie-trial.service")
    path = folder / "system"
    path.write_bytes(disk.finish())
    return path


class Boot:
    """A boot of the guest, from its start to its end or to that of its power."""

    def __init__(self, number: int, kernel, system, state, until_durable: int | None):
        self.log = STATE / f"guest-systemd-{number}.log"
        self.log.unlink(missing_ok=True)
        # The host's page cache keeps what the guest has written when QEMU is killed, so it need not sync its disk.
        drive = f"file={state},format=raw,if=virtio,cache=unsafe"
        surroundings = (*guest.TIME, "-m", "1536", "-nic", "none", "-drive", drive)
        command = guest.emulator(ARCHITECTURE, kernel, system, self.log, surroundings, f"{PARAMETERS} boot={number}")
        began = time.monotonic()
        # It ends with this program, however that ends.
        command = ["setpriv", "--pdeathsig=KILL", "--", *command]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            while process.poll() is None:
                if time.monotonic() - began > LIMIT:
                    raise guest.GuestError(f"the guest was still running after {LIMIT} s")
                told = re.findall(r"^DURABLE (\d+)\r?\n", self.text(), re.M)
                if until_durable is not None and len(told) >= until_durable:
                    # The power goes.
                    process.kill()
                    break
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            said = process.stderr.read().decode(errors="replace").strip()
            process.stderr.close()
        self.seconds = time.monotonic() - began
        self.console = self.text().replace("\r", "")
        if "\nFAILED " in self.console or until_durable is None and "\nDONE\n" not in self.console:
            raise guest.GuestError(f"the guest did not get to its end: {said}\n{self.console[-9000:]}")
        self.durable = max((int(number) for number in re.findall(r"^DURABLE (\d+)\n", self.console, re.M)), default=0)

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def fact(self, name: str) -> str:
        """What the guest says of something. KeyError if it says nothing."""
        found = re.findall(rf"^FACT {name}(?: (.*))?$", self.console, re.M)
        if len(found) != 1:
            raise KeyError(f"{len(found)} facts {name} on the console")
        return found[0].strip()

    def readings(self) -> list[dict]:
        text = re.search(r"^READINGS BEGIN\n(.*?)^READINGS END$", self.console, re.M | re.S).group(1)
        names = ("seq", "boot", "sensor", "quality", "faults", "temperature", "humidity", "co2", "pressure",
                 "battery_voltage")  # fmt: skip
        return [dict(zip(names, line.split("|"), strict=True)) for line in text.splitlines()]


class SystemdTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        STATE.mkdir(exist_ok=True)
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="vigie-systemd-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        package = guest.download_kernel(ARCHITECTURE, STATE / "cache/kernel")
        kernel, modules = guest.unpack_kernel(package, STATE / "cache/guest" / f"{package.stem}-systemd", MODULES)
        system = make_disk(cls.folder, modules)
        state = cls.folder / "state"
        with state.open("wb") as file:
            file.truncate(64 << 20)
        guest.run("mke2fs", "-q", "-t", "ext4", state)
        seed = int(os.environ.get("VIGIE_TEST_SEED") or random.SystemRandom().randrange(2**32))
        print(f"seed {seed} (VIGIE_TEST_SEED replays when the power goes)", flush=True)
        generator = random.Random(seed)
        cls.boots = []
        for number in range(1, CUTS + 2):
            # So often the gateway tells what it has stored before the power goes.
            until = generator.randrange(30, 80) if number <= CUTS else None
            try:
                cls.boots.append(Boot(number, kernel, system, state, until))
            except guest.GuestError as error:
                kept = board.keep(STATE / f"guest-systemd-{number}.log")
                raise guest.GuestError(f"boot {number}: {error}\nIts console is kept in {kept}") from None
            print(f"boot {number}: {cls.boots[-1].seconds:.0f} s", flush=True)
        cls.first = cls.boots[0]

    def run(self, result=None):
        result = super().run(result)
        if result and not result.wasSuccessful():
            for boot in getattr(self, "boots", []):
                board.keep(boot.log)
        return result

    def show(self, text: str):
        print(f"\n    {text}", flush=True)

    def fact(self, name: str, boot=None) -> str:
        text = (boot or self.first).fact(name)
        self.show(f"{name}: {text}")
        return text

    def test_the_gateway_becomes_active_at_boot(self):
        self.assertEqual(self.fact("active"), "notify running vigie-gateway restarts=0")
        self.assertEqual(self.fact("enabled"), "enabled")

    def test_it_samples_the_chips_of_the_kernel(self):
        boot = self.first.fact("boot").split()[1]
        sound = [r for r in self.first.readings() if r["boot"] == boot and not r["faults"]]
        self.assertEqual({reading["sensor"] for reading in sound}, set(board.FIRST))
        for sensor, values in board.FIRST.items():
            last = [reading for reading in sound if reading["sensor"] == sensor][-1]
            for name, value in values.items():
                self.assertAlmostEqual(float(last[name]), value, delta=board.TOLERANCE[name], msg=f"{name}: {last}")
        self.show(f"{len(sound)} readings without a fault, the last of each station with the values that were set")
        devices = self.fact("devices")
        self.assertIn("/dev/i2c-0 i2c 660;", devices)
        self.assertRegex(devices, r"/dev/gpiochip\d gpio 660;")
        self.assertEqual(self.fact("gpio"), "1", "the line is seen to go and to come back")

    def test_its_files_are_not_for_everybody(self):
        self.assertEqual(
            self.fact("files"),
            "/var/lib/vigie-gateway vigie-gateway vigie-gateway 750;"
            "/var/lib/vigie-gateway/outbox.sqlite vigie-gateway vigie-gateway 640;",
        )

    def test_a_secret_is_for_its_service_alone(self):
        secret = self.fact("secret")
        self.assertRegex(secret, r"^root vigie-gateway 640 gateway=replaced processor=.*Permission denied$")
        self.assertRegex(self.fact("credential"), r"^credential \d+ .*Permission denied$")

    def test_the_clock_is_for_the_unit_what_it_is_outside(self):
        self.assertEqual(self.fact("unsynchronised"), "outside=0 inside=estimated")
        self.assertEqual(self.fact("synchronised"), "outside=1 inside=synced")

    def test_a_gateway_that_hangs_is_started_again_by_its_watchdog(self):
        found = re.fullmatch(r"(\d+) before=(\d+) after=(\d+)", self.fact("hang"))
        self.assertNotEqual(found[2], found[3])
        self.assertRegex(self.fact("watchdog"), r"Watchdog timeout \(limit 1min\)")

    def test_a_stop_loses_nothing(self):
        found = re.fullmatch(r"success 0 told=(\d+) stored=(\d+)", self.fact("stopped"))
        self.assertGreaterEqual(int(found[2]), int(found[1]))
        numbers = [int(reading["seq"]) for reading in self.first.readings()]
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)), "no number is missing, over starts and stops")
        self.show(f"numbers 1 to {len(numbers)}, each once")

    def test_a_wrong_setting_starts_no_loop(self):
        self.assertEqual(self.fact("wrong"), "failed 78 restarts=0")
        self.assertEqual(self.fact("processor-wrong"), "failed 78 restarts=0")

    def test_the_unit_loads_the_module_that_its_device_policy_needs(self):
        self.assertEqual(self.fact("unloaded"), "0")
        self.assertEqual(self.fact("loaded-by-the-unit"), str(len(board.FIRST)))

    def test_a_module_that_comes_late_leaves_the_devices_forbidden_until_a_restart(self):
        """So is systemd; what counts is that readings say so, and that a restart is all that it takes."""
        self.assertEqual(self.fact("late"), "i2c 660 good=0")
        faults = re.findall(r"^FACT late-faults (.*)$", self.first.console, re.M)
        self.show(f"late-faults: {faults}")
        self.assertTrue(faults)
        self.assertEqual(self.fact("late-restarted"), str(len(board.FIRST)))

    def test_memory_stays_far_below_the_bound(self):
        text = (ROOT / "systemd/system/vigie-gateway.service").read_text()
        bound = int(re.search(r"^MemoryMax=(\d+)M$", text, re.M).group(1)) << 20
        current, peak, tasks = map(int, self.fact("memory").split()[:3])
        self.show(f"{current / 2**20:.1f} MiB now, {peak / 2**20:.1f} MiB at most, of {bound >> 20}; {tasks} threads")
        self.assertLess(peak, bound / 2)
        self.assertLess(tasks, int(re.search(r"^TasksMax=(\d+)$", text, re.M).group(1)) / 2)

    def test_the_processor_waits_for_its_database_and_stops_in_order(self):
        self.assertEqual(self.fact("processor"), "active running")
        self.assertEqual(self.fact("processor-stopped"), "success 0")

    def test_a_power_cut_loses_nothing_that_was_told_as_stored(self):
        for before, after in zip(self.boots, self.boots[1:], strict=False):
            self.assertGreater(before.durable, 0)
            readings = after.readings()
            numbers = [int(reading["seq"]) for reading in readings]
            self.assertEqual(numbers, list(range(1, len(numbers) + 1)), "no number is missing, and none comes twice")
            boot = after.fact("boot").split()[1]
            kept = [int(reading["seq"]) for reading in readings if reading["boot"] != boot]
            self.assertGreaterEqual(max(kept), before.durable)
            self.assertGreater(numbers[-1], max(kept), "sampling goes on")
            self.show(f"told as stored: {before.durable}; after the cut: {max(kept)}; then on to {numbers[-1]}")
            # What was there stays as it was.
            known = {r["seq"]: r for r in before.readings()}
            self.assertEqual({r["seq"]: r for r in readings if r["seq"] in known}, known)

    def test_an_upgrade_keeps_the_state_of_the_service(self):
        self.assertEqual(self.fact("upgraded-stopped"), "inactive enabled")
        found = re.fullmatch(r"active success old=(\d+) new=(\d+)", self.fact("upgraded-running"))
        self.assertNotEqual(found[1], found[2])

    def test_a_removal_stops_the_service_and_keeps_its_readings(self):
        self.assertEqual(self.fact("removed", self.boots[-1]), "inactive success stored=1")


if __name__ == "__main__":
    try:
        unittest.main(verbosity=2)
    except guest.GuestError as error:
        sys.exit(f"vigie: {error}")
