/* Scorer of portable models: preparation, products and trees, as docs/model-format.md specifies them.
 *
 * app/modelling/portable/native.py calls this through ctypes. Nothing is allocated here, and nothing outside of
 * the arrays is read: the caller has checked lengths and steps, and check_trees() has checked the nodes. Results
 * equal those of the Python scorer bit for bit, so this is compiled without fused multiply-add.
 */
#include <stdint.h>

#define ABI 3          /* of all functions, those of rows.c too, and of struct model; native.py has the same number */
#define LANES 8        /* rows or trees that are walked at once: one waits for memory while others compare */
#define MAX_LEVELS 1000
#define BLOCK_BYTES 131072 /* of rows that one tree after the other is walked with, so that trees are fetched seldom */
#define LARGEST_DOUBLE 1.7976931348623157e308
#define LARGEST_FLOAT 3.40282346638528859812e38f

#define LEAF 0x80000000u
#define MISSING_RIGHT 0x01000000u
#define CATEGORY 0x02000000u
#define COLUMN 0x00FFFFFFu

enum operation { ADD, SUBTRACT, MULTIPLY, DIVIDE, CLIP, IMPUTE, INDICATE, ORDINAL, ONE_HOT, SELECT };
enum fault { FINE, SIZES, OUTPUT, ORDER, DEPTH, KIND, THRESHOLD, BITSET, LEAF_PLACE, LEAF_NUMBER };

struct step {
    int32_t operation, columns, first_column, numbers, first_number;
};

struct node32 {
    uint32_t kind, next;
    float threshold;
};

struct node64 {
    uint32_t kind, next;
    double threshold;
};

struct model {
    int64_t features, width, widest, scores, steps, trees, nodes, leaves, bitsets, words, is_single, has_categories;
    const struct step *step;
    const int32_t *columns;
    const double *numbers, *start, *coefficients;
    const uint32_t *sizes;
    const int32_t *outputs;
    const void *node;
    const double *leaf;
    const uint64_t *bitset;
    double divisor;
};

int64_t abi_version(void) { return ABI * 1000 + (int64_t)sizeof(struct model); }

static int64_t block_rows(const struct model *m, int64_t count) {
    int64_t rows = BLOCK_BYTES / (m->width * (m->is_single ? 4 : 8));
    rows = rows < LANES ? LANES : rows;
    return count < rows ? count : rows;
}

/* Return how many doubles score() needs to work in for `count` rows. */
int64_t scratch_size(const struct model *m, int64_t count) {
    return 2 * m->widest + (m->trees ? block_rows(m, count) * m->width : 0);
}

/* Preparation */

static int64_t apply(const struct model *m, const struct step *s, double *row, int64_t width, double *spare) {
    const int32_t *columns = m->columns + s->first_column;
    const double *numbers = m->numbers + s->first_number;
    const int64_t count = s->columns, codes = (s->numbers - 2) / 2;
    double value = count ? row[columns[0]] : 0;
    switch (s->operation) {
    case ADD:
        for (int64_t i = 0; i < count; i++) row[columns[i]] += numbers[i];
        break;
    case SUBTRACT:
        for (int64_t i = 0; i < count; i++) row[columns[i]] -= numbers[i];
        break;
    case MULTIPLY:
        for (int64_t i = 0; i < count; i++) row[columns[i]] *= numbers[i];
        break;
    case DIVIDE:
        for (int64_t i = 0; i < count; i++) row[columns[i]] /= numbers[i];
        break;
    case CLIP:
        for (int64_t i = 0; i < count; i++) {
            value = row[columns[i]];
            row[columns[i]] = value < numbers[0] ? numbers[0] : value > numbers[1] ? numbers[1] : value;
        }
        break;
    case IMPUTE:
        for (int64_t i = 0; i < count; i++)
            if (row[columns[i]] != row[columns[i]]) row[columns[i]] = numbers[i];
        break;
    case INDICATE:
        for (int64_t i = 0; i < count; i++) row[width++] = row[columns[i]] != row[columns[i]];
        break;
    case ORDINAL: { /* numbers: for other values, for a missing one, the codes, the value of each */
        int64_t low = 0, high = codes;
        while (low < high) {
            int64_t middle = (low + high) / 2;
            if (numbers[2 + middle] < value) low = middle + 1;
            else high = middle;
        }
        if (value != value) row[columns[0]] = numbers[1];
        else row[columns[0]] = low < codes && numbers[2 + low] == value ? numbers[2 + codes + low] : numbers[0];
        break;
    }
    case ONE_HOT:
        for (int64_t i = 0; i < s->numbers; i++)
            row[width++] = value == numbers[i] || (value != value && numbers[i] != numbers[i]);
        break;
    case SELECT:
        for (int64_t i = 0; i < count; i++) spare[i] = row[columns[i]];
        for (int64_t i = 0; i < count; i++) row[i] = spare[i];
        return count;
    }
    return width;
}

