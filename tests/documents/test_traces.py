import os

import pytest
import yaml

from testbed.documents.errors import DocumentErrors
from testbed.documents.loading import load_topology
from testbed.documents.resolve import resolve
from testbed.documents.resolved import LinkChange, Schedule
from testbed.documents.topology import Topology
from testbed.documents.traces import MAX_ROWS, parse_trace

CSV = "time_s,bandwidth_bps\n0,1000000\n0.5,2e6\n1.5,3000000\n"


def test_a_csv_becomes_a_schedule():
    changes = (LinkChange(1e6), LinkChange(2e6), LinkChange(3e6))
    assert parse_trace("a", CSV) == Schedule((0.0, 0.5, 1.5), changes, None)


def test_a_looped_csv_begins_anew_one_interval_after_its_last_row():
    assert parse_trace("a", CSV, loop=True).period_s == 2.5
    assert parse_trace("a", "time_s,bandwidth_bps\n0,1000000\n", loop=True).period_s is None


def test_further_columns_in_any_order_give_delay_and_loss():
    text = "loss, time_s ,delay_ms,bandwidth_bps\r\n0.01,0,5,1000000\r\n0, 1 ,7.5, 1e6\r\n"
    changes = (LinkChange(1e6, delay_s=0.005, loss=0.01), LinkChange(1e6, delay_s=0.0075, loss=0.0))
    assert parse_trace("a", text) == Schedule((0.0, 1.0), changes)


def test_mahimahi_packets_become_rates_over_windows_and_loop():
    schedule = parse_trace("a", "0\n1\n100\n100\n101\n350\n", window_s=None)
    packet = 1504 * 8
    assert schedule.at_s == (0.0, 0.1, 0.2, 0.3)
    assert [change.bandwidth_bps for change in schedule.changes] == [
        4 * packet / 0.1,
        packet / 0.1,
        1000,
        packet / 0.05,
    ]
    assert schedule.period_s == 0.35


def test_mahimahi_windows_can_be_chosen():
    schedule = parse_trace("a", "5\n10\n", window_s=0.005)
    assert schedule.at_s == (0.0, 0.005)
    assert {change.bandwidth_bps for change in schedule.changes} == {1504 * 8 / 0.005}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "a:1:1: is empty"),
        ("\n\n", "a:1:1: is empty"),
        ("time_s\n0\n", "a:1:1: has no column bandwidth_bps"),
        ("time_s,bandwidth_bps,bandwidth_bps\n", "a:1:1: the column bandwidth_bps is there twice"),
        ("time_s,bandwidth_bps\n", "a:1:1: has no rows"),
        ("time,rate\n0,1\n", "a:1:1: is no trace: a CSV with the header time_s,bandwidth_bps or"),
        ("time_s,bandwidth_bps\n0,1000000\n\n1,1000000", "a:3:1: has 1 values where the header has 2 columns"),
        ("time_s,bandwidth_bps\n0, nan\n", "a:2:3: bandwidth_bps: 'nan' is not a number, write 1000 to 3e+10"),
        ("time_s,bandwidth_bps\n0,999\n", "a:2:3: bandwidth_bps: '999' is out of range"),
        ("time_s,bandwidth_bps\n0,1e6\n1e9,1e6\n", "a:3:1: time_s: '1e9' is out of range, write 0 to 86400"),
        ("0\n", "a:1:1: the last time must be more than 0"),
        ("5\n4\n", "a:2:1: 4 is before 5"),
        ("5\nsix\n", "a:2:1: 'six' is not a whole number of milliseconds"),
        ("1\n86400001\n", "a:2:1: 86400001 is out of range, write 0 to 86400000 ms"),
        ("1\n" * 10_000_000, "a:1000002:1: has more than 1,000,000 rows"),
    ],
)
def test_what_is_no_trace_is_told_with_its_place(text, error):
    with pytest.raises(DocumentErrors) as found:
        parse_trace("a", text)
    assert str(found.value).startswith(error)
    assert len(found.value.errors) == 1


def test_windows_are_bounded_and_give_no_more_than_a_link_may_have():
    with pytest.raises(DocumentErrors, match="has 86,400,000 windows of 1 ms, at most 1,000,000"):
        parse_trace("a", "86400000\n", window_s=0.001)
    with pytest.raises(DocumentErrors, match=r"gives 1\.2e\+11 bit/s from 0 s on, at most 3e\+10"):
        parse_trace("a", "1\n" * 10_000, window_s=0.001)


def test_the_errors_of_a_long_trace_are_cut_short():
    with pytest.raises(DocumentErrors) as found:
        parse_trace("a", "time_s,bandwidth_bps\n" + "0,0\n" * MAX_ROWS)
    assert len(found.value.errors) == 20


@pytest.fixture
def traced(tmp_path):
    """A topology in a file of its own, whose link follows the trace `file`."""

    def write(file, **channel):
        document = {
            "name": "traced",
            "access_points": {"ap1": {}},
            "edges": {"edge1": {"access_point": "ap1", "compute": "live"}},
            "devices": {"dev": {"count": 2, "compute": "live"}},
            "links": [
                {"between": ["dev*", "ap1"], "channel": {"process": "trace", "file": file, **channel}},
                {"between": ["edge1", "ap1"], "bandwidth": "1 Mbit/s"},
            ],
        }
        path = tmp_path / "traced.yaml"
        path.write_text(yaml.safe_dump(document))
        return path

    return write


def test_a_trace_lies_relative_to_its_topology_whatever_the_working_folder(traced, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.csv").write_text(CSV)
    resolved = resolve(load_topology(traced("own/a.csv", loop=True)))
    assert resolved.channels == (parse_trace("a", CSV, loop=True),)
    link = resolved.links[0]
    assert (link.up_channel, link.down_channel, link.up.bandwidth_bps) == (0, 0, 1e6)


def test_a_topology_that_was_not_loaded_from_a_file_has_no_traces(traced, tmp_path):
    document = yaml.safe_load(traced("a.csv").read_text())
    with pytest.raises(ValueError, match=r"'a\.csv' has not been read: load the topology from its file"):
        resolve(Topology.model_validate(document))


def test_a_pipe_is_refused_without_waiting(traced, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DocumentErrors, match=r"channel\.file: '.*/pipe' is not a regular file"):
        load_topology(traced("pipe"))


def test_a_huge_trace_is_not_read_to_its_end(traced, tmp_path):
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(DocumentErrors, match=r"'.*/huge' is larger than the 67,108,864 bytes"):
        load_topology(traced("huge"))
