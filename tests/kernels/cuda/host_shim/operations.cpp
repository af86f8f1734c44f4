// Barriers, warp functions, atomics and remote shared memory, as the kernels call them.

#include <cstring>

#include "machine.hpp"

#define CODE __builtin_return_address(0)

namespace {

void wait_for(const std::uint32_t& generation, const char* place, int line) {
    Thread& me = *machine.running;
    me.waits_on = &generation;
    me.waits_for = generation;
    me.place = place;
    me.line = line;
    yield_thread();
}

// Arrive, and go on once all have arrived. `line` 0: threads may come from different lines.
void meet(Meeting& meeting, const char* place, int line) {
    Thread& me = *machine.running;
    if (meeting.arrived == 0) {
        meeting.line = line;
        meeting.warps = 0;
    } else if (meeting.line != line) {
        fail(BAD_BARRIER, nullptr, "reaches the %s at line %d while others wait at the one at line %d", place, line,
             meeting.line);
    }
    meeting.warps |= 1u << me.warp % machine.warps_per_block;
    if (++meeting.arrived < meeting.threads) return wait_for(meeting.generation, place, line);
    meeting.arrived = 0;
    meeting.time = ++machine.clock;
    ++meeting.generation;
}

// All lanes of a warp that exist hand in a value and get everybody's.
const std::uint32_t* exchange(std::uint32_t value, const char* place, int line) {
    Thread& me = *machine.running;
    Warp& warp = machine.warps[me.warp];
    if (warp.arrived == 0) {
        warp.place = place;
        warp.line = line;
    } else if (warp.line != line || warp.place != place) {
        fail(BAD_BARRIER, nullptr, "calls %s at line %d while other lanes of its warp wait in %s at line %d", place,
             line, warp.place, warp.line);
    }
    const std::uint32_t* values = warp.values[warp.generation & 1];
    warp.values[warp.generation & 1][me.lane] = value;
    warp.arrived |= 1u << me.lane;
    if (warp.arrived != warp.present) {
        wait_for(warp.generation, place, line);
    } else {
        warp.arrived = 0;
        ++warp.generation;
    }
    return values;
}

std::uint32_t value_of_lane(const std::uint32_t* values, std::uint32_t lane) {
    const Warp& warp = machine.warps[machine.running->warp];
    if ((warp.present >> lane & 1) == 0)
        fail(BAD_BARRIER, nullptr, "reads the value of lane %u, which the last warp of the block does not have", lane);
    return values[lane];
}

unsigned char* remote_memory(const void* local, unsigned int rank, std::size_t bytes, Access access, const void* code) {
    Thread& me = *machine.running;
    if (rank >= machine.cluster_size)
        fail(BAD_ADDRESS, code, "block %u of a cluster of %u blocks", rank, machine.cluster_size);
    const auto offset =
        static_cast<std::size_t>(static_cast<const unsigned char*>(local) - machine.blocks[me.block].shared);
    if (reinterpret_cast<std::uintptr_t>(local) % bytes != 0)
        fail(BAD_ADDRESS, code, "remote access of %zu bytes at an address that is not a multiple of %zu", bytes, bytes);
    check_shared(rank, offset, bytes, access, code);
    if (rank != me.block) me.touched_remote = true;
    return machine.blocks[rank].shared + offset;
}

void check_atomic(unsigned int* address, bool shared, const void* code) {
    const Block& block = machine.blocks[machine.running->block];
    const auto* at = reinterpret_cast<unsigned char*>(address);
    if (shared != (at >= block.shared && at < block.shared + machine.shared_bytes))
        fail(BAD_ADDRESS, code, shared ? "a shared atomic on memory that is not the block's shared memory"
                                       : "a global atomic on shared memory");
    check_access(address, sizeof(*address), ATOMIC, code);
}

}  // namespace

