// The finest levels of images that are too large for a cluster's shared memory, tile by tile; what is left of the image
// is then small enough for inject.cu, which finds the threshold of all coefficients.
//
// In the workspace an image has, per level, four planes of low_rows x low_cols words: its low-pass, HL, LH, HH.
// From the host: the wavelet, SOURCE and RESULT (`coefficient` for anything but the image itself), THREADS = 256.

#include "device.cuh"
#include "wavelet.cuh"
#include "pixel.cuh"
#include "table.cuh"

#define THREAD static_cast<int>(threadIdx.x)
#define BINS 2048

// Pairs per tile, along columns and along rows: one group of them for each thread.
#define TILE_ROWS 16
#define TILE_COLS 32
#define ROW_GROUPS (TILE_ROWS / GROUP)
#define COL_GROUPS (TILE_COLS / GROUP)

// Entries that a tile needs, and an odd pitch for them.
template <class Step>
struct Extent {
    static constexpr int ROWS = 2 * TILE_ROWS + Step::SPAN - 2, COLS = 2 * TILE_COLS + Step::SPAN - 2;
    static constexpr int PITCH_IN = COLS | 1, WINDOW = 2 * GROUP + Step::SPAN - 2;
};

__device__ __forceinline__ float weight_of(int level, int orientation) {
#if LIFTED
    return norms[4 * level + orientation];
#else
    return 1.0f;
#endif
}

extern "C" __global__ void __launch_bounds__(THREADS) begin(unsigned int* histograms, int size) {
    for (int i = blockIdx.x * THREADS + THREAD; i < size; i += gridDim.x * THREADS) histograms[i] = 0;
}

