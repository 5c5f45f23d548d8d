"""What requests and answers have in common."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, StringConstraints

NEXT_CURSOR = "Ask again with this as `cursor`; null on the last page."


def printable(name: str) -> str:
    """Raises ``ValueError`` for a text that has what can't be shown."""
    if not name.isprintable():
        raise ValueError("it has control or other characters that can't be shown")
    return name


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(printable)]
Whole = Annotated[int, Strict()]
"""A whole number of JSON; neither a text nor a boolean."""
YesNo = Annotated[bool, Strict()]
NextCursor = Annotated[str | None, Field(description=NEXT_CURSOR)]


class In(BaseModel):
    """A request. Unknown members are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid")


class Out(BaseModel):
    """An answer."""

    model_config = ConfigDict(from_attributes=True)

    @classmethod
    def of(cls, record: object) -> Self:
        """The answer made of a record's fields of the same names."""
        return cls.model_validate(record)
