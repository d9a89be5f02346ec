/* Weight gradient of one tap without padding: gW[oc][ic] = sum over pixels of grad_output[oc][pixel] * x[ic][pixel].
 *
 * One tensor's channels are the rows of the product, broadcast; the other's are its lanes.  Rows are read in
 * place where their pixels are adjacent; adjacent channels are copied as [tile][pixel], as [panel][pixel] if
 * they are lanes, all of a pixel at once; lanes of other layouts are transposed panel by panel.  So a block of
 * pixels is in L2 while it is used, and the next one is asked for meanwhile.  With x as lanes the product is the
 * gradient itself; it is exchanged for its transpose where that is less work.  Called by weight_grad.c. */
#include "../base/size.h"
#include "cost.h"
#include "geometry.h"
#include "weight_grad.h"

enum {
    ROWS = 512,               /* channels of a part, as rows */
    LANES = 384,              /* and as lanes */
    LEAST_ROWS = 64,          /* where parts are cut further for more tasks, */
    MOST_UNEVEN = 5,          /* and before so few panels, if they are an odd number */
    WISHED_PARTS = 4,         /* parts that share a tensor each copy it, so rather few */
    LEAST_PIXELS = 128,       /* of a block */
    CHUNK_PIXELS = 1024,      /* pixels that may be a task of their own */
    NEAR = 128,               /* elements between pixels that are read in place: farther ones share cache sets */
    FEW_ROWS = 64,            /* for which copying lanes does not pay */
    CHAIN = 4096,             /* pixels summed in one chain before they are added to the rest */
};
static const double PART_FLOPS = 8e6;         /* a part is worth a thread */
static const double LEAST_PRICE = 34;         /* of a pixel with few products, which wait for each other: measured */
enum { ROW, ROW_BLOCKS, LANE, LANE_BLOCKS, PANEL, EXCHANGED, BLOCKS }; /* of split.a */
enum { SUMS_AT, CHAIN_AT, ROWS_AT, LANES_AT }; /* of split.at */

/* A tensor as it is seen by the product: elements between outputs' pixels, and between channels. */
typedef struct side {
    const void *base;
    int64_t channels;                         /* of a group */
    int64_t image, depth, row, col, channel;
} side;

static side side_of_x(const fc_conv *conv, const void *x)
{
    const int64_t *s = conv->x_stride, *stride = conv->stride;
    return (side){ x, conv->in_per_group, s[FC_N], s[FC_D] * stride[0], s[FC_H] * stride[1],
                   s[FC_W] * stride[2], s[FC_C] };
}

static side side_of_g(const fc_conv *conv, const void *g)
{
    const int64_t *s = conv->y_stride;
    return (side){ g, conv->out_per_group, s[FC_N], s[FC_D], s[FC_H], s[FC_W], s[FC_C] };
}

static const char *supports(const fc_conv *conv)
{
    return conv->taps == 1 && fc_unpadded(conv) ? NULL : "pointwise needs a kernel of one element and no padding";
}

/* Rows are read in place but where channels are adjacent and pixels far apart. */
static bool copies_rows(const side *s) { return s->channel == 1 && s->col > NEAR; }

/* Pixels of a row, of all rows where they follow each other, and so on. */
static bool even_rows(const side *s, const fc_pixel_block *b) { return b->rows == 1 || s->row == b->cols * s->col; }
static bool even(const side *s, const fc_pixel_block *b)
{
    return even_rows(s, b) && (b->images == 1 || s->image == b->rows * b->cols * s->col);
}

/* How much longer products take: of one vector a row is loaded for each, which from planes some KB apart, that share
 * sets of the cache, is slower still. */
static double narrow_price(const side *rows, double multiply)
{
    enum { SETS = 1024 };                     /* elements */
    const bool crowds = rows->col == 1 && rows->channel % SETS == 0 && rows->channels > 8;
    return multiply > 1 && rows->col == 1 ? (crowds ? 2.2 : 1.5) : crowds ? 1.8 : 1.2;
}

/* Time of one pixel, where a vector multiply-add takes `multiply`. */
static double pixel_price(const side *rows, const side *lanes, int vector, double multiply)
{
    const double r = (double)rows->channels, vectors = (double)fc_div_up(lanes->channels, vector);
    const bool part = lanes->channels < vector; /* vectors that are read and written in part */
    const double pack = lanes->channel == 1 ? (part ? 20 : 3) : lanes->col == 1 ? 10 : 40;
    const double products = r * vectors * multiply * (vectors == 1 ? narrow_price(rows, multiply) : 1.1);
    return products + pack * vectors + (copies_rows(rows) ? r / vector * 4 : 0);
}

