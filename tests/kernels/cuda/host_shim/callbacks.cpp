// What the compiler inserts: one call per memory access (-fsanitize=thread) and per undefined operation
// (-fsanitize=shift,bounds,...). The sanitizers' own libraries are not linked; these are their names.

#include "machine.hpp"

#define CODE __builtin_return_address(0)

#define ACCESSES(bytes)                                                                                    \
    void __tsan_read##bytes(void* address) { check_access(address, bytes, READ, CODE); }                   \
    void __tsan_write##bytes(void* address) { check_access(address, bytes, WRITE, CODE); }                 \
    void __tsan_volatile_read##bytes(void* address) { check_access(address, bytes, READ, CODE); }          \
    void __tsan_volatile_write##bytes(void* address) { check_access(address, bytes, WRITE, CODE); }        \
    void __tsan_unaligned_read##bytes(void* address) { check_access(address, bytes, READ, CODE, false); }  \
    void __tsan_unaligned_write##bytes(void* address) { check_access(address, bytes, WRITE, CODE, false); }

#define OPERATION(name, ...)                                                                               \
    void __ubsan_handle_##name(SourceLocation* place, ##__VA_ARGS__) {                                     \
        fail(BAD_OPERATION, CODE, "%s at line %u, column %u", #name, place->line, place->column);          \
    }

struct SourceLocation {
    const char* file;
    std::uint32_t line, column;
};

extern "C" {

ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)

void __tsan_read_range(void* address, std::size_t bytes) { check_access(address, bytes, READ, CODE, false); }
void __tsan_write_range(void* address, std::size_t bytes) { check_access(address, bytes, WRITE, CODE, false); }
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

OPERATION(shift_out_of_bounds, void*, void*)
OPERATION(out_of_bounds, void*)
OPERATION(divrem_overflow, void*, void*)
OPERATION(builtin_unreachable)
OPERATION(missing_return)

// Some compilers give no place with a cast.
void __ubsan_handle_float_cast_overflow(void*, void*) {
    fail(BAD_OPERATION, CODE, "a cast of a number too large, or NaN");
}

void __ubsan_handle_type_mismatch_v1(SourceLocation* place, void* address) {
    fail(BAD_ADDRESS, CODE, "address %p is not aligned for its type at line %u, column %u", address, place->line,
         place->column);
}
}
