// Streams are queues, events are places in them. In lazy mode a queue runs when something waits for it, and only as far as it
// has to: a missing wait or synchronisation then reads what was there before.
#include "driver.h"

#include <chrono>

namespace emulated {

Settings settings;
Counters counters;
int poison;
std::string message;
thread_local int current_device;

namespace {

std::map<const void*, std::unique_ptr<Stream>> streams;
std::map<int, std::unique_ptr<Stream>> default_streams;
std::map<const void*, EventPointer> events;

double now() { return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

Stream* default_stream(int device) {
    auto& stream = default_streams[device];
    if (!stream) {
        stream = std::make_unique<Stream>();
        stream->device = device;
        stream->is_default = true;
    }
    return stream.get();
}

void drain_until(Stream* stream, const Event* event, uint64_t generation);

void run_first(Stream* stream) {
    Operation operation = std::move(stream->queue.front());
    stream->queue.pop_front();
    if (operation.waits) {
        if (operation.waits->reached < operation.generation && operation.waits->stream)
            drain_until(operation.waits->stream, operation.waits.get(), operation.generation);
    } else if (operation.records) {
        operation.records->reached = std::max(operation.records->reached, operation.generation);
        operation.records->milliseconds = now();
    } else if (!poison) {
        const int error = operation.work();
        if (error && !poison) poison = error;
    }
}

void drain_until(Stream* stream, const Event* event, uint64_t generation) {
    while (!stream->queue.empty() && event->reached < generation) run_first(stream);
}

EventPointer event_of(cudaEvent_t handle) {
    const auto found = events.find(handle);
    return found == events.end() ? nullptr : found->second;
}

// The default stream waits for the blocking streams, and they for it.
void order_with_default(Stream* stream) {
    if (stream->is_default) {
        for (Stream* other : streams_of(stream->device))
            if (other->blocks_with_default()) drain(other);
    } else if (stream->blocks_with_default()) {
        drain(default_stream(stream->device));
    }
}

int no_stream() { return refuse(cudaErrorInvalidResourceHandle, "the handle is no stream, or one that was destroyed"); }
int no_event() { return refuse(cudaErrorInvalidResourceHandle, "the handle is no event, or one that was destroyed"); }

int synchronize(Stream* stream) {
    ++counters.synchronizations;
    if (stream ? stream->capture != nullptr : any_capture()) {
        if (stream) stream->capture_broken = true;
        return refuse(cudaErrorStreamCaptureUnsupported, "synchronisation while a stream is capturing");
    }
    if (!stream || stream->is_default) drain_device(stream ? stream->device : current_device);
    else drain(stream);
    return poison;
}

}  // namespace

int refuse(int error, const std::string& why) {
    message = why;
    return error;
}

int refuse_other_device(const std::string& what, int device) {
    return refuse(cudaErrorInvalidResourceHandle, what + " is of device " + std::to_string(device) + ", and device " + std::to_string(current_device) + " is current");
}

int poison_with(int error, const std::string& why) {
    poison = error;
    return refuse(error, why);
}

Stream* stream_of(const void* handle) {
    if (!handle || handle == cudaStreamLegacy || handle == cudaStreamPerThread) return default_stream(current_device);
    const auto found = streams.find(handle);
    return found == streams.end() ? nullptr : found->second.get();
}

std::vector<Stream*> streams_of(int device) {
    std::vector<Stream*> found;
    for (auto& [handle, stream] : streams)
        if (stream->device == device) found.push_back(stream.get());
    return found;
}

void drain(Stream* stream) {
    while (!stream->queue.empty()) run_first(stream);
}

void drain_device(int device) {
    drain(default_stream(device));
    for (Stream* stream : streams_of(device)) drain(stream);
}

void discard_all() {
    for (int device = 0; device < settings.devices; ++device) {
        default_stream(device)->queue.clear();
        for (Stream* stream : streams_of(device)) stream->queue.clear();
    }
    for (auto& [_, event] : events) event->reached = event->recorded;
}

void drain_all() {
    for (int device = 0; device < settings.devices; ++device) drain_device(device);
}

int enqueue(Stream* stream, Operation operation) {
    order_with_default(stream);
    stream->queue.push_back(std::move(operation));
    if (!settings.lazy) drain(stream);
    return 0;
}

int submit(Stream* stream, Work work, const char* what) {
    if (!stream) return no_stream();
    if (poison) return poison;
    if (stream->capture) {
        add_node(stream, std::move(work));
        return 0;
    }
    if (stream->is_default && is_origin_of_blocking_capture(stream->device))
        return refuse(cudaErrorStreamCaptureImplicit, std::string(what) + " on the default stream while a blocking stream is capturing");
    return enqueue(stream, {std::move(work), nullptr, nullptr, 0});
}

}  // namespace emulated

using namespace emulated;

#define RT(code) static_cast<cudaError_t>(code)

extern "C" {

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* handle, unsigned flags, int priority) {
    API_LOCK;
    auto stream = std::make_unique<Stream>();
    stream->device = current_device;
    stream->flags = flags;
    stream->priority = priority;
    *handle = reinterpret_cast<cudaStream_t>(stream.get());
    streams[*handle] = std::move(stream);
    return RT(0);
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* handle, unsigned flags) { return cudaStreamCreateWithPriority(handle, flags, 0); }
cudaError_t cudaStreamCreate(cudaStream_t* handle) { return cudaStreamCreateWithPriority(handle, cudaStreamDefault, 0); }

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
    API_LOCK;
    const auto found = streams.find(handle);
    if (found == streams.end()) return RT(no_stream());
    drain(found->second.get());
    for (auto& [_, event] : events)
        if (event->stream == found->second.get()) event->stream = nullptr;
    streams.erase(found);
    return RT(0);
}

