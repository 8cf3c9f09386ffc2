"""The methods of compression by their names, as options' encodings and training files have them."""

from __future__ import annotations

from testbed.aecnn.codec import PointCodec
from testbed.aecnn.pruning import PrunedCodec
from testbed.aecnn.rivals.bottlenet import AwgnBottleNet, BottleNet
from testbed.aecnn.rivals.deepjscc import AnalogueCodec
from testbed.aecnn.rivals.entropic_student import StudentCodec
from testbed.aecnn.rivals.linear import PrincipalComponents, RandomChannels

AECNN = "aecnn"

CODECS: dict[str, type[PointCodec]] = {
    AECNN: PrunedCodec,
    "bottlenet++": BottleNet,
    "bottlenet++awgn": AwgnBottleNet,
    "deepjscc": AnalogueCodec,
    "entropic-student": StudentCodec,
    "pca": PrincipalComponents,
    "random": RandomChannels,
}

RIVALS = frozenset(CODECS) - {AECNN}
