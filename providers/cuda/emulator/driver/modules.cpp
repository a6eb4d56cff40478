// Modules, functions and launches. An image is the path of a shared object that `compiler.py` made, and where in it the
// variables in shared memory lie.
#include "driver.h"

#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <link.h>
#include <sstream>

using namespace emulated;

#define CU(code) static_cast<CUresult>(code)

namespace {

constexpr char MAGIC[] = "ONNXGPU EMULATED ";
constexpr int SHARED = 48 << 10, MOST_SHARED = 227 << 10;

struct Module;

struct Function {
    Module* module;
    std::string name;
    void (*entry)(void**);
    const unsigned* signature;  // the number of parameters, then the bytes of each
    int most_dynamic_shared = SHARED;
};

struct Module {
    int device = current_device;
    std::string path;
    void* handle;
    std::vector<SharedVariable> shared;
    bool synchronizes, strict, is_checked;
    std::map<std::string, std::unique_ptr<Function>> functions;

    void* symbol(const std::string& name) const { return dlsym(handle, name.c_str()); }
    bool flag(const char* name) const {
        const int* value = static_cast<const int*>(symbol(name));
        return value && *value;
    }
};

// Arguments are copied when the launch is made, as CUDA does.
struct Arguments {
    std::vector<std::vector<double>> storage;
    std::vector<void*> pointers;

    Arguments(const unsigned* signature, void** parameters) : storage(signature[0]) {
        for (unsigned i = 0; i < signature[0]; ++i) {
            storage[i].resize((signature[1 + i] + sizeof(double) - 1) / sizeof(double) + 1);
            memcpy(storage[i].data(), parameters[i], signature[1 + i]);
            pointers.push_back(storage[i].data());
        }
        pointers.push_back(nullptr);
    }

    // A kernel that was not instrumented is taken to have written all that it was given.
    void mark_all_written() const {
        for (const auto& argument : storage) {
            void* pointer;
            memcpy(&pointer, argument.data(), sizeof pointer);
            if (const Allocation* target = allocation_at(pointer)) mark_written(reinterpret_cast<void*>(target->begin), target->bytes);
        }
    }
};

int run_function(const Function& function, const Arguments& arguments, Launch launch) {
    for (const auto& argument : arguments.storage) {
        void* pointer;
        memcpy(&pointer, argument.data(), sizeof pointer);
        const Allocation* found = allocation_at(pointer);
        if (found && !reaches(launch.device, found->device))
            return poison_with(ILLEGAL_ADDRESS, "kernel " + function.name + " on device " + std::to_string(launch.device) +
                                                    " was given memory of device " + std::to_string(found->device));
    }
    launch.parameters = const_cast<void**>(arguments.pointers.data());
    if (!function.module->is_checked) arguments.mark_all_written();
    std::string text;
    switch (run(launch, text)) {
        case Outcome::finished: return 0;
        case Outcome::refused: return poison_with(cudaErrorInvalidValue, "kernel " + function.name + ": " + text);
        case Outcome::faulted: return poison_with(ILLEGAL_ADDRESS, "kernel " + function.name + ": " + text);
        case Outcome::unsound: return poison_with(LAUNCH_FAILURE, "kernel " + function.name + ": " + text);
    }
    return 0;
}

int blocks_at_once(int threads) { return std::max(1, THREADS_OF_MULTIPROCESSOR / std::max(1, threads)); }

CUresult launched(CUfunction handle, EmulatedIndex grid, EmulatedIndex block, unsigned dynamic_shared, CUstream stream_handle, void** parameters, bool is_cooperative) {
    if (poison) return CU(poison);
    const Function* function = reinterpret_cast<Function*>(handle);
    const Module& module = *function->module;
    Stream* stream = stream_of(stream_handle);
    const auto refused = [&](const std::string& why) { return CU(refuse(CUDA_ERROR_INVALID_VALUE, "kernel " + function->name + ": " + why)); };
    if (module.device != current_device) return CU(refuse_other_device("kernel " + function->name, module.device));
    if (stream && stream->device != current_device) return CU(refuse_other_device("kernel " + function->name + ": its stream", stream->device));
    if (static_cast<int>(dynamic_shared) > function->most_dynamic_shared)
        return refused(std::to_string(dynamic_shared) + " bytes of dynamic shared memory; set its attribute MaxDynamicSharedMemorySize first");
    const size_t threads = size_t(block.x) * block.y * block.z, blocks = size_t(grid.x) * grid.y * grid.z;
    if (!blocks || !threads || threads > 1024 || block.z > 64 || grid.y > 65535 || grid.z > 65535) return refused("the launch passes a limit of the device");
    if (is_cooperative && blocks > size_t(MULTIPROCESSORS) * blocks_at_once(static_cast<int>(threads)))
        return CU(refuse(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, "kernel " + function->name + ": " + std::to_string(blocks) + " blocks cannot run at once"));
    ++counters.launches;
    const Launch launch{function->entry, nullptr, grid, block, dynamic_shared, module.shared.data(), module.shared.size(),
                        module.synchronizes, module.strict, is_cooperative, stream ? stream->device : 0};
    const auto arguments = std::make_shared<Arguments>(function->signature, parameters);
    return CU(submit(stream, [=] { return run_function(*function, *arguments, launch); }, "a launch"));
}

}  // namespace

