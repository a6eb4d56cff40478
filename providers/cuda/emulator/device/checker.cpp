// Finds, in kernels compiled with -fsanitize=thread, what compute-sanitizer finds on a device: accesses outside of every
// allocation or off their alignment, reads of memory that nobody wrote, and races.
//
// g++ puts a call in front of every load and store; the library that would usually answer them is never linked, these
// functions stand in its place. Two accesses race if a barrier orders neither before the other (for the lanes of one warp a
// __syncwarp, between blocks a barrier of the grid or a fence), one of them writes, and not both are atomic.
#include "block.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <link.h>
#include <set>
#include <unordered_map>

extern "C" {
extern EmulatedThread* emulated_thread;
extern void* emulated_dynamic_shared;
}

namespace emulated {

namespace {

struct Range {
    const char *begin, *end;
    bool holds(const void* p) const { return p >= begin && p < end; }
};

constexpr size_t PAGE = 4096, WORDS = PAGE / 4;
std::unordered_map<uintptr_t, Word*> pages;
uint64_t launch_number;
int atomic_depth;
Range dynamic_shared, module;
std::vector<std::string> reports;
std::set<std::pair<std::string, const void*>> reported;
size_t most_reports = 8;

Range range_of_module(void* function) {
    Dl_info info{};
    if (!dladdr(function, &info)) return {};
    Range range{static_cast<const char*>(info.dli_fbase), nullptr};
    dl_iterate_phdr(
        [](dl_phdr_info* object, size_t, void* data) {
            auto* range = static_cast<Range*>(data);
            if (reinterpret_cast<const char*>(object->dlpi_addr) != range->begin) return 0;
            for (int i = 0; i < object->dlpi_phnum; ++i)
                if (object->dlpi_phdr[i].p_type == PT_LOAD)
                    range->end = std::max(range->end, range->begin + object->dlpi_phdr[i].p_vaddr + object->dlpi_phdr[i].p_memsz);
            return 0;
        },
        &range
    );
    return range;
}

// file:line of an instruction of a kernel, innermost call first; addr2line comes with the compiler.
std::string location_of(const void* caller) {
    Dl_info info{};
    if (!caller || !dladdr(const_cast<void*>(caller), &info) || !info.dli_fname) return "";
    char command[1024];
    const size_t offset = static_cast<const char*>(caller) - static_cast<const char*>(info.dli_fbase) - 1;
    snprintf(command, sizeof command, "addr2line -ie '%s' 0x%zx 2>/dev/null", info.dli_fname, offset);
    FILE* pipe = popen(command, "r");
    if (!pipe) return "";
    std::string text;
    char line[512];
    while (fgets(line, sizeof line, pipe)) {
        line[strcspn(line, " \n")] = 0;
        if (strstr(line, "emulator/include/") || strchr(line, '?')) continue;
        const char* name = strrchr(line, '/');
        text += (text.empty() ? "" : " <- ") + std::string(name ? name + 1 : line);
    }
    pclose(pipe);
    return text;
}

bool is_ordered(const Stamp& before, const Thread& thread) {
    if (before.epoch < block.grid_epoch) return true;
    if (before.block != block.index) return false;
    return before.epoch != block.epoch || before.thread == thread.linear ||
           (before.thread / 32u == thread.warp && before.warp_epoch != thread.warp_epoch);
}

bool races(const Stamp& before, uint64_t era, const Thread& thread) {
    if (before.era != era || (atomic_depth && before.atomic)) return false;
    if (before.block != block.index && thread.fenced) return false;
    if (before.several && before.block == block.index && before.epoch == block.epoch) return true;
    return !is_ordered(before, thread);
}

void report_race(const char* kind, bool is_shared, const Stamp& before, const char* other, const void* caller) {
    char text[256];
    snprintf(text, sizeof text, "%s in %s memory: %s and a %s by block %u thread %u, with no barrier between", kind,
             is_shared ? "shared" : "global", name_of(running()).c_str(), other, before.block, before.thread);
    report(text, caller);
}

void check_word(Word& word, bool is_shared, bool writes, const void* caller) {
    const Thread& thread = running();
    const uint64_t era = is_shared ? launch_number << 32 | block.index : launch_number << 32 | 0xffffffffu;
    if (is_shared && !writes && word.write.era != era) report("read of shared memory that nobody wrote", caller);
    if (races(word.write, era, thread)) report_race(writes ? "race (write after write)" : "race (read after write)", is_shared, word.write, "write", caller);
    if (writes && races(word.read, era, thread)) report_race("race (write after read)", is_shared, word.read, "read", caller);
    Stamp now{era, block.index, block.epoch, thread.warp_epoch, static_cast<uint16_t>(thread.linear), atomic_depth > 0, false};
    if (writes) {
        word.write = now;
        return;
    }
    const Stamp& last = word.read;
    const bool same_epoch = last.era == era && last.block == block.index && last.epoch == block.epoch;
    now.several = same_epoch && (last.several || (last.thread != now.thread && !(last.thread / 32u == thread.warp && last.warp_epoch != thread.warp_epoch)));
    word.read = now;
}

Word& word_at(uintptr_t address) {
    Word*& page = pages[address / PAGE];
    if (!page) page = static_cast<Word*>(calloc(WORDS, sizeof(Word)));
    return page[address % PAGE / 4];
}

void check_races(uintptr_t address, size_t bytes, bool is_shared, bool writes, const void* caller) {
    for (uintptr_t begin = address & ~uintptr_t(3); begin < address + bytes; begin += 4) {
        Word& word = word_at(begin);
        const bool whole = begin >= address && begin + 4 <= address + bytes;
        if (!whole && !word.bytes) {
            word.bytes = static_cast<Word*>(malloc(4 * sizeof(Word)));
            const Word copy{word.write, word.read, nullptr};
            for (int i = 0; i < 4; ++i) word.bytes[i] = copy;
        }
        if (!word.bytes) {
            check_word(word, is_shared, writes, caller);
            continue;
        }
        for (int i = 0; i < 4; ++i)
            if (begin + i >= address && begin + i < address + bytes) check_word(word.bytes[i], is_shared, writes, caller);
    }
}

enum class Region { own, shared, global, nowhere };

Region region_of(const char* pointer, size_t bytes, const void* caller) {
    if (is_fiber_stack(pointer)) return Region::own;
    if (block.direct && pointer < block.frame && pointer > static_cast<const char*>(__builtin_frame_address(0))) return Region::own;
    if (dynamic_shared.holds(pointer)) {
        if (pointer + bytes > dynamic_shared.end) report("access past the end of the dynamic shared memory", caller);
        return Region::shared;
    }
    for (size_t i = 0; i < block.launch->shared_count; ++i) {
        const SharedVariable& variable = block.launch->shared[i];
        if (pointer < variable.begin || pointer >= variable.end) continue;
        if (pointer + bytes > variable.end) report("access past the end of a shared variable", caller);
        return Region::shared;
    }
    if (is_inside(pointer, bytes)) return Region::global;
    const auto* threads = reinterpret_cast<const char*>(block.threads.data());
    const bool is_index = pointer >= threads && pointer < threads + block.threads.size() * sizeof(Thread);
    const bool is_own_variable = pointer == reinterpret_cast<const char*>(&emulated_thread) || pointer == reinterpret_cast<const char*>(&emulated_dynamic_shared);
    return is_index || is_own_variable || module.holds(pointer) ? Region::own : Region::nowhere;
}

[[noreturn]] void end_in_illegal_access(const char* pointer, size_t bytes, bool writes, const void* caller) {
    char text[256], where[128] = "";
    if (const Allocation* nearest = allocation_before(pointer))
        snprintf(where, sizeof where, ", %zd bytes past the end of an allocation of %zu bytes",
                 static_cast<ssize_t>(reinterpret_cast<uintptr_t>(pointer) - nearest->end()), nearest->bytes);
    snprintf(text, sizeof text, "illegal %s of %zu bytes by %s%s", writes ? "write" : "read", bytes, name_of(running()).c_str(), where);
    report(text, caller);
    fault("%s", "the kernel accessed memory that is not its own");
    leave();
    abort();
}

void check_written(const char* pointer, size_t bytes, bool writes, const void* caller) {
    Allocation& target = *allocation_at(pointer);
    if (!reaches(block.launch->device, target.device)) report("access to the memory of another device", caller);
    if (target.written_whole) return;
    const size_t offset = reinterpret_cast<uintptr_t>(pointer) - target.begin;
    for (size_t word = offset / 4; word < (offset + bytes + 3) / 4; ++word) {
        if (writes) target.written[word] = true;
        else if (!target.written[word]) {
            report("read of global memory that nobody wrote", caller);
            return;
        }
    }
}

}  // namespace

void set_reports(unsigned most) { most_reports = most; }

void Shadow::take(const void* begin, size_t bytes) {
    const auto first = reinterpret_cast<uintptr_t>(begin);
    for (uintptr_t address = first & ~uintptr_t(3); address < first + bytes; address += 4) {
        words.push_back(word_at(address));
        word_at(address) = Word{};
    }
}

void Shadow::put_back(const void* begin) {
    uintptr_t address = reinterpret_cast<uintptr_t>(begin) & ~uintptr_t(3);
    for (const Word& word : words) {
        if (word.write.era || word.read.era || word.bytes) word_at(address) = word;  // two variables may share a word
        address += 4;
    }
    words.clear();
}

Shadow::~Shadow() {
    for (const Word& word : words) free(word.bytes);
}

void begin_checking(const Launch& launch, void* shared) {
    ++launch_number;
    atomic_depth = 0;
    reports.clear();
    reported.clear();
    dynamic_shared = {static_cast<const char*>(shared), static_cast<const char*>(shared) + launch.dynamic_shared};
    module = range_of_module(reinterpret_cast<void*>(launch.entry));
}

void report(const std::string& text, const void* caller) {
    if (!reported.insert({text.substr(0, text.find(':')), caller}).second || reports.size() >= most_reports) return;
    const std::string where = location_of(caller);
    reports.push_back(where.empty() ? text : where + ": " + text);
}

std::string collected_reports() {
    std::string text;
    for (const std::string& line : reports) text += (text.empty() ? "" : "\n") + line;
    return text;
}

void check_access(const void* address, size_t bytes, bool writes, bool aligned, const void* caller) {
    if (!block.launch || block.failed) return;
    const char* pointer = static_cast<const char*>(address);
    const Region region = region_of(pointer, bytes, caller);
    if (region == Region::own) return;
    if (region == Region::nowhere) end_in_illegal_access(pointer, bytes, writes, caller);
    if (region == Region::global) check_written(pointer, bytes, writes, caller);
    const auto number = reinterpret_cast<uintptr_t>(pointer);
    if (aligned && bytes > 1 && number % bytes) report("misaligned access of " + std::to_string(bytes) + " bytes", caller);
    check_races(number, bytes, region == Region::shared, writes, caller);
}

}  // namespace emulated

