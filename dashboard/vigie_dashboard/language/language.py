"""One language: its texts and its ways to write numbers, units, durations and dates."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from vigie_dashboard.language import en, fr
from vigie_dashboard.quantities import BY_NAME

# Between a number and its unit, so that no line breaks there.
NARROW_SPACE = "\u202f"
NO_BREAK_SPACE = "\u00a0"
MINUS = "\u2212"
MISSING = "–"


@dataclass(frozen=True)
class Language:
    code: str
    # Its name in itself.
    name: str
    texts: Mapping[str, str]
    decimal: str
    thousands: str
    # Before a percent sign, a colon and the like.
    before_percent: str
    months: tuple[str, ...]
    weekdays: tuple[str, ...]
    # Whether one counts as plural from 2 on (French: 0 and 1,5 are singular) or for all but 1.
    zero_is_singular: bool

    def text(self, key: str, **values: object) -> str:
        """A text with its values filled in. A missing key is a fault of the program, so it fails."""
        text = self.texts[key]
        return text.format(**values) if values else text

    def count(self, key: str, number: float, **values: object) -> str:
        """A text that has a singular (KEY.one) and a plural (KEY.other), both with a {count}."""
        is_one = abs(number) < 2 if self.zero_is_singular else number == 1
        return self.text(f"{key}.{'one' if is_one else 'other'}", count=self.number(number), **values)

    def number(self, value: float | None, digits: int = 0, signed: bool = False) -> str:
        if value is None or not math.isfinite(value):
            return MISSING
        text = f"{abs(value):,.{digits}f}"
        text = text.replace(",", "\0").replace(".", self.decimal).replace("\0", self.thousands)
        is_zero = not any(character in "123456789" for character in text)
        if value < 0 and not is_zero:
            return MINUS + text
        return f"+{text}" if signed and not is_zero else text

    def compact(self, value: float | None) -> str:
        """A count for a small place: 12.3 M."""
        if value is None or not math.isfinite(value):
            return MISSING
        for limit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
            if abs(value) >= limit:
                scaled = value / (1e3 if letter == "k" else limit)
                return f"{self.number(scaled, 0 if abs(scaled) >= 100 else 1)}{NARROW_SPACE}{letter}"
        return self.number(value)

    def percent(self, share: float | None, digits: int = 0) -> str:
        """A share of 1 as a percentage."""
        if share is None or not math.isfinite(share):
            return MISSING
        return f"{self.number(share * 100, digits)}{self.before_percent}%"

    def fault(self, fault: str) -> str:
        """What is wrong with which chip, from its name in a reading (`scd41:crc`). Another board may know others."""
        chip, _, kind = fault.partition(":")
        if not kind:
            return fault
        known = self.texts.get(f"fault.{kind}", kind.replace("_", " "))
        return self.text("now.alert.fault", chip=chip.upper(), fault=known)

    def loss_reason(self, reason: str) -> str:
        """Why readings are missing, from the column `reason` of `loss`. A newer processor may know others."""
        return self.texts.get(f"loss_reason.{reason}", reason.replace("_", " "))

    def unit(self, quantity: str) -> str:
        return BY_NAME[quantity].unit

    def quantity(self, name: str) -> str:
        """The name of a quantity."""
        return self.text(f"quantity.{name}")

    def quantity_with_unit(self, name: str) -> str:
        """The name of a quantity for an axis or a column."""
        unit = self.unit(name)
        return f"{self.quantity(name)} ({unit})" if unit else self.quantity(name)

    def value(self, name: str, value: float | None, signed: bool = False) -> str:
        """A value of a quantity with its unit."""
        if value is None or not math.isfinite(value):
            return MISSING
        quantity = BY_NAME[name]
        if not quantity.unit:
            return self.number(value, quantity.digits, signed)
        space = self.before_percent if quantity.unit == "%" else NARROW_SPACE
        return f"{self.number(value, quantity.digits, signed)}{space}{quantity.unit}"

    def duration(self, duration: timedelta | float | None) -> str:
        """A length of time (seconds if it is a number) with the two units that matter: 3 d 4 h, 12 min, 4.2 s."""
        if duration is None:
            return MISSING
        seconds = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
        if not math.isfinite(seconds):
            return MISSING
        if abs(seconds) < 1:
            return f"{self.number(seconds * 1000)}{NARROW_SPACE}ms"
        if abs(seconds) < 10:
            return f"{self.number(seconds, 1)}{NARROW_SPACE}s"
        whole = round(abs(seconds))
        if whole < 60:
            parts = [(whole, "s")]
        elif whole < 3600:
            parts = [(whole // 60, "min"), (whole % 60 if whole < 600 else 0, "s")]
        elif whole < 86400:
            parts = [(whole // 3600, "h"), (whole % 3600 // 60, "min")]
        else:
            parts = [(whole // 86400, self.text("unit.day")), (whole % 86400 // 3600, "h")]
        sign = MINUS if seconds < 0 else ""
        written = [f"{self.number(number)}{NARROW_SPACE}{unit}" for number, unit in parts if number]
        return sign + NO_BREAK_SPACE.join(written)

    def ago(self, duration: timedelta | float | None) -> str:
        """How long since something. What is younger than a second is now, whatever the clocks of two machines say."""
        if duration is None:
            return MISSING
        seconds = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
        if not math.isfinite(seconds):
            return MISSING
        if seconds < 1:
            return self.text("time.now")
        return self.text("time.ago", duration=self.age(seconds))

    def age(self, seconds: float) -> str:
        """In whole seconds, which are all that the clocks of two machines tell. None is negative."""
        whole = max(0, int(seconds))
        return self.duration(whole) if whole >= 10 else f"{self.number(whole)}{NARROW_SPACE}s"

    def time(self, moment: datetime, zone: tzinfo, seconds: bool = True) -> str:
        return moment.astimezone(zone).strftime("%H:%M:%S" if seconds else "%H:%M")

    def date(self, moment: datetime, zone: tzinfo, year: bool = True) -> str:
        local = moment.astimezone(zone)
        text = f"{local.day}{NO_BREAK_SPACE}{self.months[local.month - 1]}"
        return f"{text} {local.year}" if year else text

    def weekday(self, number: int) -> str:
        """0 is Monday."""
        return self.weekdays[number]

    def date_time(self, moment: datetime, zone: tzinfo, seconds: bool = False) -> str:
        return f"{self.date(moment, zone, year=False)} {self.time(moment, zone, seconds)}"

    def moment(self, moment: datetime, now: datetime, zone: tzinfo) -> str:
        """A time for a person: without the day if it is today's, without the year if it is this year's."""
        local, today = moment.astimezone(zone), now.astimezone(zone)
        if local.date() == today.date():
            return self.time(moment, zone, seconds=False)
        if local.year == today.year:
            return self.date_time(moment, zone)
        return f"{self.date(moment, zone)} {self.time(moment, zone, seconds=False)}"

    @property
    def plotly_separators(self) -> str:
        """For a figure's layout: the decimal sign, then the one between thousands."""
        return self.decimal + self.thousands

    @property
    def plotly_date_stops(self) -> list[dict[str, object]]:
        """For a date axis. Plotly's own names of months are English, so other languages get numbers."""
        day = "%-d %b" if self.code == "en" else "%d/%m"
        month = "%b %Y" if self.code == "en" else "%m/%Y"
        return [
            {"dtickrange": [None, 1000], "value": "%H:%M:%S.%L"},
            {"dtickrange": [1000, 60_000], "value": "%H:%M:%S"},
            {"dtickrange": [60_000, 86_400_000], "value": f"%H:%M\n{day}"},
            {"dtickrange": [86_400_000, "M1"], "value": day},
            {"dtickrange": ["M1", "M12"], "value": month},
            {"dtickrange": ["M12", None], "value": "%Y"},
        ]

    @property
    def plotly_hover_date(self) -> str:
        return "%-d %b %H:%M:%S" if self.code == "en" else "%d/%m %H:%M:%S"


LANGUAGES = {
    "en": Language(
        code="en",
        name="English",
        texts=en.TEXTS,
        decimal=".",
        thousands=",",
        before_percent=NARROW_SPACE,
        months=("Jan", "Feb", "Mar", "Apr", "May", "June", "July", "Aug", "Sept", "Oct", "Nov", "Dec"),
        weekdays=("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
        zero_is_singular=False,
    ),
    "fr": Language(
        code="fr",
        name="Français",
        texts=fr.TEXTS,
        decimal=",",
        thousands=NARROW_SPACE,
        before_percent=NARROW_SPACE,
        months=("janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc."),
        weekdays=("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"),
        zero_is_singular=True,
    ),
}


def language_of(chosen: str | None, locale: str | None) -> Language:
    """The language that the reader chose, else the browser's if there is one of it, else English."""
    for wanted in (chosen, locale):
        code = (wanted or "").replace("_", "-").split("-")[0].lower()
        if code in LANGUAGES:
            return LANGUAGES[code]
    return LANGUAGES["en"]
