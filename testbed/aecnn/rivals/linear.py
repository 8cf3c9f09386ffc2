"""Linear maps of channels, which no gradient trains: what every learned method should beat."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from testbed.aecnn.codec import PointCodec, Shape
from testbed.aecnn.rivals.moments import Moments
from testbed.jobs.decision import OperatingPoint


class LinearCodec(PointCodec):
    """Features are an affine map of what is sent, position by position, that follows from the features' moments."""

    synthesis: Tensor  # [C, k, 1, 1]
    offset: Tensor  # [C]

    def __init__(self, point: OperatingPoint, shape: Shape) -> None:
        super().__init__(point, shape)
        self.register_buffer("synthesis", torch.zeros(shape.channels, point.kept_channels, 1, 1))
        self.register_buffer("offset", torch.zeros(shape.channels))

    def prepare(self, features: Iterator[Tensor]) -> None:
        """Fit the map to training photographs' features; there is nothing else to train."""
        moments = Moments(self.shape.channels)
        for batch in features:
            moments.add(batch)
        self._fit(moments)

    def recovered(self, values: Tensor) -> Tensor:
        """The affine map."""
        return functional.conv2d(values, self.synthesis, self.offset)

    @abstractmethod
    def _fit(self, moments: Moments) -> None: ...


class PrincipalComponents(LinearCodec):
    """Sends the channels' k principal components: of all affine maps to k values and back, the least squared error."""

    def sent(self, features: Tensor) -> Tensor:
        """The components, of mean 0 over the training photographs."""
        centred = features - self.offset[:, None, None]
        return functional.conv2d(centred, self.synthesis.transpose(0, 1)).float()

    def _fit(self, moments: Moments) -> None:
        vectors = torch.linalg.eigh(moments.covariance).eigenvectors.flip(1)[:, : self.point.kept_channels]
        greatest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
        vectors = vectors * greatest.sign()  # a vector and its negative serve as well: the same on every machine
        self.synthesis.copy_(vectors[:, :, None, None])
        self.offset.copy_(moments.mean)


class RandomChannels(LinearCodec):
    """Sends k channels, drawn as weights are at the start; all C are guessed from them by linear least squares."""

    kept: Tensor  # [k], indices into the C channels, ascending

    def __init__(self, point: OperatingPoint, shape: Shape) -> None:
        super().__init__(point, shape)
        self.register_buffer("kept", torch.randperm(shape.channels)[: point.kept_channels].sort().values)

    def sent(self, features: Tensor) -> Tensor:
        """The drawn channels."""
        return features[:, self.kept].float()

    def _fit(self, moments: Moments) -> None:
        kept, mean, covariance = self.kept.cpu(), moments.mean, moments.covariance
        among = covariance[kept][:, kept]
        weights = covariance[:, kept] @ torch.linalg.pinv(among, hermitian=True)
        self.synthesis.copy_(weights[:, :, None, None])
        self.offset.copy_(mean - weights @ mean[kept])
