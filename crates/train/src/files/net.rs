//! The network in floats, as it learns; `thymus_nets::file` has the same in bytes.

use thymus_nets::file::cuts::LEVELS;
use thymus_nets::file::grams::{ORDERS, for_each_row};
use thymus_nets::file::windows::{Reader, Stretch, for_each_window};
use thymus_nets::file::{EMBEDDING, HIDDEN, LEAK, STRONGEST, WIDTH, leaky};

/// A source of even numbers that is the same on every run.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// What makes the same dice anew.
    pub(super) const fn state(&self) -> u64 {
        self.0
    }

    /// The next number in [0, 1).
    pub(super) fn roll(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1_u64 << 24) as f32
    }

    /// The next number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.bits() >> 33) as usize % end.max(1)
    }

    fn bits(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0
    }
}

/// The vectors of all rows of all tables, shared by the types of a group.
pub(super) struct Rows {
    /// Rows of each table, as a power of two.
    pub(super) row_bits: u32,
    /// [table, row, EMBEDDING]
    pub(super) numbers: Vec<[f32; EMBEDDING]>,
    /// Mean squared gradients of each row so far.
    pub(super) squares: Vec<f32>,
}

impl Rows {
    pub(super) fn new(row_bits: u32) -> Self {
        Self {
            row_bits,
            numbers: vec![[0.0; EMBEDDING]; ORDERS.len() << row_bits],
            squares: vec![0.0; ORDERS.len() << row_bits],
        }
    }

    fn at(&self, table: usize, row: usize) -> usize {
        (table << self.row_bits) + row
    }
}

/// A weight with the squares of its gradients, which begin above nothing so that first steps are
/// short (Duchi, Hazan and Singer, *Adaptive subgradient
/// methods*, JMLR 2011).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weight {
    pub(super) value: f32,
    pub(super) squares: f32,
}

impl Weight {
    const fn new(value: f32) -> Self {
        Self {
            value,
            squares: 0.1,
        }
    }

    fn step(&mut self, gradient: f32, rate: f32) {
        self.squares += gradient * gradient;
        self.value -= rate * gradient / (self.squares + 1e-8).sqrt();
    }
}

/// The layers for the windows of one level of one type.
pub(super) struct Head {
    /// [WIDTH][HIDDEN]
    pub(super) hidden: Vec<[Weight; HIDDEN]>,
    pub(super) hidden_bias: [Weight; HIDDEN],
    pub(super) out: [Weight; HIDDEN],
    pub(super) out_bias: Weight,
}

impl Head {
    fn new(dice: &mut Dice) -> Self {
        let bound = (6.0 / (WIDTH + HIDDEN) as f32).sqrt();
        let mut draw = |bound: f32| Weight::new((2.0 * dice.roll() - 1.0) * bound);
        Self {
            hidden: (0..WIDTH)
                .map(|_| std::array::from_fn(|_| draw(bound)))
                .collect(),
            hidden_bias: std::array::from_fn(|_| draw(0.5)),
            out: std::array::from_fn(|_| draw(0.5)),
            out_bias: Weight::new(-4.0),
        }
    }

    fn hidden(&self, numbers: &[f32; WIDTH]) -> [f32; HIDDEN] {
        let mut sums = self.hidden_bias.map(|weight| weight.value);
        for (number, weights) in numbers.iter().zip(&self.hidden) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += number * weight.value;
            }
        }
        sums
    }

    fn logit(&self, hidden: &[f32; HIDDEN]) -> f32 {
        let parts = hidden.iter().zip(&self.out);
        self.out_bias.value
            + parts
                .map(|(sum, weight)| sum.max(0.0) * weight.value)
                .sum::<f32>()
    }

    /// Learns from the gradient of one window's logit; gives the gradient of its numbers.
    fn learn(
        &mut self,
        numbers: &[f32; WIDTH],
        hidden: &[f32; HIDDEN],
        gradient: f32,
        rate: f32,
    ) -> [f32; WIDTH] {
        let mut inner = [0.0; HIDDEN];
        for ((inner, sum), weight) in inner.iter_mut().zip(hidden).zip(&mut self.out) {
            let slope = if *sum > 0.0 { 1.0 } else { LEAK };
            *inner = gradient * weight.value * slope;
            weight.step(gradient * leaky(*sum), rate);
        }
        self.out_bias.step(gradient, rate);
        let mut outer = [0.0; WIDTH];
        for ((outer, number), weights) in outer.iter_mut().zip(numbers).zip(&mut self.hidden) {
            for (weight, inner) in weights.iter_mut().zip(&inner) {
                *outer += weight.value * inner;
                weight.step(number * inner, rate);
            }
        }
        for (weight, inner) in self.hidden_bias.iter_mut().zip(&inner) {
            weight.step(*inner, rate);
        }
        outer
    }
}

