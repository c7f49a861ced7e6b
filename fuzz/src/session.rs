//! Any bytes, in any cut, to sessions of one broker.
//!
//! Input: a byte of choices, how long the pieces are (one byte), then the stream. For the second part the stream is cut at every byte 0x1e, and the
//! parts go to three connections in turn.
//!
//! Checked: the cut makes no difference to what is answered; whatever several connections ask for, in whatever order the disk works and time passes,
//! the broker's invariants hold, and a start from the files gives exactly the items and sub-queues that there were.

use crate::world::{Contents, Item, World};

const CONNS: usize = 3;
/// Ends a part of the stream.
const PART_END: u8 = 0x1e;
const STEP_MS: u64 = 300;

/// The target.
///
/// # Panics
/// If something does not hold.
pub fn session(input: &[u8]) {
    let &[choices, step, ref stream @ ..] = input else { return };
    let memory_bytes = if choices & 1 == 0 { 64 * 1024 } else { 0 };
    let step = usize::from(step).max(1);
    let whole = replies(memory_bytes, stream, stream.len().max(1));
    let cut = replies(memory_bytes, stream, step);
    assert_eq!(cut.escape_ascii().to_string(), whole.escape_ascii().to_string());
    several(stream, memory_bytes, choices);
}

/// What one connection is answered. The disk stands still until everything has been asked: otherwise ids would depend on what is written together.
fn replies(memory_bytes: u64, stream: &[u8], step: usize) -> Vec<u8> {
    let mut world = World::new(1, memory_bytes);
    for piece in stream.chunks(step) {
        world.send(0, piece);
    }
    world.broker.check_invariants();
    world.finish(0).to_vec()
}

fn several(stream: &[u8], memory_bytes: u64, choices: u8) {
    let world = run_several(stream, memory_bytes, choices);
    world.broker.check_invariants();
    let again = world.files.boot(memory_bytes).expect("its own files");
    again.check_invariants();
    assert_eq!(what_stays(world.contents(&again)), what_stays(world.contents(&world.broker)));
}

/// Three connections, to their end.
pub(crate) fn run_several(stream: &[u8], memory_bytes: u64, choices: u8) -> World {
    let (is_lazy, has_checkpoints) = (choices & 2 != 0, choices & 4 != 0);
    let mut world = World::new(CONNS as u64, memory_bytes);
    for (part, bytes) in stream.split(|&byte| byte == PART_END).enumerate() {
        world.send(part % CONNS, bytes);
        match is_lazy {
            true => drop(world.disk()),
            false => world.settle(),
        }
        if has_checkpoints && part % 4 == 3 {
            world.checkpoint();
        }
        world.broker.check_invariants();
        world.pass_time(STEP_MS);
    }
    world.end();
    world
}

/// An empty queue that is no sub-queue need not be there after a start.
fn what_stays(contents: Contents) -> Contents {
    let stays = |(name, items): &(Vec<u8>, Vec<Item>)| !items.is_empty() || name.contains(&b'+');
    contents.into_iter().filter(stays).collect()
}
