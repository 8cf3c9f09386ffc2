import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.documents.units import (
    ATTENUATION,
    BANDWIDTH,
    DELAY,
    DURATION,
    FREQUENCY,
    INSTANT,
    LENGTH,
    LOSS,
    MEMORY,
    NOISE,
    POWER,
    RATE,
    SIZE,
)


@pytest.mark.parametrize(
    ("quantity", "written", "value"),
    [
        (BANDWIDTH, "10 Mbit/s", 10e6),
        (BANDWIDTH, "1Mbit/s", 1e6),
        (BANDWIDTH, "400 kbit/s", 400e3),
        (BANDWIDTH, "2500 bit/s", 2500.0),
        (BANDWIDTH, "1.5 Gbit/s", 1.5e9),
        (DELAY, "5 ms", 0.005),
        (DELAY, "0.2 ms", 0.0002),
        (DELAY, "250 us", 0.00025),
        (DELAY, "0 ms", 0.0),
        (DURATION, "30 s", 30.0),
        (DURATION, "2 min", 120.0),
        (INSTANT, "0 s", 0.0),
        (LOSS, "0.5 %", 0.005),
        (LOSS, "3%", 0.03),
        (LOSS, "100 %", 1.0),
        (RATE, "2 /s", 2.0),
        (SIZE, "64 KiB", 65536.0),
        (SIZE, "64 kB", 64000.0),
        (MEMORY, "2 GiB", 2147483648.0),
        (LENGTH, "1.5 km", 1500.0),
        (FREQUENCY, "2.4 GHz", 2.4e9),
        (POWER, "20 dBm", 20.0),
        (POWER, "-3.5dBm", -3.5),
        (NOISE, "-174 dBm/Hz", -174.0),
        (ATTENUATION, "40 dB", 40.0),
    ],
)
def test_a_written_quantity_is_the_float_nearest_to_its_si_value(quantity, written, value):
    assert quantity.parse(written) == value


WRONG = ["5", "", " ", "ms", "5 m s", "5 Ms", "5 ns", "-5 ms", "+5 ms", "nan ms", "inf ms", "1e3 ms", ".5 ms", "5. ms"]
WRONG += ["5,5 ms", "٥ ms", "5\nms", "5 ms\n", "61 s"]


@pytest.mark.parametrize("written", [*WRONG, "9" * 5000 + " ms", 5, 5.0, True, None, ["5 ms"], {"ms": 5}])
def test_anything_else_is_refused_with_what_is_allowed(written):
    with pytest.raises(ValueError, match="such as 5 ms"):
        DELAY.parse(written)


def test_a_bare_number_is_told_that_its_unit_is_missing():
    with pytest.raises(
        ValueError, match="10 has no unit, write 1 kbit/s to 30 Gbit/s in bit/s, kbit/s, Mbit/s, Gbit/s"
    ):
        BANDWIDTH.parse(10)


@pytest.mark.parametrize("written", ["0 bit/s", "0.0 Mbit/s", "31 Gbit/s"])
def test_bandwidth_is_more_than_nothing(written):
    with pytest.raises(ValueError, match="out of range"):
        BANDWIDTH.parse(written)


@given(st.floats(min_value=0, max_value=60).map(lambda value: round(value, 9)))
def test_writing_and_parsing_gives_the_very_same_float(delay_s):
    assert DELAY.parse(DELAY.write(delay_s)) == delay_s
    loss = delay_s / 60
    assert math.isclose(LOSS.parse(LOSS.write(loss)), loss, rel_tol=0, abs_tol=1e-18) or loss < 1e-18


@given(st.decimals(min_value=0, max_value=100, places=4))
def test_every_loss_that_can_be_written_survives(percent):
    loss = LOSS.parse(f"{percent} %")
    assert LOSS.parse(LOSS.write(loss)) == loss


@given(st.floats(min_value=-250, max_value=0).map(lambda value: round(value, 6)))
def test_levels_keep_their_sign(level):
    assert NOISE.parse(NOISE.write(level)) == level


@pytest.mark.parametrize("written", ["- 5 dBm", "--5 dBm", "+5 dBm", "-101 dBm", "-5", "5 dB", "5 W"])
def test_what_is_no_level_is_refused(written):
    with pytest.raises(ValueError, match="-100 dBm to 100 dBm in dBm, such as 20 dBm"):
        POWER.parse(written)
