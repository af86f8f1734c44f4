// Runs a launch: cluster after cluster; the threads of a cluster by turns, each until it waits for others.

#include <sys/mman.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "fibres.hpp"
#include "machine.hpp"

Machine machine;

extern "C" {
Uint3 threadIdx, blockIdx, blockDim, gridDim;
}

namespace {

enum Order { FORWARD, REVERSE, SHUFFLED };

// Below all stacks lies a megabyte, so that a thread whose stack overflows can still be told so.
constexpr std::size_t GUARD = 4096, MARK_BYTES = 64, MESSAGE_BYTES = 1024, STACK_MARGIN = 1 << 20;
constexpr unsigned char STACK_MARK = 0x5C, GARBAGE = 0xFF;

unsigned char* stacks;
std::uint32_t stack_count;
unsigned char* shared_memory;
std::size_t shared_memory_bytes;
void* scheduler_stack;
void (*kernel)(void**);
void** kernel_arguments;
char message[MESSAGE_BYTES];
const void* failed_code;
int failure;
std::uint64_t random_state;

std::uint32_t random_below(std::uint32_t bound) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return static_cast<std::uint32_t>((random_state >> 32) * bound >> 32);
}

void* reserve(std::size_t bytes) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? nullptr : memory;
}

void thread_main() {
    kernel(kernel_arguments);
    Thread& me = *machine.running;
    if (me.touched_remote)
        fail(BAD_BARRIER, nullptr, "ends without a cluster barrier after its last access to another block's memory");
    me.done = true;
    yield_thread();
    std::abort();
}

bool prepare_memory(std::uint32_t threads, std::uint32_t blocks) {
    if (stack_count < threads) {
        if (stacks != nullptr) munmap(stacks - STACK_MARGIN, STACK_MARGIN + stack_count * STACK_BYTES);
        stack_count = 0;
        stacks = static_cast<unsigned char*>(reserve(STACK_MARGIN + threads * STACK_BYTES));
        if (stacks == nullptr) return false;
        madvise(stacks, STACK_MARGIN + threads * STACK_BYTES, MADV_NOHUGEPAGE);
        stacks += STACK_MARGIN;
        stack_count = threads;
    }
    const std::size_t stride = (machine.shared_bytes + 127) / 128 * 128 + 2 * GUARD;
    if (shared_memory_bytes < blocks * stride) {
        if (shared_memory != nullptr) munmap(shared_memory, shared_memory_bytes);
        shared_memory = static_cast<unsigned char*>(reserve(blocks * stride));
        if (shared_memory == nullptr) return false;
        shared_memory_bytes = blocks * stride;
    }
    for (std::uint32_t b = 0; b < blocks; ++b) machine.blocks[b].shared = shared_memory + b * stride + GUARD;
    if (machine.check_races) ensure_shared(blocks, machine.shared_bytes);
    return true;
}

void begin_cluster(std::uint32_t first_x, std::uint32_t y, std::uint32_t z) {
    machine.cluster = Meeting{};
    machine.cluster.threads = machine.thread_count;
    machine.cluster_start = ++machine.clock;
    std::memset(machine.warps, 0, sizeof(Warp) * machine.cluster_size * machine.warps_per_block);
    for (std::uint32_t b = 0; b < machine.cluster_size; ++b) {
        Block& block = machine.blocks[b];
        unsigned char* shared = block.shared;
        block = Block{};
        block.shared = shared;
        block.index = {first_x + b, y, z};
        block.barrier.threads = machine.block_threads;
        std::memset(shared, GARBAGE, machine.shared_bytes);
    }
    for (std::uint32_t i = 0; i < machine.thread_count; ++i) {
        Thread& thread = machine.threads[i];
        thread = Thread{};
        thread.stack = stacks + i * STACK_BYTES;
        std::memset(thread.stack, STACK_MARK, MARK_BYTES);
        thread.stack_pointer = make_fibre(thread.stack, STACK_BYTES, i % 32 * 128, thread_main);
        const std::uint32_t in_block = i % machine.block_threads;
        thread.number = i;
        thread.block = i / machine.block_threads;
        thread.warp = thread.block * machine.warps_per_block + in_block / WARP;
        thread.lane = in_block % WARP;
        thread.index = {in_block % blockDim.x, in_block / blockDim.x % blockDim.y, in_block / blockDim.x / blockDim.y};
        thread.stamp = machine.clock;
        machine.warps[thread.warp].present |= 1u << thread.lane;
    }
}

void check_stack(const Thread& thread) {
    for (std::size_t i = 0; i < MARK_BYTES; ++i)
        if (thread.stack[i] != STACK_MARK && failure == NO_FAILURE) {
            failure = BAD_OPERATION;
            std::snprintf(message, MESSAGE_BYTES, STACK_OVERFLOW, STACK_BYTES);
        }
}

// Nobody can go on: say who waits where.
void report_deadlock() {
    failure = BAD_BARRIER;
    failed_code = nullptr;
    int used = std::snprintf(message, MESSAGE_BYTES, "threads wait for others that never come:");
    std::uint32_t ended = 0;
    for (std::uint32_t i = 0; i < machine.thread_count; ++i) {
        const Thread& thread = machine.threads[i];
        ended += thread.done;
        bool first = !thread.done;
        for (std::uint32_t j = 0; j < i && first; ++j)
            first = machine.threads[j].done || machine.threads[j].line != thread.line ||
                    machine.threads[j].place != thread.place || machine.threads[j].block != thread.block;
        if (!first || used >= static_cast<int>(MESSAGE_BYTES) - 160) continue;
        std::uint32_t same = 0;
        for (std::uint32_t j = i; j < machine.thread_count; ++j)
            same += !machine.threads[j].done && machine.threads[j].line == thread.line &&
                    machine.threads[j].place == thread.place && machine.threads[j].block == thread.block;
        const Uint3& block = machine.blocks[thread.block].index;
        used += std::snprintf(message + used, MESSAGE_BYTES - used, " %u of block (%u, %u, %u) in %s at line %d;", same,
                              block.x, block.y, block.z, thread.place, thread.line);
    }
    std::snprintf(message + used, MESSAGE_BYTES - used, " %u have ended", ended);
}

