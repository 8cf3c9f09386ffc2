"""The workload file: which jobs arrive, how they are offloaded, and what happens to the network meanwhile."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from testbed.documents.arrivals import Arrivals, Rated, Slotted
from testbed.documents.model import Model, explained, nearest, one_of, shown
from testbed.documents.parameters import BothWays
from testbed.documents.resolved import SPLITS, LinkChange, PolicySpec, RuntimeName
from testbed.documents.topology import Name, NodeName, Pair
from testbed.documents.units import RATE, Duration, Instant, Share, Slot

POLICIES = ("local", "full", "fixed", "random", "greedy", "droo", "grl")
DEFAULT_SLOT_S = 0.1
_CLASS = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*"
_CLASS_SCHEMA = {"type": "string", "pattern": f"^{_CLASS}$"}


def is_class(name: str) -> bool:
    """Whether it names a class of the user's own, as `package.module:Class`."""
    return re.fullmatch(_CLASS, name, re.ASCII) is not None


class ModelChoice(Model):
    """The network that is inferred, and its inputs."""

    checkpoint: str = Field(
        "default",
        min_length=1,
        description="A checkpoint file; `default`: the one shipped; or your own package.module:Class.",
    )
    images: str = Field(
        "sample",
        min_length=1,
        description="A folder or zip in Caltech-101's layout, or `sample`: the photographs shipped.",
    )
    runtime: RuntimeName = Field(
        "onnx",
        description="What computes a checkpoint's network: ONNX Runtime, or torch as it is, the slower of the two.",
    )

    @model_validator(mode="after")
    def _computes_by_itself(self) -> Self:
        if is_class(self.checkpoint) and self.runtime != "onnx":
            raise explained(f"{self.checkpoint!r} computes by itself, leave `runtime` out: it is for checkpoints")
        return self


def _in_short(value: object) -> object:
    return {"checkpoint": value} if isinstance(value, str) else value


class _InShort:
    """In the schema: text, too."""

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), {"type": "string", "minLength": 1}]}


ModelOrCheckpoint = Annotated[ModelChoice, BeforeValidator(_in_short), _InShort()]


def _policy_name(text: str) -> str:
    if text not in POLICIES and not is_class(text):
        raise explained(
            f"there is no policy {shown(text)}{nearest(text, POLICIES) or ','} "
            f"there are: {one_of(POLICIES)}, or package.module:Class"
        )
    return text


def _needs_no_options(name: str) -> str:
    if name == "fixed":
        raise explained("needs its options, such as {name: fixed, split: layer3, kept_channels: 16, bits: 4}")
    return name


_BARE_NAMES = {"enum": [name for name in POLICIES if name != "fixed"]}
BareName = Annotated[
    str,
    AfterValidator(_policy_name),
    AfterValidator(_needs_no_options),
    WithJsonSchema({"anyOf": [_BARE_NAMES, _CLASS_SCHEMA]}),
]
ClassName = Annotated[str, AfterValidator(_policy_name), WithJsonSchema(_CLASS_SCHEMA)]


def _whole_encoding(encoding: str) -> str:
    if encoding in ("jpeg", "raw") or re.fullmatch(r"(jpeg|webp)-([1-9][0-9]?|100)", encoding, re.ASCII):
        return encoding
    near = nearest(encoding, ("jpeg", "raw")) or ","
    raise explained(
        f"{shown(encoding)} is not allowed{near} use 'jpeg', 'raw', or FORMAT-QUALITY as the checkpoint has it, "
        "such as 'webp-10'"
    )


class Local(Model):
    """Computes every job on its own device."""

    name: Literal["local"] = Field(description="The policy.")


class Weighing(Model):
    """A policy that chooses among the model's options."""

    name: Literal["random", "greedy"] = Field(description="The policy.")
    encodings: Annotated[list[str], Field(min_length=1)] | None = Field(
        None,
        description="What it chooses among, beside local, such as [raw, jpeg, bottlenet++]; if not given, all that the "
        "model does not have for comparison alone.",
    )


class Trained(Model):
    """A policy that was trained, and decides once a slot for all devices."""

    name: Literal["droo", "grl"] = Field(description="The policy.")
    policy: str | None = Field(
        None,
        min_length=1,
        description="What was trained, a file; if not given, the one shipped for the topology's size.",
    )
    encodings: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="What it chooses among, beside local; if not given, as the policies that weigh."
    )


class Full(Model):
    """Sends every photograph to an edge."""

    name: Literal["full"] = Field(description="The policy.")
    encoding: Annotated[str, AfterValidator(_whole_encoding)] = Field(
        "jpeg", description="How the photograph travels: jpeg, raw, or at another quality, such as webp-10."
    )
    edge: NodeName | None = Field(None, description="The edge; if not given, the one predicted to finish first.")


