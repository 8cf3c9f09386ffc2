import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.aecnn.entropy_coder import EntropyCoder, Symbols, frequencies_of
from testbed.aecnn.payload import HEADER_BYTES, PayloadError, pack, unpack
from testbed.jobs.decision import OperatingPoint

CHECKPOINT = "0123456789abcdef" * 4
POINT = OperatingPoint("layer3", 4, 4)
POSITIONS = 64


@st.composite
def tables_and_symbols(draw: st.DrawFn) -> tuple[EntropyCoder, Symbols]:
    """Tables as peaked or flat as training makes them, and symbols drawn from them, from others, or all the same."""
    bits = draw(st.integers(2, 8))
    channels = draw(st.integers(1, 12))
    positions = draw(st.sampled_from([1, 16, 64, 256]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    peakedness = draw(st.floats(0.01, 5))
    counts = (rng.dirichlet(np.full(1 << bits, peakedness), channels) * 10_000).astype(np.int64)
    coder = EntropyCoder(frequencies_of(counts))
    kind = draw(st.sampled_from(["as the tables say", "uniform", "constant"]))
    if kind == "uniform":
        symbols = rng.integers(0, 1 << bits, (channels, positions))
    elif kind == "constant":
        symbols = np.full((channels, positions), draw(st.integers(0, (1 << bits) - 1)))
    else:
        shares = (counts + 1) / (counts + 1).sum(axis=1, keepdims=True)
        symbols = np.stack([rng.choice(1 << bits, positions, p=row) for row in shares])
    return coder, symbols.astype(np.int32)


def coder_and_symbols(seed: int = 0) -> tuple[EntropyCoder, Symbols]:
    rng = np.random.default_rng(seed)
    coder = EntropyCoder(frequencies_of(rng.integers(0, 100, (POINT.kept_channels, 1 << POINT.bits))))
    return coder, rng.integers(0, 1 << POINT.bits, (POINT.kept_channels, POSITIONS)).astype(np.int32)


@settings(max_examples=300, deadline=None)
@given(tables_and_symbols())
def test_decoding_gives_back_every_symbol(drawn: tuple[EntropyCoder, Symbols]) -> None:
    coder, symbols = drawn
    point = OperatingPoint("layer2", len(symbols), 8)
    payload = pack(symbols, coder, point, CHECKPOINT)
    assert np.array_equal(unpack(payload, coder, point, CHECKPOINT, symbols.shape[1]), symbols)


@settings(max_examples=300, deadline=None)
@given(tables_and_symbols())
def test_payload_is_at_most_what_the_tables_say_and_8_bytes_and_the_header(drawn: tuple[EntropyCoder, Symbols]) -> None:
    coder, symbols = drawn
    payload = pack(symbols, coder, OperatingPoint("layer2", len(symbols), 8), CHECKPOINT)
    assert HEADER_BYTES <= 16
    assert len(payload) <= coder.cross_entropy_bits(symbols) / 8 + 8 + HEADER_BYTES


def test_the_same_symbols_give_the_same_bytes_with_a_coder_made_anew() -> None:
    (coder, symbols), (again, _) = coder_and_symbols(), coder_and_symbols()
    assert pack(symbols, coder, POINT, CHECKPOINT) == pack(symbols, again, POINT, CHECKPOINT)


def test_every_flipped_bit_and_every_truncation_is_refused() -> None:
    coder, symbols = coder_and_symbols()
    payload = pack(symbols, coder, POINT, CHECKPOINT)
    damaged = [payload[:length] for length in range(len(payload))] + [payload + b"\0", payload + bytes(4)]
    for bit in range(8 * len(payload)):
        flipped = bytearray(payload)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    for one in damaged:
        with pytest.raises(PayloadError):
            unpack(one, coder, POINT, CHECKPOINT, POSITIONS)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    coder, _ = coder_and_symbols()
    with pytest.raises(PayloadError):
        unpack(data, coder, POINT, CHECKPOINT, POSITIONS)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_bytes_that_no_encoder_made_are_refused_or_decoded_even_where_their_checksum_is_right(data: bytes) -> None:
    coder, _ = coder_and_symbols()

    class Forger:
        def encode(self, symbols: Symbols) -> bytes:
            return data

    payload = pack(np.zeros((1, 1), np.int32), Forger(), POINT, CHECKPOINT)  # type: ignore[arg-type]
    try:
        symbols = unpack(payload, coder, POINT, CHECKPOINT, POSITIONS)
    except PayloadError:
        return
    assert symbols.shape == (POINT.kept_channels, POSITIONS)
    assert symbols.min() >= 0 and symbols.max() < 1 << POINT.bits


def test_a_huge_payload_is_refused_before_it_is_decoded() -> None:
    coder, _ = coder_and_symbols()
    start = time.process_time()
    with pytest.raises(PayloadError):
        unpack(bytes(64 << 20), coder, POINT, CHECKPOINT, POSITIONS)
    assert time.process_time() - start < 5  # the bound is the behaviour; it takes milliseconds


@pytest.mark.parametrize(
    ("point", "checkpoint", "said"),
    [
        (OperatingPoint("layer2", 4, 4), CHECKPOINT, "another operating point"),
        (OperatingPoint("layer3", 5, 4), CHECKPOINT, "another operating point"),
        (OperatingPoint("layer3", 4, 5), CHECKPOINT, "another operating point"),
        (POINT, "f" * 64, "checkpoint"),
    ],
)
def test_payload_of_another_point_or_checkpoint_is_refused(point: OperatingPoint, checkpoint: str, said: str) -> None:
    coder, symbols = coder_and_symbols()
    payload = pack(symbols, coder, point, checkpoint)
    with pytest.raises(PayloadError, match=said):
        unpack(payload, coder, POINT, CHECKPOINT, POSITIONS)


def test_a_symbol_never_seen_in_training_can_be_sent() -> None:
    tables = frequencies_of(np.array([[1000, 0, 0, 0]]))
    assert tables.min() >= 1 and tables.sum() == 65536
    coder, symbols = EntropyCoder(tables), np.array([[3, 3, 0, 1]], np.int32)
    assert np.array_equal(coder.decode(coder.encode(symbols), 4), symbols)
