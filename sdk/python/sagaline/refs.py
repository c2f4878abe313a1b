"""References to values that a saga will have: parameters, outputs, and fields inside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sagaline import limits
from sagaline.codecs.codec import Unsupported
from sagaline.codecs.fields import NoSuchField, attribute, element
from sagaline.errors import FieldProblem, GraphError
from sagaline.v1 import saga_pb2

T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")


class Ref(Generic[T_co]):
    """Stands for a value of type T while a graph is built. Made by a `GraphBuilder`, and good for its graph alone.

    Attributes:
        node: Node whose output it is; None for the parameters.
        path: Keys and indexes that lead to the value inside that output, outermost first.
        type: The value's type at run time; `Any` where it is not known.
    """

    __slots__ = ("_builder", "node", "path", "type")

    def __init__(self, builder: object, node: str | None, path: tuple[str, ...], type: Any) -> None:  # noqa: A002
        self._builder = builder
        self.node = node
        self.path = path
        self.type = type

    def __repr__(self) -> str:
        return "".join([f"<Ref {self.node or 'params'}", *(f".{part}" for part in self.path), ">"])

    if not TYPE_CHECKING:  # for a type checker there is no such attribute, and it says so by itself

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(
                f"{self!r} has no {name!r}: it stands for a value that is not there yet. "
                f"To take a field of that: ref.select(lambda value: value.{name})"
            )

    def select(self, choose: Callable[[T_co], U]) -> Ref[U]:
        """Return a reference to a field inside the value: `order.select(lambda order: order.lines[0].price)`.

        The server takes the field from the JSON; your function is called once, now, with a stand-in that notes
        which attributes and elements are read. It can read fields only.

        Raises:
            GraphError: The function does something else, or the type has no such field.
        """
        start = FieldReader(self.type, self.path)
        try:
            chosen: object = choose(start)  # type: ignore[arg-type]  # the stand-in looks like the value
        except NoSuchField as problem:
            raise _refused("NO_SUCH_FIELD", str(problem), self) from None
        except GraphError:
            raise
        except Exception as error:
            raise _refused("NOT_A_FIELD", f"a selection can read fields only: {error}", self) from error
        if not isinstance(chosen, FieldReader):
            raise _refused("NOT_A_FIELD", "a selection returns a field of its argument, and nothing else", self)
        path = chosen.sagaline_path
        if len(path) > limits.PATH_ELEMENTS:
            message = f"a path has at most {limits.PATH_ELEMENTS} elements; this one has {len(path)}"
            raise _refused("TOO_MANY", message, self)
        if any(not 0 < len(part) <= limits.PATH_ELEMENT_CHARS for part in path):
            message = f"a key in a path has 1 to {limits.PATH_ELEMENT_CHARS} characters"
            raise _refused("OUT_OF_RANGE", message, self)
        return Ref(self._builder, self.node, path, chosen.sagaline_type)

    def belongs_to(self, builder: object) -> bool:
        """Say whether this builder made it."""
        return self._builder is builder

    def source(self) -> saga_pb2.InputSource:
        """Return the reference as the protocol has it."""
        if self.node is None:
            return saga_pb2.InputSource(params=saga_pb2.ParamsSource(), path=self.path)
        return saga_pb2.InputSource(node=self.node, path=self.path)


class ElementIndex(Ref[int]):
    """Stands for the place of an element in the list of a map, from 0. For a map's action alone."""

    __slots__ = ()

    def __init__(self, builder: object) -> None:
        super().__init__(builder, None, (), int)

    def __repr__(self) -> str:
        return "<Ref index of an element>"


class FieldReader:
    """Stands for a value inside `Ref.select`: notes what is read, and refuses all else."""

    __slots__ = ("sagaline_path", "sagaline_type")

    def __init__(self, type: Any, path: tuple[str, ...]) -> None:  # noqa: A002 - as `Ref.type`
        self.sagaline_type = type
        self.sagaline_path = path

    def __getattr__(self, name: str) -> FieldReader:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return self._read(attribute, name)

    def __getitem__(self, key: Any) -> FieldReader:
        return self._read(element, key)

    def _read(self, find: Callable[[Any, Any], tuple[str, Any]], key: Any) -> FieldReader:
        try:
            part, declared = find(self.sagaline_type, key)
        except Unsupported as problem:
            raise NoSuchField(str(problem)) from problem
        return FieldReader(declared, (*self.sagaline_path, part))

    def __bool__(self) -> bool:
        raise TypeError("whether the value is true is not known before the saga runs")

    __iter__ = None
    __hash__ = None  # type: ignore[assignment]


def _refused(reason: str, message: str, ref: Ref[Any]) -> GraphError:
    problem = FieldProblem(field="path", reason=reason, message=message, node=ref.node or "")
    return GraphError(f"cannot select from {ref!r}", [problem])
