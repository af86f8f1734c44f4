"""PTX, the code a GPU would be given, as LLVM text for a CPU: a function that runs one thread to its next barrier.

Only the instructions that this project's kernels use are known; any other raises NotImplementedError, so that a new one
is added knowingly. The semantics are those of the PTX ISA, for the rounding modes and types that appear.
"""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Iterator

import numpy as np

FINISHED, OUT_OF_BOUNDS = -1, -2

# What a thread reads of its place in the launch, 4 bytes each, at the start of its frame.
SPECIAL = [f"%{name}.{axis}" for name in ("tid", "ntid", "ctaid", "nctaid") for axis in "xyz"]
_FIRST_REGISTER = 64
# Most threads of a block, and threads of a warp.
_THREADS, _WARP = 1024, 32

_BINARY = {
    "add": ("add", "fadd"),
    "sub": ("sub", "fsub"),
    "mul": ("mul", "fmul"),
    "and": ("and", ""),
    "or": ("or", ""),
    "xor": ("xor", ""),
    "div": ("div", "fdiv"),
    "rem": ("rem", ""),
}
_COMPARE = {"eq": "oeq", "ne": "one", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}
_UNORDERED = {"equ": "ueq", "neu": "une", "ltu": "ult", "leu": "ule", "gtu": "ugt", "geu": "uge"}

_CHECK = """
define internal i1 @inside(ptr %ranges, i64 %address, i64 %size) {
entry:
  %count = load i64, ptr %ranges
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %more ]
  %left = icmp ult i64 %i, %count
  br i1 %left, label %test, label %outside
test:
  %at = mul i64 %i, 2
  %low_at = add i64 %at, 1
  %high_at = add i64 %at, 2
  %low_pointer = getelementptr i64, ptr %ranges, i64 %low_at
  %high_pointer = getelementptr i64, ptr %ranges, i64 %high_at
  %low = load i64, ptr %low_pointer
  %high = load i64, ptr %high_pointer
  %end = add i64 %address, %size
  %above = icmp uge i64 %address, %low
  %below = icmp ule i64 %end, %high
  %both = and i1 %above, %below
  br i1 %both, label %found, label %more
more:
  %next = add i64 %i, 1
  br label %loop
found:
  ret i1 true
outside:
  ret i1 false
}
declare float @llvm.fma.f32(float, float, float)
declare float @llvm.fabs.f32(float)
declare float @llvm.rint.f32(float)
declare i64 @llvm.fptosi.sat.i64.f32(float)
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)
declare i32 @llvm.smin.i32(i32, i32)
declare i32 @llvm.smax.i32(i32, i32)
declare i64 @llvm.abs.i64(i64, i1)
declare i32 @llvm.abs.i32(i32, i1)
declare i32 @llvm.ctpop.i32(i32)
declare i32 @llvm.ctlz.i32(i32, i1)
"""


def _bits(kind: str) -> int:
    return 1 if kind == "pred" else int(kind[1:])


def _llvm(kind: str) -> str:
    """The LLVM type of a PTX type, e.g. ``s32`` or ``f32``."""
    if kind[0] == "f":
        return {16: "half", 32: "float", 64: "double"}[_bits(kind)]
    return f"i{_bits(kind)}"


