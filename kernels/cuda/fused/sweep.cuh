// One step of the transform along all lines of a block's part of an image, in place in shared memory.
//
// A line is cut into segments of whole groups of GROUP pairs, one thread each; the groups are counted from the end of
// the line, so that only the first may be partial. Before a barrier every thread reads into registers what others will
// overwrite: the window of its first group, and the LATE entries at and beyond the end of its segment. After the barrier
// it streams through its own entries, always reading ahead of what it writes. So nothing is stored twice, and only the
// reads before the barrier ever leave the block.
//
// A pass has: lines; pairs first to last (exclusive) of this block, full of a block that is full; length of a line,
// stored entries of it that may be written; step() words between entries; own(entry), whether this block has it; meet(),
// the barrier; line(i), which has origin, where entry 0 would be; any(entry) of the whole line; load(value, odd) applied
// to every value read; write<whole>(first pair, values), where a whole group needs no look at what may be written.

#ifndef WAVESTREAM_SWEEP_CUH
#define WAVESTREAM_SWEEP_CUH

#define THREAD static_cast<int>(threadIdx.x)

// Reads COUNT entries from entry `from` on, whose parity is that of PARITY.
template <int COUNT, int PARITY, class Step, class Pass, class Line>
__device__ __forceinline__ void read_around(const Pass& pass, const Line& line, int from, Word* values) {
    if (pass.own(from) && pass.own(from + COUNT - 1)) {
        const Word* entries = line.origin + from * pass.step();
#pragma unroll
        for (int i = 0; i < COUNT; ++i) values[i] = line.load(entries[i * pass.step()], (i + PARITY) & 1);
        return;
    }
    Walk walk(from, pass.length);
#pragma unroll
    for (int i = 0; i < COUNT; ++i, walk.next()) {
        values[i] = line.load(line.any(walk.place()), (i + PARITY) & 1);
        if (Step::HIGH_MAY_LACK && ((i + PARITY) & 1) && pass.length == 1) values[i] = 0;
    }
}

template <class Step>
struct Window {
    static constexpr int CARRY = Step::SPAN - 2;            // entries that it shares with the next group's
    static constexpr int SIZE = CARRY + 2 * GROUP;
    static constexpr int AHEAD = CARRY - Step::LEAD;        // entries beyond the group's own
};

// A thread's way through its segment, pairs start to stop (exclusive): `window` holds what the first group needs.
template <class Step, class Pass, class Line>
__device__ __forceinline__ void stream(
    const Pass& pass, const Line& line, int start, int stop, Word* window, const Word* late
) {
    constexpr int CARRY = Window<Step>::CARRY, AHEAD = Window<Step>::AHEAD, EARLY = 2 * GROUP - Step::LATE;
    Word* own = line.origin + 2 * start * pass.step();
    for (int pair = start;;) {
        Word values[2 * GROUP];
        Step::apply(window, values);
        // Entries that the pass may write; all of them, but in the first and in the last group.
        const int from = 2 * (pass.first - pair), to = pass.stored - 2 * pair;
        if (from <= 0 && to >= 2 * GROUP)
            line.template write<true>(own, pair, values, 0, 2 * GROUP);
        else
            line.template write<false>(own, pair, values, from, to);
        pair += GROUP;
        if (pair >= stop) return;
        own += 2 * GROUP * pass.step();
#pragma unroll
        for (int i = 0; i < CARRY; ++i) window[i] = window[i + 2 * GROUP];
#pragma unroll
        for (int i = 0; i < EARLY; ++i) window[CARRY + i] = line.load(own[(i + AHEAD) * pass.step()], (i + AHEAD) & 1);
        if (pair + GROUP < stop) {
#pragma unroll
            for (int i = EARLY; i < 2 * GROUP; ++i)
                window[CARRY + i] = line.load(own[(i + AHEAD) * pass.step()], (i + AHEAD) & 1);
        } else {
#pragma unroll
            for (int i = 0; i < Step::LATE; ++i) window[CARRY + EARLY + i] = late[i];
        }
    }
}

template <class Step, class Pass>
__device__ __forceinline__ void sweep(const Pass& pass) {
    constexpr int AHEAD = Window<Step>::AHEAD;
    if (pass.lines == 0) return;
    const int groups = (pass.last - pass.first + GROUP - 1) / GROUP;
    const int full = (pass.full + GROUP - 1) / GROUP;
    // As many segments as there are threads for, the same number in all blocks of a cluster: they must meet as often.
    const int wanted = max(1, min(full, THREADS / pass.lines));
    const int share = (full + wanted - 1) / wanted;
    const int segments = (full + share - 1) / share;
    const int at_once = min(pass.lines, THREADS / segments);
    const int segment = THREAD / at_once;
    const int first_group = segment * share, last_group = min(first_group + share, groups);
    const int start = pass.last - (groups - first_group) * GROUP;
    const int stop = pass.last - (groups - last_group) * GROUP;
    for (int before = 0; before < pass.lines; before += at_once) {
        const int index = before + THREAD - segment * at_once;
        const bool working = first_group < last_group && segment < segments && index < pass.lines;
        const auto line = pass.line(index);
        Word window[Window<Step>::SIZE], late[Step::LATE + 1];
        if (working) {
            read_around<Window<Step>::SIZE, Step::LEAD & 1, Step>(pass, line, 2 * start - Step::LEAD, window);
            // They are the last ones of the last window, which ends AHEAD entries after the segment.
            if (Step::LATE > 0 && stop - start > GROUP)
                read_around<Step::LATE, (AHEAD - Step::LATE) & 1, Step>(pass, line, 2 * stop + AHEAD - Step::LATE, late);
        }
        pass.meet();
        if (working) stream<Step>(pass, line, start, stop, window, late);
    }
}

#endif  // WAVESTREAM_SWEEP_CUH
