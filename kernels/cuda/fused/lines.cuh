// The lines of a level in a block's part of an image: columns, whose ends may lie in other blocks, and rows.

#ifndef WAVESTREAM_LINES_CUH
#define WAVESTREAM_LINES_CUH

// Which level a pass works on. The finest is most of the work, and has its own code, with constant distances.
struct Finest {
    static constexpr int number = 0;
};

struct Coarser {
    int number;
};

// Calls put(place, value) for the entries of a group: all of them, or those from `from` to `to` (exclusive).
template <bool whole, class Put>
__device__ __forceinline__ void write_group(const Word* values, int from, int to, Put put) {
#pragma unroll
    for (int i = 0; i < 2 * GROUP; ++i)
        if (whole || (i >= from && i < to)) put(i, values[i]);
}

template <class Level>
struct Columns {
    const Part& part;
    Level level;
    int lines, first, last, full, length, stored;

    __device__ __forceinline__ Columns(const Part& part, Level level, bool forward) : part(part), level(level) {
        const int rows = part.level_rows(level.number), pairs = (rows + 1) >> 1, step = 2 << level.number;
        lines = part.level_cols(level.number);
        full = CLUSTER > 1 ? part.slab / step : pairs;
        first = min(pairs, part.first_row / step);
        last = min(pairs, first + full);
        length = forward ? rows : Part::entries(rows);
        stored = forward ? Part::entries(rows) : rows;
    }

    __device__ __forceinline__ int step() const { return PITCH << level.number; }
    __device__ __forceinline__ bool own(int entry) const { return entry >= 2 * first && entry < min(2 * last, length); }
    __device__ __forceinline__ void meet() const { ::meet(); }

    struct Line {
        const Columns& pass;
        Word* origin;

        __device__ __forceinline__ Word any(int entry) const {
#if CLUSTER > 1
            const Part& part = pass.part;
            const int row = entry << pass.level.number;
            if (row < part.first_row || row >= part.first_row + part.slab) {
                const int rank = static_cast<unsigned int>(row) / static_cast<unsigned int>(part.slab);
                return peer_load(origin + (row - rank * part.slab + part.first_row) * PITCH, rank);
            }
#endif
            return origin[entry * pass.step()];
        }

        __device__ __forceinline__ Word load(Word value, int) const { return value; }

        template <bool whole>
        __device__ __forceinline__ void write(Word* own, int, const Word* values, int from, int to) const {
            const int step = pass.step();
            write_group<whole>(values, from, to, [=](int i, Word value) { own[i * step] = value; });
        }
    };

    __device__ __forceinline__ Line line(int index) const {
        return {*this, part.words - part.first_row * PITCH + (index << level.number)};
    }
};

// The columns of the last step back: their samples are the result.
struct ResultColumns : Columns<Finest> {
    Result* result;  // pixel (0, 0) of the image
    int canvas_cols, lowest, highest;

    __device__ __forceinline__ ResultColumns(const Part& part, Result* result, int canvas_cols, int lowest, int highest)
        : Columns(part, Finest(), false), result(result), canvas_cols(canvas_cols), lowest(lowest), highest(highest) {}

    struct Line : Columns<Finest>::Line {
        const ResultColumns& target;
        int index;

        __device__ __forceinline__ Line(const ResultColumns& target, int index)
            : Columns<Finest>::Line(target.Columns<Finest>::line(index)), target(target), index(index) {}

        template <bool whole>
        __device__ __forceinline__ void write(Word*, int pair, const Word* values, int from, int to) const {
            const int canvas_cols = target.canvas_cols, lowest = target.lowest, highest = target.highest;
            Result* pixels = target.result + static_cast<long long>(2 * pair) * canvas_cols + index;
            write_group<whole>(values, from, to, [=](int i, Word value) {
                store_streaming(pixels + i * canvas_cols, Ending<SOURCE::INTEGER>::pixel(value, lowest, highest));
            });
        }
    };

    __device__ __forceinline__ Line line(int index) const { return Line(*this, index); }
};

template <class Level>
struct Rows {
    const Part& part;
    Level level;
    int lines, first, last, full, length, stored;

