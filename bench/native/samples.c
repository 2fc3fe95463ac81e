#include "samples.h"
#include <stdio.h>
#include <stdlib.h>

void add_sample(struct samples *samples, uint64_t value) {
  if (samples->length == samples->room) {
    samples->room = samples->room == 0 ? 65536 : samples->room * 2;
    samples->at = realloc(samples->at, samples->room * sizeof *samples->at);
  }
  samples->at[samples->length++] = value;
}

static int by_size(const void *left, const void *right) {
  uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
  return a < b ? -1 : a > b;
}

void print_samples(const char *name, struct samples *samples) {
  static const struct {
    const char *name;
    double share;
  } marks[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"max", 1}};
  qsort(samples->at, samples->length, sizeof *samples->at, by_size);
  printf("\"%s\":{\"count\":%zu", name, samples->length);
  for (int at = 0; at < 4 && samples->length > 0; at++) {
    size_t place = (size_t)((double)samples->length * marks[at].share);
    if (place == samples->length) place--;
    printf(",\"%s\":%lu", marks[at].name, samples->at[place]);
  }
  printf("},");
}
