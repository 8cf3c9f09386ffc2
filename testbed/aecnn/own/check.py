"""Whether a model does on a photograph what a run asks of it."""

from __future__ import annotations

from testbed.aecnn.model import CoInferenceModel, infer
from testbed.aecnn.own.protocol import ModelError
from testbed.aecnn.timing import one_thread


def check_stages(name: str, model: CoInferenceModel, jpeg: bytes) -> None:
    """Compute a photograph twice under every option.

    Raises:
        ModelError: a stage fails, gives what it may not, or not the same every time.
    """
    with one_thread():
        for option in model.options:
            first, second = (infer(model, jpeg, option, 0) for _ in range(2))
            if first != second:
                what = "payloads" if first.payload != second.payload else "classes"
                raise ModelError(
                    f"{name}: '{option}' gives two {what} for one photograph: leave out what is drawn anew "
                    "(call eval() on torch modules), and what a stage keeps from the last one"
                )
