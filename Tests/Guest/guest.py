"""A virtual machine with Debian's own kernel and this project's programs, made and run in seconds.

No root is needed: the initial RAM disk is written here, byte by byte, and QEMU runs it by pure emulation (tcg).
"""

import dataclasses
import io
import lzma
import os
import pathlib
import re
import shlex
import shutil
import stat
import subprocess
import tarfile
import time

# Kernel modules that simulated hardware and a network card need; what they depend on is found by itself.
MODULES = ("vhci-hcd", "i2c-dev", "i2c-tiny-usb", "uhid", "hid-cp2112", "virtio-pci", "virtio-net")
# Where they and their dependencies are, under lib/modules/VERSION/kernel.
MODULE_FOLDERS = (
    "drivers/usb/", "drivers/i2c/", "drivers/hid/", "drivers/gpio/", "drivers/mfd/", "drivers/virtio/",
    "drivers/net/virtio_net", "drivers/net/net_failover", "net/core/failover", "drivers/block/virtio_blk",
    "fs/ext4/", "fs/jbd2/", "fs/mbcache", "lib/crc", "lib/libcrc", "crypto/crc",
)  # fmt: skip

# The guest's time passes with the instructions that it executes, and jumps when it waits: a loaded host changes nothing
# that happens in it, and waiting costs nothing (QEMU, -icount). That is for one processor.
TIME = ("-smp", "1", "-icount", "shift=1,sleep=off")
# With what is outside it shares the host's time, and has a network card: 10.0.2.2 is the host's loopback there.
NETWORK = ("-nic", "user,model=virtio-net-pci")


class GuestError(Exception):
    """A guest that cannot be made or run: one sentence for a person."""


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What differs between processors."""

    debian: str  # Debian's name for it.
    kernel: str  # The package that depends on the newest kernel.
    console: str  # The serial port as the kernel names it.
    qemu: tuple  # The emulator and its machine.
    triplet: str  # The folder of its libraries.


AMD64 = Architecture(
    debian="amd64",
    kernel="linux-image-amd64",
    console="ttyS0",
    qemu=("qemu-system-x86_64", "-m", "384"),
    triplet="x86_64-linux-gnu",
)
ARM64 = Architecture(
    debian="arm64",
    kernel="linux-image-arm64",
    console="ttyAMA0",
    qemu=("qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a53", "-m", "512"),
    triplet="aarch64-linux-gnu",
)


def run(*command, **options):
    """A command's output; GuestError with what it said if it fails."""
    try:
        return subprocess.run(command, check=True, capture_output=True, **options).stdout
    except FileNotFoundError:
        raise GuestError(f"{command[0]} is missing: `make dependencies` brings it") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr if isinstance(error.stderr, str) else error.stderr.decode(errors="replace")
        raise GuestError(f"{shlex.join(map(str, command))} failed: {said.strip()}") from None


def download_kernel(architecture, cache, apt_options=()):
    """The package of the distribution's newest kernel, downloaded unless it is in the cache.

    apt_options may point apt at another root or another architecture. It is asked once a day; without a network the
    newest package of the cache is taken.
    """
    cache.mkdir(parents=True, exist_ok=True)
    packages = sorted(cache.glob(f"linux-image-*_{architecture.debian}.deb"), key=os.path.getmtime)
    if packages and time.time() - packages[-1].stat().st_mtime < 86_400:
        return packages[-1]
    try:
        return ask_for_kernel(architecture, cache, apt_options)
    except GuestError:
        if packages:
            return packages[-1]
    # apt's lists are missing, or older than what the mirror has now.
    run(*([] if os.geteuid() == 0 else ["sudo", "-n"]), "apt-get", *apt_options, "update")
    return ask_for_kernel(architecture, cache, apt_options)


def ask_for_kernel(architecture, cache, apt_options):
    depends = run("apt-cache", *apt_options, "depends", architecture.kernel, text=True)
    dependency = re.search(r"Depends: (linux-image-\S+)", depends)
    if not dependency:
        raise GuestError(f"apt knows no {architecture.kernel}; run 'apt-get update'")
    package = dependency.group(1)
    uris = run("apt-get", *apt_options, "download", "--print-uris", package, text=True).split()
    if len(uris) < 2:
        raise GuestError(f"apt gives no {package}; run 'apt-get update'")
    file = cache / uris[1]
    if not file.exists():
        run("apt-get", *apt_options, "-o", "APT::Sandbox::User=root", "download", package, cwd=cache)
    os.utime(file)
    return file


