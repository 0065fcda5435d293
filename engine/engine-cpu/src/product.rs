//! `out = x · weightᵀ + bias`, the product that a model spends its time in.
//!
//! A tile of x's rows times a tile of outputs stays in registers while the inner dimension passes by. Every output is
//! summed in one order of the inner dimension, whatever the tile: results do not depend on the batch.

mod dispatch;
mod finish;
mod groups;
#[cfg(target_arch = "x86_64")]
mod tile;
#[cfg(target_arch = "x86_64")]
mod tile_groups;
mod walk;

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use engine_backend::{Error, Gate};
use half::bf16;

use crate::aligned::Aligned;
use crate::elementwise::{self, Means};
use crate::isa::Isa;
use crate::lanes::{Element, Lanes, Vectors, WIDTH, on};
use crate::matrix::{Groups, Matrix, Tiles};
use crate::meeting::{PairsExact, PairsRounded, Wide};
use crate::threads::{Shared, Threads};

use dispatch::Walked;
pub(crate) use finish::{Finish, gelu, silu};
#[cfg(target_arch = "x86_64")]
pub(crate) use tile::{configure_each as configure_tiles, release as release_tiles};
use walk::{Call, PANEL_TILES};

/// Multiplications that one thread does as fast as two would, handing over included.
const ALONE_WORK_MAX: usize = 1 << 16;
/// Of x: what stays in the second-level cache while the weights pass by, with room for a panel of weights.
const ROWS_BYTES: usize = 1 << 20;

/// What activations are before they meet weights that are narrower than f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activations {
    /// As they are: what other backends and the fast way are measured against.
    Exact,
    /// Rounded to what the weights' instructions take: bf16 for bf16, groups of eight bits for groups of four or eight.
    Rounded,
}

/// A product's two sides and where it goes.
pub(crate) struct Product<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) weight: &'a Matrix,
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) out: &'a mut [f32],
    pub(crate) finish: Finish,
}

/// What products are computed with.
#[derive(Debug)]
pub(crate) struct Multiplier {
    pub(crate) isa: Isa,
    pub(crate) activations: Activations,
    /// Rounded activations; kept from one product to the next.
    rounded: Mutex<Option<Aligned<bf16>>>,
    padded: Mutex<Vec<f32>>,
    in_groups: Mutex<groups::Rounded>,
    /// Gates and ups that do not begin with whole tiles.
    ungated: Mutex<Vec<f32>>,
}

impl Multiplier {
    pub(crate) fn new(isa: Isa, activations: Activations) -> Multiplier {
        Multiplier {
            isa,
            activations,
            rounded: Mutex::default(),
            padded: Mutex::default(),
            in_groups: Mutex::default(),
            ungated: Mutex::default(),
        }
    }

    /// `out = act(gates) * ups`, of a matrix that has the gates' rows first.
    pub(crate) fn gate(&self, gate: Gate, product: Product<'_>, means: Means<'_>) -> Result<(), Error> {
        let Product { x, weight, bias, out, finish: _ } = product;
        let columns = weight.shape.rows / 2;
        if weight.shape.rows.is_multiple_of(2 * WIDTH) {
            return self.multiply(Product { x, weight, bias, out, finish: Finish::Gate(gate) }, means.threads);
        }
        let mut both = self.ungated.lock().unwrap_or_else(PoisonError::into_inner);
        both.resize(out.len() * 2, 0.0);
        let product = Product { x, weight, bias, out: &mut both, finish: Finish::Store };
        self.multiply(product, means.threads)?;
        match gate {
            Gate::Silu => elementwise::silu_mul(means, &both, columns, out),
            Gate::Gelu => elementwise::gelu_mul(means, &both, columns, out),
        }
        Ok(())
    }