static bool exchanges(const fc_conv *conv, int vector)
{
    const side x = side_of_x(conv, NULL), g = side_of_g(conv, NULL);
    const double back = 10.0 * (double)conv->in_per_group * (double)fc_div_up(conv->out_per_group, vector);
    const double as_it_is = pixel_price(&g, &x, vector, 1);
    return pixel_price(&x, &g, vector, 1) + back / (double)(conv->batch * conv->out_pixels) < as_it_is;
}

/* Channels of a block and the number of blocks, of at most `most` in multiples of `step`. */
static void cut(int64_t channels, int64_t most, int64_t step, int64_t *block, int64_t *blocks)
{
    const int64_t steps = fc_div_up(channels, step);
    *blocks = fc_div_up(steps, fc_max(1, most / step));
    *block = fc_div_up(steps, *blocks) * step;
    *blocks = fc_div_up(channels, *block);
}

static void cut_channels(fc_weight_split *s, const fc_conv *conv, const side *rows, const side *lanes)
{
    int64_t most_rows = ROWS, most_lanes = LANES;
    for (;;) {
        cut(rows->channels, most_rows, 1, &s->a[ROW], &s->a[ROW_BLOCKS]);
        cut(lanes->channels, most_lanes, s->a[PANEL], &s->a[LANE], &s->a[LANE_BLOCKS]);
        s->parts = conv->groups * s->a[ROW_BLOCKS] * s->a[LANE_BLOCKS];
        if (s->parts * (1 + conv->batch * conv->out_pixels / CHUNK_PIXELS) >= WISHED_PARTS ||
            (double)s->parts * 2 * PART_FLOPS > conv->flops)
            return;
        const int64_t panels = s->a[LANE] / s->a[PANEL];
        const bool even = panels % 2 == 0 || panels > MOST_UNEVEN || s->a[ROW] < 2 * LEAST_ROWS;
        if (even && s->a[LANE] >= 2 * s->a[PANEL] && s->a[LANE] * 2 > s->a[ROW])
            most_lanes = fc_round_up(s->a[LANE] / 2, s->a[PANEL]);
        else if (s->a[ROW] >= 2 * LEAST_ROWS)
            most_rows = fc_div_up(s->a[ROW], 2);
        else
            return;
    }
}

/* Panels of three vectors are the fastest, where the last is not of one. */
static int64_t panel_vectors(const fc_table *table, int64_t vectors)
{
    return vectors > 4 && vectors % 3 != 1 ? fc_min(table->panel_vectors, 3) : fc_panel_vectors(table, vectors);
}

static fc_weight_split split(const fc_conv *conv, const fc_table *table)
{
    fc_weight_split s = { .a[EXCHANGED] = exchanges(conv, table->lanes) };
    const int64_t size = (int64_t)fc_size_of(conv->dtype), l2 = fc_machine_for(conv->dtype)->l2;
    const side x = side_of_x(conv, NULL), g = side_of_g(conv, NULL);
    const side rows = s.a[EXCHANGED] ? x : g, lanes = s.a[EXCHANGED] ? g : x;
    s.a[PANEL] = panel_vectors(table, fc_div_up(lanes.channels, table->lanes)) * table->lanes;
    cut_channels(&s, conv, &rows, &lanes);
    const int64_t pixel = s.a[ROW] + (lanes.channel == 1 ? s.a[LANE] : s.a[PANEL]);
    const int64_t most = fc_max(LEAST_PIXELS, l2 * 3 / 16 / (size * pixel));
    const int64_t cols = fc_min(conv->out_size[FC_WIDTH], most), down = fc_min(conv->out_size[FC_HEIGHT], most / cols);
    s.blocks = fc_pixel_blocks_of(conv, fc_max(1, most / (down * cols)), fc_max(1, down), cols);
    const int64_t pixels = s.blocks.images * s.blocks.rows * s.blocks.cols, sums = s.a[ROW] * s.a[LANE];
    const int64_t tile = table->outer_tile(s.a[ROW], (int)(s.a[PANEL] / table->lanes));
    s.a[BLOCKS] = fc_max(1, CHAIN / pixels);
    s.at[CHAIN_AT] = (size_t)fc_round_up(s.a[EXCHANGED] ? sums * size : 0, 64);
    s.at[ROWS_AT] = s.at[CHAIN_AT] + (size_t)fc_round_up(s.blocks.count > s.a[BLOCKS] ? sums * size : 0, 64);
    /* The last rows of all may be in smaller tiles, thus more of them; each may end with a vector too much. */
    const int64_t copied = copies_rows(&rows) ? (fc_div_up(s.a[ROW], tile) + 1) * (tile * pixels + table->lanes) * size
                                              : 0;
    s.at[LANES_AT] = s.at[ROWS_AT] + (size_t)fc_round_up(copied, 64);
    s.bytes = s.at[LANES_AT] + (size_t)(pixels * (lanes.channel == 1 ? s.a[LANE] : s.a[PANEL]) * size);
    return s;
}

