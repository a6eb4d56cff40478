// NVRTC: a program is compiled by a callback into Python (`compiler.py`), which runs g++.
#include "driver.h"

#include <nvrtc.h>

#include <cstring>

using namespace emulated;

namespace {

struct Program {
    std::string source, name, log, image;
    std::vector<std::string> expressions, lowered;
};

using Compile = int (*)(
    void* program, const char* source, const char* name, int option_count, const char* const* options, int expression_count, const char* const* expressions
);
Compile compile;

constexpr int ARCHITECTURES[] = {75, 80, 86, 89, 90, 100, 120};

std::vector<const char*> pointers_to(const std::vector<std::string>& texts) {
    std::vector<const char*> pointers;
    for (const auto& text : texts) pointers.push_back(text.c_str());
    return pointers;
}
}  // namespace

extern "C" {

void emulated_set_compiler(Compile function) { compile = function; }

void emulated_set_compiled(void* handle, const char* image, const char* log, int count, const char* const* lowered) {
    auto* program = static_cast<Program*>(handle);
    program->image = image;
    program->log = log;
    program->lowered.assign(lowered, lowered + count);
}

const char* nvrtcGetErrorString(nvrtcResult code) { return code == NVRTC_ERROR_COMPILATION ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR"; }

nvrtcResult nvrtcVersion(int* major, int* minor) {
    *major = 13;
    *minor = 2;
    return NVRTC_SUCCESS;
}
nvrtcResult nvrtcGetNumSupportedArchs(int* count) {
    *count = sizeof ARCHITECTURES / sizeof *ARCHITECTURES;
    return NVRTC_SUCCESS;
}
nvrtcResult nvrtcGetSupportedArchs(int* architectures) {
    memcpy(architectures, ARCHITECTURES, sizeof ARCHITECTURES);
    return NVRTC_SUCCESS;
}

nvrtcResult nvrtcCreateProgram(nvrtcProgram* handle, const char* source, const char* name, int, const char* const*, const char* const*) {
    auto* program = new Program;
    program->source = source;
    program->name = name && *name ? name : "default_program";
    *handle = reinterpret_cast<nvrtcProgram>(program);
    return NVRTC_SUCCESS;
}
nvrtcResult nvrtcDestroyProgram(nvrtcProgram* handle) {
    delete reinterpret_cast<Program*>(*handle);
    *handle = nullptr;
    return NVRTC_SUCCESS;
}
nvrtcResult nvrtcAddNameExpression(nvrtcProgram handle, const char* expression) {
    reinterpret_cast<Program*>(handle)->expressions.push_back(expression);
    return NVRTC_SUCCESS;
}

nvrtcResult nvrtcCompileProgram(nvrtcProgram handle, int count, const char* const* options) {
    auto* program = reinterpret_cast<Program*>(handle);
    const auto expressions = pointers_to(program->expressions);
    const bool done = compile && compile(program, program->source.c_str(), program->name.c_str(), count, options,
                                         static_cast<int>(expressions.size()), expressions.data());
    return done ? NVRTC_SUCCESS : NVRTC_ERROR_COMPILATION;
}

nvrtcResult nvrtcGetPTXSize(nvrtcProgram handle, size_t* bytes) {
    *bytes = reinterpret_cast<Program*>(handle)->image.size() + 1;
    return NVRTC_SUCCESS;
}
nvrtcResult nvrtcGetPTX(nvrtcProgram handle, char* buffer) {
    const auto& image = reinterpret_cast<Program*>(handle)->image;
    memcpy(buffer, image.c_str(), image.size() + 1);
    return NVRTC_SUCCESS;
}
nvrtcResult nvrtcGetCUBINSize(nvrtcProgram handle, size_t* bytes) { return nvrtcGetPTXSize(handle, bytes); }
nvrtcResult nvrtcGetCUBIN(nvrtcProgram handle, char* buffer) { return nvrtcGetPTX(handle, buffer); }

nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram handle, size_t* bytes) {
    *bytes = reinterpret_cast<Program*>(handle)->log.size() + 1;
    return NVRTC_SUCCESS;
}
nvrtcResult nvrtcGetProgramLog(nvrtcProgram handle, char* buffer) {
    const auto& log = reinterpret_cast<Program*>(handle)->log;
    memcpy(buffer, log.c_str(), log.size() + 1);
    return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetLoweredName(nvrtcProgram handle, const char* expression, const char** name) {
    auto* program = reinterpret_cast<Program*>(handle);
    for (size_t i = 0; i < program->expressions.size() && i < program->lowered.size(); ++i) {
        if (program->expressions[i] != expression) continue;
        *name = program->lowered[i].c_str();
        return NVRTC_SUCCESS;
    }
    return NVRTC_ERROR_NAME_EXPRESSION_NOT_VALID;
}

}  // extern "C"
