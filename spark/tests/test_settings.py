"""One file for both engines: what `vigie-processor check` refuses, the job refuses in the same words."""

import pathlib
import random
import subprocess
import sys

import pytest
import support

from vigie_spark.configuration import SettingsError
from vigie_spark.job import main
from vigie_spark.settings import read_settings

EXAMPLE = """\
kafka:
  bootstrap: 127.0.0.1:9092
  topic: sensor.readings
  workers: 1
  maximum_batch: 200000
  properties: {client.id: centre, fetch.min.bytes: 1, linger.ms: 5}
postgres:
  connection: "host=/run/postgresql dbname=vigie"
  days_ahead: 3
  prepared_statements: true
windows:
  - {size: 10m, slide: 1m}
  - size: 1m
late_policy: recompute
lateness: 10m
idle_timeout: 60s
update_interval: 5s
state_size: 1GiB
future_tolerance: 5m
retention:
  readings: 400d
limits:
  temperature: {min: -100, max: 2e2}
rules:
  co2: {warning: {above: 1500}, critical: {above: 3000}, hysteresis: 100, for: 10m}
alerts:
  fault: {severity: warning, for: 5m}
  silence: {intervals: 5, at_least: 60s}
  loss: {for: 10m, clear_after: 1d}
  conflict:
    severity: critical
monitoring:
  listen: 127.0.0.1:9465
  allowed_hosts: [centre.example]
webhook:
  url: https://alerts.example.org/vigie
  timeout: 10s
log_level: info
"""

# What takes the place of a value that a person may write wrong.
VALUES = (
    "", "~", "ten", "10", "-1", "0", "0x10", "1e400", "nan", "1_000", "10 m", "0.5s", "10us", "5000000d",
    "99999999999d", "[1, 2]", "{a: b}", "{}", '""', "'10m'", "yes", "2GB", "1B", "critical", "drop", "consumer", "a, b",
    "&x 1", "!!str 1", "Ä" * 40, "x:99999", "0.0.0.0:80", "unix:/x",
)  # fmt: skip
KEYS = ("bootstraps", "sise", "slide", "workers", "temperatur", "for", "entirely_unknown", "severity")

WRONG = {
    "the limit is above": "limits: {co2: {min: 10, max: 1}}",
    "bounds cross": "rules: {co2: {warning: {above: 10, below: 20}}}",
    "critical before warning": "rules: {co2: {warning: {above: 10}, critical: {above: 5}}}",
    "wide hysteresis": "rules: {co2: {warning: {above: 10, below: 5}, hysteresis: 6}}",
    "a loss that closes at once": "alerts: {loss: {for: 1d, clear_after: 1h}}",
    "a size twice": "windows: [{size: 1m}, {size: 60s, slide: 30s}]",
    "too many windows": "windows: [{size: 1d, slide: 1ms}]",
    "not every slide": "windows: [{size: 10m, slide: 7m}, {slide: 1m}]",
    "young readings": "retention: {readings: 1d}",
    "not YAML": "rules: {co2: [",
    "a tab": "rules:\n\tco2: 1",
    "two documents": "---\nrules: {}",
    "a key that is a list": "[a]: b",
    "duplicates": "late_policy: drop\nlate_policy: drop",
}
REQUIRED = "kafka: {bootstrap: k}\npostgres: {connection: dbname=x}\n"


def processor_says(file: pathlib.Path) -> str:
    result = subprocess.run([support.PROGRAMS / "vigie-processor", "check", "--config", file], capture_output=True,
                            text=True)  # fmt: skip
    assert result.returncode in (0, 78)
    return "" if result.returncode == 0 else result.stderr


def job_says(file: pathlib.Path) -> str:
    try:
        read_settings(file, checking_files=True)
    except SettingsError as error:
        return str(error)
    return ""


def assert_both_say_the_same(text: str, file: pathlib.Path) -> str:
    file.write_text(text)
    expected, found = processor_says(file), job_says(file)
    lines = [line.removeprefix("vigie-processor check: ") for line in expected.splitlines() if line]
    assert found.splitlines() == lines, text
    return found


@pytest.mark.parametrize("name", WRONG)
def test_both_engines_refuse_in_the_same_words(name, tmp_path):
    assert assert_both_say_the_same(REQUIRED + WRONG[name] + "\n", tmp_path / "processor.yaml")


def test_both_engines_take_the_example(tmp_path):
    assert not assert_both_say_the_same(EXAMPLE, tmp_path / "processor.yaml")
    for file in (support.ROOT / "configuration").glob("processor*.yaml"):
        assert not job_says(file)


def test_both_engines_judge_changed_files_alike(tmp_path):
    chance = random.Random(support.SEED)
    print(f"VIGIE_SEED={support.SEED}")
    refused = 0
    for _ in range(120):
        text = EXAMPLE
        for _ in range(chance.randint(1, 3)):
            lines = text.splitlines()
            at = chance.randrange(len(lines))
            words = lines[at].split(": ")
            place = chance.randrange(len(words))
            if place:
                rest = words[place][len(words[place].rstrip("}")) :]
                words[place] = chance.choice(VALUES) + rest
            elif chance.random() < 0.3:
                words[0] = words[0][: -len(words[0].lstrip()) or None] + chance.choice(KEYS)
            lines[at] = ": ".join(words)
            text = "\n".join(lines) + "\n"
        refused += bool(assert_both_say_the_same(text, tmp_path / "processor.yaml"))
    assert refused > 60


def test_the_job_says_it_with_status_2(tmp_path, monkeypatch, capsys):
    file = tmp_path / "processor.yaml"
    monkeypatch.setattr(sys, "argv", ["vigie-spark", "--check", "--config", str(file)])
    file.write_text(REQUIRED + "lateness: ten\n")
    assert main() == 2
    assert capsys.readouterr() == (
        "", f'vigie-spark: {file}:3: lateness: expected a duration such as 10s, found "ten"\n'
    )  # fmt: skip
    file.write_text(REQUIRED)
    assert main() == 0
    assert capsys.readouterr() == (f"{file}: valid\n", "")


def test_files_are_looked_at(tmp_path):
    kafka = f"kafka: {{bootstrap: k, security: ssl, ca_file: {tmp_path}/none.pem}}\n"
    found = assert_both_say_the_same(kafka + "postgres: {connection: dbname=x}\n", tmp_path / "processor.yaml")
    assert "kafka: ca_file: " in found and found.endswith("none.pem cannot be read: No such file or directory")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--batch", "0"), ("--batch", "-5"), ("--batch", "many"), ("--trigger", "soon"), ("--trigger", "")],
)
def test_options_that_mean_nothing_are_a_wrong_use(tmp_path, monkeypatch, capsys, option, value):
    file = tmp_path / "processor.yaml"
    file.write_text(REQUIRED)
    monkeypatch.setattr(sys, "argv", ["vigie-spark", "--check", "--config", str(file), f"{option}={value}"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert f"argument {option}: expected a" in capsys.readouterr().err