typedef struct pointwise_part {
    const fc_weight_run *run;
    side rows, lanes;                         /* from this part's first channel on */
    int64_t row_count, lane_count;
    char *scratch;
} pointwise_part;

static void *at(const pointwise_part *p, int which) { return p->scratch + p->run->split.at[which]; }

static const void *first_pixel(const pointwise_part *p, const side *s, const fc_pixel_block *b)
{
    return fc_at(s->base, b->image * s->image + b->depth * s->depth + b->row * s->row + b->col * s->col,
                 fc_size_of(p->run->conv->dtype));
}

/* Adjacent channels of a block, `width` together. */
static void pack(const pointwise_part *p, const side *s, const fc_pixel_block *b, int64_t channels, int64_t width,
                 int64_t block, void *to)
{
    const size_t size = fc_size_of(p->run->conv->dtype);
    const bool all = even(s, b), rows = even_rows(s, b);
    const int64_t lines = all ? 1 : rows ? b->images : b->images * b->rows;
    const int64_t pixels = b->images * b->rows * b->cols / lines;
    for (int64_t i = 0; i < lines; i++) {
        const int64_t from = rows ? i * s->image : i / b->rows * s->image + i % b->rows * s->row;
        const fc_outer_pack pack = {
            .pixels = pixels, .channels = channels, .width = width, .src = fc_at(first_pixel(p, s, b), from, size),
            .src_step = s->col, .dst = fc_at_mut(to, i * pixels * width, size), .dst_block = block,
        };
        p->run->table->outer_pack(&pack);
    }
}

/* Channels of a block that are not adjacent, as [pixel][panel]. */
static void transpose(const pointwise_part *p, const fc_pixel_block *b, int64_t channel, int64_t channels, void *to)
{
    const size_t size = fc_size_of(p->run->conv->dtype);
    const side *s = &p->lanes;
    const bool rows = even_rows(s, b);
    const int64_t panel = p->run->split.a[PANEL], lines = rows ? b->images : b->images * b->rows;
    const int64_t pixels = b->images * b->rows * b->cols / lines;
    const void *first = fc_at(first_pixel(p, s, b), channel * s->channel, size);
    for (int64_t i = 0; i < lines; i++) {
        const int64_t from = rows ? i * s->image : i / b->rows * s->image + i % b->rows * s->row;
        const fc_move move = {
            .rows = pixels, .cols = channels, .src = fc_at(first, from, size), .src_row = s->col, .src_col = s->channel,
            .dst = fc_at_mut(to, i * pixels * panel, size), .dst_row = panel, .dst_col = 1,
            .zero_after = fc_round_up(channels, p->run->table->lanes) - channels,
        };
        p->run->table->move(&move);
    }
}

/* The share `index` of `shares` of a side's block. */
static fc_ahead ahead_of(const pointwise_part *p, const side *s, const fc_pixel_block *b, int64_t channels,
                         int64_t index, int64_t shares)
{
    const int64_t size = (int64_t)fc_size_of(p->run->conv->dtype), line = b->rows * b->cols;
    fc_ahead all = { .rows = 0 };
    if (s->channel == 1 && even(s, b))
        all = (fc_ahead){ NULL, b->images * line, channels * size, s->col * size, 0 };
    else if (s->col == 1 && even_rows(s, b) && s->channel == line)
        all = (fc_ahead){ NULL, b->images, channels * line * size, s->image * size, 0 };
    else if (s->col == 1 && even_rows(s, b) && b->images == 1)
        all = (fc_ahead){ NULL, channels, line * size, s->channel * size, 0 };
    const int64_t first = all.rows * index / shares;
    all.at = (const char *)first_pixel(p, s, b) + first * all.step;
    all.rows = all.rows * (index + 1) / shares - first;
    return all;
}

