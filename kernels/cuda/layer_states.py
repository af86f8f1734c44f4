"""Reading symbols on the device: interleaved rANS states in groups (``docs/format.md``, section 5; arXiv:1311.2540).

Thread ``i`` of a block holds the states ``i``, ``i + threads``, ... in shared memory, which no other thread touches;
where a block has as many threads as a stream has states, or more, each loop over them is run once. The threads pass
nothing on to one another but which of them need a word (:mod:`wavestream.kernels.cuda.layer_ranks`): all know the
place of the next word, so all notice together when a stream has ended.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

from numba import cuda, int32, int64, uint32, uint64

from wavestream.kernels.cuda.layer_contexts import block_context
from wavestream.kernels.cuda.layer_plan import BLOCKS, WIDE
from wavestream.kernels.cuda.layer_ranks import ranks_of
from wavestream.kernels.layers import BITS_OF_RANGE, BLOCK, FIRST_OF_RANGE, LOWEST_STATE, PRECISION, TOKENS

# An entry of a row's list: the column and the context of the sign, shifted by these, and the context.
COLUMN_SHIFT, SIGN_SHIFT = 12, 8
_CONTEXT_MASK, _SIGN_MASK = (1 << SIGN_SHIFT) - 1, (1 << (COLUMN_SHIFT - SIGN_SHIFT)) - 1

# The phases of a group after the tokens.
SHIFT_BITS, RANGE_BITS, UPPER_BITS = range(3)
LONG_BITS = BITS_OF_RANGE[2] // 2

_WHOLE, _SLOT, _HALF = 1 << PRECISION, (1 << PRECISION) - 1, 1 << (PRECISION - 1)
_PLAIN_TOKENS, _LONGEST = FIRST_OF_RANGE[0], TOKENS - 1
_FIRST, _SECOND, _THIRD = FIRST_OF_RANGE
_FEW, _SOME = BITS_OF_RANGE[:2]


@cuda.jit(device=True)
def word_at(data, first, index):
    """The 16-bit word number ``index`` of those that begin at ``data[first]``."""
    byte = first + 2 * index
    return int64(data[uint64(byte)]) | (int64(data[uint64(byte + 1)]) << 8)


@cuda.jit(device=True)
def token_at(starts, context, slot):
    """The token of a context whose range holds ``slot``: in two steps of three loads that do not wait for another."""
    place = TOKENS * context
    quarters = int64(starts[place + 4] <= slot) + int64(starts[place + 8] <= slot) + int64(starts[place + 12] <= slot)
    place += 4 * quarters
    rest = int64(starts[place + 1] <= slot) + int64(starts[place + 2] <= slot) + int64(starts[place + 3] <= slot)
    return 4 * quarters + rest


@cuda.jit(device=True)
def range_of(starts, context, token):
    """Where a token's range begins, and its frequency."""
    place = TOKENS * context + token
    start = int64(starts[place])
    following = int64(starts[place + 1]) if token < _LONGEST else int64(_WHOLE)
    return start, following - start


@cuda.jit(device=True)
def take_token(starts, context, state):
    """The next token of a state; returns it, and the state, which may have run low."""
    slot = state & _SLOT
    token = token_at(starts, context, slot)
    start, share = range_of(starts, context, token)
    return token, share * (state >> PRECISION) + slot - start


@cuda.jit(device=True)
def take_signed_token(starts, context, sign_context, state):
    """The next token of a state and, if it is not 0, its sign: twice the token, one more if negative; and the state."""
    slot = state & _SLOT
    token = token_at(starts, context, slot)
    start, share = range_of(starts, context, token)
    over, negative = slot - start, int64(0)
    if token > 0:
        # What is positive begins the token's range; its own frequency is where the other sign begins.
        positive = int64(starts[TOKENS * sign_context + 1])
        split = min(max((share * positive + _HALF) >> PRECISION, int64(1)), share - 1)
        if over < split:
            share = split
        else:
            over -= split
            share -= split
            negative = int64(1)
    return 2 * token + negative, share * (state >> PRECISION) + over


