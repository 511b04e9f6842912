"""Texts, numbers, units, durations and dates as the reader's language writes them."""

from vigie_dashboard.language.language import LANGUAGES, Language, language_of

__all__ = ["LANGUAGES", "Language", "language_of"]
