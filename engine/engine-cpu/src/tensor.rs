//! Activations in ordinary memory, and a batch prepared for all layers.

use engine_backend::{Error, ForwardBatch, ForwardSequence, Rope, Shape};

/// Rows of f32, up to a fixed number of them.
#[derive(Debug)]
pub struct Tensor {
    pub(crate) room: Shape,
    pub(crate) numbers: Vec<f32>,
}

impl Tensor {
    pub(crate) fn with_room(room: Shape) -> Result<Tensor, Error> {
        let mut numbers = Vec::new();
        let no_memory = |_| Error::OutOfMemory { what: "an activation", bytes: room.len() * size_of::<f32>() };
        numbers.try_reserve_exact(room.len()).map_err(no_memory)?;
        Ok(Tensor { room, numbers })
    }

    pub(crate) fn columns(&self) -> usize {
        self.room.columns
    }

    pub(crate) fn rows(&self) -> usize {
        self.numbers.len() / self.room.columns
    }

    /// The same tensor with this many rows, whose content is unspecified.
    pub(crate) fn with_rows(&mut self, rows: usize) -> Result<&mut [f32], Error> {
        if rows > self.room.rows {
            let most = self.room.rows;
            return Err(Error::BadBatch(format!("{rows} rows in a tensor with room for {most}")));
        }
        self.numbers.resize(rows * self.room.columns, 0.0);
        Ok(&mut self.numbers)
    }
}

/// A batch, its positions' angles computed once for all layers.
#[derive(Debug)]
pub struct Step {
    pub(crate) batch: ForwardBatch,
    /// For each token, where it stands.
    pub(crate) places: Vec<Place>,
    /// For each rope.
    turns: Vec<Turns>,
}

/// One rope's angles.
#[derive(Debug)]
pub(crate) struct Turns {
    pairs: usize,
    /// For each token, the cosine of each pair.
    cosines: Vec<f32>,
    /// For each token, the sine of each pair.
    sines: Vec<f32>,
}

/// Where a token stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) sequence: usize,
    pub(crate) position: usize,
}

impl Step {
    pub(crate) fn of(batch: &ForwardBatch, ropes: &[Rope]) -> Step {
        let places = batch.sequences().iter().enumerate().flat_map(|(sequence, share)| {
            let positions = (share.position as usize..).take(share.tokens.len());
            positions.map(move |position| Place { sequence, position })
        });
        let turns = ropes.iter().map(|rope| Turns::of(batch, rope));
        Step { places: places.collect(), turns: turns.collect(), batch: batch.clone() }
    }

    /// One of the ropes' angles.
    pub(crate) fn turns_of(&self, rope: usize) -> Result<&Turns, Error> {
        self.turns.get(rope).ok_or_else(|| Error::BadBatch(format!("rope {rope} of {}", self.turns.len())))
    }

    pub(crate) fn table(&self, sequence: &ForwardSequence) -> &[u32] {
        &self.batch.blocks()[sequence.blocks.clone()]
    }
}

impl Turns {
    fn of(batch: &ForwardBatch, rope: &Rope) -> Turns {
        let Rope { frequencies, magnitude } = rope;
        let turn = |position: u32, frequency: f32| {
            // The angle is rounded to f32 as in the reference implementation; its cosine is then exact.
            let angle = f64::from(position as f32 * frequency);
            (angle.cos() as f32 * magnitude, angle.sin() as f32 * magnitude)
        };
        let angles =
            batch.positions().flat_map(|position| frequencies.iter().map(move |&frequency| turn(position, frequency)));
        let (cosines, sines) = angles.unzip();
        Turns { pairs: frequencies.len(), cosines, sines }
    }

    /// The cosines and the sines of one token's pairs.
    pub(crate) fn of_token(&self, token: usize) -> (&[f32], &[f32]) {
        let range = token * self.pairs..(token + 1) * self.pairs;
        (&self.cosines[range.clone()], &self.sines[range])
    }
}
