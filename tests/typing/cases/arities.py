"""Every number of inputs that there is an overload for: one too few, one too many and one of a wrong type fail."""

from __future__ import annotations

from typing import assert_type

from sagaline import Action, Context, GraphBuilder, Ref, action

g = GraphBuilder("arities", params=int)
i = g.params


@action
async def take0(context: Context) -> str:
    return context.node


@take0.undo
def undo0(context: Context, *, output: str | None) -> None: ...


@take0.undo  # E: incompatible type|incompatible with type "bytes"
def wrong0(context: Context, *, output: bytes) -> None: ...


assert_type(take0, Action[tuple[()], str])
assert_type(g.add("n0", take0), Ref[str])
g.add("more0", take0, i)  # E: incompatible type|cannot be assigned|No overload


@action
async def take1(context: Context, a1: int) -> str:
    return context.node


@take1.undo
def undo1(context: Context, a1: int, *, output: str | None) -> None: ...


@take1.undo  # E: incompatible type|incompatible with type "bytes"
def wrong1(context: Context, a1: int, *, output: bytes) -> None: ...


assert_type(take1, Action[tuple[int], str])
assert_type(g.add("n1", take1, i), Ref[str])
g.add("more1", take1, i, i)  # E: incompatible type|cannot be assigned|No overload
g.add("less1", take1)  # E: incompatible type|cannot be assigned
g.add("text1", take1, "x")  # E: incompatible type "str"|Literal\['x'\]


@action
async def take2(context: Context, a1: int, a2: int) -> str:
    return context.node


@take2.undo
def undo2(context: Context, a1: int, a2: int, *, output: str | None) -> None: ...


@take2.undo  # E: incompatible type|incompatible with type "bytes"
def wrong2(context: Context, a1: int, a2: int, *, output: bytes) -> None: ...


assert_type(take2, Action[tuple[int, int], str])
assert_type(g.add("n2", take2, i, i), Ref[str])
g.add("more2", take2, i, i, i)  # E: incompatible type|cannot be assigned|No overload
g.add("less2", take2, i)  # E: incompatible type|cannot be assigned
g.add("text2", take2, i, "x")  # E: incompatible type "str"|Literal\['x'\]


@action
async def take3(context: Context, a1: int, a2: int, a3: int) -> str:
    return context.node


@take3.undo
def undo3(context: Context, a1: int, a2: int, a3: int, *, output: str | None) -> None: ...


@take3.undo  # E: incompatible type|incompatible with type "bytes"
def wrong3(context: Context, a1: int, a2: int, a3: int, *, output: bytes) -> None: ...


assert_type(take3, Action[tuple[int, int, int], str])
assert_type(g.add("n3", take3, i, i, i), Ref[str])
g.add("more3", take3, i, i, i, i)  # E: incompatible type|cannot be assigned|No overload
g.add("less3", take3, i, i)  # E: incompatible type|cannot be assigned
g.add("text3", take3, i, i, "x")  # E: incompatible type "str"|Literal\['x'\]


@action
async def take4(context: Context, a1: int, a2: int, a3: int, a4: int) -> str:
    return context.node


@take4.undo
def undo4(context: Context, a1: int, a2: int, a3: int, a4: int, *, output: str | None) -> None: ...


@take4.undo  # E: incompatible type|incompatible with type "bytes"
def wrong4(context: Context, a1: int, a2: int, a3: int, a4: int, *, output: bytes) -> None: ...


assert_type(take4, Action[tuple[int, int, int, int], str])
assert_type(g.add("n4", take4, i, i, i, i), Ref[str])
g.add("more4", take4, i, i, i, i, i)  # E: incompatible type|cannot be assigned|No overload
g.add("less4", take4, i, i, i)  # E: incompatible type|cannot be assigned
g.add("text4", take4, i, i, i, "x")  # E: incompatible type "str"|Literal\['x'\]


@action
async def take5(context: Context, a1: int, a2: int, a3: int, a4: int, a5: int) -> str:
    return context.node


