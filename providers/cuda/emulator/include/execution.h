// Indices, barriers and fences. One fiber runs one CUDA thread; the functions named emulated_… switch between fibers.
#pragma once

struct EmulatedThread {
    uint3 thread_index, block_index;
    dim3 block_size, grid_size;
    unsigned lane, warp, linear;
};

enum EmulatedBarrier { BARRIER_PLAIN, BARRIER_COUNT, BARRIER_AND, BARRIER_OR };

extern "C" {
extern EmulatedThread* emulated_thread;
extern void* emulated_dynamic_shared;
int emulated_barrier(const char* file, int line, int kind, int predicate);
void emulated_grid_barrier(const char* file, int line);
void emulated_fence();
void emulated_require_alignment(const void* pointer, size_t bytes, const char* file, int line);
[[noreturn]] void emulated_trap(const char* what, const char* file, int line);
}

#define threadIdx (emulated_thread->thread_index)
#define blockIdx (emulated_thread->block_index)
#define blockDim (emulated_thread->block_size)
#define gridDim (emulated_thread->grid_size)
constexpr int warpSize = 32;

#define __syncthreads() ((void)emulated_barrier(__FILE__, __LINE__, BARRIER_PLAIN, 0))
#define __syncthreads_count(predicate) emulated_barrier(__FILE__, __LINE__, BARRIER_COUNT, !!(predicate))
#define __syncthreads_and(predicate) emulated_barrier(__FILE__, __LINE__, BARRIER_AND, !!(predicate))
#define __syncthreads_or(predicate) emulated_barrier(__FILE__, __LINE__, BARRIER_OR, !!(predicate))
#define __trap() emulated_trap("__trap()", __FILE__, __LINE__)

inline void __threadfence() { emulated_fence(); }
inline void __threadfence_block() { emulated_fence(); }
inline void __threadfence_system() { emulated_fence(); }
inline void __nanosleep(unsigned) {}
inline long long clock64() { return 0; }
template <typename T> inline size_t __cvta_generic_to_shared(T* pointer) { return reinterpret_cast<size_t>(pointer); }
