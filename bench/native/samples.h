// Every single measurement of a run, so that quantiles are exact.
#pragma once
#include <stddef.h>
#include <stdint.h>

struct samples {
  uint64_t *at;
  size_t length, room;
};

void add_sample(struct samples *samples, uint64_t value);
// Writes `"name":{"count":…,"p50":…,"p90":…,"p99":…,"max":…},`; the marks are left out without samples.
void print_samples(const char *name, struct samples *samples);
