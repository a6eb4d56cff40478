// Steps of RNN, GRU and LSTM: gates, clipping, activations and the new states, behind their matrix products or with them.
//
//   inputs                    the input's share of the gates of all steps: [steps, batch, directions · gates · size], or [batch, steps, …]
//   recurrence                with `rows` of 0 the states' share of this kernel's gates, [directions, batch, gates · size], not read where
//                             the states are zero; else the weights, [directions, gates · size, size], which are multiplied here
//   bias                      [directions, 2, gates · size], the input's and the states'; null for none
//   lengths                   [batch], how many steps each sequence has; null: all
//   first_hidden/memory       [directions, batch, size] of any strides but the last: states before the first step; null: zero
//   memory                    [directions, batch, size]: after a step
//   hidden                    likewise; what multiplies here reads whole states, and has two: those after the even and after the odd steps
//   y                         all hidden states, of any strides but the last; zero behind a sequence's end
//   last_hidden/memory        where the last step leaves its states; null: not wanted
//   step, or begin … end      counted from 0; several steps are for cooperative launches, with `arrivals` as in grid.cuh
//   launch                    with `rows` of 0 any blocks and threads, a feature of a state a thread at a time; else any blocks of whole
//                             warps, at most MOST_THREADS<T>, a feature of `rows` states a warp at a time; where it multiplies by fragments,
//                             `parts` warps, a power of two of them in a block, four features of eight states at a time
//
// A sequence that is read backwards begins at its own end. float16 and bfloat16 are computed in float32, LSTM's memory is kept in it.

#include "functions.cuh"
#include "grid.cuh"
#include "state_fragments.cuh"
#include "state_products.cuh"
#include "unit.cuh"

// Threads of what multiplies: each holds many sums.
template <typename T> constexpr int MOST_THREADS = sizeof(T) == 8 ? 256 : FRAGMENT_THREADS;

struct Step {
    long long directions, batch, size, steps, backwards, parts;
    long long input_step, input_batch, first_direction, first_batch, y_step, y_batch, y_direction, last_direction, last_batch;
    double limit;
};

enum ActivationKind { AFFINE, RELU, LEAKY_RELU, THRESHOLDED_RELU, TANH, SCALED_TANH, SIGMOID, HARD_SIGMOID, ELU, SOFTSIGN, SOFTPLUS };

struct Activation {
    long long kind;
    double alpha, beta;
};

struct Activations {
    Activation of[2][3];
};

template <typename A> __device__ inline A activated(const Activation& function, A x) {
    const A alpha = A(function.alpha), beta = A(function.beta);
    switch (function.kind) {
        case AFFINE: return alpha * x + beta;
        case RELU: return relu(x);
        case LEAKY_RELU: return leaky_relu(x, alpha);
        case THRESHOLDED_RELU: return thresholded_relu(x, alpha);
        case SCALED_TANH: return alpha * hyperbolic_tangent(beta * x);
        case SIGMOID: return sigmoid(x);
        case HARD_SIGMOID: return hard_sigmoid(x, alpha, beta);
        case ELU: return elu(x, alpha);
        case SOFTSIGN: return softsign(x);
        case SOFTPLUS: return softplus(x);
        default: return hyperbolic_tangent(x);
    }
}

// The functions of one direction; those that ONNX has by default are known to the compiler.
template <bool is_default> struct Functions {
    const Activation* of;
    double limit;

    template <typename A> __device__ A clipped(A x) const { return limit > 0 ? clip(x, A(-limit), A(limit)) : x; }
    template <typename A> __device__ A gate(A x) const { return is_default ? sigmoid(clipped(x)) : activated(of[0], clipped(x)); }
    template <typename A> __device__ A candidate(A x, int which) const {
        return is_default ? hyperbolic_tangent(clipped(x)) : activated(of[which], clipped(x));
    }
    template <typename A> __device__ A output(A x) const { return is_default ? hyperbolic_tangent(x) : activated(of[2], x); }
};

// A feature of a state, and the step of the input that it reads now.
struct Place {
    unsigned index, direction, batch, feature;
    long long step;
    bool is_alive;
};

__device__ inline Place place_of(const Step& s, const int* lengths, long long step, unsigned direction, unsigned batch, unsigned feature) {
    const unsigned index = (direction * static_cast<unsigned>(s.batch) + batch) * static_cast<unsigned>(s.size) + feature;
    Place p = {index, direction, batch, feature, step, true};
    const long long length = lengths && lengths[batch] < s.steps ? lengths[batch] : s.steps;
    p.is_alive = step < length;
    if (p.is_alive && s.backwards >> direction & 1) p.step = length - 1 - step;
    return p;
}

// What the input and the states give to `of` gates of a place, biases among it.
template <typename A, int of> struct Shares {
    A input[of], state[of];

    __device__ A sum(int gate) const { return input[gate] + state[gate]; }
};

