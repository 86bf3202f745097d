#include "../../proxy/metrics.h"

#include "tap.h"

enum { COUNT = 20000 };

static const unsigned per_milles[] = { 1, 10, 100, 250, 500, 750, 900, 990, 999, 1000 };

static int compare(const void *a, const void *b)
{
	const uint64_t *first = a, *second = b;

	return (*first > *second) - (*first < *second);
}

/* The definition: the least value that at least so many thousandths are not above. */
static uint64_t true_quantile(const uint64_t *sorted, size_t count, unsigned per_mille)
{
	size_t rank = (count * per_mille + 999) / 1000;

	return sorted[rank - 1];
}

/* Of the cell that a value is in. */
static uint64_t cell_width(uint64_t value)
{
	uint64_t width = 1;

	while (value / width >= (uint64_t) 2 * HISTOGRAM_PARTS)
		width *= 2;
	return width;
}

static void check_quantiles(uint64_t *values, size_t count, const char *what)
{
	struct histogram histogram = { 0 };
	bool all = true;

	for (size_t i = 0; i < count; i++)
		histogram_record(&histogram, values[i]);
	qsort(values, count, sizeof(*values), compare);
	for (size_t i = 0; i < sizeof(per_milles) / sizeof(per_milles[0]); i++) {
		uint64_t wanted = true_quantile(values, count, per_milles[i]);
		uint64_t got = histogram_quantile_us(&histogram, per_milles[i]);
		bool holds = got >= wanted && got - wanted < cell_width(wanted) && got <= values[count - 1];

		if (!holds)
			diag("%u per mille: got %llu, true is %llu", per_milles[i], (unsigned long long) got,
				(unsigned long long) wanted);
		all = all && holds;
	}
	ok(all, "quantiles of %s are at most 1/%d above the true ones", what, HISTOGRAM_PARTS);
}

static void test_distributions(void)
{
	static uint64_t values[COUNT];

	for (size_t i = 0; i < COUNT; i++)
		values[i] = i + 1;
	check_quantiles(values, COUNT, "1 to 20000");
	for (size_t i = 0; i < COUNT; i++)
		values[i] = random_below(86400000000U);
	check_quantiles(values, COUNT, "random values of up to a day");
	for (size_t i = 0; i < COUNT; i++)
		values[i] = (uint64_t) random_below(1000) << random_below(27);
	check_quantiles(values, COUNT, "values of every magnitude");
	for (size_t i = 0; i < COUNT; i++)
		values[i] = i < COUNT - 20 ? 50 : 3000000;
	check_quantiles(values, COUNT, "one in a thousand that is slow");
	for (size_t i = 0; i < COUNT; i++)
		values[i] = 777;
	check_quantiles(values, COUNT, "equal values");
	check_quantiles(values, 1, "a single value");
}

/* Each power of two has cells of its own, up to the last one of all. */
static void test_every_magnitude(void)
{
	bool all = true;

	for (int bit = 0; bit < 64; bit++) {
		for (int offset = -1; offset <= 1; offset++) {
			uint64_t value = ((uint64_t) 1 << bit) + (uint64_t) offset;
			struct histogram histogram = { 0 };

			histogram_record(&histogram, value);
			all = all && histogram_quantile_us(&histogram, 500) == value && histogram.max_us == value;
		}
	}
	ok(all, "a single value is told exactly, whatever it is");
}

static void test_small_values_are_exact(void)
{
	struct histogram histogram = { 0 };
	bool all = true;

	/* Ten of each, from 0: the 500th thousandth of 640 is the 320th, which is 31. */
	for (uint64_t i = 0; i < 20 * HISTOGRAM_PARTS; i++)
		histogram_record(&histogram, i % (2 * HISTOGRAM_PARTS));
	for (unsigned i = 1; i <= 1000; i++)
		all = all && histogram_quantile_us(&histogram, i) == ((20 * HISTOGRAM_PARTS * i + 999) / 1000 - 1) / 10;
	ok(all, "values below %d are told exactly", 2 * HISTOGRAM_PARTS);
	is_int(histogram_quantile_us(&histogram, 500), 31, "... such as the median");
}

static void test_empty(void)
{
	const struct histogram histogram = { 0 };

	is_int(histogram_quantile_us(&histogram, 500), 0, "the median of nothing");
	is_int(histogram_quantile_us(&histogram, 1000), 0, "... and its maximum");
}

static void test_beyond_the_last_cell(void)
{
	struct histogram histogram = { 0 };

	histogram_record(&histogram, 10);
	histogram_record(&histogram, UINT64_MAX / 4);
	histogram_record(&histogram, (uint64_t) 1 << HISTOGRAM_VALUE_BITS);
	is_int(histogram.count, 3, "values beyond the last cell count");
	is_int(histogram.cells[HISTOGRAM_CELLS - 1], 2, "... in it");
	is_int(histogram_quantile_us(&histogram, 1), 10, "... and do not touch the others");
	ok(histogram_quantile_us(&histogram, 999) == UINT64_MAX / 4, "... their quantile is the maximum");
	ok(histogram.sum_us == 10 + UINT64_MAX / 4 + ((uint64_t) 1 << HISTOGRAM_VALUE_BITS), "... the sum is theirs");
}

/* As after centuries. */
static void test_huge_counts(void)
{
	struct histogram histogram = { .count = UINT64_MAX - 1, .max_us = 40 };

	histogram.cells[3] = UINT64_MAX / 2;
	histogram.cells[40] = UINT64_MAX / 2;
	is_int(histogram_quantile_us(&histogram, 499), 3, "a rank does not overflow");
	is_int(histogram_quantile_us(&histogram, 999), 40, "... above the middle");
}

static void test_bounds(void)
{
	bool all = true, rising = true;

	for (size_t i = 0; i < HISTOGRAM_BOUNDS; i++) {
		struct histogram histogram = { 0 };

		histogram_record(&histogram, histogram_bounds_us[i]);
		all = all && histogram.buckets[i] == 1;
		histogram_record(&histogram, histogram_bounds_us[i] + 1);
		all = all && histogram.buckets[i] == 1;
		all = all && (i + 1 == HISTOGRAM_BOUNDS || histogram.buckets[i + 1] == 1);
		rising = rising && (i == 0 || histogram_bounds_us[i] > histogram_bounds_us[i - 1]);
	}
	ok(all, "a bound counts up to it, and not what is above");
	ok(rising, "bounds rise");
}

int main(void)
{
	test_distributions();
	test_every_magnitude();
	test_small_values_are_exact();
	test_empty();
	test_beyond_the_last_cell();
	test_huge_counts();
	test_bounds();
	return done_testing();
}
