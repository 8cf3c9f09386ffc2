"""A run's view as metrics, in the text format that Prometheus reads (version 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterable

from testbed.reporting.live import View

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[dict[str, str], float]


def metrics(view: View) -> str:
    """All that the view has; a metric without a value is left out."""
    run = {"run": view.run, "policy": view.policy}
    of_run: list[tuple[str, str, float | None]] = [
        ("run_elapsed_seconds", "Since the run's start.", view.elapsed_s),
        ("run_duration_seconds", "During which jobs arrive.", view.duration_s),
        ("jobs_issued", "Jobs of the whole run.", view.issued),
        ("success_ratio", "Of the jobs that have ended, those on time.", view.success),
        ("success_recent_ratio", "The same of the last ten seconds.", view.success_recent),
        ("completion_p50_seconds", "Median of the last ten seconds.", _seconds(view.completion_p50_ms)),
        ("completion_p95_seconds", "95th percentile of the last ten seconds.", _seconds(view.completion_p95_ms)),
    ]
    lines = [
        line for name, words, value in of_run if value is not None for line in _metric(name, words, [(run, value)])
    ]
    lines += _metric(
        "jobs_ended", "Jobs that have ended.", [({**run, "outcome": name}, n) for name, n in view.ended.items()]
    )
    links = [({"start": link.start, "end": link.end}, link) for link in view.links]
    lines += _metric(
        "link_bandwidth_bits_per_second", "As set.", [(labels, link.bandwidth_bps) for labels, link in links]
    )
    lines += _metric("link_loss_ratio", "As set; 1 while cut.", [(labels, link.loss) for labels, link in links])
    lines += _metric(
        "edge_backlog_seconds",
        "Work that an edge holds.",
        [({"edge": edge.name}, edge.backlog_s) for edge in view.edges],
    )
    return "".join(f"{line}\n" for line in lines)


def _metric(name: str, words: str, samples: Iterable[Sample]) -> list[str]:
    lines = [f"testbed_{name}{{{_labels(labels)}}} {value:.10g}" for labels, value in samples]
    return [f"# HELP testbed_{name} {words}", f"# TYPE testbed_{name} gauge", *lines] if lines else []


def _labels(labels: dict[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _seconds(figure_ms: float | None) -> float | None:
    return None if figure_ms is None else figure_ms / 1e3
