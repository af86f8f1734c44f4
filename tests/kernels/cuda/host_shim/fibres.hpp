// Threads of execution that hand over to each other by hand: a stack each, and a switch that keeps what calls must keep.

#pragma once

#include <cstddef>

// Save the current fibre's stack pointer in *from and continue the fibre whose saved stack pointer is `to`.
void switch_fibre(void** from, void* to);

// Make a fibre that starts in `entry`, which never returns, when first switched to; gives its stack pointer.
// `skew` bytes at the stack's top stay unused, so that the stacks of many fibres fall on different cache sets.
void* make_fibre(unsigned char* stack, std::size_t bytes, std::size_t skew, void (*entry)());
