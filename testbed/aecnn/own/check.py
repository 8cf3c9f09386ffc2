"""Whether a class of one's own does on a photograph what a run asks of it."""

from __future__ import annotations

from testbed.aecnn.model import CoInferenceModel, infer
from testbed.aecnn.own.loading import load_own
from testbed.aecnn.own.protocol import ModelError
from testbed.aecnn.timing import one_thread


def check_stages(name: str, model: CoInferenceModel, jpeg: bytes) -> None:
    """Compute a photograph under every option, twice with the model and once with another of its class.

    Raises:
        ModelError: a stage fails, gives what it may not, or not the same every time.
    """
    another = load_own(name)  # as every process of a run has its own
    if another.fingerprint != model.fingerprint:
        raise ModelError(f"{name}: no two objects of it hold the same: seed what __init__ draws, or load the weights")
    with one_thread():
        for option in model.options:
            first, *others = (infer(each, jpeg, option, 0) for each in (model, model, another))
            if any(other != first for other in others):
                what = "payloads" if any(other.payload != first.payload for other in others) else "classes"
                raise ModelError(
                    f"{name}: '{option}' gives two {what} for one photograph: call eval() on torch modules, seed what "
                    "is drawn, and let no stage keep anything from the last"
                )
