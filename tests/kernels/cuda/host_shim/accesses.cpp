// Is an access inside what the thread may touch, and is it ordered against other threads' accesses to the same bytes?

#include <sys/mman.h>

#include <cstdlib>

#include "machine.hpp"

// Who touched a byte: one thread, or several that no barrier separates, of one warp, one block, or the cluster.
enum Scope : std::uint16_t { ONE_THREAD = 0x0000, ONE_WARP = 0x4000, ONE_BLOCK = 0x8000, CLUSTER = 0xC000 };
constexpr std::uint16_t SCOPE = 0xC000, NUMBER = 0x3FFF;
constexpr std::uint32_t BY_ATOMIC = 0x80000000u;

struct Trace {  // of one byte: the last writes and the last reads, by whom and when (0: never)
    std::uint32_t written, read;
    std::uint16_t writer, reader;
};

namespace {

const MemoryRange* ranges;
int range_count;
MemoryRange* owned;
Trace* shared_traces;
std::size_t shared_capacity;

Trace* zeroed_traces(std::size_t count) {
    void* memory = mmap(nullptr, count * sizeof(Trace), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? nullptr : static_cast<Trace*>(memory);
}

std::uint32_t warp_of(std::uint16_t who) {
    return (who & SCOPE) == ONE_THREAD ? machine.threads[who & NUMBER].warp : who & NUMBER;
}

std::uint32_t block_of(std::uint16_t who) {
    return (who & SCOPE) == ONE_BLOCK ? who & NUMBER : warp_of(who) / machine.warps_per_block;
}

// Did a barrier separate what `who` did at time `when` from what `me` does now?
bool ordered(std::uint16_t who, std::uint32_t when, const Thread& me) {
    if (when < machine.cluster_start) return false;
    if (me.cluster_time > when) return true;
    if ((who & SCOPE) == CLUSTER || block_of(who) != me.block) return false;
    if (me.block_time > when) return true;
    if ((who & SCOPE) == ONE_BLOCK) return false;
    const std::uint32_t warp = warp_of(who);
    if (warp == me.warp && (me.warp_time > when || ((who & SCOPE) == ONE_THREAD && who == me.number))) return true;
    return machine.blocks[me.block].joint[warp % machine.warps_per_block][me.warp % machine.warps_per_block] > when;
}

std::uint16_t joined(std::uint16_t who, const Thread& me) {
    if (who == me.number) return who;
    if ((who & SCOPE) == CLUSTER || block_of(who) != me.block) return CLUSTER;
    if ((who & SCOPE) == ONE_BLOCK || warp_of(who) != me.warp) return ONE_BLOCK | static_cast<std::uint16_t>(me.block);
    return ONE_WARP | static_cast<std::uint16_t>(me.warp);
}

[[noreturn]] void report(const Trace& trace, bool writer, Access access, const char* memory, std::size_t offset,
                         const void* code) {
    static const char* const doing[] = {"read", "write", "atomic"};
    const std::uint16_t who = writer ? trace.writer : trace.reader;
    const char* before = !writer ? "read" : (trace.written & BY_ATOMIC) != 0 ? "atomic" : "write";
    if ((writer ? trace.written & ~BY_ATOMIC : trace.read) < machine.cluster_start)
        fail(RACE, code, "a race: %s of byte %zu of %s memory, and %s by another block, with no barrier between them",
             doing[access], offset, memory, before);
    if ((who & SCOPE) != ONE_THREAD)
        fail(RACE, code, "a race: %s of byte %zu of %s memory, and %s by other threads, with no barrier between them",
             doing[access], offset, memory, before);
    const char* block = block_of(who) == machine.running->block ? "the same" : "another";
    fail(RACE, code, "a race: %s of byte %zu of %s memory, and %s by thread %u of %s block, with no barrier"
         " between them",
         doing[access], offset, memory, before, (who & NUMBER) % machine.block_threads, block);
}

// Check and note one access. Traces of shared memory from before this cluster began are nobody's.
void trace_bytes(Trace* trace, std::size_t bytes, Access access, const char* memory, std::size_t offset,
                 bool persistent, const void* code) {
    const Thread& me = *machine.running;
    const auto self = static_cast<std::uint16_t>(me.number);
    for (std::size_t i = 0; i < bytes; ++i, ++trace) {
        std::uint32_t written = trace->written & ~BY_ATOMIC;
        if (!persistent) {
            if (written < machine.cluster_start) trace->written = written = 0;
            if (trace->read < machine.cluster_start) trace->read = 0;
        }
        const bool alone = written == 0 || (trace->writer == self && written >= machine.cluster_start);
        const bool after_write = alone || ordered(trace->writer, written, me);
        const bool atomics = access == ATOMIC && (trace->written & BY_ATOMIC) != 0;
        if (!after_write && !atomics) report(*trace, true, access, memory, offset + i, code);
        const bool after_reads = trace->read == 0 || ordered(trace->reader, trace->read, me);
        if (access == READ) {
            trace->reader = after_reads || trace->read == 0 ? self : joined(trace->reader, me);
            trace->read = me.stamp;
            continue;
        }
        if (!after_reads) report(*trace, false, access, memory, offset + i, code);
        trace->read = 0;
        if (access == ATOMIC) {
            trace->writer = after_write ? self : written < machine.cluster_start ? CLUSTER : joined(trace->writer, me);
            trace->written = me.stamp | BY_ATOMIC;
        } else {
            trace->writer = self;
            trace->written = me.stamp;
        }
    }
}

}  // namespace

void set_ranges(const MemoryRange* given, int count) {
    owned = static_cast<MemoryRange*>(std::malloc(sizeof(MemoryRange) * count));
    for (int i = 0; i < count; ++i) {
        owned[i] = given[i];
        owned[i].traces = nullptr;
        if (owned[i].writable && machine.check_races)
            owned[i].traces = zeroed_traces(owned[i].end - owned[i].begin);
    }
    ranges = owned;
    range_count = count;
}

void release_ranges() {
    for (int i = 0; i < range_count; ++i)
        if (owned[i].traces != nullptr) munmap(owned[i].traces, (owned[i].end - owned[i].begin) * sizeof(Trace));
    std::free(owned);
    owned = nullptr;
    ranges = nullptr;
    range_count = 0;
}

void ensure_shared(std::uint32_t blocks, std::size_t bytes) {
    const std::size_t needed = blocks * bytes;
    if (needed > shared_capacity) {
        if (shared_traces != nullptr) munmap(shared_traces, shared_capacity * sizeof(Trace));
        shared_traces = zeroed_traces(needed);
        shared_capacity = needed;
    } else if (shared_traces != nullptr) {
        madvise(shared_traces, shared_capacity * sizeof(Trace), MADV_DONTNEED);
    }
}

void check_shared(std::uint32_t block, std::size_t offset, std::size_t bytes, Access access, const void* code) {
    if (offset + bytes > machine.shared_bytes)
        fail(BAD_ADDRESS, code, "%s of %zu bytes at offset %zu of %zu bytes of shared memory",
             access == READ ? "read" : "write", bytes, offset, machine.shared_bytes);
    if (machine.check_races)
        trace_bytes(shared_traces + block * machine.shared_bytes + offset, bytes, access, "shared", offset, false,
                    code);
}

void check_access(const void* address, std::size_t bytes, Access access, const void* code, bool aligned) {
    const Thread* me = machine.running;
    if (me == nullptr) return;
    const auto* at = static_cast<const unsigned char*>(address);
    if (at >= me->stack && at + bytes <= me->stack + STACK_BYTES) return;
    if (at < me->stack && at > reinterpret_cast<const unsigned char*>(&me))
        fail(BAD_OPERATION, code, STACK_OVERFLOW, STACK_BYTES);
    if (aligned && (reinterpret_cast<std::uintptr_t>(at) & (bytes - 1)) != 0)
        fail(BAD_ADDRESS, code, "%s of %zu bytes at an address that is not a multiple of %zu",
             access == READ ? "read" : "write", bytes, bytes);
    const unsigned char* shared = machine.blocks[me->block].shared;
    if (at >= shared && at < shared + machine.shared_bytes)
        return check_shared(me->block, at - shared, bytes, access, code);
    for (int i = 0; i < range_count; ++i) {
        const MemoryRange& range = ranges[i];
        if (at < range.begin || at + bytes > range.end) continue;
        if (access != READ && !range.writable) fail(BAD_ADDRESS, code, "write to an array that is given as constant");
        if (range.traces != nullptr)
            trace_bytes(range.traces + (at - range.begin), bytes, access, "global", at - range.begin, true, code);
        return;
    }
    if (at + 4096 > shared && at < shared + machine.shared_bytes + 4096)
        fail(BAD_ADDRESS, code, "%s of %zu bytes at offset %td of %zu bytes of shared memory",
             access == READ ? "read" : "write", bytes, at - shared, machine.shared_bytes);
    for (int i = 0; i < range_count; ++i)
        if (at + 65536 > ranges[i].begin && at < ranges[i].end + 65536)
            fail(BAD_ADDRESS, code, "%s of %zu bytes at offset %td of the %td bytes of array %d",
                 access == READ ? "read" : "write", bytes, at - ranges[i].begin, ranges[i].end - ranges[i].begin, i);
    fail(BAD_ADDRESS, code, "%s of %zu bytes outside shared memory and all arrays",
         access == READ ? "read" : "write", bytes);
}
