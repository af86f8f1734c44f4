"""Sixteen lanes at a time: the vector values that the CPU kernels compute with.

Left to LLVM's loop vectoriser, the loops of a kernel are guarded by overlap tests, the ends of rows stay scalar, and
compiling takes long. Here 16 lanes are a Numba type of their own, and each operation is one LLVM instruction on
``<16 x float>``, ``<16 x i32>`` or ``<16 x i1>``. LLVM splits them into what the processor has (one AVX-512 register,
two of AVX2, four of SSE or NEON), so one source serves all. Memory is in :mod:`wavestream.kernels.cpu.memory`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic, models, register_model

LANES = 16
INT32, FLOAT32 = ir.IntType(32), ir.FloatType()


class Lanes(types.Type):
    """Sixteen values of one kind: ``float32``, ``int32`` (unsigned bits, too) or ``mask``."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(name=f"Lanes({kind})")


def vector(element: ir.Type) -> ir.VectorType:
    """LLVM's type of 16 elements."""
    return ir.VectorType(element, LANES)


def constants(values: list[int]) -> ir.Constant:
    """A vector of int32 constants."""
    return ir.Constant(ir.VectorType(INT32, len(values)), values)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: Lanes) -> None:
        element = {"float32": FLOAT32, "int32": INT32, "mask": ir.IntType(1)}[lanes.kind]
        super().__init__(manager, lanes, vector(element))


FLOATS, INTEGERS, MASK = Lanes("float32"), Lanes("int32"), Lanes("mask")
_Emit = Callable[..., ir.Value]


def call(builder: ir.IRBuilder, name: str, result: ir.Type, *arguments: ir.Value) -> ir.Value:
    """Call LLVM's intrinsic function ``name``."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def splat(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """A vector with ``value`` in every lane."""
    empty = ir.Constant(vector(value.type), ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(INT32, 0))
    return builder.shuffle_vector(first, empty, constants([0] * LANES))


def _operation(emit: _Emit, *signatures: tuple[Any, ...]) -> Any:
    """The Numba function that compiles to what ``emit(builder, *values)`` builds.

    A signature is the type of the result, then those of the arguments.
    """

    def typed(given: tuple[Any, ...]) -> Any:
        for result, *arguments in signatures:
            if given == tuple(arguments):
                return result(*arguments), lambda context, builder, signature, values: emit(builder, *values)
        raise TypingError(f"expected one of {signatures}, got {given}")

    def one(typingctx, a):
        return typed((a,))

    def two(typingctx, a, b):
        return typed((a, b))

    def three(typingctx, a, b, c):
        return typed((a, b, c))

    return intrinsic((one, two, three)[len(signatures[0]) - 2])


def _either(for_floats: str, for_integers: str) -> _Emit:
    """LLVM's elementwise intrinsic function of that name, of the type of its first argument."""

    def emit(builder: ir.IRBuilder, *values: ir.Value) -> ir.Value:
        floats = values[0].type.element == FLOAT32
        name = f"llvm.{for_floats}.v{LANES}f32" if floats else f"llvm.{for_integers}.v{LANES}i32"
        return call(builder, name, values[0].type, *values)

    return emit


def _intrinsic(name: str) -> _Emit:
    return _either(name, name)


def _shuffle(*indices: int) -> _Emit:
    def emit(builder: ir.IRBuilder, first: ir.Value, second: ir.Value) -> ir.Value:
        return builder.shuffle_vector(first, second, constants(list(indices)))

    return emit


def _magnitude(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    return builder.and_(builder.bitcast(value, vector(INT32)), constants([0x7FFFFFFF] * LANES))


def _absolute(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    return call(builder, f"llvm.abs.v{LANES}i32", value.type, value, ir.Constant(ir.IntType(1), 0))


def _compress(builder: ir.IRBuilder, value: ir.Value, mask: ir.Value) -> ir.Value:
    name = f"llvm.experimental.vector.compress.v{LANES}i32"
    return call(builder, name, value.type, value, mask, ir.Constant(value.type, ir.Undefined))


def _count(builder: ir.IRBuilder, mask: ir.Value) -> ir.Value:
    bits = builder.bitcast(mask, ir.IntType(LANES))
    return builder.zext(call(builder, f"llvm.ctpop.i{LANES}", bits.type, bits), ir.IntType(64))


def _any(builder: ir.IRBuilder, mask: ir.Value) -> ir.Value:
    bits = builder.bitcast(mask, ir.IntType(LANES))
    return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))