// One level of the analysis, level = 0 for the finest. source: first of the samples, `stride` elements per image and
// `pitch` per row; planes: first of the level's four, `room` words per image; histograms: (batch, BINS).
extern "C" __global__ void __launch_bounds__(THREADS) analyse_tiles(
    const Source* source, Word* planes, unsigned int* histograms, const long long* table, int level, long long stride,
    int pitch, long long room, int low_rows, int low_cols
) {
    using Reach = Extent<Analysis>;
    DYNAMIC_SHARED(memory);
    Word* samples = reinterpret_cast<Word*>(memory);                        // ROWS x PITCH_IN
    Word* halfway = samples + Reach::ROWS * Reach::PITCH_IN;                // low rows, then high ones, x PITCH_IN
    unsigned int* maxima = reinterpret_cast<unsigned int*>(halfway + 2 * TILE_ROWS * Reach::PITCH_IN);
    const int image = blockIdx.z;
    const long long* row = table + static_cast<long long>(image) * COLUMNS;
    const int rows = halved(static_cast<int>(row[IMAGE_ROWS]), level), cols = halved(static_cast<int>(row[IMAGE_COLS]), level);
    const int first_row = blockIdx.y * TILE_ROWS, first_col = blockIdx.x * TILE_COLS;
    if (row[KEPT] == 0 || 2 * first_row >= rows || 2 * first_col >= cols) return;
    source += image * stride;
    planes += image * room;

    for (int i = THREAD; i < BINS; i += THREADS) maxima[i] = 0;
    for (int r = THREAD >> 5; r < Reach::ROWS; r += THREADS / 32) {
        const Source* line = source + static_cast<long long>(Walk(2 * first_row - Analysis::LEAD + r, rows).place()) * pitch;
        for (int c = THREAD & 31; c < Reach::COLS; c += 32)
            samples[r * Reach::PITCH_IN + c] = SOURCE::to_word(line[Walk(2 * first_col - Analysis::LEAD + c, cols).place()]);
    }
    block_barrier();
    for (int item = THREAD; item < Reach::COLS * ROW_GROUPS; item += THREADS) {
        const int c = item % Reach::COLS, group = item / Reach::COLS;
        Word window[Reach::WINDOW], pairs[2 * GROUP];
#pragma unroll
        for (int i = 0; i < Reach::WINDOW; ++i) window[i] = samples[(2 * GROUP * group + i) * Reach::PITCH_IN + c];
        Analysis::apply(window, pairs);
#pragma unroll
        for (int i = 0; i < 2 * GROUP; ++i)
            halfway[((i & 1) * TILE_ROWS + GROUP * group + (i >> 1)) * Reach::PITCH_IN + c] = pairs[i];
    }
    block_barrier();
    // A thread has one group of one row: 32 rows side by side in a warp, in 32 banks.
    const int line = THREAD & 31, group = THREAD >> 5;
    Word window[Reach::WINDOW], pairs[2 * GROUP];
#pragma unroll
    for (int i = 0; i < Reach::WINDOW; ++i) window[i] = halfway[line * Reach::PITCH_IN + 2 * GROUP * group + i];
    Analysis::apply(window, pairs);
    const bool high_line = line >= TILE_ROWS;
    const int high_rows = LIFTED ? rows >> 1 : (rows + 1) >> 1, high_cols = LIFTED ? cols >> 1 : (cols + 1) >> 1;
    const int band_rows = high_line ? high_rows : (rows + 1) >> 1;
    if (first_row + line % TILE_ROWS < band_rows) {
        unsigned int largest = 0;
#pragma unroll
        for (int i = 0; i < 2 * GROUP; ++i) {
            const int col = first_col + GROUP * group + (i >> 1);
            const bool detail = (i & 1) != 0 || high_line;
            if (detail && col < ((i & 1) != 0 ? high_cols : (cols + 1) >> 1))
                largest = max(largest, magnitude_bits(pairs[i], weight_of(level, 2 * high_line + (i & 1))));
        }
        if (largest >> 20 != 0) shared_atomic_add(maxima + (largest >> 20), 1);
    }
    block_barrier();
    // Low-pass entries of a row first, then high-pass ones: rows of the planes leave in one piece.
#pragma unroll
    for (int i = 0; i < 2 * GROUP; ++i)
        halfway[line * Reach::PITCH_IN + (i & 1) * TILE_COLS + GROUP * group + (i >> 1)] = pairs[i];
    block_barrier();
    const long long plane = static_cast<long long>(low_rows) * low_cols;
    for (int r = THREAD >> 5; r < 2 * TILE_ROWS; r += THREADS / 32) {
        const int orientation = 2 * (r >= TILE_ROWS), target = first_row + r % TILE_ROWS, col = first_col + (THREAD & 31);
        if (target >= (r >= TILE_ROWS ? high_rows : (rows + 1) >> 1)) continue;
        Word* out = planes + orientation * plane + static_cast<long long>(target) * low_cols + col;
        if (col < (cols + 1) >> 1) out[0] = halfway[r * Reach::PITCH_IN + (THREAD & 31)];
        if (col < high_cols) out[plane] = halfway[r * Reach::PITCH_IN + TILE_COLS + (THREAD & 31)];
    }
    for (int i = THREAD; i < BINS; i += THREADS)
        if (maxima[i] != 0) global_atomic_add(histograms + image * BINS + i, maxima[i]);
}