// `of` of all `gates`, from `first` on.
template <typename T, int gates, int first, int of> struct Gates {
    using A = accumulator_t<T>;
    const T *inputs, *recurrence, *bias;

    __device__ A input(const Step& s, const Place& p, int gate) const {
        const long long feature = (first + gate) * s.size + p.feature, width = gates * s.size;
        const A value = widen(inputs[p.step * s.input_step + p.batch * s.input_batch + p.direction * width + feature]);
        return bias ? value + widen(bias[p.direction * 2 * width + feature]) : value;
    }

    __device__ A state_bias(const Step& s, const Place& p, int gate) const {
        const long long width = gates * s.size;
        return bias ? widen(bias[(p.direction * 2 + 1) * width + (first + gate) * s.size + p.feature]) : A(0);
    }

    // The row of a feature's first gate, where `recurrence` is the weights.
    __device__ const T* weights(const Step& s, unsigned direction, unsigned feature) const {
        return recurrence + ((direction * gates + first) * s.size + feature) * s.size;
    }

    // function(place, shares) for all places, a thread a place.
    template <typename Function> __device__ void for_each_place(const Step& s, const int* lengths, long long step, bool has_states, Function function) const {
        for_each_unit(s.directions * s.batch * s.size, [&](auto i) {
            const unsigned size = s.size, batch = s.batch, row = static_cast<unsigned>(i) / size;
            const Place p = place_of(s, lengths, step, row / batch, row % batch, static_cast<unsigned>(i) % size);
            Shares<A, of> shares;
#pragma unroll
            for (int gate = 0; gate < of; ++gate) {
                const A product = has_states ? widen(recurrence[(row * static_cast<long long>(of) + gate) * s.size + p.feature]) : A(0);
                shares.input[gate] = input(s, p, gate);
                shares.state[gate] = product + state_bias(s, p, gate);
            }
            function(p, shares);
        });
    }

    // The same, where a warp multiplies `rows` states with the weights of a feature.
    template <int rows, typename Function>
    __device__ void for_each_product(const Step& s, const int* lengths, long long step, const States<T>& states, Function function) const {
        using Team = Sums<rows, of>;
        const unsigned tiles = (s.batch + rows - 1) / rows, size = s.size, warps = gridDim.x * (blockDim.x / WARP);
        const bool several = states.read_several() && reads_several(recurrence, s.size);
        for (unsigned work = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP; work < tiles * size * s.directions; work += warps) {
            const unsigned begin = work % tiles * rows, feature = work / tiles % size, direction = work / tiles / size;
            const int left = s.batch - begin < rows ? s.batch - begin : rows, row = Team::row(), gate = Team::gate();
            const bool has_place = row < left && gate < of;
            const Place p = place_of(s, lengths, step, direction, begin + (has_place ? row : 0), feature);
            const A of_input = has_place ? input(s, p, gate) : A(0);  // read while the product is made
            A of_state = has_place ? state_bias(s, p, gate) : A(0);
            if (states.data) {
                const T *state = states.at(direction, begin), *weight = weights(s, direction, feature);
                of_state += Team::multiplied(state, states.batch, left, weight, s.size * s.size, s.size, several);
            }
            Shares<A, of> shares;
#pragma unroll
            for (int n = 0; n < of; ++n) {
                shares.input[n] = Team::from(of_input, n);
                shares.state[n] = Team::from(of_state, n);
            }
            if (Team::is_first() && has_place) function(p, shares);
        }
    }

    // The same, where `parts` warps multiply eight states with the weights of four features.
    template <typename Function>
    __device__ void for_each_fragment(const Step& s, const int* lengths, long long step, const States<T>& states, Function function) const {
        const unsigned tiles = (s.batch + FRAGMENT_STATES - 1) / FRAGMENT_STATES, groups = (s.size + FRAGMENT_FEATURES - 1) / FRAGMENT_FEATURES;
        const unsigned warp = threadIdx.x / WARP, parts = s.parts, teams = blockDim.x / WARP / parts, all = tiles * groups * s.directions;
        const bool at_once = reads_fragments(states.data, states.direction | states.batch) && reads_fragments(recurrence, s.size);
        for (unsigned first_work = blockIdx.x * teams; first_work < all; first_work += gridDim.x * teams) {
            const unsigned work = first_work + warp / parts, begin = work % tiles * FRAGMENT_STATES;
            const unsigned from = work / tiles % groups * FRAGMENT_FEATURES, direction = work / tiles / groups;
            const int left = s.batch - begin, features = s.size - from, state = FragmentPlace::state(), feature = FragmentPlace::feature();
            const bool has_place = work < all && warp % parts == 0 && state < left && feature < features;
            Place p = {};
            Shares<A, of> shares;
            if (has_place) {
                p = place_of(s, lengths, step, direction, begin + state, from + feature);
#pragma unroll
                for (int gate = 0; gate < of; ++gate) {
                    shares.input[gate] = input(s, p, gate);  // read while the product is made
                    shares.state[gate] = state_bias(s, p, gate);
                }
            }
            if (states.data) {
                float sums[4] = {};
                if (work < all)
                    multiply_states<of>(
                        states.at(direction, begin), states.batch, left, weights(s, direction, from), s.size * s.size, features,
                        static_cast<int>(s.size), static_cast<int>(warp % parts), static_cast<int>(parts), at_once, sums
                    );
                add_parts(static_cast<int>(warp % parts), static_cast<int>(parts), sums);
#pragma unroll
                for (int gate = 0; gate < of; ++gate) shares.state[gate] += sums[gate];
            }
            if (has_place) function(p, shares);
        }
    }

    // `multiplied`: the states whose share `recurrence` is, or will be.
    template <int rows, typename Function>
    __device__ void apply(const Step& s, const int* lengths, long long step, const States<T>& multiplied, Function function) const {
        if constexpr (rows == FRAGMENT_STATES && sizeof(T) == 2 && of > 2) for_each_fragment(s, lengths, step, multiplied, function);
        else if constexpr (rows) for_each_product<rows>(s, lengths, step, multiplied, function);
        else for_each_place(s, lengths, step, multiplied.data, function);
    }
};

