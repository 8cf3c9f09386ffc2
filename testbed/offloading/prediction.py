"""The system model: when a job would be finished, for each thing that can be decided for it.

The model of Li, Iosifidis and Zhang (arXiv 2401.12167) over the measured profile:

    device   W_u + (head + encode FLOPs) / f_u      left out where the device computes nothing (raw full offloading)
    uplink   8 n_up / r_up / (1 - loss_up) + delay_up
    edge     W_s + (decode + tail FLOPs) / f_s
    downlink 8 n_down / r_down / (1 - loss_down) + delay_down

W are the backlogs in seconds, f the FLOP/s, r the narrowest bandwidth of the way. n counts bytes at the IP layer as
the links do: what the device has not got rid of yet, the payload, the frame's header, and the IP and TCP headers of
every segment. A lost packet is paid for with its expected repetitions alone; the wait for TCP's timer is not modelled,
nor are jitter and the serialisation on links other than the narrowest.
"""

from __future__ import annotations

import math

from testbed.jobs.decision import Decision, Kind, Option
from testbed.jobs.observation import Observation, PathView
from testbed.offloading.errors import PolicyError

FRAME_BYTES = 100  # length prefix and header of a frame, rounded up
ANSWER_BYTES = 100  # an answer's whole frame
SEGMENT_BYTES = 1448  # TCP payload of a full segment: MTU 1500
HEADER_BYTES = 52  # IPv4 20, TCP 20, timestamps 12


def predict_s(observation: Observation, option: Option, edge: str | None) -> float:
    """Predicted seconds from now until the job is complete; infinite over a way that passes nothing.

    Raises:
        PolicyError: the profile has no such option.
        KeyError: the edge cannot be reached now.
    """
    row = observation.profile.by_option.get(option)
    if row is None:
        raise PolicyError(f"the profile has no option '{option}'; it has {_listed(observation)}")
    device_flops = row.head_flops + row.encode_flops
    device_s = observation.backlog_s + device_flops / observation.flops_per_s if device_flops > 0 else 0.0
    if option.kind is Kind.LOCAL:
        return device_s
    if edge is None:
        raise PolicyError(f"'{option}' needs an edge")
    view = observation.edges[edge]
    return (
        device_s
        + transfer_s(view.unsent_bytes + row.payload_mean + FRAME_BYTES, view.up)
        + view.backlog_s
        + (row.decode_flops + row.tail_flops) / view.flops_per_s
        + transfer_s(ANSWER_BYTES, view.down)
    )


def transfer_s(message_bytes: float, path: PathView) -> float:
    """Seconds from the first byte sent to the last byte there, for one message over TCP on an open connection."""
    if path.bandwidth_bps <= 0 or path.loss >= 1:
        return math.inf
    ip_bytes = message_bytes + HEADER_BYTES * math.ceil(message_bytes / SEGMENT_BYTES)
    return 8 * ip_bytes / path.bandwidth_bps / (1 - path.loss) + path.delay_s


def reachable(observation: Observation) -> list[Decision]:
    """Every decision that can be taken now: the profile's options in its order, each at every edge in name order."""
    edges = sorted(observation.edges)
    return [
        Decision(row.option, edge)
        for row in observation.profile.rows
        for edge in ([None] if row.option.kind is Kind.LOCAL else edges)
    ]


def _listed(observation: Observation) -> str:
    return ", ".join(f"'{row.option}'" for row in observation.profile.rows) or "none"
