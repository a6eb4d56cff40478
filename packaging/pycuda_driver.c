/* libcuda.so.1 for a process without a GPU: what PyCUDA needs of NVIDIA's driver for contexts, memory, streams and events.

Two devices, whose memory is the host's. Work is done when it is launched. It refuses what the driver refuses, and more:
    - every call on memory, streams and events wants a current context, and those of streams and events want live handles;
    - the host cannot read device memory, nor pinned memory that was freed: either ends the process;
    - a copy outside of a live block, or a block that is freed twice, is an error and is told on stderr;
    - device memory that is left when its context goes, or the process ends, is told there too.
No address and no handle is given out twice. */

#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { DEVICES = 2, DEPTH = 64 };
enum { INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, INVALID_DEVICE = 101, INVALID_CONTEXT = 201, INVALID_HANDLE = 400,
       PEER_ENABLED = 704, CONTEXT_IS_DESTROYED = 709 };

static const size_t TOTAL = (size_t)256 << 20;

typedef int Result;
typedef uint64_t Pointer; /* into device memory */

typedef struct {
    int device, retained, reaches_peer;
    size_t used;
} Context;

typedef struct Block {
    Pointer start;
    size_t size;
    char *bytes;    /* what the host reads and writes for it; at `start` itself if the memory is pinned */
    Context *owner; /* NULL: pinned memory */
    int is_live;
    struct Block *next;
} Block;

enum Kind { STREAM, EVENT };

typedef struct Handle {
    enum Kind kind;
    Context *owner;
    int is_live;
} Handle;

static int is_initialized;
static Context contexts[DEVICES];
static Block *blocks;
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local Context *stack[DEPTH];
static _Thread_local int depth;

#define WANT(condition, code) if (!(condition)) return code
#define CURRENT() WANT(depth, INVALID_CONTEXT); WANT(stack[depth - 1]->retained, CONTEXT_IS_DESTROYED)

static void tell(const char *what, Pointer where, size_t size) {
    fprintf(stderr, "libcuda: %s: %zu bytes at 0x%llx\n", what, size, (unsigned long long)where);
}

static char *pages(size_t size, int protection) {
    char *found = mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return found == MAP_FAILED ? NULL : found;
}

static Result allocate(Context *owner, size_t size, Block **made) {
    WANT(size, INVALID_VALUE);
    pthread_mutex_lock(&guard);
    int fits = !owner || owner->used + size <= TOTAL;
    Block *block = fits ? calloc(1, sizeof(Block)) : NULL;
    if (block) {
        char *start = pages(size, owner ? PROT_NONE : PROT_READ | PROT_WRITE);
        *block = (Block){(Pointer)start, size, owner ? pages(size, PROT_READ | PROT_WRITE) : start, owner, 1, blocks};
        memset(block->bytes, 0xA5, size);
        if (owner) owner->used += size;
        blocks = block;
    }
    pthread_mutex_unlock(&guard);
    *made = block;
    return block ? 0 : OUT_OF_MEMORY;
}

static void end(Block *block) {
    block->is_live = 0;
    if (block->owner) {
        block->owner->used -= block->size;
        munmap(block->bytes, block->size);
    } else {
        mprotect(block->bytes, block->size, PROT_NONE);
    }
}

static Result release(Pointer start, int is_pinned) {
    Result result = INVALID_VALUE;
    pthread_mutex_lock(&guard);
    for (Block *block = blocks; block; block = block->next) {
        if (block->start != start || is_pinned != !block->owner) continue;
        if (block->is_live) {
            end(block);
            result = 0;
        }
        break;
    }
    pthread_mutex_unlock(&guard);
    if (result) tell("freed, but not allocated", start, 0);
    return result;
}

/* The bytes of a range of device memory, of any device or of one; NULL if it is not within one live block. */
static char *bytes_on(Context *owner, Pointer start, size_t size) {
    char *found = NULL;
    pthread_mutex_lock(&guard);
    for (Block *block = blocks; block && !found; block = block->next)
        if (block->is_live && block->owner && (!owner || owner == block->owner) && block->start <= start &&
            start + size <= block->start + block->size)
            found = block->bytes + (start - block->start);
    pthread_mutex_unlock(&guard);
    if (!found) tell("used, but not allocated", start, size);
    return found;
}

static char *device_bytes(Pointer start, size_t size) { return bytes_on(NULL, start, size); }

static Result copy(char *target, const char *source, size_t size) {
    WANT(target && source, INVALID_VALUE);
    memcpy(target, source, size);
    return 0;
}

