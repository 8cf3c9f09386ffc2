"""AECNN's codec: the most important channels are sent, the others recovered from them."""

from __future__ import annotations

from torch import Tensor

from testbed.aecnn.codec import PointCodec, Shape
from testbed.aecnn.recovery import FeatureRecovery
from testbed.jobs.decision import OperatingPoint


class PrunedCodec(PointCodec):
    """Sends the kept channels of the attended features."""

    def __init__(self, point: OperatingPoint, shape: Shape) -> None:
        super().__init__(point, shape)
        self.recovery = FeatureRecovery(point.kept_channels, shape.channels)

    def sent(self, features: Tensor) -> Tensor:
        """The kept channels."""
        return features[:, self.recovery.kept].float()

    def recovered(self, values: Tensor) -> Tensor:
        """Feature recovery."""
        recovered = self.recovery(values)
        assert isinstance(recovered, Tensor)
        return recovered
