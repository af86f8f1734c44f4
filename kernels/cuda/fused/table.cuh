// What the kernels know of each image, as in kernels/cuda/fused/plan.py.

#ifndef WAVESTREAM_TABLE_CUH
#define WAVESTREAM_TABLE_CUH

// Columns of the table. KEPT is 0 for an image that is copied.
enum Column { KEPT, IMAGE_ROWS, IMAGE_COLS, DEPTH, LOWEST, HIGHEST, COLUMNS };

// Samples of a side after so many levels.
__device__ __forceinline__ int halved(int side, int levels) { return (side + (1 << levels) - 1) >> levels; }

#endif  // WAVESTREAM_TABLE_CUH
