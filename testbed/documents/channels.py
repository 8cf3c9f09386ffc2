"""What varies a direction of a link in time, as it is written: one model for each process."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal, Self

from pydantic import Field, Tag, model_validator

from testbed.documents.fading import shannon_bps
from testbed.documents.model import Model, explained
from testbed.documents.parameters import Parameters
from testbed.documents.processes import by_process
from testbed.documents.resolved import Fading, LinkChange
from testbed.documents.units import (
    LOSS,
    Attenuation,
    Duration,
    Frequency,
    Instant,
    Length,
    Loss,
    Noise,
    Power,
)

MAX_BURST = 1000


class Constant(Model):
    """A link that stays as it is."""

    process: Literal["constant"] = Field(description="constant: the link stays as it is, as without a channel.")


class GilbertElliott(Model):
    """Losses in bursts: a good state in which nothing is lost, and a bad one in which everything is."""

    process: Literal["gilbert_elliott"] = Field(description="gilbert_elliott: packets are lost in bursts.")
    loss: Loss = Field(description="Mean share of packets lost, such as 2 %.")
    burst: float = Field(
        ge=1, le=MAX_BURST, description="Mean number of packets lost in a row, 1 or more.", examples=[5]
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if problem := impossible_bursts(self.loss, self.burst):
            raise explained(problem)
        return self


def impossible_bursts(loss: float, burst: float) -> str | None:
    """Why packets cannot be lost at this mean rate in bursts of this mean length; None if they can.

    The bad state is left with probability 1 / L; for a mean loss of p it must be entered with p / (L (1 - p)), which
    is no probability unless p is at most L / (L + 1).
    """
    if loss <= burst / (burst + 1):
        return None
    most = LOSS.write(round(burst / (burst + 1), 6))
    return (
        f"a mean loss of {LOSS.write(loss)} cannot come in bursts of {burst:g} on average, since at least one packet"
        f" passes between two bursts: at most {most} is possible, or longer bursts"
    )


class RadioFading(Model):
    """Block fading: every coherence time the Shannon rate of a new gain."""

    process: Literal["fading"] = Field(description="fading: the Shannon rate of a radio channel that fades.")
    distance_m: Length = Field(alias="distance", description="Distance of sender and receiver, such as 50 m.")
    path_loss_exponent: float = Field(ge=1, le=10, description="Received power falls with distance to this power.")
    transmit_power_dbm: Power = Field(alias="transmit_power", description="Transmit power, such as 20 dBm.")
    bandwidth_hz: Frequency = Field(alias="bandwidth", description="Width of the radio channel, such as 1 MHz.")
    noise_dbm_per_hz: Noise = Field(alias="noise", description="Noise power density; thermal noise is -174 dBm/Hz.")
    fading: Literal["rayleigh", "rician"] = Field(
        description="rayleigh: no direct path; rician: a direct path, whose share `k` gives."
    )
    k: float | None = Field(
        None, gt=0, le=1e6, description="For rician: power of the direct path over that of all others.", examples=[4]
    )
    coherence_s: Duration = Field(alias="coherence_time", description="So often a new gain is drawn, such as 20 ms.")
    reference_loss_db: Attenuation = Field(
        40.0, alias="reference_loss", description="Path loss at 1 m; 40 dB if not given."
    )

    @model_validator(mode="after")
    def _k_for_rician(self) -> Self:
        if self.fading == "rician" and self.k is None:
            raise explained("rician fading needs `k`, such as k: 4")
        if self.fading == "rayleigh" and self.k is not None:
            raise explained("`k` is for rician fading, leave it out or write fading: rician")
        return self

    def resolved(self) -> Fading:
        """The channel as the other rooms know it."""
        return Fading(
            bandwidth_hz=self.bandwidth_hz,
            distance_m=self.distance_m,
            path_loss_exponent=self.path_loss_exponent,
            reference_loss_db=self.reference_loss_db,
            transmit_power_dbm=self.transmit_power_dbm,
            noise_dbm_per_hz=self.noise_dbm_per_hz,
            coherence_s=self.coherence_s,
            rician_k=self.k or 0.0,
        )


class Step(Parameters):
    """Parameters from an instant on; what is not named stays."""

    at_s: Instant = Field(alias="at", description="From when on, from the run's start; the first step's is 0 s.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.change() == LinkChange():
            raise explained("changes nothing, name at least one of bandwidth, delay, jitter, loss, queue")
        return self


class Steps(Model):
    """Parameters that change at given instants."""

    process: Literal["steps"] = Field(description="steps: parameters change at given instants.")
    steps: list[Step] = Field(
        min_length=1,
        description="The steps in the order of time, - {at: 5 s, bandwidth: 1 Mbit/s}.",
        examples=[[{"at": "0 s", "bandwidth": "10 Mbit/s"}, {"at": "5 s", "bandwidth": "1 Mbit/s"}]],
    )
    period_s: Duration | None = Field(
        None, alias="period", description="After so long they begin anew; without it, the last step stays."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        instants = [step.at_s for step in self.steps]
        if instants[0] != 0:
            raise explained(f"the first step must be at 0 s, found {instants[0]:g} s")
        for earlier, later in itertools.pairwise(instants):
            if later <= earlier:
                found = f"{later:g} s after {earlier:g} s"
                raise explained(f"the steps must be in the order of time, found {found}")
        if self.period_s is not None and self.period_s <= instants[-1]:
            raise explained(
                f"the period must be more than the last step's {instants[-1]:g} s, found {self.period_s:g} s"
            )
        return self

    @property
    def forgets_its_queue(self) -> bool:
        """Whether a later step sets the queue and the first, with which it begins anew, does not."""
        return (
            self.period_s is not None
            and self.steps[0].queue_bytes is None
            and any(step.queue_bytes is not None for step in self.steps)
        )


class Trace(Model):
    """Parameters that were recorded."""

    process: Literal["trace"] = Field(description="trace: rates that were recorded, in a file.")
    file: str = Field(
        min_length=1,
        description="A CSV with time_s,bandwidth_bps, or a trace of mahimahi; relative to the topology's own folder.",
        examples=["traces/walk.csv"],
    )
    loop: bool = Field(False, description="true: begin anew at its end; traces of mahimahi always do.")
    window_s: Duration | None = Field(
        None,
        alias="window",
        description="Of mahimahi's: over how long a rate is taken, in whole ms; 100 ms if not given.",
    )

    @model_validator(mode="after")
    def _whole_milliseconds(self) -> Self:
        if self.window_s is not None and abs(self.window_s * 1e3 - round(self.window_s * 1e3)) > 1e-6:
            raise explained(f"the window must be in whole ms, found {self.window_s:g} s")
        return self


CONSTANT = Constant(process="constant")


def gives_bandwidth(channel: Model) -> bool:
    """Whether a channel says at which bandwidth its link rests."""
    if isinstance(channel, Steps):
        return channel.steps[0].bandwidth_bps is not None
    return isinstance(channel, RadioFading | Trace)


def known_changes(channel: Model) -> tuple[LinkChange, ...]:
    """What a channel may set its link to, as far as the document says; the first is how the link rests."""
    match channel:
        case GilbertElliott():
            return (LinkChange(loss=channel.loss, burst=channel.burst),)
        case RadioFading():
            return (LinkChange(bandwidth_bps=shannon_bps(channel.resolved(), 1.0)),)
        case Steps():
            return tuple(step.change() for step in channel.steps)
    return ()


_KINDS = {
    "constant": Constant,
    "gilbert_elliott": GilbertElliott,
    "fading": RadioFading,
    "steps": Steps,
    "trace": Trace,
}


Channel = Annotated[
    Annotated[Constant, Tag("<constant>")]
    | Annotated[GilbertElliott, Tag("<gilbert_elliott>")]
    | Annotated[RadioFading, Tag("<fading>")]
    | Annotated[Steps, Tag("<steps>")]
    | Annotated[Trace, Tag("<trace>")],
    *by_process(_KINDS, "{process: steps, ...}"),
]
