"""Certificates of our own, and how the clients' listener of a cluster is reached."""

import dataclasses
import datetime
import pathlib
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import Literal

from ..errors import HarnessError


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as PEM files."""

    certificate: pathlib.Path
    key: pathlib.Path

    @property
    def key_store(self) -> pathlib.Path:
        """Both in one file, as Kafka takes them (`ssl.keystore.type=PEM`)."""
        return self.certificate.with_suffix(".keystore.pem")


class CertificateAuthority:
    """An authority that signs what it is asked to, by openssl(1)."""

    def __init__(self, folder, name: str = "Vigie test authority"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.certificate = self.folder / "authority.pem"
        self.key = self.folder / "authority.key"
        self._lock = threading.Lock()
        if not self.certificate.exists():
            _openssl(
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650",
                "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.certificate)  # fmt: skip

    def issue(
        self,
        name: str,
        addresses: Sequence[str] = ("127.0.0.1", "localhost"),
        begins: datetime.datetime | None = None,
        ends: datetime.datetime | None = None,
        file: str | None = None,
    ) -> Certificate:
        """A certificate for CN=`name`, valid from an hour ago for a year unless other dates are given.

        `addresses` are host names and IP addresses. The files are named `file`, or as the name is.
        """
        now = datetime.datetime.now(datetime.UTC)
        begins = begins or now - datetime.timedelta(hours=1)
        ends = ends or now + datetime.timedelta(days=365)
        with self._lock:
            return self._issue(name, addresses, begins, ends, file or name)

    def issue_expired(self, name: str, **rest) -> Certificate:
        """A certificate that was valid until yesterday."""
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        return self.issue(name, begins=now - 30 * day, ends=now - day, **rest)

    def _issue(self, name, addresses, begins, ends, file) -> Certificate:
        made = Certificate(self.folder / f"{file}.pem", self.folder / f"{file}.key")
        request = self.folder / f"{file}.request"
        names = ",".join(f"{'IP' if address.replace('.', '').isdigit() else 'DNS'}:{address}" for address in addresses)
        (self.folder / "index.txt").write_text("")
        (self.folder / "ca.conf").write_text(
            f"[ca]\ndefault_ca = own\n[own]\ndatabase = {self.folder}/index.txt\nrand_serial = yes\n"
            f"new_certs_dir = {self.folder}\ndefault_md = sha256\npolicy = any\n[any]\ncommonName = supplied\n"
            f"[extensions]\nbasicConstraints = CA:FALSE\nsubjectAltName = {names}\n"
        )
        _openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
            f"/CN={name}", "-keyout", made.key, "-out", request)  # fmt: skip
        _openssl(
            "ca", "-batch", "-notext", "-config", self.folder / "ca.conf", "-cert", self.certificate, "-keyfile",
            self.key, "-extensions", "extensions", "-startdate", _date(begins), "-enddate", _date(ends), "-in", request,
            "-out", made.certificate)  # fmt: skip
        made.key_store.touch(mode=0o600)
        made.key_store.write_text(made.key.read_text() + made.certificate.read_text())
        request.unlink()
        return made


def _date(time: datetime.datetime) -> str:
    return time.astimezone(datetime.UTC).strftime("%Y%m%d%H%M%SZ")


def _openssl(*arguments) -> None:
    try:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise HarnessError("openssl is missing: run `make dependencies`.") from None
    except subprocess.CalledProcessError as error:
        raise HarnessError(f"openssl {arguments[0]} failed: {error.stderr.strip()}") from None


@dataclasses.dataclass(frozen=True)
class Security:
    """What the clients' listener of a cluster asks of its clients. Without anything it is open to all on loopback.

    users: passwords by name, for `sasl`. With `authorise`, or with a super user, clients may do what rights are granted
    for (KafkaAdmin.grant); a client's name is its user's, or the CN of its certificate.
    """

    tls: bool = False
    client_certificates: bool = False
    sasl: Literal["scram", "plain"] | None = None
    users: Mapping[str, str] = dataclasses.field(default_factory=dict)
    super_users: Sequence[str] = ()
    authorise: bool = False

    @property
    def uses_tls(self) -> bool:
        return self.tls or self.client_certificates

    @property
    def protocol(self) -> str:
        """Kafka's name for it: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
        transport = "SSL" if self.uses_tls else "PLAINTEXT"
        return f"SASL_{transport}" if self.sasl else transport

    @property
    def mechanism(self) -> str | None:
        return {"scram": "SCRAM-SHA-512", "plain": "PLAIN", None: None}[self.sasl]

    @property
    def authorises(self) -> bool:
        return self.authorise or bool(self.super_users)

    def broker_settings(
        self, authority: CertificateAuthority | None, certificate: Certificate | None
    ) -> dict[str, str]:
        """The lines of server.properties for listener CLIENT."""
        prefix = "listener.name.client."
        settings = {}
        if authority and certificate:
            settings |= {
                f"{prefix}ssl.keystore.type": "PEM",
                f"{prefix}ssl.keystore.location": str(certificate.key_store),
                f"{prefix}ssl.truststore.type": "PEM",
                f"{prefix}ssl.truststore.location": str(authority.certificate),
                f"{prefix}ssl.client.auth": "required" if self.client_certificates else "none",
                f"{prefix}ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/,DEFAULT",
            }
        if self.sasl:
            settings[f"{prefix}sasl.enabled.mechanisms"] = self.mechanism
        if self.sasl == "scram":
            settings[f"{prefix}scram-sha-512.sasl.jaas.config"] = (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            )
        if self.sasl == "plain":
            users = " ".join(f'user_{name}="{_quoted(password)}"' for name, password in self.users.items())
            settings[f"{prefix}plain.sasl.jaas.config"] = (
                f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
            )
        if self.authorises:
            # The nodes and KafkaAdmin use a listener without names, on which everybody is ANONYMOUS.
            names = ["ANONYMOUS", *self.super_users]
            settings |= {
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": ";".join(f"User:{name}" for name in names),
            }
        return settings


def _quoted(text: str) -> str:
    # Once for JAAS, once for the properties file.
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\\", "\\\\")