def unpack_kernel(package, folder, modules=MODULES):
    """Takes the kernel and modules with what they depend on, in the order of their loading, out of a package.

    Returns the path of the kernel, and those of the modules. What was taken out before is not taken out again.
    """
    if not folder.exists():
        unfinished = folder.with_name(folder.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        kernel, found, builtin = read_package(package)
        (unfinished / "vmlinuz").write_bytes(kernel)
        for index, name in enumerate(loading_order(modules, found, builtin)):
            (unfinished / f"{index:02}-{name}.ko").write_bytes(found[name])
        unfinished.rename(folder)
    return folder / "vmlinuz", sorted(folder.glob("*.ko"))


def read_package(package):
    kernel, found, builtin = None, {}, set()
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            for member in archive:
                path = member.name.removeprefix("./").removeprefix("usr/")
                below = re.sub(r"^lib/modules/[^/]+/(kernel/)?", "", path)
                if path.startswith("boot/vmlinuz-"):
                    kernel = archive.extractfile(member).read()
                elif below == "modules.builtin":
                    text = archive.extractfile(member).read().decode()
                    builtin = {module_name(line) for line in text.split()}
                elif ".ko" in below and below.startswith(MODULE_FOLDERS):
                    content = archive.extractfile(member).read()
                    found[module_name(below)] = lzma.decompress(content) if below.endswith(".xz") else content
    if kernel is None or not found:
        raise GuestError(f"{package} has no kernel or no modules")
    return kernel, found, builtin


def module_name(path):
    """The kernel takes - and _ for the same."""
    return path.rsplit("/", 1)[-1].split(".ko")[0].replace("_", "-")


def loading_order(modules, found, builtin):
    """The modules' names, each after those that it depends on, as its section .modinfo names them."""
    order = []

    def visit(name):
        if name in order or name in builtin:
            return
        if name not in found:
            raise GuestError(f"the kernel has no module {name}")
        line = re.search(rb"\0depends=([^\0]*)\0", found[name])
        for other in filter(None, line.group(1).decode().split(",") if line else []):
            visit(other.replace("_", "-"))
        order.append(name)

    for name in modules:
        visit(name)
    return order


def libraries(programs, root, triplet):
    """What dynamic programs need: the path in the guest and the file of each library and of the loader."""
    folders = [root / "usr/lib" / triplet, root / "lib" / triplet, root / "usr/lib", root / "lib64", root / "lib"]
    needed = {}
    waiting = list(programs)
    while waiting:
        text = run("readelf", "--wide", "--dynamic", "--program-headers", waiting.pop(), text=True)
        names = re.findall(r"\(NEEDED\).*\[(.*)\]", text)
        for loader in re.findall(r"program interpreter: (\S+)\]", text):
            needed[loader] = root / loader.lstrip("/")
        for name in names:
            inside = f"/usr/lib/{triplet}/{name}"
            if inside in needed or any(pathlib.PurePath(path).name == name for path in needed):
                continue
            file = next((folder / name for folder in folders if (folder / name).exists()), None)
            if file is None:
                raise GuestError(f"{name} is not in {', '.join(map(str, folders))}")
            needed[inside] = file
            waiting.append(file)
    return needed


class InitialDisk:
    """An initial RAM disk in the format that the kernel reads (Documentation/driver-api/early-userspace)."""

    def __init__(self):
        self.output = io.BytesIO()
        self.folders = set()
        self.links = set()
        self.inode = 0
        # The kernel opens it as the standard files of the first program.
        self._entry("dev", stat.S_IFDIR | 0o755)
        self.folders.add("dev")
        self._entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))

    def add(self, path, content, mode=0o755):
        """A file, with the folders that it stands in."""
        path = path.lstrip("/")
        for parent in reversed(pathlib.PurePosixPath(path).parents):
            self.folder(str(parent))
        self._entry(path, stat.S_IFREG | mode, content)

    def folder(self, path):
        if path != "." and path not in self.folders | self.links:
            self.folders.add(path)
            self._entry(path, stat.S_IFDIR | 0o755)

    def add_archive(self, archive, without=()):
        """What is in a tar archive, with its owners and links; a file that was added before is replaced.

        without: beginnings of paths that are left out.
        """
        kinds = {
            tarfile.DIRTYPE: stat.S_IFDIR, tarfile.SYMTYPE: stat.S_IFLNK, tarfile.CHRTYPE: stat.S_IFCHR,
            tarfile.BLKTYPE: stat.S_IFBLK, tarfile.FIFOTYPE: stat.S_IFIFO,
        }  # fmt: skip
        for member in archive:
            path = member.name.removeprefix(".").strip("/")
            if not path or path.startswith(without):
                continue
            content = member.linkname.encode() if member.issym() else b""
            if member.isreg() or member.islnk():
                content = archive.extractfile(member).read()
            if member.isdir():
                if path in self.links:
                    continue  # A package may take for a folder what is a link to one, such as lib.
                self.folders.add(path)
            elif member.issym():
                self.links.add(path)
            mode = kinds.get(member.type, stat.S_IFREG) | member.mode
            device = (member.devmajor, member.devminor) if member.ischr() or member.isblk() else (0, 0)
            self._entry(path, mode, content, device, (member.uid, member.gid))

    def link(self, path, target):
        """A symbolic link."""
        self._entry(path.lstrip("/"), stat.S_IFLNK | 0o777, target.encode())

    def _entry(self, path, mode, content=b"", device=(0, 0), owner=(0, 0)):
        self.inode += 1
        name = path.encode() + b"\0"
        numbers = (self.inode, mode, *owner, 1, 0, len(content), 0, 0, *device, len(name), 0)
        for part in (b"070701" + b"".join(b"%08X" % number for number in numbers) + name, content):
            self.output.write(part)
            self.output.write(b"\0" * (-self.output.tell() % 4))

    def finish(self):
        self._entry("TRAILER!!!", 0)
        return self.output.getvalue()


