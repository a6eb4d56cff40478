// Determinants and inverses of square matrices, by elimination with partial pivoting.
//
//   x         [matrices, n, n], n · n < 2^31
//   y         determinants: [matrices]; inverses: [matrices, n, n]
//   scratch   room for [matrices, n, n] accumulators, or null: then they are in shared memory
//   launch    any number of blocks of whole warps; a block does one matrix after the other. Shared memory for n + 2 accumulators,
//             n integers and, without scratch, n · n accumulators
//
// A matrix without an inverse gives infinities or NaN, as a division by zero does.

#include "functions.cuh"
#include "reduce.cuh"
#include "scalar.cuh"

// Row of the element of column `column`, at or below `first`, that is greatest in magnitude. Every thread gets it; the first of equal ones.
template <typename A> __device__ inline int pivot_row(const A* matrix, int n, int first, int column, A* values, int* rows) {
    A best = -1;
    int row = first;
    for (int i = first + threadIdx.x; i < n; i += blockDim.x) {
        const A magnitude = absolute(matrix[i * n + column]);
        if (magnitude > best) {
            best = magnitude;
            row = i;
        }
    }
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    for (int round = 0; round < 2; ++round) {
#pragma unroll
        for (int offset = WARP / 2; offset > 0; offset /= 2) {
            const A other = __shfl_xor_sync(ALL_LANES, best, offset);
            const int there = __shfl_xor_sync(ALL_LANES, row, offset);
            if (other > best || (other == best && there < row)) {
                best = other;
                row = there;
            }
        }
        if (round == 1) break;
        if (lane == 0) {
            values[warp] = best;
            rows[warp] = row;
        }
        __syncthreads();
        best = lane < warps ? values[lane] : A(-1);
        row = lane < warps ? rows[lane] : n - 1;
    }
    __syncthreads();
    return row;
}

template <typename A> __device__ inline void swap_rows(A* matrix, int n, int first, int second) {
    if (first == second) return;
    for (int j = threadIdx.x; j < n; j += blockDim.x) {
        const A value = matrix[first * n + j];
        matrix[first * n + j] = matrix[second * n + j];
        matrix[second * n + j] = value;
    }
}

template <typename T, typename A> __device__ inline void load_matrix(const T* x, A* matrix, int n) {
    for (int i = threadIdx.x; i < n * n; i += blockDim.x) matrix[i] = widen(x[i]);
    __syncthreads();
}

template <typename T>
__global__ void __launch_bounds__(512) determinants(const T* __restrict__ x, void* scratch, T* __restrict__ y, long long matrices, int n) {
    using A = accumulator_t<T>;
    extern __shared__ double memory[];
    __shared__ A values[WARP];
    __shared__ int rows[WARP];
    const long long size = static_cast<long long>(n) * n;
    for (long long m = blockIdx.x; m < matrices; m += gridDim.x) {
        A* matrix = scratch ? static_cast<A*>(scratch) + m * size : reinterpret_cast<A*>(memory);
        load_matrix(x + m * size, matrix, n);
        A determinant = 1;
        for (int step = 0; step < n; ++step) {
            const int row = pivot_row(matrix, n, step, step, values, rows);
            swap_rows(matrix, n, step, row);
            __syncthreads();
            const A pivot = matrix[step * n + step];
            determinant *= row == step ? pivot : -pivot;
            const int rest = n - step - 1;
            if (pivot != A(0)) {
                for (int i = threadIdx.x; i < rest * rest; i += blockDim.x) {
                    const int at = (step + 1 + i / rest) * n, column = step + 1 + i % rest;
                    matrix[at + column] -= matrix[at + step] / pivot * matrix[step * n + column];
                }
            }
            __syncthreads();
        }
        if (threadIdx.x == 0) y[m] = narrow<T>(determinant);
        __syncthreads();
    }
}

// Gauss and Jordan's elimination in place: after each step the column of its pivot holds a column of the inverse, and the exchanges of
// rows are undone at the end as exchanges of columns.
template <typename T>
__global__ void __launch_bounds__(512) inverses(const T* __restrict__ x, void* scratch, T* __restrict__ y, long long matrices, int n) {
    using A = accumulator_t<T>;
    extern __shared__ double memory[];
    __shared__ A values[WARP];
    __shared__ int rows[WARP];
    const long long size = static_cast<long long>(n) * n;
    A* column = reinterpret_cast<A*>(memory);
    int* exchanged = reinterpret_cast<int*>(column + n);
    A* own = reinterpret_cast<A*>(memory) + n + (n * sizeof(int) + sizeof(A) - 1) / sizeof(A);
    for (long long m = blockIdx.x; m < matrices; m += gridDim.x) {
        A* matrix = scratch ? static_cast<A*>(scratch) + m * size : own;
        load_matrix(x + m * size, matrix, n);
        for (int step = 0; step < n; ++step) {
            const int row = pivot_row(matrix, n, step, step, values, rows);
            if (threadIdx.x == 0) exchanged[step] = row;
            swap_rows(matrix, n, step, row);
            __syncthreads();
            const A factor = A(1) / matrix[step * n + step];
            for (int i = threadIdx.x; i < n; i += blockDim.x) column[i] = matrix[i * n + step];
            __syncthreads();
            for (int i = threadIdx.x; i < n; i += blockDim.x) matrix[i * n + step] = i == step ? A(1) : A(0);
            __syncthreads();
            for (int j = threadIdx.x; j < n; j += blockDim.x) matrix[step * n + j] *= factor;
            __syncthreads();
            for (int i = threadIdx.x; i < n * n; i += blockDim.x) {
                const int at = i / n;
                if (at != step) matrix[i] -= column[at] * matrix[step * n + i % n];
            }
            __syncthreads();
        }
        for (int i = threadIdx.x; i < n; i += blockDim.x) {  // the exchanges depend on one another, the rows do not
            for (int step = n - 1; step >= 0; --step) {
                const int other = exchanged[step];
                const A value = matrix[i * n + step];
                matrix[i * n + step] = matrix[i * n + other];
                matrix[i * n + other] = value;
            }
        }
        __syncthreads();
        for (int i = threadIdx.x; i < n * n; i += blockDim.x) y[m * size + i] = narrow<T>(matrix[i]);
        __syncthreads();
    }
}
