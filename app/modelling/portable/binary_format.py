"""Format 2 of the portable model: reader and writer of `model.bin`, as docs/model-format.md specifies it."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from math import isfinite

from app.errors import ArtifactError
from app.modelling import strict_json
from app.modelling.portable import model as limits
from app.modelling.portable import operations
from app.modelling.portable.model import NODE_SIZES, Answer, Forest, Model, Precision, head_faults

FORMAT = 2
MAX_BYTES = 256 * 1024 * 1024
MAX_HEADER_BYTES = 16 * 1024 * 1024
MAGIC = b"PORTABL2"
ALIGNMENT = 8
_HEAD = struct.Struct("<8sII")


@dataclass(frozen=True)
class Shape:
    """The lengths of the trees' arrays."""

    trees: int
    nodes: int
    leaves: int
    bitsets: int
    words: int
    precision: Precision


@dataclass(frozen=True)
class Header:
    """The header, without its steps, whose fields depend on the operation."""

    format: int
    features: int
    start: tuple[float, ...]
    trees: Shape | None
    divisor: int
    answer: Answer


def parse(content: bytearray, place: str) -> Model:
    """Return the model in a file of the name `place`; its arrays are views of the content.

    Raises ArtifactError unless all is right but the nodes and leaves, which the scorer checks.
    """
    header, steps, end = _header(content, place)
    arrays = _Arrays(memoryview(content), end, place)
    arrays.align()
    scores, shape = len(header.start), header.trees
    model = Model(
        format=FORMAT,
        features=header.features,
        steps=steps,
        start=header.start,
        coefficients=None,
        forest=None,
        divisor=header.divisor,
        answer=header.answer,
    )
    _refuse_first(head_faults(model), place)
    if shape is None:
        count = scores * model.widths[-1]
        if count > limits.MAX_NODES:
            raise _error(f"expected at most {limits.MAX_NODES} coefficients, got {count}", place)
        model = replace(model, coefficients=arrays.take(count, 8).cast("d"))
        _refuse_first(_infinite(model.coefficients), place)
    else:
        _refuse_first(_shape_faults(shape), place)
        model = replace(model, forest=_forest(arrays, shape))
    arrays.finish()
    return model


def write(model: Model) -> bytearray:
    """Return the model as a file."""
    forest = model.forest
    header = {
        "format": FORMAT,
        "features": model.features,
        "steps": [asdict(step) for step in model.steps],  # type: ignore[call-overload]
        "start": model.start,
        "trees": asdict(_shape(forest)) if forest else None,
        "divisor": model.divisor,
        "answer": model.answer,
    }
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    content = bytearray(_HEAD.pack(MAGIC, len(text), 0) + text)
    for array in _arrays(model):
        content += bytes(-len(content) % ALIGNMENT)
        content += array
    content += bytes(-len(content) % ALIGNMENT)
    return content


def _arrays(model: Model) -> list[memoryview]:
    """Return the bytes of the model's arrays in the order of the file."""
    if model.forest is None:
        return [] if model.coefficients is None else [model.coefficients.cast("B")]
    forest = model.forest
    return [
        each.cast("B") for each in (forest.sizes, forest.outputs, forest.nodes, forest.leaves, forest.bitsets)
    ]


def _header(content: bytearray, place: str) -> tuple[Header, tuple[operations.Step, ...], int]:
    """Return the header, its steps, and where the arrays begin."""
    magic, length, reserved = _HEAD.unpack(content[: _HEAD.size].ljust(_HEAD.size, b"\0"))
    if magic != MAGIC or reserved:
        raise _error("expected a file that begins with PORTABL2", place)
    if length > min(MAX_HEADER_BYTES, len(content) - _HEAD.size):
        raise _error(f"expected a header of at most {MAX_HEADER_BYTES} bytes, got {length}", place)
    end = _HEAD.size + length
    document = strict_json.parse(content[_HEAD.size : end], place)
    found = document.get("format") if isinstance(document, dict) else None
    if not isinstance(document, dict) or found != FORMAT:
        raise _error(f"has format {found!r:.80}, this service reads {FORMAT} in binary", place)
    steps = document.pop("steps", None)
    if not isinstance(steps, list):
        raise _error("steps: expected a list", place)
    header = strict_json.read(Header, document, place)
    read = tuple(operations.read(step, f"{place}: steps[{number}]") for number, step in enumerate(steps))
    return header, read, end


@dataclass
class _Arrays:
    """The arrays behind the header, taken one after the other."""

    content: memoryview
    position: int
    place: str

    def take(self, count: int, size: int) -> memoryview:
        """Return the bytes of the next array, of so many items of a size."""
        end = self.position + count * size
        if end > len(self.content):
            raise _error(f"expected {end} bytes or more, got {len(self.content)}", self.place)
        found = self.content[self.position : end]
        self.position = end
        self.align()
        return found

    def align(self) -> None:
        """Go on to a multiple of ALIGNMENT, over zero bytes only."""
        end = self.position + -self.position % ALIGNMENT
        if self.content[self.position : end] != bytes(end - self.position):
            raise _error(f"expected zero bytes from {self.position} to {end}", self.place)
        self.position = end

    def finish(self) -> None:
        """Refuse a file that is longer than its arrays."""
        if self.position != len(self.content):
            raise _error(f"expected {self.position} bytes, got {len(self.content)}", self.place)


def _forest(arrays: _Arrays, shape: Shape) -> Forest:
    return Forest(
        precision=shape.precision,
        sizes=arrays.take(shape.trees, 4).cast("I"),
        outputs=arrays.take(shape.trees, 4).cast("i"),
        nodes=arrays.take(shape.nodes, NODE_SIZES[shape.precision]),
        leaves=arrays.take(shape.leaves, 8).cast("d"),
        bitsets=arrays.take(shape.bitsets * shape.words, 8).cast("Q"),
        words=shape.words,
    )


def _shape(forest: Forest) -> Shape:
    bitsets = len(forest.bitsets) // forest.words if forest.words else 0
    nodes, leaves = len(forest.kinds), len(forest.leaves)
    return Shape(len(forest.sizes), nodes, leaves, bitsets, forest.words, forest.precision)


def _shape_faults(shape: Shape) -> Iterator[str]:
    allowed = {
        "trees": range(1, limits.MAX_TREES + 1),
        "nodes": range(1, limits.MAX_NODES + 1),
        "leaves": range(1, MAX_BYTES),
        "bitsets": range(MAX_BYTES),
        "words": range(limits.MAX_WORDS + 1),
    }
    for name, numbers in allowed.items():
        if getattr(shape, name) not in numbers:
            bounds = f"{numbers.start} to {numbers.stop - 1}"
            yield f"trees.{name}: expected {bounds}, got {getattr(shape, name)}"
    if (shape.bitsets > 0) != (shape.words > 0):
        yield "trees: expected both bitsets and words, or none"


def _infinite(numbers: memoryview[float] | None) -> Iterator[str]:
    if numbers is None or all(map(isfinite, numbers)):
        return
    for place, number in enumerate(numbers):
        if not isfinite(number):
            yield f"coefficients[{place}]: expected a finite number, got {number}"


def _refuse_first(faults: Iterator[str], place: str) -> None:
    for fault in faults:
        raise _error(fault, place)


def _error(fault: str, place: str) -> ArtifactError:
    return ArtifactError(f"model: {place}: {fault}; train again")