def make_initial_disk(architecture, modules, programs, files, root=pathlib.Path("/")):
    """Builds the disk.

    programs: paths in the guest and files of dynamic programs; files: paths in the guest and their content.
    root holds the programs' libraries and busybox; it is / unless the guest has another processor.
    """
    disk = InitialDisk()
    for path, file in {**programs, **libraries(programs.values(), root, architecture.triplet)}.items():
        disk.add(path, pathlib.Path(file).read_bytes())
    busybox = next((p for p in (root / "bin/busybox", root / "usr/bin/busybox") if p.exists()), None)
    if busybox is None:
        raise GuestError(f"{root} has no busybox: install busybox-static")
    disk.add("/bin/busybox", busybox.read_bytes())
    for module in modules:
        disk.add(f"/modules/{module.name}", module.read_bytes(), 0o644)
    for path, content in files.items():
        disk.add(path, content)
    for folder in ("proc", "sys", "run", "tmp", "etc"):
        disk.folder(folder)
    return disk.finish()


def emulator(architecture, kernel, disk, log, surroundings, parameters):
    """The command that runs a guest, its console in `log`.

    surroundings: further options of QEMU; parameters: what the kernel's command line has besides.
    """
    return [
        *architecture.qemu, "-accel", "tcg", *surroundings, "-display", "none", "-monitor", "none",
        "-serial", f"file:{log}", "-no-reboot", "-kernel", str(kernel), "-initrd", str(disk),
        "-append", f"console={architecture.console} quiet panic=-1 {parameters}",
    ]  # fmt: skip


def boot(architecture, kernel, disk, log, limit, scenario, network=False):
    """Runs a scenario in the guest until it powers itself off, its console in `log`.

    scenario: the name of its script, and what else init.sh shall find on the kernel's command line. network: the guest
    reaches the host's servers, and its time is the host's. GuestError if it does not end within `limit` seconds.
    """
    surroundings = NETWORK if network else (*TIME, "-nic", "none")
    command = emulator(architecture, kernel, disk, log, surroundings, f"scenario={scenario}")
    try:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit)
    except FileNotFoundError:
        raise GuestError(f"{command[0]} is missing: `make dependencies` brings it") from None
    except subprocess.TimeoutExpired:
        raise GuestError(f"the guest was still running after {limit} s; its console is in {log}") from None
    except subprocess.CalledProcessError as error:
        raise GuestError(f"{command[0]} failed: {error.stderr.decode(errors='replace').strip()}") from None
