import pytest

from testbed.aecnn.outcomes import Curve
from testbed.experiments.compression.claims import claims
from testbed.experiments.compression.convergence import convergences, passes_until
from testbed.experiments.compression.studies import Studies
from testbed.experiments.findings import FAILS, HOLDS, UNDECIDED
from tests.experiments.conftest import study

PASSES = (1.0, 2.0, 3.0, 4.0)


def curves(steps: tuple[float, ...], whole: tuple[float, ...], what: str = "layer3") -> list[Curve]:
    return [Curve(f"{what} step by step", PASSES, steps), Curve(f"{what} end to end", PASSES, whole)]


def test_the_lead_is_the_area_between_the_curves_and_passes_are_counted_to_the_same_mark() -> None:
    (one,) = convergences([curves((0.2, 0.6, 0.8, 0.9), (0.1, 0.5, 0.7, 0.8))])
    assert (one.what, one.seeds) == ("layer3", 1)
    assert one.lead.value == pytest.approx(0.1)
    assert one.lead_at_end.value == pytest.approx(0.1)
    assert one.passes_step_by_step == pytest.approx(2.95)  # 79 %, a point below the lower end
    assert one.passes_end_to_end == pytest.approx(3.9)


def test_passes_before_there_is_anything_to_use_count_as_nothing_right() -> None:
    late = Curve("x step by step", (3.0, 4.0), (0.9, 0.9))
    (one,) = convergences([[late, Curve("x end to end", PASSES, (0.5,) * 4)]])
    assert one.lead.value == pytest.approx((2 * -0.5 + 1 * 0.4) / 3, abs=0.01)


def test_a_mark_that_is_never_reached_takes_for_ever() -> None:
    assert passes_until(Curve("x", PASSES, (0.1, 0.2, 0.3, 0.4)), 0.5) == float("inf")
    assert passes_until(Curve("x", PASSES, (0.1, 0.2, 0.3, 0.4)), 0.05) == 1


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (("aecnn.layer3.reference", "aecnn.layer3.end-to-end"), "aecnn layer3"),
        (("layer2 step by step", "layer2 end to end"), "layer2"),
        (("layer3", "layer3 end to end"), "layer3"),
    ],
)
def test_names_of_both_ways_belong_together(names: tuple[str, str], what: str) -> None:
    (one,) = convergences([[Curve(name, PASSES, (0.1, 0.2, 0.3, 0.4)) for name in names]])
    assert one.what == what


def test_the_reference_is_compared_rather_than_what_is_trained_for_longer() -> None:
    both = [Curve("a.reference", PASSES, (0.5,) * 4), Curve("a", PASSES, (0.9,) * 4)]
    (one,) = convergences([[*both, Curve("a.end-to-end", PASSES, (0.4,) * 4)]])
    assert one.lead.value == pytest.approx(0.1)


def test_one_way_alone_is_no_comparison() -> None:
    assert convergences([curves(PASSES, PASSES)[:1]]) == ()


@pytest.mark.parametrize(
    ("leads", "verdict"),
    [((0.1, 0.11, 0.12), HOLDS), ((-0.1, -0.11, -0.12), FAILS), ((0.1, -0.1, 0.02), UNDECIDED), ((0.1,), UNDECIDED)],
)
def test_the_claim_is_judged_by_what_the_seeds_agree_on(planted, leads: tuple[float, ...], verdict: str) -> None:
    studies = [study(planted, seed, curves((0.5 + lead,) * 4, (0.5,) * 4)) for seed, lead in enumerate(leads, start=1)]
    (finding,) = [one for one in claims(Studies(studies)) if "converges" in one.claim]
    assert finding.verdict == verdict
