// Lets CUDA C++ be compiled by g++ and run on the host. It is included in front of every kernel source, precompiled.
//
// NVIDIA's own headers supply the types (float4, __half, __nv_bfloat16) and their host arithmetic; what exists on devices
// alone is defined here. The words that g++ cannot read (`__global__`, `__shared__`) stay as markers, which
// `transform.py` replaces.
#pragma once
#define ONNXGPU_EMULATED_DEVICE 1

#include <algorithm>
#include <cassert>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <tuple>
#include <type_traits>
#include <utility>

#include <math_constants.h>
#include <vector_types.h>
#include <vector_functions.h>
#include <cuda_fp16.h>
#include <cuda_bf16.h>
#include <cuda_fp8.h>

#include "qualifiers.h"
#include "execution.h"
#include "warp.h"
#include "atomics.h"
#include "intrinsics.h"
#include "half_precision.h"
#include "asynchronous_copy.h"
#include "matrix_fragments.h"
#include "entry_points.h"