/* Whether a whole vector may be read from the last channels of each pixel: others of the array follow in memory, which
 * the next block's pixels need not where images or rows are read backwards, or twice. */
static bool is_followed(const pointwise_part *p, const fc_pixel_block *b, const fc_pixel_block *next)
{
    const int64_t lanes = p->run->table->lanes, last = b->images * b->rows * b->cols - 1;
    if (!next || p->lanes.col < lanes)
        return false;
    const intptr_t here = (intptr_t)first_pixel(p, &p->lanes, b), there = (intptr_t)first_pixel(p, &p->lanes, next);
    return there - here >= (last * p->lanes.col + lanes) * (int64_t)fc_size_of(p->run->conv->dtype);
}

static void add_block(const pointwise_part *p, const fc_pixel_block *b, const fc_pixel_block *next, bool accumulate,
                      void *sums, int64_t sums_row)
{
    const fc_weight_split *s = &p->run->split;
    const fc_table *table = p->run->table;
    const size_t size = fc_size_of(p->run->conv->dtype);
    const side *rows = &p->rows, *lanes = &p->lanes;
    const int64_t pixels = b->images * b->rows * b->cols, vectors = s->a[PANEL] / table->lanes;
    const int64_t tile = table->outer_tile(p->row_count, (int)vectors);
    const bool in_place = lanes->channel == 1 && even(lanes, b) && (lanes->col <= NEAR || p->row_count <= FEW_ROWS) &&
                          (p->lane_count % table->lanes == 0 || is_followed(p, b, next));
    fc_outer o = {
        .m = p->row_count, .images = b->images, .rows = b->rows, .cols = b->cols, .a = first_pixel(p, rows, b),
        .tile = tile,
        .a_tile = tile * rows->channel, .a_row = rows->channel, .a_step = { rows->image, rows->row, rows->col },
        .b_step = s->a[PANEL], .accumulate = accumulate, .c_row = sums_row,
    };
    if (copies_rows(rows)) {
        o.a = at(p, ROWS_AT);
        o.a_tile = pixels * tile + table->lanes;
        o.a_step[2] = tile;
        pack(p, rows, b, p->row_count, tile, o.a_tile, at(p, ROWS_AT));
    }
    if (copies_rows(rows) || even(rows, b)) {
        o.images = o.rows = 1;
        o.cols = pixels;
    }
    const int64_t block = pixels * s->a[PANEL];
    if (lanes->channel == 1 && !in_place)
        pack(p, lanes, b, p->lane_count, s->a[PANEL], block, at(p, LANES_AT));
    const int64_t panels = fc_div_up(p->lane_count, s->a[PANEL]);
    for (int64_t i = 0; i < panels; i++) {
        const int64_t lane = i * s->a[PANEL];
        o.n = fc_min(s->a[PANEL], p->lane_count - lane);
        o.c = fc_at_mut(sums, lane, size);
        o.b = at(p, LANES_AT);
        if (in_place) {
            o.b = fc_at(first_pixel(p, lanes, b), lane, size);
            o.b_step = lanes->col;
        } else if (lanes->channel == 1) {
            o.b = fc_at(o.b, i * block, size);
        } else {
            transpose(p, b, lane, o.n, at(p, LANES_AT));
        }
        for (int side = 0; next && side < 2; side++)
            o.ahead[side] = ahead_of(p, side ? lanes : rows, next, side ? p->lane_count : p->row_count, i, panels);
        table->outer(&o);
    }
}

