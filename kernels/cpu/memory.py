"""Reading and writing 16 lanes: through pointers, which know no bounds, no wrap-around and no reference counts.

From float32 memory lanes are read as float32, from integer memory of any width as int32. ``*_first`` functions touch
only the first ``count`` lanes (all from 16 up, none from 0 down), so that the end of a row is no special case.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from wavestream.kernels.cpu.lanes import FLOATS, INT32, INTEGERS, LANES, call, constants, splat, vector

# How many rows before its use a row of an image is asked for: four row pairs, more than the latency of main memory.
ROWS_AHEAD = 8


def _lanes_of(pointer: Any) -> Any:
    if not isinstance(pointer, types.CPointer):
        raise TypingError(f"expected a pointer, got {pointer}")
    return FLOATS if pointer.dtype == types.float32 else INTEGERS


def _address(builder: ir.IRBuilder, pointer: ir.Value, index: ir.Value) -> ir.Value:
    place = builder.gep(pointer, [index])
    return builder.bitcast(place, vector(place.type.pointee).as_pointer())


def _alignment(pointer: Any) -> int:
    return int(pointer.dtype.bitwidth) // 8


def _masked(what: str, pointer: Any) -> str:
    kind = "f" if pointer.dtype == types.float32 else "i"
    return f"llvm.masked.{what}.v{LANES}{kind}{pointer.dtype.bitwidth}.p0"


def _first(builder: ir.IRBuilder, count: ir.Value) -> ir.Value:
    """The mask of the first ``count`` lanes, ``count`` below 16."""
    return builder.icmp_signed("<", constants(list(range(LANES))), splat(builder, builder.trunc(count, INT32)))


def _is_whole(builder: ir.IRBuilder, count: ir.Value) -> ir.Value:
    return builder.icmp_signed(">=", count, ir.Constant(count.type, LANES))


def _widened(builder: ir.IRBuilder, pointer: Any, value: ir.Value) -> ir.Value:
    if value.type.element.intrinsic_name in ("f32", "i32"):
        return value
    return (builder.sext if pointer.dtype.signed else builder.zext)(value, vector(INT32))


def _narrowed(builder: ir.IRBuilder, address: ir.Value, value: ir.Value) -> ir.Value:
    wanted = address.type.pointee
    return value if value.type == wanted else builder.trunc(value, wanted)


@intrinsic
def pointer_to(typingctx, array):
    """A pointer to the first element of an array, which the caller keeps alive."""

    def generate(context, builder, signature, arguments):
        return context.make_array(array)(context, builder, arguments[0]).data

    return types.CPointer(array.dtype)(array), generate


@intrinsic
def advance(typingctx, pointer, offset):
    """The pointer ``offset`` elements further on."""

    def generate(context, builder, signature, arguments):
        return builder.gep(arguments[0], [arguments[1]])

    return pointer(pointer, types.int64), generate


@intrinsic
def load(typingctx, pointer, index):
    """``pointer[index : index + 16]``."""

    def generate(context, builder, signature, arguments):
        value = builder.load(_address(builder, *arguments), align=_alignment(pointer))
        return _widened(builder, pointer, value)

    return _lanes_of(pointer)(pointer, types.int64), generate


@intrinsic
def load_first(typingctx, pointer, index, count):
    """``pointer[index : index + count]`` in the first ``count`` lanes, 0 in the others."""

    def generate(context, builder, signature, arguments):
        address = _address(builder, arguments[0], arguments[1])
        narrow, align = address.type.pointee, _alignment(pointer)
        result = cgutils.alloca_once(builder, narrow)
        with builder.if_else(_is_whole(builder, arguments[2]), likely=True) as (whole, part):
            with whole:
                builder.store(builder.load(address, align=align), result)
            with part:
                mask, zero = _first(builder, arguments[2]), ir.Constant(narrow, None)
                name = _masked("load", pointer)
                builder.store(call(builder, name, narrow, address, ir.Constant(INT32, align), mask, zero), result)
        return _widened(builder, pointer, builder.load(result))

    return _lanes_of(pointer)(pointer, types.int64, types.int64), generate


@intrinsic
def store(typingctx, pointer, index, lanes):
    """``pointer[index : index + 16] = lanes``, integers cut to the width of the memory's."""

    def generate(context, builder, signature, arguments):
        address = _address(builder, arguments[0], arguments[1])
        builder.store(_narrowed(builder, address, arguments[2]), address, align=_alignment(pointer))
        return context.get_dummy_value()

    return types.void(pointer, types.int64, lanes), generate


@intrinsic
def store_first(typingctx, pointer, index, lanes, count):
    """``pointer[index : index + count] = lanes[:count]``, integers cut to the width of the memory's."""

    def generate(context, builder, signature, arguments):
        address, align = _address(builder, arguments[0], arguments[1]), _alignment(pointer)
        value = _narrowed(builder, address, arguments[2])
        with builder.if_else(_is_whole(builder, arguments[3]), likely=True) as (whole, part):
            with whole:
                builder.store(value, address, align=align)
            with part:
                mask = _first(builder, arguments[3])
                name = _masked("store", pointer)
                call(builder, name, ir.VoidType(), value, address, ir.Constant(INT32, align), mask)
        return context.get_dummy_value()

    return types.void(pointer, types.int64, lanes, types.int64), generate


@intrinsic
def prefetch(typingctx, pointer, index):
    """Ask for the cache line of ``pointer[index]``, to be read or written soon; a wrong address does no harm."""

    def generate(context, builder, signature, arguments):
        place = builder.gep(arguments[0], [arguments[1]])
        # To be read (0), into the second-level cache (2: rows ahead would fill the first), and data (1).
        flags = [ir.Constant(INT32, flag) for flag in (0, 2, 1)]
        call(builder, "llvm.prefetch.p0", ir.VoidType(), place, *flags)
        return context.get_dummy_value()

    return types.void(pointer, types.int64), generate


@intrinsic
def take_next(typingctx, counter):
    """The number that ``counter[0]`` (int64) held; it is counted up at once, so that each goes to one thread."""

    def generate(context, builder, signature, arguments):
        return builder.atomic_rmw("add", arguments[0], ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(types.CPointer(types.int64)), generate
