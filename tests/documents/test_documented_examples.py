"""What docs/files.md shows is accepted."""

import re
from pathlib import Path

import yaml

from testbed.documents.loading import parse_topology, parse_workload
from testbed.documents.located import Source
from testbed.documents.resolve import resolve

ROOT = Path(__file__).parents[2]
TOPOLOGY, CHANNELS, WORKLOAD = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "files.md").read_text(), re.S)
FILE = str(ROOT / "topologies" / "example.yaml")  # beside the traces that the examples name


def test_the_topology_and_the_workload_over_it():
    topology = resolve(parse_topology(Source(FILE, TOPOLOGY)))
    assert parse_workload(Source(FILE, WORKLOAD), topology).events


def test_the_channels():
    document, links = yaml.safe_load(TOPOLOGY), yaml.safe_load(CHANNELS)["links"]
    document["devices"]["dev"]["count"] = len(links)
    document["links"] = [*links, document["links"][1]]
    resolved = resolve(parse_topology(Source(FILE, yaml.safe_dump(document))))
    assert len(resolved.channels) == 4
    assert resolved.links[0].up.burst == 5
