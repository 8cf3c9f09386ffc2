import pytest

from testbed.documents.resolved import Tolerance
from testbed.network.certify import Asked, CertificateEntry
from testbed.network.measures import Measured
from testbed.reporting.verdict import few, link_faults

UNMEASURED = Measured(None, None, None, None)


def entry(device: str, reason: str | None) -> CertificateEntry:
    asked = Asked(1e7, 5.0, 0.0, 0.0)
    return CertificateEntry((device, "ap1"), "up", asked, UNMEASURED, Tolerance(), reason is None, reason)


def test_links_as_asked_are_no_fault() -> None:
    assert link_faults([entry("dev1", None)], [entry("dev1", None)]) == ()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_link_out_of_tolerance_is_named_with_both_figures(when: str) -> None:
    missed = [entry("dev1", None), entry("dev2", "delay is 7.200 ms, asked 5.000")]
    (reason,) = link_faults(**{"before": [], "after": [], when: missed})
    assert reason == f"{when} the run, dev2-ap1 up: delay is 7.200 ms, asked 5.000"


def test_of_many_reasons_the_first_are_told() -> None:
    assert few([str(number) for number in range(5)]) == ["0", "1", "2", "3", "4"]
    assert few([str(number) for number in range(105)])[-1] == "100 more of the kind: see certificate.json"
