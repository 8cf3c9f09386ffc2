"""When jobs arrive at each device, as it is written: one model for each process."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, Tag, model_validator

from testbed.documents.model import Model, explained
from testbed.documents.processes import by_process
from testbed.documents.topology import NodePattern
from testbed.documents.units import Instant, Percentile, Rate

_PER_DEVICE = "Jobs per second and device, such as 2 /s."


class Rated(Model):
    """Arrivals at a mean rate that may be set."""

    rate_per_s: Rate = Field(alias="rate", description=_PER_DEVICE)


class Poisson(Rated):
    """Independent arrivals."""

    process: Literal["poisson"] = Field(description="poisson: independent, at a mean rate.")


class Periodic(Rated):
    """Arrivals at equal intervals."""

    process: Literal["periodic"] = Field(description="periodic: at equal intervals, from an instant of its own.")


class Burst(Rated):
    """Several jobs at once."""

    process: Literal["burst"] = Field(
        description="burst: several jobs at once; bursts are independent, their rate that of the jobs over their size."
    )
    size: int = Field(ge=1, le=10_000, description="Jobs in a burst, such as 5.")


class Slotted(Rated):
    """At most one job a slot, at its beginning."""

    process: Literal["slotted"] = Field(
        description="slotted: one job at the beginning of a slot, or none: with a probability of rate times slot."
    )


class Trace(Model):
    """Arrivals that were recorded."""

    process: Literal["trace"] = Field(description="trace: at instants that were recorded.")
    file: str | None = Field(
        None,
        min_length=1,
        description="A CSV with time_s, and device if each has its own; relative to the workload's own folder.",
        examples=["traces/arrivals.csv"],
    )
    times: dict[NodePattern, list[Instant]] | None = Field(
        None,
        description="The instants themselves, from the run's start, by devices or patterns of devices.",
        examples=[{"dev*": ["0.5 s", "1.2 s"]}],
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.file is None) == (self.times is None):
            raise explained("needs either a `file` or the `times` themselves, such as file: traces/arrivals.csv")
        return self


class SingleStream(Model):
    """The single-stream scenario of MLPerf's LoadGen."""

    process: Literal["single_stream"] = Field(
        description="single_stream: as in MLPerf's LoadGen, a device's next job when its last is answered."
    )
    jobs: int = Field(ge=1, le=1_000_000, description="For each device; fewer where the duration ends first.")
    percentile: Percentile = Field(0.9, description="Of the latencies that is the result, such as 90 %.")


class Server(Rated):
    """The server scenario of MLPerf's LoadGen."""

    process: Literal["server"] = Field(
        description="server: as in MLPerf's LoadGen, Poisson arrivals whose latency has a bound, the deadline."
    )
    percentile: Percentile = Field(0.99, description="Of the latencies that must keep the bound, such as 99 %.")


_KINDS = {
    "poisson": Poisson,
    "periodic": Periodic,
    "burst": Burst,
    "slotted": Slotted,
    "trace": Trace,
    "single_stream": SingleStream,
    "server": Server,
}

Arrivals = Annotated[
    Annotated[Poisson, Tag("<poisson>")]
    | Annotated[Periodic, Tag("<periodic>")]
    | Annotated[Burst, Tag("<burst>")]
    | Annotated[Slotted, Tag("<slotted>")]
    | Annotated[Trace, Tag("<trace>")]
    | Annotated[SingleStream, Tag("<single_stream>")]
    | Annotated[Server, Tag("<server>")],
    *by_process(_KINDS, "{process: poisson, rate: 2 /s}"),
]
