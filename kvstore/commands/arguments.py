"""The arguments of a command: what a parameter's annotation says of it, and how the words of a request become values.

A command's function declares them in its signature; `parameters_of` reads it. `Key` marks a key; `Integer`, `Number`
and `Json` are converted before the function is called; plain `bytes` is passed as it came.
"""

from __future__ import annotations

import inspect
import math
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, TypeAlias

from kvstore.base.errors import NOT_A_FLOAT, NOT_AN_INTEGER, InvalidRequest, syntax_error
from kvstore.base.jsontext import loads

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


#: Whether that is a whole number of at most 17 digits, in the strict form that `to_integer` takes: one that does not
#: overflow soon.
is_short_number = re.compile(rb"(?:0|-?[1-9][0-9]{0,16})").fullmatch


#: The numbers that most words are which are numbers.
_SMALL = {b"%d" % number: number for number in range(256)}


def to_integer(text: bytes, otherwise: str = NOT_AN_INTEGER) -> int:
    """A signed 64-bit integer in Redis's strict form (no spaces, plus sign, leading zeros).

    Raises InvalidRequest, with the text `otherwise`, for anything else.
    """
    if (small := _SMALL.get(text)) is not None:
        return small
    try:
        number = int(text)
    except ValueError:
        raise InvalidRequest(otherwise) from None
    if not INT64_MIN <= number <= INT64_MAX or b"%d" % number != text:
        raise InvalidRequest(otherwise)
    return number


def is_integer(text: bytes) -> bool:
    """Whether that is what `to_integer` takes."""
    try:
        to_integer(text)
    except InvalidRequest:
        return False
    return True


def negatable(number: int) -> int:
    """`number`, if there is a 64-bit integer of the other sign. Raises InvalidRequest, as Redis words it."""
    if number == INT64_MIN:
        raise InvalidRequest(f"value is out of range, value must between {-INT64_MAX} and {INT64_MAX}")
    return number


def at_least(least: int, text: bytes, otherwise: str) -> int:
    """A number that is not below `least`. Raises InvalidRequest, with the text `otherwise`, for anything else."""
    number = to_integer(text, otherwise)
    if number < least:
        raise InvalidRequest(otherwise)
    return number


def to_number(text: bytes) -> float:
    """A float as Redis takes it (inf allowed; nan and what is too large for a double not). Raises InvalidRequest."""
    try:
        number = float(text)
    except ValueError:
        raise InvalidRequest(NOT_A_FLOAT) from None
    too_large = math.isinf(number) and b"n" not in text.lower()
    if math.isnan(number) or too_large or text != text.strip() or b"_" in text:
        raise InvalidRequest(NOT_A_FLOAT)
    return number


def pairs(options: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Options that take one argument each, their names in upper case. Raises InvalidRequest where one is missing."""
    for i in range(0, len(options), 2):
        if i + 1 == len(options):
            raise syntax_error()
        yield options[i].upper(), options[i + 1]


def text_to_key(text: str) -> bytes:
    """The bytes that a key (or any string) of a JSON request stands for: UTF-8, lone surrogates kept."""
    return text.encode("utf-8", "surrogatepass")


def to_json(text: bytes) -> Any:
    """Any JSON value from its text. Raises InvalidRequest with the reason."""
    try:
        return loads(text)
    except ValueError as error:
        raise InvalidRequest(f"value is not JSON ({error}); strings need double quotes") from None


Converter: TypeAlias = Callable[[bytes], Any]


class Argument(typing.NamedTuple):
    """How one parameter is shown and converted. `kind`: the type's name in COMMAND DOCS."""

    kind: str
    convert: Converter | None = None


Key: TypeAlias = Annotated[bytes, Argument("key")]
Integer: TypeAlias = Annotated[int, Argument("integer", to_integer)]
#: An integer that the command converts itself, having looked at its options first.
IntegerText: TypeAlias = Annotated[bytes, Argument("integer")]
Number: TypeAlias = Annotated[float, Argument("double", to_number)]
Json: TypeAlias = Annotated[Any, Argument("json", to_json)]
PLAIN = Argument("string")

#: One parameter of a command: name, type, whether it may be left out, whether it takes all that is left.
Parameter: TypeAlias = tuple[str, Argument, bool, bool]


def parameters_of(function: Callable[..., Any]) -> Iterable[Parameter]:
    """The parameters of a command's function after the first, which is the call."""
    hints = typing.get_type_hints(function, include_extras=True)
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        variadic = parameter.kind is inspect.Parameter.VAR_POSITIONAL
        optional = parameter.default is not inspect.Parameter.empty
        yield parameter.name, _argument_of(hints.get(parameter.name)), optional, variadic


def _argument_of(hint: Any) -> Argument:
    """The Argument that an annotation carries, inside `... | None` too."""
    for annotated in (hint, *typing.get_args(hint)):
        for metadata in getattr(annotated, "__metadata__", ()):
            if isinstance(metadata, Argument):
                return metadata
    return PLAIN


def from_json(name: str, argument: Argument, value: Any) -> Any:
    """The value of a parameter from the member `name` of a JSON request. Raises InvalidRequest."""
    if argument.kind == "json":
        return value
    if value.__class__ is not str:
        raise InvalidRequest(f"member '{name}' must be a string")
    text = text_to_key(value)
    return text if argument.convert is None else argument.convert(text)
