# Holdfast's commands. Thin: the work is in CMake and scripts/. Every target does its own set-up.
.PHONY: serve build test check sanitize mutate bench kill-test peers-test fuzz gpu-test gpu-bench clean help

help:
	@echo "make serve      set up, build, and run a gateway with two instances on 127.0.0.1:8080"
	@echo "make build      set up and build; leaves build/holdfast"
	@echo "make test       set up, build, and run all tests"
	@echo "make check      formatting, static analysis, arrows between rooms, coroutine rule"
	@echo "make sanitize   all tests under the address, undefined-behaviour and thread sanitizers"
	@echo "make mutate     breaks promises of the code on purpose; a test must notice each"
	@echo "make bench      benchmarks: engine, engine beside llama.cpp, relay beside nginx"
	@echo "make kill-test  200 kills under load; every answer compared byte for byte"
	@echo "make peers-test real llama-servers (and vLLM, if HOLDFAST_VLLM names a Python that has it)"
	@echo "                lost at many places; every answer compared with the undisturbed one"
	@echo "make fuzz       feed the parsers hostile bytes under sanitizers; SECONDS=60 each"
	@echo "make gpu-test   the tests that need a CUDA device; fails where there is none"
	@echo "make gpu-bench  what the card can do: tensor-core bits, streams, exchanges, products"
	@echo "make clean      remove what the build made"

serve: build
	@exec build/holdfast serve $(ARGS)

build:
	@scripts/setup build
	@scripts/build holdfast

test:
	@scripts/setup build test
	@scripts/test

check:
	@scripts/setup build check
	@scripts/check

sanitize:
	@scripts/setup build test
	@scripts/sanitize $(ARGS)

mutate:
	@scripts/setup build
	@/usr/bin/python3 scripts/mutate.py $(ARGS)

bench:
	@scripts/setup build test bench
	@scripts/bench $(ARGS)

kill-test:
	@scripts/setup build test
	@scripts/build holdfast
	@.venv/bin/python tests/e2e/kill_test.py $(ARGS)

peers-test:
	@scripts/setup build test
	@scripts/build holdfast
	@HOLDFAST_PEERS=all .venv/bin/python -m pytest tests/e2e/test_peers.py -q $(ARGS)

fuzz:
	@scripts/setup build
	@scripts/fuzz $(or $(SECONDS),30)

gpu-test:
	@scripts/setup build cuda
	@scripts/gpu test

gpu-bench:
	@scripts/setup build cuda
	@scripts/gpu bench $(ARGS)

clean:
	rm -rf build build-* .venv .venv-bench .cuda
