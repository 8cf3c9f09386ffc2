"""`testbed schema`: the JSON Schema of the files that users write."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Document(StrEnum):
    """The kinds of file."""

    TOPOLOGY = "topology"
    WORKLOAD = "workload"


def schema(document: Annotated[Document, typer.Argument(help="Which file.", show_default=False)]) -> None:
    """Print the JSON Schema of topology or workload files, for editors and other programs."""
    import json

    from testbed.documents.json_schema import json_schema
    from testbed.documents.topology import Topology
    from testbed.documents.workload import Workload

    model = Topology if document is Document.TOPOLOGY else Workload
    print(json.dumps(json_schema(model), indent=2))
