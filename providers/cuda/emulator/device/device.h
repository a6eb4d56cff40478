// The emulated device: its memory, and how a kernel runs on it. Everything here is called with `device_lock` held.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

struct EmulatedIndex {
    unsigned x, y, z;
};

// As in execution.h, which kernels are compiled with; the runtime itself is compiled without CUDA's headers.
struct EmulatedThread {
    EmulatedIndex thread_index, block_index, block_size, grid_size;
    unsigned lane, warp, linear;
};

namespace emulated {

extern std::recursive_mutex device_lock;

// ---- memory.cpp

struct Allocation {
    uintptr_t begin;
    size_t bytes;
    int device;
    bool written_whole;
    std::vector<bool> written;  // one flag for 4 bytes; kept in checked launches

    uintptr_t end() const { return begin + bytes; }
};

void* allocate(int device, size_t bytes);                       // null where the device's limit would be passed
bool release(void* pointer);                                    // false: not the begin of an allocation
Allocation* allocation_at(const void* pointer);                 // the one that holds the byte, or null
Allocation* allocation_before(const void* pointer);             // the nearest that begins at or below, or null
bool is_inside(const void* pointer, size_t bytes);              // the whole range lies in one allocation
void mark_written(const void* pointer, size_t bytes);           // what no instrumented kernel wrote counts as written
void limit_memory(size_t bytes);
size_t bytes_used(int device);
size_t bytes_peak(int device);
void reset_peak();
bool let_reach(int device, int other);                          // kernels on the device may access the other's memory; false: they may already
bool reaches(int device, int other);                            // true for itself

// ---- launch.cpp

struct SharedVariable {
    const char *begin, *end;
};

struct Launch {
    void (*entry)(void**);
    void** parameters;
    EmulatedIndex grid, block;
    size_t dynamic_shared;
    const SharedVariable* shared;
    size_t shared_count;
    bool synchronizes;  // false: no barrier and no warp operation in the whole module, so plain calls will do
    bool strict;        // exited threads count as missing at a barrier
    bool is_cooperative;  // all blocks run at once, and wait for each other at barriers of the grid
    int device;
};

enum class Outcome { finished, refused, faulted, unsound };  // unsound: ran to its end, and the checker found something

Outcome run(const Launch& launch, std::string& report);
void set_schedule(unsigned seed);  // 0: in order, 1: reversed, else random
void set_reports(unsigned most);

}  // namespace emulated
