// From the canvas in global memory to a block's part in shared memory, and what goes around the transform.

#ifndef WAVESTREAM_TRANSFER_CUH
#define WAVESTREAM_TRANSFER_CUH

// Four pixels that are loaded at once.
struct alignas(4 * sizeof(Source)) Quad {
    Source pixels[4];
};

// Only a hint: lines of the image that a block will read next are fetched into the level 2 cache.
__device__ __forceinline__ void prefetch(const void* address) {
#ifndef WAVESTREAM_HOST_SHIM
    asm volatile("prefetch.global.L2 [%0];" ::"l"(address));
#endif
}

__device__ __forceinline__ void prefetch_part(const Part& part, const Source* source, int canvas_cols, int canvas_rows) {
    const int rows = min(part.slab, canvas_rows - part.first_row);
    if (rows <= 0) return;
    const char* begin = reinterpret_cast<const char*>(source + static_cast<long long>(part.first_row) * canvas_cols);
    const int bytes = rows * canvas_cols * static_cast<int>(sizeof(Source));
    for (int i = THREAD * 128; i < bytes; i += THREADS * 128) prefetch(begin + i);
}

// Fills the rows in use: pixels of the image, zeros around them. A warp takes a row, a lane four pixels that it loads at
// once where they are aligned; it stores them in an order that keeps the warp's stores in 32 banks.
__device__ __forceinline__ void load_part(const Part& part, const Source* source, int canvas_cols) {
    const int lane = THREAD & 31;
    const bool aligned = canvas_cols % 4 == 0 && reinterpret_cast<unsigned long long>(source) % sizeof(Quad) == 0;
    const int quads = aligned ? part.image_cols / 4 : 0;
    for (int row = THREAD >> 5; row < part.rows; row += THREADS / 32) {
        Word* words = part.words + row * PITCH;
        const bool inside = part.first_row + row < part.image_rows;
        const Source* pixels = source + static_cast<long long>(part.first_row + row) * canvas_cols;
        int done = 0;
        if (inside) {
            for (int quad = lane; quad < quads; quad += 32) {
                const Quad four = reinterpret_cast<const Quad*>(pixels)[quad];
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const int turn = (i + (lane >> 3)) & 3;
                    const Source low = turn & 1 ? four.pixels[1] : four.pixels[0];
                    const Source high = turn & 1 ? four.pixels[3] : four.pixels[2];
                    words[4 * quad + turn] = SOURCE::to_word(turn & 2 ? high : low);
                }
            }
            for (int col = 4 * quads + lane; col < part.image_cols; col += 32) words[col] = SOURCE::to_word(pixels[col]);
            done = part.image_cols;
        }
        for (int col = done + lane; col < PITCH; col += 32) words[col] = 0;
    }
    // The selection reads four words at a time.
    const int end = part.rows * PITCH;
    if (THREAD < (4 - end % 4) % 4) part.words[end + THREAD] = 0;
}

// Copies the rows first ... last - 1 of the canvas outside the image (all of it where its rows or columns are 0).
__device__ __forceinline__ void copy_around(
    const Source* source, Result* result, int canvas_cols, int first, int last, int image_rows, int image_cols
) {
    for (int row = first + (THREAD >> 5); row < last; row += THREADS / 32) {
        const long long start = static_cast<long long>(row) * canvas_cols;
        for (int col = (row < image_rows ? image_cols : 0) + (THREAD & 31); col < canvas_cols; col += 32)
            result[start + col] = Conversion<SOURCE, RESULT>::copy(source[start + col]);
    }
}

// An image with a coefficient that is not finite: NaN in every pixel of rows first ... last - 1.
__device__ __forceinline__ void fill_nan(Result* result, int canvas_cols, int first, int last, int image_cols) {
    for (int row = first + (THREAD >> 5); row < last; row += THREADS / 32)
        for (int col = THREAD & 31; col < image_cols; col += 32)
            result[static_cast<long long>(row) * canvas_cols + col] =
                Ending<SOURCE::INTEGER>::pixel(static_cast<Word>(bits_as_float(0x7FC00000u)), 0, 0);
}

#endif  // WAVESTREAM_TRANSFER_CUH