@cuda.jit(device=True)
def renewed(state, words, at):
    """A state with the next word taken in if it has run low, and the number of the word after; -1 at the end."""
    if state >= LOWEST_STATE:
        return state, at
    if at >= words.count:
        return state, int64(-1)
    return (state << 16) | word_at(words.data, words.first, at), at + 1


@cuda.jit(device=True)
def raw_bits(phase, token, shift):
    """How many raw bits a value with this token has in a phase after the tokens."""
    if phase == SHIFT_BITS:
        return shift if token > 0 else int64(0)
    if phase == UPPER_BITS:
        return int64(LONG_BITS if token == _LONGEST else 0)
    if token <= _PLAIN_TOKENS:
        return int64(0)
    return int64(_FEW if token == _PLAIN_TOKENS + 1 else (_SOME if token == _PLAIN_TOKENS + 2 else LONG_BITS))


@cuda.jit(device=True)
def value_of(token, shift, low, more):
    """A value above 0 from its token, the bits of its shift, and those of its range."""
    upper = token - 1
    if token > _PLAIN_TOKENS:
        first = _FIRST if token == _PLAIN_TOKENS + 1 else (_SECOND if token == _PLAIN_TOKENS + 2 else _THIRD)
        upper = first + more
    return 1 + (upper << shift) + low


@cuda.jit(device=True)
def has_raw_bits(symbol, shift):
    """Whether raw bits follow the token and sign of a coefficient."""
    return symbol > 1 and (shift > 0 or symbol >> 1 > _PLAIN_TOKENS)


@cuda.jit(device=True)
def put(image, entry, symbol, magnitude, highest, row, place, across):
    """Write a coefficient to its places; returns whether it is too large, and was not written."""
    if magnitude > highest:
        return True
    column = entry >> COLUMN_SHIFT
    signed = int32(-magnitude if symbol & 1 == 1 else magnitude)
    image.planes[uint64(row + column)] = signed
    image.packed[uint64(place + column * across)] = signed
    return False


