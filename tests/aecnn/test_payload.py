import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.aecnn.entropy_coder import EntropyCoder, Symbols, frequencies_of
from testbed.aecnn.payload import HEADER_BYTES, VERSION, Identity, PayloadError, pack, unpack

IDENTITY = Identity("0123456789abcdef" * 4, 3, 70_000)
CHANNELS, BITS = 4, 4
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
    coder = EntropyCoder(frequencies_of(rng.integers(0, 100, (CHANNELS, 1 << BITS))))
    return coder, rng.integers(0, 1 << BITS, (CHANNELS, POSITIONS)).astype(np.int32)


@settings(max_examples=300, deadline=None)
@given(tables_and_symbols())
def test_decoding_gives_back_every_symbol(drawn: tuple[EntropyCoder, Symbols]) -> None:
    coder, symbols = drawn
    payload = pack(symbols, coder, IDENTITY)
    assert np.array_equal(unpack(payload, coder, IDENTITY, symbols.shape[1]), symbols)


@settings(max_examples=300, deadline=None)
@given(tables_and_symbols())
def test_payload_is_at_most_what_the_tables_say_and_8_bytes_and_the_header(drawn: tuple[EntropyCoder, Symbols]) -> None:
    coder, symbols = drawn
    payload = pack(symbols, coder, IDENTITY)
    assert HEADER_BYTES <= 16
    assert len(payload) <= coder.cross_entropy_bits(symbols) / 8 + 8 + HEADER_BYTES
    assert len(payload) <= coder.most_bytes(symbols.shape[1]) + HEADER_BYTES


def test_the_same_symbols_give_the_same_bytes_with_a_coder_made_anew() -> None:
    (coder, symbols), (again, _) = coder_and_symbols(), coder_and_symbols()
    assert pack(symbols, coder, IDENTITY) == pack(symbols, again, IDENTITY)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A payload with some bits flipped, cut short, gone on with, or spliced with another's."""
    coder, symbols = coder_and_symbols()
    payload = bytearray(pack(symbols, coder, IDENTITY))
    places = st.integers(0, len(payload) - 1)
    kind = draw(st.sampled_from(["flipped", "cut", "extended", "spliced"]))
    if kind == "flipped":
        for bit in draw(st.sets(st.integers(0, 8 * len(payload) - 1), min_size=1, max_size=40)):
            payload[bit // 8] ^= 1 << bit % 8
    elif kind == "cut":
        del payload[draw(places) :]
    elif kind == "extended":
        payload += draw(st.binary(min_size=1, max_size=400))
    else:
        place = draw(places)
        payload[place:] = pack(symbols[:, ::-1], coder, IDENTITY)[draw(places) :]
    return bytes(payload)


@settings(max_examples=1000, deadline=None)
@given(damaged() | st.binary(max_size=400))
def test_damaged_and_foreign_bytes_are_refused_or_are_the_payload(data: bytes) -> None:
    coder, _ = coder_and_symbols()
    try:
        decoded = unpack(data, coder, IDENTITY, POSITIONS)
    except PayloadError:
        return
    assert data == pack(decoded, coder, IDENTITY)


def test_every_flipped_bit_and_every_truncation_is_refused() -> None:
    coder, symbols = coder_and_symbols()
    payload = pack(symbols, coder, IDENTITY)
    damaged = [payload[:length] for length in range(len(payload))] + [payload + b"\0", payload + bytes(4)]
    for bit in range(8 * len(payload)):
        flipped = bytearray(payload)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    for one in damaged:
        with pytest.raises(PayloadError):
            unpack(one, coder, IDENTITY, POSITIONS)


class Forger:
    """Puts bytes of one's own behind a header that is right."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def encode(self, symbols: Symbols) -> bytes:
        return self._data

    def payload(self) -> bytes:
        return pack(np.zeros((1, 1), np.int32), self, IDENTITY)  # type: ignore[arg-type]


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=400))
def test_bytes_that_no_encoder_made_are_refused_or_decoded_even_where_their_checksum_is_right(data: bytes) -> None:
    coder, _ = coder_and_symbols()
    try:
        symbols = unpack(Forger(data).payload(), coder, IDENTITY, POSITIONS)
    except PayloadError:
        return
    assert symbols.shape == (CHANNELS, POSITIONS)
    assert symbols.min() >= 0 and symbols.max() < 1 << BITS


@pytest.mark.parametrize("forged", [False, True])
def test_a_huge_payload_is_refused_before_it_is_decoded_or_copied(forged: bool) -> None:
    coder, _ = coder_and_symbols()
    payload = Forger(bytes(64 << 20)).payload() if forged else bytes([VERSION]) + bytes(64 << 20)
    tracemalloc.start()
    with pytest.raises(PayloadError):
        unpack(payload, coder, IDENTITY, POSITIONS)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (Identity("f" * 64, 3, 70_000), "made with checkpoint ffffffff"),
        (Identity(IDENTITY.checkpoint, 4, 70_000), "operating point 4"),
        (Identity(IDENTITY.checkpoint, 3, 70_001), "photograph 70001"),
    ],
)
def test_a_payload_of_another_checkpoint_point_or_photograph_is_refused(other: Identity, said: str) -> None:
    coder, symbols = coder_and_symbols()
    with pytest.raises(PayloadError, match=said):
        unpack(pack(symbols, coder, other), coder, IDENTITY, POSITIONS)


def test_a_payload_of_another_version_is_refused() -> None:
    coder, symbols = coder_and_symbols()
    payload = bytearray(pack(symbols, coder, IDENTITY))
    payload[0] += 1
    with pytest.raises(PayloadError, match=f"version {VERSION + 1}"):
        unpack(bytes(payload), coder, IDENTITY, POSITIONS)


def test_a_symbol_never_seen_in_training_can_be_sent() -> None:
    tables = frequencies_of(np.array([[1000, 0, 0, 0]]))
    assert tables.min() >= 1 and tables.sum() == 65536
    coder, symbols = EntropyCoder(tables), np.array([[3, 3, 0, 1]], np.int32)
    assert np.array_equal(coder.decode(coder.encode(symbols), 4), symbols)
