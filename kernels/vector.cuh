// Loops and loads shared by elementwise kernels.
//
// They take any launch size and any element count: for_each_index walks the whole range with a grid-stride loop; transform
// does the same with 16-byte loads and stores where the addresses allow them, and element by element elsewhere.
// Compiles with nvcc and NVRTC for sm_75 and newer; uses nothing of the standard library.

#pragma once

typedef unsigned long long Address;

constexpr int VECTOR_BYTES = 16;

// As many elements as one 16-byte load moves.
template <typename T>
struct alignas(VECTOR_BYTES) Vector {
    static constexpr int count = VECTOR_BYTES / sizeof(T);
    T element[count];
};

// 64 bits: gridDim.x * blockDim.x passes 2^31 on large launches.
__device__ inline long long thread_index() {
    return static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ inline long long thread_count() {
    return static_cast<long long>(gridDim.x) * blockDim.x;
}

// a / b of numbers that are not negative; 64 bits, whose division is slow, are divided only where they must be.
__device__ inline long long quotient(long long a, long long b) {
    return (a | b) >> 32 ? a / b : static_cast<unsigned>(a) / static_cast<unsigned>(b);
}

template <typename T>
__device__ inline bool is_vector_aligned(const T* pointer) {
    return reinterpret_cast<Address>(pointer) % VECTOR_BYTES == 0;
}

// How many elements lie before the first address from which a vector can be read.
template <typename T>
__device__ inline int elements_before_vector(const T* pointer) {
    return (VECTOR_BYTES - reinterpret_cast<Address>(pointer) % VECTOR_BYTES) % VECTOR_BYTES / sizeof(T);
}

// On a GPU a misaligned vector ends the launch; the emulated device has to be told what is one access.
#ifdef ONNXGPU_EMULATED_DEVICE
#define REQUIRE_VECTOR_ALIGNMENT(pointer) emulated_require_alignment(pointer, VECTOR_BYTES, __FILE__, __LINE__)
#else
#define REQUIRE_VECTOR_ALIGNMENT(pointer)
#endif

template <typename T>
__device__ inline Vector<T> load_vector(const T* pointer) {
    REQUIRE_VECTOR_ALIGNMENT(pointer);
    return *reinterpret_cast<const Vector<T>*>(pointer);
}

template <typename T>
__device__ inline void store_vector(T* pointer, const Vector<T>& vector) {
    REQUIRE_VECTOR_ALIGNMENT(pointer);
    *reinterpret_cast<Vector<T>*>(pointer) = vector;
}

// function(i) for each i of [0, count), shared among all threads of the launch.
template <typename Function>
__device__ inline void for_each_index(long long count, Function function) {
    for (long long i = thread_index(); i < count; i += thread_count()) function(i);
}

// output[i] = function(input[i]) for each i of [0, count). The two arrays may be one array, and overlap in no other way.
template <typename In, typename Out, typename Function>
__device__ inline void transform(const In* input, Out* output, long long count, Function function) {
    constexpr int width = Vector<In>::count < Vector<Out>::count ? Vector<In>::count : Vector<Out>::count;
    long long vectors = 0;
    if constexpr (sizeof(In) == sizeof(Out)) {
        if (is_vector_aligned(input) && is_vector_aligned(output)) vectors = count / width;
        for (long long v = thread_index(); v < vectors; v += thread_count()) {
            const Vector<In> in = load_vector(input + v * width);
            Vector<Out> out;
#pragma unroll
            for (int k = 0; k < width; ++k) out.element[k] = function(in.element[k]);
            store_vector(output + v * width, out);
        }
    }
    const long long done = vectors * width;
    for_each_index(count - done, [=](long long i) { output[done + i] = function(input[done + i]); });
}
