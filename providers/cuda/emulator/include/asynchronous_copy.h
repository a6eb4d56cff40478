// cp.async, as the pipeline primitives of <cuda_pipeline_primitives.h>. A copy happens when its group is waited for and not
// before, so a missing wait reads what was there.
#pragma once

extern "C" {
void emulated_copy_async(void* shared, const void* global, size_t bytes, size_t zero_filled);
void emulated_copy_commit();
void emulated_copy_wait(size_t groups_left);
}

inline void __pipeline_memcpy_async(void* shared, const void* global, size_t bytes, size_t zero_filled = 0) {
    emulated_copy_async(shared, global, bytes, zero_filled);
}
inline void __pipeline_commit() { emulated_copy_commit(); }
inline void __pipeline_wait_prior(size_t groups_left) { emulated_copy_wait(groups_left); }