/* Return the row as the model compares or multiplies it: itself, or changed in the scratch. */
static const double *prepare(const struct model *m, const double *features, double *scratch) {
    if (!m->steps) return features;
    int64_t width = m->features;
    for (int64_t i = 0; i < width; i++) scratch[i] = features[i];
    for (int64_t i = 0; i < m->steps; i++) width = apply(m, m->step + i, scratch, width, scratch + m->widest);
    return scratch;
}

/* Linear models */

static void multiply(const struct model *m, const double *row, double *scores) {
    const double *weight = m->coefficients;
    for (int64_t i = 0; i < m->scores; i++) {
        double sum = row[0] * *weight++;
        for (int64_t j = 1; j < m->width; j++) sum += row[j] * *weight++;
        scores[i] += sum;
    }
}

/* Trees */

static inline int has_bit(const struct model *m, uint64_t bitset, uint64_t bit) {
    return m->bitset[bitset * (uint64_t)m->words + bit / 64] >> (bit % 64) & 1;
}

static void add_leaf(const struct model *m, int64_t tree, uint32_t leaf, double *scores) {
    const double *value = m->leaf + leaf;
    if (m->outputs[tree] >= 0) scores[m->outputs[tree]] += *value;
    else for (int64_t i = 0; i < m->scores; i++) scores[i] += value[i];
}

/* Both node types share everything but names. Lanes stay at a leaf until all have reached one. A walk is plain if
 * there are neither missing values nor categories. */
