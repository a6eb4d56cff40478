// Which thread of a block runs next, and what happens at its barriers.
#include "block.h"

#include <algorithm>
#include <csetjmp>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <random>

extern "C" EmulatedThread* emulated_thread;

namespace emulated {

Block block;

namespace {
unsigned seed;
std::mt19937 generator;
jmp_buf out_of_block;

void thread_body() {
    block.launch->entry(block.launch->parameters);
    running().state = State::finished;
    suspend();
    __builtin_unreachable();
}

void finish(Thread& thread) {
    ++block.finished;
    release_stack(thread);
    if (thread.groups.empty() && thread.uncommitted.empty()) return;
    if (block.launch->strict) fault("%s leaves the kernel with asynchronous copies that it never waited for", name_of(thread).c_str());
    thread.groups.clear();
    thread.uncommitted.clear();
}

void release_barrier() {
    const Thread* first = nullptr;
    int votes = 0;
    for (const Thread& thread : block.threads) {
        if (thread.state != State::at_barrier) continue;
        votes += thread.predicate;
        if (!first) first = &thread;
        else if (block.launch->strict && (thread.line != first->line || strcmp(thread.file, first->file)))
            fault("divergent barrier: %s waits at %s:%d, %s at %s:%d", name_of(*first).c_str(), first->file, first->line,
                  name_of(thread).c_str(), thread.file, thread.line);
    }
    if (block.finished && block.launch->strict)
        fault("%zu of %zu threads have left the kernel while the others wait at the barrier %s:%d", block.finished, block.threads.size(),
              first->file, first->line);
    ++block.epoch;
    block.queue.clear();
    block.next = 0;
    block.waiting = 0;
    for (Thread& thread : block.threads) {
        if (thread.state != State::at_barrier) continue;
        thread.votes = votes;
        make_ready(thread);
    }
    shuffle_tail(block.queue, 0);
}

void report_deadlock() {
    std::string where;
    int shown = 0;
    for (const Thread& thread : block.threads) {
        if (thread.state == State::ready || thread.state == State::finished || shown++ == 3) continue;
        char text[512];
        const char* what = thread.state == State::in_warp ? "the warp operation" : thread.state == State::at_barrier ? "the barrier" : "the grid's barrier";
        snprintf(text, sizeof text, "; %s waits at %s %s:%d", name_of(thread).c_str(), what, thread.file, thread.line);
        where += text;
    }
    fault("deadlock: %zu threads have left the kernel, %zu wait at a barrier%s", block.finished, block.waiting + block.waiting_for_grid, where.c_str());
}

bool run_directly() {
    block.direct = true;
    block.frame = static_cast<const char*>(__builtin_frame_address(0));
    if (!setjmp(out_of_block)) {
        for (size_t i = 0; i < block.threads.size(); ++i) {
            emulated_thread = &block.threads[block.queue.empty() ? i : block.queue[i]];
            block.launch->entry(block.launch->parameters);
        }
    }
    block.direct = false;
    return !block.failed;
}

bool run_fibers() {
    while (block.finished < block.threads.size() && !block.failed) {
        if (block.next == block.queue.size()) {
            if (block.waiting_for_grid == block.threads.size()) return true;
            if (block.waiting && block.waiting + block.finished == block.threads.size()) release_barrier();
            else report_deadlock();
            continue;
        }
        if (seed > 1) std::swap(block.queue[block.next], block.queue[block.next + random_number() % (block.queue.size() - block.next)]);
        Thread& thread = block.threads[block.queue[block.next++]];
        if (thread.state != State::ready) continue;
        if (!thread.stack) start_fiber(thread, thread_body);
        resume(thread);
        if (thread.state == State::finished) finish(thread);
    }
    for (Thread& thread : block.threads) release_stack(thread);
    return !block.failed;
}
}  // namespace

void leave() {
    if (block.direct) longjmp(out_of_block, 1);
    suspend();
}

Thread& running() { return *static_cast<Thread*>(emulated_thread); }
uint64_t random_number() { return generator(); }
bool reorders() { return seed != 0; }

void set_schedule(unsigned new_seed) {
    seed = new_seed;
    generator.seed(new_seed);
}

void fault(const char* format, ...) {
    if (block.failed) return;
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    block.fault = text;
    block.failed = true;
}

std::string name_of(const EmulatedThread& thread) {
    char text[128];
    const EmulatedIndex &b = thread.block_index, &t = thread.thread_index;
    snprintf(text, sizeof text, "block (%u,%u,%u) thread (%u,%u,%u)", b.x, b.y, b.z, t.x, t.y, t.z);
    return text;
}

void shuffle_tail(std::vector<int>& order, size_t from) {
    if (seed == 1) std::reverse(order.begin() + from, order.end());
    else if (seed > 1) std::shuffle(order.begin() + from, order.end(), generator);
}

void make_ready(Thread& thread) {
    thread.state = State::ready;
    block.queue.push_back(static_cast<int>(thread.linear));
}

void begin_block() {
    block.queue.clear();
    block.next = block.waiting = block.waiting_for_grid = block.finished = 0;
    block.epoch = 1;
    block.grid_epoch = 0;
    for (Thread& thread : block.threads) {
        thread.state = State::ready;
        thread.stack = nullptr;
        thread.warp_epoch = 0;
        thread.fenced = false;
        if (block.launch->synchronizes || seed) block.queue.push_back(static_cast<int>(thread.linear));
    }
    shuffle_tail(block.queue, 0);
}

bool run_block() { return block.launch->synchronizes ? run_fibers() : run_directly(); }

void pass_grid_barrier(unsigned epoch) {
    block.epoch = block.grid_epoch = epoch;
    block.queue.clear();
    block.next = block.waiting_for_grid = 0;
    for (Thread& thread : block.threads) make_ready(thread);
    shuffle_tail(block.queue, 0);
}

}  // namespace emulated

using namespace emulated;

extern "C" {

int emulated_barrier(const char* file, int line, int kind, int predicate) {
    Thread& thread = running();
    if (block.direct) {
        fault("the barrier %s:%d is in a module that was built as free of barriers", file, line);
        leave();
    }
    thread.state = State::at_barrier;
    thread.file = file;
    thread.line = line;
    thread.barrier_kind = kind;
    thread.predicate = predicate;
    ++block.waiting;
    suspend();
    const int waited = static_cast<int>(block.threads.size());
    return kind == 1 ? thread.votes : kind == 2 ? thread.votes == waited : thread.votes > 0;
}

void emulated_grid_barrier(const char* file, int line) {
    Thread& thread = running();
    if (!block.launch->is_cooperative) {
        fault("%s: the barrier of the grid %s:%d is in a launch that is not cooperative", name_of(thread).c_str(), file, line);
        leave();
    }
    thread.state = State::at_grid_barrier;
    thread.file = file;
    thread.line = line;
    ++block.waiting_for_grid;
    suspend();
}

void emulated_fence() { running().fenced = true; }

void emulated_require_alignment(const void* pointer, size_t bytes, const char* file, int line) {
    if (reinterpret_cast<uintptr_t>(pointer) % bytes == 0) return;
    fault("%s: an access of %zu bytes at once is misaligned at %s:%d", name_of(running()).c_str(), bytes, file, line);
    leave();
}

[[noreturn]] void emulated_trap(const char* what, const char* file, int line) {
    fault("%s: %s at %s:%d", name_of(running()).c_str(), what, file, line);
    leave();
    abort();
}

}  // extern "C"
