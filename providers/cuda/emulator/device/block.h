// One thread block while it runs: a fiber a thread, and where each of them waits.
#pragma once

#include "device.h"

namespace emulated {

enum class State : uint8_t { ready, at_barrier, at_grid_barrier, in_warp, finished };

struct AsynchronousCopy {
    void* target;
    const void* source;
    size_t bytes, zero_filled;
};

struct Thread : EmulatedThread {
    State state;
    void* stack_pointer;
    char* stack;
    const char* file;  // where it waits
    int line;
    int barrier_kind, predicate, votes;
    int operation, source, value_bytes;
    unsigned mask;
    const void* value;
    void* result;
    unsigned warp_epoch;  // grows with every __syncwarp
    bool fenced;
    std::vector<AsynchronousCopy> uncommitted;
    std::vector<std::vector<AsynchronousCopy>> groups;
};

struct Block {
    const Launch* launch;
    std::vector<Thread> threads;
    std::vector<int> queue;  // ready threads; `next` is the first that has not run
    size_t next;
    size_t waiting, waiting_for_grid, finished;
    unsigned index;          // linear
    unsigned epoch;          // grows with every barrier
    unsigned grid_epoch;     // what `epoch` was behind the last barrier of the grid: all that was before is over in every block
    bool direct;             // plain calls, no fibers
    const char* frame;       // of the function that makes them: what lies below it on the stack is the kernel's
    bool failed;
    std::string fault;
};

extern Block block;

// ---- fibers.cpp
void start_fiber(Thread& thread, void (*body)());
void release_stack(Thread& thread);
void reserve_stacks(size_t threads);   // for so many at once
void resume(Thread& thread);           // from the scheduler into the thread
void suspend();                        // from the running thread into the scheduler
bool is_fiber_stack(const void* pointer);

// ---- schedule.cpp
Thread& running();
void fault(const char* format, ...) __attribute__((format(printf, 1, 2)));
std::string name_of(const EmulatedThread& thread);
void shuffle_tail(std::vector<int>& order, size_t from);
void make_ready(Thread& thread);
void begin_block();
bool run_block();                      // to its end, or to a barrier of the grid; false: the launch has failed
void pass_grid_barrier(unsigned epoch);
void leave();                          // ends the running thread after a fault
uint64_t random_number();
bool reorders();                       // the schedule is not the plain one

// ---- checker.cpp
void begin_checking(const Launch& launch, void* dynamic_shared);
void check_access(const void* pointer, size_t bytes, bool writes, bool aligned, const void* caller);
void report(const std::string& text, const void* caller);
std::string collected_reports();

struct Stamp {
    uint64_t era;  // the launch, and for shared memory the block
    unsigned block, epoch, warp_epoch;
    uint16_t thread;
    bool atomic, several;  // several: by more than one thread in this epoch
};

struct Word {
    Stamp write, read;
    Word* bytes;  // four of them, from the first access to a part on
};

// What is known of accesses to shared memory that another block is to use meanwhile.
class Shadow {
  public:
    void take(const void* begin, size_t bytes);
    void put_back(const void* begin);
    Shadow() = default;
    Shadow(Shadow&&) = default;
    ~Shadow();

  private:
    std::vector<Word> words;
};

}  // namespace emulated
