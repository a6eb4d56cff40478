// What Python asks of the emulated device beyond CUDA's own interface.
#include "driver.h"

#include <cstring>
#include <dlfcn.h>

namespace emulated {

namespace {

// Python's functions, if this process has an interpreter.
struct Interpreter {
    int (*is_held)();
    void* (*let_go)();
    void (*take_back)(void*);
};

const Interpreter& interpreter() {
    static const Interpreter found = {
        reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, "PyGILState_Check")),
        reinterpret_cast<void* (*)()>(dlsym(RTLD_DEFAULT, "PyEval_SaveThread")),
        reinterpret_cast<void (*)(void*)>(dlsym(RTLD_DEFAULT, "PyEval_RestoreThread")),
    };
    return found;
}

}  // namespace

ApiLock::ApiLock() {
    if (device_lock.try_lock()) return;
    const Interpreter& python = interpreter();
    const bool held = python.is_held && python.let_go && python.take_back && python.is_held();
    void* const state = held ? python.let_go() : nullptr;
    device_lock.lock();
    if (held) python.take_back(state);
}

}  // namespace emulated

using namespace emulated;

extern "C" {

void emulated_configure(int lazy, int devices, int capability, size_t memory, unsigned schedule, int peers) {
    API_LOCK;
    settings = {lazy != 0, devices, capability, memory, peers != 0};
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
    Stream* there = stream_of(stream);
    if (there && there->device != current_device) return refuse_other_device("a library call: its stream", there->device);
    ++counters.library_calls;
    return submit(there, *work, "a library call");
}

// As `emulated_submit`, for a library that is written in Python: calls function(argument), which gives 0 or an error.
int emulated_call(void* stream, int (*function)(uint64_t), uint64_t argument) {
    API_LOCK;
    Stream* there = stream_of(stream);
    if (there && there->device != current_device) return refuse_other_device("a library call: its stream", there->device);
    ++counters.library_calls;
    return submit(there, [=] { return function(argument); }, "a library call");
}

// What a library call that fails on the device ends in; returns the error.
int emulated_fault(int error, const char* why) {
    API_LOCK;
    return poison_with(error, why);
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
