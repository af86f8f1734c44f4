// The simulated multiprocessor's state: the threads, warps and blocks of the cluster that is running.

#pragma once

#include <cstddef>
#include <cstdint>

struct Uint3 {
    unsigned int x, y, z;
};

// When threads synchronised. `clock` counts completed barriers of every kind; a thread's `stamp` is the clock of the
// last one it passed, so an access stamped s came before a barrier at time t, which its thread passed too, if s < t.
struct Thread {
    void* stack_pointer;
    unsigned char* stack;           // lowest address
    const std::uint32_t* waits_on;  // runs again once *waits_on != waits_for; nullptr: ready
    std::uint32_t waits_for;
    const char* place;              // what it waits at
    int line;
    Uint3 index;
    std::uint32_t number, block, warp, lane;  // number and warp count through the cluster
    std::uint32_t stamp, warp_time, block_time, cluster_time;
    bool done, touched_remote;  // touched_remote: another block's memory, since the last cluster barrier
};

constexpr unsigned int WARP = 32, NAMED_BARRIERS = 16, MAX_BLOCK_THREADS = 1024, MAX_CLUSTER = 16;

struct Meeting {  // of all threads of a block or a cluster, or of some warps
    std::uint32_t arrived, generation, time, warps, threads;
    int line;
};

struct Warp {
    std::uint32_t arrived, generation, present, time;  // arrived, present: a bit per lane
    const char* place;
    int line;
    std::uint32_t values[2][WARP];  // of this generation and the last, which may still be being read
};

struct Block {
    Uint3 index;
    Meeting barrier, named[NAMED_BARRIERS];
    std::uint32_t joint[WARP][WARP];  // when two warps last met at a named barrier
    unsigned char* shared;
};

struct Machine {
    Thread* threads;
    Warp* warps;
    Block* blocks;
    Meeting cluster;
    Thread* running;
    std::uint32_t thread_count, block_threads, cluster_size, warps_per_block;
    std::uint32_t clock, cluster_start;
    std::size_t shared_bytes;
    bool check_races;
};

extern Machine machine;

constexpr std::size_t STACK_BYTES = 64 * 1024;
constexpr char STACK_OVERFLOW[] = "local arrays too large for a thread's stack of %zu bytes";

enum Failure { NO_FAILURE = 0, BAD_ADDRESS = 1, BAD_BARRIER = 2, RACE = 3, BAD_OPERATION = 4 };

// Stop the launch with a message that names the running thread. `code`: where in the kernel, or nullptr.
[[noreturn]] void fail(Failure failure, const void* code, const char* format, ...);

// Give the processor back to the scheduler.
void yield_thread();

struct MemoryRange {
    unsigned char *begin, *end;
    bool writable;
    struct Trace* traces;  // one per byte, of a writable range; nullptr where races are not looked for
};

// Where the launch may reach: the arguments' arrays, and the module's own tables.
void set_ranges(const MemoryRange* ranges, int count);
void release_ranges();

enum Access { READ, WRITE, ATOMIC };
// Check one access of the running thread, to its block's shared memory (or to another block's: `block`) or to a range.
void check_access(const void* address, std::size_t bytes, Access access, const void* code, bool aligned = true);
void check_shared(std::uint32_t block, std::size_t offset, std::size_t bytes, Access access, const void* code);
void ensure_shared(std::uint32_t blocks, std::size_t bytes);
