"""Mappings of several kinds, told apart by their `process`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BeforeValidator, Discriminator

from testbed.documents.model import Model, explained, nearest, one_of, shown


def by_process(kinds: Mapping[str, type[Model]], example: str) -> tuple[Discriminator, BeforeValidator]:
    """What chooses among the kinds, each tagged `<process>`, and says which there are where there is none such."""

    def known(value: object) -> object:
        if isinstance(value, dict):
            process = value.get("process")
            if process is None:
                raise explained(f"needs its `process`, one of {one_of(kinds)}")
            if not isinstance(process, str) or process not in kinds:
                near = nearest(process, kinds) if isinstance(process, str) else ""
                raise explained(f"there is no process {shown(process)}{near or ','} there are: {one_of(kinds)}")
        elif not isinstance(value, Model):
            raise explained(f"must be a mapping, such as {example}, found {shown(value)}")
        return value

    def tag(value: Any) -> str:
        return f"<{value['process'] if isinstance(value, dict) else value.process}>"

    return Discriminator(tag), BeforeValidator(known)
