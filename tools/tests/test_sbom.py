"""tools/sbom: what it says of programs and wheels is what they are made of, and is valid CycloneDX 1.6."""

import contextlib
import hashlib
import importlib.machinery
import importlib.util
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
RELEASE = ROOT / ".build/release"


def load():
    loader = importlib.machinery.SourceFileLoader("vigie_sbom", str(ROOT / "tools/sbom"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


class BillOfMaterials(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="vigie-sbom-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.sbom = load()

    def run_tool(self, *arguments):
        """The exit status and what it says."""
        said = io.StringIO()
        words = ["tools/sbom", "--output", str(self.folder), *map(str, arguments)]
        with mock.patch.object(sys, "argv", words), contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            return self.sbom.main(), said.getvalue()

    def bill(self, package, *arguments):
        status, said = self.run_tool(*arguments, package)
        self.assertEqual(status, 0, said)
        text = (self.folder / f"{package}.cdx.json").read_text()
        self.assertIsNone(JsonStrictValidator(SchemaVersion.V1_6).validate_str(text))
        document = json.loads(text)
        # What the schema cannot say: each reference is to a part that is there.
        known = {document["metadata"]["component"]["bom-ref"]} | {part["bom-ref"] for part in document["components"]}
        self.assertEqual(len(known), len(document["components"]) + 1)
        self.assertEqual({entry["ref"] for entry in document["dependencies"]}, known)
        for entry in document["dependencies"]:
            self.assertLessEqual(set(entry["dependsOn"]), known)
        return document

    @staticmethod
    def installed(package):
        show = ["dpkg-query", "--show", "--showformat=${Version}", package]
        return subprocess.run(show, capture_output=True, text=True, check=True).stdout

    def test_a_program_of_the_system_is_made_of_its_libraries_packages(self):
        self.sbom.PROGRAMS = {"vigie-gateway": ["openssl"]}
        document = self.bill("vigie-gateway", "--programs", "/usr/bin")
        parts = {part["name"]: part for part in document["components"]}
        digest = hashlib.sha256(pathlib.Path("/usr/bin/openssl").read_bytes()).hexdigest()
        self.assertEqual(parts["openssl"]["hashes"], [{"alg": "SHA-256", "content": digest}])
        self.assertEqual(parts["libc6"]["version"], self.installed("libc6"))
        ssl = next(part for name, part in parts.items() if name.startswith("libssl3"))
        self.assertRegex(ssl["purl"], r"^pkg:deb/debian/libssl3(t64)?@[^?]+\?arch=\w+&distro=debian-\d+$")
        places = {occurrence["location"].rpartition("/")[2] for occurrence in ssl["evidence"]["occurrences"]}
        self.assertEqual(places, {"libssl.so.3", "libcrypto.so.3"})
        needs = {entry["ref"]: entry["dependsOn"] for entry in document["dependencies"]}
        self.assertIn(ssl["bom-ref"], needs["vigie-gateway/openssl"])
        self.assertIn(parts["libc6"]["bom-ref"], needs[ssl["bom-ref"]])
        self.assertNotIn("swift", parts)

    def test_the_same_parts_give_the_same_file(self):
        self.sbom.PROGRAMS = {"vigie-gateway": ["openssl"]}
        with mock.patch.dict(os.environ, SOURCE_DATE_EPOCH="1700000000"):
            first = self.bill("vigie-gateway", "--programs", "/usr/bin")
            self.assertEqual(first, self.bill("vigie-gateway", "--programs", "/usr/bin"))
        self.assertEqual(first["metadata"]["timestamp"], "2023-11-14T22:13:20Z")

    @unittest.skipUnless((RELEASE / "vigie-gateway").is_file(), "there is no release gateway: make build")
    def test_the_gateway_has_its_libraries_and_its_swift(self):
        document = self.bill("vigie-gateway")
        parts = {part["name"]: part for part in document["components"]}
        for soname in self.sbom.needed(RELEASE / "vigie-gateway"):
            found = [
                name for name, part in parts.items()
                for place in part.get("evidence", {}).get("occurrences", [])
                if place["location"].rpartition("/")[2].startswith(soname.partition(".so")[0])
            ]  # fmt: skip
            self.assertTrue(found, soname)
        self.assertTrue(any(name.startswith("librdkafka1") for name in parts))
        self.assertRegex(parts["swift"]["version"], r"^6\.\d+(\.\d+)?$")
        self.assertIn("libdispatch", parts["swift"]["description"])

    def test_a_runtime_without_a_version_is_asked_for(self):
        content = b"\0swift5_reflstr\0"
        with self.assertRaisesRegex(self.sbom.Failure, "--swift-version"):
            self.sbom.swift_runtime(content, None)
        self.assertEqual(self.sbom.swift_runtime(content, "6.0.3")["version"], "6.0.3")
        said = self.sbom.swift_runtime(content + b"Swift version 6.3.1 (swift-6.3.1-RELEASE)\0", "6.0.3")
        self.assertEqual(said["version"], "6.3.1")
        self.assertIsNone(self.sbom.swift_runtime(b"\x7fELF", None))

    def test_what_is_missing_is_said(self):
        status, said = self.run_tool("--programs", self.folder, "vigie-processor")
        self.assertEqual((status, said), (1, f"tools/sbom: {self.folder}/vigie-processor is not there: make build\n"))
        (self.folder / "vigie-processor").write_text("#!/bin/sh\n")
        status, said = self.run_tool("--programs", self.folder, "vigie-processor")
        self.assertEqual(status, 1)
        self.assertIn("readelf failed", said)

    def test_a_wheel_counts_by_its_hash(self):
        wheels = self.folder / "wheels"
        wheels.mkdir()
        contents = {"pandas": b"one", "numpy": b"two"}
        for name, content in contents.items():
            (wheels / f"{name}-1.0-py3-none-any.whl").write_bytes(content)
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        allowed = {(name, "1.0"): {digest, "0" * 64} for name, digest in digests.items()}
        with mock.patch.object(self.sbom, "pinned", return_value=allowed):
            document = self.bill("vigie-dashboard", "--wheels", wheels)
            parts = {part["name"]: part for part in document["components"]}
            for name, digest in digests.items():
                self.assertEqual(parts[name]["hashes"], [{"alg": "SHA-256", "content": digest}])
                self.assertEqual(parts[name]["purl"], f"pkg:pypi/{name}@1.0")
            (wheels / "numpy-1.0-py3-none-any.whl").write_bytes(b"another one")
            status, said = self.run_tool("--wheels", wheels, "vigie-dashboard")
        self.assertEqual(status, 1)
        self.assertIn("numpy-1.0-py3-none-any.whl is not pinned", said)

    def test_every_pinned_package_has_hashes(self):
        pinned = self.sbom.pinned()
        names = {name for name, _ in pinned}
        self.assertLessEqual(self.sbom.direct_requirements(), names)
        for package, digests in pinned.items():
            self.assertTrue(digests, package)

    def test_a_wheels_license_is_a_name_and_not_its_text(self):
        metadata = {"name": "A_b", "version": "1", "license": "Copyright\nAll rights", "requires_dist": ["C.d>=1; x"]}
        metadata["classifier"] = ["License :: OSI Approved :: BSD License"]
        found = self.sbom.wheel(metadata, "a.whl", "0")
        self.assertEqual((found["name"], found["licenses"], found["needs"]), ("a-b", ["BSD License"], {"c-d"}))


if __name__ == "__main__":
    unittest.main()