static int is_handle(Handle *handle, enum Kind kind) { return handle && handle->kind == kind && handle->is_live && handle->owner->retained; }

/* The default stream is every context's. */
static int is_stream(Handle *stream) { return !stream || is_handle(stream, STREAM); }

static Result make(Handle **made, enum Kind kind) {
    CURRENT();
    *made = malloc(sizeof(Handle));
    **made = (Handle){kind, stack[depth - 1], 1};
    return 0;
}

static Result destroy(Handle *handle, enum Kind kind) {
    CURRENT();
    WANT(is_handle(handle, kind), INVALID_HANDLE);
    handle->is_live = 0;
    return 0;
}

static void tell_left(Context *owner) {
    if (owner->used) fprintf(stderr, "libcuda: %zu bytes of device %d were never freed\n", owner->used, owner->device);
}

__attribute__((destructor)) static void ended(void) {
    for (int device = 0; device < DEVICES; device++) tell_left(&contexts[device]);
}

/* Devices and contexts */

Result cuInit(unsigned flags) {
    for (int device = 0; device < DEVICES; device++) contexts[device].device = device;
    is_initialized = 1;
    return flags ? INVALID_VALUE : 0;
}

Result cuDriverGetVersion(int *version) { *version = 13000; return 0; }

Result cuGetErrorString(Result code, const char **text) {
    switch (code) {
    case 0: *text = "no error"; break;
    case INVALID_VALUE: *text = "invalid argument"; break;
    case OUT_OF_MEMORY: *text = "out of memory"; break;
    case NOT_INITIALIZED: *text = "initialization error"; break;
    case INVALID_DEVICE: *text = "invalid device ordinal"; break;
    case INVALID_CONTEXT: *text = "invalid device context"; break;
    case INVALID_HANDLE: *text = "invalid resource handle"; break;
    case PEER_ENABLED: *text = "peer access is already enabled"; break;
    case CONTEXT_IS_DESTROYED: *text = "context is destroyed"; break;
    default: *text = "unknown error";
    }
    return 0;
}

Result cuDeviceGetCount(int *count) { WANT(is_initialized, NOT_INITIALIZED); *count = DEVICES; return 0; }

Result cuDeviceGet(int *device, int ordinal) {
    WANT(is_initialized, NOT_INITIALIZED);
    WANT(0 <= ordinal && ordinal < DEVICES, INVALID_DEVICE);
    *device = ordinal;
    return 0;
}

Result cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "stub of device %d", device); return 0; }

Result cuDeviceComputeCapability(int *major, int *minor, int device) { *major = 9; *minor = 0; return 0; }

Result cuDeviceGetAttribute(int *value, int attribute, int device) { *value = 1; return 0; }

Result cuDeviceCanAccessPeer(int *can, int device, int peer) { *can = device != peer; return 0; }

Result cuDevicePrimaryCtxRetain(Context **context, int device) {
    pthread_mutex_lock(&guard);
    *context = &contexts[device];
    (*context)->retained++;
    pthread_mutex_unlock(&guard);
    return 0;
}

static Result leave(Context *context) {
    WANT(context->retained, INVALID_CONTEXT);
    pthread_mutex_lock(&guard);
    if (!--context->retained) {
        tell_left(context);
        for (Block *block = blocks; block; block = block->next)
            if (block->is_live && block->owner == context) end(block);
    }
    pthread_mutex_unlock(&guard);
    return 0;
}

Result cuDevicePrimaryCtxRelease_v2(int device) { return leave(&contexts[device]); }

/* PyCUDA's objects of primary contexts end with it too: their destructor is that of other contexts. */
Result cuCtxDetach(Context *context) {
    WANT(depth && stack[depth - 1] == context, INVALID_CONTEXT);
    depth--;
    return leave(context);
}

Result cuCtxPushCurrent_v2(Context *context) {
    WANT(context, INVALID_CONTEXT);
    WANT(context->retained, CONTEXT_IS_DESTROYED);
    WANT(depth < DEPTH, INVALID_VALUE);
    stack[depth++] = context;
    return 0;
}

Result cuCtxPopCurrent_v2(Context **context) { WANT(depth, INVALID_CONTEXT); *context = stack[--depth]; return 0; }

Result cuCtxGetDevice(int *device) { CURRENT(); *device = stack[depth - 1]->device; return 0; }

Result cuCtxSynchronize(void) { CURRENT(); return 0; }

