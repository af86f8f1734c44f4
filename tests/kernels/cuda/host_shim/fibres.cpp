#include "fibres.hpp"

#include <cstdint>

#if defined(__x86_64__) && !defined(SHIM_UCONTEXT)

// System V ABI: a call keeps rbx, rbp, r12 to r15; the floating-point modes are the same in all fibres.
asm(R"(
    .text
    .globl shim_switch
    .hidden shim_switch
    .type shim_switch, @function
shim_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size shim_switch, .-shim_switch
)");
extern "C" void shim_switch(void** from, void* to);

void switch_fibre(void** from, void* to) { shim_switch(from, to); }

void* make_fibre(unsigned char* stack, std::size_t bytes, std::size_t skew, void (*entry)()) {
    auto top = (reinterpret_cast<std::uintptr_t>(stack) + bytes - skew) & ~std::uintptr_t{63};
    auto* words = reinterpret_cast<void**>(top);
    *--words = nullptr;                           // where `entry` would return to; also aligns it as a call would
    *--words = reinterpret_cast<void*>(entry);    // popped by ret
    for (int saved = 0; saved < 6; ++saved) *--words = nullptr;
    return words;
}

#else

#include <ucontext.h>

#include <cstdlib>

// A "stack pointer" is a context; it lies at the fibre's stack's lowest end, the scheduler's is allocated once.
void switch_fibre(void** from, void* to) {
    if (*from == nullptr) *from = std::calloc(1, sizeof(ucontext_t));
    swapcontext(static_cast<ucontext_t*>(*from), static_cast<ucontext_t*>(to));
}

void* make_fibre(unsigned char* stack, std::size_t bytes, std::size_t skew, void (*entry)()) {
    const std::size_t head = 256 + (sizeof(ucontext_t) + 63) / 64 * 64;  // the first bytes hold the overflow mark
    auto* context = reinterpret_cast<ucontext_t*>(stack + 256);
    getcontext(context);
    context->uc_stack.ss_sp = stack + head;
    context->uc_stack.ss_size = bytes - head - skew;
    context->uc_link = nullptr;
    makecontext(context, entry, 0);
    return context;
}

#endif
