// What Python asks of the emulated device beyond CUDA's own interface.
#include "driver.h"

#include <cstring>

using namespace emulated;

extern "C" {

void emulated_configure(int lazy, int devices, int capability, size_t memory, unsigned schedule) {
    API_LOCK;
    settings = {lazy != 0, devices, capability, memory};
    set_schedule(schedule);
}

// The counters in the order of `Counters`, set to 0 when `clear`; returns how many there are.
int emulated_counters(uint64_t* values, int clear) {
    API_LOCK;
    if (values) memcpy(values, &counters, sizeof counters);
    if (clear) counters = {};
    return sizeof counters / sizeof(uint64_t);
}

size_t emulated_memory_used(int device) {
    API_LOCK;
    return bytes_used(device);
}

size_t emulated_memory_peak(int device, int reset) {
    API_LOCK;
    const size_t peak = bytes_peak(device);
    if (reset) reset_peak();
    return peak;
}

// Forgets the error of a faulted kernel, which a real device would keep until its process ends, whatever is queued, and every
// open capture.
void emulated_forget_error() {
    API_LOCK;
    poison = 0;
    message.clear();
    discard_all();
    abandon_captures();
}

const char* emulated_message() { return message.c_str(); }

// Runs what a library call would do on the device, in the order of its stream; for the stand-ins of CUDA's libraries.
int emulated_submit(void* stream, std::function<int()>* work) {
    API_LOCK;
    ++counters.library_calls;
    return submit(stream_of(stream), *work, "a library call");
}

int emulated_is_inside(const void* pointer, size_t bytes) {
    API_LOCK;
    return is_inside(pointer, bytes);
}

void emulated_mark_written(const void* pointer, size_t bytes) {
    API_LOCK;
    mark_written(pointer, bytes);
}

}  // extern "C"
