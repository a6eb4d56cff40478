// Warp operations: the last lane of the mask to arrive computes the result of all of them.
#include "block.h"

#include <algorithm>
#include <cstring>

using namespace emulated;

namespace {

enum Operation { shuffle, ballot, match, gather, synchronize };  // as in include/warp.h

struct Lanes {
    Thread* first;
    int count;
};

Lanes lanes_of(const Thread& thread) {
    const size_t begin = thread.warp * 32;
    return {&block.threads[begin], static_cast<int>(std::min<size_t>(32, block.threads.size() - begin))};
}

bool takes_part(const Lanes& lanes, unsigned mask, int lane) {
    return lane < lanes.count && (mask >> lane & 1) && lanes.first[lane].state == State::in_warp;
}

// True if every lane of the mask waits in this very operation.
bool is_complete(const Thread& thread, const Lanes& lanes) {
    for (int lane = 0; lane < lanes.count; ++lane) {
        const Thread& other = lanes.first[lane];
        if (!(thread.mask >> lane & 1)) continue;
        if (other.state == State::finished) {
            if (!block.launch->strict) continue;
            fault("%s: lane %d of mask %08x has left the kernel at %s:%d", name_of(thread).c_str(), lane, thread.mask, thread.file, thread.line);
            return false;
        }
        if (other.state != State::in_warp) return false;
        if (other.mask == thread.mask && other.operation == thread.operation && other.line == thread.line) continue;
        if (block.launch->strict && (other.mask & thread.mask))
            fault("lanes of one warp meet in different warp operations: %s at %s:%d with mask %08x, %s at %s:%d with mask %08x",
                  name_of(thread).c_str(), thread.file, thread.line, thread.mask, name_of(other).c_str(), other.file, other.line, other.mask);
        return false;
    }
    return true;
}

void give_result(Thread& to, const Lanes& lanes) {
    const int bytes = to.value_bytes;
    if (to.operation == shuffle) {
        if (takes_part(lanes, to.mask, to.source)) memcpy(to.result, lanes.first[to.source].value, bytes);
        else memset(to.result, 0xff, bytes);  // undefined in CUDA
        return;
    }
    if (to.operation == gather) {
        for (int lane = 0; lane < 32; ++lane) {
            char* target = static_cast<char*>(to.result) + lane * bytes;
            if (takes_part(lanes, to.mask, lane)) memcpy(target, lanes.first[lane].value, bytes);
            else memset(target, 0, bytes);
        }
        return;
    }
    unsigned bits = 0;
    for (int lane = 0; lane < 32; ++lane) {
        if (!takes_part(lanes, to.mask, lane)) continue;
        const void* value = lanes.first[lane].value;
        const bool set = to.operation == ballot ? *static_cast<const int*>(value) != 0 : !memcmp(value, to.value, bytes);
        bits |= static_cast<unsigned>(set) << lane;
    }
    memcpy(to.result, &bits, sizeof bits);
}

void complete(Thread& thread, const Lanes& lanes) {
    unsigned epoch = 0;
    for (int lane = 0; lane < lanes.count; ++lane) epoch = std::max(epoch, lanes.first[lane].warp_epoch);
    const unsigned mask = thread.mask;
    for (int lane = 0; lane < lanes.count; ++lane) {
        if (!takes_part(lanes, mask, lane)) continue;
        if (thread.operation == synchronize) lanes.first[lane].warp_epoch = epoch + 1;
        else give_result(lanes.first[lane], lanes);
    }
    const size_t from = block.queue.size();
    for (int lane = 0; lane < lanes.count; ++lane)
        if (takes_part(lanes, mask, lane)) make_ready(lanes.first[lane]);
    shuffle_tail(block.queue, from);
}

}  // namespace

extern "C" {
[[noreturn]] void emulated_trap(const char* what, const char* file, int line);

void emulated_warp(int operation, unsigned mask, const void* value, int bytes, int source, void* result, const char* file, int line) {
    Thread& thread = running();
    thread.operation = operation;
    thread.mask = mask;
    thread.value = value;
    thread.value_bytes = bytes;
    thread.source = source;
    thread.result = result;
    thread.file = file;
    thread.line = line;
    if (block.direct) emulated_trap("a warp operation in a module that was built as free of them", file, line);
    thread.state = State::in_warp;
    const Lanes lanes = lanes_of(thread);
    if (!(mask >> thread.lane & 1))
        fault("%s: the calling lane %u is not in the mask %08x at %s:%d", name_of(thread).c_str(), thread.lane, mask, file, line);
    else if (is_complete(thread, lanes)) complete(thread, lanes);
    suspend();
}

unsigned emulated_active_lanes() {
    const Lanes lanes = lanes_of(running());
    unsigned mask = 0;
    for (int lane = 0; lane < lanes.count; ++lane) mask |= static_cast<unsigned>(lanes.first[lane].state != State::finished) << lane;
    return mask;
}

}  // extern "C"
