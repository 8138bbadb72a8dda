//! Instructions, and jumps to places that are known later.

use netring::BpfInsn;

/// Instructions (linux/filter.h).
pub(super) const LD_W_ABS: u16 = 0x20;
pub(super) const LD_H_ABS: u16 = 0x28;
pub(super) const LD_B_ABS: u16 = 0x30;
pub(super) const LD_W_IND: u16 = 0x40;
pub(super) const LD_H_IND: u16 = 0x48;
pub(super) const LD_B_IND: u16 = 0x50;
pub(super) const LD_IMM: u16 = 0x00;
pub(super) const LD_MEM: u16 = 0x60;
pub(super) const LD_LEN: u16 = 0x80;
pub(super) const LDX_MEM: u16 = 0x61;
pub(super) const ST: u16 = 0x02;
pub(super) const ADD_K: u16 = 0x04;
pub(super) const ADD_X: u16 = 0x0c;
pub(super) const AND_K: u16 = 0x54;
pub(super) const LSH_K: u16 = 0x64;
pub(super) const TAX: u16 = 0x07;
pub(super) const JA: u16 = 0x05;
pub(super) const JEQ: u16 = 0x15;
pub(super) const JGT: u16 = 0x25;
pub(super) const JGE: u16 = 0x35;
pub(super) const JGE_X: u16 = 0x3d;
pub(super) const JSET: u16 = 0x45;
pub(super) const RET: u16 = 0x06;

/// A place to jump to, known later.
#[derive(Clone, Copy)]
pub(super) struct Label(usize);

#[derive(Default)]
pub(super) struct Code {
    insns: Vec<BpfInsn>,
    /// Where each label came to lie.
    places: Vec<usize>,
    /// Jumps, and to which label.
    jumps: Vec<(usize, Label)>,
}

impl Code {
    pub(super) fn label(&mut self) -> Label {
        self.places.push(0);
        Label(self.places.len() - 1)
    }

    /// What comes next is what the label stands for. Jumps go forward only, as the kernel wants.
    pub(super) fn place(&mut self, label: Label) {
        if let Some(place) = self.places.get_mut(label.0) {
            *place = self.insns.len();
        }
    }

    pub(super) fn put(&mut self, code: u16, k: u32) {
        self.insns.push(BpfInsn {
            code,
            jt: 0,
            jf: 0,
            k,
        });
    }

    pub(super) fn go(&mut self, label: Label) {
        self.jumps.push((self.insns.len(), label));
        self.put(JA, 0);
    }

    /// Goes one of two ways. A conditional jump reaches 255 instructions, others any: so it is made of three.
    pub(super) fn test(&mut self, code: u16, k: u32, yes: Label, no: Label) {
        self.insns.push(BpfInsn {
            code,
            jt: 0,
            jf: 1,
            k,
        });
        self.go(yes);
        self.go(no);
    }

    /// Goes to `yes`, or on.
    pub(super) fn test_yes(&mut self, code: u16, k: u32, yes: Label) {
        self.insns.push(BpfInsn {
            code,
            jt: 0,
            jf: 1,
            k,
        });
        self.go(yes);
    }

    /// Goes on, or to `no`.
    pub(super) fn test_no(&mut self, code: u16, k: u32, no: Label) {
        self.insns.push(BpfInsn {
            code,
            jt: 1,
            jf: 0,
            k,
        });
        self.go(no);
    }

    pub(super) fn finish(mut self) -> Vec<BpfInsn> {
        for (from, label) in &self.jumps {
            let to = self.places.get(label.0).copied().unwrap_or_default();
            if let Some(insn) = self.insns.get_mut(*from) {
                insn.k = to.saturating_sub(from + 1) as u32;
            }
        }
        self.insns
    }
}
