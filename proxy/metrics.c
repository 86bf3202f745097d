#include "metrics.h"

const uint64_t histogram_bounds_us[HISTOGRAM_BOUNDS] = { 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000,
	250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000, 60000000, 300000000 };

/* Below 2 * HISTOGRAM_PARTS each value has a cell; above, each power of two has HISTOGRAM_PARTS of them. */
static size_t cell_of(uint64_t value)
{
	int shift;

	if (value < HISTOGRAM_PARTS)
		return (size_t) value;
	if (value >> HISTOGRAM_VALUE_BITS != 0)
		return HISTOGRAM_CELLS - 1;
	shift = 63 - __builtin_clzll(value) - HISTOGRAM_PARTS_BITS;
	return ((size_t) shift << HISTOGRAM_PARTS_BITS) + (size_t) (value >> shift);
}

/* The largest value that has this cell. */
static uint64_t cell_end(size_t cell)
{
	size_t shift = cell >> HISTOGRAM_PARTS_BITS;

	if (shift <= 1)
		return cell;
	shift--;
	return ((uint64_t) (cell - (shift << HISTOGRAM_PARTS_BITS) + 1) << shift) - 1;
}

void histogram_record(struct histogram *histogram, uint64_t value_us)
{
	size_t bucket = 0;

	histogram->count++;
	histogram->sum_us += value_us;
	if (value_us > histogram->max_us)
		histogram->max_us = value_us;
	histogram->cells[cell_of(value_us)]++;
	while (bucket < HISTOGRAM_BOUNDS && value_us > histogram_bounds_us[bucket])
		bucket++;
	if (bucket < HISTOGRAM_BOUNDS)
		histogram->buckets[bucket]++;
}

uint64_t histogram_quantile_us(const struct histogram *histogram, unsigned per_mille)
{
	/* Rounded up, and without a product that could overflow. */
	uint64_t rank = histogram->count / 1000 * per_mille + (histogram->count % 1000 * per_mille + 999) / 1000;
	uint64_t passed = 0;
	size_t cell = 0;

	if (histogram->count == 0)
		return 0;
	while (cell < HISTOGRAM_CELLS - 1 && (passed += histogram->cells[cell]) < rank)
		cell++;
	/* The last cell has no end of its own. */
	if (cell == HISTOGRAM_CELLS - 1 || cell_end(cell) > histogram->max_us)
		return histogram->max_us;
	return cell_end(cell);
}
