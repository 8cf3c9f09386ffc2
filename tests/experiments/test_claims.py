from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from testbed.aecnn.outcomes import Study
from testbed.experiments.compression.claims import best_of, claims, goals, loss
from testbed.experiments.compression.studies import Studies
from testbed.experiments.findings import FAILS, HOLDS, MISSED, REACHED, UNDECIDED, Finding
from testbed.jobs.decision import LOCAL
from tests.experiments.conftest import Planted, full, split

Make = Callable[..., list[Study]]


def found(findings: tuple[Finding, ...], *words: str) -> Finding:
    (one,) = [finding for finding in findings if all(word in finding.claim for word in words)]
    return one


def without(planted: Planted, word: str) -> Planted:
    return {key: value for key, value in planted.items() if word not in str(key[0])}


def test_what_was_planted_is_found(studies_of: Make, planted: Planted) -> None:
    """256x costs 1.5 points of 93.5 %, and BottleNet++ is far behind."""
    findings = claims(Studies(studies_of(planted)))
    nominal = found(findings, "as shipped", "nominal")
    assert nominal.verdict == HOLDS
    assert "layer3/k16/b4: 399 bytes, nominal 256x, measured 328x" in nominal.figures
    assert "3 seeds" in nominal.figures
    rival = found(findings, "BottleNet++", "layer3")
    assert rival.verdict == HOLDS and rival.figures.startswith("above at ")


def test_what_was_planted_the_other_way_is_found_too(studies_of: Make, planted: Planted) -> None:
    worse = {key: (0.80 if "aecnn" in str(key[0]) else worth, size) for key, (worth, size) in planted.items()}
    studies = Studies(studies_of(worse))
    assert found(claims(studies), "as shipped", "nominal").verdict == FAILS
    assert found(claims(studies), "BottleNet++", "layer3").verdict == FAILS
    missed = found(goals(studies), "256x")
    assert missed.verdict == MISSED


def test_a_tie_is_undecided(studies_of: Make, planted: Planted) -> None:
    tied = {key: (0.85 if key[0].point else worth, size) for key, (worth, size) in planted.items()}
    finding = found(claims(Studies(studies_of(tied))), "BottleNet++", "layer3")
    assert finding.verdict == UNDECIDED
    assert "within error" in finding.figures


def test_one_budget_at_which_a_rival_leads_is_enough_to_fail(studies_of: Make, planted: Planted) -> None:
    strong = {**planted, (full("webp-50"), "tuned"): (0.97, 1500.0)}
    finding = found(goals(Studies(studies_of(strong))), "WebP")
    assert finding.verdict == FAILS
    assert "above at 100" in finding.figures and "below at" in finding.figures
    assert found(goals(Studies(studies_of(planted))), "WebP").verdict == HOLDS


def test_a_rival_counts_with_every_variant(studies_of: Make, planted: Planted) -> None:
    assert found(goals(Studies(studies_of(planted))), "JPEG").verdict == HOLDS
    tuned = {**planted, (full("jpeg-5"), "tuned"): (0.99, 700.0)}
    assert found(goals(Studies(studies_of(tuned))), "JPEG").verdict == FAILS


def test_goals_are_judged_by_the_mean_and_say_where_they_lie_within_the_error(
    studies_of: Make, planted: Planted
) -> None:
    for accuracy, verdict in ((0.97, REACHED), (0.93, f"{REACHED}, within error"), (0.85, MISSED)):
        studies = Studies(studies_of({**planted, (LOCAL, ""): (accuracy, 0.0)}))
        assert found(goals(studies), "Uncompressed").verdict == verdict


def test_fewer_than_three_seeds_are_said(studies_of: Make, planted: Planted) -> None:
    studies = Studies(studies_of(planted, (1, 2)))
    assert all("fewer than 3 seeds" in found(goals(studies), word).verdict for word in ("Uncompressed", "512x"))


def test_studies_without_rivals_leave_their_claims_undecided(studies_of: Make, planted: Planted) -> None:
    studies = Studies(studies_of(without(planted, "bottlenet")))
    assert found(claims(studies), "BottleNet++").verdict == UNDECIDED
    assert found(goals(studies), "BottleNet++").verdict == UNDECIDED


def test_the_plain_method_has_a_row_of_its_own_where_it_was_trained(studies_of: Make, planted: Planted) -> None:
    plain = {**planted, (split("aecnn", "layer3", 16, 4), "plain"): (0.70, 350.0)}
    assert not any("plain" in finding.claim for finding in claims(Studies(studies_of(planted))))
    assert found(claims(Studies(studies_of(plain))), "plain", "nominal").verdict == FAILS


def test_losses_are_paired_with_the_same_seeds_network(studies_of: Make, planted: Planted) -> None:
    """Photographs are as hard for both networks, so that the loss is known far better than either accuracy."""
    studies = Studies(studies_of(planted))
    (point,) = [one for one in studies.of("aecnn") if one.label == "layer3/k16/b4"]
    interval = loss(studies, point.right)
    by_hand = np.mean(
        [
            study.outcomes[0].right().mean()
            - next(one for one in study.outcomes if one.option == point.option).right().mean()
            for study in studies.studies
        ]
    )
    assert interval.value == pytest.approx(by_hand)
    unpaired = 2 * 1.96 * np.sqrt((0.92 * 0.08 + 0.935 * 0.065) / studies.photographs)
    assert interval.high - interval.low < unpaired


def test_the_best_of_several_points_is_chosen_on_other_photographs(studies_of: Make, planted: Planted) -> None:
    """What was better on the validation photographs is taken, whatever the test photographs say."""
    planned = studies_of(planted)
    assert best_of(Studies(planned).of("aecnn")).label == "layer3/k64/b6"
    favoured = [
        msgspec.structs.replace(
            study,
            outcomes=tuple(
                msgspec.structs.replace(one, validation_accuracy=0.99) if "k8/b2" in str(one.option) else one
                for one in study.outcomes
            ),
        )
        for study in planned
    ]
    assert best_of(Studies(favoured).of("aecnn")).label == "layer3/k8/b2"
