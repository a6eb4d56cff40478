// A stack for every thread of a block, and the switch between them (System V ABI, x86-64).
#include "block.h"

#include <cstring>
#include <stdexcept>
#include <sys/mman.h>

#if !defined(__x86_64__)
#error "the emulated device switches stacks on x86-64 only"
#endif

extern "C" {
EmulatedThread* emulated_thread;
void emulated_switch(void** saved_stack_pointer, void* stack_pointer);
}

asm(R"(.text
.globl emulated_switch
.type emulated_switch,@function
emulated_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emulated_switch, .-emulated_switch
)");

namespace emulated {

namespace {
constexpr size_t MOST_THREADS = 8 << 10, STACK = 128 << 10, GUARD = 4096;
constexpr size_t SLOT = STACK + GUARD;

char* slab;
std::vector<char*> free_stacks;
void* scheduler_stack_pointer;
size_t stacks;  // that were made so far
}  // namespace

void reserve_stacks(size_t threads) {
    if (!slab) {
        void* memory = mmap(nullptr, MOST_THREADS * SLOT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) throw std::bad_alloc();
        slab = static_cast<char*>(memory);
    }
    if (threads > MOST_THREADS) throw std::bad_alloc();
    for (; stacks < threads; ++stacks) {
        char* guard = slab + stacks * SLOT;
        mprotect(guard, GUARD, PROT_NONE);
        free_stacks.push_back(guard + GUARD);
    }
}

void start_fiber(Thread& thread, void (*body)()) {
    thread.stack = free_stacks.back();
    free_stacks.pop_back();
    // Six callee-saved registers, the address to return to, and a slot that keeps the stack at 8 mod 16 on entry.
    const uintptr_t top = (reinterpret_cast<uintptr_t>(thread.stack) + STACK) & ~uintptr_t(63);
    void** frame = reinterpret_cast<void**>(top - 8 * sizeof(void*));
    memset(frame, 0, 8 * sizeof(void*));
    frame[6] = reinterpret_cast<void*>(body);
    thread.stack_pointer = frame;
}

void release_stack(Thread& thread) {
    if (thread.stack) free_stacks.push_back(thread.stack);
    thread.stack = nullptr;
}

void resume(Thread& thread) {
    emulated_thread = &thread;
    emulated_switch(&scheduler_stack_pointer, thread.stack_pointer);
}

void suspend() { emulated_switch(&running().stack_pointer, scheduler_stack_pointer); }

bool is_fiber_stack(const void* pointer) {
    const char* p = static_cast<const char*>(pointer);
    return slab && p >= slab && p < slab + MOST_THREADS * SLOT;
}

}  // namespace emulated
