"""Types of command-line arguments, for argparse: what cannot be meant so is told in words."""

import argparse


def positive(text: str) -> int:
    """A whole number of 1 or more."""
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, not {text!r}")
    return int(text)


def count(text: str) -> int:
    """A whole number of 0 or more."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a whole number of 0 or more, not {text!r}")
    return int(text)


def port(text: str) -> int:
    """The number of a TCP port."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65_536:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, not {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """More than 0 s, such as 30, 0.5 or 30s."""
    try:
        value = float(text.removesuffix("s"))
    except ValueError:
        value = 0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"expected seconds, such as 30, not {text!r}")
    return value


def pair(text: str) -> tuple[str, str]:
    """KEY=VALUE."""
    key, sign, value = text.partition("=")
    if not key.strip() or not sign:
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, not {text!r}")
    return key.strip(), value


def user(text: str) -> tuple[str, str]:
    """NAME:FILE, as the name and the password that the file holds."""
    name, _, file = text.partition(":")
    if not name or not file:
        raise argparse.ArgumentTypeError(f"expected NAME:FILE, not {text!r}")
    return name, password(file)


def password(file: str) -> str:
    """The content of a file, without the end of its line."""
    try:
        with open(file, encoding="utf-8") as content:
            found = content.read().rstrip("\n")
    except OSError as error:
        raise argparse.ArgumentTypeError(f"the password file {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise argparse.ArgumentTypeError(f"the password file {file} is not UTF-8") from None
    if not found or "\n" in found:
        raise argparse.ArgumentTypeError(f"the password file {file} must hold one line, the password")
    return found