#define TREES(NAME, NODE, NUMBER, LARGEST)                                                                            \
    static inline uint32_t leads_right_##NAME(const struct model *m, const struct NODE *n, NUMBER value) {            \
        if (value != value) return !!(n->kind & MISSING_RIGHT);                                                       \
        if (!(n->kind & CATEGORY)) return value > n->threshold;                                                       \
        if (!(value >= 0 && value < m->words * 64)) return !!(n->kind & MISSING_RIGHT);                               \
        return !has_bit(m, (uint64_t)n->threshold, (uint64_t)value);                                                  \
    }                                                                                                                 \
                                                                                                                      \
    static inline __attribute__((always_inline)) void walk_##NAME(                                                    \
        const struct model *m, uint32_t *at, const NUMBER *row, int64_t stride, int is_plain) {                       \
        const struct NODE *nodes = m->node;                                                                           \
        for (uint32_t leaves = 0; !leaves;) {                                                                         \
            leaves = LEAF;                                                                                            \
            _Pragma("GCC unroll 8") for (int lane = 0; lane < LANES; lane++) {                                        \
                const struct NODE *n = nodes + at[lane];                                                              \
                NUMBER value = row[lane * stride + (n->kind & COLUMN)];                                               \
                uint32_t right = is_plain ? value > n->threshold : leads_right_##NAME(m, n, value);                   \
                at[lane] = n->kind & LEAF ? at[lane] : n->next + right;                                               \
                leaves &= n->kind;                                                                                    \
            }                                                                                                         \
        }                                                                                                             \
    }                                                                                                                 \
                                                                                                                      \
    static void by_row_##NAME(const struct model *m, const NUMBER *row, int is_plain, double *scores) {               \
        const struct NODE *nodes = m->node;                                                                           \
        uint32_t next_root = 0;                                                                                       \
        for (int64_t tree = 0; tree < m->trees; tree += LANES) {                                                      \
            uint32_t at[LANES];                                                                                       \
            int64_t count = m->trees - tree < LANES ? m->trees - tree : LANES;                                        \
            for (int64_t lane = 0; lane < LANES; lane++) {                                                            \
                at[lane] = lane < count ? next_root : at[0];                                                          \
                if (lane < count) next_root += m->sizes[tree + lane];                                                 \
            }                                                                                                         \
            if (is_plain) walk_##NAME(m, at, row, 0, 1);                                                              \
            else walk_##NAME(m, at, row, 0, 0);                                                                       \
            for (int64_t lane = 0; lane < count; lane++) add_leaf(m, tree + lane, nodes[at[lane]].next, scores);      \
        }                                                                                                             \
    }                                                                                                                 \
                                                                                                                      \
    static void by_tree_##NAME(                                                                                       \
        const struct model *m, const NUMBER *rows, int64_t count, int is_plain, double *scores) {                     \
        const struct NODE *nodes = m->node;                                                                           \
        uint32_t root = 0;                                                                                            \
        for (int64_t tree = 0; tree < m->trees; root += m->sizes[tree++]) {                                           \
            for (int64_t done = 0; done < count; done += LANES) {                                                     \
                int64_t first = done + LANES < count ? done : count - LANES; /* the last lanes overlap */             \
                uint32_t at[LANES];                                                                                   \
                for (int lane = 0; lane < LANES; lane++) at[lane] = root;                                             \
                if (is_plain) walk_##NAME(m, at, rows + first * m->width, m->width, 1);                               \
                else walk_##NAME(m, at, rows + first * m->width, m->width, 0);                                        \
                for (int64_t lane = done - first; lane < LANES; lane++)                                               \
                    add_leaf(m, tree, nodes[at[lane]].next, scores + (first + lane) * m->scores);                     \
            }                                                                                                         \
        }                                                                                                             \
    }                                                                                                                 \
                                                                                                                      \
    static void score_##NAME(                                                                                         \
        const struct model *m, const double *rows, int64_t count, double *scores, double *scratch) {                  \
        NUMBER *block = (NUMBER *)(scratch + 2 * m->widest);                                                          \
        const int64_t together = block_rows(m, count);                                                                \
        for (int64_t first = 0; first < count; first += together) {                                                   \
            int64_t here = count - first < together ? count - first : together;                                       \
            int is_plain = !m->has_categories;                                                                        \
            for (int64_t i = 0; i < here; i++) {                                                                      \
                const double *row = prepare(m, rows + (first + i) * m->features, scratch);                            \
                for (int64_t j = 0; j < m->width; j++) {                                                              \
                    block[i * m->width + j] = (NUMBER)row[j];                                                         \
                    is_plain &= row[j] == row[j];                                                                     \
                }                                                                                                     \
            }                                                                                                         \
            double *block_scores = scores + first * m->scores;                                                        \
            if (here >= LANES) by_tree_##NAME(m, block, here, is_plain, block_scores);                                \
            else for (int64_t i = 0; i < here; i++)                                                                   \
                by_row_##NAME(m, block + i * m->width, is_plain, block_scores + i * m->scores);                       \
        }                                                                                                             \
    }                                                                                                                 \
                                                                                                                      \
    static int64_t check_##NAME(const struct model *m, int64_t *place) {                                              \
        const struct NODE *nodes = m->node;                                                                           \
        int64_t root = 0;                                                                                             \
        for (int64_t tree = 0; tree < m->trees; root += m->sizes[tree++]) {                                           \
            const int64_t end = root + m->sizes[tree], leaf_width = m->outputs[tree] < 0 ? m->scores : 1;             \
            int64_t next = root + 1, level_end = root, levels = 0;                                                    \
            for (int64_t i = root; i < end; i++) {                                                                    \
                const struct NODE n = nodes[i];                                                                       \
                *place = i;                                                                                           \
                if (i >= next) return ORDER;                                                                          \
                if (i == level_end && ++levels > MAX_LEVELS + 1) return DEPTH;                                        \
                if (i == level_end) level_end = next;                                                                 \
                if (n.kind & LEAF) {                                                                                  \
                    if (n.kind != LEAF || n.threshold != 0) return KIND;                                              \
                    if (n.next + leaf_width > m->leaves) return LEAF_PLACE;                                           \
                    continue;                                                                                         \
                }                                                                                                     \
                if (n.kind & ~(COLUMN | MISSING_RIGHT | CATEGORY) || (n.kind & COLUMN) >= m->width) return KIND;      \
                if (n.next != next || next + 2 > end) return ORDER;                                                   \
                if (!(n.threshold >= -LARGEST && n.threshold <= LARGEST)) return THRESHOLD;                           \
                if (n.kind & CATEGORY &&                                                                              \
                    !(n.threshold >= 0 && n.threshold < m->bitsets && n.threshold == (NUMBER)(int64_t)n.threshold))   \
                    return BITSET;                                                                                    \
                next += 2;                                                                                            \
            }                                                                                                         \
            if (next != end) return ORDER;                                                                            \
        }                                                                                                             \
        return FINE;                                                                                                  \
    }
