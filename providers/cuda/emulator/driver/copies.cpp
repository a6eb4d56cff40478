// Copies between host and device. A pageable source is staged before the call returns, a pinned one is read when the copy runs.
#include "driver.h"

#include <cstring>

namespace emulated {

namespace {

std::map<const char*, size_t> pinned;

bool is_pinned(const void* pointer) {
    const char* p = static_cast<const char*>(pointer);
    auto after = pinned.upper_bound(p);
    if (after == pinned.begin()) return false;
    --after;
    return p < after->first + after->second;
}

const char* word_for(Kind kind) { return kind == Kind::device ? "device memory" : kind == Kind::pinned ? "pinned host memory" : "host memory"; }

void count(int direction, size_t bytes, bool between) {
    if (direction == cudaMemcpyHostToDevice) ++counters.copies_to_device, counters.bytes_to_device += bytes;
    if (direction == cudaMemcpyDeviceToHost) ++counters.copies_to_host, counters.bytes_to_host += bytes;
    if (direction != cudaMemcpyDeviceToDevice) return;
    if (between) ++counters.copies_between_devices, counters.bytes_between_devices += bytes;
    else ++counters.copies_on_device, counters.bytes_on_device += bytes;
}

int direction_between(Kind target, Kind source) {
    if (source == Kind::device) return target == Kind::device ? cudaMemcpyDeviceToDevice : cudaMemcpyDeviceToHost;
    return target == Kind::device ? cudaMemcpyHostToDevice : cudaMemcpyHostToHost;
}

}  // namespace

Kind kind_of(const void* pointer) { return allocation_at(pointer) ? Kind::device : is_pinned(pointer) ? Kind::pinned : Kind::pageable; }
void pin(void* pointer, size_t bytes) { pinned[static_cast<char*>(pointer)] = bytes ? bytes : 1; }
bool unpin(void* pointer) { return pinned.erase(static_cast<char*>(pointer)) > 0; }

int copy(void* target, const void* source, size_t bytes, int direction, Stream* stream, bool synchronous) {
    if (poison) return poison;
    if (!stream) return refuse(cudaErrorInvalidResourceHandle, "the handle is no stream");
    if (!bytes) return 0;
    const Kind to = kind_of(target), from = kind_of(source);
    if (direction == cudaMemcpyDefault) direction = direction_between(to, from);
    const bool to_device = direction == cudaMemcpyHostToDevice || direction == cudaMemcpyDeviceToDevice;
    const bool from_device = direction == cudaMemcpyDeviceToHost || direction == cudaMemcpyDeviceToDevice;
    if (to_device != (to == Kind::device) || from_device != (from == Kind::device))
        return refuse(cudaErrorInvalidValue, std::string("a copy of the wrong kind: from ") + word_for(from) + " to " + word_for(to));
    if ((to_device && !is_inside(target, bytes)) || (from_device && !is_inside(source, bytes)))
        return refuse(cudaErrorInvalidValue, "a copy of " + std::to_string(bytes) + " bytes reaches past the end of its allocation");
    const bool pageable = (!to_device && to == Kind::pageable) || (!from_device && from == Kind::pageable);
    if (stream->capture && (synchronous || pageable)) {
        stream->capture_broken = true;
        return refuse(cudaErrorStreamCaptureUnsupported, "a synchronous copy, or one of pageable memory, while the stream is capturing");
    }
    count(direction, bytes, to_device && from_device && allocation_at(target)->device != allocation_at(source)->device);
    std::shared_ptr<std::vector<char>> staged;
    if (!stream->capture && to_device && from == Kind::pageable) {
        const char* begin = static_cast<const char*>(source);
        staged = std::make_shared<std::vector<char>>(begin, begin + bytes);
    }
    const auto work = [=] {
        if ((to_device && !is_inside(target, bytes)) || (from_device && !is_inside(source, bytes)))
            return poison_with(ILLEGAL_ADDRESS, "a copy ran after the memory it names was freed");
        memmove(target, staged ? staged->data() : source, bytes);
        if (to_device) mark_written(target, bytes);
        return 0;
    };
    const int error = submit(stream, work, "a copy");
    const bool waits = synchronous || (!to_device && to == Kind::pageable);
    if (error || stream->capture || !waits) return error;
    drain(stream);
    return poison;
}

}  // namespace emulated

using namespace emulated;

namespace {

bool lies_on(const void* pointer, int device) {
    const Allocation* found = allocation_at(pointer);
    return !found || found->device == device;  // `copy` refuses what is no device memory
}

int copy_between(void* target, int to, const void* source, int from, size_t bytes, Stream* stream, bool synchronous) {
    if (!lies_on(target, to) || !lies_on(source, from))
        return refuse(cudaErrorInvalidValue, "a copy between devices names another device than that of the memory");
    return copy(target, source, bytes, cudaMemcpyDeviceToDevice, stream, synchronous);
}

}  // namespace

#define RT(code) static_cast<cudaError_t>(code)

extern "C" {

cudaError_t cudaMemcpy(void* target, const void* source, size_t bytes, cudaMemcpyKind direction) {
    API_LOCK;
    return RT(copy(target, source, bytes, direction, stream_of(nullptr), true));
}
cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t bytes, cudaMemcpyKind direction, cudaStream_t stream) {
    API_LOCK;
    return RT(copy(target, source, bytes, direction, stream_of(stream), false));
}
cudaError_t cudaMemcpyPeer(void* target, int to, const void* source, int from, size_t bytes) {
    API_LOCK;
    return RT(copy_between(target, to, source, from, bytes, stream_of(nullptr), true));
}
cudaError_t cudaMemcpyPeerAsync(void* target, int to, const void* source, int from, size_t bytes, cudaStream_t stream) {
    API_LOCK;
    return RT(copy_between(target, to, source, from, bytes, stream_of(stream), false));
}

cudaError_t cudaMemcpy2DAsync(
    void* target, size_t target_pitch, const void* source, size_t source_pitch, size_t width, size_t height, cudaMemcpyKind direction, cudaStream_t stream
) {
    API_LOCK;
    for (size_t row = 0; row < height; ++row) {
        char* to = static_cast<char*>(target) + row * target_pitch;
        const char* from = static_cast<const char*>(source) + row * source_pitch;
        if (const int error = copy(to, from, width, direction, stream_of(stream), false)) return RT(error);
    }
    return RT(0);
}
cudaError_t cudaMemcpy2D(
    void* target, size_t target_pitch, const void* source, size_t source_pitch, size_t width, size_t height, cudaMemcpyKind direction
) {
    const cudaError_t error = cudaMemcpy2DAsync(target, target_pitch, source, source_pitch, width, height, direction, nullptr);
    return error ? error : cudaStreamSynchronize(nullptr);
}

cudaError_t cudaMemsetAsync(void* target, int value, size_t bytes, cudaStream_t stream) {
    API_LOCK;
    if (!bytes) return RT(poison);
    if (!is_inside(target, bytes)) return RT(refuse(cudaErrorInvalidValue, "a memset reaches past the end of its allocation"));
    ++counters.memsets;
    const auto work = [=] {
        memset(target, value, bytes);
        mark_written(target, bytes);
        return 0;
    };
    return RT(submit(stream_of(stream), work, "a memset"));
}
cudaError_t cudaMemset(void* target, int value, size_t bytes) { return cudaMemsetAsync(target, value, bytes, nullptr); }

}  // extern "C"