Result cuCtxEnablePeerAccess(Context *peer, unsigned flags) {
    CURRENT();
    Context *here = stack[depth - 1];
    WANT(peer != here, INVALID_DEVICE);
    WANT(!here->reaches_peer, PEER_ENABLED);
    here->reaches_peer = 1;
    return 0;
}

/* Memory */

Result cuMemAlloc_v2(Pointer *pointer, size_t size) {
    CURRENT();
    Block *block;
    Result result = allocate(stack[depth - 1], size, &block);
    if (!result) *pointer = block->start;
    return result;
}

Result cuMemFree_v2(Pointer pointer) { CURRENT(); return release(pointer, 0); }

Result cuMemHostAlloc(void **pointer, size_t size, unsigned flags) {
    CURRENT();
    Block *block;
    Result result = allocate(NULL, size, &block);
    if (!result) *pointer = block->bytes;
    return result;
}

Result cuMemFreeHost(void *pointer) { CURRENT(); return release((Pointer)pointer, 1); }

Result cuMemGetInfo_v2(size_t *left, size_t *total) {
    CURRENT();
    *total = TOTAL;
    *left = TOTAL - stack[depth - 1]->used;
    return 0;
}

Result cuMemcpyHtoD_v2(Pointer to, const char *from, size_t size) { CURRENT(); return copy(device_bytes(to, size), from, size); }

Result cuMemcpyDtoH_v2(char *to, Pointer from, size_t size) { CURRENT(); return copy(to, device_bytes(from, size), size); }

Result cuMemcpyDtoD_v2(Pointer to, Pointer from, size_t size) {
    CURRENT();
    return copy(device_bytes(to, size), device_bytes(from, size), size);
}

Result cuMemcpyHtoDAsync_v2(Pointer to, const char *from, size_t size, Handle *stream) {
    CURRENT();
    WANT(is_stream(stream), INVALID_HANDLE);
    return cuMemcpyHtoD_v2(to, from, size);
}

Result cuMemcpyDtoHAsync_v2(char *to, Pointer from, size_t size, Handle *stream) {
    CURRENT();
    WANT(is_stream(stream), INVALID_HANDLE);
    return cuMemcpyDtoH_v2(to, from, size);
}

Result cuMemcpyDtoDAsync_v2(Pointer to, Pointer from, size_t size, Handle *stream) {
    CURRENT();
    WANT(is_stream(stream), INVALID_HANDLE);
    return cuMemcpyDtoD_v2(to, from, size);
}

Result cuMemcpyPeerAsync(Pointer to, Context *there, Pointer from, Context *here, size_t size, Handle *stream) {
    CURRENT();
    WANT(there && there->retained && here && here->retained, INVALID_CONTEXT);
    WANT(is_stream(stream), INVALID_HANDLE);
    return copy(bytes_on(there, to, size), bytes_on(here, from, size), size);
}

Result cuMemsetD8Async(Pointer to, unsigned char value, size_t size, Handle *stream) {
    CURRENT();
    WANT(is_stream(stream) && (!stream || stream->owner == stack[depth - 1]), INVALID_HANDLE);
    char *bytes = device_bytes(to, size);
    WANT(bytes, INVALID_VALUE);
    memset(bytes, value, size);
    return 0;
}

/* Streams and events */

Result cuStreamCreate(Handle **stream, unsigned flags) { return make(stream, STREAM); }

Result cuStreamDestroy_v2(Handle *stream) { return destroy(stream, STREAM); }

Result cuStreamSynchronize(Handle *stream) { CURRENT(); WANT(is_stream(stream), INVALID_HANDLE); return 0; }

Result cuStreamWaitEvent(Handle *stream, Handle *event, unsigned flags) {
    CURRENT();
    WANT(is_stream(stream) && is_handle(event, EVENT), INVALID_HANDLE);
    return 0;
}

Result cuEventCreate(Handle **event, unsigned flags) { return make(event, EVENT); }

Result cuEventDestroy_v2(Handle *event) { return destroy(event, EVENT); }

Result cuEventRecord(Handle *event, Handle *stream) {
    CURRENT();
    WANT(is_stream(stream) && is_handle(event, EVENT), INVALID_HANDLE);
    WANT(event->owner == (stream ? stream->owner : stack[depth - 1]), INVALID_HANDLE);
    return 0;
}

Result cuEventSynchronize(Handle *event) { CURRENT(); WANT(is_handle(event, EVENT), INVALID_HANDLE); return 0; }

Result cuEventQuery(Handle *event) { return cuEventSynchronize(event); }