// The hidden states after a step.
template <int rows, typename T> __device__ inline T* states_after(const Step& s, long long step, T* hidden) {
    return rows && step & 1 ? hidden + s.directions * s.batch * s.size : hidden;
}

template <int rows, typename T> __device__ inline States<T> states_before(const Step& s, long long step, const T* first, const T* hidden) {
    if (step > 0) return {states_after<rows>(s, step - 1, hidden), s.batch * s.size, s.size};
    return {first, s.first_direction, s.first_batch};
}

// work(step) for each of the steps, with a barrier between two of them.
template <typename Work> __device__ inline void for_each_step(long long begin, long long end, unsigned* arrivals, Work work) {
    for (long long step = begin; step < end; ++step) {
        if (step > begin) grid_barrier(arrivals);
        work(step);
    }
}

template <typename T>
__device__ inline void store_hidden(
    const Step& s, const Place& p, long long step, accumulator_t<T> before, accumulator_t<T> after, T* hidden, T* y, T* last
) {
    const T kept = narrow<T>(p.is_alive ? after : before);
    hidden[p.index] = kept;
    y[p.step * s.y_step + p.batch * s.y_batch + p.direction * s.y_direction + p.feature] = p.is_alive ? kept : narrow<T>(0);
    if (last && step == s.steps - 1) last[p.direction * s.last_direction + p.batch * s.last_batch + p.feature] = kept;
}

template <typename T, bool is_default, int rows>
__global__ void __launch_bounds__(rows ? MOST_THREADS<T> : 256) rnn_steps(
    const T* __restrict__ inputs, const T* __restrict__ recurrence, const T* __restrict__ bias, const int* __restrict__ lengths,
    const T* __restrict__ first_hidden, T* hidden, T* __restrict__ y, T* __restrict__ last_hidden, unsigned* arrivals, long long begin,
    long long end, Step s, Activations activations
) {
    using A = accumulator_t<T>;
    const Gates<T, 1, 0, 1> gates = {inputs, recurrence, bias};
    for_each_step(begin, end, arrivals, [&](long long step) {
        const States<T> states = states_before<rows>(s, step, first_hidden, hidden);
        T* after = states_after<rows>(s, step, hidden);
        gates.template apply<rows>(s, lengths, step, states, [&](const Place& p, const Shares<A, 1>& shares) {
            const Functions<is_default> functions = {activations.of[p.direction], s.limit};
            const A was = states.value(p.direction, p.batch, p.feature);
            store_hidden(s, p, step, was, functions.candidate(shares.sum(0), 0), after, y, last_hidden);
        });
    });
}

// What a GRU that resets before its product has to know before it: the update gate, kept in `update`, and the reset state, in `reset`.
template <typename T, bool is_default, int rows>
__global__ void __launch_bounds__(rows ? MOST_THREADS<T> : 256) gru_gates(
    const T* __restrict__ inputs, const T* __restrict__ recurrence, const T* __restrict__ bias, const int* __restrict__ lengths,
    const T* __restrict__ first_hidden, const T* __restrict__ hidden, accumulator_t<T>* __restrict__ update, T* __restrict__ reset,
    long long step, Step s, Activations activations
) {
    using A = accumulator_t<T>;
    const Gates<T, 3, 0, 2> gates = {inputs, recurrence, bias};
    const States<T> states = states_before<rows>(s, step, first_hidden, hidden);
    gates.template apply<rows>(s, lengths, step, states, [&](const Place& p, const Shares<A, 2>& shares) {
        const Functions<is_default> functions = {activations.of[p.direction], s.limit};
        update[p.index] = functions.gate(shares.sum(0));
        reset[p.index] = narrow<T>(states.value(p.direction, p.batch, p.feature) * functions.gate(shares.sum(1)));
    });
}

