"""When each event of a run took hold: what the manifest keeps of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from testbed.documents.resolved import CutEvent, Event, LinkEvent

Pair = tuple[str, str]


class Happened(msgspec.Struct):
    """An event, or the end of a cut: when it was to happen and when it did, in seconds from the run's start."""

    at_s: float
    what: str
    applied_s: float | None = None  # of a link event, when the last link was changed; None: nothing was, or not yet


class EventLog:
    """The events of a run, by time."""

    def __init__(self, events: Iterable[Event], links: Iterable[Pair]) -> None:
        """A log of events that have not happened yet; `links` are the topology's."""
        every = tuple(links)
        self.events: list[Happened] = []
        self._of_link: dict[tuple[int, Pair], list[Happened]] = {}
        self._of_node: dict[tuple[float, str], Happened] = {}
        for at_s, what, concerned in sorted(
            (one for event in events for one in _told(event, every)), key=lambda one: one[0]
        ):
            happened = Happened(at_s, what)
            self.events.append(happened)
            self._of_node[at_s, what] = happened
            for link in concerned:
                self._of_link.setdefault((round(at_s * 1e9), link), []).append(happened)

    def applied(self, asked_ns: int, link: Pair, applied_s: float) -> None:
        """A link was changed as planned for an instant, in ns from the run's start."""
        for happened in self._of_link.get((asked_ns, link), ()):
            happened.applied_s = applied_s

    def killed(self, at_s: float, node: str, applied_s: float) -> None:
        """A node's processes were killed."""
        self._of_node[at_s, f"kill {node}"].applied_s = applied_s


def together(logs: Sequence[Sequence[Happened]]) -> list[Happened]:
    """One log of several machines', each of which changed what is its own: an event was applied when the last was."""
    return [
        Happened(
            first.at_s, first.what, max((one.applied_s for one in same if one.applied_s is not None), default=None)
        )
        for same in zip(*logs, strict=True)
        for first in same[:1]
    ]


def _told(event: Event, every: tuple[Pair, ...]) -> Iterator[tuple[float, str, tuple[Pair, ...]]]:
    """An event in words, when, and the links that it changes."""
    match event:
        case LinkEvent(at_s=at_s, links=links, restore=restore):
            yield at_s, f"{'restore' if restore else 'set'} {_named(links)}", links
        case CutEvent(at_s=at_s, until_s=until_s, links=links):
            yield at_s, f"cut {_named(links)}", links
            yield until_s, f"end of the cut of {_named(links)}", links
        case _:
            node = event.node
            word = type(event).__struct_config__.tag
            yield event.at_s, f"{word} {node}", tuple(link for link in every if node in link)


def _named(links: tuple[Pair, ...]) -> str:
    return "-".join(links[0]) if len(links) == 1 else f"{len(links)} links"