class Fixed(Model):
    """Splits every inference at one operating point."""

    name: Literal["fixed"] = Field(description="The policy.")
    encoding: str = Field("aecnn", description="The method, such as bottlenet++, or your own model's.")
    split: str = Field(description=f"The stage after which to split: {one_of(SPLITS)}; or your own model's.")
    kept_channels: int = Field(ge=1, le=4096, description="Channels that are sent, such as 8.")
    bits: int = Field(ge=1, le=32, description="Bits per value, such as 4.")
    edge: NodeName | None = Field(None, description="The edge; if not given, the one predicted to finish first.")

    @field_validator("split")
    @classmethod
    def _one_of_the_network(cls, split: str, given: ValidationInfo) -> str:
        if given.data.get("encoding") == "aecnn" and split not in SPLITS:
            raise explained(f"{shown(split)} is not allowed{nearest(split, SPLITS) or ','} use {one_of(SPLITS)}")
        return split


class Custom(Model):
    """A policy of one's own; its class is called with the options."""

    model_config = ConfigDict(extra="allow")

    name: ClassName = Field(description=f"One of {one_of(POLICIES)}, or package.module:Class.")


def _kind_of_policy(value: object) -> str | None:
    if isinstance(value, str):
        return "<name>"
    if isinstance(value, list | tuple):
        return "<several>"
    return _kind_of_options(value)


def _kind_of_options(value: object) -> str | None:
    if isinstance(value, str):
        return "<name>"
    name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
    known = {"full": "<full>", "fixed": "<fixed>", "local": "<local>", "random": "<weighing>", "greedy": "<weighing>"}
    known |= {"droo": "<trained>", "grl": "<trained>"}
    if isinstance(value, dict | Model):
        return known.get(name, "<custom>") if isinstance(name, str) else "<custom>"
    return None


_NOT_A_POLICY = "must be a policy's name, or its name and options, such as {name: full, encoding: jpeg}"
_Options = (
    Annotated[BareName, Tag("<name>")]
    | Annotated[Local, Tag("<local>")]
    | Annotated[Weighing, Tag("<weighing>")]
    | Annotated[Trained, Tag("<trained>")]
    | Annotated[Full, Tag("<full>")]
    | Annotated[Fixed, Tag("<fixed>")]
    | Annotated[Custom, Tag("<custom>")]
)
Policy = Annotated[
    _Options,
    Discriminator(_kind_of_options, custom_error_type="explained", custom_error_message=_NOT_A_POLICY),
]
_Policies = Annotated[
    _Options | Annotated[Annotated[list[Policy], Field(min_length=1)], Tag("<several>")],
    Discriminator(
        _kind_of_policy, custom_error_type="explained", custom_error_message=f"{_NOT_A_POLICY}; or a list of these"
    ),
]


class Offloading(Model):
    """How the decision is taken where a job is computed."""

    policy: _Policies = Field(
        description="local, full, fixed, random, greedy, droo, grl, package.module:Class, {name: NAME, ...options}, or "
        "a list of these: each is run on the same arrivals.",
    )
    estimate_error: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Relative error (lognormal, of mean 1) of the bandwidths and backlogs a policy sees; a fraction.",
    )
    slot_s: Slot = Field(
        DEFAULT_SLOT_S,
        alias="slot",
        description="How often a policy that decides for all devices at once does so, such as 100 ms.",
    )

    @property
    def policies(self) -> tuple[PolicySpec, ...]:
        """The policies, each with its options."""
        return _specs(self.policy)

    @field_validator("policy")
    @classmethod
    def _each_once(cls, policy: Any) -> Any:
        specs = _specs(policy)
        for index, spec in enumerate(specs):
            if spec in specs[:index]:
                raise explained(f"{spec.name!r} stands twice with the same options, once is enough")
        return policy


def _specs(policy: Any) -> tuple[PolicySpec, ...]:
    return tuple(map(_spec, policy if isinstance(policy, list) else [policy]))


def _spec(policy: Any) -> PolicySpec:
    if policy == "full":
        policy = Full(name="full")  # for its defaults
    if isinstance(policy, str):
        return PolicySpec(policy)
    return PolicySpec(policy.name, policy.model_dump(exclude={"name"}, exclude_none=True))