class Translation:
    """PTX text of one kernel -> LLVM text of ``i32 step(frame, parameters, ranges, resume)``."""

    def __init__(self, ptx: str) -> None:
        body = ptx[ptx.index("\n{") + 2 : ptx.rindex("}")]
        self.kinds: dict[str, str] = {}
        for kind, prefix, count in re.findall(r"\.reg \.(\w+)\s+(%\w+)<(\d+)>", body):
            self.kinds |= {f"{prefix}{i}": kind for i in range(int(count))}
        self.slots = {name: _FIRST_REGISTER + 8 * i for i, name in enumerate(self.kinds)}
        self.frame_size = _FIRST_REGISTER + 8 * len(self.slots)
        header = ptx[: ptx.index("\n{")]
        self.parameters = re.findall(r"\.param \.(\w+) (\w+)", header[header.index(".entry") :])
        self.memory: dict[str, np.ndarray] = {}
        self.shared: list[str] = []
        # The flag that each thread of a block brings to a ballot.
        self._votes = np.zeros(_THREADS, np.uint8)
        for space, name, size, values in re.findall(
            r"\.(shared|const) \.align \d+ \.b8 ([\w$]+)\[(\d+)\](?: = \{([^}]*)\})?;", header
        ):
            block = np.zeros(int(size) // 8 + 2, dtype=np.int64).view(np.uint8)[: int(size)]
            if values:
                given = np.array([int(value) for value in values.split(",")], dtype=np.uint8)
                block[: len(given)] = given
            self.memory[name] = block
            if space == "shared":
                self.shared.append(name)
        self.lines: list[str] = []
        self.barriers = 0
        self._counter = itertools.count()
        for line in body.splitlines():
            statement = line.strip()
            if statement and not statement.startswith((".", "//")):
                self._statement(statement)

    def text(self) -> str:
        resumes = "".join(f" i32 {i}, label %resume{i}" for i in range(1, self.barriers + 1))
        # The last block of the text follows a return: nothing reaches it.
        return (
            f"{_CHECK}\ndefine i32 @step(ptr %frame, ptr %parameters, ptr %ranges, i32 %resume) {{\n"
            f"  switch i32 %resume, label %start [{resumes} ]\nstart:\n"
            + "\n".join(self.lines)
            + "\n  unreachable\n}\n"
        )

    def parameter_layout(self) -> list[tuple[str, int]]:
        """(type, offset) of each parameter; 8 bytes each."""
        return [(kind, 8 * i) for i, (kind, _) in enumerate(self.parameters)]

    def _new(self) -> str:
        return f"%t{next(self._counter)}"

    def _emit(self, text: str) -> str:
        name = self._new()
        self.lines.append(f"  {name} = {text}")
        return name

    def _slot(self, offset: int) -> str:
        return self._emit(f"getelementptr i8, ptr %frame, i64 {offset}")

    def _read(self, operand: str, kind: str) -> str:
        """The value of an operand as the LLVM type of ``kind``."""
        if operand in self.kinds:
            stored = _llvm(self.kinds[operand])
            value = self._emit(f"load {stored}, ptr {self._slot(self.slots[operand])}")
            return self._convert_bits(value, stored, _llvm(kind))
        if operand in SPECIAL:
            return self._emit(f"load i32, ptr {self._slot(4 * SPECIAL.index(operand))}")
        if operand in self.memory:
            return str(self.memory[operand].ctypes.data)
        if operand.startswith("0f"):
            value = struct.unpack(">f", bytes.fromhex(operand[2:]))[0]
            if kind[0] != "f":
                return str(int(operand[2:], 16))
            return f"0x{struct.pack('>d', value).hex().upper()}"
        number = int(operand, 0)
        return ("true" if number else "false") if kind == "pred" else str(number)

    def _convert_bits(self, value: str, stored: str, wanted: str) -> str:
        if stored == wanted:
            return value
        width = {"half": 16, "float": 32, "double": 64}
        have = width.get(stored) or int(stored[1:])
        want = width.get(wanted) or int(wanted[1:])
        if have == want:
            return self._emit(f"bitcast {stored} {value} to {wanted}")
        if stored[0] != "i":
            value = self._emit(f"bitcast {stored} {value} to i{have}")
        value = self._emit(f"{'trunc' if have > want else 'zext'} i{have} {value} to i{want}")
        return value if wanted[0] == "i" else self._emit(f"bitcast i{want} {value} to {wanted}")

    def _write(self, register: str, value: str, kind: str, signed: bool = False) -> None:
        """Store a value of ``kind`` in a register, which may be wider."""
        stored = self.kinds[register]
        have, want = _llvm(kind), _llvm(stored)
        if have != want and _bits(kind) < _bits(stored):
            value = self._emit(f"{'sext' if signed else 'zext'} {have} {value} to {want}")
        elif have != want:
            value = self._convert_bits(value, have, want)
        self.lines.append(f"  store {want} {value}, ptr {self._slot(self.slots[register])}")

    def _statement(self, statement: str) -> None:
        if statement.endswith(":"):
            name = statement[:-1].replace("$", "")
            self.lines += [f"  br label %{name}", f"{name}:"]
            return
        guard = re.match(r"@(!?)(%p\d+) +", statement)
        if guard:
            assert statement[guard.end() :].startswith("bra"), statement
            target = statement.rstrip(";").split()[-1].replace("$", "")
            following = f"after{next(self._counter)}"
            taken, other = (following, target) if guard[1] else (target, following)
            condition = self._read(guard[2], "pred")
            self.lines += [f"  br i1 {condition}, label %{taken}, label %{other}", f"{following}:"]
            return
        operation, _, rest = statement.rstrip(";").partition(" ") if " " in statement else (statement[:-1], "", "")
        operation, _, tail = operation.partition("\t")
        operands = [part.strip() for part in re.split(r",(?![^\[]*\])", f"{tail} {rest}".strip()) if part.strip()]
        parts = operation.split(".")
        handler = getattr(self, f"_op_{parts[0]}", None)
        if handler is not None:
            handler(parts, operands)
        elif parts[0] in _BINARY:
            self._binary(parts, operands)
        else:
            raise NotImplementedError(statement)

    def _binary(self, parts: list[str], operands: list[str]) -> None:
        kind = parts[-1]
        if parts[1:-1] == ["wide"]:
            wide = f"{kind[0]}{2 * _bits(kind)}"
            extend = "sext" if kind[0] == "s" else "zext"
            narrow, broad = _llvm(kind), _llvm(wide)
            values = [
                self._emit(f"{extend} {narrow} {self._read(operand, kind)} to {broad}") for operand in operands[1:]
            ]
            self._write(operands[0], self._emit(f"mul {broad} {values[0]}, {values[1]}"), wide)
            return
        assert parts[1:-1] in ([], ["lo"], ["rn"]), parts
        names = _BINARY[parts[0]]
        name = names[1] if kind[0] == "f" else names[0]
        if name in ("div", "rem"):
            name = ("s" if kind[0] == "s" else "u") + name
        left, right = (self._read(operand, kind) for operand in operands[1:])
        self._write(operands[0], self._emit(f"{name} {_llvm(kind)} {left}, {right}"), kind)

    def _shift(self, name: str, kind: str, operands: list[str]) -> None:
        amount = self._read(operands[2], "u32")
        if _bits(kind) == 64:
            amount = amount if amount.isdigit() else self._emit(f"zext i32 {amount} to i64")
        value = self._read(operands[1], kind)
        self._write(operands[0], self._emit(f"{name} {_llvm(kind)} {value}, {amount}"), kind)

    def _op_shl(self, parts: list[str], operands: list[str]) -> None:
        self._shift("shl", parts[1], operands)

    def _op_shr(self, parts: list[str], operands: list[str]) -> None:
        self._shift("ashr" if parts[1][0] == "s" else "lshr", parts[1], operands)

    def _op_not(self, parts: list[str], operands: list[str]) -> None:
        value = self._read(operands[1], parts[1])
        self._write(operands[0], self._emit(f"xor {_llvm(parts[1])} {value}, -1"), parts[1])

    def _op_neg(self, parts: list[str], operands: list[str]) -> None:
        value, kind = self._read(operands[1], parts[-1]), _llvm(parts[-1])
        text = f"fneg {kind} {value}" if parts[-1][0] == "f" else f"sub {kind} 0, {value}"
        self._write(operands[0], self._emit(text), parts[-1])

    def _op_abs(self, parts: list[str], operands: list[str]) -> None:
        value, kind = self._read(operands[1], parts[-1]), _llvm(parts[-1])
        text = "@llvm.fabs.f32(float" if kind == "float" else f"@llvm.abs.{kind}({kind}"
        suffix = ")" if kind == "float" else ", i1 false)"
        self._write(operands[0], self._emit(f"call {kind} {text} {value}{suffix}"), parts[-1])

    def _extreme(self, parts: list[str], operands: list[str]) -> None:
        kind = _llvm(parts[1])
        assert parts[1][0] == "s", parts
        left, right = (self._read(operand, parts[1]) for operand in operands[1:])
        self._write(
            operands[0], self._emit(f"call {kind} @llvm.s{parts[0]}.{kind}({kind} {left}, {kind} {right})"), parts[1]
        )

    _op_min = _op_max = _extreme

    def _op_fma(self, parts: list[str], operands: list[str]) -> None:
        values = ", ".join(f"float {self._read(operand, 'f32')}" for operand in operands[1:])
        assert parts == ["fma", "rn", "f32"], parts
        self._write(operands[0], self._emit(f"call float @llvm.fma.f32({values})"), "f32")

    def _op_mad(self, parts: list[str], operands: list[str]) -> None:
        assert parts[1] == "lo", parts
        kind = parts[2]
        first, second, third = (self._read(operand, kind) for operand in operands[1:])
        product = self._emit(f"mul {_llvm(kind)} {first}, {second}")
        self._write(operands[0], self._emit(f"add {_llvm(kind)} {product}, {third}"), kind)

    def _op_setp(self, parts: list[str], operands: list[str]) -> None:
        assert len(parts) == 3, parts
        compare, kind = parts[1:]
        left, right = (self._read(operand, kind) for operand in operands[1:])
        if kind[0] == "f":
            text = f"fcmp {(_COMPARE | _UNORDERED)[compare]}"
        else:
            sign = "" if compare in ("eq", "ne") else ("s" if kind[0] == "s" else "u")
            text = f"icmp {sign}{compare}"
        self._write(operands[0], self._emit(f"{text} {_llvm(kind)} {left}, {right}"), "pred")

    def _op_selp(self, parts: list[str], operands: list[str]) -> None:
        kind = _llvm(parts[1])
        left, right = (self._read(operand, parts[1]) for operand in operands[1:3])
        condition = self._read(operands[3], "pred")
        self._write(operands[0], self._emit(f"select i1 {condition}, {kind} {left}, {kind} {right}"), parts[1])

    def _op_mov(self, parts: list[str], operands: list[str]) -> None:
        self._write(operands[0], self._read(operands[1], parts[1]), parts[1])

    def _op_cvta(self, parts: list[str], operands: list[str]) -> None:
        self._write(operands[0], self._read(operands[1], "u64"), "u64")

    def _op_cvt(self, parts: list[str], operands: list[str]) -> None:
        *mode, to, origin = parts[1:]
        value = self._read(operands[1], origin)
        have, want = _llvm(origin), _llvm(to)
        if to[0] == "f" and origin[0] == "f":
            if mode == ["rni"]:
                value = self._emit(f"call float @llvm.rint.f32(float {value})")
            elif have != want:
                value = self._emit(f"{'fpext' if _bits(to) > _bits(origin) else 'fptrunc'} {have} {value} to {want}")
        elif to[0] == "f":
            value = self._emit(f"{'sitofp' if origin[0] == 's' else 'uitofp'} {have} {value} to {want}")
        elif origin[0] == "f":
            assert (mode, to, origin) == (["rzi"], "s64", "f32"), parts
            value = self._emit(f"call i64 @llvm.fptosi.sat.i64.f32(float {value})")
        elif _bits(to) > _bits(origin):
            value = self._emit(f"{'sext' if origin[0] == 's' else 'zext'} {have} {value} to {want}")
        else:
            value = self._convert_bits(value, have, want)
        self._write(operands[0], value, to, signed=to[0] == "s")

    def _address(self, operand: str) -> str:
        base, _, offset = operand[1:-1].partition("+")
        address = self._read(base, "u64")
        return self._emit(f"add i64 {address}, {offset or 0}")

    def _checked(self, address: str, size: int) -> str:
        fine, bad = f"fine{next(self._counter)}", f"bad{next(self._counter)}"
        inside = self._emit(f"call i1 @inside(ptr %ranges, i64 {address}, i64 {size})")
        self.lines += [
            f"  br i1 {inside}, label %{fine}, label %{bad}",
            f"{bad}:",
            f"  ret i32 {OUT_OF_BOUNDS}",
            f"{fine}:",
        ]
        return self._emit(f"inttoptr i64 {address} to ptr")

    def _op_ld(self, parts: list[str], operands: list[str]) -> None:
        space, kind = parts[1], parts[-1]
        if space == "param":
            name, _, offset = operands[1][1:-1].partition("+")
            index = [parameter for _, parameter in self.parameters].index(name)
            pointer = self._emit(f"getelementptr i8, ptr %parameters, i64 {8 * index + int(offset or 0)}")
        else:
            pointer = self._checked(self._address(operands[1]), _bits(kind) // 8)
        value = self._emit(f"load {_llvm(kind)}, ptr {pointer}, align 1")
        self._write(operands[0], value, kind, signed=kind[0] == "s")

    def _op_st(self, parts: list[str], operands: list[str]) -> None:
        kind = parts[-1]
        value = self._read(operands[1], kind)
        pointer = self._checked(self._address(operands[0]), _bits(kind) // 8)
        self.lines.append(f"  store {_llvm(kind)} {value}, ptr {pointer}, align 1")

    def _op_popc(self, parts: list[str], operands: list[str]) -> None:
        assert parts == ["popc", "b32"], parts
        self._write(operands[0], self._emit(f"call i32 @llvm.ctpop.i32(i32 {self._read(operands[1], 'b32')})"), "b32")

    def _op_clz(self, parts: list[str], operands: list[str]) -> None:
        assert parts == ["clz", "b32"], parts
        value = self._read(operands[1], "b32")
        self._write(operands[0], self._emit(f"call i32 @llvm.ctlz.i32(i32 {value}, i1 false)"), "b32")

    def _op_bfi(self, parts: list[str], operands: list[str]) -> None:
        """The lowest bits of the second operand in place of as many bits of the third."""
        kind, (at, count) = parts[1], (int(operand) for operand in operands[3:])
        mask = ((1 << count) - 1) << at
        inserted, value = (self._read(operand, kind) for operand in operands[1:3])
        inserted = self._emit(f"and {_llvm(kind)} {self._emit(f'shl {_llvm(kind)} {inserted}, {at}')}, {mask}")
        value = self._emit(f"and {_llvm(kind)} {value}, {(1 << _bits(kind)) - 1 - mask}")
        self._write(operands[0], self._emit(f"or {_llvm(kind)} {value}, {inserted}"), kind)

    def _op_prmt(self, parts: list[str], operands: list[str]) -> None:
        """Four bytes of the two operands, as the four digits of the last operand number them."""
        assert parts == ["prmt", "b32"], parts
        low, high = (self._emit(f"zext i32 {self._read(operand, 'b32')} to i64") for operand in operands[1:3])
        pair = self._emit(f"or i64 {low}, {self._emit(f'shl i64 {high}, 32')}")
        value = "0"
        for place in range(4):
            digit = int(operands[3], 0) >> 4 * place & 15
            assert digit < 8, operands
            byte = self._emit(f"and i64 {self._emit(f'lshr i64 {pair}, {8 * digit}')}, 255")
            value = self._emit(f"or i64 {value}, {self._emit(f'shl i64 {byte}, {8 * place}')}")
        self._write(operands[0], self._emit(f"trunc i64 {value} to i32"), "b32")

    def _op_vote(self, parts: list[str], operands: list[str]) -> None:
        """The flags of a thread's warp: every thread leaves its own, waits, reads all, and waits for the others to."""
        assert parts == ["vote", "sync", "ballot", "b32"], parts
        thread = self._emit(f"zext i32 {self._read('%tid.x', 'u32')} to i64")
        place = self._emit(f"add i64 {thread}, {self._votes.ctypes.data}")
        flag = self._emit(f"zext i1 {self._read(operands[1], 'pred')} to i8")
        self.lines.append(f"  store i8 {flag}, ptr {self._emit(f'inttoptr i64 {place} to ptr')}")
        self._op_bar(parts, operands)
        thread = self._emit(f"zext i32 {self._read('%tid.x', 'u32')} to i64")
        first = self._emit(f"and i64 {thread}, {_THREADS - _WARP}")
        place = self._emit(f"add i64 {first}, {self._votes.ctypes.data}")
        pointer = self._emit(f"inttoptr i64 {place} to ptr")
        flags = self._emit(f"load <{_WARP} x i8>, ptr {pointer}, align 1")
        flags = self._emit(f"icmp ne <{_WARP} x i8> {flags}, zeroinitializer")
        self._write(operands[0], self._emit(f"bitcast <{_WARP} x i1> {flags} to i32"), "b32")
        self._op_bar(parts, operands)

    def _op_atom(self, parts: list[str], operands: list[str]) -> None:
        kind = parts[-1]
        (operation,) = {"add", "min"}.intersection(parts)
        assert operation == "add" or kind[0] == "s", parts
        value = self._read(operands[2], kind)
        pointer = self._checked(self._address(operands[1]), _bits(kind) // 8)
        self._write(
            operands[0], self._emit(f"atomicrmw {operation} ptr {pointer}, {_llvm(kind)} {value} seq_cst"), kind
        )

    def _op_red(self, parts: list[str], operands: list[str]) -> None:
        kind = parts[-1]
        assert "add" in parts, parts
        value = self._read(operands[1], kind)
        pointer = self._checked(self._address(operands[0]), _bits(kind) // 8)
        self._emit(f"atomicrmw add ptr {pointer}, {_llvm(kind)} {value} seq_cst")

    def _op_bra(self, parts: list[str], operands: list[str]) -> None:
        self.lines += [f"  br label %{operands[0].replace('$', '')}", f"after{next(self._counter)}:"]

    def _op_bar(self, parts: list[str], operands: list[str]) -> None:
        self.barriers += 1
        self.lines += [f"  ret i32 {self.barriers}", f"resume{self.barriers}:"]

    def _op_ret(self, parts: list[str], operands: list[str]) -> None:
        self.lines += [f"  ret i32 {FINISHED}", f"after{next(self._counter)}:"]


def instructions(ptx: str) -> Iterator[str]:
    """The name of each instruction, e.g. ``fma.rn.f32``."""
    for line in ptx[ptx.index("\n{") :].splitlines():
        found = re.match(r"\s*(?:@!?%p\d+\s+)?([a-z][\w.]*)\s", line)
        if found:
            yield found[1]
