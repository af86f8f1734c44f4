// The exact K-th largest weighted magnitude of an image that lies in the shared memory of a cluster.
//
// A non-negative float orders like its bits, so it is found digit by digit, 11 + 10 + 10 bits, by histograms (as
// kernels/cuda/selection.py does it). Counting every coefficient would queue threads at the few bins in which most fall:
// the forward transform has counted the largest magnitude of every group of coefficients instead. The first digit of the
// K-th largest of those is not above that of the K-th largest of all, and only what reaches it is counted.
// Nothing depends on the order of the atomics. Digit 0 is not counted: it is what remains.

#ifndef WAVESTREAM_SELECT_CUH
#define WAVESTREAM_SELECT_CUH

#define BINS 2048
#define BINS_EACH (BINS / THREADS)
#define WARPS (THREADS / 32)
#define FIRST_NOT_FINITE 0x7F8  // first digit of infinity

// Places in the scratch memory after the warps' sums.
#define FOUND_DIGIT 32
#define FOUND_REMAINING 33
#define FOUND_NOT_FINITE 34
#define SCRATCH_WORDS 64

struct Found {
    unsigned int digit, remaining, not_finite;
};

// The digit with which the wanted-th largest begins, how many with that digit are still to pass, and how many counted
// ones are not finite (meaningful for the first digit). All blocks of the cluster read all histograms and find the same.
__device__ __forceinline__ Found find_digit(const unsigned int* histogram, unsigned int wanted, unsigned int* scratch) {
    const int top = BINS - 1 - THREAD * BINS_EACH;
    unsigned int counts[BINS_EACH], total = 0;
#pragma unroll
    for (int i = 0; i < BINS_EACH; ++i) {
        counts[i] = 0;
        for (int rank = 0; rank < CLUSTER; ++rank) counts[i] += peer_load(histogram + top - i, rank);
        total += counts[i];
    }
    const int lane = THREAD & 31, warp = THREAD >> 5;
    unsigned int through = total;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
        const unsigned int other = shuffle(through, (lane - distance) & 31);
        if (lane >= distance) through += other;
    }
    if (lane == 31) scratch[warp] = through;
    block_barrier();
    through += warp_reduce_add(lane < warp ? scratch[lane] : 0);
    const unsigned int above = through - total;
    if (above < wanted && wanted <= through) {
        unsigned int remaining = wanted - above;
        int i = 0;
#pragma unroll
        for (int j = 0; j < BINS_EACH - 1; ++j) {
            if (i == j && remaining > counts[j]) {
                remaining -= counts[j];
                i = j + 1;
            }
        }
        scratch[FOUND_DIGIT] = top - i;
        scratch[FOUND_REMAINING] = remaining;
    } else if (THREAD == THREADS - 1 && through < wanted) {
        scratch[FOUND_DIGIT] = 0;
        scratch[FOUND_REMAINING] = wanted - through;
    }
    if (top - (BINS_EACH - 1) == FIRST_NOT_FINITE) scratch[FOUND_NOT_FINITE] = through;
    block_barrier();
    return {scratch[FOUND_DIGIT], scratch[FOUND_REMAINING], scratch[FOUND_NOT_FINITE]};
}

__device__ __forceinline__ void count_one(
    unsigned int bits, unsigned int lowest, unsigned int span, int shift, unsigned int* histogram
) {
    if (bits - lowest > span) return;
    const unsigned int digit = (bits >> shift) & (shift == 20 ? BINS - 1 : BINS / 2 - 1);
    if (digit != 0) shared_atomic_add(histogram + digit, 1);
}

