// What the fused kernels need of the machine, and nothing else: one name per instruction.
//
// No header is included: NVRTC brings its intrinsics with it, but not the headers (cuda_fp16.h, cooperative_groups.h),
// and a user's machine may have no CUDA toolkit. Where an intrinsic needs a header there is inline PTX.
//
// Device, of compute capability 8.0 or later; cluster functions 9.0 or later. With WAVESTREAM_HOST_SHIM defined the
// same names come from the host shim (tests/kernels/cuda/host_shim), which runs kernels on the CPU and checks them:
//   - shared memory is declared by DYNAMIC_SHARED only, in every function that needs it;
//   - a warp function is called by all threads of a warp, a barrier by all threads it counts;
//   - a multiplication and an addition are fused where multiply_add says so, and only there if NVRTC has --fmad=false.

#ifndef WAVESTREAM_DEVICE_CUH
#define WAVESTREAM_DEVICE_CUH

#ifndef WAVESTREAM_HOST_SHIM

// The block's dynamic shared memory: unsigned char name[], aligned to 128 bytes.
#define DYNAMIC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]

#define WARP_SIZE 32u
#define FULL_WARP 0xFFFFFFFFu

// --- bits ------------------------------------------------------------------------------------------------------------

__device__ __forceinline__ unsigned int float_as_bits(float value) { return __float_as_uint(value); }
__device__ __forceinline__ float bits_as_float(unsigned int bits) { return __uint_as_float(bits); }

// Set bits of a word; zeros above the highest set bit (32 for 0).
__device__ __forceinline__ unsigned int count_bits(unsigned int bits) { return __popc(bits); }
__device__ __forceinline__ unsigned int leading_zeros(unsigned int bits) { return __clz(bits); }

// --- arithmetic ------------------------------------------------------------------------------------------------------

// a * b + c, rounded once.
__device__ __forceinline__ float multiply_add(float a, float b, float c) { return __fmaf_rn(a, b, c); }

// Nearest integer, halves to even; saturates, and gives 0 for NaN.
__device__ __forceinline__ int round_to_int(float value) { return __float2int_rn(value); }

