"""Models by their names: a checkpoint, or a class of one's own."""

from __future__ import annotations

from testbed.aecnn.checkpoint import load_checkpoint
from testbed.aecnn.inference import SplitModel
from testbed.aecnn.model import CoInferenceModel
from testbed.aecnn.own.loading import load_own
from testbed.documents.resolved import RuntimeName
from testbed.documents.workload import is_class


def load_model(name: str = "default", runtime: RuntimeName = "onnx") -> CoInferenceModel:
    """A model ready for inference: the checkpoint "default" or at a path, or the class `package.module:Class`.

    A class computes by itself, whatever the runtime. Let users' modules be imported before.

    Raises:
        CheckpointError: there is no such checkpoint.
        ModelError: the class cannot be run as a model.
    """
    return load_own(name) if is_class(name) else SplitModel(load_checkpoint(name), runtime)