class Change(BothWays):
    """New parameters of links, in both directions unless `up` or `down` says otherwise; what is not named stays."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.changes == (LinkChange(), LinkChange()):
            raise explained("changes nothing, name at least one of bandwidth, delay, jitter, loss, queue")
        return self


class Flap(Model):
    """A link that goes down and comes up again, several times."""

    down_s: Duration = Field(alias="down", description="How long nothing passes, such as 200 ms.")
    up_s: Duration = Field(alias="up", description="How long it works again before the next time, such as 800 ms.")
    times: int = Field(ge=1, le=1000, description="How many times it goes down, such as 5.")


_OF_LINKS = ("set", "restore", "partition", "flap")
_OF_NODES = ("kill", "stop", "start")


class Event(Model):
    """Something that happens at an instant of the run."""

    at_s: Instant = Field(alias="at", description="When, from the run's start, such as 10 s.")
    links: Pair | None = Field(None, description=f"The links that {one_of(_OF_LINKS)} speak of, such as [dev*, ap1].")
    set: Change | None = Field(None, description="Parameters to change, such as {bandwidth: 1 Mbit/s, loss: 3 %}.")
    restore: Literal[True] | None = Field(None, description="true: back to the parameters that the run found.")
    partition_s: Duration | None = Field(
        None, alias="partition", description="How long nothing passes, in either direction, such as 5 s."
    )
    flap: Flap | None = Field(
        None, description="Nothing passes, again and again, such as {down: 200 ms, up: 800 ms, times: 5}."
    )
    kill: NodeName | None = Field(None, description="The edge whose processes are killed.")
    stop: NodeName | None = Field(
        None, description="The node, of whichever kind, that is switched off; nothing passes its links."
    )
    start: NodeName | None = Field(None, description="The stopped node that is switched on again.")

    @model_validator(mode="after")
    def _one_action(self) -> Self:
        actions = (*_OF_LINKS, *_OF_NODES)
        given = [name for name in actions if getattr(self, "partition_s" if name == "partition" else name) is not None]
        if len(given) != 1:
            raise explained(f"needs exactly one of {one_of(actions)}, found {' and '.join(given) or 'none'}")
        if given[0] in _OF_NODES and self.links is not None:
            raise explained(f"`{given[0]}` takes no links, leave them out")
        if given[0] in _OF_LINKS and self.links is None:
            raise explained(f"`{given[0]}` needs links, such as [dev*, ap1]")
        return self


class JobClass(Model):
    """Some of the jobs, with a deadline of their own."""

    share: Share = Field(description="Of the arrivals at each device, drawn job by job, such as 30 %.")
    deadline_s: Duration = Field(alias="deadline", description="Time from arrival to answer, such as 100 ms.")


class Workload(Model):
    """Jobs over a while, and how they are offloaded."""

    name: Name = Field(description="The workload's name; results carry it.")
    model: ModelOrCheckpoint = Field(
        ModelChoice(), description="Which network is inferred, and on which images; or the checkpoint alone."
    )
    duration_s: Duration = Field(alias="duration", description="How long jobs arrive, such as 30 s.")
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of everything that is drawn.")
    deadline_s: Duration = Field(alias="deadline", description="Time from arrival to answer, such as 200 ms.")
    classes: dict[Name, JobClass] = Field(
        default={},
        description="Classes of jobs with deadlines of their own; what is left of the arrivals has the workload's.",
        examples=[{"urgent": {"share": "30 %", "deadline": "100 ms"}}],
    )
    arrivals: Arrivals = Field(description="When jobs arrive, such as {process: poisson, rate: 2 /s}.")
    offloading: Offloading = Field(description="The policy or policies, such as {policy: greedy}.")
    events: list[Event] = Field(default=[], description="What happens to the network during the run.")
    interval: Share | None = Field(
        None,
        description="Half the width that the success probability's 95 % interval may have, such as 3 %: a run of too "
        "few jobs for it is INVALID.",
    )

    @property
    def policies(self) -> tuple[PolicySpec, ...]:
        """The policies to run, each with its options."""
        return self.offloading.policies

    def each_policy(self) -> list[Self]:
        """The same workload under each of its policies alone."""
        policies = self.offloading.policy if isinstance(self.offloading.policy, list) else [self.offloading.policy]
        offloadings = [self.offloading.model_copy(update={"policy": policy}) for policy in policies]
        return [self.model_copy(update={"offloading": offloading}) for offloading in offloadings]

    @property
    def deadlines_s(self) -> tuple[float, ...]:
        """The deadlines that jobs may have, in seconds, the tightest first."""
        classes = tuple(each.deadline_s for each in self.classes.values())
        rest = () if classes and rest_of(self.classes) == 0 else (self.deadline_s,)
        return tuple(sorted({*classes, *rest}))

    @property
    def highest_rate_per_s(self) -> float:
        """The most jobs per second and device that the arrivals may be asked for."""
        return 1 / self.offloading.slot_s if isinstance(self.arrivals, Slotted) else RATE.range[1]

    @property
    def rate_per_s(self) -> float:
        """Jobs per second and device.

        Raises:
            ValueError: the arrivals have no rate that could be set.
        """
        if not isinstance(self.arrivals, Rated):
            raise ValueError(f"arrivals of the process {self.arrivals.process!r} have no rate that could be set")
        return self.arrivals.rate_per_s

    def at_rate(self, rate_per_s: float) -> Self:
        """The same workload with so many arrivals per second and device.

        Raises:
            ValueError: its arrivals have no rate, or none as high or low as this.
        """
        if self.rate_per_s == rate_per_s:
            return self
        lowest, highest = RATE.range[0], self.highest_rate_per_s
        if not lowest <= rate_per_s <= highest:
            raise ValueError(f"a rate of {rate_per_s:g} /s is out of range, from {lowest:g} to {highest:g} /s")
        arrivals = self.arrivals.model_copy(update={"rate_per_s": rate_per_s})
        return self.model_copy(update={"arrivals": arrivals})


def rest_of(classes: Mapping[str, JobClass]) -> float:
    """The share of the arrivals that is of no class, 0 to 1."""
    return max(0.0, round(1 - sum(each.share for each in classes.values()), 9))
