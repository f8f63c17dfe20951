//! Timers by time; one that is taken away leaves no trace but a heap entry that is skipped.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::task::Waker;

#[derive(Default)]
pub(super) struct Timers {
    /// When, which registration, which slot.
    heap: BinaryHeap<Reverse<(i64, u64, usize)>>,
    /// The registration that the slot holds, and whom to wake.
    slots: Vec<(u64, Option<Waker>)>,
    free: Vec<usize>,
    registered: u64,
}

impl Timers {
    pub(super) fn register(&mut self, at_ms: i64, waker: Waker) -> Registered {
        self.registered += 1;
        let order = self.registered;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = (order, Some(waker));
                slot
            }
            None => {
                self.slots.push((order, Some(waker)));
                self.slots.len() - 1
            }
        };
        self.heap.push(Reverse((at_ms, order, slot)));
        Registered { order, slot }
    }

    /// Takes the wakers of all that are due at the next time, if that is not after `until_ms`; in the order of registration.
    pub(super) fn take_due(&mut self, until_ms: i64) -> Option<(i64, Vec<Waker>)> {
        let at_ms = self.next_ms().filter(|at_ms| *at_ms <= until_ms)?;
        let mut due = Vec::new();
        while self.next_ms() == Some(at_ms)
            && let Some(Reverse((_, order, slot))) = self.heap.pop()
        {
            due.extend(self.take(Registered { order, slot }));
        }
        Some((at_ms, due))
    }

    /// Wakes somebody else when the registration is due; says whether it still stands.
    pub(super) fn rewake(&mut self, registered: Registered, waker: &Waker) -> bool {
        let (order, known) = &mut self.slots[registered.slot];
        match known {
            Some(known) if *order == registered.order => {
                known.clone_from(waker);
                true
            }
            _ => false,
        }
    }

    /// Takes the registration away, if it still stands.
    pub(super) fn take(&mut self, registered: Registered) -> Option<Waker> {
        let (order, waker) = &mut self.slots[registered.slot];
        if *order != registered.order {
            return None;
        }
        let waker = waker.take();
        if waker.is_some() {
            self.free.push(registered.slot);
        }
        waker
    }

    /// When the next registration that still stands is due.
    fn next_ms(&mut self) -> Option<i64> {
        while let Some(Reverse((at_ms, order, slot))) = self.heap.peek() {
            if self.slots[*slot].0 == *order && self.slots[*slot].1.is_some() {
                return Some(*at_ms);
            }
            self.heap.pop();
        }
        None
    }
}

#[derive(Clone, Copy)]
pub(super) struct Registered {
    order: u64,
    slot: usize,
}