extern "C" {

unsigned char* shim_shared_memory() { return machine.blocks[machine.running->block].shared; }

void shim_block_barrier(int line) {
    Thread& me = *machine.running;
    Meeting& meeting = machine.blocks[me.block].barrier;
    meet(meeting, "block_barrier", line);
    me.stamp = me.block_time = meeting.time;
}

void shim_named_barrier(unsigned int id, unsigned int threads, int line) {
    Thread& me = *machine.running;
    Block& block = machine.blocks[me.block];
    if (id < 1 || id >= NAMED_BARRIERS || threads % WARP != 0 || threads == 0 || threads > machine.block_threads)
        fail(BAD_BARRIER, CODE, "named_barrier(%u, %u) at line %d: expected id 1 to 15 and whole warps of the block",
             id, threads, line);
    Meeting& meeting = block.named[id];
    if (meeting.arrived != 0 && meeting.threads != threads)
        fail(BAD_BARRIER, CODE, "named_barrier(%u, %u) at line %d while others wait there for %u threads", id, threads,
             line, meeting.threads);
    meeting.threads = threads;
    meet(meeting, "named_barrier", 0);
    const std::uint32_t mine = me.warp % machine.warps_per_block;
    for (std::uint32_t warp = 0; warp < machine.warps_per_block; ++warp)
        if ((meeting.warps >> warp & 1) != 0 && block.joint[warp][mine] < meeting.time)
            block.joint[warp][mine] = meeting.time;
    me.stamp = meeting.time;
}

void shim_cluster_barrier(int line) {
    Thread& me = *machine.running;
    meet(machine.cluster, "cluster_barrier", line);
    me.stamp = me.block_time = me.cluster_time = machine.cluster.time;
    me.touched_remote = false;
}

void shim_warp_barrier(int line) {
    Thread& me = *machine.running;
    Warp& warp = machine.warps[me.warp];
    const std::uint32_t before = warp.generation;
    const bool last = (warp.arrived | 1u << me.lane) == warp.present;
    if (last) warp.time = ++machine.clock;
    exchange(before, "warp_barrier", line);
    me.stamp = me.warp_time = warp.time;
}

unsigned int shim_shuffle(unsigned int value, unsigned int lane, int line) {
    return value_of_lane(exchange(value, "shuffle", line), lane % WARP);
}

unsigned int shim_shuffle_xor(unsigned int value, unsigned int mask, int line) {
    const std::uint32_t lane = machine.running->lane ^ mask;
    return value_of_lane(exchange(value, "shuffle_xor", line), lane < WARP ? lane : machine.running->lane);
}

unsigned int shim_shuffle_down(unsigned int value, unsigned int distance, int line) {
    const std::uint32_t lane = machine.running->lane + distance;
    return value_of_lane(exchange(value, "shuffle_down", line), lane < WARP ? lane : machine.running->lane);
}

unsigned int shim_ballot(bool predicate, int line) {
    const std::uint32_t* values = exchange(predicate, "ballot", line);
    std::uint32_t bits = 0;
    for (std::uint32_t lane = 0; lane < WARP; ++lane)
        if ((machine.warps[machine.running->warp].present >> lane & 1) != 0) bits |= values[lane] << lane;
    return bits;
}

unsigned int shim_reduce_add(unsigned int value, int line) {
    const std::uint32_t* values = exchange(value, "warp_reduce_add", line);
    std::uint32_t sum = 0;
    for (std::uint32_t lane = 0; lane < WARP; ++lane)
        if ((machine.warps[machine.running->warp].present >> lane & 1) != 0) sum += values[lane];
    return sum;
}

unsigned int shim_reduce_max(unsigned int value, int line) {
    const std::uint32_t* values = exchange(value, "warp_reduce_max", line);
    std::uint32_t largest = 0;
    for (std::uint32_t lane = 0; lane < WARP; ++lane)
        if ((machine.warps[machine.running->warp].present >> lane & 1) != 0 && values[lane] > largest)
            largest = values[lane];
    return largest;
}

unsigned int shim_atomic_add(unsigned int* address, unsigned int value, bool shared) {
    check_atomic(address, shared, CODE);
    const unsigned int before = *address;
    *address = before + value;
    return before;
}

unsigned int shim_atomic_max(unsigned int* address, unsigned int value, bool shared) {
    check_atomic(address, shared, CODE);
    const unsigned int before = *address;
    *address = before < value ? value : before;
    return before;
}

unsigned int shim_cluster_rank() { return machine.running->block; }
unsigned int shim_cluster_size() { return machine.cluster_size; }

void shim_cluster_load(const void* local, unsigned int rank, void* value, std::size_t bytes) {
    std::memcpy(value, remote_memory(local, rank, bytes, READ, CODE), bytes);
}

void shim_cluster_store(void* local, unsigned int rank, const void* value, std::size_t bytes) {
    std::memcpy(remote_memory(local, rank, bytes, WRITE, CODE), value, bytes);
}

unsigned int shim_cluster_atomic_add(unsigned int* local, unsigned int rank, unsigned int value) {
    auto* address = reinterpret_cast<unsigned int*>(remote_memory(local, rank, sizeof(*local), ATOMIC, CODE));
    const unsigned int before = *address;
    *address = before + value;
    return before;
}

float shim_half_to_float(unsigned short bits) {
    const std::uint32_t sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31, fraction = bits & 0x3FFu;
    float magnitude;
    if (exponent == 31) {
        const std::uint32_t special = sign | (fraction == 0 ? 0x7F800000u : 0x7FC00000u | fraction << 13);
        std::memcpy(&magnitude, &special, 4);
        return magnitude;
    }
    magnitude = exponent == 0 ? fraction * 0x1p-24f : 0.0f;
    if (exponent != 0) {
        const std::uint32_t normal = (exponent + 112) << 23 | fraction << 13;
        std::memcpy(&magnitude, &normal, 4);
    }
    return sign != 0 ? -magnitude : magnitude;
}

unsigned short shim_float_to_half(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, 4);
    const auto sign = static_cast<unsigned short>(bits >> 16 & 0x8000u);
    bits &= 0x7FFFFFFFu;
    if (bits > 0x7F800000u) return 0x7FFF;
    if (bits >= 0x477FF000u) return sign | 0x7C00;
    float magnitude;
    if (bits < 0x38800000u) {  // below 2**-14: adding 0.5 leaves the denormal's bits, rounded to nearest even
        std::memcpy(&magnitude, &bits, 4);
        magnitude += 0.5f;
        std::memcpy(&bits, &magnitude, 4);
        return sign | static_cast<unsigned short>(bits - 0x3F000000u);
    }
    const std::uint32_t odd = bits >> 13 & 1;
    return sign | static_cast<unsigned short>((bits - 0x38000000u + 0xFFF + odd) >> 13);
}
}
