// Allocation of device and pinned host memory, and what a pointer is.
#include "driver.h"

#include <cstdlib>
#include <cstring>

using namespace emulated;

#define RT(code) static_cast<cudaError_t>(code)

namespace {
constexpr size_t PINNED_ALIGNMENT = 64;

int new_memory(void** pointer, size_t bytes) {
    *pointer = nullptr;
    if (poison) return poison;
    if (!bytes) return 0;
    limit_memory(settings.memory);
    *pointer = allocate(current_device, bytes);
    ++counters.allocations;
    if (*pointer) return 0;
    return refuse(cudaErrorMemoryAllocation, std::to_string(bytes) + " bytes do not fit: " + std::to_string(bytes_used(current_device)) + " of " +
                                                 std::to_string(settings.memory) + " bytes of the device are in use");
}
}  // namespace

extern "C" {

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
    API_LOCK;
    if (forbids_unsafe_calls()) return RT(refuse(cudaErrorStreamCaptureUnsupported, "cudaMalloc while a stream is capturing (not in relaxed mode)"));
    return RT(new_memory(pointer, bytes));
}
cudaError_t cudaFree(void* pointer) {
    API_LOCK;
    if (!pointer) return RT(poison);
    if (forbids_unsafe_calls()) return RT(refuse(cudaErrorStreamCaptureUnsupported, "cudaFree while a stream is capturing (not in relaxed mode)"));
    drain_all();
    ++counters.releases;
    return RT(release(pointer) ? poison : refuse(cudaErrorInvalidValue, "cudaFree of a pointer that is no allocation"));
}
cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t) {
    API_LOCK;
    return RT(new_memory(pointer, bytes));
}
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t stream) {
    API_LOCK;
    ++counters.releases;
    const auto work = [=] { return release(pointer) ? 0 : refuse(cudaErrorInvalidValue, "cudaFreeAsync of a pointer that is no allocation"); };
    return RT(submit(stream_of(stream), work, "cudaFreeAsync"));
}

cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
    API_LOCK;
    *pointer = std::aligned_alloc(PINNED_ALIGNMENT, (bytes + PINNED_ALIGNMENT) / PINNED_ALIGNMENT * PINNED_ALIGNMENT);
    pin(*pointer, bytes);
    return RT(0);
}
cudaError_t cudaMallocHost(void** pointer, size_t bytes) { return cudaHostAlloc(pointer, bytes, 0); }
cudaError_t cudaFreeHost(void* pointer) {
    API_LOCK;
    drain_all();
    if (!unpin(pointer)) return RT(refuse(cudaErrorInvalidValue, "cudaFreeHost of a pointer that is no pinned allocation"));
    std::free(pointer);
    return RT(0);
}
cudaError_t cudaHostRegister(void* pointer, size_t bytes, unsigned) {
    API_LOCK;
    pin(pointer, bytes);
    return RT(0);
}
cudaError_t cudaHostUnregister(void* pointer) {
    API_LOCK;
    drain_all();
    return RT(unpin(pointer) ? 0 : refuse(cudaErrorHostMemoryNotRegistered, "the memory was not registered"));
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total) {
    API_LOCK;
    *total = settings.memory;
    *free_bytes = settings.memory - std::min(settings.memory, bytes_used(current_device));
    return RT(0);
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
    API_LOCK;
    memset(attributes, 0, sizeof *attributes);
    const Kind kind = kind_of(pointer);
    void* address = const_cast<void*>(pointer);
    attributes->device = kind == Kind::device ? allocation_at(pointer)->device : kind == Kind::pinned ? current_device : -1;
    attributes->type = kind == Kind::device ? cudaMemoryTypeDevice : kind == Kind::pinned ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
    if (kind != Kind::pageable) attributes->devicePointer = address;
    if (kind == Kind::pinned) attributes->hostPointer = address;
    return RT(0);
}

}  // extern "C"