@cache
def state_functions(threads: int) -> SimpleNamespace:
    """Device functions for a block of ``threads`` threads, all of which have to call them together.

    ``take_flags`` and ``take_coefficients`` read one group of ``count`` symbols; word number ``at`` is the next one.
    They return the number after those that they took; beyond the last one nothing is read. ``anyone`` tells whether
    the flag of any thread is set.
    """
    ranks = ranks_of(threads)

    @cuda.jit(device=True)
    def anyone(flag, marks):
        _, total = ranks(flag, marks)
        return total > 0

    @cuda.jit(device=True)
    def renew(group, lane, used, state, words, at):
        """Keep the state of a lane that was ``used``, and take a word into it if it has run low."""
        low = used and state < LOWEST_STATE
        before, total = ranks(low, group.marks)
        if low and at + before < words.count:
            state = (state << 16) | word_at(words.data, words.first, at + before)
        if used:
            group.states[lane] = uint32(state)
        return at + total

    @cuda.jit(device=True)
    def take_flags(group, words, at, image, part, parent, top, first, count, above, flags):
        """The flags of ``count`` blocks from block ``first`` on of the row of blocks that begins with row ``top``.

        ``image.lines[above]`` holds the flags of the row of blocks above, with 0 before and after; those of this one
        go to ``image.lines[flags]``. Blocks with a flag become active. Returns the next word, and whether this thread
        had a flag.
        """
        across = (image.parts[part, WIDE] + BLOCK - 1) // BLOCK
        row = image.block + image.parts[part, BLOCKS] + top // BLOCK * across
        some, base = False, int64(0)
        while base < count:
            lane, state = base + cuda.threadIdx.x, int64(0)
            used = lane < count
            if used:
                block = first + lane
                flagged = int64(image.lines[uint64(above + block)]) + int64(image.lines[uint64(above + block + 1)])
                flagged += int64(image.lines[uint64(above + block + 2)])
                context = block_context(image, part, parent, top, block, flagged)
                flag, state = take_token(group.starts, context, int64(group.states[lane]))
                image.lines[uint64(flags + block + 1)] = int32(flag)
                if flag != 0:
                    some = True
                    image.active[uint64(row + block)] = 1
            at = renew(group, lane, used, state, words, at)
            base += threads
        return at, some

    @cuda.jit(device=True)
    def take_raw(phase, group, words, at, image, entries, count):
        """The raw bits of a group's symbols in one phase; returns the next word."""
        base = int64(0)
        while base < count:
            lane, state, bits = base + cuda.threadIdx.x, int64(0), int64(0)
            if lane < count:
                context = int64(image.lines[uint64(entries + lane)]) & _CONTEXT_MASK
                bits = raw_bits(phase, int64(group.symbols[lane]) >> 1, int64(group.shifts[context]))
            if bits > 0:
                state = int64(group.states[lane])
                value = int32(state & ((1 << bits) - 1))
                state = state >> bits
                if phase == SHIFT_BITS:
                    group.lows[lane] = value
                elif phase == RANGE_BITS:
                    group.mores[lane] = value
                else:
                    group.mores[lane] |= value << LONG_BITS
            at = renew(group, lane, bits > 0, state, words, at)
            base += threads
        return at

    @cuda.jit(device=True)
    def take_coefficients(
        group, words, at, image, entries, count, first_sign, lowest, highest, row, place, across
    ):  # fmt: skip
        """The coefficients of ``count`` entries from ``image.lines[entries]`` on.

        Those that are not 0 go to ``image.planes[row:]`` and to ``image.packed[place:]``, whose columns are ``across``
        apart. Returns the next word, and whether this thread had one above ``highest``.
        """
        unfinished, ranged, wrong, base = False, False, False, int64(0)
        below = max(lowest - 1, int64(0))
        while base < count:
            lane, state = base + cuda.threadIdx.x, int64(0)
            used = lane < count
            if used:
                entry = int64(image.lines[uint64(entries + lane)])
                context, sign = entry & _CONTEXT_MASK, (entry >> SIGN_SHIFT) & _SIGN_MASK
                symbol, state = take_signed_token(
                    group.starts, context, first_sign + sign, int64(group.states[lane])
                )  # fmt: skip
                group.symbols[lane] = int32(symbol)
                group.lows[lane] = 0
                if has_raw_bits(symbol, group.shifts[context]):
                    unfinished = True
                    ranged = ranged or symbol >> 1 > _PLAIN_TOKENS
                elif symbol > 1:
                    wrong = put(image, entry, symbol, (symbol >> 1) + below, highest, row, place, across) or wrong
            at = renew(group, lane, used, state, words, at)
            base += threads
        if not anyone(unfinished, group.marks):
            return at, wrong
        phase, last = int64(SHIFT_BITS), int64(UPPER_BITS if anyone(ranged, group.marks) else SHIFT_BITS)
        while phase <= last:
            at = take_raw(phase, group, words, at, image, entries, count)
            phase += 1
        lane = int64(cuda.threadIdx.x)
        while lane < count:
            symbol, entry = int64(group.symbols[lane]), int64(image.lines[uint64(entries + lane)])
            shift = int64(group.shifts[entry & _CONTEXT_MASK])
            if has_raw_bits(symbol, shift):
                value = value_of(symbol >> 1, shift, int64(group.lows[lane]), int64(group.mores[lane]))
                wrong = put(image, entry, symbol, value + below, highest, row, place, across) or wrong
            lane += threads
        return at, wrong

    return SimpleNamespace(anyone=anyone, ranks=ranks, take_flags=take_flags, take_coefficients=take_coefficients)
