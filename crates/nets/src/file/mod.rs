//! A network that reads the raw bytes of a whole file.
//!
//! The file falls into pieces by its own content ([`cuts`]), on three levels of length; each window of
//! two neighbouring pieces is judged alone: runs of 2 to 8 bytes have learned vectors ([`grams`]), their
//! sum passes a hidden layer, and out comes evidence that is never negative. A file's score is the sum
//! of the evidence of its strongest windows. So what is added to a file takes no evidence away; how many
//! bytes in one place would have to change for that follows from which windows the score rests on
//! ([`Judgement::certified_bytes`]; compare Gibert et al., *DRSM*, 2023, and Huang et al., *RS-Del*,
//! NeurIPS 2023, which bound edits by voting); and the strongest windows are the explanation.
//!
//! Beside it, as a judge of its own, boosted trees judge the beginnings of the file ([`forest`]). What is
//! found is then labelled by what malicious files of its type do, where a model has learned that.
//!
//! Sums over rows are of whole numbers, so every machine gets the same ones in any order.

pub mod cuts;
pub mod forest;
pub mod grams;
mod judge;
mod kind;
mod labels;
mod model;
mod rarity;
mod shipped;
mod tail;
pub mod windows;

pub use forest::Beginning;
pub use judge::{Judgement, KEPT, STRONGEST, Window};
pub use labels::{LABEL_NUMBERS, LABELS_SEPARATOR};
pub use model::{EMBEDDING, FileNet, HIDDEN, INPUT, LEAK, LIMITS, WIDTH, leaky};
pub use rarity::{
    BENIGN_MIN, CALIBRATION_MIN, FEW, MALICIOUS, Rarity, SUSPICIOUS, SUSPICIOUS_OF_FEW, Tails,
    limits, log_score, logit,
};
pub use shipped::SHIPPED;
pub use tail::Tail;
