// Stands where NVIDIA's libraries are loaded from. Every pointer that the bindings get is one object, and every virtual function of that
// object returns the object again: as a number 16, as a flag true, as text "aaaa", as a structure one that begins with zeros. So the
// bindings can be called, and say by themselves which arguments they take; nothing else that they return means anything.

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <typeinfo>

namespace {

constexpr std::uintptr_t OBJECT = 0x7'0000'0010;  // the low half is a small number
constexpr std::uintptr_t TABLE = 0x6161'6161;     // the object begins with this, as text "aaaa"
constexpr int FUNCTIONS = 2048;
constexpr int MEMBERS = 64;

struct Named {
    virtual ~Named() = default;
};

void *page(std::uintptr_t address, std::size_t size) {
    return mmap(reinterpret_cast<void *>(address & ~std::uintptr_t{0xffff}), size, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

// Of a function that returns a structure, the first argument is where it goes.
void *answer(void *first) {
    if (first != reinterpret_cast<void *>(OBJECT)) std::memset(first, 0, 8);
    return first;
}

void put(std::uintptr_t address, const void *value) { std::memcpy(reinterpret_cast<void *>(address), &value, sizeof value); }

void *object() {
    static bool made = [] {
        // Three libraries are made from this file: the first to come has made it for all.
        if (page(OBJECT, 0x10000) == MAP_FAILED || page(TABLE, 0x20000) == MAP_FAILED) return true;
        put(TABLE - 8, &typeid(Named));
        for (int index = 0; index < FUNCTIONS; index++) put(TABLE + 8 * index, reinterpret_cast<void *>(answer));
        put(OBJECT, reinterpret_cast<void *>(TABLE));  // what a class with virtual functions begins with
        // Each base class of TensorRT's interfaces keeps a pointer to what implements it.
        for (int index = 1; index < MEMBERS; index++) put(OBJECT + 8 * index, reinterpret_cast<void *>(OBJECT));
        return true;
    }();
    (void)made;
    return reinterpret_cast<void *>(OBJECT);
}

}  // namespace

extern "C" {
void *createInferBuilder_INTERNAL() { return object(); }
void *createInferRefitter_INTERNAL() { return object(); }
void *createInferRuntime_INTERNAL() { return object(); }
void *createNvOnnxParserRefitter_INTERNAL() { return object(); }
void *createNvOnnxParser_INTERNAL() { return object(); }
void *getBuilderPluginRegistry() { return object(); }
void *getPluginRegistry() { return object(); }
int getNvOnnxParserVersion() { return 0; }
bool initLibNvInferPlugins(void *, const char *) { return true; }
}
