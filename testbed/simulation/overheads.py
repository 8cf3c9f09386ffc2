"""What a real run spends beside network and compute: the software's own time, as ledgers of real runs have it.

Medians of 434 jobs a policy on the star of 8 devices (10 Mbit/s, 5 ms, no loss; relay, two cores), of each stage less
what links and paces account for. They are of one machine; `docs/simulation.md` says how to measure them on another.
"""

from __future__ import annotations

DISPATCH_S = 0.24e-3
"""From a job's arrival to its dispatch."""
DECIDE_S = 0.16e-3
"""What a policy takes, one that decides job by job; greedy 0.2, fixed 0.15."""
TURN_S = 0.14e-3
"""From the decision, or a job's last byte at an edge, to the beginning of its turn at an idle executor."""
DEVICE_PACED_S, EDGE_PACED_S = 0.2e-3, 0.1e-3
"""By which a paced computation outlasts its pace, on devices and on edges."""
LINK_S = 0.1e-3
"""By which a link delays a packet beyond its delay; every certificate has it, too."""
REQUEST_S = 0.14e-3
"""From a request's last packet at the edge to its being read."""
REPLY_S = 0.28e-3
"""From the end of a computation to its answer's first packet, and from there to its being read, together."""
PUBLISH_S = 0.01
"""From a link's change to where policies see it."""
