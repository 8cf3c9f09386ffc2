"""Quantities as users write them, "10 Mbit/s" or "5 ms", turned into SI floats and back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from testbed.documents.model import explained, shown

_WRITTEN = re.compile(r"(?P<number>-?[0-9]{1,20}(?:\.[0-9]{1,40})?) ?(?P<unit>[^0-9\s.+-]\S{0,9})", re.ASCII)


@dataclass(frozen=True)
class Quantity:
    """A kind of quantity: its units, each with its size in the unit that the program uses, and its range.

    Levels (dB and the like) are kept as they are written; what has a negative `lowest` may be written with a sign.
    """

    name: str
    units: dict[str, str]  # decimal texts, so that "0.3 ms" becomes the float nearest to 0.0003
    lowest: str
    highest: str
    example: str

    def parse(self, written: object) -> float:
        """The SI value of a quantity written out, such as "5 ms"; the space may be missing.

        Raises ValueError, with a message that says what is allowed, for anything else, bare numbers included.
        """
        match = _WRITTEN.fullmatch(written.strip(" ")) if isinstance(written, str) else None
        scale = self.units.get(match["unit"]) if match else None
        if match is None or scale is None or (match["number"].startswith("-") and not self._signed):
            raise ValueError(f"{self._complaint(written)}, write {self.allowed}")
        value = Decimal(match["number"]) * Decimal(scale)
        if not self._si(self.lowest) <= value <= self._si(self.highest):
            raise ValueError(f"{shown(written)} is out of range, write {self.allowed}")
        return float(value)

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest SI value."""
        return float(self._si(self.lowest)), float(self._si(self.highest))

    def write(self, value: float) -> str:
        """The quantity written out, so that parsing it gives the very same float."""
        unit, scale = next(iter(self.units.items()))
        return f"{Decimal(repr(value)) / Decimal(scale):f} {unit}"

    @property
    def allowed(self) -> str:
        """What may be written, with an example."""
        return f"{self.lowest} to {self.highest} in {', '.join(self.units)}, such as {self.example}"

    @property
    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema of the written form."""
        units = "|".join(re.escape(unit).replace(r"\%", "%") for unit in self.units)
        return {
            "type": "string",
            "pattern": rf"^{'-?' if self._signed else ''}[0-9]+(\.[0-9]+)? ?({units})$",
            "description": f"{self.name}: {self.allowed}",
            "examples": [self.example],
        }

    @property
    def _signed(self) -> bool:
        return self.lowest.startswith("-")

    def _si(self, written: str) -> Decimal:
        number, unit = written.split(" ")
        return Decimal(number) * Decimal(self.units[unit])

    def _complaint(self, written: object) -> str:
        if re.fullmatch(r"-?[0-9.]+" if self._signed else r"[0-9.]+", str(written), re.ASCII):
            return f"{shown(written)} has no unit"
        return f"{shown(written)} is not a {self.name}"


BANDWIDTH = Quantity(
    "bandwidth",
    {"bit/s": "1", "kbit/s": "1e3", "Mbit/s": "1e6", "Gbit/s": "1e9"},
    "1 kbit/s",
    "30 Gbit/s",  # netem counts bytes a second in 32 bits
    "10 Mbit/s",
)
_TIME = {"s": "1", "ms": "1e-3", "us": "1e-6"}
DELAY = Quantity("delay", _TIME, "0 s", "60 s", "5 ms")
JITTER = Quantity("jitter", _TIME, "0 s", "2 s", "1 ms")  # netem counts nanoseconds in 31 bits
DURATION = Quantity("duration", {**_TIME, "min": "60", "h": "3600"}, "1 ms", "24 h", "30 s")
SLOT = Quantity("slot", {**_TIME, "min": "60"}, "20 ms", "1 min", "100 ms")
INSTANT = Quantity("time from the start", {**_TIME, "min": "60", "h": "3600"}, "0 s", "24 h", "10 s")
LOSS = Quantity("loss", {"%": "1e-2"}, "0 %", "100 %", "0.5 %")
RATE = Quantity("rate", {"/s": "1"}, "0.001 /s", "10000 /s", "2 /s")
_BYTES = {"B": "1", "kB": "1e3", "KiB": "1024", "MB": "1e6", "MiB": "1048576", "GiB": "1073741824"}
SIZE = Quantity("size", _BYTES, "1 B", "1 GiB", "64 KiB")
MEMORY = Quantity("size of memory", _BYTES, "16 MiB", "1024 GiB", "2 GiB")
SHARE = Quantity("share", {"%": "1e-2"}, "0.1 %", "100 %", "3 %")
PERCENTILE = Quantity("percentile", {"%": "1e-2"}, "50 %", "99.99 %", "99 %")
LENGTH = Quantity("length", {"m": "1", "km": "1e3"}, "1 m", "1000 km", "50 m")
FREQUENCY = Quantity("frequency", {"Hz": "1", "kHz": "1e3", "MHz": "1e6", "GHz": "1e9"}, "1 kHz", "100 GHz", "1 MHz")
POWER = Quantity("power", {"dBm": "1"}, "-100 dBm", "100 dBm", "20 dBm")
NOISE = Quantity("noise density", {"dBm/Hz": "1"}, "-250 dBm/Hz", "0 dBm/Hz", "-174 dBm/Hz")
ATTENUATION = Quantity("attenuation", {"dB": "1"}, "0 dB", "200 dB", "40 dB")


def _validator(quantity: Quantity, whole: bool = False) -> BeforeValidator:
    def validate(written: object) -> float:
        try:
            value = quantity.parse(written)
        except ValueError as error:
            raise explained(str(error)) from None
        return max(1, round(value)) if whole else value

    return BeforeValidator(validate)


def _annotations(quantity: Quantity) -> tuple[Any, ...]:
    return PlainSerializer(quantity.write, return_type=str), WithJsonSchema(quantity.json_schema)


Bandwidth = Annotated[float, _validator(BANDWIDTH), *_annotations(BANDWIDTH)]  # bits per second
Delay = Annotated[float, _validator(DELAY), *_annotations(DELAY)]  # seconds, 0 or more
Jitter = Annotated[float, _validator(JITTER), *_annotations(JITTER)]  # seconds, 0 or more
Duration = Annotated[float, _validator(DURATION), *_annotations(DURATION)]  # seconds, more than 0
Slot = Annotated[float, _validator(SLOT), *_annotations(SLOT)]  # seconds
Instant = Annotated[float, _validator(INSTANT), *_annotations(INSTANT)]  # seconds from the start
Loss = Annotated[float, _validator(LOSS), *_annotations(LOSS)]  # 0 to 1
Rate = Annotated[float, _validator(RATE), *_annotations(RATE)]  # per second
Size = Annotated[int, _validator(SIZE, whole=True), *_annotations(SIZE)]  # bytes
Memory = Annotated[int, _validator(MEMORY, whole=True), *_annotations(MEMORY)]  # bytes
Share = Annotated[float, _validator(SHARE), *_annotations(SHARE)]  # 0 to 1
Percentile = Annotated[float, _validator(PERCENTILE), *_annotations(PERCENTILE)]  # 0.5 to below 1
Length = Annotated[float, _validator(LENGTH), *_annotations(LENGTH)]  # metres
Frequency = Annotated[float, _validator(FREQUENCY), *_annotations(FREQUENCY)]  # hertz
Power = Annotated[float, _validator(POWER), *_annotations(POWER)]  # dBm
Noise = Annotated[float, _validator(NOISE), *_annotations(NOISE)]  # dBm/Hz
Attenuation = Annotated[float, _validator(ATTENUATION), *_annotations(ATTENUATION)]  # dB