cudaError_t cudaStreamGetFlags(cudaStream_t handle, unsigned* flags) {
    API_LOCK;
    Stream* stream = stream_of(handle);
    if (!stream) return RT(no_stream());
    *flags = stream->flags;
    return RT(0);
}
cudaError_t cudaStreamGetPriority(cudaStream_t handle, int* priority) {
    API_LOCK;
    Stream* stream = stream_of(handle);
    if (!stream) return RT(no_stream());
    *priority = stream->priority;
    return RT(0);
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
    API_LOCK;
    Stream* stream = stream_of(handle);
    return RT(stream ? synchronize(stream) : no_stream());
}
cudaError_t cudaDeviceSynchronize() {
    API_LOCK;
    return RT(synchronize(nullptr));
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
    API_LOCK;
    Stream* stream = stream_of(handle);
    if (!stream) return RT(no_stream());
    return RT(poison ? poison : stream->queue.empty() ? cudaSuccess : cudaErrorNotReady);
}

cudaError_t cudaStreamAddCallback(cudaStream_t handle, cudaStreamCallback_t callback, void* data, unsigned) {
    API_LOCK;
    return RT(submit(stream_of(handle), [=] { callback(handle, cudaSuccess, data); return 0; }, "a callback"));
}
cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* data) {
    API_LOCK;
    return RT(submit(stream_of(handle), [=] { function(data); return 0; }, "a host function"));
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* handle, unsigned flags) {
    API_LOCK;
    auto event = std::make_shared<Event>();
    event->device = current_device;
    event->has_time = !(flags & cudaEventDisableTiming);
    *handle = reinterpret_cast<cudaEvent_t>(event.get());
    events[*handle] = event;
    return RT(0);
}
cudaError_t cudaEventCreate(cudaEvent_t* handle) { return cudaEventCreateWithFlags(handle, cudaEventDefault); }
cudaError_t cudaEventDestroy(cudaEvent_t handle) {
    API_LOCK;
    return RT(events.erase(handle) ? 0 : no_event());
}

cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t stream_handle) {
    API_LOCK;
    const EventPointer event = event_of(handle);
    Stream* stream = stream_of(stream_handle);
    if (!event || !stream) return RT(event ? no_stream() : no_event());
    if (event->device != stream->device)
        return RT(refuse(cudaErrorInvalidResourceHandle, "an event of device " + std::to_string(event->device) + " is recorded on a stream of device " + std::to_string(stream->device)));
    if (stream->capture) {
        event->capture = stream->capture;
        event->captured_nodes = stream->capture->frontier[stream];
        event->stream = nullptr;
        return RT(0);
    }
    event->capture = nullptr;
    event->stream = stream;
    ++event->recorded;
    return RT(enqueue(stream, {nullptr, event, nullptr, event->recorded}));
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event_handle, unsigned) {
    API_LOCK;
    Stream* stream = stream_of(handle);
    const EventPointer event = event_of(event_handle);
    if (!event || !stream) return RT(event ? no_stream() : no_event());
    if (event->capture) return RT(join_capture(stream, *event));
    if (stream->capture)
        return RT(refuse(cudaErrorStreamCaptureIsolation, "a capturing stream waits for an event that was recorded outside of its capture"));
    if (!event->recorded) return RT(0);
    return RT(enqueue(stream, {nullptr, nullptr, event, event->recorded}));
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
    API_LOCK;
    const EventPointer event = event_of(handle);
    if (!event) return RT(no_event());
    ++counters.synchronizations;
    if (event->capture) return RT(refuse(cudaErrorCapturedEvent, "synchronisation with an event that was recorded in a capture"));
    if (event->stream) drain_until(event->stream, event.get(), event->recorded);
    return RT(poison);
}
cudaError_t cudaEventQuery(cudaEvent_t handle) {
    API_LOCK;
    const EventPointer event = event_of(handle);
    if (!event) return RT(no_event());
    return RT(event->reached >= event->recorded ? cudaSuccess : cudaErrorNotReady);
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin_handle, cudaEvent_t end_handle) {
    API_LOCK;
    const EventPointer begin = event_of(begin_handle), end = event_of(end_handle);
    if (!begin || !end) return RT(no_event());
    if (!begin->has_time || !end->has_time || !begin->recorded || !end->recorded)
        return RT(refuse(cudaErrorInvalidResourceHandle, "an event without timing, or one that was never recorded"));
    if (begin->reached < begin->recorded || end->reached < end->recorded) return RT(cudaErrorNotReady);
    *milliseconds = static_cast<float>(end->milliseconds - begin->milliseconds);
    return RT(0);
}

}  // extern "C"