@take5.undo
def undo5(context: Context, a1: int, a2: int, a3: int, a4: int, a5: int, *, output: str | None) -> None: ...


@take5.undo  # E: incompatible type|incompatible with type "bytes"
def wrong5(context: Context, a1: int, a2: int, a3: int, a4: int, a5: int, *, output: bytes) -> None: ...


assert_type(take5, Action[tuple[int, int, int, int, int], str])
assert_type(g.add("n5", take5, i, i, i, i, i), Ref[str])
g.add("more5", take5, i, i, i, i, i, i)  # E: incompatible type|cannot be assigned|No overload
g.add("less5", take5, i, i, i, i)  # E: incompatible type|cannot be assigned
g.add("text5", take5, i, i, i, i, "x")  # E: incompatible type "str"|Literal\['x'\]


@action
async def take6(context: Context, a1: int, a2: int, a3: int, a4: int, a5: int, a6: int) -> str:
    return context.node


@take6.undo
def undo6(context: Context, a1: int, a2: int, a3: int, a4: int, a5: int, a6: int, *, output: str | None) -> None: ...


@take6.undo  # E: incompatible type|incompatible with type "bytes"
def wrong6(context: Context, a1: int, a2: int, a3: int, a4: int, a5: int, a6: int, *, output: bytes) -> None: ...


assert_type(take6, Action[tuple[int, int, int, int, int, int], str])
assert_type(g.add("n6", take6, i, i, i, i, i, i), Ref[str])
g.add("more6", take6, i, i, i, i, i, i, i)  # E: incompatible type|cannot be assigned|No overload
g.add("less6", take6, i, i, i, i, i)  # E: incompatible type|cannot be assigned
g.add("text6", take6, i, i, i, i, i, "x")  # E: incompatible type "str"|Literal\['x'\]


@action
async def take7(context: Context, a1: int, a2: int, a3: int, a4: int, a5: int, a6: int, a7: int) -> str:
    return context.node


@take7.undo
def undo7(
    context: Context, a1: int, a2: int, a3: int, a4: int, a5: int, a6: int, a7: int, *, output: str | None
) -> None: ...


@take7.undo  # E: incompatible type|incompatible with type "bytes"
def wrong7(
    context: Context, a1: int, a2: int, a3: int, a4: int, a5: int, a6: int, a7: int, *, output: bytes
) -> None: ...


assert_type(take7, Action[tuple[int, int, int, int, int, int, int], str])
assert_type(g.add("n7", take7, i, i, i, i, i, i, i), Ref[str])
g.add("more7", take7, i, i, i, i, i, i, i, i)  # E: incompatible type|cannot be assigned|No overload
g.add("less7", take7, i, i, i, i, i, i)  # E: incompatible type|cannot be assigned
g.add("text7", take7, i, i, i, i, i, i, "x")  # E: incompatible type "str"|Literal\['x'\]


@action
async def take8(context: Context, a1: int, a2: int, a3: int, a4: int, a5: int, a6: int, a7: int, a8: int) -> str:
    return context.node


@take8.undo
def undo8(
    context: Context, a1: int, a2: int, a3: int, a4: int, a5: int, a6: int, a7: int, a8: int, *, output: str | None
) -> None: ...


@take8.undo  # E: incompatible type|incompatible with type "bytes"
def wrong8(
    context: Context, a1: int, a2: int, a3: int, a4: int, a5: int, a6: int, a7: int, a8: int, *, output: bytes
) -> None: ...


assert_type(take8, Action[tuple[int, int, int, int, int, int, int, int], str])
assert_type(g.add("n8", take8, i, i, i, i, i, i, i, i), Ref[str])
g.add("more8", take8, i, i, i, i, i, i, i, i, i)  # E: incompatible type|cannot be assigned|No overload
g.add("less8", take8, i, i, i, i, i, i, i)  # E: incompatible type|cannot be assigned
g.add("text8", take8, i, i, i, i, i, i, i, "x")  # E: incompatible type "str"|Literal\['x'\]
