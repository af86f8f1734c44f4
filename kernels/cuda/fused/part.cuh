// A block's part of an image in shared memory: `slab` rows of the image, in one block the whole image.
//
// Level l (0 the finest) works on every 2**l-th row and column of the image's place, so that coefficients lie between
// each other where their samples lay, nothing moves, and a row's or column's level follows from its number. The parts
// of a cluster are multiples of 2**levels rows high: no pair of coefficients has its halves in two blocks.
// PITCH, words per row, is odd: 32 lanes that walk along 32 rows, or down 32 columns, are in 32 banks.

#ifndef WAVESTREAM_PART_CUH
#define WAVESTREAM_PART_CUH

#if CLUSTER > 1
__device__ __forceinline__ void meet() { cluster_barrier(); }
template <typename T>
__device__ __forceinline__ T peer_load(const T* local, int rank) { return cluster_load(local, rank); }
#else
__device__ __forceinline__ void meet() { block_barrier(); }
template <typename T>
__device__ __forceinline__ T peer_load(const T* local, int) { return *local; }
#endif

struct Part {
    Word* words;
    const float* weights;          // of the subbands of each level, lifting only
    int slab, first_row;           // slab: rows of a full part; first_row: of this part, in the image
    int rows, cols, depth;         // rows: of this part in use, cols: of the image in use (with the entries for odd sizes)
    int image_rows, image_cols;
#if PEELED
    // The levels that tiles.cu has done: the image's part of the workspace, its canvas and its own size.
    const Word* room;
    int rank, canvas_rows, canvas_cols, full_rows, full_cols;
#endif

    // Entries of a line of `length` samples: an odd one has one more with filters.
    static __device__ __forceinline__ int entries(int length) { return LIFTED ? length : length + (length & 1); }
    // Rows or columns in which entries of any level lie: a coarse level may need some beyond the image.
    __device__ __forceinline__ int used(int side) const {
        int end = 0;
        for (int level = 0; level < depth; ++level)
            end = max(end, ((entries((side + (1 << level) - 1) >> level) - 1) << level) + 1);
        return end;
    }

    __device__ __forceinline__ int level_rows(int level) const { return (image_rows + (1 << level) - 1) >> level; }
    __device__ __forceinline__ int level_cols(int level) const { return (image_cols + (1 << level) - 1) >> level; }
};

#endif  // WAVESTREAM_PART_CUH