    pub(crate) fn multiply(&self, mut product: Product<'_>, threads: &Threads) -> Result<(), Error> {
        let (weight, x) = (product.weight, product.x);
        let (inner, product) = (weight.shape.columns, &mut product);
        match &weight.tiles {
            Tiles::F32(tiles) => self.wide(product, tiles, threads),
            Tiles::F16(tiles) => self.wide(product, tiles, threads),
            Tiles::Bf16(tiles) if self.activations == Activations::Exact => {
                if inner.is_multiple_of(2) {
                    self.run::<PairsExact>(product, Side { tiles, x, stride: inner }, threads);
                } else {
                    let mut padded = self.padded.lock().unwrap_or_else(PoisonError::into_inner);
                    padded.clear();
                    x.chunks_exact(inner).for_each(|row| {
                        padded.extend_from_slice(row);
                        padded.push(0.0);
                    });
                    self.run::<PairsExact>(product, Side { tiles, x: &padded, stride: inner + 1 }, threads);
                }
            }
            Tiles::Bf16(tiles) => {
                let mut rounded = self.rounded.lock().unwrap_or_else(PoisonError::into_inner);
                let stride = weight.columns_paired();
                let x = self.round(x, inner, stride, &mut rounded, threads)?;
                self.run::<PairsRounded>(product, Side { tiles, x, stride }, threads);
            }
            Tiles::Groups(weights) => {
                let mut rounded = self.in_groups.lock().unwrap_or_else(PoisonError::into_inner);
                rounded.fill(self.isa, x, inner, threads);
                self.run_groups(product, weights, &rounded, threads);
            }
        }
        Ok(())
    }

    fn wide<E: Element>(&self, product: &mut Product<'_>, tiles: &[E], threads: &Threads) {
        let (x, stride) = (product.x, product.weight.shape.columns);
        self.run::<Wide<E>>(product, Side { tiles, x, stride }, threads);
    }

    /// Rounds x's rows to bf16, each filled up with zeros to `stride`; whole tiles of rows, the last of them unspecified.
    fn round<'a>(
        &self,
        x: &[f32],
        inner: usize,
        stride: usize,
        room: &'a mut Option<Aligned<bf16>>,
        threads: &Threads,
    ) -> Result<&'a [bf16], Error> {
        let rows = x.len() / inner;
        let needed = rows.next_multiple_of(WIDTH) * stride;
        if room.as_ref().is_none_or(|room| room.len() < needed) {
            *room = Some(Aligned::zeroed(needed, "rounded activations")?);
        }
        let room = room.as_mut().expect("made above");
        let (isa, out) = (self.isa, Shared::of(room));
        let grain = (ALONE_WORK_MAX / stride).max(1);
        threads.split(rows, grain, |range| {
            for row in range {
                let from = &x[row * inner..][..inner];
                // SAFETY: each row is one item, so one thread's; `isa` was detected.
                unsafe { on(isa, Round { from, to: out.part(row * stride..(row + 1) * stride) }) }
            }
        });
        Ok(&room[..needed])
    }

    /// Cuts the product into blocks of rows and panels of weights, and has threads walk over them.
    fn run<M: Walked>(&self, product: &mut Product<'_>, side: Side<'_, M>, threads: &Threads) {
        let Side { tiles, x, stride } = side;
        let sizes = Sizes::of(product);
        let Sizes { outputs, inner, rows, columns, items } = sizes;
        let steps = inner.div_ceil(M::STEP);
        let tile_len = M::tile_columns(inner) * WIDTH;
        assert_eq!(tiles.len(), outputs.div_ceil(WIDTH) * tile_len, "`pack` makes whole tiles");
        assert!(x.len() >= rows * stride && stride >= steps * M::STEP, "x's rows are filled up");
        let rows_block = (ROWS_BYTES / (stride * size_of::<M::Factor>())).next_multiple_of(2 * WIDTH);
        let (isa, bias, finish) = (self.isa, product.bias, product.finish);
        let out = Shared::of(product.out);
        for first in (0..rows).step_by(rows_block) {
            let count = rows_block.min(rows - first);
            let x = &x[first * stride..];
            // SAFETY: the rows from `first` on are inside `out`.
            let out = unsafe { out.from(first * columns) };
            let call = Call { x, stride, tiles, tile_len, steps, bias, out, rows: count, columns, outputs, finish };
            threads.split(items, sizes.grain(count), |range| {
                // SAFETY: the sizes were checked above, threads get disjoint ranges of tiles, and `isa` was detected.
                unsafe { M::walk(isa, &call, sizes.tiles(finish, range)) }
            });
        }
    }

    fn run_groups(&self, product: &mut Product<'_>, weights: &Groups, x: &groups::Rounded, threads: &Threads) {
        let sizes = Sizes::of(product);
        let Sizes { outputs, inner, rows, columns, items } = sizes;
        let rows_block = (ROWS_BYTES / inner).next_multiple_of(2 * WIDTH);
        let (isa, bias, finish) = (self.isa, product.bias, product.finish);
        let out = Shared::of(product.out);
        for first in (0..rows).step_by(rows_block) {
            let count = rows_block.min(rows - first);
            // SAFETY: the rows from `first` on are inside `out`.
            let out = unsafe { out.from(first * columns) };
            let nothing = (&[][..], &[][..]);
            let (x_side, tiles) = nothing;
            let call = Call {
                x: x_side,
                stride: inner,
                tiles,
                tile_len: 0,
                steps: 0,
                bias,
                out,
                rows: count,
                columns,
                outputs,
                finish,
            };
            let operands = groups::Operands { weights, x, first_row: first };
            threads.split(items, sizes.grain(count), |range| {
                // SAFETY: as above; weights and x were made with these sizes.
                unsafe { groups::walk(isa, &call, operands, sizes.tiles(finish, range)) }
            });
        }
    }
}