static pointwise_part part_of(const fc_weight_run *run, int64_t part, void *scratch, int64_t *row, int64_t *lane)
{
    const fc_weight_split *s = &run->split;
    const fc_conv *conv = run->conv;
    const size_t size = fc_size_of(conv->dtype);
    const side x = side_of_x(conv, run->x), g = side_of_g(conv, run->g);
    pointwise_part p = { .run = run, .rows = s->a[EXCHANGED] ? x : g, .lanes = s->a[EXCHANGED] ? g : x,
                         .scratch = scratch };
    const int64_t group = part / s->a[LANE_BLOCKS] / s->a[ROW_BLOCKS];
    *lane = part % s->a[LANE_BLOCKS] * s->a[LANE];
    *row = part / s->a[LANE_BLOCKS] % s->a[ROW_BLOCKS] * s->a[ROW];
    p.row_count = fc_min(s->a[ROW], p.rows.channels - *row);
    p.lane_count = fc_min(s->a[LANE], p.lanes.channels - *lane);
    p.rows.base = fc_at(p.rows.base, (group * p.rows.channels + *row) * p.rows.channel, size);
    p.lanes.base = fc_at(p.lanes.base, (group * p.lanes.channels + *lane) * p.lanes.channel, size);
    return p;
}

static void task(const fc_weight_run *run, int64_t part, int64_t first, int64_t end, void *out, void *scratch)
{
    const fc_conv *conv = run->conv;
    const fc_weight_split *s = &run->split;
    const size_t size = fc_size_of(conv->dtype);
    int64_t row, lane;
    const pointwise_part p = part_of(run, part, scratch, &row, &lane);
    const int64_t group = part / s->a[LANE_BLOCKS] / s->a[ROW_BLOCKS], ins = conv->in_per_group;
    const bool exchanged = s->a[EXCHANGED];
    void *to = fc_at_mut(out, group * conv->out_per_group * ins + (exchanged ? lane * ins + row : row * ins + lane),
                         size);
    void *sums = exchanged ? at(&p, SUMS_AT) : to;
    const int64_t sums_row = exchanged ? s->a[LANE] : ins;
    for (int64_t i = first; i < end; i++) {
        const fc_pixel_block b = fc_pixel_block_at(conv, &s->blocks, i);
        const int64_t in_chain = (i - first) % s->a[BLOCKS];
        const bool begun = i - first < s->a[BLOCKS];
        const fc_pixel_block next = fc_pixel_block_at(conv, &s->blocks, i + 1);
        add_block(&p, &b, i + 1 < end ? &next : NULL, in_chain > 0, begun ? sums : at(&p, CHAIN_AT),
                  begun ? sums_row : s->a[LANE]);
        for (int64_t r = 0; !begun && (in_chain == s->a[BLOCKS] - 1 || i == end - 1) && r < p.row_count; r++) {
            const fc_add_to add = { .count = p.lane_count, .src = fc_at(at(&p, CHAIN_AT), r * s->a[LANE], size),
                                    .dst = fc_at_mut(sums, r * sums_row, size) };
            run->table->add(&add);
        }
    }
    const fc_move back = { .rows = p.lane_count, .cols = p.row_count, .src = sums, .src_row = 1, .src_col = s->a[LANE],
                           .dst = to, .dst_row = ins, .dst_col = 1 };
    if (exchanged)
        run->table->move(&back);
}

static double cost(const fc_conv *conv, const fc_machine *machine)
{
    const side x = side_of_x(conv, NULL), g = side_of_g(conv, NULL);
    const bool exchange = exchanges(conv, machine->lanes);
    const double multiply = fmax(1, 0.87 * machine->multiply); /* of which loads hide a part */
    const double pixel = exchange ? pixel_price(&x, &g, machine->lanes, multiply)
                                  : pixel_price(&g, &x, machine->lanes, multiply);
    const bool far = fc_far(conv, (fc_x_count(conv) + conv->batch * conv->out_pixels * conv->out_channels) / 8);
    const bool turned = !exchange && x.channel != 1 && conv->batch * conv->out_pixels >= LEAST_PIXELS;
    const fc_count counts[] = {
        { (double)conv->groups * (double)(conv->batch * conv->out_pixels),
          fmax(pixel * (turned ? 1.09 : 1), conv->groups == 1 ? LEAST_PRICE : 0) },
        { (double)conv->out_channels * (double)conv->in_per_group / machine->lanes, exchange ? 10 : 4 },
        { conv->groups > 1 && conv->channels_last ? (double)conv->groups * (double)(conv->batch * conv->out_pixels) : 0,
          far ? 120 : 10 },                                                        /* pixels in pieces */
        { (double)conv->groups, 300 },
        { 1, 5000 },
    };
    return FC_COST(counts, machine) * (conv->groups == 1 ? fc_of_two(machine, 0.87) : 1);
}

const fc_weight_method fc_weight_pointwise = { "pointwise", supports, cost, split, task, NULL };
