// What the device says of itself, and the names of errors.
#include "driver.h"

#include <cstdio>
#include <cstring>

using namespace emulated;

#define RT(code) static_cast<cudaError_t>(code)
#define CU(code) static_cast<CUresult>(code)

namespace {
constexpr int VERSION = 13020;
constexpr int SHARED = 48 << 10, MOST_SHARED = 227 << 10, SHARED_OF_MULTIPROCESSOR = 228 << 10, L2 = 32 << 20;
const CUcontext CONTEXT = reinterpret_cast<CUcontext>(0x1000);

struct ErrorName {
    int code;
    const char *runtime, *driver;
};
constexpr ErrorName NAMES[] = {
    {0, "cudaSuccess", "CUDA_SUCCESS"},
    {1, "cudaErrorInvalidValue", "CUDA_ERROR_INVALID_VALUE"},
    {2, "cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY"},
    {101, "cudaErrorInvalidDevice", "CUDA_ERROR_INVALID_DEVICE"},
    {200, "cudaErrorInvalidKernelImage", "CUDA_ERROR_INVALID_IMAGE"},
    {209, "cudaErrorNoKernelImageForDevice", "CUDA_ERROR_NO_BINARY_FOR_GPU"},
    {217, "cudaErrorPeerAccessUnsupported", "CUDA_ERROR_PEER_ACCESS_UNSUPPORTED"},
    {301, "cudaErrorFileNotFound", "CUDA_ERROR_FILE_NOT_FOUND"},
    {400, "cudaErrorInvalidResourceHandle", "CUDA_ERROR_INVALID_HANDLE"},
    {401, "cudaErrorIllegalState", "CUDA_ERROR_ILLEGAL_STATE"},
    {500, "cudaErrorSymbolNotFound", "CUDA_ERROR_NOT_FOUND"},
    {600, "cudaErrorNotReady", "CUDA_ERROR_NOT_READY"},
    {700, "cudaErrorIllegalAddress", "CUDA_ERROR_ILLEGAL_ADDRESS"},
    {704, "cudaErrorPeerAccessAlreadyEnabled", "CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED"},
    {713, "cudaErrorHostMemoryNotRegistered", "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED"},
    {719, "cudaErrorLaunchFailure", "CUDA_ERROR_LAUNCH_FAILED"},
    {801, "cudaErrorNotSupported", "CUDA_ERROR_NOT_SUPPORTED"},
    {900, "cudaErrorStreamCaptureUnsupported", "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
    {901, "cudaErrorStreamCaptureInvalidated", "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"},
    {902, "cudaErrorStreamCaptureMerge", "CUDA_ERROR_STREAM_CAPTURE_MERGE"},
    {903, "cudaErrorStreamCaptureUnmatched", "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED"},
    {904, "cudaErrorStreamCaptureUnjoined", "CUDA_ERROR_STREAM_CAPTURE_UNJOINED"},
    {905, "cudaErrorStreamCaptureIsolation", "CUDA_ERROR_STREAM_CAPTURE_ISOLATION"},
    {906, "cudaErrorStreamCaptureImplicit", "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT"},
    {907, "cudaErrorCapturedEvent", "CUDA_ERROR_CAPTURED_EVENT"},
};

const ErrorName& name_of_error(int code) {
    static const ErrorName unknown{-1, "cudaErrorUnknown", "CUDA_ERROR_UNKNOWN"};
    for (const ErrorName& name : NAMES)
        if (name.code == code) return name;
    return unknown;
}

const char* text_of_error(int code) {
    thread_local std::string text;
    text = code ? "emulated device: " + message : "no error";
    return text.c_str();
}

bool is_device(int device) { return device >= 0 && device < settings.devices; }
}  // namespace

extern "C" {

const char* cudaGetErrorName(cudaError_t code) { return name_of_error(code).runtime; }
const char* cudaGetErrorString(cudaError_t code) { return text_of_error(code); }
CUresult cuGetErrorName(CUresult code, const char** text) {
    *text = name_of_error(code).driver;
    return CU(0);
}
CUresult cuGetErrorString(CUresult code, const char** text) {
    *text = text_of_error(code);
    return CU(0);
}
cudaError_t cudaGetLastError() { return RT(0); }
cudaError_t cudaPeekAtLastError() { return RT(poison); }

cudaError_t cudaDriverGetVersion(int* version) {
    *version = VERSION;
    return RT(0);
}
cudaError_t cudaRuntimeGetVersion(int* version) {
    *version = VERSION;
    return RT(0);
}
CUresult cuDriverGetVersion(int* version) {
    *version = VERSION;
    return CU(0);
}
CUresult cuInit(unsigned) { return CU(0); }

cudaError_t cudaGetDeviceCount(int* count) {
    *count = settings.devices;
    return RT(0);
}
cudaError_t cudaGetDevice(int* device) {
    *device = current_device;
    return RT(0);
}
cudaError_t cudaSetDevice(int device) {
    if (!is_device(device)) return RT(refuse(cudaErrorInvalidDevice, "there are " + std::to_string(settings.devices) + " devices, not number " + std::to_string(device)));
    current_device = device;
    return RT(0);
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
    switch (static_cast<int>(attribute)) {
        case cudaDevAttrComputeCapabilityMajor: *value = settings.capability / 10; break;
        case cudaDevAttrComputeCapabilityMinor: *value = settings.capability % 10; break;
        case cudaDevAttrMaxThreadsPerBlock:
        case cudaDevAttrMaxBlockDimX:
        case cudaDevAttrMaxBlockDimY: *value = 1024; break;
        case cudaDevAttrMaxBlockDimZ: *value = 64; break;
        case cudaDevAttrMaxGridDimX: *value = 2147483647; break;
        case cudaDevAttrMaxGridDimY:
        case cudaDevAttrMaxGridDimZ: *value = 65535; break;
        case cudaDevAttrWarpSize: *value = 32; break;
        case cudaDevAttrMultiProcessorCount: *value = MULTIPROCESSORS; break;
        case cudaDevAttrMaxThreadsPerMultiProcessor: *value = THREADS_OF_MULTIPROCESSOR; break;
        case cudaDevAttrCooperativeLaunch: *value = 1; break;
        case cudaDevAttrMaxRegistersPerBlock: *value = 65536; break;
        case cudaDevAttrMaxSharedMemoryPerBlock: *value = SHARED; break;
        case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = MOST_SHARED; break;
        case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = SHARED_OF_MULTIPROCESSOR; break;
        case cudaDevAttrL2CacheSize: *value = L2; break;
        case cudaDevAttrUnifiedAddressing: *value = 1; break;
        default: *value = 0;
    }
    return RT(0);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
    if (!is_device(device)) return RT(cudaErrorInvalidDevice);
    memset(properties, 0, sizeof *properties);
    snprintf(properties->name, sizeof properties->name, "onnxgpu emulated device");
    properties->totalGlobalMem = settings.memory;
    properties->sharedMemPerBlock = SHARED;
    properties->sharedMemPerBlockOptin = MOST_SHARED;
    properties->sharedMemPerMultiprocessor = SHARED_OF_MULTIPROCESSOR;
    properties->regsPerBlock = 65536;
    properties->warpSize = 32;
    properties->maxThreadsPerBlock = properties->maxThreadsDim[0] = properties->maxThreadsDim[1] = 1024;
    properties->maxThreadsDim[2] = 64;
    properties->maxGridSize[0] = 2147483647;
    properties->maxGridSize[1] = properties->maxGridSize[2] = 65535;
    properties->major = settings.capability / 10;
    properties->minor = settings.capability % 10;
    properties->multiProcessorCount = MULTIPROCESSORS;
    properties->maxThreadsPerMultiProcessor = THREADS_OF_MULTIPROCESSOR;
    properties->unifiedAddressing = 1;
    properties->l2CacheSize = L2;
    properties->memoryBusWidth = 64;
    return RT(0);
}
cudaError_t cudaDeviceGetPCIBusId(char* text, int bytes, int device) {
    snprintf(text, bytes, "0000:%02x:00.0", device);
    return RT(0);
}
cudaError_t cudaDeviceGetByPCIBusId(int* device, const char* text) {
    unsigned bus = 0;
    sscanf(text, "%*x:%x", &bus);
    *device = static_cast<int>(bus);
    return RT(0);
}
cudaError_t cudaDeviceGetLimit(size_t* value, cudaLimit) {
    *value = 0;
    return RT(0);
}
cudaError_t cudaDeviceSetLimit(cudaLimit, size_t) { return RT(0); }
cudaError_t cudaDeviceCanAccessPeer(int* value, int device, int peer) {
    if (!is_device(device) || !is_device(peer)) return RT(refuse(cudaErrorInvalidDevice, "there is no such device"));
    *value = settings.peers && device != peer;
    return RT(0);
}
cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned) {
    API_LOCK;
    int can = 0;
    if (const cudaError_t error = cudaDeviceCanAccessPeer(&can, current_device, peer)) return error;
    if (!can) return RT(refuse(cudaErrorPeerAccessUnsupported, "the devices cannot access each other's memory"));
    return RT(let_reach(current_device, peer) ? 0 : refuse(cudaErrorPeerAccessAlreadyEnabled, "access to the peer's memory is enabled already"));
}

// One memory pool that is always empty: CuPy trims it.
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
    *pool = reinterpret_cast<cudaMemPool_t>(1);
    return RT(0);
}
cudaError_t cudaDeviceGetMemPool(cudaMemPool_t* pool, int device) { return cudaDeviceGetDefaultMemPool(pool, device); }
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return RT(0); }
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return RT(0); }
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr, void* value) {
    memset(value, 0, sizeof(uint64_t));
    return RT(0);
}
cudaError_t cudaProfilerStart() { return RT(0); }
cudaError_t cudaProfilerStop() { return RT(0); }

CUresult cuCtxGetCurrent(CUcontext* context) {
    *context = CONTEXT;
    return CU(0);
}
CUresult cuCtxSetCurrent(CUcontext) { return CU(0); }
CUresult cuStreamGetCtx(CUstream, CUcontext* context) { return cuCtxGetCurrent(context); }
CUresult cuCtxGetDevice(CUdevice* device) {
    *device = current_device;
    return CU(0);
}
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice) { return CU(0); }

}  // extern "C"
