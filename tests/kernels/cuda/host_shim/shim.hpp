// What a kernel sees when it is compiled for the CPU: CUDA's keywords and indices, and the names of device.cuh.
//
// Included before the kernel's source. A thread is a fibre; the functions declared here run in scheduler.cpp and
// accesses.cpp. Barriers and warp functions carry the line they were called from: threads that meet, meet at one line.

#pragma once

#include <cmath>
#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

#define __device__
#define __global__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __constant__ static
#define __restrict__ __restrict
#define __align__(bytes) alignas(bytes)
#define __cluster_dims__(...)
// A static array would be one for all blocks of a cluster.
#define __shared__ static_assert(false, "the host shim has dynamic shared memory only: DYNAMIC_SHARED(name)");
#define DYNAMIC_SHARED(name) unsigned char* const name = shim_shared_memory()
#define WARP_SIZE 32u

struct uint3 {
    unsigned int x, y, z;
};
using dim3 = uint3;

#define SHIM_VECTORS(type, name)                                                    \
    struct alignas(2 * sizeof(type)) name##2 {                                      \
        type x, y;                                                                  \
    };                                                                              \
    struct alignas(4 * sizeof(type)) name##4 {                                      \
        type x, y, z, w;                                                            \
    };                                                                              \
    inline name##2 make_##name##2(type x, type y) { return {x, y}; }                \
    inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
SHIM_VECTORS(unsigned char, uchar)
SHIM_VECTORS(unsigned short, ushort)
SHIM_VECTORS(short, short)
SHIM_VECTORS(int, int)
SHIM_VECTORS(unsigned int, uint)
SHIM_VECTORS(float, float)
#undef SHIM_VECTORS

// Constants to the thread that reads them; the scheduler sets them at every switch.
extern "C" {
extern const uint3 threadIdx, blockIdx, blockDim, gridDim;

unsigned char* shim_shared_memory();
float shim_half_to_float(unsigned short bits);
unsigned short shim_float_to_half(float value);

void shim_block_barrier(int line);
void shim_named_barrier(unsigned int id, unsigned int threads, int line);
void shim_cluster_barrier(int line);
void shim_warp_barrier(int line);
unsigned int shim_shuffle(unsigned int value, unsigned int lane, int line);
unsigned int shim_shuffle_xor(unsigned int value, unsigned int mask, int line);
unsigned int shim_shuffle_down(unsigned int value, unsigned int distance, int line);
unsigned int shim_ballot(bool predicate, int line);
unsigned int shim_reduce_add(unsigned int value, int line);
unsigned int shim_reduce_max(unsigned int value, int line);

unsigned int shim_atomic_add(unsigned int* address, unsigned int value, bool shared);
unsigned int shim_atomic_max(unsigned int* address, unsigned int value, bool shared);

unsigned int shim_cluster_rank();
unsigned int shim_cluster_size();
void shim_cluster_load(const void* local, unsigned int rank, void* value, std::size_t bytes);
void shim_cluster_store(void* local, unsigned int rank, const void* value, std::size_t bytes);
unsigned int shim_cluster_atomic_add(unsigned int* local, unsigned int rank, unsigned int value);
}

template <typename A, typename B>
inline std::common_type_t<A, B> min(A a, B b) {
    using Common = std::common_type_t<A, B>;
    return static_cast<Common>(b) < static_cast<Common>(a) ? static_cast<Common>(b) : static_cast<Common>(a);
}
template <typename A, typename B>
inline std::common_type_t<A, B> max(A a, B b) {
    using Common = std::common_type_t<A, B>;
    return static_cast<Common>(a) < static_cast<Common>(b) ? static_cast<Common>(b) : static_cast<Common>(a);
}

template <typename To, typename From>
inline To shim_bits(From value) {
    static_assert(sizeof(To) == 4 && sizeof(From) == 4, "int, unsigned int or float");
    To result;
    __builtin_memcpy(&result, &value, 4);
    return result;
}