using emulated::check_access;

extern "C" {

void emulated_atomic_begin() { ++emulated::atomic_depth; }
void emulated_atomic_end() { --emulated::atomic_depth; }

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

#define CALLER __builtin_return_address(0)
#define ACCESS(BYTES)                                                                                    \
    void __tsan_read##BYTES(void* p) { check_access(p, BYTES, false, true, CALLER); }                     \
    void __tsan_write##BYTES(void* p) { check_access(p, BYTES, true, true, CALLER); }                     \
    void __tsan_unaligned_read##BYTES(void* p) { check_access(p, BYTES, false, false, CALLER); }          \
    void __tsan_unaligned_write##BYTES(void* p) { check_access(p, BYTES, true, false, CALLER); }          \
    void __tsan_volatile_read##BYTES(void* p) { check_access(p, BYTES, false, true, CALLER); }            \
    void __tsan_volatile_write##BYTES(void* p) { check_access(p, BYTES, true, true, CALLER); }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)

void __tsan_read_range(void* p, unsigned long bytes) { check_access(p, bytes, false, false, CALLER); }
void __tsan_write_range(void* p, unsigned long bytes) { check_access(p, bytes, true, false, CALLER); }

// The guards of function-level statics, and std::atomic.
#define ATOMIC(BITS, T)                                                                                                    \
    T __tsan_atomic##BITS##_load(const volatile T* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }                 \
    void __tsan_atomic##BITS##_store(volatile T* p, T value, int) { __atomic_store_n(p, value, __ATOMIC_SEQ_CST); }         \
    T __tsan_atomic##BITS##_fetch_add(volatile T* p, T value, int) { return __atomic_fetch_add(p, value, __ATOMIC_SEQ_CST); } \
    T __tsan_atomic##BITS##_exchange(volatile T* p, T value, int) { return __atomic_exchange_n(p, value, __ATOMIC_SEQ_CST); }
ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)
void __tsan_atomic_thread_fence(int) {}

}  // extern "C"
