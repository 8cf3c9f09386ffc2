"""What a warm-up leaves of a connection: its window."""

from __future__ import annotations

from testbed.offloading.prediction import HEADER_BYTES, SEGMENT_BYTES

FIRST_WINDOW = 10.0
"""Segments that a new connection may have under way."""

_HYSTART_LEAST, _HYSTART_SAMPLES = 16, 8
_HYSTART_LEAST_S, _HYSTART_MOST_S = 0.004, 0.016


def opened_window(warm_up_bytes: int, narrowest_bps: float, round_trip_s: float) -> float:
    """The window, in segments, that sending so many bytes opens over an idle way without loss.

    By slow start, which ends as cubic's does (Ha, Rhee, "Taming the elephants: new TCP slow start", 2011): when the
    round trips of a round's first acknowledgements are an eighth longer than the way's, 4 to 16 ms.
    """
    segment_s = 8 * (SEGMENT_BYTES + HEADER_BYTES) / narrowest_bps
    slack_s = min(max(round_trip_s / 8, _HYSTART_LEAST_S), _HYSTART_MOST_S)
    window, sent = FIRST_WINDOW, 0.0
    while sent + window < warm_up_bytes / SEGMENT_BYTES:
        sent += window
        if window >= _HYSTART_LEAST and window * segment_s - round_trip_s > slack_s:
            return window + _HYSTART_SAMPLES
        window *= 2
    return FIRST_WINDOW + warm_up_bytes / SEGMENT_BYTES
