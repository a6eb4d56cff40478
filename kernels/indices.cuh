// Indices as ONNX has them: int32 or int64, those below 0 counted from the back.

#pragma once

__device__ inline long long load_index(const void* indices, bool is_wide, long long at) {
    return is_wide ? static_cast<const long long*>(indices)[at] : static_cast<const int*>(indices)[at];
}

// The position in [0, size), or -1 for an index that lies outside: nothing is read or written there.
__device__ inline long long position(long long index, long long size) {
    if (index < 0) index += size;
    return index >= 0 && index < size ? index : -1;
}