#if PEELED
// Counts the same of this block's share of the finer levels, which lie in global memory, row by row.
__device__ __forceinline__ void count_peeled(
    const Part& part, unsigned int lowest, unsigned int span, int shift, unsigned int* histogram
) {
    const Word* planes = part.room;
    for (int level = 0; level < PEELED; ++level) {
        const int low_cols = halved(part.canvas_cols, level + 1);
        const long long plane = static_cast<long long>(halved(part.canvas_rows, level + 1)) * low_cols;
        const int rows = halved(part.full_rows, level), cols = halved(part.full_cols, level);
        for (int orientation = 1; orientation < 4; ++orientation) {
            const int band_rows = (rows + (LIFTED && orientation >= 2 ? 0 : 1)) >> 1;
            const int band_cols = (cols + (LIFTED && orientation != 2 ? 0 : 1)) >> 1;
#if LIFTED
            const float weight = norms[4 * level + orientation];
#else
            const float weight = 1.0f;
#endif
            for (int row = part.rank * WARPS + (THREAD >> 5); row < band_rows; row += CLUSTER * WARPS) {
                const Word* values = planes + orientation * plane + static_cast<long long>(row) * low_cols;
#pragma unroll 4
                for (int col = THREAD & 31; col < band_cols; col += 32)
                    count_one(magnitude_bits(values[col], weight), lowest, span, shift, histogram);
            }
        }
        planes += 4 * plane;
    }
}
#endif

// Counts the digit at `shift` of this block's magnitudes whose bits are lowest ... lowest + span.
__device__ __forceinline__ void count_digit(
    const Part& part, unsigned int lowest, unsigned int span, int shift, unsigned int* histogram
) {
#if PEELED
    count_peeled(part, lowest, span, shift, histogram);
#endif
#if LIFTED
    // Which subband an entry belongs to follows from the trailing zeros of its place.
    for (int row = THREAD >> 5; row < part.rows; row += WARPS) {
        for (int col = THREAD & 31; col < part.cols; col += 32) {
            const unsigned int place = row | col | 1 << part.depth;
            const int level = 31 - static_cast<int>(leading_zeros(place & (0u - place)));
            const int orientation = level == part.depth ? 0 : 2 * ((row >> level) & 1) + ((col >> level) & 1);
            const float weight = part.weights[4 * min(level, part.depth - 1) + orientation];
            count_one(magnitude_bits(part.words[row * PITCH + col], weight), lowest, span, shift, histogram);
        }
    }
#else
    // Entries that are no coefficient are 0, and change nothing.
    const uint4* quads = reinterpret_cast<const uint4*>(part.words);
    const int count = (part.rows * PITCH + 3) / 4;
    for (int i = THREAD; i < count; i += THREADS) {
        const uint4 quad = quads[i];
        const unsigned int x = quad.x & 0x7FFFFFFFu, y = quad.y & 0x7FFFFFFFu;
        const unsigned int z = quad.z & 0x7FFFFFFFu, w = quad.w & 0x7FFFFFFFu;
        if (max(max(x, y), max(z, w)) < lowest) continue;
        count_one(x, lowest, span, shift, histogram);
        count_one(y, lowest, span, shift, histogram);
        count_one(z, lowest, span, shift, histogram);
        count_one(w, lowest, span, shift, histogram);
    }
#endif
}

__device__ __forceinline__ void clear(unsigned int* histogram) {
    for (int i = THREAD; i < BINS; i += THREADS) histogram[i] = 0;
}

// The bits of the K-th largest magnitude; not_finite: whether any coefficient is NaN or infinite, and then the bits mean
// nothing. `maxima`: counted largest first digits of all groups; `other`: zeros. All threads of the cluster take part.
__device__ __forceinline__ unsigned int kth_magnitude(
    const Part& part, unsigned int count, unsigned int* maxima, unsigned int* other, unsigned int* scratch, bool& not_finite
) {
    meet();
    Found found = find_digit(maxima, count, scratch);
    not_finite = found.not_finite != 0;
    unsigned int lowest = found.digit << 20;
    count_digit(part, lowest, 0x7FFFFFFFu - lowest, 20, other);
    meet();
    // All have read `maxima`: it is free. The barriers inside find_digit stand between clearing and counting.
    clear(maxima);
    found = find_digit(other, count, scratch);
    lowest = found.digit << 20;
    count_digit(part, lowest, (1u << 20) - 1, 10, maxima);
    meet();
    clear(other);
    found = find_digit(maxima, found.remaining, scratch);
    lowest |= found.digit << 10;
    count_digit(part, lowest, (1u << 10) - 1, 0, other);
    meet();
    return lowest | find_digit(other, found.remaining, scratch).digit;
}

#endif  // WAVESTREAM_SELECT_CUH
