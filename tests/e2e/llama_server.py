"""Starts llama.cpp's own HTTP server, as xllamacpp packs it: llama_server.py FILE.gguf PORT"""

import signal
import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.model_alias = {"tiny-r1"}
params.port = int(sys.argv[2])
params.n_parallel = 4
params.n_ctx = 16384
params.cpuparams.n_threads = 1
params.cpuparams_batch.n_threads = 1
params.endpoint_metrics = True
params.warmup = False
server = xllamacpp.Server(params)
signal.pause()
