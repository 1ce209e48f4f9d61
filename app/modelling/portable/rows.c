/* Rows of numbers: read from JSON, and counted in the bins of the training rows.
 *
 * app/modelling/native_rows.py calls this through ctypes. Nothing is allocated here. What the reader is
 * not certain of it leaves to another one, so it knows neither strings nor how to say what is wrong.
 */
#include <stddef.h>
#include <stdint.h>

#define MOST_DIGITS 19 /* that 64 bits hold */
#define SMALLEST_POWER (-326)
#define LARGEST_POWER 308 /* of ten, for which `powers` has numbers: others have no normal double */
#define BIAS 1023
#define INFINITE 2047

/* Powers of five from SMALLEST_POWER on: the upper and the lower half of their first 128 bits. */
typedef const uint64_t (*powers_of_five)[2];

struct product {
    uint64_t high, low;
};

static struct product multiply_64(uint64_t a, uint64_t b) {
    unsigned __int128 product = (unsigned __int128)a * b;
    return (struct product){(uint64_t)(product >> 64), (uint64_t)product};
}

/* Return the first 128 bits of number * power; what is left out is less than 2 in the lowest bit. */
static struct product first_bits(uint64_t number, const uint64_t power[2]) {
    struct product product = multiply_64(number, power[0]), rest = multiply_64(number, power[1]);
    product.low += rest.high;
    product.high += product.low < rest.high;
    return product;
}

/* Set the double next to digits * 10^exponent, or return 0 where that is not certain: a tie, no normal number.
 * After D. Lemire, Number parsing at a gigabyte per second (2021), section 5. */
static int nearest(uint64_t digits, int64_t exponent, powers_of_five powers, double *number) {
    if (!digits) {
        *number = 0;
        return 1;
    }
    if (exponent < SMALLEST_POWER || exponent > LARGEST_POWER) return 0;
    const int zeros = __builtin_clzll(digits);
    struct product product = first_bits(digits << zeros, powers[exponent - SMALLEST_POWER]);
    const int upper = (int)(product.high >> 63), spare = 9 + upper; /* bits behind the one that rounds */
    const uint64_t behind = product.high & ((1ull << spare) - 1), all = (1ull << spare) - 1;
    uint64_t mantissa = product.high >> spare;
    if (mantissa & 1 ? !behind && product.low < 2 : behind == all && product.low >= UINT64_MAX - 1) return 0;
    mantissa = (mantissa + 1) >> 1;
    int64_t biased = ((217706 * exponent) >> 16) + 63 + upper - zeros + BIAS; /* 217706 / 2^16 is log2(10) */
    if (mantissa >> 53) biased++;
    if (biased <= 0 || biased >= INFINITE) return 0;
    const union {
        uint64_t bits;
        double number;
    } found = {(uint64_t)biased << 52 | (mantissa & ((1ull << 52) - 1))};
    *number = found.number;
    return 1;
}

static const uint8_t *skip_space(const uint8_t *at) {
    while (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t') at++;
    return at;
}

/* Read digits behind others. More than MOST_DIGITS of them are more than `digits` holds. */
static const uint8_t *read_digits(const uint8_t *at, uint64_t *digits) {
    uint64_t found = *digits;
    for (uint8_t digit; (digit = (uint8_t)(*at - '0')) < 10; at++) found = found * 10 + digit;
    *digits = found;
    return at;
}

/* Return how many digits there are from the first that isn't zero. */
static int64_t count_digits(const uint8_t *at, const uint8_t *end) {
    while (at < end && (*at == '0' || *at == '.')) at++;
    int64_t count = 0;
    for (; at < end; at++) count += *at != '.';
    return count;
}

/* Read a number as JSON has it; return where it ends, or NULL. */
static const uint8_t *read_number(const uint8_t *at, powers_of_five powers, double *number) {
    const int is_negative = *at == '-';
    const uint8_t *const begin = at += is_negative, *first = begin;
    uint64_t digits = 0;
    int64_t exponent = 0;
    at = read_digits(at, &digits);
    if (at == first || (*first == '0' && at > first + 1)) return NULL;
    if (*at == '.') {
        first = ++at;
        at = read_digits(at, &digits);
        if (at == first) return NULL;
        exponent = first - at;
    }
    if (at - begin > MOST_DIGITS && count_digits(begin, at) > MOST_DIGITS) return NULL;
    if (*at == 'e' || *at == 'E') {
        const int is_below = *++at == '-';
        at += is_below || *at == '+';
        uint64_t power = 0;
        first = at;
        at = read_digits(at, &power);
        if (at == first || at - first > 4) return NULL;
        exponent += is_below ? -(int64_t)power : (int64_t)power;
    }
    if (!nearest(digits, exponent, powers, number)) return NULL;
    if (is_negative) *number = -*number;
    return at;
}

/* Read one value of a row: a number, or null where the column may lack one. */
static const uint8_t *read_value(const uint8_t *at, int takes_null, powers_of_five powers, double *number) {
    if (*at != 'n') return read_number(at, powers, number);
    if (!takes_null || at[1] != 'u' || at[2] != 'l' || at[3] != 'l') return NULL;
    *number = __builtin_nan("");
    return at + 4;
}

/* Read a row in its brackets; return what follows it, or NULL. */
static const uint8_t *read_row(
    const uint8_t *at, int64_t columns, const uint8_t *takes_null, powers_of_five powers, double *row) {
    if (*at != '[') return NULL;
    for (int64_t column = 0; column < columns; column++) {
        at = read_value(skip_space(at + 1), takes_null[column], powers, row + column);
        if (!at) return NULL;
        at = skip_space(at);
        if (*at != (column + 1 < columns ? ',' : ']')) return NULL;
    }
    return at + 1;
}

/* Read rows with commas between, `most` of them at most, from `text` at `*place` on; a zero byte ends the text.
 * Return how many were read; `*place` is then behind the last one and the space that follows it. */
int64_t read_rows(
    const uint8_t *text, int64_t *place, int64_t columns, const uint8_t *takes_null, powers_of_five powers,
    int64_t most, double *rows) {
    const uint8_t *at = text + *place;
    int64_t count = 0;
    while (count < most && (at = read_row(skip_space(at), columns, takes_null, powers, rows + count * columns))) {
        count++;
        at = skip_space(at);
        *place = at - text;
        if (*at++ != ',') break;
    }
    return count;
}

/* Count each value in its column's bins: that of the first edge which is not below it. A column has one bin more
 * than edges, and behind it one for missing values. `edges_at` says where a column's edges begin, and the last end. */
void count_bins(
    const double *rows, int64_t count, int64_t columns, const int64_t *edges_at, const double *edges,
    int64_t *counts) {
    for (int64_t row = 0; row < count; row++) {
        for (int64_t column = 0; column < columns; column++) {
            const double value = *rows++, *first = edges + edges_at[column];
            const int64_t size = edges_at[column + 1] - edges_at[column];
            int64_t low = 0;
            for (int64_t left = size; left;) { /* without a jump that depends on the value */
                const int64_t half = left / 2, is_below = first[low + half] < value;
                low += is_below * (half + 1);
                left = is_below ? left - half - 1 : half;
            }
            counts[edges_at[column] + 2 * column + (value == value ? low : size + 1)]++;
        }
    }
}