inline unsigned int float_as_bits(float value) { return shim_bits<unsigned int>(value); }
inline float bits_as_float(unsigned int bits) { return shim_bits<float>(bits); }
inline unsigned int count_bits(unsigned int bits) { return __builtin_popcount(bits); }
inline unsigned int leading_zeros(unsigned int bits) { return bits == 0 ? 32u : __builtin_clz(bits); }
inline float multiply_add(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float half_to_float(unsigned short bits) { return shim_half_to_float(bits); }
inline unsigned short float_to_half(float value) { return shim_float_to_half(value); }
inline int round_to_int(float value) {
    if (!(value == value)) return 0;
    if (value >= 2147483648.0f) return 2147483647;
    if (value < -2147483648.0f) return -2147483647 - 1;
    return static_cast<int>(__builtin_rintf(value));
}

#define SHIM_LINE int line = __builtin_LINE()
inline void block_barrier(SHIM_LINE) { shim_block_barrier(line); }
inline void named_barrier(unsigned int id, unsigned int threads, SHIM_LINE) { shim_named_barrier(id, threads, line); }
inline void cluster_barrier(SHIM_LINE) { shim_cluster_barrier(line); }
inline void warp_barrier(SHIM_LINE) { shim_warp_barrier(line); }
template <typename T>
inline T shuffle(T value, unsigned int lane, SHIM_LINE) {
    return shim_bits<T>(shim_shuffle(shim_bits<unsigned int>(value), lane, line));
}
template <typename T>
inline T shuffle_xor(T value, unsigned int mask, SHIM_LINE) {
    return shim_bits<T>(shim_shuffle_xor(shim_bits<unsigned int>(value), mask, line));
}
template <typename T>
inline T shuffle_down(T value, unsigned int distance, SHIM_LINE) {
    return shim_bits<T>(shim_shuffle_down(shim_bits<unsigned int>(value), distance, line));
}
inline unsigned int ballot(bool predicate, SHIM_LINE) { return shim_ballot(predicate, line); }
inline unsigned int warp_reduce_add(unsigned int value, SHIM_LINE) { return shim_reduce_add(value, line); }
inline unsigned int warp_reduce_max(unsigned int value, SHIM_LINE) { return shim_reduce_max(value, line); }
#undef SHIM_LINE

inline unsigned int shared_atomic_add(unsigned int* a, unsigned int value) { return shim_atomic_add(a, value, true); }
inline unsigned int shared_atomic_max(unsigned int* a, unsigned int value) { return shim_atomic_max(a, value, true); }
inline unsigned int global_atomic_add(unsigned int* a, unsigned int value) { return shim_atomic_add(a, value, false); }
inline unsigned int global_atomic_max(unsigned int* a, unsigned int value) { return shim_atomic_max(a, value, false); }

template <typename T>
inline T load_streaming(const T* address) {
    return *address;
}
template <typename T>
inline void store_streaming(T* address, T value) {
    *address = value;
}

inline unsigned int cluster_rank() { return shim_cluster_rank(); }
inline unsigned int cluster_size() { return shim_cluster_size(); }
#define SHIM_REMOTE(type)                                                           \
    inline type cluster_load(const type* local, unsigned int rank) {                \
        type value;                                                                 \
        shim_cluster_load(local, rank, &value, sizeof(value));                      \
        return value;                                                               \
    }                                                                               \
    inline void cluster_store(type* local, unsigned int rank, type value) {         \
        shim_cluster_store(local, rank, &value, sizeof(value));                     \
    }
SHIM_REMOTE(unsigned int)
SHIM_REMOTE(unsigned short)
SHIM_REMOTE(uint4)
#undef SHIM_REMOTE
inline unsigned int cluster_atomic_add(unsigned int* local, unsigned int rank, unsigned int value) {
    return shim_cluster_atomic_add(local, rank, value);
}

// How the launcher calls a kernel: one pointer per argument. `describe` tells it what the kernel expects.
enum ShimParameter { SHIM_NUMBER = 0, SHIM_INPUT = 1, SHIM_OUTPUT = 2 };

// Not checked itself, and not merged with the kernel, which is.
template <typename... P, std::size_t... I>
__attribute__((noipa, no_sanitize("thread", "undefined"))) void shim_call(void (*kernel)(P...), void** arguments,
                                                                          std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_cv_t<P>*>(arguments[I])...);
}
template <typename... P>
inline void shim_call(void (*kernel)(P...), void** arguments) {
    shim_call(kernel, arguments, std::index_sequence_for<P...>{});
}
template <typename P>
inline void shim_describe_one(int* kind, int* bytes) {
    if constexpr (std::is_pointer_v<P>) {
        using Pointee = std::remove_pointer_t<P>;
        *kind = std::is_const_v<Pointee> ? SHIM_INPUT : SHIM_OUTPUT;
        if constexpr (std::is_void_v<Pointee>) *bytes = 0; else *bytes = sizeof(Pointee);
    } else {
        *kind = SHIM_NUMBER;
        *bytes = sizeof(P);
    }
}
template <typename... P>
inline int shim_describe(void (*)(P...), int* kinds, int* bytes) {
    int at = 0;
    (void)std::initializer_list<int>{(shim_describe_one<P>(kinds + at, bytes + at), ++at)...};
    return at;
}
