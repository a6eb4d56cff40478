// Device memory: blocks of host memory that only device code and copies may touch.
#include "device.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>

namespace emulated {

std::recursive_mutex device_lock;

namespace {
constexpr size_t ALIGNMENT = 512;
constexpr size_t GUARD = 1024;       // behind every allocation, so that a small overrun hits nobody's data
constexpr int POISON = 0xff;         // NaN in every floating-point type: what was never written shows up

std::map<uintptr_t, Allocation> allocations;
std::map<int, size_t> used, peak;
std::set<std::pair<int, int>> reached;  // device, and whose memory it accesses
size_t limit = SIZE_MAX;
}  // namespace

void* allocate(int device, size_t bytes) {
    size_t& total = used[device];
    if (bytes > limit || total > limit - bytes) return nullptr;
    const size_t reserved = (std::max<size_t>(bytes, 1) + GUARD + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    void* memory = std::aligned_alloc(ALIGNMENT, reserved);
    if (!memory) return nullptr;
    memset(memory, POISON, reserved);
    const auto begin = reinterpret_cast<uintptr_t>(memory);
    allocations[begin] = {begin, bytes, device, false, std::vector<bool>((bytes + 3) / 4)};
    total += bytes;
    peak[device] = std::max(peak[device], total);
    return memory;
}

bool release(void* pointer) {
    const auto found = allocations.find(reinterpret_cast<uintptr_t>(pointer));
    if (found == allocations.end()) return false;
    used[found->second.device] -= found->second.bytes;
    memset(pointer, POISON, found->second.bytes);
    allocations.erase(found);
    std::free(pointer);
    return true;
}

Allocation* allocation_before(const void* pointer) {
    auto after = allocations.upper_bound(reinterpret_cast<uintptr_t>(pointer));
    return after == allocations.begin() ? nullptr : &(--after)->second;
}

Allocation* allocation_at(const void* pointer) {
    Allocation* nearest = allocation_before(pointer);
    return nearest && reinterpret_cast<uintptr_t>(pointer) < nearest->end() ? nearest : nullptr;
}

bool is_inside(const void* pointer, size_t bytes) {
    const Allocation* nearest = allocation_before(pointer);
    return nearest && reinterpret_cast<uintptr_t>(pointer) + bytes <= nearest->end();
}

void mark_written(const void* pointer, size_t bytes) {
    Allocation* target = allocation_at(pointer);
    if (!target) return;
    const size_t offset = reinterpret_cast<uintptr_t>(pointer) - target->begin;
    if (offset == 0 && bytes >= target->bytes) {
        target->written_whole = true;
        return;
    }
    const size_t last = std::min((offset + bytes + 3) / 4, target->written.size());
    for (size_t word = offset / 4; word < last; ++word) target->written[word] = true;
}

void limit_memory(size_t bytes) { limit = bytes; }
size_t bytes_used(int device) { return used[device]; }
size_t bytes_peak(int device) { return peak[device]; }
void reset_peak() { peak = used; }

bool let_reach(int device, int other) { return reached.insert({device, other}).second; }
bool reaches(int device, int other) { return device == other || reached.count({device, other}); }

}  // namespace emulated