    __device__ __forceinline__ Rows(const Part& part, Level level, bool forward) : part(part), level(level) {
        const int cols = part.level_cols(level.number);
        lines = Part::entries(part.level_rows(level.number));
        if (CLUSTER > 1) lines = max(0, min(lines - (part.first_row >> level.number), part.slab >> level.number));
        first = 0;
        last = full = (cols + 1) >> 1;
        length = forward ? cols : Part::entries(cols);
        stored = forward ? Part::entries(cols) : cols;
    }

    __device__ __forceinline__ int step() const { return 1 << level.number; }
    __device__ __forceinline__ bool own(int entry) const { return entry >= 0 && entry < length; }
    __device__ __forceinline__ void meet() const { block_barrier(); }

    struct Line {
        const Rows& pass;
        Word* origin;
        int index;

        __device__ __forceinline__ Line(const Rows& pass, int index)
            : pass(pass), origin(pass.part.words + (index << pass.level.number) * PITCH), index(index) {}

        __device__ __forceinline__ Word any(int entry) const { return origin[entry * pass.step()]; }

        // Whether this row's low-pass entries are coefficients, not the next level's samples.
        __device__ __forceinline__ bool ends() const {
            return (index & 1) != 0 || pass.level.number == pass.part.depth - 1;
        }

        // Weight of the row's entries. A block's part begins with an even row of every level.
        __device__ __forceinline__ float weight(int odd) const {
#if LIFTED
            return pass.part.weights[4 * pass.level.number + 2 * (index & 1) + odd];
#else
            return 1.0f;
#endif
        }
    };
};

// Rows of the analysis: they count the largest magnitude of each group of finished coefficients.
template <class Level>
struct AnalysisRows : Rows<Level> {
    unsigned int* maxima;

    __device__ __forceinline__ AnalysisRows(const Part& part, Level level, unsigned int* maxima)
        : Rows<Level>(part, level, true), maxima(maxima) {}

    struct Line : Rows<Level>::Line {
        unsigned int* maxima;
        bool low_ends;
        float weights[2];

        __device__ __forceinline__ Line(const AnalysisRows& pass, int index)
            : Rows<Level>::Line(pass, index), maxima(pass.maxima), low_ends(this->ends()),
              weights{this->weight(0), this->weight(1)} {}

        __device__ __forceinline__ Word load(Word value, int) const { return value; }

        template <bool whole>
        __device__ __forceinline__ void write(Word* own, int, const Word* values, int from, int to) const {
            const int step = this->pass.step();
            unsigned int lows = 0, highs = 0;
            write_group<whole>(values, from, to, [&](int i, Word value) {
                own[i * step] = value;
                const unsigned int bits = magnitude_bits(value, weights[i & 1]);
                if (i & 1)
                    highs = max(highs, bits);
                else
                    lows = max(lows, bits);
            });
            const unsigned int digit = (low_ends ? max(lows, highs) : highs) >> 20;
            if (digit != 0) shared_atomic_add(maxima + digit, 1);
        }
    };

    __device__ __forceinline__ Line line(int index) const { return Line(*this, index); }
};

// Rows of the synthesis: they drop what does not reach the threshold as they read it.
template <class Level>
struct SynthesisRows : Rows<Level> {
    unsigned int threshold;

    __device__ __forceinline__ SynthesisRows(const Part& part, Level level, unsigned int threshold)
        : Rows<Level>(part, level, false), threshold(threshold) {}

    struct Line : Rows<Level>::Line {
        unsigned int thresholds[2];
        float weights[2];

        __device__ __forceinline__ Line(const SynthesisRows& pass, int index)
            : Rows<Level>::Line(pass, index), thresholds{this->ends() ? pass.threshold : 0, pass.threshold},
              weights{this->weight(0), this->weight(1)} {}

        __device__ __forceinline__ Word load(Word value, int odd) const {
            return magnitude_bits(value, weights[odd]) < thresholds[odd] ? 0 : value;
        }

        template <bool whole>
        __device__ __forceinline__ void write(Word* own, int, const Word* values, int from, int to) const {
            const int step = this->pass.step();
            write_group<whole>(values, from, to, [=](int i, Word value) { own[i * step] = value; });
        }
    };

    __device__ __forceinline__ Line line(int index) const { return Line(*this, index); }
};

#endif  // WAVESTREAM_LINES_CUH
