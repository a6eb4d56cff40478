// A launch: its limits are checked, then its blocks run one after another, those of a cooperative launch from barrier to barrier.
#include "block.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>

extern "C" void* emulated_dynamic_shared;
void* emulated_dynamic_shared;

namespace emulated {

namespace {
constexpr size_t MOST_SHARED = 227 << 10;  // sm_90, with the attribute
constexpr int POISON = 0xff;
constexpr size_t MOST_SHUFFLED_BLOCKS = 1 << 20;

size_t shared_capacity;

const char* limit_passed(const Launch& launch) {
    const EmulatedIndex &grid = launch.grid, &size = launch.block;
    const size_t threads = size_t(size.x) * size.y * size.z;
    if (!threads || !grid.x || !grid.y || !grid.z) return "a dimension of the launch is 0";
    if (threads > 1024 || size.z > 64) return "more than 1024 threads in a block (or 64 along z)";
    if (grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535) return "the grid exceeds 2147483647 x 65535 x 65535 blocks";
    if (launch.dynamic_shared > MOST_SHARED) return "more than 227 KiB of dynamic shared memory";
    return nullptr;
}

void make_block(const Launch& launch, size_t index) {
    const EmulatedIndex& grid = launch.grid;
    block.index = static_cast<unsigned>(index);
    for (Thread& thread : block.threads)
        thread.block_index = {unsigned(index % grid.x), unsigned(index / grid.x % grid.y), unsigned(index / grid.x / grid.y)};
    begin_block();
}

void make_threads(const Launch& launch) {
    const EmulatedIndex& size = launch.block;
    const unsigned count = size.x * size.y * size.z;
    block.threads.assign(count, Thread{});
    for (unsigned i = 0; i < count; ++i) {
        Thread& thread = block.threads[i];
        thread.thread_index = {i % size.x, i / size.x % size.y, i / size.x / size.y};
        thread.block_size = size;
        thread.grid_size = launch.grid;
        thread.linear = i;
        thread.lane = i % 32;
        thread.warp = i / 32;
    }
}

void reserve_shared(size_t bytes) {
    if (emulated_dynamic_shared && bytes <= shared_capacity) return;
    std::free(emulated_dynamic_shared);
    shared_capacity = std::max<size_t>(bytes, 4096);
    emulated_dynamic_shared = std::aligned_alloc(1024, (shared_capacity + 2047) / 1024 * 1024);
}

void poison_shared(const Launch& launch) {
    if (launch.dynamic_shared) memset(emulated_dynamic_shared, POISON, launch.dynamic_shared);
    for (size_t i = 0; i < launch.shared_count; ++i) {
        const SharedVariable& variable = launch.shared[i];
        memset(const_cast<char*>(variable.begin), POISON, variable.end - variable.begin);
    }
}

// The order in which blocks run.
std::vector<int> order_of(size_t blocks) {
    std::vector<int> order(blocks);
    std::iota(order.begin(), order.end(), 0);
    shuffle_tail(order, 0);
    return order;
}

void run_in_turn(const Launch& launch, size_t blocks) {
    const std::vector<int> order = reorders() && blocks < MOST_SHUFFLED_BLOCKS ? order_of(blocks) : std::vector<int>();
    reserve_stacks(block.threads.size());
    for (size_t i = 0; i < blocks; ++i) {
        make_block(launch, order.empty() ? i : order[i]);
        poison_shared(launch);
        if (!run_block()) return;
    }
}

// What a block has in a piece of shared memory, while another one runs.
struct Kept {
    char* begin;
    std::vector<char> contents;
    Shadow shadow;

    Kept(const void* first, size_t bytes) : begin(static_cast<char*>(const_cast<void*>(first))), contents(bytes) {}
    void take() {
        std::copy(begin, begin + contents.size(), contents.begin());
        shadow.take(begin, contents.size());
    }
    void put_back() {
        std::copy(contents.begin(), contents.end(), begin);
        shadow.put_back(begin);
    }
};

struct Resident {
    Block state;
    std::vector<Kept> shared;

    explicit Resident(const Launch& launch) : state(block) {
        shared.emplace_back(emulated_dynamic_shared, launch.dynamic_shared);
        for (size_t i = 0; i < launch.shared_count; ++i)
            shared.emplace_back(launch.shared[i].begin, launch.shared[i].end - launch.shared[i].begin);
    }
    void enter() {
        std::swap(block, state);
        for (Kept& kept : shared) kept.put_back();
    }
    void leave() {
        for (Kept& kept : shared) kept.take();
        std::swap(block, state);
    }
};

// Each block runs to the grid's next barrier in its turn.
void run_to_end(std::vector<Resident>& residents) {
    const size_t blocks = residents.size();
    for (;;) {
        size_t waiting = 0;
        unsigned epoch = 0;
        for (const int index : order_of(blocks)) {
            residents[index].enter();
            if (!run_block()) return;  // `block` has the fault
            waiting += block.waiting_for_grid > 0;
            epoch = std::max(epoch, block.epoch + 1);
            residents[index].leave();
        }
        if (!waiting) return;
        if (waiting < blocks) return fault("%zu of %zu blocks have left the kernel while the others wait at the grid's barrier", blocks - waiting, blocks);
        for (Resident& resident : residents) {
            std::swap(block, resident.state);
            pass_grid_barrier(epoch);
            std::swap(block, resident.state);
        }
    }
}

// All blocks at once.
void run_together(const Launch& launch, size_t blocks) {
    std::vector<Resident> residents;
    reserve_stacks(blocks * block.threads.size());
    for (size_t i = 0; i < blocks; ++i) {
        std::swap(block, residents.emplace_back(launch).state);
        make_block(launch, i);
        poison_shared(launch);
        residents.back().leave();
    }
    run_to_end(residents);
    for (Resident& resident : residents)
        for (Thread& thread : resident.state.threads) release_stack(thread);
}
}  // namespace

Outcome run(const Launch& launch, std::string& text) {
    if (const char* limit = limit_passed(launch)) {
        text = limit;
        return Outcome::refused;
    }
    block.launch = &launch;
    block.failed = false;
    block.fault.clear();
    make_threads(launch);
    reserve_shared(launch.dynamic_shared);
    begin_checking(launch, emulated_dynamic_shared);

    const size_t blocks = size_t(launch.grid.x) * launch.grid.y * launch.grid.z;
    if (launch.is_cooperative && launch.synchronizes) run_together(launch, blocks);
    else run_in_turn(launch, blocks);
    block.launch = nullptr;
    text = block.fault;
    const std::string found = collected_reports();
    if (!found.empty()) text += (text.empty() ? "" : "\n") + found;
    return block.failed ? Outcome::faulted : found.empty() ? Outcome::finished : Outcome::unsound;
}

}  // namespace emulated
