// What the parts of the emulated driver share: streams, events, captures, errors and counters.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include "../device/device.h"

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <thread>

#define API_LOCK emulated::ApiLock api_lock

namespace emulated {

// Holds the device. What runs on it may be a function of Python, so a thread that waits for the device lets go of the interpreter.
class ApiLock {
  public:
    ApiLock();
    ~ApiLock() { device_lock.unlock(); }
    ApiLock(const ApiLock&) = delete;
    ApiLock& operator=(const ApiLock&) = delete;
};

using Work = std::function<int()>;  // 0, or the error that it ends in

struct Settings {
    bool lazy = false;  // nothing runs before a synchronisation asks for it
    int devices = 1;
    int capability = 90;
    size_t memory = size_t(8) << 30;
    bool peers = true;  // devices can access each other's memory
};
extern Settings settings;

struct Counters {
    uint64_t launches, library_calls, graph_launches;
    uint64_t copies_to_device, copies_to_host, copies_on_device, copies_between_devices;
    uint64_t bytes_to_device, bytes_to_host, bytes_on_device, bytes_between_devices;
    uint64_t memsets, synchronizations, allocations, releases;
};
extern Counters counters;

// ---- the device

constexpr int MULTIPROCESSORS = 4, THREADS_OF_MULTIPROCESSOR = 2048;

// ---- errors

constexpr int ILLEGAL_ADDRESS = cudaErrorIllegalAddress, LAUNCH_FAILURE = cudaErrorLaunchFailure;

extern int poison;            // an error that every later call reports, as a faulted kernel leaves it
extern std::string message;   // what the last error was about
int refuse(int error, const std::string& why);
int refuse_other_device(const std::string& what, int device);  // it belongs to `device`, and another one is current
int poison_with(int error, const std::string& why);
extern thread_local int current_device;

// ---- streams and events

struct Stream;

struct Capture;

struct Event {
    int device = 0;
    Stream* stream = nullptr;
    uint64_t recorded = 0, reached = 0;  // how often it was recorded, and which record has been reached
    double milliseconds = 0;
    bool has_time = true;
    Capture* capture = nullptr;
    std::vector<size_t> captured_nodes;
};
using EventPointer = std::shared_ptr<Event>;

struct Operation {
    Work work;
    EventPointer records, waits;
    uint64_t generation = 0;
};

struct Stream {
    int device = 0;
    unsigned flags = 0;
    int priority = 0;
    bool is_default = false;
    std::deque<Operation> queue;
    Capture* capture = nullptr;
    bool capture_broken = false;

    bool blocks_with_default() const { return !is_default && !(flags & cudaStreamNonBlocking); }
};

Stream* stream_of(const void* handle);  // null for a handle that is no stream
std::vector<Stream*> streams_of(int device);
int submit(Stream* stream, Work work, const char* what);
int enqueue(Stream* stream, Operation operation);
void drain(Stream* stream);
void drain_device(int device);
void drain_all();
void discard_all();  // what is queued never runs

// ---- graphs

struct Node {
    Work work;
    std::vector<size_t> after;
};

struct Graph {
    std::vector<Node> nodes;
};

struct Capture {
    Stream* origin;
    int mode;
    Graph graph;
    std::map<Stream*, std::vector<size_t>> frontier;  // what the next node of a stream comes after
    std::thread::id thread = std::this_thread::get_id();
};

void add_node(Stream* stream, Work work);
int join_capture(Stream* stream, const Event& event);
bool any_capture();
bool forbids_unsafe_calls();  // to the calling thread, in the modes of the captures that go on
void abandon_captures();
bool is_origin_of_blocking_capture(int device);

// ---- copies

enum class Kind { pageable, pinned, device };
Kind kind_of(const void* pointer);
int copy(void* target, const void* source, size_t bytes, int direction, Stream* stream, bool synchronous);
void pin(void* pointer, size_t bytes);
bool unpin(void* pointer);

}  // namespace emulated
