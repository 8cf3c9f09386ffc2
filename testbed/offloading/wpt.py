"""DROO's own problem: devices that harvest energy from an access point, then compute locally or offload to it.

From Huang, Bi and Zhang, "Deep Reinforcement Learning for Online Computation Offloading in Wireless Powered Mobile-Edge
Computing Networks" (IEEE TMC 19(11), 2020) and their published code. In a frame of length 1, energy is sent for a share
`a`; the offloaders transmit in turn for shares `tau_i`. A mode is worth the weighted sum of computation rates, bit/s,

    Q = sum over local of      w_i eta1 (h_i / k)^(1/3) a^(1/3)
      + sum over offloaders of w_i eps tau_i ln(1 + eta2 h_i^2 a / tau_i)

at the best `a + sum tau_i <= 1`, with `h_i` the channel's gain.

Where the shares are best, time is worth the same to all, `price`. With `y_i = eta2 h_i^2 a / tau_i` an offloader asks
`phi(y_i) = ln(1 + y_i) - y_i / (1 + y_i) = price / (w_i eps)`, so `a = 1 / (1 + sum eta2 h_i^2 / y_i)`, and energy asks

    sum over local of      w_i eta1 (h_i / k)^(1/3) a^(-2/3) / 3
      + sum over offloaders of w_i eps eta2 h_i^2 / (1 + y_i)    = price.

The left side falls as the price rises: bisection. Whatever the price, the shares that follow fill the frame, so an
error in the price costs only its square in the rate.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from testbed.offloading.problem import Choices, Graph

Reals = npt.NDArray[np.float64]

TRANSMIT_W = 3.0
HARVEST = 0.7
ETA1 = (HARVEST * TRANSMIT_W) ** (1 / 3) / 100  # 100 cycles a bit
CAPACITANCE = 1e-26
ETA2 = HARVEST * TRANSMIT_W / 1e-10  # by the receiver's noise, W
EPS = 2e6 / (1.1 * np.log(2))  # of 2 MHz, with 1.1 for overhead

LOCAL, OFFLOAD = 0, 1
_STEPS = 26  # the bracket's ends lie within a factor of some hundreds: the price to 1e-7

_LN_Y = np.linspace(np.log(1e-9), np.log(1e9), 8192)
_Y = np.exp(_LN_Y)
_LN_PHI = np.log(np.where(_Y < 1e-3, _Y**2 / 2 - 2 * _Y**3 / 3, np.log1p(_Y) - _Y / (1 + _Y)))


def alternating_weights(devices: int) -> Reals:
    """`[U]`: the weights of DROO's data: 1, 1.5, 1, 1.5 and so on."""
    return np.where(np.arange(devices) % 2 == 0, 1.0, 1.5)


class WirelessPowered:
    """One frame as a problem of two options, local and offload (`SlotProblem`)."""

    def __init__(self, gains: Reals, weights: Reals) -> None:
        """`gains` and `weights`, `[U]`: the channels' power gains, without unit, and what each device's rate counts."""
        self._gains = np.maximum(gains, 1e-12)
        self._weights = weights
        self._classes, self._class_of = np.unique(weights, return_inverse=True)

    @property
    def graph(self) -> Graph:
        """Devices: gain in millionths (what DROO reads), its logarithm, that beside the others', weight.

        Edges: the logarithm of the rate with the whole frame to itself, over all devices' mean.
        """
        gains, weights = self._gains, self._weights
        micro = gains * 1e6
        logarithm = np.log(micro)
        devices = np.stack([micro, logarithm, logarithm - logarithm.mean(), weights], axis=1)
        local = weights * ETA1 * np.cbrt(gains / CAPACITANCE)
        offload = weights * EPS * 0.5 * np.log1p(ETA2 * gains**2)
        alone = np.stack([local, offload], axis=1)
        alone = np.stack([np.log(alone / alone.mean()), np.log(alone / alone.mean(axis=0))], axis=2)
        options = np.array([[1.0, 0.0], [0.0, 1.0]])
        count = np.full((2, 1), np.log(len(gains)))
        return Graph(
            devices.astype(np.float32),
            np.hstack([options, count]).astype(np.float32),
            alone.astype(np.float32),
            np.ones((len(gains), 2), dtype=np.bool_),
        )

    def rewards(self, choices: Choices) -> Reals:
        """`[K]`: the weighted computation rate of each mode, bit/s, its shares by bisection."""
        return self.allotted(choices)[0]

    def allotted(self, choices: Choices) -> tuple[Reals, Reals, Reals]:
        """Rates `[K]`, energy's shares `[K]` and offloaders' shares `[K, U]` of the frame."""
        offloaded = choices == OFFLOAD
        local = (~offloaded) @ (self._weights * ETA1 * np.cbrt(self._gains / CAPACITANCE))
        member = self._class_of[:, None] == np.arange(len(self._classes))  # [U, classes]
        energy = ETA2 * self._gains**2
        strength = offloaded @ (member * energy[:, None])  # [K, classes]: devices of one weight ask for one y
        worth = self._classes * EPS

        total = strength.sum(axis=1)
        parts = strength / np.maximum(total, 1e-300)[:, None]
        low = np.log((local * 0.79 + (parts @ worth) * np.log1p(total) / 2) / 3)  # a third of the rate at a = 1/2
        high = np.log(local / 3 + strength @ worth)
        ln_worth = np.log(worth)
        for _ in range(_STEPS):
            middle = (low + high) / 2
            y = np.exp(np.interp(middle[:, None] - ln_worth, _LN_PHI, _LN_Y))
            share = 1 + (strength / y).sum(axis=1)  # 1 / a
            above = local / 3 * np.cbrt(share) ** 2 + (strength / (1 + y)) @ worth > np.exp(middle)
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        y = np.exp(np.interp((low + high)[:, None] / 2 - ln_worth, _LN_PHI, _LN_Y))
        a = 1 / (1 + (strength / y).sum(axis=1))
        rates = local * np.cbrt(a) + a * ((strength / y * np.log1p(y)) @ worth)
        tau = np.where(offloaded, energy * a[:, None] / y[:, self._class_of], 0.0)
        return rates, a, tau
