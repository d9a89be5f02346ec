/* The kernel table: every function that exists once per instruction set and dtype.
 *
 * Kernels are called by the algorithms in conv/ and pool/ through fc_table() (base/dispatch.h).
 * They check nothing and return nothing; the caller has checked sizes and reserved memory.
 * All strides, offsets and sizes count elements of the table's dtype.
 */
#ifndef FC_KERNELS_TABLE_H
#define FC_KERNELS_TABLE_H
#include "depthwise.h"
#include "depthwise_lanes.h"
#include "depthwise_slide.h"
#include "depthwise_strided.h"
#include "dot.h"
#include "gemm.h"
#include "grad.h"
#include "group_cells.h"
#include "lane_dots.h"
#include "lanes.h"
#include "mix.h"
#include "move.h"
#include "outer.h"
#include "pack.h"
#include "phases.h"
#include "plane_sums.h"
#include "pool.h"
#include "pool_scatter.h"
#include "runs.h"
#include "winograd.h"
#include "winograd_grad.h"
#include "winograd_multiply.h"

typedef struct fc_table {
    int lanes;             /* of one vector */
    int panel_vectors;     /* the width of panel at which gemm is fastest */
    int widest_panel;      /* that gemm takes; it takes every smaller width too */
    void (*gemm)(const fc_gemm *g);
    void (*dot)(const fc_dot *d);
    void (*mix)(const fc_mix *m);
    void (*mix_sums)(const fc_mix_sums *m);
    void (*move)(const fc_move *m);
    void (*pack)(const fc_pack *p);
    void (*winograd_input)(const fc_winograd_input *w);
    void (*winograd_weight)(const fc_winograd_weight *w);
    void (*winograd_output)(const fc_winograd_output *w);
    void (*winograd_multiply)(const fc_winograd_multiply *w);
    int depthwise_longest; /* run that depthwise takes: 7 or 5 */
    int depthwise_filters; /* that may share an input there, then with runs of 3 and 1; 0 for no more than one */
    void (*depthwise)(const fc_depthwise *d);
    void (*depthwise_spread)(const fc_depthwise_spread *s);
    int lanes_sums;        /* as fc_lanes_tile_of takes it */
    void (*depthwise_lanes)(const fc_depthwise_lanes *d);
    void (*depthwise_slide)(const fc_depthwise_slide *d); /* or NULL: too few registers */
    void (*group_cells)(const fc_group_cells *g); /* or NULL */
    void (*depthwise_strided)(const fc_depthwise_strided *d);
    void (*pool_clear)(const fc_pool_clear *c);
    void (*pool_wholes)(const fc_pool_wholes *w);
    void (*pool_whole_pixels)(const fc_pool_whole_pixels *w);
    void (*pool_fill)(const fc_pool_fill *f);
    void (*pool_lines)(const fc_pool_lines *p);
    void (*pool_near)(const fc_pool_near *p);
    void (*pool_short)(const fc_pool_short *p);
    void (*pool_pixels)(const fc_pool_pixels *p);
    void (*pool_found)(const fc_pool_found *f);
    void (*pool_found_lines)(const fc_pool_found_lines *p);
    void (*pool_found_near)(fc_pool_found_lines *p);
    void (*pool_turn)(const fc_pool_turn *t);
    void (*pool_scatter_planes)(fc_pool_by_index *s);
    void (*pool_scatter_pixels)(fc_pool_by_index *s);
    void (*tap_sums)(const fc_tap_sums *s);
    int tap_slides;                           /* columns of its sums slide through registers */
    void (*plane_sums)(const fc_plane_sums *p);
    void (*spread_lanes)(const fc_spread_lanes *s);
    void (*cut_lanes)(const fc_cut_lanes *c);
    void (*pick_lanes)(const fc_pick_lanes *p);
    void (*turn_planes)(const fc_turn_planes *t);
    void (*lane_sums)(const fc_lane_sums *s);
    void (*add)(const fc_add_to *a);
    void (*sum_rows)(const fc_sum_rows *s);
    void (*swap_weight)(const fc_swap_weight *w);
    void (*turn_panel)(const fc_turn_panel *w);
    void (*winograd_grad_in)(const fc_winograd_grad_in *w);
    void (*winograd_grad_out)(const fc_winograd_grad_out *w);
    void (*pad_planes)(const fc_pad_planes *p);
    void (*filter_flat)(const fc_filter_flat *f);
    void (*filter_pairs)(const fc_filter_pairs *f);
    void (*filter_phases)(const fc_filter_phases *f);
    void (*filter_pixels)(const fc_filter_pixels *f);
    void (*filter_pixel_pairs)(const fc_filter_pixel_pairs *f);
    void (*weave)(const fc_weave *w);
    int64_t (*outer_tile)(int64_t m, int vectors);
    void (*outer)(const fc_outer *o);
    void (*outer_pack)(const fc_outer_pack *p);
    void (*lane_dots)(const fc_lane_dots *d);
    void (*run_sums)(const fc_run_sums *s);
} fc_table;
#endif
