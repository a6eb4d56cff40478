// Forests of decision trees: the leaf that each row reaches in each tree, and what the leaves' weights give together.
//
//   x           [rows, width]
//   nodes       of all trees, the roots first, in order; the two children of a node lie side by side
//   leaves      [trees, rows], the leaves' numbers
//   weights     [leaves, targets], and has [leaves, targets]: whether there is a weight; null: it is not asked for
//   order       the trees that have weights for each target, those of target k from starts[k] up to starts[k + 1]; null: all of them
//   totals      [rows, targets], and found [rows, targets]: whether any leaf had a weight
//   launch      any number of blocks; combine_leaves with `lanes` 32: whole warps. Rows are neighbours among the threads, so that those
//               of a warp begin at one node and write neighbouring leaves

#include "reduce.cuh"
#include "vector.cuh"

// A step goes to `child` + 1 where the comparison of the feature with the split holds: bits 0 to 3 of `rule` say of a value that is less,
// equal, greater and NaN whether it does; the feature is in the bits above. A leaf's child is -1 - its number.
template <typename T> struct alignas(16) Node {
    T split;
    int rule, child;
};

template <typename T>
__global__ void __launch_bounds__(256) find_leaves(
    const T* __restrict__ x, const Node<T>* __restrict__ nodes, int* __restrict__ leaves, long long rows, long long width, long long trees
) {
    for_each_index(rows * trees, [=](long long i) {
        const T* row = x + i % rows * width;
        Node<T> node = nodes[i / rows];
        while (node.child >= 0) {
            const T value = row[node.rule >> 4];
            const int outcome = value < node.split ? 0 : value == node.split ? 1 : value > node.split ? 2 : 3;
            node = nodes[node.child + (node.rule >> outcome & 1)];
        }
        leaves[i] = -1 - node.child;
    });
}

template <typename T, typename Combine, int lanes>
__global__ void __launch_bounds__(256) combine_leaves(
    const int* __restrict__ leaves, const T* __restrict__ weights, const bool* __restrict__ has, const int* __restrict__ order,
    const int* __restrict__ starts, T* __restrict__ totals, bool* __restrict__ found, long long rows, long long trees, long long targets,
    double neutral
) {
    const long long step = thread_count() / lanes;
    for (long long i = thread_index() / lanes; i < rows * targets; i += step) {
        const long long row = i % rows, target = i / rows;
        const long long first = order ? starts[target] : 0, last = order ? starts[target + 1] : trees;
        T total = T(neutral);
        int is_found = 0;
#pragma unroll 4
        for (long long place = first + threadIdx.x % lanes; place < last; place += lanes) {
            const long long entry = leaves[(order ? order[place] : place) * rows + row] * targets + target;
            total = Combine()(total, weights[entry]);
            if (has) is_found |= has[entry];
        }
        if constexpr (lanes == WARP) {
            total = reduce_warp(total, Combine());
            is_found = __any_sync(ALL_LANES, is_found);
        }
        if (threadIdx.x % lanes == 0) {
            totals[row * targets + target] = total;
            if (has) found[row * targets + target] = is_found;
        }
    }
}