/// The layers of one type.
pub(super) struct Heads(pub(super) [Head; LEVELS]);

impl Heads {
    pub(super) fn new(dice: &mut Dice) -> Self {
        Self(std::array::from_fn(|_| Head::new(dice)))
    }

    /// All its weights, in an order that stays.
    pub(super) fn weights(&self) -> impl Iterator<Item = &Weight> {
        self.0.iter().flat_map(|head| {
            let hidden = head.hidden.as_flattened().iter();
            let rest = head.hidden_bias.iter().chain(&head.out);
            hidden.chain(rest).chain([&head.out_bias])
        })
    }

    /// As [`Self::weights`], to write.
    pub(super) fn weights_mut(&mut self) -> impl Iterator<Item = &mut Weight> {
        self.0.iter_mut().flat_map(|head| {
            let hidden = head.hidden.as_flattened_mut().iter_mut();
            let rest = head.hidden_bias.iter_mut().chain(&mut head.out);
            hidden.chain(rest).chain([&mut head.out_bias])
        })
    }
}

/// A file read once: its pieces and windows.
#[derive(Default)]
pub(super) struct Reading {
    /// Where each piece begins and ends.
    pieces: Vec<(usize, usize)>,
    /// Sums and number of rows of each piece.
    bags: Vec<([f32; WIDTH], u32)>,
    windows: Vec<Look>,
    tables: Tables,
}

/// Which tables are looked at.
pub(super) type Tables = [bool; ORDERS.len()];

/// One window.
struct Look {
    level: usize,
    first: usize,
    end: usize,
    norm: f32,
    numbers: [f32; WIDTH],
    hidden: [f32; HIDDEN],
    logit: f32,
}

/// What finds the pieces of a file and where the windows are.
struct Eye<'e> {
    rows: &'e Rows,
    reading: &'e mut Reading,
    start: usize,
    /// Level, first piece and the one after the last of each window.
    places: Vec<(usize, usize, usize)>,
}

impl Reader for Eye<'_> {
    type Bag = ();

    fn pieces(&mut self, pieces: &[&[u8]], bags: &mut Vec<()>) {
        for piece in pieces {
            self.piece(piece);
            bags.push(());
        }
    }

    fn window(&mut self, level: usize, stretch: &Stretch<()>) {
        let first = stretch.first as usize;
        self.places
            .push((level, first, first + stretch.count as usize));
    }
}

impl Eye<'_> {
    fn piece(&mut self, piece: &[u8]) {
        let (mut sums, mut count) = ([0.0; WIDTH], 0);
        for_each_row(piece, self.rows.row_bits, |table, row| {
            count += 1;
            if !self.reading.tables[table] {
                return;
            }
            let vector = &self.rows.numbers[self.rows.at(table, row)];
            let sums = &mut sums[table * EMBEDDING..(table + 1) * EMBEDDING];
            for (sum, number) in sums.iter_mut().zip(vector) {
                *sum += number;
            }
        });
        let end = self.start + piece.len();
        self.reading.pieces.push((self.start, end));
        self.reading.bags.push((sums, count));
        self.start = end;
    }
}

