#!/usr/bin/env python3
"""Records what random blocks of GGUF's quantized types mean, by the `gguf` package.

Writes tests/golden/quantization.json: for each type some blocks and the float32 numbers in them,
and for the types that the package can also write, how close its own blocks come to random numbers.
Bytes and numbers are hexadecimal, little-endian. Needs the packages `gguf` and `numpy`.
"""

import json
from pathlib import Path

import numpy
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "tests" / "golden" / "quantization.json"
# Where a block's float16 scales stand.
SCALES = {"Q8_0": [0], "Q4_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
WRITTEN = ("F16", "BF16", "Q8_0", "Q4_0")
ELEMENTS = 1024


def random_blocks(name, random):
    """Blocks of random bytes whose scales are random finite numbers of all magnitudes."""
    elements, size = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    blocks = random.integers(0, 256, (ELEMENTS // elements, size), dtype=numpy.uint8)
    for offset in SCALES.get(name, []):
        scales = blocks[:, offset : offset + 2].copy().view(numpy.uint16)
        scales &= 0xBFFF  # exponents below the one of infinity, subnormal ones too
        blocks[:, offset : offset + 2] = scales.view(numpy.uint8)
    return blocks


def record(name, random):
    """One type's blocks and numbers."""
    kind = GGMLQuantizationType[name]
    blocks = random_blocks(name, random)
    values = dequantize(blocks.reshape(-1), kind).astype("<f4").reshape(-1)
    assert numpy.isfinite(values).all()
    return {"type": name, "blocks": blocks.tobytes().hex(), "values": values.tobytes().hex()}


def record_quantized(name, random):
    """Normally distributed numbers, the package's blocks for them, and their squared error."""
    kind = GGMLQuantizationType[name]
    values = random.standard_normal(ELEMENTS).astype(numpy.float32)
    blocks = quantize(values, kind)
    error = float(numpy.sum((dequantize(blocks, kind).astype("f8") - values) ** 2))
    return {"type": name, "values": values.tobytes().hex(), "blocks": blocks.tobytes().hex(),
            "squared_error": error}


def main():
    """All types, from one seed; one record a line, so that a change is seen in a diff."""
    random = numpy.random.default_rng(20261123)
    records = [{"dequantize": record(name, random)} for name in SCALES]
    records += [{"quantize": record_quantized(name, random)} for name in WRITTEN]
    lines = [json.dumps(entry, separators=(",", ":")) for entry in records]
    TARGET.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    print(f"{TARGET.relative_to(ROOT)}: {len(lines)} records, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
