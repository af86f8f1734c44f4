// Artifact injection of a batch with one image per block, or per cluster of blocks, in shared memory: each pixel is read
// from global memory once and written once, and between the two nothing leaves the multiprocessor or its cluster.
//
// From the host, as definitions: the wavelet (wavelet.cuh), SOURCE and RESULT (pixel.cuh), THREADS per block (256, 512 or
// 1024), CLUSTER blocks per image, PITCH words per row in shared memory, PEELED levels that are done already. docs/design/0007-fused-cuda-kernels.md has the
// budget.

#include "device.cuh"
#include "wavelet.cuh"
#include "pixel.cuh"
#include "part.cuh"
#include "table.cuh"
#include "sweep.cuh"
#include "lines.cuh"
#include "select.cuh"
#include "transfer.cuh"

#if CLUSTER > 1
#define CLUSTERED __cluster_dims__(CLUSTER, 1, 1)
#else
#define CLUSTERED
#endif

// With PEELED finest levels done by tiles.cu the canvases are low-passes of the coarsest of them, and the rest of the
// workspace (rooms, whose images' canvases have peeled_rows x peeled_cols pixels) takes part in the selection. histograms:
// (batch, BINS), their share of the maxima; thresholds: (batch,), for the bits of the threshold.
#if PEELED
#define PEELED_PARAMETERS \
    , const Word *rooms, const unsigned int *histograms, unsigned int *thresholds, int peeled_rows, int peeled_cols
#else
#define PEELED_PARAMETERS
#endif

template <class Level>
__device__ __forceinline__ void analyse(const Part& part, Level level, unsigned int* maxima) {
    sweep<Analysis>(Columns<Level>(part, level, true));
    block_barrier();
    sweep<Analysis>(AnalysisRows<Level>(part, level, maxima));
}

template <class Level>
__device__ __forceinline__ void synthesise_rows(const Part& part, Level level, unsigned int threshold) {
    block_barrier();
    sweep<Synthesis>(SynthesisRows<Level>(part, level, threshold));
    meet();
}

// source, result: canvases of canvas_rows x canvas_cols, `stride` elements from one image to the next; they may be the same
// memory. table: (batch, COLUMNS). slab: rows of a block. ahead: images that are in work at a time.
// Shared memory: slab * PITCH words rounded up to four, two histograms, scratch, weights.
extern "C" __global__ void __launch_bounds__(THREADS, 1024 / THREADS) CLUSTERED inject(
    const Source* source, Result* result, const long long* table, int batch, int canvas_rows, int canvas_cols,
    long long stride, int slab, int ahead PEELED_PARAMETERS
) {
    DYNAMIC_SHARED(memory);
    const int image = blockIdx.x / CLUSTER;
#if CLUSTER > 1
    const int rank = cluster_rank();
#else
    const int rank = 0;
#endif
    const Source* pixels = source + image * stride;
    Result* target = result + image * stride;
    const long long* row = table + static_cast<long long>(image) * COLUMNS;

    Word* words = reinterpret_cast<Word*>(memory);
    unsigned int* maxima = reinterpret_cast<unsigned int*>(words + (slab * PITCH + 3) / 4 * 4);
    unsigned int* other = maxima + BINS;
    unsigned int* scratch = other + BINS;
    float* weights = reinterpret_cast<float*>(scratch + SCRATCH_WORDS);

    Part part;
    part.words = words;
    part.weights = weights;
    part.slab = slab;
    part.first_row = rank * slab;
    part.image_rows = halved(static_cast<int>(row[IMAGE_ROWS]), PEELED);
    part.image_cols = halved(static_cast<int>(row[IMAGE_COLS]), PEELED);
    part.depth = static_cast<int>(row[DEPTH]) - PEELED;
    part.rows = max(0, min(slab, part.used(part.image_rows) - part.first_row));
    part.cols = part.used(part.image_cols);

    // Each block copies its share of the canvas.
    const int share = (canvas_rows + CLUSTER - 1) / CLUSTER;
    const int first = rank * share, last = min(canvas_rows, first + share);
    const unsigned int kept = static_cast<unsigned int>(row[KEPT]);
    const int lowest = static_cast<int>(row[LOWEST]), highest = static_cast<int>(row[HIGHEST]);
    const bool elsewhere = static_cast<const void*>(pixels) != static_cast<const void*>(target);
    if (kept == 0) {
        if (elsewhere) copy_around(pixels, target, canvas_cols, first, last, 0, 0);
        return;
    }
    if (elsewhere) copy_around(pixels, target, canvas_cols, first, last, part.image_rows, part.image_cols);

    load_part(part, pixels, canvas_cols);
    clear(other);
    clear(maxima);
#if PEELED
    part.room = rooms + image * stride;
    part.rank = rank;
    part.canvas_rows = peeled_rows;
    part.canvas_cols = peeled_cols;
    part.full_rows = static_cast<int>(row[IMAGE_ROWS]);
    part.full_cols = static_cast<int>(row[IMAGE_COLS]);
    if (rank == 0)
        for (int i = THREAD; i < BINS; i += THREADS) maxima[i] = histograms[image * BINS + i];
#endif
#if LIFTED
    for (int i = THREAD; i < 4 * (NORM_LEVELS - PEELED); i += THREADS) weights[i] = norms[i + 4 * PEELED];
#endif
    if (image + ahead < batch) prefetch_part(part, pixels + ahead * stride, canvas_cols, canvas_rows);

    meet();
    analyse(part, Finest(), maxima);
    for (int level = 1; level < part.depth; ++level) {
        meet();
        analyse(part, Coarser{level}, maxima);
    }
    bool not_finite;
    const unsigned int threshold = kth_magnitude(part, kept, maxima, other, scratch, not_finite);
#if PEELED
    if (rank == 0 && THREAD == 0) thresholds[image] = threshold;
#endif
    if (not_finite) {
        meet();  // a block's memory lasts only as long as the block
        fill_nan(target, canvas_cols, first, min(last, part.image_rows), part.image_cols);
        return;
    }
    for (int level = part.depth - 1; level > 0; --level) {
        synthesise_rows(part, Coarser{level}, threshold);
        sweep<Synthesis>(Columns<Coarser>(part, Coarser{level}, false));
    }
    synthesise_rows(part, Finest(), threshold);
    sweep<Synthesis>(ResultColumns(part, target, canvas_cols, lowest, highest));
}
