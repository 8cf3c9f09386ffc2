"""How busy a machine's CPUs are while a run goes on."""

from __future__ import annotations

import psutil


class CpuMeter:
    """Tells from call to call which share of all CPUs' time was used. Niced work counts as free: it yields."""

    def __init__(self) -> None:
        self._before = psutil.cpu_times()

    def busy(self) -> float:
        """0 to 1, since the last call; 0 where no time has passed."""
        before, now = self._before, psutil.cpu_times()
        self._before = now
        spent = {kind: getattr(now, kind) - getattr(before, kind) for kind in _KINDS}
        total_s = sum(spent.values())
        return (total_s - sum(spent[kind] for kind in _FREE)) / total_s if total_s > 0 else 0.0


_FREE = ("idle", "iowait", "nice")
_KINDS = ("user", "system", "irq", "softirq", "steal", *_FREE)  # guests' time is in user and nice already