extern "C" {

CUresult cuModuleLoadData(CUmodule* handle, const void* image) {
    API_LOCK;
    const char* text = static_cast<const char*>(image);
    if (strncmp(text, MAGIC, sizeof MAGIC - 1))
        return CU(refuse(CUDA_ERROR_NO_BINARY_FOR_GPU, "the image is real PTX or machine code for a GPU, which cannot run on the emulated device"));
    auto module = std::make_unique<Module>();
    std::istringstream lines(text + sizeof MAGIC - 1);
    std::getline(lines, module->path);
    module->handle = dlopen(module->path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!module->handle) return CU(refuse(CUDA_ERROR_INVALID_IMAGE, dlerror()));
    link_map* map = nullptr;
    dlinfo(module->handle, RTLD_DI_LINKMAP, &map);
    for (size_t offset, bytes; lines >> std::hex >> offset >> bytes;) {
        const char* begin = reinterpret_cast<const char*>(map->l_addr) + offset;
        module->shared.push_back({begin, begin + bytes});
    }
    module->synchronizes = module->flag("emulated_synchronizes");
    module->strict = module->flag("emulated_strict");
    module->is_checked = module->flag("emulated_checked");
    *handle = reinterpret_cast<CUmodule>(module.release());
    return CU(0);
}

CUresult cuModuleLoadDataEx(CUmodule* handle, const void* image, unsigned, CUjit_option*, void**) { return cuModuleLoadData(handle, image); }

CUresult cuModuleLoad(CUmodule* handle, const char* path) {
    FILE* file = fopen(path, "rb");
    if (!file) return CU(refuse(CUDA_ERROR_FILE_NOT_FOUND, path));
    std::vector<char> image(4096);
    image.resize(fread(image.data(), 1, image.size(), file));
    fclose(file);
    image.push_back(0);
    return cuModuleLoadData(handle, image.data());
}

CUresult cuModuleUnload(CUmodule) { return CU(0); }  // code that a queue may still hold stays loaded

CUresult cuModuleGetFunction(CUfunction* handle, CUmodule module_handle, const char* name) {
    API_LOCK;
    Module* module = reinterpret_cast<Module*>(module_handle);
    auto& function = module->functions[name];
    if (!function) {
        const auto entry = reinterpret_cast<void (*)(void**)>(module->symbol(std::string("emulated_entry_") + name));
        const auto signature = static_cast<const unsigned*>(module->symbol(std::string("emulated_signature_") + name));
        if (!entry || !signature) {
            module->functions.erase(name);
            return CU(refuse(CUDA_ERROR_NOT_FOUND, std::string("the module has no kernel ") + name));
        }
        function.reset(new Function{module, name, entry, signature});
    }
    *handle = reinterpret_cast<CUfunction>(function.get());
    return CU(0);
}

CUresult cuModuleGetGlobal_v2(CUdeviceptr* pointer, size_t* bytes, CUmodule module, const char* name) {
    API_LOCK;
    void* address = reinterpret_cast<Module*>(module)->symbol(name);
    if (!address) return CU(refuse(CUDA_ERROR_NOT_FOUND, std::string("the module has no variable ") + name));
    Dl_info info;
    const ElfW(Sym)* symbol = nullptr;
    dladdr1(address, &info, const_cast<void**>(reinterpret_cast<const void**>(&symbol)), RTLD_DL_SYMENT);
    *pointer = reinterpret_cast<CUdeviceptr>(address);
    if (bytes) *bytes = symbol ? symbol->st_size : 0;
    return CU(0);
}

CUresult cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction handle) {
    switch (static_cast<int>(attribute)) {
        case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = 1024; break;
        case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: *value = reinterpret_cast<Function*>(handle)->most_dynamic_shared; break;
        default: *value = 0;  // registers, spills and code versions are the real compiler's to tell
    }
    return CU(0);
}

CUresult cuFuncSetAttribute(CUfunction handle, CUfunction_attribute attribute, int value) {
    if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) return CU(0);
    if (value > MOST_SHARED) return CU(refuse(CUDA_ERROR_INVALID_VALUE, "more than 227 KiB of dynamic shared memory"));
    reinterpret_cast<Function*>(handle)->most_dynamic_shared = value;
    return CU(0);
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction, int threads, size_t) {
    *blocks = blocks_at_once(threads);
    return CU(0);
}
CUresult cuOccupancyMaxPotentialBlockSize(int* grid, int* threads, CUfunction, CUoccupancyB2DSize, size_t, int) {
    *grid = 4;
    *threads = 256;
    return CU(0);
}

CUresult cuLaunchKernel(
    CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z, unsigned dynamic_shared,
    CUstream stream, void** parameters, void** extra
) {
    API_LOCK;
    if (extra) return CU(refuse(CUDA_ERROR_NOT_SUPPORTED, "a launch with packed arguments (`extra`) is not emulated"));
    return launched(function, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, dynamic_shared, stream, parameters, false);
}

CUresult cuLaunchCooperativeKernel(
    CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z, unsigned dynamic_shared,
    CUstream stream, void** parameters
) {
    API_LOCK;
    return launched(function, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, dynamic_shared, stream, parameters, true);
}

}  // extern "C"
