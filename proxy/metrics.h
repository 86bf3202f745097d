/*
 * Durations, counted: how many there were, how long in all, and how they are distributed. Of a fixed size, whatever is
 * recorded; recording takes constant time and no memory.
 *
 * The distribution is log-linear: a power of two is cut into HISTOGRAM_PARTS cells of one width. So a quantile is told
 * with a relative error: not less than the true one, and at most an HISTOGRAM_PARTS-th more. Beside it stand the exact
 * numbers of values up to each of some round bounds, which is what Prometheus asks for.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
	HISTOGRAM_PARTS_BITS = 5,
	HISTOGRAM_PARTS = 1 << HISTOGRAM_PARTS_BITS,
	/* Values of so many bits and more share the last cell: 38 hours, in microseconds. The longest --timeout is 24. */
	HISTOGRAM_VALUE_BITS = 37,
	HISTOGRAM_CELLS = (HISTOGRAM_VALUE_BITS - HISTOGRAM_PARTS_BITS + 1) << HISTOGRAM_PARTS_BITS,
	HISTOGRAM_BOUNDS = 19,
};

/* In microseconds, from the least to the largest; what is above the last is only in the total. */
extern const uint64_t histogram_bounds_us[HISTOGRAM_BOUNDS];

/* All zero is an empty one. */
struct histogram {
	uint64_t count;
	uint64_t sum_us;
	uint64_t max_us;
	uint64_t cells[HISTOGRAM_CELLS];
	uint64_t buckets[HISTOGRAM_BOUNDS]; /* above the bound before, up to this one */
};

void histogram_record(struct histogram *histogram, uint64_t value_us);

/* The least value that at least per_mille thousandths of all are not above, with the error told above; never more than
 * the largest. 0 when there are none. per_mille is 1 to 1000. */
uint64_t histogram_quantile_us(const struct histogram *histogram, unsigned per_mille);
