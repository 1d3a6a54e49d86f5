//! The search for the highest rate at which not more than a given share is lost (RFC 2544, 26.1).
//!
//! The first trial is as fast as the sender can. When that loses too much, the rate is halved between the
//! last that passed and the last that did not, until they are a step apart.

/// What one trial showed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial {
    /// Packets a second that were really sent.
    pub(super) rate: f64,
    /// Share of the packets that did not come back, 0 to 1.
    pub(super) loss: f64,
}

/// How exact a search is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goal {
    /// Share that may be lost, 0 to 1.
    pub(super) loss: f64,
    /// The search ends when what passed and what did not are this share apart.
    pub(super) step: f64,
}

/// Runs trials at rates (packets a second; 0 for as fast as can be); returns the best that passed.
pub(super) fn search<E>(
    goal: Goal,
    mut trial: impl FnMut(u64) -> Result<Trial, E>,
) -> Result<Option<Trial>, E> {
    let first = trial(0)?;
    if first.loss <= goal.loss {
        return Ok(Some(first));
    }
    let (mut low, mut high) = (0.0, first.rate);
    let mut best = None;
    while high - low > (high * goal.step).max(1.0) {
        let rate = f64::midpoint(low, high);
        let t = trial(rate as u64)?;
        if t.loss <= goal.loss {
            low = rate;
            best = Some(t);
        } else {
            high = rate;
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that forwards `limit` packets a second, tested by a sender that makes `fastest`.
    fn find(limit: f64, fastest: f64, loss: f64) -> Option<f64> {
        let goal = Goal { loss, step: 0.01 };
        let found = search(goal, |rate| {
            let rate = if rate == 0 { fastest } else { rate as f64 };
            let loss = ((rate - limit) / rate).max(0.0);
            Ok::<_, ()>(Trial { rate, loss })
        });
        found.unwrap().map(|t| t.rate)
    }

    #[test]
    fn finds_the_limit() {
        for limit in [50.0, 1e4, 1e6, 2.5e6] {
            let found = find(limit, 3e6, 0.0).unwrap();
            assert!(found <= limit && found >= limit * 0.98, "{found} {limit}");
        }
        assert_eq!(find(4e6, 3e6, 0.0), Some(3e6));
        let lossy = find(1e6, 3e6, 0.01).unwrap();
        assert!(lossy > 1e6 && lossy < 1.0102e6, "{lossy}");
        assert_eq!(find(0.0, 3e6, 0.0), None);
        assert!(
            search(
                Goal {
                    loss: 0.0,
                    step: 0.1
                },
                |_| Err::<Trial, _>("device")
            )
            .is_err()
        );
    }
}
