"""Benchmarks: celeriac beside what people run today, on the same servers, in interleaved rounds."""