// Gates in ONNX's order: update, reset, hidden. Without `resets_after`, the first two are known, and `recurrence` is the share of `reset`:
// then it is launched for one step.
template <typename T, bool is_default, int rows, bool resets_after>
__global__ void __launch_bounds__(rows ? MOST_THREADS<T> : 256) gru_steps(
    const T* __restrict__ inputs, const T* __restrict__ recurrence, const T* __restrict__ bias, const int* __restrict__ lengths,
    const T* __restrict__ first_hidden, T* hidden, T* __restrict__ y, T* __restrict__ last_hidden,
    const accumulator_t<T>* __restrict__ update, const T* __restrict__ reset, unsigned* arrivals, long long begin, long long end, Step s,
    Activations activations
) {
    using A = accumulator_t<T>;
    constexpr int of = resets_after ? 3 : 1;
    const Gates<T, 3, 3 - of, of> gates = {inputs, recurrence, bias};
    for_each_step(begin, end, arrivals, [&](long long step) {
        const States<T> states = states_before<rows>(s, step, first_hidden, hidden);
        const States<T> multiplied = resets_after || !states.data ? states : States<T>{reset, s.batch * s.size, s.size};
        T* after = states_after<rows>(s, step, hidden);
        gates.template apply<rows>(s, lengths, step, multiplied, [&](const Place& p, const Shares<A, of>& shares) {
            const Functions<is_default> functions = {activations.of[p.direction], s.limit};
            const A was = states.value(p.direction, p.batch, p.feature);
            const A kept = resets_after ? functions.gate(shares.sum(0)) : update[p.index];
            const A share = resets_after ? functions.gate(shares.sum(of / 2)) * shares.state[of - 1] : shares.state[0];
            const A candidate = functions.candidate(shares.input[of - 1] + share, 1);
            store_hidden(s, p, step, was, (A(1) - kept) * candidate + kept * was, after, y, last_hidden);
        });
    });
}

// Gates in ONNX's order: input, output, forget, cell; peepholes [directions, 3, size]: input, output, forget.
template <typename T, bool is_default, int rows>
__global__ void __launch_bounds__(rows ? MOST_THREADS<T> : 256) lstm_steps(
    const T* __restrict__ inputs, const T* __restrict__ recurrence, const T* __restrict__ bias, const int* __restrict__ lengths,
    const T* __restrict__ first_hidden, T* hidden, T* __restrict__ y, T* __restrict__ last_hidden, const T* __restrict__ peepholes,
    const T* __restrict__ first_memory, accumulator_t<T>* __restrict__ memory, T* __restrict__ last_memory, bool input_forget,
    unsigned* arrivals, long long begin, long long end, Step s, Activations activations
) {
    using A = accumulator_t<T>;
    const Gates<T, 4, 0, 4> gates = {inputs, recurrence, bias};
    const States<T> first = {first_memory, s.first_direction, s.first_batch};
    for_each_step(begin, end, arrivals, [&](long long step) {
        const States<T> states = states_before<rows>(s, step, first_hidden, hidden);
        T* after_step = states_after<rows>(s, step, hidden);
        gates.template apply<rows>(s, lengths, step, states, [&](const Place& p, const Shares<A, 4>& shares) {
            const Functions<is_default> functions = {activations.of[p.direction], s.limit};
            const A remembered = step > 0 ? memory[p.index] : first.value(p.direction, p.batch, p.feature);
            const auto peephole = [&](int which, A seen) {
                return peepholes ? widen(peepholes[(p.direction * 3 + which) * s.size + p.feature]) * seen : A(0);
            };
            const A entering = functions.gate(shares.sum(0) + peephole(0, remembered));
            const A forgetting = input_forget ? A(1) - entering : functions.gate(shares.sum(2) + peephole(2, remembered));
            const A after = forgetting * remembered + entering * functions.candidate(shares.sum(3), 1);
            const A leaving = functions.gate(shares.sum(1) + peephole(1, after));
            const A kept = p.is_alive ? after : remembered;
            memory[p.index] = kept;
            if (last_memory && step == s.steps - 1)
                last_memory[p.direction * s.last_direction + p.batch * s.last_batch + p.feature] = narrow<T>(kept);
            const A was = states.value(p.direction, p.batch, p.feature);
            store_hidden(s, p, step, was, leaving * functions.output(after), after_step, y, last_hidden);
        });
    });
}