void run_cluster(Order order, std::uint32_t* turns) {
    const std::uint32_t count = machine.thread_count;
    for (std::uint32_t i = 0; i < count; ++i) turns[i] = order == REVERSE ? count - 1 - i : i;
    for (std::uint32_t left = count; left > 0;) {
        if (order == SHUFFLED)
            for (std::uint32_t i = count - 1; i > 0; --i) {
                const std::uint32_t j = random_below(i + 1), kept = turns[i];
                turns[i] = turns[j];
                turns[j] = kept;
            }
        bool progress = false;
        for (std::uint32_t i = 0; i < count; ++i) {
            Thread& thread = machine.threads[turns[i]];
            if (thread.done || (thread.waits_on != nullptr && *thread.waits_on == thread.waits_for)) continue;
            progress = true;
            thread.waits_on = nullptr;
            threadIdx = thread.index;
            blockIdx = machine.blocks[thread.block].index;
            machine.running = &thread;
            switch_fibre(&scheduler_stack, thread.stack_pointer);
            check_stack(thread);
            if (failure != NO_FAILURE) return;
            left -= thread.done;
        }
        if (!progress) return report_deadlock();
    }
}

}  // namespace

void yield_thread() { switch_fibre(&machine.running->stack_pointer, scheduler_stack); }

void fail(Failure kind, const void* code, const char* format, ...) {
    const Thread& me = *machine.running;
    const Uint3& block = machine.blocks[me.block].index;
    int used = std::snprintf(message, MESSAGE_BYTES, "thread (%u, %u, %u) of block (%u, %u, %u): ", me.index.x,
                             me.index.y, me.index.z, block.x, block.y, block.z);
    va_list values;
    va_start(values, format);
    std::vsnprintf(message + used, MESSAGE_BYTES - used, format, values);
    va_end(values);
    failure = kind;
    failed_code = code;
    yield_thread();
    std::abort();
}

extern "C" {

extern const unsigned char __ehdr_start[] __attribute__((visibility("hidden")));
extern const unsigned char _end[] __attribute__((visibility("hidden")));

struct Launch {
    std::uint32_t grid[3], block[3], cluster, order, seed, check_races;
    std::uint64_t shared_bytes;
};

// Run a kernel; 0, or the kind of failure, which shim_message and shim_failed_at then tell about.
int shim_launch(void (*call)(void**), void** arguments, const Launch* launch, const MemoryRange* given,
                int given_count) {
    failure = NO_FAILURE;
    failed_code = nullptr;
    kernel = call;
    kernel_arguments = arguments;
    random_state = 0x9E3779B97F4A7C15ull ^ (static_cast<std::uint64_t>(launch->seed) + 1) << 17;
    blockDim = {launch->block[0], launch->block[1], launch->block[2]};
    gridDim = {launch->grid[0], launch->grid[1], launch->grid[2]};
    machine = Machine{};
    machine.block_threads = blockDim.x * blockDim.y * blockDim.z;
    machine.cluster_size = launch->cluster;
    machine.thread_count = machine.block_threads * machine.cluster_size;
    machine.warps_per_block = (machine.block_threads + WARP - 1) / WARP;
    machine.shared_bytes = launch->shared_bytes;
    machine.check_races = launch->check_races != 0;
    machine.threads = static_cast<Thread*>(std::calloc(machine.thread_count, sizeof(Thread)));
    machine.warps = static_cast<Warp*>(std::calloc(machine.cluster_size * machine.warps_per_block, sizeof(Warp)));
    machine.blocks = static_cast<Block*>(std::calloc(machine.cluster_size, sizeof(Block)));
    auto* turns = static_cast<std::uint32_t*>(std::calloc(machine.thread_count, sizeof(std::uint32_t)));
    auto* reachable = static_cast<MemoryRange*>(std::calloc(given_count + 1, sizeof(MemoryRange)));
    std::memcpy(reachable, given, sizeof(MemoryRange) * given_count);
    auto *begin = const_cast<unsigned char*>(__ehdr_start), *end = const_cast<unsigned char*>(_end);
    reachable[given_count] = {begin, end, false, nullptr};
    set_ranges(reachable, given_count + 1);
    if (!prepare_memory(machine.thread_count, machine.cluster_size)) {
        failure = BAD_OPERATION;
        std::snprintf(message, MESSAGE_BYTES, "no memory for the stacks of %u threads", machine.thread_count);
    }
    for (std::uint32_t z = 0; z < gridDim.z && failure == NO_FAILURE; ++z)
        for (std::uint32_t y = 0; y < gridDim.y && failure == NO_FAILURE; ++y)
            for (std::uint32_t x = 0; x < gridDim.x && failure == NO_FAILURE; x += machine.cluster_size) {
                begin_cluster(x, y, z);
                run_cluster(static_cast<Order>(launch->order), turns);
            }
    machine.running = nullptr;
    release_ranges();
    std::free(reachable);
    std::free(turns);
    std::free(machine.blocks);
    std::free(machine.warps);
    std::free(machine.threads);
    return failure;
}

const char* shim_message() { return message; }

// Offset in the library of the code that failed; 0 if unknown.
std::uint64_t shim_failed_at() {
    if (failed_code == nullptr) return 0;
    return static_cast<const unsigned char*>(failed_code) - __ehdr_start - 1;
}
}
