/* Weight gradient of one tap whose pixels are adjacent on both sides: gW[oc][ic] is the product, along pixels, of a
 * plane of grad_output and one of x.
 *
 * Lanes are pixels, so that both are read in place, in order: nothing is copied or turned, and few channels leave no
 * lane empty.  The price is a vector of sums for each weight, so parts have few weights and share what they read with
 * others; lanes are added up at the end.  A block of pixels is in L2 while all pairs of a part's channels pass over
 * it, and the next one is asked for meanwhile.  Called by weight_grad.c. */
#include "../base/size.h"
#include "cost.h"
#include "geometry.h"
#include "weight_grad.h"

enum {
    SIDE = 64,                /* channels of the narrower side of a part, whose sums are an eighth of L2 */
    LEAST_PIXELS = 256,       /* of a block: fewer leave too much to loading and storing sums */
    MOST_PIXELS = 4096,       /* and more are no better */
    CHAIN = 1 << 16,          /* pixels summed, by lanes, in one chain before they are added to the rest */
};
enum { OUT, OUT_BLOCKS, IN, IN_BLOCKS, BLOCKS }; /* of split.a */
enum { SUMS_AT, CHAIN_AT };                   /* of split.at */

static bool in_line(const int64_t stride[FC_AXES], const int64_t size[FC_SPATIAL])
{
    return size[FC_DEPTH] == 1 && size[FC_HEIGHT] == 1 && (stride[FC_W] == 1 || size[FC_WIDTH] == 1);
}

static const char *supports(const fc_conv *conv)
{
    if (conv->taps == 1 && fc_unpadded(conv) && conv->stride[FC_WIDTH] == 1 && in_line(conv->x_stride, conv->in_size) &&
        in_line(conv->y_stride, conv->out_size))
        return NULL;
    return "dot needs a kernel of one element, no padding or stride, and adjacent pixels";
}

/* Channels of a block and the number of blocks, of at most `most`. */
static void cut(int64_t channels, int64_t most, int64_t *block, int64_t *blocks)
{
    *blocks = fc_div_up(channels, fc_max(1, most));
    *block = fc_div_up(channels, *blocks);
    *blocks = fc_div_up(channels, *block);
}

static fc_weight_split split_for(const fc_conv *conv, int64_t lanes)
{
    fc_weight_split s = { 0 };
    const int64_t size = (int64_t)fc_size_of(conv->dtype), l2 = fc_machine_for(conv->dtype)->l2;
    const int64_t most = fc_max(SIDE, l2 / 8 / (lanes * size));
    const bool wide = conv->in_per_group >= conv->out_per_group;
    if (wide) {
        cut(conv->out_per_group, SIDE, &s.a[OUT], &s.a[OUT_BLOCKS]);
        cut(conv->in_per_group, most / s.a[OUT], &s.a[IN], &s.a[IN_BLOCKS]);
    } else {
        cut(conv->in_per_group, SIDE, &s.a[IN], &s.a[IN_BLOCKS]);
        cut(conv->out_per_group, most / s.a[IN], &s.a[OUT], &s.a[OUT_BLOCKS]);
    }
    s.parts = conv->groups * s.a[OUT_BLOCKS] * s.a[IN_BLOCKS];
    const int64_t pixels = fc_max(LEAST_PIXELS, fc_min(MOST_PIXELS, l2 / 2 / (size * (s.a[OUT] + s.a[IN]))));
    const int64_t all = conv->out_size[FC_WIDTH], cols = fc_min(all, pixels);
    s.blocks = fc_pixel_blocks_of(conv, fc_max(1, pixels / cols), 1, cols);
    s.blocks.cols = fc_min(all, fc_round_up(s.blocks.cols, lanes)); /* whole vectors, but of the last block */
    s.blocks.col_blocks = fc_div_up(all, s.blocks.cols);
    s.blocks.count = s.blocks.image_blocks * s.blocks.col_blocks;
    return s;
}

static fc_weight_split split(const fc_conv *conv, const fc_table *table)
{
    fc_weight_split s = split_for(conv, table->lanes);
    const int64_t sums = s.a[OUT] * s.a[IN] * table->lanes * (int64_t)fc_size_of(conv->dtype);
    s.a[BLOCKS] = fc_max(1, CHAIN / (s.blocks.images * s.blocks.cols));
    s.at[CHAIN_AT] = (size_t)fc_round_up(sums, 64);
    s.bytes = s.at[CHAIN_AT] * (s.blocks.count > s.a[BLOCKS] ? 2 : 1);
    return s;
}

/* One tensor's channels of a part. */
typedef struct side {
    const void *base;
    int64_t channels, image, channel;
} side;

static const void *first_pixel(const side *s, const fc_pixel_block *b, size_t size)
{
    return fc_at(s->base, b->image * s->image + b->col, size);
}

/* What a block has of one side, where it is evenly apart. */
static fc_ahead ahead_of(const side *s, const fc_pixel_block *b, size_t size)
{
    const int64_t bytes = (int64_t)size, line = b->cols * bytes;
    const char *at = first_pixel(s, b, size);
    if (s->channel == b->cols)
        return (fc_ahead){ at, b->images, s->channels * line, s->image * bytes, 0 };
    return (fc_ahead){ at, b->images == 1 ? s->channels : 0, line, s->channel * bytes, 0 };
}

