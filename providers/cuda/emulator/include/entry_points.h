// From the void** of cuLaunchKernel to a kernel's typed parameters, and the sizes of these, against which launches are checked.
#pragma once

#define EMULATED_NOT_CHECKED __attribute__((no_sanitize("thread")))

template <typename... Parameters, size_t... Index>
EMULATED_NOT_CHECKED inline void emulated_call(void (*kernel)(Parameters...), void** parameters, std::index_sequence<Index...>) {
    kernel(*reinterpret_cast<std::remove_cv_t<std::remove_reference_t<Parameters>>*>(parameters[Index])...);
}

template <typename... Parameters> EMULATED_NOT_CHECKED inline void emulated_call(void (*kernel)(Parameters...), void** parameters) {
    emulated_call(kernel, parameters, std::index_sequence_for<Parameters...>{});
}

template <typename... Parameters> struct EmulatedSignature {
    unsigned count = sizeof...(Parameters);
    unsigned bytes[sizeof...(Parameters) + 1] = {static_cast<unsigned>(sizeof(Parameters))..., 0};
};

template <typename... Parameters> constexpr EmulatedSignature<Parameters...> emulated_signature(void (*)(Parameters...)) { return {}; }