/// Sizes of a product that its walkers share.
struct Sizes {
    outputs: usize,
    inner: usize,
    rows: usize,
    columns: usize,
    /// Panels of weights.
    items: usize,
}

impl Sizes {
    fn of(product: &Product<'_>) -> Sizes {
        let (outputs, inner) = (product.weight.shape.rows, product.weight.shape.columns);
        let rows = product.x.len() / inner;
        let columns = product.finish.columns(outputs);
        assert_eq!(product.x.len(), rows * inner, "x has whole rows");
        assert_eq!(product.out.len(), rows * columns, "out has a place for every output");
        let items = columns.div_ceil(WIDTH).div_ceil(product.finish.tiles_of(PANEL_TILES));
        Sizes { outputs, inner, rows, columns, items }
    }

    /// The tiles of out that some panels make.
    fn tiles(&self, finish: Finish, panels: Range<usize>) -> Range<usize> {
        let per = finish.tiles_of(PANEL_TILES);
        panels.start * per..self.columns.div_ceil(WIDTH).min(panels.end * per)
    }

    /// Panels that a thread takes at once, for so many rows.
    fn grain(&self, rows: usize) -> usize {
        if rows * self.outputs * self.inner <= ALONE_WORK_MAX { self.items } else { 1 }
    }
}

/// Weights and activations as a meeting takes them.
struct Side<'a, M: Walked> {
    tiles: &'a [M::Weight],
    x: &'a [M::Factor],
    stride: usize,
}

/// A row, rounded and filled up with zeros.
struct Round<'a> {
    from: &'a [f32],
    to: &'a mut [bf16],
}

impl Vectors for Round<'_> {
    type Outcome = ();

    #[inline(always)]
    unsafe fn with<L: Lanes>(self) {
        let (from, rest) = self.from.as_chunks::<WIDTH>();
        let (to, filled) = self.to.split_at_mut(from.len() * WIDTH);
        for (from, to) in from.iter().zip(to.as_chunks_mut::<WIDTH>().0) {
            // SAFETY: both have sixteen places.
            unsafe { L::load(from.as_ptr()).store_bf16(to.as_mut_ptr()) }
        }
        let numbers = rest.iter().map(|number| bf16::from_f32(*number)).chain(std::iter::repeat(bf16::ZERO));
        filled.iter_mut().zip(numbers).for_each(|(to, number)| *to = number);
    }
}
