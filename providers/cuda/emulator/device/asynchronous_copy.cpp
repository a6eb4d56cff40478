// cp.async: a copy is done when the thread waits for its group.
#include "block.h"

#include <cstring>

using namespace emulated;

namespace {
void perform(const AsynchronousCopy& copy, const void* caller) {
    const size_t copied = copy.bytes - copy.zero_filled;
    if (copied) check_access(copy.source, copied, false, false, caller);
    check_access(copy.target, copy.bytes, true, false, caller);
    if (block.failed) return;
    memcpy(copy.target, copy.source, copied);
    memset(static_cast<char*>(copy.target) + copied, 0, copy.zero_filled);
}
}  // namespace

extern "C" {

void emulated_copy_async(void* shared, const void* global, size_t bytes, size_t zero_filled) {
    running().uncommitted.push_back({shared, global, bytes, zero_filled});
}

void emulated_copy_commit() {
    Thread& thread = running();
    thread.groups.push_back(std::move(thread.uncommitted));
    thread.uncommitted.clear();
}

void emulated_copy_wait(size_t groups_left) {
    Thread& thread = running();
    while (thread.groups.size() > groups_left) {
        for (const AsynchronousCopy& copy : thread.groups.front()) perform(copy, __builtin_return_address(0));
        thread.groups.erase(thread.groups.begin());
    }
}

}  // extern "C"