TREES(single, node32, float, LARGEST_FLOAT)
TREES(double, node64, double, LARGEST_DOUBLE)

/* Return a fault and the tree, node or number that has it; FINE if every node, child, column and leaf is right. */
int64_t check_trees(const struct model *m, int64_t *place) {
    int64_t nodes = 0;
    for (int64_t tree = 0; tree < m->trees; tree++) {
        *place = tree;
        nodes += m->sizes[tree];
        if (!m->sizes[tree] || nodes > m->nodes) return SIZES;
        if (m->outputs[tree] < -1 || m->outputs[tree] >= m->scores) return OUTPUT;
    }
    if (nodes != m->nodes) return SIZES;
    int64_t fault = m->is_single ? check_single(m, place) : check_double(m, place);
    for (int64_t i = 0; !fault && i < m->leaves; i++) {
        *place = i;
        if (!(m->leaf[i] >= -LARGEST_DOUBLE && m->leaf[i] <= LARGEST_DOUBLE)) fault = LEAF_NUMBER;
    }
    return fault;
}

/* Return whether a split of checked trees is by category. */
int64_t has_categories(const struct model *m) {
    uint32_t kinds = 0;
    for (int64_t i = 0; i < m->nodes; i++)
        kinds |= m->is_single ? ((const struct node32 *)m->node)[i].kind : ((const struct node64 *)m->node)[i].kind;
    return !!(kinds & CATEGORY);
}

/* Fill `scores` with the scores of `count` rows. `scratch` has scratch_size() doubles. */
void score(const struct model *m, const double *rows, int64_t count, double *scores, double *scratch) {
    for (int64_t i = 0; i < count; i++)
        for (int64_t j = 0; j < m->scores; j++) scores[i * m->scores + j] = m->start[j];
    if (!m->trees)
        for (int64_t i = 0; i < count; i++)
            multiply(m, prepare(m, rows + i * m->features, scratch), scores + i * m->scores);
    else if (m->is_single) score_single(m, rows, count, scores, scratch);
    else score_double(m, rows, count, scores, scratch);
    for (int64_t i = 0; i < count * m->scores; i++) scores[i] /= m->divisor;
}
