"""The base of all document models: strict, closed, and with errors in plain words that say what is allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

KEY = "[key]"
"""The last element of an error's location that means the key itself, not its value (as pydantic has it)."""

_EXPLAINED = "explained"  # the error type of messages that are already in our words


def explained(text: str) -> PydanticCustomError:
    """An error for a validator to raise; `text` is shown to the user as it stands."""
    return PydanticCustomError(_EXPLAINED, "{text}", {"text": text})


def nearest(name: str, known: Iterable[str]) -> str:
    """The words ", did you mean 'X'?" where a known name is near enough, else nothing."""
    written = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name[:100].lower(), list(written), n=1)
    return f", did you mean {written[near[0]]!r}?" if near else ""


def one_of(known: Iterable[str], most: int = 12) -> str:
    """The names as a list to read, cut short where there are many."""
    names = list(known)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "(none)"


def shown(value: object) -> str:
    """A value as an error message shows it: short, and on one line."""
    match value:
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class Model(BaseModel):
    """A mapping in a document."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, serialize_by_alias=True, protected_namespaces=()
    )

    def document(self) -> dict[str, Any]:
        """The mapping as a user could have written it; validating it gives an equal model."""
        return self.model_dump(mode="json", exclude_none=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_empty_values(cls, value: object) -> object:
        if value is None:
            raise explained("is empty, write a value or leave the field out")
        return value

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            details = error.errors(include_url=False)
            raise ValidationError.from_exception_data(cls.__name__, list(_explanations(cls, details))) from None


def _explanations(model: type[Model], details: list[ErrorDetails]) -> Iterable[InitErrorDetails]:
    """The errors of one mapping in our words. A field that is missing because it is misspelt is told once."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    unknown = [str(each["loc"][0]) for each in details if each["type"] == "extra_forbidden" and len(each["loc"]) == 1]
    meant = {near for name in unknown for near in difflib.get_close_matches(name[:100], fields, n=1)}
    for each in details:
        loc, own = each["loc"], len(each["loc"]) == 1
        name = str(loc[0]) if loc else ""
        if each["type"] == "missing" and own:
            if name in meant:
                continue
            text = f"is missing: {fields[name].description or 'it is required'}"
        elif each["type"] == "extra_forbidden" and own:
            text = f"unknown field{nearest(name, fields) or ','} allowed: {one_of(fields, 20)}"
            loc = (*loc, KEY)
        else:
            text = _in_plain_words(each)
        yield InitErrorDetails(type=explained(text), loc=loc, input=each["input"])


def _in_plain_words(error: ErrorDetails) -> str:
    found, context = shown(error["input"]), error.get("ctx", {})
    match error["type"]:
        case "model_type" | "dict_type" | "model_attributes_type":
            return f"must be a mapping, found {found}"
        case "list_type":
            return f"must be a list, found {found}"
        case "too_short" | "string_too_short":
            return "is empty, at least one is needed" if error["type"] == "too_short" else "is empty"
        case "too_long":
            return f"has more than {context['max_length']:,} entries"
        case "string_too_long":
            return f"is longer than {context['max_length']} characters"
        case "string_type":
            return f"must be text, found {found}"
        case "int_type" | "int_from_float":
            return f"must be a whole number without a unit, found {found}"
        case "bool_type":
            return f"must be true or false, found {found}"
        case "float_type":
            return f"must be a number without a unit, found {found}"
        case "finite_number":
            return f"must be finite, found {found}"
        case "greater_than":
            return f"must be more than {context['gt']:g}, found {found}"
        case "greater_than_equal":
            return f"must be at least {context['ge']:g}, found {found}"
        case "less_than":
            return f"must be less than {context['lt']:g}, found {found}"
        case "less_than_equal":
            return f"must be at most {context['le']:g}, found {found}"
        case "literal_error":
            allowed = context["expected"].replace("True", "true")
            near = nearest(error["input"], re.findall("'([^']*)'", allowed)) if isinstance(error["input"], str) else ""
            return f"{found} is not allowed{near or ','} use {allowed}"
    return error["msg"]