// One level of the synthesis. thresholds: bits of each image's; pixels: the canvas at the finest level (it is copied where
// the image is not), unused elsewhere; result like source above. An image that is not finite has a low-pass of NaN only,
// and so becomes NaN throughout.
extern "C" __global__ void __launch_bounds__(THREADS) synthesise_tiles(
    const Word* planes, const Source* pixels, Result* result, const unsigned int* thresholds, const long long* table,
    int level, long long stride, int pitch, int canvas_rows, long long room, int low_rows, int low_cols
) {
    using Reach = Extent<Synthesis>;
    DYNAMIC_SHARED(memory);
    Word* entries = reinterpret_cast<Word*>(memory);          // ROWS x PITCH_IN
    Word* halfway = entries + Reach::ROWS * Reach::PITCH_IN;  // ROWS x 2 * TILE_COLS
    const int image = blockIdx.z;
    const long long* row = table + static_cast<long long>(image) * COLUMNS;
    const bool copied = row[KEPT] == 0;
    const int rows = copied ? 0 : halved(static_cast<int>(row[IMAGE_ROWS]), level);
    const int cols = copied ? 0 : halved(static_cast<int>(row[IMAGE_COLS]), level);
    const int lowest = static_cast<int>(row[LOWEST]), highest = static_cast<int>(row[HIGHEST]);
    const int first_row = blockIdx.y * TILE_ROWS, first_col = blockIdx.x * TILE_COLS;
    planes += image * room;
    pixels += image * stride;
    result += image * stride;

    if (FINEST && static_cast<const void*>(pixels) != static_cast<const void*>(result)) {
        for (int r = THREAD >> 5; r < 2 * TILE_ROWS; r += THREADS / 32)
            for (int c = THREAD & 31; c < 2 * TILE_COLS; c += 32) {
                const int y = 2 * first_row + r, x = 2 * first_col + c;
                const long long place = static_cast<long long>(y) * pitch + x;
                if (y < canvas_rows && x < pitch && (y >= rows || x >= cols))
                    result[place] = Conversion<SOURCE, RESULT>::copy(pixels[place]);
            }
    }
    if (2 * first_row >= rows || 2 * first_col >= cols) return;
    const unsigned int threshold = thresholds[image];
    const long long plane = static_cast<long long>(low_rows) * low_cols;
    const int entry_rows = LIFTED ? rows : rows + (rows & 1), entry_cols = LIFTED ? cols : cols + (cols & 1);
    for (int r = THREAD >> 5; r < Reach::ROWS; r += THREADS / 32) {
        const int y = Walk(2 * first_row - Synthesis::LEAD + r, entry_rows).place();
        // Both families keep the parity of an entry when they extend a line, but for a line of one entry.
        const int high_row = (r + Synthesis::LEAD) & 1;
        const Word* line = planes + static_cast<long long>(y >> 1) * low_cols;
        for (int c = THREAD & 31; c < Reach::COLS; c += 32) {
            const int x = Walk(2 * first_col - Synthesis::LEAD + c, entry_cols).place();
            const int high_col = (c + Synthesis::LEAD) & 1, orientation = 2 * high_row + high_col;
            Word value = 0;
            if (!(Synthesis::HIGH_MAY_LACK && ((high_row && rows == 1) || (high_col && cols == 1)))) {
                value = line[orientation * plane + (x >> 1)];
                if (orientation != 0 && magnitude_bits(value, weight_of(level, orientation)) < threshold) value = 0;
            }
            entries[r * Reach::PITCH_IN + c] = value;
        }
    }
    block_barrier();
    for (int item = THREAD; item < Reach::ROWS * COL_GROUPS; item += THREADS) {
        const int r = item % Reach::ROWS, group = item / Reach::ROWS;
        Word window[Reach::WINDOW], samples[2 * GROUP];
#pragma unroll
        for (int i = 0; i < Reach::WINDOW; ++i) window[i] = entries[r * Reach::PITCH_IN + 2 * GROUP * group + i];
        Synthesis::apply(window, samples);
#pragma unroll
        for (int i = 0; i < 2 * GROUP; ++i) halfway[r * (2 * TILE_COLS + 1) + 2 * GROUP * group + i] = samples[i];
    }
    block_barrier();
    const int c = THREAD % (2 * TILE_COLS), group = THREAD / (2 * TILE_COLS), x = 2 * first_col + c;
    Word window[Reach::WINDOW], samples[2 * GROUP];
#pragma unroll
    for (int i = 0; i < Reach::WINDOW; ++i) window[i] = halfway[(2 * GROUP * group + i) * (2 * TILE_COLS + 1) + c];
    Synthesis::apply(window, samples);
    if (x >= cols) return;
#pragma unroll
    for (int i = 0; i < 2 * GROUP; ++i) {
        const int y = 2 * (first_row + GROUP * group) + i;
        if (y < rows)
            store_streaming(
                result + static_cast<long long>(y) * pitch + x, Ending<SOURCE::INTEGER>::pixel(samples[i], lowest, highest)
            );
    }
}