def _largest_lane(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    return call(builder, f"llvm.vector.reduce.umax.v{LANES}i32", INT32, value)


def _only(builder: ir.IRBuilder, mask: ir.Value, value: ir.Value) -> ir.Value:
    return builder.select(mask, value, ir.Constant(value.type, None))


def _shift_right(builder: ir.IRBuilder, value: ir.Value, by: ir.Value) -> ir.Value:
    return builder.ashr(value, splat(builder, builder.trunc(by, INT32)))


def _shift_right_bits(builder: ir.IRBuilder, value: ir.Value, by: ir.Value) -> ir.Value:
    return builder.lshr(value, splat(builder, builder.trunc(by, INT32)))


def _shift_left(builder: ir.IRBuilder, value: ir.Value, by: ir.Value) -> ir.Value:
    return builder.shl(value, splat(builder, builder.trunc(by, INT32)))


_FLOATS_2, _INTEGERS_2 = (FLOATS,) * 3, (INTEGERS,) * 3

fill = _operation(splat, (FLOATS, types.float32), (INTEGERS, types.int32), (INTEGERS, types.uint32))
add = _operation(lambda b, x, y: b.add(x, y), _INTEGERS_2)
subtract = _operation(lambda b, x, y: b.sub(x, y), _INTEGERS_2)
multiply_integers = _operation(lambda b, x, y: b.mul(x, y), _INTEGERS_2)
both = _operation(lambda b, x, y: b.and_(x, y), _INTEGERS_2)
shift_left = _operation(_shift_left, (INTEGERS, INTEGERS, types.int64))
# Of the bits as an unsigned number.
shift_right_bits = _operation(_shift_right_bits, (INTEGERS, INTEGERS, types.int64))
shift_right = _operation(_shift_right, (INTEGERS, INTEGERS, types.int64))
absolute = _operation(_absolute, (INTEGERS, INTEGERS))
multiply = _operation(lambda b, x, y: b.fmul(x, y), _FLOATS_2)
multiply_add = _operation(_intrinsic("fmuladd"), (FLOATS,) * 4)

# Signed integers, and floats where neither is NaN.
smallest = _operation(_either("minnum", "smin"), _FLOATS_2, _INTEGERS_2)
largest = _operation(_either("maxnum", "smax"), _FLOATS_2, _INTEGERS_2)
# The nearest integer, halves to even, still as float32.
round_half_even = _operation(_intrinsic("rint"), (FLOATS, FLOATS))
to_integers = _operation(lambda b, x: b.fptosi(x, vector(INT32)), (INTEGERS, FLOATS))
to_floats = _operation(lambda b, x: b.sitofp(x, vector(FLOAT32)), (FLOATS, INTEGERS))

# The bits of magnitudes sort like the numbers, as unsigned integers.
magnitude_bits = _operation(_magnitude, (INTEGERS, FLOATS))
largest_bits = _operation(_intrinsic("umax"), _INTEGERS_2)
at_least = _operation(lambda b, x, y: b.icmp_unsigned(">=", x, y), (MASK, INTEGERS, INTEGERS))

# The largest lane, as an unsigned number.
largest_lane = _operation(_largest_lane, (types.uint32, INTEGERS))
any_of = _operation(_any, (types.boolean, MASK))
count_of = _operation(_count, (types.int64, MASK))
# The lanes of a mask, 0 elsewhere.
only = _operation(_only, (FLOATS, MASK, FLOATS), (INTEGERS, MASK, INTEGERS))
# The lanes of the first where the mask is set, of the second elsewhere.
chosen = _operation(lambda b, m, x, y: b.select(m, x, y), (INTEGERS, MASK, INTEGERS, INTEGERS))
# The lanes of a mask, moved together to the front; what follows them is undefined.
compress = _operation(_compress, (INTEGERS, INTEGERS, MASK))

# The even and odd samples of 32 neighbours; and back, the first and the last 16 neighbours.
evens = _operation(_shuffle(*range(0, 2 * LANES, 2)), _FLOATS_2, _INTEGERS_2)
odds = _operation(_shuffle(*range(1, 2 * LANES, 2)), _FLOATS_2, _INTEGERS_2)
zip_low = _operation(_shuffle(*(k // 2 + LANES * (k % 2) for k in range(LANES))), _FLOATS_2, _INTEGERS_2)
zip_high = _operation(_shuffle(*((LANES + k) // 2 + LANES * (k % 2) for k in range(LANES))), _FLOATS_2, _INTEGERS_2)
# Each lane's neighbour before it: the last lane of the first vector, then all but the last of the second.
shift_in = _operation(_shuffle(*range(LANES - 1, 2 * LANES - 1)), _FLOATS_2, _INTEGERS_2)


# slide_3(a, b): the last 13 lanes of a, then the first 3 of b.
SLIDES = {f"slide_{by}": _operation(_shuffle(*range(by, by + LANES)), _FLOATS_2) for by in range(1, LANES)}


@intrinsic
def first_only(typingctx, lanes, count):
    """The first ``count`` lanes (all from 16 up), 0 in the others."""

    def generate(context, builder, signature, arguments):
        value, several = arguments
        result = cgutils.alloca_once_value(builder, value)
        with builder.if_then(builder.icmp_signed("<", several, ir.Constant(several.type, LANES)), likely=False):
            narrow = builder.trunc(several, INT32)
            inside = builder.icmp_signed("<", constants(list(range(LANES))), splat(builder, narrow))
            builder.store(builder.select(inside, value, ir.Constant(value.type, None)), result)
        return builder.load(result)

    return lanes(lanes, types.int64), generate
