// One wavelet along a line of samples: GROUP neighbouring pairs of coefficients from a window of samples, and back.
//
// A line is worked on in place, low-pass coefficient k at sample 2k, high-pass k at sample 2k + 1. A step needs, for the
// pairs from k on, the 2 * GROUP + SPAN - 2 entries from 2k - LEAD on; LATE of them may lie at or beyond the last own
// entry of the thread's part of the line, or be invented there by the extension. HIGH_MAY_LACK: a line of one entry has
// no high-pass, which then counts as 0.
//
// Filters: PyWavelets' periodization. Lifting: cdf53, ITU-T T.800 (JPEG 2000 Part 1), F.3.8 and F.4.8. The sums of the
// analysis run in the order of the multi-pass kernels (kernels/cuda/lines.py), so that both find the same coefficients.
//
// From the host: LIFTED, and for filters TAPS, DEC_LO, DEC_HI, REC_LO, REC_HI (lists of float literals), for lifting
// NORMS (weights of LL, HL, LH, HH per level, finest first) and NORM_LEVELS.

#ifndef WAVESTREAM_WAVELET_CUH
#define WAVESTREAM_WAVELET_CUH

#define GROUP 4

#if LIFTED

using Word = int;

struct Analysis {
    static constexpr int LEAD = 2, SPAN = 5, LATE = 2;
    static constexpr bool HIGH_MAY_LACK = false;

    static __device__ __forceinline__ void apply(const Word* window, Word* pairs) {
#pragma unroll
        for (int u = 0; u < GROUP; ++u) {
            const Word* x = window + 2 * u;
            const Word before = x[1] - ((x[0] + x[2]) >> 1);
            const Word high = x[3] - ((x[2] + x[4]) >> 1);
            pairs[2 * u] = x[2] + ((before + high + 2) >> 2);
            pairs[2 * u + 1] = high;
        }
    }
};

struct Synthesis {
    static constexpr int LEAD = 1, SPAN = 5, LATE = 3;
    static constexpr bool HIGH_MAY_LACK = true;

    static __device__ __forceinline__ void apply(const Word* window, Word* samples) {
#pragma unroll
        for (int u = 0; u < GROUP; ++u) {
            const Word* y = window + 2 * u;
            const Word even = y[1] - ((y[0] + y[2] + 2) >> 2);
            const Word next = y[3] - ((y[2] + y[4] + 2) >> 2);
            samples[2 * u] = even;
            samples[2 * u + 1] = y[2] + ((even + next) >> 1);
        }
    }
};

__constant__ float norms[4 * NORM_LEVELS] = {NORMS};

// One conversion and one multiplication that round once each: the same bits in every backend.
__device__ __forceinline__ unsigned int magnitude_bits(Word value, float weight) {
    return float_as_bits(static_cast<float>(value < 0 ? -value : value) * weight);
}

#else

using Word = float;

struct Analysis {
    static constexpr int LEAD = TAPS / 2 - 1, SPAN = TAPS, LATE = TAPS / 2;
    static constexpr bool HIGH_MAY_LACK = false;

    static __device__ __forceinline__ void apply(const Word* window, Word* pairs) {
        const float low_taps[TAPS] = {DEC_LO};
        const float high_taps[TAPS] = {DEC_HI};
#pragma unroll
        for (int u = 0; u < GROUP; ++u) {
            float low = 0.0f, high = 0.0f;
#pragma unroll
            for (int j = 0; j < TAPS; ++j) {
                const float low_tap = low_taps[TAPS - 1 - j], high_tap = high_taps[TAPS - 1 - j];
                if (low_tap != 0.0f) low = multiply_add(low_tap, window[2 * u + j], low);
                if (high_tap != 0.0f) high = multiply_add(high_tap, window[2 * u + j], high);
            }
            pairs[2 * u] = low;
            pairs[2 * u + 1] = high;
        }
    }
};

struct Synthesis {
    static constexpr int AROUND = TAPS / 4;  // pairs before and after
    static constexpr int LEAD = 2 * AROUND, SPAN = 4 * AROUND + 2, LATE = 2 * AROUND;
    static constexpr bool HIGH_MAY_LACK = false;

    // Adds the terms of the low-pass (part = 0) or high-pass (part = 1) coefficients.
    static __device__ __forceinline__ void add(const Word* window, Word* samples, const float* taps, int part) {
#pragma unroll
        for (int u = 0; u < GROUP; ++u) {
#pragma unroll
            for (int t = 0; t <= 2 * AROUND; ++t) {
#pragma unroll
                for (int parity = 0; parity < 2; ++parity) {
                    const int place = 2 * (AROUND - t) + parity + TAPS / 2 - 1;
                    if (place >= 0 && place < TAPS && taps[place] != 0.0f) {
                        float& sample = samples[2 * u + parity];
                        sample = multiply_add(taps[place], window[2 * (u + t) + part], sample);
                    }
                }
            }
        }
    }

    static __device__ __forceinline__ void apply(const Word* window, Word* samples) {
        const float low_taps[TAPS] = {REC_LO};
        const float high_taps[TAPS] = {REC_HI};
        unsigned int highs = 0;
#pragma unroll
        for (int i = 0; i < 2 * GROUP; ++i) samples[i] = 0.0f;
#pragma unroll
        for (int i = 1; i < 2 * GROUP + SPAN - 2; i += 2) highs |= float_as_bits(window[i]);
        add(window, samples, low_taps, 0);
        // Most details are 0 after thresholding: where they are for a whole warp, half of the work is not done.
        if ((highs << 1) != 0) add(window, samples, high_taps, 1);
    }
};

// Ordered like the magnitude itself; NaN and infinity come last.
__device__ __forceinline__ unsigned int magnitude_bits(Word value, float) {
    return float_as_bits(value) & 0x7FFFFFFFu;
}

#endif

// Walks along a line and beyond its ends: place() is the entry that stands at a position.
struct Walk {
    int position, length, period;

    __device__ __forceinline__ Walk(int start, int length) : length(length) {
#if LIFTED
        period = max(1, 2 * (length - 1));  // whole-sample symmetric
#else
        period = length + (length & 1);  // an odd line repeats its last sample, then the whole repeats
#endif
        position = start;
        while (position < 0) position += period;
        while (position >= period) position -= period;
    }

    __device__ __forceinline__ int place() const {
#if LIFTED
        return position < length ? position : period - position;
#else
        return min(position, length - 1);
#endif
    }

    __device__ __forceinline__ void next() { position = position + 1 == period ? 0 : position + 1; }
};

#endif  // WAVESTREAM_WAVELET_CUH