typedef struct dot_part {
    side g, x;
    int64_t to;                               /* where its first weight is */
} dot_part;

static dot_part part_of(const fc_weight_run *run, int64_t part)
{
    const fc_conv *conv = run->conv;
    const fc_weight_split *s = &run->split;
    const size_t size = fc_size_of(conv->dtype);
    const int64_t *x = conv->x_stride, *y = conv->y_stride;
    const int64_t in = part % s->a[IN_BLOCKS] * s->a[IN], rest = part / s->a[IN_BLOCKS];
    const int64_t out = rest % s->a[OUT_BLOCKS] * s->a[OUT], group = rest / s->a[OUT_BLOCKS];
    const int64_t first = group * conv->out_per_group + out;
    return (dot_part){
        .g = { fc_at(run->g, first * y[FC_C], size), fc_min(s->a[OUT], conv->out_per_group - out), y[FC_N], y[FC_C] },
        .x = { fc_at(run->x, (group * conv->in_per_group + in) * x[FC_C], size),
               fc_min(s->a[IN], conv->in_per_group - in), x[FC_N], x[FC_C] },
        .to = first * conv->in_per_group + in,
    };
}

static void add_block(const fc_weight_run *run, const dot_part *p, const fc_pixel_block *b, const fc_pixel_block *next,
                      bool accumulate, void *sums)
{
    const size_t size = fc_size_of(run->conv->dtype);
    const bool wide = p->x.channels >= p->g.channels;
    const side *a = wide ? &p->x : &p->g, *c = wide ? &p->g : &p->x;
    fc_lane_dots d = {
        .m = a->channels, .n = c->channels, .images = b->images, .lines = 1, .pixels = b->cols,
        .a = first_pixel(a, b, size), .a_image = a->image, .a_row = a->channel,
        .b = first_pixel(c, b, size), .b_image = c->image, .b_row = c->channel,
        .accumulate = accumulate, .sums = sums,
        .sums_a = wide ? 1 : p->x.channels, .sums_b = wide ? p->x.channels : 1,
    };
    if (next) {
        d.ahead[0] = ahead_of(a, next, size);
        d.ahead[1] = ahead_of(c, next, size);
    }
    run->table->lane_dots(&d);
}

static void task(const fc_weight_run *run, int64_t part, int64_t first, int64_t end, void *out, void *scratch)
{
    const fc_conv *conv = run->conv;
    const fc_weight_split *s = &run->split;
    const size_t size = fc_size_of(conv->dtype);
    const dot_part p = part_of(run, part);
    char *sums = (char *)scratch, *chain = sums + s->at[CHAIN_AT];
    const int64_t count = p.g.channels * p.x.channels, lanes = run->table->lanes;
    for (int64_t i = first; i < end; i++) {
        const fc_pixel_block b = fc_pixel_block_at(conv, &s->blocks, i);
        const fc_pixel_block next = fc_pixel_block_at(conv, &s->blocks, i + 1);
        const int64_t in_chain = (i - first) % s->a[BLOCKS];
        const bool begun = i - first < s->a[BLOCKS];
        add_block(run, &p, &b, i + 1 < end ? &next : NULL, in_chain > 0, begun ? sums : chain);
        if (!begun && (in_chain == s->a[BLOCKS] - 1 || i == end - 1)) {
            const fc_add_to add = { .count = count * lanes, .src = chain, .dst = sums };
            run->table->add(&add);
        }
    }
    for (int64_t o = 0; o < p.g.channels; o++) {
        const fc_lane_sums lanes_of = { .count = p.x.channels, .src = fc_at(sums, o * p.x.channels * lanes, size),
                                        .dst = fc_at_mut(out, p.to + o * conv->in_per_group, size) };
        run->table->lane_sums(&lanes_of);
    }
}

static double cost(const fc_conv *conv, const fc_machine *machine)
{
    const fc_weight_split s = split_for(conv, machine->lanes);
    const double weights = (double)conv->out_channels * (double)conv->in_per_group;
    const double steps = (double)(conv->batch * fc_div_up(conv->out_pixels, machine->lanes));
    const double x = (double)conv->in_channels * (double)s.a[OUT_BLOCKS], y = (double)conv->out_channels *
                                                                             (double)s.a[IN_BLOCKS];
    const fc_count counts[] = {
        { weights * steps, fc_multiply(machine, 1.1) * fc_of_two(machine, 1.36) },
        { weights * (double)s.blocks.count, 6 },                                   /* sums read and written */
        { (x + y) * steps, 4 },                                                    /* from beyond L2 */
        { weights, 6 },                                                            /* sums of lanes */
        { (double)s.parts * (double)s.blocks.count, 100 },
        { 1, 5000 },
    };
    return FC_COST(counts, machine);
}

const fc_weight_method fc_weight_dot = { "dot", supports, cost, split, task, NULL };
