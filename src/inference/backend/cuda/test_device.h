// For tests that need a device.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>

#include "inference/backend/cuda/device.h"

// Skips the test where there is no CUDA device. `make gpu-test` demands one.
#define HF_NEEDS_DEVICE()                                                                      \
    if (const auto hf_device = ::holdfast::cuda::open_device(0); !hf_device) {                 \
        if (std::getenv("HOLDFAST_NEEDS_DEVICE") != nullptr) FAIL() << hf_device.error().what; \
        GTEST_SKIP() << "no CUDA device (" << hf_device.error().what << ")";                   \
    }
