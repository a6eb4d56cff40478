// Distinct elements of a vector, from the order of its elements in which equal ones are neighbours, the earlier first.
//
//   x         [count], order [count]: where the elements are that come first, second, …
//   starts    [count], 1 where an element is another than the one before it in that order; their running sums count the runs
//   first     [runs], where in x the first element of each run is; begins [runs]: where in the order it is
//   inverse   [count], the run of each element of x
//   places    [runs], the runs in the order in which they are wanted; null: as they are. ranks: which of those each run is
//   launch    any number of blocks and threads

#include "order.cuh"
#include "scalar.cuh"
#include "vector.cuh"

template <typename T>
__global__ void __launch_bounds__(256) mark_starts(
    const T* __restrict__ x, const long long* __restrict__ order, long long* __restrict__ starts, long long count
) {
    for_each_index(count, [=](long long i) { starts[i] = i == 0 || key_of(x[order[i]]) != key_of(x[order[i - 1]]); });
}

__global__ void __launch_bounds__(256) store_runs(
    const long long* __restrict__ order, const long long* __restrict__ sums, long long* __restrict__ first, long long* __restrict__ begins,
    long long* __restrict__ inverse, long long count
) {
    for_each_index(count, [=](long long i) {
        const long long run = sums[i] - 1;
        inverse[order[i]] = run;
        if (i == 0 || sums[i - 1] != sums[i]) {
            first[run] = order[i];
            begins[run] = i;
        }
    });
}

template <typename T>
__global__ void __launch_bounds__(256) store_distinct(
    const T* __restrict__ x, const long long* __restrict__ first, const long long* __restrict__ begins, const long long* __restrict__ places,
    T* __restrict__ y, long long* __restrict__ indices, long long* __restrict__ counts, long long* __restrict__ ranks, long long runs,
    long long count
) {
    for_each_index(runs, [=](long long i) {
        const long long run = places ? places[i] : i;
        y[i] = x[first[run]];
        indices[i] = first[run];
        counts[i] = (run + 1 < runs ? begins[run + 1] : count) - begins[run];
        if (places) ranks[run] = i;
    });
}

__global__ void __launch_bounds__(256) renumber(long long* __restrict__ inverse, const long long* __restrict__ ranks, long long count) {
    for_each_index(count, [=](long long i) { inverse[i] = ranks[inverse[i]]; });
}