impl Reading {
    /// Reads a file and judges its windows, by all tables or some.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        bits: u32,
        (rows, heads): (&Rows, &Heads),
        tables: Tables,
    ) {
        self.tables = tables;
        self.pieces.clear();
        self.bags.clear();
        self.windows.clear();
        let mut eye = Eye {
            rows,
            reading: self,
            start: 0,
            places: Vec::new(),
        };
        for_each_window(bytes, bits, &mut eye);
        let places = eye.places;
        for (level, first, end) in places {
            let (mut numbers, mut count) = ([0.0; WIDTH], 0);
            for (sums, rows) in &self.bags[first..end] {
                for (number, sum) in numbers.iter_mut().zip(sums) {
                    *number += sum;
                }
                count += rows;
            }
            let norm = 1.0 / (count.max(1) as f32).sqrt();
            for number in &mut numbers {
                *number *= norm;
            }
            let hidden = heads.0[level].hidden(&numbers);
            let logit = heads.0[level].logit(&hidden);
            self.windows.push(Look {
                level,
                first,
                end,
                norm,
                numbers,
                hidden,
                logit,
            });
        }
    }

    /// The strongest windows of those that `may` count.
    fn strongest(&self, mut may: impl FnMut(&Look) -> bool) -> Vec<usize> {
        let mut found: Vec<usize> = (0..self.windows.len())
            .filter(|at| may(&self.windows[*at]))
            .collect();
        let logit = |at: &usize| self.windows[*at].logit;
        found.sort_by(|a, b| logit(b).total_cmp(&logit(a)).then(a.cmp(b)));
        found.truncate(STRONGEST);
        found
    }

    /// The file's score.
    #[cfg(test)]
    pub(super) fn score(&self) -> f32 {
        let evidence = |at: &usize| softplus(self.windows[*at].logit);
        self.strongest(|_| true).iter().map(evidence).sum()
    }

    /// Learns from the file: the chance that it is malicious is `1 - exp(-score)` (a noisy or over its
    /// strongest windows). Of a malicious file a share of the windows, `hidden_share`, is left out, so
    /// that evidence is found in more places than the easiest. Gives the loss.
    pub(super) fn learn(
        &self,
        file: (&[u8], bool, f32),
        rows: &mut Rows,
        heads: &mut Heads,
        rate: f32,
        (dice, hidden_share): (&mut Dice, f32),
    ) -> f32 {
        let (bytes, malicious, weight) = file;
        let found = self.strongest(|_| !malicious || dice.roll() >= hidden_share);
        let evidence = |at: &usize| softplus(self.windows[*at].logit);
        let score: f64 = found.iter().map(|at| f64::from(evidence(at))).sum();
        // The slope of a malicious file's loss has no bound, but times the slope of the evidence, which
        // is as small as the evidence, it has.
        let (loss, slope) = if malicious {
            let chance = -(-score.max(1e-30)).exp_m1();
            (-chance.ln(), -(-score).exp() / chance)
        } else {
            (score, 1.0)
        };
        // The gradients of pieces, as differences from one to the next.
        let mut steps: Vec<(usize, [f32; WIDTH])> = Vec::new();
        for at in found {
            let look = &self.windows[at];
            let slope = slope / (1.0 + (-f64::from(look.logit)).exp());
            let gradient = weight * slope as f32;
            if gradient.abs() < 1e-4 {
                continue;
            }
            let head = &mut heads.0[look.level];
            let mut outer = head.learn(&look.numbers, &look.hidden, gradient, rate);
            for number in &mut outer {
                *number *= look.norm;
            }
            steps.push((look.first, outer));
            steps.push((look.end, outer.map(|number| -number)));
        }
        steps.sort_by_key(|step| step.0);
        let mut sum = [0.0; WIDTH];
        let mut steps = steps.into_iter().peekable();
        while let Some((first, step)) = steps.next() {
            for (sum, step) in sum.iter_mut().zip(&step) {
                *sum += step;
            }
            let end = steps.peek().map_or(first, |next| next.0);
            for (start, end) in &self.pieces[first.min(self.pieces.len())..end] {
                learn_piece(&bytes[*start..*end], &sum, rows, (rate, self.tables));
            }
        }
        loss as f32 * weight
    }
}

/// Moves the rows of the runs of `piece` against the gradient of their sum.
pub(super) fn learn_piece(
    piece: &[u8],
    gradient: &[f32; WIDTH],
    rows: &mut Rows,
    (rate, tables): (f32, Tables),
) {
    let mut squares = [0.0; ORDERS.len()];
    for (square, part) in squares.iter_mut().zip(gradient.chunks(EMBEDDING)) {
        *square = part.iter().map(|x| x * x).sum::<f32>() / EMBEDDING as f32;
    }
    for_each_row(piece, rows.row_bits, |table, row| {
        if !tables[table] {
            return;
        }
        let at = rows.at(table, row);
        let known = &mut rows.squares[at];
        *known += squares[table];
        let step = rate / (*known + 1e-8).sqrt();
        let part = &gradient[table * EMBEDDING..(table + 1) * EMBEDDING];
        for (number, slope) in rows.numbers[at].iter_mut().zip(part) {
            *number -= step * slope;
        }
    });
}

/// ln(1 + e^x).
fn softplus(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}
