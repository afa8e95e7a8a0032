// The experiments that decide how the kernels are built: what one card can do at most, measured
// with the very instructions that the kernels use. Each prints its lines as it goes. `make
// gpu-bench`.
#pragma once

namespace holdfast::cuda::lab {

void streams();    // reading memory at full rate: how, and how much must be in flight
void consumers();  // how fast tensor cores eat a stream, and what waiting between phases costs
void exchanges();  // how long values take from block to block
void products();   // products of many columns: prefill
void launches();   // from one kernel to the next
void steps();      // whole steps of the decoder

}  // namespace holdfast::cuda::lab
