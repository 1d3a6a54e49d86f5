//! [`Steered`]: `tx-steering=hash`, a sender that spreads packets over all tx queues of a device.
//!
//! Packets of one connection leave through one queue, in order; those of a batch that go to the same queue
//! are sent together. The other mode, one queue for each packet thread, needs no help: the thread owns it.

use crate::actions::dp_hash;
use flow::{Flow, Metadata};
use netdev::{TxQueue, TxReport};
use odp::HashAlg;
use packet::{Batch, Frame, RxFlags};

/// See the module.
#[derive(Debug)]
pub(crate) struct Steered {
    queues: Vec<Lane>,
}

#[derive(Debug)]
struct Lane {
    queue: Box<dyn TxQueue>,
    batch: Batch,
}

impl Steered {
    /// Over these queues, in the device's order.
    pub(crate) fn new(queues: Vec<Box<dyn TxQueue>>) -> Self {
        let lane = |queue| Lane {
            queue,
            batch: Batch::new(),
        };
        Self {
            queues: queues.into_iter().map(lane).collect(),
        }
    }

    fn lane_of(&self, frame: &Frame) -> usize {
        let hash = if frame.flags & RxFlags::HASH_VALID != 0 {
            frame.hash
        } else {
            tuple_hash(frame)
        };
        hash as usize % self.queues.len().max(1)
    }
}

/// Hash of a frame's connection; the same for all frames that are not IP.
fn tuple_hash(frame: &Frame) -> u32 {
    let mut key = Flow::zero();
    flow::extract(frame.data(), &Metadata::default(), &mut key);
    dp_hash(&key, HashAlg::L4, 0)
}

fn add(total: &mut TxReport, r: &TxReport) {
    total.sent += r.sent;
    total.bytes += r.bytes;
    total.full += r.full;
    total.too_big += r.too_big;
    total.policed += r.policed;
    total.error += r.error;
}

impl TxQueue for Steered {
    fn send(&mut self, batch: &mut Batch) -> TxReport {
        let mut total = TxReport::default();
        for frame in batch.drain(..) {
            let at = self.lane_of(&frame);
            let Some(lane) = self.queues.get_mut(at) else {
                total.error += 1;
                continue;
            };
            let pushed = lane.batch.push(frame);
            debug_assert!(pushed.is_ok(), "a lane has room for the whole batch");
        }
        for lane in self.queues.iter_mut().filter(|l| !l.batch.is_empty()) {
            add(&mut total, &lane.queue.send(&mut lane.batch));
        }
        total
    }

    fn flush(&mut self) {
        for lane in &mut self.queues {
            lane.queue.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::sync::{Arc, Mutex, lock};
    use packet::HeapPool;

    #[derive(Debug)]
    struct Seen(Arc<Mutex<Vec<Vec<u8>>>>);

    impl TxQueue for Seen {
        fn send(&mut self, batch: &mut Batch) -> TxReport {
            let sent = batch.len() as u32;
            lock(&self.0).extend(batch.iter().map(|f| f.data().to_vec()));
            batch.release_all();
            TxReport {
                sent,
                ..TxReport::default()
            }
        }
    }

    /// A UDP frame with these ports, and a number in its payload.
    fn udp(port: u16, number: u8) -> Vec<u8> {
        let mut f = vec![0; 60];
        f[12..14].copy_from_slice(&[8, 0]);
        f[14] = 0x45;
        f[17] = 46;
        (f[22], f[23]) = (64, 17);
        f[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        f[34..36].copy_from_slice(&port.to_be_bytes());
        f[39] = 26;
        f[59] = number;
        f
    }

    #[test]
    fn connections_keep_to_one_queue_and_their_order() {
        let seen: Vec<_> = (0..3).map(|_| Arc::new(Mutex::new(Vec::new()))).collect();
        let queues = seen
            .iter()
            .map(|s| Box::new(Seen(Arc::clone(s))) as Box<dyn TxQueue>);
        let mut tx = Steered::new(queues.collect());
        for round in 0..8_u8 {
            let mut batch = Batch::new();
            for port in 0..32 {
                batch
                    .push(HeapPool::global().copy_from(&udp(port, round)))
                    .unwrap();
            }
            assert_eq!(tx.send(&mut batch).sent, 32);
            assert!(batch.is_empty());
        }
        let mut total = 0;
        for queue in &seen {
            let frames = lock(queue);
            assert!(!frames.is_empty());
            total += frames.len();
            for port in 0..32_u16 {
                let of = frames.iter().filter(|f| f[34..36] == port.to_be_bytes());
                let numbers: Vec<u8> = of.map(|f| f[59]).collect();
                assert!(numbers.is_empty() || numbers == (0..8).collect::<Vec<u8>>());
            }
        }
        assert_eq!(total, 256);
    }
}
