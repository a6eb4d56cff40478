// How a stand-in for one of CUDA's libraries puts its work into a stream of the emulated device.
#pragma once

#include <cstddef>
#include <functional>

extern "C" {
int emulated_submit(void* stream, std::function<int()>* work);
int emulated_is_inside(const void* pointer, size_t bytes);
void emulated_mark_written(const void* pointer, size_t bytes);
}

constexpr int ILLEGAL_ADDRESS = 700;

inline int submit(void* stream, std::function<int()> work) { return emulated_submit(stream, &work); }