// IEEE binary16 as its bits. Rounds to nearest even; too large becomes infinity, NaN becomes 0x7FFF.
__device__ __forceinline__ float half_to_float(unsigned short bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

__device__ __forceinline__ unsigned short float_to_half(float value) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

// --- barriers --------------------------------------------------------------------------------------------------------

// All threads of the block.
__device__ __forceinline__ void block_barrier() { __syncthreads(); }

// `threads` threads of the block, a multiple of 32, whole warps; id 1 to 15 (0 is the block's).
__device__ __forceinline__ void named_barrier(unsigned int id, unsigned int threads) {
    asm volatile("barrier.cta.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// All threads of the warp; orders their accesses to memory, which a shuffle does not.
__device__ __forceinline__ void warp_barrier() { __syncwarp(FULL_WARP); }

// --- a warp's threads among each other; T is int, unsigned int or float ----------------------------------------------

// The value of lane `own lane ^ mask`, of `own lane + distance` (own value beyond lane 31), of `lane`.
template <typename T>
__device__ __forceinline__ T shuffle_xor(T value, unsigned int mask) {
    return __shfl_xor_sync(FULL_WARP, value, mask);
}

template <typename T>
__device__ __forceinline__ T shuffle_down(T value, unsigned int distance) {
    return __shfl_down_sync(FULL_WARP, value, distance);
}

template <typename T>
__device__ __forceinline__ T shuffle(T value, unsigned int lane) {
    return __shfl_sync(FULL_WARP, value, lane);
}

// Bit n is set where lane n's predicate holds.
__device__ __forceinline__ unsigned int ballot(bool predicate) { return __ballot_sync(FULL_WARP, predicate); }

__device__ __forceinline__ unsigned int warp_reduce_add(unsigned int value) {
    return __reduce_add_sync(FULL_WARP, value);
}

__device__ __forceinline__ unsigned int warp_reduce_max(unsigned int value) {
    return __reduce_max_sync(FULL_WARP, value);
}

// --- atomics; each returns the value before --------------------------------------------------------------------------

__device__ __forceinline__ unsigned int shared_address(const void* pointer) {
    return static_cast<unsigned int>(__cvta_generic_to_shared(pointer));
}

__device__ __forceinline__ unsigned int shared_atomic_add(unsigned int* address, unsigned int value) {
    unsigned int before;
    asm volatile("atom.shared.add.u32 %0, [%1], %2;"
                 : "=r"(before)
                 : "r"(shared_address(address)), "r"(value)
                 : "memory");
    return before;
}

__device__ __forceinline__ unsigned int shared_atomic_max(unsigned int* address, unsigned int value) {
    unsigned int before;
    asm volatile("atom.shared.max.u32 %0, [%1], %2;"
                 : "=r"(before)
                 : "r"(shared_address(address)), "r"(value)
                 : "memory");
    return before;
}

__device__ __forceinline__ unsigned int global_atomic_add(unsigned int* address, unsigned int value) {
    return atomicAdd(address, value);
}

__device__ __forceinline__ unsigned int global_atomic_max(unsigned int* address, unsigned int value) {
    return atomicMax(address, value);
}

// --- global memory that is touched once: T is a number or uint4 (16 bytes, aligned) ----------------------------------

// Not the read-only path (ld.global.nc): the result may be written over the image that is being read.
template <typename T>
__device__ __forceinline__ T load_streaming(const T* address) {
    return __ldcs(address);
}

template <typename T>
__device__ __forceinline__ void store_streaming(T* address, T value) {
    __stcs(address, value);
}

// --- clusters of blocks ----------------------------------------------------------------------------------------------

#if __CUDA_ARCH__ >= 900

__device__ __forceinline__ unsigned int cluster_rank() {
    unsigned int rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

__device__ __forceinline__ unsigned int cluster_size() {
    unsigned int size;
    asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
    return size;
}

// All threads of all blocks of the cluster; orders their accesses to shared memory. A block may not end while others
// still read its memory: the last access is followed by this barrier.
__device__ __forceinline__ void cluster_barrier() {
    asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// Where block `rank` of the cluster has what this block has at `local` (an address in this block's shared memory).
__device__ __forceinline__ unsigned int remote_address(const void* local, unsigned int rank) {
    unsigned int remote;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(shared_address(local)), "r"(rank));
    return remote;
}

// Loads from, stores to and atomics on another block's shared memory (or on one's own, by one's own rank).
__device__ __forceinline__ unsigned int cluster_load(const unsigned int* local, unsigned int rank) {
    unsigned int value;
    asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(value) : "r"(remote_address(local, rank)) : "memory");
    return value;
}

__device__ __forceinline__ unsigned short cluster_load(const unsigned short* local, unsigned int rank) {
    unsigned short value;
    asm volatile("ld.shared::cluster.u16 %0, [%1];" : "=h"(value) : "r"(remote_address(local, rank)) : "memory");
    return value;
}

__device__ __forceinline__ uint4 cluster_load(const uint4* local, unsigned int rank) {
    uint4 value;
    asm volatile("ld.shared::cluster.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
                 : "r"(remote_address(local, rank))
                 : "memory");
    return value;
}

__device__ __forceinline__ void cluster_store(unsigned int* local, unsigned int rank, unsigned int value) {
    asm volatile("st.shared::cluster.u32 [%0], %1;" ::"r"(remote_address(local, rank)), "r"(value) : "memory");
}

__device__ __forceinline__ void cluster_store(unsigned short* local, unsigned int rank, unsigned short value) {
    asm volatile("st.shared::cluster.u16 [%0], %1;" ::"r"(remote_address(local, rank)), "h"(value) : "memory");
}

__device__ __forceinline__ void cluster_store(uint4* local, unsigned int rank, uint4 value) {
    asm volatile("st.shared::cluster.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(remote_address(local, rank)), "r"(value.x),
                 "r"(value.y), "r"(value.z), "r"(value.w)
                 : "memory");
}

__device__ __forceinline__ unsigned int cluster_atomic_add(unsigned int* local, unsigned int rank, unsigned int value) {
    unsigned int before;
    asm volatile("atom.shared::cluster.add.u32 %0, [%1], %2;"
                 : "=r"(before)
                 : "r"(remote_address(local, rank)), "r"(value)
                 : "memory");
    return before;
}

#endif  // __CUDA_ARCH__ >= 900
#endif  // not WAVESTREAM_HOST_SHIM

// --- the same for other 4-byte types ---------------------------------------------------------------------------------

#if defined(WAVESTREAM_HOST_SHIM) || __CUDA_ARCH__ >= 900

__device__ __forceinline__ float cluster_load(const float* local, unsigned int rank) {
    return bits_as_float(cluster_load(reinterpret_cast<const unsigned int*>(local), rank));
}

__device__ __forceinline__ int cluster_load(const int* local, unsigned int rank) {
    return static_cast<int>(cluster_load(reinterpret_cast<const unsigned int*>(local), rank));
}

__device__ __forceinline__ void cluster_store(float* local, unsigned int rank, float value) {
    cluster_store(reinterpret_cast<unsigned int*>(local), rank, float_as_bits(value));
}

__device__ __forceinline__ void cluster_store(int* local, unsigned int rank, int value) {
    cluster_store(reinterpret_cast<unsigned int*>(local), rank, static_cast<unsigned int>(value));
}

#endif

#endif  // WAVESTREAM_DEVICE_CUH
